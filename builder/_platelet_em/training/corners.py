"""Windows at corners that the user lists, in that order."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from _platelet_em.errors import ArgumentError, quote
from _platelet_em.training.geometry import MARGIN, Corner, VolumeExtent, WindowGeometry
from _platelet_em.training.samplers import WindowPlan, parse_shapes

__all__ = ["ListedWindows"]


@dataclass(frozen=True, repr=False)
class ListedWindows:
    """Windows at given corners.

    Args:
        corners: Corners (z, y, x) of label windows in the only volume, a sequence or an integer
            array (n, 3); or pairs (name of a volume, corner); or a dictionary {name of a volume:
            corners}.
        shape: As of `RandomWindows`, and so `label_shape` and `pad`.
        label_shape: See `shape`.
        pad: See `shape`.

    Raises:
        ArgumentError: for corners of another form.

    >>> ListedWindows([(0, 4, 4), (1, 0, 2)], (1, 8, 8))  # doctest: +ELLIPSIS
    ListedWindows(2 corners, shape=(1, 8, 8), label_shape=None, pad='margin', digest=...)
    """

    corners: Any
    shape: Sequence[int]
    label_shape: Sequence[int] | None = None
    pad: str | None = MARGIN
    needs_boxes: ClassVar[bool] = False
    needs_counts: ClassVar[bool] = False

    def __post_init__(self) -> None:
        parse_shapes(self)
        object.__setattr__(self, "corners", _parse_corners(self.corners))

    def __repr__(self) -> str:
        names, corners = self.corners
        digest = hashlib.sha256(
            repr(names).encode() + corners.astype("<i8").tobytes()
        ).hexdigest()[:12]
        return (
            f"ListedWindows({len(corners)} corners, shape={self.shape}, "
            f"label_shape={self.label_shape}, pad={self.pad!r}, digest={digest!r})"
        )

    def plan(self, volumes: Sequence[VolumeExtent]) -> WindowPlan:
        """The windows of these volumes.

        Raises:
            ArgumentError: for a volume that is smaller than a window, a name of no volume, or a
                window outside its volume.
        """
        names, corners = self.corners
        geometry = WindowGeometry.of(self.shape, self.label_shape, self.pad)
        known = {volume.name: k for k, volume in enumerate(volumes)}
        if names is None:
            if len(volumes) > 1:
                raise ArgumentError(
                    "sampler: corners of several volumes need their names, as pairs (name, "
                    f"corner) or as a dictionary {{name: corners}}; volumes are {quote([*known])}"
                )
            numbers = np.zeros(len(corners), np.int64)
        else:
            if len(known) < len(volumes):
                raise ArgumentError(
                    "sampler: corners by name need volumes of different names, got "
                    f"{quote([volume.name for volume in volumes])}: take one source of each volume"
                )
            if unknown := [name for name in names if name not in known]:
                raise ArgumentError(
                    f"sampler: expected corners of the volumes {quote([*known])}, got one of "
                    f"{quote(unknown[0])}"
                )
            numbers = np.array([known[name] for name in names])
        if any(volume.zs is not None for volume in volumes):
            corners = corners.copy()  # for positions of slices in place of their z
        for number in np.unique(numbers).tolist():
            chosen = np.flatnonzero(numbers == number)
            corners[chosen] = _check_inside(corners[chosen], volumes[number], geometry, chosen)
        return _ListedPlan(geometry, numbers, corners)


def _parse_corners(corners: Any) -> tuple[list[str] | None, NDArray[np.int64]]:
    """Names of the volumes, None for the only one, and corners, int64 (n, 3)."""
    names: list[str] | None = None
    values = corners
    if isinstance(corners, Mapping):
        parts = {str(name): _to_array(part) for name, part in corners.items()}
        names = [name for name, part in parts.items() for _ in part]
        values = np.concatenate([*parts.values()]) if parts else []
    elif isinstance(corners, Iterable) and not isinstance(corners, (str, bytes, np.ndarray)):
        values = list(corners)
        if values and all(_is_pair(value) for value in values):
            names, values = [str(name) for name, _ in values], [corner for _, corner in values]
    return names, _to_array(values)


def _is_pair(value: Any) -> bool:
    return isinstance(value, (tuple, list)) and len(value) == 2 and isinstance(value[0], str)


def _to_array(values: Any) -> NDArray[np.int64]:
    try:
        array = np.asarray(values)
    except (TypeError, ValueError):
        array = np.empty(0)
    is_list = array.ndim == 2 and array.shape[1] == 3 and len(array) > 0
    if not (is_list and array.dtype.kind in "iu" and int(array.max()) < 2**63):
        raise ArgumentError(
            "sampler: expected RandomWindows, GridWindows or StratifiedWindows, or at least one "
            "corner (z, y, x) of integers: a list of corners, of pairs (name of the volume, "
            f"corner), or a dictionary {{name: corners}}; got {quote(values)}"
        )
    return array.astype(np.int64)


def _check_inside(
    corners: NDArray[np.int64],
    volume: VolumeExtent,
    geometry: WindowGeometry,
    positions: NDArray[np.int64],
) -> NDArray[np.int64]:
    """The corners with the position of the slice in place of its z.

    `positions` are those of the corners in the user's list.
    """
    first, last = np.transpose(geometry.corner_range(volume))
    is_inside = (corners >= first) & (corners <= last)
    if volume.zs is not None:
        is_inside[:, 0] = np.isin(corners[:, 0], volume.zs)
    inside = is_inside.all(axis=1)
    if not inside.all():
        wrong = int(np.argmin(inside))
        low, high = first.tolist(), last.tolist()
        z = f"{low[0]} to {high[0]}" if volume.zs is None else f"one of {quote([*volume.zs])}"
        raise ArgumentError(
            f"sampler: corner {int(positions[wrong])} of the list: expected the label window "
            f"inside volume {volume.name}, z {z}, y {low[1]} to {high[1]}, x {low[2]} to "
            f"{high[2]}, got {corners[wrong].tolist()}"
        )
    if volume.zs is None:
        return corners
    return np.column_stack([np.searchsorted(volume.zs, corners[:, 0]), corners[:, 1:]])


class _ListedPlan:
    """The plan of `ListedWindows`: volume and corner of each window."""

    def __init__(
        self, geometry: WindowGeometry, numbers: NDArray[np.int64], corners: NDArray[np.int64]
    ) -> None:
        self.geometry, self._numbers, self._corners = geometry, numbers, corners

    @property
    def count(self) -> int:
        return len(self._corners)

    def locate(self, index: int, epoch: int) -> tuple[int, Corner]:  # noqa: ARG002  # all alike
        return int(self._numbers[index]), tuple(self._corners[index].tolist())
