"""`Repository`: the files of a repository, as far as they can be read, and what is wrong."""

from dataclasses import dataclass, field
from pathlib import Path

from _platelet_em.hub.layout import shard_name
from _platelet_em.hub.problem import Problem
from _platelet_em.hub.record import Record
from _platelet_em.rows.config import Shape
from _platelet_em.rows.picture import DRAWING
from _platelet_em.spec import DatasetSpec, VolumeSpec

__all__ = ["Repository"]


@dataclass(slots=True)
class Repository:
    """A repository's files, as far as they can be read.

    Attributes:
        folder: The repository.
        spec: The dataset, with the optional volumes that the repository has.
        record: The record that most of its files have; empty if none has one.
        files: (config, split) -> its readable files, in the order of their rows.
        shapes: Volume -> (z, y, x), if all shards of `slices` that exist can be read.
        checksums: Path in the repository -> SHA-256 of a data file, from croissant.json.
        matching: Number of data files whose SHA-256 is that in croissant.json.
        problems: What is wrong.
        is_of_others: Whether another program than `build` has written the files.
    """

    folder: Path
    spec: DatasetSpec
    record: Record = field(default_factory=dict)
    files: dict[tuple[str, str], list[Path]] = field(default_factory=dict)
    shapes: dict[str, Shape] = field(default_factory=dict)
    checksums: dict[str, str] = field(default_factory=dict)
    matching: int = 0
    problems: list[Problem] = field(default_factory=list)
    is_of_others: bool = False
    _by_name: dict[str, VolumeSpec] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        self._by_name = {volume.name: volume for volume in self.spec.volumes}

    def volume(self, name: str) -> VolumeSpec | None:
        """What the repository says of a volume; None if it has none of that name."""
        return self._by_name.get(name)

    @property
    def has_current_pictures(self) -> bool:
        """Whether its pictures were drawn by this version, and can be compared with new ones."""
        return bool(self.record.get("drawing") == DRAWING)

    def is_whole(self, config: str, split: str) -> bool:
        """Whether all shards of a configuration of a split exist and can be read."""
        files = self.files[config, split]
        names = (shard_name(config, split, i, len(files)) for i in range(len(files)))
        return bool(files) and files == [self.folder / name for name in names]
