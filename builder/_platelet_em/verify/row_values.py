"""The values of one stored row, decoded and compared with what `build` writes."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.page import decode_page, read_palette
from _platelet_em.errors import PlateletEMError, quote
from _platelet_em.publisher.palettes import class_palette
from _platelet_em.spec import SEMANTIC, DatasetSpec, InstanceSpec
from _platelet_em.verify.files import REBUILD
from _platelet_em.verify.report import Section

__all__ = [
    "RowReporter",
    "check_preview",
    "compare_values",
    "decode_image",
    "decode_instances",
    "decode_mask",
]

_UNREADABLE = (ValueError, pa.ArrowException)
"""What Arrow raises for a value that is damaged, such as a string that is not UTF-8."""

_FIELDS = ("id", "rle", "area", "bbox", "touches_border")
"""Lists of a label struct that its own strings determine."""


@dataclass(frozen=True, slots=True)
class RowReporter:
    """Reports what is wrong with one row.

    Attributes:
        section: Receives the findings.
        file: The Parquet file.
        row: Position in the file, from 0.
        place: What else identifies the row, such as z.
    """

    section: Section
    file: str
    row: int
    place: dict[str, Any]

    def error(
        self, check: str, *, column: str, expected: object, found: object, **place: Any
    ) -> None:
        """Report that a column is wrong."""
        self.section.error(
            check,
            self.file,
            expected=str(expected),
            found=str(found),
            remedy=REBUILD,
            row=self.row,
            **self.place,
            column=column,
            **place,
        )


def compare_values(
    reporter: RowReporter, values: dict[str, Any], expected: dict[str, Any]
) -> None:
    """Compare the values of some columns with the expected ones."""
    for name, right in expected.items():
        try:
            found = values[name].as_py()
        except _UNREADABLE as error:
            found = error
        if found != right:
            reporter.error(name, column=name, expected=right, found=found)


# --- pictures ---------------------------------------------------------------------------------


def decode_image(
    reporter: RowReporter,
    value: Any,
    plane: tuple[int, ...] | None,
    column: str = "image",
    dtype: type | tuple[type, ...] = np.uint16,
) -> NDArray[Any] | None:
    """Decode a page.

    Args:
        reporter: Receives the error.
        value: The encoded page, as an Arrow scalar.
        plane: (y, x) that it must have; None accepts any.
        column: Its column.
        dtype: The dtype that it must have, or one of several.

    Returns:
        The page (y, x), a view where possible; None, and an error, if it is damaged or different.
    """
    try:
        if not value.is_valid or not value["bytes"].is_valid:
            reporter.error("page", column=column, expected="an encoded image", found="none")
            return None
        page = decode_page(value["bytes"].as_buffer(), column)
    except PlateletEMError as error:
        reporter.error("page", column=column, expected="an encoded image", found=error)
        return None
    dtypes = dtype if isinstance(dtype, tuple) else (dtype,)
    if page.dtype not in dtypes or page.ndim != 2 or (plane is not None and page.shape != plane):
        names = " or ".join(str(np.dtype(each)) for each in dtypes)
        expected = f"{names} pixels (y, x)" + (f" of shape {plane}" if plane else "")
        found = f"{page.dtype} {page.shape}"
        reporter.error("page", column=column, expected=expected, found=found)
        return None
    return page


def decode_mask(
    reporter: RowReporter, value: Any, plane: tuple[int, ...] | None, spec: DatasetSpec
) -> LazyLabels | None:
    """Decode a page of class indices, as `decode_image`; ids of the result are class indices.

    Indices without a class, and another palette, are errors too.
    """
    page = decode_image(reporter, value, plane, SEMANTIC, np.uint8)
    if page is None:
        return None
    count = len(spec.classes)
    if page.max(initial=0) >= count:
        y, x = (int(c) for c in np.argwhere(page >= count)[0])
        expected = f"classes from 0 to {count - 1}"
        reporter.error("classes", column=SEMANTIC, expected=expected, found=page[y, x], y=y, x=x)
    colors = class_palette(spec).ravel().tolist()
    found: list[Any]
    try:
        found = read_palette(value["bytes"].as_py())[: len(colors)] or ["no palette"]
    except PlateletEMError as error:
        found = [str(error)]
    if found != colors:
        reporter.error("palette", column=SEMANTIC, expected=colors, found=quote(found))
    return LazyLabels.from_array(page)


def check_preview(reporter: RowReporter, value: Any) -> None:
    """Check that a preview is an RGB picture.

    Its pixels are not compared: how pictures are scaled depends on the version of Pillow.
    """
    try:
        has_bytes = value.is_valid and value["bytes"].is_valid
        page = decode_page(value["bytes"].as_buffer() if has_bytes else b"", "preview")
    except PlateletEMError as error:
        reporter.error("preview", column="preview", expected="a picture", found=error)
        return
    if page.dtype != np.uint8 or page.shape[2:] != (3,):
        found = f"{page.dtype} {page.shape}"
        reporter.error("preview", column="preview", expected="an RGB picture", found=found)


# --- labels -----------------------------------------------------------------------------------


def decode_instances(
    reporter: RowReporter, values: dict[str, Any], instance: InstanceSpec, shape: tuple[int, ...]
) -> tuple[LazyLabels, dict[int, tuple[Any, ...]]] | None:
    """Decode a label struct, and compare its fields, and their number, with its RLE strings.

    Args:
        reporter: Receives the errors.
        values: The row, as Arrow scalars by column.
        instance: Which kind of instances.
        shape: Shape of the row, (y, x) or (z, y, x).

    Returns:
        The labels, which hold runs and no strings, and the stored properties of each id in the
        order of `instance.properties`; None, and an error, if they cannot be decoded.
    """
    column = instance.column
    struct = _read_struct(reporter, values[column], instance)
    if struct is None:
        return None
    try:
        labels = LazyLabels(shape, struct["id"], struct["rle"])
        labels = LazyLabels.from_runs(shape, labels.ids, labels.runs)
    except PlateletEMError as error:
        reporter.error("rle", column=column, expected="ids with RLE strings", found=error)
        return None
    compare_values(reporter, values, {instance.count_column: len(labels.ids)})
    _compare_fields(reporter, column, struct, labels)
    nothing = [None] * len(labels.ids)
    columns = [nothing if struct[name] is None else struct[name] for name in instance.properties]
    properties = {
        label: tuple(column[i] for column in columns)
        for i, label in enumerate(labels.ids.tolist())
    }
    return labels, properties


def _read_struct(
    reporter: RowReporter, value: Any, instance: InstanceSpec
) -> dict[str, Any] | None:
    """A label struct whose lists have one length; None, and an error, for any other."""
    column, lists = instance.column, (*_FIELDS, *instance.properties)
    try:
        struct = value.as_py() or {}
    except _UNREADABLE as error:
        reporter.error("struct", column=column, expected="readable fields", found=error)
        return None
    # What the volume does not tell about whole objects is null; it is compared with the others.
    needed = ("shape", *_FIELDS)
    missing = [name for name in needed if struct.get(name) is None]
    if missing:
        found = f"no {missing[0]}"
        reporter.error("struct", column=column, expected="all of its fields", found=found)
        return None
    lengths = {name: len(struct[name]) for name in lists if struct.get(name) is not None}
    if len(set(lengths.values())) > 1:
        reporter.error("struct", column=column, expected="lists of one length", found=lengths)
        return None
    return struct


def _compare_fields(
    reporter: RowReporter, column: str, struct: dict[str, Any], labels: LazyLabels
) -> None:
    """Compare the fields of a struct with those that its labels have when they are written."""
    ids = labels.ids
    for i in np.flatnonzero(ids[1:] <= ids[:-1])[:1]:
        reporter.error(
            "ids",
            column=f"{column}.id",
            expected="ascending ids",
            found=f"{ids[i + 1]} after {ids[i]}",
            id=int(ids[i + 1]),
        )
    expected = dict(labels.items())
    if struct["shape"] != expected["shape"]:
        reporter.error(
            "shape",
            column=f"{column}.shape",
            expected=expected["shape"],
            found=quote(struct["shape"]),
        )
    for name in _FIELDS:
        right = np.asarray(expected[name]).tolist() if name != "rle" else expected[name]
        for label, wanted, found in zip(ids.tolist(), right, struct[name], strict=True):
            if found != wanted:
                reporter.error(
                    name,
                    column=f"{column}.{name}",
                    expected=quote(wanted),
                    found=quote(found),
                    id=label,
                )
    for label in ids[labels.areas == 0].tolist():
        reporter.error(
            "ids", column=column, expected="instances with voxels", found="none", id=label
        )
