"""The publisher's JSON form: where its texts lie, against Python's own JSON reader."""

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import publisher

from _platelet_em.errors import LabelFormatError
from _platelet_em.limits import MAX_ID
from _platelet_em.publisher.label_json import parse_id, parse_shape, scan, write

NAME = "50-instance-cell.json"
EXAMPLE = json.dumps(publisher.EXAMPLE)


def scan_text(text):
    return scan(io.BytesIO(text if isinstance(text, bytes) else text.encode()), NAME)


def texts(data):
    data = data if isinstance(data, bytes) else data.encode()
    found = scan_text(data)
    spans = [data[a:b].decode() for a, b in found.spans.tolist()]
    return found.shape, dict(zip(found.ids, spans, strict=True))


def expected(labels):
    return tuple(labels[".info"]["shape"]), {
        int(key): text for key, text in labels.items() if key != ".info"
    }


# Where the texts lie


def test_the_published_example():
    assert texts(EXAMPLE) == expected(publisher.EXAMPLE)


@pytest.mark.parametrize(
    "options",
    [
        {"indent": 2},
        {"indent": "\t"},
        {"separators": (",", ":")},
        {"separators": (" \r\n,  ", " : ")},
        {"sort_keys": True},
        {"indent": 100},
    ],
)
def test_any_layout_of_the_file_is_read(options):
    assert texts(json.dumps(publisher.EXAMPLE, **options)) == expected(publisher.EXAMPLE)


def test_blanks_and_a_mark_of_byte_order_around_it_are_skipped():
    data = b"\xef\xbb\xbf\n " + EXAMPLE.encode() + b" \r\n\t" + b" " * 500
    assert texts(data) == expected(publisher.EXAMPLE)


def test_keys_keep_the_order_of_the_file():
    labels = {"9": "1 1", "2": "2 1", ".info": {"shape": [4]}, "5": ""}
    assert scan_text(json.dumps(labels)).ids == (9, 2, 5)


def test_keys_may_be_escaped():
    assert texts(r'{"\u002einfo": {"shape": [4]}, "\u0031\u0032": "1 1"}') == ((4,), {12: "1 1"})


@pytest.mark.parametrize("labels", [{}, {"7": ""}])
def test_files_without_runs_are_read(labels):
    found = scan_text(json.dumps({".info": {"shape": [2, 3, 4]}, **labels}))
    assert found.shape == (2, 3, 4)
    assert found.spans.shape == (len(labels), 2)
    assert found.spans.dtype == np.int64


@pytest.mark.parametrize(
    "dtype", ["uint16", "int64", "np.int", "<class 'numpy.int64'>", "__import__('os')", None, 7]
)
def test_the_dtype_says_nothing_that_is_needed(dtype):
    labels = {**publisher.EXAMPLE, ".info": {"dtype": dtype, "shape": [10, 10], "more": "é {"}}
    for ascii_only in (True, False):
        assert texts(json.dumps(labels, ensure_ascii=ascii_only)) == expected(labels)


@pytest.mark.parametrize("length", [1, 63, 64, 65, 2**16 - 1, 2**16, 2**16 + 1, 3 * 2**16 + 5])
def test_texts_of_any_length_end_where_they_end(length):
    labels = {".info": {"shape": [4]}, "1": "1" * length, "2": "2 1"}
    assert texts(json.dumps(labels)) == expected(labels)


@given(
    st.dictionaries(st.integers(1, MAX_ID), st.text("0123456789 ", max_size=30), max_size=6),
    st.integers(0, 6),
    st.sampled_from([None, 1, "\n"]),
)
def test_texts_are_those_that_json_reads(labels, place, indent):
    pairs = [(str(key), text) for key, text in labels.items()]
    pairs.insert(place, (".info", {"shape": [3, 4, 5], "dtype": "int64"}))
    written = dict(pairs)
    found = texts(json.dumps(written, indent=indent))
    assert found == expected(written)
    assert list(found[1]) == list(labels)


# What is no label file


@pytest.mark.parametrize(
    ("text", "place", "wanted", "got"),
    [
        ("", 0, "'{'", "the end of the file"),
        ("<html>", 0, "'{'", "b'<html>'"),
        ("[1]", 0, "'{'", r"b'\[1\]'"),
        ("{", 1, "a key", "the end of the file"),
        ("{1: 2}", 1, "a key", "b'1: 2}'"),
        ('{"1" "2 1"}', 5, "':'", "b'\"2 1\"}'"),
        ('{"1": [2, 1]}', 6, "a string, the RLE text of '1'", r"b'\[2, 1\]}'"),
        ('{"1": null}', 6, "a string, the RLE text of '1'", "b'null}'"),
        ('{"1": "2 1" "2": ""}', 12, "',' or '}'", 'b\'"2": ""}\''),
        ('{"1": "2 1",}', 12, "a key", "b'}'"),
        ('{"1": "2 1"', 11, "',' or '}'", "the end of the file"),
        ('{"1": "2 1', 10, "a '\"' that ends a string, the RLE text of '1'", "the end of the"),
        ('{"1', 3, "a '\"' that ends a key", "the end of the file"),
        (EXAMPLE + "{}", len(EXAMPLE), "the end of the file", "b'{}'"),
        (
            '{".info": {"shape": [4}}',
            10,
            "a JSON object in UTF-8, of at most 65536 bytes",
            "b'{\"shape",
        ),
        ('{"' + "1" * 65 + '": ""}', 1, "a key, a JSON string of at most 64 bytes", "b'\"1111"),
        (r'{"\x31": "1 1"}', 1, "a key, a JSON string of at most 64 bytes", r"b'\"\\\\x31"),
        (b'{"\xff\xfe": ""}', 1, "a key, a JSON string of at most 64 bytes", r"b'\"\\xff"),
    ],
)
def test_a_damaged_file_is_refused_and_the_place_is_named(text, place, wanted, got):
    expectation = rf"^{NAME}: at byte {place}: expected {wanted}, got {got}.*; the file is damaged"
    with pytest.raises(LabelFormatError, match=expectation):
        scan_text(text)


def test_what_was_found_is_cut_short():
    with pytest.raises(LabelFormatError, match=r"got b'x{40}'; the file") as caught:
        scan_text("x" * 100_000)
    assert len(str(caught.value)) < 200


def test_a_file_that_ends_anywhere_is_refused():
    data = json.dumps(publisher.EXAMPLE, indent=1)
    for end in range(len(data)):
        with pytest.raises(
            LabelFormatError, match=rf"^{NAME}: at byte \d+: expected .*, got .*; the file is dam"
        ):
            scan_text(data[:end])


def test_a_key_that_comes_twice_is_refused():
    with pytest.raises(LabelFormatError, match=rf"^{NAME}: key '2' comes twice: which one"):
        scan_text('{".info": {"shape": [4]}, "2": "1 1", "1": "", "2": ""}')


def test_two_infos_are_refused():
    with pytest.raises(LabelFormatError, match=r"key '\.info' comes twice"):
        scan_text('{".info": {"shape": [4]}, ".info": {"shape": [5]}}')


@pytest.mark.parametrize("text", ["{}", " { } ", '{"1": "1 1"}'])
def test_a_file_without_a_shape_is_refused(text):
    with pytest.raises(
        LabelFormatError, match=rf"^{NAME}: the key '\.info' with the shape .* mis"
    ):
        scan_text(text)


@pytest.mark.parametrize(
    ("info", "found"),
    [
        ({}, "None"),
        ({"shape": "50"}, "'50'"),
        ({"shape": [1.5, 2]}, r"\[1\.5, 2\]"),
        ({"shape": []}, r"\[\]"),
        ("10 10", "'10 10'"),
        (10, "10"),
    ],
)
def test_a_strange_shape_is_refused(info, found):
    with pytest.raises(LabelFormatError, match=rf"^{NAME}: \.info: shape {found}: expected a lis"):
        scan_text(json.dumps({".info": info, "1": "1 1"}))


def test_an_endless_info_is_refused():
    info = {"shape": [4], "dtype": "x" * 2**16}
    with pytest.raises(LabelFormatError, match="at byte 10: expected a JSON object in UTF-8"):
        scan_text(json.dumps({".info": info}))


def test_a_deeply_nested_info_is_refused():
    with pytest.raises(LabelFormatError, match="at byte 10: expected a JSON object"):
        scan_text('{".info": ' + "[" * 60_000)


# Ids and shapes


@pytest.mark.parametrize("key", ["1", "34", str(MAX_ID), 5, np.int64(7), np.uint8(255)])
def test_labels_are_plain_numbers(key):
    assert parse_id(key, NAME) == int(key)
    assert type(parse_id(key, NAME)) is int


@pytest.mark.parametrize(
    "key",
    [
        *("0", "-1", "+1", "01", "1.0", "1e3", " 1", "1 ", "", "x", "\u0661", "\u00b2"),
        *(str(MAX_ID + 1), "9" * 60, 0, -1, MAX_ID + 1, 1.0, True, np.True_, None, b"1"),
    ],
)
def test_other_keys_are_refused(key):
    with pytest.raises(
        LabelFormatError, match=rf"^{NAME}: key .+: expected a label from 1 to {MAX_ID}$"
    ):
        parse_id(key, NAME)


def test_a_key_that_is_no_label_is_refused_in_a_file():
    with pytest.raises(LabelFormatError, match=rf"^{NAME}: key 'seven': expected a label"):
        scan_text('{".info": {"shape": [4]}, "seven": "1 1"}')


@pytest.mark.parametrize("shape", [[50, 800, 800], (1,), [0, 5], np.array([2, 3]), [2**61 - 1]])
def test_shapes_are_tuples_of_plain_numbers(shape):
    found = parse_shape(shape, NAME)
    assert found == tuple(int(n) for n in shape)
    assert {type(n) for n in found} == {int}


@pytest.mark.parametrize(
    "shape",
    [
        *(None, 5, "12", b"12", {1: 2}, [], [-1, 3], [2.0], ["3"], [True], [None], [[1]]),
        *([1] * 9, [2**62], [2**31, 2**31], [0, 2**62], [2**62, 0]),
    ],
)
def test_other_shapes_are_refused(shape):
    with pytest.raises(
        LabelFormatError, match=rf"^{NAME}: shape .+: expected a list of extents, such as \[50"
    ):
        parse_shape(shape, NAME)


def test_an_endless_shape_is_refused_without_reading_it():
    with pytest.raises(LabelFormatError, match=r"shape <generator .*: expected a list"):
        parse_shape((1 for _ in iter(int, 1)), NAME)


# Writing


def test_the_written_form_is_json_that_the_publisher_reads():
    out = io.BytesIO()
    ids = np.array([7, 2], np.int32)
    write(out, np.array([2, 3]), ids, iter(["1 2", ""]))
    labels = json.loads(out.getvalue())
    assert labels == {".info": {"shape": [2, 3], "dtype": "int64"}, "7": "1 2", "2": ""}
    assert list(labels) == [".info", "7", "2"]
    np.testing.assert_array_equal(publisher.decode(labels), [[7, 7, 0], [0, 0, 0]])
    assert scan(out, NAME).ids == (7, 2)


def test_without_labels_there_is_the_shape_alone():
    out = io.BytesIO()
    write(out, (2, 3, 4), [], [])
    assert json.loads(out.getvalue()) == {".info": {"shape": [2, 3, 4], "dtype": "int64"}}


def test_ids_and_texts_go_in_pairs():
    with pytest.raises(ValueError, match="zip"):
        write(io.BytesIO(), (4,), [1, 2], ["1 1"])
