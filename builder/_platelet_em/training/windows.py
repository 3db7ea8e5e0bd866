"""`windows`: a stream of windows of volumes, each read when it is needed."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.memory import temporary_arrow_memory
from _platelet_em.arrays.volume_view import VolumeView
from _platelet_em.errors import ArgumentError, quote
from _platelet_em.facts import PUBLISHED
from _platelet_em.hf.formatter import FORMAT
from _platelet_em.hf.private import stream_by_index
from _platelet_em.hf.volume import RowVolume
from _platelet_em.training.geometry import InstanceBoxes, Shape, VolumeExtent, reflect
from _platelet_em.training.samplers import GridWindows, RandomWindows, WindowPlan

__all__ = ["windows"]

_IMAGE = "image"
_FOREGROUND = next(i.column for i in PUBLISHED.instances if i.has_class)
"""Column of the instances that `min_foreground` and `class_weights` go by."""

_SLICE_COLUMN = "z"
"""Column that rows of slices have and rows of volumes lack."""


def windows(
    source: Any,
    sampler: RandomWindows | GridWindows,
    *,
    columns: Sequence[str] = ("image", "semantic", "cells", "organelles"),
) -> datasets.IterableDataset:
    """Windows of volumes, as a stream for training or prediction.

    Only the pages and runs that a window touches are read. Windows are shared out one by one: a
    single volume feeds all workers of a `DataLoader` and all nodes of `split_dataset_by_node`,
    and the windows themselves depend on neither. `state_dict` and `load_state_dict` continue with
    the next window and read none twice; `set_epoch` gives new random windows.

    To shuffle, `.shuffle(seed, buffer_size=1)` is enough, since it draws the order of all windows;
    a larger buffer only keeps that many windows in memory, and is lost when a stream is resumed.
    (`datasets` 3 then loses one window even so.) After `set_epoch` with an epoch other than 0,
    newer `datasets` shuffle the order by themselves. To read several sources, concatenate them,
    not their windows: these have no features, which `datasets` needs to concatenate or interleave
    them. Its formats "numpy" and "torch" convert all integers to int64; without them dtypes stay.

    Args:
        source: One split of `volumes`, or of `slices` for windows of slices: a `Dataset` or an
            `IterableDataset`, in any format. A stream is read to its end at once and kept
            encoded; rows of a `Dataset` are read when a window needs them. A stream of slices
            with compressed images is kept decoded.
        sampler: `RandomWindows` or `GridWindows`.
        columns: Columns of images or labels. "image" has the sampler's `shape`, all others have
            its `label_shape`.

    Returns:
        A stream of dictionaries: for each column a NumPy array of its own, (z, y, x), or (y, x)
        if the sampler's shape has two axes (images uint16, semantic uint8, labels int32);
        `volume`, a str; and `corner`, [z, y, x], the first voxel of the label window in the
        volume, negative where the window begins before the volume. Of slices, z is that of the
        row.

    Raises:
        ArgumentError: for a source that is not one split, or lacks these columns; for windows
            that do not fit the volumes. While iterating: if no random window has
            `min_foreground`; for slices of a volume that differ in shape.

    >>> import datasets, numpy as np
    >>> from platelet_em import LazyLabels
    >>> labels = np.arange(36, dtype=np.int32).reshape(1, 6, 6)
    >>> row = {"volume": "50", "cells": LazyLabels.from_array(labels)}
    >>> source = datasets.IterableDataset.from_generator(lambda: iter([row]))
    >>> stream = windows(source, GridWindows((2, 2)), columns=["cells"])
    >>> window = list(stream)[-1]
    >>> window["cells"].tolist(), window["volume"], window["corner"]
    ([[28, 29], [34, 35]], '50', [0, 4, 4])
    """
    if not isinstance(sampler, (RandomWindows, GridWindows)):
        raise ArgumentError(
            f"sampler: expected RandomWindows or GridWindows, got {quote(sampler)}"
        )
    names = _parse_columns(columns)
    needs_instances = isinstance(sampler, RandomWindows) and sampler.needs_instances
    rows = _read_rows(source, [*names, _FOREGROUND] if needs_instances else names)
    volumes = _group_rows(rows, names)
    is_plane = len(sampler.shape) == 2
    if not is_plane and any(volume.zs is not None for volume in volumes):
        raise ArgumentError(
            f"source: windows of shape {sampler.shape} need rows of volumes, these are rows of "
            "slices: load 'volumes', or use a shape (y, x)"
        )
    instances: list[InstanceBoxes | None] = [None] * len(volumes)
    if needs_instances:
        if isinstance(rows, datasets.Dataset):
            rows = rows.select_columns(
                [name for name in rows.column_names if name not in names or name == _FOREGROUND]
            )
        labeled = _group_rows(rows, [_FOREGROUND], keep_rows=False)
        instances = [_measure_instances(volume, is_plane=is_plane) for volume in labeled]
    extents = [
        VolumeExtent(volume.name, volume.shape, found)
        for volume, found in zip(volumes, instances, strict=True)
    ]
    reader = _WindowReader(volumes, sampler.plan(extents), names, is_plane=is_plane)
    return stream_by_index(reader.read, reader.plan.count, getattr(source, "split", None))


# --- the source -------------------------------------------------------------------------------


def _parse_columns(columns: Any) -> list[str]:
    names = list(columns) if isinstance(columns, Iterable) else []
    is_list_of_names = bool(names) and all(isinstance(name, str) for name in names)
    reserved = {"volume", "corner", _SLICE_COLUMN}
    if (
        isinstance(columns, str)
        or not is_list_of_names
        or len({*names}) < len(names)
        or reserved & {*names}
    ):
        raise ArgumentError(
            "columns: expected a list of different columns of images or labels, such as "
            f"['image', 'semantic'], got {quote(columns)}"
        )
    return names


def _read_rows(source: Any, needed: list[str]) -> Any:
    """The rows of a source by position, with the needed columns and those that identify rows."""
    if not isinstance(source, (datasets.Dataset, datasets.IterableDataset)):
        found = f"a dictionary of {list(source)}" if isinstance(source, dict) else quote(source)
        raise ArgumentError(
            f"source: expected one split, a Dataset or an IterableDataset, got {found}"
        )
    needed = [*dict.fromkeys(needed), "volume"]
    names = source.column_names
    if names is not None:
        _check_columns_exist(needed, names)
        _check_is_volume(needed[0], source.features, names)
        source = source.select_columns([*needed, *{_SLICE_COLUMN} & {*names}])
    rows = source.with_format(FORMAT)
    if isinstance(source, datasets.IterableDataset):
        with temporary_arrow_memory():
            rows = list(rows)
        for row in rows:
            _check_columns_exist(needed, row)
    if len(rows) == 0:
        raise ArgumentError("source: expected rows of volumes or slices, got none")
    return rows


def _check_columns_exist(needed: Sequence[str], names: Any) -> None:
    if missing := [name for name in needed if name not in names]:
        raise ArgumentError(
            f"source: expected the column {missing[0]!r}, got only {quote(list(names))}"
        )


def _check_is_volume(column: str, features: Any, names: Sequence[str]) -> None:
    """Refuse an image as the column that gives the shape: its channels would pass for x."""
    if _SLICE_COLUMN not in names and isinstance((features or {}).get(column), datasets.Image):
        raise ArgumentError(
            f"column {column!r}: expected images or labels of the axes (z, y, x), as rows without "
            f"{_SLICE_COLUMN!r} have, got one image per row"
        )


def _group_rows(rows: Any, columns: list[str], *, keep_rows: bool = True) -> list[RowVolume]:
    """The volumes of the rows, in their order; slices are put together in z order."""
    if isinstance(rows, list):
        names = [row["volume"] for row in rows]
        zs = [row[_SLICE_COLUMN] for row in rows] if _SLICE_COLUMN in rows[0] else None
    else:
        keys = rows.with_format(None).select_columns(
            [name for name in ("volume", _SLICE_COLUMN) if name in rows.column_names]
        )[:]
        names, zs = keys["volume"], keys.get(_SLICE_COLUMN)
    if zs is None:
        return [
            RowVolume(str(name), rows, columns, [i], keep_rows=keep_rows)
            for i, name in enumerate(names)
        ]
    positions: defaultdict[str, dict[int, int]] = defaultdict(dict)
    for i, (name, z) in enumerate(zip(names, zs, strict=True)):
        by_z = positions[str(name)]
        if z in by_z:
            raise ArgumentError(
                f"source: slice {z} of volume {name} appears twice, in rows {by_z[z]} and {i}"
            )
        by_z[int(z)] = i
    return [
        RowVolume(
            name, rows, columns, [by_z[z] for z in sorted(by_z)], sorted(by_z), keep_rows=keep_rows
        )
        for name, by_z in positions.items()
    ]


def _measure_instances(volume: VolumeView, *, is_plane: bool) -> InstanceBoxes:
    """Boxes, areas and classes of the foreground instances, per slice or of the whole volume."""
    has_labels = _FOREGROUND in volume.kinds
    boxes, areas, classes = [np.empty((0, 6), np.int64)], [], []
    for z in range(volume.shape[0]) if is_plane else (None,):
        labels = volume.labels(_FOREGROUND, z) if has_labels else None
        if labels is None or "class_id" not in labels.properties:
            raise ArgumentError(
                f"volume {volume.name}, column {_FOREGROUND!r}: min_foreground and class_weights "
                f"need labels with 'class_id', got {quote(labels) if has_labels else 'images'}"
            )
        area, box = labels.areas, labels.bboxes
        present = area > 0
        if z is not None:
            begin = np.full((len(box), 1), z)
            box = np.hstack([begin, box[:, :2], begin + 1, box[:, 2:]])
        boxes.append(box[present])
        areas.append(area[present])
        classes.append(labels.properties["class_id"][present])
    return InstanceBoxes(
        np.concatenate(boxes), np.concatenate(areas), np.concatenate(classes).astype(np.int64)
    )


# --- windows ----------------------------------------------------------------------------------


class _WindowReader:
    """Reads the windows of a plan."""

    def __init__(
        self, volumes: list[RowVolume], plan: WindowPlan, columns: list[str], *, is_plane: bool
    ) -> None:
        self.plan = plan
        self._volumes, self._columns, self._is_plane = volumes, columns, is_plane

    def read(self, index: int, epoch: int) -> dict[str, Any]:
        """The window of an index, in an epoch."""
        number, corner = self.plan.locate(index, epoch)
        volume, geometry = self._volumes[number], self.plan.geometry
        begin = tuple(c - o for c, o in zip(corner, geometry.offset, strict=True))
        window: dict[str, Any] = {}
        for column in self._columns:
            if column == _IMAGE:
                array = _read_padded(volume, column, begin, geometry.image_shape)
            else:
                array = _read_padded(volume, column, corner, geometry.label_shape)
            window[column] = array[0] if self._is_plane else array
        z = corner[0] if volume.zs is None else volume.zs[corner[0]]
        return {**window, "volume": volume.name, "corner": [z, *corner[1:]]}


def _read_padded(volume: VolumeView, column: str, begin: Shape, extent: Shape) -> NDArray[Any]:
    """A window (z, y, x) that may reach beyond the border, where it is mirrored."""
    inside, mirrored = [], {}
    for axis, (first, length, size) in enumerate(zip(begin, extent, volume.shape, strict=True)):
        low, high = first, first + length
        if low < 0 or high > size:
            index = reflect(first, length, size)
            low, high = int(index.min()), int(index.max()) + 1
            mirrored[axis] = index - low
        inside.append(slice(low, high))
    z, y, x = inside
    array = volume.window(column, (z, y, x))
    for axis, index in mirrored.items():
        array = array.take(index, axis)
    return array
