"""`DatasetSource`: the volumes of a dataset, in whatever form the user names it."""

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _platelet_em.arrays.volume_view import VolumeView
from _platelet_em.description.parse import read_description
from _platelet_em.errors import ArgumentError, MissingMemberError, printable, quote
from _platelet_em.facts import LABEL_SOURCES, PUBLISHED
from _platelet_em.files import user_path
from _platelet_em.hub.layout import DESCRIPTION, data_files, has_data
from _platelet_em.hub.location import is_description
from _platelet_em.hub.parquet import file_stamp
from _platelet_em.hub.read import SplitReader, open_volume
from _platelet_em.hub.record import SYNTHETIC, first_record, read_record
from _platelet_em.hub.remote import HubPath, open_location
from _platelet_em.hub.stored_spec import stored_spec
from _platelet_em.publisher.archive import Source, find_source
from _platelet_em.publisher.volume import ArchiveVolume
from _platelet_em.rows.make import SLICES
from _platelet_em.sources.opening import check_label_source, find_files, is_sample
from _platelet_em.sources.own_volume import own_files
from _platelet_em.spec import DatasetSpec, VolumeSpec

__all__ = ["DatasetSource", "find_dataset", "list_names"]

_LISTED = 12
"""Names that a message lists."""


@dataclass(frozen=True, slots=True)
class DatasetSource:
    """The volumes of a built repository, of archives of the publisher, or of a user's own files.

    Attributes:
        location: A built repository, here or on the Hub, a zip of the publisher, an extracted
            folder, or a folder with the zips; None is the own files of `spec`.
        spec: The dataset; of a repository, what it says of itself.
        label_source: "json" or "tif"; None is that of a repository, and "json" of archives.
    """

    location: Path | HubPath | None
    spec: DatasetSpec
    label_source: str | None = None

    @classmethod
    def at(
        cls,
        location: Path | HubPath | None,
        spec: DatasetSpec = PUBLISHED,
        label_source: str | None = None,
    ) -> "DatasetSource":
        """The volumes at a location.

        Args:
            location: See the attribute.
            spec: The dataset, where a repository does not describe its own.
            label_source: See the attribute.

        Raises:
            PlateletEMError: for a repository whose description is damaged.
        """
        if location is not None and data_files(location, SLICES.name):
            spec = stored_spec(location, spec)
        return cls(location, spec, label_source)

    def __str__(self) -> str:
        return printable(str(self.location or self.spec.folder))

    def volume(self, name: str, option: str) -> VolumeSpec:
        """What is known of a volume, also of an optional one.

        Raises:
            ArgumentError: for a name that the dataset does not have; the message names the option.
        """
        named = {each.name: each for each in self.spec.with_optional().volumes}
        if name not in named:
            raise ArgumentError(
                f"{option}: expected one of {list_names(named)}, got {quote(name)}"
            )
        return named[name]

    @contextlib.contextmanager
    def open(
        self,
        volume: VolumeSpec,
        *,
        partial: bool = False,
        first_z: int | None = None,
        readers: dict[Any, SplitReader] | None = None,
    ) -> Iterator[VolumeView]:
        """Open a volume.

        Args:
            volume: Which.
            partial: Whether slices may be missing in a repository, see `open_volume`.
            first_z: The slice of a repository that is read now, for the shape.
            readers: Readers of a repository, see `open_volume`.

        Raises:
            ArgumentError: for labels that a repository was not built from.
            PlateletEMError: for files that are missing or damaged.
        """
        if self.location is None:
            label_source = check_label_source(self.label_source or LABEL_SOURCES[0], self.spec)
            with find_files(self.spec, label_source, None).open(volume) as own:
                yield own
        elif files := data_files(self.location, SLICES.name, volume.split):
            self._check_labels(read_record(files[0]) or {})
            opened = open_volume(
                self.location, volume, partial=partial, first_z=first_z, readers=readers
            )
            if not partial:
                self._check_shape(volume, opened.shape)
            yield opened
        elif isinstance(self.location, HubPath) or has_data(self.location):
            raise MissingMemberError(
                f"{self}: expected a built repository with volume {printable(volume.name)}, found "
                "none"
            )
        else:
            label_source = self.label_source or LABEL_SOURCES[0]
            archives = self._find_archives(volume)
            with ArchiveVolume(archives, volume, label_source, self.spec) as view:
                yield view

    def _check_shape(self, volume: VolumeSpec, found: tuple[int, int, int]) -> None:
        """Refuse rows of another shape than that of the repository's description.

        Of published volumes, a repository may have a sample of another shape.
        """
        if volume.shape not in (None, found) and not volume.archives:
            raise MissingMemberError(
                f"{self}: volume {printable(volume.name)}: expected rows of the shape "
                f"{volume.shape}, as in {DESCRIPTION}, found {found}: fetch the repository again, "
                "or build it again"
            )

    def stamps(self, volumes: Sequence[VolumeSpec]) -> list[Any]:
        """What changes when a file of these volumes is replaced.

        Raises:
            ArchiveError: for a file that vanishes.
        """
        if self.location is None:
            own = [file for volume in volumes for file in own_files(volume, self.spec)]
            return [(path, file_stamp(path)) for path in own]
        if files := data_files(self.location, SLICES.name):
            return [(str(path), file_stamp(path)) for path in files]
        label_source = self.label_source or LABEL_SOURCES[0]
        return [
            self._find_archives(volume).stamps(volume.members(label_source)) for volume in volumes
        ]

    def _find_archives(self, volume: VolumeSpec) -> Source:
        """The archive of a volume at a location that is no repository."""
        label_source = self.label_source or LABEL_SOURCES[0]
        archive = label_source if label_source in volume.archives else volume.archives[0]
        return find_source(Path(str(self.location)), archive, self.spec.with_optional())

    def is_sample(self, volume: VolumeSpec) -> bool:
        """Whether a volume is of the synthetic sample.

        Raises:
            PlateletEMError: for files that are missing or damaged.
        """
        if self.location is None:
            return False
        if data_files(self.location, SLICES.name):
            return first_record(self.location).get("origin") == SYNTHETIC
        return is_sample(self._find_archives(volume), volume)

    def _check_labels(self, record: dict[str, str]) -> None:
        """Refuse another label source than that of a repository with this record."""
        found = record.get("label_source", self.label_source)
        if self.label_source not in (None, found):
            raise ArgumentError(
                f"{self}: contains {quote(found)} labels, expected {self.label_source}: leave out "
                "--label-source, or name the archives"
            )


def find_dataset(source: str | Path, label_source: str | None = None) -> DatasetSource:
    """The volumes of what a text stands for.

    Args:
        source: A path or a name on the Hub, as of `open_location`, or the path of a description
            of own volumes (.toml).
        label_source: See `DatasetSource`.

    Raises:
        ArgumentError: for what is no path, and for an unknown label source.
        PlateletEMError: for what does not exist or cannot be read.
    """
    if label_source not in (None, *LABEL_SOURCES):
        raise ArgumentError(
            f"label_source: expected one of {', '.join(LABEL_SOURCES)}, got {quote(label_source)}"
        )
    if is_description(user_path(source)):
        return DatasetSource(None, read_description(source), label_source)
    return DatasetSource.at(open_location(source), PUBLISHED, label_source)


def list_names(names: Iterable[str]) -> str:
    """Names for a message, the first of many."""
    listed = [printable(name) for name in names]
    return ", ".join(listed[:_LISTED]) + (", ..." if len(listed) > _LISTED else "")
