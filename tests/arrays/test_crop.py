"""`LazyLabels.crop`, compared with indexing the dense array."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.runs import HUGE, HUGE_SIZE, assert_canonical, label_arrays

from _platelet_em.arrays import memory
from platelet_em import LazyLabels, TooLargeError


@st.composite
def cases(draw):
    array = draw(label_arrays)
    return array, draw(hnp.basic_indices(array.shape, allow_newaxis=True, allow_ellipsis=True))


@given(case=cases())
def test_a_crop_is_the_indexed_array(case):
    array, index = case
    labels, expected = LazyLabels.from_array(array), array[index]
    if not np.ndim(expected):
        with pytest.raises(IndexError, match="crop: expected integers, slices"):
            labels.crop(index)
        return
    crop = labels.crop(index)
    assert crop.shape == expected.shape
    np.testing.assert_array_equal(crop, expected)
    assert_canonical(crop.runs)
    assert crop.ids.tolist() == np.unique(expected[expected > 0]).tolist()
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(crop)), expected)


def test_properties_are_those_of_the_instances_in_it():
    array = np.zeros((3, 4, 5), np.int32)
    array[:, 1:3, 1:3], array[0, 0, 0], array[1, 3, 4] = 7, 2, 9
    properties = {"class_id": [3, 4, 5], "touches_border": [True, True, True]}
    labels = LazyLabels((3, 4, 5), [2, 7, 9], LazyLabels.from_array(array).rle, properties)
    labels.class_names = ("a", "b")
    crop = labels.crop(np.s_[1, :, :4])
    assert crop.ids.tolist() == [7]
    assert crop.properties["class_id"].tolist() == [4]
    assert crop.properties["touches_border"].tolist() == [False]
    assert crop.class_names == ("a", "b")
    whole = labels.crop(...)
    assert whole.properties["touches_border"].tolist() == [True, True, True]
    assert whole.equals(labels)


def test_nothing_is_decoded():
    labels = LazyLabels(HUGE, [4, 6], [f"1 3 {HUGE_SIZE} 1", f"{HUGE_SIZE - 9} 2"])
    crop = labels.crop(np.s_[-2:, :, 5:])
    assert crop.shape == (2, 100_000, 99_995)
    assert crop.areas.tolist() == [1, 2]
    assert labels.crop(0).areas.tolist() == [3]
    assert crop.crop(np.s_[-1, -1, -10:])[:].tolist() == [6, 6, 0, 0, 0, 0, 0, 0, 0, 4]


@pytest.mark.parametrize("index", [[0, 1], (np.array([True, False]),), ([0], slice(None))])
def test_other_indices_are_errors(index):
    labels = LazyLabels((2, 3), [7], ["1 2"])
    with pytest.raises(IndexError, match=r"crop: expected integers.*x\[index\] gives an array"):
        labels.crop(index)


def test_an_index_outside_is_numpys_error():
    with pytest.raises(IndexError, match="index 2 is out of bounds for axis 0 with size 2"):
        LazyLabels((2, 3), [7], ["1 2"]).crop(2)


def test_a_crop_of_more_rows_than_fit_memory_is_refused():
    labels = LazyLabels((10**6, 10**6, 10), [4], ["1 3"])
    with pytest.raises(TooLargeError, match=r"shape \(1000000, 1000000, 9\)"):
        labels.crop(np.s_[..., 1:])


def test_rows_are_counted_after_those_that_follow_each_other_are_joined():
    labels = LazyLabels((2 * 10**12, 1), [4], ["7 2"])
    assert labels.crop(np.s_[5 : 10**12]).areas.tolist() == [2]


@pytest.mark.parametrize("last", [np.s_[1::-1], np.s_[::40]])
def test_a_window_of_more_rows_than_fit_memory_is_refused(monkeypatch, last):
    monkeypatch.setattr(memory, "_physical_memory", lambda: 2**29)
    labels = LazyLabels((10**7, 1, 80), [4], ["1 3"])
    assert labels[: 10**6, :, last].shape == (10**6, 1, 2)
    with pytest.raises(TooLargeError, match=r"shape \(10000000, 1, "):
        labels[:, :, last]
