"""What `windows` finds out first: the sampler, the columns of the source, extents of volumes."""

from collections.abc import Sequence
from typing import Any

import datasets

from _platelet_em.errors import ArgumentError
from _platelet_em.hf.label_features import LabelColumn, labels_of_features, labels_of_rows
from _platelet_em.hf.volume import RowVolume
from _platelet_em.training.corners import ListedWindows
from _platelet_em.training.defaults import choose_foreground
from _platelet_em.training.foreground import ForegroundCounter, measure_instances
from _platelet_em.training.geometry import MARGIN, VolumeExtent
from _platelet_em.training.grids import GridWindows, StratifiedWindows
from _platelet_em.training.random_windows import RandomWindows
from _platelet_em.training.samplers import WindowSampler
from _platelet_em.training.sources import check_source, group_rows, read_rows

__all__ = ["NEED", "measure_volumes", "open_source", "parse_sampler", "suit_sampler"]

NEED = "min_foreground or class_weights of the sampler"
"""What needs a column of instances that windows may not have."""


def parse_sampler(
    sampler: Any, shape: Sequence[int] | None, label_shape: Sequence[int] | None, pad: str | None
) -> WindowSampler:
    """The sampler, or that of a list of corners; arguments as of `windows`.

    Raises:
        ArgumentError: for corners without `shape`, or a `shape` without corners.
    """
    if isinstance(sampler, (RandomWindows, GridWindows, StratifiedWindows)):
        if (shape, label_shape, pad) != (None, None, MARGIN):
            raise ArgumentError(
                "shape, label_shape, pad: expected for a list of corners only, since the sampler "
                f"has its own; pass them to {type(sampler).__name__}"
            )
        return sampler
    if shape is None:
        # What is no list of corners is refused as such.
        ListedWindows(sampler, (1, 1))
        raise ArgumentError("shape: expected the shape of the windows at the corners, got None")
    return ListedWindows(sampler, shape, label_shape, pad)


def open_source(source: Any) -> tuple[Any, list[str], list[LabelColumn]]:
    """A source, or the rows of a stream that does not name its columns; its columns and labels."""
    check_source(source)
    if source.column_names is None:
        rows = read_rows(source, [])
        return rows, [*rows[0]], labels_of_rows(rows)
    return source, source.column_names, labels_of_features(source.features)


def suit_sampler(
    sampler: WindowSampler, labels: Sequence[LabelColumn], names: Sequence[str]
) -> tuple[WindowSampler, str | None]:
    """The sampler for the classes of a source, and the column of instances that it needs."""
    if not (isinstance(sampler, RandomWindows) and sampler.needs_boxes):
        return sampler, None
    column = choose_foreground(labels, sampler.foreground, names)
    if column.class_names:
        sampler = sampler.of_classes(len(column.class_names))
    return sampler, column.name


def measure_volumes(
    rows: Any,
    volumes: list[RowVolume],
    sampler: WindowSampler,
    foreground: str | None,
    *,
    is_plane: bool,
) -> list[VolumeExtent]:
    """What the sampler needs to know of each volume, and of its instances of a column."""
    boxes: list[Any] = [None] * len(volumes)
    if foreground is not None:
        if isinstance(rows, datasets.Dataset):
            # Slices are all read here: without images, and none is kept.
            names = {"volume", "z", foreground}
            rows = rows.select_columns([name for name in rows.column_names if name in names])
        needed_for = {foreground: NEED}
        labeled = group_rows(rows, [foreground], keep_rows=False, needed_for=needed_for)
        needs_classes = isinstance(sampler, RandomWindows) and sampler.class_weights is not None
        boxes = [
            measure_instances(v, foreground, is_plane=is_plane, needs_classes=needs_classes)
            for v in labeled
        ]
    return [
        VolumeExtent(
            volume.name,
            volume.shape,
            found,
            volume.zs,
            ForegroundCounter(volume, foreground) if foreground and sampler.needs_counts else None,
        )
        for volume, found in zip(volumes, boxes, strict=True)
    ]
