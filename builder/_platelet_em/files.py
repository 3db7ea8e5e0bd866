"""Files that are whole or not there: written beside their place, and moved into it at the end."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from _platelet_em.errors import OutputError, PlateletEMError

__all__ = ["PARTIAL_SUFFIX", "TEMPORARY", "needs_room", "new_file"]

PARTIAL_SUFFIX = ".part"
"""Ending of files that are being written; what has it is nobody's, and may be deleted."""


TEMPORARY = "the folder of temporary files (see TMPDIR)"
"""What to call it where temporary files have no name."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


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
        msg = f"{place}: no room to write: {error.strerror}: free some, or choose another place"
        raise OutputError(msg) from error


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
        file = tempfile.NamedTemporaryFile(  # noqa: SIM115  # renamed while the block is open
            dir=target.parent, prefix=f".{target.name}.", suffix=PARTIAL_SUFFIX, delete=False
        )
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


def _unwritable(target: Path, error: OSError) -> OutputError:
    return OutputError(f"{target}: cannot be written: {error.strerror}: choose another place")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
