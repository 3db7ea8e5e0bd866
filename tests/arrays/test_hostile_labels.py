"""Odd and hostile labels: JSON files against the publisher's decoder, and rows of Arrow files."""

import json
import re
import struct
import zlib

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import limits, publisher

import platelet_em
from _platelet_em.arrays.page import encode_page
from _platelet_em.hf.formatter import PlateletEMFormatter
from _platelet_em.limits import MAX_LABELS
from _platelet_em.publisher.label_files import read_labels

SHAPE = [2, 3, 4]
INFO = '".info": {"shape": [2, 3, 4], "dtype": "int64"}'


def labels_text(*pairs):
    return "{" + ", ".join([INFO, *(f'"{key}": "{text}"' for key, text in pairs)]) + "}"


# What is odd, and means something

ODD = {
    "unsorted runs": labels_text((1, "9 2 3 1 20 4 1 1")),
    "adjacent runs": labels_text((1, "1 2 3 4 7 1")),
    "overlapping runs": labels_text((1, "1 9 3 2 5 9")),
    "a run twice": labels_text((1, "5 3 5 3")),
    "labels that overlap": labels_text((5, "1 9"), (3, "4 9"), (4, "6 2 1 1")),
    "blanks of all kinds": labels_text((1, "  1 2   9 1 ")),
    "escaped blanks": labels_text((1, r"1 2\n9\t1\r\n"), (2, r"\f20 1")),
    "escaped digits": labels_text((r"\u0031\u0032", r"\u0031 2 9 \u0031"), (2, r"\u00320 1")),
    "the shape at the end": '{"4": "1 2", "2": "2 1", ' + INFO + "}",
    "a mark of byte order": "\ufeff" + labels_text((1, "1 2")),
    "blanks around everything": "\n\t " + labels_text((1, "1 2")).replace(":", " \n: ") + "\r\n",
    "no labels": labels_text(),
    "a label without voxels": labels_text((3, ""), (4, "1 1")),
    "the whole volume": labels_text((2147483647, "1 24")),
    "a dtype that would be evaluated": labels_text((1, "1 1")).replace("int64", "exit()"),
}


@pytest.mark.parametrize("batch", [1 << 19, 1])
@pytest.mark.parametrize("case", ODD)
def test_what_the_publisher_accepts_gives_the_same_voxels(case, batch, tmp_path, monkeypatch):
    monkeypatch.setattr("_platelet_em.publisher.label_files._BATCH", batch)
    path = tmp_path / "a.json"
    path.write_bytes(ODD[case].encode())
    expected = publisher.decode(json.loads(path.read_text("utf-8-sig")))
    with read_labels(path.open("rb"), "a.json", semantic=False) as store:
        runs = store.volume()
        found = platelet_em.LazyLabels.from_runs(SHAPE, store.ids, runs)
    np.testing.assert_array_equal(np.asarray(found), expected)


# What means nothing


def shaped(shape):
    return f'{{".info": {{"shape": {shape}}}, "1": "1 1"}}'


ENDLESS = 1 << 27


def endless(head, piece, tail):
    """A file of 128 MiB of the same: what reads it whole has no memory left to parse it."""
    return head.encode(), piece.encode(), tail.encode()


HOSTILE = {
    "no info": ('{"1": "1 1"}', r"the key '\.info' with the shape of the volume is missing"),
    "two infos": ("{" + INFO + ", " + INFO + "}", r"key '\.info' comes twice: which one is meant"),
    "a key twice": (labels_text((1, "1 1"), (1, "2 1")), "key '1' comes twice"),
    "a key twice, escaped": (labels_text((1, "1 1"), (r"\u0031", "2 1")), "key '1' comes twice"),
    "an odd count": (labels_text((1, "1 1 2")), "id 1: expected pairs of start and length, got 3"),
    "a length of zero": (labels_text((1, "1 0")), "id 1: run 1 is 1 0; expected a start from 1"),
    "a negative length": (labels_text((1, "1 -2")), "id 1: .*got '-' at character 3"),
    "a start of zero": (labels_text((1, "0 1")), "id 1: run 1 is 0 1; expected a start from 1"),
    "a run beyond the end": (labels_text((1, "24 2")), "id 1: run 1 is 24 2; .* within the 24"),
    "a start beyond the end": (labels_text((7, "1 1 25 1")), "id 7: run 2 is 25 1; expected"),
    "the id 0": (labels_text((0, "1 1")), "key '0': expected a label from 1 to 2147483647"),
    "a negative id": (labels_text((-1, "1 1")), "key '-1': expected a label from 1 to 2147483647"),
    "a huge id": (labels_text((2**31, "1 1")), "key '2147483648': expected a label from 1 to"),
    "an id that is no number": (labels_text(("seven", "1 1")), "key 'seven': expected a label"),
    "an id that is no integer": (labels_text(("1.5", "1 1")), r"key '1\.5': expected a label"),
    "an empty id": (labels_text(("", "1 1")), "key '': expected a label"),
    "an id of 5,000 digits": (
        labels_text(("9" * 5000, "1 1")),
        "a key, a JSON string of at most 64",
    ),
    "a number of 5,000 digits": (
        labels_text((1, "9" * 5000 + " 1")),
        "id 1: a number of more than 18",
    ),
    "a length of 5,000 digits": (
        labels_text((1, "1 " + "9" * 5000)),
        "more than 18 digits at char",
    ),
    "a shape of 5,000 digits": (shaped([10**4000]).replace("0]", "0" * 1000 + "]"), "at byte 10"),
    "a shape of 4,000 digits": (shaped([10**4000]), "shape .1000.*: expected a list of extents"),
    "numbers that are no integers": (
        labels_text((1, "1.0 2")),
        r"id 1: .*got '\.' at character 2",
    ),
    "another script's digits": (
        labels_text((1, "\u0661 1")),
        "id 1: expected digits and blanks, got",
    ),
    "a list for a text": ("{" + INFO + ', "1": [1, 1]}', "expected a string, the RLE text of '1'"),
    "a number for a text": ("{" + INFO + ', "1": 11}', "expected a string, the RLE text of '1'"),
    "NaN for a text": ("{" + INFO + ', "1": NaN}', "expected a string, the RLE text of '1', got"),
    "a shape that contradicts the runs": (
        shaped("[1, 1, 0]"),
        "id 1: run 1 is 1 1; .* the 0 voxels",
    ),
    "a shape of strings": (
        shaped('["2", "3", "4"]'),
        r"\.info: shape \['2', '3', '4'\]: expected",
    ),
    "a shape of floats": (shaped("[2.0, 3, 4]"), r"\.info: shape \[2\.0, 3, 4\]: expected a list"),
    "a shape of NaN": (shaped("[NaN, 3, 4]"), r"\.info: shape \[nan, 3, 4\]: expected a list"),
    "a shape of truth": (shaped("[true, 3, 4]"), r"\.info: shape \[True, 3, 4\]: expected a list"),
    "a shape in a shape": (
        shaped("[[2, 3, 4]]"),
        r"\.info: shape \[\[2, 3, 4\]\]: expected a list",
    ),
    "a negative shape": (shaped("[-2, 3, 4]"), r"\.info: shape \[-2, 3, 4\]: expected a list"),
    "a shape of two axes": (
        shaped("[6, 4]"),
        r"expected a volume \(z, y, x\), got shape \(6, 4\)",
    ),
    "a run over more slices than any volume has": (
        shaped([2**40, 1, 1]).replace("1 1", "1 1099511627776"),
        r"expected runs over 16384 slices at most, got shape \(1099511627776, 1, 1\) and 10995",
    ),
    "runs that together go over as many": (
        shaped([2**40, 1, 1]).replace("1 1", " ".join(f"{1 + i * 999} 999" for i in range(999))),
        "expected runs over 16384 slices at most, got shape .* and 998000",
    ),
    "a shape beyond 64 bits": (shaped([2**32, 2**32, 4]), r"\.info: shape .*: expected a list"),
    "lists in lists": (
        '{".info": ' + "[" * 60_000,
        "at byte 10: expected a JSON object in UTF-8, of at most",
    ),
    "lists in lists for a text": ('{"1": ' + "[" * 10**6, "at byte 6: expected a string"),
    "bytes that are no UTF-8": (b'{"1": "1 \xff"}', r"the key '\.info'"),
    "bytes that are no UTF-8 in a text": (
        labels_text((1, "1 ?")).encode().replace(b"?", b"\xff"),
        "id 1: expected digits and blanks, got '\xff' at character 3",
    ),
    "bytes that are no UTF-8 in a key": (
        labels_text(("?", "1 1")).encode().replace(b'"?"', b'"\xff"'),
        "expected a key, a JSON string of at most 64 bytes, got",
    ),
    "half a character": (labels_text((r"\ud800", "1 1")), r"key '\\ud800': expected a label"),
    "half a character in a text": (
        labels_text((1, r"1 \ud800")),
        "id 1: expected digits and blanks",
    ),
    "UTF-16": (
        labels_text((1, "1 1")).encode("utf-16"),
        r"at byte 0: expected '\{', got b'\\xff\\xfe",
    ),
    "two documents": (labels_text() * 2, "at byte 49: expected the end of the file, got b'{"),
    "more behind it": (labels_text() + "x", "at byte 49: expected the end of the file, got b'x'"),
    "no object": ("[]", r"at byte 0: expected '\{', got b'\[\]'"),
    "nothing": ("", r"at byte 0: expected '\{', got the end of the file"),
    "a text of gigabytes": (endless("{" + INFO + ', "1": "', "1 24 " * 999, '"}'), None),
    "a text of gigabytes that ends at last": (
        endless("{" + INFO + ', "1": "', "1 1 3 1 5 1 9 1 ", 'x"}'),
        "id 1, from character .*: expected digits and blanks, got 'x'",
    ),
    "a key of gigabytes": (
        endless('{"', "1" * 4096, '": ""}'),
        "expected a key, a JSON string of at",
    ),
    "blanks of gigabytes": (
        endless("{", " \n\t\r" * 999, ""),
        "expected a key, got the end of the",
    ),
    "an info of gigabytes": (
        endless('{".info": {"x": "', "x" * 4096, '"}}'),
        "at most 65536 bytes",
    ),
    "as many labels as fit": (
        "{" + INFO + "".join(f', "{i}": ""' for i in range(1, MAX_LABELS + 2)) + "}",
        "more than 262144 labels; the file is damaged, or no label file",
    ),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    folder, cases = tmp_path_factory.mktemp("labels"), {}
    for i, (name, (content, _)) in enumerate(HOSTILE.items()):
        path = folder / f"{i}.json"
        if isinstance(content, tuple):
            head, piece, tail = content
            block = piece * (2**22 // len(piece))
            with path.open("wb") as file:
                file.write(head)
                for _ in range(ENDLESS // len(block)):
                    file.write(block)
                file.write(tail)
        else:
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        cases[name] = ("read_labels", path)
    return limits.outcomes(cases)


@pytest.mark.parametrize("case", HOSTILE)
def test_a_hostile_file_is_one_error_that_names_file_and_place(case, found):
    outcome, (_, message) = found[case], HOSTILE[case]
    if message is None:
        assert outcome == {"value": [SHAPE, [1], 1]}
        return
    assert outcome.get("error") == "LabelFormatError", outcome
    assert re.search(rf"^50-labels\.json: .*{message}", outcome["message"]), outcome["message"]
    assert len(outcome["message"]) < 350


# Rows

LABELS = {"shape": [2, 3], "id": [4, 7], "rle": ["1 2", "5 2"]}
STRUCT = pa.struct({
    "shape": pa.list_(pa.int32()), "id": pa.list_(pa.int32()), "rle": pa.list_(pa.string()),
})  # fmt: skip


def rows(kind=STRUCT, **changes):
    return pa.table({"cells": pa.array([{**LABELS, **changes}], kind)})


def typed(**changes):
    fields = {field.name: field.type for field in STRUCT}
    return pa.struct({**fields, **changes})


def pictures(*contents, path=None):
    kind = pa.list_(pa.struct({"bytes": pa.binary(), "path": pa.string()}))
    pages = [{"bytes": content, "path": path} for content in contents]
    return pa.table({"image": pa.array([pages], kind)})


GOOD = [[[4, 7], [2, 2], []]]
WELL_TYPED = {
    "int64 ids": rows(typed(id=pa.list_(pa.int64()))),
    "unsigned ids": rows(typed(id=pa.list_(pa.uint64()))),
    "large lists": rows(typed(id=pa.large_list(pa.int32()), rle=pa.large_list(pa.string()))),
    "large strings": rows(typed(rle=pa.list_(pa.large_string()))),
    "strings of a dictionary": rows(typed(rle=pa.list_(pa.dictionary(pa.int8(), pa.string())))),
    "views of strings": rows(typed(rle=pa.list_(pa.string_view()))),
}
LIES = {
    "fewer texts than ids": (rows(rle=["1 2"]), "2 ids, but 1 RLE texts"),
    "more texts than ids": (rows(rle=["1 2"] * 3), "2 ids, but 3 RLE texts"),
    "a negative extent": (rows(shape=[-2, 3]), r"shape \[-2, 3\]: expected a list of extents"),
    "a huge extent": (
        rows(typed(shape=pa.list_(pa.int64())), shape=[2**62, 3]),
        "shape .*: expected a list of ext",
    ),
    "no extent": (rows(shape=[]), r"shape \[\]: expected a list of extents"),
    "an extent of null": (rows(shape=[None, 3]), r"shape \[None, 3\]: expected a list of extents"),
    "a shape too small for the runs": (rows(shape=[1, 3]), "id 7: run 1 is 5 2; .* the 3 voxels"),
    "a text that is no RLE": (rows(rle=["1 2", "x"]), "id 7: expected digits and blanks, got 'x'"),
    "a text of an odd count": (
        rows(rle=["1 2 3", ""]),
        "id 4: expected pairs of start and length",
    ),
    "a text of null": (rows(rle=["1 2", None]), "1 of 2 RLE texts are null"),
    "an id of null": (rows(id=[1, None]), "1 of 2 values are null"),
    "the id 0": (rows(id=[0, 1]), "id 0: expected ids from 1 to 2147483647"),
    "a negative id": (rows(id=[-5, 1]), "id -5: expected ids from 1 to 2147483647"),
    "an id twice": (rows(id=[3, 3]), "id 3 comes twice: which one is meant is not known"),
    "a huge id": (
        rows(typed(id=pa.list_(pa.int64())), id=[1, 2**40]),
        "id 1099511627776: expected",
    ),
    "ids that are floats": (rows(typed(id=pa.list_(pa.float64()))), "a list of integer ids, got"),
    "ids that are texts": (
        rows(typed(id=pa.list_(pa.string())), id=["4", "7"]),
        "integer ids, got",
    ),
    "ids that are truth": (rows(typed(id=pa.list_(pa.bool_())), id=[True, False]), "integer ids"),
    "texts that are numbers": (
        rows(typed(rle=pa.list_(pa.int32())), rle=[1, 2]),
        "expected RLE texts, got values of the type",
    ),
    "texts that are bytes": (
        rows(typed(rle=pa.list_(pa.binary()))),
        "expected RLE texts, got values",
    ),
    "no shape": (
        rows(shape=None),
        "expected a struct with shape, id and rle, got one that is null",
    ),
    "no ids": (rows(id=None), "expected a struct with shape, id and rle, got one that is null"),
    "bytes that are no picture": (
        pictures(b"<html>"),
        "expected an encoded picture, got b'<html>'",
    ),
    "no bytes": (pictures(b""), "expected an encoded picture, got b''"),
    "a program in place of a picture": (
        pictures(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"),
        "expected an encoded picture",
    ),
    "a path to nothing": (
        pictures(None, path="/nowhere/a.tif"),
        "expected a picture, got '/nowhere/a",
    ),
    "a path to no picture": (pictures(None, path=__file__), "expected a picture, got '/"),
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


LIES["pages of different sizes"] = (
    pictures(page((2, 3)), page((3, 2))),
    r"page 1: expected shape \(2, 3\) and dtype uint16 as in page 0, got \(3, 2\)",
)
LIES["a picture of too many pixels"] = (
    pictures(bomb()),
    "page 0: expected an encoded picture, got .*: 12000 x 12000 pixels, at most 67108864 are read",
)


def damaged(table, find, replacement):
    """An Arrow file whose offsets say otherwise, which nobody checks when it is opened."""
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
    "texts far outside": damaged(MANY, [0, 3, 6, 9], [0, 3, 6, 2**31 - 1]),
    "texts in between far outside": damaged(MANY, [0, 3, 6, 9], [0, 2**31 - 1, 6, 9]),
    "texts before the begin": damaged(MANY, [0, 3, 6, 9], [0, -(2**31), 6, 9]),
    "lists in no order": damaged(SHAPES, [0, 3, 4, 6], [0, 3, 1, 6]),
    "names far outside": damaged(NAMES, [0, 5, 15], [0, 2**31 - 1, 15]),
    "lists of lists far outside": damaged(NESTED, [0, 2, 9], [0, 2**30, 9]),
    "pictures far outside": damaged(
        pictures(PAGE, b"x"), [0, len(PAGE), len(PAGE) + 1], [0, 2**31 - 1, len(PAGE) + 1]
    ),
}


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    folder, cases = tmp_path_factory.mktemp("rows"), {}
    tables = {**WELL_TYPED, **{name: table for name, (table, _) in LIES.items()}}
    files = {**{name: file_of(table) for name, table in tables.items()}, **DAMAGED}
    for i, (name, content) in enumerate(files.items()):
        (folder / f"{i}.arrow").write_bytes(content)
        cases[name] = ("read_rows", folder / f"{i}.arrow")
    return limits.outcomes(cases)


@pytest.mark.parametrize("case", WELL_TYPED)
def test_other_types_that_mean_the_same_are_read(case, read):
    assert read[case] == {"value": GOOD}


@pytest.mark.parametrize("case", LIES)
def test_a_row_that_lies_is_one_error(case, read):
    outcome = read[case]
    assert outcome.get("ours"), outcome
    assert outcome["error"] in ("LabelFormatError", "ImageFormatError")
    assert re.search(LIES[case][1], outcome["message"]), outcome["message"]


@pytest.mark.parametrize("case", DAMAGED)
def test_offsets_that_lead_elsewhere_are_one_error_and_nothing_is_read_there(case, read):
    outcome = read[case]
    assert outcome.get("error") == "LabelFormatError", outcome
    assert re.search("^(column '.*'|labels): .*the file is damaged", outcome["message"])


# Python values that are no picture by their form stay as they are, as in plain datasets.
LEFT = ("a path to nothing", "a path to no picture", "no bytes")


@pytest.mark.parametrize("case", [case for case in LIES if case not in LEFT])
def test_so_is_one_of_python_values_as_streams_give_them(case):
    row = LIES[case][0].to_pylist()[0]
    with pytest.raises(platelet_em.PlateletEMError):  # noqa: PT012
        value = next(iter(PlateletEMFormatter().recursive_tensorize(row).values()))
        np.asarray(value)


PARQUET = ["fewer texts than ids", "a text that is no RLE", "the id 0", "a huge extent"]


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("case", PARQUET)
def test_so_is_one_of_a_parquet_file_that_datasets_loaded(case, streaming, tmp_path):
    table, message = LIES[case]
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


# Arrays that are too large

TOO_LARGE = {
    "all of it": "x",
    "a slice": "x[0]",
    "every other voxel": "x[:, ::2]",
    "a mask": "x.mask(1)",
    "another dtype": "np.asarray(x, dtype=np.uint8)",
    "several at once": "type(x).stack([x])",
    "its slices": "x.slices()",
}
FITS = {
    "a window": ("x[7, 5:7, 9:12]", [0] * 6),
    "a window at the end": ("x[-1, -1, -3:]", [0, 0, 1]),
    "areas": ("x.areas", [2]),
    "boxes": ("x.bboxes", [0, 0, 0, 2**19, 2**19, 2**19]),
}


@pytest.fixture(scope="module")
def taken(tmp_path_factory):
    folder, cases = tmp_path_factory.mktemp("large"), {}
    fields = {"shape": [2**19] * 3, "id": [1], "rle": [f"1 1 {2**57} 1"]}
    takes = {**TOO_LARGE, **{name: take for name, (take, _) in FITS.items()}}
    for i, (name, take) in enumerate(takes.items()):
        (folder / f"{i}.json").write_text(json.dumps({"struct": fields, "take": take}))
        cases[name] = ("read_dense", folder / f"{i}.json")
    return limits.outcomes(cases)


@pytest.mark.parametrize("case", TOO_LARGE)
def test_an_array_that_no_machine_holds_is_one_error(case, taken):
    outcome = taken[case]
    assert outcome.get("error") == "TooLargeError", outcome
    assert re.search(
        r"^shape \(.*524288.*\): making it as an array takes .* GiB, and this machine has not as "
        r"much: read it window by window, x\[\.\.\.\]$",
        outcome["message"],
    )


@pytest.mark.parametrize("case", FITS)
def test_what_takes_little_of_it_is_given(case, taken):
    assert taken[case] == {"value": FITS[case][1]}
