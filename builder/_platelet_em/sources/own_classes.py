"""Semantic classes from a user's own pictures: indices, stored codes, or colors of the classes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.kernels import Int64s, value_runs
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.runs import Runs, merge_adjacent
from _platelet_em.errors import LabelFormatError
from _platelet_em.publisher.page_values import PageRuns, collect_values
from _platelet_em.publisher.palettes import class_palette, pack_colors, unpack_colors
from _platelet_em.sources.file_stack import FileStack
from _platelet_em.sources.gray import hide_transparent, read_stored
from _platelet_em.spec import DatasetSpec

__all__ = ["classes_of_codes", "read_classes"]

_OPAQUE = np.uint64(1 << 48)
"""Added to packed colors, so that black is not 0, which transparent pixels are."""


@dataclass(frozen=True, slots=True)
class _Meaning:
    """Which class each stored value stands for.

    Attributes:
        codes: int64 (n,), ascending.
        classes: int64 (n,), the class of each code.
        expected: What to call the codes in a message.
        describe: Writes a code for a message.
    """

    codes: Int64s
    classes: Int64s
    expected: str
    describe: Callable[[Any], str]

    def translate(self, values: NDArray[Any]) -> Int64s:
        """The class of each stored value, -1 for one that stands for none."""
        stored = values.astype(np.int64)
        at = np.minimum(np.searchsorted(self.codes, stored), len(self.codes) - 1)
        found = np.where(self.codes[at] == stored, self.classes[at], -1)
        if values.dtype == np.uint64:
            found[stored < 0] = -1  # beyond int64
        return found

    def refuse(self, place: str, code: Any) -> NoReturn:
        raise LabelFormatError(
            f"{place}: expected {self.expected}, got {self.describe(code)}: add it to the "
            "description, or correct the labels"
        )


def read_classes(stack: FileStack, spec: DatasetSpec) -> LazyLabels:
    """The classes of a volume as labels (z, y, x), whose ids are class indices.

    Args:
        stack: Pictures. With `spec.semantic_codes` their values are these codes. Else, if they
            have colors, or a palette, and the classes have colors, the colors stand for classes.
            Else they are class indices; of palettes, the indices into them.
        spec: The dataset.

    Raises:
        LabelFormatError: for a value or color that stands for no class.
    """
    has_colors = stack.has_colors or stack.shape[3:] in ((3,), (4,))
    is_color = has_colors and bool(spec.palettes) and not spec.semantic_codes
    meaning = _meaning_of_colors(spec) if is_color else _meaning_of_codes(spec)
    read_page = _read_colors if is_color else read_stored

    def class_runs(z: int) -> PageRuns:
        starts, stops, values = value_runs(read_page(stack, z).ravel())
        found = meaning.translate(values)
        if (unknown := np.flatnonzero(found < 0)).size:
            first = int(unknown[0])
            y, x = divmod(int(starts[first]), stack.shape[2])
            meaning.refuse(f"{stack.describe_file(z)}: z={z}, y={y}, x={x}", values[first])
        return starts, stops, found

    count = len(spec.classes)
    values = collect_values(stack.volume_shape, stack.name, class_runs, count, stack.size)
    return LazyLabels.from_runs(values.shape, values.codes.astype(np.int32), values.runs)


def classes_of_codes(labels: LazyLabels, name: str, spec: DatasetSpec) -> LazyLabels:
    """The classes of labels whose ids are stored codes, voxels without a label being code 0.

    Args:
        labels: (z, y, x).
        name: What to call their file in a message.
        spec: The dataset.

    Raises:
        LabelFormatError: for a code that stands for no class.
    """
    runs, meaning = labels.runs, _meaning_of_codes(spec)
    gap_starts, gap_stops = np.append(0, runs.stops), np.append(runs.starts, labels.size)
    is_gap = gap_starts < gap_stops
    starts = np.concatenate([runs.starts, gap_starts[is_gap]])
    stops = np.concatenate([runs.stops, gap_stops[is_gap]])
    stored = np.concatenate([labels.ids[runs.owners], np.zeros(is_gap.sum(), np.int32)])
    order = np.argsort(starts)
    starts, stops, stored = starts[order], stops[order], stored[order]
    found = meaning.translate(stored)
    if (unknown := np.flatnonzero(found < 0)).size:
        first = int(unknown[0])
        z, y, x = np.unravel_index(int(starts[first]), labels.shape)
        meaning.refuse(f"{name}: z={z}, y={y}, x={x}", stored[first])
    is_labeled = found > 0
    ids, owners = np.unique(found[is_labeled], return_inverse=True)
    joined = Runs(starts[is_labeled], stops[is_labeled], owners.astype(np.int64))
    return LazyLabels.from_runs(labels.shape, ids.astype(np.int32), merge_adjacent(joined))


def _meaning_of_codes(spec: DatasetSpec) -> _Meaning:
    """What stored values stand for: what `semantic_codes` says; else they are indices.

    An index whose class has codes must be among these codes itself: who lists that 255 is class 0
    may have forgotten what 0 is.
    """
    named = dict(spec.semantic_codes)
    plain = {i: i for i in range(len(spec.classes)) if i not in named.values()}
    pairs = sorted({**plain, **named}.items())
    codes, classes = np.array(pairs, np.int64).reshape(-1, 2).T
    expected = f"classes from 0 to {len(spec.classes) - 1}"
    if spec.semantic_codes:
        expected = f"the codes {', '.join(map(str, codes[:40].tolist()))} of semantic_codes"
    return _Meaning(codes, classes, expected, lambda code: f"label {code}")


def _meaning_of_colors(spec: DatasetSpec) -> _Meaning:
    palette = class_palette(spec)
    codes = (pack_colors(palette[None])[0] + _OPAQUE).astype(np.int64)
    order = np.argsort(codes, kind="stable")
    named = ", ".join(
        f"{name} {tuple(color)}"
        for name, color in zip(spec.class_names[:20], palette.tolist(), strict=False)
    )
    return _Meaning(
        np.append(0, codes[order]),  # 0, a transparent pixel, is of class 0
        np.append(0, order),
        f"colors of classes ({named})",
        lambda code: f"the color {tuple(unpack_colors(np.array([code], np.uint64))[0].tolist())}",
    )


def _read_colors(stack: FileStack, z: int) -> NDArray[np.uint64]:
    """The colors of page z, packed; 0 for transparent pixels."""
    page = stack.page(z)
    codes: NDArray[np.uint64]
    if stack.has_colors:
        codes = (pack_colors(stack.color_map(z)[None])[0] + _OPAQUE)[page]
        return codes
    colors = hide_transparent(stack, z, page) if page.shape[-1] == 4 else page
    if colors.max() > 255 and not (colors % 257).any():
        colors = colors // 257  # 8-bit colors, as writers scale them to 16 bits
    codes = pack_colors(colors) + _OPAQUE
    if page.shape[-1] == 4:
        codes[page[..., 3] == 0] = 0
    return codes
