import copy
import pickle
import re
import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.measure import regionprops
from support import publisher
from support.runs import HUGE, triples

from _platelet_em.arrays import instances
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.errors import LabelFormatError, LabelRangeError
from _platelet_em.limits import MAX_ID

HUGE_PLANE = 100_000**2
SHAPE = (6, 20, 25)

label_arrays = hnp.arrays(
    np.int32,
    hnp.array_shapes(min_dims=2, max_dims=3, max_side=6),
    elements=st.sampled_from([0, 1, 2, 7, 90]),
)


@pytest.fixture(scope="module")
def dense():
    return publisher.random_volume(SHAPE, 3, organelles=25).organelle


@pytest.fixture
def lazy(dense):
    """The volume's labels with two properties, still unparsed."""
    strings = publisher.encode(dense)
    del strings[".info"]
    ids = [int(key) for key in strings]
    properties = {"class_id": np.arange(len(ids)) % 5 + 2, "name": [f"organelle {i}" for i in ids]}
    return LazyLabels(SHAPE, ids, list(strings.values()), properties)


@pytest.fixture
def huge():
    """Three instances in 5e13 voxels: dense, they would take 200 TB."""
    last = 5_000 * HUGE_PLANE
    strings = ["1 3", f"{2 * HUGE_PLANE - 1} 4", f"{last} 1"]
    return LazyLabels(HUGE, [MAX_ID, 5, 9], strings, {"class_id": [2, 3, 4]})


@pytest.fixture
def parses(monkeypatch):
    """The number of times that strings were parsed, as the length of a list."""
    calls = []
    parse = instances.parse

    def count(*args):
        calls.append(args)
        return parse(*args)

    monkeypatch.setattr(instances, "parse", count)
    return calls


def sequential(labels):
    """The same regions with ids from 1, for regionprops, whose memory goes with the largest."""
    return np.unique(labels, return_inverse=True)[1].reshape(labels.shape) + (labels.min() > 0)


# --- questions --------------------------------------------------------------------------------


def test_the_published_example_is_read_and_written_bit_for_bit():
    lazy = LazyLabels.from_dict(publisher.EXAMPLE)
    expected = publisher.decode(publisher.EXAMPLE)
    np.testing.assert_array_equal(np.asarray(lazy), expected)
    strings = [publisher.EXAMPLE["1"], publisher.EXAMPLE["2"]]
    assert lazy.rle == LazyLabels.from_array(expected).rle == strings
    assert lazy.to_dict() == {**publisher.EXAMPLE, ".info": {"shape": [10, 10], "dtype": "int64"}}


@given(labels=label_arrays)
def test_measures_are_those_of_scikit_image(labels):
    lazy = LazyLabels.from_array(labels)
    regions = regionprops(sequential(labels))
    assert lazy.ids.tolist() == np.unique(labels[labels > 0]).tolist()
    assert lazy.ids.dtype == np.int32
    assert lazy.areas.tolist() == [r.area for r in regions]
    assert lazy.bboxes.tolist() == [list(r.bbox) for r in regions]
    assert {lazy.areas.dtype, lazy.bboxes.dtype} == {np.dtype(np.int64)}


@given(labels=label_arrays)
def test_labels_survive_the_publishers_form(labels):
    form = LazyLabels.from_array(labels).to_dict()
    assert form == publisher.encode(labels)
    np.testing.assert_array_equal(np.asarray(LazyLabels.from_dict(form)), labels)


def test_rle_is_canonical_for_any_input():
    lazy = LazyLabels((2, 5), [9, 3, 4], ["6  2 1 3\n4 2", "02 2", ""])
    assert lazy.rle == ["1 1 4 4", "2 2", ""]
    assert lazy.ids.tolist() == [9, 3, 4]
    assert lazy.areas.tolist() == [5, 2, 0]
    assert lazy.bboxes.tolist() == [[0, 0, 2, 5], [0, 1, 1, 3], [0, 0, 0, 0]]
    assert np.asarray(lazy).tolist() == [[9, 3, 3, 9, 9], [9, 9, 0, 0, 0]]


def test_dtype_is_int32_also_for_the_largest_id():
    lazy = LazyLabels((1, 2), [MAX_ID], ["2 1"])
    assert lazy.dtype == np.asarray(lazy).dtype == np.int32
    assert np.asarray(lazy).tolist() == [[0, MAX_ID]]


def test_properties_are_arrays_aligned_with_ids(lazy):
    assert list(lazy.properties) == ["class_id", "name"]
    assert lazy.properties["class_id"].tolist() == [i % 5 + 2 for i in range(len(lazy.ids))]
    lazy.properties["class_id"] = None
    assert lazy.properties["class_id"] is not None


def test_repr_names_shape_and_count_without_parsing():
    lazy = LazyLabels((2, 3), [7, 8], ["damaged", "1 2"])
    assert repr(lazy) == "LazyLabels(shape=(2, 3), 2 instances)"


def test_nbytes_counts_ids_and_strings_or_runs():
    lazy = LazyLabels((2, 3), [7, 9], ["1 2", "5 2 "])
    assert lazy.nbytes == 2 * 4 + 3 + 4
    assert LazyLabels.from_array([[7, 7, 0], [0, 9, 9]]).nbytes == 2 * 4 + 2 * 3 * 8
    buffer = np.frombuffer(b"xx1 2yy", np.uint8)
    assert LazyLabels.from_buffer((2, 3), [7], buffer, np.array([2, 5])).nbytes == 4 + 3


@pytest.mark.parametrize("dtype", [np.int8, np.int64])
def test_text_of_another_dtype_is_refused(dtype):
    text = np.frombuffer(b"1 2", np.uint8).astype(dtype)
    with pytest.raises(LabelFormatError, match="expected the text as uint8, got int"):
        LazyLabels.from_buffer((2, 3), [7], text, np.array([0, 3]))


# --- lazy -------------------------------------------------------------------------------------


def test_strings_are_parsed_once_and_only_when_needed(lazy, dense, parses):
    assert (lazy.shape, lazy.size) == (SHAPE, dense.size)
    assert lazy.nbytes > len(lazy.ids) == len(lazy.properties["name"])
    assert len(parses) == 0
    for z in range(len(lazy)):
        np.testing.assert_array_equal(lazy[z, 3:9, 5:], dense[z, 3:9, 5:])
    assert lazy.areas.sum() == (dense > 0).sum()
    np.testing.assert_array_equal(lazy.select(lazy.ids[:2]) > 0, np.isin(dense, lazy.ids[:2]))
    assert len(lazy.slices()) == len(dense)
    assert len(parses) == 1


def test_questions_about_a_huge_volume_decode_no_voxels(huge):
    assert huge.size == 5_000 * HUGE_PLANE
    assert huge.areas.tolist() == [3, 4, 1]
    assert huge.bboxes.tolist() == [
        [0, 0, 0, 1, 1, 3],
        [1, 0, 0, 3, 100_000, 100_000],
        [4_999, 99_999, 99_999, 5_000, 100_000, 100_000],
    ]
    assert huge.rle == ["1 3", "19999999999 4", "50000000000000 1"]
    assert huge.select([9]).areas.tolist() == [1]
    assert huge.equals(pickle.loads(pickle.dumps(huge)))
    assert 0 in huge
    assert MAX_ID in huge
    assert 4 not in huge
    assert dict(huge.items())["touches_border"].tolist() == [True, True, True]


def test_windows_of_a_huge_volume_have_its_voxels(huge):
    assert huge[0, 0, :5].tolist() == [MAX_ID] * 3 + [0, 0]
    assert huge[1, -1, -3:].tolist() == [0, 5, 5]
    assert huge[2, 0, :3].tolist() == [5, 5, 0]
    assert huge[-1, -1, -1] == 9
    assert huge[-1, -1:, :-3:-1].tolist() == [[9, 0]]


def test_slices_of_a_huge_volume_have_its_runs(huge):
    slices = huge.slices()
    assert len(slices) == 5_000
    filled = [(z, labels) for z, labels in enumerate(slices) if len(labels.ids)]
    assert {z: dict(zip(s.ids.tolist(), s.rle, strict=True)) for z, s in filled} == {
        0: {MAX_ID: "1 3"},
        1: {5: "9999999999 2"},
        2: {5: "1 2"},
        4_999: {9: "10000000000 1"},
    }


# --- select, mask, slices, equals, in ---------------------------------------------------------


@pytest.mark.parametrize("kind", [list, np.array, tuple])
def test_selected_instances_keep_order_and_properties(lazy, dense, kind):
    wanted = [int(lazy.ids[k]) for k in (7, 2, 2, 4)]
    chosen = lazy.select(kind(wanted))
    assert chosen.ids.tolist() == sorted(set(wanted))
    assert chosen.properties["name"].tolist() == [f"organelle {i}" for i in chosen.ids]
    np.testing.assert_array_equal(np.asarray(chosen), np.where(np.isin(dense, wanted), dense, 0))


def test_selecting_nothing_leaves_background(lazy):
    nothing = lazy.select([])
    assert (len(nothing.ids), nothing.shape, nothing.rle) == (0, SHAPE, [])
    assert not np.asarray(nothing).any()


def test_an_unknown_id_is_named(lazy):
    with pytest.raises(KeyError, match="no instance has the id 100000; there are "):
        lazy.select([int(lazy.ids[0]), 100_000])
    with pytest.raises(KeyError, match="no instance has the id 0; "):
        lazy.mask(0)


def test_a_mask_is_where_the_instance_is(lazy, dense):
    for label in lazy.ids:
        mask = lazy.mask(label)
        assert mask.dtype == np.bool_
        np.testing.assert_array_equal(mask, dense == label)


def test_slices_are_those_of_the_volume_with_ids_and_properties(lazy, dense):
    slices = lazy.slices()
    assert len(slices) == len(dense)
    names = dict(zip(lazy.ids.tolist(), lazy.properties["name"].tolist(), strict=True))
    for labels, plane in zip(slices, dense, strict=True):
        assert labels.ids.tolist() == np.unique(plane[plane > 0]).tolist()
        assert labels.properties["name"].tolist() == [names[i] for i in labels.ids.tolist()]
        assert labels.equals(LazyLabels.from_array(plane))
        assert labels.rle == LazyLabels.from_array(plane).rle
        np.testing.assert_array_equal(np.asarray(labels), plane)


def test_touches_border_of_a_slice_is_about_the_slice():
    struct = {"shape": [2, 3, 3], "id": [4], "rle": ["5 1"], "touches_border": [True]}
    volume = LazyLabels.from_struct(struct)
    assert volume.properties["touches_border"].tolist() == [True]
    first, second = volume.slices()
    assert first.properties["touches_border"].tolist() == [False]
    assert second.properties["touches_border"].tolist() == []


@pytest.mark.parametrize("shape", [(3, 0, 4), (0, 3, 4)])
def test_an_empty_volume_has_empty_slices(shape):
    slices = LazyLabels(shape, [3], [""]).slices()
    assert [(s.shape, s.ids.tolist()) for s in slices] == [(shape[1:], [])] * shape[0]


@pytest.mark.parametrize("shape", [(6,), (2, 3), (1, 2, 3, 4)])
def test_only_volumes_have_slices(shape):
    labels = LazyLabels(shape, [], [])
    message = rf"labels of shape {re.escape(str(shape))} have no slices: expected the axes"
    with pytest.raises(ValueError, match=message):
        labels.slices()
    with pytest.raises(ValueError, match=message):
        labels.slice(0)


@given(
    labels=hnp.arrays(
        np.int32,
        hnp.array_shapes(min_dims=3, max_dims=3, min_side=0, max_side=5),
        elements=st.sampled_from([0, 1, 2, 7, MAX_ID]),
    )
)
def test_a_slice_is_that_of_the_array_with_the_ids_in_their_order(labels):
    volume = LazyLabels.from_array(labels)
    order = [7, MAX_ID, 2, 1]
    ids = [i for i in order if i in volume.ids]
    rle = dict(zip(volume.ids.tolist(), volume.rle, strict=True))
    volume = LazyLabels(
        labels.shape,
        ids,
        [rle[i] for i in ids],
        {"name": [f"organelle {i}" for i in ids], "touches_border": [True] * len(ids)},
    )
    for z in range(-len(labels), len(labels)):
        found = volume.slice(z)
        assert found.shape == labels.shape[1:]
        np.testing.assert_array_equal(np.asarray(found), labels[z])
        assert found.ids.tolist() == [i for i in ids if i in labels[z]]
        assert found.ids.dtype == np.int32
        assert found.properties["name"].tolist() == [f"organelle {i}" for i in found.ids]
        inner = np.zeros(labels[z].shape, bool)
        inner[1:-1, 1:-1] = True
        at_border = np.isin(found.ids, labels[z][~inner]).tolist()
        assert found.properties["touches_border"].tolist() == at_border


@pytest.mark.parametrize("z", [6, -7, 2**70])
def test_a_slice_outside_the_volume_is_an_index_error(lazy, z):
    with pytest.raises(IndexError, match=f"^slice {z}: these labels have 6 slices$"):
        lazy.slice(z)


def test_a_slice_is_selected_by_an_integer(lazy):
    assert lazy.slice(np.uint8(2)).equals(lazy.slice(2))
    with pytest.raises(TypeError, match="float"):
        lazy.slice(1.0)


def test_a_slice_of_a_huge_volume_takes_its_own_runs_only(huge):
    assert dict(zip(huge.slice(2).ids.tolist(), huge.slice(2).rle, strict=True)) == {5: "1 2"}
    assert huge.slice(3).ids.tolist() == []
    assert huge.slice(-1).properties["class_id"].tolist() == [4]


@pytest.mark.parametrize(
    "other",
    [
        LazyLabels((2, 5), [3, 7], ["6 2", "3 2 1 2"], {"class_id": [1, 2]}),
        LazyLabels((2, 5), [4, 7, 3], ["", "1 4", "6 2"]),
        LazyLabels.from_array([[7, 7, 7, 7, 0], [3, 3, 0, 0, 0]]),
    ],
)
def test_labels_of_the_same_voxels_are_equal(other):
    labels = LazyLabels((2, 5), [7, 3], ["1 4", "6 2"])
    assert labels.equals(other) is True
    assert other.equals(labels) is True


def test_a_selection_equals_labels_of_the_same_instances():
    chosen = LazyLabels((2, 5), [9, 7, 3], ["9 2", "1 4", "6 2"]).select([3, 7])
    assert chosen.equals(LazyLabels((2, 5), [3, 7], ["6 2", "1 4"])) is True


@pytest.mark.parametrize(
    "other",
    [
        LazyLabels((5, 2), [7, 3], ["1 4", "6 2"]),
        LazyLabels((2, 5), [3, 7], ["1 4", "6 2"]),
        LazyLabels((2, 5), [7, 3], ["1 4", "6 3"]),
        LazyLabels((2, 5), [7, 3], ["2 3", "6 2"]),
        LazyLabels((2, 5), [7], ["1 4"]),
        np.array([[7, 7, 7, 7, 0], [3, 3, 0, 0, 0]]),
        None,
    ],
)
def test_labels_of_other_shapes_ids_or_voxels_are_not_equal(other):
    assert LazyLabels((2, 5), [7, 3], ["1 4", "6 2"]).equals(other) is False


def test_an_id_without_visible_voxels_is_not_in_the_labels():
    lazy = LazyLabels((1, 4), [1, 2], ["2 2", "1 4"])
    assert (1 in lazy, 2 in lazy, 0 in lazy, 2.0 in lazy, 2.5 in lazy) == (
        False, True, False, True, False,
    )  # fmt: skip


# --- conversion -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "largest"),
    [
        (np.uint8, 255), (np.int8, 127), (np.uint16, 65_535), (np.int16, 32_767),
        (np.float16, 2_048), (np.float32, 2**24), (bool, 1), ("<U3", 999), (">u2", 65_535),
    ],
)  # fmt: skip
def test_a_dtype_takes_the_ids_that_fit_it(dtype, largest):
    fits = LazyLabels((1, 2), [largest], ["2 1"])
    array = np.asarray(fits, dtype=dtype)
    assert array.dtype == np.dtype(dtype)
    assert array.astype(np.int64).tolist() == [[0, largest]]
    larger = LazyLabels((1, 3), [largest, largest + 1], ["1 1", "2 1"])
    message = f"id {largest + 1} does not fit {np.dtype(dtype)}: use int32".replace("<", "[<]")
    with pytest.raises(LabelRangeError, match=message):
        np.asarray(larger, dtype=dtype)


@pytest.mark.parametrize(
    "dtype", [np.int32, np.uint32, np.int64, np.uint64, np.float64, np.complex128, object]
)
def test_large_dtypes_take_the_largest_id(dtype):
    array = np.asarray(LazyLabels((1, 2), [MAX_ID], ["2 1"]), dtype=dtype)
    assert array.dtype == np.dtype(dtype)
    assert array[0, 1] == MAX_ID


def test_the_largest_id_does_not_fit_half_precision():
    with pytest.raises(LabelRangeError, match="id 2147483647 does not fit float16: use int32"):
        np.asarray(LazyLabels((1, 2), [MAX_ID], ["2 1"]), dtype=np.float16)


def test_an_id_without_voxels_fits_everywhere():
    lazy = LazyLabels((1, 2), [300, 2], ["1 2", "1 2"])
    assert np.asarray(lazy, dtype=np.uint8).tolist() == [[2, 2]]


def test_pickles_contain_the_labels_and_not_the_buffer_around_them():
    text = np.frombuffer(b" " * 100_000 + b"1 25 2" + b" " * 100_000, np.uint8)
    offsets = np.array([100_000, 100_003, 100_006], np.int32)
    lazy = LazyLabels.from_buffer((2, 3), [7, 9], text, offsets, {"cell": [1, 0]})
    pickled = pickle.dumps(lazy)
    assert len(pickled) < 2_000
    for other in (pickle.loads(pickled), copy.deepcopy(lazy), copy.copy(lazy)):
        assert np.asarray(other).tolist() == [[7, 7, 0], [0, 9, 9]]
        assert other.ids.tolist() == [7, 9]
        assert other.properties["cell"].tolist() == [1, 0]


def test_pickles_name_the_public_class(lazy):
    assert LazyLabels.__module__ == "platelet_em"
    assert b"_platelet_em" not in pickle.dumps([lazy, lazy.slice(0)])


def test_pickles_of_parsed_labels_are_equal_to_them(lazy, dense):
    slices = lazy.slices()
    again = pickle.loads(pickle.dumps([lazy, *slices]))
    assert all(a.equals(b) for a, b in zip(again, [lazy, *slices], strict=True))
    np.testing.assert_array_equal(np.asarray(again[0]), dense)
    assert again[1].properties["name"].tolist() == slices[0].properties["name"].tolist()


def test_workers_send_strings_and_not_voxels(huge):
    from torch.utils.data import DataLoader

    # As voxels this would be 200 TB.
    for shipped in DataLoader([huge, huge], batch_size=None, num_workers=2):
        assert shipped.equals(huge)
        assert shipped[1, -1, -3:].tolist() == [0, 5, 5]


def test_properties_are_computed_when_they_are_asked_for():
    made = []
    text, offsets = np.frombuffer(b"1 2", np.uint8), np.array([0, 3])

    def properties():
        made.append(1)
        return {"cell": [4]}

    lazy = LazyLabels.from_buffer((2, 3), [7], text, offsets, properties)
    assert np.asarray(lazy).sum() == 14
    assert not made
    assert lazy.properties["cell"].tolist() == pickle.loads(pickle.dumps(lazy)).properties["cell"]
    assert len(made) == 1
    bad = LazyLabels.from_buffer((2, 3), [7], text, offsets, lambda: {"cell": [4, 5]})
    with pytest.raises(LabelFormatError, match="property 'cell': expected 1 values"):
        _ = bad.properties


def test_a_mask_needs_no_properties():
    text, offsets = np.frombuffer(b"1 2", np.uint8), np.array([0, 3])
    lazy = LazyLabels.from_buffer((2, 3), [7], text, offsets, lambda: pytest.fail("was read"))
    assert lazy.mask(7).tolist() == [[True, True, False], [False, False, False]]


def test_properties_may_be_computed_by_another_thread():
    text, offsets = np.frombuffer(b"1 2", np.uint8), np.array([0, 3])

    def properties():
        # What another thread does between our question and its answer.
        lazy._properties = {"cell": np.array([4])}
        return {"cell": [4]}

    lazy = LazyLabels.from_buffer((2, 3), [7], text, offsets, properties)
    assert lazy.properties["cell"].tolist() == [4]
    start = threading.Barrier(4)

    def read(lazy):
        start.wait()
        return list(lazy.properties)

    with ThreadPoolExecutor(4) as pool:
        for _ in range(50):
            lazy = LazyLabels.from_buffer((2, 3), [7], text, offsets, lambda: {"cell": [4]})
            assert list(pool.map(read, [lazy] * 4)) == [["cell"]] * 4


@pytest.mark.parametrize("step", [1, 2, 32, 33, 799, -1, -5, -33, -500])
def test_a_result_with_steps_along_the_last_axis_keeps_no_other_elements(step):
    dense = np.random.default_rng(3).integers(0, 3, (4, 5, 800), np.int32)
    read = LazyLabels.from_array(dense)[1:, :, ::step]
    np.testing.assert_array_equal(read, dense[1:, :, ::step])
    owner = read
    while isinstance(owner.base, np.ndarray):
        owner = owner.base
    assert owner.nbytes == read.nbytes


def test_wide_steps_and_empty_windows_of_huge_labels_take_no_memory():
    line = LazyLabels((2**40,), [3], [f"1 5 {2**39 + 1} 1"])
    assert line[:: 2**39].tolist() == [3, 3]
    assert line[2**39 :: -(2**38)].tolist() == [3, 0, 3]
    assert LazyLabels((2**40, 5), [1], ["1 5"])[:, 0:0].shape == (2**40, 0)
    assert LazyLabels((2**40, 0), [], [])[::2].shape == (2**39, 0)


@pytest.mark.parametrize("side", [60, 200])
def test_noise_takes_memory_in_proportion_to_its_runs(side):
    # A run a voxel: the worst that labels can be.
    noise = np.random.default_rng(side).integers(1, 50, (10, side, side), np.int32)
    form = LazyLabels.from_array(noise).to_dict()
    runs = 1 + np.count_nonzero(np.diff(noise.ravel()))
    tracemalloc.start()
    try:
        dense = np.asarray(LazyLabels.from_dict(form))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(dense, noise)
    assert peak - dense.nbytes < 120 * runs


def test_a_deep_copy_shares_no_properties(lazy):
    other = copy.deepcopy(lazy)
    other.properties["class_id"][:] = 0
    assert lazy.properties["class_id"].all()


@given(
    st.lists(
        hnp.arrays(np.int32, (3, 4), elements=st.sampled_from([0, 1, 2, MAX_ID])),
        min_size=1,
        max_size=4,
    )
)
def test_stacked_labels_are_the_stack_of_their_arrays(arrays):
    stacked = LazyLabels.stack([LazyLabels.from_array(array) for array in arrays])
    np.testing.assert_array_equal(stacked, np.stack(arrays))
    assert stacked.dtype == np.int32
    stacked[0] = 0  # the array is the caller's own


def test_any_iterable_of_labels_is_stacked(lazy, dense):
    np.testing.assert_array_equal(LazyLabels.stack(iter([lazy, lazy])), [dense, dense])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([], r"expected at least one, all of one shape, got \[\]"),
        (
            [LazyLabels((3, 2), [], []), LazyLabels((2, 3), [], [])],
            r"expected at least one, all of one shape, got \[\(2, 3\), \(3, 2\)\]",
        ),
        ([LazyLabels((2,), [], []), None], "expected LazyLabels, got None"),
    ],
    ids=["none", "two shapes", "null"],
)
def test_labels_that_cannot_be_stacked_are_refused(labels, message):
    with pytest.raises(LabelFormatError, match=message):
        LazyLabels.stack(labels)


# --- where labels come from -------------------------------------------------------------------


def test_the_struct_of_a_row_and_back(lazy):
    struct = dict(lazy.items())
    assert list(struct) == [
        "shape", "id", "rle", "area", "bbox", "touches_border", "class_id", "name",
    ]  # fmt: skip
    assert (struct["shape"], struct["rle"]) == (list(SHAPE), lazy.rle)
    assert struct["area"].tolist() == lazy.areas.tolist()
    assert struct["bbox"] == lazy.bboxes.tolist()
    again = LazyLabels.from_struct(struct)
    assert again.equals(lazy)
    assert list(again.properties) == ["touches_border", "class_id", "name"]
    assert list(dict(again.items())) == list(struct)


@pytest.mark.parametrize(
    ("labels", "shape"), [([0, 2, 2], (3,)), (5, (1,)), (np.zeros((2, 0, 3), int), (2, 0, 3))]
)
def test_arrays_of_any_extents_become_labels(labels, shape):
    lazy = LazyLabels.from_array(labels)
    assert lazy.shape == shape
    np.testing.assert_array_equal(np.asarray(lazy), np.reshape(labels, shape))


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([[0, -1]], r"^label -1 at \(0, 1\): expected ids from 0"),
        ([2**31], r"^label 2147483648 at \(0,\)"),
        ([0.5], r"^expected integer labels, got dtype float64"),
    ],
)
def test_arrays_of_other_values_than_ids_are_refused(labels, message):
    with pytest.raises(LabelFormatError, match=message):
        LazyLabels.from_array(labels)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((2, 3), [1], ["1 2", "3 1"]), r"^labels: 1 ids, but 2 RLE strings"),
        (((2, 3), [1, 2], ["1 2"]), r"^labels: 2 ids, but 1 RLE strings"),
        (((2, 3), [1], "1 2"), r"^labels: expected a list of RLE strings, .* the string '1 2'"),
        (((2, 3), [1], [None]), r"^labels: id 1: expected a string .* got None"),
        (((2, 3), [0], [""]), r"^labels: id 0: expected ids from 1 to 2147483647"),
        (((2, 3), [1, 2**31], ["", ""]), r"^labels: id 2147483648: expected ids from 1"),
        (((2, 3), [1, 2**70], ["", ""]), r"^labels: expected a list of integer ids, got \[1, 118"),
        (((2, 3), [4, 1, 4], [""] * 3), r"^labels: id 4 comes twice"),
        (((2, 3), [1.0], [""]), r"^labels: expected a list of integer ids, got \[1.0\]"),
        (((2, 3), [True], [""]), r"^labels: expected a list of integer ids, got \[True\]"),
        (((2, 3), 1, [""]), r"^labels: expected a list of integer ids, got 1"),
        (((2, 3), [[1]], [""]), r"^labels: expected a list of integer ids, got \[\[1\]\]"),
        (((2, -3), [], []), r"^labels: shape: expected a list of extents, .* got \(2, -3\)"),
        (((), [], []), r"^labels: shape: expected .* got \(\)"),
        ((None, [], []), r"^labels: shape: expected .* got None"),
        (((2, 3), [1], [""], {"cell": [1, 2]}), r"property 'cell': expected 1 values, .* \(2,\)"),
        (((2, 3), [1], [""], {"cell": 1}), r"property 'cell': expected 1 values, .* shape \(\)"),
    ],
)
def test_fields_that_do_not_fit_each_other_are_refused_at_once(arguments, message):
    with pytest.raises(LabelFormatError, match=message):
        LazyLabels(*arguments)


def test_a_damaged_string_is_named_by_its_id_when_it_is_parsed():
    lazy = LazyLabels((2, 3), [4, 17], ["1 2", "6 2"])
    with pytest.raises(LabelFormatError, match=r"^labels: id 17: run 1 is 6 2; .* the 6 voxels"):
        lazy[0]
    with pytest.raises(LabelFormatError, match=r"^labels: id 17: "):
        np.asarray(lazy)


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"1": "1 2"}, r"expected a key '.info' with the shape, got None"),
        ({".info": [2, 3]}, r"expected a key '.info' with the shape, got \[2, 3\]"),
        ({".info": {}}, r"labels: shape: expected a list of extents, .* got \(\)"),
        ({".info": {"shape": [2, 3]}, "one": "1 2"}, r"key 'one': expected a label from 1 to"),
        ({".info": {"shape": [2, 3]}, "0": "1 2"}, r"key '0': expected a label from 1 to"),
        ({".info": {"shape": [2, 3]}, "1": "1 2", 1: "3 1"}, r"two keys stand for the same label"),
        ({".info": {"shape": [2, 3]}, "1": None}, r"labels: id 1: expected a string .* got None"),
    ],
)
def test_dictionaries_of_another_form_are_refused(form, message):
    with pytest.raises(LabelFormatError, match=message):
        LazyLabels.from_dict(form)


@pytest.mark.parametrize("dtype", ["uint16", "int64", "np.int", "<class 'numpy.int64'>", None, 7])
def test_the_dtype_of_a_dictionary_is_ignored(dtype):
    form = {".info": {"shape": [1, 3], "dtype": dtype}, "8": "2 2"}
    assert np.asarray(LazyLabels.from_dict(form)).tolist() == [[0, 8, 8]]


def test_later_keys_of_a_dictionary_win():
    form = {".info": {"shape": [1, 4]}, "8": "1 4", "2": "2 2", "5": "3 1"}
    assert np.asarray(LazyLabels.from_dict(form)).tolist() == publisher.decode(form).tolist()


@pytest.mark.parametrize("field", ["shape", "id", "rle"])
def test_a_struct_without_a_field_is_refused(field):
    struct = {"shape": [2, 3], "id": [4], "rle": ["5 1"], "area": [1]}
    for broken in ({**struct, field: None}, {k: v for k, v in struct.items() if k != field}):
        with pytest.raises(LabelFormatError, match=rf"with shape, id and rle; \['{field}'\] mis"):
            LazyLabels.from_struct(broken)


@pytest.mark.parametrize("ids", [[True, True], np.array([True, False]), 1 + 0j, [1.0], "1"])
def test_only_ids_can_be_selected(ids):
    labels = LazyLabels((10,), [1, 5], ["1 3", "5 2"])
    with pytest.raises(LabelFormatError, match="select takes ids"):
        labels.select(ids)


def test_a_mask_takes_one_id():
    labels = LazyLabels((10,), [1, 5], ["1 3", "5 2"])
    with pytest.raises(LabelFormatError, match="mask takes one id"):
        labels.mask([1, 5])
    with pytest.raises(LabelFormatError, match="mask takes one id"):
        labels.mask(True)


def test_ids_cannot_be_written_to():
    labels = LazyLabels((10,), [1, 5], ["1 3", "5 2"])
    with pytest.raises(ValueError, match="read-only"):
        labels.ids[0] = 8


def test_runs_are_canonical_and_made_once():
    lazy = LazyLabels((2, 5), [9, 3], ["6 2 1 3 4 2", "2 2"])
    assert triples(lazy.runs) == [(0, 1, 0), (1, 3, 1), (3, 7, 0)]
    assert lazy.runs is lazy.runs


def test_the_name_of_a_field_as_an_index_says_where_fields_are():
    labels = LazyLabels((2, 3), [4], ["1 2"])
    with pytest.raises(IndexError, match=r"got 'id': the fields of labels are \.ids, "):
        labels["id"]
    with pytest.raises(IndexError):
        np.asarray(labels)["id"]
