"""Labels written in the forms that the publisher's tools read: JSON, a TIF of ids or of colors."""

from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.runs import clip, paint
from _platelet_em.errors import ConversionError
from _platelet_em.progress import progress_bar
from _platelet_em.publisher import label_json
from _platelet_em.publisher.palettes import distinct_colors
from _platelet_em.publisher.tiff import write_pages

__all__ = ["write_json", "write_tif"]

_MAX_INDEX = 2**16 - 1


def write_json(out: IO[bytes], labels: LazyLabels) -> None:
    """Write labels as the publisher's JSON, ids ascending."""
    order = np.argsort(labels.ids, kind="stable")
    strings = labels.rle
    label_json.write(out, labels.shape, labels.ids[order].tolist(), [strings[i] for i in order])


def write_tif(
    out: IO[bytes],
    labels: LazyLabels,
    *,
    form: str,
    palette: NDArray[np.uint8] | None,
    name: str,
) -> None:
    """Write labels as a TIF of ids, or of colors.

    Args:
        out: Open for writing and reading, empty.
        labels: The labels, (z, y, x).
        form: "index", uint16 ids, or "rgba", uint8 colors; background is 0, and transparent.
        palette: uint8 (n, 3), colors by label; None gives each id a color of its own.
        name: What to call the labels in a message.

    Raises:
        ConversionError: for ids that the form cannot tell apart, or that have no voxels.
    """
    if palette is None:
        _refuse_lost_ids(labels, form, name)
    if form == "index":
        write_pages(out, _draw_pages(labels, labels.ids.astype(np.uint16), name))
        return
    rgb = distinct_colors(labels.ids) if palette is None else palette[labels.ids]
    rgba = np.concatenate([rgb, np.full((len(rgb), 1), 255, np.uint8)], axis=1)
    # Four samples are one 32-bit number, so that colors are painted like ids.
    codes = np.ascontiguousarray(rgba).view(np.uint32).reshape(-1)
    pages = _draw_pages(labels, codes, name)
    write_pages(out, (page.view(np.uint8).reshape(*page.shape, 4) for page in pages))


def _draw_pages(labels: LazyLabels, values: NDArray[Any], name: str) -> Iterator[NDArray[Any]]:
    """Each slice as an array (y, x) with `values[i]` where instance i is."""
    depth, height, width = labels.shape
    size = height * width
    for z in progress_bar(range(depth), stage=f"Painting {Path(name).name}", unit="page"):
        runs = clip(labels.runs, z * size, (z + 1) * size)
        yield paint(runs, values, size, values.dtype).reshape(height, width)


def _refuse_lost_ids(labels: LazyLabels, form: str, name: str) -> None:
    if (lost := labels.ids[labels.areas == 0]).size:
        raise ConversionError(
            f"{name}: id {lost[0]} has no voxels of its own, since its RLE is empty or covered "
            "by later ones, and a TIF cannot hold it: refused, keep the JSON"
        )
    if form == "index" and (large := labels.ids[labels.ids > _MAX_INDEX]).size:
        raise ConversionError(
            f"{name}: id {large[0]} does not fit a uint16 TIF (at most {_MAX_INDEX}): refused, "
            "keep the JSON, or write an RGBA TIF"
        )
