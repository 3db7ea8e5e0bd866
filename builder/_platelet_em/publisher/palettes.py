"""Colours and what they stand for: the two semantic palettes, and distinct colours for ids."""

import numpy as np
from numpy.typing import NDArray

from _platelet_em.errors import ConversionError
from _platelet_em.facts import CLASSES

__all__ = ["PALETTES", "display_colors", "distinct_colors"]

PALETTES: dict[str, NDArray[np.uint8]] = {
    "A": np.array([c.color_a for c in CLASSES], np.uint8),
    "B": np.array([c.color_b for c in CLASSES], np.uint8),
}
"""Name of a semantic palette -> uint8 (7, 3), RGB by class index."""

for _palette in PALETTES.values():
    _palette.setflags(write=False)

_MAX_COLORS = 2**24 - 1
_ODD_MULTIPLIER = 0x9E3779


def distinct_colors(ids: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Colours for label files: uint8 (n, 3), different for different ids, black only for 0.

    An odd factor maps 0..2**24 - 1 one to one onto itself modulo 2**24, so that no two ids can
    have one colour, and neighbours lie far apart.

    Raises:
        ConversionError: for ids beyond what 24 bits can tell apart.

    >>> distinct_colors(np.array([0, 1, 2])).tolist()
    [[0, 0, 0], [158, 55, 121], [60, 110, 242]]
    """
    if (large := ids[ids > _MAX_COLORS]).size:
        raise ConversionError(
            f"id {large[0]} has no colour of its own: 8-bit RGB tells {_MAX_COLORS} ids apart: "
            "keep the JSON labels"
        )
    codes = ids.astype(np.int64) * _ODD_MULTIPLIER % (_MAX_COLORS + 1)
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], axis=-1).astype(np.uint8)


def display_colors(ids: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Colours for the eye: uint8 (..., 3), bright, the same for an id wherever it is drawn.

    Id 0 is black. Hues follow the golden ratio, so that ids close to each other look different;
    lightness takes turns between three levels. Far ids may share a colour: these are for
    looking only.

    >>> display_colors(np.array([0, 1])).tolist()[0]
    [0, 0, 0]
    """
    ids = np.asarray(ids)
    hue = ids * 0.618033988749895 % 1.0
    saturation = np.choose(ids % 3, [0.55, 0.85, 0.7])
    value = np.choose(ids // 3 % 3, [1.0, 0.85, 0.7])
    channel = (np.stack([hue * 6 + 5, hue * 6 + 3, hue * 6 + 1], axis=-1)) % 6
    ramp = np.clip(np.minimum(channel, 4 - channel), 0, 1)
    rgb = value[..., None] * (1 - saturation[..., None] * ramp)
    # Dark blues and purples are lost on black: mix in white until all are about as bright.
    luminance = rgb @ np.array([0.2126, 0.7152, 0.0722])
    lift = np.clip((0.42 - luminance) / (1 - luminance), 0, 1)[..., None]
    rgb = rgb + (1 - rgb) * lift
    return np.where(ids[..., None] > 0, np.rint(rgb * 255), 0).astype(np.uint8)
