"""`FileLookup`: whether files of a folder are there, with each folder listed once."""

import os
from pathlib import Path, PurePath

from _platelet_em.sources.paths import find_files

__all__ = ["FileLookup"]


class FileLookup:
    """Looks for files by their paths relative to a folder.

    Args:
        folder: The folder.

    Attributes:
        folder: The same.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._listed: dict[Path, tuple[frozenset[str], frozenset[str]]] = {}

    def lists(self, path: str) -> bool:
        """Whether there is a file of this name, whatever characters it has."""
        full = PurePath(self.folder, path)
        return not path.endswith("/") and full.name in self.files(Path(full.parent))

    def has(self, path: str) -> bool:
        """Whether there is a file of this name, or one that a pattern finds."""
        if self.lists(path):
            return True
        try:
            find_files(self.folder, path)
        except OSError:
            return False
        return True

    def check(self, path: str) -> None:
        """Refuse a path or pattern of no file.

        Raises:
            MissingMemberError: names what is there instead.
            ArchiveError: for too many files.
        """
        if not self.lists(path):
            find_files(self.folder, path)

    def files(self, folder: Path) -> frozenset[str]:
        """Names of the files of a folder; none if it cannot be read."""
        return self._list(folder)[0]

    def folders(self, folder: Path) -> frozenset[str]:
        """Names of the folders of a folder; none if it cannot be read."""
        return self._list(folder)[1]

    def _list(self, folder: Path) -> tuple[frozenset[str], frozenset[str]]:
        if folder not in self._listed:
            try:
                with os.scandir(folder) as entries:
                    kinds = {entry.name: entry.is_dir() for entry in entries}
            except OSError:
                kinds = {}
            names = [frozenset(n for n, is_dir in kinds.items() if is_dir == k) for k in (0, 1)]
            self._listed[folder] = (names[0], names[1])
        return self._listed[folder]
