"""Geometry of windows: their shapes, the corners they may have, and mirroring at the border.

All shapes, corners and boxes have the axes (z, y, x), in voxels; a window of a slice has depth 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from _platelet_em.errors import ArgumentError

__all__ = [
    "IMAGE",
    "MARGIN",
    "REFLECT",
    "Corner",
    "InstanceBoxes",
    "Shape",
    "VolumeExtent",
    "WindowGeometry",
    "reflect",
]

Shape = tuple[int, ...]
Corner = tuple[int, ...]
"""First voxel of a window in its volume; negative where the window begins before the volume."""

IMAGE = "image"
"""The column that has the shape of the image window; all others have that of the label window."""

MARGIN = "margin"
"""`pad`: the volume is mirrored where the image window reaches beyond it, around a label window
that does not."""
REFLECT = "reflect"
"""`pad`: the same, and windows may be larger than the volume."""


@dataclass(frozen=True, slots=True)
class InstanceBoxes:
    """Bounding boxes, areas and classes of the instances of a volume, n of them.

    Attributes:
        boxes: int64 (n, 6), half-open: z0, y0, x0, z1, y1, x1.
        areas: int64 (n,), in voxels.
        classes: int64 (n,), semantic class index of each instance; 0 where none is needed.
    """

    boxes: NDArray[np.int64]
    areas: NDArray[np.int64]
    classes: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class VolumeExtent:
    """What samplers know of a volume.

    Attributes:
        name: Name of the volume.
        shape: (z, y, x).
        instances: Boxes of its instances of one column, if the sampler needs them.
        zs: z of each slice, ascending, if it is made of single slices.
        count_foreground: Number of voxels of these instances in the label window of a corner and
            a shape, as the window is returned, if the sampler needs it.
    """

    name: str
    shape: Shape
    instances: InstanceBoxes | None = None
    zs: Sequence[int] | None = None
    count_foreground: Callable[[Corner, Shape], int] | None = None


@dataclass(frozen=True, slots=True)
class WindowGeometry:
    """Shapes of an image window and of the label window about the same center.

    Attributes:
        image_shape: (z, y, x).
        label_shape: (z, y, x), along each axis at most `image_shape`.
        pad: "margin", "reflect" or None, as in `RandomWindows`.
    """

    image_shape: Shape
    label_shape: Shape
    pad: str | None

    @classmethod
    def of(
        cls, shape: Sequence[int], label_shape: Sequence[int] | None, pad: str | None
    ) -> "WindowGeometry":
        """The geometry from the arguments of a sampler; shapes (y, x) get depth 1."""
        depth = (1,) * (3 - len(shape))
        return cls((*depth, *shape), (*depth, *(label_shape or shape)), pad)

    @property
    def offset(self) -> Shape:
        """Voxels from the corner of the image window to the corner of the label window."""
        pairs = zip(self.image_shape, self.label_shape, strict=True)
        return tuple((image - label) // 2 for image, label in pairs)

    def label_range(self, volume: VolumeExtent) -> list[tuple[int, int]]:
        """First and last corner along each axis at which label windows cover the volume.

        A label window that is larger than the volume is centered on it.
        """
        return [
            (0, size - label) if label <= size else (-((label - size) // 2),) * 2
            for size, label in zip(volume.shape, self.label_shape, strict=True)
        ]

    def corner_range(self, volume: VolumeExtent) -> list[tuple[int, int]]:
        """First and last corner of the label window along each axis, the last one included.

        Raises:
            ArgumentError: if the image window is larger than the volume, unless `pad` is
                "reflect".
        """
        for axis, size, image in zip("zyx", volume.shape, self.image_shape, strict=True):
            if image > size and self.pad != REFLECT:
                raise ArgumentError(
                    f"volume {volume.name}: an image window of {image} does not fit into {size} "
                    f"voxels along {axis}; use a smaller window, or pad='reflect', which mirrors "
                    "the volume"
                )
        if self.pad is not None:
            return self.label_range(volume)
        return [
            (before, size - image + before)
            for size, image, before in zip(
                volume.shape, self.image_shape, self.offset, strict=True
            )
        ]


def reflect(begin: int, length: int, size: int) -> NDArray[np.int64]:
    """Indices to read for `length` positions from `begin` on an axis of `size` voxels.

    Positions outside the axis are mirrored about its first and its last voxel, as in
    `np.pad(..., mode="reflect")`, but for a window at any position.

    >>> reflect(-2, 6, 3).tolist()
    [2, 1, 0, 1, 2, 1]
    """
    # Mirroring repeats every 2 * (size - 1) voxels: of size 3, the axis reads 0 1 2 1 0 1 2 1 ...
    period = max(2 * (size - 1), 1)
    index = np.arange(begin, begin + length) % period
    return np.minimum(index, period - index) if size > 1 else np.zeros(length, np.int64)
