"""`geometry`: mirrored indices against np.pad, offsets, and the range of corners."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from _platelet_em.errors import ArgumentError
from _platelet_em.training.geometry import VolumeExtent, WindowGeometry, reflect


@given(st.integers(1, 9), st.integers(0, 40), st.integers(0, 40))
def test_reflect_reads_what_numpy_pads(size, before, after):
    array = np.arange(size) * 3
    padded = np.pad(array, (before, after), mode="reflect")
    assert np.array_equal(array[reflect(-before, before + size + after, size)], padded)


@given(st.integers(1, 9), st.integers(-30, 30), st.integers(1, 30))
def test_reflect_of_a_shorter_range_is_part_of_a_longer_one(size, begin, length):
    wide = reflect(-40, 120, size)
    assert np.array_equal(reflect(begin, length, size), wide[begin + 40 :][:length])


def test_windows_of_slices_have_depth_one():
    geometry = WindowGeometry.of((7, 8), None, "reflect")
    assert geometry == WindowGeometry((1, 7, 8), (1, 7, 8), "reflect")
    geometry = WindowGeometry.of((3, 7, 8), (2, 2, 3), None)
    assert geometry == WindowGeometry((3, 7, 8), (2, 2, 3), None)


def test_offset_rounds_down():
    assert WindowGeometry.of((5, 572, 3), (2, 388, 3), None).offset == (1, 92, 0)


def test_corner_range_with_and_without_padding():
    volume = VolumeExtent("50", (5, 6, 20))
    padded = WindowGeometry.of((4, 8, 9), (2, 8, 4), "reflect")
    assert padded.corner_range(volume) == [(0, 3), (-1, -1), (0, 16)]
    margin = WindowGeometry.of((5, 6, 9), (2, 6, 4), "margin")
    assert margin.corner_range(volume) == [(0, 3), (0, 0), (0, 16)]
    inner = WindowGeometry.of((4, 6, 9), (2, 3, 4), None)
    assert inner.corner_range(volume) == [(1, 2), (1, 1), (2, 13)]


@pytest.mark.parametrize("pad", ["margin", None])
def test_a_window_larger_than_the_volume_needs_reflection(pad):
    geometry = WindowGeometry.of((1, 7, 1), (1, 2, 1), pad)
    message = r"volume 50: an image window of 7 does not fit into 6 voxels along y; .*'reflect'"
    with pytest.raises(ArgumentError, match=message):
        geometry.corner_range(VolumeExtent("50", (5, 6, 20)))
