"""The publisher's JSON form of a label volume: one RLE string per label, and `.info`.

`{".info": {"shape": [50, 800, 800], "dtype": "int64"}, "1": "7 2 12 1 ...", ...}`: one key per
non-zero label, later keys win where masks overlap (source: the publisher's own decoder). `dtype`
is written in many ways (`int64`, `np.int`, `<class 'numpy.int64'>`) and nothing depends on it: it
is neither evaluated nor checked.
"""

import collections
import json
import math
from collections.abc import Iterable, Sequence
from typing import IO, Any

import numpy as np

from _platelet_em.arrays.label_columns import INFO, parse_id
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.rle import parse, text_buffer
from _platelet_em.arrays.runs import resolve
from _platelet_em.arrays.shape import parse_shape
from _platelet_em.errors import LabelFormatError, quote
from _platelet_em.limits import JSON_BYTES_PER_LABEL, MAX_JSON, MAX_LABELS, MAX_RUNS
from _platelet_em.publisher.label_file import (
    REMEDY,
    LabelFile,
    check_label_count,
    check_run_count,
    check_volume_shape,
)
from _platelet_em.spec import DatasetSpec

__all__ = ["read", "write"]

_INFO_COMMAS = 2**10
"""Commas in `.info`, beyond those between the labels; RLE strings have none. Every JSON value but
the first of a list or object follows a comma, so this bounds how many values the parser builds."""

_MAX_BRACKETS = 2**8
"""Lists and objects: the file, `.info`, its shape, and what else `.info` may have. In memory they
take 40 times the bytes that they take in the file, and they nest without commas."""

_MAX_DIGITS = 20
"""Digits of an integer: int() takes long for thousands of them, and no extent has as many."""


def read(
    file: IO[bytes],
    name: str,
    classes_of: DatasetSpec | None,  # noqa: ARG001  # only colors depend on it
    *,
    may_be_plane: bool = False,
) -> LabelFile:
    """Read a JSON label file; other arguments and errors as in `label_files.read_labels`.

    Args:
        file: Open for reading; it can seek.
        name: What to call it in a message.
        classes_of: Unused.
        may_be_plane: Whether a shape (y, x) is that of a volume of one slice; else it is refused.
    """
    most = MAX_LABELS + file.seek(0, 2) // JSON_BYTES_PER_LABEL
    shape, strings, dtype = _parse_document(_read_text(file, name, most), name, most)
    ids = np.array(list(strings), np.int32)
    is_plane = may_be_plane and len(shape) == 2
    volume_shape = check_volume_shape((1, *shape) if is_plane else shape, name)

    def name_label(index: int) -> str:
        return f"{name}: id {ids[index]}"

    stored = parse(
        *text_buffer(list(strings.values()), name_label), math.prod(volume_shape), name_label
    )
    check_run_count(len(stored), name)
    runs = resolve(stored)
    has_overlaps = stored.lengths.sum() > runs.lengths.sum()
    return LabelFile(
        labels=LazyLabels.from_runs(volume_shape, ids, runs),
        overlapping=stored if has_overlaps else None,
        form=f"JSON, dtype {dtype}",
    )


def _read_text(file: IO[bytes], name: str, most: int) -> str:
    """The text of a file that is small enough to be parsed in memory.

    Raises:
        LabelFormatError: for a file that is too large, has too many values, or is not UTF-8.
    """
    size = file.seek(0, 2)
    if size > MAX_JSON:
        raise LabelFormatError(f"{name}: expected at most {MAX_JSON} bytes, got {size}: {REMEDY}")
    file.seek(0)
    data = file.read()
    if data.count(b",") > most + _INFO_COMMAS:
        check_label_count(most + 1, most, name)
    if data.count(b"[") + data.count(b"{") > _MAX_BRACKETS:
        raise LabelFormatError(
            f"{name}: expected a JSON object of strings, got more than {_MAX_BRACKETS} lists and "
            f"objects: {REMEDY}"
        )
    # A blank of a string is a space or an escape: JSON has no others there.
    if data.count(b" ") + data.count(b"\\") > 2 * MAX_RUNS + most + _INFO_COMMAS:
        check_run_count(MAX_RUNS + 1, name)
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise LabelFormatError(
            f"{name}: at byte {error.start}: expected UTF-8, got "
            f"{quote(data[error.start : error.start + 40])}: {REMEDY}"
        ) from error


def _parse_document(
    text: str, name: str, most: int
) -> tuple[tuple[int, ...], dict[int, str], str]:
    """Shape, RLE string by label in the order of the file, and how `.info` spells the dtype.

    Raises:
        LabelFormatError: for anything but a JSON object of this form, keys that are no labels or
            that repeat, or a missing `.info`.
    """
    document = _load_object(text, name)
    if INFO not in document:
        raise LabelFormatError(
            f"{name}: the key {INFO!r} with the shape of the volume is missing: {REMEDY}"
        )
    info = document.pop(INFO)
    if not isinstance(info, dict):
        raise LabelFormatError(
            f"{name}: {INFO}: expected an object with the shape of the volume, got {quote(info)}: "
            f"{REMEDY}"
        )
    shape = parse_shape(info.get("shape"), f"{name}: {INFO}: shape")
    check_label_count(len(document), most, name)
    strings = {}
    for key, value in document.items():
        label = parse_id(key, name)
        if not isinstance(value, str):
            raise LabelFormatError(
                f"{name}: key {quote(key)}: expected a string, the RLE of the label, got "
                f"{quote(value)}: {REMEDY}"
            )
        strings[label] = value
    dtype = info.get("dtype")
    return shape, strings, repr(dtype[:80]) if isinstance(dtype, str) else "not given"


def _load_object(text: str, name: str) -> dict[str, Any]:
    """A JSON object, none of whose keys repeats."""

    def unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        document = dict(pairs)
        if len(document) < len(pairs):
            counts = collections.Counter(key for key, _ in pairs)
            repeated = counts.most_common(1)[0][0]
            raise LabelFormatError(
                f"{name}: key {quote(repeated)} appears more than once, and which one is meant is "
                f"not known: {REMEDY}"
            )
        return document

    try:
        document = json.loads(text, object_pairs_hook=unique_keys, parse_int=_parse_integer)
    except json.JSONDecodeError as error:
        found = text[error.pos : error.pos + 40]
        raise LabelFormatError(
            f"{name}: at character {error.pos}: expected JSON, got "
            f"{quote(found) if found else 'the end of the file'} ({error.msg}): {REMEDY}"
        ) from error
    if not isinstance(document, dict):
        raise LabelFormatError(
            f"{name}: expected a JSON object of labels, got {quote(document)}: {REMEDY}"
        )
    return document


def _parse_integer(digits: str) -> float:
    """An integer of a JSON file; a float if it is too long, which is refused wherever it is."""
    return int(digits) if len(digits) <= _MAX_DIGITS else float(digits)


def write(
    out: IO[bytes], shape: Sequence[int], ids: Sequence[int], strings: Iterable[str]
) -> None:
    """Write a label file in the publisher's form.

    Args:
        out: Open for writing.
        shape: (z, y, x).
        ids: Labels, in the order in which they are written.
        strings: RLE string of each label.
    """
    info = {"shape": [int(extent) for extent in shape], "dtype": "int64"}
    out.write(json.dumps({INFO: info})[:-1].encode())
    for label, string in zip(ids, strings, strict=True):
        out.write(f', "{int(label)}": "{string}"'.encode())
    out.write(b"}")
