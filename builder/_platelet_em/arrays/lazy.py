"""What every lazy array shares: NumPy's basic indexing, conversion and operators.

NumPy itself is the judge of an index: it is applied to an array of the same shape that has no
memory, which gives the shape of the result, or NumPy's own exception.
"""

import abc
import functools
import math
import operator
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from _platelet_em.errors import TooLargeError

__all__ = ["LazyArray", "as_slice", "check_room"]

_SMALL = 1 << 28
"""Bytes that are taken without asking."""


class LazyArray(np.lib.mixins.NDArrayOperatorsMixin, abc.ABC):
    """An array whose elements are made when they are read.

    `x[index]` equals `np.asarray(x)[index]` for every basic index (integers, slices, `...`,
    `None`), in value, shape, dtype and exception; only what is picked is made.
    Other indices make the whole array first. Operators and comparisons are elementwise.
    """

    __slots__ = ()

    __hash__ = None  # type: ignore[assignment]  # elementwise equality, as for arrays

    @property
    @abc.abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Extent along each axis."""

    @property
    @abc.abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """Type of an element."""

    @property
    @abc.abstractmethod
    def nbytes(self) -> int:
        """Bytes of what is stored, not of what would be decoded."""

    @abc.abstractmethod
    def _read(self, picked: tuple[range, ...]) -> NDArray[Any]:
        """The elements with these indices along each axis, all of them inside the array."""

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of elements."""
        size = 1
        for extent in self.shape:
            size *= extent
        return size

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def __contains__(self, value: Any) -> bool:
        return value in np.asarray(self)

    def __bool__(self) -> bool:
        # NumPy decides what the truth of an array is: of one element, its own; else an error.
        return bool(np.asarray(self) if self.size == 1 else np.broadcast_to(False, self.shape))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError(
                "a lazy array has no elements yet: converting it always makes a new array"
            )
        array = self._read(tuple(map(range, self.shape)))
        return array if dtype is None else array.astype(dtype, copy=False)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        written = inputs[:1] if method == "at" else kwargs.get("out", ())
        if any(isinstance(array, LazyArray) for array in written):
            return NotImplemented
        dense = (_densify(x) for x in inputs)
        options = {name: _densify(x) for name, x in kwargs.items()}
        return getattr(ufunc, method)(*dense, **options)

    def __getitem__(self, index: Any) -> Any:
        parts = index if isinstance(index, tuple) else (index,)
        result = np.broadcast_to(np.zeros((), self.dtype), self.shape)[index]
        if not all(_is_basic(part) for part in parts):
            return np.asarray(self)[index]
        elements = self._read(_picked(parts, self.shape))
        if isinstance(result, np.generic):
            return elements.reshape(())[()]
        return elements.reshape(result.shape)


def _densify(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, LazyArray) else value


def _is_basic(part: Any) -> bool:
    if part is None or part is Ellipsis or isinstance(part, slice):
        return True
    if isinstance(part, (bool, np.bool_, np.ndarray, list, tuple, str)):
        return False
    try:
        operator.index(part)
    except TypeError:
        return False
    return True


def _picked(parts: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[range, ...]:
    """The indices that a valid basic index picks along each axis."""
    axes = [part for part in parts if part is not None]
    at = next((i for i, part in enumerate(axes) if part is Ellipsis), len(axes))
    missing = len(shape) - sum(part is not Ellipsis for part in axes)
    axes[at : at + 1] = [slice(None)] * missing
    picked = []
    for part, size in zip(axes, shape, strict=True):
        if isinstance(part, slice):
            picked.append(range(*part.indices(size)))
        else:
            position = operator.index(part) % size
            picked.append(range(position, position + 1))
    return tuple(picked)


def check_room(shape: Sequence[int], itemsize: int, whole: Sequence[int] | None = None) -> None:
    """Refuse to make an array for which there is no memory, before any is taken.

    Args:
        shape: Its extent along each axis.
        itemsize: Bytes of an element.
        whole: What shape to name in the message, if it is not that one.

    Raises:
        TooLargeError: names the shape and what it would take.
    """
    size = math.prod(shape) * itemsize
    if size <= _SMALL:
        return
    try:
        # Memory that nobody has touched costs nothing: whether there is as much is all it tells.
        fits = size <= _memory() and np.empty(size, np.uint8).nbytes == size
    except MemoryError:
        fits = False
    if not fits:
        named = tuple(shape if whole is None else whole)
        raise TooLargeError(
            f"shape {named}: making it as an array takes {size / 2**30:,.1f} GiB, and this "
            "machine has not as much: read it window by window, x[...]"
        )


@functools.cache
def _memory() -> int:
    """Bytes of memory of this machine; more than any has where the system does not say."""
    if not hasattr(os, "sysconf"):
        return 1 << 46
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def as_slice(picked: range) -> slice:
    """The slice that picks these indices.

    >>> list("abc"[as_slice(range(2, -1, -1))])
    ['c', 'b', 'a']
    """
    return slice(picked.start, picked.stop if picked.stop >= 0 else None, picked.step)
