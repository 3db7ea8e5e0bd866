"""Geometry of windows: their shapes, the corners they may have, and mirroring at the border.

All shapes, corners and boxes have the axes (z, y, x), in voxels; a window of a slice has depth 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from _platelet_em.errors import ArgumentError

__all__ = [
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


@dataclass(frozen=True, slots=True)
class InstanceBoxes:
    """Bounding boxes, areas and classes of the instances of a volume, n of them.

    Attributes:
        boxes: int64 (n, 6), half-open: z0, y0, x0, z1, y1, x1.
        areas: int64 (n,), in voxels.
        classes: int64 (n,), semantic class index of each instance.
    """

    boxes: NDArray[np.int64]
    areas: NDArray[np.int64]
    classes: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class VolumeExtent:
    """Name and shape of a volume, with its instances if the sampler needs them."""

    name: str
    shape: Shape
    instances: InstanceBoxes | None = None


@dataclass(frozen=True, slots=True)
class WindowGeometry:
    """Shapes of an image window and of the label window about the same center.

    Attributes:
        image_shape: (z, y, x).
        label_shape: (z, y, x), along each axis at most `image_shape`.
        is_padded: Whether windows may reach beyond the border of the volume.
    """

    image_shape: Shape
    label_shape: Shape
    is_padded: bool

    @classmethod
    def of(
        cls, shape: Sequence[int], label_shape: Sequence[int] | None, pad: str | None
    ) -> "WindowGeometry":
        """The geometry from the arguments of a sampler; shapes (y, x) get depth 1."""
        depth = (1,) * (3 - len(shape))
        return cls((*depth, *shape), (*depth, *(label_shape or shape)), pad is not None)

    @property
    def offset(self) -> Shape:
        """Voxels from the corner of the image window to the corner of the label window."""
        pairs = zip(self.image_shape, self.label_shape, strict=True)
        return tuple((image - label) // 2 for image, label in pairs)

    def corner_range(self, volume: VolumeExtent) -> list[tuple[int, int]]:
        """First and last corner of the label window along each axis, the last one included.

        Raises:
            ArgumentError: if the image window is larger than the volume and must not be padded.
        """
        if self.is_padded:
            # A label window that is larger than the volume is centered on it.
            return [
                (0, size - label) if label <= size else (-((label - size) // 2),) * 2
                for size, label in zip(volume.shape, self.label_shape, strict=True)
            ]
        ranges = []
        for axis, size, image, before in zip(
            "zyx", volume.shape, self.image_shape, self.offset, strict=True
        ):
            if image > size:
                raise ArgumentError(
                    f"volume {volume.name}: an image window of {image} does not fit into {size} "
                    f"voxels along {axis}; use a smaller window, or pad='reflect'"
                )
            ranges.append((before, size - image + before))
        return ranges


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
