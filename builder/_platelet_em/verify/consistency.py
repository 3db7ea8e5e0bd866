"""Whether the labels of a volume agree with each other, and with its image."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.runs import Runs, areas, boxes, intersect, resolve
from _platelet_em.facts import CLASS_NAMES, FIRST_ORGANELLE_CLASS
from _platelet_em.publisher.organelles import OrganelleProperties, measure_organelles
from _platelet_em.verify.report import Section
from _platelet_em.verify.view import INSTANCES, KINDS, Part, slices_of

__all__ = ["check_part"]

Int64s = NDArray[np.int64]
Image = Callable[[int], NDArray[np.uint16]]

_LEAST_CLASS = {"cell": 1, "organelle": FIRST_ORGANELLE_CLASS}
_RULE = {
    "cell": "cell > 0 == semantic > 0",
    "organelle": f"organelle > 0 == semantic >= {FIRST_ORGANELLE_CLASS}",
}
_REMEDY = "fetch the archive again, or report it to the publisher"
_VESSEL, _CORE = 4, 6
_SMALLEST_FRAME = 16
"""Pixels along y and x: in smaller slices an object may look like a drawn frame."""
_VALUES = 256
"""Room for class indices, right or wrong."""
_STEP = 4
"""Pixels along y and x from one that is looked at to the next."""
_TOLD = 3
"""Examples in a sentence."""


def check_part(section: Section, part: Part) -> None:
    """Check the labels of a volume in themselves; figures and findings go to `section`."""
    if part.shape is None:
        return
    if part.image is not None:
        _check_images(section, part, part.image)
    for kind in INSTANCES:
        if kind in part.labels:
            ids = part.labels[kind].ids
            said = f", {ids.min()} to {ids.max()}" if len(ids) else ""
            section.figure(f"{kind} ids", f"{len(ids)}{said}", [int(i) for i in np.sort(ids)])
    _check_slices(section, part)
    if "semantic" in part.labels:
        _check_classes(section, part)
        for kind in INSTANCES:
            if kind in part.labels:
                _check_rule(section, part, kind)
    if all(kind in part.labels for kind in KINDS):
        _check_purity(section, part)


def _check_slices(section: Section, part: Part) -> None:
    """What each label file can be asked alone: overlaps of its masks, and drawn frames."""
    for kind, store in part.labels.items():
        claimed = 0
        for z in range(store.shape[0]):
            stored = store.stored(z)
            runs = resolve(stored)
            if more := int(stored.lengths.sum() - runs.lengths.sum()):
                claimed += more
                y, x, owners = _first_overlap(stored, store.shape[2])
                ids = " and ".join(str(i) for i in np.unique(store.ids[owners]))
                said = f"{more} voxels claimed more than once, first by {ids}: later keys win"
                section.remark("overlap", part.files[kind], said, z=z, y=y, x=x)
            if kind != "semantic":
                _check_frame(section, part, kind, z, runs)
        if part.files[kind].endswith(".json"):  # nothing else can hold overlaps
            said = f"{claimed} voxels claimed more than once"
            section.figure(f"{kind} overlaps", said, claimed)


def _first_overlap(stored: Runs, width: int) -> tuple[int, int, Int64s]:
    order = np.argsort(stored.starts, kind="stable")
    starts, reach = stored.starts[order], np.maximum.accumulate(stored.stops[order])
    second = int(np.argmax(starts[1:] < reach[:-1])) + 1
    at = int(starts[second])
    held = (stored.starts <= at) & (at < stored.stops)
    return at // width, at % width, stored.owners[held]


def _check_frame(section: Section, part: Part, kind: str, z: int, runs: Runs) -> None:
    """Published pictures have a 1-pixel frame drawn around them, which is no object."""
    store = part.labels[kind]
    height, width = store.shape[1:]
    if min(height, width) < _SMALLEST_FRAME:
        return
    count = len(store.ids)
    whole = (boxes(runs, count, (height, width)) == (0, 0, height, width)).all(axis=1)
    for owner in np.flatnonzero(whole & (areas(runs, count) == 2 * (height + width) - 4)):
        section.error(
            "frame",
            part.files[kind],
            expected="objects",
            found="a drawn frame of one pixel around the slice",
            remedy="use the JSON labels",
            z=z,
            id=int(store.ids[owner]),
        )


def _check_classes(section: Section, part: Part) -> None:
    """Shares of the classes, and whether 4 and 6 look swapped."""
    store = part.labels["semantic"]
    totals, first = np.zeros(_VALUES, np.int64), np.zeros(_VALUES, np.int64)
    for z in slices_of(part, "classes"):
        runs = store.slice(z)
        held = np.zeros(_VALUES, np.int64)
        np.add.at(held, store.ids[runs.owners], runs.lengths)
        held[0] = store.shape[1] * store.shape[2] - held.sum()
        totals += held
        if z == 0:
            first = held
    for name, counts in {"all": totals, "z = 0": first}.items():
        percent = 100 * counts[: len(CLASS_NAMES)] / max(int(counts.sum()), 1)
        said = " ".join(f"{p:.3g}" for p in percent)
        section.figure(f"class shares, {name}", f"{said} %", percent.round(4).tolist())
    published = part.spec.class_shares
    said = " ".join(map(str, published))
    section.figure("published, z = 0", f"{said} %", list(published))
    if totals[_CORE] > totals[_VESSEL]:
        said = (
            f"class {_CORE} has {totals[_CORE]} voxels, class {_VESSEL} {totals[_VESSEL]}: "
            "published, the latter is the larger: are the two swapped?"
        )
        section.remark("palette", part.files["semantic"], said)


def _check_images(section: Section, part: Part, image: Image) -> None:
    """The range of the image, and which way up the classes fit it."""
    low, high, total, black, white = 2**16, 0, 0.0, 0, 0
    straight, flipped = _Explained(), _Explained()
    depth, height, width = part.shape or (0, 0, 0)
    for z in slices_of(part, "images"):
        page = image(z)
        low, high = min(low, int(page.min())), max(high, int(page.max()))
        total += float(page.sum(dtype=np.float64))
        black, white = black + int((page == 0).sum()), white + int((page == 2**16 - 1).sum())
        if "semantic" in part.labels:
            straight.add(page, part.dense("semantic", z))
            flipped.add(page, part.dense("semantic", depth - 1 - z))
    mean = total / (depth * height * width)
    said = f"{low} to {high}, mean {mean:.0f}, {black} voxels at 0, {white} at 65535"
    values = {"min": low, "max": high, "mean": mean, "at_0": black, "at_65535": white}
    section.figure("intensity", said, values)
    if depth > 1 and "semantic" in part.labels:
        up, down = straight.share(), flipped.share()
        said = f"{up:.1%} of the variance is that of the classes, {down:.1%} if flipped in z"
        section.figure("image and classes", said, {"straight": up, "flipped": down})
        if down > up:
            said = f"the classes fit the image better if flipped in z: {said}"
            section.remark("flip", part.files["semantic"], said)


class _Explained:
    """Share of the variance of the image that the means of the classes explain."""

    def __init__(self) -> None:
        self._count, self._sum = np.zeros(_VALUES), np.zeros(_VALUES)
        self._squares = 0.0

    def add(self, page: NDArray[np.uint16], classes: NDArray[np.int32]) -> None:
        """Take a slice; a pixel in sixteen says enough."""
        values = page[::_STEP, ::_STEP].reshape(-1).astype(np.float64)
        labels = classes[::_STEP, ::_STEP].reshape(-1)
        self._count += np.bincount(labels, minlength=_VALUES)
        self._sum += np.bincount(labels, values, minlength=_VALUES)
        self._squares += float(values @ values)

    def share(self) -> float:
        """Between 0 and 1; 0 for an image without any variance."""
        mean = self._sum.sum() / self._count.sum()
        means = self._sum / np.maximum(self._count, 1)
        total = self._squares - self._count.sum() * mean**2
        return float((self._count * (means - mean) ** 2).sum() / max(total, 1.0))


def _check_rule(section: Section, part: Part, kind: str) -> None:
    """`cell > 0 == semantic > 0`, or `organelle > 0 == semantic >= 2`; straight and flipped."""
    store, semantic = part.labels[kind], part.labels["semantic"]
    depth = store.shape[0]
    straight, flipped = np.zeros(depth, np.int64), np.zeros(depth, np.int64)
    for z in slices_of(part, kind):
        runs = store.slice(z)
        for wrong, other in ((straight, z), (flipped, depth - 1 - z)):
            held = semantic.slice(other)
            held = held[semantic.ids[held.owners] >= _LEAST_CLASS[kind]]
            shared = int(intersect(runs, held)[2].sum())
            wrong[z] = runs.lengths.sum() + held.lengths.sum() - 2 * shared
    total, turned = int(straight.sum()), int(flipped.sum())
    said = f"{total} voxels differ" + (f", {turned} if flipped in z" if depth > 1 else "")
    section.figure(_RULE[kind], said, {"differ": total, "differ_if_flipped": turned})
    place = part.files[kind]
    if turned < total:
        section.error(
            "flip",
            place,
            expected=f"{_RULE[kind]}, slice by slice",
            found=f"{total} voxels that differ, and {turned} if the slices are taken backwards",
            remedy="the instances are flipped in z: turn them, or use another issue",
        )
        return
    at_border = 0
    for z in np.flatnonzero(straight).tolist():
        ids, classes = part.dense(kind, z), part.dense("semantic", z)
        wrong = (ids > 0) != (classes >= _LEAST_CLASS[kind])
        at_border += int(wrong.sum() - wrong[1:-1, 1:-1].sum())
        y, x = (int(c) for c in np.argwhere(wrong)[0])
        section.error(
            "agreement",
            place,
            expected=_RULE[kind],
            found=(
                f"{kind} {ids[y, x]} where the class is {classes[y, x]}, and {straight[z]} such "
                "voxels in this slice"
            ),
            remedy=_REMEDY,
            z=z,
            y=y,
            x=x,
        )
    if at_border:
        section.figure(
            f"{kind}, at borders", f"{at_border} of them are outermost pixels", at_border
        )


def _check_purity(section: Section, part: Part) -> None:
    store = part.labels["organelle"]
    measured = measure_organelles(store, part.labels["cell"], part.labels["semantic"])
    held = measured.area > 0
    mixed = np.flatnonzero(held & (measured.purity < 1))
    mean = float(measured.purity[held].mean()) if held.any() else 1.0
    said = f"mean {mean:.4f}, {len(mixed)} of {held.sum()} organelles are of several classes"
    values = {str(store.ids[i]): round(float(measured.purity[i]), 6) for i in mixed}
    section.figure("purity", said, {"mean": mean, "mixed": values})
    homeless = np.flatnonzero(held & (measured.cell == 0))
    section.figure("outside of cells", f"{len(homeless)} organelles", len(homeless))
    if len(mixed):
        worst = mixed[np.argsort(measured.purity[mixed], kind="stable")]
        told = [f"{store.ids[i]} ({measured.purity[i]:.1%} {_name(measured, i)})" for i in worst]
        said = f"{len(mixed)} organelles are of several classes: {_some(told)}"
        section.remark("purity", part.files["organelle"], said)
    if len(empty := store.ids[~held]):
        said = f"{len(empty)} ids without voxels: {_some(empty.tolist())}"
        section.remark("ids", part.files["organelle"], said)


def _name(measured: OrganelleProperties, index: np.int64) -> str:
    # A damaged mask has classes that nobody named.
    class_id = int(measured.class_id[index])
    return CLASS_NAMES[class_id] if class_id < len(CLASS_NAMES) else f"class {class_id}"


def _some(values: list[Any]) -> str:
    more = f" and {len(values) - _TOLD} more" if len(values) > _TOLD else ""
    return ", ".join(map(str, values[:_TOLD])) + more
