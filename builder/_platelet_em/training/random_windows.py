"""The sampler `RandomWindows`: windows at random positions, new ones in each epoch."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from _platelet_em.errors import ArgumentError, quote
from _platelet_em.facts import PUBLISHED
from _platelet_em.training.geometry import MARGIN, Corner, VolumeExtent, WindowGeometry
from _platelet_em.training.random_numbers import RandomStream
from _platelet_em.training.samplers import WindowPlan, parse_integer, parse_shapes

__all__ = ["RandomWindows"]

_CLASS_COUNT = len(PUBLISHED.classes)
_FIRST_INSTANCE_CLASS = next(i.first_class for i in PUBLISHED.instances if i.has_class)
"""Classes below this one, background and cell, have no instances to draw windows about."""

_MAX_DRAWS = 1000
"""Windows drawn in search of one with enough foreground, before that is an error."""


@dataclass(frozen=True)
class RandomWindows:
    """Windows at random positions, new ones in each epoch.

    Label windows are inside the volume, at every position with equal probability; a label window
    that is larger than the volume (with `pad="reflect"`) is centered on it. A window depends on
    seed, epoch and index only, not on the process that reads it or on the windows read before it.

    `min_foreground` and `class_weights` go by the organelles, also if they are not read:

    - A label window with fewer organelle voxels than `min_foreground` asks for is drawn again.
      They are counted in the runs of the window, nothing is decoded.
    - With `class_weights`, a class is drawn by weight among the classes that the volume has
      organelles of, then one organelle of it, then a voxel of its box, and then the position of
      that voxel in the label window. For class 0 or 1, background or cell, the window is drawn
      at any position. The class of an organelle is that of most of its voxels (`class_id`).

    Args:
        shape: Shape of the image window in voxels, (z, y, x), or (y, x) for windows of slices.
        count: Windows per epoch, distributed over the volumes by their numbers of voxels, evenly
            mixed. Any number takes the same memory.
        label_shape: Shape of the windows of all columns other than the image, about the same
            center, at most `shape`; None: `shape`. Where the difference is odd, the image window
            begins `(shape - label_shape) // 2` before the label window.
        seed: At least 0.
        min_foreground: Smallest share of organelle voxels in each label window, 0 to 1. That no
            window has so many is found, as an error, when one is read.
        class_weights: One weight for each of the seven classes, or a dictionary {class: weight}.
        pad: "margin" mirrors the volume (as NumPy's mode "reflect") where the margin between label
            window and image window reaches beyond its border; "reflect" also where windows are
            larger than the volume, which is an error otherwise; with None, image windows are
            inside the volume.

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
    pad: str | None = MARGIN

    def __post_init__(self) -> None:
        parse_shapes(self)
        object.__setattr__(self, "count", parse_integer(self.count, "count", 1))
        if self.count > sys.maxsize:
            raise ArgumentError(f"count: expected at most {sys.maxsize}, got {self.count}")
        object.__setattr__(self, "seed", parse_integer(self.seed, "seed", 0))
        try:
            valid = 0 <= self.min_foreground <= 1
        except (TypeError, ValueError):
            valid = False
        if not valid:
            raise ArgumentError(
                f"min_foreground: expected a share, 0 to 1, got {quote(self.min_foreground)}"
            )
        # States compare samplers by their repr, in which 0 and 0.0 differ.
        object.__setattr__(self, "min_foreground", float(self.min_foreground))
        if self.class_weights is not None:
            object.__setattr__(self, "class_weights", _parse_weights(self.class_weights))

    @property
    def needs_boxes(self) -> bool:
        """Whether `plan` needs the volumes' `instances`."""
        return self.needs_counts or self.class_weights is not None

    @property
    def needs_counts(self) -> bool:
        """Whether `plan` needs the volumes' `count_foreground`."""
        return self.min_foreground > 0

    def plan(self, volumes: Sequence[VolumeExtent]) -> WindowPlan:
        """The windows of these volumes.

        Raises:
            ArgumentError: for a volume that is too small for a window, or that has no organelle
                of a class with a weight.
        """
        return _RandomPlan(self, volumes)


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
        or not 0 < sum(values) < math.inf
    ):
        raise ArgumentError(
            f"class_weights: expected {_CLASS_COUNT} weights, one per class, or a dictionary "
            "{class: weight}, with a finite sum, none negative, not all 0; "
            f"got {quote(weights)}"
        )
    return values


class _RandomPlan:
    """The plan of `RandomWindows`."""

    def __init__(self, sampler: RandomWindows, volumes: Sequence[VolumeExtent]) -> None:
        self.geometry = WindowGeometry.of(sampler.shape, sampler.label_shape, sampler.pad)
        self._sampler = sampler
        self._volumes = list(volumes)
        self._ranges = [self.geometry.corner_range(volume) for volume in volumes]
        sizes = [math.prod(volume.shape) for volume in volumes]
        self._shares = _share_out(sampler.count, sizes)
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
        number = _find_volume(index, self._shares)
        random = RandomStream(self._sampler.seed, epoch, index)
        if not self._sampler.needs_counts:
            return number, self._draw_corner(random, number)
        volume, minimum = self._volumes[number], self._sampler.min_foreground
        most = 0.0
        for _ in range(_MAX_DRAWS):
            corner = self._draw_corner(random, number)
            share = self._measure_foreground(volume, corner, minimum)
            if share >= minimum:
                return number, corner
            most = max(most, share)
        raise ArgumentError(
            f"volume {volume.name}: expected windows with a foreground of at least {minimum}, but "
            f"{_MAX_DRAWS} random ones have at most {most:.3f}; use a smaller min_foreground"
        )

    def _draw_corner(self, random: RandomStream, number: int) -> Corner:
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

    def _measure_foreground(self, volume: VolumeExtent, corner: Corner, minimum: float) -> float:
        """Share of organelle voxels in a label window; less than `minimum` may be any bound."""
        # Samplers with min_foreground get both.
        assert volume.instances is not None  # noqa: S101
        assert volume.count_foreground is not None  # noqa: S101
        shape = self.geometry.label_shape
        size = math.prod(shape)
        end = np.add(corner, shape)
        if min(corner) >= 0 and (end <= volume.shape).all():
            # No organelle has more voxels in the window than its box has.
            low, high = volume.instances.boxes[:, :3], volume.instances.boxes[:, 3:]
            overlap = (np.minimum(high, end) - np.maximum(low, corner)).clip(0).prod(axis=1)
            bound = int(np.minimum(overlap, volume.instances.areas).sum()) / size
            if bound < minimum:
                return bound
        return volume.count_foreground(corner, shape) / size


def _share_out(count: int, sizes: Sequence[int]) -> list[int]:
    """How many of `count` windows each volume gets, in proportion to the sizes."""
    shares = [count * size // sum(sizes) for size in sizes]
    # The windows lost to rounding down go to the volumes that lost most.
    largest = sorted(range(len(sizes)), key=lambda k: -(count * sizes[k] % sum(sizes)))
    for k in largest[: count - sum(shares)]:
        shares[k] += 1
    return shares


def _find_volume(index: int, shares: Sequence[int]) -> int:
    """The volume of the window at an index, where the volumes' windows are evenly mixed.

    The windows of a volume with the share s stand at 1/2s, 3/2s, 5/2s, ... between 0 and 1, and
    all are counted from left to right, at the same place by the order of volumes. So shares of 3
    and 2, at 1/6, 3/6, 5/6 and at 1/4, 3/4, give the volumes 0, 1, 0, 1, 0.

    Left of the place p/n, n being the sum of the shares, are p windows, give or take half a window
    per volume. So counting can begin a little before the index, with as many windows of each
    volume as are left of that place: of 3,000 and 2,000, the window at the index 4,000 is found
    from 3,998/5,000 on, with 2,399 and 1,599 windows to its left.
    """
    count, begin = sum(shares), max(index - len(shares), 0)
    passed = [((2 * begin * share - 1) // count + 1) // 2 for share in shares]
    scale = math.lcm(*filter(None, shares))
    while True:
        places = [
            ((2 * n + 1) * scale // share, k)
            for k, (n, share) in enumerate(zip(passed, shares, strict=True))
            if share
        ]
        _, volume = min(places)
        if sum(passed) == index:
            return volume
        passed[volume] += 1
