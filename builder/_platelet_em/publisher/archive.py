"""A zip or an extracted folder of the publisher, whose files are found by base name.

Nothing is extracted: a member of a zip is decompressed into a temporary file without a name,
which a TIF reader can seek in. The names that an archive gives its members are looked up, and
never used as paths; what a member or a file may take is bounded by `spec.MAX_FILE`.
"""

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
from pathlib import Path, PurePosixPath
from typing import IO, NoReturn

from _platelet_em.errors import ArchiveError, MissingMemberError, PlateletEMError
from _platelet_em.facts import VOLUMES, archive_for
from _platelet_em.files import TEMPORARY, needs_room, user_path
from _platelet_em.limits import MAX_FILE

__all__ = ["Source", "file_md5", "find_source", "needed_files", "open_source"]

_CHUNK = 1 << 20
_MAX_DIRECTORY = 4 << 20
"""Bytes of a zip's list of members: the publisher's has a dozen, this has room for 40,000."""
_MAX_NAME = 120
_ENCRYPTED = 1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""Ways to compress that give as much as they are asked for; others give gigabytes at once."""
_ZIP_TROUBLE = (
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


class Source:
    """Where the publisher's files are read from: one zip, or one folder.

    Args:
        path: A zip file, or a folder that holds the files at any depth.

    Raises:
        ArchiveError: for what is neither.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._is_zip = not path.is_dir()
        names = _zip_names(path) if self._is_zip else _folder_names(path)
        self._members: dict[str, list[str]] = {}
        for name in names:
            self._members.setdefault(_base_name(name), []).append(name)

    @property
    def is_zip(self) -> bool:
        """Whether it is a zip; else it is a folder."""
        return self._is_zip

    @property
    def comment(self) -> str:
        """The comment of a zip; empty for a folder."""
        if not self._is_zip:
            return ""
        with _open_zip(self.path) as archive:
            return archive.comment.decode("utf-8", "replace")

    def __repr__(self) -> str:
        return f"Source({str(self.path)!r})"

    def holds(self, names: Iterable[str]) -> bool:
        """Whether all files of these base names are there."""
        return all(name in self._members for name in names)

    def place(self, name: str) -> str:
        """Archive and member, for messages."""
        return f"{self.path}: {_shown(self._member(name))}"

    def _member(self, name: str) -> str:
        found = self._members.get(name, [])
        if not found:
            there = ", ".join(map(_shown, sorted(self._members)[:12])) or "nothing"
            raise MissingMemberError(
                f"{self.path}: expected a file {name}, found {there}: fetch the archive again, or "
                "give its zip or its extracted folder as data_dir"
            )
        if len(found) > 1:
            raise ArchiveError(
                f"{self.path}: {name} is there {len(found)} times "
                f"({', '.join(map(_shown, found[:3]))}): give "
                "the zip or the folder of one archive as data_dir"
            )
        return found[0]

    def open(self, name: str) -> IO[bytes]:
        """Open the file of that base name for reading; it can seek.

        Raises:
            MissingMemberError: if it is not there.
            ArchiveError: if it is there twice, damaged, no file, or larger than any of ours.
            OutputError: if there is no room to unpack it.
        """
        member = self._member(name)
        if not self._is_zip:
            return self._open_file(self.path / member, name)
        whole = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
        try:
            with needs_room(TEMPORARY), _open_zip(self.path) as archive:
                self._unpack(archive, archive.getinfo(member), whole, name)
                whole.flush()
            whole.seek(0)
        except PlateletEMError:
            _forget(whole)
            raise
        except _ZIP_TROUBLE as error:
            _forget(whole)
            raise ArchiveError(
                f"{self.place(name)}: cannot be unpacked: {error}: fetch the archive again"
            ) from error
        except BaseException:
            _forget(whole)
            raise
        return whole

    def _open_file(self, path: Path, name: str) -> IO[bytes]:
        try:
            # Links are followed, as caches are made of them; to open a pipe would wait for ever.
            if not stat.S_ISREG(path.stat().st_mode):
                self._refuse(name, "a file", "a folder, a device or a pipe")
            if (size := path.stat().st_size) > MAX_FILE:
                self._refuse(name, f"at most {MAX_FILE} bytes", f"{size}")
            return path.open("rb")
        except PlateletEMError:
            raise
        except OSError as error:
            raise ArchiveError(f"{self.place(name)}: cannot be read: {error.strerror}") from error

    def _unpack(
        self, archive: zipfile.ZipFile, info: zipfile.ZipInfo, out: IO[bytes], name: str
    ) -> None:
        kind = stat.S_IFMT(info.external_attr >> 16)
        if kind not in (0, stat.S_IFREG):
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
            f"{self.place(name)}: expected {expected}, got {found}: fetch the archive again, or "
            "pack the files anew"
        )

    def identity(self, names: Iterable[str]) -> str:
        """What the content is, whatever its place: md5 of the zip, or of the named files."""
        if self._is_zip:
            with self.path.open("rb") as file:
                return file_md5(file)
        digest = hashlib.md5(usedforsecurity=False)
        for name in sorted(names):
            with self.open(name) as file:
                digest.update(f"{name} {file_md5(file)}\n".encode())
        return digest.hexdigest()


def _forget(file: IO[bytes]) -> None:
    """Close a temporary file; where there was no room, that tries to write once more."""
    with suppress(OSError):
        file.close()


def _is_junk(name: str) -> bool:
    """Whether a Mac's archiver left it: `__MACOSX/` folders and `._name` shadows [code, peer]."""
    return "__MACOSX" in PurePosixPath(name).parts or _base_name(name).startswith("._")


def _base_name(name: str) -> str:
    """The last part of a member's name; some archivers write backslashes."""
    return PurePosixPath(name.replace("\\", "/")).name


def _shown(name: str) -> str:
    """A member's name for a message: what a terminal would obey is escaped, the end is kept."""
    text = name if name.isprintable() else name.encode("unicode_escape").decode()
    return text if len(text) <= _MAX_NAME else f"...{text[-_MAX_NAME:]}"


class _ZipBytes(io.BufferedReader):
    """A zip's bytes, read in pieces that none of our archives exceeds."""

    def read(self, size: int | None = -1, /) -> bytes:
        """As of any file; a list of members that is too long is not read at all."""
        if size is not None and size > _MAX_DIRECTORY:
            raise zipfile.BadZipFile(
                f"a list of members of {size} bytes, expected at most {_MAX_DIRECTORY}"
            )
        return super().read(size)


@contextmanager
def _open_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    if not stat.S_ISREG(path.stat().st_mode):
        raise zipfile.BadZipFile("it is no file")
    with _ZipBytes(io.FileIO(path)) as file, zipfile.ZipFile(file) as archive:
        yield archive


def _zip_names(path: Path) -> list[str]:
    try:
        with _open_zip(path) as archive:
            names = [name for name in archive.namelist() if name and not name.endswith("/")]
    except FileNotFoundError as error:
        raise MissingMemberError(
            f"{path}: expected a zip or a folder of the publisher's files, found nothing there"
        ) from error
    except _ZIP_TROUBLE as error:
        raise ArchiveError(
            f"{path}: expected a zip archive: {error}: fetch the archive again"
        ) from error
    return [name for name in names if not _is_junk(name)]


def _folder_names(path: Path) -> list[str]:
    wanted = {
        name for volume in VOLUMES for source in ("json", "tif") for name in volume.members(source)
    }

    def refuse(error: OSError) -> NoReturn:
        raise ArchiveError(
            f"{error.filename}: cannot be read: {error.strerror}: make it readable"
        ) from error

    # Links to folders are not followed: they may lead in a circle, or out.
    names = (
        (Path(folder) / name).relative_to(path).as_posix()
        for folder, _, files in os.walk(path, onerror=refuse)
        for name in files
        if name in wanted
    )
    return sorted(name for name in names if not _is_junk(name))


def needed_files(label_source: str) -> list[str]:
    """Base names of the files that rows with labels of that source need, images included."""
    return [name for volume in VOLUMES for name in volume.members(label_source)]


def open_source(path: str | Path) -> Source:
    """The zip or the folder at a path."""
    return Source(user_path(path))


def find_source(data_dir: str | Path, label_source: str) -> Source:
    """The files with labels of that source, in a place that the user names.

    Args:
        data_dir: A zip, an extracted folder, or a folder that holds the publisher's zips.
        label_source: "json" or "tif".

    Raises:
        MissingMemberError: if the files are not there; names the first that is missing.
        ArchiveError: for a damaged zip, or two zips that both fit.
    """
    source = open_source(data_dir)
    needed = needed_files(label_source)
    if source.holds(needed) or not source.path.is_dir():
        pass
    elif (published := source.path / archive_for(label_source).file_name).is_file():
        source = open_source(published)
    else:
        zips = [open_source(p) for p in sorted(source.path.glob("*.zip")) if not _is_junk(p.name)]
        fitting = [z for z in zips if z.holds(needed)]
        if len(fitting) > 1:
            names = ", ".join(z.path.name for z in fitting)
            raise ArchiveError(
                f"{source.path}: {len(fitting)} zips hold {label_source} labels ({names}): give "
                "one of them as data_dir"
            )
        source = fitting[0] if fitting else source
    for name in needed:
        source.place(name)
    return source
