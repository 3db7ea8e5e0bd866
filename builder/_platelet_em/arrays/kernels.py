"""The inner loops of runs and RLE strings, as pure functions on NumPy arrays.

All that takes time proportional to voxels, runs or characters is here. Nothing here knows about
instances, ids, files or messages, so a compiled version can replace any function.
"""

from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

__all__ = [
    "Bytes",
    "Int64s",
    "expand_ranges",
    "fill_runs",
    "join_digits",
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

_PAD = 16
"""Zeros in front of joined digits: the reads of 18-digit numbers reach that far back."""


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
    for begin in range(0, flat.size - 1, _COMPARE_CHUNK):
        chunk = flat[begin : begin + _COMPARE_CHUNK + 1]
        changes.append(np.flatnonzero(chunk[1:] != chunk[:-1]) + (begin + 1))
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


def join_digits(text: Bytes, begins: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """For each character, the value of up to four digits of its number that end with it.

    Digits are joined to pairs, and pairs to fours, for all characters at once. A pair or four
    that would reach over the first digit of a number stops there.

    Example: in "12345 7", with numbers beginning at characters 0 and 6,
    pairs are 1 12 23 34 45 _ 7, and fours are 1 12 123 1234 2345 _ 7.
    `read_numbers` puts 12345 together from fours: 2345 + 10**4 * 1.

    Args:
        text: uint8 (n,), digits and blanks as ASCII.
        begins: bool (n,), where numbers begin.

    Returns:
        uint16 (16 + n,): zeros, then one value per character; those of blanks mean nothing.
    """
    digits = text ^ np.uint8(_ZERO)
    goes_on = begins.view(np.uint8) - np.uint8(1)  # all bits, unless a number begins here
    pairs = np.zeros(len(text), np.uint8)
    np.bitwise_and(digits[:-1], goes_on[1:], out=pairs[1:])
    pairs *= np.uint8(10)
    pairs += digits
    goes_on[1:] &= goes_on[:-1].copy()
    fours = np.zeros(_PAD + len(text), np.uint16)
    np.multiply(pairs[:-2] & goes_on[2:], np.uint16(100), out=fours[_PAD + 2 :], dtype=np.uint16)
    fours[_PAD:] += pairs
    return fours


def read_numbers(fours: NDArray[np.uint16], ends: Int64s, widths: Int64s) -> Int64s:
    """The numbers that end at these characters, four digits at a time.

    Args:
        fours: What `join_digits` made of the text.
        ends: int64 (n,), the last character of each number.
        widths: int64 (n,), digits of each number, at most 18.

    >>> text, begins = np.frombuffer(b"12345 7", np.uint8), np.array([1, 0, 0, 0, 0, 0, 1], bool)
    >>> read_numbers(join_digits(text, begins), np.array([4, 6]), np.array([5, 1])).tolist()
    [12345, 7]
    """
    ends = ends + _PAD
    numbers = fours.take(ends).astype(np.int64)
    widest = int(widths.max()) if len(widths) else 0
    for done in range(4, widest, 4):
        more = fours.take(ends - done).astype(np.int64)
        more[widths <= done] = 0
        more *= 10**done
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
