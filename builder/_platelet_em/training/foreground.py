"""What samplers ask of the organelles of a volume: their boxes, and their voxels in a window."""

import functools
from dataclasses import dataclass

import numpy as np

from _platelet_em.arrays.runs import window
from _platelet_em.errors import ArgumentError, quote
from _platelet_em.facts import PUBLISHED
from _platelet_em.hf.volume import RowVolume
from _platelet_em.training.geometry import Corner, InstanceBoxes, Shape, reflect

__all__ = ["FOREGROUND", "ForegroundCounter", "measure_instances"]

FOREGROUND = next(i.column for i in PUBLISHED.instances if i.has_class)
"""Column of the instances that `min_foreground` and `class_weights` go by."""


@dataclass(frozen=True)
class ForegroundCounter:
    """Counts the organelle voxels in windows of a volume, from runs alone."""

    volume: RowVolume

    def __call__(self, corner: Corner, shape: Shape) -> int:
        """Organelle voxels in a window (z, y, x), which is mirrored beyond the volume's border."""
        size: tuple[int, ...] = self.volume.shape
        if self.volume.zs is None:
            labels = self.volume.labels(FOREGROUND)
        else:
            labels = self.volume.labels(FOREGROUND, corner[0])
            corner, shape, size = corner[1:], shape[1:], size[1:]
        indices = [reflect(*axis) for axis in zip(corner, shape, size, strict=True)]
        picked = [range(int(index.min()), int(index.max()) + 1) for index in indices]
        found = window(labels.runs, size, picked)
        if tuple(map(len, picked)) == tuple(shape):
            return int(found.lengths.sum())
        # How often each voxel is in the window, and the sum over all voxels before it.
        times = [np.bincount(i - p.start) for i, p in zip(indices, picked, strict=True)]
        repeats = functools.reduce(np.multiply.outer, times).ravel()
        before = np.concatenate([[0], np.cumsum(repeats)])
        return int((before[found.stops] - before[found.starts]).sum())


def measure_instances(volume: RowVolume, *, is_plane: bool) -> InstanceBoxes:
    """Boxes, areas and classes of the organelles, per slice or of the whole volume.

    Raises:
        ArgumentError: for a column of other values than labels with classes.
    """
    has_labels = FOREGROUND in volume.kinds
    boxes, areas, classes = [np.empty((0, 6), np.int64)], [], []
    for z in range(volume.shape[0]) if is_plane else (None,):
        labels = volume.labels(FOREGROUND, z) if has_labels else None
        if labels is None or "class_id" not in labels.properties:
            raise ArgumentError(
                f"volume {volume.name}, column {FOREGROUND!r}: min_foreground and class_weights "
                f"need labels with 'class_id', got {quote(labels) if has_labels else 'images'}"
            )
        area, box = labels.areas, labels.bboxes
        present = area > 0
        if z is not None:
            begin = np.full((len(box), 1), z)
            box = np.hstack([begin, box[:, :2], begin + 1, box[:, 2:]])
        boxes.append(box[present])
        areas.append(area[present])
        classes.append(labels.properties["class_id"][present])
    return InstanceBoxes(
        np.concatenate(boxes), np.concatenate(areas), np.concatenate(classes).astype(np.int64)
    )
