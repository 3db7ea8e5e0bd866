"""A zip or an extracted folder of the publisher, whose files are found by base name.

Nothing is extracted: a member of a zip is decompressed into a temporary file without a name, in
which a TIF reader can seek. The names that an archive gives its members are only compared, never
used as paths; the size of a member or file is bounded by `limits.MAX_FILE`.
"""

import errno
import hashlib
import io
import os
import stat
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, NoReturn

from _platelet_em.errors import ArchiveError, MissingMemberError, PlateletEMError, printable
from _platelet_em.files import TEMPORARY, needs_room, user_path
from _platelet_em.limits import MAX_FILE
from _platelet_em.spec import DatasetSpec

__all__ = [
    "Identity",
    "Source",
    "archive_files",
    "file_md5",
    "find_source",
    "needed_files",
    "open_source",
]

_CHUNK = 1 << 20
_MAX_DIRECTORY = 4 << 20
"""Bytes of a zip's list of members: the publisher's has a dozen members, this allows 40,000."""
_MAX_NAME = 120
_ENCRYPTED = 1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Compression methods whose output comes in pieces of bounded size."""
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    ValueError,
    NotImplementedError,
    RuntimeError,
    EOFError,
    OSError,
)


def file_md5(file: IO[bytes]) -> str:
    """MD5 of the rest of an open file, as hex digits."""
    digest = hashlib.md5(usedforsecurity=False)
    while chunk := file.read(_CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


@dataclass(frozen=True, slots=True)
class Identity:
    """What a source held when its content was read, to notice that it was exchanged since.

    Attributes:
        md5: MD5 of the zip, or of the names and MD5s of the files of a folder.
        stamps: Device, inode, size, and times of the last change of content and of status, of each
            file; the latter cannot be set by programs. Empty if no file has been read yet.
    """

    md5: str
    stamps: tuple[tuple[int, ...], ...] = ()


class Source:
    """Where the publisher's files are read from: one zip, or one folder.

    Args:
        path: A zip file, or a folder that holds the files at any depth.
        spec: The dataset, whose files are looked for in a folder.

    Attributes:
        path: As given.
        is_zip: Whether it is a zip; otherwise it is a folder.

    Raises:
        ArchiveError: for anything but a zip or a folder.
        MissingMemberError: if the path does not exist.
    """

    def __init__(self, path: Path, spec: DatasetSpec) -> None:
        self.path = path
        self.is_zip = not path.is_dir()
        names = _list_zip(path) if self.is_zip else _list_folder(path, spec)
        self._members: dict[str, list[str]] = {}
        for name in names:
            self._members.setdefault(_key(name), []).append(name)

    @property
    def comment(self) -> str:
        """The comment of a zip; empty for a folder."""
        if not self.is_zip:
            return ""
        with _open_zip(self.path) as archive:
            return archive.comment.decode("utf-8", "replace")

    def __repr__(self) -> str:
        return f"Source({str(self.path)!r})"

    def holds(self, names: Iterable[str]) -> bool:
        """Whether all files of these base names are there."""
        return all(_key(name) in self._members for name in names)

    def describe_member(self, name: str) -> str:
        """Archive and member, for messages.

        Raises:
            MissingMemberError: if it is not there.
            ArchiveError: if it is there twice.
        """
        return f"{self.path}: {_printable(self._member(name))}"

    def _member(self, name: str) -> str:
        found = self._members.get(_key(name), [])
        if not found:
            present = ", ".join(map(_printable, sorted(self._members)[:12])) or "nothing"
            raise MissingMemberError(
                f"{self.path}: expected a file {name}, found {present}: {self._remedy()}"
            )
        if len(found) > 1:
            raise ArchiveError(
                f"{self.path}: found {len(found)} files {name} "
                f"({', '.join(map(_printable, found[:3]))}): give "
                "the zip or the folder of one archive"
            )
        return found[0]

    def _remedy(self) -> str:
        """What to do about a missing file."""
        if not self.is_zip and any(self.path.glob("*/*.parquet")):
            return (
                "it is a folder of Parquet files, as build writes them: load it with "
                f"datasets.load_dataset({str(self.path)!r}, 'slices'), and call "
                "with_format('platelet_em') of the result"
            )
        if not self.is_zip and (links := _linked_folders(self.path)):
            return (
                f"links to folders are not followed ({_printable(links[0])}): copy or move what "
                "they lead to, or link its files"
            )
        return "fetch the archive again, or give its zip or its extracted folder"

    def open(self, name: str) -> IO[bytes]:
        """Open the file of that base name for reading; it can seek.

        Raises:
            MissingMemberError: if it is not there.
            ArchiveError: if it is there twice, damaged, not a regular file, or too large.
            OutputError: if there is no space to unpack it.
        """
        member = self._member(name)
        if not self.is_zip:
            return self._open_file(self.path / member, name)
        unpacked = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
        try:
            with needs_room(TEMPORARY), _open_zip(self.path) as archive:
                self._unpack(archive, archive.getinfo(member), unpacked, name)
                unpacked.flush()
            unpacked.seek(0)
        except PlateletEMError:
            _close_quietly(unpacked)
            raise
        except _ZIP_ERRORS as error:
            _close_quietly(unpacked)
            raise ArchiveError(
                f"{self.describe_member(name)}: cannot be unpacked: {error}: fetch the archive "
                "again"
            ) from error
        except BaseException:
            _close_quietly(unpacked)
            raise
        return unpacked

    def _open_file(self, path: Path, name: str) -> IO[bytes]:
        try:
            # Links are followed, since caches consist of them; opening a pipe would wait forever.
            if not stat.S_ISREG(path.stat().st_mode):
                self._refuse(name, "a file", "a folder, a device or a pipe")
            if (size := path.stat().st_size) > MAX_FILE:
                self._refuse(name, f"at most {MAX_FILE} bytes", f"{size}")
            return path.open("rb")
        except PlateletEMError:
            raise
        except OSError as error:
            raise ArchiveError(
                f"{self.describe_member(name)}: cannot be read: {error.strerror}: check the file "
                "and its permissions"
            ) from error

    def _unpack(
        self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, out: IO[bytes], name: str
    ) -> None:
        file_type = stat.S_IFMT(info.external_attr >> 16)
        if file_type not in (0, stat.S_IFREG):
            self._refuse(name, "a file", "a link or a device")
        if info.flag_bits & _ENCRYPTED:
            self._refuse(name, "a file without a password", "an encrypted one")
        if info.compress_type not in _METHODS:
            self._refuse(name, "a file stored or deflated", f"method {info.compress_type}")
        if info.file_size > MAX_FILE:
            self._refuse(name, f"at most {MAX_FILE} bytes", f"{info.file_size}")
        done = 0
        with archive.open(info) as packed:
            while chunk := packed.read(_CHUNK):
                done += len(chunk)
                out.write(chunk)
        if done != info.file_size:
            self._refuse(name, f"the {info.file_size} bytes that the zip lists", f"{done}")

    def _refuse(self, name: str, expected: str, found: str) -> NoReturn:
        raise ArchiveError(
            f"{self.describe_member(name)}: expected {expected}, got {found}: fetch the archive "
            "again, or pack the files again"
        )

    def identity(self, names: Iterable[str]) -> Identity:
        """Identifies the content of the named files wherever they are.

        Raises:
            ArchiveError: if a file cannot be read, or changes while it is read.
        """
        names = sorted(names)
        before = self.stamps(names)
        if self.is_zip:
            with self.path.open("rb") as file:
                md5 = file_md5(file)
        else:
            digest = hashlib.md5(usedforsecurity=False)
            for name in names:
                with self.open(name) as file:
                    digest.update(f"{name} {file_md5(file)}\n".encode())
            md5 = digest.hexdigest()
        if self.stamps(names) != before:
            raise ArchiveError(
                f"{self.path}: changed while it was read: load it again when it is complete"
            )
        return Identity(md5, before)

    def check(self, expected: Identity, names: Iterable[str]) -> Identity:
        """The identity of a source that still holds what it held, with its present stamps.

        Content is read only if a file was touched or moved since.

        Raises:
            ArchiveError: if it holds something else.
        """
        names = sorted(names)
        if expected.stamps and self.stamps(names) == expected.stamps:
            return expected
        found = self.identity(names)
        if found.md5 != expected.md5:
            raise ArchiveError(
                f"{self.path}: its content has changed since the dataset was opened: expected MD5 "
                f"{expected.md5}, got {found.md5}: open the dataset again, or bring the file back"
            )
        return found

    def stamps(self, names: Iterable[str]) -> tuple[tuple[int, ...], ...]:
        """What changes when one of the named files, or the zip of them, is replaced.

        Raises:
            ArchiveError: if it is gone.
        """
        paths = [self.path] if self.is_zip else [self.path / self._member(n) for n in names]
        try:
            found = [path.stat() for path in paths]
        except OSError as error:
            raise ArchiveError(
                f"{error.filename}: cannot be read: {error.strerror}: bring the file back"
            ) from error
        return tuple((s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for s in found)


def _close_quietly(file: IO[bytes]) -> None:
    """Close a temporary file; on a full disk that tries to write once more, and fails."""
    with suppress(OSError):
        file.close()


def _is_junk(name: str) -> bool:
    """Whether the macOS archiver added it: `__MACOSX/` folders and `._name` files [code, peer]."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return "__MACOSX" in parts or _base_name(name).startswith("._")


def _base_name(name: str) -> str:
    """The last part of a member's name; some archivers write backslashes."""
    return PurePosixPath(name.replace("\\", "/")).name


def _key(name: str) -> str:
    """What a member is found by: its base name, however its letters and suffix are written."""
    path = PurePosixPath(_base_name(name).casefold())
    return str(path.with_suffix(".tif") if path.suffix == ".tiff" else path)


def _printable(name: str) -> str:
    """A member's name for a message: control characters are escaped, only the end is kept."""
    text = printable(name)
    return text if len(text) <= _MAX_NAME else f"...{text[-_MAX_NAME:]}"


class _ZipBytes(io.BufferedReader):
    """A zip's bytes; zipfile asks for its list of members in one read, whatever its size."""

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file, but refuses a list of members that is too long."""
        if size is not None and size > _MAX_DIRECTORY:
            raise zipfile.BadZipFile(
                f"a list of members of {size} bytes, expected at most {_MAX_DIRECTORY}"
            )
        return super().read(size)


@contextmanager
def _open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    if not stat.S_ISREG(path.stat().st_mode):
        raise zipfile.BadZipFile("it is not a regular file")
    with _ZipBytes(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
        yield archive


def _list_zip(path: Path) -> list[str]:
    try:
        with _open_zip(path) as archive:
            names = [name for name in archive.namelist() if name and not name.endswith("/")]
    except FileNotFoundError as error:
        raise MissingMemberError(
            f"{path}: expected a zip or a folder of the publisher's files, found nothing there"
        ) from error
    except _ZIP_ERRORS as error:
        raise ArchiveError(
            f"{path}: expected a zip archive: {error}: fetch the archive again"
        ) from error
    return [name for name in names if not _is_junk(name)]


def _list_folder(path: Path, spec: DatasetSpec) -> list[str]:
    wanted = {
        _key(name)
        for volume in (*spec.volumes, *spec.optional_volumes, *spec.other_labels)
        for archive in volume.archives
        for name in volume.members(archive)
    }

    def refuse(error: OSError) -> NoReturn:
        if error.errno == errno.ENOMEM:
            raise MemoryError(str(error)) from error
        raise ArchiveError(
            f"{error.filename}: cannot be read: {error.strerror}: make it readable"
        ) from error

    # Links to folders are not followed: they may lead in a circle, or elsewhere.
    names = (
        (Path(folder) / name).relative_to(path).as_posix()
        for folder, _, files in os.walk(path, onerror=refuse)
        for name in files
        if _key(name) in wanted
    )
    return sorted(name for name in names if not _is_junk(name))


def _linked_folders(path: Path) -> list[str]:
    """Paths of links to folders below a folder."""
    return [
        str(link)
        for folder, folders, _ in os.walk(path)
        for name in sorted(folders)
        if (link := Path(folder) / name).is_symlink()
    ]


def needed_files(spec: DatasetSpec, label_source: str) -> list[str]:
    """Base names of the files that rows with labels of that source need, images included."""
    return [
        name
        for volume in spec.volumes
        if label_source in volume.archives or volume.label_suffix is not None
        for name in volume.members(label_source)
    ]


def archive_files(spec: DatasetSpec, archive: str) -> list[str]:
    """Base names of the files of a dataset that are in the archive of that name."""
    return [
        name
        for volume in spec.volumes
        if archive in volume.archives
        for name in volume.members(archive)
    ]


def open_source(path: str | Path, spec: DatasetSpec) -> Source:
    """The zip or the folder at a path."""
    return Source(user_path(path), spec)


def find_source(data_dir: str | Path, archive: str, spec: DatasetSpec) -> Source:
    """The files of an archive, at a path that the user names.

    Args:
        data_dir: A zip, an extracted folder, or a folder that holds the publisher's zips.
        archive: Name of the archive, such as "json" or "tif".
        spec: The dataset.

    Raises:
        MissingMemberError: if the files are not there; names the first that is missing.
        ArchiveError: for a damaged zip, or two zips that both match.
    """
    source = open_source(data_dir, spec)
    needed = archive_files(spec, archive)
    if not source.holds(needed) and source.path.is_dir():
        source = _find_zip(source, needed, archive, spec)
    for name in needed:
        source.describe_member(name)
    return source


def _find_zip(folder: Source, needed: list[str], archive: str, spec: DatasetSpec) -> Source:
    """The one zip in a folder that holds all needed files; the folder itself if none does."""
    published = folder.path / spec.archive(archive).file_name
    if published.is_file():
        return open_source(published, spec)
    paths = [
        path
        for path in sorted(folder.path.iterdir())
        if path.suffix.casefold() == ".zip" and not _is_junk(path.name)
    ]
    matching = [zip_ for zip_ in (open_source(p, spec) for p in paths) if zip_.holds(needed)]
    if len(matching) > 1:
        names = ", ".join(zip_.path.name for zip_ in matching)
        raise ArchiveError(
            f"{folder.path}: {len(matching)} zips hold {archive} labels ({names}): give one "
            "of them"
        )
    return matching[0] if matching else folder
