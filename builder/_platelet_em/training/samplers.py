"""What the samplers of windows have in common: their arguments, and the plan they make.

Samplers decide which windows of the volumes an epoch reads. They know shapes, boxes and counts of
voxels only; nothing is read here.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from _platelet_em.arrays.shape import parse_shape
from _platelet_em.errors import ArgumentError, quote
from _platelet_em.training.geometry import (
    MARGIN,
    REFLECT,
    Corner,
    Shape,
    VolumeExtent,
    WindowGeometry,
)

__all__ = [
    "WindowPlan",
    "WindowSampler",
    "parse_integer",
    "parse_shapes",
    "parse_window_shape",
]


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


class WindowSampler(Protocol):
    """Decides which windows an epoch reads."""

    @property
    def shape(self) -> Sequence[int]:
        """Shape of the image window, (z, y, x), or (y, x) for windows of slices."""

    @property
    def label_shape(self) -> Sequence[int] | None:
        """Shape of the windows of all other columns; None: `shape`."""

    @property
    def needs_boxes(self) -> bool:
        """Whether `plan` needs the volumes' `instances`."""

    @property
    def needs_counts(self) -> bool:
        """Whether `plan` needs the volumes' `count_foreground`."""

    def plan(self, volumes: Sequence[VolumeExtent]) -> WindowPlan:
        """The windows of these volumes."""


def parse_integer(value: Any, name: str, minimum: int) -> int:
    """An integer of at least `minimum`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise ArgumentError(f"{name}: expected an integer, got {quote(value)}")
    if value < minimum:
        raise ArgumentError(f"{name}: expected at least {minimum}, got {value}")
    return int(value)


def parse_window_shape(values: Any, name: str, limit: Shape | None = None) -> Shape:
    """A shape (y, x) or (z, y, x); with `limit`, of as many axes, and no larger."""
    axes = (2, 3) if limit is None else (len(limit),)
    shape = parse_shape(values, name, axes=axes, minimum=1, error=ArgumentError)
    if limit is not None and any(a > b for a, b in zip(shape, limit, strict=True)):
        raise ArgumentError(f"{name}: expected extents of at most {limit}, got {shape}")
    return shape


def parse_shapes(sampler: Any) -> None:
    """Check `shape`, `label_shape` and `pad` of a sampler, and store the shapes as tuples."""
    shape = parse_window_shape(sampler.shape, "shape")
    object.__setattr__(sampler, "shape", shape)
    if sampler.label_shape is not None:
        label_shape = parse_window_shape(sampler.label_shape, "label_shape", shape)
        object.__setattr__(sampler, "label_shape", label_shape)
    if not (sampler.pad is None or sampler.pad in (MARGIN, REFLECT)):
        raise ArgumentError(
            f"pad: expected 'margin', 'reflect', or None for no mirroring, got "
            f"{quote(sampler.pad)}"
        )
