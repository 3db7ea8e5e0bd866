"""`Config`: what a configuration of the dataset consists of."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from _platelet_em.arrays.volume_view import VolumeView
from _platelet_em.rows.schema import Columns
from _platelet_em.spec import SEMANTIC, DatasetSpec, VolumeSpec

__all__ = ["Config", "Row", "Shape"]

Row = dict[str, Any]
"""The values of one row by column, as Arrow takes them."""


Shape = tuple[int, int, int]
"""(z, y, x) of a volume."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A configuration: its columns, and how rows of them are made from a volume.

    The rows of a volume are made part by part: slice by slice, or all of them at once.

    Attributes:
        name: Name of the configuration and of its folder in a repository.
        description: What a row contains, as a phrase without a full stop.
        columns: Gives the columns for a dataset.
        count_parts: Gives the number of parts of a volume of that shape; 0 for one that is left
            out, since rows cannot hold it.
        make_rows: Makes the rows of a part, counted from 0.
        min_shards: Files per split that there are at least, if there are as many parts.
        part_bytes: Gives the bytes of a part without compression, about, for a volume of that
            shape.
        row_bytes: Gives the bytes of a row of it; None where a part is one row.
        needs_instances: Whether only volumes that have instances have rows.
        since: Schema version from which on there are files of it.
    """

    name: str
    description: str
    columns: Callable[[DatasetSpec], Columns]
    count_parts: Callable[[Shape], int]
    make_rows: Callable[[VolumeView, int, DatasetSpec], Iterable[Row]]
    min_shards: int = 1
    part_bytes: Callable[[Shape], int] = lambda shape: 1  # noqa: ARG005  # of any shape
    row_bytes: Callable[[Shape], int] | None = None
    needs_instances: bool = False
    since: int = 1

    @property
    def is_one_row(self) -> bool:
        """Whether a part is one row."""
        return self.row_bytes is None

    def covers(self, volume: VolumeSpec) -> bool:
        """Whether a volume has rows in this configuration."""
        return not self.needs_instances or any(c != SEMANTIC for c in volume.columns)
