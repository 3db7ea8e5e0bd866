"""Files that are whole or not there: written beside their place, and moved into it at the end."""

import errno
import glob
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

try:
    import fcntl
except ImportError:  # elsewhere than on Unix what a killed process leaves is not found again
    fcntl = None  # type: ignore[assignment]

from _platelet_em.errors import ArgumentError, OutputError, PlateletEMError

__all__ = ["PARTIAL_SUFFIX", "TEMPORARY", "needs_room", "new_file", "user_path"]

PARTIAL_SUFFIX = ".part"
"""Ending of files that are being written; what a killed process leaves of them is deleted by the
next one that writes the same file."""

TEMPORARY = "the folder of temporary files (see TMPDIR)"
"""What to call it where temporary files have no name."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def user_path(path: str | Path) -> Path:
    """A path as the user gives it, `~` being a home.

    Raises:
        ArgumentError: for the home of a user that there is not, or no path at all: that would be
            the current folder.
    """
    if path == "":
        raise ArgumentError("a path is empty: give a file or a folder, '.' being the current one")
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise ArgumentError(
            f"{path}: there is no such home: give the whole path, or ./ before a name with ~"
        ) from error


@contextmanager
def needs_room(place: str | Path) -> Iterator[None]:
    """Say which place is full when something in the block cannot be written for lack of room.

    Raises:
        OutputError: names the place, and what to do.
    """
    try:
        yield
    except OSError as error:
        if isinstance(error, PlateletEMError) or error.errno not in _NO_ROOM:
            raise
        raise OutputError(
            f"{place}: no room to write: {error.strerror}: free some, or choose another place"
        ) from error


@contextmanager
def new_file(target: Path) -> Iterator[IO[bytes]]:
    """Write a file that takes its name only when the block ends without an error.

    Args:
        target: Its final path; folders on the way are made. A file there is replaced.

    Yields:
        The file, open for writing and reading, under a temporary name in the same folder.

    Raises:
        OutputError: if the place cannot be written to, or is full.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_leftovers(target)
        file = _temporary_file(target)
    except OSError as error:
        raise _unwritable(target, error) from error
    path = Path(file.name)
    try:
        with needs_room(target), file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        # Temporary files are private; what they become is as public as any new file.
        path.chmod(0o666 & ~_umask())
        try:
            path.replace(target)
        except OSError as error:
            raise _unwritable(target, error) from error
    finally:
        path.unlink(missing_ok=True)


def _temporary_file(target: Path) -> IO[bytes]:
    """A new file beside the target that is held as long as it is open."""
    while True:
        file = tempfile.NamedTemporaryFile(  # noqa: SIM115  # renamed while it is open
            dir=target.parent, prefix=f".{target.name}.", suffix=PARTIAL_SUFFIX, delete=False
        )
        _hold(file, wait=True)
        if Path(file.name).exists():
            return file
        # Another process took it for a leftover before it was held.
        file.close()


def _hold(file: IO[bytes], *, wait: bool) -> bool:
    """Hold a file until it is closed; whether that could be done."""
    with suppress(OSError):
        if fcntl is not None:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
    return False


def _remove_leftovers(target: Path) -> None:
    """Delete the temporary files that killed processes have left of a file."""
    name = f".{glob.escape(target.name)}.*{PARTIAL_SUFFIX}"
    for path in target.parent.glob(name):
        with suppress(OSError):
            if path.is_file() and not path.is_symlink():
                with path.open("rb") as file:
                    if _hold(file, wait=False):
                        path.unlink()


def _unwritable(target: Path, error: OSError) -> OutputError:
    return OutputError(f"{target}: cannot be written: {error.strerror}: choose another place")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
