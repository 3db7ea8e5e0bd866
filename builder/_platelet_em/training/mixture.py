"""`Mixture`: of which volume the window at an index is, where all are evenly mixed."""

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

__all__ = ["Mixture", "share_out"]

_EXACT = 2**62
"""Products below this are exact in int64."""


def share_out(count: int, sizes: Sequence[int]) -> list[int]:
    """How many of `count` windows each volume gets, in proportion to the sizes.

    >>> share_out(5, [30, 20, 1])
    [3, 2, 0]
    """
    total = sum(sizes)
    shares = [count * size // total for size in sizes]
    # The windows lost to rounding down go to the volumes that lost most.
    largest = sorted(range(len(sizes)), key=lambda k: -(count * sizes[k] % total))
    for k in largest[: count - sum(shares)]:
        shares[k] += 1
    return shares


class Mixture:
    """The windows of volumes, evenly mixed.

    The windows of a volume with the share s stand at 1/2s, 3/2s, 5/2s, ... between 0 and 1, and
    all are counted from left to right, at the same place by the order of volumes. So shares of 3
    and 2, at 1/6, 3/6, 5/6 and at 1/4, 3/4, give the volumes 0, 1, 0, 1, 0.

    The line is cut into as many cells as there are windows. Left of cell p are p windows, give or
    take half a window per volume, so the cell of an index is found by bisection near it; and each
    volume has at most one window in a cell. Of 5 windows, the one at index 3 is in the cell from
    3/5 to 4/5: left of it are 3 windows, and in it is that of volume 1, at 3/4.

    Args:
        shares: Windows of each volume.

    >>> [Mixture([3, 2]).find(index) for index in range(5)]
    [0, 1, 0, 1, 0]
    """

    def __init__(self, shares: Sequence[int]) -> None:
        self.count = sum(shares)
        dtype = np.int64 if 4 * self.count * max(shares) < _EXACT else object
        self._shares = np.array(shares, dtype)
        self._cell: tuple[int, list[int]] = 0, []

    def find(self, index: int) -> int:
        """The volume of the window at an index."""
        first, volumes = self._cell
        if not first <= index < first + len(volumes):
            first, volumes = self._cell = self._find_cell(index)
        return volumes[index - first]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_cell": (0, [])}

    def _find_cell(self, index: int) -> tuple[int, list[int]]:
        """How many windows are left of the cell of an index, and the volumes in it, in order."""
        margin = len(self._shares)
        low, high = max(index - margin, 0), min(index + margin + 1, self.count)
        while high - low > 1:
            middle = (low + high) // 2
            if int(self._passed(middle).sum()) <= index:
                low = middle
            else:
                high = middle
        before = self._passed(low)
        inside = np.flatnonzero(self._passed(low + 1) > before)
        places: list[tuple[Any, int]] = []
        known: dict[tuple[int, int], Fraction] = {}
        for k in inside.tolist():
            key = 2 * int(before[k]) + 1, int(self._shares[k])
            if key not in known:
                known[key] = Fraction(*key)
            places.append((known[key], k))
        return int(before.sum()), [k for _, k in sorted(places)]

    def _passed(self, cell: int) -> Any:
        """How many windows of each volume are left of a cell, those at its border not included."""
        # The nth window, from 0, is left of p / count if (2n + 1) * count < 2 * p * share.
        return ((2 * cell * self._shares - 1) // self.count + 1) // 2
