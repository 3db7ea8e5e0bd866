"""Samplers: their checks, what grids cover, and where random windows lie."""

import dataclasses
import itertools
import pickle
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from _platelet_em.errors import ArgumentError
from _platelet_em.training.geometry import Objects, Target
from _platelet_em.training.samplers import GridWindows, RandomWindows

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
BLANK = Target("50", (10, 40, 60))
GOLDEN = [(2, 16, 52), (4, 4, 4), (5, 11, 38)]


def locate_all(sampler, *targets, epoch=0):
    plan = sampler.plan(targets)
    return [plan.locate(index, epoch) for index in range(plan.count)]


# --- checks -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(4,), (1, 2, 3, 4), (0, 4), (4, -1), (1.5, 2), (np.inf, 2), 7, "ab", None]
)
def test_other_shapes_are_refused(shape):
    for make in (GridWindows, lambda shape: RandomWindows(shape, 1)):
        with pytest.raises(ArgumentError, match="shape: expected extents"):
            make(shape)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_shape": (4, 9)}, r"label_shape: expected 2 extents of at most \(8, 8\)"),
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
def test_other_arguments_are_refused(options, message):
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
    stride = tuple(data.draw(st.integers(1, extent)) for extent in label)
    corners = [corner for _, corner in locate_all(GridWindows(label, stride), Target("", volume))]
    covered = np.zeros(volume, int)
    for corner in corners:
        window = tuple(
            slice(max(c, 0), c + extent) for c, extent in zip(corner, label, strict=True)
        )
        covered[window] += 1
    assert covered.min() >= 1
    assert corners == sorted(set(corners))
    for axis in range(3):
        places = {corner[axis] for corner in corners}
        size, extent = volume[axis], label[axis]
        if extent <= size:
            assert (min(places), max(places)) == (0, size - extent)
        else:
            [place] = places
            before, after = -place, place + extent - size
            assert after - before in (0, 1)


def test_a_grid_goes_volume_by_volume():
    grid = GridWindows((2, 2, 2))
    found = locate_all(grid, Target("50", (2, 2, 4)), Target("24", (4, 2, 3)))
    assert found == [
        (0, (0, 0, 0)), (0, (0, 0, 2)),
        (1, (0, 0, 0)), (1, (0, 0, 1)), (1, (2, 0, 0)), (1, (2, 0, 1)),
    ]  # fmt: skip


def test_a_plane_grid_takes_each_slice():
    corners = locate_all(GridWindows((4, 4), stride=(3, 4)), Target("50", (2, 5, 4)))
    assert [c for _, c in corners] == [(0, 0, 0), (0, 1, 0), (1, 0, 0), (1, 1, 0)]


def test_an_unpadded_grid_that_reaches_beyond_is_refused():
    GridWindows((2, 4, 4), pad=None).plan([Target("50", (4, 6, 4))])
    with pytest.raises(ArgumentError, match="volume 50: image windows of 4 along y reach beyond"):
        GridWindows((2, 4, 4), label_shape=(2, 2, 4), pad=None).plan([Target("50", (4, 6, 4))])
    with pytest.raises(ArgumentError, match=r"50: an image window of 4 .* 3 voxels along x"):
        GridWindows((2, 4, 4), pad=None).plan([Target("50", (4, 6, 3))])


# --- random -----------------------------------------------------------------------------------


@given(SHAPES, SHAPES, st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_random_label_windows_lie_inside_or_about_the_middle(volume, label, seed, more, padded):
    image = tuple(extent + more for extent in label)
    if not padded and any(i > v for i, v in zip(image, volume, strict=True)):
        return
    sampler = RandomWindows(image, 20, label, seed, pad="reflect" if padded else None)
    for _, corner in locate_all(sampler, Target("", volume)):
        for c, extent, size in zip(corner, label, volume, strict=True):
            assert 0 <= c <= size - extent if extent <= size else c == -((extent - size) // 2)
            if not padded:
                assert c - more // 2 >= 0
                assert c - more // 2 + extent + more <= size


def test_every_place_is_equally_likely():
    found = Counter(
        c for _, c in locate_all(RandomWindows((9, 39), 6000), Target("", (3, 10, 40)))
    )
    assert set(found) == set(itertools.product(range(3), range(2), range(2)))
    # 12 places: 500 each, and 5 standard deviations.
    assert all(abs(n - 500) < 110 for n in found.values())


def test_seed_epoch_and_index_decide():
    sampler = RandomWindows((2, 5, 5), 30, seed=7)
    first = locate_all(sampler, BLANK)
    assert first == locate_all(sampler, BLANK)
    assert first != locate_all(sampler, BLANK, epoch=1)
    assert first != locate_all(dataclasses.replace(sampler, seed=8), BLANK)
    assert locate_all(dataclasses.replace(sampler, count=60), BLANK)[:30] == first
    assert len(set(first)) > 25


def test_windows_of_a_seed_never_change():
    """Golden: a script that is run again years later reads the same windows."""
    found = [c for _, c in locate_all(RandomWindows((2, 5, 5), 3, seed=7), BLANK, epoch=2)]
    assert found == GOLDEN


@given(st.lists(st.integers(1, 50), min_size=1, max_size=5), st.integers(1, 200))
def test_windows_are_shared_out_by_voxels_and_mixed(depths, count):
    targets = [Target(str(d), (d, 4, 4)) for d in depths]
    volumes = np.array([v for v, _ in locate_all(RandomWindows((4, 4), count), *targets)])
    assert len(volumes) == count
    for begin in (0, count // 2):
        for k, depth in enumerate(depths):
            exact = depth / sum(depths) * (count - begin)
            assert abs((volumes[begin:] == k).sum() - exact) <= 2


# --- foreground and classes -------------------------------------------------------------------


def scene(*rows):
    """Objects from rows of (box, area, class)."""
    boxes, areas, classes = zip(*rows, strict=True)
    return Objects(np.array(boxes), np.array(areas), np.array(classes))


CORNER = scene(((0, 0, 0, 10, 10, 10), 500, 3))
"""An organelle in a corner of a volume of 10x40x60, that fills half of its box."""
TWO = scene(
    ((0, 0, 0, 2, 4, 4), 32, 2), ((5, 30, 50, 7, 33, 52), 9, 6), ((8, 0, 0, 9, 2, 2), 4, 6)
)


def test_windows_with_foreground_by_the_estimate():
    target = Target("50", (10, 40, 60), CORNER)
    sampler = RandomWindows((4, 8, 8), 50, min_foreground=0.25)
    for _, (_, y, x) in locate_all(sampler, target):
        assert 0.5 * min(max(10 - y, 0), 8) * min(max(10 - x, 0), 8) / 64 >= 0.25
    free = [c for _, c in locate_all(RandomWindows((4, 8, 8), 50), target)]
    assert any(x > 10 for _, _, x in free)


def test_the_foreground_of_a_padded_window_is_that_of_its_inner_part():
    target = Target("50", (10, 10, 10), scene(((0, 0, 0, 10, 10, 10), 500, 3)))
    found = locate_all(RandomWindows((30, 30, 30), 2, min_foreground=0.5), target)
    assert found == [(0, (-10, -10, -10))] * 2


def test_a_foreground_that_no_window_has_is_an_error():
    plan = RandomWindows((4, 8, 8), 1, min_foreground=0.51).plan(
        [Target("50", (10, 40, 60), CORNER)]
    )
    with pytest.raises(
        ArgumentError, match=r"volume 50: expected .* at least 0.51.* has 0\.[0-9]+"
    ):
        plan.locate(0, 0)


def test_weighted_windows_hold_a_voxel_of_a_box_of_the_class():
    target = Target("50", (10, 40, 60), TWO)
    at = {}
    for label in ((2, 8, 8), (1, 1, 1), (10, 40, 60)):
        sampler = RandomWindows(label, 300, class_weights={2: 1, 6: 1})
        counts = Counter()
        for _, corner in locate_all(sampler, target):
            low = np.maximum(TWO.boxes[:, :3], corner)
            high = np.minimum(TWO.boxes[:, 3:], np.add(corner, label))
            held = (high > low).all(axis=1)
            assert held.any()
            counts.update(np.flatnonzero(held).tolist())
        at[label] = counts
    # Half the windows hold class 2; the two of class 6 share the other half.
    assert abs(at[1, 1, 1][0] - 150) < 45
    assert abs(at[1, 1, 1][1] - 75) < 40
    assert abs(at[1, 1, 1][2] - 75) < 40


def test_weights_of_background_and_cell_take_any_place():
    target = Target("50", (10, 40, 60), TWO)
    some = locate_all(RandomWindows((1, 1, 1), 200, class_weights={0: 1, 1: 1}), target)
    assert len({corner for _, corner in some}) > 190


def test_classes_that_the_volume_lacks_do_not_count():
    target = Target("50", (10, 40, 60), CORNER)
    found = locate_all(RandomWindows((1, 1, 1), 50, class_weights={3: 1, 6: 1000}), target)
    assert all(max(corner) < 10 for _, corner in found)
    with pytest.raises(ArgumentError, match=r"volume 50: it has no organelle .* are of \[3\]"):
        RandomWindows((1, 1, 1), 1, class_weights={6: 1}).plan([target])


def test_windows_of_one_volume_take_no_memory_however_many_they_are():
    volume = Target("50", (4, 30, 30))
    plan = RandomWindows((2, 8, 8), 10**15).plan([volume])
    assert plan.count == 10**15
    assert plan.locate(10**15 - 1, 0) == plan.locate(10**15 - 1, 0)
    assert len(pickle.dumps(plan)) < 2000
    with pytest.raises(ArgumentError, match="at most 100000000 windows of several volumes, got 1"):
        RandomWindows((2, 8, 8), 10**15).plan([volume, volume])
