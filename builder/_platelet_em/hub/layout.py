"""The files of a Hub repository, by their names."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from _platelet_em.errors import MissingMemberError, quote
from _platelet_em.facts import is_published
from _platelet_em.hub.remote import HubPath
from _platelet_em.rows.make import CONFIG_NAMES
from _platelet_em.spec import DatasetSpec, VolumeSpec

__all__ = [
    "CARD",
    "CROISSANT",
    "DESCRIPTION",
    "LOCK",
    "STAGING",
    "check_shards",
    "data_files",
    "has_data",
    "is_built",
    "is_data_file",
    "is_repository_file",
    "metadata_files",
    "picture_name",
    "repository_files",
    "shard_name",
]

_Folder = TypeVar("_Folder", Path, HubPath, Path | HubPath)

CARD = "README.md"
CROISSANT = "croissant.json"
DESCRIPTION = "description.json"
"""The dataset of a repository, in the form of `description.parse`; a repository without it is of
the published dataset."""
STAGING = ".platelet-em-build"
"""Folder inside a repository in which a build works until all files are complete."""
LOCK = ".platelet-em.lock"
"""File inside a repository that exists while a build or push works there."""

_NUMBERS = "-?????-of-?????.parquet"


def shard_name(config: str, split: str, index: int, count: int) -> str:
    """Path of a shard in the repository, in the form that the Hub and `datasets` expect.

    >>> shard_name("slices", "train", 0, 8)
    'slices/train-00000-of-00008.parquet'
    """
    return f"{config}/{split}-{index:05}-of-{count:05}.parquet"


def data_files(folder: _Folder, config: str, split: str = "*") -> list[_Folder]:
    """The Parquet files of a configuration in a repository, in the order of their rows."""
    return sorted((folder / config).glob(f"{split}{_NUMBERS}"))


def check_shards(folder: Path | HubPath, config: str, split: str, files: Sequence[Any]) -> None:
    """Refuse files of a split that are not all those of one build.

    Args:
        folder: The repository.
        config: The configuration.
        split: The split.
        files: Its files, as of `data_files`.

    Raises:
        MissingMemberError: if one is missing, or another build has left some.
    """
    names = [shard_name(config, split, i, len(files)) for i in range(len(files))]
    if not files or [str(folder / name) for name in names] != [*map(str, files)]:
        found = quote([str(file).rpartition("/")[2] for file in files]) if files else "none"
        raise MissingMemberError(
            f"{folder}: configuration {config!r}, split {split!r}: expected all its files, such "
            f"as {shard_name(config, split, 0, max(len(files), 1))}, found {found}: check the "
            "names, fetch what is missing, or build it again"
        )


def is_data_file(name: str, spec: DatasetSpec) -> bool:
    """Whether a path in a repository is a shard of a split of the dataset.

    >>> from _platelet_em.facts import PUBLISHED
    >>> is_data_file("slices/train-00000-of-00008.parquet", PUBLISHED)
    True
    >>> is_data_file("slices/mine.parquet", PUBLISHED)
    False
    """
    path = PurePosixPath(name)
    return str(path.parent) in CONFIG_NAMES and any(
        path.match(f"{split}{_NUMBERS}") for split in spec.splits
    )


def picture_name(volume: VolumeSpec) -> str:
    """Path in the repository of the picture that the card shows of a volume."""
    return f"pictures/volume-{volume.name}.png"


def metadata_files(spec: DatasetSpec) -> list[str]:
    """Paths of all files of a repository except the data files."""
    described = [] if is_published(spec) else [DESCRIPTION]
    return [CARD, CROISSANT, *described, *map(picture_name, spec.pictured_volumes)]


def repository_files(folder: Path, spec: DatasetSpec) -> list[Path]:
    """The files of a build of these volumes that exist in a folder; no others."""
    data = [
        path
        for config in CONFIG_NAMES
        for split in spec.splits
        for path in data_files(folder, config, split)
    ]
    metadata = [folder / name for name in metadata_files(spec)]
    return [path for path in metadata if path.is_file()] + data


def is_repository_file(name: str, spec: DatasetSpec) -> bool:
    """Whether builds of these volumes write a file of this path in a repository."""
    return name in metadata_files(spec) or is_data_file(name, spec)


def is_built(path: Path) -> bool:
    """Whether a folder has data files, or the Croissant description, of a built repository."""
    return path.is_dir() and ((path / CROISSANT).is_file() or has_data(path))


def has_data(folder: Path | HubPath) -> bool:
    """Whether there are data files of a built repository."""
    return any(data_files(folder, name) for name in CONFIG_NAMES)
