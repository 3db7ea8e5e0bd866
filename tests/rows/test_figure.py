"""The large figure of a slice: layout, captions, legend, scale bar."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageDraw, ImageFont
from support.slices import (
    CLASS_COLORS,
    GAP,
    PALETTE,
    arrays_of,
    colors_of,
    draw_panels,
    draw_preview,
    make_slice,
)

from _platelet_em.arrays.colors import color_ids
from _platelet_em.facts import PUBLISHED
from _platelet_em.limits import MAX_ID
from _platelet_em.publisher.palettes import class_palette
from _platelet_em.rows import figure as figures
from _platelet_em.rows.picture import render_panels

SMALL_SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9)


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
    ((cell_y, cell_x),) = find_panel(figure, color_ids(cells))
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


def test_the_legend_shows_the_colors_of_its_entries_only():
    font = ImageFont.load_default(size=14)
    entries = [
        figures._Entry("a", CLASS_COLORS[3]),
        figures._Entry("b", CLASS_COLORS[4]),
        figures._Entry("c", CLASS_COLORS[6], outline=2),
    ]
    legend = np.asarray(figures._draw_legend(entries, font))
    vivid = {color for color in colors_of(legend) if max(color) - min(color) > 100}
    assert vivid == {CLASS_COLORS[3], CLASS_COLORS[4], CLASS_COLORS[6]}
    full, second, outline = ((legend == CLASS_COLORS[i]).all(axis=-1).sum() for i in (3, 4, 6))
    assert full == second > outline > 0


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
        "thick contour: cell",
        "thin contour: organelle, in the color of its class",
        "volume 50, z = 7",
        "image",
        "contours of cells and organelles",
        "semantic classes: 4",
        "cells: 1",
        "organelles: 1 (cells gray)",
        "classes, share of pixels",
    ]


@pytest.mark.parametrize("changed", ["cells", "organelles"])
def test_captions_count_the_ids_of_the_slice(words, changed):
    image, semantic, cells, organelles = make_slice()
    target = cells if changed == "cells" else organelles
    # Single pixels, which a panel 20 px wide cannot show: counts are of the slice itself.
    target[0, ::7] = np.arange(100, 109)
    draw_panels(image, semantic, cells, organelles, width=20)
    count = {"cells": 1, "organelles": 1} | {changed: 10}
    assert f"cells: {count['cells']}" in words
    assert f"organelles: {count['organelles']} (cells gray)" in words


@pytest.mark.parametrize(("width", "scale"), [(800, "500 nm"), (400, "500 nm")])
def test_the_scale_is_that_of_the_slice_at_any_width(words, width, scale):
    draw_panels(*make_slice((200, 200)), width=width)
    assert words[0] == scale


@pytest.mark.parametrize(
    ("most", "length"), [(2000, 2000), (1999.9, 1000), (4.9, 2), (10, 10), (0.6, 0.5)]
)
def test_scale_bars_have_round_lengths(most, length):
    assert figures._round_length(most) == pytest.approx(length)


@pytest.mark.parametrize(("width", "bar"), [(400, 100), (200, 50), (800, 200)])
def test_the_scale_bar_is_as_long_as_it_says(width, bar):
    # 400 px of 10 nm: a quarter is 1000 nm, whatever the panel's own width.
    panel = Image.new("RGB", (width, width))
    font = ImageFont.load_default(size=14)
    figures._draw_scale_bar(panel, 10 * 400 / width, font)
    white = (np.asarray(panel) == 255).all(axis=-1)
    rows = white.sum(axis=1)
    columns = np.flatnonzero(white[rows.argmax()])
    assert rows.max() == bar
    assert columns[-1] - columns[0] + 1 == bar


@pytest.mark.parametrize("size", [(20, 20), (20, 400), (400, 20)])
def test_a_panel_too_small_for_a_scale_bar_stays_as_it_is(size):
    panel = Image.new("RGB", size, (9, 9, 9))
    figures._draw_scale_bar(panel, 10.0, ImageFont.load_default(size=14))
    assert colors_of(np.asarray(panel)) == {(9, 9, 9)}


def test_the_image_panel_alone_has_the_scale_bar():
    image, semantic, cells, organelles = make_slice((120, 120))
    figure = draw_panels(image, semantic, cells, organelles, width=120)
    plain, framed, *labels = render_panels(
        arrays_of(image, semantic, cells, organelles), PUBLISHED, (120, 120), PALETTE
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
    font = ImageFont.load_default(size=14)
    kept = figures._cut("volume 50 " * 50, 200, font)
    assert kept.endswith("...")
    assert ("volume 50 " * 50).startswith(kept[:-3])
    assert 185 < font.getlength(kept) <= 200
    assert figures._cut("volume 50", 200, font) == "volume 50"


def test_line_breaks_in_a_title_become_spaces():
    slice_ = make_slice()
    figures = [draw_panels(*slice_, title=t, width=60) for t in ("a b", " a\n  b ")]
    np.testing.assert_array_equal(*figures)


def test_the_figure_is_the_callers_to_write_on():
    assert draw_panels(*make_slice()).flags.writeable
    assert draw_preview(*make_slice()).flags.writeable


def test_without_instances_the_legend_has_no_contours(words):
    image, semantic, cells, organelles = make_slice()
    draw_panels(image, np.zeros_like(semantic), np.zeros_like(cells), np.zeros_like(organelles))
    assert "background, 100.0%" in words
    assert not [text for text in words if "contour:" in text]


def test_contours_of_the_legend_are_those_of_the_panel():
    slice_ = make_slice((100, 100))
    slice_[1][slice_[3] > 0] = 4
    counts = np.bincount(slice_[1].ravel(), minlength=7).tolist()
    found = figures._contour_entries(arrays_of(*slice_), counts, PUBLISHED, PALETTE, 3)
    assert [(entry.color, entry.outline) for entry in found] == [
        (CLASS_COLORS[1], 6),
        (CLASS_COLORS[4], 3),
    ]
    panel = render_panels(arrays_of(*slice_), PUBLISHED, (600, 600), PALETTE)[1]
    across = panel[200]  # a line of pixels through the cell and the organelle
    thick, thin = ((across == entry.color).all(axis=-1).sum() for entry in found)
    assert (thick, thin) == (2 * 4, 2 * 2)  # two sides each


def test_the_publishers_colors_are_drawn_on_request():
    image, semantic, cells, organelles = make_slice((60, 60))
    figure = draw_panels(image, semantic, cells, organelles, width=60, palette="publisher")
    assert len(find_panel(figure, class_palette(PUBLISHED)[semantic])) == 1
    assert find_panel(figure, PALETTE[semantic]) == []


@pytest.mark.parametrize(
    ("pixels", "text"), [(396, "500 nm"), (400, "1 um"), (1999, "2 um"), (100, "200 nm")]
)
def test_from_one_micrometer_on_the_scale_bar_counts_in_micrometers(words, pixels, text):
    panel = Image.new("RGB", (pixels, 200))
    figures._draw_scale_bar(panel, 10.0 if pixels < 1999 else 4.1, ImageFont.load_default(size=14))
    assert words == [text]


def test_the_u_of_micrometer_gets_the_stem_of_a_mu():
    font = ImageFont.load_default(size=28)
    panel = Image.new("RGB", (800, 800))
    figures._draw_scale_bar(panel, 10.0, font)
    white = (np.asarray(panel) == 255).all(axis=-1)
    box = np.argwhere(white)
    text = white[box[:, 0].min() : -1][:, : panel.width]
    below = Image.new("L", (200, 80))
    ImageDraw.Draw(below).text((0, 0), "2 um", font=font, fill=255)
    plain = np.argwhere(np.asarray(below) == 255)
    height = plain[:, 0].max() - plain[:, 0].min() + 1
    # Below the line on which all letters of "2 um" stand, only the stem is drawn.
    stem = text[height : height + 3]
    assert stem.any(axis=1).all()
    assert stem.any(axis=0).sum() <= 5
