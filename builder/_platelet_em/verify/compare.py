"""What two sources say of one volume, compared voxel for voxel, or as partitions."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.runs import areas, intersect
from _platelet_em.facts import CLASS_NAMES
from _platelet_em.publisher.organelles import Votes
from _platelet_em.verify.report import Section
from _platelet_em.verify.view import KINDS, Part, slices_of

__all__ = ["compare_parts"]

_REMEDY = "one of the two is wrong: check its sum, and fetch or build it again"
_VALUES = 256
"""Room for class indices, right or wrong."""


def compare_parts(section: Section, part: Part, other: Part) -> None:
    """Compare what two sources say of a volume.

    Of the same kind of labels ids have to be the same; else the partitions have to be, where a
    TIF may give several ids one colour, or none: that is a remark.

    Args:
        section: Takes figures and findings.
        part: What is taken as true, unless only the other one has true ids.
        other: What is compared with it; findings are about its files.
    """
    if part.label_source == "tif" and other.label_source == "json":
        part, other = other, part
    if part.shape is None or other.shape is None:
        return
    if part.shape != other.shape:
        section.error(
            "shape",
            other.name,
            expected=f"{part.shape}, as in {part.name}",
            found=str(other.shape),
            remedy="give archives and repositories that belong together",
        )
        return
    if part.image is not None and other.image is not None:
        total = 0
        for z in slices_of(part, "images"):
            total += _differing(
                section, (part, other), "images", z, (part.image(z), other.image(z))
            )
        section.figure("images", f"{total} voxels differ", total)
    if "semantic" in part.labels and "semantic" in other.labels:
        _compare_classes(section, part, other)
    for kind in KINDS[1:]:
        if kind in part.labels and kind in other.labels:
            _compare_instances(section, part, other, kind)


def _differing(
    section: Section,
    parts: tuple[Part, Part],
    kind: str,
    z: int,
    pages: tuple[NDArray[Any], NDArray[Any]],
) -> int:
    """Voxels of a slice that differ; if there are any, the first is an error that tells all."""
    part, other = parts
    expected, found = pages
    wrong = expected != found
    count = int(wrong.sum())
    if count:
        y, x = (int(c) for c in np.argwhere(wrong)[0])
        section.error(
            f"{kind} voxels",
            other.files[kind],
            expected=f"{expected[y, x]}, as in {part.files[kind]}",
            found=f"{found[y, x]}, the first of {count} voxels of this slice that differ",
            remedy=_REMEDY,
            volume=part.spec.name,
            z=z,
            y=y,
            x=x,
        )
    return count


def _compare_classes(section: Section, part: Part, other: Part) -> None:
    total = 0
    pairs = np.zeros(_VALUES**2, np.int64)
    for z in slices_of(part, "classes"):
        a, b = part.dense("semantic", z), other.dense("semantic", z)
        total += _differing(section, (part, other), "semantic", z, (a, b))
        pairs += np.bincount((a * _VALUES + b).reshape(-1), minlength=_VALUES**2)
    section.figure("semantic", f"{total} voxels differ", total)
    table = pairs.reshape(_VALUES, _VALUES)
    present = np.flatnonzero(table.sum(axis=1))
    images = table.argmax(axis=1)[present]
    moved = present[images != present]
    if total and set(images) == set(present) and total == table[moved].sum():
        names = ", ".join(f"{i} ({CLASS_NAMES[i]})" for i in moved)
        section.error(
            "palette",
            other.files["semantic"],
            expected=f"the classes of {part.files['semantic']}",
            found=f"classes {names} swapped throughout",
            remedy="the colours of these classes are mixed up: use the JSON labels",
            volume=part.spec.name,
        )


@dataclass(frozen=True, slots=True)
class _Matching:
    """Which label of another source each id stands for there, 0 being background.

    Attributes:
        ids: int64 (n + 1,), ascending, 0 first.
        labels: int64 (n + 1,), the label of each.
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]

    def translate(self, page: NDArray[np.int32]) -> NDArray[np.int64]:
        """A slice of ids as the other source should have it."""
        translated: NDArray[np.int64] = self.labels[np.searchsorted(self.ids, page)]
        return translated


def _compare_instances(section: Section, part: Part, other: Part, kind: str) -> None:
    matching = None
    if not _share_ids(part, other, kind):
        matching = _match(part, other, kind)
        _tell_losses(section, part, other, kind, matching)
    total = 0
    for z in slices_of(part, kind):
        a, b = part.dense(kind, z), other.dense(kind, z)
        expected = a if matching is None else matching.translate(a)
        total += _differing(section, (part, other), kind, z, (expected, b))
    mine, theirs = len(part.labels[kind].ids), len(other.labels[kind].ids)
    what = "ids" if matching is None else "colours"
    said = f"{total} voxels differ; {mine} ids, and {theirs} {what} in the other"
    section.figure(kind, said, {"differ": total, "ids": mine, what: theirs})


def _share_ids(part: Part, other: Part, kind: str) -> bool:
    """Whether ids have to be equal; a TIF may hold true ids, or colours that are numbered."""
    if part.label_source != other.label_source:
        return False
    same = np.array_equal(np.sort(part.labels[kind].ids), np.sort(other.labels[kind].ids))
    return same or part.label_source == "json" or part.is_built or other.is_built


def _match(part: Part, other: Part, kind: str) -> _Matching:
    """Each id is the label that has most of its voxels, or background if more have none."""
    truth, found = part.labels[kind], other.labels[kind]
    count = len(truth.ids)
    votes, area = Votes(), np.zeros(count, np.int64)
    for z in range(truth.shape[0]):
        runs = truth.slice(z)
        area += areas(runs, count)
        owners, labels, shared = intersect(runs, found.slice(z))
        votes.add(owners, found.ids[labels].astype(np.int64), shared)
    label, _ = votes.winners(count, area - votes.total(count))
    order = np.argsort(truth.ids, kind="stable")
    zero = np.zeros(1, np.int64)
    return _Matching(
        np.concatenate([zero, truth.ids[order]]), np.concatenate([zero, label[order]])
    )


def _tell_losses(
    section: Section, part: Part, other: Part, kind: str, matching: _Matching
) -> None:
    """What a file of colours cannot tell apart is its nature, and worth a remark."""
    ids, labels = matching.ids[1:], matching.labels[1:]
    file = other.files[kind]
    for label in ids[labels == 0].tolist():
        said = f"id {label} of {part.files[kind]} is background here"
        section.remark("lost id", file, said, volume=part.spec.name, id=label)
    shared, counts = np.unique(labels[labels > 0], return_counts=True)
    for label in shared[counts > 1].tolist():
        merged = ids[labels == label].tolist()
        said = f"ids {merged} of {part.files[kind]} have one colour here, number {label}"
        section.remark("shared colour", file, said, volume=part.spec.name, ids=merged)
