"""Rows of Arrow files with wrong labels, images or offsets: each is one error, or is read."""

import re
import struct
import zlib

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import limits

import platelet_em
from _platelet_em.arrays.page import encode_page
from _platelet_em.hf.formatter import PlateletEMFormatter

LABELS = {"shape": [2, 3], "id": [4, 7], "rle": ["1 2", "5 2"]}
STRUCT = pa.struct({
    "shape": pa.list_(pa.int32()), "id": pa.list_(pa.int32()), "rle": pa.list_(pa.string()),
})  # fmt: skip


def rows(kind=STRUCT, **changes):
    return pa.table({"cells": pa.array([{**LABELS, **changes}], kind)})


def typed(**changes):
    fields = {field.name: field.type for field in STRUCT}
    return pa.struct({**fields, **changes})


def images(*contents, path=None):
    kind = pa.list_(pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    pages = [{"bytes": content, "path": path} for content in contents]
    return pa.table({"image": pa.array([pages], kind)})


VALUES = [[[4, 7], [2, 2], []]]
OTHER_TYPES = {
    "int64 ids": rows(typed(id=pa.list_(pa.int64()))),
    "unsigned ids": rows(typed(id=pa.list_(pa.uint64()))),
    "large lists": rows(typed(id=pa.large_list(pa.int32()), rle=pa.large_list(pa.string()))),
    "large strings": rows(typed(rle=pa.list_(pa.large_string()))),
    "strings of a dictionary": rows(typed(rle=pa.list_(pa.dictionary(pa.int8(), pa.string())))),
    "views of strings": rows(typed(rle=pa.list_(pa.string_view()))),
}
INVALID = {
    "fewer strings than ids": (rows(rle=["1 2"]), "2 ids, but 1 RLE strings"),
    "more strings than ids": (rows(rle=["1 2"] * 3), "2 ids, but 3 RLE strings"),
    "a negative extent": (rows(shape=[-2, 3]), r"shape: expected .* got \[-2, 3\]"),
    "a huge extent": (
        rows(typed(shape=pa.list_(pa.int64())), shape=[2**62, 3]),
        "shape: expected a list of extents",
    ),
    "no extent": (rows(shape=[]), r"shape: expected .* got \[\]"),
    "an extent of null": (rows(shape=[None, 3]), r"shape: expected .* got \[None, 3\]"),
    "a shape too small for the runs": (rows(shape=[1, 3]), "id 7: run 1 is 5 2; .* the 3 voxels"),
    "a string that is not RLE": (
        rows(rle=["1 2", "x"]),
        "id 7: expected digits and blanks, got 'x'",
    ),
    "a string of an odd count": (
        rows(rle=["1 2 3", ""]),
        "id 4: expected pairs of start and length",
    ),
    "a string of null": (rows(rle=["1 2", None]), "1 of 2 RLE strings are null"),
    "an id of null": (rows(id=[1, None]), "1 of 2 values are null"),
    "the id 0": (rows(id=[0, 1]), "id 0: expected ids from 1 to 2147483647"),
    "a negative id": (rows(id=[-5, 1]), "id -5: expected ids from 1 to 2147483647"),
    "a repeated id": (rows(id=[3, 3]), "id 3 comes twice: which one is meant is not known"),
    "a huge id": (
        rows(typed(id=pa.list_(pa.int64())), id=[1, 2**40]),
        "id 1099511627776: expected",
    ),
    "ids that are floats": (rows(typed(id=pa.list_(pa.float64()))), "a list of integer ids, got"),
    "ids that are strings": (
        rows(typed(id=pa.list_(pa.string())), id=["4", "7"]),
        "integer ids, got",
    ),
    "ids that are bools": (rows(typed(id=pa.list_(pa.bool_())), id=[True, False]), "integer ids"),
    "strings that are numbers": (
        rows(typed(rle=pa.list_(pa.int32())), rle=[1, 2]),
        "expected RLE strings, got values of the type",
    ),
    "strings that are bytes": (
        rows(typed(rle=pa.list_(pa.binary()))),
        "expected RLE strings, got values",
    ),
    "no shape": (
        rows(shape=None),
        "expected a struct with shape, id and rle, got one that is null",
    ),
    "no ids": (rows(id=None), "expected a struct with shape, id and rle, got one that is null"),
    "bytes that are not an image": (
        images(b"<html>"),
        "expected an encoded picture, got b'<html>'",
    ),
    "no bytes": (images(b""), "expected an encoded picture, got b''"),
    "a program instead of an image": (
        images(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        "expected an encoded picture",
    ),
    "a path to nothing": (
        images(None, path="/nowhere/a.tif"),
        "expected an image, got '/nowhere/a",
    ),
    "a path to another file": (images(None, path=__file__), "expected an image, got '/"),
}


def page(shape, content=0):
    return encode_page(np.full(shape, content, np.uint16))


def bomb():
    """A PNG of 144 million pixels in 140 KB."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 12_000, 12_000, 8, 0, 0, 0, 0))
    pixels = chunk(b"IDAT", zlib.compress(bytes(12_001 * 12_000), 9))
    return b"\x89PNG\r\n\x1a\n" + head + pixels + chunk(b"IEND", b"")


INVALID["pages of different sizes"] = (
    images(page((2, 3)), page((3, 2))),
    r"page 1: expected shape \(2, 3\) and dtype uint16 as in page 0, got \(3, 2\)",
)
INVALID["an image of too many pixels"] = (
    images(bomb()),
    "page 0: expected an encoded picture, got .*: 12000 x 12000 pixels, expected 1 to 67108864",
)


def damaged(table, find, replacement):
    """An Arrow file with other offsets, which nothing checks when it is opened."""
    data = file_of(table)
    old, new = (np.array(offsets, np.int32).tobytes() for offsets in (find, replacement))
    assert data.count(old) == 1
    return data.replace(old, new)


def file_of(table):
    out = pa.BufferOutputStream()
    with pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table)
    return out.getvalue().to_pybytes()


MANY = rows(id=[1, 2, 3], rle=["1 1", "2 1", "3 1"], shape=[3])
SHAPES = pa.concat_tables(
    rows(id=[1], rle=["1 1"], shape=shape) for shape in ([1, 1, 3], [3], [1, 3])
).combine_chunks()
NAMES = pa.table({"volume": pa.array(["fifty", "twentyfour"])})
PAGE = page((2, 3))
NESTED = pa.table({"x": pa.array([[[1, 2], [3, 4, 5, 6, 7, 8, 9]]])})
DAMAGED = {
    "strings far outside": damaged(MANY, [0, 3, 6, 9], [0, 3, 6, 2**31 - 1]),
    "strings between others far outside": damaged(MANY, [0, 3, 6, 9], [0, 2**31 - 1, 6, 9]),
    "strings before the buffer": damaged(MANY, [0, 3, 6, 9], [0, -(2**31), 6, 9]),
    "lists in no order": damaged(SHAPES, [0, 3, 4, 6], [0, 3, 1, 6]),
    "names far outside": damaged(NAMES, [0, 5, 15], [0, 2**31 - 1, 15]),
    "lists of lists far outside": damaged(NESTED, [0, 2, 9], [0, 2**30, 9]),
    "images far outside": damaged(
        images(PAGE, b"x"), [0, len(PAGE), len(PAGE) + 1], [0, 2**31 - 1, len(PAGE) + 1]
    ),
}


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    folder, cases = tmp_path_factory.mktemp("rows"), {}
    tables = {**OTHER_TYPES, **{name: table for name, (table, _) in INVALID.items()}}
    files = {**{name: file_of(table) for name, table in tables.items()}, **DAMAGED}
    for i, (name, content) in enumerate(files.items()):
        (folder / f"{i}.arrow").write_bytes(content)
        cases[name] = ("read_rows", folder / f"{i}.arrow")
    return limits.outcomes(cases)


@pytest.mark.parametrize("case", OTHER_TYPES)
def test_other_types_of_the_same_values_are_read(case, read):
    assert read[case] == {"value": VALUES}


@pytest.mark.parametrize("case", INVALID)
def test_an_invalid_row_is_an_error_of_this_package(case, read):
    outcome = read[case]
    assert outcome.get("ours"), outcome
    assert outcome["error"] in ("LabelFormatError", "ImageFormatError")
    assert re.search(INVALID[case][1], outcome["message"]), outcome["message"]


@pytest.mark.parametrize("case", DAMAGED)
def test_offsets_outside_the_buffer_are_an_error(case, read):
    outcome = read[case]
    assert outcome.get("error") == "LabelFormatError", outcome
    assert re.search("^(column '.*'|labels): .*the file is damaged", outcome["message"])


# Python values that do not look like an image are left as they are, as in plain datasets.
LEFT = ("a path to nothing", "a path to another file", "no bytes")


@pytest.mark.parametrize("case", [case for case in INVALID if case not in LEFT])
def test_invalid_python_values_as_streams_give_them_are_an_error(case):
    row = INVALID[case][0].to_pylist()[0]
    with pytest.raises(platelet_em.PlateletEMError):  # noqa: PT012
        value = next(iter(PlateletEMFormatter().recursive_tensorize(row).values()))
        np.asarray(value)


PARQUET = ["fewer strings than ids", "a string that is not RLE", "the id 0", "a huge extent"]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("case", PARQUET)
def test_an_invalid_row_of_a_parquet_file_is_an_error(case, streaming, tmp_path):
    table, message = INVALID[case]
    pq.write_table(table, tmp_path / "a.parquet")
    rows = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "a.parquet"),
        split="train",
        streaming=streaming,
        cache_dir=str(tmp_path / "cache"),
    )
    with pytest.raises(platelet_em.LabelFormatError, match=message):
        np.asarray(next(iter(rows.with_format("platelet_em")))["cells"])
