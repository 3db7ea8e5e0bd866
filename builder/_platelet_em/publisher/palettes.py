"""Colors of label files: palettes of the semantic classes, and a distinct color for each id."""

import colorsys
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.errors import ConversionError
from _platelet_em.spec import DatasetSpec

__all__ = ["class_palette", "class_palettes", "distinct_colors", "pack_colors", "unpack_colors"]

_MAX_COLORS = 2**24 - 1

_OKABE_ITO = (
    (0, 0, 0),
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (240, 228, 66),
    (0, 114, 178),
    (213, 94, 0),
    (204, 121, 167),
)
"""The palette of Okabe and Ito (Color Universal Design, 2008), which many tools have."""

_ODD_MULTIPLIER = 0x9E3779


def class_palettes(spec: DatasetSpec) -> dict[str, NDArray[np.uint8]]:
    """Palette name -> uint8 (n_classes, 3), RGB by class index."""
    return {
        name: np.array([c.colors[i] for c in spec.classes], np.uint8)
        for i, name in enumerate(spec.palettes)
    }


def class_palette(spec: DatasetSpec) -> NDArray[np.uint8]:
    """uint8 (n_classes, 3): the palette of the published pictures, and of palette images.

    Classes of a dataset without palettes get colors that differ, black for index 0.
    """
    if not spec.palettes:
        return _default_colors(len(spec.classes))
    return class_palettes(spec)[spec.palettes[0]]


def _default_colors(count: int) -> NDArray[np.uint8]:
    """Colors of indices, all different: uint8 (count, 3).

    The first eight are those of Okabe and Ito, which color-blind readers can tell apart. Hues by
    the golden ratio, in three brightnesses, follow.

    >>> _default_colors(3).tolist()
    [[0, 0, 0], [230, 159, 0], [86, 180, 233]]
    """
    colors = [*_OKABE_ITO]
    for index in range(len(colors), count):
        hue, value = index * 0.618034 % 1, (1.0, 0.8, 0.6)[index % 3]
        red, green, blue = (round(255 * part) for part in colorsys.hsv_to_rgb(hue, 0.7, value))
        colors.append((red, green, blue))
    return np.array(colors, np.uint8)[:count]


def distinct_colors(ids: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Colors for label files: uint8 (n, 3), different for different ids, black only for 0.

    An odd factor maps 0..2**24 - 1 one-to-one onto itself modulo 2**24, so no two ids share a
    color, and neighboring ids get colors far apart.

    Raises:
        ConversionError: for ids that 24 bits cannot tell apart.

    >>> distinct_colors(np.array([0, 1, 2])).tolist()
    [[0, 0, 0], [158, 55, 121], [60, 110, 242]]
    """
    if (large := ids[ids > _MAX_COLORS]).size:
        raise ConversionError(
            f"id {large[0]} has no color of its own: 8-bit RGB distinguishes {_MAX_COLORS} ids: "
            "keep the JSON labels"
        )
    codes = ids.astype(np.int64) * _ODD_MULTIPLIER % (_MAX_COLORS + 1)
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1).astype(np.uint8)


def pack_colors(page: NDArray[Any]) -> NDArray[np.uint64]:
    """One number per pixel for colors (y, x, 3 or 4): 16 bits per sample, red highest.

    Pixels that are black, or transparent (alpha 0), become 0.

    >>> hex(pack_colors(np.array([[[1, 2, 3, 255]]], np.uint8))[0, 0])
    '0x100020003'
    """
    codes: NDArray[np.uint64] = page[..., 0].astype(np.uint64)
    for channel in (1, 2):
        codes <<= np.uint64(16)
        codes |= page[..., channel]
    if page.shape[-1] == 4:
        codes[page[..., 3] == 0] = 0
    return codes


def unpack_colors(codes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Samples of packed colors, int64 (n, 3)."""
    shifts = np.array([32, 16, 0], np.uint64)
    samples: NDArray[np.uint64] = codes[:, None] >> shifts & np.uint64(0xFFFF)
    return samples.astype(np.int64)
