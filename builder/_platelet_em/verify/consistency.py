"""Whether the labels of a volume are consistent with each other, and with its image."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.kernels import Int64s
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.runs import Runs, clip, cut, intersect, resolve
from _platelet_em.publisher.label_remarks import missing_labels
from _platelet_em.publisher.organelles import measure_instances
from _platelet_em.rows.intensity import GrayHistogram
from _platelet_em.spec import SEMANTIC, DatasetSpec, InstanceSpec
from _platelet_em.verify.continuity import check_continuity
from _platelet_em.verify.images import ImageCheck
from _platelet_em.verify.placement import PlacementCheck
from _platelet_em.verify.report import VERSION, Section
from _platelet_em.verify.view import MAX_CLASSES, VerifiedVolume, noun_of, slices_of

__all__ = ["check_volume"]

Image = Callable[[int], NDArray[np.uint16]]

_REMEDY = "fetch or write the labels again, or report it to those who made them"
_SMALLEST_FRAMED = 16
"""Pixels along y and x: in smaller slices an object may look like a drawn frame."""

_CLEARLY_FLIPPED = 0.5
"""Instances are flipped in z if that way less than this part of the voxels contradicts them."""

_EXAMPLES = 3
"""Examples in a sentence."""


def check_volume(section: Section, view: VerifiedVolume, spec: DatasetSpec) -> None:
    """Check the labels of one volume; figures and findings go to `section`."""
    if view.shape is None:
        return
    if view.image is not None:
        _check_images(section, view, view.image, spec)
    instances = [i for i in spec.instances if i.column in view.labels]
    for instance in instances:
        ids = view.labels[instance.column].ids
        span = f", {ids.min()} to {ids.max()}" if len(ids) else ""
        section.figure(f"{instance.name} ids", f"{len(ids)}{span}", [int(i) for i in np.sort(ids)])
    for column in view.labels:
        _check_overlaps(section, view, column, spec)
    if spec.is_dense:
        _check_density(section, view, spec)
    for column, losses in view.lost_ids.items():
        section.remark("lost ids", view.files[column], str(losses))
    if SEMANTIC in view.labels:
        _check_classes(section, view, spec)
        for instance in (i for i in instances if i.fills_classes):
            _check_rule(section, view, instance)
    for instance in instances:
        _check_properties(section, view, instance, spec)


def _check_density(section: Section, view: VerifiedVolume, spec: DatasetSpec) -> None:
    """What labels of a volume that is labeled everywhere do not have."""
    for column, labels in view.labels.items():
        if column != SEMANTIC:
            _check_frames(section, view, column)
        check_continuity(section, labels, view.files[column], noun_of(column, spec))
    _report_missing(section, view, spec)


def _report_missing(section: Section, view: VerifiedVolume, spec: DatasetSpec) -> None:
    """Labels without any voxel are an error, classes of which only one is used a remark."""
    for column, text in missing_labels(view.labels, spec).items():
        if (view.labels[column].areas > 0).any():
            section.remark("labels", view.files[column], text)
        else:
            section.error(
                "labels", view.files[column], expected="labels", found=text, remedy=_REMEDY
            )


def _check_overlaps(
    section: Section, view: VerifiedVolume, column: str, spec: DatasetSpec
) -> None:
    """Voxels that several instances of one file claim."""
    labels = view.labels[column]
    claimed = 0
    if column in view.overlapping:
        _, height, width = labels.shape
        page, pieces = cut(view.overlapping[column], height * width)
        for z in np.unique(page).tolist():
            stored = pieces[page == z]
            if extra := int(stored.lengths.sum() - resolve(stored).lengths.sum()):
                claimed += extra
                y, x, owners = _find_first_overlap(stored, width)
                ids = " and ".join(str(i) for i in np.unique(labels.ids[owners]))
                section.remark(
                    "overlap",
                    view.files[column],
                    f"{extra} voxels claimed more than once, first by {ids}: later keys win",
                    z=z,
                    y=y,
                    x=x,
                )
    if view.files[column].endswith(".json"):  # no other form can hold overlaps
        section.figure(
            f"{noun_of(column, spec)} overlaps",
            f"{claimed} voxels claimed more than once",
            claimed,
        )


def _find_first_overlap(stored: Runs, width: int) -> tuple[int, int, Int64s]:
    """The first voxel (y, x) of a slice that several runs claim, and the owners of those runs."""
    order = np.argsort(stored.starts, kind="stable")
    starts, reach = stored.starts[order], np.maximum.accumulate(stored.stops[order])
    second = int(np.argmax(starts[1:] < reach[:-1])) + 1
    at = int(starts[second])
    claiming = (stored.starts <= at) & (at < stored.stops)
    return at // width, at % width, stored.owners[claiming]


def _check_frames(section: Section, view: VerifiedVolume, column: str) -> None:
    """Published pictures have a 1-pixel frame drawn around them, which is no object."""
    labels = view.labels[column]
    depth, height, width = labels.shape
    if min(height, width) < _SMALLEST_FRAMED:
        return
    for z in range(depth):
        runs = _slice_runs(labels, z)
        # A frame has all pixels of the first row: other slices need no closer look.
        if not len(runs) or runs.starts[0] > 0 or runs.stops[0] < width:
            continue
        page = labels.slice(z)
        spans_slice = (page.bboxes == (0, 0, height, width)).all(axis=1)
        for i in page.ids[spans_slice & (page.areas == 2 * (height + width) - 4)].tolist():
            section.error(
                "frame",
                view.files[column],
                expected="objects",
                found="a drawn frame of one pixel around the slice",
                remedy="use the JSON labels",
                z=z,
                id=i,
            )


def _check_classes(section: Section, view: VerifiedVolume, spec: DatasetSpec) -> None:
    """Shares of the classes, and whether two confusable ones look swapped."""
    labels = view.labels[SEMANTIC]
    totals = _count_classes(labels, labels.runs, labels.size)
    plane = labels.shape[1] * labels.shape[2]
    first = _count_classes(labels, _slice_runs(labels, 0), plane)
    for name, counts in {"all": totals, "z = 0": first}.items():
        percent = 100 * counts[: len(spec.classes)] / max(int(counts.sum()), 1)
        text = " ".join(f"{p:.3g}" for p in percent)
        section.figure(f"class shares, {name}", f"{text} %", percent.round(4).tolist())
    if published := view.volume.class_shares:
        section.figure("known, all", f"{' '.join(map(str, published))} %", list(published))
    _compare_versions(section, view, totals[: len(spec.classes)], spec)
    if spec.confusable_classes is None:
        return
    larger, smaller = spec.confusable_classes
    if totals[smaller] > totals[larger]:
        section.remark(
            "palette",
            view.files[SEMANTIC],
            f"class {smaller} has {totals[smaller]} voxels, class {larger} {totals[larger]}: in "
            "the published data the latter is larger: are the two swapped?",
        )


def _compare_versions(
    section: Section, view: VerifiedVolume, totals: Int64s, spec: DatasetSpec
) -> None:
    """Whether the voxels of the classes are those of a known version of the labels."""
    counts: tuple[int, ...] = tuple(totals.tolist())
    file, subject = view.files[SEMANTIC], f"volume {view.volume.name}"
    section.figure("class voxels", " ".join(map(str, counts)), list(counts))
    if view.shape != view.volume.shape or not view.volume.label_versions:
        return
    for name, known in view.volume.label_versions:
        last = len(known) - 1
        if (*counts[:last], sum(counts[last:])) == known:
            section.answer(VERSION, f"{subject}: {name}")
            return
    for name, known in view.volume.label_versions:
        if sorted(counts) == sorted(known):
            moved = [i for i, (a, b) in enumerate(zip(counts, known, strict=True)) if a != b]
            section.error(
                "classes",
                file,
                expected=f"the voxels of each class of {name}: {known}",
                found=f"those of the classes {', '.join(spec.class_name(i) for i in moved)} "
                f"exchanged: {counts}",
                remedy="the classes are mixed up: use the JSON labels",
            )
            return
    text = "no known version has as many voxels of each class"
    section.answer(VERSION, f"{subject}: {text}: {counts}")
    section.remark("version", file, f"{text}: {counts}")


def _count_classes(labels: LazyLabels, runs: Runs, voxels: int) -> Int64s:
    """Voxels of each class index in runs, int64 (256,); those in no run are background."""
    counts = np.bincount(labels.ids[runs.owners], runs.lengths, MAX_CLASSES).astype(np.int64)
    counts[0] = voxels - counts.sum()
    return counts


def _check_images(section: Section, view: VerifiedVolume, image: Image, spec: DatasetSpec) -> None:
    """Whether the images are intact, and the classes in their place; else their gray values."""
    if not spec.is_dense:
        histogram = GrayHistogram(view.volume.name)
        for z in slices_of(view, "images"):
            histogram.add(image(z))
        gray = histogram.measure()
        section.figure("intensity", f"{gray.minimum} to {gray.maximum}, mean {gray.mean:.0f}")
        return
    images = ImageCheck(
        section,
        view.volume.name,
        view.files["images"],
        whole_range=spec.whole_range and not view.volume.may_be_signed,
    )
    placement = None
    # Where class 0 includes cells, it says nothing of the image.
    if SEMANTIC in view.labels and not view.volume.is_partly_labeled:
        placement = PlacementCheck(
            section,
            view.labels[SEMANTIC],
            view.volume.name,
            view.files[SEMANTIC],
            bright_background=spec.bright_background,
        )
    for z in slices_of(view, "images"):
        page = image(z)
        images.add(z, page)
        if placement is not None:
            placement.add(z, page)
    images.finish()
    if placement is not None:
        placement.finish()


def _rule_of(instance: InstanceSpec) -> str:
    """Which voxels instances cover, such as "cell > 0 == semantic > 0"."""
    first = instance.first_class
    return f"{instance.name} > 0 == semantic {'> 0' if first == 1 else f'>= {first}'}"


def _check_rule(section: Section, view: VerifiedVolume, instance: InstanceSpec) -> None:
    """Whether instances cover exactly their classes, as they are, or at least flipped in z."""
    labels, semantic = view.labels[instance.column], view.labels[SEMANTIC]
    rule, depth = _rule_of(instance), labels.shape[0]
    in_classes = semantic.select(semantic.ids[semantic.ids >= instance.first_class])
    straight, flipped = np.zeros(depth, np.int64), np.zeros(depth, np.int64)
    for z in slices_of(view, instance.name):
        runs = _slice_runs(labels, z)
        for differing, other in ((straight, z), (flipped, depth - 1 - z)):
            expected = _slice_runs(in_classes, other)
            shared = int(intersect(runs, expected)[2].sum())
            differing[z] = runs.lengths.sum() + expected.lengths.sum() - 2 * shared
    total, total_flipped = int(straight.sum()), int(flipped.sum())
    text = f"{total} voxels differ" + (f", {total_flipped} if flipped in z" if depth > 1 else "")
    section.figure(rule, text, {"differ": total, "differ_if_flipped": total_flipped})
    if total_flipped < _CLEARLY_FLIPPED * total:
        section.error(
            "flip",
            view.files[instance.column],
            expected=f"{rule}, slice by slice",
            found=f"{total} voxels that differ, and {total_flipped} with the slices reversed",
            remedy="the instances are flipped in z: reverse them, or use other labels",
        )
    elif (losses := view.lost_ids.get(instance.column)) is None or (
        losses.background_voxels != total
    ):
        _report_disagreements(section, view, instance, straight)


def _report_disagreements(
    section: Section, view: VerifiedVolume, instance: InstanceSpec, differing: Int64s
) -> None:
    """Report the first voxel of each slice where instances do not cover their classes.

    Args:
        section: Receives the errors.
        view: The volume.
        instance: The kind of instances.
        differing: int64 (z,), how many such voxels each slice has.
    """
    at_border = 0
    for z in np.flatnonzero(differing).tolist():
        ids, classes = view.labels[instance.column][z], view.labels[SEMANTIC][z]
        wrong = (ids > 0) != (classes >= instance.first_class)
        at_border += int(wrong.sum() - wrong[1:-1, 1:-1].sum())
        y, x = (int(c) for c in np.argwhere(wrong)[0])
        section.error(
            "agreement",
            view.files[instance.column],
            expected=_rule_of(instance),
            found=(
                f"{instance.name} {ids[y, x]} where the class is {classes[y, x]}, and "
                f"{differing[z]} such voxels in this slice"
            ),
            remedy=_REMEDY,
            z=z,
            y=y,
            x=x,
        )
    if at_border:
        section.figure(
            f"{instance.name}, at borders", f"{at_border} of them are outermost pixels", at_border
        )


def _check_properties(
    section: Section, view: VerifiedVolume, instance: InstanceSpec, spec: DatasetSpec
) -> None:
    """Instances of several classes, without a parent, or without voxels."""
    labels, file = view.labels[instance.column], view.files[instance.column]
    parent = spec.parent(instance)
    parents = view.labels.get(parent.column) if parent else None
    properties = measure_instances(labels, instance, view.labels.get(SEMANTIC), parents)
    present = labels.areas > 0
    if "purity" in properties:
        _check_purity(section, view, instance, properties, spec)
    if parent and instance.parent and parents is not None:
        outside = int((present & (properties[instance.parent] == 0)).sum())
        section.figure(f"outside of {parent.column}", f"{outside} {instance.column}", outside)
    if instance.has_class:
        _remark_empty_ids(section, file, labels)


def _check_purity(
    section: Section,
    view: VerifiedVolume,
    instance: InstanceSpec,
    properties: dict[str, NDArray[Any]],
    spec: DatasetSpec,
) -> None:
    labels, file = view.labels[instance.column], view.files[instance.column]
    purity, present = properties["purity"], labels.areas > 0
    mixed = np.flatnonzero(present & (purity < 1))
    mean = float(purity[present].mean()) if present.any() else 1.0
    section.figure(
        "purity",
        f"mean {mean:.4f}, {len(mixed)} of {present.sum()} {instance.column} are of several "
        "classes",
        {
            "mean": mean,
            "mixed": {str(labels.ids[i]): round(float(purity[i]), 6) for i in mixed},
        },
    )
    if len(mixed) and instance.fills_classes:
        worst = mixed[np.argsort(purity[mixed], kind="stable")]
        names = [spec.class_name(int(properties["class_id"][i])) for i in worst]
        examples = [
            f"{labels.ids[i]} ({purity[i]:.1%} {name})"
            for i, name in zip(worst, names, strict=True)
        ]
        section.remark(
            "purity",
            file,
            f"{len(mixed)} {instance.column} are of several classes: {_list_some(examples)}",
        )


def _remark_empty_ids(section: Section, file: str, labels: LazyLabels) -> None:
    if len(empty := labels.ids[labels.areas == 0]):
        section.remark(
            "ids", file, f"{len(empty)} ids without voxels: {_list_some(empty.tolist())}"
        )


def _slice_runs(labels: LazyLabels, z: int) -> Runs:
    """The runs of slice z, counted from its beginning; owners are indices into `labels.ids`."""
    plane = labels.shape[1] * labels.shape[2]
    return clip(labels.runs, z * plane, (z + 1) * plane)


def _list_some(values: list[Any]) -> str:
    more = f" and {len(values) - _EXAMPLES} more" if len(values) > _EXAMPLES else ""
    return ", ".join(map(str, values[:_EXAMPLES])) + more
