"""How the rows of a split, which may have many volumes, are divided into shards and row groups."""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from _platelet_em.rows.config import Config, Shape

__all__ = ["GROUP_BYTES", "Segment", "plan_shards", "row_size", "rows_per_group"]

GROUP_BYTES = 20_000_000
"""Bytes of a row group before compression: ten slices of the published size. The viewer of the Hub
reads whole row groups, whose size it limits."""

_SHARD_BYTES = 100_000_000
"""Bytes of a shard before compression; the published volumes have more shards than that gives."""

_MAX_SHARDS = 5_000
"""Files of a split that there are at most, since the Hub recommends fewer than 10,000 in a folder,
and names count them with five digits; those of more than 500 GB are larger."""


class Segment(NamedTuple):
    """The parts `start` to `stop` (exclusive) of a volume."""

    volume: str
    start: int
    stop: int


def plan_shards(config: Config, volumes: Sequence[tuple[str, Shape]]) -> list[list[Segment]]:
    """What is in each shard of a split: shards have about the same number of bytes.

    Args:
        config: The configuration.
        volumes: Name and shape (z, y, x) of each volume of the split, in the order of their rows.

    Returns:
        The segments of each shard, in order. Volumes that are left out of the configuration are
        in none; a split of such volumes has no shards.

    >>> from _platelet_em.rows.make import config_named
    >>> plan_shards(config_named("slices"), [("50", (50, 800, 800))])[:2]
    [[Segment(volume='50', start=0, stop=6)], [Segment(volume='50', start=6, stop=12)]]
    >>> plan_shards(config_named("instances"), [("a", (1, 9, 9)), ("b", (1, 7, 8))])
    [[Segment(volume='a', start=0, stop=1), Segment(volume='b', start=0, stop=1)]]
    """
    counts = np.array([config.count_parts(shape) for _, shape in volumes], np.int64)
    sizes = np.array([config.part_bytes(shape) for _, shape in volumes], np.int64)
    parts, total = int(counts.sum()), int((counts * sizes).sum())
    if not parts:
        return []
    wanted = min(parts, _MAX_SHARDS, max(config.min_shards, -(-total // _SHARD_BYTES)))
    # Bytes up to the end of each part: shard i ends at the last part within its share of them.
    ends = np.cumsum(np.repeat(sizes, counts))
    shares = [int(np.searchsorted(ends, total * i // wanted, "right")) for i in range(1, wanted)]
    first = [0, *np.cumsum(counts).tolist()]  # part of each volume among those of all
    shards = []
    for start, stop in pairwise(sorted({0, parts, *shares})):
        shard = []
        for v in range(bisect_right(first, start) - 1, bisect_left(first, stop)):
            begin, end = max(start, first[v]) - first[v], min(stop, first[v + 1]) - first[v]
            if begin < end:
                shard.append(Segment(volumes[v][0], begin, end))
        shards.append(shard)
    return shards


def row_size(config: Config, shape: Shape) -> int:
    """Bytes of a row without compression, about, for a volume of that shape."""
    return (config.row_bytes or config.part_bytes)(shape)


def rows_per_group(config: Config, shape: Shape) -> int:
    """Rows of a row group of one volume, at least one.

    >>> from _platelet_em.rows.make import config_named
    >>> rows_per_group(config_named("slices"), (50, 800, 800))
    10
    """
    return max(1, GROUP_BYTES // row_size(config, shape))
