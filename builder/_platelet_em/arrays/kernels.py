"""The inner loops of runs and RLE strings, as pure functions on NumPy arrays.

All that takes time proportional to voxels, runs or characters is here. Nothing here knows about
instances, files or messages. `load_compiled` gives faster ones for some of it.
"""

import functools
import logging
import os
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from _platelet_em.arrays.memory import has_room
from _platelet_em.errors import ArgumentError, MissingExtraError, quote

__all__ = [
    "Bytes",
    "Int64s",
    "expand_ranges",
    "fill_runs",
    "load_compiled",
    "pick_last_owners",
    "read_numbers",
    "value_runs",
    "write_numbers",
]

Bytes = NDArray[np.uint8]
Int64s = NDArray[np.int64]

_COMPARE_CHUNK = 1 << 21
"""Elements that are compared at a time, so that the result of a comparison stays small."""

_SPACE, _ZERO = 32, 48
_POWERS_OF_TEN = 10 ** np.arange(1, 19, dtype=np.int64)

_SETTING = "PLATELET_EM_KERNELS"

_NUMBA_BYTES = 1 << 29
"""Address space that Numba takes, about. Where it runs out, its import may end the process."""

_log = logging.getLogger(__name__)


@functools.cache
def load_compiled() -> ModuleType | None:
    """The module `compiled`, or None where NumPy is to do its work.

    Numba takes a moment to import, so this happens when a loop is first needed. The environment
    variable `PLATELET_EM_KERNELS` may be "numpy", for NumPy alone, or "numba", for an error where
    Numba is missing; without it, Numba is used if it is installed, and there is memory for it.

    Raises:
        ArgumentError: for another value of the variable.
        MissingExtraError: if the variable is "numba", and Numba cannot be imported.
    """
    setting = os.environ.get(_SETTING, "")
    if setting not in ("", "numpy", "numba"):
        raise ArgumentError(f"{_SETTING}: expected numpy or numba, got {quote(setting)}")
    if setting == "numpy":
        return None
    if not setting and not has_room(_NUMBA_BYTES):
        return None
    try:
        from _platelet_em.arrays import compiled  # noqa: PLC0415  # optional, and slow to import
    except ModuleNotFoundError as error:
        if setting == "numba":
            raise MissingExtraError(
                f"{_SETTING}=numba needs Numba ({error}): pip install platelet-em[fast]"
            ) from error
        return None
    except Exception as error:  # Numba refuses some versions of NumPy, and LLVM may lack memory
        if setting == "numba":
            raise
        _log.warning("Numba cannot be used, labels are decoded by NumPy: %s", error)
        return None
    return compiled


def value_runs(flat: NDArray[Any]) -> tuple[Int64s, Int64s, NDArray[Any]]:
    """Maximal runs of equal values of a flat array, zeros included.

    Args:
        flat: (n,), any dtype that can be compared.

    Returns:
        Starts and stops, int64, and the value of each run, in the array's dtype.

    >>> [a.tolist() for a in value_runs(np.array([0, 0, 7, 7, 4]))]
    [[0, 2, 4], [2, 4, 5], [0, 7, 4]]
    """
    if not flat.size:
        return np.empty(0, np.int64), np.empty(0, np.int64), flat
    changes = [np.zeros(1, np.int64)]
    compiled = load_compiled()
    for begin in range(0, flat.size - 1, _COMPARE_CHUNK):
        chunk = flat[begin : begin + _COMPARE_CHUNK + 1]
        found = compiled.find_changes(chunk) if compiled else None
        if found is None:
            found = np.flatnonzero(chunk[1:] != chunk[:-1]) + 1
        changes.append(found + begin)
    starts = np.concatenate(changes)
    return starts, np.append(starts[1:], flat.size), flat[starts]


def fill_runs(
    starts: Int64s, stops: Int64s, values: NDArray[Any], size: int, dtype: DTypeLike
) -> NDArray[Any]:
    """A flat array that has a value in each run, and 0 elsewhere.

    Args:
        starts: int64 (n,), ascending.
        stops: int64 (n,); no run reaches into the next.
        values: (n,), the value of each run.
        size: Elements of the array.
        dtype: Of the array.

    >>> fill_runs(np.array([1, 4]), np.array([3, 5]), np.array([7, 9]), 6, np.int32).tolist()
    [0, 7, 7, 0, 9, 0]
    """
    count = len(starts)
    lengths = np.empty(2 * count + 1, np.int64)  # of gap, run, gap, run, ..., gap
    lengths[1::2] = stops - starts
    lengths[2:-1:2] = starts[1:] - stops[:-1]
    lengths[0] = starts[0] if count else 0
    lengths[-1] = size - (int(stops[-1]) if count else 0)
    colors = np.zeros(2 * count + 1, dtype)
    colors[1::2] = values
    return np.repeat(colors, lengths)


def expand_ranges(low: Int64s, high: Int64s) -> tuple[Int64s, Int64s]:
    """All pairs (i, j) with low[i] <= j < high[i], as two int64 arrays, in order.

    >>> [a.tolist() for a in expand_ranges(np.array([2, 8]), np.array([5, 10]))]
    [[0, 0, 0, 1, 1], [2, 3, 4, 8, 9]]
    """
    counts = high - low
    rows = np.repeat(np.arange(len(low)), counts)
    ends = np.cumsum(counts)
    return rows, np.arange(len(rows)) + np.repeat(low - (ends - counts), counts)


def pick_last_owners(
    starts: Int64s, stops: Int64s, owners: Int64s
) -> tuple[Int64s, Int64s, Int64s]:
    """Cut runs at each other's ends, and give each stretch to the highest owner that covers it.

    The ends of all runs divide the array into stretches, and a run covers a range of them. As in
    a sparse table, a range is the union of two blocks whose length is the same power of two. Each
    block takes the maximum of its owners; then blocks pass it on to their two halves, the longest
    first, down to single stretches. Time and memory go with the number of runs.

    Example: owner 0 has [0, 8), owner 1 has [2, 5). The stretches are [0, 2), [2, 5), [5, 8).
    Owner 0 covers stretches 0 to 2, the blocks {0, 1} and {1, 2}; owner 1 the block {1}.
    The halves of both blocks get 0; then stretch 1 gets max(0, 1): the owners are 0, 1, 0.

    Args:
        starts: int64 (n,), at least one, in any order.
        stops: int64 (n,), each above its start.
        owners: int64 (n,), not negative.

    Returns:
        Starts, stops and owners of the covered stretches: disjoint, ascending, not merged.
    """
    edges = np.sort(np.concatenate([starts, stops]))
    # np.unique does this with a hash table since NumPy 2.3, ten times slower on many numbers.
    edges = edges[np.concatenate([[True], edges[1:] > edges[:-1]])]
    first = np.searchsorted(edges, starts)
    last = np.searchsorted(edges, stops)
    level = np.frexp((last - first).astype(np.float64))[1].astype(np.int64) - 1
    highest = int(level.max())
    order = np.argsort(level, kind="stable")
    bounds = np.searchsorted(level[order], np.arange(highest + 2))
    winner = np.full(len(edges), -1, np.int64)  # of the block of 2**k that begins at a stretch
    for k in range(highest, -1, -1):
        members = order[bounds[k] : bounds[k + 1]]
        np.maximum.at(winner, first[members], owners[members])
        np.maximum.at(winner, last[members] - (1 << k), owners[members])
        if k:
            half = 1 << (k - 1)
            halves = winner.copy()
            np.maximum(halves[half:], winner[:-half], out=halves[half:])
            winner = halves
    covered = np.flatnonzero(winner[:-1] >= 0)
    return edges[covered], edges[covered + 1], winner[covered]


def read_numbers(text: Bytes, ends: Int64s, widths: Int64s) -> Int64s:
    """The decimal numbers that end at these characters.

    Args:
        text: uint8, ASCII.
        ends: int64 (n,), the last character of each number.
        widths: int64 (n,), digits of each number, at most 18.

    >>> text = np.frombuffer(b"12345 7", np.uint8)
    >>> read_numbers(text, np.array([4, 6]), np.array([5, 1])).tolist()
    [12345, 7]
    """
    digits = text ^ np.uint8(_ZERO)
    numbers: Int64s = digits[ends].astype(np.int64)
    for place in range(1, int(widths.max()) if len(widths) else 0):  # tens, hundreds, ...
        # Of shorter numbers, what is read are other characters, or those before the text.
        more = digits.take(ends - place, mode="clip").astype(np.int64)
        more[widths <= place] = 0
        more *= 10**place
        numbers += more
    return numbers


def write_numbers(numbers: Int64s) -> tuple[Bytes, Int64s]:
    """Decimal numbers as ASCII, a space after each.

    Args:
        numbers: int64 (n,), 0 to 10**18 - 1.

    Returns:
        The text, uint8, and int64 (n,), one past the space of each number.

    >>> text, ends = write_numbers(np.array([7, 120]))
    >>> text.tobytes(), ends.tolist()
    (b'7 120 ', [2, 6])
    """
    if compiled := load_compiled():
        written: tuple[Bytes, Int64s] = compiled.write_text(numbers)
        return written
    widths = np.searchsorted(_POWERS_OF_TEN, numbers, side="right") + 1
    ends = np.cumsum(widths + 1)
    text = np.full(int(ends[-1]) if len(ends) else 0, _SPACE, np.uint8)
    position = ends - 2
    while len(numbers):  # the last digit of all that have one left
        numbers, digit = np.divmod(numbers, 10)
        text[position] = digit + _ZERO
        rest = numbers > 0
        numbers, position = numbers[rest], position[rest] - 1
    return text, ends
