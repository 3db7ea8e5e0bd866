"""A zip or an extracted folder of the publisher, whose files are found by base name.

Nothing is extracted: a member of a zip is decompressed into a temporary file without a name,
which a TIF reader can seek in.
"""

import hashlib
import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import IO

from _platelet_em.errors import ArchiveError, MissingMemberError, OutputError
from _platelet_em.files import TEMPORARY, needs_room
from _platelet_em.spec import VOLUMES, archive_for

__all__ = ["Source", "file_md5", "find_source", "needed_files", "open_source"]

_CHUNK = 1 << 20
_ZIP_TROUBLE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError)


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
            self._members.setdefault(PurePosixPath(name).name, []).append(name)

    @property
    def is_zip(self) -> bool:
        """Whether it is a zip; else it is a folder."""
        return self._is_zip

    @property
    def comment(self) -> str:
        """The comment of a zip; empty for a folder."""
        if not self._is_zip:
            return ""
        with zipfile.ZipFile(self.path) as archive:
            return archive.comment.decode("utf-8", "replace")

    def __repr__(self) -> str:
        return f"Source({str(self.path)!r})"

    def holds(self, names: Iterable[str]) -> bool:
        """Whether all files of these base names are there."""
        return all(name in self._members for name in names)

    def place(self, name: str) -> str:
        """Archive and member, for messages."""
        return f"{self.path}: {self._member(name)}"

    def _member(self, name: str) -> str:
        found = self._members.get(name, [])
        if not found:
            there = ", ".join(sorted(self._members)[:12]) or "nothing"
            msg = (
                f"{self.path}: expected a file {name}, found {there}: fetch the archive again, or "
                "give its zip or its extracted folder as data_dir"
            )
            raise MissingMemberError(msg)
        if len(found) > 1:
            msg = (
                f"{self.path}: {name} is there {len(found)} times ({', '.join(found[:3])}): give "
                "the zip or the folder of one archive as data_dir"
            )
            raise ArchiveError(msg)
        return found[0]

    def open(self, name: str) -> IO[bytes]:
        """Open the file of that base name for reading; it can seek.

        Raises:
            MissingMemberError: if it is not there.
            ArchiveError: if it is there twice, or damaged.
            OutputError: if there is no room to unpack it.
        """
        member = self._member(name)
        if not self._is_zip:
            try:
                return (self.path / member).open("rb")
            except OSError as error:
                msg = f"{self.place(name)}: cannot be read: {error.strerror}"
                raise ArchiveError(msg) from error
        whole = tempfile.TemporaryFile()  # noqa: SIM115  # the caller closes it
        try:
            with (
                needs_room(TEMPORARY),
                zipfile.ZipFile(self.path) as archive,
                archive.open(member) as packed,
            ):
                shutil.copyfileobj(packed, whole, _CHUNK)
                whole.flush()
            whole.seek(0)
        except OutputError:
            whole.close()
            raise
        except (*_ZIP_TROUBLE, OSError) as error:
            whole.close()
            msg = f"{self.place(name)}: cannot be unpacked: {error}: fetch the archive again"
            raise ArchiveError(msg) from error
        except BaseException:
            whole.close()
            raise
        return whole

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


def _is_junk(name: str) -> bool:
    """Whether a Mac's archiver left it: `__MACOSX/` folders and `._name` shadows [code, peer]."""
    parts = PurePosixPath(name).parts
    return "__MACOSX" in parts or parts[-1].startswith("._")


def _zip_names(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    except FileNotFoundError as error:
        msg = f"{path}: expected a zip or a folder of the publisher's files, found nothing there"
        raise MissingMemberError(msg) from error
    except (*_ZIP_TROUBLE, OSError) as error:
        msg = f"{path}: expected a zip archive: {error}: fetch the archive again"
        raise ArchiveError(msg) from error
    return [name for name in names if not _is_junk(name)]


def _folder_names(path: Path) -> list[str]:
    wanted = {
        name for volume in VOLUMES for source in ("json", "tif") for name in volume.members(source)
    }
    names = (p.relative_to(path).as_posix() for p in sorted(path.rglob("*")) if p.name in wanted)
    return [name for name in names if not _is_junk(name)]


def needed_files(label_source: str) -> list[str]:
    """Base names of the files that rows with labels of that source need, images included."""
    return [name for volume in VOLUMES for name in volume.members(label_source)]


def open_source(path: str | Path) -> Source:
    """The zip or the folder at a path."""
    return Source(Path(path).expanduser())


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
            msg = (
                f"{source.path}: {len(fitting)} zips hold {label_source} labels ({names}): give "
                "one of them as data_dir"
            )
            raise ArchiveError(msg)
        source = fitting[0] if fitting else source
    for name in needed:
        source.place(name)
    return source
