"""Which windows of the volumes are read: on a grid, or at random. Pure geometry, without data."""

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from _platelet_em.errors import ArgumentError, quote
from _platelet_em.facts import CLASS_NAMES, FIRST_ORGANELLE_CLASS
from _platelet_em.training.geometry import Extent, Frame, Objects, Target, parse_shape

__all__ = ["GridWindows", "Plan", "RandomWindows"]

Weights = tuple[float, ...]

_MOST_SHARED = 10**8
_TRIES = 1000
"""Random windows that are drawn for one with enough foreground, before that is an error."""


class Plan(Protocol):
    """All windows of an epoch, by index."""

    @property
    def count(self) -> int:
        """Number of windows."""

    def locate(self, index: int, epoch: int) -> tuple[int, Extent]:
        """The volume's position, and the first voxel (z, y, x) of the label window."""


def _parse_integer(value: Any, name: str, least: int) -> int:
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise ArgumentError(f"{name}: expected an integer, got {quote(value)}")
    if value < least:
        raise ArgumentError(f"{name}: expected at least {least}, got {value}")
    return int(value)


def _parse_weights(weights: Any) -> Weights:
    """One weight a class, from a sequence of them or from a dictionary by class index."""
    classes = range(len(CLASS_NAMES))
    if isinstance(weights, Mapping):
        if unknown := sorted(map(quote, set(weights) - set(classes))):
            raise ArgumentError(
                f"class_weights: expected classes from 0 to {classes[-1]}, got {unknown[0]}"
            )
        weights = [weights.get(index, 0) for index in classes]
    try:
        values = tuple(float(w) for w in weights)
    except (TypeError, ValueError):
        values = ()
    if (
        len(values) != len(classes)
        or not all(0 <= w < math.inf for w in values)
        or not any(values)
    ):
        raise ArgumentError(
            f"class_weights: expected {len(classes)} weights, one a class, or a dictionary by "
            f"class, finite, none negative and not all 0, got {quote(weights)}"
        )
    return values


def _check_common(sampler: "RandomWindows | GridWindows") -> None:
    """Check what both samplers have, and make tuples of it."""
    shape = parse_shape(sampler.shape, "shape")
    object.__setattr__(sampler, "shape", shape)
    if sampler.label_shape is not None:
        label = parse_shape(sampler.label_shape, "label_shape", like=shape)
        object.__setattr__(sampler, "label_shape", label)
    if sampler.pad not in ("reflect", None):
        raise ArgumentError(
            f"pad: expected 'reflect', or None for no padding, got {quote(sampler.pad)}"
        )


# --- grid -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class GridWindows:
    """Windows on a grid, whose label windows cover each volume wholly.

    They begin at 0 and follow each other at `stride`; the last one along an axis is moved back so
    as to end with the volume. Where a label window is larger than the volume, there is one, about
    the volume's middle. The order is that of z, y, x, volume by volume.

    Args:
        shape: Of the image window, (z, y, x), or (y, x) for windows of slices.
        stride: From one window to the next, along each axis; at most the label window, which is
            what None takes.
        label_shape: Of the windows of everything but the image, about the same centre; at most
            `shape`, which is what None takes. Where the difference is odd, the image window
            begins `(shape - label_shape) // 2` before the label window.
        pad: "reflect" mirrors what lies beyond the border (as NumPy's mode of that name); with
            None, a window that reaches beyond it is an error.

    Raises:
        ArgumentError: for anything else.
    """

    shape: Sequence[int]
    stride: Sequence[int] | None = None
    label_shape: Sequence[int] | None = None
    pad: str | None = "reflect"

    def __post_init__(self) -> None:
        _check_common(self)
        if self.stride is not None:
            label = tuple(self.label_shape or self.shape)
            object.__setattr__(self, "stride", parse_shape(self.stride, "stride", like=label))

    def plan(self, targets: Sequence[Target]) -> Plan:
        """The windows of these volumes.

        Raises:
            ArgumentError: for a window that may not be padded and reaches beyond its volume.
        """
        frame = Frame.of(self.shape, self.label_shape, self.pad)
        steps = tuple(self.stride or self.label_shape or self.shape)
        return _Grid([self._starts(frame, steps, target) for target in targets])

    def _starts(self, frame: Frame, steps: Extent, target: Target) -> list[list[int]]:
        """The places of the label windows along each axis of a volume."""
        steps = (*(1,) * (3 - len(steps)), *steps)
        inside = frame.room(target)
        starts = []
        covering = Frame(frame.image, frame.label, is_padded=True).room(target)
        for k, (first, last) in enumerate(covering):
            starts.append([*range(first, last, steps[k]), last])
            if (first, last) != inside[k]:
                raise ArgumentError(
                    f"volume {target.name}: image windows of {frame.image[k]} along {'zyx'[k]} "
                    f"reach beyond its border where label windows of {frame.label[k]} cover it: "
                    "take pad='reflect'"
                )
        return starts


class _Grid:
    """The plan of `GridWindows`: the places along each axis of each volume."""

    def __init__(self, starts: list[list[list[int]]]) -> None:
        self._starts = starts
        self._ends = np.cumsum([math.prod(map(len, axes)) for axes in starts])

    @property
    def count(self) -> int:
        return int(self._ends[-1])

    def locate(self, index: int, epoch: int) -> tuple[int, Extent]:  # noqa: ARG002  # all alike
        volume = int(np.searchsorted(self._ends, index, side="right"))
        axes = self._starts[volume]
        rest = index - (int(self._ends[volume - 1]) if volume else 0)
        places = np.unravel_index(rest, [len(axis) for axis in axes])
        return volume, tuple(axis[place] for axis, place in zip(axes, places, strict=True))


# --- random -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class RandomWindows:
    """Windows at random places, new ones each epoch.

    The label window lies inside the volume, at any place alike; where it is larger than the
    volume, it lies about the volume's middle. Seed, epoch and index of a window decide where it
    lies, so it does not matter who makes it, nor when.

    `min_foreground` and `class_weights` go by the boxes, areas and classes of the organelles:
    - The foreground of a label window is estimated: each organelle counts with its area times the
      share of its bounding box that lies in the window. What is below `min_foreground` is drawn
      again. The estimate takes an organelle as spread evenly over its box.
    - With `class_weights` a class is drawn by its weight, of those that the volume has organelles
      of, then one of them, then a voxel of its box, which the label window shall hold at a
      random place. For class 0 or 1, background or cell, the window lies anywhere. An organelle
      has the class of most of its voxels (`class_id`).

    Args:
        shape: Of the image window, (z, y, x), or (y, x) for windows of slices.
        count: Windows an epoch, shared out over all volumes by their voxels; of several volumes
            at most 100 million, each of which takes a byte.
        label_shape: Of the windows of everything but the image, about the same centre; at most
            `shape`, which is what None takes. Where the difference is odd, the image window
            begins `(shape - label_shape) // 2` before the label window.
        seed: At least 0.
        min_foreground: Least share of organelles in the label window, 0 to 1.
        class_weights: One weight for each of the seven classes, or a dictionary {class: weight}.
        pad: "reflect" mirrors what lies beyond the border (as NumPy's mode of that name); with
            None, image windows lie inside the volume, and it is an error if none can.

    Raises:
        ArgumentError: for anything else.
    """

    shape: Sequence[int]
    count: int
    label_shape: Sequence[int] | None = None
    seed: int = 0
    min_foreground: float = 0.0
    class_weights: Mapping[int, float] | Sequence[float] | None = None
    pad: str | None = "reflect"

    def __post_init__(self) -> None:
        _check_common(self)
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
    def needs_objects(self) -> bool:
        """Whether the windows depend on the organelles."""
        return self.min_foreground > 0 or self.class_weights is not None

    def plan(self, targets: Sequence[Target]) -> Plan:
        """The windows of these volumes.

        Raises:
            ArgumentError: for a volume that no window fits, or without any of the classes.
        """
        return _Random(self, targets)


class _Draws:
    """Random numbers of one window: of PCG64, whose stream NumPy promises never to change."""

    def __init__(self, *seeds: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(seeds))

    def below(self, stop: int) -> int:
        """An integer from 0 to stop - 1."""
        return int(self._bits.random_raw()) * stop >> 64

    def choose(self, weights: Sequence[float]) -> int:
        """An index, drawn by its weight."""
        bounds = list(itertools.accumulate(weights))
        point = int(self._bits.random_raw()) / 2**64 * bounds[-1]
        # Rounding may reach the last bound: that is the last index that has a weight.
        last = max(i for i, weight in enumerate(weights) if weight)
        return min(sum(bound <= point for bound in bounds), last)


class _Random:
    """The plan of `RandomWindows`."""

    def __init__(self, sampler: RandomWindows, targets: Sequence[Target]) -> None:
        self._sampler = sampler
        self._targets = list(targets)
        self._frame = Frame.of(sampler.shape, sampler.label_shape, sampler.pad)
        self._rooms = [self._frame.room(target) for target in targets]
        # Of a single volume there may be as many windows as one likes: they take no memory.
        sizes = [math.prod(target.shape) for target in targets]
        self._order = _share_out(sampler.count, sizes) if len(sizes) > 1 else None
        self._weights = [self._weigh(target) for target in targets]

    def _weigh(self, target: Target) -> Weights:
        """The weights of the classes that the volume has; none if any place will do."""
        weights = self._sampler.class_weights
        if target.objects is None or not isinstance(weights, tuple):
            return ()
        there = {*range(FIRST_ORGANELLE_CLASS), *target.objects.classes.tolist()}
        present = tuple(w if index in there else 0.0 for index, w in enumerate(weights))
        if not any(present):
            raise ArgumentError(
                f"volume {target.name}: it has no organelle of a class with a weight in "
                f"class_weights={weights}: its organelles are of {sorted(there)[2:]}"
            )
        return present

    @property
    def count(self) -> int:
        return self._sampler.count

    def locate(self, index: int, epoch: int) -> tuple[int, Extent]:
        volume = 0 if self._order is None else int(self._order[index])
        target, least = self._targets[volume], self._sampler.min_foreground
        draws = _Draws(self._sampler.seed, epoch, index)
        if target.objects is None or not least:
            return volume, self._draw(draws, volume)
        best = 0.0
        for _ in range(_TRIES):
            corner = self._draw(draws, volume)
            share = self._foreground(target.objects, target.shape, corner)
            if share >= least:
                return volume, corner
            best = max(best, share)
        raise ArgumentError(
            f"volume {target.name}: expected windows with a foreground of at least {least}, but "
            f"the best of {_TRIES} random ones has {best:.3f}: take a smaller min_foreground"
        )

    def _draw(self, draws: _Draws, volume: int) -> Extent:
        """A random place of a label window."""
        room, weights, objects = (
            self._rooms[volume],
            self._weights[volume],
            self._targets[volume].objects,
        )
        chosen = draws.choose(weights) if weights else 0
        if chosen < FIRST_ORGANELLE_CLASS or objects is None:
            return tuple(first + draws.below(last - first + 1) for first, last in room)
        members = np.flatnonzero(objects.classes == chosen)
        box = objects.boxes[members[draws.below(len(members))]].tolist()
        corner = []
        for k, (first, last) in enumerate(room):
            voxel = box[k] + draws.below(box[k + 3] - box[k])
            corner.append(min(max(voxel - draws.below(self._frame.label[k]), first), last))
        return tuple(corner)

    def _foreground(self, objects: Objects, shape: Extent, corner: Extent) -> float:
        """The estimated share of organelles in what of the label window lies in the volume."""
        begin = np.maximum(corner, 0)
        end = np.minimum(np.add(corner, self._frame.label), shape)
        low, high = objects.boxes[:, :3], objects.boxes[:, 3:]
        overlap = np.clip(np.minimum(high, end) - np.maximum(low, begin), 0, None).prod(axis=1)
        voxels = objects.areas * (overlap / (high - low).prod(axis=1))
        return float(voxels.sum() / np.prod(end - begin))


def _share_out(count: int, sizes: Sequence[int]) -> NDArray[np.unsignedinteger]:
    """The volume of each of `count` windows: in proportion to the sizes, and well mixed."""
    if count > _MOST_SHARED:
        raise ArgumentError(
            f"count: expected at most {_MOST_SHARED} windows of several volumes, got {count}: "
            "take less, and others in each epoch (set_epoch)"
        )
    exact = [count * size / sum(sizes) for size in sizes]
    shares = [int(share) for share in exact]
    # What rounding down left goes to those that lost most by it.
    largest = sorted(range(len(sizes)), key=lambda k: shares[k] - exact[k])
    for k in largest[: count - sum(shares)]:
        shares[k] += 1
    places = np.concatenate([(np.arange(share) + 0.5) / max(share, 1) for share in shares])
    volumes = np.repeat(np.arange(len(sizes), dtype=np.min_scalar_type(len(sizes))), shares)
    return volumes[np.argsort(places, kind="stable")]
