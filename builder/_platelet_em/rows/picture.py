"""RGB panels of a slice for viewing: image, contours, semantic classes and instances.

Labels are scaled by nearest neighbor only. Contours are drawn after scaling, so that they match
the scaled labels and do not fade.
"""

import io
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from _platelet_em.arrays.colors import color_ids
from _platelet_em.arrays.volume_view import VolumeView
from _platelet_em.errors import ImageFormatError
from _platelet_em.facts import PICTURE_PALETTES
from _platelet_em.publisher.palettes import class_palette
from _platelet_em.spec import DatasetSpec, InstanceSpec

__all__ = [
    "DRAWING",
    "SliceArrays",
    "class_colors",
    "contour_color",
    "contour_thickness",
    "contours",
    "draw_preview",
    "panel_size",
    "read_slice",
    "render_panels",
    "stretch",
    "to_png",
    "validate_slice",
]

DRAWING = "2"
"""Version of how slices are drawn, previews and figures alike: another number if pixels change.
Pictures of repositories are compared with new ones only if both are of one version."""

_Labels: TypeAlias = NDArray[np.integer]

_PAGE = (255, 255, 255)
_PARENT_SHADE = 64
"""Gray of the parents, such as cells, behind the instances that are part of them."""

_PREVIEW_GAP = 4

_KIND_COLORS = ((255, 227, 45), (166, 209, 255), (129, 101, 253), (167, 129, 9))
"""Colors of the contours of instances without classes, by kind: four that color-blind readers can
tell apart, also from gray."""


@dataclass(frozen=True, slots=True)
class SliceArrays:
    """One slice as dense arrays, all of one shape (y, x).

    Attributes:
        image: uint8 or uint16.
        semantic: uint8, class indices; None without classes.
        instances: Column -> ids, int32, 0 is background.
    """

    image: NDArray[Any]
    semantic: NDArray[np.uint8] | None
    instances: dict[str, NDArray[np.int32]]


def read_slice(volume: VolumeView, z: int) -> SliceArrays:
    """Slice z of a volume as dense arrays."""
    return SliceArrays(
        volume.image(z),
        volume.semantic(z) if volume.has_semantic else None,
        {kind: np.asarray(volume.labels(kind, z)) for kind in volume.kinds},
    )


def class_colors(spec: DatasetSpec, palette: str = PICTURE_PALETTES[0]) -> NDArray[np.uint8]:
    """Colors of the classes in pictures, RGB uint8 (n_classes, 3), by class index.

    Args:
        spec: The dataset.
        palette: One of `PICTURE_PALETTES`.
    """
    if palette != PICTURE_PALETTES[0]:
        return class_palette(spec)
    plain = class_palette(spec)
    named = [c.accessible for c in spec.classes]
    return np.array(
        [color if own is None else own for own, color in zip(named, plain, strict=True)], np.uint8
    ).reshape(-1, 3)


def stretch(image: NDArray[Any], low: float = 0.5, high: float = 99.5) -> NDArray[np.uint8]:
    """Stretch the contrast between two percentiles, for viewing only.

    Args:
        image: uint8 or uint16 (y, x); it is not changed.
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

    A slice without classes has no panel of them.

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
    validate_slice(arrays, spec)
    size = panel_size(arrays.image.shape, width)
    panels = render_panels(arrays, spec, size, class_colors(spec))[1:]
    step = width + _PREVIEW_GAP
    canvas = np.full((size[0], len(panels) * step - _PREVIEW_GAP, 3), _PAGE, np.uint8)
    for index, panel in enumerate(panels):
        left = index * step + (width - size[1]) // 2
        canvas[:, left : left + size[1]] = panel
    return canvas


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
    # Higher levels give larger files of these pictures, which are noise beside flat areas, and
    # take up to six times as long.
    Image.fromarray(rgb).save(buffer, format="PNG", compress_level=3)
    return buffer.getvalue()


def validate_slice(arrays: SliceArrays, spec: DatasetSpec) -> None:
    """Raise ImageFormatError if the arrays are not one slice."""
    image, semantic = arrays.image, arrays.semantic
    if image.ndim != 2 or image.size == 0:
        raise ImageFormatError(
            f"image should be (y, x) of at least 1 x 1 pixels, but got shape {image.shape}"
        )
    named: dict[str, _Labels] = {**arrays.instances}
    if semantic is not None:
        named |= {"semantic": semantic}
    for name, array in named.items():
        if array.shape != image.shape:
            raise ImageFormatError(
                f"{name} should have the image's shape {image.shape}, but got {array.shape}"
            )
    if semantic is None:
        return
    last = len(spec.classes) - 1
    for index in (int(semantic.min()), int(semantic.max())):
        if not 0 <= index <= last:
            raise ImageFormatError(f"semantic should have classes 0..{last}, but got {index}")


def panel_size(shape: tuple[int, ...], width: int) -> tuple[int, int]:
    """Height and width of the largest panel, at most `width` px wide and four times as high."""
    if width < 1:
        raise ImageFormatError(f"width should be at least 1 px, but got {width}")
    scale = min(width / shape[1], 4 * width / shape[0])
    return max(1, round(shape[0] * scale)), max(1, round(shape[1] * scale))


def _resize_labels(labels: _Labels, size: tuple[int, int]) -> _Labels:
    """Scale labels by nearest neighbor of pixel centers; Pillow has no mode for all of int32."""
    y, x = ((2 * np.arange(n) + 1) * m // (2 * n) for n, m in zip(size, labels.shape, strict=True))
    return labels[np.ix_(y, x)]


def render_panels(
    arrays: SliceArrays, spec: DatasetSpec, size: tuple[int, int], palette: NDArray[np.uint8]
) -> list[NDArray[np.uint8]]:
    """Panels of one size: image, image with contours, semantic classes, each instance kind.

    Args:
        arrays: The slice, as `validate_slice` accepts it.
        spec: The dataset.
        size: Height and width of a panel.
        palette: Colors of the classes, uint8 (n_classes, 3).

    Returns:
        RGB uint8 (h, w, 3) each; without classes there is no panel of them.
    """
    # Enlarged pixels stay square: interpolation would look like resolution.
    enlarged = max(size) > max(arrays.image.shape)
    method = Image.Resampling.NEAREST if enlarged else Image.Resampling.LANCZOS
    gray = Image.fromarray(stretch(arrays.image)).resize((size[1], size[0]), method)
    plain = np.asarray(gray.convert("RGB"))
    classes = None
    if arrays.semantic is not None:
        indices = _resize_labels(arrays.semantic, size)
        classes = palette[indices]
    ids = {kind: _resize_labels(labels, size) for kind, labels in arrays.instances.items()}
    contoured = plain.copy()
    if not ids and classes is not None:
        edge = contours(indices, contour_thickness(size))
        contoured[edge] = classes[edge]
    panels = []
    for kind, labels in ids.items():
        instance = spec.instance(kind)
        color = contour_color(instance, spec, palette)
        _draw_contours(contoured, labels, instance, classes, color)
        panel = color_ids(labels)
        parent = spec.parent(instance)
        if parent is not None and parent.column in ids:
            panel[(labels == 0) & (ids[parent.column] > 0)] = _PARENT_SHADE
        panels.append(panel)
    return [plain, contoured, *([] if classes is None else [classes]), *panels]


def contour_color(
    instance: InstanceSpec, spec: DatasetSpec, palette: NDArray[np.uint8]
) -> NDArray[np.uint8]:
    """The color of contours that have none of a class: of their first class, or of their kind."""
    if instance.first_class < len(palette) and not instance.has_class:
        color: NDArray[np.uint8] = palette[instance.first_class]
        return color
    kind = [i.column for i in spec.instances].index(instance.column)
    return np.array(_KIND_COLORS[kind % len(_KIND_COLORS)], np.uint8)


def contour_thickness(size: tuple[int, ...]) -> int:
    """Pixels of a thin contour in a panel of a (height, width); a thick one has twice as many."""
    return max(1, round(max(size) / 300))


def _draw_contours(
    picture: NDArray[np.uint8],
    labels: _Labels,
    instance: InstanceSpec,
    classes: NDArray[np.uint8] | None,
    color: NDArray[np.uint8],
) -> None:
    """Draw the contours of one kind over an RGB picture.

    They have the colors of classes: colors of ids would clash, and some are hard to see on gray.
    Instances without a class of their own get thicker contours in one color.
    """
    thin = contour_thickness(labels.shape)
    if instance.has_class and classes is not None:
        edge = contours(labels, thin)
        picture[edge] = classes[edge]
    else:
        picture[contours(labels, 2 * thin)] = color
