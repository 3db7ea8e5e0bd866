"""Label files of either kind, JSON or TIF, read into a `RunStore` with checked ids."""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import IO, NoReturn

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.rle import parse, parse_chunks
from _platelet_em.arrays.runs import Runs, crossings, resolve, value_runs
from _platelet_em.errors import LabelFormatError
from _platelet_em.facts import CLASS_NAMES
from _platelet_em.limits import MAX_ID, MAX_PAGES
from _platelet_em.publisher import label_json
from _platelet_em.publisher.palettes import PALETTES
from _platelet_em.publisher.runstore import RunStore
from _platelet_em.publisher.tiff import TiffStack, pack_colors, unpack_colors

__all__ = ["read_labels"]

Shape = tuple[int, int, int]

_BATCH = 1 << 19
"""Bytes of RLE text that are parsed at a time."""

_CLASS_RANGE = f"classes from 0 to {len(CLASS_NAMES) - 1}"


def read_labels(
    file: IO[bytes], name: str, *, semantic: bool, shape: Shape | None = None
) -> RunStore:
    """Read a label file of the publisher, and close it.

    Args:
        file: Open for reading; it can seek.
        name: What to call it in a message; its ending tells JSON from TIF.
        semantic: Whether ids are classes 1 to 6 and colours those of a palette.
        shape: (z, y, x) of the image that the labels belong to; None takes the file's own.

    Returns:
        The runs, and in `ids` the instance ids or class indices that their owners stand for.

    Raises:
        LabelFormatError: for labels of another shape, unknown colours, or a damaged file.
    """
    with ExitStack() as undo:
        if name.lower().endswith(".json"):
            undo.callback(file.close)
            labels = label_json.scan(file, name)
            store = undo.enter_context(_new_store(labels.shape, name, shape))
            store.ids = _read_json(file, labels, name, store, semantic=semantic)
            file.close()
        else:
            with TiffStack(file, name) as stack:
                store = undo.enter_context(_new_store(stack.shape[:3], name, shape))
                store.ids = _read_tif(stack, name, store, semantic=semantic)
        undo.pop_all()
    return store


def _new_store(shape: tuple[int, ...], name: str, expected: Shape | None) -> RunStore:
    if expected is not None and shape != expected:
        _fail(name, f"shape {shape}", f"the image's shape {expected}")
    if len(shape) != 3:
        _fail(name, f"shape {shape}", "a volume (z, y, x)")
    depth, height, width = shape
    return RunStore((depth, height, width))


def _fail(name: str, found: str, expected: str, remedy: str = "") -> NoReturn:
    raise LabelFormatError(f"{name}: expected {expected}, got {found}{remedy}")


# --- JSON -------------------------------------------------------------------------------------


def _read_json(
    file: IO[bytes], labels: label_json.LabelSpans, name: str, store: RunStore, *, semantic: bool
) -> NDArray[np.int32]:
    ids = np.array(labels.ids, np.int32)
    if semantic and (wrong := ids[ids >= len(CLASS_NAMES)]).size:
        _fail(name, f"label {wrong[0]}", _CLASS_RANGE)
    size = int(np.prod(store.shape, dtype=np.int64))
    plane = max(math.prod(store.shape[1:]), 1)
    for runs in _parse_batches(file, labels, size, name):
        # A run is kept as a piece a slice, and a shape may have any number of slices. Overlaps
        # count once, but are kept if they can be: `verify` tells of them.
        slices = crossings(runs, plane)
        if slices > MAX_PAGES and (slices := crossings(resolve(runs), plane)) > MAX_PAGES:
            _fail(
                name, f"shape {store.shape} and {slices}", f"runs over {MAX_PAGES} slices at most"
            )
        store.add(runs)
    return ids


def _parse_batches(
    file: IO[bytes], labels: label_json.LabelSpans, size: int, name: str
) -> Iterator[Runs]:
    """The runs of all labels, a batch of short texts or a piece of a long one at a time."""

    def label_name(first: int) -> Callable[[int], str]:
        return lambda i: f"{name}: id {labels.ids[first + i]}"

    lengths = np.diff(labels.spans, axis=1).ravel()
    first = 0
    while first < len(lengths):
        if lengths[first] > _BATCH:
            begin, end = labels.spans[first].tolist()
            chunks = label_json.read_text(file, begin, end, _BATCH)
            for runs in parse_chunks(chunks, size, label_name(first)(0)):
                yield Runs(runs.starts, runs.stops, runs.owners + first)
            first += 1
            continue
        fits = np.searchsorted(np.cumsum(lengths[first:]), _BATCH, side="right")
        last = first + max(int(fits), 1)
        spans = labels.spans[first:last].tolist()
        texts = [b"".join(label_json.read_text(file, a, b, _BATCH)) for a, b in spans]
        offsets = np.concatenate([[0], np.cumsum(list(map(len, texts)))])
        joined = np.frombuffer(b"".join(texts), np.uint8)
        runs = parse(joined, offsets, size, label_name(first))
        yield Runs(runs.starts, runs.stops, runs.owners + first)
        first = last


# --- TIF --------------------------------------------------------------------------------------


def _read_tif(
    stack: TiffStack, name: str, store: RunStore, *, semantic: bool
) -> NDArray[np.int32]:
    if stack.shape[3:] not in ((), (3,), (4,)) or stack.dtype.kind not in "bui":
        _fail(
            name,
            f"shape {stack.shape}, dtype {stack.dtype}",
            "integer indices (z, y, x), or RGB or RGBA colours (z, y, x, channels)",
        )
    if len(stack.shape) == 3:
        values = _read_pages(stack, store, lambda z: _index_page(stack, name, z))
        if semantic and (wrong := np.flatnonzero(values.code >= len(CLASS_NAMES))).size:
            where = values.describe(int(wrong[0]), store.shape)
            _fail(name, f"label {values.code[wrong[0]]} {where}", _CLASS_RANGE)
        return values.code.astype(np.int32)
    if stack.dtype not in (np.uint8, np.uint16):
        _fail(name, f"dtype {stack.dtype}", "colour samples of dtype uint8 or uint16")
    values = _read_pages(stack, store, lambda z: _color_page(stack, name, z))
    colors = _eight_bit(values, name, store.shape)
    if semantic:
        return _classes(colors, values, name, store.shape)
    return np.arange(1, len(colors) + 1, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class _Values:
    """Distinct values of a label TIF, in the order in which (z, y, x) first shows them.

    Attributes:
        code: uint64 (n,), the indices or packed colours.
        count: int64 (n,), voxels of each.
        first: int64 (n,), flat index of the first voxel of each.
    """

    code: NDArray[np.uint64]
    count: NDArray[np.int64]
    first: NDArray[np.int64]

    def describe(self, i: int, shape: Shape) -> str:
        """How often and where a value stands."""
        z, y, x = (int(c) for c in np.unravel_index(int(self.first[i]), shape))
        return f"at {self.count[i]} voxels, first at z={z}, y={y}, x={x}"


def _read_pages(
    stack: TiffStack, store: RunStore, read: Callable[[int], NDArray[np.uint64]]
) -> _Values:
    """Put the runs of all pages into the store, each distinct value being an owner."""
    keys: dict[int, int] = {}
    counts: list[int] = []
    firsts: list[int] = []
    for z in range(stack.shape[0]):
        codes = read(z)
        starts, stops, values = value_runs(codes.reshape(-1))
        held = values != 0
        starts, stops = starts[held], stops[held]
        present, first, inverse = np.unique(values[held], return_index=True, return_inverse=True)
        for i in np.argsort(first, kind="stable").tolist():
            if keys.setdefault(int(present[i]), len(keys)) == len(counts):
                counts.append(0)
                firsts.append(z * codes.size + int(starts[first[i]]))
        owners = np.array([keys[code] for code in present.tolist()], np.int64)
        lengths = np.zeros(len(present), np.int64)
        np.add.at(lengths, inverse, stops - starts)
        for owner, length in zip(owners.tolist(), lengths.tolist(), strict=True):
            counts[owner] += length
        store.add_slice(z, Runs(starts, stops, owners[inverse]))
    return _Values(
        np.array(list(keys), np.uint64), np.array(counts, np.int64), np.array(firsts, np.int64)
    )


def _index_page(stack: TiffStack, name: str, z: int) -> NDArray[np.uint64]:
    page = stack.page(z)
    if (bad := (page < 0) | (page > MAX_ID)).any():
        y, x = (int(c) for c in np.argwhere(bad)[0])
        _fail(f"{name}: z={z}, y={y}, x={x}", f"label {page[y, x]}", f"0 to {MAX_ID}")
    return page.astype(np.uint64)


def _color_page(stack: TiffStack, name: str, z: int) -> NDArray[np.uint64]:
    page = stack.page(z)
    if page.shape[-1] == 4:
        alpha = page[..., 3]
        opaque = np.iinfo(page.dtype).max
        if (bad := (alpha != 0) & (alpha != 255) & (alpha != opaque)).any():
            y, x = (int(c) for c in np.argwhere(bad)[0])
            place = f"{name}: z={z}, y={y}, x={x}"
            full = " or ".join(map(str, sorted({255, int(opaque)})))
            _fail(place, f"alpha {alpha[y, x]}", f"0 (transparent) or {full} (opaque)")
    return pack_colors(page)


def _eight_bit(values: _Values, name: str, shape: Shape) -> NDArray[np.int64]:
    """Colours in 8 bits a sample; 16-bit samples hold those values, or 257 times them."""
    colors = unpack_colors(values.code)
    if (colors <= 255).all():
        return colors
    if (colors % 257 == 0).all():
        return colors // 257
    # The file's scale is that of its larger samples, so the odd one out is what breaks it.
    wrong = int(np.argmax((colors % 257 != 0).any(axis=1)))
    _fail(
        name,
        f"colour {tuple(colors[wrong].tolist())} {values.describe(wrong, shape)}",
        "samples that are all below 256, or all multiples of 257",
    )


def _classes(
    colors: NDArray[np.int64], values: _Values, name: str, shape: Shape
) -> NDArray[np.int32]:
    """Class index of each colour, by the one palette that holds all of them."""
    lookup = {
        key: {tuple(color): index for index, color in enumerate(palette.tolist())}
        for key, palette in PALETTES.items()
    }
    present = [tuple(color) for color in colors.tolist()]
    for palette in lookup.values():
        if all(color in palette for color in present):
            return np.array([palette[color] for color in present], np.int32)
    strange = [i for i, c in enumerate(present) if not any(c in p for p in lookup.values())]
    if strange:
        found = f"colour {present[strange[0]]} {values.describe(strange[0], shape)}"
        expected = "colours of one palette: " + "; ".join(
            f"{key}: {', '.join(map(str, palette))}" for key, palette in lookup.items()
        )
    else:
        found = f"colours of palette A and of palette B together: {present}"
        expected = "colours of one palette"
    _fail(name, found, expected, ": what the colour stands for is not known")
