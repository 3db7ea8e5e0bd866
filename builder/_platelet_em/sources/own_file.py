"""One of a user's own files, opened for reading, or an error that names it."""

from pathlib import Path
from typing import IO

from _platelet_em.errors import ArchiveError, MissingMemberError, printable
from _platelet_em.files import open_regular

__all__ = ["open_own_file"]


def open_own_file(path: Path, expected: str) -> IO[bytes]:
    """Open a file for reading.

    Args:
        path: The file.
        expected: What it should be, for messages, such as "a TIF or PNG".

    Raises:
        MissingMemberError: if there is nothing.
        ArchiveError: for anything but a regular file, and one that cannot be read.
    """
    try:
        return open_regular(path)
    except FileNotFoundError as error:
        raise MissingMemberError(
            f"{printable(str(path))}: expected {expected}, found nothing there: bring the file "
            "back, or correct the description"
        ) from error
    except ArchiveError:
        raise
    except OSError as error:
        raise ArchiveError(
            f"{printable(str(path))}: cannot be read: {error.strerror}: check the file and its "
            "permissions"
        ) from error
