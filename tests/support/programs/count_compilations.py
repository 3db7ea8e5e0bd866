"""Decodes labels here and in processes that are started anew; prints loops compiled and loaded.

Argument: "spawn", "fork", or "none" for no processes. Prints a line for each process: how many
loops it compiled, and how many it loaded from the disk.
"""

import multiprocessing
import sys

import numpy as np

from platelet_em import LazyLabels


def count(_):
    labels = LazyLabels((2, 3), [7, 9], ["1 2", "5 2"])
    assert labels[:, 1:].tolist() == [[7, 0], [9, 9]]
    assert np.asarray(LazyLabels((3,), [7], ["1 2"])).tolist() == [7, 7, 0]
    from _platelet_em.arrays import compiled

    loops = [loop for loop in vars(compiled).values() if hasattr(loop, "stats")]
    hits = sum(sum(loop.stats.cache_hits.values()) for loop in loops)
    misses = sum(sum(loop.stats.cache_misses.values()) for loop in loops)
    return misses, hits


if __name__ == "__main__":
    print(*count(None))
    if sys.argv[1] != "none":
        with multiprocessing.get_context(sys.argv[1]).Pool(1) as pool:
            print(*pool.map(count, [None])[0])
