"""How rows are shared out over shards, and what the files of shards are called."""

from pathlib import Path, PurePosixPath

import pyarrow.parquet as pq

from _platelet_em.facts import CONFIG_NAMES, VOLUMES, Config

__all__ = ["count_files", "count_rows", "data_files", "is_data_file", "shard_bounds", "shard_name"]

_NUMBERS = "-?????-of-?????.parquet"


def count_rows(config: Config, depth: int) -> int:
    """Rows of a configuration that a volume of this depth gives."""
    return 1 if config.name == "volumes" else depth


def shard_bounds(config: Config, depth: int) -> list[tuple[int, int]]:
    """First and last row (exclusive) of each shard of a volume; sizes differ by one at most.

    >>> from _platelet_em.facts import config_named
    >>> shard_bounds(config_named("slices"), 50)[:3]
    [(0, 6), (6, 12), (12, 18)]
    """
    rows = count_rows(config, depth)
    shards = max(min(rows, config.max_shards), 1)
    return [(rows * i // shards, rows * (i + 1) // shards) for i in range(shards)]


def shard_name(config: str, split: str, index: int, count: int) -> str:
    """Path of a shard in the repository, in the form that the Hub and `datasets` know.

    >>> shard_name("slices", "train", 0, 8)
    'slices/train-00000-of-00008.parquet'
    """
    return f"{config}/{split}-{index:05}-of-{count:05}.parquet"


def data_files(folder: Path, config: str, split: str = "*") -> list[Path]:
    """The Parquet files of a configuration in a repository, in the order of their rows."""
    return sorted((folder / config).glob(f"{split}{_NUMBERS}"))


def is_data_file(name: str) -> bool:
    """Whether a path in a repository is one of a shard: a `shard_name` of our splits.

    >>> is_data_file("slices/train-00000-of-00008.parquet"), is_data_file("slices/mine.parquet")
    (True, False)
    """
    path = PurePosixPath(name)
    return str(path.parent) in CONFIG_NAMES and any(
        path.match(f"{spec.split}{_NUMBERS}") for spec in VOLUMES
    )


def count_files(files: list[Path]) -> tuple[int, int]:
    """Rows in Parquet files, and the bytes that they take up."""
    rows = sum(pq.read_metadata(path).num_rows for path in files)
    return rows, sum(path.stat().st_size for path in files)
