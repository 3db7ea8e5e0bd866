"""Files that are written completely or not at all, and the paths, locks and errors around them.

A file or a folder is written under a temporary name next to its final name, and renamed at the
end.
"""

import errno
import glob
import os
import re
import secrets
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

try:
    import fcntl
except ImportError:  # Windows: files of killed processes are not recognized, and stay
    fcntl = None  # type: ignore[assignment]

from _platelet_em.errors import (
    ArchiveError,
    ArgumentError,
    OutputError,
    PlateletEMError,
    printable,
    quote,
)

__all__ = [
    "PARTIAL_SUFFIX",
    "TEMPORARY",
    "check_regular",
    "exclusive_lock",
    "move_all",
    "needs_room",
    "new_file",
    "new_folder",
    "open_regular",
    "read_regular",
    "refuse_existing",
    "user_path",
]

PARTIAL_SUFFIX = ".part"
"""Suffix of files that are not complete yet."""

_LOCK_SUFFIX = ".lock"
"""Suffix of the file that is locked while a folder of the same name is written."""

TEMPORARY = "the folder of temporary files (see TMPDIR)"
"""What messages call the location of a temporary file without a name."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_TOKEN_BYTES = 4
"""Random bytes in the name of a temporary file, which has two digits for each."""


def user_path(path: str | Path) -> Path:
    """A path as given by the user, with `~` expanded.

    Raises:
        ArgumentError: if it is no path, is empty, which `Path` would take for the current folder,
            has characters that no path has, or names the home directory of an unknown user.
    """
    if not isinstance(path, (str, os.PathLike)):
        raise ArgumentError(f"expected the path of a file or a folder, got {quote(path)}")
    if path == "":
        raise ArgumentError("a path is empty: give a file or a folder, '.' for the current one")
    if "\0" in str(path):
        raise ArgumentError(f"{quote(str(path))}: expected a path, which has no character 0")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ArgumentError(
            f"{path}: there is no such home directory: give the full path, or put ./ before a "
            "name that begins with ~"
        ) from error


_FILE_TYPES = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def check_regular(path: Path) -> None:
    """Refuse anything but a regular file: to open a pipe would wait forever.

    Links to files are followed, since the caches of the Hub's client consist of them.

    Raises:
        ArchiveError: for a folder, pipe, socket or device.
        OSError: if there is nothing, or a link to nothing.
    """
    file_type = stat.S_IFMT(path.stat().st_mode)
    if file_type != stat.S_IFREG:
        found = _FILE_TYPES.get(file_type, "something else")
        raise ArchiveError(f"{path}: expected a regular file, found {found}: remove it")


def open_regular(path: Path) -> IO[bytes]:
    """Open a regular file for reading, and nothing else; see `check_regular`."""
    check_regular(path)
    # It may have been exchanged since: then opening does not wait either.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    return os.fdopen(os.open(path, flags), "rb")


def read_regular(path: Path, limit: int) -> bytes:
    """The content of a regular file of at most `limit` bytes; see `check_regular`.

    Raises:
        ArchiveError: for a larger file, too.
    """
    with open_regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ArchiveError(f"{path}: expected at most {limit} bytes, found more: remove it")
    return content


@contextmanager
def needs_room(target: str | Path) -> Iterator[None]:
    """Name the file or folder that was to be written if the disk is full, or a quota reached.

    Raises:
        OutputError: instead of the `OSError`, also for a file in a folder whose name is too long.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, PlateletEMError):
            raise
        if error.errno == errno.ENAMETOOLONG:
            name = printable(Path(str(error.filename)).name)
            raise OutputError(
                f"{target}: cannot be written: the name of a file in it would be too long, "
                f"{quote(name)}: choose shorter names, and another folder"
            ) from error
        if error.errno not in _NO_ROOM:
            raise
        raise OutputError(
            f"{target}: no room to write: {error.strerror}: free some space, or choose another "
            "folder"
        ) from error


@contextmanager
def exclusive_lock(path: Path, on_wait: Callable[[], object]) -> Iterator[None]:
    """Exclude other processes and threads from a block by a lock file, deleted at its end.

    The file is deleted while it is locked; filelock (3.21 and later) discards a lock on a deleted
    file and tries again, so no two processes have the lock. A killed process loses its lock; the
    file that it leaves is deleted by the next one that locks it.

    Args:
        path: The lock file; missing parent folders are created.
        on_wait: Called if another process has the lock, before waiting for it. It may raise
            instead of waiting.

    Raises:
        OSError: if the lock file cannot be created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        on_wait()
        lock.acquire()
    try:
        yield
    finally:
        with suppress(OSError):  # Windows deletes no open file; there, filelock does it itself
            path.unlink()
        lock.release()


def refuse_existing(path: Path) -> None:
    """Refuse to replace a file that the user has not asked to replace.

    Raises:
        OutputError: if there is anything of that name.
    """
    if os.path.lexists(path):
        raise OutputError(
            f"{path}: exists already: choose another name, or replace it with --force "
            "(in Python, force=True)"
        )


def move_all(moves: Iterable[tuple[Path, Path]]) -> None:
    """Rename files and folders one after another: all of them, or none.

    Args:
        moves: Present and new path of each; missing parent folders are created.

    Raises:
        OSError: if one cannot be renamed. Those that were have their old paths again; if that
            fails, renamings are undone up to there, in reverse order.
    """
    done: list[tuple[Path, Path]] = []
    try:
        for present, new in moves:
            new.parent.mkdir(parents=True, exist_ok=True)
            done.append((present, new))
            present.replace(new)
    except BaseException:
        for present, new in reversed(done):
            # An interruption may have come before or after the last renaming.
            if os.path.lexists(new) and not os.path.lexists(present):
                new.replace(present)
        raise


@contextmanager
def new_file(target: Path, *, overwrite: bool = True) -> Iterator[IO[bytes]]:
    """Write a file that gets its name only if the block ends without an error.

    Temporary files that killed processes have left for the same target are deleted first.

    Args:
        target: The final path; missing parent folders are created.
        overwrite: Whether to replace an existing file, when the new one is complete.

    Yields:
        The file, open for writing and reading, under a temporary name in the same folder.

    Raises:
        OutputError: if the file cannot be written, or exists and is not to be replaced.
    """
    if not overwrite:
        refuse_existing(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _delete_leftovers(target)
        file, path = _open_temporary(target)
    except OSError as error:
        raise _cannot_write(target, error) from error
    try:
        with needs_room(target), file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if not overwrite:
            refuse_existing(target)
        try:
            path.replace(target)
        except OSError as error:
            raise _cannot_write(target, error) from error
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """Write a folder that gets its name only if the block ends without an error.

    Folders that killed processes have left for the same target are deleted first.

    Args:
        target: The final path, where there is nothing, or an empty folder that is not the current
            one; missing parent folders are created.

    Yields:
        An empty folder under a temporary name next to the target.

    Raises:
        OutputError: if the folder cannot be written, or there is something of its name.
    """
    _refuse_filled(target)
    lock: IO[bytes] | None = None
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _delete_leftovers(target, suffix=_LOCK_SUFFIX)
        lock, lock_path = _open_temporary(target, suffix=_LOCK_SUFFIX)
        folder = lock_path.with_suffix(PARTIAL_SUFFIX)
        folder.mkdir()
    except OSError as error:
        if lock is not None:
            lock.close()
            lock_path.unlink(missing_ok=True)
        raise _cannot_write(target, error) from error
    try:
        with needs_room(target):
            yield folder
            _write_back(folder)
        _refuse_filled(target)
        try:
            folder.replace(target)
        except OSError as error:
            raise _cannot_write(target, error) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        lock_path.unlink(missing_ok=True)
        lock.close()


def _write_back(folder: Path) -> None:
    """Wait until the files of a folder are on the disk: it must not lose them with its power."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("r+b") as file:
                os.fsync(file.fileno())


def _refuse_filled(target: Path) -> None:
    """Refuse to write a folder where there is anything but an empty one."""
    try:
        is_free = not os.path.lexists(target) or (
            target.is_dir() and not target.is_symlink() and not any(target.iterdir())
        )
        is_current = target.is_dir() and target.samefile(os.curdir)
    except OSError as error:
        raise _cannot_write(target, error) from error
    if is_free and is_current:
        raise OutputError(
            f"{target}: is the current folder, which cannot be replaced by the new one: name a "
            "folder in it"
        )
    if not is_free:
        raise OutputError(
            f"{target}: exists already: choose another name, or move it away; nothing was changed"
        )


def _open_temporary(target: Path, suffix: str = PARTIAL_SUFFIX) -> tuple[IO[bytes], Path]:
    """A new file next to the target, locked for as long as it is open."""
    while True:
        # Not by tempfile: its files are private, and this one becomes the target.
        token = secrets.token_hex(_TOKEN_BYTES)
        path = target.with_name(f".{target.name}.{token}{suffix}")
        file = path.open("x+b")
        _try_lock(file, wait=True)
        if path.exists():
            return file, path
        # Another process deleted it as a leftover before it was locked.
        file.close()


def _try_lock(file: IO[bytes], *, wait: bool) -> bool:
    """Lock an open file until it is closed; returns whether that succeeded."""
    with suppress(OSError):
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


def _delete_leftovers(target: Path, suffix: str = PARTIAL_SUFFIX) -> None:
    """Delete temporary files of the target that no process has locked any more, and folders."""
    # No other names: `.out.mine.lock` is not a file of ours.
    ours = re.compile(
        rf"\.{re.escape(target.name)}\.[0-9a-f]{{{2 * _TOKEN_BYTES}}}{re.escape(suffix)}"
    )
    for path in target.parent.glob(f".{glob.escape(target.name)}.*{suffix}"):
        with suppress(OSError):
            if ours.fullmatch(path.name) and path.is_file() and not path.is_symlink():
                with path.open("rb") as file:
                    if _try_lock(file, wait=False):
                        if suffix == _LOCK_SUFFIX:
                            shutil.rmtree(path.with_suffix(PARTIAL_SUFFIX), ignore_errors=True)
                        path.unlink()


def _cannot_write(path: Path, error: OSError) -> OutputError:
    return OutputError(f"{path}: cannot be written: {error.strerror}: choose another folder")
