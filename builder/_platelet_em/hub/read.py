"""Volumes of a built repository, read from the rows of the configuration `slices`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from _platelet_em.errors import ArchiveError, MissingMemberError, quote
from _platelet_em.hf.formatter import PlateletEMFormatter
from _platelet_em.hf.volume import Row, RowVolume
from _platelet_em.hub.layout import data_files
from _platelet_em.hub.parquet import (
    DataFile,
    explain_damage,
    open_parquet,
    read_column,
    read_group,
    read_metadata,
)
from _platelet_em.hub.record import check_readable
from _platelet_em.hub.remote import HubPath
from _platelet_em.rows.make import SLICES
from _platelet_em.spec import VolumeSpec

__all__ = ["ParquetRows", "open_volume"]


def open_volume(
    folder: Path | HubPath,
    volume: VolumeSpec,
    *,
    partial: bool = False,
    first_z: int | None = None,
) -> RowVolume:
    """A volume of a built repository; one row group is in memory at a time.

    Args:
        folder: The repository.
        volume: The volume, at least one slice of which is in the repository.
        partial: Whether slices may be missing, as in a partial download. The volume then consists
            of the slices that exist, and its `zs` are their z.
        first_z: The slice that is read now, for the shape; None is the first one.

    Raises:
        MissingMemberError: if rows of the volume are missing.
        ArchiveError: for a file that is damaged, or lacks a column.
        SchemaVersionError: for a repository of a newer schema.
    """
    files: Sequence[DataFile] = data_files(folder, SLICES.name, volume.split)
    check_readable(files)
    columns = ["image", *volume.columns]
    zs: list[Any] = []
    for path in files:
        with explain_damage(path), open_parquet(path) as file:
            names = file.schema_arrow.names
            if missing := [name for name in ("z", *columns) if name not in names]:
                raise ArchiveError(
                    f"{path}: expected the column {missing[0]!r}, got only {quote(names)}: build "
                    "it again"
                )
            zs += read_column(file, "z").to_pylist()
    if not zs:
        raise MissingMemberError(
            f"{folder}: volume {volume.name}: expected rows of its slices, found none: build it "
            "again"
        )
    previous = -1
    for i, z in enumerate(zs):
        if z != i and not (partial and isinstance(z, int) and z > previous):
            raise MissingMemberError(
                f"{folder}: volume {volume.name}: expected rows of all its slices in z order, "
                f"found z = {quote(z)} instead of {i} in row {i} of {len(zs)}: build it again"
            )
        previous = z
    rows = ParquetRows(files, columns)
    first = zs.index(first_z) if first_z in zs else 0
    return RowVolume(volume.name, rows, columns, range(len(zs)), zs, first=first, keep_rows=False)


class ParquetRows(Sequence[Row]):
    """Rows of Parquet files in the format; the last row group that was read stays in memory."""

    def __init__(self, files: Sequence[DataFile], columns: list[str]) -> None:
        self._columns = columns
        self._groups: list[tuple[DataFile, int, int]] = []
        for path in files:
            with explain_damage(path):
                metadata = read_metadata(path)
            for group in range(metadata.num_row_groups):
                rows = metadata.row_group(group).num_rows
                self._groups += [(path, group, i) for i in range(rows)]
        self._kept: tuple[DataFile, int] | None = None
        self._table: Any = None

    def __len__(self) -> int:
        return len(self._groups)

    def __getitem__(self, index: Any) -> Any:
        path, group, i = self._groups[index]
        if self._kept != (path, group):
            with explain_damage(path), open_parquet(path) as file:
                self._table = read_group(file, group, self._columns)
            self._kept = path, group
        return PlateletEMFormatter().format_row(self._table.slice(i, 1))
