"""Paths and patterns of a user's own files, in natural order."""

import fnmatch
import glob
import os
import re
from collections.abc import Iterable
from pathlib import Path

from _platelet_em.errors import ArchiveError, MissingMemberError, printable
from _platelet_em.limits import MAX_PAGES

__all__ = ["find_files", "is_pattern", "natural_order"]

_NUMBER = re.compile("([0-9]+)")


def natural_order(names: Iterable[str]) -> list[str]:
    """Names in the order in which people count: numbers in them by their value.

    >>> natural_order(["z10.tif", "z9.tif", "z010.tif", "a.tif"])
    ['a.tif', 'z9.tif', 'z010.tif', 'z10.tif']
    """

    def key(name: str) -> tuple[list[tuple[int, int, str]], str]:
        parts = _NUMBER.split(name)
        # Texts are at even positions, numbers at odd ones: only like is compared with like.
        numbered = [
            (1, int(part), "") if i % 2 else (0, 0, part.casefold())
            for i, part in enumerate(parts)
        ]
        return numbered, name

    return sorted(names, key=key)


def is_pattern(path: str) -> bool:
    """Whether a path is a pattern of several files, such as "raw/*.tif"."""
    return glob.has_magic(path)


def find_files(folder: str | Path, path: str) -> list[Path]:
    """The files of a path or pattern, in natural order.

    Args:
        folder: Folder that relative paths start from.
        path: A file that exists, whatever characters its name has, or a pattern with `*`, `?`,
            `[...]`, or `**` for any number of folders. Files whose names begin with a dot are
            only found by patterns that begin with one.

    Raises:
        MissingMemberError: if there is no such file.
        ArchiveError: for more files than a volume may have slices, or names that are no Unicode.
    """
    named = Path(folder, path)
    if os.path.lexists(named) and not named.is_dir():
        return [named]
    found = glob.glob(path, root_dir=folder, recursive=True) if is_pattern(path) else []  # noqa: PTH207  # has root_dir
    files = [name for name in found if not Path(folder, name).is_dir()]
    if "**" in path:
        files = _without_repeated(folder, files)
    if not files:
        raise MissingMemberError(f"{printable(str(named))}: {_describe_missing(named, path)}")
    if len(files) > MAX_PAGES:
        raise ArchiveError(
            f"{printable(str(named))}: expected at most {MAX_PAGES} files, one per slice, found "
            f"{len(files)}: name the slices of one volume"
        )
    return [Path(folder, name) for name in natural_order(files)]


def _without_repeated(folder: str | Path, files: list[str]) -> list[str]:
    """Files without those that links to folders find again: "**" follows them, also in circles."""
    folders: dict[str, str] = {}
    found: dict[tuple[str, str], str] = {}
    for name in sorted(files, key=lambda name: (name.count(os.sep), name)):
        parent, base = os.path.split(name)
        if parent not in folders:
            folders[parent] = os.path.realpath(Path(folder, parent))
        found.setdefault((folders[parent], base), name)
    return [*found.values()]


def _describe_missing(named: Path, path: str) -> str:
    """What is there instead of the files that were looked for."""
    if not is_pattern(path):
        found = "found a folder" if named.is_dir() else "found nothing there"
        remedy = f", such as {path}/*.tif" if named.is_dir() else ""
        return f"expected a file, {found}: name a file, or a pattern of slices{remedy}"
    try:
        others = natural_order(path.name for path in named.parent.iterdir())
    except OSError:
        return "expected files of this pattern, and its folder cannot be read, or is none"
    pattern = named.name.casefold()
    if similar := [name for name in others if fnmatch.fnmatchcase(name.casefold(), pattern)]:
        return (
            "expected files of this pattern, found none in the same capitals and small letters: "
            f"{printable(similar[0])}"
        )
    listed = ", ".join(map(printable, others[:3])) or "none"
    return f"expected files of this pattern, found only {len(others)} others: {listed}"
