"""Colors of ids in pictures: bright, different for close ids, and the same in every slice."""

import colorsys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from _platelet_em.limits import MAX_ID
from _platelet_em.rows.picture import display_colors

id_arrays = hnp.arrays(
    np.int32, hnp.array_shapes(min_dims=0, max_dims=3, max_side=5), elements=st.integers(0, MAX_ID)
)


@given(ids=id_arrays)
def test_colors_of_ids_are_bright_and_background_is_black(ids):
    colors = display_colors(ids)
    assert (colors.shape, colors.dtype) == ((*ids.shape, 3), np.uint8)
    luminance = colors @ np.array([0.2126, 0.7152, 0.0722])
    assert (colors[ids == 0] == 0).all()
    assert (luminance[ids > 0] > 0.41 * 255).all()


@given(ids=id_arrays)
def test_an_id_has_the_same_color_in_every_array(ids):
    alone = [display_colors(np.array(label)).tolist() for label in ids.ravel().tolist()]
    assert display_colors(ids).reshape(-1, 3).tolist() == alone


def test_neighboring_ids_look_different():
    colors = display_colors(np.arange(1, 500)).astype(int)
    for step in (1, 2, 3):
        difference = np.abs(colors[step:] - colors[:-step]).sum(axis=1)
        assert difference.min() > 40


def test_colors_that_are_bright_enough_are_those_of_the_hsv_wheel():
    levels = {"saturation": [0.55, 0.85, 0.7], "value": [1.0, 0.85, 0.7]}
    checked = 0
    for label in range(1, 60):
        hue = label * 0.618033988749895 % 1
        saturation, value = levels["saturation"][label % 3], levels["value"][label // 3 % 3]
        rgb = np.array(colorsys.hsv_to_rgb(hue, saturation, value))
        if rgb @ [0.2126, 0.7152, 0.0722] >= 0.42:
            np.testing.assert_allclose(display_colors(np.array(label)), rgb * 255, atol=0.51)
            checked += 1
    assert checked > 20


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint32])
def test_the_dtype_of_ids_does_not_matter(dtype):
    ids = np.array([0, 3, 100])
    assert display_colors(ids.astype(dtype)).tolist() == display_colors(ids).tolist()
