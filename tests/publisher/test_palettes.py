import colorsys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support import publisher

from _platelet_em.errors import ConversionError
from _platelet_em.limits import MAX_ID
from _platelet_em.publisher.palettes import PALETTES, display_colors, distinct_colors

id_arrays = hnp.arrays(
    np.int32, hnp.array_shapes(min_dims=0, max_dims=3, max_side=5), elements=st.integers(0, MAX_ID)
)


def test_palettes_are_those_that_the_publisher_wrote():
    assert {name: colors.tolist() for name, colors in PALETTES.items()} == {
        "A": [list(color) for color in publisher.OLD],
        "B": [list(color) for color in publisher.JET],
    }


@pytest.mark.parametrize("name", ["A", "B"])
def test_palettes_cannot_be_changed(name):
    assert PALETTES[name].dtype == np.uint8
    with pytest.raises(ValueError, match="read-only"):
        PALETTES[name][0] = 1


@pytest.mark.parametrize("start", [0, 2**16 - 1_000, 2**23, 2**24 - 200_000])
def test_no_two_ids_share_a_distinct_colour(start):
    ids = np.arange(start, min(start + 200_000, 2**24))
    colors = distinct_colors(ids)
    assert (colors.shape, colors.dtype) == ((len(ids), 3), np.uint8)
    codes = colors.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    assert len(np.unique(codes)) == len(ids)
    assert (codes == 0).tolist() == (ids == 0).tolist()


@given(ids=st.lists(st.integers(0, 2**24 - 1), min_size=2, unique=True))
def test_distinct_colours_are_distinct_wherever_the_ids_lie(ids):
    colors = distinct_colors(np.array(ids, np.int32))
    assert len(set(map(tuple, colors.tolist()))) == len(ids)


def test_a_distinct_colour_is_a_multiple_modulo_two_to_the_24():
    for label in (1, 2, 400, 2**24 - 1):
        code = label * 0x9E3779 % 2**24
        expected = [code // 65_536, code // 256 % 256, code % 256]
        assert distinct_colors(np.array([label])).tolist() == [expected]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint32])
def test_the_integer_type_of_ids_does_not_matter(dtype):
    ids = np.array([0, 3, 100])
    assert distinct_colors(ids.astype(dtype)).tolist() == distinct_colors(ids).tolist()
    assert display_colors(ids.astype(dtype)).tolist() == display_colors(ids).tolist()


def test_an_id_beyond_24_bits_is_refused():
    with pytest.raises(
        ConversionError, match=r"^id 16777216 has no colour of its own: .*tells 1677"
    ):
        distinct_colors(np.array([5, 2**24]))
    assert distinct_colors(np.array([2**24 - 1])).any()


@given(ids=id_arrays)
def test_ids_for_the_eye_are_bright_and_background_is_black(ids):
    colors = display_colors(ids)
    assert (colors.shape, colors.dtype) == ((*ids.shape, 3), np.uint8)
    luminance = colors @ np.array([0.2126, 0.7152, 0.0722])
    assert (colors[ids == 0] == 0).all()
    assert (luminance[ids > 0] > 0.41 * 255).all()


@given(ids=id_arrays)
def test_an_id_has_one_colour_for_the_eye_wherever_it_is(ids):
    alone = [display_colors(np.array(label)).tolist() for label in ids.ravel().tolist()]
    assert display_colors(ids).reshape(-1, 3).tolist() == alone


def test_neighbouring_ids_look_different():
    colors = display_colors(np.arange(1, 500)).astype(int)
    for step in (1, 2, 3):
        difference = np.abs(colors[step:] - colors[:-step]).sum(axis=1)
        assert difference.min() > 40


def test_colours_for_the_eye_are_those_of_the_hsv_wheel_where_they_are_bright_enough():
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
