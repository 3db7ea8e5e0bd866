import itertools
import re
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.measure import regionprops
from support import publisher

from _platelet_em.arrays import rle
from _platelet_em.arrays.rle import format_runs, parse, parse_chunks, text_buffer
from _platelet_em.arrays.runs import (
    Runs,
    areas,
    boxes,
    cut,
    encode,
    intersect,
    merge_adjacent,
    paint,
    resolve,
    value_runs,
    window,
)
from _platelet_em.errors import LabelFormatError
from _platelet_em.limits import MAX_ID

IDS = [0, 1, 2, 5, MAX_ID]
HUGE = (5_000, 100_000, 100_000)
HUGE_SIZE = 5 * 10**13

shapes = hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)
label_arrays = hnp.arrays(np.int32, shapes, elements=st.sampled_from(IDS))
planes_and_volumes = hnp.arrays(
    np.int32, hnp.array_shapes(min_dims=2, max_dims=3, max_side=6), elements=st.sampled_from(IDS)
)


@st.composite
def sloppy_texts(draw, size=40, most=5):
    """RLE texts inside `size` voxels, unsorted, adjacent, overlapping, oddly spaced."""
    blank = st.sampled_from([" ", "  ", "\t", "\n", "\r\n"])
    texts = []
    for _ in range(draw(st.integers(0, most))):
        text = draw(st.sampled_from(["", " "]))
        for _ in range(draw(st.integers(0, 5))):
            start = draw(st.integers(1, size))
            length = draw(st.integers(1, size + 1 - start))
            zeros = draw(st.sampled_from(["", "0", "000"]))
            text += f"{zeros}{start}{draw(blank)}{length}{draw(blank)}"
        texts.append(draw(st.sampled_from([text, text.rstrip()])))
    return texts


def canonical(texts):
    """The texts with one space between numbers, and none elsewhere."""
    return [" ".join(text.split()) for text in texts]


def read(texts, size):
    return parse(*text_buffer(texts), size)


def published(texts, size):
    """What the publisher's decoder makes of the texts, with ids counted from 1."""
    named = {str(i + 1): text for i, text in enumerate(texts)}
    return publisher.decode({".info": {"shape": [size]}, **named})


def ids_for(texts):
    return np.arange(1, len(texts) + 1)


def make(*triples):
    starts, stops, owners = np.array(triples, np.int64).reshape(-1, 3).T
    return Runs(starts, stops, owners)


def triples(runs):
    return list(zip(runs.starts.tolist(), runs.stops.tolist(), runs.owners.tolist(), strict=True))


def assert_canonical(runs):
    assert (runs.lengths > 0).all()
    assert (runs.starts[1:] >= runs.stops[:-1]).all()
    touching = runs.starts[1:] == runs.stops[:-1]
    assert (runs.owners[1:] != runs.owners[:-1])[touching].all()
    assert {a.dtype for a in (runs.starts, runs.stops, runs.owners)} == {np.dtype(np.int64)}


# --- the format -------------------------------------------------------------------------------


def test_the_published_example_is_read_and_written_bit_for_bit():
    texts = [publisher.EXAMPLE["1"], publisher.EXAMPLE["2"]]
    runs = resolve(read(texts, 100))
    dense = publisher.decode(publisher.EXAMPLE)
    assert paint(runs, np.array([1, 2]), 100).tolist() == dense.ravel().tolist()
    ids, encoded = encode(dense)
    assert ids.tolist() == [1, 2]
    assert format_runs(encoded, 2) == format_runs(runs, 2) == texts


@given(labels=label_arrays)
def test_voxels_survive_encode_format_parse_resolve_paint(labels):
    ids, runs = encode(labels)
    assert_canonical(runs)
    assert ids.dtype == np.int32
    texts = format_runs(runs, len(ids))
    expected = publisher.encode(labels)
    del expected[".info"]
    assert dict(zip(map(str, ids.tolist()), texts, strict=True)) == expected
    again = resolve(read(texts, labels.size))
    assert triples(again) == triples(runs)
    painted = paint(again, ids, labels.size)
    assert painted.dtype == np.int32
    np.testing.assert_array_equal(painted.reshape(labels.shape), labels)


@given(texts=sloppy_texts())
def test_unsorted_adjacent_and_overlapping_runs_mean_what_the_publisher_reads(texts):
    runs = resolve(read(texts, 40))
    assert_canonical(runs)
    dense = published(texts, 40)
    np.testing.assert_array_equal(paint(runs, ids_for(texts), 40), dense)
    canonical = publisher.encode(dense)
    assert format_runs(runs, len(texts)) == [canonical.get(str(i), "") for i in ids_for(texts)]


# --- parse ------------------------------------------------------------------------------------


@given(
    texts=st.lists(
        st.text("0123456789 ", max_size=12)
        | st.text("012 \t\n\v\f\r+-._e\x1cx,", max_size=8)
        | st.text(max_size=6),
        max_size=3,
    )
)
def test_arbitrary_text_is_refused_or_means_what_the_publisher_reads(texts):
    try:
        runs = resolve(read(texts, 30))
    except LabelFormatError:
        return
    np.testing.assert_array_equal(paint(runs, ids_for(texts), 30), published(texts, 30))


@given(
    pairs=st.lists(st.tuples(st.integers(1, 10**18 - 1), st.integers(1, 10**18 - 1)), max_size=6)
)
def test_numbers_of_up_to_eighteen_digits_are_read_exactly(pairs):
    text = " ".join(f"{start} {length}" for start, length in pairs)
    runs = read([text], 2 * 10**18)
    assert triples(runs) == [(start - 1, start - 1 + n, 0) for start, n in pairs]


@pytest.mark.parametrize("digits", range(1, 19))
def test_a_number_of_each_width_is_read_wherever_it_stands(digits):
    number = int("123456789123456789"[:digits])
    runs = read([f"{number} {number}", f"{number} {number}"], 10**18)
    assert triples(runs) == [(number - 1, 2 * number - 1, owner) for owner in (0, 1)]


def test_texts_end_numbers_without_a_blank_between_them():
    assert triples(read(["1 2", "", "3 4", "", ""], 9)) == [(0, 2, 0), (2, 6, 2)]


@given(texts=st.lists(st.one_of(sloppy_texts(), sloppy_texts().map(canonical)), max_size=4))
def test_texts_read_in_groups_mean_the_same(texts):
    together = list(itertools.chain(*texts))
    whole = read(together, 40)
    with mock.patch.object(rle, "_GROUP", 4):
        assert triples(read(together, 40)) == triples(whole)


def test_damage_is_named_by_its_text_whatever_group_it_is_in():
    texts = ["1 2"] * 9
    for position in range(9):
        damaged = [*texts[:position], "1 2 3", *texts[position:]]
        message = re.escape(f"RLE text {position}: expected pairs of start and length, got 3")
        with (
            mock.patch.object(rle, "_GROUP", 4),
            pytest.raises(LabelFormatError, match=message),
        ):
            read(damaged, 9)


def test_runs_keep_the_order_of_the_text():
    assert triples(read(["9 1 2 3", "2 3"], 9)) == [(8, 9, 0), (1, 4, 0), (1, 4, 1)]


@pytest.mark.parametrize("blank", [" ", "\t", "\n", "\v", "\f", "\r", " \t\r\n "])
def test_every_ascii_blank_separates(blank):
    assert triples(read([f"{blank}1{blank}2{blank}"], 9)) == [(0, 2, 0)]


@pytest.mark.parametrize("offsets", [np.int32, np.int64])
def test_texts_may_lie_in_the_middle_of_a_buffer(offsets):
    text = np.frombuffer(b"xx1 25 1--", np.uint8)
    runs = parse(text, np.array([2, 5, 5, 8], offsets), 9)
    assert triples(runs) == [(0, 2, 0), (4, 5, 2)]


@pytest.mark.parametrize("texts", [[], [""], ["", " \n"]])
def test_no_numbers_are_no_runs(texts):
    runs = read(texts, 0)
    assert_canonical(runs)
    assert len(runs) == 0


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["1 2", "1 2 3"], r"RLE text 1: expected pairs of start and length, got 3 numbers"),
        (["7"], r"RLE text 0: .*got 1 numbers; the text is cut or damaged"),
        (["1 2", "", "3 -4"], r"RLE text 2: expected digits and blanks, got '-' at character 3$"),
        (["+1 2"], r"got '\+' at character 1$"),
        (["1 2.0"], r"got '\.' at character 4$"),
        (["1 2\x00"], r"got '\\x00' at character 4$"),
        (["1\x1c2"], r"got '\\x1c' at character 2$"),
        (["1\x0e2"], r"got '\\x0e' at character 2$"),
        (["1\x082"], r"got '\\x08' at character 2$"),
        (["1 2", "1 1 0 3"], r"RLE text 1: run 2 is 0 3; expected a start from 1"),
        (["4 0"], r"run 1 is 4 0; expected .* a length of at least 1"),
        (["9 1 10 1"], r"run 2 is 10 1; .* an end within the 9 voxels of the array"),
        (["1 9 1 10"], r"run 2 is 1 10; .* an end within the 9 voxels of the array"),
        (["1 1", "2 1000000000000000000"], r"text 1: a number of more than 18 digits at .* 3:"),
        (["999999999999999999 999999999999999999"], r"run 1 is 999999999999999999 9999"),
    ],
)
def test_damaged_text_is_named_with_its_place(texts, message):
    with pytest.raises(LabelFormatError, match=message):
        read(texts, 9)


def test_a_message_calls_a_text_what_the_caller_calls_it():
    with pytest.raises(LabelFormatError, match=r"^file: id 11: run 1 is 0 1"):
        parse(*text_buffer(["1 1", "0 1"]), 9, lambda i: f"file: id {10 + i}")


def test_a_run_may_end_with_the_array():
    assert triples(read(["1 9", "9 1"], 9)) == [(0, 9, 0), (8, 9, 1)]


def test_text_buffer_joins_texts():
    text, offsets = text_buffer(["1 2", "", "34 5"])
    assert text.tobytes() == b"1 234 5"
    assert (offsets.dtype, offsets.tolist()) == (np.dtype(np.int64), [0, 3, 3, 7])


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (["1 2", None], r"RLE text 1: expected a string of decimal numbers, got None"),
        (["1 2", b"1 2"], r"RLE text 1: .* got b'1 2'"),
        (["\u0661 2"], r"RLE text 0: .* got '\u0661 2'"),
        (["1 2", 7], r"RLE text 1: .* got 7"),
    ],
)
def test_what_is_no_ascii_string_is_named(texts, message):
    with pytest.raises(LabelFormatError, match=message):
        text_buffer(texts)


# --- parse_chunks -----------------------------------------------------------------------------


@given(texts=sloppy_texts(most=1), cuts=st.lists(st.integers(0, 80), max_size=12))
def test_text_in_any_chunks_gives_the_same_runs(texts, cuts):
    text = "".join(texts).encode()
    bounds = [0, *sorted(min(c, len(text)) for c in cuts), len(text)]
    chunks = [text[a:b] for a, b in itertools.pairwise(bounds)]
    runs = Runs.join(list(parse_chunks(chunks, 40, "id 1")))
    assert triples(runs) == triples(read([text.decode()], 40))


def test_text_in_single_bytes_gives_the_same_runs():
    text = publisher.EXAMPLE["1"].encode()
    chunks = (bytes([byte]) for byte in text)
    runs = Runs.join(list(parse_chunks(chunks, 100, "id 1")))
    assert triples(runs) == triples(read([text.decode()], 100))


def test_an_empty_chunk_does_not_end_the_text():
    chunks = [b"", b"1", b"", b"2 3 ", b"", b"20 4", b""]
    runs = Runs.join(list(parse_chunks(chunks, 99, "id 1")))
    assert triples(runs) == [(11, 14, 0), (19, 23, 0)]


def test_runs_of_a_chunk_come_before_the_next_chunk_is_read():
    taken = []

    def chunks():
        for chunk in (b"1 2 5 1 ", b"7 1 9 1"):
            taken.append(chunk)
            yield chunk

    runs = next(parse_chunks(chunks(), 99, "id 1"))
    assert triples(runs) == [(0, 2, 0)]
    assert len(taken) == 1


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([b"1 2 ", b"3"], r"^id 1, from character 5: expected pairs .* got 1 numbers"),
        ([b"1 2", b"x"], r"^id 1: expected digits and blanks, got 'x' at character 4"),
        ([b"1 2 3 4 ", b"5 5 8 9 1 1"], r"^id 1, from character 5: run 3 is 8 9; "),
        ([b"1 2 3 4 ", b"5 5 8 9"], r"^id 1, from character 13: run 1 is 8 9; "),
    ],
)
def test_damage_in_a_chunk_is_named_with_where_counting_begins(chunks, message):
    with pytest.raises(LabelFormatError, match=message):
        list(parse_chunks(chunks, 9, "id 1"))


# --- format_runs, resolve, merge_adjacent -----------------------------------------------------


def test_numbers_around_each_power_of_ten_are_written_whole():
    numbers = [10**k + d for k in range(1, 18) for d in (-1, 0, 1)]
    runs = Runs.join([make((n - 1, 2 * n - 1, i)) for i, n in enumerate(numbers)])
    assert format_runs(runs, len(numbers)) == [f"{n} {n}" for n in numbers]


@pytest.mark.parametrize(
    ("runs", "count", "texts"),
    [
        ([], 0, []),
        ([], 2, ["", ""]),
        ([(0, 1, 1)], 3, ["", "1 1", ""]),
        ([(0, 1, 2), (3, 5, 0), (9, 10, 2)], 3, ["4 2", "", "1 1 10 1"]),
    ],
)
def test_an_instance_without_runs_gets_an_empty_text(runs, count, texts):
    assert format_runs(make(*runs), count) == texts


@pytest.mark.parametrize(
    ("runs", "expected"),
    [
        ([(0, 9, 0), (3, 5, 1)], [(0, 3, 0), (3, 5, 1), (5, 9, 0)]),
        ([(3, 5, 0), (0, 9, 1)], [(0, 9, 1)]),
        ([(3, 5, 1), (0, 9, 0)], [(0, 3, 0), (3, 5, 1), (5, 9, 0)]),
        ([(0, 3, 0), (3, 5, 0), (5, 6, 1)], [(0, 5, 0), (5, 6, 1)]),
        ([(4, 6, 0), (0, 4, 0)], [(0, 6, 0)]),
        ([(0, 4, 0), (2, 6, 0)], [(0, 6, 0)]),
        ([(0, 5, 0), (0, 5, 1), (0, 5, 2)], [(0, 5, 2)]),
        ([], []),
    ],
)
def test_later_owners_win_and_touching_runs_join(runs, expected):
    assert triples(resolve(make(*runs))) == expected


def test_resolving_takes_no_memory_for_voxels():
    far = 2**61
    runs = make((0, far, 0), (5, far - 5, 2), (9, 11, 1), (far - 7, far + 1, 3))
    assert triples(resolve(runs)) == [
        (0, 5, 0),
        (5, far - 7, 2),
        (far - 7, far + 1, 3),
    ]


@given(
    runs=st.lists(
        st.tuples(st.integers(0, 60), st.integers(1, 70), st.integers(0, 9)), max_size=30
    )
)
def test_the_highest_owner_wins_in_whatever_order_runs_come(runs):
    dense = np.full(130, -1)
    for start, length, owner in sorted(runs, key=lambda run: run[2]):
        dense[start : start + length] = owner
    resolved = resolve(make(*[(start, start + n, owner) for start, n, owner in runs]))
    assert_canonical(resolved)
    np.testing.assert_array_equal(paint(resolved, np.arange(10) + 1, 130), dense + 1)
    assert triples(resolve(resolved)) == triples(resolved)


def test_only_touching_runs_of_one_owner_merge():
    runs = make((0, 2, 0), (2, 4, 0), (4, 5, 1), (6, 7, 1), (7, 8, 1), (8, 9, 1))
    assert triples(merge_adjacent(runs)) == [(0, 4, 0), (4, 5, 1), (6, 9, 1)]


# --- value_runs, encode, paint ----------------------------------------------------------------


def test_value_runs_hold_zeros_too():
    starts, stops, values = value_runs(np.array([0, 0, 7, 7, 7, 0], np.uint8))
    assert (starts.tolist(), stops.tolist(), values.tolist()) == ([0, 2, 5], [2, 5, 6], [0, 7, 0])
    assert values.dtype == np.uint8


def test_value_runs_of_nothing_are_empty():
    assert [a.tolist() for a in value_runs(np.empty(0, np.uint8))] == [[], [], []]


@pytest.mark.parametrize("extra", [-1, 0, 1, 2])
def test_runs_go_on_over_the_pieces_in_which_a_large_array_is_read(extra):
    piece = 1 << 21
    flat = np.zeros(2 * piece + extra, np.uint8)
    flat[piece - 2 : piece + 3] = 4
    flat[2 * piece - 1 :] = 9
    starts, stops, values = value_runs(flat)
    expected = [(0, 0), (piece - 2, 4), (piece + 3, 0)]
    expected += [(2 * piece - 1, 9)] if extra >= 0 else []
    assert list(zip(starts.tolist(), values.tolist(), strict=True)) == expected
    assert stops.tolist() == [*starts[1:].tolist(), len(flat)]


@pytest.mark.parametrize("change", [(1 << 21) - 1, 1 << 21, (1 << 21) + 1])
def test_a_change_at_the_edge_of_a_piece_is_seen(change):
    flat = np.zeros((1 << 21) + 2, np.uint8)
    flat[change:] = 1
    assert value_runs(flat)[0].tolist() == [0, change]


@pytest.mark.parametrize(
    "layout",
    [
        lambda a: a.astype(">i4"),
        lambda a: a.astype(np.uint64),
        lambda a: a.astype(np.int16),
        np.asfortranarray,
        lambda a: np.repeat(a, 2, axis=1)[:, ::2],
        lambda a: a.tolist(),
    ],
)
def test_layout_and_integer_type_do_not_matter(layout):
    labels = np.array([[0, 300, 300], [2, 2, 300]])
    ids, runs = encode(layout(labels))
    assert (ids.dtype, ids.tolist()) == (np.dtype(np.int32), [2, 300])
    assert format_runs(runs, 2) == ["4 2", "2 2 6 1"]


def test_a_mask_is_encoded_as_id_one():
    ids, runs = encode(np.array([True, False, True]))
    assert (ids.tolist(), format_runs(runs, 1)) == ([1], ["1 1 3 1"])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([[0, 1], [-3, 1]]), r"^label -3 at \(1, 0\): expected ids from 0 to 2147483647"),
        (np.array([[0, 1], [1, 2**31]]), r"^label 2147483648 at \(1, 1\): "),
        (np.array([0, 2**64 - 1], np.uint64), r"^label 18446744073709551615 at \(1,\): "),
        (np.array([0.0, 1.0]), r"^expected integer labels, got dtype float64: convert"),
        (np.array(["1"]), r"^expected integer labels, got dtype <U1"),
    ],
)
def test_labels_that_are_no_ids_are_named_with_their_place(labels, message):
    with pytest.raises(LabelFormatError, match=message):
        encode(labels)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint16])
def test_paint_fills_the_dtype_that_is_asked_for(dtype):
    painted = paint(make((1, 3, 1), (4, 5, 0)), np.array([6, 2]), 6, dtype)
    assert (painted.dtype, painted.tolist()) == (np.dtype(dtype), [0, 2, 2, 0, 6, 0])


@pytest.mark.parametrize("size", [0, 3])
def test_no_runs_paint_background(size):
    assert paint(Runs.empty(), np.empty(0, np.int32), size).tolist() == [0] * size


# --- window, cut ------------------------------------------------------------------------------


@st.composite
def picks(draw, size, steps):
    """Indices along an axis, as a basic index picks them."""
    begin, end = sorted(draw(st.tuples(st.integers(0, size), st.integers(0, size))))
    return range(begin, end)[:: draw(steps)]


@given(labels=label_arrays, data=st.data())
def test_the_window_is_that_of_the_dense_array(labels, data):
    steps = st.integers(-3, 3).filter(bool)
    picked = [data.draw(picks(n, steps)) for n in labels.shape[:-1]]
    picked.append(data.draw(picks(labels.shape[-1], st.just(1))))
    ids, runs = encode(labels)
    inside = window(runs, labels.shape, picked)
    assert (inside.lengths > 0).all()
    assert (inside.starts[1:] >= inside.stops[:-1]).all()
    expected = labels[np.ix_(*picked)]
    painted = paint(inside, ids, expected.size).reshape(expected.shape)
    np.testing.assert_array_equal(painted, expected)


def test_the_window_of_a_run_over_many_rows_has_a_piece_in_each():
    inside = window(make((3, 27, 0)), (5, 6), [range(1, 4), range(2, 4)])
    assert triples(merge_adjacent(inside)) == [(0, 6, 0)]


def test_a_window_beyond_two_to_the_31_voxels_takes_only_its_own_runs():
    z, y, x = 4_999, 99_990, 99_990
    first = (z * HUGE[1] + y) * HUGE[2] + x
    runs = make((5, 9, 1), (first - 1, first + 3, 0), (first + HUGE[2], first + HUGE[2] + 20, 2))
    inside = window(runs, HUGE, [range(z, z + 1), range(y, y + 3), range(x, x + 10)])
    assert triples(inside) == [(0, 3, 0), (10, 20, 2)]


def test_a_window_of_whole_slices_may_hold_more_than_two_to_the_31_voxels():
    plane = HUGE[1] * HUGE[2]
    runs = make(
        (5, 9, 1), (4_997 * plane - 1, 4_998 * plane + 3, 0), (4_999 * plane, HUGE_SIZE, 2)
    )
    inside = window(runs, HUGE, [range(4_997, 4_999), range(HUGE[1]), range(HUGE[2])])
    assert triples(inside) == [(0, plane + 3, 0)]


@given(labels=label_arrays, step=st.integers(1, 9))
def test_pieces_of_cut_runs_are_those_of_the_cut_array(labels, step):
    ids, runs = encode(labels)
    page, pieces = cut(runs, step)
    flat = labels.ravel()
    assert sorted(set(page.tolist())) == sorted(set((np.flatnonzero(flat) // step).tolist()))
    for z in set(page.tolist()):
        part = flat[z * step : (z + 1) * step]
        inside = pieces[page == z]
        assert_canonical(inside)
        np.testing.assert_array_equal(paint(inside, ids, len(part)), part)


def test_a_run_over_slices_beyond_two_to_the_31_voxels_is_cut_at_each():
    plane = 100_000**2
    page, pieces = cut(make((4_997 * plane + 3, 5_000 * plane, 7), (0, 1, 2)), plane)
    assert page.tolist() == [4_997, 4_998, 4_999, 0]
    assert triples(pieces) == [(3, plane, 7), (0, plane, 7), (0, plane, 7), (0, 1, 2)]


def test_nothing_is_cut_into_nothing():
    page, pieces = cut(Runs.empty(), 5)
    assert (page.tolist(), triples(pieces)) == ([], [])


# --- areas, boxes, intersect ------------------------------------------------------------------


@given(labels=planes_and_volumes)
def test_areas_and_boxes_are_those_of_scikit_image(labels):
    ids, runs = encode(labels)
    # regionprops takes memory for the largest label, so that it gets small ones.
    regions = regionprops(np.searchsorted(np.concatenate([[0], ids]), labels))
    assert areas(runs, len(ids)).tolist() == [r.area for r in regions]
    assert boxes(runs, len(ids), labels.shape).tolist() == [list(r.bbox) for r in regions]


@pytest.mark.parametrize(
    ("run", "box"),
    [
        ((0, 24), [0, 0, 0, 2, 3, 4]),
        ((11, 13), [0, 0, 0, 2, 3, 4]),
        ((3, 5), [0, 0, 0, 1, 2, 4]),
        ((5, 7), [0, 1, 1, 1, 2, 3]),
        ((16, 24), [1, 1, 0, 2, 3, 4]),
        ((23, 24), [1, 2, 3, 2, 3, 4]),
    ],
)
def test_the_box_of_one_run_knows_where_rows_and_slices_end(run, box):
    dense = np.zeros((2, 3, 4), np.int32)
    dense.ravel()[slice(*run)] = 1
    assert list(regionprops(dense)[0].bbox) == box
    assert boxes(make((*run, 0)), 1, (2, 3, 4)).tolist() == [box]


def test_an_instance_without_voxels_has_no_area_and_a_box_of_zeros():
    runs = make((4, 6, 1))
    assert areas(runs, 3).tolist() == [0, 2, 0]
    assert boxes(runs, 3, (3, 3)).tolist() == [[0, 0, 0, 0], [1, 1, 2, 3], [0, 0, 0, 0]]


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0, 2)])
def test_arrays_without_voxels_have_boxes_of_zeros(shape):
    assert boxes(Runs.empty(), 2, shape).tolist() == [[0] * (2 * len(shape))] * 2


def test_a_box_beyond_two_to_the_31_voxels_is_exact():
    plane = HUGE[1] * HUGE[2]
    runs = make((4 * plane + 7, 4 * plane + 9, 0), (HUGE_SIZE - 3, HUGE_SIZE, 0))
    assert boxes(runs, 1, HUGE).tolist() == [[4, 0, 7, 5_000, 100_000, 100_000]]
    assert areas(make((1, HUGE_SIZE, 0)), 1).tolist() == [HUGE_SIZE - 1]


@given(labels=label_arrays, data=st.data())
def test_shared_voxels_are_those_of_the_dense_arrays(labels, data):
    other = data.draw(hnp.arrays(np.int32, labels.shape, elements=st.sampled_from(IDS)))
    ids, runs = encode(labels)
    other_ids, other_runs = encode(other)
    counted = {}
    for a, b, n in zip(*intersect(runs, other_runs), strict=True):
        assert n > 0
        pair = int(ids[a]), int(other_ids[b])
        counted[pair] = counted.get(pair, 0) + int(n)
    both = (labels != 0) & (other != 0)
    pairs, counts = np.unique(
        np.stack([labels[both], other[both]], axis=1), axis=0, return_counts=True
    )
    expected = dict(zip(map(tuple, pairs.tolist()), counts.tolist(), strict=True))
    assert counted == expected


def test_shared_voxels_beyond_two_to_the_31_are_counted():
    far = 3 * 2**40
    found = intersect(make((0, far, 1)), make((5, 6, 0), (far - 2**33, far + 1, 4)))
    assert [a.tolist() for a in found] == [[1, 1], [0, 4], [1, 2**33]]


# --- Runs -------------------------------------------------------------------------------------


def test_joined_runs_follow_each_other():
    parts = [make((5, 6, 1)), Runs.empty(), make((0, 2, 0), (3, 4, 2))]
    joined = Runs.join(parts)
    assert len(joined) == 3
    assert triples(joined) == [(5, 6, 1), (0, 2, 0), (3, 4, 2)]
    assert joined.lengths.tolist() == [1, 2, 1]


def test_runs_are_picked_by_slice_indices_and_mask():
    runs = make((0, 1, 0), (2, 4, 1), (5, 9, 2))
    assert triples(runs[1:]) == triples(runs[np.array([1, 2])]) == [(2, 4, 1), (5, 9, 2)]
    assert triples(runs[runs.lengths > 1]) == triples(runs[1:])


def test_no_runs_are_int64_too():
    assert_canonical(Runs.empty())
    assert len(Runs.empty()) == 0
