"""RGB pictures of slices for viewing: image, contours, semantic classes and instances.

An id has the color of `display_colors` in every picture, and a class that of the published
pictures. Labels are scaled by nearest neighbor only. Contours are drawn after scaling, so that
they match the scaled labels and do not fade.
"""

import io
import math
from bisect import bisect_right
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from _platelet_em.arrays.volume_view import VolumeView
from _platelet_em.errors import ImageFormatError
from _platelet_em.facts import DatasetSpec, InstanceSpec, SemanticClass
from _platelet_em.publisher.palettes import class_palette

__all__ = [
    "SliceArrays",
    "contours",
    "display_colors",
    "draw_panels",
    "draw_preview",
    "read_slice",
    "stretch",
    "to_png",
]

_Font: TypeAlias = ImageFont.FreeTypeFont | ImageFont.ImageFont
_Labels: TypeAlias = NDArray[np.integer]

_PAGE = (255, 255, 255)
_INK = (20, 20, 20)
_PARENT_SHADE = 64
"""Gray of the parents, such as cells, behind the instances that are part of them."""

_PREVIEW_GAP = 4
_PANEL_GOAL = 320
"""Figures enlarge slices that are smaller, by an integer factor, up to about this many pixels."""


@dataclass(frozen=True, slots=True)
class SliceArrays:
    """One slice as dense arrays, all of one shape (y, x).

    Attributes:
        image: uint16.
        semantic: uint8, class indices.
        instances: Column -> ids, int32, 0 is background.
    """

    image: NDArray[np.uint16]
    semantic: NDArray[np.uint8]
    instances: dict[str, NDArray[np.int32]]


def read_slice(volume: VolumeView, z: int) -> SliceArrays:
    """Slice z of a volume as dense arrays."""
    return SliceArrays(
        volume.image(z),
        volume.semantic(z),
        {kind: np.asarray(volume.labels(kind, z)) for kind in volume.kinds},
    )


def display_colors(ids: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Bright colors for viewing, uint8 (..., 3); an id has the same color wherever it is drawn.

    Id 0 is black. Hues follow the golden ratio, so that neighboring ids look different; lightness
    alternates between three levels. Distant ids may share a color.

    >>> display_colors(np.array([0, 1])).tolist()[0]
    [0, 0, 0]
    """
    ids = np.asarray(ids)
    hue = ids * 0.618033988749895 % 1.0
    saturation = np.choose(ids % 3, [0.55, 0.85, 0.7])
    brightness = np.choose(ids // 3 % 3, [1.0, 0.85, 0.7])
    channel = (np.stack([hue * 6 + 5, hue * 6 + 3, hue * 6 + 1], axis=-1)) % 6
    ramp = np.clip(np.minimum(channel, 4 - channel), 0, 1)
    rgb = brightness[..., None] * (1 - saturation[..., None] * ramp)
    # Dark blue and purple are hard to see on black: add white until all are about as bright.
    luminance = rgb @ np.array([0.2126, 0.7152, 0.0722])
    lift = np.clip((0.42 - luminance) / (1 - luminance), 0, 1)[..., None]
    rgb = rgb + (1 - rgb) * lift
    return np.where(ids[..., None] > 0, np.rint(rgb * 255), 0).astype(np.uint8)


def stretch(image: NDArray[np.uint16], low: float = 0.5, high: float = 99.5) -> NDArray[np.uint8]:
    """Stretch the contrast between two percentiles, for viewing only.

    Args:
        image: uint16 (y, x); it is not changed.
        low: percentile that becomes black, 0..100.
        high: percentile that becomes white, above `low`.

    Returns:
        uint8 (y, x). If both percentiles have the same value, this value becomes mid-gray, all
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


def contours(labels: _Labels, thickness: int = 1) -> NDArray[np.bool_]:
    """Mark the inner boundary of every instance.

    Args:
        labels: integer (y, x), 0 is background.
        thickness: Pixels up, down, left or right at which another label counts.

    Returns:
        bool (y, x): the pixels of an instance with another label within that distance. Labels
        beyond the image are unknown, so its border is no boundary.

    >>> contours(np.array([[0, 7, 7, 7, 8]])).astype(int).tolist()
    [[0, 1, 0, 1, 1]]
    """
    found = np.zeros(labels.shape, np.bool_)
    for view, mask in ((labels, found), (labels.T, found.T)):
        for step in range(1, thickness + 1):
            differs = view[step:] != view[:-step]
            mask[step:] |= differs
            mask[:-step] |= differs
    return found & (labels > 0)


def draw_preview(arrays: SliceArrays, spec: DatasetSpec, *, width: int = 256) -> NDArray[np.uint8]:
    """Draw small panels side by side: image with contours, semantic classes, each instance kind.

    Args:
        arrays: The slice.
        spec: The dataset, for classes and kinds of instances.
        width: Pixels across one panel. The aspect ratio is kept; panels end at four times
            `width` in height, and a taller slice is drawn narrower, and centered.

    Returns:
        RGB uint8 (h, n * width + (n - 1) * 4, 3) for n panels, with gaps of 4 px between them.

    Raises:
        ImageFormatError: for shapes that differ, or a class index that does not exist.
    """
    _validate_slice(arrays, spec)
    size = _panel_size(arrays.image.shape, width)
    panels = _render(arrays, spec, size)[1:]
    step = width + _PREVIEW_GAP
    canvas = np.full((size[0], len(panels) * step - _PREVIEW_GAP, 3), _PAGE, np.uint8)
    for index, panel in enumerate(panels):
        left = index * step + (width - size[1]) // 2
        canvas[:, left : left + size[1]] = panel
    return canvas


def draw_panels(
    arrays: SliceArrays, spec: DatasetSpec, *, title: str = "", width: int | None = None
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

    Returns:
        RGB uint8 (h, w, 3).

    Raises:
        ImageFormatError: for shapes that differ, or a class index that does not exist.
    """
    _validate_slice(arrays, spec)
    shape = arrays.image.shape
    if width is None:
        factor = max(1, _PANEL_GOAL // max(shape))
        size = (shape[0] * factor, shape[1] * factor)
    else:
        size = _panel_size(shape, width)
    font = ImageFont.load_default(size=min(40, max(14, size[1] // 26)))
    panels = [Image.fromarray(panel) for panel in _render(arrays, spec, size)]
    _draw_scale_bar(panels[0], spec.voxel_size_nm[2] * shape[1] / size[1], font)
    present = _count_classes(arrays.semantic, spec)
    captions = [
        "image",
        f"contours of {' and '.join(arrays.instances)}",
        f"semantic classes: {len(present)}",
        *(f"{kind}: {_count_ids(ids)}" for kind, ids in arrays.instances.items()),
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


def _validate_slice(arrays: SliceArrays, spec: DatasetSpec) -> None:
    """Raise ImageFormatError if the arrays are not one slice."""
    image, semantic = arrays.image, arrays.semantic
    if image.ndim != 2 or image.size == 0:
        raise ImageFormatError(
            f"image should be (y, x) of at least 1 x 1 pixels, but got shape {image.shape}"
        )
    named: dict[str, _Labels] = {"semantic": semantic, **arrays.instances}
    for name, array in named.items():
        if array.shape != image.shape:
            raise ImageFormatError(
                f"{name} should have the image's shape {image.shape}, but got {array.shape}"
            )
    last = len(spec.classes) - 1
    for index in (int(semantic.min()), int(semantic.max())):
        if not 0 <= index <= last:
            raise ImageFormatError(f"semantic should have classes 0..{last}, but got {index}")


def _panel_size(shape: tuple[int, ...], width: int) -> tuple[int, int]:
    """Height and width of the largest panel, at most `width` px wide and four times as high."""
    if width < 1:
        raise ImageFormatError(f"width should be at least 1 px, but got {width}")
    scale = min(width / shape[1], 4 * width / shape[0])
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _resize_labels(labels: _Labels, size: tuple[int, int]) -> _Labels:
    """Scale labels by nearest neighbor of pixel centers; Pillow has no mode for all of int32."""
    y, x = ((2 * np.arange(n) + 1) * m // (2 * n) for n, m in zip(size, labels.shape, strict=True))
    return labels[np.ix_(y, x)]


def _colorize(labels: _Labels) -> NDArray[np.uint8]:
    """RGB (y, x, 3) of ids; memory grows with the number of ids, not with their size."""
    ids, inverse = np.unique(labels, return_inverse=True)
    rgb: NDArray[np.uint8] = display_colors(ids)[inverse.reshape(labels.shape)]
    return rgb


def _render(
    arrays: SliceArrays, spec: DatasetSpec, size: tuple[int, int]
) -> list[NDArray[np.uint8]]:
    """RGB panels of a (height, width): image, contours, semantic, then each instance kind."""
    # Enlarged pixels stay square: interpolation would look like resolution.
    enlarged = max(size) > max(arrays.image.shape)
    method = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
    gray = Image.fromarray(stretch(arrays.image)).resize((size[1], size[0]), method)
    plain = np.asarray(gray.convert("RGB"))
    palette = class_palette(spec)
    classes = palette[_resize_labels(arrays.semantic, size)]
    ids = {kind: _resize_labels(labels, size) for kind, labels in arrays.instances.items()}
    contoured = plain.copy()
    panels = []
    for kind, labels in ids.items():
        instance = spec.instance(kind)
        _draw_contours(contoured, labels, instance, classes, palette)
        panel = _colorize(labels)
        parent = spec.parent(instance)
        if parent is not None and parent.column in ids:
            panel[(labels == 0) & (ids[parent.column] > 0)] = _PARENT_SHADE
        panels.append(panel)
    return [plain, contoured, classes, *panels]


def _draw_contours(
    picture: NDArray[np.uint8],
    labels: _Labels,
    instance: InstanceSpec,
    classes: NDArray[np.uint8],
    palette: NDArray[np.uint8],
) -> None:
    """Draw the contours of one kind over an RGB picture.

    They have the colors of classes: colors of ids would clash, and some are hard to see on gray.
    Instances without a class of their own get thicker contours in the color of their first class.
    """
    thin = max(1, round(max(labels.shape) / 300))
    if instance.has_class:
        edge = contours(labels, thin)
        picture[edge] = classes[edge]
    else:
        picture[contours(labels, 2 * thin)] = palette[instance.first_class]


def _count_ids(labels: _Labels) -> int:
    return int(np.count_nonzero(np.unique(labels)))


def _count_classes(
    semantic: NDArray[np.uint8], spec: DatasetSpec
) -> list[tuple[SemanticClass, float]]:
    """The classes that occur in the slice, in order, each with its share of the pixels, 0..1."""
    counts = np.bincount(semantic.ravel(), minlength=len(spec.classes)).tolist()
    return [(c, n / semantic.size) for c, n in zip(spec.classes, counts, strict=True) if n]


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
    text = f"{length:.10g} nm"  # Pillow's own font lacks the letter mu
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
    """Draw swatch, name and share of each class, one per line."""
    shares = [f"{share:.1%}" if share >= 0.001 else "< 0.1%" for _, share in present]
    texts = [f"{c.name}, {share}" for (c, _), share in zip(present, shares, strict=True)]
    line = _extent("Ag", font)[1]
    width = 2 * line + max(_extent(text, font)[0] for text in texts)
    legend = Image.new("RGB", (width, 3 * line // 2 * len(present)), _PAGE)
    draw = ImageDraw.Draw(legend)
    for row, ((c, _), text) in enumerate(zip(present, texts, strict=True)):
        top = row * (3 * line // 2)
        draw.rectangle((0, top, 3 * line // 2, top + line), fill=c.colors[0])
        draw.text((2 * line, top), text, font=font, fill=_INK)
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
