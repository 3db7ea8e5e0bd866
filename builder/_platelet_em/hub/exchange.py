"""Exchange of a repository's files for those of a complete build: all of them, or none.

Files are only renamed, within the folder of unfinished builds: the old ones into `aside`, which
becomes `old` when it has all of them, then the new ones from `new` to their paths. A failure
undoes every renaming. After a kill, all old or all new files are there, and the next build
finishes the exchange.
"""

import os
import shutil
from pathlib import Path

from _platelet_em.errors import OutputError
from _platelet_em.files import move_all
from _platelet_em.hub.layout import CARD, DESCRIPTION, STAGING, metadata_files, repository_files
from _platelet_em.hub.stored_spec import stored_spec
from _platelet_em.rows.make import CONFIG_NAMES
from _platelet_em.spec import DatasetSpec

__all__ = ["check_exchangeable", "exchange", "finish_exchange", "folders_of", "present_spec"]


_NEW, _ASIDE, _OLD = "new", "aside", "old"


def folders_of(out: Path, spec: DatasetSpec) -> list[Path]:
    """The repository and its subfolders, whether or not they exist."""
    folders = {out, *((out / name).parent for name in metadata_files(spec))}
    return [*sorted(folders), *(out / config for config in CONFIG_NAMES)]


def check_exchangeable(out: Path, spec: DatasetSpec, planned: DatasetSpec) -> None:
    """Refuse a repository whose files could not be exchanged, before a build does any work.

    Args:
        out: The repository.
        spec: The dataset with the volumes that are there.
        planned: The dataset with the volumes of the build.

    Raises:
        OutputError: for a subfolder that is read-only, or on another disk than the repository, or
            a file that is no part of it, and would be replaced.
    """
    for name in sorted({*metadata_files(planned)} - {*metadata_files(spec)}):
        if os.path.lexists(out / name):
            raise OutputError(
                f"{out / name}: was not written by platelet-em build, which would replace it: "
                "move it away, or choose another folder"
            )
    for folder in folders_of(out, spec):
        if not folder.exists():
            continue
        if not os.access(folder, os.W_OK | os.X_OK):
            raise OutputError(
                f"{folder}: cannot be written: make it writable, or choose another folder"
            )
        if folder.stat().st_dev != out.stat().st_dev:
            raise OutputError(
                f"{folder}: expected a folder on the disk of {out}, found one on another disk, "
                "to which a finished build cannot be renamed: remove the link, or build on that "
                "disk"
            )


def exchange(out: Path, complete: Path, spec: DatasetSpec) -> None:
    """Replace the repository in `out`, if there is one, by a complete build.

    Args:
        out: The repository.
        complete: A folder within `out / STAGING` that contains all files of the build.
        spec: The dataset.

    Raises:
        OSError: if a file cannot be renamed; all files are then where they were.
    """
    new = out / STAGING / _NEW
    _exchange(out, [(complete, new)], _names(complete), spec)


def finish_exchange(out: Path, spec: DatasetSpec) -> None:
    """Finish an exchange that was killed, if there is one.

    If somebody has deleted the new files since, the old ones go back to where they were.

    Raises:
        OSError: if a file cannot be renamed; all files are then where they were.
        OutputError: if an old file would replace one that was put in its place since.
    """
    new, aside, old = (out / STAGING / name for name in (_NEW, _ASIDE, _OLD))
    if new.is_dir():
        _exchange(out, [], _names(new), spec)
    elif old.is_dir() and (out / CARD).is_file():
        shutil.rmtree(old)
    else:
        for folder in filter(Path.is_dir, (old, aside)):
            _restore(out, folder)


def present_spec(out: Path, spec: DatasetSpec) -> DatasetSpec:
    """The dataset of the files in a repository, also while an exchange of them is unfinished.

    Args:
        out: The repository.
        spec: As for `stored_spec`.
    """
    new, aside, old = (out / STAGING / name for name in (_NEW, _ASIDE, _OLD))
    # The description is one of the first files to go, and one of the last to come.
    folder = new if old.is_dir() else aside
    return stored_spec(folder if (folder / DESCRIPTION).is_file() else out, spec)


def _names(folder: Path) -> list[Path]:
    """Paths of all files in a folder of this module, but checksums; the card first.

    They are of any dataset: that of the next build may be another one than that of a killed one.
    """
    files = (path for path in folder.rglob("*") if path.is_file() and path.name[0] != ".")
    found = (path.relative_to(folder) for path in files if path.suffix != ".md5")
    return sorted(found, key=lambda path: (path != Path(CARD), len(path.parts), path))


def _restore(out: Path, folder: Path) -> None:
    """Move the files of the old repository back."""
    moves = [(folder / name, out / name) for name in _names(folder)]
    for present, target in moves:
        if os.path.lexists(target):
            raise OutputError(f"{target}: would be replaced by {present}: move one of them away")
    move_all(moves)
    shutil.rmtree(folder)


def _exchange(
    out: Path, moves: list[tuple[Path, Path]], names: list[Path], spec: DatasetSpec
) -> None:
    """Rename the files of `new` with these names; those that have left it are in the repository.

    Both lists of files begin with the card. It is the first to go and the last to come, since a
    repository with a card is complete.
    """
    new, aside, old = (out / STAGING / name for name in (_NEW, _ASIDE, _OLD))
    if not old.is_dir():
        aside.mkdir(exist_ok=True)
        present = repository_files(out, present_spec(out, spec))
        moves += [(path, aside / path.relative_to(out)) for path in present]
        moves.append((aside, old))
    move_all([*moves, *((new / name, out / name) for name in reversed(names))])
    shutil.rmtree(new)
    shutil.rmtree(old)
