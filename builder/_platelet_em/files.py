"""Files that are whole or not there: written beside their place, and moved into it at the end."""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from _platelet_em.errors import OutputError

__all__ = ["PARTIAL_SUFFIX", "new_file"]

PARTIAL_SUFFIX = ".part"
"""Ending of files that are being written; what has it is nobody's, and may be deleted."""


@contextmanager
def new_file(target: Path) -> Iterator[IO[bytes]]:
    """Write a file that takes its name only when the block ends without an error.

    Args:
        target: Its final path; folders on the way are made. A file there is replaced.

    Yields:
        The file, open for writing and reading, under a temporary name in the same folder.

    Raises:
        OutputError: if the place cannot be written to.
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
        with file:
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
