"""`Config`: what a configuration of the dataset consists of."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from _platelet_em.arrays.volume_view import VolumeView
from _platelet_em.facts import DatasetSpec
from _platelet_em.rows.schema import Columns

__all__ = ["Config", "Row"]

Row = dict[str, Any]
"""The values of one row by column, as Arrow takes them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A configuration: its columns, and how a row of them is made from a volume.

    Attributes:
        name: Name of the configuration, and of its folder in a repository.
        description: What a row holds, without a capital and a full stop.
        max_shards: Largest number of files of a split.
        columns: Gives the columns for a dataset.
        count_rows: Gives the number of rows of a volume with that many slices.
        make_row: Makes row number i of a volume.
    """

    name: str
    description: str
    max_shards: int
    columns: Callable[[DatasetSpec], Columns]
    count_rows: Callable[[int], int]
    make_row: Callable[[VolumeView, int, DatasetSpec], Row]
