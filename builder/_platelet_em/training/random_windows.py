"""The sampler `RandomWindows`: windows at random positions, new ones in each epoch."""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from _platelet_em.errors import ArgumentError, quote
from _platelet_em.training.geometry import MARGIN, Corner, VolumeExtent, WindowGeometry
from _platelet_em.training.mixture import Mixture, share_out
from _platelet_em.training.random_numbers import RandomStream
from _platelet_em.training.samplers import WindowPlan, parse_integer, parse_shapes

__all__ = ["RandomWindows"]

_MAX_DRAWS = 1000
"""Windows drawn in search of one with enough foreground, before that is an error."""


@dataclass(frozen=True, repr=False)
class RandomWindows:
    """Windows at random positions, new ones in each epoch.

    Label windows are inside the volume, at every position with equal probability; a label window
    that is larger than the volume (with `pad="reflect"`) is centered on it. A window depends on
    seed, epoch and index only, not on the process that reads it or on the windows read before it.

    `min_foreground` and `class_weights` go by the instances of one column, also if they are not
    read: those of `foreground`, by default the first column of instances that have classes, which
    are the organelles of the published volumes, or else the first of all instances.

    - A label window with fewer voxels of instances than `min_foreground` asks for is drawn again.
      They are counted in the runs of the window, nothing is decoded.
    - With `class_weights`, a class is drawn by weight among the classes that the volume has
      instances of, then one instance of it, then a voxel of its box, and then the position of
      that voxel in the label window. For classes below the lowest one that any instance has, such
      as background and cell of the published volumes, the window is drawn at any position. The
      class of an instance is that of most of its voxels (`class_id`).

    Volumes without any instance, or any of a class with a weight, get no windows then, unless that
    is true of all.

    Args:
        shape: Shape of the image window in voxels, (z, y, x), or (y, x) for windows of slices.
        count: Windows per epoch, distributed over the volumes by their numbers of voxels, evenly
            mixed. Any number takes the same memory.
        label_shape: Shape of the windows of all columns other than the image, about the same
            center, at most `shape`; None: `shape`. Where the difference is odd, the image window
            begins `(shape - label_shape) // 2` before the label window.
        seed: At least 0.
        min_foreground: Smallest share of voxels of instances in each label window, 0 to 1. That
            no window has so many is found, as an error, when one is read.
        class_weights: One weight for each class, or a dictionary {class: weight}. How many classes
            there are is checked by `windows`, if the source names them.
        pad: "margin" mirrors the volume (as NumPy's mode "reflect") where the margin between label
            window and image window reaches beyond its border; "reflect" also where windows are
            larger than the volume, which is an error otherwise; with None, image windows are
            inside the volume.
        foreground: Column of the instances that `min_foreground` and `class_weights` go by; None:
            see above.

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
    foreground: str | None = None

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
        if not (self.foreground is None or isinstance(self.foreground, str)):
            raise ArgumentError(
                f"foreground: expected the name of a column, got {quote(self.foreground)}"
            )

    def __repr__(self) -> str:
        # States compare samplers by it: without a column it is that of earlier versions.
        shown = [f.name for f in fields(self) if f.name != "foreground" or self.foreground]
        return f"RandomWindows({', '.join(f'{name}={getattr(self, name)!r}' for name in shown)})"

    @property
    def needs_boxes(self) -> bool:
        """Whether `plan` needs the volumes' `instances`."""
        return self.needs_counts or self.class_weights is not None

    @property
    def needs_counts(self) -> bool:
        """Whether `plan` needs the volumes' `count_foreground`."""
        return self.min_foreground > 0

    def of_classes(self, count: int) -> "RandomWindows":
        """The same for a source of `count` classes, with a weight for each.

        Raises:
            ArgumentError: for weights of other classes.
        """
        if self.class_weights is None:
            return self
        return replace(self, class_weights=_weigh_all(self.class_weights, count))

    def plan(self, volumes: Sequence[VolumeExtent]) -> WindowPlan:
        """The windows of these volumes.

        Raises:
            ArgumentError: for a volume that is too small for a window, or that has no instance
                of a class with a weight.
        """
        return _RandomPlan(self, volumes)


def _parse_weights(weights: Any) -> tuple[Any, ...]:
    """One weight per class, or pairs (class index, weight) of a dictionary, by index.

    A tuple of pairs is what a dictionary became before.
    """
    try:
        if isinstance(weights, Mapping) or _are_pairs(weights):
            found: tuple[Any, ...] = tuple(sorted((k, float(w)) for k, w in dict(weights).items()))
            indices, values = [k for k, _ in found], [w for _, w in found]
        else:
            found = tuple(float(weight) for weight in weights)
            indices, values = [], list(found)
    except (TypeError, ValueError):
        indices, values = [], []
    if not all(0 <= weight < math.inf for weight in values) or not 0 < sum(values) < math.inf:
        raise ArgumentError(
            "class_weights: expected weights, one per class, or a dictionary {class: weight}, "
            f"with a finite sum, none negative, not all 0; got {quote(weights)}"
        )
    if indices:
        indices = [parse_integer(index, "class_weights: class", 0) for index in indices]
        return tuple(zip(indices, values, strict=True))
    return found


def _are_pairs(weights: Any) -> bool:
    return isinstance(weights, tuple) and all(isinstance(pair, tuple) for pair in weights)


def _weigh_all(weights: Any, count: int | None) -> tuple[float, ...]:
    """The weights of `count` classes, or of as many as there are weights.

    Raises:
        ArgumentError: for another number of weights.
    """
    if not _are_pairs(weights):
        if count is not None and len(weights) != count:
            raise ArgumentError(
                f"class_weights: expected {count} weights, one per class, got {len(weights)}"
            )
        return tuple(weights)
    given = dict(weights)
    highest = max(given)
    if count is not None and highest >= count:
        raise ArgumentError(
            f"class_weights: expected classes from 0 to {count - 1}, got {quote(highest)}"
        )
    return tuple(given.get(index, 0.0) for index in range(highest + 1 if count is None else count))


class _RandomPlan:
    """The plan of `RandomWindows`."""

    def __init__(self, sampler: RandomWindows, volumes: Sequence[VolumeExtent]) -> None:
        self.geometry = WindowGeometry.of(sampler.shape, sampler.label_shape, sampler.pad)
        self._sampler = sampler
        self._volumes = list(volumes)
        self._ranges = [self.geometry.corner_range(volume) for volume in volumes]
        self._first_class = _find_first_class(volumes)
        self._weights = [self._weights_of(volume) for volume in volumes]
        is_drawn = [self._is_drawn(*pair) for pair in zip(volumes, self._weights, strict=True)]
        if not any(is_drawn):
            self._check_weights()
            # That there is no foreground is an error when a window is read.
            is_drawn = [True] * len(volumes)
        sizes = [math.prod(v.shape) if d else 0 for v, d in zip(volumes, is_drawn, strict=True)]
        self._mixture = Mixture(share_out(sampler.count, sizes))

    def _is_drawn(self, volume: VolumeExtent, weights: tuple[float, ...]) -> bool:
        """Whether windows of a volume may have what is asked for."""
        if volume.instances is None:
            return True
        has_instances = len(volume.instances.areas) > 0 or not self._sampler.needs_counts
        return has_instances and (any(weights) or self._sampler.class_weights is None)

    def _check_weights(self) -> None:
        """Refuse weights of classes that no volume has."""
        weights = self._sampler.class_weights
        volume = self._volumes[0]
        if weights is None or volume.instances is None or any(map(any, self._weights)):
            return
        raise ArgumentError(
            f"volume {volume.name}: expected instances of a class with a weight in "
            f"class_weights={_weigh_all(weights, None)}, got only instances of classes "
            f"{np.unique(volume.instances.classes).tolist()}"
        )

    def _weights_of(self, volume: VolumeExtent) -> tuple[float, ...]:
        """Weights of the classes that the volume has; () if windows do not depend on classes."""
        if volume.instances is None or self._sampler.class_weights is None:
            return ()
        weights = _weigh_all(self._sampler.class_weights, None)
        found = np.unique(volume.instances.classes).tolist()
        available = {*range(self._first_class), *found}
        return tuple(w if index in available else 0.0 for index, w in enumerate(weights))

    @property
    def count(self) -> int:
        return self._sampler.count

    def locate(self, index: int, epoch: int) -> tuple[int, Corner]:
        number = self._mixture.find(index)
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
        if chosen < self._first_class or instances is None:
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
        """Share of voxels of instances in a label window; less than `minimum` may be any bound."""
        # Samplers with min_foreground get both.
        assert volume.instances is not None  # noqa: S101
        assert volume.count_foreground is not None  # noqa: S101
        shape = self.geometry.label_shape
        size = math.prod(shape)
        end = np.add(corner, shape)
        if min(corner) >= 0 and (end <= volume.shape).all():
            # No instance has more voxels in the window than its box has.
            low, high = volume.instances.boxes[:, :3], volume.instances.boxes[:, 3:]
            overlap = (np.minimum(high, end) - np.maximum(low, corner)).clip(0).prod(axis=1)
            bound = int(np.minimum(overlap, volume.instances.areas).sum()) / size
            if bound < minimum:
                return bound
        return volume.count_foreground(corner, shape) / size


def _find_first_class(volumes: Sequence[VolumeExtent]) -> int:
    """The lowest class of an instance in any volume; classes below it have none to draw about.

    Instances of class 0 have a voxel of no class that they may have.
    """
    found = [v.instances.classes for v in volumes if v.instances is not None]
    classes = np.concatenate([np.empty(0, np.int64), *found])
    known = classes[classes > 0]
    return int(known.min()) if known.size else 1
