"""What belongs to a whole organelle: its class, its purity and its cell, from runs alone."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.runs import areas, intersect
from _platelet_em.facts import FIRST_ORGANELLE_CLASS
from _platelet_em.publisher.runstore import RunStore

__all__ = ["OrganelleProperties", "Votes", "measure_organelles"]

Int64s = NDArray[np.int64]

_NOTHING = 0
"""Class or cell of voxels that have none."""


@dataclass(frozen=True, slots=True)
class OrganelleProperties:
    """Columns of a volume's organelles, an entry for each id of the store.

    Attributes:
        class_id: int64, the class with most of the organelle's voxels among 2..6; the lower of
            two that are even; 0 if it has none of them.
        purity: float32, the share of its voxels in that class, also in class 0.
        cell: int32, the cell that holds most of its voxels; the lower of two that are even; 0 if
            more of them lie in no cell.
        area: int64, its voxels.
    """

    class_id: Int64s
    purity: NDArray[np.float32]
    cell: NDArray[np.int32]
    area: Int64s


class Votes:
    """Voxels that each instance shares with each label; only pairs that occur take memory."""

    def __init__(self) -> None:
        self._pairs = np.empty((0, 2), np.int64)
        self._counts = np.empty(0, np.int64)

    def add(self, owners: Int64s, labels: Int64s, counts: Int64s) -> None:
        """Count `counts` more voxels for each pair of organelle and label."""
        pairs = np.concatenate([self._pairs, np.stack([owners, labels], axis=1)])
        counts = np.concatenate([self._counts, counts])
        self._pairs, inverse = np.unique(pairs, axis=0, return_inverse=True)
        self._counts = np.zeros(len(self._pairs), np.int64)
        np.add.at(self._counts, inverse.reshape(-1), counts)

    def winners(self, count: int, rivals: Int64s) -> tuple[Int64s, Int64s]:
        """The label with most voxels of each organelle, the lower if two are even.

        Args:
            count: Number of organelles.
            rivals: int64 (count,), voxels that no label has; with more than any label, they win
                as label 0.

        Returns:
            Label and voxels of the winner, int64 (count,) each.
        """
        owners, labels = self._pairs[:, 0], self._pairs[:, 1]
        # Sorted by organelle, then most voxels, then lowest label: the first of each wins.
        order = np.lexsort((labels, -self._counts, owners))
        present, first = np.unique(owners[order], return_index=True)
        label, votes = np.zeros(count, np.int64), np.zeros(count, np.int64)
        label[present] = labels[order][first]
        votes[present] = self._counts[order][first]
        lost = rivals > votes
        label[lost], votes[lost] = _NOTHING, rivals[lost]
        return label, votes

    def total(self, count: int) -> Int64s:
        """int64 (count,): voxels of each organelle that have any label."""
        total = np.zeros(count, np.int64)
        np.add.at(total, self._pairs[:, 0], self._counts)
        return total


def measure_organelles(
    organelles: RunStore, cells: RunStore, semantic: RunStore
) -> OrganelleProperties:
    """Work out the columns that belong to whole organelles, slice by slice, without voxels."""
    count = len(organelles.ids)
    area = np.zeros(count, np.int64)
    covered = np.zeros(count, np.int64)
    in_class, in_cell = Votes(), Votes()
    for z in range(organelles.shape[0]):
        runs = organelles.slice(z)
        area += areas(runs, count)
        owners, other, shared = intersect(runs, semantic.slice(z))
        np.add.at(covered, owners, shared)
        classes = semantic.ids[other].astype(np.int64)
        organelle = classes >= FIRST_ORGANELLE_CLASS
        in_class.add(owners[organelle], classes[organelle], shared[organelle])
        owners, other, shared = intersect(runs, cells.slice(z))
        in_cell.add(owners, cells.ids[other].astype(np.int64), shared)
    class_id, votes = in_class.winners(count, np.zeros(count, np.int64))
    votes = np.where(class_id == _NOTHING, area - covered, votes)
    cell, _ = in_cell.winners(count, area - in_cell.total(count))
    return OrganelleProperties(
        class_id, (votes / np.maximum(area, 1)).astype(np.float32), cell.astype(np.int32), area
    )
