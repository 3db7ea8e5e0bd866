"""How the rows of a volume are divided into shards."""

from _platelet_em.rows.config import Config

__all__ = ["shard_bounds"]


def shard_bounds(config: Config, depth: int) -> list[tuple[int, int]]:
    """First and last row (exclusive) of each shard of a volume; sizes differ by one at most.

    Args:
        config: The configuration.
        depth: Slices of the volume.

    >>> from _platelet_em.rows.make import config_named
    >>> shard_bounds(config_named("slices"), 50)[:3]
    [(0, 6), (6, 12), (12, 18)]
    """
    rows = config.count_rows(depth)
    shards = max(min(rows, config.max_shards), 1)
    return [(rows * i // shards, rows * (i + 1) // shards) for i in range(shards)]
