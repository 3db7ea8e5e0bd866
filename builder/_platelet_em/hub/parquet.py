"""Parquet files of a repository, opened so that the checksum of each page is verified.

Without that, one flipped bit in a page is another voxel in most cases, and no error. Files of
earlier builds have no checksums, and are read without.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from _platelet_em.errors import ArchiveError

__all__ = ["count_files", "explain_damage", "open_parquet"]


@contextmanager
def explain_damage(path: Path) -> Iterator[None]:
    """Name the Parquet file that cannot be read in the block, and the remedy.

    Raises:
        ArchiveError: instead of Arrow's exceptions, which are of several classes.
    """
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise ArchiveError(
            f"{path}: expected Parquet that can be read: {error!s:.200}: build it again"
        ) from error


def open_parquet(path: Path) -> pq.ParquetFile:
    """A Parquet file whose pages are verified when they are read; to be closed by the caller.

    Raises:
        OSError: for a file that cannot be opened.
        pa.ArrowException: for a damaged one.
    """
    return pq.ParquetFile(path, page_checksum_verification=True)


def count_files(files: list[Path]) -> tuple[int, int]:
    """The number of rows in Parquet files, and their size in bytes.

    Raises:
        ArchiveError: for a file that is damaged.
    """
    rows = size = 0
    for path in files:
        with explain_damage(path):
            rows += pq.read_metadata(path).num_rows
        size += path.stat().st_size
    return rows, size
