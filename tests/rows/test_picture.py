"""Pictures of one slice: contrast, contours, layout, colors, legend, PNG."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageDraw
from skimage.segmentation import find_boundaries

from _platelet_em.errors import ImageFormatError
from _platelet_em.facts import PUBLISHED
from _platelet_em.limits import MAX_ID
from _platelet_em.publisher.palettes import class_palette
from _platelet_em.rows import picture
from _platelet_em.rows.picture import SliceArrays, contours, display_colors, stretch, to_png

SMALL_SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)
GAP = 4
PALETTE = class_palette(PUBLISHED)
CLASS_COLORS = [tuple(color) for color in PALETTE.tolist()]


def arrays_of(image, semantic, cells, organelles):
    return SliceArrays(image, semantic, {"cells": cells, "organelles": organelles})


def draw_preview(*slice_, **options):
    return picture.draw_preview(arrays_of(*slice_), PUBLISHED, **options)


def draw_panels(*slice_, **options):
    return picture.draw_panels(arrays_of(*slice_), PUBLISHED, **options)


def make_slice(shape=(40, 60), *, cell=3, organelle=8):
    """One cell over most of the slice, one alpha granule in it, and a gradient as image."""
    image = np.linspace(0, 65535, np.prod(shape)).astype(np.uint16).reshape(shape)
    cells, organelles = np.zeros(shape, np.int32), np.zeros(shape, np.int32)
    y, x = shape
    cells[y // 8 : y - y // 8, x // 8 : x - x // 8] = cell
    organelles[y // 4 : y // 2, x // 4 : x // 2] = organelle
    semantic = np.where(organelles > 0, 3, np.where(cells > 0, 1, 0)).astype(np.uint8)
    return image, semantic, cells, organelles


def preview_panel(rgb, index, width):
    return rgb[:, index * (width + GAP) : index * (width + GAP) + width]


def colors_of(rgb):
    return {tuple(color) for color in rgb.reshape(-1, 3).tolist()}


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
    np.testing.assert_array_equal(preview_panel(rgb, 2, 60), display_colors(cells))
    found = preview_panel(rgb, 3, 60)[organelles > 0]
    np.testing.assert_array_equal(found, display_colors(organelles)[organelles > 0])


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
    cell, organelle = (tuple(c) for c in display_colors(np.array([5, 6])).tolist())
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
    color = tuple(display_colors(np.array([17]))[0].tolist())
    panels = [preview_panel(draw_preview(*s, width=60), 2, 60) for s in (first, second)]
    assert all(color in colors_of(panel) for panel in panels)


def test_ids_up_to_the_largest_are_drawn():
    slice_ = make_slice(cell=MAX_ID, organelle=MAX_ID - 1)
    rgb = draw_preview(*slice_, width=60)
    expected = display_colors(np.array([MAX_ID, MAX_ID - 1])).tolist()
    assert tuple(expected[0]) in colors_of(preview_panel(rgb, 2, 60))
    assert tuple(expected[1]) in colors_of(preview_panel(rgb, 3, 60))


def test_slices_without_labels_are_drawn():
    empty = np.zeros((8, 8), np.int32)
    rgb = draw_preview(np.zeros((8, 8), np.uint16), empty.astype(np.uint8), empty, empty, width=8)
    assert colors_of(preview_panel(rgb, 0, 8)) == {(128, 128, 128)}
    assert all(colors_of(preview_panel(rgb, i, 8)) == {(0, 0, 0)} for i in (1, 2, 3))


# draw_panels


@settings(max_examples=12, deadline=None)
@given(SMALL_SHAPES, st.integers(1, 40), st.data())
def test_tiny_slices_of_any_shape_are_drawn(shape, width, data):
    image = data.draw(hnp.arrays(np.uint16, shape))
    semantic = data.draw(hnp.arrays(np.uint8, shape, elements=st.integers(0, 6)))
    ids = hnp.arrays(np.int32, shape, elements=st.integers(0, MAX_ID))
    cells, organelles = data.draw(ids), data.draw(ids)
    before = [a.copy() for a in (image, semantic, cells, organelles)]
    preview = draw_preview(image, semantic, cells, organelles, width=width)
    figure = draw_panels(image, semantic, cells, organelles, width=width)
    assert preview.shape[1:] == (4 * width + 3 * GAP, 3)
    assert {CLASS_COLORS[i] for i in np.unique(semantic)} <= colors_of(figure)
    for array, copy in zip((image, semantic, cells, organelles), before, strict=True):
        np.testing.assert_array_equal(array, copy)


def find_panel(figure, panel):
    """Top left corners at which the figure holds exactly this panel."""
    high, wide = panel.shape[:2]
    rows, columns = (np.unique(np.linspace(0, n - 1, 12).astype(int)) for n in (high, wide))
    down, right = figure.shape[0] - high + 1, figure.shape[1] - wide + 1
    possible = np.ones((down, right), np.bool_)
    for y in rows:
        for x in columns:
            possible &= (figure[y : y + down, x : x + right] == panel[y, x]).all(axis=-1)
    return [
        (y, x)
        for y, x in np.argwhere(possible).tolist()
        if np.array_equal(figure[y : y + high, x : x + wide], panel)
    ]


@pytest.mark.parametrize(
    ("shape", "across", "down"),
    [((60, 60), True, True), ((160, 40), True, False), ((40, 160), False, True)],
)
def test_the_figure_lays_its_panels_out_by_the_slices_shape(shape, across, down):
    image, semantic, cells, organelles = make_slice(shape)
    figure = draw_panels(image, semantic, cells, organelles, width=shape[1])
    (y, x), *more = find_panel(figure, PALETTE[semantic])
    ((cell_y, cell_x),) = find_panel(figure, display_colors(cells))
    assert not more
    assert (cell_x != x) == across
    assert (cell_y > y) == down


@pytest.mark.parametrize(("shape", "factor"), [((1, 1), 320), ((60, 100), 3), ((400, 330), 1)])
def test_without_a_width_small_slices_grow_by_a_whole_factor(shape, factor):
    image, semantic, cells, organelles = make_slice(shape)
    # Upper left pixel: another class, so that no larger panel holds this one.
    semantic[0, 0] = 6
    figure = draw_panels(image, semantic, cells, organelles)
    pink = (figure == CLASS_COLORS[6]).all(axis=-1)
    top, left = np.argwhere(pink)[0]
    panel = PALETTE[np.kron(semantic, np.ones((factor, factor), np.uint8))]
    high, wide = panel.shape[:2]
    np.testing.assert_array_equal(figure[top : top + high, left : left + wide], panel)
    assert (figure[top, left + wide : left + wide + 5] == 255).all()


def test_the_legend_names_only_the_classes_present():
    semantic = np.zeros((10, 10), np.uint8)
    semantic[:2], semantic[2, :3], semantic[9, 9] = 1, 6, 3
    present = picture._count_classes(semantic, PUBLISHED)
    assert [(c.name, share) for c, share in present] == [
        ("background", 0.76),
        ("cell", 0.2),
        ("alpha granule", 0.01),
        ("dense granule core", 0.03),
    ]


def test_the_legend_shows_the_colors_of_its_classes_only():
    font = picture.ImageFont.load_default(size=14)
    legend = np.asarray(
        picture._draw_legend([(PUBLISHED.classes[3], 0.2), (PUBLISHED.classes[5], 0.0001)], font)
    )
    vivid = {color for color in colors_of(legend) if max(color) - min(color) > 100}
    assert vivid == {CLASS_COLORS[3], CLASS_COLORS[5]}
    first, last = ((legend == CLASS_COLORS[i]).all(axis=-1).sum() for i in (3, 5))
    assert first == last > 0


@pytest.fixture
def words(monkeypatch):
    """The texts drawn so far."""
    drawn = []
    draw_text = ImageDraw.ImageDraw.text

    def spy(self, xy, text, *args, **kwargs):
        drawn.append(text)
        return draw_text(self, xy, text, *args, **kwargs)

    monkeypatch.setattr(ImageDraw.ImageDraw, "text", spy)
    return drawn


def test_the_figure_says_what_it_shows(words):
    slice_ = make_slice((100, 100))
    slice_[1][0, 0:5] = 6
    draw_panels(*slice_, title="volume 50, z = 7")
    assert words == [
        "200 nm",
        "background, 42.2%",
        "cell, 51.5%",
        "alpha granule, 6.2%",
        "dense granule core, < 0.1%",
        "volume 50, z = 7",
        "image",
        "contours of cells and organelles",
        "semantic classes: 4",
        "cells: 1",
        "organelles: 1",
        "classes, share of pixels",
    ]


@pytest.mark.parametrize("changed", ["cells", "organelles"])
def test_captions_count_the_ids_of_the_slice(words, changed):
    image, semantic, cells, organelles = make_slice()
    target = cells if changed == "cells" else organelles
    # Single pixels, which a panel 20 px wide cannot show: counts are of the slice itself.
    target[0, ::7] = np.arange(100, 109)
    draw_panels(image, semantic, cells, organelles, width=20)
    expected = {"cells": 1, "organelles": 1} | {changed: 10}
    assert {f"{name}: {count}" for name, count in expected.items()} <= set(words)


@pytest.mark.parametrize(("width", "scale"), [(800, "500 nm"), (400, "500 nm")])
def test_the_scale_is_that_of_the_slice_at_any_width(words, width, scale):
    draw_panels(*make_slice((200, 200)), width=width)
    assert words[0] == scale


@pytest.mark.parametrize(
    ("most", "length"), [(2000, 2000), (1999.9, 1000), (4.9, 2), (10, 10), (0.6, 0.5)]
)
def test_scale_bars_have_round_lengths(most, length):
    assert picture._round_length(most) == pytest.approx(length)


@pytest.mark.parametrize(("width", "bar"), [(400, 100), (200, 50), (800, 200)])
def test_the_scale_bar_is_as_long_as_it_says(width, bar):
    # 400 px of 10 nm: a quarter is 1000 nm, whatever the panel's own width.
    panel = Image.new("RGB", (width, width))
    font = picture.ImageFont.load_default(size=14)
    picture._draw_scale_bar(panel, 10 * 400 / width, font)
    white = (np.asarray(panel) == 255).all(axis=-1)
    rows = white.sum(axis=1)
    columns = np.flatnonzero(white[rows.argmax()])
    assert rows.max() == bar
    assert columns[-1] - columns[0] + 1 == bar


@pytest.mark.parametrize("size", [(20, 20), (20, 400), (400, 20)])
def test_a_panel_too_small_for_a_scale_bar_stays_as_it_is(size):
    panel = Image.new("RGB", size, (9, 9, 9))
    picture._draw_scale_bar(panel, 10.0, picture.ImageFont.load_default(size=14))
    assert colors_of(np.asarray(panel)) == {(9, 9, 9)}


def test_the_image_panel_alone_has_the_scale_bar():
    image, semantic, cells, organelles = make_slice((120, 120))
    figure = draw_panels(image, semantic, cells, organelles, width=120)
    plain, framed, *labels = picture._render(
        arrays_of(image, semantic, cells, organelles), PUBLISHED, (120, 120)
    )
    assert find_panel(figure, plain) == []
    assert all(len(find_panel(figure, panel)) == 1 for panel in (framed, *labels))


def test_a_title_adds_a_line_and_never_widens_the_figure():
    slice_ = make_slice()
    without, short, long = (
        draw_panels(*slice_, title=text, width=60)
        for text in ("", "volume 50", "volume 50 " * 500)
    )
    assert short.shape == long.shape
    assert short.shape[1] == without.shape[1]
    assert short.shape[0] > without.shape[0]
    assert not np.array_equal(short, long)
    margin = short.shape[1] - 10
    assert (long[:, margin:] == 255).all()


def test_a_long_title_is_cut_where_it_still_fits():
    font = picture.ImageFont.load_default(size=14)
    kept = picture._cut("volume 50 " * 50, 200, font)
    assert kept.endswith("...")
    assert ("volume 50 " * 50).startswith(kept[:-3])
    assert 185 < font.getlength(kept) <= 200
    assert picture._cut("volume 50", 200, font) == "volume 50"


def test_line_breaks_in_a_title_become_spaces():
    slice_ = make_slice()
    figures = [draw_panels(*slice_, title=t, width=60) for t in ("a b", " a\n  b ")]
    np.testing.assert_array_equal(*figures)


def test_the_figure_is_the_callers_to_write_on():
    assert draw_panels(*make_slice()).flags.writeable
    assert draw_preview(*make_slice()).flags.writeable


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
