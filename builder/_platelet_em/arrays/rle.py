"""The run-length code of instance labels: RLE strings to runs, and runs to strings.

The format, stated once. A label volume of shape (z, y, x), or a slice of shape (y, x), is
flattened in C order. An instance is the string `start length start length ...`: decimal numbers
between blanks, starts counted from 1, in voxels of that flat array, lengths at least 1. What this
package writes is canonical: starts ascending, runs maximal (two runs of an instance never touch),
one space between numbers, no leading zeros, no two instances overlapping; an empty string is an
instance without voxels. What it reads may be unsorted, adjacent or overlapping, as long as the
meaning is clear: where instances overlap, the later one wins, as in the publisher's decoder.

The publisher's own example:

>>> from _platelet_em.arrays.runs import paint, resolve
>>> example = ["7 2 12 1 21 1 40 1 50 4 60 3 68 1 71 1 81 1", "1 3 11 1 33 2 42 3 87 2"]
>>> paint(resolve(parse(*text_buffer(example), 100)), np.array([1, 2]), 100)[:12].tolist()
[2, 2, 2, 0, 0, 0, 1, 1, 0, 0, 2, 1]
"""

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple, NoReturn

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.kernels import (
    Bytes,
    Int64s,
    load_compiled,
    read_numbers,
    write_numbers,
)
from _platelet_em.arrays.runs import Runs
from _platelet_em.errors import LabelFormatError, quote

__all__ = ["format_runs", "parse", "text_buffer"]

_SPACE, _ZERO, _LOW_BLANK, _HIGH_BLANK = 32, 48, 9, 13
_MAX_DIGITS = 18
_GROUP = 1 << 18
"""Bytes that are parsed at a time, so that the arrays made of them stay in the processor's cache.
Threads do not help: the calls into NumPy are so short that they wait for each other."""

Name = Callable[[int], str]
"""What to call a string in a message, by its position."""


def _name_by_position(index: int) -> str:
    return f"RLE string {index}"


# --- strings to runs --------------------------------------------------------------------------


def text_buffer(strings: Sequence[str], name: Name = _name_by_position) -> tuple[Bytes, Int64s]:
    """The strings as one buffer of bytes, uint8, and n + 1 offsets into it, int64.

    Arrow's string arrays have this form already and need no call.

    Args:
        strings: n RLE strings.
        name: What to call string `i` in a message.

    Raises:
        LabelFormatError: for an item that is not a string, or has characters beyond ASCII.
    """
    try:
        text = np.frombuffer("".join(strings).encode("ascii"), np.uint8)
    except (TypeError, UnicodeEncodeError):
        for index, string in enumerate(strings):
            if not isinstance(string, str) or not string.isascii():
                raise LabelFormatError(
                    f"{name(index)}: expected a string of decimal numbers, got {quote(string)}"
                ) from None
        raise
    offsets = np.zeros(len(strings) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, strings), np.int64, len(strings)), out=offsets[1:])
    return text, offsets


def parse(text: Bytes, offsets: Int64s, size: int, name: Name = _name_by_position) -> Runs:
    """Parse RLE strings strictly: digits and blanks, numbers in pairs, inside the array.

    The strings are in one buffer, as in an Arrow string array. The runs are as the strings have
    them: unsorted, adjacent or overlapping ones stay so until `runs.resolve` makes them canonical.

    Args:
        text: uint8, the strings one after the other.
        offsets: int64 (n + 1,), where each string begins and ends.
        size: Voxels of the array that the strings describe.
        name: What to call string `i` in a message, such as "50-instance-cell.json: id 34".

    Returns:
        Runs in the order of the strings, whose `owners` are positions among the strings.

    Raises:
        LabelFormatError: names the string, the character or the run, what was expected and found.

    >>> parse(*text_buffer(["7 2 12 1", "1 3"]), 20).lengths.tolist()
    [2, 1, 3]
    """
    compiled = load_compiled()
    if compiled and (found := compiled.parse_text(text, offsets, size)) is not None:
        return Runs(*found)
    text, offsets = text[offsets[0] : offsets[-1]], offsets - offsets[0]
    if len(text) <= 2 * _GROUP:
        return _parse_group(text, offsets, size, name)
    nearest = np.searchsorted(offsets, np.arange(_GROUP, len(text), _GROUP))
    bounds = np.unique(np.concatenate([[0], nearest, [len(offsets) - 1]])).tolist()
    parts = []
    for begin, end in itertools.pairwise(bounds):
        part = slice(int(offsets[begin]), int(offsets[end]))
        local = offsets[begin : end + 1] - part.start
        runs = _parse_group(text[part], local, size, _shift(name, begin))
        runs.owners[:] += begin
        parts.append(runs)
    return Runs.join(parts)


def _shift(name: Name, begin: int) -> Name:
    return lambda i: name(begin + i)


def _parse_group(text: Bytes, offsets: Int64s, size: int, name: Name) -> Runs:
    """As `parse`, for a text so short that the arrays made of it stay in the cache."""
    if not len(text):
        return Runs.empty()
    found = _find_canonical(text, offsets) or _find_numbers(text, offsets, name)
    if (found.counts & 1).any():
        odd = int(np.argmax(found.counts & 1))
        raise LabelFormatError(
            f"{name(odd)}: expected pairs of start and length, got {found.counts[odd]} "
            "numbers; the string is cut or damaged"
        )
    if len(found.widths) and found.widths.max() > _MAX_DIGITS:
        long = int(np.argmax(found.widths > _MAX_DIGITS))
        index, character = _locate(int(found.ends[long] - found.widths[long]) + 1, offsets)
        raise LabelFormatError(
            f"{name(index)}: a number of more than {_MAX_DIGITS} digits at character "
            f"{character}: no volume is that large"
        )
    starts = read_numbers(text, found.ends[0::2], found.widths[0::2])
    lengths = read_numbers(text, found.ends[1::2], found.widths[1::2])
    starts -= 1
    stops = starts + lengths
    owners = np.repeat(np.arange(len(found.counts)), found.counts >> 1)
    if len(starts) and (starts.min() < 0 or lengths.min() < 1 or stops.max() > size):
        _fail_bounds(starts, lengths, owners, size, name)
    return Runs(starts, stops, owners)


class _Numbers(NamedTuple):
    """Where the numbers of a text are.

    Attributes:
        ends: int64, per number: its last character.
        widths: int64, per number: its digits.
        counts: int64, per string: its numbers.
    """

    ends: Int64s
    widths: Int64s
    counts: Int64s


def _find_canonical(text: Bytes, offsets: Int64s) -> _Numbers | None:
    """Where the numbers are, if one space separates any two of a string; else None."""
    begins = np.empty(len(text) + 1, np.bool_)
    spaces = np.equal(text, _SPACE, out=begins[1:])
    stops = offsets[1:][offsets[1:] > offsets[:-1]]
    digits = np.count_nonzero((text - np.uint8(_ZERO)) < 10)
    if digits + np.count_nonzero(spaces) != len(text) or spaces[stops - 1].any():
        return None
    # Between two strings there is no space: where one ends, the next number begins.
    begins[0] = True
    begins[stops] = True
    positions = np.flatnonzero(begins)
    bounds = np.searchsorted(positions, offsets)
    ends = positions[1:] - 2
    ends[np.searchsorted(positions, stops) - 1] += 1
    widths = ends - positions[:-1]
    widths += 1
    if widths.min() < 1:
        return None
    return _Numbers(ends, widths, bounds[1:] - bounds[:-1])


def _find_numbers(text: Bytes, offsets: Int64s, name: Name) -> _Numbers:
    """Where the numbers are, whatever blanks surround them."""
    is_digit = (text - np.uint8(_ZERO)) < 10
    _check_characters(text, is_digit, offsets, name)
    first = is_digit.copy()
    first[1:] &= ~is_digit[:-1]
    last = is_digit.copy()
    last[:-1] &= ~is_digit[1:]
    filled = offsets[1:] > offsets[:-1]
    string_begins, string_ends = offsets[:-1][filled], offsets[1:][filled] - 1
    first[string_begins] = is_digit[string_begins]
    last[string_ends] = is_digit[string_ends]
    begins, ends = np.flatnonzero(first), np.flatnonzero(last)
    return _Numbers(ends, ends - begins + 1, np.diff(np.searchsorted(begins, offsets)))


def _check_characters(
    text: Bytes, is_digit: NDArray[np.bool_], offsets: Int64s, name: Name
) -> None:
    is_wrong = ~(is_digit | (text == _SPACE))
    is_wrong &= (text < _LOW_BLANK) | (text > _HIGH_BLANK)
    if (wrong := np.flatnonzero(is_wrong)).size:
        position = int(wrong[0])
        index, character = _locate(position, offsets)
        raise LabelFormatError(
            f"{name(index)}: expected digits and blanks, got {chr(text[position])!r} at character "
            f"{character}"
        )


def _locate(position: int, offsets: Int64s) -> tuple[int, int]:
    """The string that has a byte, from 0, and which of its characters it is, from 1."""
    index = int(np.searchsorted(offsets, position, side="right")) - 1
    return index, position - int(offsets[index]) + 1


def _fail_bounds(
    starts: Int64s, lengths: Int64s, owners: Int64s, size: int, name: Name
) -> NoReturn:
    run = int(np.argmax((starts < 0) | (lengths < 1) | (starts > size - lengths)))
    owner = int(owners[run])
    number = run - int(np.searchsorted(owners, owner)) + 1
    raise LabelFormatError(
        f"{name(owner)}: run {number} is {starts[run] + 1} {lengths[run]}; expected a start "
        f"from 1, a length of at least 1, and an end within the {size} voxels of the array"
    )


# --- runs to strings --------------------------------------------------------------------------


def format_runs(runs: Runs, count: int) -> list[str]:
    """One RLE string per instance.

    Args:
        runs: Canonical.
        count: Number of instances; owners are below it.

    Returns:
        `count` strings; an instance without runs gets an empty one.

    >>> format_runs(Runs(np.array([6, 11]), np.array([8, 12]), np.array([0, 0])), 2)
    ['7 2 12 1', '']
    """
    by_owner = np.argsort(runs.owners, kind="stable")
    numbers = np.empty(2 * len(runs), np.int64)
    numbers[0::2] = runs.starts[by_owner] + 1
    numbers[1::2] = runs.lengths[by_owner]
    text, ends = write_numbers(numbers)
    joined = text.tobytes().decode("ascii")
    last = 2 * np.cumsum(np.bincount(runs.owners, minlength=count))
    bounds = np.concatenate([[0], ends])[np.concatenate([[0], last])].tolist()
    # A string ends before the space after its last number.
    return [joined[begin : max(begin, end - 1)] for begin, end in itertools.pairwise(bounds)]
