"""Instances from a mask: each connected piece of it is one."""

import numpy as np

from _platelet_em.arrays.kernels import value_runs
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.pieces import connected_pieces
from _platelet_em.publisher.label_file import check_label_count
from _platelet_em.publisher.page_values import PageRuns, collect_values
from _platelet_em.sources.file_stack import FileStack
from _platelet_em.sources.gray import read_gray
from _platelet_em.spec import Components

__all__ = ["read_components"]


def read_components(stack: FileStack, rule: Components, most: int) -> LazyLabels:
    """The connected pieces of a mask as instances, (z, y, x).

    Args:
        stack: The mask, in gray values.
        rule: Which voxels belong to it, and which ones are connected.
        most: Pieces that it may have.

    Returns:
        Instances whose ids count from 1 in the order of the first voxel of each in (z, y, x), as
        `skimage.measure.label(mask > rule.threshold, connectivity=rule.connectivity)` has them.

    Raises:
        LabelFormatError: for colors that are not gray, and too many pieces.
    """

    def mask_runs(z: int) -> PageRuns:
        return value_runs((read_gray(stack, z, is_label=True) > rule.threshold).ravel())

    mask = collect_values(stack.volume_shape, stack.name, mask_runs, 1, stack.size)
    count, runs = connected_pieces(mask.runs, mask.shape, rule.connectivity)
    check_label_count(count, most, stack.name)
    ids = np.arange(1, count + 1, dtype=np.int32)
    return LazyLabels.from_runs(mask.shape, ids, runs)
