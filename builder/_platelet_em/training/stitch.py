"""`stitch`: predictions of windows, put together to a volume."""

import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from _platelet_em.arrays.shape import parse_shape
from _platelet_em.errors import ArgumentError, CoverageError, quote
from _platelet_em.training.geometry import Corner, Shape

__all__ = ["stitch"]

Array = NDArray[Any]
Weights = NDArray[np.float64]
Region = tuple[Any, ...]
"""Index of a box along the last three axes: `...` and three slices."""

_SIGMA = 1 / 8
"""Standard deviation of the Gaussian, as a share of the window along an axis."""

_EXACT_IN_FLOAT64 = 2**53


def stitch(
    windows: Iterable[tuple[Sequence[int], ArrayLike]],
    shape: Sequence[int],
    *,
    blend: str = "crop",
    channel_axes: int = 0,
) -> Array:
    """Put the predictions of windows together to a volume, in one pass over the windows.

    Where all windows agree on a voxel, every blend gives exactly that value: a model that
    changes nothing returns the volume bit for bit, whatever windows cover it.

    Args:
        windows: Pairs (corner, prediction), all of one volume. The corner is the position of the
            prediction's first voxel in the volume, `[z, y, x]`, or `[y, x]` if `shape` is that
            of a slice (`[z, y, x]` is accepted there too, if z is the same in all pairs). Voxels
            outside the volume are ignored. The prediction has the axes (z, y, x), or (y, x) for
            the slice at z, after its channel axes; windows may differ in size. It may be
            anything that `np.asarray` accepts, including CPU tensors that need no gradient and
            have a dtype that NumPy has (not bfloat16).
        shape: Shape of the volume (z, y, x) or of the slice (y, x), without channels.
        blend: How the windows that overlap at a voxel are combined:

            - `"crop"`: The window whose center is nearest, by distance in voxels; of several, the
              first. It accepts any dtype, instance ids included, and keeps it.
            - `"average"`: The mean of all windows. Floats keep their dtype; integers and bools
              give float64, since the mean of two ids is not an id.
            - `"gaussian"`: A mean with weights that decrease from the window's center, with a
              standard deviation of an eighth of the window along each axis.

        channel_axes: Number of leading axes of a prediction that are channels: 1 for (c, y, x).

    Returns:
        Array of `shape` after the channel axes. Peak memory is this array plus 8 bytes per voxel
        plus one window (float16 is averaged in float32).

    Raises:
        CoverageError: if no window covers some voxels; the message has their number and the
            position of the first one.
        ArgumentError: for an unknown blend, and for windows that do not fit the volume or each
            other.

    >>> import numpy as np
    >>> volume = np.arange(12).reshape(3, 4)
    >>> corners = [(0, 0), (0, 1), (1, 0), (1, 1)]
    >>> pieces = [(corner, volume[corner[0]:, corner[1]:][:2, :3]) for corner in corners]
    >>> bool((stitch(pieces, (3, 4)) == volume).all())
    True
    >>> stitch(pieces[:3], (3, 4))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    platelet_em.CoverageError: stitch: no window covers 1 of 12 voxels, the first at ...
    """
    shape = parse_shape(shape, "stitch: shape without channels", axes=(2, 3), error=ArgumentError)
    if not isinstance(channel_axes, (int, np.integer)) or channel_axes < 0:
        raise ArgumentError(
            f"stitch: channel_axes: expected a number of axes, got {quote(channel_axes)}"
        )
    if not isinstance(blend, str) or blend not in _BLENDS:
        raise ArgumentError(
            f"stitch: blend: expected one of {', '.join(_BLENDS)}, got {quote(blend)}"
        )
    canvas: _Canvas | None = None
    for number, (corner, prediction) in enumerate(_parse_pairs(windows)):
        name = f"stitch: window {number}"
        begin, values = _parse_window(corner, prediction, shape, channel_axes, name)
        z = operator.index(corner[0]) if len(corner) > len(shape) else None
        found = str(values.dtype), values.shape[:channel_axes], z
        if canvas is None:
            canvas = _Canvas(_BLENDS[blend], shape, values, channel_axes)
            expected = found
        if found != expected:
            raise ArgumentError(
                f"{name}: expected dtype, channels and slice as in window 0, {expected}, got "
                f"{found}; stitch the windows of one volume, or slice, and one model at a time"
            )
        canvas.add(begin, values)
    if canvas is None:
        raise CoverageError(f"stitch: got no windows; give windows that cover shape {shape}")
    return canvas.result()


# --- arguments --------------------------------------------------------------------------------


def _parse_pairs(windows: Any) -> Iterator[tuple[Sequence[int], ArrayLike]]:
    remedy = "give pairs (corner, prediction), such as ((0, 0, 0), array)"
    if not isinstance(windows, Iterable) or isinstance(windows, (str, bytes, Mapping)):
        raise ArgumentError(f"stitch: windows: got {quote(windows)}; {remedy}")
    for number, window in enumerate(windows):
        try:
            corner, prediction = window
        except (TypeError, ValueError) as error:
            raise ArgumentError(
                f"stitch: window {number}: got {quote(window)}; {remedy}"
            ) from error
        yield corner, prediction


def _parse_integers(values: Sequence[int], name: str) -> tuple[int, ...]:
    try:
        return tuple(operator.index(value) for value in values)
    except TypeError as error:
        raise ArgumentError(f"{name}: expected integers, got {quote(values)}") from error


def _parse_window(
    corner: Sequence[int], prediction: ArrayLike, shape: Shape, channel_axes: int, name: str
) -> tuple[Corner, Array]:
    """Corner of a window as (z, y, x), and its values with these axes after the channels."""
    begin = _parse_integers(corner, f"{name}: corner")
    try:
        values = np.asarray(prediction)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError(
            f"{name}: NumPy cannot read the prediction ({error}); give an array, for a tensor "
            ".detach().float().cpu()"
        ) from error
    axes = values.ndim - channel_axes
    if not len(shape) <= len(begin) <= 3 or axes not in (2, len(shape)):
        raise ArgumentError(
            f"{name}: corner {quote(begin)} and a prediction of shape {values.shape} with "
            f"{channel_axes} channel axes do not fit shape {shape}; set channel_axes, and give "
            "one entry of the corner per axis"
        )
    if axes == 2:
        values = values[..., None, :, :]
    return (begin if len(shape) == 3 else (0, *begin[-2:])), values


# --- blends -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Blend:
    """How windows that overlap are combined.

    Attributes:
        axis_weights: Length of a window along an axis -> float64 weights of its voxels there.
        join: Makes the weight of a voxel from its weights along the three axes.
        combine: Updates values and weights of a region in place, by those of a window there.
        uncovered: Weight of voxels that no window covers.
        running_dtype: dtype of predictions -> dtype of the values while windows are combined.
    """

    axis_weights: Callable[[int], Weights]
    join: Callable[[Iterable[Any]], Any]
    combine: Callable[[Array, Weights, Array, Weights], None]
    uncovered: float
    running_dtype: Callable[[np.dtype[Any]], np.dtype[Any]]


def _offsets(length: int) -> Weights:
    """Distances from the center of a window; halves are exact, so that ties are found."""
    return np.arange(length, dtype=np.float64) - (length - 1) / 2


def _gaussian(length: int) -> Weights:
    weights: Weights = np.exp(-0.5 * (_offsets(length) / (length * _SIGMA)) ** 2)
    return weights


def _keep_heaviest(values: Array, weights: Weights, new: Array, new_weights: Weights) -> None:
    is_heavier = new_weights > weights
    np.copyto(weights, new_weights, where=is_heavier)
    np.copyto(values, new, where=is_heavier)


def _update_mean(mean: Array, total: Weights, new: Array, new_weights: Weights) -> None:
    if new.dtype.kind in "iu" and new.dtype.itemsize == 8:
        for extreme in (int(new.min()), int(new.max())):
            if abs(extreme) > _EXACT_IN_FLOAT64:
                raise ArgumentError(
                    f"stitch: float64 cannot represent {extreme} exactly; use blend='crop'"
                )
    is_first = total == 0
    total += new_weights
    share = new_weights / total
    # Equal values are kept as they are: a sum of products would round them.
    mixed = mean * (1 - share) + new * share
    mean[...] = np.where(is_first | (new == mean), new, mixed)


def _mean_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    if dtype.kind not in "fiub":
        raise ArgumentError(
            f"stitch: only numbers have a mean, got dtype {dtype}; use blend='crop'"
        )
    return np.result_type(dtype, np.float32) if dtype.kind == "f" else np.dtype(np.float64)


_BLENDS = {
    # The weight is minus the squared distance from the center.
    "crop": _Blend(lambda n: -(_offsets(n) ** 2), sum, _keep_heaviest, -math.inf, lambda d: d),
    "average": _Blend(np.ones, math.prod, _update_mean, 0.0, _mean_dtype),
    "gaussian": _Blend(_gaussian, math.prod, _update_mean, 0.0, _mean_dtype),
}


class _Canvas:
    """Values (channels, z, y, x) and weights (z, y, x) of the volume while windows are added."""

    def __init__(self, blend: _Blend, shape: Shape, first: Array, channel_axes: int) -> None:
        extent = (*(1,) * (3 - len(shape)), *shape)
        self._blend, self._shape, self._dtype = blend, shape, first.dtype
        self._channels = first.shape[:channel_axes]
        self._values = np.zeros((*self._channels, *extent), blend.running_dtype(first.dtype))
        self._weights = np.full(extent, blend.uncovered)

    def add(self, begin: Corner, values: Array) -> None:
        """Combine the part of a window that is inside the volume with what is there."""
        inside: Region = (...,)
        part: Region = (...,)
        axes = []
        for first, length, end in zip(begin, values.shape[-3:], self._weights.shape, strict=True):
            low, high = max(first, 0), min(first + length, end)
            if low >= high:
                return
            inside += (slice(low, high),)
            part += (slice(low - first, high - first),)
            axes.append(self._blend.axis_weights(length)[part[-1]])
        weights = self._blend.join(np.ix_(*axes))
        self._blend.combine(self._values[inside], self._weights[inside], values[part], weights)

    def result(self) -> Array:
        """The values, with the shape of the volume; floats in the dtype of the predictions.

        Raises:
            CoverageError: for voxels that no window covers.
        """
        covered = self._weights != self._blend.uncovered
        if missing := covered.size - int(np.count_nonzero(covered)):
            first = np.unravel_index(int(covered.argmin()), self._shape)
            raise CoverageError(
                f"stitch: no window covers {missing} of {covered.size} voxels, the first at "
                f"{tuple(map(int, first))}; give windows that cover shape {self._shape}"
            )
        dtype = self._dtype if self._dtype.kind == "f" else self._values.dtype
        return self._values.astype(dtype, copy=False).reshape(*self._channels, *self._shape)
