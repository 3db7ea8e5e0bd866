"""How frequent the semantic classes of volumes are, for loss weights and for the card."""

import numpy as np
from numpy.typing import NDArray

from _platelet_em.errors import LabelFormatError, LabelRangeError

__all__ = ["check_classes", "count_classes", "weigh_classes"]


def count_classes(semantic: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Pixels of each class.

    Args:
        semantic: Class indices, of any shape.
        classes: Number of classes.

    Returns:
        int64 (classes,).

    Raises:
        LabelFormatError: for values that are not integers.
        LabelRangeError: for an index without a class.

    >>> count_classes(np.uint8([[0, 2], [2, 0]]), 3).tolist()
    [2, 0, 2]
    """
    check_classes(semantic, classes)
    return np.bincount(semantic.reshape(-1), minlength=classes).astype(np.int64, copy=False)


def check_classes(semantic: NDArray[np.integer], classes: int) -> None:
    """Refuse whatever is not the index of a class.

    Args:
        semantic: Class indices, of any shape.
        classes: Number of classes.

    Raises:
        LabelFormatError: for values that are not integers.
        LabelRangeError: for an index without a class.
    """
    if semantic.dtype.kind not in "biu":
        raise LabelFormatError(
            f"semantic: expected class indices as integers, got dtype {semantic.dtype}"
        )
    if semantic.size and not (semantic.min() >= 0 and semantic.max() < classes):
        is_wrong = (semantic < 0) | (semantic >= classes)
        position = tuple(int(axis[0]) for axis in np.nonzero(is_wrong))
        raise LabelRangeError(
            f"semantic: class {semantic[position]} at {position}: expected classes from 0 to "
            f"{classes - 1}: map other values to these first"
        )


def weigh_classes(
    voxels: NDArray[np.int64], *, is_partly_labeled: bool = False
) -> NDArray[np.float64]:
    """Balanced weights: the voxels of all classes / (classes * voxels of the class).

    Args:
        voxels: int64 (classes,), voxels of each class.
        is_partly_labeled: Whether class 0 also means "not labeled": it does not count then, and
            has the weight 0.

    Returns:
        float64 (classes,); 0 for a class without a voxel.

    >>> weigh_classes(np.array([6, 2, 0])).round(3).tolist()
    [0.444, 1.333, 0.0]
    >>> weigh_classes(np.array([6, 2, 0]), is_partly_labeled=True).tolist()
    [0.0, 0.5, 0.0]
    """
    first = 1 if is_partly_labeled else 0
    counted = voxels[first:]
    weights = np.zeros(len(voxels))
    products = len(counted) * counted
    np.divide(counted.sum(), products, out=weights[first:], where=products > 0)
    return weights
