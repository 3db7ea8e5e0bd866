"""Parts of pictures of one slice: contrast, contours, previews, PNG."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image
from skimage.segmentation import find_boundaries
from support.color_vision import DEFICIENCIES, differences
from support.slices import (
    CLASS_COLORS,
    GAP,
    PALETTE,
    colors_of,
    draw_panels,
    draw_preview,
    make_slice,
    preview_panel,
)

from _platelet_em.arrays.colors import ID_COLORS, color_ids
from _platelet_em.errors import ImageFormatError
from _platelet_em.facts import PUBLISHED
from _platelet_em.limits import MAX_ID
from _platelet_em.publisher.palettes import class_palette
from _platelet_em.rows import picture
from _platelet_em.rows.picture import class_colors, contours, stretch, to_png

SMALL_SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)


# colors of classes


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_classes_are_told_apart_by_all_eyes(deficiency):
    assert differences(PALETTE, deficiency).min() > 25
    grays = [[gray] * 3 for gray in range(40, 226, 5)]
    assert differences([*PALETTE, *grays], deficiency)[1 : len(PALETTE), len(PALETTE) :].min() > 15


def test_the_oracle_finds_the_yellows_of_the_publisher():
    assert differences(class_palette(PUBLISHED), "none").min() > 25
    assert differences(class_palette(PUBLISHED), "deuteranopia")[3, 4] < 5


def test_the_publishers_colors_are_there_on_request():
    np.testing.assert_array_equal(class_colors(PUBLISHED, "publisher"), class_palette(PUBLISHED))


# stretch


def test_stretch_maps_the_percentiles_to_black_and_white():
    image = np.arange(1001, dtype=np.uint16).reshape(7, 143)
    gray = stretch(image, 10, 90)
    assert gray.dtype == np.uint8
    assert gray.shape == image.shape
    assert (gray[image <= 100] == 0).all()
    assert (gray[image >= 900] == 255).all()
    assert gray[image == 300].tolist() == [64]
    assert (gray[(image > 110) & (image < 890)] % 255 > 0).all()


def test_stretch_uses_the_whole_range_of_uint16():
    assert stretch(np.array([[0, 65535]], np.uint16), 0, 100).tolist() == [[0, 255]]


@settings(deadline=None)
@given(hnp.arrays(np.uint16, SMALL_SHAPES), st.floats(0, 49), st.floats(51, 100))
def test_stretch_is_monotone_and_leaves_its_input_alone(image, low, high):
    before = image.copy()
    gray = stretch(image, low, high).ravel()[np.argsort(image, axis=None, kind="stable")]
    assert (np.diff(gray.astype(int)) >= 0).all()
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize("value", [0, 1234, 65535])
def test_a_flat_image_becomes_mid_gray(value):
    assert (stretch(np.full((3, 4), value, np.uint16)) == 128).all()


def test_values_beyond_equal_percentiles_keep_their_order():
    image = np.full((50, 50), 700, np.uint16)
    image[0, 0], image[0, 1] = 699, 701
    assert stretch(image)[0, :3].tolist() == [0, 255, 128]


@pytest.mark.parametrize(("low", "high"), [(60, 40), (50, 50), (-1, 99), (1, 101)])
def test_percentiles_out_of_order_are_refused(low, high):
    with pytest.raises(ImageFormatError, match=f"but got {low} and {high}"):
        stretch(np.zeros((2, 2), np.uint16), low, high)


def test_an_image_without_pixels_is_refused():
    with pytest.raises(ImageFormatError, match=r"at least one pixel, but got shape \(0, 5\)"):
        stretch(np.zeros((0, 5), np.uint16))


# contours


@settings(deadline=None)
@given(hnp.arrays(np.int32, SMALL_SHAPES, elements=st.integers(0, 3)))
def test_contours_are_the_inner_boundaries_of_skimage(labels):
    expected = find_boundaries(labels, connectivity=1, mode="inner", background=0)
    found = contours(labels)
    assert found.dtype == np.bool_
    np.testing.assert_array_equal(found, expected)


def test_the_image_border_is_no_boundary():
    assert not contours(np.full((4, 5), 9, np.int32)).any()


def test_contours_tell_the_largest_ids_apart():
    labels = np.array([[MAX_ID, MAX_ID, MAX_ID - 1, MAX_ID - 1]], np.int32)
    assert contours(labels).tolist() == [[False, True, True, False]]


# draw_preview


@pytest.mark.parametrize(
    ("shape", "width", "height"),
    [
        ((40, 60), 30, 20),
        ((40, 60), 60, 40),
        ((40, 60), 120, 80),
        ((1, 1), 256, 256),
        ((1, 500), 50, 1),
        ((500, 1), 50, 200),
        ((3, 7), 1, 1),
    ],
)
def test_a_preview_has_four_panels_of_the_asked_width(shape, width, height):
    rgb = draw_preview(*make_slice(shape), width=width)
    assert rgb.dtype == np.uint8
    assert rgb.shape == (height, 4 * width + 3 * GAP, 3)


def test_a_slice_too_tall_stands_in_the_middle_of_its_panel():
    rgb = draw_preview(*make_slice((500, 1)), width=50)
    cells = preview_panel(rgb, 2, 50)
    filled = (cells != 255).any(axis=(0, 2))
    assert np.flatnonzero(filled).tolist() == [24]


def test_a_preview_at_full_resolution_shows_every_label_exactly():
    image, semantic, cells, organelles = make_slice()
    rgb = draw_preview(image, semantic, cells, organelles, width=60)
    np.testing.assert_array_equal(preview_panel(rgb, 1, 60), PALETTE[semantic])
    np.testing.assert_array_equal(preview_panel(rgb, 2, 60), color_ids(cells))
    found = preview_panel(rgb, 3, 60)[organelles > 0]
    np.testing.assert_array_equal(found, color_ids(organelles)[organelles > 0])


def test_contours_on_the_image_fit_the_instances_and_cells_are_thicker():
    image, semantic, cells, organelles = make_slice()
    framed = preview_panel(draw_preview(image, semantic, cells, organelles, width=60), 0, 60)
    gray = np.repeat(stretch(image)[..., None], 3, axis=-1)
    drawn = (framed != gray).any(axis=-1)
    organelle_edge, cell_edge = contours(organelles), contours(cells)
    assert (framed[organelle_edge] == CLASS_COLORS[3]).all()
    assert (framed[cell_edge] == CLASS_COLORS[1]).all()
    second_ring = contours(np.where(cell_edge, 0, cells))
    assert (framed[second_ring] == CLASS_COLORS[1]).all()
    np.testing.assert_array_equal(drawn, organelle_edge | cell_edge | second_ring)


def test_contours_stay_closed_when_the_slice_is_scaled_down():
    cells = np.zeros((400, 400), np.int32)
    cells[101:300, 101:300] = 1
    nothing = np.zeros((400, 400), np.int32)
    slice_ = (np.zeros((400, 400), np.uint16), cells.astype(np.uint8), cells, nothing)
    rgb = draw_preview(*slice_, width=20)
    blue = (preview_panel(rgb, 0, 20) == CLASS_COLORS[1]).all(axis=-1)
    shown = (preview_panel(rgb, 2, 20) != 0).any(axis=-1)
    assert shown.any()
    assert blue[contours(shown.astype(np.int32))].all()


@pytest.mark.parametrize("width", [7, 23, 60, 200])
def test_scaling_invents_no_label_color(width):
    slice_ = make_slice(cell=5, organelle=6)
    rgb = draw_preview(*slice_, width=width)
    black = (0, 0, 0)
    cell, organelle = (tuple(c) for c in ID_COLORS[[5, 6]].tolist())
    shade = (picture._PARENT_SHADE,) * 3
    classes = {CLASS_COLORS[index] for index in (0, 1, 3)}
    assert colors_of(preview_panel(rgb, 1, width)) == classes
    assert colors_of(preview_panel(rgb, 2, width)) == {black, cell}
    assert colors_of(preview_panel(rgb, 3, width)) == {black, shade, organelle}


def test_labels_scaled_down_are_those_at_the_middle_of_each_pixel():
    nothing = np.zeros((3, 9), np.int32)
    semantic = np.zeros((3, 9), np.uint8)
    semantic[1, 1::3] = 2, 3, 4
    rgb = draw_preview(np.zeros((3, 9), np.uint16), semantic, nothing, nothing, width=3)
    expected = [CLASS_COLORS[index] for index in (2, 3, 4)]
    assert [tuple(c) for c in preview_panel(rgb, 1, 3)[0].tolist()] == expected


def test_an_enlarged_image_keeps_square_pixels():
    nothing = np.zeros((1, 2), np.int32)
    image = np.array([[0, 65535]], np.uint16)
    rgb = draw_preview(image, nothing.astype(np.uint8), nothing, nothing, width=8)
    assert preview_panel(rgb, 0, 8)[0, :, 0].tolist() == [0] * 4 + [255] * 4


def test_an_id_keeps_its_color_from_slice_to_slice():
    first, second = make_slice((40, 60), cell=17), make_slice((20, 24), cell=17)
    second[2][0, 0] = 4
    color = tuple(ID_COLORS[17 % 8].tolist())
    panels = [preview_panel(draw_preview(*s, width=60), 2, 60) for s in (first, second)]
    assert all(color in colors_of(panel) for panel in panels)


def test_ids_up_to_the_largest_are_drawn():
    slice_ = make_slice(cell=MAX_ID, organelle=MAX_ID - 1)
    rgb = draw_preview(*slice_, width=60)
    expected = ID_COLORS[[MAX_ID % 8, (MAX_ID - 1) % 8]].tolist()
    assert tuple(expected[0]) in colors_of(preview_panel(rgb, 2, 60))
    assert tuple(expected[1]) in colors_of(preview_panel(rgb, 3, 60))


def test_slices_without_labels_are_drawn():
    empty = np.zeros((8, 8), np.int32)
    rgb = draw_preview(np.zeros((8, 8), np.uint16), empty.astype(np.uint8), empty, empty, width=8)
    assert colors_of(preview_panel(rgb, 0, 8)) == {(128, 128, 128)}
    assert all(colors_of(preview_panel(rgb, i, 8)) == {(0, 0, 0)} for i in (1, 2, 3))


# inputs


@pytest.mark.parametrize("draw", [draw_preview, draw_panels])
@pytest.mark.parametrize(("position", "name"), [(1, "semantic"), (2, "cells"), (3, "organelles")])
def test_shapes_that_differ_are_refused(draw, position, name):
    slice_ = list(make_slice())
    slice_[position] = slice_[position][:-1]
    with pytest.raises(ImageFormatError, match=rf"{name} .* \(40, 60\), but got \(39, 60\)"):
        draw(*slice_)


@pytest.mark.parametrize("draw", [draw_preview, draw_panels])
@pytest.mark.parametrize("shape", [(0, 4), (4, 0), (4,), (2, 4, 4)])
def test_images_that_are_no_slice_are_refused(draw, shape):
    arrays = (np.zeros(shape, dtype) for dtype in (np.uint16, np.uint8, np.int32, np.int32))
    with pytest.raises(ImageFormatError, match=r"image should be \(y, x\) .* but got shape"):
        draw(*arrays)


@pytest.mark.parametrize("draw", [draw_preview, draw_panels])
@pytest.mark.parametrize(("dtype", "odd"), [(np.uint8, 7), (np.uint8, 255), (np.int8, -1)])
def test_classes_that_do_not_exist_are_refused(draw, dtype, odd):
    image, semantic, cells, organelles = make_slice()
    semantic = semantic.astype(dtype)
    semantic[2, 3] = odd
    with pytest.raises(ImageFormatError, match=rf"classes 0\.\.6, but got {odd}$"):
        draw(image, semantic, cells, organelles)


@pytest.mark.parametrize("draw", [draw_preview, draw_panels])
def test_a_width_below_one_pixel_is_refused(draw):
    with pytest.raises(ImageFormatError, match="width should be at least 1 px, but got 0"):
        draw(*make_slice(), width=0)


# to_png


@settings(deadline=None)
@given(
    hnp.arrays(
        np.uint8, st.tuples(st.integers(1, 6), st.integers(1, 6), st.just(3)), fill=st.nothing()
    )
)
def test_png_round_trip(rgb):
    data = to_png(rgb)
    with Image.open(io.BytesIO(data)) as file:
        assert (file.format, file.mode) == ("PNG", "RGB")
        np.testing.assert_array_equal(np.asarray(file), rgb)


def test_the_same_slice_gives_the_same_bytes():
    first, second = (to_png(draw_panels(*make_slice(), title="z = 0")) for _ in range(2))
    assert first == second


def test_png_takes_views_that_are_not_contiguous():
    rgb = draw_preview(*make_slice(), width=60)[::-1, ::2]
    with Image.open(io.BytesIO(to_png(rgb))) as file:
        np.testing.assert_array_equal(np.asarray(file), rgb)


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [(np.uint16, (2, 2, 3)), (np.uint8, (2, 2)), (np.uint8, (2, 2, 4)), (np.uint8, (0, 2, 3))],
)
def test_png_refuses_what_is_no_picture(dtype, shape):
    with pytest.raises(ImageFormatError, match=r"uint8 \(y, x, 3\), but got uint"):
        to_png(np.zeros(shape, dtype))
