"""Samplers whose windows are spread over a grid: `GridWindows` and `StratifiedWindows`."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.shape import parse_shape
from _platelet_em.errors import ArgumentError
from _platelet_em.training.geometry import (
    MARGIN,
    Corner,
    Shape,
    VolumeExtent,
    WindowGeometry,
)
from _platelet_em.training.random_numbers import RandomStream
from _platelet_em.training.samplers import (
    WindowPlan,
    parse_integer,
    parse_shapes,
    parse_window_shape,
)

__all__ = ["GridWindows", "StratifiedWindows"]

# --- regular ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class GridWindows:
    """Windows on a regular grid, whose label windows cover each volume completely.

    Along each axis label windows begin at 0 and follow each other at `stride`; the last one is
    moved back so that it ends with the volume. A label window that is larger than the volume
    (with `pad="reflect"`) is centered on it. The order is that of z, y, x, volume by volume.

    Args:
        shape: Shape of the image window in voxels, (z, y, x), or (y, x) for windows of slices.
        stride: Distance from one window to the next along each axis, at most that of the label
            window; None: the shape of the label window, so that windows do not overlap.
        label_shape: Shape of the windows of all columns other than the image, about the same
            center, at most `shape`; None: `shape`. Where the difference is odd, the image window
            begins `(shape - label_shape) // 2` before the label window.
        pad: "margin" mirrors the volume (as NumPy's mode "reflect") where the margin between label
            window and image window reaches beyond its border; "reflect" also where windows are
            larger than the volume, which is an error otherwise; with None, a window that
            reaches beyond the border is an error.

    Raises:
        ArgumentError: for an argument outside these values.

    >>> GridWindows((256, 256), stride=(128, 128))
    GridWindows(shape=(256, 256), stride=(128, 128), label_shape=None, pad='margin')
    >>> GridWindows((64, 64), stride=(80, 80))
    Traceback (most recent call last):
        ...
    platelet_em.ArgumentError: stride: expected extents of at most (64, 64), got (80, 80)
    """

    __module__ = "platelet_em"

    shape: Sequence[int]
    stride: Sequence[int] | None = None
    label_shape: Sequence[int] | None = None
    pad: str | None = MARGIN
    needs_boxes: ClassVar[bool] = False
    needs_counts: ClassVar[bool] = False

    def __post_init__(self) -> None:
        parse_shapes(self)
        if self.stride is not None:
            label_shape = tuple(self.label_shape or self.shape)
            stride = parse_window_shape(self.stride, "stride", label_shape)
            object.__setattr__(self, "stride", stride)

    def plan(self, volumes: Sequence[VolumeExtent]) -> WindowPlan:
        """The windows of these volumes.

        Raises:
            ArgumentError: for a volume that is smaller than a window, unless `pad` is "reflect";
                if a window reaches beyond the border and `pad` is None.
        """
        geometry = WindowGeometry.of(self.shape, self.label_shape, self.pad)
        stride = tuple(self.stride or self.label_shape or self.shape)
        stride = (*(1,) * (3 - len(stride)), *stride)
        return _GridPlan(geometry, [_grid_corners(geometry, stride, v) for v in volumes])


def _grid_corners(
    geometry: WindowGeometry, stride: Shape, volume: VolumeExtent
) -> list[tuple[range, int]]:
    """Corners of the label windows along each axis of a volume, and the highest possible one.

    The last corner of a range may lie above that one, and is moved back to it.
    """
    allowed = geometry.corner_range(volume)
    needed = geometry.label_range(volume)
    for k, axis in enumerate("zyx"):
        if needed[k] != allowed[k]:
            raise ArgumentError(
                f"volume {volume.name}: image windows of {geometry.image_shape[k]} along {axis} "
                "reach beyond its border where label windows of "
                f"{geometry.label_shape[k]} cover it; use pad='margin'"
            )
    return [
        (range(first, last + step, step), last)
        for (first, last), step in zip(needed, stride, strict=True)
    ]


class _GridPlan:
    """The plan of `GridWindows`: corners along each axis of each volume."""

    def __init__(
        self, geometry: WindowGeometry, corners: Sequence[Sequence[tuple[range, int]]]
    ) -> None:
        self.geometry = geometry
        self._corners = corners
        self._sizes = [[len(axis) for axis, _ in axes] for axes in corners]
        self._ends = np.cumsum([math.prod(size) for size in self._sizes])

    @property
    def count(self) -> int:
        return int(self._ends[-1])

    def locate(self, index: int, epoch: int) -> tuple[int, Corner]:  # noqa: ARG002  # all alike
        volume, positions = _unravel(index, self._ends, self._sizes)
        axes = zip(self._corners[volume], positions, strict=True)
        return volume, tuple(min(axis[i], last) for (axis, last), i in axes)


def _unravel(
    index: int, ends: NDArray[np.int64], sizes: Sequence[Sequence[int]]
) -> tuple[int, tuple[int, ...]]:
    """The volume of an index, and the position along z, y and x in its grid of this size."""
    volume = int(np.searchsorted(ends, index, side="right"))
    index_in_volume = index - (int(ends[volume - 1]) if volume else 0)
    return volume, tuple(int(i) for i in np.unravel_index(index_in_volume, sizes[volume]))


# --- stratified -------------------------------------------------------------------------------


@dataclass(frozen=True)
class StratifiedWindows:
    """One random window in each bin of a grid, so that no part of a volume is left out by chance.

    The positions that label windows can have are divided along each axis into bins of equal size,
    or one less; in each bin of the grid one position is drawn, a new one in each epoch. A window
    depends on seed, epoch and index only. The order is that of the bins in z, y, x, volume by
    volume: `Windows.sampler(shuffle=True)` mixes it.

    Args:
        shape: Shape of the image window in voxels, (z, y, x), or (y, x) for windows of slices.
        bins: Number of bins along each axis of `shape`, at most that of positions. A volume has
            their product as windows per epoch, and so has each slice if `shape` is (y, x).
        label_shape: Shape of the windows of all columns other than the image, about the same
            center, at most `shape`; None: `shape`. Where the difference is odd, the image window
            begins `(shape - label_shape) // 2` before the label window.
        seed: At least 0.
        pad: "margin" mirrors the volume (as NumPy's mode "reflect") where the margin between label
            window and image window reaches beyond its border; "reflect" also where windows are
            larger than the volume, which is an error otherwise; with None, image windows are
            inside the volume.

    Raises:
        ArgumentError: for an argument outside these values.

    >>> StratifiedWindows((16, 256, 256), bins=(2, 4, 4)).bins
    (2, 4, 4)
    >>> StratifiedWindows((256, 256), bins=(2, 4, 4))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    platelet_em.ArgumentError: bins: expected 2 extents of at least 1, ...
    """

    __module__ = "platelet_em"

    shape: Sequence[int]
    bins: Sequence[int]
    label_shape: Sequence[int] | None = None
    seed: int = 0
    pad: str | None = MARGIN
    needs_boxes: ClassVar[bool] = False
    needs_counts: ClassVar[bool] = False

    def __post_init__(self) -> None:
        parse_shapes(self)
        bins = parse_shape(
            self.bins, "bins", axes=(len(self.shape),), minimum=1, error=ArgumentError
        )
        object.__setattr__(self, "bins", bins)
        object.__setattr__(self, "seed", parse_integer(self.seed, "seed", 0))

    def plan(self, volumes: Sequence[VolumeExtent]) -> WindowPlan:
        """The windows of these volumes.

        Raises:
            ArgumentError: for a volume that is smaller than a window, or has fewer positions
                than bins along an axis.
        """
        return _StratifiedPlan(self, volumes)


class _StratifiedPlan:
    """The plan of `StratifiedWindows`: ranges of corners along each axis of each volume."""

    def __init__(self, sampler: StratifiedWindows, volumes: Sequence[VolumeExtent]) -> None:
        self.geometry = WindowGeometry.of(sampler.shape, sampler.label_shape, sampler.pad)
        self._seed = sampler.seed
        self._ranges = [self.geometry.corner_range(volume) for volume in volumes]
        self._bins = [
            (*(volume.shape[:1] if len(sampler.bins) == 2 else ()), *sampler.bins)
            for volume in volumes
        ]
        for volume, ranges, bins in zip(volumes, self._ranges, self._bins, strict=True):
            for axis, (first, last), wanted in zip("zyx", ranges, bins, strict=True):
                if wanted > last - first + 1:
                    raise ArgumentError(
                        f"volume {volume.name}: expected at most as many bins as windows have "
                        f"positions along {axis}, which are {last - first + 1}, got {wanted}"
                    )
        self._ends = np.cumsum([math.prod(bins) for bins in self._bins])

    @property
    def count(self) -> int:
        return int(self._ends[-1])

    def locate(self, index: int, epoch: int) -> tuple[int, Corner]:
        volume, bins = _unravel(index, self._ends, self._bins)
        random = RandomStream(self._seed, epoch, index)
        corner = []
        for k, (first, last), wanted in zip(
            bins, self._ranges[volume], self._bins[volume], strict=True
        ):
            # Of 10 positions in 4 bins, these begin at 0, 2, 5 and 7.
            begin, end = (i * (last - first + 1) // wanted for i in (k, k + 1))
            corner.append(first + begin + random.integer(end - begin))
        return volume, tuple(corner)
