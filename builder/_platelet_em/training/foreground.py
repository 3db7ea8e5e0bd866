"""What samplers ask of the instances of a volume: their boxes, and their voxels in a window."""

import functools
from dataclasses import dataclass

import numpy as np

from _platelet_em.arrays.runs import window
from _platelet_em.errors import ArgumentError, quote
from _platelet_em.hf.volume import RowVolume
from _platelet_em.training.geometry import Corner, InstanceBoxes, Shape, reflect

__all__ = ["ForegroundCounter", "measure_instances"]


@dataclass(frozen=True)
class ForegroundCounter:
    """Counts the voxels of instances in windows of a volume, from runs alone.

    Attributes:
        volume: The volume.
        column: Column of the instances.
    """

    volume: RowVolume
    column: str

    def __call__(self, corner: Corner, shape: Shape) -> int:
        """Their voxels in a window (z, y, x), which is mirrored beyond the volume's border."""
        size: tuple[int, ...] = self.volume.shape
        if self.volume.zs is None:
            labels = self.volume.labels(self.column)
        else:
            labels = self.volume.labels(self.column, corner[0])
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


def measure_instances(
    volume: RowVolume, column: str, *, is_plane: bool, needs_classes: bool = True
) -> InstanceBoxes:
    """Boxes, areas and classes of the instances of a column, per slice or of the whole volume.

    Args:
        volume: The volume.
        column: Column of the instances.
        is_plane: Whether they are measured per slice.
        needs_classes: Whether their classes are needed; else all are 0.

    Raises:
        ArgumentError: for a column of other values than labels, with classes if they are needed.
    """
    has_labels = column in volume.kinds
    boxes, areas, classes = [np.empty((0, 6), np.int64)], [], []
    for z in range(volume.shape[0]) if is_plane else (None,):
        labels = volume.labels(column, z) if has_labels else None
        if labels is None or (needs_classes and "class_id" not in labels.properties):
            need = "class_weights need labels with 'class_id'"
            raise ArgumentError(
                f"volume {volume.name}, column {column!r}: "
                f"{need if needs_classes else 'min_foreground needs labels'}, got "
                f"{quote(labels) if has_labels else 'images'}"
            )
        area, box = labels.areas, labels.bboxes
        present = area > 0
        if z is not None:
            begin = np.full((len(box), 1), z)
            box = np.hstack([begin, box[:, :2], begin + 1, box[:, 2:]])
        boxes.append(box[present])
        areas.append(area[present])
        found = labels.properties["class_id"] if needs_classes else np.zeros(len(area))
        classes.append(found[present])
    return InstanceBoxes(
        np.concatenate(boxes), np.concatenate(areas), np.concatenate(classes).astype(np.int64)
    )
