"""Rows and windows as PyTorch tensors: images normalised, labels as they are, batches stacked."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.lazy import LazyArray
from _platelet_em.errors import (
    ArgumentError,
    ImageFormatError,
    LabelFormatError,
    LabelRangeError,
    MissingExtraError,
    quote,
)
from _platelet_em.hf.formatter import PlateletEMFormatter
from _platelet_em.rows.intensity import NORMALIZATIONS, IntensityStatistics

__all__ = ["ToTensors", "collate"]

Record = dict[str, Any]
"""Columns of one row or window."""

_IMAGE = "image"
_LABELS = ("semantic", "cells", "organelles")
_LABEL_DTYPES = ("int64", "uint8")
_WIDER = {"uint16": np.int32, "uint32": np.int64}
"""What holds the dtypes that most operations of PyTorch lack."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ToTensors:
    """Turns the image and the labels of a row, or of a window, into tensors.

    It takes one record (a dictionary), or a batch (a dictionary whose values are all lists), and
    gives the same back, with tensors in place of the arrays. Values may be as our format gives
    them, or plain (pictures, structs), as `with_transform` hands them over. Other columns, and
    values that are None, stay as they are. It can be pickled if `augment` can, and its hash is
    the same in every process, so that `map` finds its cache.

    Images become float32 of (channel, y, x) or (channel, z, y, x), one channel. Integers must fit
    float32 without loss, as 16 bits do. Labels have no channel, and keep every id. Arrays that
    are what they should become, and may be written to, are not copied: their tensors share their
    memory.

    Attributes:
        normalize: `"none"`, or by the statistics of the image's own volume: `"minmax"` (to
            0..1), `"standard"` (zero mean, unit variance) or `"percentile"` (`low` to 0, `high`
            to 1, not clipped).
        statistics: Name of the volume -> its statistics; what `intensity_statistics` gives.
        labels: `"int64"` or `"uint8"`, for the columns `semantic`, `cells` and `organelles`; or
            a dictionary with one of the two for each column that holds labels.
        channel_axis: Whether images get their axis of one channel.
        augment: A function that takes and gives back a record, called between: the image is a
            normalised float32 array (y, x) or (z, y, x), labels are integer arrays of these
            axes, which it may write to. It may give back tensors, or views, and labels as
            floats, which some libraries make of them, if they are whole and small enough for a
            float to tell them apart.
        names: Column -> the name that it goes by afterwards, for a model that asks for
            `pixel_values` and `labels`, or for a `map` that writes.

    Raises:
        ArgumentError: for an option that is none, or a volume without statistics.
        ImageFormatError: for images whose values do not fit float32.
        LabelFormatError: for labels that are no whole numbers.
        LabelRangeError: for an id that does not fit uint8.
        MissingExtraError: without PyTorch.
    """

    normalize: str = "none"
    statistics: Mapping[str, IntensityStatistics] = field(default_factory=dict)
    labels: str | Mapping[str, str] = "int64"
    channel_axis: bool = True
    augment: Callable[[Record], Mapping[str, Any]] | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        dtypes = [*self.label_dtypes.values()]
        if self.normalize not in NORMALIZATIONS:
            msg = f"normalize is one of {', '.join(NORMALIZATIONS)}, got {quote(self.normalize)}"
        elif not all(dtype in _LABEL_DTYPES for dtype in dtypes):
            msg = f"labels is one of {', '.join(_LABEL_DTYPES)}, got {quote(self.labels)}"
        elif self.normalize != "none" and not self.statistics:
            msg = (
                f"normalize={self.normalize!r} needs the statistics of whole volumes: "
                "statistics=platelet_em.intensity_statistics(dataset)"
            )
        else:
            return
        raise ArgumentError(msg)

    @property
    def label_dtypes(self) -> dict[str, str]:
        """Column of labels -> dtype of its tensors."""
        if isinstance(self.labels, Mapping):
            return dict(self.labels)
        return dict.fromkeys(_LABELS, self.labels)

    def __call__(self, record: Mapping[str, Any]) -> Record:
        """The record, or the batch, with tensors."""
        columns = dict(record)
        if not columns or not all(isinstance(values, list) for values in columns.values()):
            return self._convert(columns)
        rows = zip(*columns.values(), strict=True)
        converted = [self._convert(dict(zip(columns, row, strict=True))) for row in rows]
        names = converted[0] if converted else [self.names.get(name, name) for name in columns]
        return {name: [row[name] for row in converted] for name in names}

    def collate(self, records: Iterable[Mapping[str, Any]]) -> Record:
        """Records as one batch of tensors: a `collate_fn` for datasets in our format."""
        return collate([self(record) for record in records])

    def _convert(self, columns: Record) -> Record:
        record: Record = PlateletEMFormatter().recursive_tensorize(columns)
        dtypes = self.label_dtypes
        for name in record:
            if name == _IMAGE and record[name] is not None:
                record[name] = self._normalized(np.asarray(record[name]), record.get("volume"))
            elif name in dtypes and record[name] is not None:
                record[name] = np.asarray(record[name])
                if self.augment is not None:
                    # Pages of slices are views of Arrow's memory, which nobody may write to.
                    record[name] = np.require(record[name], requirements="W")
        if self.augment is not None:
            record = dict(self.augment(record))
        for name, value in record.items():
            if name == _IMAGE and value is not None:
                augmented = np.asarray(value)
                _check_image(augmented)
                image = _tensor(augmented, np.float32)
                record[name] = image[None] if self.channel_axis else image
            elif name in dtypes and value is not None:
                labels = np.asarray(value)
                _check_labels(labels, dtypes[name], name)
                record[name] = _tensor(labels, np.dtype(dtypes[name]))
        renamed = {self.names.get(name, name): value for name, value in record.items()}
        if len(renamed) < len(record):
            raise ArgumentError(
                f"names={quote(dict(self.names))} gives two of the columns {quote(list(record))} "
                "the same name, and one would be lost: remove it first, or name it otherwise"
            )
        return renamed

    def _normalized(self, image: NDArray[Any], volume: Any) -> NDArray[np.float32]:
        _check_image(image)
        if self.normalize == "none":
            return image.astype(np.float32, copy=False)
        if volume not in self.statistics:
            raise ArgumentError(
                f"normalize={self.normalize!r}: no statistics of volume {quote(volume)}, there "
                f"are {quote(sorted(self.statistics))}; keep the column volume, and give "
                "statistics of every split"
            )
        offset, scale = self.statistics[volume].offset_and_scale(self.normalize)
        normalized: NDArray[np.float32] = np.subtract(image, np.float32(offset), dtype=np.float32)
        normalized /= np.float32(scale)
        return normalized


def collate(batch: Sequence[Mapping[str, Any]]) -> Record:
    """Records as one batch: a `collate_fn` for `DataLoader`.

    Args:
        batch: At least one record, all with the same columns, as `ToTensors` gives them or
            without it.

    Returns:
        Column -> its values stacked along a new first axis, if they are tensors, arrays, lazy
        arrays or numbers; else the list of them (strings, corners, structs, and columns in which
        a value is None). Arrays of uint16 and uint32 become int32 and int64, which hold them.

    Raises:
        ArgumentError: for no records, other columns than in the first, or shapes that differ.
        MissingExtraError: without PyTorch.
    """
    if not batch or any(set(record) != set(batch[0]) for record in batch):
        found = [sorted(record) for record in batch]
        raise ArgumentError(
            f"collate: expected at least one record, all with the same columns, got {found}"
        )
    return {name: _stack(name, [record[name] for record in batch]) for name in batch[0]}


def _stack(name: str, values: list[Any]) -> Any:
    torch = _import_torch()
    if all(isinstance(value, (bool, int, float)) for value in values):
        return torch.tensor(values)
    values = [_as_tensor(value) for value in values]
    if not all(isinstance(value, torch.Tensor) for value in values):
        return values
    if len(shapes := {tuple(value.shape) for value in values}) > 1:
        raise ArgumentError(
            f"collate: column {name!r}: shapes {quote(sorted(shapes))} cannot be stacked; make "
            "windows of one size, or batches of one record"
        )
    # Of tensors it makes one in shared memory, if it runs in a worker.
    return torch.utils.data.default_collate(values)


def _as_tensor(value: Any) -> Any:
    """Arrays of numbers as tensors; anything else as it is."""
    if (
        not isinstance(value, (LazyArray, np.ndarray, np.generic))
        or value.dtype.kind not in "biuf"
    ):
        return value
    array = np.asarray(value)
    native = array.dtype.newbyteorder("=")
    return _tensor(array, np.dtype(_WIDER.get(native.name, native)))


def _tensor(array: NDArray[Any], dtype: Any) -> Any:
    """A tensor of this dtype, of the same memory if that is contiguous and may be written to."""
    return _import_torch().from_numpy(np.require(array, dtype, ["C", "W"]))


def _check_image(image: NDArray[Any]) -> None:
    if np.can_cast(image.dtype, np.float32) or image.dtype.kind == "f":
        return
    if image.dtype.kind not in "iu" or not np.array_equal(image.astype(np.float32), image):
        raise ImageFormatError(
            f"image: values of dtype {image.dtype} do not fit float32; give 16-bit images"
        )


def _check_labels(labels: NDArray[Any], dtype: str, name: str) -> None:
    if labels.dtype.kind not in "iubf":
        raise LabelFormatError(f"{name}: labels are integers, got dtype {labels.dtype}")
    if labels.dtype.kind == "f":
        _check_whole(labels, name)
    if np.can_cast(labels.dtype, dtype) or not labels.size:
        return
    limits = np.iinfo(dtype)
    for label in (int(labels.min()), int(labels.max())):
        if not limits.min <= label <= limits.max:
            raise LabelRangeError(
                f"{name}: id {label} does not fit {dtype}; ask for labels='int64'"
            )


def _check_whole(labels: NDArray[Any], name: str) -> None:
    """Refuse floats that are no ids; those from where on a float cannot tell ids apart, too."""
    end = 2 ** (np.finfo(labels.dtype).nmant + 1)
    odd = labels[(labels != np.floor(labels)) | (np.abs(labels) >= end)]
    if odd.size:
        raise LabelFormatError(
            f"{name}: labels are integers, and {labels.dtype} holds them below {end} only, got "
            f"{odd[0]}; augment labels by nearest neighbours, and in integers if they are large"
        )


def _import_torch() -> Any:
    try:
        import torch.utils.data  # noqa: PLC0415  # optional, and slow to import
    except ImportError as error:
        raise MissingExtraError(
            f"tensors need PyTorch ({error}): pip install platelet-em[torch]"
        ) from error
    return torch
