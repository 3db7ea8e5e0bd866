import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from _platelet_em.arrays.kernels import (
    expand_ranges,
    fill_runs,
    pick_last_owners,
    read_numbers,
    value_runs,
    write_numbers,
)

CHUNK = 1 << 21
"""Elements that `value_runs` compares at a time."""


def int64s(values):
    return np.array(values, np.int64)


# --- value_runs -------------------------------------------------------------------------------


def test_value_runs_include_zeros():
    starts, stops, values = value_runs(np.array([0, 0, 7, 7, 7, 0], np.uint8))
    assert (starts.tolist(), stops.tolist(), values.tolist()) == ([0, 2, 5], [2, 5, 6], [0, 7, 0])
    assert values.dtype == np.uint8


def test_an_empty_array_has_no_value_runs():
    assert [a.tolist() for a in value_runs(np.empty(0, np.uint8))] == [[], [], []]


@pytest.mark.parametrize("extra", [-1, 0, 1, 2])
def test_runs_continue_over_the_chunks_of_a_large_array(extra):
    flat = np.zeros(2 * CHUNK + extra, np.uint8)
    flat[CHUNK - 2 : CHUNK + 3] = 4
    flat[2 * CHUNK - 1 :] = 9
    starts, stops, values = value_runs(flat)
    expected = [(0, 0), (CHUNK - 2, 4), (CHUNK + 3, 0)]
    expected += [(2 * CHUNK - 1, 9)] if extra >= 0 else []
    assert list(zip(starts.tolist(), values.tolist(), strict=True)) == expected
    assert stops.tolist() == [*starts[1:].tolist(), len(flat)]


@pytest.mark.parametrize("change", [CHUNK - 1, CHUNK, CHUNK + 1])
def test_a_change_at_the_edge_of_a_chunk_is_found(change):
    flat = np.zeros(CHUNK + 2, np.uint8)
    flat[change:] = 1
    assert value_runs(flat)[0].tolist() == [0, change]


# --- fill_runs, expand_ranges -----------------------------------------------------------------


@given(values=st.lists(st.integers(0, 3), max_size=12))
def test_an_array_is_filled_from_its_runs(values):
    flat = np.array(values, np.int32)
    starts, stops, found = value_runs(flat)
    foreground = found != 0
    filled = fill_runs(
        starts[foreground], stops[foreground], found[foreground], len(flat), np.uint16
    )
    assert filled.dtype == np.uint16
    assert filled.tolist() == values


@given(ranges=st.lists(st.tuples(st.integers(0, 9), st.integers(0, 4)), max_size=6))
def test_ranges_are_expanded_to_all_their_pairs(ranges):
    low = int64s([begin for begin, _ in ranges])
    high = int64s([begin + count for begin, count in ranges])
    rows, index = expand_ranges(low, high)
    expected = [(i, j) for i, (begin, n) in enumerate(ranges) for j in range(begin, begin + n)]
    assert list(zip(rows.tolist(), index.tolist(), strict=True)) == expected


# --- pick_last_owners -------------------------------------------------------------------------


def test_the_highest_owner_of_each_stretch_is_that_of_the_worked_example():
    found = pick_last_owners(int64s([0, 2]), int64s([8, 5]), int64s([0, 1]))
    assert [a.tolist() for a in found] == [[0, 2, 5], [2, 5, 8], [0, 1, 0]]


@given(
    runs=st.lists(
        st.tuples(st.integers(0, 60), st.integers(1, 70), st.integers(0, 9)),
        min_size=1,
        max_size=30,
    )
)
def test_each_voxel_gets_the_highest_owner_that_covers_it(runs):
    dense = np.full(130, -1)
    for start, length, owner in sorted(runs, key=lambda run: run[2]):
        dense[start : start + length] = owner
    starts, lengths, owners = int64s(runs).T
    starts, stops, owners = pick_last_owners(starts, starts + lengths, owners)
    assert (starts[1:] >= stops[:-1]).all()
    assert (stops > starts).all()
    np.testing.assert_array_equal(fill_runs(starts, stops, owners + 1, 130, int), dense + 1)


# --- read_numbers, write_numbers --------------------------------------------------------------


@given(numbers=st.lists(st.integers(0, 10**18 - 1), max_size=9))
def test_numbers_are_read_as_they_were_written(numbers):
    text, ends = write_numbers(int64s(numbers))
    assert text.tobytes() == b"".join(b"%d " % number for number in numbers)
    widths = int64s([len(str(number)) for number in numbers])
    assert ends.tolist() == np.cumsum(widths + 1).tolist()
    read = read_numbers(text, ends - 2, widths)
    assert read.dtype == np.int64
    assert read.tolist() == numbers


def test_numbers_need_no_blank_between_them():
    text = np.frombuffer(b"123456789", np.uint8)
    read = read_numbers(text, int64s([4, 5, 8]), int64s([5, 1, 3]))
    assert read.tolist() == [12345, 6, 789]
