"""A dataset on the Hub, whose Parquet files are read in ranges, or downloaded.

`HubPath` offers what the readers of a repository need of `pathlib.Path`, so that they read a
folder and a dataset on the Hub by the same code. All files are those of one commit.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from huggingface_hub import HfFileSystem
from huggingface_hub.hf_api import RepoFile

from _platelet_em.errors import HubError, TooLargeError
from _platelet_em.hub.client import client_errors, connect
from _platelet_em.hub.location import HubName, find_location

__all__ = ["HubPath", "download_repository", "open_location"]

_REPO_TYPE = "dataset"

_MAX_ENTRIES = 10_000
"""Files and folders of a repository that are listed: a build writes fewer than 100."""

_MAX_READ = 2**31
"""Bytes of one read: Arrow holds no larger column of a row group."""

_TAIL = 2**16
"""Bytes at the end of a Parquet file that Arrow reads first, and that have its metadata."""


@dataclass(frozen=True, slots=True)
class _Commit:
    """The files of a dataset at one commit.

    Attributes:
        name: The dataset, as the user has named it.
        sha: Hash of the commit.
        root: Where `system` finds the files.
        system: Reads them.
        sizes: Path -> size in bytes.
        tails: Path -> the last bytes of a file, once they were read.
    """

    name: HubName
    sha: str
    root: str
    system: Any
    sizes: dict[str, int]
    tails: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HubPath:
    """A file or folder of a dataset on the Hub; its text is its address."""

    commit: _Commit
    path: PurePosixPath

    def __hash__(self) -> int:
        return hash((self.commit.sha, self.path))

    def __str__(self) -> str:
        return "/".join([str(self.commit.name), *self.path.parts])

    def __truediv__(self, name: str) -> "HubPath":
        return HubPath(self.commit, self.path / name)

    def __lt__(self, other: "HubPath") -> bool:
        return self.path < other.path

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return self.commit.sizes[str(self.path)]

    @property
    def sha(self) -> str:
        """Hash of the commit."""
        return self.commit.sha

    def glob(self, pattern: str) -> Iterator["HubPath"]:
        """The files of this folder whose names match."""
        for name in self.commit.sizes:
            path = PurePosixPath(name)
            if path.parent == self.path and path.match(pattern):
                yield HubPath(self.commit, path)

    def open(self) -> io.RawIOBase:
        """The file, of which only those ranges are fetched that are read.

        Raises:
            HubError: if the Hub does not answer, here and when it is read.
        """
        return _RangeFile(self)


class _RangeFile(io.RawIOBase):
    """An open file of the Hub; its end is fetched once, and kept."""

    def __init__(self, path: HubPath) -> None:
        self._path, self._position = path, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._path.size}
        self._position = max(start[whence] + offset, 0)
        return self._position

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(self._path.size - self._position, 0)
        size = left if size is None or size < 0 else min(size, left)
        data = self._fetch(self._position, self._position + size) if size else b""
        self._position += len(data)
        return data

    def _fetch(self, start: int, stop: int) -> bytes:
        commit, name, end = self._path.commit, str(self._path.path), self._path.size
        tail = max(end - _TAIL, 0)
        if start < tail:
            return self._request(start, stop)
        if name not in commit.tails:
            commit.tails[name] = self._request(tail, end)
        return commit.tails[name][start - tail : stop - tail]

    def _request(self, start: int, stop: int) -> bytes:
        commit = self._path.commit
        if stop - start > _MAX_READ:
            raise TooLargeError(
                f"{self._path}: expected at most {_MAX_READ} bytes in one piece, got "
                f"{stop - start}: download the dataset, and look at the file by other means"
            )
        with (
            client_errors(str(self._path)),
            commit.system.open(f"{commit.root}/{self._path.path}", cache_type="none") as file,
        ):
            file.seek(start)
            data: bytes = file.read(stop - start)
        if len(data) != stop - start:
            raise HubError(
                f"{self._path}: expected {stop - start} bytes from {start} on, the Hub sent "
                f"{len(data)}: run the same command again"
            )
        return data


def open_location(text: str | Path) -> Path | HubPath:
    """The path, or the dataset on the Hub, that a text stands for; see location.py.

    Raises:
        ArgumentError: for an address of another form.
        HubError: if the Hub does not answer, or has no such dataset that the token may see.
        MissingMemberError: for a path that does not exist.
    """
    found = find_location(text)
    if not isinstance(found, HubName):
        return found
    try:
        return _open_repository(found)
    except HubError as error:
        if str(text) == found.repo_id:  # it may have been meant as a path
            raise HubError(f"{text}: no such file or folder here, and {error}") from error
        raise


def _open_repository(name: HubName) -> HubPath:
    """The files of a dataset on the Hub, of the commit that the name stands for now.

    Raises:
        HubError: if the Hub does not answer, or has no such dataset that the token may see.
        TooLargeError: if it has too many files.
    """
    api = connect()
    with client_errors(str(name)):
        info = api.dataset_info(name.repo_id, revision=name.revision)
        tree = api.list_repo_tree(
            name.repo_id, recursive=True, revision=info.sha, repo_type=_REPO_TYPE
        )
        entries = [*islice(tree, _MAX_ENTRIES + 1)]
        system = HfFileSystem(endpoint=api.endpoint, token=api.token)
    if len(entries) > _MAX_ENTRIES:
        raise TooLargeError(
            f"{name}: has more than {_MAX_ENTRIES} files: expected a repository that build wrote"
        )
    sizes = {entry.path: entry.size for entry in entries if isinstance(entry, RepoFile)}
    root = f"datasets/{name.repo_id}@{info.sha}"
    commit = _Commit(name, str(info.sha), root, system, sizes)
    return HubPath(commit, PurePosixPath())


def download_repository(repository: HubPath, patterns: list[str] | None = None) -> Path:
    """Download files of a dataset into the cache of the Hub's client.

    Files that are in the cache already are not downloaded again.

    Args:
        repository: The dataset.
        patterns: Which files, as of `snapshot_download`; None is all of them.

    Returns:
        The folder, whose files are links into the cache.

    Raises:
        HubError: if the Hub does not answer.
    """
    commit = repository.commit
    with client_errors(str(repository)):
        folder = connect().snapshot_download(
            commit.name.repo_id, repo_type=_REPO_TYPE, revision=commit.sha, allow_patterns=patterns
        )
    return Path(folder)
