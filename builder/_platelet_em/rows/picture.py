"""Pictures of one slice for the eye: image, contours, semantic classes and instances, as RGB.

An id has the colour of `palette.display_colors` in every picture, and a class the colour of
palette A. Labels are scaled by nearest neighbour only, and contours are drawn after scaling, so
that they fit what is shown and do not fade.
"""

import io
import math
from bisect import bisect_right
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from _platelet_em.errors import ImageFormatError
from _platelet_em.facts import CLASS_NAMES, CLASSES, VOXEL_SIZE_NM, SemanticClass
from _platelet_em.publisher.palettes import PALETTES, display_colors

__all__ = ["contours", "draw_panels", "draw_preview", "stretch", "to_png"]

_Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont
_Labels: TypeAlias = NDArray[np.integer]

_PAGE = (255, 255, 255)
_INK = (20, 20, 20)
_CELL_SHADE = 64
"""Grey of the cells behind the organelles."""

_PREVIEW_GAP = 4
_PANEL_GOAL = 320
"""Figures enlarge slices smaller than this, by a whole factor, up to about this many pixels."""


def stretch(image: NDArray[np.uint16], low: float = 0.5, high: float = 99.5) -> NDArray[np.uint8]:
    """Stretch the contrast between two percentiles, for the eye only.

    Args:
        image: uint16 (y, x); it is not changed.
        low: percentile that becomes black, 0..100.
        high: percentile that becomes white, above `low`.

    Returns:
        uint8 (y, x). Where both percentiles have one value, that value becomes mid-grey, all
        below it black and all above it white.

    Raises:
        ImageFormatError: for percentiles out of order, or an image without pixels.

    >>> stretch(np.array([[10, 20, 30]], np.uint16), 0, 100).tolist()
    [[0, 128, 255]]
    """
    if not 0 <= low < high <= 100:
        raise ImageFormatError(
            f"percentiles should satisfy 0 <= low < high <= 100, but got {low} and {high}"
        )
    if image.size == 0:
        raise ImageFormatError(
            f"image should have at least one pixel, but got shape {image.shape}"
        )
    dark, bright = (float(p) for p in np.percentile(image, [low, high]))
    if dark == bright:
        gray = (np.sign(image - dark) + 1) / 2
    else:
        gray = np.clip((image - dark) / (bright - dark), 0, 1)
    stretched: NDArray[np.uint8] = np.rint(gray * 255).astype(np.uint8)
    return stretched


def contours(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Mark the inner boundary of every instance.

    Args:
        labels: integer (y, x), 0 is background.

    Returns:
        bool (y, x): the pixels of an instance that have a 4-neighbour of another label. What
        lies beyond the image is unknown, so its border is no boundary.

    >>> contours(np.array([[0, 7, 7, 7, 8]])).astype(int).tolist()
    [[0, 1, 0, 1, 1]]
    """
    return _thick_contours(labels, 1)


def draw_preview(
    image: NDArray[np.uint16],
    semantic: NDArray[np.uint8],
    cells: NDArray[np.int32],
    organelles: NDArray[np.int32],
    *,
    width: int = 256,
) -> NDArray[np.uint8]:
    """Draw four small panels side by side: image with contours, semantic, cells, organelles.

    Args:
        image: uint16 (y, x).
        semantic: uint8 (y, x), class indices.
        cells: int32 (y, x), 0 is background.
        organelles: int32 (y, x), 0 is background.
        width: pixels across one panel. The aspect ratio is kept; panels end at four times
            `width` in height, where a taller slice is drawn narrower, and centred.

    Returns:
        RGB uint8 (h, 4 * width + 12, 3): three gaps of 4 px lie between the panels.

    Raises:
        ImageFormatError: for shapes that differ, or a class index that does not exist.
    """
    _validate_slice(image, semantic, cells, organelles)
    size = _panel_size(image.shape, width)
    panels = _render(image, semantic, cells, organelles, size)[1:]
    canvas = np.full((size[0], 4 * width + 3 * _PREVIEW_GAP, 3), _PAGE, np.uint8)
    for index, panel in enumerate(panels):
        left = index * (width + _PREVIEW_GAP) + (width - size[1]) // 2
        canvas[:, left : left + size[1]] = panel
    return canvas


def draw_panels(
    image: NDArray[np.uint16],
    semantic: NDArray[np.uint8],
    cells: NDArray[np.int32],
    organelles: NDArray[np.int32],
    *,
    title: str = "",
    width: int | None = None,
) -> NDArray[np.uint8]:
    """Draw the large figure: image, image with contours, semantic, cells, organelles, legend.

    Panels have captions with counts, and the image has a scale bar where it is large enough to
    hold one. They stand in two rows of three, the legend below the semantic panel; tall slices
    stand in one row, and wide ones in one column.

    Args:
        image: uint16 (y, x).
        semantic: uint8 (y, x), class indices.
        cells: int32 (y, x), 0 is background.
        organelles: int32 (y, x), 0 is background.
        title: one line above the panels, cut where it does not fit.
        width: pixels across one panel, tall slices as in `draw_preview`; None takes the slice's
            own size, and enlarges a small slice by a whole factor.

    Returns:
        RGB uint8 (h, w, 3).

    Raises:
        ImageFormatError: for shapes that differ, or a class index that does not exist.
    """
    _validate_slice(image, semantic, cells, organelles)
    if width is None:
        factor = max(1, _PANEL_GOAL // max(image.shape))
        size = (image.shape[0] * factor, image.shape[1] * factor)
    else:
        size = _panel_size(image.shape, width)
    font = ImageFont.load_default(size=min(40, max(14, size[1] // 26)))
    panels = [Image.fromarray(p) for p in _render(image, semantic, cells, organelles, size)]
    _draw_scale_bar(panels[0], VOXEL_SIZE_NM[2] * image.shape[1] / size[1], font)
    present = _classes_present(semantic)
    captions = [
        "image",
        "contours of cells and organelles",
        f"semantic classes: {len(present)}",
        f"cells: {_count(cells)}",
        f"organelles: {_count(organelles)}",
        "classes, share of pixels",
    ]
    columns = 6 if size[0] > 2 * size[1] else 1 if size[1] > 2 * size[0] else 3
    panels.append(_draw_legend(present, font))
    return _assemble(panels, captions, columns, " ".join(title.split()), font)


def to_png(rgb: NDArray[np.uint8]) -> bytes:
    """Encode a picture as PNG; the same picture gives the same bytes under the same Pillow.

    Args:
        rgb: uint8 (y, x, 3).

    Raises:
        ImageFormatError: for another dtype or shape.
    """
    if rgb.dtype != np.uint8 or rgb.ndim != 3 or rgb.shape[2] != 3 or rgb.size == 0:
        raise ImageFormatError(
            f"the picture should be uint8 (y, x, 3), but got {rgb.dtype} {rgb.shape}"
        )
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, format="PNG", compress_level=9)
    return buffer.getvalue()


def _validate_slice(
    image: NDArray[np.uint16], semantic: _Labels, cells: _Labels, organelles: _Labels
) -> None:
    """Raise ImageFormatError where the four arrays are not one slice."""
    if image.ndim != 2 or image.size == 0:
        raise ImageFormatError(
            f"image should be (y, x) of at least 1 x 1 pixels, but got shape {image.shape}"
        )
    for name, array in (("semantic", semantic), ("cells", cells), ("organelles", organelles)):
        if array.shape != image.shape:
            raise ImageFormatError(
                f"{name} should have the image's shape {image.shape}, but got {array.shape}"
            )
    for index in (int(semantic.min()), int(semantic.max())):
        if not 0 <= index < len(CLASSES):
            raise ImageFormatError(
                f"semantic should hold classes 0..{len(CLASSES) - 1}, but got {index}"
            )


def _panel_size(shape: tuple[int, ...], width: int) -> tuple[int, int]:
    """Height and width of the largest panel at most `width` px wide and four times as high."""
    if width < 1:
        raise ImageFormatError(f"width should be at least 1 px, but got {width}")
    scale = min(width / shape[1], 4 * width / shape[0])
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _resize_labels(labels: _Labels, size: tuple[int, int]) -> _Labels:
    """Nearest neighbour by pixel centres; Pillow has no mode for all of int32."""
    y, x = ((2 * np.arange(n) + 1) * m // (2 * n) for n, m in zip(size, labels.shape, strict=True))
    return labels[np.ix_(y, x)]


def _thick_contours(labels: _Labels, thickness: int) -> NDArray[np.bool_]:
    """Pixels of an instance with another label at most `thickness` px up, down, left or right."""
    found = np.zeros(labels.shape, np.bool_)
    for view, mask in ((labels, found), (labels.T, found.T)):
        for step in range(1, thickness + 1):
            differs = view[step:] != view[:-step]
            mask[step:] |= differs
            mask[:-step] |= differs
    return found & (labels > 0)


def _colorize(labels: _Labels) -> NDArray[np.uint8]:
    """RGB (y, x, 3) of ids; memory grows with how many ids there are, not with how large."""
    ids, inverse = np.unique(labels, return_inverse=True)
    rgb: NDArray[np.uint8] = display_colors(ids)[inverse.reshape(labels.shape)]
    return rgb


def _render(
    image: NDArray[np.uint16],
    semantic: _Labels,
    cells: _Labels,
    organelles: _Labels,
    size: tuple[int, int],
) -> list[NDArray[np.uint8]]:
    """RGB panels of that (height, width): image, contours, semantic, cells, organelles."""
    # Enlarged pixels stay square, so that nobody takes interpolation for resolution.
    enlarged = max(size) > max(image.shape)
    method = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
    gray = Image.fromarray(stretch(image)).resize((size[1], size[0]), method)
    plain = np.asarray(gray.convert("RGB"))
    classes = PALETTES["A"][_resize_labels(semantic, size)]
    cell_ids, organelle_ids = _resize_labels(cells, size), _resize_labels(organelles, size)
    # Contours take the colours of classes: those of ids clash, and some are lost on the grey.
    framed = plain.copy()
    thin = max(1, round(max(size) / 300))
    framed[_thick_contours(cell_ids, 2 * thin)] = CLASSES[CLASS_NAMES.index("cell")].color_a
    edge = _thick_contours(organelle_ids, thin)
    framed[edge] = classes[edge]
    objects = _colorize(organelle_ids)
    objects[(organelle_ids == 0) & (cell_ids > 0)] = _CELL_SHADE
    return [plain, framed, classes, _colorize(cell_ids), objects]


def _count(labels: _Labels) -> int:
    return int(np.count_nonzero(np.unique(labels)))


def _classes_present(semantic: NDArray[np.uint8]) -> list[tuple[SemanticClass, float]]:
    """The classes that the slice has, in order, each with its share of the pixels, 0..1."""
    counts = np.bincount(semantic.ravel(), minlength=len(CLASSES)).tolist()
    return [(c, n / semantic.size) for c, n in zip(CLASSES, counts, strict=True) if n]


def _extent(text: str, font: _Font) -> tuple[int, int]:
    """Width and height of a line in px, from where Pillow starts to draw it."""
    _, _, right, bottom = font.getbbox(text)
    return math.ceil(right), math.ceil(bottom)


def _cut(text: str, width: int, font: _Font) -> str:
    """The text, or as much of its start as fits into `width` px with three dots."""
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
    """Draw a bar of a round length in a dark box at the lower left, if the panel can hold it."""
    length = _round_length(panel.width * nm_per_pixel / 4)
    text = f"{length:.10g} nm"  # Pillow's own font has no mu
    bar = round(length / nm_per_pixel)
    words, line = _extent(text, font)
    pad, thick = max(2, line // 3), max(2, line // 5)
    width, height = max(bar, words) + 2 * pad, line + thick + 5 * pad // 2
    left, top = pad, panel.height - pad - height
    if top < 0 or left + width > panel.width:
        return
    draw = ImageDraw.Draw(panel)
    draw.rectangle((left, top, left + width - 1, top + height - 1), fill=_INK)
    draw.text((left + (width - words) // 2, top + pad // 2), text, font=font, fill=_PAGE)
    start, level = left + (width - bar) // 2, top + height - pad - thick
    draw.rectangle((start, level, start + bar - 1, level + thick - 1), fill=_PAGE)


def _draw_legend(present: list[tuple[SemanticClass, float]], font: _Font) -> Image.Image:
    """Swatch, name and share of each class, one a line."""
    shares = [f"{share:.1%}" if share >= 0.001 else "< 0.1%" for _, share in present]
    texts = [f"{c.name}, {share}" for (c, _), share in zip(present, shares, strict=True)]
    line = _extent("Ag", font)[1]
    width = 2 * line + max(_extent(text, font)[0] for text in texts)
    legend = Image.new("RGB", (width, 3 * line // 2 * len(present)), _PAGE)
    draw = ImageDraw.Draw(legend)
    for row, ((c, _), text) in enumerate(zip(present, texts, strict=True)):
        top = row * (3 * line // 2)
        draw.rectangle((0, top, 3 * line // 2, top + line), fill=c.color_a)
        draw.text((2 * line, top), text, font=font, fill=_INK)
    return legend


def _assemble(
    panels: list[Image.Image], captions: list[str], columns: int, title: str, font: _Font
) -> NDArray[np.uint8]:
    """Set panels under their captions in a grid as tight as they allow, below the title."""
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
