"""`LazyArray`, the base of the lazy arrays: NumPy's basic indexing, conversion and operators.

NumPy itself decides about an index: it is applied to an array of the same shape that takes no
memory, which gives the shape of the result, or NumPy's own exception.
"""

import abc
import math
import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from _platelet_em.errors import quote

__all__ = ["LazyArray", "as_slice"]


def _dense_method(name: str) -> Callable[..., Any]:
    """A method that decodes the whole array and calls NumPy's."""

    def method(self: Any, /, *args: Any, **kwargs: Any) -> Any:
        return getattr(np.asarray(self), name)(*args, **kwargs)

    method.__name__ = method.__qualname__ = name
    method.__doc__ = f"As `numpy.ndarray.{name}`, of the whole array, which is decoded first."
    return method


class LazyArray(np.lib.mixins.NDArrayOperatorsMixin, abc.ABC):
    """An array whose elements are decoded when they are read.

    `x[index]` equals `np.asarray(x)[index]` for every basic index (integers, slices, `...`,
    `None`), in value, shape, dtype and exception, and decodes only the elements that the index
    picks. Other indices decode the complete array first. Operators and comparisons are
    elementwise. The usual methods of arrays (`max`, `astype`, `reshape`, ...) decode it, too, and
    return what NumPy returns. Nothing can be assigned: `np.array(x)` is an array that can be
    changed.
    """

    __slots__ = ()

    all = _dense_method("all")
    any = _dense_method("any")
    argmax = _dense_method("argmax")
    argmin = _dense_method("argmin")
    copy = _dense_method("copy")
    flatten = _dense_method("flatten")
    item = _dense_method("item")
    max = _dense_method("max")
    mean = _dense_method("mean")
    min = _dense_method("min")
    nonzero = _dense_method("nonzero")
    ravel = _dense_method("ravel")
    reshape = _dense_method("reshape")
    squeeze = _dense_method("squeeze")
    std = _dense_method("std")
    sum = _dense_method("sum")
    swapaxes = _dense_method("swapaxes")
    tolist = _dense_method("tolist")
    transpose = _dense_method("transpose")

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
        """Bytes of the encoded form, not of the dense array."""

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
        return math.prod(self.shape)

    @property
    def T(self) -> NDArray[Any]:  # noqa: N802  # NumPy's name
        """The whole array with its axes in reverse order, decoded."""
        transposed: NDArray[Any] = np.asarray(self).T
        return transposed

    def astype(self, dtype: DTypeLike, **options: Any) -> NDArray[Any]:
        """As `numpy.ndarray.astype`, of the whole array, which is decoded first.

        Raises:
            LabelRangeError: for an id that does not fit the dtype, where NumPy would change it.
        """
        converted: NDArray[Any] = np.asarray(self, dtype=dtype).astype(dtype, **options)
        return converted

    def __setitem__(self, index: Any, value: Any) -> None:
        raise TypeError(
            f"{type(self).__name__} cannot be changed: assign to an array of it, np.array(x)"
        )

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        return (self[index] for index in range(len(self)))

    def __contains__(self, value: Any) -> bool:
        return value in np.asarray(self)

    def __bool__(self) -> bool:
        # As in NumPy: one element has its own truth value, any other number is an error.
        return bool(np.asarray(self) if self.size == 1 else np.broadcast_to(False, self.shape))

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if copy is False:
            raise ValueError(
                "a lazy array cannot be converted without a copy: its elements are decoded"
            )
        array = self._read(tuple(map(range, self.shape)))
        return array if dtype is None else array.astype(dtype, copy=False)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        outputs = inputs[:1] if method == "at" else kwargs.get("out", ())
        if any(isinstance(array, LazyArray) for array in outputs):
            return NotImplemented
        dense = (_densify(x) for x in inputs)
        options = {name: _densify(x) for name, x in kwargs.items()}
        return getattr(ufunc, method)(*dense, **options)

    def __getitem__(self, index: Any) -> Any:
        shape, picked = self._pick(index)
        if picked is None:
            return np.asarray(self)[index]
        elements = self._read(picked)
        return elements.reshape(())[()] if shape is None else elements.reshape(shape)

    def _pick(self, index: Any) -> tuple[tuple[int, ...] | None, tuple[range, ...] | None]:
        """The shape that NumPy gives `x[index]`, and the indices that are picked along each axis.

        Shape is None for a single element, and the indices are None unless the index is basic.
        """
        if isinstance(index, str):
            raise IndexError(
                f"expected an index as of a NumPy array, got {quote(index)}: the fields of labels "
                "are .ids, .areas, .bboxes, .rle and .properties['class_id']"
            )
        parts = index if isinstance(index, tuple) else (index,)
        # NumPy's own answer for an array of this shape: the result's shape, or the exception.
        result = np.broadcast_to(np.zeros((), self.dtype), self.shape)[index]
        shape = None if isinstance(result, np.generic) else result.shape
        if not all(_is_basic(part) for part in parts):
            return shape, None
        return shape, _indices_per_axis(parts, self.shape)


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


def _indices_per_axis(parts: tuple[Any, ...], shape: tuple[int, ...]) -> tuple[range, ...]:
    """The indices that a valid basic index picks along each axis."""
    axes = [part for part in parts if part is not None]
    ellipsis = next((i for i, part in enumerate(axes) if part is Ellipsis), len(axes))
    missing = len(shape) - sum(part is not Ellipsis for part in axes)
    axes[ellipsis : ellipsis + 1] = [slice(None)] * missing
    picked = []
    for part, size in zip(axes, shape, strict=True):
        if isinstance(part, slice):
            picked.append(range(*part.indices(size)))
        else:
            position = operator.index(part) % size
            picked.append(range(position, position + 1))
    return tuple(picked)


def as_slice(picked: range) -> slice:
    """The slice that picks these indices.

    >>> list("abc"[as_slice(range(2, -1, -1))])
    ['c', 'b', 'a']
    """
    return slice(picked.start, picked.stop if picked.stop >= 0 else None, picked.step)
