"""Volumes of rows: slices are joined as they were cut, and travel without the rows read so far."""

import pickle

import numpy as np

import platelet_em
from _platelet_em.hf.volume import RowVolume, join_slices


def test_joined_slices_are_the_volume():
    rng = np.random.default_rng(0)
    dense = rng.integers(0, 4, (5, 6, 7)) * 10
    labels = platelet_em.LazyLabels.from_array(dense)
    joined = join_slices(labels.slices())
    assert joined.equals(labels)
    assert joined.ids.tolist() == [10, 20, 30]


def test_properties_of_joined_slices_are_those_of_the_first_without_the_border():
    slices = [
        platelet_em.LazyLabels(
            (1, 2), ids, rle, {"cell": cells, "touches_border": [True] * len(ids)}
        )
        for ids, rle, cells in (([7], ["1 1"], [1]), ([5, 7], ["1 1", "2 1"], [2, 3]))
    ]
    joined = join_slices(slices)
    assert joined.ids.tolist() == [5, 7]
    assert joined.properties.keys() == {"cell"}
    assert joined.properties["cell"].tolist() == [2, 1]


def test_rows_that_were_read_are_not_pickled():
    rows = [{"image": np.full((2, 3), z, np.uint16)} for z in range(4)]
    volume = RowVolume("50", rows, ["image"], range(4), range(4))
    assert volume.image(3)[0, 0] == 3
    assert volume._kept
    copied = pickle.loads(pickle.dumps(volume))
    assert not copied._kept
    assert copied.image(3)[0, 0] == 3
