"""The fields of labels, each checked: ids, RLE texts, and what else there is for an instance."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from _platelet_em.arrays.rle import text_buffer
from _platelet_em.errors import LabelFormatError, LabelRangeError, quote
from _platelet_em.limits import MAX_ID
from _platelet_em.publisher.label_json import INFO, parse_id

__all__ = [
    "BORDER",
    "OWN_FIELDS",
    "Properties",
    "check_columns",
    "check_fits",
    "check_offsets",
    "further_columns",
    "join_texts",
    "parse_dict",
    "parse_ids",
    "touches_border",
]

BORDER = "touches_border"
OWN_FIELDS = ("shape", "id", "rle", "area", "bbox")
"""Fields of a row's struct that are no further column: read, or worked out from the texts."""

_DTYPES = {BORDER: np.bool_, "class_id": np.int64, "purity": np.float32, "cell": np.int32}
"""What the further columns are in Arrow; Python values have lost it."""

Properties = Mapping[str, ArrayLike] | Callable[[], Mapping[str, ArrayLike]]
"""Further columns, or what gives them when they are asked for."""


def parse_ids(ids: ArrayLike) -> NDArray[np.int32]:
    """The ids as int32 (n,), all different, 1 to 2**31 - 1.

    Raises:
        LabelFormatError: for anything else.
    """
    values = _array(ids, "ids")
    if values.size == 0 and values.ndim <= 1:
        return np.empty(0, np.int32)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise LabelFormatError(f"labels: expected a list of integer ids, got {quote(ids)}")
    ordered = np.sort(values)
    if ordered[0] < 1 or ordered[-1] > MAX_ID:
        wrong = ordered[0] if ordered[0] < 1 else ordered[-1]
        raise LabelFormatError(f"labels: id {wrong}: expected ids from 1 to {MAX_ID}")
    if (again := ordered[1:][ordered[1:] == ordered[:-1]]).size:
        raise LabelFormatError(
            f"labels: id {again[0]} comes twice: which one is meant is not known"
        )
    return values.astype(np.int32)


def parse_dict(d: Mapping[Any, Any]) -> tuple[Any, list[int], list[Any]]:
    """Shape, ids and RLE texts of the publisher's JSON form.

    Raises:
        LabelFormatError: for a missing `.info`, or a key that is no label.
    """
    info = d.get(INFO)
    if not isinstance(info, Mapping):
        raise LabelFormatError(
            f"labels: expected a key {INFO!r} with the shape, got {quote(info)}"
        )
    texts = {parse_id(key, "labels"): text for key, text in d.items() if key != INFO}
    if len(texts) != len(d) - 1:
        raise LabelFormatError(
            "labels: two keys stand for the same label: which one is meant is not known"
        )
    return info.get("shape", ()), list(texts), list(texts.values())


def _array(values: ArrayLike, what: str) -> NDArray[Any]:
    """What was given as an array, as NumPy takes it."""
    try:
        return np.asarray(values)
    except (TypeError, ValueError, OverflowError) as error:
        raise LabelFormatError(
            f"labels: {what}: expected a value for each id, got {quote(values)}"
        ) from error


def join_texts(
    texts: Sequence[str], ids: NDArray[np.int32]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The RLE texts as `rle.text_buffer` joins them, one an id.

    Raises:
        LabelFormatError: for another number of texts, or what is no text of digits.
    """
    if isinstance(texts, (str, Mapping)) or not hasattr(texts, "__len__"):
        found = f"the text {quote(texts)}" if isinstance(texts, str) else quote(texts)
        raise LabelFormatError(f"labels: expected a list of RLE texts, one an id, got {found}")
    if len(texts) != len(ids):
        raise LabelFormatError(f"labels: {len(ids)} ids, but {len(texts)} RLE texts")
    return text_buffer(texts, lambda i: f"labels: id {ids[i]}")


def check_offsets(text: NDArray[np.uint8], offsets: NDArray[np.int64], count: int) -> None:
    """Refuse offsets that are not one more than the `count` ids, in order, inside the text.

    Raises:
        LabelFormatError: says which.
    """
    if len(offsets) != count + 1:
        raise LabelFormatError(f"labels: {count} ids, but {len(offsets) - 1} RLE texts")
    if offsets[0] < 0 or offsets[-1] > len(text) or (offsets[1:] < offsets[:-1]).any():
        raise LabelFormatError(
            f"labels: the RLE texts lie at {quote(offsets.tolist())} of {len(text)} bytes: "
            "expected offsets in order and inside: the file is damaged"
        )


def check_columns(properties: Mapping[str, ArrayLike], count: int) -> dict[str, NDArray[Any]]:
    """Further columns as arrays.

    Raises:
        LabelFormatError: for a column that has not one value for each of `count` ids, or is
            called as what labels have themselves.
    """
    columns = {name: _array(v, f"property {name!r}") for name, v in properties.items()}
    for name, column in columns.items():
        if name in OWN_FIELDS:
            raise LabelFormatError(
                f"labels: a property cannot be called {name!r}: labels have that themselves"
            )
        if column.shape[:1] != (count,):
            raise LabelFormatError(
                f"labels: property {name!r}: expected {count} values, one an id, "
                f"got shape {column.shape}"
            )
    return columns


def further_columns(struct: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """The further columns of a row's struct of Python values: those of its fields that are lists.

    Raises:
        LabelFormatError: for a list that has no value for each id.
    """
    return {
        name: _column(name, values)
        for name, values in struct.items()
        if name not in OWN_FIELDS and isinstance(values, (list, tuple, np.ndarray))
    }


def _column(name: str, values: Any) -> NDArray[Any]:
    """A further column of Python values, as Arrow gives it: a text or a list is one object."""
    if name not in _DTYPES and any(isinstance(value, (list, str)) for value in values):
        column = np.empty(len(values), object)
        for i, value in enumerate(values):
            column[i] = np.asarray(value) if isinstance(value, list) else value
        return column
    try:
        return np.asarray(values, _DTYPES.get(name))
    except (TypeError, ValueError, OverflowError) as error:
        raise LabelFormatError(
            f"labels: property {name!r}: expected a value for each id, got {quote(values)}"
        ) from error


def check_fits(ids: NDArray[np.int32], dtype: DTypeLike) -> None:
    """Refuse a dtype that does not hold these ids.

    Raises:
        LabelRangeError: names the first that does not fit.
    """
    with np.errstate(all="ignore"):
        fits = ids.astype(dtype).real.astype(np.int64) == ids
    if not fits.all():
        raise LabelRangeError(f"id {ids[~fits][0]} does not fit {np.dtype(dtype)}: use int32")


def touches_border(bboxes: NDArray[np.int64], shape: Sequence[int]) -> NDArray[np.bool_]:
    """Whether, bool (n,), a half-open box reaches the border of an array of `shape`."""
    ndim = len(shape)
    reaches = (bboxes[:, :ndim] == 0) | (bboxes[:, ndim:] == np.asarray(shape))
    held = (bboxes[:, ndim:] > bboxes[:, :ndim]).all(axis=1)
    touches: NDArray[np.bool_] = reaches.any(axis=1) & held
    return touches
