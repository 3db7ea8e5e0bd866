"""Rows of a configuration of a split, read group by group, and found by their volume."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from _platelet_em.hub.parquet import open_parquet, read_column, read_group, read_metadata
from _platelet_em.hub.read import ParquetRows
from _platelet_em.progress import progress_bar
from _platelet_em.verify.files import REBUILD
from _platelet_em.verify.report import Section
from _platelet_em.verify.row_values import RowReporter

__all__ = ["StoredRows"]

_ENCODINGS = {"PLAIN", "RLE"}
"""Encodings that `build` writes: values one after the other, and levels of nesting."""

_MAX_COLUMN = 2**31
"""Bytes of a row group's column, uncompressed; Arrow cannot hold more of one."""

_KEPT_BYTES = 2**26
"""Bytes of a row group that stays in memory for the next volume, which may have rows in it."""

_Group = dict[str, pa.ChunkedArray]


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a row is.

    Attributes:
        path: Its file.
        group: Its row group.
        index: Its position in the group.
        row: Its position in the file.
    """

    path: Path
    group: int
    index: int
    row: int


class StoredRows:
    """The rows of the files of a configuration, in order.

    Args:
        files: Parquet files that can be opened, in the order of their rows.
        is_shared: Whether they hold several volumes: rows are found by the name of theirs. Else
            all rows are those of the one volume, whatever they call it.

    Attributes:
        files: As given.
        damaged: Shared files whose names of volumes cannot be read, and why: their rows are found
            by no volume.
    """

    def __init__(self, files: list[Path], *, is_shared: bool) -> None:
        self.files = files
        self._places: dict[Any, list[_Place]] | None = {} if is_shared else None
        self._kept: tuple[Path, int, _Group] | None = None
        self.damaged: list[tuple[Path, Exception]] = []
        for path in files if is_shared else ():
            try:
                self._find_rows(path)
            except (OSError, ValueError, pa.ArrowException) as error:  # noqa: PERF203  # a few files
                self.damaged.append((path, error))

    def _find_rows(self, path: Path) -> None:
        with open_parquet(path) as file:
            names = read_column(file, "volume").to_pylist()
            places = list(_places_of(path, file))
        for name, place in zip(names, places, strict=True):
            if self._places is not None:
                self._places.setdefault(name, []).append(place)

    @property
    def volumes(self) -> list[Any]:
        """Names of the volumes that shared files have rows of."""
        return [*(self._places or {})]

    def read(
        self, section: Section, volume: str, stage: str, *, has_z: bool
    ) -> Iterator[tuple[RowReporter, dict[str, Any]]]:
        """The rows of a volume, one row group in memory at a time, as Arrow scalars by column.

        A file that cannot be read becomes an error, and the next one follows.

        Args:
            section: Receives the errors.
            volume: Name of the volume.
            stage: What the progress bar says.
            has_z: Whether rows are slices, whose z is known as long as no row is missing.
        """
        z = 0
        with progress_bar(stage=stage, unit="row", total=self._count(volume), leave=False) as bar:
            for path, places in self._by_file(volume):
                row = 0
                try:
                    for place in places:
                        row = place.row
                        group = self._read_group(place)
                        values = {name: column[place.index] for name, column in group.items()}
                        at = {"z": z} if has_z else {}
                        yield RowReporter(section, str(path), row, at), values
                        bar.update()
                        row, z = row + 1, z + 1
                except (OSError, ValueError, pa.ArrowException) as error:
                    section.error(
                        "rows",
                        str(path),
                        expected="readable rows",
                        found=f"{error!s:.200}",
                        remedy=REBUILD,
                        row=row,
                    )
                    has_z = False
        if self._kept is not None and sum(c.nbytes for c in self._kept[2].values()) > _KEPT_BYTES:
            self.release()

    def release(self) -> None:
        """Forget the row group in memory."""
        self._kept = None

    def positions(self, volume: str) -> list[int]:
        """Positions of the rows of a volume among those of all files."""
        starts = self._starts
        if self._places is None:
            return [*range(starts[-1])]
        before = dict(zip(self.files, starts, strict=False))
        return [before[place.path] + place.row for place in self._places.get(volume, ())]

    @cached_property
    def _starts(self) -> list[int]:
        """Rows before each of the files, and of all; a file that cannot be read has none."""
        starts = [0]
        for path in self.files:
            rows = 0
            with suppress(OSError, pa.ArrowException):
                rows = read_metadata(path).num_rows
            starts.append(starts[-1] + rows)
        return starts

    @cached_property
    def images(self) -> ParquetRows:
        """The images of all rows, by their positions."""
        return ParquetRows(self.files, ["image"])

    def _by_file(self, volume: str) -> Iterator[tuple[Path, Iterator[_Place]]]:
        """Each file with rows of a volume, and their places."""
        if self._places is None:
            for path in self.files:
                yield path, _read_places(path)
            return
        found: dict[Path, list[_Place]] = {}
        for place in self._places.get(volume, ()):
            found.setdefault(place.path, []).append(place)
        for path, places in found.items():
            yield path, iter(places)

    def _count(self, volume: str) -> int:
        """The rows of a volume in the files that can be read."""
        if self._places is not None:
            return len(self._places.get(volume, ()))
        count = 0
        for path in self.files:
            with suppress(OSError, pa.ArrowException):
                count += read_metadata(path).num_rows
        return count

    def _read_group(self, place: _Place) -> _Group:
        if self._kept is None or self._kept[:2] != (place.path, place.group):
            self.release()
            with open_parquet(place.path) as file:
                self._kept = place.path, place.group, _read_columns(file, place.group)
        return self._kept[2]


def _read_places(path: Path) -> Iterator[_Place]:
    with open_parquet(path) as file:
        places = list(_places_of(path, file))
    yield from places


def _places_of(path: Path, file: pq.ParquetFile) -> Iterator[_Place]:
    row = 0
    for group in range(file.num_row_groups):
        for index in range(file.metadata.row_group(group).num_rows):
            yield _Place(path, group, index, row)
            row += 1


def _read_columns(file: pq.ParquetFile, group: int) -> _Group:
    """The columns of a row group, read one by one: reading takes twice the memory of a column.

    Raises:
        pa.ArrowInvalid: for columns that take more memory than their pages say, or more than
            Arrow can hold.
    """
    metadata = file.metadata.row_group(group)
    for i in range(metadata.num_columns):
        column = metadata.column(i)
        if others := set(column.encodings) - _ENCODINGS:
            # Values of a dictionary are stored once and read many times.
            raise pa.ArrowInvalid(
                f"column {column.path_in_schema}: encoded as {sorted(others)}, not as PLAIN"
            )
        if column.total_uncompressed_size > _MAX_COLUMN:
            raise pa.ArrowInvalid(
                f"column {column.path_in_schema}: {column.total_uncompressed_size} bytes, at most "
                f"{_MAX_COLUMN} are read"
            )
    names = file.schema_arrow.names
    return {name: read_group(file, group, [name])[name] for name in names}
