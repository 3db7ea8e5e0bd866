"""The run-length code of instance labels: RLE texts to runs, and runs to texts.

The format, stated once. A label volume of shape (z, y, x), or a slice of shape (y, x), is
flattened in C order. An instance is the text `start length start length ...`: decimal numbers
between blanks, starts counted from 1, in voxels of that flat array, lengths at least 1. What this
package writes is canonical: starts ascending, runs maximal (two runs of an instance never touch),
one space between numbers, no leading zeros, no two instances overlapping; an empty text is an
instance without voxels. What it reads may be unsorted, adjacent or overlapping, as long as the
meaning is clear: where instances overlap, the later one wins, as in the publisher's decoder.

The publisher's own example:

>>> from _platelet_em.runs import paint, resolve
>>> example = ["7 2 12 1 21 1 40 1 50 4 60 3 68 1 71 1 81 1", "1 3 11 1 33 2 42 3 87 2"]
>>> paint(resolve(parse(*text_buffer(example), 100)), np.array([1, 2]), 100)[:12].tolist()
[2, 2, 2, 0, 0, 0, 1, 1, 0, 0, 2, 1]
"""

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NoReturn

import numpy as np
from numpy.typing import NDArray

from _platelet_em.errors import LabelFormatError, quote
from _platelet_em.runs import Int64s, Runs

__all__ = ["format_runs", "parse", "parse_chunks", "text_buffer"]

_SPACE, _ZERO, _LOW_BLANK, _HIGH_BLANK = 32, 48, 9, 13
_MAX_DIGITS = 18
_BLOCK = 1 << 13
"""Numbers that are read at a time."""
_POWERS = 10 ** np.arange(1, _MAX_DIGITS + 1, dtype=np.int64)
_KEEP_LAST = np.array([0] + [2**64 - 2 ** (8 * (8 - k)) for k in range(1, 9)], np.uint64)


def text_buffer(strings: Sequence[str]) -> tuple[NDArray[np.uint8], Int64s]:
    """The strings as one buffer of bytes, uint8, and n + 1 offsets into it, int64.

    Arrow's string arrays have this form already and need no call.

    Raises:
        LabelFormatError: for what is no string, or has characters beyond ASCII.
    """
    try:
        joined = "".join(strings)
        text = np.frombuffer(joined.encode("ascii"), np.uint8)
    except (TypeError, UnicodeEncodeError):
        for index, string in enumerate(strings):
            if not isinstance(string, str) or not string.isascii():
                msg = (
                    f"RLE text {index}: expected a string of decimal numbers, got {quote(string)}"
                )
                raise LabelFormatError(msg) from None
        raise
    offsets = np.zeros(len(strings) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, strings), np.int64, len(strings)), out=offsets[1:])
    return text, offsets


def _name_by_position(index: int) -> str:
    return f"RLE text {index}"


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
    found = _find_canonical(text, offsets)
    if found is None:
        found = _find_numbers(text, offsets, name)
    ends, widths, counts = found
    if (odd := np.flatnonzero(counts % 2)).size:
        msg = (
            f"{name(int(odd[0]))}: expected pairs of start and length, got {counts[odd[0]]} "
            "numbers; the text is cut or damaged"
        )
        raise LabelFormatError(msg)
    numbers = _read_numbers(text, ends, widths, offsets, name)
    owners = np.repeat(np.arange(len(counts)), counts // 2)
    starts, lengths = numbers[0::2] - 1, numbers[1::2]
    stops = starts + lengths
    if len(starts) and (starts.min() < 0 or lengths.min() < 1 or stops.max() > size):
        _fail_bounds(starts, lengths, owners, size, name)
    return Runs(starts, stops, owners)


_Numbers = tuple[Int64s, Int64s, Int64s]
"""One past the last digit of each number, its digits, and how many numbers each text has."""


def _find_canonical(text: NDArray[np.uint8], offsets: Int64s) -> _Numbers | None:
    """Where the numbers are, if there is one space between them and none elsewhere; else None."""
    filled = np.flatnonzero(offsets[1:] > offsets[:-1])
    stops = offsets[1:][filled]
    spaces = np.flatnonzero(text == _SPACE)
    # Texts follow each other without a space: their ends separate numbers, too.
    ends = np.concatenate([spaces, stops])
    ends.sort(kind="stable")
    last = np.searchsorted(ends, stops)
    widths = np.diff(ends, prepend=-1) - 1
    widths[last[:-1] + 1] += 1
    digits = np.count_nonzero((text - np.uint8(_ZERO)) < 10)
    if digits != len(text) - len(spaces) or (len(widths) and widths.min() < 1):
        return None
    counts = np.zeros(len(offsets) - 1, np.int64)
    counts[filled] = np.diff(last, prepend=-1)
    return ends, widths, counts


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
    begins, ends = np.flatnonzero(first), np.flatnonzero(last) + 1
    return ends, ends - begins, np.diff(np.searchsorted(begins, offsets))


def _check_characters(
    text: NDArray[np.uint8],
    is_digit: NDArray[np.bool_],
    offsets: Int64s,
    name: Callable[[int], str],
) -> None:
    rest = ~(is_digit | (text == _SPACE))
    if not rest.any():
        return
    rest &= (text < _LOW_BLANK) | (text > _HIGH_BLANK)
    if (bad := np.flatnonzero(rest)).size:
        position = int(bad[0])
        index = int(np.searchsorted(offsets, position, side="right")) - 1
        msg = (
            f"{name(index)}: expected digits and blanks, got {chr(text[position])!r} at character "
            f"{position - int(offsets[index]) + 1}"
        )
        raise LabelFormatError(msg)


def _read_numbers(
    text: NDArray[np.uint8],
    ends: Int64s,
    widths: Int64s,
    offsets: Int64s,
    name: Callable[[int], str],
) -> Int64s:
    """Values of the numbers that end before `ends`, eight digits at a time."""
    if not len(ends):
        return np.empty(0, np.int64)
    if widths.max() > _MAX_DIGITS:
        long = int(np.argmax(widths > _MAX_DIGITS))
        position = int(ends[long] - widths[long])
        index = int(np.searchsorted(offsets, position, side="right")) - 1
        msg = (
            f"{name(index)}: a number of more than {_MAX_DIGITS} digits at character "
            f"{position - int(offsets[index]) + 1}: no volume is that large"
        )
        raise LabelFormatError(msg)
    padded = np.empty(len(text) + 16, np.uint8)
    padded[:16] = _ZERO
    padded[16:] = text
    eights = np.ndarray((len(padded) - 7,), np.dtype("<u8"), padded.data, strides=(1,))
    numbers = np.empty(len(ends), np.int64)
    for begin in range(0, len(ends), _BLOCK):
        block = slice(begin, begin + _BLOCK)
        numbers[block] = _read_block(eights, ends[block] + 8, widths[block])
    return numbers


def _read_block(eights: NDArray[np.uint64], index: Int64s, widths: Int64s) -> Int64s:
    """Values of some numbers, few enough for what is made of them to stay in the cache.

    Args:
        eights: The eight bytes that begin at each byte of the text, as one number.
        index: Which of them ends with the number, ascending.
        widths: Digits of each number.
    """
    first = max(int(index[0]) - 16, 0)
    near = np.ascontiguousarray(eights[first : int(index[-1]) + 1])
    index = index - first
    numbers = _eight_digits(near, index, np.minimum(widths, 8))
    for done in (8, 16):
        if (more := np.flatnonzero(widths > done)).size:
            rest = _eight_digits(near, index[more] - done, np.minimum(widths[more] - done, 8))
            numbers[more] += rest * 10**done
    return numbers


def _eight_digits(eights: NDArray[np.uint64], index: Int64s, widths: Int64s) -> Int64s:
    """Values of up to eight ASCII digits each, which end where the eight bytes at `index` end.

    Digits are bytes of one 64-bit word; three multiplications join neighbours two, four and
    eight at a time.
    """
    word = eights.take(index).astype(np.uint64, copy=False)
    word ^= np.uint64(0x3030303030303030)
    word &= _KEEP_LAST[widths]
    for factor, shift, mask in (
        (10, 8, 0x00FF00FF00FF00FF),
        (100, 16, 0x0000FFFF0000FFFF),
        (10000, 32, 0x00000000FFFFFFFF),
    ):
        low = word >> np.uint64(shift)
        word *= np.uint64(factor)
        word += low
        word &= np.uint64(mask)
    return word.view(np.int64)


def _fail_bounds(
    starts: Int64s, lengths: Int64s, owners: Int64s, size: int, name: Callable[[int], str]
) -> NoReturn:
    run = int(np.argmax((starts < 0) | (lengths < 1) | (starts > size - lengths)))
    owner = int(owners[run])
    position = run - int(np.searchsorted(owners, owner)) + 1
    msg = (
        f"{name(owner)}: run {position} is {starts[run] + 1} {lengths[run]}; expected a start "
        f"from 1, a length of at least 1, and an end within the {size} voxels of the array"
    )
    raise LabelFormatError(msg)


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
