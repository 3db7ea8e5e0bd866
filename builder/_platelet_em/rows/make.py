"""The rows of a volume in each configuration."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from _platelet_em.arrays.volume_view import VolumeView
from _platelet_em.errors import TooLargeError, printable
from _platelet_em.rows import instances, preview, slices, volumes
from _platelet_em.rows.config import Config, Row
from _platelet_em.rows.schema import arrow_schema
from _platelet_em.spec import DatasetSpec

__all__ = [
    "CONFIGS",
    "CONFIG_NAMES",
    "SLICES",
    "VOLUMES",
    "config_named",
    "make_rows",
    "make_table",
]

CONFIGS = (slices.CONFIG, volumes.CONFIG, instances.CONFIG, preview.CONFIG)
"""The configurations, the default first; a new one is one module and one line here."""

CONFIG_NAMES = tuple(config.name for config in CONFIGS)
SLICES = slices.CONFIG
VOLUMES = volumes.CONFIG


def config_named(name: str) -> Config:
    """The configuration of that name; KeyError for any other."""
    return {config.name: config for config in CONFIGS}[name]


def make_rows(
    config: Config, volume: VolumeView, spec: DatasetSpec, start: int, stop: int
) -> Iterator[Row]:
    """The rows of the parts `start` to `stop` (exclusive) of a volume, in order.

    Args:
        config: The configuration.
        volume: The volume.
        spec: The dataset that the volume belongs to.
        start: First part.
        stop: One past the last part.
    """
    for index in range(start, stop):
        yield from config.make_rows(volume, index, spec)


def make_table(config: Config, rows: list[Row], spec: DatasetSpec) -> pa.Table:
    """Rows as an Arrow table of the configuration's schema.

    The row dictionaries are emptied meanwhile, so that pages are in memory only once.

    Raises:
        TooLargeError: for a column of more than 2 GiB, such as the runs of noise.
    """
    schema = arrow_schema(config.columns(spec))
    name = rows[0]["volume"] if rows else ""

    def make_column(field: pa.Field) -> pa.Array:
        try:
            return _to_array([row.pop(field.name) for row in rows], field.type)
        except pa.lib.ArrowCapacityError as error:
            raise TooLargeError(
                f"volume {printable(name)}: expected at most 2 GiB of {field.name} in a row of "
                f"{config.name}, found more: describe parts of it as volumes of their own"
            ) from error

    columns = [make_column(field) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _to_array(values: list[Any], arrow_type: pa.DataType) -> pa.Array:
    """A column; a value that is an Arrow array already is not copied."""
    stacks = [value for value in values if isinstance(value, pa.Array)]
    if not stacks:
        return pa.array(values, arrow_type)
    items = stacks[0] if len(stacks) == 1 else pa.concat_arrays(stacks)
    lengths = [0 if value is None else len(value) for value in values]
    offsets = np.cumsum([0, *lengths]).astype(np.int32)
    missing = pa.array([value is None for value in values])
    return pa.ListArray.from_arrays(pa.array(offsets), items, mask=missing).cast(arrow_type)
