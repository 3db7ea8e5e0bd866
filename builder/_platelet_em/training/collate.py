"""`collate`: records of rows or windows as one batch."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.lazy import LazyArray
from _platelet_em.errors import ArgumentError, quote
from _platelet_em.training.packed import PackedLabels
from _platelet_em.training.torch_import import import_torch
from _platelet_em.training.volume_name import VolumeName

__all__ = ["Record", "collate", "is_packed", "to_tensor"]

Record = dict[str, Any]
"""One row of a dataset or one window, or a batch of them: column name -> value."""

_VOLUME, _CORNER = "volume", "corner"
_WIDER = {"uint16": np.int32, "uint32": np.int64}
"""Integer dtypes for which PyTorch lacks most operations -> the dtype that replaces them."""


def collate(
    batch: Sequence[Mapping[str, Any]], *, packed: bool | None = None, tensors: bool = False
) -> Record:
    """Records as one batch: a `collate_fn` for `DataLoader`.

    Args:
        batch: At least one record, all with the same columns, with tensors (of `ToTensors`) or
            arrays.
        packed: Whether lazy labels become `PackedLabels`, which workers send in a few percent
            of the bytes, instead of dense tensors. None: those of windows with `packed=True` do,
            and those of rows do not.
        tensors: Whether the columns `corner` and `volume` of windows become tensors, too, as
            accelerate needs it to send batches to other processes (`dispatch_batches`):
            `functools.partial(collate, tensors=True)`.

    Returns:
        Column -> its values stacked along a new first axis, if they are tensors, arrays, lazy
        arrays or numbers; else a list of them (strings, corners, structs, and columns in which
        a value is None). Arrays of uint16 and uint32 become int32 and int64 without loss, except
        beside packed labels, where they keep their dtype: convert them on the device. With
        `tensors`, `corner` is int64 (n, 3), and `volume` int64 (n,), positions in
        `Windows.volumes`.

    Raises:
        ArgumentError: for no records, for records that differ in columns or shapes, and, with
            `tensors`, for volumes that are not those of windows.
        MissingExtraError: if PyTorch is not installed.

    >>> batch = collate([{"volume": "50", "z": 0}, {"volume": "50", "z": 1}])
    >>> batch["volume"], batch["z"]
    (['50', '50'], tensor([0, 1]))
    """
    if not batch or any(set(record) != set(batch[0]) for record in batch):
        found = [sorted(record) for record in batch]
        raise ArgumentError(
            f"collate: expected at least one record, all with the same columns, got {found}"
        )
    columns = {name: [record[name] for record in batch] for name in batch[0]}
    if tensors and _VOLUME in columns:
        columns[_VOLUME] = [_position_of(name) for name in columns[_VOLUME]]
    if tensors and _CORNER in columns:
        columns[_CORNER] = [np.asarray(corner, np.int64) for corner in columns[_CORNER]]
    lazy = {name for name in columns if _are_lazy(columns[name]) and is_packed(batch[0], packed)}
    for name in lazy:
        _check_shapes(name, columns[name])
    return {
        name: PackedLabels.pack(values) if name in lazy else _stack(name, values, bool(lazy))
        for name, values in columns.items()
    }


def is_packed(record: Mapping[str, Any], packed: bool | None) -> bool:
    """Whether lazy labels of a record are to be packed: by the argument, or if it is a window."""
    return _CORNER in record if packed is None else packed


def _are_lazy(values: list[Any]) -> bool:
    return all(isinstance(value, LazyLabels) for value in values)


def _position_of(volume: Any) -> int:
    if isinstance(volume, VolumeName):
        return volume.position
    raise ArgumentError(
        f"collate: tensors=True: expected volumes of platelet_em.windows, which know their "
        f"position, got {quote(volume)}; keep the column as it was, or remove it first"
    )


def _stack(name: str, values: list[Any], keep_dtypes: bool) -> Any:
    torch = import_torch("tensors")
    if all(isinstance(value, (bool, int, float)) for value in values):
        return torch.tensor(values)
    values = [_array_to_tensor(value, keep_dtypes) for value in _with_one_dtype(values)]
    if not all(isinstance(value, torch.Tensor) for value in values):
        return values
    _check_shapes(name, values)
    # In a worker, default_collate stacks into shared memory.
    return torch.utils.data.default_collate(values)


def _with_one_dtype(values: list[Any]) -> list[Any]:
    """Arrays of the smallest integer dtype that has the values of all of their dtypes.

    A batch of windows may be of volumes with images of 8 and of 16 bits.
    """
    if not all(isinstance(v, np.ndarray) and v.dtype.kind in "iu" for v in values):
        return values
    dtype = np.result_type(*{value.dtype for value in values})
    return [value.astype(dtype, copy=False) for value in values] if dtype.kind in "iu" else values


def _check_shapes(name: str, values: list[Any]) -> None:
    if len(shapes := {tuple(value.shape) for value in values}) > 1:
        raise ArgumentError(
            f"collate: column {name!r}: tensors of shapes {quote(sorted(shapes))} cannot be "
            "stacked; use windows of one shape, or a batch size of 1"
        )


def _array_to_tensor(value: Any, keep_dtypes: bool) -> Any:
    """A tensor of an array of numbers; anything else unchanged."""
    is_array = isinstance(value, (LazyArray, np.ndarray, np.generic))
    if not is_array or value.dtype.kind not in "biuf":
        return value
    array = np.asarray(value)
    native = array.dtype.newbyteorder("=")
    return to_tensor(array, native if keep_dtypes else _WIDER.get(native.name, native))


def to_tensor(array: NDArray[Any], dtype: Any) -> Any:
    """A tensor of this dtype, which shares the array's memory if PyTorch can use it."""
    return import_torch("tensors").from_numpy(np.require(array, dtype, ["C", "W"]))
