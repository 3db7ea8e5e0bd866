"""The format `"platelet_em"` of `datasets`: rows whose labels and stacks are lazy arrays.

Columns are recognized by their fields, not by their names: a struct with `shape`, `id` and `rle`
becomes `LazyLabels`, an image a NumPy array, a list of images a `LazyStack`; everything else
remains a Python value. Values come straight from Arrow buffers, except where `datasets` passes
Python values (in streaming, after `map` or `filter`).

The schema version of a file is unknown here: `datasets` keeps the features of a Parquet file and
drops the record of the build. Rows of a newer schema are read by their fields: additional lists of
a label struct become properties, and a field that is not a list is ignored.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL.Image import Image as Picture

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.memory import keep_freed_memory
from _platelet_em.arrays.page import decode_page
from _platelet_em.errors import LabelFormatError
from _platelet_em.hf.arrow_values import (
    ENCODED_FIELDS,
    LABEL_FIELDS,
    check_values,
    read_values,
    stack_pages,
)
from _platelet_em.hf.private import (
    TensorFormatter,
    decode_python_values,
    is_registered,
    register_formatter,
    write_as_structs,
)

__all__ = ["FORMAT", "PlateletEMFormatter", "format_example", "register_format"]


class PlateletEMFormatter(TensorFormatter):  # type: ignore[misc]  # datasets is untyped
    """Formats Arrow tables and Python examples of this dataset.

    A row is a dictionary of values, a column a list of values, a batch a dictionary of lists.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        keep_freed_memory()
        write_as_structs(LazyLabels)

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
        return format_example(data_struct)

    def _columns(self, table: pa.Table) -> Iterator[tuple[str, list[Any]]]:
        for name, column in zip(table.column_names, table.columns, strict=True):
            values = []
            try:
                for chunk in column.chunks:
                    values += self._values(name, chunk)
            except pa.ArrowException as error:
                raise LabelFormatError(
                    f"column {name!r}: the file is damaged, or of a type that is not read: {error}"
                ) from error
            yield name, values

    def _values(self, name: str, array: pa.Array) -> list[Any]:
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        feature = self.features.get(name) if self.features else None
        values = read_values(name, feature, array)
        if values is None:
            values = check_values(array).to_pylist()
            if feature is not None:
                values = decode_python_values(self, values, name)
        return values


def format_example(example: Mapping[str, Any]) -> dict[str, Any]:
    """An example of Python values in the format; what is formatted already stays as it is."""
    return {name: _from_python(value) for name, value in example.items()}


def _is_encoded(value: Any) -> bool:
    return isinstance(value, Picture) or (
        isinstance(value, Mapping) and set(value) == ENCODED_FIELDS and bool(value["bytes"])
    )


def _to_page(value: Any) -> NDArray[Any]:
    if not isinstance(value, Picture):
        return decode_page(value["bytes"])
    page = np.asarray(value)
    if getattr(value, "tag_v2", {}).get(262) == 0 and value.mode.startswith("I;16"):
        # Pillow inverts MinIsWhite of 8 bits, and not of 16; `decode_page` inverts both.
        page = np.iinfo(np.uint16).max - page
    return page


def _from_python(value: Any) -> Any:
    if _is_encoded(value):
        return _to_page(value)
    if isinstance(value, Mapping) and all(name in value for name in LABEL_FIELDS):
        return LazyLabels.from_struct(value)
    if isinstance(value, list) and value and all(map(_is_encoded, value)):
        return stack_pages([v["bytes"] if isinstance(v, Mapping) else _to_page(v) for v in value])
    if isinstance(value, list) and any(isinstance(v, Mapping) for v in value):
        return [_from_python(v) for v in value]
    return value


class _FormatName(str):
    """The name that `with_format` takes, `"platelet_em"`, a str.

    It registers the format again when it is unpickled: a spawned worker process has not imported
    this package, and the format of its datasets would be unknown.
    """

    __slots__ = ()

    def __reduce__(self) -> Any:
        return register_format, ()


FORMAT = _FormatName("platelet_em")
"""The name that `with_format` takes."""


def register_format() -> str:
    """Let `with_format("platelet_em")` work; calling it again changes nothing."""
    if not is_registered(FORMAT):
        register_formatter(PlateletEMFormatter, FORMAT)
    return FORMAT
