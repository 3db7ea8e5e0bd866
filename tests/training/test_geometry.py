"""Frames: mirrored indices against np.pad, and where a window has room."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from _platelet_em.errors import ArgumentError
from _platelet_em.training.geometry import Frame, Target, reflect


@given(st.integers(1, 9), st.integers(0, 40), st.integers(0, 40))
def test_reflect_reads_what_numpy_pads(size, before, after):
    array = np.arange(size) * 3
    padded = np.pad(array, (before, after), mode="reflect")
    assert np.array_equal(array[reflect(-before, before + size + after, size)], padded)


@given(st.integers(1, 9), st.integers(-30, 30), st.integers(1, 30))
def test_reflect_is_a_part_of_a_wider_one(size, begin, length):
    wide = reflect(-40, 120, size)
    assert np.array_equal(reflect(begin, length, size), wide[begin + 40 :][:length])


def test_planes_are_windows_of_depth_one():
    assert Frame.of((7, 8), None, "reflect") == Frame((1, 7, 8), (1, 7, 8), is_padded=True)
    assert Frame.of((3, 7, 8), (2, 2, 3), None) == Frame((3, 7, 8), (2, 2, 3), is_padded=False)


def test_offset_rounds_down():
    assert Frame.of((5, 572, 3), (2, 388, 3), None).offset == (1, 92, 0)


def test_room_of_padded_and_of_inner_windows():
    target = Target("50", (5, 6, 20))
    assert Frame.of((4, 8, 9), (2, 8, 4), "reflect").room(target) == [(0, 3), (-1, -1), (0, 16)]
    assert Frame.of((4, 6, 9), (2, 3, 4), None).room(target) == [(1, 2), (1, 1), (2, 13)]


def test_no_room_without_padding():
    with pytest.raises(
        ArgumentError, match=r"volume 50: an image window of 7 .* 6 voxels along y"
    ):
        Frame.of((1, 7, 1), None, None).room(Target("50", (5, 6, 20)))
