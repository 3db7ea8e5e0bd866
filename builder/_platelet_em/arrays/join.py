"""`join_slices`: the labels of a volume from those of its slices."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from _platelet_em.arrays.label_columns import BORDER
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.runs import Runs, resolve

__all__ = ["join_slices"]


def join_slices(slices: Sequence[LazyLabels]) -> LazyLabels:
    """The labels (z, y, x) whose slices these are: the inverse of `LazyLabels.slices`.

    Args:
        slices: Labels (y, x) of one shape, at least one.

    Returns:
        The labels of the volume, ids ascending. Properties are those of the first slice in which
        an instance appears, without `touches_border`, which belongs to single slices.
    """
    ids = np.unique(np.concatenate([labels.ids for labels in slices]))
    plane = slices[0].size
    parts = []
    for z, labels in enumerate(slices):
        owners = np.searchsorted(ids, labels.ids)
        runs = labels.runs
        begin = z * plane
        parts.append(Runs(runs.starts + begin, runs.stops + begin, owners[runs.owners]))
    properties: dict[str, Any] = {}
    for labels in reversed(slices):
        at = np.searchsorted(ids, labels.ids)
        for name, values in labels.properties.items():
            if name == BORDER:
                continue
            whole = properties.setdefault(
                name, np.zeros((len(ids), *values.shape[1:]), values.dtype)
            )
            whole[at] = values
    shape = (len(slices), *slices[0].shape)
    joined = LazyLabels.from_runs(shape, ids, resolve(Runs.join(parts)), properties)
    joined.class_names = slices[0].class_names
    return joined
