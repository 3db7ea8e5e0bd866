"""Colors of ids: neighbors differ, to color-blind readers too, and few colors are enough."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from skimage.segmentation import watershed
from support.color_vision import DEFICIENCIES, differences

from _platelet_em.arrays.colors import ID_COLORS, color_ids
from _platelet_em.limits import MAX_ID

id_arrays = hnp.arrays(
    np.int32, hnp.array_shapes(min_dims=2, max_dims=2, max_side=6), elements=st.integers(0, MAX_ID)
)


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_colors_differ_from_each_other_and_from_what_is_behind_them(deficiency):
    behind = [(0, 0, 0), (64, 64, 64)]
    found = differences([*ID_COLORS.tolist(), *behind], deficiency)
    assert found[:-2].min() > 17


@settings(deadline=None)
@given(ids=id_arrays)
def test_each_id_has_one_color_and_background_is_black(ids):
    picture = color_ids(ids)
    assert (picture.shape, picture.dtype) == ((*ids.shape, 3), np.uint8)
    assert (picture[ids == 0] == 0).all()
    known = {tuple(color) for color in ID_COLORS.tolist()}
    for label in set(ids[ids > 0].tolist()):
        (color,) = {tuple(c) for c in picture[ids == label].tolist()}
        assert color in known


def tiles(seed, count=60, size=120):
    """Labels that fill a square, of random shapes: a map with countries."""
    rng = np.random.default_rng(seed)
    markers = np.zeros((size, size), np.int32)
    ids = rng.choice(np.arange(1, 100_000), count, replace=False)
    markers[tuple(rng.integers(0, size, (2, count)))] = ids
    return watershed(rng.random((size, size)), markers)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("multiple", [1, 8])
def test_neighbors_have_different_colors(seed, multiple):
    labels = tiles(seed) * multiple  # multiples of 8 would all choose the same color
    picture = color_ids(labels)
    for a, b, ids, others in (
        (picture[1:], picture[:-1], labels[1:], labels[:-1]),
        (picture[:, 1:], picture[:, :-1], labels[:, 1:], labels[:, :-1]),
    ):
        assert ((a != b).any(axis=-1) == (ids != others)).all()


def test_instances_with_a_small_gap_are_neighbors():
    labels = np.zeros((200, 200), np.int32)
    labels[50:100, 50:98], labels[50:100, 100:150] = 8, 16
    picture = color_ids(labels)
    assert (picture[60, 60] != picture[60, 120]).any()


def test_an_id_keeps_its_color_where_none_of_it_is_near():
    labels = np.zeros((200, 200), np.int32)
    labels[:20, :20], labels[:20, 150:], labels[150:, :20] = 3, 11, 4
    picture = color_ids(labels)
    assert picture[0, 0].tolist() == picture[0, 199].tolist() == ID_COLORS[3].tolist()
    assert picture[199, 0].tolist() == ID_COLORS[4].tolist()


def test_with_more_neighbors_than_colors_each_still_has_one():
    labels = np.repeat(np.arange(1, 41, dtype=np.int32), 5)[None].repeat(5, axis=0)
    labels[2] = 41  # touches all of them
    assert (color_ids(labels) > 0).any(axis=-1).all()


def test_of_very_many_ids_each_has_the_color_of_its_own_choice():
    # noise, of which a search for neighbors would take minutes
    ids = np.arange(400 * 400, dtype=np.int64).reshape(400, 400) * 3
    started = time.process_time()
    picture = color_ids(ids)
    assert time.process_time() - started < 2
    assert picture[0, 0].tolist() == [0, 0, 0]
    assert (picture.reshape(-1, 3)[1:] == ID_COLORS[ids.ravel()[1:] % 8]).all()


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.int64, np.uint32])
def test_the_dtype_of_ids_does_not_matter(dtype):
    ids = np.array([[0, 3, 100]])
    assert color_ids(ids.astype(dtype)).tolist() == color_ids(ids.astype(np.int32)).tolist()
