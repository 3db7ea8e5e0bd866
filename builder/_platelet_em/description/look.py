"""`look_at`: what a few pages of a picture file show, for the draft of a description."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.errors import PlateletEMError
from _platelet_em.files import read_regular
from _platelet_em.limits import MAX_METADATA
from _platelet_em.sources.file_stack import FileStack

__all__ = ["Look", "look_at", "look_at_size"]

_MAX_VALUES = 100_000


@dataclass(frozen=True, kw_only=True)
class Look:
    """What was seen of a file.

    Attributes:
        shape: (z, y, x); (0, 0, 0) if it could not be read.
        dtype: Name of the dtype.
        form: "gray", "gray in RGB", "color", "runs" (a JSON label file), or "unreadable".
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
        return _look_at_pages(path)
    except Exception as error:  # noqa: BLE001  # damaged files raise anything; it is a draft
        return Look(form="unreadable", reason=" ".join(str(error).split())[:200])


def look_at_size(path: Path) -> tuple[int, int, int]:
    """The shape (z, y, x) of a picture, without its pixels; (0, 0, 0) if it cannot be read."""
    try:
        with FileStack([path], path.name) as stack:
            return stack.volume_shape
    except Exception:  # noqa: BLE001  # as in `look_at`
        return 0, 0, 0


def _look_at_pages(path: Path) -> Look:
    with FileStack([path], path.name) as stack:
        depth = stack.shape[0]
        return _summarize(stack, [stack.page(z) for z in sorted({0, depth // 2, depth - 1})])


def _summarize(stack: FileStack, pages: list[NDArray[Any]]) -> Look:
    if stack.dtype.kind not in "ui":
        raise PlateletEMError(f"{stack.dtype} values: images are uint8 or uint16, labels integers")
    form = "gray"
    if pages[0].ndim == 3:
        has_alpha = pages[0].shape[-1] in (2, 4)
        channels = [page[..., :-1] if has_alpha else page for page in pages]
        is_gray = all((c == c[..., :1]).all() for c in channels)
        form = "gray in RGB" if is_gray else "color"
        pages = [c[..., 0] if is_gray else _pack(c) for c in channels]
    equal = [float((p[:, 1:] == p[:, :-1]).mean()) if p.shape[1] > 1 else 1.0 for p in pages]
    return Look(
        shape=stack.volume_shape,
        dtype=stack.dtype.name,
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
