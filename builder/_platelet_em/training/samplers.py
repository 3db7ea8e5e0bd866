"""The samplers `GridWindows` and `RandomWindows`: which windows of the volumes an epoch reads.

Samplers know shapes and bounding boxes only; no voxel is read here.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.shape import parse_shape
from _platelet_em.errors import ArgumentError, quote
from _platelet_em.facts import PUBLISHED
from _platelet_em.training.geometry import (
    Corner,
    InstanceBoxes,
    Shape,
    VolumeExtent,
    WindowGeometry,
)

__all__ = ["GridWindows", "RandomWindows", "WindowPlan"]

_CLASS_COUNT = len(PUBLISHED.classes)
_FIRST_INSTANCE_CLASS = next(i.first_class for i in PUBLISHED.instances if i.has_class)
"""Classes below this one, background and cell, have no instances to draw windows about."""

_MAX_SHARED_COUNT = 10**8
_MAX_DRAWS = 1000
"""Windows drawn in search of one with enough foreground, before that is an error."""


class WindowPlan(Protocol):
    """The windows of an epoch, by index."""

    @property
    def count(self) -> int:
        """Number of windows per epoch."""

    @property
    def geometry(self) -> WindowGeometry:
        """Shapes of the windows."""

    def locate(self, index: int, epoch: int) -> tuple[int, Corner]:
        """Position of the volume in the list, and corner (z, y, x) of the label window."""


def _parse_integer(value: Any, name: str, minimum: int) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise ArgumentError(f"{name}: expected an integer, got {quote(value)}")
    if value < minimum:
        raise ArgumentError(f"{name}: expected at least {minimum}, got {value}")
    return int(value)


def _parse_window_shape(values: Any, name: str, limit: Shape | None = None) -> Shape:
    """A shape (y, x) or (z, y, x); with `limit`, of as many axes, and no larger."""
    axes = (2, 3) if limit is None else (len(limit),)
    shape = parse_shape(values, name, axes=axes, minimum=1, error=ArgumentError)
    if limit is not None and any(a > b for a, b in zip(shape, limit, strict=True)):
        raise ArgumentError(f"{name}: expected extents of at most {limit}, got {shape}")
    return shape


def _parse_weights(weights: Any) -> tuple[float, ...]:
    """One weight per class, from a sequence or from a dictionary {class index: weight}."""
    if isinstance(weights, Mapping):
        if unknown := sorted(map(quote, set(weights) - set(range(_CLASS_COUNT)))):
            raise ArgumentError(
                f"class_weights: expected classes from 0 to {_CLASS_COUNT - 1}, got {unknown[0]}"
            )
        weights = [weights.get(index, 0) for index in range(_CLASS_COUNT)]
    try:
        values = tuple(float(weight) for weight in weights)
    except (TypeError, ValueError):
        values = ()
    if (
        len(values) != _CLASS_COUNT
        or not all(0 <= weight < math.inf for weight in values)
        or not any(values)
    ):
        raise ArgumentError(
            f"class_weights: expected {_CLASS_COUNT} weights, one per class, or a dictionary "
            "{class: weight}, all finite, none negative, not all 0; "
            f"got {quote(weights)}"
        )
    return values


def _parse_window(sampler: "RandomWindows | GridWindows") -> None:
    """Check the arguments that both samplers have, and store the shapes as tuples."""
    shape = _parse_window_shape(sampler.shape, "shape")
    object.__setattr__(sampler, "shape", shape)
    if sampler.label_shape is not None:
        label_shape = _parse_window_shape(sampler.label_shape, "label_shape", shape)
        object.__setattr__(sampler, "label_shape", label_shape)
    if sampler.pad not in ("reflect", None):
        raise ArgumentError(
            f"pad: expected 'reflect', or None for no padding, got {quote(sampler.pad)}"
        )


# --- grid -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GridWindows:
    """Windows on a regular grid, whose label windows cover each volume completely.

    Along each axis label windows begin at 0 and follow each other at `stride`; the last one is
    moved back so that it ends with the volume. A label window that is larger than the volume
    is centered on it. The order is that of z, y, x, volume by volume.

    Args:
        shape: Shape of the image window in voxels, (z, y, x), or (y, x) for windows of slices.
        stride: Distance from one window to the next along each axis, at most that of the label
            window; None: the shape of the label window, so that windows do not overlap.
        label_shape: Shape of the windows of all columns other than the image, about the same
            center, at most `shape`; None: `shape`. Where the difference is odd, the image window
            begins `(shape - label_shape) // 2` before the label window.
        pad: "reflect" mirrors the volume at its border (as NumPy's mode of that name); with
            None, a window that reaches beyond the border is an error.

    Raises:
        ArgumentError: for an argument outside these values.

    >>> GridWindows((256, 256), stride=(128, 128))
    GridWindows(shape=(256, 256), stride=(128, 128), label_shape=None, pad='reflect')
    >>> GridWindows((64, 64), stride=(80, 80))
    Traceback (most recent call last):
        ...
    platelet_em.ArgumentError: stride: expected extents of at most (64, 64), got (80, 80)
    """

    __module__ = "platelet_em"

    shape: Sequence[int]
    stride: Sequence[int] | None = None
    label_shape: Sequence[int] | None = None
    pad: str | None = "reflect"

    def __post_init__(self) -> None:
        _parse_window(self)
        if self.stride is not None:
            label_shape = tuple(self.label_shape or self.shape)
            stride = _parse_window_shape(self.stride, "stride", label_shape)
            object.__setattr__(self, "stride", stride)

    def plan(self, volumes: Sequence[VolumeExtent]) -> WindowPlan:
        """The windows of these volumes.

        Raises:
            ArgumentError: if a window reaches beyond the border of its volume and `pad` is None.
        """
        geometry = WindowGeometry.of(self.shape, self.label_shape, self.pad)
        stride = tuple(self.stride or self.label_shape or self.shape)
        stride = (*(1,) * (3 - len(stride)), *stride)
        return _GridPlan(geometry, [_grid_corners(geometry, stride, v) for v in volumes])


def _grid_corners(
    geometry: WindowGeometry, stride: Shape, volume: VolumeExtent
) -> list[list[int]]:
    """Corners of the label windows along each axis of a volume."""
    allowed = geometry.corner_range(volume)
    needed = dataclasses.replace(geometry, is_padded=True).corner_range(volume)
    for k, axis in enumerate("zyx"):
        if needed[k] != allowed[k]:
            raise ArgumentError(
                f"volume {volume.name}: image windows of {geometry.image_shape[k]} along {axis} "
                "reach beyond its border where label windows of "
                f"{geometry.label_shape[k]} cover it; use pad='reflect'"
            )
    return [
        [*range(first, last, step), last]
        for (first, last), step in zip(needed, stride, strict=True)
    ]


class _GridPlan:
    """The plan of `GridWindows`: corners along each axis of each volume."""

    def __init__(self, geometry: WindowGeometry, corners: list[list[list[int]]]) -> None:
        self.geometry = geometry
        self._corners = corners
        self._ends = np.cumsum([math.prod(map(len, axes)) for axes in corners])

    @property
    def count(self) -> int:
        return int(self._ends[-1])

    def locate(self, index: int, epoch: int) -> tuple[int, Corner]:  # noqa: ARG002  # all alike
        volume = int(np.searchsorted(self._ends, index, side="right"))
        axes = self._corners[volume]
        index_in_volume = index - (int(self._ends[volume - 1]) if volume else 0)
        positions = np.unravel_index(index_in_volume, [len(axis) for axis in axes])
        return volume, tuple(axis[i] for axis, i in zip(axes, positions, strict=True))


# --- random -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class RandomWindows:
    """Windows at random positions, new ones in each epoch.

    Label windows are inside the volume, at every position with equal probability; a label window
    that is larger than the volume is centered on it. A window depends on seed, epoch and index
    only, not on the process that reads it or on the windows read before it.

    `min_foreground` and `class_weights` use bounding boxes, areas and classes of the organelles:

    - The foreground of a label window is an estimate: each organelle counts with its area times
      the share of its bounding box that is inside the window, as if it filled its box evenly.
      Windows below `min_foreground` are drawn again.
    - With `class_weights`, a class is drawn by weight among the classes that the volume has
      organelles of, then one organelle of it, then a voxel of its box, and then the position of
      that voxel in the label window. For class 0 or 1, background or cell, the window is drawn
      at any position. The class of an organelle is that of most of its voxels (`class_id`).

    Args:
        shape: Shape of the image window in voxels, (z, y, x), or (y, x) for windows of slices.
        count: Windows per epoch, distributed over the volumes by their numbers of voxels. For
            several volumes at most 100 million, each of which takes a byte of memory.
        label_shape: Shape of the windows of all columns other than the image, about the same
            center, at most `shape`; None: `shape`. Where the difference is odd, the image window
            begins `(shape - label_shape) // 2` before the label window.
        seed: At least 0.
        min_foreground: Smallest share of organelle voxels in the label window, 0 to 1.
        class_weights: One weight for each of the seven classes, or a dictionary {class: weight}.
        pad: "reflect" mirrors the volume at its border (as NumPy's mode of that name); with
            None, image windows are inside the volume, and a volume too small for one is an error.

    Raises:
        ArgumentError: for an argument outside these values.

    >>> RandomWindows((16, 256, 256), count=1000, class_weights={0: 1, 5: 1, 6: 1}).shape
    (16, 256, 256)
    >>> RandomWindows((16, 256, 256), count=0)
    Traceback (most recent call last):
        ...
    platelet_em.ArgumentError: count: expected at least 1, got 0
    """

    __module__ = "platelet_em"

    shape: Sequence[int]
    count: int
    label_shape: Sequence[int] | None = None
    seed: int = 0
    min_foreground: float = 0.0
    class_weights: Mapping[int, float] | Sequence[float] | None = None
    pad: str | None = "reflect"

    def __post_init__(self) -> None:
        _parse_window(self)
        object.__setattr__(self, "count", _parse_integer(self.count, "count", 1))
        object.__setattr__(self, "seed", _parse_integer(self.seed, "seed", 0))
        try:
            valid = 0 <= self.min_foreground <= 1
        except (TypeError, ValueError):
            valid = False
        if not valid:
            raise ArgumentError(
                f"min_foreground: expected a share, 0 to 1, got {quote(self.min_foreground)}"
            )
        if self.class_weights is not None:
            object.__setattr__(self, "class_weights", _parse_weights(self.class_weights))

    @property
    def needs_instances(self) -> bool:
        """Whether `plan` needs the volumes' `instances`."""
        return self.min_foreground > 0 or self.class_weights is not None

    def plan(self, volumes: Sequence[VolumeExtent]) -> WindowPlan:
        """The windows of these volumes.

        Raises:
            ArgumentError: for a volume that is too small for a window, or that has no organelle
                of a class with a weight.
        """
        return _RandomPlan(self, volumes)


class _RandomStream:
    """Random numbers of one window, from PCG64, whose output NumPy promises never to change."""

    def __init__(self, *seeds: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(seeds))

    def integer(self, stop: int) -> int:
        """An integer from 0 to stop - 1."""
        return int(self._bits.random_raw()) * stop >> 64

    def weighted_index(self, weights: Sequence[float]) -> int:
        """An index into `weights`, drawn with these weights."""
        bounds = list(itertools.accumulate(weights))
        point = int(self._bits.random_raw()) / 2**64 * bounds[-1]
        # Rounding may reach the last bound; that point belongs to the last index with a weight.
        last = max(i for i, weight in enumerate(weights) if weight)
        return min(sum(bound <= point for bound in bounds), last)


class _RandomPlan:
    """The plan of `RandomWindows`."""

    def __init__(self, sampler: RandomWindows, volumes: Sequence[VolumeExtent]) -> None:
        self.geometry = WindowGeometry.of(sampler.shape, sampler.label_shape, sampler.pad)
        self._sampler = sampler
        self._volumes = list(volumes)
        self._ranges = [self.geometry.corner_range(volume) for volume in volumes]
        # Windows of a single volume take no memory, so there may be any number of them.
        sizes = [math.prod(volume.shape) for volume in volumes]
        self._volume_of = _assign_volumes(sampler.count, sizes) if len(sizes) > 1 else None
        self._weights = [self._weights_of(volume) for volume in volumes]

    def _weights_of(self, volume: VolumeExtent) -> tuple[float, ...]:
        """Weights of the classes that the volume has; () if windows do not depend on classes."""
        weights = self._sampler.class_weights
        if volume.instances is None or not isinstance(weights, tuple):
            return ()
        found = sorted(set(volume.instances.classes.tolist()))
        available = {*range(_FIRST_INSTANCE_CLASS), *found}
        present = tuple(w if index in available else 0.0 for index, w in enumerate(weights))
        if not any(present):
            raise ArgumentError(
                f"volume {volume.name}: expected organelles of a class with a weight in "
                f"class_weights={weights}, got only organelles of classes {found}"
            )
        return present

    @property
    def count(self) -> int:
        return self._sampler.count

    def locate(self, index: int, epoch: int) -> tuple[int, Corner]:
        number = 0 if self._volume_of is None else int(self._volume_of[index])
        volume, minimum = self._volumes[number], self._sampler.min_foreground
        random = _RandomStream(self._sampler.seed, epoch, index)
        if volume.instances is None or not minimum:
            return number, self._draw_corner(random, number)
        best = 0.0
        for _ in range(_MAX_DRAWS):
            corner = self._draw_corner(random, number)
            share = self._estimate_foreground(volume.instances, volume.shape, corner)
            if share >= minimum:
                return number, corner
            best = max(best, share)
        raise ArgumentError(
            f"volume {volume.name}: expected windows with a foreground of at least {minimum}, but "
            f"the best of {_MAX_DRAWS} random ones has {best:.3f}; use a smaller min_foreground"
        )

    def _draw_corner(self, random: _RandomStream, number: int) -> Corner:
        """A random corner of a label window in a volume."""
        ranges, weights = self._ranges[number], self._weights[number]
        instances = self._volumes[number].instances
        chosen = random.weighted_index(weights) if weights else 0
        if chosen < _FIRST_INSTANCE_CLASS or instances is None:
            return tuple(first + random.integer(last - first + 1) for first, last in ranges)
        members = np.flatnonzero(instances.classes == chosen)
        box = instances.boxes[members[random.integer(len(members))]].tolist()
        corner = []
        for k, (first, last) in enumerate(ranges):
            voxel = box[k] + random.integer(box[k + 3] - box[k])
            position = random.integer(self.geometry.label_shape[k])
            corner.append(min(max(voxel - position, first), last))
        return tuple(corner)

    def _estimate_foreground(self, found: InstanceBoxes, shape: Shape, corner: Corner) -> float:
        """Estimated share of organelle voxels in the part of a label window inside the volume."""
        begin = np.maximum(corner, 0)
        end = np.minimum(np.add(corner, self.geometry.label_shape), shape)
        low, high = found.boxes[:, :3], found.boxes[:, 3:]
        overlap = np.clip(np.minimum(high, end) - np.maximum(low, begin), 0, None).prod(axis=1)
        voxels = found.areas * (overlap / (high - low).prod(axis=1))
        return float(voxels.sum() / np.prod(end - begin))


def _assign_volumes(count: int, sizes: Sequence[int]) -> NDArray[np.unsignedinteger]:
    """The volume of each of `count` windows: in proportion to the sizes, evenly mixed.

    For example 5 windows of volumes of 30 and 20 voxels belong to the volumes 0, 1, 0, 1, 0.
    """
    if count > _MAX_SHARED_COUNT:
        raise ArgumentError(
            f"count: expected at most {_MAX_SHARED_COUNT} windows of several volumes, got "
            f"{count}; use fewer, and new ones in each epoch (set_epoch)"
        )
    exact = [count * size / sum(sizes) for size in sizes]
    shares = [int(share) for share in exact]
    # The windows lost to rounding down go to the volumes that lost most.
    largest = sorted(range(len(sizes)), key=lambda k: shares[k] - exact[k])
    for k in largest[: count - sum(shares)]:
        shares[k] += 1
    # Each volume's windows are spread evenly over 0..1, then all are sorted by position.
    positions = np.concatenate([(np.arange(share) + 0.5) / max(share, 1) for share in shares])
    volumes = np.repeat(np.arange(len(sizes), dtype=np.min_scalar_type(len(sizes))), shares)
    return volumes[np.argsort(positions, kind="stable")]
