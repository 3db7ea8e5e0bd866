"""Windows back to a volume: each voxel from the nearest window, or a mean of all that hold it."""

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from _platelet_em.errors import ArgumentError, CoverageError, quote

__all__ = ["stitch"]

Array = NDArray[Any]
Region = tuple[Any, ...]
"""An index that picks a box along the last three axes, for `array[region]`."""

_SIGMAS = 8
"""Standard deviations of the Gaussian that fit into a window along an axis."""

_EXACT_IN_FLOAT64 = 2**53


def stitch(
    windows: Iterable[tuple[Sequence[int], ArrayLike]],
    shape: Sequence[int],
    *,
    blend: str = "crop",
    channel_axes: int = 0,
) -> Array:
    """Put predictions of windows back where they belong, in one pass over the windows.

    A model that changes nothing gives the volume back bit for bit, whatever the windows, if they
    cover it: where all windows agree on a voxel, every blend gives the value itself.

    Args:
        windows: Pairs of a corner and a prediction, all of one volume. The corner is the first
            voxel `[z, y, x]` of the prediction in the volume, or `[y, x]` if `shape` is that of a
            slice (a z is allowed there too, if it is the same in all pairs). What lies outside
            of the volume is left out. The prediction has the axes (z, y, x), or (y, x) for the
            slice at z, after its channel axes; sizes may differ from window to window. Whatever
            `np.asarray` takes will do, CPU tensors too if they need no gradient and are of a
            dtype that NumPy has (not bfloat16).
        shape: Extent of the volume (z, y, x) or of the slice (y, x), without channels.
        blend: Which value a voxel gets:
            `"crop"`: that of the window whose centre is nearest, in voxels; of several, the
            first. It takes any dtype, ids too, and keeps it.
            `"average"`: the mean of all windows that hold it. Floats keep their dtype; integers
            and bools give float64, for the mean of two ids is no id.
            `"gaussian"`: such a mean with weights that fall off from the window's centre, with a
            standard deviation of an eighth of the window along each axis.
        channel_axes: How many leading axes of a prediction are no place: 1 for (c, y, x).

    Returns:
        Array of `shape`, behind the channel axes. It and 8 bytes a voxel are all the memory that
        is taken beside one window (float16 is added up in float32).

    Raises:
        CoverageError: for voxels that no window holds; it says how many, and where the first is.
        ArgumentError: for an unknown blend, or windows that do not fit the volume or each other.

    >>> volume = np.arange(12).reshape(3, 4)
    >>> corners = [(0, 0), (0, 1), (1, 0), (1, 1)]
    >>> pieces = [(corner, volume[corner[0]:, corner[1]:][:2, :3]) for corner in corners]
    >>> bool((stitch(pieces, (3, 4)) == volume).all())
    True
    >>> stitch(pieces[:3], (3, 4))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    _platelet_em.errors.CoverageError: stitch: no window holds 1 of 12 voxels, the first at ...
    """
    extent = _parse_shape(shape)
    if not isinstance(channel_axes, (int, np.integer)) or channel_axes < 0:
        raise ArgumentError(f"stitch: channel_axes is a number of axes, got {quote(channel_axes)}")
    if not isinstance(blend, str) or blend not in _BLENDS:
        raise ArgumentError(f"stitch: blend is one of {', '.join(_BLENDS)}, got {quote(blend)}")
    canvas: _Canvas | None = None
    for number, (corner, prediction) in enumerate(windows):
        place = f"stitch: window {number}"
        begin, values = _place(corner, _array(prediction, place), extent, channel_axes, place)
        found = str(values.dtype), values.shape[:channel_axes], _slice_of(corner, extent)
        if canvas is None:
            canvas = _BLENDS[blend](extent, values, channel_axes)
            expected = found
        if found != expected:
            raise ArgumentError(
                f"{place}: expected dtype, channels and slice as in window 0, {expected}, got "
                f"{found}; stitch the windows of one volume, or slice, and one model at a time"
            )
        size = values.shape[-3:]
        inside, part = _clip(begin, size, canvas.extent)
        if all(axis.start < axis.stop for axis in inside):
            held: Region = (..., *part)
            canvas.add((..., *inside), values[held], part, size)
    if canvas is None:
        raise CoverageError(f"stitch: no window at all; give windows that cover shape {extent}")
    _check_covered(canvas.covered(), extent)
    result = canvas.result()
    return result.reshape(*result.shape[:channel_axes], *extent)


# --- arguments --------------------------------------------------------------------------------


def _parse_shape(shape: Sequence[int]) -> tuple[int, ...]:
    extent = _integers(shape, "stitch: shape")
    if len(extent) not in (2, 3) or min(extent) < 0:
        raise ArgumentError(
            f"stitch: shape is (z, y, x) or (y, x), without channels, got {quote(extent)}"
        )
    return extent


def _integers(values: Sequence[int], name: str) -> tuple[int, ...]:
    try:
        return tuple(operator.index(value) for value in values)
    except TypeError as error:
        raise ArgumentError(f"{name}: expected integers, got {quote(values)}") from error


def _array(prediction: ArrayLike, place: str) -> Array:
    try:
        return np.asarray(prediction)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError(
            f"{place}: NumPy cannot read the prediction ({error}): give an array, of a tensor "
            ".detach().float().cpu()"
        ) from error


def _slice_of(corner: Sequence[int], extent: tuple[int, ...]) -> int | None:
    """The z of a window that goes into a slice, if it tells."""
    return operator.index(corner[0]) if len(corner) == 3 and len(extent) == 2 else None


def _place(
    corner: Sequence[int],
    values: Array,
    extent: tuple[int, ...],
    channel_axes: int,
    place: str,
) -> tuple[tuple[int, ...], Array]:
    """First voxel of a window along (z, y, x), and its values with these axes."""
    begin = _integers(corner, f"{place}: corner")
    axes = values.ndim - channel_axes
    if not len(extent) <= len(begin) <= 3 or axes not in (2, len(extent)):
        raise ArgumentError(
            f"{place}: corner {quote(begin)} and a prediction of shape {values.shape} with "
            f"{channel_axes} channel axes do not go into shape {extent}: set channel_axes, and "
            "give one entry of the corner an axis"
        )
    if axes == 2:
        values = values[..., None, :, :]
    return (begin if len(extent) == 3 else (0, *begin[-2:])), values


def _clip(
    begin: tuple[int, ...], size: tuple[int, ...], extent: tuple[int, ...]
) -> tuple[list[slice], list[slice]]:
    """What of a window lies in the volume: as a region of the volume, and of the window."""
    inside, part = [], []
    for first, length, end in zip(begin, size, extent, strict=True):
        low, high = max(first, 0), min(first + length, end)
        inside.append(slice(low, high))
        part.append(slice(low - first, high - first))
    return inside, part


def _check_covered(covered: NDArray[np.bool_], extent: tuple[int, ...]) -> None:
    if missing := covered.size - int(np.count_nonzero(covered)):
        first = np.unravel_index(int(covered.argmin()), extent)
        raise CoverageError(
            f"stitch: no window holds {missing} of {covered.size} voxels, the first at "
            f"{tuple(map(int, first))}; give windows that cover shape {extent}"
        )


# --- blends -----------------------------------------------------------------------------------


class _Canvas(Protocol):
    """What windows are put on; its axes are (z, y, x), behind those of channels."""

    extent: tuple[int, ...]

    def add(self, inside: Region, values: Array, part: list[slice], size: tuple[int, ...]) -> None:
        """Put in the values of `part` of a window of `size`; they lie `inside` the volume."""

    def covered(self) -> NDArray[np.bool_]:
        """Which voxels have a value."""

    def result(self) -> Array:
        """The values."""


class _Crop:
    """Keeps the value of the nearest centre, beside the square of twice its distance."""

    def __init__(self, extent: tuple[int, ...], first: Array, channel_axes: int) -> None:
        self.extent = (1,) * (3 - len(extent)) + extent
        self._values = np.zeros((*first.shape[:channel_axes], *self.extent), first.dtype)
        self._distance = np.full(self.extent, np.iinfo(np.int64).max)

    def add(self, inside: Region, values: Array, part: list[slice], size: tuple[int, ...]) -> None:
        # Twice the distance, for the centre may lie between two voxels; integers tie exactly.
        axes = [2 * np.arange(p.start, p.stop) - (n - 1) for p, n in zip(part, size, strict=True)]
        distance = sum(axis**2 for axis in np.ix_(*axes))
        nearer = distance < self._distance[inside]
        np.copyto(self._distance[inside], distance, where=nearer)
        np.copyto(self._values[inside], values, where=nearer)

    def covered(self) -> NDArray[np.bool_]:
        covered: NDArray[np.bool_] = self._distance < np.iinfo(np.int64).max
        return covered

    def result(self) -> Array:
        return self._values


class _Average:
    """Keeps a running mean, beside the sum of the weights."""

    def __init__(self, extent: tuple[int, ...], first: Array, channel_axes: int) -> None:
        kind = first.dtype.kind
        if kind not in "fiub":
            raise ArgumentError(
                f"stitch: only numbers have a mean, got dtype {first.dtype}: use blend='crop'"
            )
        self.extent = (1,) * (3 - len(extent)) + extent
        self._dtype = first.dtype if kind == "f" else np.dtype(np.float64)
        running = np.result_type(self._dtype, np.float32)
        self._mean = np.zeros((*first.shape[:channel_axes], *self.extent), running)
        self._total = np.zeros(self.extent)

    def weights(self, size: tuple[int, ...]) -> list[NDArray[np.float64]]:
        """The weights of a window along each axis, whose product is the weight of a voxel."""
        return [np.ones(n) for n in size]

    def add(self, inside: Region, values: Array, part: list[slice], size: tuple[int, ...]) -> None:
        if values.dtype.kind in "iu" and values.dtype.itemsize == 8:
            _check_exact(values)
        axes = [w[p] for w, p in zip(self.weights(size), part, strict=True)]
        weight = math.prod(np.ix_(*axes))
        total, mean = self._total[inside], self._mean[inside]
        fresh = total == 0
        total += weight
        share = weight / total
        # Equal values are kept as they are, which no sum of products would do.
        mixed = mean * (1 - share) + values * share
        mean[...] = np.where(fresh | (values == mean), values, mixed)

    def covered(self) -> NDArray[np.bool_]:
        covered: NDArray[np.bool_] = self._total > 0
        return covered

    def result(self) -> Array:
        return self._mean.astype(self._dtype, copy=False)


class _Gaussian(_Average):
    """The mean with weights that fall off from the centre."""

    def weights(self, size: tuple[int, ...]) -> list[NDArray[np.float64]]:
        return [np.exp(-0.5 * ((np.arange(n) - (n - 1) / 2) / (n / _SIGMAS)) ** 2) for n in size]


def _check_exact(values: Array) -> None:
    for extreme in (int(values.min()), int(values.max())):
        if abs(extreme) > _EXACT_IN_FLOAT64:
            raise ArgumentError(
                f"stitch: {extreme} is beyond what float64 holds: use blend='crop'"
            )


_BLENDS: dict[str, Any] = {"crop": _Crop, "average": _Average, "gaussian": _Gaussian}
