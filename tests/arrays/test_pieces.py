"""Connected pieces from runs, against a flood fill of the voxels."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from skimage.measure import label

from _platelet_em.arrays import memory
from _platelet_em.arrays.pieces import connected_pieces, count_pieces
from _platelet_em.arrays.runs import Runs, check_runs, encode, paint
from _platelet_em.errors import TooLargeError


@pytest.mark.parametrize("seed", range(40))
def test_pieces_are_those_of_a_flood_fill(seed):
    rng = np.random.default_rng(seed)
    shape = tuple(rng.integers(1, 8, 3))
    labels = rng.integers(0, 3, shape) * (rng.random(shape) < 0.8)
    ids, runs = encode(labels)
    expected = [label(labels == i, connectivity=1).max() for i in ids]
    assert count_pieces(runs, shape, len(ids)).tolist() == expected


def test_the_ends_of_rows_and_slices_do_not_touch():
    labels = np.zeros((2, 2, 3), np.int32)
    labels[0, 0, 2] = labels[0, 1, 0] = labels[1, 0, 1] = 4
    labels[0, 1, 1] = 5
    assert count_pieces(encode(labels)[1], labels.shape, 2).tolist() == [3, 1]


def test_no_runs_have_no_pieces():
    assert count_pieces(Runs.empty(), (2, 3, 4), 2).tolist() == [0, 0]


SIDES = st.sampled_from([1, 1, 2, 3, 5, 8])
MASKS = st.tuples(SIDES, SIDES, SIDES).flatmap(lambda shape: arrays(np.bool_, shape))


@given(mask=MASKS, connectivity=st.sampled_from([1, 2, 3]))
def test_pieces_of_masks_are_numbered_as_in_scikit_image(mask, connectivity):
    count, runs = connected_pieces(encode(mask)[1], mask.shape, connectivity)
    expected, number = label(mask, connectivity=connectivity, return_num=True)
    assert count == number
    check_runs(runs, mask.size, count)
    ids = np.arange(1, count + 1, dtype=np.int32)
    np.testing.assert_array_equal(paint(runs, ids, mask.size).reshape(mask.shape), expected)
    # Maximal: a piece that goes on in the next row is one run.
    touch = runs.starts[1:] == runs.stops[:-1]
    assert (runs.owners[1:][touch] != runs.owners[:-1][touch]).all()


@pytest.mark.parametrize("connectivity", [1, 2, 3])
@pytest.mark.parametrize("seed", range(20))
def test_larger_masks_are_numbered_as_in_scikit_image(seed, connectivity):
    rng = np.random.default_rng(seed)
    mask = rng.random((6, 30, 40)) < rng.uniform(0.05, 0.6)
    _, runs = connected_pieces(encode(mask)[1], mask.shape, connectivity)
    found = paint(runs, np.arange(1, mask.size, dtype=np.int32), mask.size).reshape(mask.shape)
    np.testing.assert_array_equal(found, label(mask, connectivity=connectivity))


def test_winding_pieces_are_one():
    mask = np.zeros((1, 41, 41), bool)
    mask[0, ::2] = mask[0, 1::4, -1] = mask[0, 3::4, 0] = True
    for axes in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (2, 1, 0)):
        turned = np.ascontiguousarray(mask.transpose(axes))
        assert connected_pieces(encode(turned)[1], turned.shape, 1)[0] == 1


def test_pieces_of_instances_stay_apart():
    labels = np.array([[[1, 2, 2], [1, 1, 2], [0, 0, 0], [2, 0, 1]]])
    count, runs = connected_pieces(encode(labels)[1], labels.shape, 3)
    assert count == 4
    assert runs.owners.tolist() == [0, 1, 0, 1, 2, 3]


def test_runs_over_more_rows_than_memory_has_room_for_are_refused(monkeypatch):
    monkeypatch.setattr(memory, "has_room", lambda size: False)
    whole = Runs(np.array([0]), np.array([2**22]), np.array([0]))
    with pytest.raises(TooLargeError, match=r"shape \(1, 4194304, 1\)"):
        connected_pieces(whole, (1, 2**22, 1), 1)
