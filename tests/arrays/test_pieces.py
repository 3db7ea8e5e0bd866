"""Connected pieces from runs, against a flood fill of the voxels."""

import numpy as np
import pytest
from skimage.measure import label

from _platelet_em.arrays.pieces import count_pieces
from _platelet_em.arrays.runs import Runs, encode


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
