"""Whether labels continue from slice to slice: an object overlaps itself in the next slice."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.runs import Runs, clip, paint
from _platelet_em.progress import progress_bar
from _platelet_em.spec import SEMANTIC
from _platelet_em.verify.placement import plane_symmetries
from _platelet_em.verify.report import Section

__all__ = ["check_continuity"]

_Ints = NDArray[np.int64]
_Page = NDArray[np.integer]

_REMEDY = "a slice is damaged or in the wrong place: fetch the archive again, or use other labels"

_FEWEST_RUNS = 32
"""Slices of fewer runs may be equal by chance."""

_FEWEST_VOXELS = 64
"""Voxels that are labeled in two slices, for a conclusion from their labels."""

_KEPT, _LOST = 0.8, 0.5
"""Share of the voxels labeled in two neighboring slices that have one label: in intact volumes it
is above the former; below the latter, objects have lost their labels."""

_COVERED = 0.02
"""Share of a slice that must be labeled on both sides of an empty one."""

_FEWEST_AGREEING = 8
"""Voxels of an object that both neighbors of a slice have in common."""

_STEP = 2
"""Pixels along y and x from one sample to the next, where slices are compared turned."""

_CLEARLY, _CHANGED = 0.5, 0.05
"""A slice is turned if that way it differs from its neighbors in less than that part of the
pixels, and differs from them in more than that share of its pixels as it is."""


def check_continuity(section: Section, labels: LazyLabels, file: str, noun: str) -> None:
    """Find slices that do not continue their neighbors.

    Args:
        section: Receives figures and errors.
        labels: Classes or instances, (z, y, x).
        file: What to call their file.
        noun: What to call the labels, such as "cell".
    """
    depth = labels.shape[0]
    if depth < 2 or not len(labels.ids):
        return
    _find_duplicates(section, labels, file, noun)
    kept = np.full(depth - 1, np.nan)
    pages: dict[int, _Page] = {}
    covered = np.zeros(depth)
    for z in progress_bar(
        range(depth), stage=f"Comparing slices: {noun}", unit="slice", leave=False
    ):
        for other in _neighbors(z, depth):
            if other not in pages:
                pages[other] = _number_page(labels, other)
        for past in [p for p in pages if p < z - 2]:
            del pages[past]
        page = pages[z]
        covered[z] = (page > 0).mean()
        if z:
            kept[z - 1] = _share_of_kept(pages[z - 1], page)
        if depth > 2:
            first, second = (pages[other] for other in _neighbors(z, depth) if other != z)
            _find_exchanged(section, labels, file, noun, z, (first, page, second))
            _find_turned(section, file, noun, z, (first, page, second))
    _report_kept(section, kept, file, noun)
    _report_empty(section, covered, file, noun)


def _neighbors(z: int, depth: int) -> Iterator[int]:
    """A slice and the two next to it; at the ends, the two that follow or precede it."""
    first = min(max(z - 1, 0), max(depth - 3, 0))
    return iter(range(first, min(first + 3, depth)))


def _slice_runs(labels: LazyLabels, z: int) -> Runs:
    plane = labels.shape[1] * labels.shape[2]
    return clip(labels.runs, z * plane, (z + 1) * plane)


def _number_page(labels: LazyLabels, z: int) -> _Page:
    """Slice z: 0 for background, otherwise the index of the instance plus one."""
    _, height, width = labels.shape
    values = np.arange(1, len(labels.ids) + 1, dtype=np.int32)
    return paint(_slice_runs(labels, z), values, height * width).reshape(height, width)


def _find_duplicates(section: Section, labels: LazyLabels, file: str, noun: str) -> None:
    known: dict[bytes, int] = {}
    for z in range(labels.shape[0]):
        runs = _slice_runs(labels, z)
        if len(runs) < _FEWEST_RUNS:
            continue
        key = b"".join(part.tobytes() for part in (runs.starts, runs.stops, runs.owners))
        if (first := known.setdefault(key, z)) != z:
            section.error(
                "duplicate",
                file,
                expected=f"{noun} labels of its own in each slice",
                found=f"the labels of slice {first}",
                remedy=_REMEDY,
                z=z,
            )


def _share_of_kept(page: _Page, following: _Page) -> float:
    """Share of the voxels labeled in both slices that have one label; NaN for too few."""
    labeled = (page > 0) & (following > 0)
    count = int(labeled.sum())
    return float((page == following)[labeled].mean()) if count >= _FEWEST_VOXELS else np.nan


def _report_kept(section: Section, kept: NDArray[np.float64], file: str, noun: str) -> None:
    known = kept[np.isfinite(kept)]
    if not len(known):
        return
    typical = float(np.median(known))
    section.figure(
        f"{noun} continuity",
        f"{known.mean():.1%} of the voxels labeled in two neighboring slices keep their label, "
        f"at least {known.min():.1%}",
        {"mean": round(float(known.mean()), 6), "least": round(float(known.min()), 6)},
    )
    broken = np.flatnonzero(kept < _LOST).tolist()
    if typical < _LOST:
        section.error(
            "continuity",
            file,
            expected=f"the same {noun} label in all slices of an object",
            found=f"objects that change their label in {len(broken)} of {len(known)} steps from "
            "one slice to the next",
            remedy="the labels were numbered slice by slice: use another archive",
        )
    elif typical >= _KEPT:
        for z in broken:
            section.error(
                "continuity",
                file,
                expected=f"the same {noun} label in all slices of an object",
                found=f"the labels of {kept[z]:.1%} of the voxels continue in slice {z + 1}, "
                f"{typical:.1%} in most slices",
                remedy=_REMEDY,
                z=z,
            )


def _report_empty(section: Section, covered: NDArray[np.float64], file: str, noun: str) -> None:
    for z in np.flatnonzero(covered[1:-1] == 0).tolist():
        if min(covered[z], covered[z + 2]) >= _COVERED:
            section.error(
                "empty slice",
                file,
                expected=f"{noun} labels, as in the slices before and after",
                found="none",
                remedy=_REMEDY,
                z=z + 1,
            )


def _find_exchanged(
    section: Section,
    labels: LazyLabels,
    file: str,
    noun: str,
    z: int,
    pages: tuple[_Page, _Page, _Page],
) -> None:
    """Labels that have changed places in one slice: its neighbors agree on them, it does not."""
    first, page, second = pages
    agree = (first == second) & (first > 0) & (page > 0)
    wrong = agree & (page != first)
    if not wrong.any():
        return
    count = len(labels.ids) + 1
    voxels = np.bincount(first[agree], minlength=count)
    pairs, shared = np.unique(
        first[wrong].astype(np.int64) * count + page[wrong], return_counts=True
    )
    expected, found = np.divmod(pairs, count)
    moved = (2 * shared > voxels[expected]) & (voxels[expected] >= _FEWEST_AGREEING)
    # Objects are exchanged if the labels found where others are expected are among the latter.
    exchanged = moved & np.isin(found, expected[moved])
    if noun == SEMANTIC:  # classes are inside each other, objects are not
        exchanged = _find_circles(expected, found, moved)
    if not exchanged.any():
        return
    names = ", ".join(
        f"{labels.ids[a - 1]} is {labels.ids[b - 1]}"
        for a, b in zip(expected[exchanged][:3], found[exchanged][:3], strict=True)
    )
    section.error(
        "exchanged labels",
        file,
        expected=f"the {noun} labels on which the neighboring slices agree",
        found=f"{exchanged.sum()} labels exchanged in this slice: {names}",
        remedy=_REMEDY,
        z=z,
    )


def _find_circles(expected: _Ints, found: _Ints, moved: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of the moved classes have changed places with each other.

    A core that begins inside its granule, which ends there, is none: 6 -> 5 -> 1 leads to a label
    that stays, 6 -> 5 -> 6 is a circle.
    """
    while True:
        left = moved & np.isin(found, expected[moved]) & np.isin(expected, found[moved])
        if (left == moved).all():
            return left
        moved = left


def _find_turned(
    section: Section, file: str, noun: str, z: int, pages: tuple[_Page, _Page, _Page]
) -> None:
    """A slice that fits its neighbors clearly better if it is mirrored, turned or transposed."""
    first, second = (page[::_STEP, ::_STEP] for page in (pages[0], pages[2]))

    def difference(page: _Page) -> float:
        thin = page[::_STEP, ::_STEP]
        return float((thin != first).mean() + (thin != second).mean()) / 2

    straight = difference(pages[1])
    if straight <= _CHANGED:
        return
    changes = plane_symmetries(pages[1].shape)
    turned = {name: difference(change(pages[1])) for name, change in changes.items()}
    best = min(turned, key=lambda name: turned[name])
    if turned[best] < _CLEARLY * straight:
        section.error(
            "placement",
            file,
            expected=f"a slice of {noun} labels that continues its neighbors",
            found=f"one that differs from them in {straight:.1%} of its pixels, and in "
            f"{turned[best]:.1%} if {best}",
            remedy=_REMEDY,
            z=z,
        )
