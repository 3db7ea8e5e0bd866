"""The publisher's JSON form, against Python's own JSON reader and the publisher's decoder."""

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import publisher
from support.label_files import JSON, dense, read, read_json

from _platelet_em.errors import LabelFormatError
from _platelet_em.limits import MAX_ID
from _platelet_em.publisher import label_file, label_json
from _platelet_em.publisher.label_json import write

EXAMPLE = {**publisher.EXAMPLE, ".info": {"shape": [2, 5, 10], "dtype": "uint16"}}
INFO = {"shape": [2, 3, 4]}


def parse(content):
    """Shape, and the RLE string of each label, of a file whose strings are canonical."""
    labels = read(content if isinstance(content, bytes) else content.encode(), name=JSON).labels
    return labels.shape, dict(zip(labels.ids.tolist(), labels.rle, strict=True))


def expected(labels):
    return tuple(labels[".info"]["shape"]), {
        int(key): string for key, string in labels.items() if key != ".info"
    }


# Layout of the file


def test_the_published_example_is_read():
    assert parse(json.dumps(EXAMPLE)) == expected(EXAMPLE)
    found, ids = read_json(EXAMPLE, semantic=True, shape=(2, 5, 10))
    np.testing.assert_array_equal(found, publisher.decode(EXAMPLE))
    assert ids == [1, 2]


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
    assert parse(json.dumps(EXAMPLE, **options)) == expected(EXAMPLE)


def test_blanks_around_the_object_and_a_byte_order_mark_are_skipped():
    data = b"\xef\xbb\xbf\n " + json.dumps(EXAMPLE).encode() + b" \r\n\t" + b" " * 500
    assert parse(data) == expected(EXAMPLE)


def test_ids_keep_the_order_of_the_file():
    labels = {"9": "1 1", "2": "2 1", ".info": INFO, "5": ""}
    assert read_json(labels)[1] == [9, 2, 5]


def test_keys_and_strings_may_be_escaped():
    content = r'{"\u002einfo": {"shape": [1, 1, 4]}, "\u0031\u0032": "\u0031 1\n4\t1"}'
    assert parse(content) == ((1, 1, 4), {12: "1 1 4 1"})


@pytest.mark.parametrize("labels", [{}, {"7": ""}, {"7": "", "4": " "}])
def test_files_without_runs_are_read(labels):
    found, ids = read_json({".info": INFO, **labels})
    assert found.shape == (2, 3, 4)
    assert not found.any()
    assert ids == [int(key) for key in labels]


@pytest.mark.parametrize(
    ("dtype", "form"),
    [
        ("uint16", "'uint16'"),
        ("np.int", "'np.int'"),
        ("<class 'numpy.int64'>", "\"<class 'numpy.int64'>\""),
        ("__import__('os')", "\"__import__('os')\""),
        ("x" * 100, repr("x" * 80)),
        (None, "not given"),
        (7, "not given"),
    ],
)
def test_nothing_depends_on_the_dtype(dtype, form):
    labels = {**EXAMPLE, ".info": {"dtype": dtype, "shape": [2, 5, 10], "more": "é {"}}
    for ascii_only in (True, False):
        content = json.dumps(labels, ensure_ascii=ascii_only).encode()
        assert parse(content) == expected(labels)
        assert read(content, name=JSON).form == f"JSON, dtype {form}"


@given(
    st.dictionaries(st.integers(1, MAX_ID), st.sampled_from(["", "2 1", "1 3 9 4"]), max_size=1),
    st.integers(0, 1),
    st.sampled_from([None, 1, "\n"]),
)
def test_strings_are_those_that_json_reads(labels, position, indent):
    pairs = [(str(key), string) for key, string in labels.items()]
    pairs.insert(position, (".info", {"shape": [3, 4, 5], "dtype": "int64"}))
    written = dict(pairs)
    assert parse(json.dumps(written, indent=indent)) == expected(written)


# Labels


def test_true_ids_are_kept_in_the_order_of_the_file():
    rng = np.random.default_rng(0)
    array = rng.choice(np.arange(1, 400), 31, replace=False)[rng.integers(0, 31, (4, 7, 9))]
    labels = publisher.encode(array)
    keys = [".info", *sorted(list(labels)[1:], key=hash)]
    found, ids = read_json({key: labels[key] for key in keys}, shape=(4, 7, 9))
    np.testing.assert_array_equal(found, array)
    assert [str(i) for i in ids] == keys[1:]


OVERLAPPING = [
    {"9": "1 12", "2": "5 6", "5": "8 1 16 1"},
    {"5": "8 1 16 1", "2": "5 6", "9": "1 12"},
    {"5": "3 4 5 4"},
]


@pytest.mark.parametrize("labels", OVERLAPPING)
def test_later_keys_win_where_masks_overlap(labels):
    labels = {".info": {"shape": [2, 2, 4]}, **labels}
    np.testing.assert_array_equal(read_json(labels)[0], publisher.decode(labels))


@pytest.mark.parametrize("labels", OVERLAPPING)
def test_overlapping_runs_are_kept_as_the_file_has_them(labels):
    data = json.dumps({".info": {"shape": [2, 2, 4]}, **labels}).encode()
    stored = read(data, name=JSON).overlapping
    numbers = [[int(word) for word in string.split()] for string in labels.values()]
    assert stored.starts.tolist() == [n - 1 for own in numbers for n in own[0::2]]
    assert stored.lengths.tolist() == [n for own in numbers for n in own[1::2]]
    assert stored.owners.tolist() == [i for i, own in enumerate(numbers) for _ in own[0::2]]


def test_unsorted_and_adjacent_runs_do_not_overlap():
    labels = {".info": INFO, "4": "9 2 1 3 4 2", "2": "6 3"}
    found = read(json.dumps(labels).encode(), name=JSON)
    assert found.overlapping is None
    assert found.labels.rle == ["1 5 9 2", "6 3"]


def test_labels_without_voxels_are_kept():
    labels = {".info": {"shape": [1, 2, 3]}, "4": "", "7": "2 1", "8": " ", "9": "1 6"}
    found, ids = read_json(labels)
    assert ids == [4, 7, 8, 9]
    assert (found == 9).all()


def test_a_run_over_several_slices_is_one_run():
    labels = {".info": {"shape": [4, 2, 3]}, "4": "5 16"}
    np.testing.assert_array_equal(read_json(labels)[0], publisher.decode(labels))
    assert parse(json.dumps(labels)) == expected(labels)


@pytest.mark.parametrize("shape", [[0, 2, 3], [2, 0, 3], [2, 3, 0]])
def test_a_volume_without_voxels_is_read(shape):
    found, ids = read_json({".info": {"shape": shape}, "3": ""})
    assert found.shape == tuple(shape)
    assert ids == [3]


def test_strings_of_megabytes_are_read():
    # Every other voxel, so that the parser of RLE strings divides them into groups.
    array = np.zeros((3, 300, 300), np.int64)
    array.reshape(-1)[0::2], array.reshape(-1)[1::4] = 11, 5
    labels = publisher.encode(array)
    assert len(labels["11"]) > 1 << 20
    found, _ = read_json({**labels, "8": "100000 20"})
    array.reshape(-1)[99_999:100_019] = 8
    np.testing.assert_array_equal(found, array)


@st.composite
def label_dicts(draw):
    shape = draw(st.tuples(*[st.integers(1, 5)] * 3))
    size = int(np.prod(shape))
    labels = {".info": {"shape": list(shape), "dtype": "int64"}}
    for label in draw(st.lists(st.integers(1, MAX_ID), max_size=6, unique=True)):
        runs = draw(st.lists(st.tuples(st.integers(1, size), st.integers(1, size)), max_size=6))
        numbers = [str(n) for a, b in runs for n in (a, min(b, size - a + 1))]
        labels[str(label)] = draw(st.sampled_from([" ", "  ", "\n"])).join(numbers)
    return labels


@given(label_dicts())
def test_any_labels_are_decoded_as_the_publisher_does(labels):
    found, ids = read_json(labels)
    np.testing.assert_array_equal(found, publisher.decode(labels))
    assert [str(i) for i in ids] == [key for key in labels if key != ".info"]


def test_no_changed_byte_is_read_differently_than_the_publisher_reads_it():
    labels = {".info": {"shape": [2, 2, 3]}, "9": "1 2 6 1", "10": "2 1 12 1", "3": ""}
    data = json.dumps(labels).encode()
    good = bad = 0
    for position in range(len(data)):
        for byte in b'01 9",:{}[]\\-\x80\n':
            changed = data[:position] + bytes([byte]) + data[position + 1 :]
            try:
                found = dense(read(changed, name=JSON).labels)
            except LabelFormatError:
                bad += 1
                continue
            wanted = publisher.decode(json.loads(changed.decode()))
            np.testing.assert_array_equal(found, wanted)
            good += 1
    assert good > 50
    assert bad > 500


# Files that are not JSON


def refused(content, message):
    """Check the message about a file that is refused."""
    with pytest.raises(LabelFormatError, match=rf"^{JSON}: {message}") as caught:
        parse(content)
    return str(caught.value)


TEXT = json.dumps(EXAMPLE)


@pytest.mark.parametrize(
    ("content", "position", "got"),
    [
        ("", 0, r"the end of the file \(Expecting value\)"),
        ("<html>", 0, r"'<html>' \(Expecting value\)"),
        ("{", 1, r"the end of the file \(Expecting property name.*\)"),
        ("{1: 2}", 1, r"'1: 2}' \(Expecting property name.*\)"),
        ('{"1" "2 1"}', 5, r"""'"2 1"}' \(Expecting ':' delimiter\)"""),
        ('{"1": "2 1" "2": ""}', 12, r"""'"2": ""}' \(Expecting ',' delimiter\)"""),
        ('{"1": "2 1"', 11, r"the end of the file \(Expecting ',' delimiter\)"),
        ('{"1": "2 1', 6, r"""'"2 1' \(Unterminated string starting at\)"""),
        ('{"1', 1, r"""'"1' \(Unterminated string starting at\)"""),
        (TEXT + "{}", len(TEXT), r"'{}' \(Extra data\)"),
        ('{".info": {"shape": [4}}', 22, r"'}}' \(Expecting ',' delimiter\)"),
        (r'{"\x31": "1 1"}', 2, r"'.{2}x31.*' \(Invalid .escape.*\)"),
        ('{"1": "1 1\n2 1"}', 10, r"""'\\n2 1"}' \(Invalid control character at\)"""),
        ('{"1": "1 1\x0b2 1"}', 10, r"""'\\x0b2 1"}' \(Invalid control character at\)"""),
    ],
)
def test_a_damaged_file_is_refused_and_the_position_is_named(content, position, got):
    refused(content, rf"at character {position}: expected JSON, got {got}: the file is damaged")


def test_a_comma_before_the_end_is_refused():
    # Python names the comma or the brace, depending on its version.
    refused('{"1": "2 1",}', r"at character 1[12]: expected JSON, got ',?}' \(.*\): the file is")


@pytest.mark.parametrize(
    ("content", "position", "got"),
    [
        (b'{"\xff\xfe": ""}', 2, r'b\'\\xff\\xfe": ""}\''),
        (b'{"1": "1 \xff"}', 9, r"b'\\xff\"}'"),
        (TEXT.encode("utf-16"), 0, r"b'\\xff\\xfe{"),
    ],
)
def test_bytes_that_are_not_utf_8_are_refused_and_the_position_is_named(content, position, got):
    refused(content, rf"at byte {position}: expected UTF-8, got {got}.*: the file is damaged")


def test_the_quoted_content_is_cut_short():
    assert len(refused("x" * 100_000, r"at character 0: expected JSON, got 'x{40}' \(")) < 200


def test_a_file_that_ends_anywhere_is_refused():
    content = json.dumps(EXAMPLE, indent=1)
    for end in range(len(content)):
        refused(content[:end], r"at character \d+: expected JSON, got .*: the file is damaged")


# JSON that is no label file


@pytest.mark.parametrize(
    ("content", "found"), [("[1]", r"\[1\]"), ("null", "None"), ('"7 2"', "'7 2'"), ("7", "7")]
)
def test_anything_but_an_object_is_refused(content, found):
    refused(content, f"expected a JSON object of labels, got {found}: the file is damaged, or not")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("[2, 1]", r"\[2, 1\]"),
        ("null", "None"),
        ("7", "7"),
        ("NaN", "nan"),
        ("9" * 5000, "inf"),
        ('{"shape": [4]}', "{'shape': .4.}"),
    ],
)
def test_a_label_that_is_no_string_is_refused(value, found):
    content = f'{{".info": {{"shape": [1, 1, 4]}}, "1": {value}}}'
    refused(content, f"key '1': expected a string, the RLE of the label, got {found}: the file is")


@pytest.mark.parametrize(
    ("content", "key"),
    [
        ('{".info": {"shape": [4]}, "2": "1 1", "1": "", "2": ""}', "2"),
        (r'{".info": {"shape": [4]}, "2": "1 1", "\u0032": ""}', "2"),
        ('{".info": {"shape": [4]}, ".info": {"shape": [5]}}', r"\.info"),
        ('{".info": {"shape": [4], "shape": [5]}}', "shape"),
    ],
)
def test_a_key_that_appears_twice_is_refused(content, key):
    refused(content, f"key '{key}' appears more than once, and which one is meant is not known: ")


@pytest.mark.parametrize("content", ["{}", " { } ", '{"1": "1 1"}'])
def test_a_file_without_info_is_refused(content):
    refused(content, r"the key '\.info' with the shape of the volume is missing: the file is dama")


@pytest.mark.parametrize(
    ("shape", "found"),
    [
        ("null", "None"),
        ('"50"', "'50'"),
        ("[1.5, 2]", r"\[1\.5, 2\]"),
        ("[]", r"\[\]"),
        ("[true, 3, 4]", r"\[True, 3, 4\]"),
        ("[NaN, 3]", r"\[nan, 3\]"),
        (f"[1{'0' * 4000}]", r"\[inf\]"),
    ],
)
def test_a_shape_that_is_no_list_of_extents_is_refused(shape, found):
    content = f'{{".info": {{"shape": {shape}}}, "1": "1 1"}}'
    refused(content, rf"\.info: shape: expected .* got {found}")


@pytest.mark.parametrize(
    ("info", "found"), [("10 10", "'10 10'"), (10, "10"), ([2, 3], r"\[2, 3\]")]
)
def test_info_that_is_no_object_is_refused(info, found):
    content = json.dumps({".info": info, "1": "1 1"})
    refused(content, rf"\.info: expected an object with the shape of the volume, got {found}")


@pytest.mark.parametrize("key", ["seven", "0", "01", "-1", "1.5", "", " 1", str(MAX_ID + 1)])
def test_a_key_that_is_no_label_is_refused(key):
    content = json.dumps({".info": INFO, key: "1 1"})
    refused(content, rf"key '{key}': expected a label from 1 to {MAX_ID}")


@pytest.mark.parametrize(
    ("string", "message"),
    [
        ("1 1 2", "expected pairs of start and length, got 3 numbers"),
        ("0 1", "run 1 is 0 1; expected a start from 1, .* within the 24 voxels"),
        ("3 1 24 2", "run 2 is 24 2; expected"),
        ("1 -1", "expected digits and blanks, got '-' at character 3"),
        ("1 1x2 1", "expected digits and blanks, got 'x' at character 4"),
        ("1 \u0661", "expected a string of decimal numbers, got '1 \u0661'"),
    ],
)
def test_a_damaged_rle_string_is_refused_and_its_id_is_named(string, message):
    refused(json.dumps({".info": INFO, "4": "2 1", "7": string, "9": "1 1"}), f"id 7: {message}")


# Limits


def test_a_file_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(label_json, "MAX_JSON", len(TEXT))
    assert parse(TEXT) == expected(EXAMPLE)
    size = len(TEXT) + 1
    refused(TEXT + " ", f"expected at most {len(TEXT)} bytes, got {size}: the file is damaged, or")


def test_too_many_labels_are_refused(monkeypatch):
    monkeypatch.setattr(label_json, "MAX_LABELS", 2)
    monkeypatch.setattr(label_json, "JSON_BYTES_PER_LABEL", 10**6)
    labels = {".info": INFO, "1": "", "2": ""}
    assert read_json(labels)[1] == [1, 2]
    refused(json.dumps({**labels, "3": ""}), "expected at most 2 labels, got more: the file is da")


def test_a_larger_file_may_have_more_labels(monkeypatch):
    monkeypatch.setattr(label_json, "MAX_LABELS", 0)
    blanks = 40 * " "
    labels = {".info": INFO, **{str(i): "" for i in range(1, 7)}}
    refused(json.dumps(labels), "expected at most 2 labels, got more: the file is damaged")
    assert read_json({**labels, "1": 3 * blanks})[1] == [1, 2, 3, 4, 5, 6]


def test_too_many_runs_are_refused(monkeypatch):
    monkeypatch.setattr(label_file, "MAX_RUNS", 2)
    labels = {".info": INFO, "1": "1 1 3 1"}
    assert read_json(labels)[1] == [1]
    refused(json.dumps({**labels, "2": "5 1"}), "expected at most 2 runs, got more: the file is d")


def test_info_may_have_other_entries():
    info = {**INFO, "comment": "[" * 200 + "x" * 2**17, "versions": list(range(900)), "more": {}}
    assert read_json({".info": info, "1": "1 1"})[1] == [1]


@pytest.mark.parametrize(("start", "end"), [("[", "]"), ('{"a": ', "}"), ('[{"a": ', "}]")])
def test_deep_nesting_is_refused(start, end):
    def nest(depth):
        more = start * depth + "7" + end * depth
        return f'{{".info": {{"shape": [1, 1, 4], "more": {more}}}}}'

    brackets = start.count("[") + start.count("{")
    assert parse(nest(253 // brackets)) == ((1, 1, 4), {})
    message = "expected a JSON object of strings, got more than 256 lists and objects: the file is"
    refused(nest(254), message)
    refused('{".info": ' + start * 100_000, message)


# Writing


def test_the_written_form_is_json_that_the_publisher_reads():
    out = io.BytesIO()
    ids = np.array([7, 2], np.int32)
    write(out, np.array([1, 2, 3]), ids, iter(["1 2", ""]))
    labels = json.loads(out.getvalue())
    assert labels == {".info": {"shape": [1, 2, 3], "dtype": "int64"}, "7": "1 2", "2": ""}
    assert list(labels) == [".info", "7", "2"]
    np.testing.assert_array_equal(publisher.decode(labels), [[[7, 7, 0], [0, 0, 0]]])
    assert parse(out.getvalue()) == expected(labels)


def test_without_labels_only_the_shape_is_written():
    out = io.BytesIO()
    write(out, (2, 3, 4), [], [])
    assert json.loads(out.getvalue()) == {".info": {"shape": [2, 3, 4], "dtype": "int64"}}


def test_ids_and_strings_go_in_pairs():
    with pytest.raises(ValueError, match="zip"):
        write(io.BytesIO(), (4,), [1, 2], ["1 1"])
