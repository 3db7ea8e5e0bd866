"""The run-length code of instance labels: RLE texts to runs, and runs to texts.

The format, stated once. A label volume of shape (z, y, x), or a slice of shape (y, x), is
flattened in C order. An instance is the text `start length start length ...`: decimal numbers
between blanks, starts counted from 1, in voxels of that flat array, lengths at least 1. What this
package writes is canonical: starts ascending, runs maximal (two runs of an instance never touch),
one space between numbers, no leading zeros, no two instances overlapping; an empty text is an
instance without voxels. What it reads may be unsorted, adjacent or overlapping, as long as the
meaning is clear: where instances overlap, the later one wins, as in the publisher's decoder.

The publisher's own example:

>>> from _platelet_em.arrays.runs import paint, resolve
>>> example = ["7 2 12 1 21 1 40 1 50 4 60 3 68 1 71 1 81 1", "1 3 11 1 33 2 42 3 87 2"]
>>> paint(resolve(parse(*text_buffer(example), 100)), np.array([1, 2]), 100)[:12].tolist()
[2, 2, 2, 0, 0, 0, 1, 1, 0, 0, 2, 1]
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.runs import Int64s, Runs
from _platelet_em.errors import LabelFormatError, quote

__all__ = ["format_runs", "parse", "parse_chunks", "text_buffer"]

_SPACE, _ZERO, _LOW_BLANK, _HIGH_BLANK = 32, 48, 9, 13
_MAX_DIGITS = 18
_PAD = 16
_GROUP = 1 << 18
"""Bytes of text that are read at a time, so that what is made of them stays in the cache.
Threads do not pay: the calls into NumPy are so short that they wait for each other."""
_POWERS = 10 ** np.arange(1, _MAX_DIGITS + 1, dtype=np.int64)


def _name_by_position(index: int) -> str:
    return f"RLE text {index}"


def text_buffer(
    strings: Sequence[str], name: Callable[[int], str] = _name_by_position
) -> tuple[NDArray[np.uint8], Int64s]:
    """The strings as one buffer of bytes, uint8, and n + 1 offsets into it, int64.

    Arrow's string arrays have this form already and need no call.

    Args:
        strings: The texts.
        name: What to call text `i` in a message.

    Raises:
        LabelFormatError: for what is no string, or has characters beyond ASCII.
    """
    try:
        joined = "".join(strings)
        text = np.frombuffer(joined.encode("ascii"), np.uint8)
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


def parse(
    text: NDArray[np.uint8],
    offsets: Int64s,
    size: int,
    name: Callable[[int], str] = _name_by_position,
) -> Runs:
    """Read RLE texts strictly: digits and blanks, in pairs, inside the array.

    Args:
        text: uint8, the texts one after the other.
        offsets: int64 (n + 1,), where each text begins and ends.
        size: voxels of the array that the texts are about.
        name: what to call text `i` in a message.

    Returns:
        Runs in the order of the text; `owners` counts the texts from 0.

    Raises:
        LabelFormatError: names the text, the character or the run, what was expected and found.
    """
    text, offsets = text[offsets[0] : offsets[-1]], offsets - offsets[0]
    if len(text) <= 2 * _GROUP:
        return _parse_group(text, offsets, size, name)
    places = np.searchsorted(offsets, np.arange(_GROUP, len(text), _GROUP))
    bounds = np.unique(np.concatenate([[0], places, [len(offsets) - 1]])).tolist()

    parts = []
    for begin, end in itertools.pairwise(bounds):
        part = slice(int(offsets[begin]), int(offsets[end]))
        local = offsets[begin : end + 1] - part.start
        runs = _parse_group(text[part], local, size, lambda i, begin=begin: name(begin + i))  # type: ignore[misc]
        runs.owners[:] += begin
        parts.append(runs)
    return Runs.join(parts)


def _parse_group(
    text: NDArray[np.uint8], offsets: Int64s, size: int, name: Callable[[int], str]
) -> Runs:
    """As `parse`, for texts so short that what is made of them stays in the cache."""
    if not len(text):
        return Runs.empty()
    found = _find_canonical(text, offsets) or _find_numbers(text, offsets, name)
    begins, ends, widths, counts = found
    if (counts & 1).any():
        odd = int(np.argmax(counts & 1))
        raise LabelFormatError(
            f"{name(odd)}: expected pairs of start and length, got {counts[odd]} "
            "numbers; the text is cut or damaged"
        )
    if len(widths) and widths.max() > _MAX_DIGITS:
        long = int(np.argmax(widths > _MAX_DIGITS))
        index, character = _locate(int(ends[long] - widths[long]) + 1, offsets)
        raise LabelFormatError(
            f"{name(index)}: a number of more than {_MAX_DIGITS} digits at character "
            f"{character}: no volume is that large"
        )
    fours = _join_digits(text, begins)
    starts = _read_numbers(fours, ends[0::2], widths[0::2])
    lengths = _read_numbers(fours, ends[1::2], widths[1::2])
    starts -= 1
    stops = starts + lengths
    owners = np.repeat(np.arange(len(counts)), counts >> 1)
    if len(starts) and (starts.min() < 0 or lengths.min() < 1 or stops.max() > size):
        _fail_bounds(starts, lengths, owners, size, name)
    return Runs(starts, stops, owners)


_Numbers = tuple[NDArray[np.bool_], Int64s, Int64s, Int64s]
"""Where in the text numbers begin, as flags; of each number the place of its last digit, and its
digits; and how many numbers each text has."""


def _find_canonical(text: NDArray[np.uint8], offsets: Int64s) -> _Numbers | None:
    """Where the numbers are, if there is one space between them and none elsewhere; else None."""
    flags = np.empty(len(text) + 1, np.bool_)
    spaces = np.equal(text, _SPACE, out=flags[1:])
    stops = offsets[1:][offsets[1:] > offsets[:-1]]
    digits = np.count_nonzero((text - np.uint8(_ZERO)) < 10)
    if digits + np.count_nonzero(spaces) != len(text) or spaces[stops - 1].any():
        return None
    # Texts follow each other without a space: where one ends, the next number begins, too.
    flags[0] = True
    flags[stops] = True
    begins = np.flatnonzero(flags)
    bounds = np.searchsorted(begins, offsets)
    ends = begins[1:] - 2
    ends[np.searchsorted(begins, stops) - 1] += 1
    widths = ends - begins[:-1]
    widths += 1
    if widths.min() < 1:
        return None
    return flags[:-1], ends, widths, bounds[1:] - bounds[:-1]


def _find_numbers(
    text: NDArray[np.uint8], offsets: Int64s, name: Callable[[int], str]
) -> _Numbers:
    """Where the numbers are, whatever blanks there are around them."""
    is_digit = (text - np.uint8(_ZERO)) < 10
    _check_characters(text, is_digit, offsets, name)
    first = is_digit.copy()
    first[1:] &= ~is_digit[:-1]
    last = is_digit.copy()
    last[:-1] &= ~is_digit[1:]
    filled = offsets[1:] > offsets[:-1]
    begins, ends = offsets[:-1][filled], offsets[1:][filled] - 1
    first[begins] = is_digit[begins]
    last[ends] = is_digit[ends]
    begins, ends = np.flatnonzero(first), np.flatnonzero(last)
    return first, ends, ends - begins + 1, np.diff(np.searchsorted(begins, offsets))


def _check_characters(
    text: NDArray[np.uint8],
    is_digit: NDArray[np.bool_],
    offsets: Int64s,
    name: Callable[[int], str],
) -> None:
    rest = ~(is_digit | (text == _SPACE))
    rest &= (text < _LOW_BLANK) | (text > _HIGH_BLANK)
    if (bad := np.flatnonzero(rest)).size:
        position = int(bad[0])
        index, character = _locate(position, offsets)
        raise LabelFormatError(
            f"{name(index)}: expected digits and blanks, got {chr(text[position])!r} at character "
            f"{character}"
        )


def _locate(position: int, offsets: Int64s) -> tuple[int, int]:
    """Which text a byte lies in, from 0, and which of its characters it is, from 1."""
    index = int(np.searchsorted(offsets, position, side="right")) - 1
    return index, position - int(offsets[index]) + 1


def _join_digits(text: NDArray[np.uint8], begins: NDArray[np.bool_]) -> NDArray[np.uint16]:
    """For each byte of the text, the value of up to four digits of its number that end with it.

    Bytes are joined to pairs and pairs to fours, all at once; what lies before the first digit of
    a number does not count. In front of the text there are zeros.
    """
    digits = text ^ np.uint8(_ZERO)
    goes_on = begins.view(np.uint8) - np.uint8(1)
    pairs = np.zeros(len(text), np.uint8)
    np.bitwise_and(digits[:-1], goes_on[1:], out=pairs[1:])
    pairs *= np.uint8(10)
    pairs += digits
    goes_on[1:] &= goes_on[:-1].copy()
    fours = np.zeros(_PAD + len(text), np.uint16)
    np.multiply(pairs[:-2] & goes_on[2:], np.uint16(100), out=fours[_PAD + 2 :], dtype=np.uint16)
    fours[_PAD:] += pairs
    return fours


def _read_numbers(fours: NDArray[np.uint16], ends: Int64s, widths: Int64s) -> Int64s:
    """Values of the numbers with these last digits and widths, four digits at a time."""
    ends = ends + _PAD
    numbers = fours.take(ends).astype(np.int64)
    longest = int(widths.max()) if len(widths) else 0
    for done in range(4, longest, 4):
        more = fours.take(ends - done).astype(np.int64)
        more[widths <= done] = 0
        more *= 10**done
        numbers += more
    return numbers


def _fail_bounds(
    starts: Int64s, lengths: Int64s, owners: Int64s, size: int, name: Callable[[int], str]
) -> NoReturn:
    run = int(np.argmax((starts < 0) | (lengths < 1) | (starts > size - lengths)))
    owner = int(owners[run])
    position = run - int(np.searchsorted(owners, owner)) + 1
    raise LabelFormatError(
        f"{name(owner)}: run {position} is {starts[run] + 1} {lengths[run]}; expected a start "
        f"from 1, a length of at least 1, and an end within the {size} voxels of the array"
    )


def parse_chunks(chunks: Iterable[bytes], size: int, name: str) -> Iterator[Runs]:
    """Read one long RLE text that comes in chunks, so that memory goes with a chunk.

    Args:
        chunks: The text, cut anywhere.
        size: Voxels of the array.
        name: What to call the text in a message.

    Yields:
        Runs with owner 0.

    Raises:
        LabelFormatError: as `parse`; what is counted then is counted from where the message says.
    """
    rest, done = b"", 0
    for chunk in itertools.chain(filter(None, chunks), [b""]):
        text = np.frombuffer(rest + chunk, np.uint8)
        end = _end_of_pairs(text) if chunk else len(text)
        where = f"{name}, from character {done + 1}" if done else name
        yield parse(text[:end], np.array([0, end]), size, lambda _, where=where: where)  # type: ignore[misc]
        rest, done = text[end:].tobytes(), done + end


def _end_of_pairs(text: NDArray[np.uint8]) -> int:
    """Where the last number begins that may still go on, or wait for its length."""
    is_digit = (text - np.uint8(_ZERO)) < 10
    is_digit[1:] &= ~is_digit[:-1].copy()
    firsts = np.flatnonzero(is_digit)
    return int(firsts[(len(firsts) - 1) // 2 * 2]) if len(firsts) else 0


def format_runs(runs: Runs, count: int) -> list[str]:
    """One RLE text an instance, from canonical runs.

    Args:
        runs: Sorted by start, disjoint, maximal.
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
    widths = np.searchsorted(_POWERS, numbers, side="right") + 1
    ends = np.cumsum(widths + 1)
    text = np.full(int(ends[-1]) if len(ends) else 0, _SPACE, np.uint8)
    place, index = ends - 2, np.arange(len(numbers))
    while len(index):
        numbers, digit = np.divmod(numbers, 10)
        text[place] = digit + _ZERO
        more = numbers > 0
        numbers, place, index = numbers[more], place[more] - 1, index[more]
    joined = text.tobytes().decode("ascii")
    last = 2 * np.cumsum(np.bincount(runs.owners, minlength=count))
    bounds = np.concatenate([[0], ends])[np.concatenate([[0], last])].tolist()
    return [joined[a : max(a, b - 1)] for a, b in itertools.pairwise(bounds)]
