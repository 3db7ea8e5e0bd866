"""How the rows of a volume are divided into shards and row groups."""

from _platelet_em.rows.config import Config, Shape

__all__ = ["rows_per_group", "shard_bounds"]

_GROUP_BYTES = 20_000_000
"""Bytes of a row group before compression: ten slices of the published size. The viewer of the Hub
reads whole row groups, whose size it limits."""

_SHARD_BYTES = 100_000_000
"""Bytes of a shard before compression; the published volumes have more shards than that gives."""


def shard_bounds(config: Config, shape: Shape) -> list[tuple[int, int]]:
    """First and last part (exclusive) of each shard of a volume; sizes differ by one at most.

    Args:
        config: The configuration.
        shape: (z, y, x) of the volume.

    Returns:
        An empty list for a volume that is left out of the configuration.

    >>> from _platelet_em.rows.make import config_named
    >>> shard_bounds(config_named("slices"), (50, 800, 800))[:3]
    [(0, 6), (6, 12), (12, 18)]
    """
    parts = config.count_parts(shape)
    wanted = max(config.min_shards, -(-parts * config.part_bytes(shape) // _SHARD_BYTES))
    shards = min(parts, wanted)
    return [(parts * i // shards, parts * (i + 1) // shards) for i in range(shards)]


def rows_per_group(config: Config, shape: Shape) -> int:
    """Rows of a row group, at least one.

    >>> from _platelet_em.rows.make import config_named
    >>> rows_per_group(config_named("slices"), (50, 800, 800))
    10
    """
    return max(1, _GROUP_BYTES // config.part_bytes(shape))
