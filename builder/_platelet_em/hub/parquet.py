"""Parquet files of a repository, opened so that the checksum of each page is verified.

Without that, one flipped bit in a page is another voxel in most cases, and no error. Files of
earlier builds have no checksums, and are read without.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from _platelet_em.errors import ArchiveError, PlateletEMError, TooLargeError, quote
from _platelet_em.files import check_regular
from _platelet_em.hub.remote import HubPath
from _platelet_em.limits import MAX_ROWS

__all__ = [
    "DataFile",
    "check_embedded",
    "check_row_count",
    "count_files",
    "explain_damage",
    "file_stamp",
    "open_parquet",
    "read_column",
    "read_group",
    "read_metadata",
    "read_schema",
]


DataFile = Path | HubPath
"""A file of this machine, or of the Hub."""


@contextmanager
def explain_damage(path: DataFile) -> Iterator[None]:
    """Name the Parquet file that cannot be read in the block, and the remedy.

    Raises:
        ArchiveError: instead of Arrow's exceptions, which are of several classes.
    """
    try:
        yield
    except PlateletEMError:
        raise
    except MemoryError as error:  # Arrow's is an ArrowException, too
        raise ArchiveError(
            f"{path}: cannot be read ({error!s:.200}): this process may not have as much memory "
            "as it takes; if it may, the file is damaged: build it again"
        ) from error
    except (OSError, UnicodeDecodeError, pa.ArrowException) as error:
        raise ArchiveError(
            f"{path}: expected Parquet that can be read: {error!s:.200}: build it again"
        ) from error


def open_parquet(path: DataFile) -> pq.ParquetFile:
    """A Parquet file whose pages are verified when they are read; to be closed by the caller.

    A file of this machine is read without threads, here and below: where one cannot be started, as
    under a limit of memory, Arrow fails, ends the process, or waits for it for ever. Of a file of
    the Hub, neighboring columns are read in one request, by a thread.

    Raises:
        OSError: for a file that cannot be opened, or is no regular file.
        pa.ArrowException: for a damaged one.
    """
    return pq.ParquetFile(
        _source(path), page_checksum_verification=True, pre_buffer=isinstance(path, HubPath)
    )


def _source(path: DataFile) -> Any:
    """What Arrow reads: the path of a regular file, or a file of the Hub."""
    if isinstance(path, HubPath):
        return path.open()
    check_regular(path)
    return path


def file_stamp(path: DataFile) -> Any:
    """A value that changes when a file is replaced.

    Raises:
        ArchiveError: if there is no such file any more.
    """
    if isinstance(path, HubPath):
        return path.sha
    with explain_damage(path):
        found = path.stat()
    return found.st_ino, found.st_size, found.st_mtime_ns


def check_row_count(path: DataFile, count: int) -> None:
    """Refuse files with too many rows to have a number for each in memory.

    Args:
        path: The file.
        count: Its rows, and those of the files before it.

    Raises:
        TooLargeError: for more than `limits.MAX_ROWS`.
    """
    if count > MAX_ROWS:
        raise TooLargeError(
            f"{path}: expected at most {MAX_ROWS} rows of a split, got {count}: read it with "
            "datasets, or build a repository of fewer volumes"
        )


def read_column(file: pq.ParquetFile, name: str, *, leaf: str | None = None) -> pa.ChunkedArray:
    """A column of a file; of a nested one, only the part at the path `leaf`, if it is given."""
    return file.read([leaf or name], use_threads=False)[name]


def read_group(file: pq.ParquetFile, group: int, columns: list[str]) -> pa.Table:
    """Columns of a row group."""
    return file.read_row_group(group, columns=columns, use_threads=False)


def check_embedded(path: DataFile, table: pa.Table) -> None:
    """Refuse rows whose images are in other files: a stranger may name any file of this machine.

    Args:
        path: The file that the rows are from.
        table: Some of its rows.

    Raises:
        ArchiveError: for an image without its bytes.
    """
    for name in table.column_names:
        for chunk in table[name].chunks:
            if (other := _find_other_file(chunk)) is not None:
                raise ArchiveError(
                    f"{path}: column {name!r}: expected images in the file itself, found the path "
                    f"of another one, {quote(other)}: build the repository again"
                )


def _find_other_file(array: pa.Array) -> str | None:
    """The path of an image that has no bytes, in an array of images or of lists of them."""
    if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        array = array.flatten()
    if not pa.types.is_struct(array.type):
        return None
    if not {"bytes", "path"} <= {field.name for field in array.type}:
        return None
    is_other = pc.and_(pc.is_null(array.field("bytes")), pc.is_valid(array))
    paths = array.field("path").filter(is_other)
    return str(paths[0].as_py()) if len(paths) else None


def read_schema(path: DataFile) -> pa.Schema:
    """The Arrow schema of a file, its metadata included; raises as `open_parquet` does."""
    return pq.read_schema(_source(path))


def read_metadata(path: DataFile) -> pq.FileMetaData:
    """Row groups and sizes of a file; raises as `open_parquet` does."""
    return pq.read_metadata(_source(path))


def count_files(files: Sequence[DataFile]) -> tuple[int, int]:
    """The number of rows in Parquet files, and their size in bytes.

    Raises:
        ArchiveError: for a file that is damaged.
    """
    rows = size = 0
    for path in files:
        with explain_damage(path):
            rows += read_metadata(path).num_rows
        size += path.size if isinstance(path, HubPath) else path.stat().st_size
    return rows, size
