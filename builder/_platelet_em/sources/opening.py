"""`VolumeFiles`: the files that the volumes of a dataset are read from, wherever they are."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from _platelet_em.errors import ArchiveError, ArgumentError, printable, quote
from _platelet_em.facts import LABEL_SOURCES, SAMPLE_COMMENT
from _platelet_em.publisher.archive import Identity, Source, file_md5, needed_files
from _platelet_em.publisher.cache import obtain, published_md5s
from _platelet_em.publisher.joined import JoinedSource, open_sources, source_paths
from _platelet_em.publisher.volume import (
    ArchiveVolume,
    LabeledVolume,
    describe_images,
    open_images,
)
from _platelet_em.sources.own_file import open_own_file
from _platelet_em.sources.own_volume import OwnVolume, own_files, own_shape
from _platelet_em.spec import DatasetSpec, VolumeSpec

__all__ = [
    "OWN_FILES",
    "Origin",
    "VolumeFiles",
    "check_label_source",
    "find_files",
    "is_sample",
    "known_md5s",
    "reopen_files",
]

OWN_FILES = "files"
"""The label source of own volumes: their labels are in the one form that they have."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where volumes come from, for the record of a build.

    Attributes:
        names: Name of each zip; None for a folder.
        notes: What else is worth recording, by its key.
        is_sample: Whether they are those of the synthetic sample.
    """

    names: tuple[str | None, ...]
    notes: tuple[tuple[str, str], ...] = ()
    is_sample: bool = False


class VolumeFiles(Protocol):
    """The files of a dataset.

    Attributes:
        spec: The dataset.
        label_source: "json" or "tif", or `OWN_FILES`.
        paths: What `reopen_files` opens them by.
    """

    spec: DatasetSpec
    label_source: str
    paths: tuple[str, ...]

    def identity(self) -> Identity:
        """Identifies the content of all files; its MD5s, one per archive, are joined by "+"."""

    def check(self, expected: Identity, volume: VolumeSpec | None = None) -> Identity:
        """The identity of files that still have the content they had.

        Args:
            expected: Their identity.
            volume: Check only the files of this volume, if that takes less; None is all.

        Raises:
            ArchiveError: if they have not.
        """

    def shape(self, volume: VolumeSpec) -> tuple[int, int, int]:
        """(z, y, x) of a volume, without reading its pages."""

    def open(self, volume: VolumeSpec) -> LabeledVolume:
        """Open a volume, which is a context manager; errors as of `ArchiveVolume`."""

    def origin(self) -> Origin:
        """Where the volumes come from."""


class _ArchiveFiles:
    """Files in archives of the publisher, or in their extracted folders."""

    def __init__(self, source: Source, label_source: str, spec: DatasetSpec) -> None:
        self.spec, self.label_source, self._source = spec, label_source, source
        self.paths = source_paths(source)

    def identity(self) -> Identity:
        return self._source.identity(needed_files(self.spec, self.label_source))

    def check(self, expected: Identity, volume: VolumeSpec | None = None) -> Identity:  # noqa: ARG002  # one archive holds all
        return self._source.check(expected, needed_files(self.spec, self.label_source))

    def shape(self, volume: VolumeSpec) -> tuple[int, int, int]:
        with open_images(self._source, volume) as images:
            depth, height, width = images.shape
        return depth, height, width

    def open(self, volume: VolumeSpec) -> LabeledVolume:
        return ArchiveVolume(self._source, volume, self.label_source, self.spec)

    def origin(self) -> Origin:
        source = self._source
        parts = source.sources if isinstance(source, JoinedSource) else (source,)
        notes = [
            (f"{volume.name}_images", describe_images(source, volume))
            for volume in self.spec.volumes
            if volume.may_be_signed
        ]
        return Origin(
            tuple(part.path.name if part.is_zip else None for part in parts),
            tuple(notes),
            is_sample(source, self.spec.volumes[0]),
        )


def is_sample(source: Source, volume: VolumeSpec) -> bool:
    """Whether archives are those of the synthetic sample; a folder has no comment of a zip."""
    if source.is_zip:
        return source.comment == SAMPLE_COMMENT
    with open_images(source, volume) as images:
        return images.description == SAMPLE_COMMENT


class _OwnFiles:
    """A user's own files, in the folder of the dataset."""

    label_source = OWN_FILES

    def __init__(self, spec: DatasetSpec) -> None:
        self.spec = spec
        self.paths: tuple[str, ...] = (spec.folder,)
        self._listed: dict[str, tuple[int, list[Path]]] = {}

    def _files(self) -> dict[str, tuple[int, list[Path]]]:
        """Name of a volume -> its files, and how many those of earlier volumes are."""
        if not self._listed:
            count = 0
            for volume in self.spec.volumes:
                files = own_files(volume, self.spec)
                self._listed[volume.name] = count, files
                count += len(files)
        return self._listed

    def _all_files(self) -> Iterator[Path]:
        for _, files in self._files().values():
            yield from files

    def identity(self) -> Identity:
        before = tuple(map(_stamp, self._all_files()))
        digest = hashlib.md5(usedforsecurity=False)
        for name, (_, files) in self._files().items():
            digest.update(f"{len(files)} {name}\n".encode("utf-8", "surrogateescape"))
            for path in files:
                # The folder may be moved; what a file is for follows from its name and its volume.
                line = f"{path.name} {_own_md5(path)}\n"
                digest.update(line.encode("utf-8", "surrogateescape"))
        if tuple(map(_stamp, self._all_files())) != before:
            raise ArchiveError(
                f"{self.spec.folder}: files changed while they were read: load them again when "
                "they are complete"
            )
        return Identity(digest.hexdigest(), before)

    def _refuse_others(self, volume: VolumeSpec) -> None:
        """Refuse files that a pattern finds only now: they would be read, too."""
        expected, found = self._files()[volume.name][1], own_files(volume, self.spec)
        if found == expected:
            return
        different = ({*found} ^ {*expected}) or {*found}
        raise ArchiveError(
            f"{printable(str(min(different)))}: came to volume {printable(volume.name)}, or was "
            f"deleted, since the dataset was opened: expected {len(expected)} files, found "
            f"{len(found)}: open the dataset again, or bring the files back"
        )

    def check(self, expected: Identity, volume: VolumeSpec | None = None) -> Identity:
        if volume is None:
            start, files = 0, [*self._all_files()]
        else:
            start, files = self._files()[volume.name]
        for each in self.spec.volumes if volume is None else (volume,):
            self._refuse_others(each)
        stamps = tuple(map(_stamp, files))
        if expected.stamps and expected.stamps[start : start + len(stamps)] == stamps:
            return expected
        found = self.identity()
        if found.md5 != expected.md5:
            raise ArchiveError(
                f"{self.spec.folder}: files of the dataset have changed since it was opened: "
                f"expected MD5 {expected.md5}, got {found.md5}: open the dataset again, or bring "
                "the files back"
            )
        return found

    def shape(self, volume: VolumeSpec) -> tuple[int, int, int]:
        return own_shape(volume, self.spec)

    def open(self, volume: VolumeSpec) -> LabeledVolume:
        return OwnVolume(volume, self.spec)

    def origin(self) -> Origin:
        return Origin((None,))


def _own_md5(path: Path) -> str:
    with open_own_file(path, "a file of the dataset") as file:
        try:
            return file_md5(file)
        except OSError as error:
            raise ArchiveError(
                f"{printable(str(path))}: cannot be read: {error.strerror}: copy it again, and "
                "check the disk"
            ) from error


def _stamp(path: Path) -> tuple[int, ...]:
    try:
        found = path.stat()
    except OSError as error:
        raise ArchiveError(
            f"{printable(str(path))}: cannot be read: {error.strerror}: bring the file back"
        ) from error
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns


def check_label_source(label_source: str, spec: DatasetSpec) -> str:
    """The label source that a dataset is read with.

    Args:
        label_source: What the user asks for.
        spec: The dataset; own volumes have one form of labels, whatever is asked for by default.

    Raises:
        ArgumentError: for one that the dataset does not have.
    """
    if not spec.archives:
        if label_source not in (OWN_FILES, LABEL_SOURCES[0]):
            raise ArgumentError(
                f"label_source: own volumes have the labels that their description names, got "
                f"{quote(label_source)}: leave it out"
            )
        return OWN_FILES
    if label_source not in LABEL_SOURCES:
        raise ArgumentError(f"label_source: expected one of {LABEL_SOURCES}, got {label_source!r}")
    return label_source


def known_md5s(spec: DatasetSpec, label_source: str) -> list[str | None]:
    """The published MD5 of each archive that the files come from, or None, in their order."""
    return published_md5s(spec, label_source) if spec.archives else [None]


def find_files(
    spec: DatasetSpec,
    label_source: str,
    data_dir: str | Path | None,
    cache_dir: str | Path | None = None,
    *,
    force: bool = False,
) -> VolumeFiles:
    """The files of a dataset: archives as `obtain` finds them, or those of its own folder.

    Args:
        spec: The dataset.
        label_source: As `check_label_source` gives it.
        data_dir: As for `obtain`; must be None for own volumes.
        cache_dir: As for `obtain`.
        force: As for `obtain`.

    Raises:
        ArgumentError: for own volumes and a `data_dir`.
        PlateletEMError: as `obtain` does.
    """
    if spec.archives:
        source = obtain(spec, label_source, data_dir, cache_dir, force=force)
        return _ArchiveFiles(source, label_source, spec)
    if data_dir is not None:
        raise ArgumentError(
            f"data_dir: own volumes are where their description says, got {quote(str(data_dir))}: "
            "leave it out"
        )
    return _OwnFiles(spec)


def reopen_files(paths: Sequence[str], label_source: str, spec: DatasetSpec) -> VolumeFiles:
    """The files that `VolumeFiles.paths` names, in another process too."""
    if spec.archives:
        return _ArchiveFiles(open_sources(paths, spec), label_source, spec)
    return _OwnFiles(spec)
