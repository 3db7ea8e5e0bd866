"""Runs of voxels: labels in memory, and the questions that runs answer without voxels.

A volume of shape (z, y, x), or a slice of shape (y, x), is flattened in C order. `Runs` says which
stretches of that flat array belong to which instance. Runs are canonical if they are sorted by
start, disjoint, and maximal: two that touch have different owners.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike, NDArray

from _platelet_em.arrays.kernels import (
    Int64s,
    expand_ranges,
    fill_runs,
    load_compiled,
    pick_last_owners,
    value_runs,
)
from _platelet_em.arrays.memory import check_room
from _platelet_em.errors import LabelFormatError
from _platelet_em.limits import MAX_ID

__all__ = [
    "Runs",
    "areas",
    "boxes",
    "check_runs",
    "clip",
    "cut",
    "encode",
    "intersect",
    "merge_adjacent",
    "paint",
    "paint_window",
    "resolve",
    "window",
]

_ROW_BYTES = 64
"""Memory that a row of a window takes while its runs are cut out, about."""


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of voxels of a flattened array, each owned by an instance.

    Attributes:
        starts: int64 (n,), first voxel, counted from 0.
        stops: int64 (n,), one past the last voxel.
        owners: int64 (n,), index of the instance (not its id) that the run belongs to.
    """

    starts: Int64s
    stops: Int64s
    owners: Int64s

    def __len__(self) -> int:
        return len(self.starts)

    def __getitem__(self, index: slice | Int64s | NDArray[np.bool_]) -> "Runs":
        return Runs(self.starts[index], self.stops[index], self.owners[index])

    @property
    def lengths(self) -> Int64s:
        """int64 (n,): voxels of each run."""
        return self.stops - self.starts

    def read_only(self) -> "Runs":
        """The same runs in arrays that cannot be changed: compiled loops write where runs say."""
        views = [column.view() for column in (self.starts, self.stops, self.owners)]
        for view in views:
            view.setflags(write=False)
        return Runs(*views)

    @classmethod
    def empty(cls) -> "Runs":
        """No runs."""
        return cls.join([])

    @classmethod
    def join(cls, parts: Sequence["Runs"]) -> "Runs":
        """The runs of all parts, one part after the other."""
        nothing = np.empty(0, np.int64)
        return cls(
            np.concatenate([nothing, *(p.starts for p in parts)]),
            np.concatenate([nothing, *(p.stops for p in parts)]),
            np.concatenate([nothing, *(p.owners for p in parts)]),
        )


# --- from voxels and back ---------------------------------------------------------------------


def encode(labels: NDArray[np.integer]) -> tuple[NDArray[np.int32], Runs]:
    """The instances of a label array, in one pass over it.

    Args:
        labels: Integers of any shape; 0 is background.

    Returns:
        Ids, int32, ascending, and their canonical runs, whose owners are indices into ids.

    Raises:
        LabelFormatError: for labels that are not integers, negative, or above 2**31 - 1.

    >>> ids, runs = encode(np.array([[0, 5, 5], [5, 0, 2]]))
    >>> ids.tolist(), runs.starts.tolist(), runs.stops.tolist(), runs.owners.tolist()
    ([2, 5], [1, 5], [4, 6], [1, 0])
    """
    labels = np.asarray(labels)
    if labels.dtype.kind not in "biu":
        raise LabelFormatError(
            f"expected integer labels, got dtype {labels.dtype}: convert them first"
        )
    flat = labels.reshape(-1)
    starts, stops, values = value_runs(flat)
    foreground = values != 0
    ids, owners = np.unique(values[foreground], return_inverse=True)
    if len(ids) and (ids[0] < 0 or int(ids[-1]) > MAX_ID):
        wrong = ids[0] if ids[0] < 0 else ids[-1]
        position = np.unravel_index(int(np.argmax(flat == wrong)), labels.shape)
        raise LabelFormatError(
            f"label {wrong} at {tuple(int(c) for c in position)}: expected ids from 0 to "
            f"{MAX_ID}, 0 being background"
        )
    runs = Runs(starts[foreground], stops[foreground], owners.astype(np.int64))
    return ids.astype(np.int32), runs


def paint(
    runs: Runs, values: NDArray[np.integer], size: int, dtype: DTypeLike = np.int32
) -> NDArray[np.integer]:
    """The flat array that runs describe: `values[owner]` in each run, and 0 elsewhere.

    Args:
        runs: Sorted and disjoint.
        values: (count,), the value of each owner.
        size: Elements of the array.
        dtype: Of the array.
    """
    compiled = load_compiled()
    if compiled and values.dtype == dtype == np.int32:
        painted = np.zeros(size, np.int32)
        compiled.paint_runs(runs.starts, runs.stops, runs.owners, values, painted)
        return painted
    return fill_runs(runs.starts, runs.stops, values[runs.owners], size, dtype)


# --- canonical runs ---------------------------------------------------------------------------


def resolve(runs: Runs) -> Runs:
    """Canonical runs: sorted by start, disjoint, maximal; where runs overlap, later owners win.

    Memory and time go with the number of runs, not with their lengths.
    """
    gaps = runs.starts[1:] - runs.stops[:-1]
    if not len(gaps) or gaps.min() > 0:
        return runs
    runs = _sort(runs)
    narrowest = (runs.starts[1:] - runs.stops[:-1]).min()
    if narrowest < 0:
        runs = Runs(*pick_last_owners(runs.starts, runs.stops, runs.owners))
    return merge_adjacent(runs) if narrowest <= 0 else runs


def _sort(runs: Runs) -> Runs:
    """Runs in the order of starts; those of one start keep their order."""
    compiled = load_compiled()
    if compiled and (found := compiled.sort_runs(runs.starts, runs.stops, runs.owners)):
        return Runs(*found)
    return runs[np.argsort(runs.starts, kind="stable")]


def check_runs(runs: Runs, size: int, count: int) -> None:
    """Refuse runs that are not sorted and disjoint, or not of this array and these instances.

    Args:
        runs: Any runs.
        size: Elements of the array.
        count: Number of instances.

    Raises:
        LabelFormatError: names the first run that is wrong.

    >>> check_runs(Runs(np.array([0, 4]), np.array([2, 5]), np.array([0, 0])), 5, 1)
    """
    starts, stops, owners = runs.starts, runs.stops, runs.owners
    columns = (starts, stops, owners)
    if any(c.shape != (starts.size,) or c.dtype.kind not in "iu" for c in columns):
        raise LabelFormatError(
            "runs: expected starts, stops and owners as integers of one length, got "
            f"{', '.join(f'{c.dtype} {c.shape}' for c in columns)}"
        )
    is_wrong = (starts < 0) | (stops <= starts) | (stops > size) | (owners < 0) | (owners >= count)
    is_wrong[1:] |= starts[1:] < stops[:-1]
    if is_wrong.any():
        k = int(np.argmax(is_wrong))
        raise LabelFormatError(
            f"runs: run {k} is {starts[k]} to {stops[k]} of instance {owners[k]}: expected runs "
            f"in order, without overlap, inside {size} voxels, of instances 0 to {count - 1}"
        )


def merge_adjacent(runs: Runs) -> Runs:
    """Join runs that touch and have the same owner; the runs must be sorted and disjoint."""
    touch = (runs.starts[1:] == runs.stops[:-1]) & (runs.owners[1:] == runs.owners[:-1])
    if not touch.any():
        return runs
    first = np.concatenate([[True], ~touch])
    last = np.concatenate([~touch, [True]])
    return Runs(runs.starts[first], runs.stops[last], runs.owners[first])


# --- parts of an array ------------------------------------------------------------------------


def window(runs: Runs, shape: tuple[int, ...], picked: Sequence[range]) -> Runs:
    """The runs of a part of an array, in the part's own flat order.

    Args:
        runs: Canonical runs of an array of `shape`.
        shape: Of the array.
        picked: The indices along each axis, all inside the array. Those along the last axis have
            step 1, the others any step.

    Returns:
        Canonical runs of the flattened part. Time goes with the runs and the rows in the part.
    """
    if not len(runs) or not all(map(len, picked)):
        return Runs.empty()
    begins, width = _find_stretches(shape, picked)
    if compiled := load_compiled():
        cut_window = compiled.cut_window
        return Runs(*cut_window(runs.starts, runs.stops, runs.owners, begins, width))
    low = np.searchsorted(runs.stops, begins, side="right")
    high = np.searchsorted(runs.starts, begins + width, side="left")
    rows, index = expand_ranges(low, high)
    inside = runs[index]
    shift = rows * width - begins[rows]
    starts = np.maximum(inside.starts + shift, rows * width)
    stops = np.minimum(inside.stops + shift, (rows + 1) * width)
    return merge_adjacent(Runs(starts, stops, inside.owners))


def paint_window(
    runs: Runs, values: NDArray[np.int32], shape: tuple[int, ...], picked: Sequence[range]
) -> NDArray[np.integer]:
    """A part of an array, flat: `values[owner]` in each run, and 0 elsewhere, int32.

    Args:
        runs: Canonical runs of an array of `shape`.
        values: int32 (count,), the value of each owner.
        shape: Of the array.
        picked: As for `window`.
    """
    size = math.prod(map(len, picked))
    if len(runs) and size and (compiled := load_compiled()):
        begins, width = _find_stretches(shape, picked)
        painted: NDArray[np.integer] = compiled.paint_window(
            runs.starts, runs.stops, runs.owners, values, begins, width
        )
        return painted
    return paint(window(runs, shape, picked), values, size)


def _find_stretches(shape: tuple[int, ...], picked: Sequence[range]) -> tuple[Int64s, int]:
    """Where the stretches of the flat array begin that make up a part, int64, and their length.

    Raises:
        TooLargeError: if this machine does not have memory for that many.

    >>> begins, width = _find_stretches((2, 3, 10), [range(2), range(1, 2), range(4, 9)])
    >>> begins.tolist(), width
    ([14, 44], 5)
    """
    # Trailing axes that are picked completely are contiguous with the axis before them.
    axis = len(shape) - 1
    while axis > 0 and picked[axis] == range(shape[axis]):
        axis -= 1
    inner = math.prod(shape[axis + 1 :])
    is_contiguous = picked[axis].step == 1
    outer = axis if is_contiguous else axis + 1
    extent = [len(indices) for indices in picked]
    check_room(extent[:outer], _ROW_BYTES, extent)
    begins = np.zeros(1, np.int64)
    for k in range(outer):
        index = np.arange(picked[k].start, picked[k].stop, picked[k].step, dtype=np.int64)
        begins = (begins[:, None] * shape[k] + index).ravel()
    begins *= inner
    if not is_contiguous:
        return begins, inner
    begins = begins * shape[axis] + picked[axis].start * inner
    return begins, inner * len(picked[axis])


def clip(runs: Runs, begin: int, end: int) -> Runs:
    """The runs of a range of the flat array, counted from the beginning of the range.

    A slice of a volume is such a range. Time goes with the runs in it.

    Args:
        runs: Sorted and disjoint.
        begin: First voxel of the range.
        end: One past its last.
    """
    if begin >= end:
        return Runs.empty()
    low = int(np.searchsorted(runs.stops, begin, side="right"))
    high = int(np.searchsorted(runs.starts, end, side="left"))
    inside = runs[low:high]
    starts = np.maximum(inside.starts, begin) - begin
    stops = np.minimum(inside.stops, end) - begin
    return Runs(starts, stops, inside.owners)


def cut(runs: Runs, step: int) -> tuple[Int64s, Runs]:
    """Cut runs wherever the flat array passes a multiple of `step`, as a volume into its slices.

    Args:
        runs: Any runs.
        step: Voxels per slice.

    Returns:
        The slice of each piece, int64, and the pieces, counted from the beginning of their slice.
    """
    first = runs.starts // step
    last = (runs.stops - 1) // step
    rows, piece = expand_ranges(first, last + 1)
    starts = np.maximum(runs.starts[rows] - piece * step, 0)
    stops = np.minimum(runs.stops[rows] - piece * step, step)
    return piece, Runs(starts, stops, runs.owners[rows])


# --- measures ---------------------------------------------------------------------------------


def areas(runs: Runs, count: int) -> Int64s:
    """int64 (count,): voxels of each instance."""
    total = np.zeros(count, np.int64)
    np.add.at(total, runs.owners, runs.lengths)
    return total


def boxes(runs: Runs, count: int, shape: tuple[int, ...]) -> Int64s:
    """Bounding boxes straight from runs: int64 (count, 2 * ndim).

    Half-open, as in scikit-image's regionprops: first index along each axis, then one past the
    last along each axis. An instance without voxels gets zeros.
    """
    ndim = len(shape)
    low = np.empty((ndim, len(runs)), np.int64)
    high = np.empty((ndim, len(runs)), np.int64)
    first, last = runs.starts, runs.stops - 1
    for axis in range(ndim - 1, -1, -1):
        extent = max(shape[axis], 1)
        (above, low[axis]), (below, high[axis]) = divmod(first, extent), divmod(last, extent)
        # A run that continues in the next row has that row's first and this row's last voxel.
        crosses = above != below
        low[axis][crosses] = 0
        high[axis][crosses] = extent - 1
        first, last = above, below
    result = np.zeros((count, 2 * ndim), np.int64)
    order = np.argsort(runs.owners, kind="stable")
    present, begins = np.unique(runs.owners[order], return_index=True)
    if len(present):
        result[present, :ndim] = np.minimum.reduceat(low[:, order], begins, axis=1).T
        result[present, ndim:] = np.maximum.reduceat(high[:, order], begins, axis=1).T + 1
    return result


def intersect(a: Runs, b: Runs) -> tuple[Int64s, Int64s, Int64s]:
    """Where two sets of canonical runs share voxels.

    Returns:
        Owner in `a`, owner in `b`, and number of shared voxels: three int64 arrays, one entry for
        each pair of runs that overlap.
    """
    low = np.searchsorted(b.stops, a.starts, side="right")
    high = np.searchsorted(b.starts, a.stops, side="left")
    rows, index = expand_ranges(low, high)
    shared = np.minimum(a.stops[rows], b.stops[index]) - np.maximum(
        a.starts[rows], b.starts[index]
    )
    return a.owners[rows], b.owners[index], shared
