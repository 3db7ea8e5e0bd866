"""Targets that networks are trained on, made of labels: boundaries, affinities, centers, weights.

All functions take arrays (z, y, x) or (y, x), or `LazyLabels` of these axes, and return NumPy
arrays; PyTorch is not needed. In a `DataLoader` they are called from `ToTensors(augment=...)`, or
in a `map`.

>>> from platelet_em import targets
>>> targets.boundaries([[7, 7, 7, 9]]).astype(int).tolist()
[[0, 0, 1, 1]]

Distance transforms and flows are made by SciPy, and by the tools that train on them.
"""

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from _platelet_em.arrays.kernels import Int64s, fill_runs
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.memory import check_room
from _platelet_em.arrays.runs import Runs, areas, cut, encode, paint
from _platelet_em.arrays.shape import parse_shape
from _platelet_em.errors import ArgumentError, LabelFormatError, quote
from _platelet_em.rows.class_balance import check_classes
from _platelet_em.training.samplers import parse_integer
from _platelet_em.training.statistics import class_weights

__all__ = [
    "affinities",
    "affinity_mask",
    "boundaries",
    "center_offsets",
    "centers",
    "class_weights",
    "foreground_boundary",
    "one_hot",
]

_MODES = ("thick", "inner")

_PIECE_BYTES = 128
"""Memory that a run within a row takes while centers are found, about."""


# --- boundaries -------------------------------------------------------------------------------


def boundaries(labels: ArrayLike | LazyLabels, *, mode: str = "thick") -> NDArray[np.bool_]:
    """Voxels with a neighbor of another label, along any axis; background is a label like others.

    Equal to `skimage.segmentation.find_boundaries(labels, connectivity=1, mode=mode)`.

    Args:
        labels: Integers (z, y, x) or (y, x), 0 being background.
        mode: `"thick"` marks the voxels on both sides of a boundary, `"inner"` leaves out those
            of the background.

    Returns:
        bool, of the shape of the labels.

    Raises:
        ArgumentError: for another mode.
        LabelFormatError: for labels that are not integers of two or three axes.

    >>> from platelet_em import targets
    >>> targets.boundaries([[0, 0, 5, 5, 5]], mode="inner").astype(int).tolist()
    [[0, 0, 1, 0, 0]]
    """
    if mode not in _MODES:
        raise ArgumentError(f"mode: expected one of {', '.join(_MODES)}, got {quote(mode)}")
    numbers = _to_numbers(labels)
    found = _find_boundaries(numbers)
    return found & (numbers != 0) if mode == "inner" else found


def foreground_boundary(labels: ArrayLike | LazyLabels) -> NDArray[np.bool_]:
    """Foreground and boundaries as two channels.

    Equal to `torch_em.transform.BoundaryTransform(add_binary_target=True)`.

    Args:
        labels: Integers (z, y, x) or (y, x), 0 being background.

    Returns:
        bool (2, z, y, x) or (2, y, x): where the label is not 0, and `boundaries(labels)`.

    Raises:
        LabelFormatError: for labels that are not integers of two or three axes.

    >>> from platelet_em import targets
    >>> targets.foreground_boundary([[0, 0, 5, 5, 5]]).astype(int).tolist()
    [[[0, 0, 1, 1, 1]], [[0, 1, 1, 0, 0]]]
    """
    numbers = _to_numbers(labels)
    return np.stack([numbers != 0, _find_boundaries(numbers)])


def _find_boundaries(labels: NDArray[np.integer]) -> NDArray[np.bool_]:
    found = np.zeros(labels.shape, np.bool_)
    for axis in range(labels.ndim):
        offset = [0] * labels.ndim
        offset[axis] = 1
        first, second = _overlap(labels.shape, offset)
        differs = labels[first] != labels[second]
        found[first] |= differs
        found[second] |= differs
    return found


# --- affinities -------------------------------------------------------------------------------


def affinities(
    labels: ArrayLike | LazyLabels, offsets: Sequence[Sequence[int]]
) -> NDArray[np.bool_]:
    """Whether a voxel and its neighbor at an offset belong to the same instance.

    The convention is that of gunpowder's `AddAffinities`: channel c is True at voxel p where p
    and p + offsets[c] have the same label, and it is not 0. Where p + offsets[c] is outside the
    array, it is False; `affinity_mask` tells these voxels from others. torch-em's
    `AffinityTransform(offsets, ignore_label=0)` has the opposite, `~affinities(labels, offsets)`.

    Args:
        labels: Integers (z, y, x) or (y, x), 0 being background.
        offsets: One offset per channel, each with one integer per axis, such as `[-1, 0, 0]`.

    Returns:
        bool (len(offsets), z, y, x) or (len(offsets), y, x).

    Raises:
        ArgumentError: for offsets that do not have one integer per axis.
        LabelFormatError: for labels that are not integers of two or three axes.

    >>> from platelet_em import targets
    >>> targets.affinities([[7, 7, 9, 0, 0]], [(0, -1), (0, 1)]).astype(int).tolist()
    [[[0, 1, 0, 0, 0]], [[1, 0, 0, 0, 0]]]
    """
    numbers = _to_numbers(labels)
    is_foreground = numbers != 0
    parsed = _parse_offsets(offsets, numbers.ndim)
    check_room((len(parsed), *numbers.shape), 1)
    found = np.zeros((len(parsed), *numbers.shape), np.bool_)
    for channel, offset in zip(found, parsed, strict=True):
        here, there = _overlap(numbers.shape, offset)
        np.equal(numbers[here], numbers[there], out=channel[here])
        channel[here] &= is_foreground[here]
    return found


def affinity_mask(shape: Sequence[int], offsets: Sequence[Sequence[int]]) -> NDArray[np.bool_]:
    """Where `affinities` compares two voxels of the array: a mask for the loss.

    Args:
        shape: Of the labels: (z, y, x) or (y, x).
        offsets: As those of `affinities`.

    Returns:
        bool (len(offsets), *shape): True where p + offset is inside the array.

    Raises:
        ArgumentError: for offsets that do not have one integer per axis, and for what is no shape.

    >>> from platelet_em import targets
    >>> targets.affinity_mask((1, 4), [(0, -1), (0, 2)]).astype(int).tolist()
    [[[0, 1, 1, 1]], [[1, 1, 0, 0]]]
    """
    shape = parse_shape(shape, "shape", error=ArgumentError)
    parsed = _parse_offsets(offsets, len(shape))
    check_room((len(parsed), *shape), 1)
    mask = np.zeros((len(parsed), *shape), np.bool_)
    for channel, offset in zip(mask, parsed, strict=True):
        channel[_overlap(shape, offset)[0]] = True
    return mask


def _parse_offsets(offsets: Any, ndim: int) -> list[list[int]]:
    try:
        parsed = [[operator.index(step) for step in offset] for offset in offsets]
    except TypeError:
        parsed = [[]]
    if any(len(offset) != ndim for offset in parsed):
        raise ArgumentError(
            f"offsets: expected a list of offsets of {ndim} integers each, one per axis of the "
            f"labels, got {quote(offsets)}"
        )
    return parsed


def _overlap(
    shape: tuple[int, ...], offset: Sequence[int]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """The voxels p whose neighbor p + offset is inside the array, and these neighbors."""
    here, there = [], []
    for extent, step in zip(shape, offset, strict=True):
        first, last = max(0, -step), max(0, extent - max(0, step))
        last = max(first, last)
        here.append(slice(first, last))
        there.append(slice(first + step, last + step))
    return tuple(here), tuple(there)


# --- classes ----------------------------------------------------------------------------------


def one_hot(semantic: ArrayLike, count: int) -> NDArray[np.bool_]:
    """One mask per class.

    Args:
        semantic: Class indices, (z, y, x) or (y, x).
        count: Number of classes, such as `len(platelet_em.CLASS_NAMES)`.

    Returns:
        bool (count, z, y, x) or (count, y, x).

    Raises:
        ArgumentError: for a count that is no integer of at least 1.
        LabelFormatError: for values that are not integers.
        LabelRangeError: for a class outside 0..count - 1.

    >>> from platelet_em import targets
    >>> targets.one_hot([[0, 2]], 3).astype(int).tolist()
    [[[1, 0]], [[0, 0]], [[0, 1]]]
    """
    count = parse_integer(count, "count", 1)
    classes = np.asarray(semantic)
    check_classes(classes, count)
    check_room((count, *classes.shape), 1)
    masks = np.empty((count, *classes.shape), np.bool_)
    for index, mask in enumerate(masks):
        np.equal(classes, index, out=mask)
    return masks


# --- centers ----------------------------------------------------------------------------------


def centers(labels: ArrayLike | LazyLabels) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """The center of each instance: the mean index of its voxels, which may be outside of it.

    `LazyLabels` are not decoded. Of a window, it is the center of the part in the window.

    Args:
        labels: Integers (z, y, x) or (y, x), 0 being background.

    Returns:
        Ids, int32 (n,), in the order of `LazyLabels.ids`, ascending for arrays; and their
        centers, float64 (n, number of axes). An instance without voxels is left out.

    Raises:
        LabelFormatError: for labels that are not integers from 0 to 2**31 - 1, of two or three
            axes.
        TooLargeError: for instances in more rows than this machine has memory for.

    >>> from platelet_em import targets
    >>> ids, points = targets.centers([[4, 4, 0], [4, 4, 9]])
    >>> ids.tolist(), points.tolist()
    ([4, 9], [[0.5, 0.5], [1.0, 2.0]])
    """
    ids, runs, shape = _to_runs(labels)
    pieces, indices = _split_rows(runs, shape)
    voxels, points = _average(pieces, indices, len(ids))
    return ids[voxels > 0], points[voxels > 0]


def center_offsets(labels: ArrayLike | LazyLabels) -> NDArray[np.float32]:
    """For each voxel of an instance, the vector from the voxel to the center of its instance.

    The centers are those of `centers`: voxel + vector = center.

    Args:
        labels: Integers (z, y, x) or (y, x), 0 being background.

    Returns:
        float32 (3, z, y, x) or (2, y, x), in voxels; 0 in the background.

    Raises:
        LabelFormatError: for labels that are not integers from 0 to 2**31 - 1, of two or three
            axes.

    >>> from platelet_em import targets
    >>> targets.center_offsets([[4, 4, 0], [4, 4, 9]])[1].tolist()
    [[0.5, -0.5, 0.0], [0.5, -0.5, 0.0]]
    """
    ids, runs, shape = _to_runs(labels)
    pieces, indices = _split_rows(runs, shape)
    _, points = _average(pieces, indices, len(ids))
    check_room((len(shape), *shape), np.dtype(np.float32).itemsize)
    vectors = np.empty((len(shape), *shape), np.float32)
    size = vectors[0].size
    for axis, channel in enumerate(vectors[:-1]):
        distances = points[pieces.owners, axis] - indices[axis]
        painted = fill_runs(pieces.starts, pieces.stops, distances, size, np.float32)
        channel[...] = painted.reshape(shape)
    # Along the last axis the distance changes within a run.
    painted = fill_runs(runs.starts, runs.stops, points[runs.owners, -1], size, np.float32)
    is_inside = fill_runs(runs.starts, runs.stops, np.ones(len(runs), np.bool_), size, np.bool_)
    vectors[-1] = painted.reshape(shape)
    vectors[-1] -= np.arange(shape[-1], dtype=np.float32)
    vectors[-1][~is_inside.reshape(shape)] = 0
    return vectors


def _split_rows(runs: Runs, shape: tuple[int, ...]) -> tuple[Runs, list[NDArray[Any]]]:
    """Runs cut where a row ends, and the mean index of each piece along each axis."""
    width = max(shape[-1], 1)
    count = int(((runs.stops - 1) // width - runs.starts // width + 1).sum())
    check_room((count,), _PIECE_BYTES, shape)
    row, inside = cut(runs, width)
    pieces = Runs(inside.starts + row * width, inside.stops + row * width, inside.owners)
    leading: list[Int64s] = []
    for extent in reversed(shape[:-1]):
        row, index = np.divmod(row, max(extent, 1))
        leading.insert(0, index)
    return pieces, [*leading, (inside.starts + inside.stops - 1) / 2]


def _average(
    pieces: Runs, indices: list[NDArray[Any]], count: int
) -> tuple[Int64s, NDArray[np.float64]]:
    """Voxels of each of `count` instances, and its center (count, ndim); NaN without a voxel."""
    voxels = areas(pieces, count)
    # Sums of indices are whole numbers, which float64 represents exactly.
    sums = [np.bincount(pieces.owners, pieces.lengths * index, count) for index in indices]
    with np.errstate(invalid="ignore"):
        return voxels, np.stack(sums, axis=-1) / voxels[:, None]


# --- labels in two forms ----------------------------------------------------------------------


def _to_runs(
    labels: ArrayLike | LazyLabels,
) -> tuple[NDArray[np.int32], Runs, tuple[int, ...]]:
    """Ids, runs whose owners are indices into them, and the shape."""
    if isinstance(labels, LazyLabels):
        _check_axes(labels.shape)
        return labels.ids, labels.runs, labels.shape
    array = _to_numbers(labels)
    return *encode(array), array.shape


def _to_numbers(labels: ArrayLike | LazyLabels) -> NDArray[np.integer]:
    """Integers that are equal where the labels are equal, and 0 where they are 0."""
    if isinstance(labels, LazyLabels):
        _check_axes(labels.shape)
        # Numbers of one or two bytes are painted and compared faster than ids of four.
        numbers = np.arange(1, len(labels.ids) + 1)
        dtype = np.min_scalar_type(len(labels.ids))
        check_room(labels.shape, dtype.itemsize)
        return paint(labels.runs, numbers, labels.size, dtype).reshape(labels.shape)
    array = np.asarray(labels)
    _check_axes(array.shape)
    if array.dtype.kind not in "biu":
        raise LabelFormatError(f"labels: expected integers, got dtype {array.dtype}")
    return array


def _check_axes(shape: tuple[int, ...]) -> None:
    if len(shape) not in (2, 3):
        raise LabelFormatError(
            f"labels: expected the axes (z, y, x) or (y, x), got shape {shape}: pass the labels "
            "of a batch one by one"
        )
