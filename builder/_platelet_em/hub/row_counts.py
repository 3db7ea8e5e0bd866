"""Whether the files of a repository have as many rows as its volumes have slices or parts."""

from collections.abc import Iterator, Sequence

import pyarrow as pa

from _platelet_em.hub.layout import data_files
from _platelet_em.hub.parquet import open_parquet, read_column, read_metadata
from _platelet_em.hub.problem import Problem
from _platelet_em.hub.record import stored_configs
from _platelet_em.hub.repository import Repository
from _platelet_em.rows.config import Config, Shape
from _platelet_em.rows.make import SLICES
from _platelet_em.rows.shards import plan_shards
from _platelet_em.spec import VolumeSpec

__all__ = ["check_row_counts", "has_objects"]


def check_row_counts(
    repository: Repository, split: str, volumes: Sequence[VolumeSpec]
) -> Iterator[Problem]:
    """Whether each shard has its number of rows; the shards of `slices` give the depth."""
    for config in stored_configs(repository.folder):
        covered = [volume for volume in volumes if config.covers(volume)]
        if not config.is_one_row or not all(v.name in repository.shapes for v in covered):
            continue
        shapes = [(volume.name, repository.shapes[volume.name]) for volume in covered]
        if repository.is_of_others:
            yield from _check_total(repository, config, split, shapes)
            continue
        planned = plan_shards(config, shapes)
        rows = [sum(segment.stop - segment.start for segment in shard) for shard in planned]
        # Earlier versions had rows of larger volumes: their files have names without a plan.
        for path in repository.files[config.name, split] if rows else ():
            index = path.name.removeprefix(f"{split}-")[:5]
            if not index.isdecimal():  # reported already, for its name
                continue
            expected = rows[int(index)] if int(index) < len(rows) else 0
            if (found := read_metadata(path).num_rows) != expected:
                yield Problem(
                    check="rows",
                    file=str(path),
                    expected=f"{expected} rows of {sum(rows)}",
                    found=str(found),
                )


def _check_total(
    repository: Repository, config: Config, split: str, shapes: Sequence[tuple[str, Shape]]
) -> Iterator[Problem]:
    """Whether a split has its number of rows, however they are shared out over its files."""
    files = repository.files[config.name, split]
    expected = sum(config.count_parts(shape) for _, shape in shapes)
    found = sum(read_metadata(path).num_rows for path in files)
    if files and found != expected:
        yield Problem(
            check="rows",
            file=str(repository.folder / config.name),
            expected=f"{expected} rows of {split}",
            found=str(found),
        )


def has_objects(repository: Repository, split: str) -> bool:
    """Whether the slices of a split have instances, also where that cannot be known.

    A split without any has no file of the configuration `instances`: `datasets` refuses to load a
    split without rows, and all others with it.
    """
    files = repository.files.get((SLICES.name, split), [])
    if not files or files != data_files(repository.folder, SLICES.name, split):
        return True
    columns = [instance.count_column for instance in repository.spec.instances]
    try:
        for path in files:
            with open_parquet(path) as file:
                for name in columns:
                    if any(read_column(file, name).to_pylist()):
                        return True
    except (OSError, ValueError, LookupError, pa.ArrowException):  # reported elsewhere
        return True
    return False
