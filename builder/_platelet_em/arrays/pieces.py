"""Connected pieces of labels, from their runs."""

import numpy as np

from _platelet_em.arrays.kernels import Int64s
from _platelet_em.arrays.runs import Runs, cut, intersect

__all__ = ["count_pieces"]


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
    _, height, width = shape
    row, pieces = cut(runs, width)
    order = np.argsort(row * width + pieces.starts, kind="stable")
    row, pieces = row[order], pieces[order]
    begins, index = row * width, np.arange(len(row), dtype=np.int64)
    placed = Runs(pieces.starts + begins, pieces.stops + begins, index)
    edges = []
    for step, within_slice in ((width, True), (height * width, False)):
        above = Runs(placed.starts + step, placed.stops + step, index)
        first, second, _ = intersect(above, placed)
        touch = pieces.owners[first] == pieces.owners[second]
        if within_slice:  # the last row of a slice does not touch the first of the next one
            touch &= row[first] // height == row[second] // height
        edges.append((first[touch], second[touch]))
    first, second = (np.concatenate(ends) for ends in zip(*edges, strict=True))
    roots = _find_roots(len(row), first, second)
    is_root = roots == index
    return np.bincount(pieces.owners[is_root], minlength=count).astype(np.int64)


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
