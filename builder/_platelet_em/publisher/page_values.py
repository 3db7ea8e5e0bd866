"""`PageValues`: the distinct values of all pages of a stack, and their runs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.kernels import Int64s
from _platelet_em.arrays.runs import Runs, merge_adjacent
from _platelet_em.limits import MAX_RUNS
from _platelet_em.publisher.label_file import (
    check_label_count,
    check_run_count,
    check_volume_shape,
)

__all__ = ["PageRuns", "PageValues", "collect_values"]

PageRuns = tuple[Int64s, Int64s, NDArray[Any]]
"""Starts, stops and values of the runs of a page, in order, as `kernels.value_runs` gives them."""


@dataclass(frozen=True, slots=True)
class PageValues:
    """The distinct values of all pages, in the order of their first voxel in (z, y, x).

    Attributes:
        codes: uint64 (n,), such as indices or packed colors; 0, the background, is none of them.
        runs: Canonical runs of the volume; their owners are indices into `codes`.
        shape: (z, y, x).
    """

    codes: NDArray[np.uint64]
    runs: Runs
    shape: tuple[int, int, int]


def collect_values(
    shape: tuple[int, ...],
    name: str,
    read_runs: Callable[[int], PageRuns],
    most: int,
    size: int,
) -> PageValues:
    """The values of all pages, read one after the other.

    Memory goes with the number of runs and of distinct values.

    Args:
        shape: (z, y, x).
        name: What to call the file in a message.
        read_runs: Gives the runs of page z; their values are not negative.
        most: Distinct values that the file may have.
        size: Bytes of the file: it may have one run for each, beyond `limits.MAX_RUNS`.

    Raises:
        LabelFormatError: for a volume that is too large, or too many values or runs.
    """
    depth, height, width = check_volume_shape(shape, name)
    known = _Numbering()
    parts: list[Runs] = []
    run_count = 0
    for z in range(depth):
        starts, stops, values = read_runs(z)
        labeled = values != 0
        starts, stops = starts[labeled], stops[labeled]
        run_count += len(starts)
        check_run_count(run_count, name, MAX_RUNS + size)
        present, first, inverse = np.unique(
            values[labeled].astype(np.uint64), return_index=True, return_inverse=True
        )
        check_label_count(len(present), most, name)
        owners = known.number(present, first)
        check_label_count(known.count, most, name)
        begin = z * height * width
        parts.append(Runs(starts + begin, stops + begin, owners[inverse]))
    # A run may go on in the next slice.
    runs = merge_adjacent(Runs.join(parts))
    return PageValues(known.in_order(), runs, (depth, height, width))


class _Numbering:
    """Numbers distinct codes from 0 in the order in which they come."""

    def __init__(self) -> None:
        self._codes = np.empty(0, np.uint64)  # ascending
        self._numbers = np.empty(0, np.int64)

    @property
    def count(self) -> int:
        return len(self._codes)

    def number(self, codes: NDArray[np.uint64], first: NDArray[np.intp]) -> Int64s:
        """The number of each code.

        Args:
            codes: Ascending, distinct.
            first: Where each comes first; those that are new are numbered in this order.
        """
        at = np.searchsorted(self._codes, codes)
        is_new = np.ones(len(codes), np.bool_)
        inside = at < self.count
        is_new[inside] = self._codes[at[inside]] != codes[inside]
        if is_new.any():
            rank = np.empty(int(is_new.sum()), np.int64)
            rank[np.argsort(first[is_new])] = np.arange(self.count, self.count + len(rank))
            self._codes = np.insert(self._codes, at[is_new], codes[is_new])
            self._numbers = np.insert(self._numbers, at[is_new], rank)
            at = np.searchsorted(self._codes, codes)
        return self._numbers[at]

    def in_order(self) -> NDArray[np.uint64]:
        """All codes, by their number."""
        codes = np.empty_like(self._codes)
        codes[self._numbers] = self._codes
        return codes
