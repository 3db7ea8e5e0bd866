"""`VolumeArray`: the slices of an opened volume as one array, read when they are looked at."""

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.lazy import LazyArray
from _platelet_em.arrays.stack import read_pages

__all__ = ["VolumeArray"]

_KEPT_BYTES = 2**28
"""Bytes of slices that an array keeps, so that going back to one costs nothing: all of a volume of
the published size."""


class VolumeArray(LazyArray):
    """An array (z, y, x) of which a slice is read when it is needed, and kept for a while.

    Threads may read it at the same time.

    Args:
        read: Gives slice z, (y, x).
        shape: (z, y, x).
        dtype: Of a slice.
        lock: Held while a slice is read; arrays that read from the same files share one.
        owner: What has the files open; it lives as long as the array.

    >>> array = VolumeArray(lambda z: np.full((2, 3), z), (4, 2, 3), np.dtype(np.int64))
    >>> array[1:3, 0, 1].tolist(), array.shape
    ([1, 2], (4, 2, 3))
    """

    __slots__ = ("_dtype", "_kept", "_lock", "_owner", "_read_page", "_shape")

    def __init__(
        self,
        read: Callable[[int], NDArray[Any]],
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        lock: "threading.Lock | None" = None,
        owner: object = None,
    ) -> None:
        self._read_page, self._shape, self._dtype, self._owner = read, shape, dtype, owner
        self._lock = lock or threading.Lock()
        self._kept: OrderedDict[int, NDArray[Any]] = OrderedDict()

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent along each axis, (z, y, x)."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of a slice."""
        return self._dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the slices that are kept."""
        with self._lock:
            return sum(page.nbytes for page in self._kept.values())

    def __deepcopy__(self, memo: object) -> "VolumeArray":
        return self  # nothing in it can be changed, and it has files open; napari copies layers

    def __repr__(self) -> str:
        return f"VolumeArray(shape={self.shape}, dtype={self.dtype})"

    def _page(self, z: int) -> NDArray[Any]:
        with self._lock:
            if z not in self._kept:
                page = self._read_page(z)
                while self._kept and (len(self._kept) + 1) * page.nbytes > _KEPT_BYTES:
                    self._kept.popitem(last=False)
                self._kept[z] = page
            self._kept.move_to_end(z)
            return self._kept[z]

    def _read(self, picked: tuple[range, ...]) -> NDArray[Any]:
        return read_pages(self._page, picked, self._dtype)
