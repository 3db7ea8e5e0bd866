"""What the viewer of the Hub cannot show of a repository, by its Parquet metadata."""

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from _platelet_em.hub.layout import data_files
from _platelet_em.hub.parquet import DataFile, explain_damage, read_metadata
from _platelet_em.hub.record import stored_configs
from _platelet_em.hub.remote import HubPath
from _platelet_em.rows.schema import arrow_schema
from _platelet_em.spec import DatasetSpec

__all__ = ["describe_narrow_columns"]

_INTEGERS = ("INT32", "INT64")
"""Physical types of integers in Parquet."""


def describe_narrow_columns(folder: Path | HubPath, spec: DatasetSpec) -> Iterator[str]:
    """Splits whose statistics fail in the viewer, one sentence each.

    Of an integer column whose values are two neighboring numbers, the viewer (its worker code of
    2026-08) makes a histogram with one edge too few, and then the whole split has no statistics.

    Args:
        folder: A repository whose files can be read.
        spec: The dataset, with the optional volumes that the repository has.
    """
    for config in stored_configs(folder):
        columns = config.columns(spec)
        names = [
            field.name
            for field in arrow_schema(columns)
            if pa.types.is_integer(field.type) and columns[field.name].feature["_type"] == "Value"
        ]
        for split in spec.splits:
            files = data_files(folder, config.name, split)
            for name, low, high in _ranges(files, names):
                if high - low == 1:
                    yield (
                        f"{config.name}, {split}: {name} is {low} or {high} in all rows: "
                        "the viewer of the Hub shows no statistics of this split"
                    )


def _ranges(files: list[DataFile], names: list[str]) -> Iterator[tuple[str, int, int]]:
    """Name, smallest and largest value of columns, by the statistics of row groups."""
    found: dict[str, list[int]] = {name: [] for name in names}
    for path in files:
        with explain_damage(path):
            metadata = read_metadata(path)
        for group in map(metadata.row_group, range(metadata.num_row_groups)):
            for column in map(group.column, range(group.num_columns)):
                statistics = column.statistics
                # Damaged files have other types; what they have as an extreme may not be readable.
                if (
                    column.path_in_schema in found
                    and statistics
                    and statistics.has_min_max
                    and statistics.physical_type in _INTEGERS
                    and statistics.logical_type.type in ("INT", "NONE")
                ):
                    found[column.path_in_schema] += [statistics.min, statistics.max]
    for name, values in found.items():
        if values:
            yield name, min(values), max(values)
