"""Runs of voxels: how labels are held in memory, and what can be asked of them without voxels.

A volume of shape (z, y, x), or a slice of shape (y, x), is flattened in C order. `Runs` says which
stretches of that flat array belong to which instance. Runs are canonical if they are sorted by
start, disjoint, and maximal: two that touch have different owners.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from _platelet_em.errors import LabelFormatError
from _platelet_em.limits import MAX_ID

__all__ = [
    "Int64s",
    "Runs",
    "areas",
    "boxes",
    "crossings",
    "cut",
    "encode",
    "intersect",
    "merge_adjacent",
    "paint",
    "resolve",
    "value_runs",
    "window",
]

Int64s = NDArray[np.int64]

_ENCODE_CHUNK = 1 << 21


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs of voxels of a flattened array, each of them owned by an instance.

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
        """int64 (n,): voxels in each run."""
        return self.stops - self.starts

    @classmethod
    def empty(cls) -> "Runs":
        """No runs at all."""
        return cls.join([])

    @classmethod
    def join(cls, parts: Sequence["Runs"]) -> "Runs":
        """The runs of all parts, one after the other."""
        nothing = np.empty(0, np.int64)
        return cls(
            np.concatenate([nothing, *(p.starts for p in parts)]),
            np.concatenate([nothing, *(p.stops for p in parts)]),
            np.concatenate([nothing, *(p.owners for p in parts)]),
        )


def value_runs(flat: NDArray[Any]) -> tuple[Int64s, Int64s, NDArray[Any]]:
    """Maximal runs of equal values of a flat array: starts, stops, values, zeros included."""
    if not flat.size:
        return np.empty(0, np.int64), np.empty(0, np.int64), flat
    changes = [np.zeros(1, np.int64)]
    for begin in range(0, flat.size - 1, _ENCODE_CHUNK):
        piece = flat[begin : begin + _ENCODE_CHUNK + 1]
        changes.append(np.flatnonzero(piece[1:] != piece[:-1]) + (begin + 1))
    starts = np.concatenate(changes)
    return starts, np.append(starts[1:], flat.size), flat[starts]


def encode(labels: NDArray[np.integer]) -> tuple[NDArray[np.int32], Runs]:
    """The instances of a label array, in one pass over it.

    Args:
        labels: Integers of any shape; 0 is background.

    Returns:
        ids, int32, ascending, and their canonical runs, whose owners are indices into ids.

    Raises:
        LabelFormatError: for labels that are no integers, negative, or above 2**31 - 1.

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
    held = values != 0
    ids, owners = np.unique(values[held], return_inverse=True)
    if len(ids) and (ids[0] < 0 or int(ids[-1]) > MAX_ID):
        wrong = ids[0] if ids[0] < 0 else ids[-1]
        place = np.unravel_index(int(np.argmax(flat == wrong)), labels.shape)
        raise LabelFormatError(
            f"label {wrong} at {tuple(int(c) for c in place)}: expected ids from 0 to {MAX_ID}, "
            "0 being background"
        )
    return ids.astype(np.int32), Runs(starts[held], stops[held], owners.astype(np.int64))


def paint(
    runs: Runs, values: NDArray[np.integer], size: int, dtype: DTypeLike = np.int32
) -> NDArray[np.integer]:
    """The flat array (size,) that canonical runs describe: `values[owner]` in runs, else 0."""
    gaps = np.empty(2 * len(runs) + 1, np.int64)
    gaps[1::2] = runs.lengths
    gaps[2:-1:2] = runs.starts[1:] - runs.stops[:-1]
    gaps[0] = runs.starts[0] if len(runs) else 0
    gaps[-1] = size - (int(runs.stops[-1]) if len(runs) else 0)
    colors = np.zeros(2 * len(runs) + 1, dtype)
    colors[1::2] = values[runs.owners]
    return np.repeat(colors, gaps)


def resolve(runs: Runs) -> Runs:
    """Canonical runs: sorted by start, disjoint, maximal; where runs overlap, later owners win.

    Memory and time go with the number of runs, not with their lengths.
    """
    gaps = runs.starts[1:] - runs.stops[:-1]
    if not len(gaps) or gaps.min() > 0:
        return runs
    runs = runs[np.argsort(runs.starts, kind="stable")]
    gaps = runs.starts[1:] - runs.stops[:-1]
    nearest = gaps.min()
    if nearest < 0:
        runs = _win_overlaps(runs)
    return merge_adjacent(runs) if nearest <= 0 else runs


def _win_overlaps(runs: Runs) -> Runs:
    """Split the array at every end of a run, and give each stretch to its last owner.

    A run covers a range of stretches. As in a sparse table, a range is the union of two blocks
    whose length is a power of two; each block takes the maximum of its owners, and the levels are
    pushed down from the longest blocks to single stretches.
    """
    edges = np.unique(np.concatenate([runs.starts, runs.stops]))
    first = np.searchsorted(edges, runs.starts)
    last = np.searchsorted(edges, runs.stops)
    level = np.frexp((last - first).astype(np.float64))[1].astype(np.int64) - 1
    order = np.argsort(level, kind="stable")
    bounds = np.searchsorted(level[order], np.arange(int(level.max()) + 2))
    owner = np.full(len(edges), -1, np.int64)
    for k in range(int(level.max()), -1, -1):
        members = order[bounds[k] : bounds[k + 1]]
        np.maximum.at(owner, first[members], runs.owners[members])
        np.maximum.at(owner, last[members] - (1 << k), runs.owners[members])
        if k:
            half = 1 << (k - 1)
            pushed = owner.copy()
            np.maximum(pushed[half:], owner[:-half], out=pushed[half:])
            owner = pushed
    held = np.flatnonzero(owner[:-1] >= 0)
    return Runs(edges[held], edges[held + 1], owner[held])


def merge_adjacent(runs: Runs) -> Runs:
    """Join runs that touch and have one owner; the runs must be sorted and disjoint."""
    touch = (runs.starts[1:] == runs.stops[:-1]) & (runs.owners[1:] == runs.owners[:-1])
    if not touch.any():
        return runs
    first = np.concatenate([[True], ~touch])
    last = np.concatenate([~touch, [True]])
    return Runs(runs.starts[first], runs.stops[last], runs.owners[first])


def window(runs: Runs, shape: tuple[int, ...], picked: Sequence[range]) -> Runs:
    """The runs of a part of an array, in the part's own flat order.

    Args:
        runs: Canonical runs of an array of `shape`.
        shape: Of the whole array.
        picked: The indices along each axis, all of them inside the array; those along the last
            axis follow each other, the others may have any step.

    Returns:
        Runs of the flattened part, sorted and disjoint; a run that goes on over several rows of
        the array has a piece in each row of the part. Only runs that lie in it are touched.
    """
    if not len(runs) or not all(map(len, picked)):
        return Runs.empty()
    # Trailing axes that are picked whole are contiguous with the axis before them.
    axis = len(shape) - 1
    while axis > 0 and picked[axis] == range(shape[axis]):
        axis -= 1
    inner = int(np.prod(shape[axis + 1 :], dtype=np.int64))
    together = picked[axis].step == 1
    begins = np.zeros(1, np.int64)
    for k in range(axis if together else axis + 1):
        index = np.arange(picked[k].start, picked[k].stop, picked[k].step, dtype=np.int64)
        begins = (begins[:, None] * shape[k] + index).ravel()
    begins *= inner
    width = inner
    if together:
        begins = begins * shape[axis] + picked[axis].start * inner
        width *= len(picked[axis])
    low = np.searchsorted(runs.stops, begins, side="right")
    high = np.searchsorted(runs.starts, begins + width, side="left")
    rows, index = _expand(low, high)
    held = runs[index]
    shift = rows * width - begins[rows]
    starts = np.maximum(held.starts + shift, rows * width)
    stops = np.minimum(held.stops + shift, (rows + 1) * width)
    return Runs(starts, stops, held.owners)


def _expand(low: Int64s, high: Int64s) -> tuple[Int64s, Int64s]:
    """All pairs (i, j) with low[i] <= j < high[i], as two arrays, in order."""
    counts = high - low
    rows = np.repeat(np.arange(len(low)), counts)
    ends = np.cumsum(counts)
    return rows, np.arange(len(rows)) + np.repeat(low - (ends - counts), counts)


def crossings(runs: Runs, step: int) -> int:
    """How often runs pass a multiple of `step`: the pieces that `cut` gives beyond one a run."""
    passed = (runs.stops - 1) // step - runs.starts // step
    # Runs that overlap may pass more often than 64 bits can count.
    return int(passed.sum(dtype=np.float64))


def cut(runs: Runs, step: int) -> tuple[Int64s, Runs]:
    """Cut runs where the flat array passes a multiple of `step`, as a volume's into slices.

    Args:
        runs: Any runs.
        step: Voxels of a slice.

    Returns:
        The slice of each piece, int64, and the pieces, counted from the begin of their slice.
    """
    first = runs.starts // step
    last = (runs.stops - 1) // step
    rows, piece = _expand(first, last + 1)
    starts = np.maximum(runs.starts[rows] - piece * step, 0)
    stops = np.minimum(runs.stops[rows] - piece * step, step)
    return piece, Runs(starts, stops, runs.owners[rows])


def areas(runs: Runs, count: int) -> Int64s:
    """int64 (count,): voxels of each instance."""
    total = np.zeros(count, np.int64)
    np.add.at(total, runs.owners, runs.lengths)
    return total


def boxes(runs: Runs, count: int, shape: tuple[int, ...]) -> NDArray[np.int64]:
    """Bounding boxes straight from runs: int64 (count, 2 * ndim).

    Half-open, as scikit-image's regionprops has them: first index along each axis, then one past
    the last along each axis. An instance without voxels gets zeros.
    """
    ndim = len(shape)
    low = np.empty((ndim, len(runs)), np.int64)
    high = np.empty((ndim, len(runs)), np.int64)
    first, last = runs.starts, runs.stops - 1
    for axis in range(ndim - 1, -1, -1):
        extent = max(shape[axis], 1)
        (above, low[axis]), (below, high[axis]) = divmod(first, extent), divmod(last, extent)
        # A run that goes on into the next row holds that row's first and this row's last voxel.
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
        Owner in `a`, owner in `b`, and number of shared voxels: three int64 arrays, an entry for
        each pair of runs that overlap.
    """
    low = np.searchsorted(b.stops, a.starts, side="right")
    high = np.searchsorted(b.starts, a.stops, side="left")
    rows, index = _expand(low, high)
    shared = np.minimum(a.stops[rows], b.stops[index]) - np.maximum(
        a.starts[rows], b.starts[index]
    )
    return a.owners[rows], b.owners[index], shared
