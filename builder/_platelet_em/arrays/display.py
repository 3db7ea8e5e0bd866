"""How lazy arrays show themselves: one line of text, or a table and a small picture in a notebook.

Only the slice in the picture is decoded, and of it only the pixels that are drawn.
"""

import base64
import html
import io
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from _platelet_em.arrays.colors import color_ids
from _platelet_em.errors import LabelFormatError, PlateletEMError

__all__ = ["describe_instances", "draw_gray", "draw_ids", "format_bytes", "to_html", "to_table"]

_SIDE = 192
"""Pixels of the picture along its longer side, at most."""

_CLASS = "class_id"


def format_bytes(count: int) -> str:
    """A number of bytes with three digits.

    >>> format_bytes(999), format_bytes(2_560_000)
    ('999 B', '2.56 MB')
    """
    power = min(max(len(str(count)) - 1, 0) // 3, 3)
    return f"{count / 1000**power:.3g} {('B', 'kB', 'MB', 'GB')[power]}"


def describe_instances(labels: Any) -> str:
    """The number of instances of `LazyLabels`, and of each class where they have classes."""
    count = len(labels.ids)
    text = f"{count} instance{'s' * (count != 1)}"
    try:
        classes = labels.properties.get(_CLASS)
    except LabelFormatError:  # of damaged properties, which are read here
        classes = None
    if classes is None or classes.dtype.kind not in "iu" or not count:
        return text  # no classes, or something else under this name
    found, counts = np.unique(classes, return_counts=True)
    names = [
        labels.class_names[index] if 0 <= index < len(labels.class_names) else f"class {index}"
        for index in found.tolist()
    ]
    parts = [f"{n} {name}" for n, name in zip(counts.tolist(), names, strict=True)]
    return f"{text}: {', '.join(parts)}"


def _thin(array: Any) -> NDArray[Any] | None:
    """The middle slice of an array (z, y, x) or (y, x), every n-th pixel; None for others."""
    if array.ndim not in (2, 3) or not array.size:
        return None
    step = -(-max(array.shape[-2:]) // _SIDE)
    index = (slice(None, None, step), slice(None, None, step))
    return np.asarray(array[index if array.ndim == 2 else (array.shape[0] // 2, *index)])


def draw_ids(array: Any) -> NDArray[np.uint8] | None:
    """A picture of labels, uint8 (y, x, 3), black where there are none."""
    if (page := _thin(array)) is None:
        return None
    return color_ids(page)


def draw_gray(array: Any) -> NDArray[np.uint8] | None:
    """A picture of gray values, uint8 (y, x), from the darkest to the brightest percent."""
    if (page := _thin(array)) is None:
        return None
    low, high = (float(value) for value in np.percentile(page, [1, 99]))
    if low == high:
        low, high = float(page.min()), float(page.max()) + 1
    gray: NDArray[np.uint8] = np.clip((page - low) * (255 / (high - low)), 0, 255).astype(np.uint8)
    return gray


def to_html(
    array: Any, facts: dict[str, str], draw: Callable[[Any], NDArray[np.uint8] | None]
) -> str:
    """A table of facts about a lazy array, with a picture beside it.

    Of a damaged slice, the table has what is wrong with it, and there is no picture.

    Args:
        array: The array.
        facts: Name and value of further facts.
        draw: Makes the picture, uint8 (y, x) or (y, x, 3), or None.
    """
    picture = None
    try:
        picture = draw(array)
    except PlateletEMError as error:
        facts = {**facts, "error": str(error)}
    dense = format_bytes(array.size * array.dtype.itemsize)
    rows = {
        "shape": str(array.shape),
        "dtype": str(array.dtype),
        **facts,
        "bytes": f"{format_bytes(array.nbytes)} stored, {dense} decoded",
    }
    image = ""
    if picture is not None:
        out = io.BytesIO()
        Image.fromarray(picture).save(out, "PNG")
        data = base64.b64encode(out.getvalue()).decode()
        image = f"<td><img alt='one slice' src='data:image/png;base64,{data}'></td>"
    return to_table(type(array).__name__, rows, image)


def to_table(title: str, rows: dict[str, str], image: str = "") -> str:
    """A table of facts for a notebook.

    Args:
        title: Shown above the table.
        rows: Name and value of each fact.
        image: HTML of a cell beside the facts.

    >>> "<th style='text-align:left'>count</th>" in to_table("Windows", {"count": "3"})
    True
    """
    lines = "".join(
        f"<tr><th style='text-align:left'>{html.escape(key)}</th>"
        f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
        for key, value in rows.items()
    )
    return (
        f"<table><tr><td style='vertical-align:top;text-align:left'><b>{title}</b>"
        f"<table>{lines}</table></td>{image}</tr></table>"
    )
