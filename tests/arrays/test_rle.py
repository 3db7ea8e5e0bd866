import itertools
import re
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import publisher
from support.runs import assert_canonical, label_arrays, make_runs, triples

from _platelet_em.arrays import rle
from _platelet_em.arrays.rle import format_runs, parse, text_buffer
from _platelet_em.arrays.runs import Runs, encode, paint, resolve
from _platelet_em.errors import LabelFormatError


def parse_strings(strings, size, *name):
    return parse(*text_buffer(strings, *name), size, *name)


@st.composite
def sloppy_strings(draw, size=40, most=5):
    """RLE strings inside `size` voxels, unsorted, adjacent, overlapping, oddly spaced."""
    blank = st.sampled_from([" ", "  ", "\t", "\n", "\r\n"])
    strings = []
    for _ in range(draw(st.integers(0, most))):
        string = draw(st.sampled_from(["", " "]))
        for _ in range(draw(st.integers(0, 5))):
            start = draw(st.integers(1, size))
            length = draw(st.integers(1, size + 1 - start))
            zeros = draw(st.sampled_from(["", "0", "000"]))
            string += f"{zeros}{start}{draw(blank)}{length}{draw(blank)}"
        strings.append(draw(st.sampled_from([string, string.rstrip()])))
    return strings


def canonical(strings):
    """The strings with one space between numbers, and none elsewhere."""
    return [" ".join(string.split()) for string in strings]


def published(strings, size):
    """What the publisher's decoder makes of the strings, with ids counted from 1."""
    named = {str(i + 1): string for i, string in enumerate(strings)}
    return publisher.decode({".info": {"shape": [size]}, **named})


def ids_for(strings):
    return np.arange(1, len(strings) + 1)


# --- the format -------------------------------------------------------------------------------


def test_the_published_example_is_read_and_written_bit_for_bit():
    strings = [publisher.EXAMPLE["1"], publisher.EXAMPLE["2"]]
    runs = resolve(parse_strings(strings, 100))
    dense = publisher.decode(publisher.EXAMPLE)
    assert paint(runs, np.array([1, 2]), 100).tolist() == dense.ravel().tolist()
    ids, encoded = encode(dense)
    assert ids.tolist() == [1, 2]
    assert format_runs(encoded, 2) == format_runs(runs, 2) == strings


@given(labels=label_arrays)
def test_voxels_survive_encode_format_parse_resolve_paint(labels):
    ids, runs = encode(labels)
    assert_canonical(runs)
    assert ids.dtype == np.int32
    strings = format_runs(runs, len(ids))
    expected = publisher.encode(labels)
    del expected[".info"]
    assert dict(zip(map(str, ids.tolist()), strings, strict=True)) == expected
    again = resolve(parse_strings(strings, labels.size))
    assert triples(again) == triples(runs)
    painted = paint(again, ids, labels.size)
    assert painted.dtype == np.int32
    np.testing.assert_array_equal(painted.reshape(labels.shape), labels)


@given(strings=sloppy_strings())
def test_unsorted_adjacent_and_overlapping_runs_mean_what_the_publisher_reads(strings):
    runs = resolve(parse_strings(strings, 40))
    assert_canonical(runs)
    dense = published(strings, 40)
    np.testing.assert_array_equal(paint(runs, ids_for(strings), 40), dense)
    canonical = publisher.encode(dense)
    assert format_runs(runs, len(strings)) == [canonical.get(str(i), "") for i in ids_for(strings)]


# --- parse ------------------------------------------------------------------------------------


@given(
    strings=st.lists(
        st.text("0123456789 ", max_size=12)
        | st.text("012 \t\n\v\f\r+-._e\x1cx,", max_size=8)
        | st.text(max_size=6),
        max_size=3,
    )
)
def test_an_arbitrary_string_is_refused_or_means_what_the_publisher_reads(strings):
    try:
        runs = resolve(parse_strings(strings, 30))
    except LabelFormatError:
        return
    np.testing.assert_array_equal(paint(runs, ids_for(strings), 30), published(strings, 30))


@given(
    pairs=st.lists(st.tuples(st.integers(1, 10**18 - 1), st.integers(1, 10**18 - 1)), max_size=6)
)
def test_numbers_of_up_to_eighteen_digits_are_read_exactly(pairs):
    string = " ".join(f"{start} {length}" for start, length in pairs)
    runs = parse_strings([string], 2 * 10**18)
    assert triples(runs) == [(start - 1, start - 1 + n, 0) for start, n in pairs]


@pytest.mark.parametrize("digits", range(1, 19))
def test_a_number_of_each_width_is_read_at_every_position(digits):
    number = int("123456789123456789"[:digits])
    runs = parse_strings([f"{number} {number}", f"{number} {number}"], 10**18)
    assert triples(runs) == [(number - 1, 2 * number - 1, owner) for owner in (0, 1)]


def test_the_end_of_a_string_ends_its_last_number():
    assert triples(parse_strings(["1 2", "", "3 4", "", ""], 9)) == [(0, 2, 0), (2, 6, 2)]


@given(strings=st.lists(st.one_of(sloppy_strings(), sloppy_strings().map(canonical)), max_size=4))
def test_strings_parsed_in_groups_give_the_same_runs(strings):
    together = list(itertools.chain(*strings))
    whole = parse_strings(together, 40)
    with mock.patch.object(rle, "_GROUP", 4):
        assert triples(parse_strings(together, 40)) == triples(whole)


def test_a_damaged_string_is_named_in_every_group():
    strings = ["1 2"] * 9
    for position in range(9):
        damaged = [*strings[:position], "1 2 3", *strings[position:]]
        message = re.escape(f"RLE string {position}: expected pairs of start and length, got 3")
        with (
            mock.patch.object(rle, "_GROUP", 4),
            pytest.raises(LabelFormatError, match=message),
        ):
            parse_strings(damaged, 9)


def test_runs_keep_the_order_of_the_strings():
    assert triples(parse_strings(["9 1 2 3", "2 3"], 9)) == [(8, 9, 0), (1, 4, 0), (1, 4, 1)]


@pytest.mark.parametrize("blank", [" ", "\t", "\n", "\v", "\f", "\r", " \t\r\n "])
def test_every_ascii_blank_separates(blank):
    assert triples(parse_strings([f"{blank}1{blank}2{blank}"], 9)) == [(0, 2, 0)]


@pytest.mark.parametrize("offsets", [np.int32, np.int64])
def test_strings_may_be_in_the_middle_of_a_buffer(offsets):
    text = np.frombuffer(b"xx1 25 1--", np.uint8)
    runs = parse(text, np.array([2, 5, 5, 8], offsets), 9)
    assert triples(runs) == [(0, 2, 0), (4, 5, 2)]


@pytest.mark.parametrize("strings", [[], [""], ["", " \n"]])
def test_no_numbers_are_no_runs(strings):
    runs = parse_strings(strings, 0)
    assert_canonical(runs)
    assert len(runs) == 0


@pytest.mark.parametrize(
    ("strings", "message"),
    [
        (["1 2", "1 2 3"], r"RLE string 1: expected pairs of start and length, got 3 numbers"),
        (["7"], r"RLE string 0: .*got 1 numbers; the string is cut or damaged"),
        (
            ["1 2", "", "3 -4"],
            r"RLE string 2: expected digits and blanks, got '-' at character 3$",
        ),
        (["+1 2"], r"got '\+' at character 1$"),
        (["1 2.0"], r"got '\.' at character 4$"),
        (["1 2\x00"], r"got '\\x00' at character 4$"),
        (["1\x1c2"], r"got '\\x1c' at character 2$"),
        (["1\x0e2"], r"got '\\x0e' at character 2$"),
        (["1\x082"], r"got '\\x08' at character 2$"),
        (["1 2", "1 1 0 3"], r"RLE string 1: run 2 is 0 3; expected a start from 1"),
        (["4 0"], r"run 1 is 4 0; expected .* a length of at least 1"),
        (["9 1 10 1"], r"run 2 is 10 1; .* an end within the 9 voxels of the array"),
        (["1 9 1 10"], r"run 2 is 1 10; .* an end within the 9 voxels of the array"),
        (["1 1", "2 1000000000000000000"], r"string 1: a number of more than 18 digits at .* 3:"),
        (["999999999999999999 999999999999999999"], r"run 1 is 999999999999999999 9999"),
    ],
)
def test_a_damaged_string_is_named_with_its_character_or_run(strings, message):
    with pytest.raises(LabelFormatError, match=message):
        parse_strings(strings, 9)


def test_a_message_calls_a_string_what_the_caller_calls_it():
    with pytest.raises(LabelFormatError, match=r"^file: id 11: run 1 is 0 1"):
        parse(*text_buffer(["1 1", "0 1"]), 9, lambda i: f"file: id {10 + i}")


def test_strings_are_parsed_as_they_are_and_named_by_the_caller():
    strings = ["7 2 1 1", "", "1 9"]
    assert triples(parse_strings(strings, 9)) == [(6, 8, 0), (0, 1, 0), (0, 9, 2)]
    for damaged, message in [
        ("1 2 x", r"file: id 12: expected digits and blanks, got 'x' at character 5"),
        (None, r"file: id 12: expected a string of decimal numbers, got None"),
        ("1 2 3", r"file: id 12: expected pairs of start and length, got 3 numbers"),
        ("9 2", r"file: id 12: run 1 is 9 2; expected a start from 1"),
    ]:
        with pytest.raises(LabelFormatError, match=f"^{message}"):
            parse_strings(["1 1", "", damaged], 9, lambda i: f"file: id {10 + i}")


def test_a_run_may_end_with_the_array():
    assert triples(parse_strings(["1 9", "9 1"], 9)) == [(0, 9, 0), (8, 9, 1)]


def test_text_buffer_joins_strings():
    text, offsets = text_buffer(["1 2", "", "34 5"])
    assert text.tobytes() == b"1 234 5"
    assert (offsets.dtype, offsets.tolist()) == (np.dtype(np.int64), [0, 3, 3, 7])


@pytest.mark.parametrize(
    ("strings", "message"),
    [
        (["1 2", None], r"RLE string 1: expected a string of decimal numbers, got None"),
        (["1 2", b"1 2"], r"RLE string 1: .* got b'1 2'"),
        (["\u0661 2"], r"RLE string 0: .* got '\u0661 2'"),
        (["1 2", 7], r"RLE string 1: .* got 7"),
    ],
)
def test_an_item_that_is_not_an_ascii_string_is_named(strings, message):
    with pytest.raises(LabelFormatError, match=message):
        text_buffer(strings)


# --- format_runs ------------------------------------------------------------------------------


def test_numbers_around_each_power_of_ten_are_written_exactly():
    numbers = [10**k + d for k in range(1, 18) for d in (-1, 0, 1)]
    runs = Runs.join([make_runs((n - 1, 2 * n - 1, i)) for i, n in enumerate(numbers)])
    assert format_runs(runs, len(numbers)) == [f"{n} {n}" for n in numbers]


@pytest.mark.parametrize(
    ("runs", "count", "strings"),
    [
        ([], 0, []),
        ([], 2, ["", ""]),
        ([(0, 1, 1)], 3, ["", "1 1", ""]),
        ([(0, 1, 2), (3, 5, 0), (9, 10, 2)], 3, ["4 2", "", "1 1 10 1"]),
    ],
)
def test_an_instance_without_runs_gets_an_empty_string(runs, count, strings):
    assert format_runs(make_runs(*runs), count) == strings
