"""Connected pieces of labels, from their runs."""

from collections.abc import Iterator

import numpy as np

from _platelet_em.arrays.kernels import Int64s
from _platelet_em.arrays.memory import check_room
from _platelet_em.arrays.runs import Runs, cut, intersect, merge_adjacent

__all__ = ["connected_pieces", "count_pieces"]

_ROW_BYTES = 160
"""Memory that a run within one row takes while pieces are looked for, about."""


def count_pieces(runs: Runs, shape: tuple[int, int, int], count: int) -> Int64s:
    """The number of pieces of each instance: voxels that share a face are of one piece.

    Args:
        runs: Canonical runs of a volume.
        shape: (z, y, x).
        count: Number of instances.

    Returns:
        int64 (count,), 0 for an instance without voxels.

    >>> labels = np.array([[[5, 0], [5, 0]], [[0, 5], [0, 0]]])
    >>> from _platelet_em.arrays.runs import encode
    >>> count_pieces(encode(labels)[1], labels.shape, 1).tolist()
    [2]
    """
    placed, roots = _connect(runs, shape, 1)
    is_root = roots == np.arange(len(roots))
    return np.bincount(placed.owners[is_root], minlength=count).astype(np.int64)


def connected_pieces(
    runs: Runs, shape: tuple[int, int, int], connectivity: int
) -> tuple[int, Runs]:
    """Each piece of the instances as an instance of its own.

    Args:
        runs: Canonical runs of a volume; of a mask, all have the same owner.
        shape: (z, y, x).
        connectivity: 1 joins voxels that share a face, 2 also an edge, 3 also a corner.

    Returns:
        The number of pieces, and canonical runs, whose owners count the pieces from 0 in the
        order of their first voxels, as `skimage.measure.label` does from 1.

    >>> from _platelet_em.arrays.runs import encode
    >>> _, runs = encode(np.array([[[1, 0, 1], [0, 1, 0]]]))
    >>> [connected_pieces(runs, (1, 2, 3), connectivity)[0] for connectivity in (1, 2)]
    [3, 1]
    """
    placed, roots = _connect(runs, shape, connectivity)
    is_root = roots == np.arange(len(roots))
    number = np.cumsum(is_root) - 1
    found = Runs(placed.starts, placed.stops, number[roots].astype(np.int64))
    return int(np.count_nonzero(is_root)), merge_adjacent(found)


def _connect(runs: Runs, shape: tuple[int, int, int], connectivity: int) -> tuple[Runs, Int64s]:
    """The runs cut into rows, in order, and for each the first one of its piece, int64."""
    depth, height, width = shape
    rows = int(((runs.stops - 1) // max(width, 1) - runs.starts // max(width, 1) + 1).sum())
    check_room((rows,), _ROW_BYTES, shape)
    row, pieces = cut(runs, width)
    order = np.argsort(row * width + pieces.starts, kind="stable")
    row, pieces = row[order], pieces[order]
    index = np.arange(len(row), dtype=np.int64)
    placed = Runs(pieces.starts + row * width, pieces.stops + row * width, index)
    edges = []
    for dz, dy, reach in _neighbors(connectivity):
        y = row % height + dy
        inside = (y >= 0) & (y < height) & (row // height + dz < depth)
        begins = (row[inside] + dz * height + dy) * width
        # Cut at the ends of the row: what lies beyond them belongs to other rows.
        starts = begins + np.maximum(pieces.starts[inside] - reach, 0)
        stops = begins + np.minimum(pieces.stops[inside] + reach, width)
        first, second, _ = intersect(Runs(starts, stops, index[inside]), placed)
        touch = pieces.owners[first] == pieces.owners[second]
        edges.append((first[touch], second[touch]))
    first, second = (np.concatenate(ends) for ends in zip(*edges, strict=True))
    return Runs(placed.starts, placed.stops, pieces.owners), _find_roots(len(row), first, second)


def _neighbors(connectivity: int) -> Iterator[tuple[int, int, int]]:
    """Steps to the later rows that a row touches, along z and y, and how far along x it reaches.

    With connectivity 2, row (z, y) touches (z, y + 1) and (z + 1, y) also one voxel further left
    and right, but (z + 1, y - 1) and (z + 1, y + 1) only at the same x.
    """
    for dz, dy in ((0, 1), (1, -1), (1, 0), (1, 1)):
        distance = dz + abs(dy)
        if distance <= connectivity:
            yield dz, dy, int(distance < connectivity)


def _find_roots(count: int, first: Int64s, second: Int64s) -> Int64s:
    """For each of `count` nodes the lowest node that edges connect it with."""
    roots = np.arange(count, dtype=np.int64)
    while True:
        a, b = roots[first], roots[second]
        differ = a != b
        if not differ.any():
            return roots
        first, second, a, b = first[differ], second[differ], a[differ], b[differ]
        np.minimum.at(roots, np.maximum(a, b), np.minimum(a, b))
        while not np.array_equal(shorter := roots[roots], roots):
            roots = shorter
