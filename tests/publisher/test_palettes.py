"""Palettes of the publisher, colors for ids, and colors packed into one number."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support import publisher

from _platelet_em.errors import ConversionError
from _platelet_em.facts import PUBLISHED
from _platelet_em.publisher.palettes import (
    class_palette,
    class_palettes,
    distinct_colors,
    pack_colors,
    unpack_colors,
)
from _platelet_em.spec import DatasetSpec, SemanticClass


def test_palettes_are_those_that_the_publisher_wrote():
    assert {name: colors.tolist() for name, colors in class_palettes(PUBLISHED).items()} == {
        "A": [list(color) for color in publisher.OLD],
        "B": [list(color) for color in publisher.JET],
    }


def test_the_first_palette_is_that_of_pictures():
    palette = class_palette(PUBLISHED)
    assert palette.dtype == np.uint8
    assert palette.tolist() == [list(color) for color in publisher.OLD]


def test_a_changed_palette_is_not_seen_by_others():
    class_palette(PUBLISHED)[0] = 1
    assert class_palette(PUBLISHED)[0].tolist() == [0, 0, 0]


def test_palettes_of_another_dataset_have_its_classes():
    classes = (
        SemanticClass(name="background", colors=((0, 0, 0),)),
        SemanticClass(name="glia", colors=((0, 255, 0),)),
    )
    spec = dataclasses.replace(PUBLISHED, palettes=("only",), classes=classes)
    assert class_palettes(spec)["only"].tolist() == [[0, 0, 0], [0, 255, 0]]


@pytest.mark.parametrize("start", [0, 2**16 - 1_000, 2**23, 2**24 - 200_000])
def test_no_two_ids_share_a_color(start):
    ids = np.arange(start, min(start + 200_000, 2**24))
    colors = distinct_colors(ids)
    assert (colors.shape, colors.dtype) == ((len(ids), 3), np.uint8)
    codes = colors.astype(np.int64) @ np.array([1 << 16, 1 << 8, 1])
    assert len(np.unique(codes)) == len(ids)
    assert (codes == 0).tolist() == (ids == 0).tolist()


@given(ids=st.lists(st.integers(0, 2**24 - 1), min_size=2, unique=True))
def test_any_ids_have_different_colors(ids):
    colors = distinct_colors(np.array(ids, np.int32))
    assert len(set(map(tuple, colors.tolist()))) == len(ids)


def test_a_color_is_a_multiple_of_the_id_modulo_two_to_the_24():
    for label in (1, 2, 400, 2**24 - 1):
        code = label * 0x9E3779 % 2**24
        expected = [code // 65_536, code // 256 % 256, code % 256]
        assert distinct_colors(np.array([label])).tolist() == [expected]


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int32, np.uint32])
def test_the_dtype_of_ids_does_not_matter(dtype):
    ids = np.array([0, 3, 100])
    assert distinct_colors(ids.astype(dtype)).tolist() == distinct_colors(ids).tolist()


def test_an_id_beyond_24_bits_is_refused():
    with pytest.raises(
        ConversionError, match=r"^id 16777216 has no color of its own: .*distinguishes 1677"
    ):
        distinct_colors(np.array([5, 2**24]))
    assert distinct_colors(np.array([2**24 - 1])).any()


def test_colors_are_packed_in_the_documented_bits():
    page = np.array([[[1, 2, 3], [0, 0, 0], [0xFFFF, 0, 0x0100]]], np.uint16)
    assert pack_colors(page).tolist() == [[0x1_0002_0003, 0, 0xFFFF_0000_0100]]


def test_transparent_pixels_are_zero_and_alpha_is_not_packed():
    page = np.array([[[1, 2, 3, 0], [1, 2, 3, 255], [1, 2, 3, 1], [0, 0, 0, 255]]], np.uint8)
    assert pack_colors(page).tolist() == [[0, 0x1_0002_0003, 0x1_0002_0003, 0]]


@given(
    hnp.arrays(
        st.sampled_from([np.uint8, np.uint16]),
        st.tuples(st.integers(0, 4), st.integers(0, 4), st.just(3)),
        fill=st.nothing(),
    )
)
def test_packed_colors_are_unpacked(page):
    codes = pack_colors(page)
    assert codes.dtype == np.uint64
    assert codes.shape == page.shape[:2]
    found = unpack_colors(codes.ravel())
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, page.reshape(-1, 3))


def test_classes_without_colors_get_different_ones():
    spec = DatasetSpec(name="many", classes=tuple(SemanticClass(name=str(i)) for i in range(256)))
    colors = class_palette(spec)
    assert colors.shape == (256, 3)
    assert len(np.unique(colors, axis=0)) == 256
    assert colors[0].tolist() == [0, 0, 0]
