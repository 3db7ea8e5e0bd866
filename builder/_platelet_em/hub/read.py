"""Volumes of a built repository, read from the rows of the configuration `slices`."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from _platelet_em.errors import ArchiveError, MissingMemberError, quote
from _platelet_em.hf.formatter import PlateletEMFormatter
from _platelet_em.hf.volume import Row, RowVolume
from _platelet_em.hub.layout import check_shards, data_files
from _platelet_em.hub.parquet import (
    DataFile,
    check_embedded,
    check_row_count,
    explain_damage,
    file_stamp,
    open_parquet,
    read_column,
    read_group,
    read_metadata,
)
from _platelet_em.hub.record import check_readable
from _platelet_em.hub.remote import HubPath
from _platelet_em.rows.make import SLICES
from _platelet_em.spec import DatasetSpec, VolumeSpec

__all__ = ["ParquetRows", "SplitReader", "open_volume", "open_volumes"]


class SplitReader:
    """The volumes of a split of a built repository; one row group is in memory at a time.

    Args:
        folder: The repository.
        split: The split.
        columns: Columns that are read of a volume, if it has labels of them.

    Raises:
        ArchiveError: for a file that is damaged, or lacks a column.
        SchemaVersionError: for a repository of a newer schema.
        TooLargeError: for too many rows.
    """

    def __init__(self, folder: Path | HubPath, split: str, columns: Sequence[str]) -> None:
        self._folder, self._split = folder, split
        files: Sequence[DataFile] = data_files(folder, SLICES.name, split)
        check_readable(files)
        self._files = files
        self._slices: dict[Any, tuple[list[int], list[Any]]] = {}
        position = 0
        for path in files:
            with explain_damage(path), open_parquet(path) as file:
                names = file.schema_arrow.names
                if missing := [n for n in ("volume", "z", "image", *columns) if n not in names]:
                    raise ArchiveError(
                        f"{path}: expected the column {missing[0]!r}, got only {quote(names)}: "
                        "build it again"
                    )
                check_row_count(path, position + file.metadata.num_rows)
                found = [read_column(file, name).to_pylist() for name in ("volume", "z")]
            for volume, z in zip(*found, strict=True):
                positions, zs = self._slices.setdefault(volume, ([], []))
                positions.append(position)
                zs.append(z)
                position += 1
        self._rows = ParquetRows(files, ["image", *columns])

    def open(
        self, volume: VolumeSpec, *, partial: bool = False, first_z: int | None = None
    ) -> RowVolume:
        """A volume; arguments and errors as of `open_volume`."""
        positions, zs = self._slices.get(volume.name, ([], []))
        if not zs:
            raise MissingMemberError(
                f"{self._folder}: volume {volume.name}: expected rows of its slices, found none: "
                "build it again"
            )
        previous = -1
        for i, z in enumerate(zs):
            if z != i and not (partial and isinstance(z, int) and z > previous):
                raise MissingMemberError(
                    f"{self._folder}: volume {volume.name}: expected rows of all its slices in z "
                    f"order, found z = {quote(z)} instead of {i} in row {i} of {len(zs)}: build "
                    "it again"
                )
            previous = z
        if not partial:
            check_shards(self._folder, SLICES.name, self._split, self._files)
        first = zs.index(first_z) if first_z in zs else 0
        columns = ["image", *volume.columns]
        return RowVolume(
            volume.name, self._rows, columns, positions, zs, first=first, keep_rows=False
        )


def open_volume(
    folder: Path | HubPath,
    volume: VolumeSpec,
    *,
    partial: bool = False,
    first_z: int | None = None,
    readers: "dict[Any, SplitReader] | None" = None,
) -> RowVolume:
    """A volume of a built repository; one row group is in memory at a time.

    Args:
        folder: The repository.
        volume: The volume, at least one slice of which is in the repository.
        partial: Whether slices may be missing, as in a partial download. The volume then consists
            of the slices that exist, and its `zs` are their z.
        first_z: The slice that is read now, for the shape; None is the first one.
        readers: Readers of earlier calls for this folder, for many volumes of a split: its files
            are looked through once. A new one is added.

    Raises:
        MissingMemberError: if rows of the volume, or files of its split, are missing.
        ArchiveError: for a file that is damaged, or lacks a column.
        SchemaVersionError: for a repository of a newer schema.
    """
    key = volume.split, volume.columns
    readers = {} if readers is None else readers
    if key not in readers:
        readers[key] = SplitReader(folder, *key)
    return readers[key].open(volume, partial=partial, first_z=first_z)


def open_volumes(
    folder: Path | HubPath, spec: DatasetSpec
) -> Iterator[tuple[VolumeSpec, RowVolume]]:
    """Each volume of a dataset, opened; arguments and errors as of `open_volume`."""
    for split, volumes in spec.splits.items():
        columns = {column: None for volume in volumes for column in volume.columns}
        reader = SplitReader(folder, split, [*columns])
        for volume in volumes:
            yield volume, reader.open(volume)


class ParquetRows(Sequence[Row]):
    """Rows of Parquet files in the format; the last row group that was read stays in memory.

    Raises:
        ArchiveError: for a damaged file; when a row is read, also for a file that was replaced.
    """

    def __init__(self, files: Sequence[DataFile], columns: list[str]) -> None:
        self._columns = columns
        self._groups: list[tuple[DataFile, int, int]] = []
        self._stamps = {path: file_stamp(path) for path in files}
        for path in files:
            with explain_damage(path):
                metadata = read_metadata(path)
            for group in range(metadata.num_row_groups):
                rows = metadata.row_group(group).num_rows
                self._groups += [(path, group, i) for i in range(rows)]
        self._kept: tuple[DataFile, int, Any] | None = None

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, index: Any) -> Any:
        path, group, i = self._groups[index]
        kept = self._kept  # another thread may replace it
        if kept is None or kept[:2] != (path, group):
            with explain_damage(path), open_parquet(path) as file:
                kept = path, group, read_group(file, group, self._columns)
            check_embedded(path, kept[2])
            if file_stamp(path) != self._stamps[path]:
                raise ArchiveError(
                    f"{path}: was replaced while the repository was read: open it again"
                )
            self._kept = kept
        return PlateletEMFormatter().format_row(kept[2].slice(i, 1))
