"""The fields of instance labels, checked: ids, RLE strings and instance properties."""

import contextlib
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from _platelet_em.arrays.kernels import Bytes, Int64s
from _platelet_em.arrays.rle import text_buffer
from _platelet_em.errors import LabelFormatError, LabelRangeError, quote
from _platelet_em.limits import MAX_ID

__all__ = [
    "BORDER",
    "INFO",
    "OWN_FIELDS",
    "Properties",
    "check_fits",
    "check_offsets",
    "check_properties",
    "instance_properties",
    "join_strings",
    "parse_dict",
    "parse_id",
    "parse_ids",
    "touches_border",
]

BORDER = "touches_border"
"""The property that depends on the shape: a slice has another one than its volume."""

INFO = ".info"
"""Key of the shape in the publisher's JSON form; every other key is an id."""

OWN_FIELDS = ("shape", "id", "rle", "area", "bbox")
"""Fields of a row's struct that are not properties: stored, or computed from the runs."""

Properties = Mapping[str, ArrayLike] | Callable[[], Mapping[str, ArrayLike]]
"""Values per instance by name, or a function that returns them when they are asked for."""

_ARROW_DTYPES = {BORDER: np.bool_, "class_id": np.int64, "purity": np.float32, "cell": np.int32}
"""dtypes of the properties in Arrow, which Python values do not have."""


# --- ids and strings --------------------------------------------------------------------------


def parse_id(key: object, name: str) -> int:
    """The id that a key of the publisher's JSON form stands for, 1 to 2**31 - 1.

    Args:
        key: A decimal number without sign, blanks or leading zeros, or an integer.
        name: What to call the file in a message.

    Raises:
        LabelFormatError: for anything else.

    >>> parse_id("34", "50-instance-cell.json")
    34
    """
    value = 0
    if isinstance(key, str):
        if key.isascii() and key.isdigit() and len(key) <= len(str(MAX_ID)) and key[0] != "0":
            value = int(key)
    elif not isinstance(key, (bool, np.bool_)):
        with contextlib.suppress(TypeError):
            value = operator.index(key)  # type: ignore[arg-type]  # TypeError if it has no index
    if not 1 <= value <= MAX_ID:
        raise LabelFormatError(f"{name}: key {quote(key)}: expected a label from 1 to {MAX_ID}")
    return value


def parse_ids(ids: ArrayLike) -> NDArray[np.int32]:
    """The ids as int32 (n,), all different, 1 to 2**31 - 1.

    Raises:
        LabelFormatError: for anything else.
    """
    values = _as_array(ids, "ids")
    if values.size == 0 and values.ndim <= 1:
        return np.empty(0, np.int32)
    if values.ndim != 1 or values.dtype.kind not in "iu":
        raise LabelFormatError(f"labels: expected a list of integer ids, got {quote(ids)}")
    ordered = np.sort(values)
    if ordered[0] < 1 or ordered[-1] > MAX_ID:
        wrong = ordered[0] if ordered[0] < 1 else ordered[-1]
        raise LabelFormatError(f"labels: id {wrong}: expected ids from 1 to {MAX_ID}")
    if (repeated := ordered[1:][ordered[1:] == ordered[:-1]]).size:
        raise LabelFormatError(
            f"labels: id {repeated[0]} comes twice: which one is meant is not known"
        )
    return values.astype(np.int32)


def parse_dict(d: Mapping[Any, Any]) -> tuple[Any, list[int], list[Any]]:
    """Shape, ids and RLE strings of the publisher's JSON form.

    The `dtype` in `.info` is written in many ways, and is neither evaluated nor checked.

    Raises:
        LabelFormatError: for a missing `.info`, or a key that is not an id.
    """
    info = d.get(INFO)
    if not isinstance(info, Mapping):
        raise LabelFormatError(
            f"labels: expected a key {INFO!r} with the shape, got {quote(info)}"
        )
    strings = {parse_id(key, "labels"): string for key, string in d.items() if key != INFO}
    if len(strings) != len(d) - 1:
        raise LabelFormatError(
            "labels: two keys stand for the same label: which one is meant is not known"
        )
    return info.get("shape", ()), list(strings), list(strings.values())


def join_strings(strings: Sequence[str], ids: NDArray[np.int32]) -> tuple[Bytes, Int64s]:
    """The RLE strings as `rle.text_buffer` joins them, one per id.

    Raises:
        LabelFormatError: for another number of strings, or an item that is not a string.
    """
    if isinstance(strings, (str, Mapping)) or not hasattr(strings, "__len__"):
        found = f"the string {quote(strings)}" if isinstance(strings, str) else quote(strings)
        raise LabelFormatError(f"labels: expected a list of RLE strings, one per id, got {found}")
    if len(strings) != len(ids):
        raise LabelFormatError(f"labels: {len(ids)} ids, but {len(strings)} RLE strings")
    return text_buffer(strings, lambda i: f"labels: id {ids[i]}")


def check_offsets(text: Bytes, offsets: Int64s, count: int) -> None:
    """Refuse text that is not bytes, and offsets that do not fit it, or `count` ids.

    Raises:
        LabelFormatError: names what is wrong with them.
    """
    if text.dtype != np.uint8:
        raise LabelFormatError(f"labels: expected the text as uint8, got {text.dtype}")
    if len(offsets) != count + 1:
        raise LabelFormatError(f"labels: {count} ids, but {len(offsets) - 1} RLE strings")
    if offsets[0] < 0 or offsets[-1] > len(text) or (offsets[1:] < offsets[:-1]).any():
        raise LabelFormatError(
            f"labels: RLE strings at {quote(offsets.tolist())} of {len(text)} bytes: expected "
            "ascending offsets inside: the file is damaged"
        )


def check_fits(ids: NDArray[np.int32], dtype: DTypeLike) -> None:
    """Refuse a dtype that cannot represent these ids exactly.

    Raises:
        LabelRangeError: names the first id that does not fit.
    """
    with np.errstate(all="ignore"):
        fits = ids.astype(dtype).real.astype(np.int64) == ids
    if not fits.all():
        raise LabelRangeError(f"id {ids[~fits][0]} does not fit {np.dtype(dtype)}: use int32")


# --- properties -------------------------------------------------------------------------------


def check_properties(properties: Mapping[str, ArrayLike], count: int) -> dict[str, NDArray[Any]]:
    """Instance properties as arrays.

    Raises:
        LabelFormatError: for a property without one value for each of `count` ids, or with the
            name of a field that labels have themselves.
    """
    arrays = {name: _as_array(v, f"property {name!r}") for name, v in properties.items()}
    for name, values in arrays.items():
        if name in OWN_FIELDS:
            raise LabelFormatError(
                f"labels: a property cannot be called {name!r}: labels have a field of that name"
            )
        if values.shape[:1] != (count,):
            raise LabelFormatError(
                f"labels: property {name!r}: expected {count} values, one per id, "
                f"got shape {values.shape}"
            )
    return arrays


def instance_properties(struct: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """The instance properties in a row's struct of Python values.

    They are those of its fields that are lists; a newer schema may add fields of other types.

    Raises:
        LabelFormatError: for a list without one value per id.
    """
    return {
        name: _as_arrow_gives(name, values)
        for name, values in struct.items()
        if name not in OWN_FIELDS and isinstance(values, (list, tuple, np.ndarray))
    }


def touches_border(bboxes: Int64s, shape: Sequence[int]) -> NDArray[np.bool_]:
    """Whether each half-open box, int64 (n, 2 * ndim), reaches the border of an array of `shape`.

    Returns:
        bool (n,); False for an instance without voxels.
    """
    ndim = len(shape)
    low, high = bboxes[:, :ndim], bboxes[:, ndim:]
    reaches = ((low == 0) | (high == np.asarray(shape))).any(axis=1)
    has_voxels = (high > low).all(axis=1)
    touches: NDArray[np.bool_] = reaches & has_voxels
    return touches


def _as_array(values: ArrayLike, name: str) -> NDArray[Any]:
    try:
        return np.asarray(values)
    except (TypeError, ValueError, OverflowError) as error:
        raise LabelFormatError(
            f"labels: {name}: expected a value for each id, got {quote(values)}"
        ) from error


def _as_arrow_gives(name: str, values: Any) -> NDArray[Any]:
    """A property of Python values in the dtype that Arrow has; a string or a list is an object."""
    if name not in _ARROW_DTYPES and any(isinstance(value, (list, str)) for value in values):
        objects = np.empty(len(values), object)
        for i, value in enumerate(values):
            objects[i] = np.asarray(value) if isinstance(value, list) else value
        return objects
    try:
        return np.asarray(values, _ARROW_DTYPES.get(name))
    except (TypeError, ValueError, OverflowError) as error:
        raise LabelFormatError(
            f"labels: property {name!r}: expected a value for each id, got {quote(values)}"
        ) from error
