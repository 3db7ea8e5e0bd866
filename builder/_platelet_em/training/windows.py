"""`windows`: a stream of windows of the volumes, each read when it is asked for."""

import ctypes
import sys
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import datasets
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.errors import ArgumentError, quote
from _platelet_em.hf.private import FORMAT, stream_by_index
from _platelet_em.training.geometry import Extent, Frame, Objects, Target, reflect
from _platelet_em.training.samplers import GridWindows, Plan, RandomWindows

__all__ = ["windows"]

_IMAGE, _OBJECTS = "image", "organelles"
_SLICE_COLUMN = "z"
"""What rows of slices have and rows of volumes have not."""

Row = dict[str, Any]


def windows(
    source: Any,
    sampler: RandomWindows | GridWindows,
    *,
    columns: Sequence[str] = (_IMAGE, "semantic", "cells", _OBJECTS),
) -> datasets.IterableDataset:
    """Windows of volumes, as a stream for training or prediction.

    Only the pages and runs that a window touches are read. Windows are shared out one by one: a
    single volume feeds all workers of a `DataLoader` and all nodes of `split_dataset_by_node`,
    and which windows there are depends on neither. `state_dict` and `load_state_dict` go on with
    the next window and read none twice; `set_epoch` gives new random windows.

    To shuffle, `.shuffle(seed, buffer_size=1)` is enough, for it draws the order of all windows;
    a larger buffer only holds that many windows in memory, and is lost when a stream is resumed.
    (`datasets` 3 then loses one window even so.) After `set_epoch` with another epoch than 0,
    newer `datasets` shuffle the order by themselves. To read several sources, concatenate them,
    not their windows: these have no features, which `datasets` needs to concatenate or interleave
    them. Its formats "numpy" and "torch" make int64 of all integers; without, they stay.

    Args:
        source: One split of `volumes`, or of `slices` for windows of slices: a `Dataset` or an
            `IterableDataset`, in our format or another. A stream is read to its end at once and
            held encoded; rows of a `Dataset` are read when a window needs them. A slices' stream
            of compressed pictures is held decoded.
        sampler: `RandomWindows` or `GridWindows`.
        columns: Columns of images or labels. "image" has the sampler's `shape`, all others have
            its `label_shape`.

    Returns:
        A stream of dictionaries: for each column a NumPy array of its own, (z, y, x), or (y, x)
        if the sampler's shape has two axes (images uint16, semantic uint8, labels int32);
        `volume`, a str; and `corner`, [z, y, x], the first voxel of the label window in the
        volume, which is negative where that begins before it. Of slices, z is that of the row.

    Raises:
        ArgumentError: for a source that is not one split, or has not these columns; for windows
            that do not fit the volumes. While iterating: if no random window has
            `min_foreground`; for slices of a volume that differ in shape.

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
    wanted = _parse_columns(columns)
    needs_objects = isinstance(sampler, RandomWindows) and sampler.needs_objects
    rows = _read_rows(source, [*wanted, _OBJECTS] if needs_objects else wanted)
    is_plane = len(sampler.shape) == 2
    volumes = _group(rows, wanted)
    if not is_plane and any(volume.places for volume in volumes):
        raise ArgumentError(
            f"source: windows of shape {sampler.shape} need rows of volumes, these are rows of "
            "slices: load 'volumes', or take a shape (y, x)"
        )
    targets = [
        Target(volume.name, volume.shape, volume.objects(is_plane) if needs_objects else None)
        for volume in volumes
    ]
    frame = Frame.of(sampler.shape, sampler.label_shape, sampler.pad)
    reader = _Reader(volumes, sampler.plan(targets), frame, wanted, is_plane)
    return stream_by_index(reader.read, reader.plan.count, getattr(source, "split", None))


# --- the source -------------------------------------------------------------------------------


def _parse_columns(columns: Any) -> list[str]:
    names = list(columns) if isinstance(columns, Iterable) else []
    is_told = bool(names) and all(isinstance(name, str) for name in names)
    reserved = {"volume", "corner", _SLICE_COLUMN}
    if (
        isinstance(columns, str)
        or not is_told
        or len({*names}) < len(names)
        or reserved & {*names}
    ):
        raise ArgumentError(
            "columns: expected a list of different columns of images or labels, such as "
            f"['image', 'semantic'], got {quote(columns)}"
        )
    return names


def _read_rows(source: Any, needed: list[str]) -> Any:
    """The rows of a source by position, with the needed columns and what tells where they lie."""
    if not isinstance(source, (datasets.Dataset, datasets.IterableDataset)):
        found = f"a dictionary of {list(source)}" if isinstance(source, dict) else quote(source)
        raise ArgumentError(
            f"source: expected one split, a Dataset or an IterableDataset, got {found}"
        )
    needed = [*dict.fromkeys(needed), "volume"]
    names = source.column_names
    if names is not None:
        _check_there(needed, names)
        _check_is_volume(needed[0], source.features, names)
        source = source.select_columns([*needed, *{_SLICE_COLUMN} & {*names}])
    rows = source.with_format(FORMAT)
    if isinstance(source, datasets.IterableDataset):
        rows = _hold(rows)
        for row in rows:
            _check_there(needed, row)
    if len(rows) == 0:
        raise ArgumentError("source: expected rows of volumes or slices, got none")
    return rows


def _hold(rows: datasets.IterableDataset) -> list[Row]:
    """All rows of a stream, and nothing of what reading took on the way.

    That is as much as the rows, among which it lies. Arrow's own allocators keep it for good; the
    system's does until it is asked, which glibc alone can be.
    """
    pool = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        held = list(rows)
    finally:
        pa.set_memory_pool(pool)
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "malloc_trim"):
        library.malloc_trim(0)
    return held


def _check_is_volume(column: str, features: Any, names: Sequence[str]) -> None:
    """Refuse a picture as the column that tells the shape: colours would pass for its x axis."""
    if _SLICE_COLUMN not in names and isinstance((features or {}).get(column), datasets.Image):
        raise ArgumentError(
            f"column {column!r}: expected images or labels of the axes (z, y, x), as rows without "
            f"{_SLICE_COLUMN!r} have, got one picture a row"
        )


def _check_there(needed: Sequence[str], names: Any) -> None:
    if missing := [name for name in needed if name not in names]:
        raise ArgumentError(
            f"source: expected the column {missing[0]!r}, got only {quote(list(names))}"
        )


def _group(rows: Any, columns: list[str]) -> "list[_Volume]":
    """The volumes of the rows, in their order; slices are put together, in z order."""
    if isinstance(rows, list):
        names = [row["volume"] for row in rows]
        places = [row[_SLICE_COLUMN] for row in rows] if _SLICE_COLUMN in rows[0] else None
    else:
        told = rows.with_format(None).select_columns(
            [name for name in ("volume", _SLICE_COLUMN) if name in rows.column_names]
        )[:]
        names, places = told["volume"], told.get(_SLICE_COLUMN)
    if places is None:
        return [_Volume(rows, columns, str(name), [i]) for i, name in enumerate(names)]
    slices: defaultdict[str, dict[int, int]] = defaultdict(dict)
    for i, (name, z) in enumerate(zip(names, places, strict=True)):
        if z in slices[str(name)]:
            raise ArgumentError(
                f"source: slice {z} of volume {name} comes twice, in rows {slices[name][z]}, {i}"
            )
        slices[str(name)][int(z)] = i
    return [
        _Volume(rows, columns, name, [at[z] for z in sorted(at)], sorted(at))
        for name, at in slices.items()
    ]


class _Volume:
    """A volume: one row, or one row a slice; its lazy arrays are kept, so each is parsed once.

    Args:
        rows: All rows of the source, by position: a Dataset, or a list.
        columns: What windows are read of.
        name: The volume's name.
        positions: Where its row is, or the rows of its slices.
        places: The z of each slice; empty for a row of a volume.

    Attributes:
        shape: (z, y, x).
    """

    def __init__(
        self,
        rows: Any,
        columns: list[str],
        name: str,
        positions: list[int],
        places: Sequence[int] = (),
    ) -> None:
        self.name, self.places = name, places
        self._rows, self._columns, self._positions = rows, columns, positions
        self._held: dict[int, Row] = {}
        self.shape: Extent = self._find_shape()
        self._row(0)

    def __getstate__(self) -> dict[str, Any]:
        # A Dataset in files is sent by their names; what was read from it would be sent whole.
        return {**self.__dict__, "_held": {}}

    def _find_shape(self) -> Extent:
        """The shape that the first column has in the first row, of which there are as many."""
        value = self._rows[self._positions[0]][self._columns[0]]
        shape = tuple(getattr(value, "shape", ()))
        depth = (len(self.places),) if self.places else ()
        if len(depth) + len(shape) != 3 or not all(shape):
            raise ArgumentError(
                f"volume {self.name}, column {self._columns[0]!r}: expected images or labels of "
                f"the axes {'(y, x)' if self.places else '(z, y, x)'}, got {quote(value)}"
            )
        return (*depth, *shape)

    def _row(self, k: int) -> Row:
        """The row of the volume, or of its kth slice."""
        if k not in self._held:
            row = self._rows[self._positions[k]]
            expected = self.shape[1:] if self.places else self.shape
            for column in self._columns:
                found = getattr(row[column], "shape", None)
                if found != expected:
                    place = f", slice {self.places[k]}" if self.places else ""
                    raise ArgumentError(
                        f"volume {self.name}{place}, column {column!r}: expected images or labels "
                        f"of the volume's shape {expected}, got {found or quote(row[column])}"
                    )
            self._held[k] = row
        return self._held[k]

    def objects(self, is_plane: bool) -> Objects:
        """The organelles, of each slice or whole."""
        if not self.places and not is_plane:
            return _measure([(0, self._labels(self._rows[self._positions[0]]))])
        if not self.places:
            slices = self._labels(self._rows[self._positions[0]]).slices()
        else:
            rows = self._rows
            if isinstance(rows, datasets.Dataset):
                rows = rows.select_columns([_OBJECTS])
            slices = [self._labels(rows[position]) for position in self._positions]
        return _measure(list(enumerate(slices)))

    def _labels(self, row: Row) -> LazyLabels:
        labels = row[_OBJECTS]
        if not isinstance(labels, LazyLabels) or "class_id" not in labels.properties:
            raise ArgumentError(
                f"volume {self.name}, column {_OBJECTS!r}: min_foreground and class_weights need "
                f"labels with 'class_id', got {quote(labels)}"
            )
        return labels

    def read(self, column: str, begin: Extent, extent: Extent) -> NDArray[Any]:
        """A window (z, y, x) that may reach beyond the border, where it is mirrored."""
        inside, mirrored = [], {}
        for axis, (first, length, size) in enumerate(zip(begin, extent, self.shape, strict=True)):
            low, high = first, first + length
            if low < 0 or high > size:
                index = reflect(first, length, size)
                low, high = int(index.min()), int(index.max()) + 1
                mirrored[axis] = index - low
            inside.append(slice(low, high))
        if self.places:
            pages = range(inside[0].start, inside[0].stop)
            array = np.stack([self._row(k)[column][tuple(inside[1:])] for k in pages])
        else:
            array = self._row(0)[column][tuple(inside)]
        for axis, index in mirrored.items():
            array = array.take(index, axis)
        return array


def _measure(parts: list[tuple[int, LazyLabels]]) -> Objects:
    """Boxes, areas and classes of labels; those of a slice with its place along z."""
    boxes, areas, classes = [np.empty((0, 6), np.int64)], [], []
    for k, labels in parts:
        area, box = labels.areas, labels.bboxes
        held = area > 0
        if labels.ndim == 2:
            z = np.full((len(box), 1), k)
            box = np.hstack([z, box[:, :2], z + 1, box[:, 2:]])
        boxes.append(box[held])
        areas.append(area[held])
        classes.append(labels.properties["class_id"][held])
    return Objects(
        np.concatenate(boxes), np.concatenate(areas), np.concatenate(classes).astype(np.int64)
    )


# --- windows ----------------------------------------------------------------------------------


class _Reader:
    """Reads the windows of a plan."""

    def __init__(
        self, volumes: list[_Volume], plan: Plan, frame: Frame, columns: list[str], is_plane: bool
    ) -> None:
        self.plan = plan
        self._volumes, self._frame = volumes, frame
        self._columns, self._is_plane = columns, is_plane

    def read(self, index: int, epoch: int) -> Row:
        """The window of an index, in an epoch."""
        which, corner = self.plan.locate(index, epoch)
        volume, frame = self._volumes[which], self._frame
        begin = tuple(c - o for c, o in zip(corner, frame.offset, strict=True))
        window: Row = {}
        for column in self._columns:
            is_image = column == _IMAGE
            array = volume.read(
                column, *((begin, frame.image) if is_image else (corner, frame.label))
            )
            window[column] = array[0] if self._is_plane else array
        z = volume.places[corner[0]] if volume.places else corner[0]
        return {**window, "volume": volume.name, "corner": [z, *corner[1:]]}
