"""Targets against scikit-image, and against references that visit one voxel after the other."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.segmentation import find_boundaries

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.errors import ArgumentError, LabelFormatError, LabelRangeError, TooLargeError
from _platelet_em.training import targets

IDS = st.sampled_from([0, 0, 1, 2, 300, 2**31 - 1])
SHAPES = hnp.array_shapes(min_dims=2, max_dims=3, min_side=0, max_side=5)
ARRAYS = hnp.arrays(np.int32, SHAPES, elements=IDS)


def forms(array):
    """The labels as an array, as lazy labels, and as lazy labels in another order of ids."""
    lazy = LazyLabels.from_array(array)
    rle = [*lazy.rle, ""]
    return array, lazy, LazyLabels(array.shape, [*lazy.ids, 77][::-1], rle[::-1])


def check(found, expected, dtype):
    assert found.dtype == dtype
    assert found.shape == expected.shape
    assert np.array_equal(found, expected)


@pytest.fixture
def undecoded(monkeypatch):
    """Lazy labels cannot be decoded."""

    def refuse(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr(LazyLabels, "_read", refuse)


# --- boundaries ---


@pytest.mark.parametrize("mode", ["thick", "inner"])
@given(ARRAYS)
def test_boundaries_are_those_of_scikit_image(mode, array):
    expected = np.zeros(array.shape, bool)
    if array.size:
        expected = find_boundaries(array, connectivity=1, mode=mode)
    for labels in forms(array):
        check(targets.boundaries(labels, mode=mode), expected, bool)
        if mode == "thick":
            both = np.stack([array > 0, expected])
            check(targets.foreground_boundary(labels), both, bool)


def test_the_usual_boundaries_are_thick():
    assert targets.boundaries([[0, 3, 3, 3]]).tolist() == [[True, True, False, False]]


@pytest.mark.parametrize("count", [255, 256, 257, 65535, 65536])
def test_neighbors_differ_however_many_instances_there_are(count):
    array = np.arange(1, count + 1, dtype=np.int32).reshape(1, -1)
    labels = LazyLabels.from_array(array)
    assert targets.foreground_boundary(labels).all()
    assert not targets.affinities(labels, [(0, 1), (0, 256), (0, -255)]).any()


def test_other_modes_are_refused():
    with pytest.raises(ArgumentError, match="mode: expected one of thick, inner, got 'outer'"):
        targets.boundaries([[1]], mode="outer")


# --- affinities ---


def affinities_voxel_by_voxel(array, offsets):
    same = np.zeros((len(offsets), *array.shape), bool)
    inside = same.copy()
    for channel, offset in enumerate(offsets):
        for p in np.ndindex(array.shape):
            q = tuple(a + b for a, b in zip(p, offset, strict=True))
            if all(0 <= a < extent for a, extent in zip(q, array.shape, strict=True)):
                inside[channel][p] = True
                same[channel][p] = array[p] == array[q] != 0
    return same, inside


@given(ARRAYS, st.data())
def test_affinities_are_those_of_pairs_of_voxels(array, data):
    offset = st.tuples(*[st.integers(-6, 6)] * array.ndim)
    offsets = data.draw(st.lists(offset, max_size=4))
    same, inside = affinities_voxel_by_voxel(array, offsets)
    for labels in forms(array):
        check(targets.affinities(labels, offsets), same, bool)
    check(targets.affinity_mask(array.shape, np.array(offsets)), inside, bool)


@pytest.mark.parametrize("offsets", [[(0, 1, 0)], [(0,)], [(0, 1), 1], [(0, 1.5)], 3, [("a", 1)]])
def test_offsets_without_one_integer_per_axis_are_refused(offsets):
    for call in (targets.affinities, lambda a, o: targets.affinity_mask(np.shape(a), o)):
        with pytest.raises(ArgumentError, match="offsets: expected a list of offsets of 2 int"):
            call([[1, 1]], offsets)


# --- classes ---


@given(hnp.arrays(np.uint8, SHAPES, elements=st.integers(0, 6)), st.integers(7, 9))
def test_one_hot_has_one_mask_per_class(semantic, count):
    masks = targets.one_hot(semantic, count)
    expected = np.zeros((count, *semantic.shape), bool)
    for p in np.ndindex(semantic.shape):
        expected[(semantic[p], *p)] = True
    check(masks, expected, bool)


@pytest.mark.parametrize("wrong", [-1, 3, 255, 2**31 - 1])
def test_one_hot_refuses_classes_that_do_not_exist(wrong):
    semantic = np.array([[0, 2], [1, wrong]])
    text = rf"semantic: class {wrong} at \(1, 1\): expected classes from 0 to 2"
    with pytest.raises(LabelRangeError, match=text):
        targets.one_hot(semantic, 3)
    with pytest.raises(LabelFormatError, match="class indices as integers, got dtype float64"):
        targets.one_hot(semantic.astype(float), 3)


def test_one_hot_takes_stacks_as_they_are_in_rows(loaded):
    row = loaded["train"].with_format("platelet_em")[0]
    masks = targets.one_hot(row["semantic"], 7)
    assert np.array_equal(masks.argmax(axis=0), row["semantic"])
    assert (masks.sum(axis=0) == 1).all()


# --- centers ---


def centers_voxel_by_voxel(array):
    """{label: center}."""
    voxels = {}
    for p in np.ndindex(array.shape):
        if array[p]:
            voxels.setdefault(int(array[p]), []).append(p)
    return {label: np.mean(points, axis=0) for label, points in voxels.items()}


@given(ARRAYS)
def test_centers_are_means_of_voxels(array):
    expected = centers_voxel_by_voxel(array)
    for labels in forms(array):
        ids, points = targets.centers(labels)
        assert (ids.dtype, points.dtype) == (np.int32, np.float64)
        assert points.shape == (len(expected), array.ndim)
        order = getattr(labels, "ids", sorted(expected))
        assert ids.tolist() == [label for label in order if label in expected]
        for label, point in zip(ids.tolist(), points, strict=True):
            np.testing.assert_allclose(point, expected[label], rtol=1e-14)


@given(ARRAYS)
def test_offsets_lead_from_voxels_to_centers(array):
    centers = centers_voxel_by_voxel(array)
    expected = np.zeros((array.ndim, *array.shape))
    for p in np.ndindex(array.shape):
        if array[p]:
            expected[(slice(None), *p)] = centers[array[p]] - p
    for labels in forms(array):
        found = targets.center_offsets(labels)
        assert (found.dtype, found.shape) == (np.float32, expected.shape)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert not np.signbit(found[:, array == 0]).any()


def test_runs_that_go_on_in_the_next_row_and_slice():
    ids, points = targets.centers(LazyLabels((3, 4, 5), [6], ["1 60"]))
    assert ids.tolist() == [6]
    assert points.tolist() == [[1, 1.5, 2]]
    vectors = targets.center_offsets(LazyLabels((3, 4, 5), [6], ["1 60"]))
    assert np.array_equal(vectors, points[0][:, None, None, None] - np.indices((3, 4, 5)))


@pytest.mark.usefixtures("undecoded")
def test_lazy_labels_are_not_decoded():
    labels = LazyLabels((2, 3), [7, 9], ["1 2", "5 2"])
    targets.centers(labels)
    targets.center_offsets(labels)
    large = LazyLabels((2**20, 2**10, 2**20), [7], [f"{2**49 - 9} 3"])
    _, points = targets.centers(large)
    assert points.tolist() == [[2**19 - 1, 2**10 - 1, 2**20 - 9]]


def test_large_labels_are_refused_before_memory_is_taken():
    large = LazyLabels((2**20, 2**20, 2**20), [7], ["1 2"])
    for call in (targets.boundaries, targets.foreground_boundary, targets.center_offsets):
        with pytest.raises(MemoryError, match="this machine does not have that much memory"):
            call(large)


# --- what is no label array ---


FUNCTIONS = [
    targets.boundaries,
    targets.foreground_boundary,
    lambda labels: targets.affinities(labels, []),
    targets.centers,
    targets.center_offsets,
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_arrays_without_these_axes_are_refused(function):
    for labels in (np.zeros(3, int), np.zeros((1, 1, 1, 1), int), LazyLabels((3,), [], [])):
        with pytest.raises(LabelFormatError, match=r"labels: expected the axes \(z, y, x\) or"):
            function(labels)
    with pytest.raises(LabelFormatError, match="labels: expected integers, got dtype float32"):
        function(np.zeros((2, 2), np.float32))


@pytest.mark.parametrize("function", [targets.centers, targets.center_offsets])
def test_centers_of_negative_labels_are_refused(function):
    with pytest.raises(LabelFormatError, match=r"label -1 at \(0, 1\): expected ids from 0 to"):
        function([[0, -1]])


@pytest.mark.parametrize("function", [targets.centers, targets.center_offsets])
def test_instances_in_more_rows_than_fit_memory_are_refused(function):
    with pytest.raises(TooLargeError, match=r"shape \(1000000000000, 1\)"):
        function(LazyLabels((10**12, 1), [7], [f"1 {10**12}"]))


@pytest.mark.parametrize("shape", [4, "ab", (3.5, 4), (-3, 4), (2**40, 2**40), None])
def test_what_is_no_shape_is_refused(shape):
    with pytest.raises(ArgumentError, match="shape: expected a list of extents"):
        targets.affinity_mask(shape, [(0, 1)])


@pytest.mark.parametrize("count", [0, -1, 1.5, "3", None, True])
def test_what_is_no_number_of_classes_is_refused(count):
    with pytest.raises(ArgumentError, match="count: expected"):
        targets.one_hot(np.zeros((0, 3), np.uint8), count)
