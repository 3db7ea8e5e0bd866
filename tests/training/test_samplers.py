"""`GridWindows` and `RandomWindows`: arguments, what grids cover, what is drawn at random."""

import dataclasses
import itertools
import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from _platelet_em.errors import ArgumentError
from _platelet_em.training.geometry import InstanceBoxes, VolumeExtent
from _platelet_em.training.samplers import GridWindows, RandomWindows

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
EMPTY_VOLUME = VolumeExtent("50", (10, 40, 60))
GOLDEN = [(2, 16, 52), (4, 4, 4), (5, 11, 38)]


def locate_all(sampler, *volumes, epoch=0):
    """(Position of the volume, corner) of each window of an epoch."""
    plan = sampler.plan(volumes)
    return [plan.locate(index, epoch) for index in range(plan.count)]


# --- arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(4,), (1, 2, 3, 4), (0, 4), (4, -1), (1.5, 2), (np.inf, 2), 7, "ab", None]
)
def test_invalid_shapes_are_refused(shape):
    for make in (GridWindows, lambda shape: RandomWindows(shape, 1)):
        with pytest.raises(ArgumentError, match="shape: expected 2 or 3 extents of at least 1"):
            make(shape)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_shape": (4, 9)}, r"label_shape: expected extents of at most \(8, 8\)"),
        ({"label_shape": (1, 4, 4)}, "label_shape: expected 2 extents"),
        ({"pad": "edge"}, "pad: expected 'reflect', or None"),
        ({"count": 0}, "count: expected at least 1, got 0"),
        ({"count": 1.5}, "count: expected an integer, got 1.5"),
        ({"count": True}, "count: expected an integer, got True"),
        ({"seed": -1}, "seed: expected at least 0, got -1"),
        ({"min_foreground": 1.01}, "min_foreground: expected a share"),
        ({"min_foreground": float("nan")}, "min_foreground: expected a share"),
        ({"min_foreground": "0.5"}, "min_foreground: expected a share"),
        ({"class_weights": [1, 1]}, "class_weights: expected 7 weights"),
        ({"class_weights": [0] * 7}, "class_weights: expected 7 weights"),
        ({"class_weights": {3: -1}}, "class_weights: expected 7 weights"),
        ({"class_weights": {3: float("inf")}}, "class_weights: expected 7 weights"),
        ({"class_weights": {7: 1}}, "class_weights: expected classes from 0 to 6, got 7"),
        ({"class_weights": "abcdefg"}, "class_weights: expected 7 weights"),
        ({"class_weights": 3}, "class_weights: expected 7 weights"),
    ],
)
def test_invalid_arguments_are_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        RandomWindows(**{"shape": (8, 8), "count": 1, **options})


@pytest.mark.parametrize("stride", [(9, 8), (4, 5), (1, 1, 1), (0, 1)])
def test_strides_that_leave_gaps_are_refused(stride):
    with pytest.raises(ArgumentError, match="stride: expected"):
        GridWindows((8, 8), stride=stride, label_shape=(4, 4))


def test_samplers_are_frozen_comparable_and_hashable():
    one = RandomWindows([8, 8], np.int64(3), class_weights={3: 1})
    assert one == RandomWindows((8, 8), 3, class_weights=[0, 0, 0, 1, 0, 0, 0])
    assert len({one, RandomWindows((8, 8), 3), GridWindows((8, 8)), GridWindows([8, 8])}) == 3
    with pytest.raises(dataclasses.FrozenInstanceError, match="shape"):
        one.shape = (9, 9)


# --- grid -------------------------------------------------------------------------------------


@given(SHAPES, SHAPES, st.data())
def test_grids_cover_each_voxel_in_order_and_end_with_the_volume(volume, label, data):
    stride = tuple(data.draw(st.integers(1, length)) for length in label)
    found = locate_all(GridWindows(label, stride), VolumeExtent("", volume))
    corners = [corner for _, corner in found]
    covered = np.zeros(volume, int)
    for corner in corners:
        pairs = zip(corner, label, strict=True)
        covered[tuple(slice(max(c, 0), c + length) for c, length in pairs)] += 1
    assert covered.min() >= 1
    assert corners == sorted(set(corners))
    for axis, (size, length) in enumerate(zip(volume, label, strict=True)):
        positions = {corner[axis] for corner in corners}
        if length <= size:
            assert (min(positions), max(positions)) == (0, size - length)
        else:
            [position] = positions
            before, after = -position, position + length - size
            assert after - before in (0, 1)


def test_a_grid_goes_volume_by_volume():
    volumes = VolumeExtent("50", (2, 2, 4)), VolumeExtent("24", (4, 2, 3))
    assert locate_all(GridWindows((2, 2, 2)), *volumes) == [
        (0, (0, 0, 0)), (0, (0, 0, 2)),
        (1, (0, 0, 0)), (1, (0, 0, 1)), (1, (2, 0, 0)), (1, (2, 0, 1)),
    ]  # fmt: skip


def test_a_grid_of_slices_takes_each_slice():
    found = locate_all(GridWindows((4, 4), stride=(3, 4)), VolumeExtent("50", (2, 5, 4)))
    assert [c for _, c in found] == [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0)]


def test_a_grid_without_padding_that_reaches_beyond_the_border_is_refused():
    volume = VolumeExtent("50", (4, 6, 4))
    GridWindows((2, 4, 4), pad=None).plan([volume])
    with pytest.raises(ArgumentError, match="volume 50: image windows of 4 along y reach beyond"):
        GridWindows((2, 4, 4), label_shape=(2, 2, 4), pad=None).plan([volume])
    with pytest.raises(ArgumentError, match=r"50: an image window of 4 .* 3 voxels along x"):
        GridWindows((2, 4, 4), pad=None).plan([VolumeExtent("50", (4, 6, 3))])


# --- random -----------------------------------------------------------------------------------


@given(SHAPES, SHAPES, st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_random_label_windows_are_inside_or_centered(volume, label, seed, margin, padded):
    image = tuple(length + margin for length in label)
    if not padded and any(i > v for i, v in zip(image, volume, strict=True)):
        return
    sampler = RandomWindows(image, 20, label, seed, pad="reflect" if padded else None)
    for _, corner in locate_all(sampler, VolumeExtent("", volume)):
        for c, length, size in zip(corner, label, volume, strict=True):
            assert 0 <= c <= size - length if length <= size else c == -((length - size) // 2)
            if not padded:
                assert c - margin // 2 >= 0
                assert c - margin // 2 + length + margin <= size


def test_every_position_is_equally_likely():
    located = locate_all(RandomWindows((9, 39), 6000), VolumeExtent("", (3, 10, 40)))
    found = Counter(corner for _, corner in located)
    assert set(found) == set(itertools.product(range(3), range(2), range(2)))
    # 12 positions: 500 of each, give or take 5 standard deviations.
    assert all(abs(n - 500) < 110 for n in found.values())


def test_windows_depend_on_seed_epoch_and_index_only():
    sampler = RandomWindows((2, 5, 5), 30, seed=7)
    first = locate_all(sampler, EMPTY_VOLUME)
    assert first == locate_all(sampler, EMPTY_VOLUME)
    assert first != locate_all(sampler, EMPTY_VOLUME, epoch=1)
    assert first != locate_all(dataclasses.replace(sampler, seed=8), EMPTY_VOLUME)
    assert locate_all(dataclasses.replace(sampler, count=60), EMPTY_VOLUME)[:30] == first
    assert len(set(first)) > 25


def test_windows_of_a_seed_never_change():
    """Golden: a script that is run again years later reads the same windows."""
    found = locate_all(RandomWindows((2, 5, 5), 3, seed=7), EMPTY_VOLUME, epoch=2)
    assert [corner for _, corner in found] == GOLDEN


@given(st.lists(st.integers(1, 50), min_size=1, max_size=5), st.integers(1, 200))
def test_windows_are_distributed_by_voxels_and_mixed(depths, count):
    extents = [VolumeExtent(str(depth), (depth, 4, 4)) for depth in depths]
    volumes = np.array([v for v, _ in locate_all(RandomWindows((4, 4), count), *extents)])
    assert len(volumes) == count
    for begin in (0, count // 2):
        for k, depth in enumerate(depths):
            exact = depth / sum(depths) * (count - begin)
            assert abs((volumes[begin:] == k).sum() - exact) <= 2


def test_windows_of_one_volume_take_no_memory_whatever_their_number():
    volume = VolumeExtent("50", (4, 30, 30))
    plan = RandomWindows((2, 8, 8), 10**15).plan([volume])
    assert plan.count == 10**15
    assert plan.locate(10**15 - 1, 0) == plan.locate(10**15 - 1, 0)
    assert len(pickle.dumps(plan)) < 2000
    with pytest.raises(ArgumentError, match="at most 100000000 windows of several volumes, got 1"):
        RandomWindows((2, 8, 8), 10**15).plan([volume, volume])


# --- foreground and classes -------------------------------------------------------------------


def volume_with(*instances, shape=(10, 40, 60)):
    """A volume with instances (bounding box, area, class)."""
    boxes, areas, classes = map(np.array, zip(*instances, strict=True))
    return VolumeExtent("50", shape, InstanceBoxes(boxes, areas, classes))


HALF_BOX = ((0, 0, 0, 10, 10, 10), 500, 3)
"""An organelle in a corner of the volume that fills half of its bounding box."""
THREE = ((0, 0, 0, 2, 4, 4), 32, 2), ((5, 30, 50, 7, 33, 52), 9, 6), ((8, 0, 0, 9, 2, 2), 4, 6)


def test_windows_have_the_foreground_by_the_estimate():
    volume = volume_with(HALF_BOX)
    sampler = RandomWindows((4, 8, 8), 50, min_foreground=0.25)
    for _, (_, y, x) in locate_all(sampler, volume):
        assert 0.5 * min(max(10 - y, 0), 8) * min(max(10 - x, 0), 8) / 64 >= 0.25
    unconstrained = locate_all(RandomWindows((4, 8, 8), 50), volume)
    assert any(x > 10 for _, (_, _, x) in unconstrained)


def test_the_foreground_of_a_padded_window_is_that_of_the_part_in_the_volume():
    volume = volume_with(HALF_BOX, shape=(10, 10, 10))
    found = locate_all(RandomWindows((30, 30, 30), 2, min_foreground=0.5), volume)
    assert found == [(0, (-10, -10, -10))] * 2


def test_a_foreground_that_no_window_has_is_an_error():
    plan = RandomWindows((4, 8, 8), 1, min_foreground=0.51).plan([volume_with(HALF_BOX)])
    message = r"volume 50: expected .* at least 0.51.* has 0\.[0-9]+; use a smaller"
    with pytest.raises(ArgumentError, match=message):
        plan.locate(0, 0)


@pytest.mark.parametrize("shape", [(2, 8, 8), (1, 1, 1), (10, 40, 60)])
def test_weighted_windows_contain_a_voxel_of_a_box_of_the_class(shape):
    volume = volume_with(*THREE)
    boxes, counts = volume.instances.boxes, Counter()
    sampler = RandomWindows(shape, 300, class_weights={2: 1, 6: 1})
    for _, corner in locate_all(sampler, volume):
        low = np.maximum(boxes[:, :3], corner)
        high = np.minimum(boxes[:, 3:], np.add(corner, shape))
        contained = (high > low).all(axis=1)
        assert contained.any()
        counts.update(np.flatnonzero(contained).tolist())
    if shape == (1, 1, 1):
        # Half of the windows contain class 2; the two instances of class 6 share the other half.
        assert abs(counts[0] - 150) < 45
        assert abs(counts[1] - 75) < 40
        assert abs(counts[2] - 75) < 40


def test_background_and_cell_are_drawn_at_any_position():
    sampler = RandomWindows((1, 1, 1), 200, class_weights={0: 1, 1: 1})
    found = locate_all(sampler, volume_with(*THREE))
    assert len({corner for _, corner in found}) > 190


def test_weights_of_classes_that_the_volume_lacks_are_ignored():
    volume = volume_with(HALF_BOX)
    found = locate_all(RandomWindows((1, 1, 1), 50, class_weights={3: 1, 6: 1000}), volume)
    assert all(max(corner) < 10 for _, corner in found)
    message = r"volume 50: expected organelles .* got only organelles of classes \[3\]"
    with pytest.raises(ArgumentError, match=message):
        RandomWindows((1, 1, 1), 1, class_weights={6: 1}).plan([volume])
