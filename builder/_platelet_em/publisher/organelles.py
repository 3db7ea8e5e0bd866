"""Properties of whole instances, such as the class and the cell of an organelle, from runs."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.kernels import Int64s
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.runs import Runs, clip, intersect
from _platelet_em.spec import InstanceSpec

__all__ = ["SharedVoxels", "measure_instances"]

_MOST_RUNS = 2**18

_NOTHING = 0
"""Class, or parent, of voxels that have none."""


class SharedVoxels:
    """How many voxels each instance of one label volume shares with each label of another.

    Args:
        labels: n instances.
        other: Labels of the same shape.
    """

    def __init__(self, labels: LazyLabels, other: LazyLabels) -> None:
        self._count = len(labels.ids)
        # One integer per pair: np.unique is much faster on them than on rows of pairs.
        width = max(len(other.ids), 1)
        pairs = voxels = np.zeros(0, np.int64)
        for start, stop in _divide(labels.runs, other.runs, labels.size):
            part = clip(labels.runs, start, stop), clip(other.runs, start, stop)
            mine, theirs, shared = intersect(*part)
            pairs, inverse = np.unique(
                np.concatenate([pairs, mine * width + theirs]), return_inverse=True
            )
            shared = np.concatenate([voxels, shared])
            voxels = np.zeros(len(pairs), np.int64)
            np.add.at(voxels, inverse, shared)
        self._owners, self._voxels = pairs // width, voxels
        self._labels = other.ids[pairs % width].astype(np.int64)

    def total(self) -> Int64s:
        """int64 (n,): voxels of each instance that have any label of the other volume."""
        total = np.zeros(self._count, np.int64)
        np.add.at(total, self._owners, self._voxels)
        return total

    def most_frequent(self, unlabeled: Int64s, first_label: int = 1) -> tuple[Int64s, Int64s]:
        """The label with most voxels of each instance; of equal ones the lower.

        Args:
            unlabeled: int64 (n,), voxels without a label; where they are more than those of any
                label, the result is label 0.
            first_label: Lowest label that counts.

        Returns:
            The label, 0 for none, and its voxels, int64 (n,) each.
        """
        counted = self._labels >= first_label
        owners, labels = self._owners[counted], self._labels[counted]
        voxels = self._voxels[counted]
        # Sorted by instance, then most voxels, then lowest label: the first of each wins.
        order = np.lexsort((labels, -voxels, owners))
        present, first = np.unique(owners[order], return_index=True)
        label, votes = np.zeros(self._count, np.int64), np.zeros(self._count, np.int64)
        label[present] = labels[order][first]
        votes[present] = voxels[order][first]
        outvoted = unlabeled > votes
        label[outvoted], votes[outvoted] = _NOTHING, unlabeled[outvoted]
        return label, votes


def _divide(first: Runs, second: Runs, size: int) -> Iterator[tuple[int, int]]:
    """Ranges of voxels with at most `_MOST_RUNS` runs that begin there, of each of the two.

    What is made of all pairs of runs that overlap takes ten times the memory of the runs.
    """
    starts = (first.starts[::_MOST_RUNS], second.starts[::_MOST_RUNS])
    bounds = np.unique(np.concatenate([[0], *starts, [size]])).tolist()
    return pairwise(bounds)


def measure_instances(
    labels: LazyLabels,
    instance: InstanceSpec,
    semantic: LazyLabels | None,
    parents: LazyLabels | None = None,
) -> dict[str, NDArray[Any]]:
    """The properties that belong to whole instances, by name, in the order of `labels.ids`.

    Args:
        labels: The instances, (z, y, x).
        instance: Their kind, which says what properties they have.
        semantic: The classes of the same volume; ids are class indices. None if it has none.
        parents: The instances that these are part of; None if the volume has none.

    Returns:
        As far as kind and volume have them: `class_id`, int64, the class with most voxels of the
        instance among those from `instance.first_class` on, the lower one in a tie, 0 for none;
        `purity`, float32, the share of its voxels in that class, also in class 0; and the property
        `instance.parent`, int32: the id of the parent with most of its voxels, the lower one in a
        tie, 0 if more of them are in none.
    """
    properties: dict[str, NDArray[Any]] = {}
    areas = labels.areas
    if instance.has_class and semantic is not None:
        classes = SharedVoxels(labels, semantic)
        class_id, voxels = classes.most_frequent(np.zeros_like(areas), instance.first_class)
        voxels = np.where(class_id == _NOTHING, areas - classes.total(), voxels)
        properties["class_id"] = class_id
        properties["purity"] = (voxels / np.maximum(areas, 1)).astype(np.float32)
    if instance.parent is not None and parents is not None:
        shared = SharedVoxels(labels, parents)
        parent, _ = shared.most_frequent(areas - shared.total())
        properties[instance.parent] = parent.astype(np.int32)
    return properties
