"""The large figure of one slice: captioned panels, a legend and a scale bar."""

import math
import unicodedata
from bisect import bisect_right
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from _platelet_em.facts import PICTURE_PALETTES
from _platelet_em.rows.picture import (
    SliceArrays,
    class_colors,
    contour_color,
    contour_thickness,
    panel_size,
    render_panels,
    validate_slice,
)
from _platelet_em.spec import Color, DatasetSpec

__all__ = ["draw_panels"]

_Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont

_PAGE = (255, 255, 255)
_INK = (20, 20, 20)
_GRAY = (150, 150, 150)
"""What contours are drawn on in the legend, as on an image."""

_PANEL_GOAL = 320
"""Figures enlarge slices that are smaller, by an integer factor, up to about this many pixels."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A line of the legend.

    Attributes:
        text: What the color means.
        color: RGB.
        outline: Thickness of a contour in px; 0 for a filled area.
    """

    text: str
    color: Color
    outline: int = 0


def draw_panels(
    arrays: SliceArrays,
    spec: DatasetSpec,
    *,
    title: str = "",
    width: int | None = None,
    palette: str = PICTURE_PALETTES[0],
) -> NDArray[np.uint8]:
    """Draw the large figure: image, image with contours, classes, each instance kind, legend.

    Panels have captions with counts, and the image has a scale bar if it is large enough for one.
    They are arranged in two rows of three, the legend below the semantic panel; tall slices in
    one row, and wide ones in one column.

    Args:
        arrays: The slice.
        spec: The dataset, for classes, kinds of instances, and the size of a voxel.
        title: One line above the panels, cut if it is too long.
        width: Pixels across one panel, tall slices as in `draw_preview`; None takes the slice's
            own size, and enlarges a small slice by an integer factor.
        palette: Colors of the classes, one of `PICTURE_PALETTES`.

    Returns:
        RGB uint8 (h, w, 3).

    Raises:
        ImageFormatError: for shapes that differ, or a class index that does not exist.
    """
    validate_slice(arrays, spec)
    shape = arrays.image.shape
    if width is None:
        factor = max(1, _PANEL_GOAL // max(shape))
        size = (shape[0] * factor, shape[1] * factor)
    else:
        size = panel_size(shape, width)
    font = ImageFont.load_default(size=min(40, max(14, size[1] // 26)))
    colors = class_colors(spec, palette)
    panels = [Image.fromarray(panel) for panel in render_panels(arrays, spec, size, colors)]
    if spec.voxel_size_nm is not None:
        _draw_scale_bar(panels[0], spec.voxel_size_nm[2] * shape[1] / size[1], font)
    counts: list[int] = []
    if arrays.semantic is not None:
        counts = np.bincount(arrays.semantic.reshape(-1), minlength=len(spec.classes)).tolist()
    if not (counts or arrays.instances):
        del panels[1:]  # without labels there are no contours
    entries = [
        *_class_entries(counts, spec, colors),
        *_contour_entries(arrays, counts, spec, colors, contour_thickness(size)),
    ]
    captions = _name_panels(arrays, counts, spec)[: len(panels)]
    if entries:
        panels.append(_draw_legend(entries, font))
        captions.append("classes, share of pixels" if counts else "contours")
    columns = min(3, len(captions))
    if max(size) > 2 * min(size):
        columns = len(captions) if size[0] > size[1] else 1
    captions = [*map(_to_ascii, captions)]
    return _assemble(panels, captions, columns, _to_ascii(" ".join(title.split())), font)


def _name_panels(arrays: SliceArrays, counts: list[int], spec: DatasetSpec) -> list[str]:
    """The captions of the panels that `render_panels` draws of a slice with labels."""
    return [
        "image",
        f"contours of {' and '.join(arrays.instances) or 'classes'}",
        *([f"semantic classes: {np.count_nonzero(counts)}"] if counts else []),
        *(_caption(column, arrays, spec) for column in arrays.instances),
    ]


def _count_ids(arrays: SliceArrays, column: str) -> int:
    return int(np.count_nonzero(np.unique(arrays.instances[column])))


def _caption(column: str, arrays: SliceArrays, spec: DatasetSpec) -> str:
    """The number of instances of a column, and which others are behind them."""
    text = f"{column}: {_count_ids(arrays, column)}"
    parent = spec.parent(spec.instance(column))
    if parent is None or parent.column not in arrays.instances:
        return text
    return f"{text} ({parent.column} gray)"


def _class_entries(
    counts: list[int], spec: DatasetSpec, colors: NDArray[np.uint8]
) -> list[_Entry]:
    """The classes that occur in the slice, in order, each with its share of the pixels."""
    entries = []
    for semantic, count, color in zip(spec.classes, counts, colors, strict=bool(counts)):
        share = count / sum(counts)
        shown = f"{share:.1%}" if share >= 0.001 else "< 0.1%"
        if count:
            name = _to_ascii(semantic.name)
            entries.append(_Entry(f"{name}, {shown}", _rgb(color)))
    return entries


def _contour_entries(
    arrays: SliceArrays,
    counts: list[int],
    spec: DatasetSpec,
    colors: NDArray[np.uint8],
    thickness: int,
) -> list[_Entry]:
    """What the contours of each kind of instances that occurs look like."""
    entries = []
    for column in arrays.instances:
        instance = spec.instance(column)
        if not _count_ids(arrays, column):
            continue
        if instance.has_class and arrays.semantic is not None:
            inside = arrays.semantic[arrays.instances[column] > 0]
            among = np.bincount(inside, minlength=len(counts))[instance.first_class :]
            frequent = instance.first_class + int(np.argmax(among))
            text = f"thin contour: {_to_ascii(instance.name)}, in the color of its class"
            entries.append(_Entry(text, _rgb(colors[frequent]), thickness))
        else:
            color = _rgb(contour_color(instance, spec, colors))
            entries.append(
                _Entry(f"thick contour: {_to_ascii(instance.name)}", color, 2 * thickness)
            )
    return entries


def _rgb(color: NDArray[np.uint8]) -> Color:
    red, green, blue = color.tolist()
    return red, green, blue


def _to_ascii(text: str) -> str:
    """The text in the letters that Pillow's own font has; "?" stands for others.

    >>> _to_ascii("cellules à 猫")
    'cellules a ?'
    """
    parts = unicodedata.normalize("NFKD", text)
    return "".join(c if c.isascii() else "?" for c in parts if not unicodedata.combining(c))


def _extent(text: str, font: _Font) -> tuple[int, int]:
    """Width and height of a line in px, from where Pillow starts to draw it."""
    _, _, right, bottom = font.getbbox(text)
    return math.ceil(right), math.ceil(bottom)


def _cut(text: str, width: int, font: _Font) -> str:
    """The text, or the start of it that fits into `width` px with three dots."""
    if _extent(text, font)[0] <= width:
        return text
    ends = range(1, len(text))
    count = bisect_right(ends, width, key=lambda end: _extent(text[:end] + "...", font)[0])
    return text[:count] + "..."


def _round_length(most: float) -> float:
    """The largest of ..., 0.5, 1, 2, 5, 10, 20, ... that is not above `most`.

    >>> _round_length(2000), _round_length(1999), _round_length(0.7)
    (2000.0, 1000.0, 0.5)
    """
    power = 10.0 ** math.floor(math.log10(most))
    return max(digit * power for digit in (1, 2, 5) if digit * power <= most)


def _draw_scale_bar(panel: Image.Image, nm_per_pixel: float, font: _Font) -> None:
    """Draw a bar of a round length in a dark box at the lower left, if it fits the panel."""
    length = _round_length(panel.width * nm_per_pixel / 4)
    text = f"{length / 1000:.10g} um" if length >= 1000 else f"{length:.10g} nm"
    bar = round(length / nm_per_pixel)
    words, line = _extent(text, font)
    pad, thick = max(2, line // 3), max(2, line // 5)
    width, height = max(bar, words) + 2 * pad, line + thick + 5 * pad // 2
    left, top = pad, panel.height - pad - height
    if top < 0 or left + width > panel.width:
        return
    draw = ImageDraw.Draw(panel)
    draw.rectangle((left, top, left + width - 1, top + height - 1), fill=_INK)
    corner = (left + (width - words) // 2, top + pad // 2)
    draw.text(corner, text, font=font, fill=_PAGE)
    if length >= 1000:
        _add_stem(draw, corner, text, font)
    start, level = left + (width - bar) // 2, top + height - pad - thick
    draw.rectangle((start, level, start + bar - 1, level + thick - 1), fill=_PAGE)


def _add_stem(draw: ImageDraw.ImageDraw, corner: tuple[int, int], text: str, font: _Font) -> None:
    """Make the letter u of "um" a Greek mu, which Pillow's own font lacks."""
    before = text.index("u")
    left, top, _, bottom = font.getbbox("u")
    x = corner[0] + font.getlength(text[:before]) + left
    thick = max(1, round((bottom - top) / 7))
    y = corner[1] + bottom
    draw.rectangle(
        (x, y - (bottom - top) // 2, x + thick - 1, y + (bottom - top) // 3), fill=_PAGE
    )


def _draw_legend(entries: list[_Entry], font: _Font) -> Image.Image:
    """Draw color and meaning of each entry, one per line."""
    line = _extent("Ag", font)[1]
    width = 2 * line + max(_extent(entry.text, font)[0] for entry in entries)
    legend = Image.new("RGB", (width, 3 * line // 2 * len(entries)), _PAGE)
    draw = ImageDraw.Draw(legend)
    for row, entry in enumerate(entries):
        top = row * (3 * line // 2)
        box = (0, top, 3 * line // 2, top + line)
        if entry.outline:
            draw.rectangle(box, fill=_GRAY, outline=entry.color, width=entry.outline)
        else:
            draw.rectangle(box, fill=entry.color)
        draw.text((2 * line, top), entry.text, font=font, fill=_INK)
    return legend


def _assemble(
    panels: list[Image.Image], captions: list[str], columns: int, title: str, font: _Font
) -> NDArray[np.uint8]:
    """Arrange panels under their captions in a grid as tight as possible, below the title."""
    line = _extent("Ag", font)[1]
    gap = line
    wide = [max(p.width, _extent(c, font)[0]) for p, c in zip(panels, captions, strict=True)]
    widths = [max(wide[column::columns]) for column in range(columns)]
    rows = range(0, len(panels), columns)
    heights = [3 * line // 2 + max(p.height for p in panels[r : r + columns]) for r in rows]
    head = 2 * line + gap if title else gap
    size = (sum(widths) + gap * (columns + 1), head + sum(heights) + gap * len(heights))
    figure = Image.new("RGB", size, _PAGE)
    draw = ImageDraw.Draw(figure)
    large = ImageFont.load_default(size=round(line * 1.3))
    draw.text((gap, gap // 2), _cut(title, size[0] - 2 * gap, large), font=large, fill=_INK)
    for index, (panel, caption) in enumerate(zip(panels, captions, strict=True)):
        row, column = divmod(index, columns)
        left = gap + sum(widths[:column]) + gap * column
        top = head + sum(heights[:row]) + gap * row
        draw.text((left, top), caption, font=font, fill=_INK)
        figure.paste(panel, (left, top + 3 * line // 2))
    return np.array(figure)
