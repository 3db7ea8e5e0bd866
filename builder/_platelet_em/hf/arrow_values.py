"""Conversion of Arrow arrays to values of the format: labels, arrays and stacks, without a copy.

Offsets in a damaged Arrow file may point anywhere, and pyarrow would read there. So values are
checked before they are read, and only those: pyarrow's own full check covers all rows of a batch.
"""

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from datasets.features import Image
from numpy.typing import NDArray

from _platelet_em.arrays.label_columns import OWN_FIELDS, instance_properties
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.page import decode_page
from _platelet_em.arrays.stack import LazyStack
from _platelet_em.errors import ImageFormatError, LabelFormatError, quote

__all__ = [
    "ENCODED_FIELDS",
    "LABEL_FIELDS",
    "check_values",
    "class_names_of",
    "is_labels",
    "read_values",
    "stack_pages",
]

LABEL_FIELDS = ("shape", "id", "rle")
"""Fields that identify a struct as labels."""

ENCODED_FIELDS = frozenset({"bytes", "path"})
"""Fields that identify a struct as an encoded image."""

_STRING_TYPES = ("string", "large_string", "string_view")
_BINARY_TYPES = ("binary", "large_binary", "binary_view")

_PLAIN_LISTS = frozenset(make(pa.null()).id for make in (pa.list_, pa.large_list))
_OTHER_LISTS = frozenset(
    [
        pa.list_(pa.null(), 1).id,
        *(
            getattr(pa, name)(pa.null()).id
            for name in ("list_view", "large_list_view")
            if hasattr(pa, name)
        ),
    ]
)
"""Ids of the types of lists that other writers choose: of a fixed size, and views."""

_DISORDER = "offsets that are not in order"


def read_values(name: str, feature: Any, array: pa.Array) -> list[Any] | None:
    """The labels, images or stacks of a column, one per row; None for any other column.

    Args:
        name: Name of the column, for messages.
        feature: Its `datasets` feature, or None.
        array: Its values.

    Raises:
        LabelFormatError: for labels that contain nulls or are damaged.
        ImageFormatError: for images that cannot be decoded.
        pa.ArrowException: for a damaged array.
    """
    if is_labels(array.type):
        return _read_labels(array, class_names_of(feature))
    if _is_image(feature, array.type):
        mode = getattr(feature, "mode", None)
        encoded = _read_encoded(array)
        return [None if page is None else _decode(page, name, mode) for page in encoded]
    item = _item(feature)
    if not (_is_list(array.type) and _contains_ours(item, array.type.value_type)):
        return None
    parts = _split_lists(array)
    if _is_image(item, array.type.value_type):
        return [None if part is None else _read_stack(part, name) for part in parts]
    return [None if part is None else read_values(name, item, part) for part in parts]


# --- types ------------------------------------------------------------------------------------


def is_labels(arrow_type: pa.DataType) -> bool:
    """Whether a column contains instance labels."""
    if not pa.types.is_struct(arrow_type):
        return False
    indices = [arrow_type.get_field_index(name) for name in LABEL_FIELDS]
    return min(indices) >= 0 and all(_is_list(arrow_type[index].type) for index in indices)


def _is_list(arrow_type: pa.DataType) -> bool:
    return arrow_type.id in _PLAIN_LISTS or arrow_type.id in _OTHER_LISTS


def _is_image(feature: Any, arrow_type: pa.DataType) -> bool:
    """Whether a column contains encoded images.

    Other writers drop the feature `Image`: a feature that only repeats the fields, or none, leaves
    the decision to the fields and their types.
    """
    if not pa.types.is_struct(arrow_type) or {f.name for f in arrow_type} != ENCODED_FIELDS:
        return False
    if feature is None or isinstance(feature, dict):
        path_type = str(arrow_type.field("path").type)
        has_bytes = str(arrow_type.field("bytes").type) in _BINARY_TYPES
        return has_bytes and path_type in ("null", *_STRING_TYPES)
    return isinstance(feature, Image) and bool(feature.decode)


def _item(feature: Any) -> Any:
    """The feature of the items of a list; None if it is not known."""
    if isinstance(feature, list):  # as datasets 3 writes it
        return feature[0] if feature else None
    return getattr(feature, "feature", None)


def _contains_ours(feature: Any, arrow_type: pa.DataType) -> bool:
    """Whether the items of nested lists are images or labels."""
    while _is_list(arrow_type):
        feature, arrow_type = _item(feature), arrow_type.value_type
    return is_labels(arrow_type) or _is_image(feature, arrow_type)


# --- images -----------------------------------------------------------------------------------


def _read_encoded(array: pa.StructArray) -> Iterator[Any]:
    """The buffer of each encoded image, or its path if the bytes are in another file."""
    array.validate()
    contents = array.field("bytes")
    if not (pa.types.is_binary(contents.type) or pa.types.is_string(contents.type)):
        contents.validate(full=True)
        contents = contents.cast(pa.binary())
    data, offsets = _bytes_and_offsets(contents)
    _check_order(offsets)
    bounds, has_bytes = offsets.tolist(), _find_valid(contents)
    for i, valid in enumerate(_find_valid(array)):
        if not valid:
            yield None
        elif has_bytes[i]:
            begin, end = bounds[i], bounds[i + 1]
            yield b"" if data is None or begin == end else data.slice(begin, end - begin)
        else:
            yield check_values(array.field("path").slice(i, 1))[0].as_py()


def _decode(encoded: Any, name: str, mode: str | None = None) -> NDArray[Any]:
    """An image as an array; `datasets` decodes images from paths or with a mode."""
    if not isinstance(encoded, str) and mode is None:
        return decode_page(encoded, f"column {name!r}")
    content = {"path": encoded, "bytes": None}
    if not isinstance(encoded, str):
        content = {"path": None, "bytes": bytes(encoded)}
    try:
        return np.asarray(Image(mode=mode).decode_example(content))
    except Exception as error:
        # Between the network and Pillow any exception may be raised.
        raise ImageFormatError(
            f"column {name!r}: expected an image, got {quote(encoded)}: {error}"
        ) from error


def _read_stack(pages: pa.StructArray, name: str) -> LazyStack | list[Any]:
    encoded = [_decode(e, name) if isinstance(e, str) else e for e in _read_encoded(pages)]
    return stack_pages(encoded)


def stack_pages(pages: list[Any]) -> LazyStack | list[Any]:
    """Encoded or decoded pages (y, x) as a stack; a list if pages have color or are missing."""
    is_incomplete = any(page is None for page in pages)
    if pages and (is_incomplete or _to_array(pages[0], 0).ndim != 2):
        return [None if page is None else _to_array(page, i) for i, page in enumerate(pages)]
    return LazyStack(pages)


def _to_array(page: Any, i: int) -> NDArray[Any]:
    return page if isinstance(page, np.ndarray) else decode_page(page, f"page {i}")


# --- labels -----------------------------------------------------------------------------------


def class_names_of(feature: Any) -> list[str]:
    """Names of the classes that the field `class_id` of labels counts; empty if not known."""
    fields = getattr(feature, "feature", feature)  # datasets 3 has a Sequence of a dictionary
    field = fields.get("class_id") if isinstance(fields, dict) else None
    names: list[str] = getattr(_item(field), "names", None) or []
    return names


def _read_labels(array: pa.StructArray, class_names: list[str]) -> list[LazyLabels | None]:
    """The labels of each row; their strings and properties stay in Arrow's buffers."""
    array.validate()
    shapes, ids, strings = (_as_list(array.field(name)) for name in LABEL_FIELDS)
    _, id_bounds, string_bounds = map(_list_bounds, (shapes, ids, strings))
    shape, id_values, string_values = shapes.to_pylist(), ids.values, strings.values
    result: list[LazyLabels | None] = []
    for i, valid in enumerate(_find_valid(array)):
        if not valid:
            result.append(None)
            continue
        if not (shapes[i].is_valid and ids[i].is_valid and strings[i].is_valid):
            raise LabelFormatError(
                "labels: expected a struct with shape, id and rle, got one that is null"
            )
        begin, end = id_bounds[i : i + 2]
        labels = _to_numpy(id_values.slice(begin, end - begin))
        begin, end = string_bounds[i : i + 2]
        buffer = _string_buffer(string_values.slice(begin, end - begin))
        properties = functools.partial(_read_properties, array, i)
        result.append(LazyLabels.from_buffer(shape[i], labels, *buffer, properties, class_names))
    return result


def _read_properties(array: pa.StructArray, row: int) -> dict[str, NDArray[Any]]:
    """The fields of a row's labels that have one value per instance."""
    properties = {}
    for field in array.type:
        if field.name not in OWN_FIELDS and _is_list(field.type):
            try:
                values = check_values(_as_list(array.field(field.name).slice(row, 1)))[0]
            except pa.ArrowException as error:
                raise LabelFormatError(
                    f"labels: property {field.name!r}: the file is damaged, or of a type that is "
                    f"not read: {error}"
                ) from error
            if not values.is_valid:
                continue
            if _is_empty_of_unknown_type(values.values):
                properties.update(instance_properties({field.name: []}))
            else:
                properties[field.name] = _to_numpy(values.values)
    return properties


def _is_empty_of_unknown_type(array: pa.Array) -> bool:
    """Whether a writer had no item to tell the type from, in rows all without instances."""
    return len(array) == 0 and pa.types.is_null(array.type)


def _to_numpy(array: pa.Array) -> NDArray[Any]:
    if array.null_count:
        raise LabelFormatError(
            f"labels: {array.null_count} of {len(array)} values are null, expected none"
        )
    values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values


def _string_buffer(strings: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bytes and offsets of an Arrow string array, without a copy."""
    if strings.null_count:
        raise LabelFormatError(
            f"labels: {strings.null_count} of {len(strings)} RLE strings are null, expected none"
        )
    if _is_empty_of_unknown_type(strings):
        return np.empty(0, np.uint8), np.zeros(1, np.int64)
    if not pa.types.is_string(strings.type):
        is_dictionary = pa.types.is_dictionary(strings.type)
        plain = strings.type.value_type if is_dictionary else strings.type
        if str(plain) not in _STRING_TYPES:
            raise LabelFormatError(
                f"labels: expected RLE strings, got values of the type {strings.type}"
            )
        strings.validate(full=True)
        strings = strings.cast(pa.string())
    # LazyLabels checks the order of the offsets.
    data, offsets = _bytes_and_offsets(strings)
    text = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return text, offsets


# --- buffers ----------------------------------------------------------------------------------


def _split_lists(array: pa.Array) -> Iterator[pa.Array | None]:
    """The items of each list, as slices of the same buffers."""
    array.validate()
    array = _as_list(array)
    bounds = itertools.pairwise(_list_bounds(array))
    values = array.values
    for (begin, end), valid in zip(bounds, _find_valid(array), strict=True):
        yield values.slice(begin, end - begin) if valid else None


def _as_list(array: pa.Array) -> pa.Array:
    """A list array of the same items: lists of a fixed size have no offsets, views have others."""
    if array.type.id not in _OTHER_LISTS:
        return array
    array.validate(full=True)
    lengths = pc.list_value_length(array).fill_null(0).to_numpy(zero_copy_only=False)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64))
    # A cast would do, but pyarrow 26 loses the items of views that are slices.
    mask = array.is_null() if array.null_count else None
    return pa.LargeListArray.from_arrays(offsets, array.flatten(), mask=mask)


def _find_valid(array: pa.Array) -> list[bool]:
    """Whether each item is not null; access to the item itself would copy it."""
    valid: list[bool] = array.is_valid().to_pylist() if array.null_count else [True] * len(array)
    return valid


def _bytes_and_offsets(array: pa.Array) -> tuple[pa.Buffer | None, NDArray[np.int64]]:
    """The bytes of a string or binary array of n items, and n + 1 offsets into them."""
    _, offsets, data = array.buffers()
    if not len(array):
        return data, np.zeros(1, np.int64)
    bounds = np.frombuffer(offsets, np.int32, len(array) + 1, 4 * array.offset)
    return data, bounds.astype(np.int64)


def _list_bounds(array: pa.Array) -> list[int]:
    """The n + 1 offsets of the n lists of a valid array."""
    bounds: list[int] = array.offsets.to_pylist()
    if any(end < begin for begin, end in itertools.pairwise(bounds)):
        raise pa.ArrowInvalid(_DISORDER)
    return bounds


def check_values(array: pa.Array) -> pa.Array:
    """Return the array after checking that its items are inside its buffers.

    Raises:
        pa.ArrowInvalid: for items outside of them.
    """
    arrow_type = array.type
    if pa.types.is_primitive(arrow_type):
        array.validate()
    elif pa.types.is_struct(arrow_type):
        array.validate()
        for field in array.flatten():
            check_values(field)
    elif _is_list(arrow_type):
        array.validate()
        array = _as_list(array)
        begin, end = _check_order(array.offsets.to_numpy())
        check_values(array.values.slice(begin, end - begin))
    elif pa.types.is_string(arrow_type) or pa.types.is_binary(arrow_type):
        array.validate()
        _check_order(_bytes_and_offsets(array)[1])
    else:
        array.validate(full=True)
    return array


def _check_order(offsets: NDArray[np.integer]) -> tuple[int, int]:
    """First and last offset of a valid array; all offsets must be in order."""
    is_short = len(offsets) == 2
    if offsets[1] < offsets[0] if is_short else (offsets[1:] < offsets[:-1]).any():
        raise pa.ArrowInvalid(_DISORDER)
    return (int(offsets[0]), int(offsets[-1])) if len(offsets) else (0, 0)
