"""`ToTensors`: rows and windows as PyTorch tensors."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.errors import (
    ArgumentError,
    ImageFormatError,
    LabelFormatError,
    LabelRangeError,
    quote,
)
from _platelet_em.hf.formatter import format_example
from _platelet_em.rows.intensity import NORMALIZATIONS, IntensityStatistics
from _platelet_em.spec import SEMANTIC
from _platelet_em.training.collate import Record, collate, is_packed, to_tensor

__all__ = ["ToTensors"]

Array = NDArray[Any]
_IMAGE = "image"
_LABEL_DTYPES = ("int64", "uint8")
_LABEL_BYTES = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class ToTensors:
    """Turns the image and the labels of a row, or of a window, into tensors.

    An instance is called with one record (a dictionary {column: value}), or with a batch (a
    dictionary whose values are all lists), and returns the same with tensors in place of the
    arrays. Values may be those of the format `"platelet_em"`, or plain (pictures, structs), as
    `with_transform` passes them. Other columns, and values that are None, are not changed. An
    instance can be pickled if `augment` can, and hashes to the same value in every process, so
    that `map` finds its cache.

    Images become float32, (channel, y, x) or (channel, z, y, x), with one channel: of uint8, 0 to
    255, of uint16, 0 to 65535, unless they are normalized, by which volumes of both kinds get one
    scale. Integers must fit float32 without loss, as 16 bits do. Labels are (y, x) or (z, y, x),
    and keep every id. A writable array that has the right dtype already is not copied: its tensor
    shares its memory.
    Labels of windows with `packed=True` stay lazy, for `collate` to pack them, unless there is an
    `augment`, which gets arrays.

    Attributes:
        normalize: `"none"`, or by the statistics of the image's own volume: `"minmax"` (to
            0..1), `"standard"` (zero mean, unit variance) or `"percentile"` (`low` to 0, `high`
            to 1, not clipped).
        statistics: Name of the volume -> its statistics, as `intensity_statistics` returns them.
        labels: dtype `"int64"` or `"uint8"` for all labels: the column `semantic`, lazy labels,
            and arrays of int32 or wider integers of two or three axes, as windows have them; or a
            dictionary {column of labels: dtype}.
        channel_axis: Whether images get an axis for their one channel.
        augment: A function from record to record, called between normalization and tensors. The
            image is a float32 array (y, x) or (z, y, x), labels are integer arrays of the same
            axes; it may write to the labels. It may return tensors, views, and labels as floats,
            as some libraries do, if they are whole numbers that the float dtype can tell apart.
        names: Column -> its name in the result, for a model that expects `pixel_values` and
            `labels`, or for a `map` that writes.

    Raises:
        ArgumentError: for an option outside the accepted values, for a volume without
            statistics, and for `names` that give two columns the same name.
        ImageFormatError: for images whose values do not fit float32.
        LabelFormatError: for labels that are not whole numbers.
        LabelRangeError: for an id that does not fit the dtype.
        MissingExtraError: if PyTorch is not installed.

    >>> import numpy as np
    >>> v = IntensityStatistics(minimum=0, maximum=100, mean=50, std=20, low=0, high=100)
    >>> to_tensors = ToTensors(normalize="minmax", statistics={"50": v})
    >>> image, semantic = np.uint16([[0, 50]]), np.uint8([[0, 1]])
    >>> tensors = to_tensors({"volume": "50", "image": image, "semantic": semantic})
    >>> tensors["image"].tolist(), tensors["semantic"].dtype
    ([[[0.0, 0.5]]], torch.int64)
    """

    __module__ = "platelet_em"

    normalize: str = "none"
    statistics: Mapping[str, IntensityStatistics] = field(default_factory=dict)
    labels: str | Mapping[str, str] = "int64"
    channel_axis: bool = True
    augment: Callable[[Record], Mapping[str, Any]] | None = None
    names: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.normalize not in NORMALIZATIONS:
            raise ArgumentError(
                f"normalize: expected one of {', '.join(NORMALIZATIONS)}, got "
                f"{quote(self.normalize)}"
            )
        dtypes = [*self.labels.values()] if isinstance(self.labels, Mapping) else [self.labels]
        if not all(dtype in _LABEL_DTYPES for dtype in dtypes):
            raise ArgumentError(
                f"labels: expected one of {', '.join(_LABEL_DTYPES)}, or a dictionary of columns "
                f"to one of these, got {quote(self.labels)}"
            )
        if self.normalize != "none" and not self.statistics:
            raise ArgumentError(
                f"normalize={self.normalize!r} needs the statistics of complete volumes: pass "
                "statistics=platelet_em.intensity_statistics(dataset)"
            )

    def __call__(self, record: Mapping[str, Any]) -> Record:
        """The record, or the batch, with tensors."""
        return self._call(record)

    def _call(self, record: Mapping[str, Any], packed: bool | None = None) -> Record:
        if not isinstance(record, Mapping):
            raise ArgumentError(
                f"ToTensors: expected a record, or a batch as a dictionary of lists, got "
                f"{quote(record)}: for a list of records, as DataLoader has them, use "
                "collate_fn=tensors.collate"
            )
        columns = dict(record)
        if not columns or not all(isinstance(values, list) for values in columns.values()):
            return self._convert(columns, packed)
        rows = zip(*columns.values(), strict=True)
        converted = [self._convert(dict(zip(columns, row, strict=True)), packed) for row in rows]
        names = converted[0] if converted else [self.names.get(name, name) for name in columns]
        return {name: [row[name] for row in converted] for name in names}

    def collate(
        self,
        records: Iterable[Mapping[str, Any]],
        *,
        packed: bool | None = None,
        tensors: bool = False,
    ) -> Record:
        """Records as one batch of tensors, the `collate_fn` of a `DataLoader`.

        Args:
            records: At least one record, as an instance is called with.
            packed: As of `platelet_em.collate`.
            tensors: As of `platelet_em.collate`.

        Returns:
            As `platelet_em.collate`: images float32 (n, 1, y, x) or (n, 1, z, y, x), labels
            (n, y, x) or (n, z, y, x).

        Raises:
            ArgumentError: for no records, for records that differ in columns or shapes, and, with
                `tensors`, for volumes that are not those of windows.

        >>> import numpy as np
        >>> records = [{"cells": np.int32([[0, id]])} for id in (3, 4)]
        >>> ToTensors().collate(records)["cells"].tolist()
        [[[0, 3]], [[0, 4]]]
        """
        records = list(records)
        converted = [self._call(record, packed) for record in records]
        if records:
            # `names` may have renamed the column by which windows are recognized.
            packed = is_packed(records[0], packed)
        return collate(converted, packed=packed, tensors=tensors)

    def _convert(self, columns: Record, packed: bool | None) -> Record:
        record: Record = format_example(columns)
        dtypes = self._dtypes_of(record, packed)
        for name, value in record.items():
            if name == _IMAGE and value is not None:
                record[name] = self._normalize(np.asarray(value), record.get("volume"))
            elif name in dtypes and value is not None:
                record[name] = np.asarray(value)
                if self.augment is not None:
                    # Arrow's memory is read-only, and `augment` may write to labels.
                    record[name] = np.require(record[name], requirements="W")
        if self.augment is not None:
            record = _check_record(self.augment(_decode_labels(record)))
        for name, value in record.items():
            if name == _IMAGE and value is not None:
                image = to_tensor(_check_image(_to_array(value, name)), np.float32)
                record[name] = image[None] if self.channel_axis else image
            elif name in dtypes and value is not None:
                labels = _check_labels(_to_array(value, name), dtypes[name], name)
                record[name] = to_tensor(labels, dtypes[name])
        renamed = {self.names.get(name, name): value for name, value in record.items()}
        if len(renamed) < len(record):
            raise ArgumentError(
                f"names={quote(dict(self.names))} gives two of the columns {quote(list(record))} "
                "the same name, and one would be lost; remove one of them first, or choose "
                "another name"
            )
        return renamed

    def _dtypes_of(self, record: Record, packed: bool | None) -> dict[str, str]:
        """Column -> dtype of its tensor, without the labels that stay lazy to be packed."""
        if isinstance(self.labels, Mapping):
            dtypes = dict(self.labels)
        else:
            names = (name for name, value in record.items() if _is_label(name, value))
            dtypes = dict.fromkeys([SEMANTIC, *names], self.labels)
        if self.augment is not None or not is_packed(record, packed):
            return dtypes
        return {k: v for k, v in dtypes.items() if not isinstance(record.get(k), LazyLabels)}

    def _normalize(self, image: Array, volume: Any) -> NDArray[np.float32]:
        _check_image(image)
        if self.normalize == "none":
            return image.astype(np.float32, copy=False)
        if volume not in self.statistics:
            raise ArgumentError(
                f"normalize={self.normalize!r}: no statistics of volume {quote(volume)}, only of "
                f"{quote(sorted(self.statistics))}; keep the column volume, and pass the "
                "statistics of every split"
            )
        offset, scale = self.statistics[volume].offset_and_scale(self.normalize)
        normalized: NDArray[np.float32] = np.subtract(image, np.float32(offset), dtype=np.float32)
        normalized /= np.float32(scale)
        return normalized


def _is_label(name: str, value: Any) -> bool:
    """Whether a value is known to be labels of instances: images have 8 or 16 bits."""
    if name == _IMAGE or isinstance(value, LazyLabels):
        return name != _IMAGE
    is_array = isinstance(value, np.ndarray) and value.ndim in (2, 3)
    return is_array and value.dtype.kind in "iu" and value.dtype.itemsize >= _LABEL_BYTES


def _decode_labels(record: Record) -> Record:
    """The record with arrays in place of lazy labels, also of columns that get no tensors."""
    return {
        name: np.asarray(value) if isinstance(value, LazyLabels) else value
        for name, value in record.items()
    }


def _check_record(augmented: Any) -> Record:
    if not isinstance(augmented, Mapping):
        raise ArgumentError(
            f"augment: expected it to return the record, a dictionary, got {quote(augmented)}: "
            "end it with a return of its argument"
        )
    return dict(augmented)


def _to_array(value: Any, name: str) -> Array:
    try:
        return np.asarray(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise ArgumentError(
            f"augment: column {name!r}: NumPy cannot read what it returned ({error}): return an "
            "array, of a tensor .detach().float().cpu()"
        ) from error


def _check_image(image: Array) -> Array:
    if np.can_cast(image.dtype, np.float32) or image.dtype.kind == "f":
        return image
    if image.dtype.kind not in "iu" or not np.array_equal(image.astype(np.float32), image):
        raise ImageFormatError(
            f"image: values of dtype {image.dtype} do not fit float32; use 16-bit images"
        )
    return image


def _check_labels(labels: Array, dtype: str, name: str) -> Array:
    if labels.dtype.kind not in "iubf":
        raise LabelFormatError(f"{name}: expected integer labels, got dtype {labels.dtype}")
    if labels.dtype.kind == "f":
        # Floats with 24 bits of precision, for example, tell whole numbers apart below 2**24.
        end = 2 ** (np.finfo(labels.dtype).nmant + 1)
        odd = labels[(labels != np.floor(labels)) | (np.abs(labels) >= end)]
        if odd.size:
            raise LabelFormatError(
                f"{name}: expected integer labels, which {labels.dtype} represents below {end} "
                f"only, got {odd[0]}; augment labels with nearest-neighbor interpolation, and "
                "large ones as integers"
            )
    if np.can_cast(labels.dtype, dtype) or not labels.size:
        return labels
    limits = np.iinfo(dtype)
    for label in (int(labels.min()), int(labels.max())):
        if not limits.min <= label <= limits.max:
            raise LabelRangeError(f"{name}: id {label} does not fit {dtype}; use labels='int64'")
    return labels
