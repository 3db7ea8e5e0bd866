"""Where windows come from: one split of a dataset, as rows and as volumes."""

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import datasets

from _platelet_em.arrays.memory import temporary_arrow_memory
from _platelet_em.errors import ArgumentError, quote
from _platelet_em.hf.formatter import FORMAT
from _platelet_em.hf.volume import KeptRows, RowVolume

__all__ = ["check_columns_exist", "check_source", "group_rows", "parse_columns", "read_rows"]

_SLICE_COLUMN = "z"
"""Column that rows of slices have and rows of volumes lack."""


def parse_columns(columns: Any) -> list[str]:
    """Check the columns that windows have.

    Raises:
        ArgumentError: for anything but different names of columns.
    """
    names = list(columns) if isinstance(columns, Iterable) else []
    is_list_of_names = bool(names) and all(isinstance(name, str) for name in names)
    reserved = {"volume", "corner", _SLICE_COLUMN}
    if (
        isinstance(columns, str)
        or not is_list_of_names
        or len({*names}) < len(names)
        or reserved & {*names}
    ):
        raise ArgumentError(
            "columns: expected a list of different columns of images or labels, such as "
            f"['image', 'semantic'], got {quote(columns)}"
        )
    return names


def check_source(source: Any) -> None:
    """Refuse a source that is not one split.

    Raises:
        ArgumentError: for anything but a `Dataset` or an `IterableDataset`.
    """
    if not isinstance(source, (datasets.Dataset, datasets.IterableDataset)):
        found = f"a dictionary of {list(source)}" if isinstance(source, dict) else quote(source)
        raise ArgumentError(
            f"source: expected one split, a Dataset or an IterableDataset, got {found}"
        )


def read_rows(source: Any, needed: list[str]) -> Any:
    """The rows of a source by position, with the needed columns and those that identify rows.

    Args:
        source: One split of `volumes` or `slices`; a stream is read to its end. Or the rows of a
            stream.
        needed: Columns, of which the first gives the shape of a volume; a stream that does not say
            which columns it has is read with all of them.

    Returns:
        A `Dataset` in the format, or a list of rows of a stream.

    Raises:
        ArgumentError: for a source that lacks these columns, or has no row.
    """
    if isinstance(source, list):
        for row in source:
            check_columns_exist([*needed, "volume"], row)
        return source
    names = source.column_names
    if names is not None:
        needed = [*dict.fromkeys(needed), "volume"]
        check_columns_exist(needed, names)
        _check_is_volume(needed[0], source.features, names)
        source = source.select_columns([*needed, *{_SLICE_COLUMN} & {*names}])
    rows = source.with_format(FORMAT)
    if isinstance(source, datasets.IterableDataset):
        with temporary_arrow_memory():
            rows = list(rows)
    if len(rows) == 0:
        raise ArgumentError("source: expected rows of volumes or slices, got none")
    return rows


def check_columns_exist(needed: Sequence[str], names: Any) -> None:
    """Refuse a source without one of these columns.

    Raises:
        ArgumentError: names the first that is missing.
    """
    if missing := [name for name in needed if name not in names]:
        raise ArgumentError(
            f"source: expected the column {missing[0]!r}, got only {quote(list(names))}"
        )


def _check_is_volume(column: str, features: Any, names: Sequence[str]) -> None:
    """Refuse an image as the column that gives the shape: its channels would pass for x."""
    if _SLICE_COLUMN not in names and isinstance((features or {}).get(column), datasets.Image):
        raise ArgumentError(
            f"column {column!r}: expected images or labels of the axes (z, y, x), as rows without "
            f"{_SLICE_COLUMN!r} have, got one image per row"
        )


def group_rows(
    rows: Any,
    columns: list[str],
    *,
    keep_rows: bool = True,
    needed_for: Mapping[str, str] | None = None,
) -> list[RowVolume]:
    """The volumes of the rows, in their order; slices are put together in z order.

    Args:
        rows: As `read_rows` returns them.
        columns: As of `RowVolume`, and so `needed_for`.
        keep_rows: Whether to keep rows that were read, instead of the last one only.
        needed_for: See `columns`.

    Raises:
        ArgumentError: for a slice that appears twice, and as `RowVolume` does.
    """
    if isinstance(rows, list):
        names = [row["volume"] for row in rows]
        zs = [row[_SLICE_COLUMN] for row in rows] if _SLICE_COLUMN in rows[0] else None
    else:
        keys = rows.with_format(None).select_columns(
            [name for name in ("volume", _SLICE_COLUMN) if name in rows.column_names]
        )[:]
        names, zs = keys["volume"], keys.get(_SLICE_COLUMN)
    kept = KeptRows() if keep_rows else KeptRows(1)
    make = functools.partial(RowVolume, kept=kept, needed_for=needed_for)
    if zs is None:
        return [make(str(name), rows, columns, [i]) for i, name in enumerate(names)]
    positions: defaultdict[str, dict[int, int]] = defaultdict(dict)
    for i, (name, z) in enumerate(zip(names, zs, strict=True)):
        by_z = positions[str(name)]
        if z in by_z:
            raise ArgumentError(
                f"source: slice {z} of volume {name} appears twice, in rows {by_z[z]} and {i}"
            )
        by_z[int(z)] = i
    return [
        make(name, rows, columns, [by_z[z] for z in sorted(by_z)], sorted(by_z))
        for name, by_z in positions.items()
    ]
