"""Two sources of one volume, compared voxel for voxel, or as partitions."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.kernels import Int64s
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.runs import Runs, merge_adjacent
from _platelet_em.facts import LABEL_SOURCES
from _platelet_em.publisher.color_map import mapped_colors
from _platelet_em.publisher.organelles import SharedVoxels
from _platelet_em.spec import SEMANTIC, DatasetSpec
from _platelet_em.verify.report import JSON_AND_TIF, LOST_IDS, Section
from _platelet_em.verify.view import MAX_CLASSES, VerifiedVolume, noun_of, slices_of

__all__ = ["compare_volumes"]

_REMEDY = "one of the two is wrong: check its checksum, and fetch or build it again"


def compare_volumes(
    section: Section, view: VerifiedVolume, other: VerifiedVolume, spec: DatasetSpec
) -> None:
    """Compare one volume in two sources.

    If both have the same kind of labels, their ids must be equal; otherwise their partitions must
    be. A TIF may give several ids one color, or none: that is a remark.

    Args:
        section: Receives figures and findings.
        view: The reference, unless only the other one has true ids.
        other: The volume that is compared with it; findings are about its files.
        spec: The dataset.
    """
    if view.label_source == "tif" and other.label_source == "json":
        view, other = other, view
    if view.shape is None or other.shape is None:
        return
    if view.shape != other.shape:
        section.error(
            "shape",
            other.name,
            expected=f"{view.shape}, as in {view.name}",
            found=str(other.shape),
            remedy="give files and repositories that belong together",
        )
        return
    if view.image is not None and other.image is not None:
        total = 0
        for z in slices_of(view, "images"):
            pages = view.image(z), other.image(z)
            total += _report_differences(section, (view, other), "images", "images", z, pages)
        section.figure("images", f"{total} voxels differ", total)
    differing = {}
    for column in spec.columns:
        if column not in view.labels or column not in other.labels:
            continue
        noun = noun_of(column, spec)
        if column == SEMANTIC:
            differing[noun] = _compare_classes(section, view, other, spec)
        else:
            differing[noun] = _compare_instances(section, view, other, column, noun)
    if {view.label_source, other.label_source} == {*LABEL_SOURCES} and not (
        view.is_built or other.is_built
    ):
        text = ", ".join(f"{noun} {count}" for noun, count in differing.items())
        section.answer(JSON_AND_TIF, f"volume {view.volume.name}: voxels that differ: {text}")


def _report_differences(
    section: Section,
    views: tuple[VerifiedVolume, VerifiedVolume],
    column: str,
    noun: str,
    z: int,
    pages: tuple[NDArray[Any], NDArray[Any]],
) -> int:
    """Number of voxels of a slice that differ; the first of them becomes an error."""
    view, other = views
    expected, found = pages
    wrong = expected != found
    count = int(wrong.sum())
    if count:
        y, x = (int(c) for c in np.argwhere(wrong)[0])
        section.error(
            f"{noun} voxels",
            other.files[column],
            expected=f"{expected[y, x]}, as in {view.files[column]}",
            found=f"{found[y, x]}, the first of {count} voxels of this slice that differ",
            remedy=_REMEDY,
            volume=view.volume.name,
            z=z,
            y=y,
            x=x,
        )
    return count


def _compare_labels(
    section: Section,
    views: tuple[VerifiedVolume, VerifiedVolume],
    column: str,
    noun: str,
    expected: LazyLabels,
) -> int:
    """Number of voxels of the second volume that differ from the expected labels."""
    found = views[1].labels[column]
    if expected.equals(found):
        return 0
    return sum(
        _report_differences(section, views, column, noun, z, (expected[z], found[z]))
        for z in slices_of(views[0], noun)
    )


def _compare_classes(
    section: Section, view: VerifiedVolume, other: VerifiedVolume, spec: DatasetSpec
) -> int:
    """Number of voxels whose classes differ."""
    expected, found = view.labels[SEMANTIC], other.labels[SEMANTIC]
    total = _compare_labels(section, (view, other), SEMANTIC, SEMANTIC, expected)
    section.figure(SEMANTIC, f"{total} voxels differ", total)
    if not total:
        return 0
    pairs = np.zeros(MAX_CLASSES**2, np.int64)
    for z in range(expected.shape[0]):
        codes = expected[z] * MAX_CLASSES + found[z]
        pairs += np.bincount(codes.reshape(-1), minlength=MAX_CLASSES**2)
    table = pairs.reshape(MAX_CLASSES, MAX_CLASSES)
    present = np.flatnonzero(table.sum(axis=1))
    images = table.argmax(axis=1)[present]
    moved = present[images != present]
    if set(images) == set(present) and total == table[moved].sum():
        names = ", ".join(f"{i} ({spec.class_name(i)})" for i in moved)
        section.error(
            "palette",
            other.files[SEMANTIC],
            expected=f"the classes of {view.files[SEMANTIC]}",
            found=f"classes {names} swapped throughout",
            remedy="the colors or codes of these classes are mixed up: correct one of the two",
            volume=view.volume.name,
        )
    return total


def _compare_instances(
    section: Section, view: VerifiedVolume, other: VerifiedVolume, column: str, noun: str
) -> int:
    """Number of voxels whose instances differ."""
    expected, unit = view.labels[column], "ids"
    if not _share_ids(view, other, column):
        unit = "colours"
        labels = _match_ids(expected, other.labels[column])
        _remark_losses(section, view, other, column, labels)
        expected = _translate(expected, labels)
    total = _compare_labels(section, (view, other), column, noun, expected)
    mine, theirs = len(view.labels[column].ids), len(other.labels[column].ids)
    text = f"{total} voxels differ; {mine} ids, and {theirs} {unit} in the other"
    section.figure(noun, text, {"differ": total, "ids": mine, unit: theirs})
    return total


def _share_ids(view: VerifiedVolume, other: VerifiedVolume, column: str) -> bool:
    """Whether ids must be equal; a TIF may hold true ids, or colors that are numbered."""
    if view.label_source != other.label_source:
        return False
    mine, theirs = (np.sort(v.labels[column].ids) for v in (view, other))
    same = np.array_equal(mine, theirs)
    return same or view.label_source == "json" or view.is_built or other.is_built


def _match_ids(truth: LazyLabels, found: LazyLabels) -> Int64s:
    """The label of each id in the other source, int64 (n,) in the order of `truth.ids`.

    It is the label with most voxels of the id, or 0 if more of them are background.
    """
    shared = SharedVoxels(truth, found)
    labels, _ = shared.most_frequent(truth.areas - shared.total())
    return labels


def _translate(truth: LazyLabels, labels: Int64s) -> LazyLabels:
    """The same instances with these labels; those of label 0 become background."""
    ids = np.unique(labels[labels > 0])
    runs = truth.runs[labels[truth.runs.owners] > 0]
    owners = np.searchsorted(ids, labels[runs.owners])
    return LazyLabels.from_runs(
        truth.shape, ids, merge_adjacent(Runs(runs.starts, runs.stops, owners))
    )


def _remark_losses(
    section: Section, view: VerifiedVolume, other: VerifiedVolume, column: str, labels: Int64s
) -> None:
    """Ids that a file of colors cannot tell apart: a property of the form, not a fault."""
    order = np.argsort(view.labels[column].ids, kind="stable")
    ids, labels = view.labels[column].ids[order], labels[order]
    file, reference, volume = other.files[column], view.files[column], view.volume.name
    shared, counts = np.unique(labels[labels > 0], return_counts=True)
    lost, merged = int((labels == 0).sum()), int(counts[counts > 1].sum())
    if lost or merged:
        text = (
            f"{lost + merged} of {len(ids)} objects are affected: {lost} are background, "
            f"{merged} share {(counts > 1).sum()} colors"
        )
        if _is_mapped(ids, labels):
            text += ", exactly as the publisher's color map of 256 entries makes it: no damage"
        section.remark("lost ids", file, text, volume=volume)
        if not other.is_built:
            section.answer(LOST_IDS, f"volume {volume}, {column} against JSON: {text}")
    for id_ in ids[labels == 0].tolist():
        text = f"id {id_} of {reference} is background here"
        section.remark("lost id", file, text, volume=volume, id=id_)
    for label in shared[counts > 1].tolist():
        merged_ids = ids[labels == label].tolist()
        text = f"ids {merged_ids} of {reference} have one color here, number {label}"
        section.remark("shared colour", file, text, volume=volume, ids=merged_ids)


def _is_mapped(ids: NDArray[np.integer], labels: Int64s) -> bool:
    """Whether ids have been merged and lost as by the publisher's color map."""
    codes = mapped_colors(ids).astype(np.int64) @ [1, 1 << 8, 1 << 16]
    pairs = np.unique(np.stack([codes, labels]), axis=1)
    is_one_to_one = all(len(np.unique(side)) == pairs.shape[1] for side in pairs)
    return is_one_to_one and bool(((codes == 0) == (labels == 0)).all())
