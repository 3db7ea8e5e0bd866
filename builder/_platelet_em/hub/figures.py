"""`Figures`: what the card counts in the volumes of a repository, by volume or by split."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.volume_view import VolumeView
from _platelet_em.hub.read import open_volumes
from _platelet_em.rows.class_balance import count_classes
from _platelet_em.rows.config import Shape
from _platelet_em.rows.intensity import GrayHistogram
from _platelet_em.rows.make import CONFIGS
from _platelet_em.spec import DatasetSpec, VolumeSpec

__all__ = ["LISTED", "Figures", "measure"]

LISTED = 6
"""Volumes that are listed one by one; more are counted by split."""

_PENDING = 100_000
"""Instances of slices after which those of the same object are joined."""


@dataclass(slots=True, kw_only=True)
class Figures:
    """Figures of one volume, or of all volumes of a split.

    Attributes:
        name: Name of the volume; empty for those of a split.
        split: The split.
        volumes: Number of volumes.
        slices: Number of slices.
        voxels: Number of voxels.
        first_shape: (z, y, x) of the first volume.
        smallest: (z, y, x) of the volume with the fewest voxels.
        largest: (z, y, x) of that with the most.
        bits: Bits of the images.
        histogram: Pixels of each gray value.
        classed: Number of volumes with semantic classes.
        is_partly_labeled: Whether class 0 also means "not labeled" in all of these.
        class_voxels: int64 (n_classes,), voxels of each semantic class; where class 0 also means
            "not labeled", those of class 0 do not count.
        labeled: Column -> number of volumes that have these instances.
        instances: Column -> number of instances.
        by_class: Column -> int64 (n_classes,), instances by their class.
        instance_voxels: Column -> voxels of all instances.
        too_large: Configuration -> names of the volumes that are too large for a row of it.
    """

    name: str
    split: str
    volumes: int = 0
    slices: int = 0
    voxels: int = 0
    first_shape: Shape = (0, 0, 0)
    smallest: Shape = (0, 0, 0)
    largest: Shape = (0, 0, 0)
    bits: set[int] = field(default_factory=set)
    histogram: GrayHistogram
    classed: int = 0
    is_partly_labeled: bool = True
    class_voxels: NDArray[np.int64]
    labeled: dict[str, int] = field(default_factory=dict)
    instances: dict[str, int] = field(default_factory=dict)
    by_class: dict[str, NDArray[np.int64]] = field(default_factory=dict)
    instance_voxels: dict[str, int] = field(default_factory=dict)
    too_large: dict[str, list[str]] = field(default_factory=dict)

    def add(self, volume: VolumeSpec, view: VolumeView) -> None:
        """Measure a volume, with one slice in memory at a time, and the ids of its instances."""
        self._add_shape(view.shape)
        for config in CONFIGS:
            if config.covers(volume) and not config.count_parts(view.shape):
                self.too_large.setdefault(config.name, []).append(volume.name)
        classes = len(self.class_voxels)
        first = 1 if volume.is_partly_labeled else 0
        objects = {kind: _Objects() for kind in view.kinds}
        for z in range(view.shape[0]):
            image = view.image(z)
            self.bits.add(8 * image.dtype.itemsize)
            self.histogram.add(image)
            if view.has_semantic:
                self.class_voxels[first:] += count_classes(view.semantic(z), classes)[first:]
            for kind, found in objects.items():
                labels = view.labels(kind, z)
                voxels = int(labels.areas.sum())
                self.instance_voxels[kind] = self.instance_voxels.get(kind, 0) + voxels
                found.add(labels.ids, labels.properties.get("class_id"))
        if view.has_semantic:
            self.classed += 1
            self.is_partly_labeled &= volume.is_partly_labeled
        for kind, found in objects.items():
            ids, class_ids = found.join()
            self.labeled[kind] = self.labeled.get(kind, 0) + 1
            self.instances[kind] = self.instances.get(kind, 0) + len(ids)
            known = class_ids[(class_ids >= 0) & (class_ids < classes)]
            counts = np.bincount(known, minlength=classes)
            self.by_class[kind] = self.by_class.get(kind, np.zeros(classes, np.int64)) + counts

    def _add_shape(self, shape: Shape) -> None:
        if not self.volumes:
            self.first_shape = self.smallest = self.largest = shape
        self.smallest = min(self.smallest, shape, key=math.prod)
        self.largest = max(self.largest, shape, key=math.prod)
        self.volumes += 1
        self.slices += shape[0]
        self.voxels += math.prod(shape)


class _Objects:
    """The ids of a kind of instances in a volume, each once, and their classes."""

    def __init__(self) -> None:
        self._ids, self._classes = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
        self._pending = 0

    def add(self, ids: NDArray[np.integer], class_ids: NDArray[np.integer] | None) -> None:
        """Add the instances of a slice; None is no class of any of them."""
        self._ids.append(ids.astype(np.int64))
        known = np.full(len(ids), -1) if class_ids is None else class_ids
        self._classes.append(known.astype(np.int64))
        self._pending += len(ids)
        if self._pending > max(_PENDING, 2 * len(self._ids[0])):
            self.join()

    def join(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All ids, ascending, and the class of each, -1 for none."""
        ids, first = np.unique(np.concatenate(self._ids), return_index=True)
        classes = np.concatenate(self._classes)[first]
        self._ids, self._classes, self._pending = [ids], [classes], 0
        return ids, classes


def measure(folder: Path, spec: DatasetSpec) -> list[Figures]:
    """The figures of a repository: of each volume if there are few, or else of each split.

    Memory does not grow with the number of volumes; the files are read once.

    Raises:
        PlateletEMError: for damaged files.
    """
    by_volume = len(spec.volumes) <= LISTED
    found: dict[str, Figures] = {}
    for volume, view in open_volumes(folder, spec):
        key = volume.name if by_volume else volume.split
        if key not in found:
            found[key] = Figures(
                name=volume.name if by_volume else "",
                split=volume.split,
                histogram=GrayHistogram(key),
                class_voxels=np.zeros(len(spec.classes), np.int64),
            )
        found[key].add(volume, view)
    return [*found.values()]
