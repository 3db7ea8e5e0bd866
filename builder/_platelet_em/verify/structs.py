"""The label struct of a row of a built repository: each of its fields worked out again."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.label_columns import BORDER, parse_ids, touches_border
from _platelet_em.arrays.rle import format_runs, parse, text_buffer
from _platelet_em.arrays.runs import Runs, areas, boxes, resolve
from _platelet_em.errors import PlateletEMError, quote
from _platelet_em.verify.report import Section

__all__ = ["Row", "read_struct"]

_REMEDY = "build the repository again"
_LISTS = ("id", "rle", "area", "bbox", BORDER)
_FURTHER = {"cells": (), "organelles": ("class_id", "purity", "cell")}


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a repository, for findings about it.

    Attributes:
        section: Takes the findings.
        file: The Parquet file.
        row: Position in the file, from 0.
        place: Further words about where, such as z.
    """

    section: Section
    file: str
    row: int
    place: dict[str, Any]

    def error(
        self, check: str, *, column: str, expected: str, found: object, **place: Any
    ) -> None:
        """Note what is wrong with a column."""
        self.section.error(
            check,
            self.file,
            expected=expected,
            found=str(found),
            remedy=_REMEDY,
            row=self.row,
            **self.place,
            column=column,
            **place,
        )


def read_struct(
    row: Row, column: str, struct: Any, shape: tuple[int, ...]
) -> tuple[NDArray[np.int32], Runs] | None:
    """Check a struct of labels; what is wrong becomes an error of the row.

    Args:
        row: Where it stands.
        column: "cells" or "organelles".
        struct: Its Python value.
        shape: Of the row.

    Returns:
        Ids, and canonical runs; None if they cannot be had.
    """
    lists = (*_LISTS, *_FURTHER[column])
    missing = [name for name in ("shape", *lists) if (struct or {}).get(name) is None]
    if missing:
        row.error("struct", column=column, expected="all of its fields", found=f"no {missing[0]}")
        return None
    lengths = {name: len(struct[name]) for name in lists}
    if len(set(lengths.values())) > 1:
        row.error("struct", column=column, expected="lists of one length", found=lengths)
        return None
    if tuple(struct["shape"]) != shape:
        row.error(
            "shape",
            column=f"{column}.shape",
            expected=str(list(shape)),
            found=quote(struct["shape"]),
        )
    try:
        ids = parse_ids(struct["id"])
        texts = text_buffer(struct["rle"], lambda i: f"id {ids[i]}")
        size = int(np.prod(shape, dtype=np.int64))
        stored = parse(*texts, size, lambda i: f"id {ids[i]}")
    except PlateletEMError as error:
        row.error("rle", column=column, expected="ids with RLE texts", found=error)
        return None
    if len(down := np.flatnonzero(ids[1:] <= ids[:-1])):
        first = int(down[0])
        row.error(
            "ids",
            column=f"{column}.id",
            expected="ascending ids",
            found=f"{ids[first + 1]} after {ids[first]}",
            id=int(ids[first + 1]),
        )
    runs = resolve(stored)
    _check_lists(row, column, struct, (ids, runs), shape)
    return ids, runs


def _check_lists(
    row: Row,
    column: str,
    struct: dict[str, Any],
    labels: tuple[NDArray[np.int32], Runs],
    shape: tuple[int, ...],
) -> None:
    """Compare texts, areas, boxes and borders with what the runs give."""
    ids, runs = labels
    count = len(ids)
    found_boxes = boxes(runs, count, shape)
    expected: dict[str, list[Any]] = {
        "rle": format_runs(runs, count),
        "area": areas(runs, count).tolist(),
        "bbox": found_boxes.tolist(),
        BORDER: touches_border(found_boxes, shape).tolist(),
    }
    for name, right in expected.items():
        if struct[name] == right:
            continue
        for i in range(count):
            if struct[name][i] != right[i]:
                row.error(
                    name,
                    column=f"{column}.{name}",
                    expected=quote(right[i]),
                    found=quote(struct[name][i]),
                    id=int(ids[i]),
                )
    for i in np.flatnonzero(areas(runs, count) == 0).tolist():
        row.error(
            "ids", column=column, expected="instances with voxels", found="none", id=int(ids[i])
        )
