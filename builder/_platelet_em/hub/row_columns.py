"""Columns of single rows of a repository, read from their row groups and kept in this process."""

import functools
import hashlib
import os
import threading
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from _platelet_em.arrays.lazy import LazyArray
from _platelet_em.errors import ArchiveError, ArgumentError, quote
from _platelet_em.hf.formatter import PlateletEMFormatter
from _platelet_em.hub.layout import check_shards, data_files
from _platelet_em.hub.location import HubName
from _platelet_em.hub.parquet import (
    DataFile,
    check_embedded,
    check_row_count,
    explain_damage,
    file_stamp,
    open_parquet,
    read_column,
    read_group,
)
from _platelet_em.hub.record import check_readable
from _platelet_em.hub.remote import HubPath, open_location

__all__ = ["FoundRow", "find_rows", "read_value"]

_VOLUME = "volume"

_LEAVES = frozenset({"bytes", "rle"})
"""Fields that columns of images and of labels have."""

_KEPT_GROUPS = 8
"""Columns of row groups that a process keeps: tasks often read images and labels of a volume in
turn. A row group of one published volume takes 63 MB of images, or 1 to 3 MB of labels."""

_KEPT_SPLITS = 64
"""Splits whose row groups a process keeps in mind, without their content."""


class FoundRow(NamedTuple):
    """A row that has a value in a column.

    Attributes:
        row: Its position in the split, from 0.
        volume: The volume that it belongs to.
        file_digest: Of the file that it is in.
    """

    row: int
    volume: str
    file_digest: str


def find_rows(path: str, config: str, split: str, column: str) -> tuple[str, list[FoundRow]]:
    """The rows of a split that have a value in a column, which itself is not read.

    Args:
        path: A folder, or the address of a dataset on the Hub.
        config: The configuration.
        split: The split.
        column: The column, of images or labels.

    Returns:
        The path, with the commit of a dataset on the Hub, and the rows in order.

    Raises:
        ArgumentError: if there is no such column, or it is of single values.
        ArchiveError: for a missing or damaged file.
        HubError: if the Hub does not answer.
        SchemaVersionError: for a repository of a newer schema.
    """
    folder = open_location(path)
    rows: list[FoundRow] = []
    first = 0
    files = _find_files(folder, config, split)
    check_readable(file for file, _ in files)
    for file, _ in files:
        with explain_damage(file), open_parquet(file) as opened:
            _check_column(file, opened, column)
            check_row_count(file, first + opened.metadata.num_rows)
            digest = _digest(opened.metadata)
            volumes = read_column(opened, _VOLUME).to_pylist()
            is_null = read_column(opened, column, leaf=_smallest_leaf(opened, column)).is_null()
        rows += [
            FoundRow(first + i, volume, digest)
            for i, (volume, null) in enumerate(zip(volumes, is_null.to_pylist(), strict=True))
            if not null
        ]
        first += len(volumes)
    if isinstance(folder, HubPath):
        path = str(HubName(folder.commit.name.repo_id, folder.sha))
    return path, rows


def read_value(
    path: str,
    config: str,
    split: str,
    row: int,
    column: str,
    *,
    volume: str | None = None,
    file_digest: str | None = None,
) -> Any:
    """The value of a column in one row, in the format.

    The column of its row group is read, and kept for other rows and later calls. A file that was
    replaced in the meantime is read again.

    Args:
        path: A folder, or the address of a dataset on the Hub.
        config: The configuration.
        split: The split.
        row: Position of the row in the split, from 0.
        column: The column, of images or labels.
        volume: The volume that the row must belong to; None is any.
        file_digest: The digest that its file must have; None is any.

    Raises:
        ArgumentError: for a row or column that does not exist, and for a value that is null, or
            neither an image nor labels.
        ArchiveError: for a missing or damaged file, and for one that has another digest or volume.
        HubError: if the Hub does not answer.
        SchemaVersionError: for a repository of a newer schema.
    """
    is_on_hub = path.startswith("hf://")
    folder = _open_on_hub(os.getpid(), path) if is_on_hub else open_location(path)
    files = _find_files(folder, config, split)
    index = _read_index(files)
    if row >= index.num_rows:
        raise ArgumentError(
            f"{path}: configuration {config!r}, split {split!r}: expected a row from 0 to "
            f"{index.num_rows - 1}, got {row}"
        )
    group = index.find_group(row)
    file, stamp = files[group.file]
    name = f"{file}: row {row} of {split!r}"
    if file_digest not in (None, group.digest):
        raise _replaced(name, file_digest, group.digest)
    kept = _keep_group(os.getpid(), file, stamp, group, column)
    found_volume, value = kept.read(row - group.first_row)
    _check_value(name, column, volume, found_volume, value)
    return value


def _check_value(name: str, column: str, volume: str | None, found: str, value: Any) -> None:
    """Refuse a value of another volume, and one that is null or of another type."""
    if volume not in (None, found):
        raise ArchiveError(
            f"{name}: expected volume {quote(volume)}, found {quote(found)}: the repository has "
            "other rows than when it was referred to: make the references again"
        )
    if value is None:
        raise ArgumentError(
            f"{name}: volume {found} has no {column}: they are null; leave this row out "
            "(ColumnReference.of does)"
        )
    if not isinstance(value, (LazyArray, np.ndarray)):
        raise ArgumentError(
            f"{name}: column {column!r}: expected images or labels, got {quote(value)}"
        )


def _replaced(name: str, expected: str | None, found: str) -> ArchiveError:
    return ArchiveError(
        f"{name}: expected the file with the digest {expected}, found one with {found}: the "
        "repository was built again, or copied incompletely: make the references again"
    )


# --- files ------------------------------------------------------------------------------------

_Files = tuple[tuple[DataFile, Any], ...]
"""The files of a split, each with a value that changes when it is replaced."""


def _find_files(folder: Path | HubPath, config: str, split: str) -> _Files:
    """The files of a split as they are now."""
    files: Sequence[DataFile] = data_files(folder, config, split)
    check_shards(folder, config, split, files)
    return tuple((file, file_stamp(file)) for file in files)


@functools.lru_cache(maxsize=_KEPT_SPLITS)
def _open_on_hub(process: int, path: str) -> Any:  # noqa: ARG001  # connections are not inherited
    """A dataset on the Hub, which is asked once for the commit that a name stands for."""
    return open_location(path)


# --- row groups -------------------------------------------------------------------------------


class _GroupPosition(NamedTuple):
    """A row group: index of its file, number in it, position of its first row, file's digest."""

    file: int
    number: int
    first_row: int
    digest: str


@dataclass(frozen=True, slots=True)
class _Index:
    """The row groups of a split in order, and the position of the first row of each."""

    groups: Sequence[_GroupPosition]
    first_rows: Sequence[int]
    num_rows: int

    def find_group(self, row: int) -> _GroupPosition:
        return self.groups[bisect_right(self.first_rows, row) - 1]


@functools.lru_cache(maxsize=_KEPT_SPLITS)
def _read_index(files: _Files) -> _Index:
    check_readable(file for file, _ in files)
    groups: list[_GroupPosition] = []
    first_row = 0
    for i, (file, _) in enumerate(files):
        with explain_damage(file), open_parquet(file) as opened:
            metadata = opened.metadata
        digest = _digest(metadata)
        for number in range(metadata.num_row_groups):
            groups.append(_GroupPosition(i, number, first_row, digest))
            first_row += metadata.row_group(number).num_rows
    return _Index(groups, [group.first_row for group in groups], first_row)


def _digest(metadata: pq.FileMetaData) -> str:
    """Identifies the content of a file by what its footer has, in every version of Arrow.

    That is the record of the build, in which the sources and the code have their digests, and the
    compressed sizes of all columns, which tell files apart that others have written.
    """
    groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
    sizes = [
        [
            group.num_rows,
            *(group.column(k).total_compressed_size for k in range(group.num_columns)),
        ]
        for group in groups
    ]
    stored = sorted((metadata.metadata or {}).items())
    return hashlib.sha256(repr((stored, sizes)).encode()).hexdigest()[:16]


# --- values -----------------------------------------------------------------------------------


class _ColumnGroup:
    """A column of a row group, read when the first of its rows is asked for, by one thread."""

    def __init__(self, file: DataFile, group: _GroupPosition, column: str) -> None:
        self._file, self._group, self._column = file, group, column
        self._lock = threading.Lock()
        self._table: pa.Table | None = None
        self._values: dict[int, Any] = {}

    def read(self, i: int) -> tuple[str, Any]:
        """Volume and value of row i of the group."""
        with self._lock:
            if self._table is None:
                self._table = self._read_table()
            if i not in self._values:
                row = self._table.slice(i, 1)
                self._values[i] = PlateletEMFormatter().format_row(row)
            row = self._values[i]
        return row[_VOLUME], row[self._column]

    def _read_table(self) -> pa.Table:
        file = self._file
        with explain_damage(file), open_parquet(file) as opened:
            # It may have been replaced since its footer was read.
            if (digest := _digest(opened.metadata)) != self._group.digest:
                raise _replaced(str(file), self._group.digest, digest)
            _check_column(file, opened, self._column)
            table = read_group(opened, self._group.number, [_VOLUME, self._column])
        check_embedded(file, table)
        return table


@functools.lru_cache(maxsize=_KEPT_GROUPS)
def _keep_group(
    process: int,  # noqa: ARG001  # a lock that another thread has at a fork would stay locked
    file: DataFile,
    stamp: Any,  # noqa: ARG001  # the file of another stamp is another one
    group: _GroupPosition,
    column: str,
) -> _ColumnGroup:
    return _ColumnGroup(file, group, column)


def _check_column(file: DataFile, opened: pq.ParquetFile, column: str) -> None:
    """Refuse a column that there is not, or that has neither labels nor images."""
    names = opened.schema_arrow.names
    leaves = [opened.schema.column(k).path.split(".") for k in range(len(opened.schema))]
    lazy = [*dict.fromkeys(leaf[0] for leaf in leaves if _LEAVES.intersection(leaf))]
    if column not in lazy:
        found = "other values" if column in names else "no such column"
        raise ArgumentError(
            f"{file}: column {column!r}: expected images or labels, {' or '.join(lazy)}, found "
            f"{found}: read single values with datasets, or any reader of Parquet"
        )
    for name in (column, _VOLUME):
        if (count := names.count(name)) != 1:
            raise ArchiveError(
                f"{file}: expected one column {name!r}, found {count or 'none'}: build it again"
            )


def _smallest_leaf(opened: pq.ParquetFile, column: str) -> str:
    """Path of the part of a nested column that takes the fewest bytes, such as a label's shape."""
    metadata = opened.metadata
    sizes: dict[str, int] = {}
    for k in range(metadata.num_columns):
        path = opened.schema.column(k).path
        if path.startswith(f"{column}."):
            groups = map(metadata.row_group, range(metadata.num_row_groups))
            sizes[path] = sum(group.column(k).total_compressed_size for group in groups)
    return min(sizes, key=sizes.__getitem__)
