"""Where windows lie: the volumes, and an image window and a label window about one centre.

Everything here has the axes (z, y, x); a window of a slice is one of depth 1.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.errors import ArgumentError, quote

__all__ = ["Extent", "Frame", "Objects", "Target", "parse_shape", "reflect"]

Extent = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Objects:
    """What is known of the organelles of a volume without their voxels.

    Attributes:
        boxes: int64 (n, 6), half-open: z0, y0, x0, z1, y1, x1.
        areas: int64 (n,), voxels.
        classes: int64 (n,), the class of each.
    """

    boxes: NDArray[np.int64]
    areas: NDArray[np.int64]
    classes: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Target:
    """A volume to read windows of: its name, its shape (z, y, x), and maybe its organelles."""

    name: str
    shape: Extent
    objects: Objects | None = None


@dataclass(frozen=True, slots=True)
class Frame:
    """The image window and the label window about one centre, (z, y, x)."""

    image: Extent
    label: Extent
    is_padded: bool

    @classmethod
    def of(cls, shape: Sequence[int], label: Sequence[int] | None, pad: str | None) -> "Frame":
        """From the arguments of a sampler."""
        depth = (1,) * (3 - len(shape))
        return cls((*depth, *shape), (*depth, *(label or shape)), pad is not None)

    @property
    def offset(self) -> Extent:
        """From the first voxel of the image window to that of the label window."""
        return tuple((i - lab) // 2 for i, lab in zip(self.image, self.label, strict=True))

    def room(self, target: Target) -> list[tuple[int, int]]:
        """The first and the last place of the label window along each axis.

        Raises:
            ArgumentError: if a window cannot lie inside the volume, and may not be padded.
        """
        if self.is_padded:
            return [
                (0, size - label) if label <= size else (-((label - size) // 2),) * 2
                for size, label in zip(target.shape, self.label, strict=True)
            ]
        room, offset = [], self.offset
        for k, axis in enumerate("zyx"):
            if self.image[k] > target.shape[k]:
                raise ArgumentError(
                    f"volume {target.name}: an image window of {self.image[k]} does not fit the "
                    f"{target.shape[k]} voxels along {axis}: take a smaller one, or pad='reflect'"
                )
            room.append((offset[k], target.shape[k] - self.image[k] + offset[k]))
        return room


def parse_shape(values: Any, name: str, like: Extent | None = None) -> Extent:
    """Positive extents of two or three axes, as many as `like` has, and none larger."""
    try:
        shape = tuple(int(v) for v in values)
        valid = len(shape) in (2, 3) and min(shape) > 0 and shape == tuple(values)
    except (TypeError, ValueError, OverflowError):
        valid = False
    if not valid:
        raise ArgumentError(
            f"{name}: expected extents (y, x) or (z, y, x) of at least 1, got {quote(values)}"
        )
    if like and (len(shape) != len(like) or any(a > b for a, b in zip(shape, like, strict=True))):
        raise ArgumentError(f"{name}: expected {len(like)} extents of at most {like}, got {shape}")
    return shape


def reflect(begin: int, length: int, size: int) -> NDArray[np.int64]:
    """The indices that a window reads along an axis, mirrored about the first and the last voxel.

    The same as `np.pad(..., mode="reflect")`, for a window that lies anywhere.

    >>> reflect(-2, 6, 3).tolist()
    [2, 1, 0, 1, 2, 1]
    """
    period = max(2 * (size - 1), 1)
    index = np.arange(begin, begin + length) % period
    return np.minimum(index, period - index) if size > 1 else np.zeros(length, np.int64)
