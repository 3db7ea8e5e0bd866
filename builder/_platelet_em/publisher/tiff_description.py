"""What the description of a TIF says about the order of its pages: slices, channels, time points.

ImageJ, OME and tifffile write it into the first page. A reader that takes pages in order would
count channels as slices.
"""

import json
import math
import re
from typing import Any

__all__ = ["find_other_axes"]

_MAX_CHANNELS = 7
"""Channels of an ImageJ composite, at most. tifffile calls the first axis of any 3D array channels
when it writes for ImageJ or OME without `axes`, so more of them alone are slices."""

_NAME = r"<(?:\w+:)?"
"""Begin of a tag of XML, with or without the prefix of a namespace."""


def find_other_axes(description: str, depth: int, samples: int) -> str | None:
    """Say which axes other than z the pages of a file have.

    Args:
        description: ImageDescription of the first page.
        depth: Number of pages.
        samples: Samples per pixel of a page.

    Returns:
        What the description says, for a message; None if each page is a slice, or it says nothing.
    """
    if description.startswith(("ImageJ=", "SCIFIO=")):
        return _of_imagej(description)
    if description.lstrip().startswith("<") and re.search(rf"{_NAME}Pixels\b", description):
        return _of_ome(description, samples)
    return _of_tifffile(description, depth) if description.startswith("{") else None


def _of_imagej(description: str) -> str | None:
    pairs = [line.partition("=") for line in description.splitlines()]
    fields = {key: value.strip() for key, _, value in pairs}
    counts = [_count(fields.get(key, "")) for key in ("channels", "slices", "frames")]
    return _explain("ImageJ", *counts)


def _of_ome(description: str, samples: int) -> str | None:
    if (images := len(re.findall(rf"{_NAME}Image[\s>]", description))) > 1:
        return f"OME names {images} images"
    found = [re.search(rf"""\bSize{axis}\s*=\s*["'](\d+)""", description) for axis in "CZT"]
    channels, slices, frames = (_count(size[1] if size else "") for size in found)
    return _explain("OME", 1 if samples > 1 else channels, slices, frames)


def _explain(writer: str, channels: int, slices: int, frames: int) -> str | None:
    long_axes = sum(count > 1 for count in (channels, slices, frames))
    if long_axes > 1 or 1 < channels <= _MAX_CHANNELS:
        return f"{writer} names {channels} channels, {slices} slices and {frames} time points"
    return None


def _of_tifffile(description: str, depth: int) -> str | None:
    try:
        fields: Any = json.loads(description)
        shape = [int(length) for length in fields["shape"]]
        axes = str(fields.get("axes", "")).upper()
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    # The first axes count pages; a description that another program has kept does not fit.
    fitting = [i for i in range(len(shape), -1, -1) if math.prod(shape[:i]) == depth]
    leading = fitting[0] if fitting else 0
    long = [i for i in range(leading) if shape[i] > 1]
    has_channels = len(axes) == len(shape) and any(axes[i] == "C" for i in long)
    if len(long) > 1 or has_channels:
        return f"tifffile wrote the shape {tuple(shape)}" + (f", axes {axes}" if axes else "")
    return None


def _count(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 10 else 1
