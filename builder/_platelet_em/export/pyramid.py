"""Levels of resolution: a volume again at half the size in y and x, until a slice is small.

Slices are 40 nm apart where pixels have 10 nm: z is not halved. Level k has pixels of 2**k times
the size. Its first pixel covers the first 2**k pixels of level 0, so its center is
(2**k - 1) / 2 pixels of level 0 away from the first of them: at level 1 half a pixel, at level 2
one and a half. Images and labels have the same grids.
"""

from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["Level", "halve_image", "halve_labels", "plan_levels"]

_Integer = TypeVar("_Integer", bound=np.unsignedinteger)

Triple = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Level:
    """One resolution of a volume.

    Attributes:
        shape: (z, y, x).
        scale: Extent of its voxels along z, y and x, in the unit of the voxel size.
        translation: Center of its first voxel along z, y and x, seen from that of level 0, in the
            same unit.
    """

    shape: tuple[int, int, int]
    scale: Triple
    translation: Triple


def plan_levels(shape: tuple[int, int, int], voxel_size: Triple, extent: int) -> list[Level]:
    """The levels of a volume, the largest first, until y and x have at most `extent` pixels.

    Args:
        shape: (z, y, x).
        voxel_size: (z, y, x), in any unit.
        extent: At least 1.

    >>> for level in plan_levels((50, 800, 601), (40, 10, 10), 256):
    ...     print(level.shape, level.scale, level.translation)
    (50, 800, 601) (40, 10, 10) (0.0, 0.0, 0.0)
    (50, 400, 301) (40, 20, 20) (0.0, 5.0, 5.0)
    (50, 200, 151) (40, 40, 40) (0.0, 15.0, 15.0)
    """
    (depth, height, width), (z, y, x) = shape, voxel_size
    levels = []
    factor = 1
    while True:
        now = depth, -(-height // factor), -(-width // factor)
        offset = (factor - 1) / 2
        levels.append(Level(now, (z, y * factor, x * factor), (0.0, y * offset, x * offset)))
        if max(now[1:]) <= extent:
            return levels
        factor *= 2


def halve_image(slab: NDArray[_Integer]) -> NDArray[_Integer]:
    """Means of 2 x 2 pixels, halves rounded up; at an odd edge, of the pixels that are there.

    Args:
        slab: (z, y, x) of at most 16 bits.

    Returns:
        The same dtype, (z, (y + 1) // 2, (x + 1) // 2).

    >>> halve_image(np.uint8([[[1, 2, 7], [3, 4, 8]]])).tolist()
    [[[3, 8]]]
    """
    odd = slab.shape[1] % 2, slab.shape[2] % 2
    if any(odd):  # twice the same pixel has the mean of one
        slab = np.pad(slab, ((0, 0), (0, odd[0]), (0, odd[1])), mode="edge")
    total = np.full((len(slab), slab.shape[1] // 2, slab.shape[2] // 2), 2, np.uint32)
    for y in (0, 1):
        for x in (0, 1):
            total += slab[:, y::2, x::2]
    total >>= 2
    return total.astype(slab.dtype)


def halve_labels(slab: NDArray[_Integer]) -> NDArray[_Integer]:
    """The first of each 2 x 2 pixels, so that no label is made up; see `halve_image`."""
    return slab[:, ::2, ::2]
