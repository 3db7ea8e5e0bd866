"""What napari asks whether a path is one of ours: names decide, and nothing large is imported.

napari finds it by `napari.yaml` and the entry point `napari.manifest`, and imports this module
when a user opens a folder, a zip or a .toml of any kind.
"""

import os
import zipfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from _platelet_em.facts import PUBLISHED

__all__ = ["get_reader"]

_MAX_ENTRIES = 10_000
"""Files and folders of a folder, or files of a zip, whose names are looked at."""

_MAX_TEXT = 2**20
"""Bytes of a .toml that are looked at."""


def get_reader(path: str | list[str]) -> Callable[[Any], Any] | None:
    """What reads a path for napari; None if it is none of ours.

    Args:
        path: A built repository, a zip of the publisher, its extracted folder, a folder with the
            zips, or a description of own volumes (.toml). Of several paths none is read.
    """
    paths = path if isinstance(path, (list, tuple)) else [path]
    if len(paths) != 1 or not isinstance(paths[0], (str, Path)) or not str(paths[0]):
        return None
    return (lambda _: _read(paths[0])) if _is_ours(Path(paths[0])) else None


def _read(path: str) -> Any:
    """The layers, see `read_layers`."""
    from _platelet_em.export.napari_layers import read_layers  # noqa: PLC0415  # takes seconds

    return read_layers(path)


def _is_ours(path: Path) -> bool:
    """Whether names say that it is one of ours; of a .toml, that it lists volumes."""
    with suppress(OSError, ValueError, zipfile.BadZipFile, NotImplementedError):
        if path.is_dir():
            names = _walk(path)
        elif not path.is_file():  # to open a pipe or a device would wait forever
            return False
        elif path.suffix.lower() == ".toml":
            with path.open("rb") as file:
                return b"[[volumes]]" in file.read(_MAX_TEXT)
        else:
            with zipfile.ZipFile(path) as archive:
                names = iter(archive.namelist())
        return any(map(_is_published, islice(names, _MAX_ENTRIES)))
    return False


def _walk(folder: Path) -> Iterator[str]:
    """The paths of files, each below its folder, and an empty one for each folder."""
    for parent, _, files in os.walk(folder):
        yield ""
        for name in files:
            yield f"{Path(parent).name}/{name}"


def _is_published(name: str) -> bool:
    """Whether a file is a data file of a repository, an archive, or an image file of one.

    >>> _is_published("slices/train-00000-of-00008.parquet")
    True
    >>> _is_published("x/platelet-em/images/50-images.tif"), _is_published("x/slices.parquet")
    (True, False)
    """
    path = PurePosixPath(name)
    known = {archive.file_name for archive in PUBLISHED.archives}
    known |= {volume.images for volume in PUBLISHED.with_optional().volumes}
    return path.name in known or path.match("slices/*-?????-of-?????.parquet")
