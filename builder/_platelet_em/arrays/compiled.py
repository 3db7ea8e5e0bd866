"""The inner loops of runs and RLE strings, compiled by Numba.

Imported by `kernels.load_compiled` only. Each function converts its arguments and calls a loop,
which releases the GIL. What a function cannot do, such as text that is not canonical, gives None
or False: NumPy's way does it then, or says what is wrong.

Numba compiles them when this module is first imported, in seconds, and keeps the result on disk:
beside this file, or in the user's cache where that folder cannot be written. All loops are in one
file because that cache notices changes of a loop's own file only, not of what it calls.
"""

import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
from numba import types
from numpy.typing import NDArray

from _platelet_em.arrays.kernels import Bytes, Int64s

__all__ = [
    "cut_window",
    "find_changes",
    "paint_runs",
    "paint_text",
    "paint_window",
    "parse_text",
    "sort_runs",
    "write_text",
]

Int32s = NDArray[np.int32]

_SMALL_BLOCK = 8
_BLOCK = 32
"""Elements that are written at a time, so that the processor guesses where most runs end. What is
written beyond a run is written again by the next one."""

_MOST_IN_BUCKET = 64
"""Runs that are sorted by insertion, at most."""

_MAX_DIGITS = 18
_START_DIGITS, _LENGTH_DIGITS = 8, 4
"""Digits of almost all starts and lengths."""

_LOOK_AHEAD = _START_DIGITS + 1 + _LENGTH_DIGITS + 1
_SPACE, _ZERO = 32, 48

_log = logging.getLogger(__name__)

_NEW_BYTES = types.Array(types.uint8, 1, "C")
_NEW_INT32S = types.Array(types.int32, 1, "C")
_NEW_INT64S = types.Array(types.int64, 1, "C")
_BYTES, _INT32S, _INT64S = (
    types.Array(dtype, 1, "C", readonly=True) for dtype in (types.uint8, types.int32, types.int64)
)
_LABEL_DTYPES = (np.uint8, np.uint16, np.uint32, np.int32, np.int64)


@functools.cache
def _name_failure(error: str) -> None:
    _log.warning(
        "Numba's cache cannot be used (%s), so that loops are compiled in each process: delete "
        "the files compiled.*.nb? in %s, or set NUMBA_CACHE_DIR",
        error,
        Path(__file__).parent / "__pycache__",
    )


def _compiled(*signatures: Any) -> Callable[[Callable[..., Any]], Any]:
    """Compile a loop for arguments of these types, or load it from the disk."""

    def compile_loop(loop: Callable[..., Any]) -> Any:
        try:
            return numba.njit(list(signatures), nogil=True, cache=True)(loop)
        # There is no folder for the cache, or no space, or a damaged pickle, which may raise all.
        except Exception as error:  # noqa: BLE001
            _name_failure(str(getattr(error, "strerror", None) or error))
            return numba.njit(list(signatures), nogil=True)(loop)

    return compile_loop


def _as_int64s(*arrays: NDArray[np.integer]) -> tuple[Int64s, ...]:
    """The arrays as the loops take them; others of them are views, or of another dtype."""
    return tuple(np.ascontiguousarray(array, np.int64) for array in arrays)


# --- filling ----------------------------------------------------------------------------------


@numba.njit(inline="always")
def _fill(out: Int32s, begin: int, end: int, value: int) -> None:
    """Write a value from `begin` to `end`."""
    # Unsigned indices are not checked for being negative.
    at, stop = np.uint64(begin), np.uint64(end)
    if end - begin < _SMALL_BLOCK:
        while at < stop:
            out[at] = value
            at += np.uint64(1)
        return
    while at + np.uint64(_SMALL_BLOCK) <= stop:
        for k in range(np.uint64(_SMALL_BLOCK)):
            out[at + k] = value
        at += np.uint64(_SMALL_BLOCK)
    for k in range(np.uint64(_SMALL_BLOCK)):  # overlaps the block before
        out[stop - np.uint64(_SMALL_BLOCK) + k] = value


@numba.njit(inline="always")
def _fill_over(out: Int32s, begin: int, end: int, value: int) -> None:
    """Write a value from `begin` to `end`, and perhaps further, but not beyond the array."""
    at, stop = np.uint64(begin), np.uint64(end)
    if end + _BLOCK <= len(out):
        while at < stop:
            for k in range(np.uint64(_BLOCK)):
                out[at + k] = value
            at += np.uint64(_BLOCK)
    else:
        while at < stop:
            out[at] = value
            at += np.uint64(1)


# --- reading text -----------------------------------------------------------------------------


@numba.njit(inline="always")
def _read_digits(text: Bytes, at: int, most: int) -> tuple[int, int]:
    """The number in the next digits, of which at most `most` are read, and the character after it.

    It always looks at that many characters, and has no jumps that the processor could guess wrong.
    """
    number, width, is_digit = 0, 0, True
    for k in range(most):
        digit = np.int64(np.uint8(text[np.uint64(at + k)] - np.uint8(_ZERO)))
        is_digit = is_digit & (digit < 10)
        number = 10 * number + digit if is_digit else number
        width += is_digit
    return number, at + width


@numba.njit(inline="always")
def _read_number(text: Bytes, at: int, end: int) -> tuple[int, int]:
    """The number that begins at a character, or -1, and the first character after it."""
    number, begin = 0, at
    while at < end:
        digit = np.int64(text[np.uint64(at)]) - _ZERO
        if digit < 0 or digit > 9:
            break
        number = 10 * number + digit
        at += 1
    if at == begin or at - begin > _MAX_DIGITS:
        number = -1
    return number, at


@_compiled(
    types.int64(
        *(_BYTES, types.int64, types.int64, types.int64),
        *(_NEW_INT64S, _NEW_INT64S, types.int64),
    )
)
def _parse_string(
    text: Bytes, at: int, end: int, size: int, starts: Int64s, stops: Int64s, count: int
) -> int:
    """Append the runs of a string to `count` others; their number, or -1 if one is refused."""
    last = len(text) - _LOOK_AHEAD
    while at < end:
        is_read = False
        if at <= last:
            start, space = _read_digits(text, at, _START_DIGITS)
            length, stop = _read_digits(text, space + 1, _LENGTH_DIGITS)
            is_read = (
                (space > at)
                & (text[np.uint64(space)] == _SPACE)
                & (stop > space + 1)
                & ((stop == end) | ((stop < end) & (text[np.uint64(stop)] == _SPACE)))
            )
        if not is_read:
            # Longer numbers, the last run of a string, which the next one follows, or no run.
            start, space = _read_number(text, at, end)
            if start < 1 or space >= end or text[np.uint64(space)] != _SPACE:
                return -1
            length, stop = _read_number(text, space + 1, end)
            if stop < end and text[np.uint64(stop)] != _SPACE:
                return -1
        if start < 1 or length < 1 or start - 1 > size - length:
            return -1
        at = stop + 1
        starts[np.uint64(count)] = start - 1
        stops[np.uint64(count)] = start - 1 + length
        count += 1
    return count


@_compiled(types.boolean(_BYTES, _INT64S, _INT32S, _NEW_INT32S, _NEW_INT64S, _NEW_INT64S))
def _paint_text(
    text: Bytes, offsets: Int64s, ids: Int32s, out: Int32s, starts: Int64s, stops: Int64s
) -> bool:
    for i in range(len(ids)):
        count = _parse_string(text, offsets[i], offsets[i + 1], len(out), starts, stops, 0)
        if count < 0:
            return False
        for k in range(np.uint64(count)):
            _fill(out, starts[k], stops[k], ids[i])
    return True


def paint_text(text: Bytes, offsets: Int64s, ids: Int32s, out: Int32s) -> bool:
    """Paint the runs of RLE strings into a flat array of zeros; later strings win.

    Args:
        text: uint8, the strings one after the other.
        offsets: int64 (n + 1,), ascending, where each string begins and ends in the text.
        ids: int32 (n,), the value of each string.
        out: int32, the array that the strings describe.

    Returns:
        False if a string is not canonical or reaches beyond the array, which is then painted in
        part.
    """
    text = np.ascontiguousarray(text)
    (offsets,) = _as_int64s(offsets)
    longest = int((offsets[1:] - offsets[:-1]).max()) if len(ids) else 0
    # A run has at least four characters, with the space after it.
    starts, stops = (np.empty(longest // 4 + 1, np.int64) for _ in range(2))
    is_canonical: bool = _paint_text(text, offsets, ids, out, starts, stops)
    return is_canonical


@_compiled(types.int64(_BYTES, _INT64S, types.int64, _NEW_INT64S, _NEW_INT64S, _NEW_INT64S))
def _parse_text(
    text: Bytes, offsets: Int64s, size: int, starts: Int64s, stops: Int64s, owners: Int64s
) -> int:
    count = 0
    for i in range(len(offsets) - 1):
        end = _parse_string(text, offsets[i], offsets[i + 1], size, starts, stops, count)
        if end < 0:
            return -1
        owners[count:end] = i
        count = end
    return count


def parse_text(text: Bytes, offsets: Int64s, size: int) -> tuple[Int64s, Int64s, Int64s] | None:
    """Starts, stops and owners of the runs in RLE strings, int64, in their order.

    Args:
        text: uint8, the strings one after the other.
        offsets: int64 (n + 1,), ascending, where each string begins and ends in the text.
        size: Voxels of the array that the strings describe.

    Returns:
        None if a string is not canonical or reaches beyond the array.
    """
    text = np.ascontiguousarray(text)
    # A run has a space in it, and another one after it unless it is the last of its string.
    spaces = np.count_nonzero(text[offsets[0] : offsets[-1]] == _SPACE)
    most = (spaces + len(offsets)) // 2
    starts, stops, owners = (np.empty(most, np.int64) for _ in range(3))
    count = _parse_text(text, *_as_int64s(offsets), size, starts, stops, owners)
    if count < 0:
        return None
    return starts[:count], stops[:count], owners[:count]


# --- sorting ----------------------------------------------------------------------------------


@_compiled(
    types.boolean(
        *(_INT64S, _INT64S, _INT64S, types.int64, types.int64),
        *(_NEW_INT64S, _NEW_INT64S, _NEW_INT64S, _NEW_INT64S, _NEW_INT64S),
    )
)
def _sort_runs(
    starts: Int64s,
    stops: Int64s,
    owners: Int64s,
    shift: int,
    most: int,
    begins: Int64s,
    ends: Int64s,
    new_starts: Int64s,
    new_stops: Int64s,
    new_owners: Int64s,
) -> bool:
    for k in range(len(starts)):
        ends[np.uint64(starts[k] >> shift)] += 1
    total = 0
    for bucket in range(len(ends)):
        if ends[bucket] > most:
            return False
        begins[bucket], total = total, total + ends[bucket]
        ends[bucket] = begins[bucket]
    for k in range(len(starts)):
        bucket = np.uint64(starts[k] >> shift)
        at = ends[bucket]
        ends[bucket] += 1
        # Larger starts of the same bucket move up.
        while at > begins[bucket] and new_starts[at - 1] > starts[k]:
            new_starts[at] = new_starts[at - 1]
            new_stops[at] = new_stops[at - 1]
            new_owners[at] = new_owners[at - 1]
            at -= 1
        new_starts[at] = starts[k]
        new_stops[at] = stops[k]
        new_owners[at] = owners[k]
    return True


def sort_runs(
    starts: Int64s, stops: Int64s, owners: Int64s
) -> tuple[Int64s, Int64s, Int64s] | None:
    """Starts, stops and owners in the order of starts; those of one start keep their order.

    Runs are put into buckets of neighboring voxels, about as many as there are runs, and sorted
    there by insertion.

    Args:
        starts: int64 (n,), at least one, not negative.
        stops: int64 (n,).
        owners: int64 (n,).

    Returns:
        None if a bucket has many runs, since insertion is slow then.
    """
    starts, stops, owners = _as_int64s(starts, stops, owners)
    last = int(starts.max())
    shift = max(last.bit_length() - len(starts).bit_length(), 0)
    ends = np.zeros((last >> shift) + 1, np.int64)
    begins = np.empty_like(ends)
    new = tuple(np.empty(len(starts), np.int64) for _ in range(3))
    if not _sort_runs(starts, stops, owners, shift, _MOST_IN_BUCKET, begins, ends, *new):
        return None
    new_starts, new_stops, new_owners = new
    return new_starts, new_stops, new_owners


# --- writing text -----------------------------------------------------------------------------


@_compiled(types.int64(_INT64S, _NEW_BYTES, _NEW_INT64S))
def _write_text(numbers: Int64s, text: Bytes, ends: Int64s) -> int:
    at = 0
    for i in range(len(numbers)):
        rest, width = numbers[i] // 10, 1
        while rest:
            rest //= 10
            width += 1
        rest = numbers[i]
        for position in range(at + width - 1, at - 1, -1):
            text[np.uint64(position)] = _ZERO + rest % 10
            rest //= 10
        text[np.uint64(at + width)] = _SPACE
        at += width + 1
        ends[i] = at
    return at


def write_text(numbers: Int64s) -> tuple[Bytes, Int64s]:
    """As `kernels.write_numbers`."""
    (numbers,) = _as_int64s(numbers)
    widest = len(str(int(numbers.max()))) if len(numbers) else 0
    text = np.empty((widest + 1) * len(numbers), np.uint8)
    ends = np.empty(len(numbers), np.int64)
    return text[: _write_text(numbers, text, ends)], ends


# --- painting ---------------------------------------------------------------------------------


@_compiled(types.void(_INT64S, _INT64S, _INT64S, _INT32S, _NEW_INT32S))
def _paint_runs(
    starts: Int64s, stops: Int64s, owners: Int64s, values: Int32s, out: Int32s
) -> None:
    for k in range(len(starts)):
        _fill(out, starts[k], stops[k], values[owners[k]])


def paint_runs(starts: Int64s, stops: Int64s, owners: Int64s, values: Int32s, out: Int32s) -> None:
    """Paint runs into a flat array of zeros.

    Args:
        starts: int64 (n,), of the runs, inside the array.
        stops: int64 (n,).
        owners: int64 (n,), positions in `values`.
        values: int32, the value of each owner.
        out: int32, the array.
    """
    _paint_runs(*_as_int64s(starts, stops, owners), values, out)


# --- windows ---------------------------------------------------------------------------------


@numba.njit(inline="always")
def _find_run(stops: Int64s, begin: int, low: int) -> int:
    """The first run from `low` on that stops after `begin`: by steps that double, then halve.

    Example: from run 3, the runs 3, 4, 6 and 10 are looked at until one of them stops after
    `begin`, say 10; the first one is then found between 7 and 10.
    """
    high, step = low, 1
    while high < len(stops) and stops[np.uint64(high)] <= begin:
        low = high + 1
        high += step
        step *= 2
    high = min(high, len(stops))
    while low < high:
        middle = (low + high) // 2
        if stops[np.uint64(middle)] <= begin:
            low = middle + 1
        else:
            high = middle
    return low


@_compiled(types.void(_INT64S, _INT64S, _INT64S, _INT32S, _INT64S, types.int64, _NEW_INT32S))
def _paint_window(
    starts: Int64s,
    stops: Int64s,
    owners: Int64s,
    values: Int32s,
    begins: Int64s,
    width: int,
    out: Int32s,
) -> None:
    run = 0
    for row in range(len(begins)):
        begin = begins[row]
        end = begin + width
        if row and begin < begins[row - 1]:
            run = 0
        run = _find_run(stops, begin, run)
        shift = row * width - begin
        done = row * width
        k = np.uint64(run)
        while k < np.uint64(len(starts)) and starts[k] < end:
            first = max(starts[k], begin) + shift
            last = min(stops[k], end) + shift
            if done < first:
                _fill_over(out, done, first, 0)
            _fill_over(out, first, last, values[np.uint64(owners[k])])
            done = last
            k += np.uint64(1)
        if done < end + shift:
            _fill_over(out, done, end + shift, 0)


def paint_window(
    starts: Int64s, stops: Int64s, owners: Int64s, values: Int32s, begins: Int64s, width: int
) -> Int32s:
    """Rows of the flat array that runs describe, painted one after the other.

    Args:
        starts: int64 (n,), of the runs, ascending.
        stops: int64 (n,); no run reaches into the next.
        owners: int64 (n,), positions in `values`.
        values: int32, the value of each owner.
        begins: int64 (m,), where each row begins in the flat array.
        width: Elements of each row.

    Returns:
        int32 (m * width,).
    """
    out = np.empty(len(begins) * width, np.int32)
    _paint_window(*_as_int64s(starts, stops, owners), values, begins, width, out)
    return out


@_compiled(types.int64(_INT64S, _INT64S, _INT64S, types.int64, _NEW_INT64S))
def _find_rows(starts: Int64s, stops: Int64s, begins: Int64s, width: int, first: Int64s) -> int:
    run, total = 0, 0
    for row in range(len(begins)):
        if row and begins[row] < begins[row - 1]:
            run = 0
        run = _find_run(stops, begins[row], run)
        first[row] = run
        k = np.uint64(run)
        while k < np.uint64(len(starts)) and starts[k] < begins[row] + width:
            k += np.uint64(1)
            total += 1
    return total


@_compiled(
    types.int64(
        *(_INT64S, _INT64S, _INT64S, _INT64S, types.int64, _INT64S),
        *(_NEW_INT64S, _NEW_INT64S, _NEW_INT64S),
    )
)
def _cut_window(
    starts: Int64s,
    stops: Int64s,
    owners: Int64s,
    begins: Int64s,
    width: int,
    firsts: Int64s,
    new_starts: Int64s,
    new_stops: Int64s,
    new_owners: Int64s,
) -> int:
    count = 0
    for row in range(len(begins)):
        begin = begins[row]
        shift = row * width - begin
        k = np.uint64(firsts[row])
        while k < np.uint64(len(starts)) and starts[k] < begin + width:
            first = max(starts[k], begin) + shift
            last = min(stops[k], begin + width) + shift
            if count and new_stops[count - 1] == first and new_owners[count - 1] == owners[k]:
                new_stops[count - 1] = last
            else:
                new_starts[count] = first
                new_stops[count] = last
                new_owners[count] = owners[k]
                count += 1
            k += np.uint64(1)
    return count


def cut_window(
    starts: Int64s, stops: Int64s, owners: Int64s, begins: Int64s, width: int
) -> tuple[Int64s, Int64s, Int64s]:
    """The runs of rows of the flat array, counted in these rows one after the other.

    Args:
        starts: int64 (n,), of canonical runs.
        stops: int64 (n,).
        owners: int64 (n,).
        begins: int64 (m,), where each row begins in the flat array.
        width: Elements of each row.

    Returns:
        Starts, stops and owners of canonical runs.
    """
    starts, stops, owners = _as_int64s(starts, stops, owners)
    firsts = np.empty(len(begins), np.int64)
    most = _find_rows(starts, stops, begins, width, firsts)
    new = tuple(np.empty(most, np.int64) for _ in range(3))
    count = _cut_window(starts, stops, owners, begins, width, firsts, *new)
    new_starts, new_stops, new_owners = (each[:count] for each in new)
    return new_starts, new_stops, new_owners


# --- runs of an array -------------------------------------------------------------------------


@_compiled(
    *(
        types.int64(types.Array(numba.from_dtype(dtype), 1, "C", readonly=True), _NEW_INT64S)
        for dtype in map(np.dtype, _LABEL_DTYPES)
    )
)
def _find_changes(flat: NDArray[Any], out: Int64s) -> int:
    count = np.uint64(0)
    for i in range(np.uint64(1), np.uint64(len(flat))):
        # Written at each element, and kept where it differs: no jump that can be guessed wrong.
        out[count] = i
        count += np.uint64(flat[i] != flat[i - np.uint64(1)])
    return int(count)


def find_changes(flat: NDArray[Any]) -> Int64s | None:
    """int64: the positions of elements that differ from the one before them.

    Returns:
        None for an array of another dtype than the usual ones of labels, or not contiguous.
    """
    if flat.dtype not in _LABEL_DTYPES or not flat.flags.c_contiguous:
        return None
    out = np.empty(len(flat), np.int64)
    return out[: _find_changes(flat, out)]
