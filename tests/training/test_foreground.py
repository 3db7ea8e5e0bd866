"""`foreground`: voxels of instances counted from runs, against the windows as they are read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import platelet_em
from _platelet_em.hf.volume import RowVolume
from _platelet_em.training.foreground import ForegroundCounter, measure_instances
from _platelet_em.training.geometry import reflect
from platelet_em import LazyLabels

FOREGROUND = "organelles"
SIZE = st.tuples(st.integers(1, 4), st.integers(1, 6), st.integers(1, 6))


def make_volume(dense, *, slices=False):
    """Rows of these organelles as a volume, or as its slices."""
    labels = [LazyLabels.from_array(part) for part in (dense if slices else [dense])]
    rows = [{FOREGROUND: each} for each in labels]
    zs = range(len(rows)) if slices else None
    return RowVolume("50", rows, [FOREGROUND], range(len(rows)), zs)


@given(SIZE, SIZE, st.integers(0, 99), st.booleans(), st.data())
def test_counts_are_those_of_the_window_as_it_is_returned(size, shape, seed, slices, data):
    dense = np.random.default_rng(seed).integers(0, 3, size, np.int32)
    if slices:
        shape = (1, *shape[1:])
    corner = tuple(
        data.draw(st.integers(0, n - k) if k <= n else st.integers(-k, n))
        for n, k in zip(size, shape, strict=True)
    )
    indices = [reflect(*axis) for axis in zip(corner, shape, size, strict=True)]
    expected = (dense[np.ix_(*indices)] > 0).sum()
    counter = ForegroundCounter(make_volume(dense, slices=slices), FOREGROUND)
    assert counter(corner, shape) == expected


def test_instances_are_measured_per_slice_or_of_the_volume():
    dense = np.zeros((2, 4, 5), np.int32)
    dense[:, 1:3, 2:4], dense[1, 0, 0] = 7, 9
    labels = LazyLabels.from_array(dense)
    classed = LazyLabels(labels.shape, labels.ids, labels.rle, {"class_id": [3, 5]})
    volume = RowVolume("50", [{FOREGROUND: classed}], [FOREGROUND], [0])
    whole = measure_instances(volume, FOREGROUND, is_plane=False)
    assert whole.boxes.tolist() == [[0, 1, 2, 2, 3, 4], [1, 0, 0, 2, 1, 1]]
    assert (whole.areas.tolist(), whole.classes.tolist()) == ([8, 1], [3, 5])
    planes = measure_instances(volume, FOREGROUND, is_plane=True)
    assert planes.boxes.tolist() == [[0, 1, 2, 1, 3, 4], [1, 1, 2, 2, 3, 4], [1, 0, 0, 2, 1, 1]]
    assert (planes.areas.tolist(), planes.classes.tolist()) == ([4, 4, 1], [3, 3, 5])


@pytest.mark.parametrize("slices", [False, True])
def test_labels_without_classes_are_refused(slices):
    volume = make_volume(np.ones((2, 3, 4), np.int32), slices=slices)
    with pytest.raises(platelet_em.ArgumentError, match="need labels with 'class_id'"):
        measure_instances(volume, FOREGROUND, is_plane=slices)
