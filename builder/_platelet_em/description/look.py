"""`look_at`: what a few pages of a picture file show, for the draft of a description."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from _platelet_em.errors import PlateletEMError
from _platelet_em.files import check_regular, open_regular, read_regular
from _platelet_em.limits import MAX_METADATA, MAX_PAGE
from _platelet_em.publisher.tiff import TiffStack

__all__ = ["Look", "look_at", "look_at_size"]

_MAX_VALUES = 100_000


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was seen of a file.

    Attributes:
        shape: (z, y, x); (0, 0, 0) if it could not be read.
        dtype: Name of the dtype.
        form: "gray", "gray in RGB", "color", "bits", "runs" (a JSON label file), or "unreadable".
        values: Value -> number of pixels, of the pages that were read. Of a color 0xrrggbb.
        smoothness: Share of pixels that are as their neighbor in x.
        reason: Why it could not be read.
    """

    shape: tuple[int, int, int] = (0, 0, 0)
    dtype: str = ""
    form: str
    values: dict[int, int] = field(default_factory=dict)
    smoothness: float = 0.0
    reason: str = ""


def look_at(path: Path) -> Look:
    """Look at the first, middle and last page of a TIF, at a PNG, or at a JSON label file."""
    try:
        if path.suffix.casefold() == ".json":
            return _look_at_runs(path)
        shape, pages = _read(path)
        return _summarize(shape, pages)
    except Exception as error:  # noqa: BLE001  # damaged files raise anything; it is a draft
        return Look(form="unreadable", reason=" ".join(str(error).split())[:200])


def look_at_size(path: Path) -> tuple[int, int, int]:
    """The shape (z, y, x) of a picture, without its pixels; (0, 0, 0) if it cannot be read."""
    try:
        if path.suffix.casefold() == ".png":
            check_regular(path)
            with Image.open(path, formats=["PNG"]) as picture:
                return 1, picture.height, picture.width
        with TiffStack(open_regular(path), path.name) as stack:
            return stack.shape[0], stack.shape[1], stack.shape[2]
    except Exception:  # noqa: BLE001  # as in `look_at`
        return 0, 0, 0


def _read(path: Path) -> tuple[tuple[int, int, int], list[NDArray[Any]]]:
    if path.suffix.casefold() == ".png":
        check_regular(path)
        with Image.open(path, formats=["PNG"]) as picture:
            if picture.width * picture.height > MAX_PAGE:
                raise PlateletEMError(f"larger than {MAX_PAGE} pixels")
            return (1, picture.height, picture.width), [np.asarray(picture)]
    with TiffStack(open_regular(path), path.name) as stack:
        depth, height, width = stack.shape[:3]
        chosen = sorted({0, depth // 2, depth - 1})
        return (depth, height, width), [stack.page(z) for z in chosen]


def _summarize(shape: tuple[int, int, int], pages: list[NDArray[Any]]) -> Look:
    first = pages[0]
    dtype, form = first.dtype, "gray"
    if dtype.kind not in "bui":
        raise PlateletEMError(f"{dtype} values: images are uint8 or uint16, labels integers")
    if first.ndim == 3:
        channels = [page[..., :3] for page in pages]
        is_gray = all((c == c[..., :1]).all() for c in channels)
        form = "gray in RGB" if is_gray else "color"
        pages = [c[..., 0] if is_gray else _pack(c) for c in channels]
    elif dtype.kind == "b":
        form, pages = "bits", [page * np.uint8(255) for page in pages]
    equal = [float((p[:, 1:] == p[:, :-1]).mean()) if p.shape[1] > 1 else 1.0 for p in pages]
    return Look(
        shape=shape,
        dtype=dtype.name,
        form=form,
        values=_count(pages),
        smoothness=float(np.mean(equal)),
    )


def _pack(colors: NDArray[Any]) -> NDArray[np.int64]:
    """0xrrggbb of each pixel; 16-bit samples by their high byte."""
    wide = colors.astype(np.int64) >> (8 if colors.dtype.itemsize == 2 else 0)
    packed: NDArray[np.int64] = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
    return packed


def _count(pages: Iterable[NDArray[Any]]) -> dict[int, int]:
    found: dict[int, int] = {}
    for page in pages:
        if page.dtype.itemsize <= 2 and page.dtype.kind == "u":
            counts = np.bincount(page.ravel())
            values = np.flatnonzero(counts)
            numbers = counts[values]
        else:
            values, numbers = np.unique(page, return_counts=True)
        pairs = zip(values[:_MAX_VALUES].tolist(), numbers[:_MAX_VALUES].tolist(), strict=True)
        for value, number in pairs:
            found[value] = found.get(value, 0) + number
    return found


def _look_at_runs(path: Path) -> Look:
    labels = json.loads(read_regular(path, MAX_METADATA))
    shape = labels[".info"]["shape"]
    depth, height, width = shape if len(shape) == 3 else (1, *shape)
    return Look(
        shape=(int(depth), int(height), int(width)),
        dtype="labels",
        form="runs",
        values={int(key): 1 for key in labels if key.isdecimal()},
        smoothness=1.0,
    )
