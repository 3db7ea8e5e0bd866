import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.measure import regionprops
from support.runs import (
    HUGE,
    HUGE_SIZE,
    IDS,
    assert_canonical,
    label_arrays,
    make_runs,
    triples,
)

from _platelet_em.arrays.rle import format_runs
from _platelet_em.arrays.runs import (
    Runs,
    areas,
    boxes,
    clip,
    cut,
    encode,
    intersect,
    merge_adjacent,
    paint,
    resolve,
    window,
)
from _platelet_em.errors import LabelFormatError
from platelet_em import LazyLabels

planes_and_volumes = hnp.arrays(
    np.int32, hnp.array_shapes(min_dims=2, max_dims=3, max_side=6), elements=st.sampled_from(IDS)
)


# --- Runs -------------------------------------------------------------------------------------


def test_joined_runs_follow_each_other():
    parts = [make_runs((5, 6, 1)), Runs.empty(), make_runs((0, 2, 0), (3, 4, 2))]
    joined = Runs.join(parts)
    assert len(joined) == 3
    assert triples(joined) == [(5, 6, 1), (0, 2, 0), (3, 4, 2)]
    assert joined.lengths.tolist() == [1, 2, 1]


def test_runs_are_picked_by_slice_indices_and_mask():
    runs = make_runs((0, 1, 0), (2, 4, 1), (5, 9, 2))
    assert triples(runs[1:]) == triples(runs[np.array([1, 2])]) == [(2, 4, 1), (5, 9, 2)]
    assert triples(runs[runs.lengths > 1]) == triples(runs[1:])


def test_no_runs_are_int64_too():
    assert_canonical(Runs.empty())
    assert len(Runs.empty()) == 0


# --- encode, paint ----------------------------------------------------------------------------


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
def test_labels_that_are_not_ids_are_named_with_their_position(labels, message):
    with pytest.raises(LabelFormatError, match=message):
        encode(labels)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint16])
def test_paint_gives_the_requested_dtype(dtype):
    painted = paint(make_runs((1, 3, 1), (4, 5, 0)), np.array([6, 2]), 6, dtype)
    assert (painted.dtype, painted.tolist()) == (np.dtype(dtype), [0, 2, 2, 0, 6, 0])


@pytest.mark.parametrize("size", [0, 3])
def test_no_runs_paint_background(size):
    assert paint(Runs.empty(), np.empty(0, np.int32), size).tolist() == [0] * size


# --- resolve, merge_adjacent ------------------------------------------------------------------


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
    assert triples(resolve(make_runs(*runs))) == expected


def test_resolve_takes_no_memory_for_voxels():
    far = 2**61
    runs = make_runs((0, far, 0), (5, far - 5, 2), (9, 11, 1), (far - 7, far + 1, 3))
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
    resolved = resolve(make_runs(*[(start, start + n, owner) for start, n, owner in runs]))
    assert_canonical(resolved)
    np.testing.assert_array_equal(paint(resolved, np.arange(10) + 1, 130), dense + 1)
    assert triples(resolve(resolved)) == triples(resolved)


def test_only_touching_runs_of_one_owner_merge():
    runs = make_runs((0, 2, 0), (2, 4, 0), (4, 5, 1), (6, 7, 1), (7, 8, 1), (8, 9, 1))
    assert triples(merge_adjacent(runs)) == [(0, 4, 0), (4, 5, 1), (6, 9, 1)]


# --- window, clip, cut ------------------------------------------------------------------------


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
    inside = window(make_runs((3, 27, 0)), (5, 6), [range(1, 4), range(2, 4)])
    assert triples(merge_adjacent(inside)) == [(0, 6, 0)]


def test_a_window_beyond_two_to_the_31_voxels_takes_only_its_own_runs():
    z, y, x = 4_999, 99_990, 99_990
    first = (z * HUGE[1] + y) * HUGE[2] + x
    runs = make_runs(
        (5, 9, 1), (first - 1, first + 3, 0), (first + HUGE[2], first + HUGE[2] + 20, 2)
    )
    inside = window(runs, HUGE, [range(z, z + 1), range(y, y + 3), range(x, x + 10)])
    assert triples(inside) == [(0, 3, 0), (10, 20, 2)]


def test_a_window_of_complete_slices_may_have_more_than_two_to_the_31_voxels():
    plane = HUGE[1] * HUGE[2]
    runs = make_runs(
        (5, 9, 1), (4_997 * plane - 1, 4_998 * plane + 3, 0), (4_999 * plane, HUGE_SIZE, 2)
    )
    inside = window(runs, HUGE, [range(4_997, 4_999), range(HUGE[1]), range(HUGE[2])])
    assert triples(inside) == [(0, plane + 3, 0)]


@given(labels=label_arrays, data=st.data())
def test_clipped_runs_are_those_of_the_range_of_the_flat_array(labels, data):
    ids, runs = encode(labels)
    flat = labels.ravel()
    begin = data.draw(st.integers(0, len(flat)))
    end = data.draw(st.integers(0, len(flat)))
    clipped = clip(runs, begin, end)
    assert_canonical(clipped)
    np.testing.assert_array_equal(paint(clipped, ids, max(end - begin, 0)), flat[begin:end])


def test_a_run_is_clipped_at_both_ends_of_a_range():
    assert triples(clip(make_runs((3, 9, 4)), 5, 8)) == [(0, 3, 4)]
    assert triples(clip(make_runs((3, 9, 4)), 5, 5)) == []


def test_a_range_beyond_two_to_the_31_voxels_is_clipped_exactly():
    plane = HUGE[1] * HUGE[2]
    runs = make_runs(
        (5, 9, 1), (4_998 * plane - 2, 4_998 * plane + 3, 0), (4_999 * plane, HUGE_SIZE, 2)
    )
    assert triples(clip(runs, 4_998 * plane, 4_999 * plane)) == [(0, 3, 0)]
    assert triples(clip(runs, 4_999 * plane, HUGE_SIZE)) == [(0, plane, 2)]


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
    page, pieces = cut(make_runs((4_997 * plane + 3, 5_000 * plane, 7), (0, 1, 2)), plane)
    assert page.tolist() == [4_997, 4_998, 4_999, 0]
    assert triples(pieces) == [(3, plane, 7), (0, plane, 7), (0, plane, 7), (0, 1, 2)]


def test_cutting_no_runs_gives_no_pieces():
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
def test_the_box_of_one_run_takes_the_ends_of_rows_and_slices_into_account(run, box):
    dense = np.zeros((2, 3, 4), np.int32)
    dense.ravel()[slice(*run)] = 1
    assert list(regionprops(dense)[0].bbox) == box
    assert boxes(make_runs((*run, 0)), 1, (2, 3, 4)).tolist() == [box]


def test_an_instance_without_voxels_has_no_area_and_a_box_of_zeros():
    runs = make_runs((4, 6, 1))
    assert areas(runs, 3).tolist() == [0, 2, 0]
    assert boxes(runs, 3, (3, 3)).tolist() == [[0, 0, 0, 0], [1, 1, 2, 3], [0, 0, 0, 0]]


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0, 2)])
def test_arrays_without_voxels_have_boxes_of_zeros(shape):
    assert boxes(Runs.empty(), 2, shape).tolist() == [[0] * (2 * len(shape))] * 2


def test_a_box_beyond_two_to_the_31_voxels_is_exact():
    plane = HUGE[1] * HUGE[2]
    runs = make_runs((4 * plane + 7, 4 * plane + 9, 0), (HUGE_SIZE - 3, HUGE_SIZE, 0))
    assert boxes(runs, 1, HUGE).tolist() == [[4, 0, 7, 5_000, 100_000, 100_000]]
    assert areas(make_runs((1, HUGE_SIZE, 0)), 1).tolist() == [HUGE_SIZE - 1]


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
    found = intersect(make_runs((0, far, 1)), make_runs((5, 6, 0), (far - 2**33, far + 1, 4)))
    assert [a.tolist() for a in found] == [[1, 1], [0, 4], [1, 2**33]]


@pytest.mark.parametrize(
    "triple",
    [(-1, 2, 0), (4, 4, 0), (5, 4, 0), (1, 3, 0), (4, 9, 0), (4, 5, -1), (4, 5, 2),
     (10**12, 10**12 + 1, 0)],
)  # fmt: skip
def test_runs_of_others_are_checked(triple):
    runs = make_runs((0, 2, 1), triple)
    start, stop, owner = triple
    message = f"run 1 is {start} to {stop} of instance {owner}: expected runs in order"
    with pytest.raises(LabelFormatError, match=message):
        LazyLabels.from_runs((2, 4), [7, 9], runs)


@pytest.mark.parametrize("owners", [np.array([0, 0]), np.array([0.0]), np.array([[0]])])
def test_runs_are_integers_of_one_length(owners):
    with pytest.raises(LabelFormatError, match="runs: expected starts, stops and owners as int"):
        LazyLabels.from_runs((2, 3), [7], Runs(np.array([0]), np.array([2]), owners))


def test_runs_of_labels_cannot_be_changed():
    labels = LazyLabels((2, 3), [7], ["1 2"])
    made = LazyLabels.from_runs(labels.shape, labels.ids, labels.runs)
    for each in (labels, made, labels.crop(np.s_[:1]), LazyLabels.from_array([[1, 0]])):
        for column in (each.runs.starts, each.runs.stops, each.runs.owners):
            with pytest.raises(ValueError, match="read-only"):
                np.add(column, 1, out=column)
