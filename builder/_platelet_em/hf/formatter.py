"""The format `"platelet_em"` of `datasets`: rows whose labels and stacks are lazy arrays.

Columns are recognised by what they are, not by their names: a struct with `shape`, `id` and `rle`
becomes `LazyLabels`, an image a NumPy array, a list of images a `LazyStack`; everything else
stays the Python value that it is. Values come straight from Arrow buffers, except where
`datasets` hands over Python values (in streaming, after `map` or `filter`).

Of which schema a file is cannot be told here: `datasets` keeps the features of a Parquet file and
drops our record beside them. Rows of a newer schema are read by what their columns are: further
lists of a labels' struct become properties, and a field that is no list is left aside.
"""

import functools
import itertools
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets.features import Image
from datasets.formatting.formatting import TensorFormatter
from numpy.typing import NDArray
from PIL.Image import Image as Picture

from _platelet_em.arrays.label_columns import OWN_FIELDS
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.page import decode_page
from _platelet_em.arrays.stack import LazyStack
from _platelet_em.errors import ImageFormatError, LabelFormatError, quote

__all__ = ["PlateletEMFormatter", "read_slice"]

_LABEL_FIELDS = ("shape", "id", "rle")
_ENCODED_FIELDS = {"bytes", "path"}
_TEXTS = ("string", "large_string", "string_view")
_DISORDER = "offsets that are not in order"
_MAX_Z = 2**31 - 1
_LARGE = 1 << 24
"""Bytes: half of what is kept, which is two samples in flight and more."""


class PlateletEMFormatter(TensorFormatter[dict[str, Any], list[Any], dict[str, Any]]):  # type: ignore[misc]  # datasets is untyped
    """Formats Arrow tables and Python examples of this dataset.

    A row is a dictionary of values, a column a list of values, a batch a dictionary of lists.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _keep_freed_memory()

    def format_row(self, pa_table: pa.Table) -> dict[str, Any]:
        """The first row of a table."""
        return {name: values[0] for name, values in self._columns(pa_table.slice(0, 1))}

    def format_column(self, pa_table: pa.Table) -> list[Any]:
        """The first column of a table."""
        return next(values for _, values in self._columns(pa_table.select([0])))

    def format_batch(self, pa_table: pa.Table) -> dict[str, Any]:
        """A whole table."""
        return dict(self._columns(pa_table))

    def recursive_tensorize(self, data_struct: dict[str, Any]) -> dict[str, Any]:
        """An example, or a batch, of Python values: formats what is not formatted yet."""
        return {name: _from_python(value) for name, value in data_struct.items()}

    def _columns(self, table: pa.Table) -> Iterator[tuple[str, list[Any]]]:
        for name, column in zip(table.column_names, table.columns, strict=True):
            feature = self.features.get(name) if self.features else None
            values = []
            try:
                for chunk in column.chunks:
                    values += self._values(name, feature, chunk)
            except pa.ArrowException as error:
                raise _damaged(f"column {name!r}", error) from error
            yield name, values

    def _values(self, name: str, feature: Any, array: pa.Array) -> list[Any]:
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        if _is_labels(array.type):
            return _labels(array)
        if _is_image(feature, array.type):
            mode = getattr(feature, "mode", None)
            return [None if v is None else _image(v, name, mode) for v in _encoded(array)]
        item = getattr(feature, "feature", None)
        if _is_list(array.type) and _holds_ours(item, array.type.value_type):
            parts = _lists(array)
            if _is_image(item, array.type.value_type):
                return [None if part is None else _stack(part, name) for part in parts]
            return [None if part is None else self._values(name, item, part) for part in parts]
        values: list[Any] = _checked(array).to_pylist()
        if self.features and name in self.features:
            values = self.python_features_decoder.decode_column(values, name)
        return values


@functools.cache
def _keep_freed_memory() -> None:
    """Let glibc keep the memory of a freed sample for the next one, once a process.

    Two label maps of a slice that are freed together go back to the system, and the next sample
    pays 1,250 page faults, four times what it takes to decode. How much glibc keeps is twice the
    largest array that the process has freed so far (up to 32 MB an array, unless its environment
    variables say otherwise), so one is freed that nobody has touched. Elsewhere it does nothing.
    """
    np.empty(_LARGE, np.uint8)


def read_slice(files: list[Path], z: int) -> dict[str, Any] | None:
    """The formatted row of a slice from Parquet files of `slices`; None if they do not hold it."""
    if not 0 <= z <= _MAX_Z:
        return None
    table = pq.read_table(files, filters=[("z", "==", z)])
    return PlateletEMFormatter().format_row(table) if len(table) else None


def _damaged(place: str, error: pa.ArrowException) -> LabelFormatError:
    """Says of which column it is what Arrow finds wrong."""
    return LabelFormatError(
        f"{place}: the file is damaged, or of a type that is not read: {error}"
    )


# --- from Arrow -------------------------------------------------------------------------------


def _is_labels(kind: pa.DataType) -> bool:
    if not pa.types.is_struct(kind):
        return False
    places = [kind.get_field_index(name) for name in _LABEL_FIELDS]
    return min(places) >= 0 and all(_is_list(kind[place].type) for place in places)


def _is_list(kind: pa.DataType) -> bool:
    is_list: bool = pa.types.is_list(kind) or pa.types.is_large_list(kind)
    return is_list


def _is_image(feature: Any, kind: pa.DataType) -> bool:
    """Whether a column holds encoded pictures; without features its fields decide."""
    if not pa.types.is_struct(kind) or {f.name for f in kind} != _ENCODED_FIELDS:
        return False
    if feature is None:
        is_binary: bool = pa.types.is_binary(kind["bytes"].type)
        return is_binary
    return isinstance(feature, Image) and bool(feature.decode)


def _lists(array: pa.Array) -> Iterator[pa.Array | None]:
    """The items of each list, as slices of the same buffers."""
    array.validate()
    bounds = itertools.pairwise(_bounds(array))
    values = array.values
    for (begin, end), valid in zip(bounds, _valid(array), strict=True):
        yield values.slice(begin, end - begin) if valid else None


def _valid(array: pa.Array) -> list[bool]:
    """Whether each item is there; to ask the item itself would copy it."""
    valid: list[bool] = array.is_valid().to_pylist() if array.null_count else [True] * len(array)
    return valid


def _encoded(array: pa.StructArray) -> Iterator[Any]:
    """The buffer of each encoded picture, or its path where the bytes are elsewhere."""
    array.validate()
    contents = array.field("bytes")
    if not (pa.types.is_binary(contents.type) or pa.types.is_string(contents.type)):
        contents.validate(full=True)
        contents = contents.cast(pa.binary())
    data, offsets = _bytes_and_offsets(contents)
    _check_order(offsets)
    bounds, inside = offsets.tolist(), _valid(contents)
    for i, valid in enumerate(_valid(array)):
        if not valid:
            yield None
        elif inside[i]:
            begin, end = bounds[i], bounds[i + 1]
            yield b"" if data is None or begin == end else data.slice(begin, end - begin)
        else:
            yield _checked(array.field("path").slice(i, 1))[0].as_py()


def _image(encoded: Any, name: str, mode: str | None = None) -> NDArray[Any]:
    """A picture as an array; in another mode, or from a path, as `datasets` itself decodes it."""
    if isinstance(encoded, str) or mode is not None:
        is_path = isinstance(encoded, str)
        content = {"path": encoded, "bytes": None}
        if not is_path:
            content = {"path": None, "bytes": bytes(encoded)}
        try:
            return np.asarray(Image(mode=mode).decode_example(content))
        except Exception as error:
            # From a path or in another mode, anything between the network and Pillow may fail.
            raise ImageFormatError(
                f"column {name!r}: expected a picture, got {quote(encoded)}: {error}"
            ) from error
    return decode_page(encoded, f"column {name!r}")


def _holds_ours(feature: Any, kind: pa.DataType) -> bool:
    """Whether pictures or labels lie at the bottom of nested lists."""
    while _is_list(kind):
        feature, kind = getattr(feature, "feature", None), kind.value_type
    return _is_labels(kind) or _is_image(feature, kind)


def _stack(pages: pa.StructArray, name: str) -> LazyStack | list[Any]:
    """Pages of the axes (y, x) as a stack; colour pictures stay a list."""
    encoded = [_image(e, name) if isinstance(e, str) else e for e in _encoded(pages)]
    return _stack_or_list(encoded)


def _stack_or_list(pages: list[Any]) -> LazyStack | list[Any]:
    if pages and any(page is None for page in pages):
        return [None if page is None else _decoded(page, i) for i, page in enumerate(pages)]
    if pages and _decoded(pages[0], 0).ndim != 2:
        return [_decoded(page, i) for i, page in enumerate(pages)]
    return LazyStack(pages)


def _decoded(page: Any, i: int) -> NDArray[Any]:
    return page if isinstance(page, np.ndarray) else decode_page(page, f"page {i}")


def _labels(array: pa.StructArray) -> list[LazyLabels | None]:
    """The labels of each row; their texts, and the columns beside them, stay where they lie."""
    array.validate()
    shapes, ids, texts = (array.field(name) for name in _LABEL_FIELDS)
    _, id_bounds, text_bounds = map(_bounds, (shapes, ids, texts))
    shape, id_values, text_values = shapes.to_pylist(), ids.values, texts.values
    result: list[LazyLabels | None] = []
    for i, valid in enumerate(_valid(array)):
        if not valid:
            result.append(None)
            continue
        if not (shapes[i].is_valid and ids[i].is_valid and texts[i].is_valid):
            raise LabelFormatError(
                "labels: expected a struct with shape, id and rle, got one that is null"
            )
        begin, end = id_bounds[i : i + 2]
        labels = _numpy(id_values.slice(begin, end - begin))
        begin, end = text_bounds[i : i + 2]
        text = _text_buffer(text_values.slice(begin, end - begin))
        result.append(
            LazyLabels.from_buffer(shape[i], labels, *text, functools.partial(_further, array, i))
        )
    return result


def _further(array: pa.StructArray, row: int) -> dict[str, NDArray[Any]]:
    """The columns of a row's labels that have one value an instance."""
    further = {}
    for field in array.type:
        if field.name not in OWN_FIELDS and _is_list(field.type):
            try:
                values = _checked(array.field(field.name).slice(row, 1))[0]
            except pa.ArrowException as error:
                raise _damaged(f"labels: property {field.name!r}", error) from error
            if values.is_valid:
                further[field.name] = _numpy(values.values)
    return further


def _numpy(array: pa.Array) -> NDArray[Any]:
    if array.null_count:
        raise LabelFormatError(
            f"labels: {array.null_count} of {len(array)} values are null, expected none"
        )
    values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    return values


def _text_buffer(texts: pa.Array) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bytes and offsets of an Arrow string array, where they lie."""
    if texts.null_count:
        raise LabelFormatError(
            f"labels: {texts.null_count} of {len(texts)} RLE texts are null, expected none"
        )
    if not pa.types.is_string(texts.type):
        plain = texts.type.value_type if pa.types.is_dictionary(texts.type) else texts.type
        if str(plain) not in _TEXTS:
            raise LabelFormatError(
                f"labels: expected RLE texts, got values of the type {texts.type}"
            )
        texts.validate(full=True)
        texts = texts.cast(pa.string())
    # Whether they are in order is checked by what takes them.
    data, offsets = _bytes_and_offsets(texts)
    text = np.frombuffer(data, np.uint8) if data is not None else np.empty(0, np.uint8)
    return text, offsets


def _bytes_and_offsets(array: pa.Array) -> tuple[pa.Buffer | None, NDArray[np.int64]]:
    """The bytes of a string or binary array, and where in them each item begins and ends."""
    _, offsets, data = array.buffers()
    if not len(array):
        return data, np.zeros(1, np.int64)
    bounds = np.frombuffer(offsets, np.int32, len(array) + 1, 4 * array.offset)
    return data, bounds.astype(np.int64)


def _bounds(array: pa.Array) -> list[int]:
    """Where each list of a valid array begins and ends."""
    bounds: list[int] = array.offsets.to_pylist()
    if any(end < begin for begin, end in itertools.pairwise(bounds)):
        raise pa.ArrowInvalid(_DISORDER)
    return bounds


def _checked(array: pa.Array) -> pa.Array:
    """The array, if its items lie in its buffers.

    A damaged Arrow file may say that they lie anywhere, and pyarrow would read there. Its own full
    check looks at all rows of a batch to give one.

    Raises:
        pa.ArrowInvalid: for items that do not.
    """
    kind = array.type
    if pa.types.is_primitive(kind):
        array.validate()
    elif pa.types.is_struct(kind):
        array.validate()
        for field in array.flatten():
            _checked(field)
    elif _is_list(kind):
        array.validate()
        begin, end = _check_order(array.offsets.to_numpy())
        _checked(array.values.slice(begin, end - begin))
    elif pa.types.is_string(kind) or pa.types.is_binary(kind):
        array.validate()
        _check_order(_bytes_and_offsets(array)[1])
    else:
        array.validate(full=True)
    return array


def _check_order(offsets: NDArray[np.integer]) -> tuple[int, int]:
    """First and last of the offsets of a valid array, between which all others must lie."""
    is_short = len(offsets) == 2
    if offsets[1] < offsets[0] if is_short else (offsets[1:] < offsets[:-1]).any():
        raise pa.ArrowInvalid(_DISORDER)
    return (int(offsets[0]), int(offsets[-1])) if len(offsets) else (0, 0)


# --- from Python values -----------------------------------------------------------------------


def _is_encoded(value: Any) -> bool:
    return isinstance(value, Picture) or (
        isinstance(value, Mapping) and set(value) == _ENCODED_FIELDS and bool(value["bytes"])
    )


def _page(value: Any) -> NDArray[Any]:
    return np.asarray(value) if isinstance(value, Picture) else decode_page(value["bytes"])


def _from_python(value: Any) -> Any:
    if _is_encoded(value):
        return _page(value)
    if isinstance(value, Mapping) and all(name in value for name in _LABEL_FIELDS):
        return LazyLabels.from_struct(value)
    if isinstance(value, list) and value and all(map(_is_encoded, value)):
        return _stack_or_list([v["bytes"] if isinstance(v, Mapping) else _page(v) for v in value])
    if isinstance(value, list) and any(isinstance(v, Mapping) for v in value):
        return [_from_python(v) for v in value]
    return value
