"""Random numbers that stay the same in every version of NumPy, from seeds.

They are raw output of PCG64, which NumPy promises never to change, unlike what its generators make
of it.
"""

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["RandomStream", "permutation"]

_SHUFFLE = 1
"""Keeps the numbers of a permutation apart from those of single windows."""


class RandomStream:
    """Random numbers of one window.

    Args:
        seeds: Integers of at least 0: seed, epoch, and position of the window.

    >>> RandomStream(0, 0, 0).integer(100), RandomStream(0, 0, 1).integer(100)
    (63, 44)
    """

    def __init__(self, *seeds: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence(seeds))

    def integer(self, stop: int) -> int:
        """An integer from 0 to stop - 1."""
        return int(self._bits.random_raw()) * stop >> 64

    def weighted_index(self, weights: Sequence[float]) -> int:
        """An index into `weights`, drawn with these weights."""
        bounds = list(itertools.accumulate(weights))
        point = int(self._bits.random_raw()) / 2**64 * bounds[-1]
        # Rounding may reach the last bound; that point belongs to the last index with a weight.
        last = max(i for i, weight in enumerate(weights) if weight)
        return min(sum(bound <= point for bound in bounds), last)


def permutation(count: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """A random order of `count` positions, int64 (count,).

    It is the stable order of `count` numbers of PCG64, seeded by `SeedSequence((seed, epoch),
    spawn_key=(1,))`.

    >>> permutation(6, seed=0, epoch=0).tolist(), permutation(6, seed=0, epoch=1).tolist()
    ([1, 3, 2, 0, 5, 4], [5, 0, 4, 2, 3, 1])
    """
    seeds = np.random.SeedSequence((seed, epoch), spawn_key=(_SHUFFLE,))
    return np.argsort(np.random.PCG64(seeds).random_raw(count), kind="stable")
