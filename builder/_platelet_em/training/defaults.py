"""Which columns windows have, and which instances samplers go by, where the user names none."""

from collections.abc import Sequence
from typing import Any

import datasets

from _platelet_em.errors import ArgumentError, quote
from _platelet_em.hf.label_features import LabelColumn
from _platelet_em.spec import SEMANTIC
from _platelet_em.training.geometry import IMAGE

__all__ = ["choose_columns", "choose_foreground", "leave_out_null_classes"]

_BATCH = 1000
"""Rows of a column that are looked at together; those without values take no memory."""


def choose_columns(names: Sequence[str], labels: Sequence[LabelColumn]) -> list[str]:
    """The columns of the image, the classes, and all instances, of those of a source.

    Raises:
        ArgumentError: if there is none of these.
    """
    chosen = [name for name in (IMAGE, SEMANTIC) if name in names]
    chosen += [column.name for column in labels]
    if not chosen:
        raise ArgumentError(
            f"source: expected a column {IMAGE!r}, or labels, got only {quote(list(names))}"
        )
    return chosen


def choose_foreground(labels: Sequence[LabelColumn], asked: str | None, names: Any) -> LabelColumn:
    """The column of instances that a sampler goes by.

    Args:
        labels: Columns of instances of a source.
        asked: Name of the column that the user chose.
        names: Names of all columns of the source.

    Raises:
        ArgumentError: if there is no such column.
    """
    if asked is not None:
        if asked not in names:
            raise ArgumentError(
                f"foreground: expected one of {quote([c.name for c in labels])}, "
                f"got {quote(asked)}"
            )
        return next((c for c in labels if c.name == asked), LabelColumn(asked))
    if not labels:
        raise ArgumentError(
            "source: expected a column of instances, which min_foreground and class_weights need, "
            f"got only {quote(list(names))}"
        )
    return next((c for c in labels if c.has_classes), labels[0])


def leave_out_null_classes(rows: Any, columns: Sequence[str]) -> list[str]:
    """The columns without the classes, if these are null in all rows: the dataset has none.

    That a volume has no labels of a kind of instances is an error where the user does not say so:
    a training would miss the column.

    Args:
        rows: A `Dataset`, or a list of rows.
        columns: Names of columns.
    """
    found = [name for name in columns if name != SEMANTIC or _has_value(rows, name)]
    return found or [*columns]


def _has_value(rows: Any, name: str) -> bool:
    if not isinstance(rows, datasets.Dataset):
        return any(row[name] is not None for row in rows)
    tables = rows.select_columns([name]).with_format("arrow")
    # Most columns have a value in the first row, which may be large.
    if tables[0].column(0).null_count == 0:
        return True
    batches = tables.iter(_BATCH)
    return any(batch.column(0).null_count < len(batch) for batch in batches)
