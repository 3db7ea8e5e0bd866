"""`RandomWindows`: what is drawn at random, how volumes share, foreground and classes."""

import dataclasses
import itertools
import pickle
import tracemalloc
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.windows import SHAPES, locate_all, volume_with

from _platelet_em.errors import ArgumentError
from _platelet_em.training.geometry import VolumeExtent, reflect
from _platelet_em.training.random_numbers import RandomStream
from platelet_em import RandomWindows

EMPTY_VOLUME = VolumeExtent("50", (10, 40, 60))

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


@given(st.lists(st.integers(1, 50), min_size=1, max_size=5), st.integers(1, 200))
def test_windows_are_distributed_by_voxels_and_mixed(depths, count):
    extents = [VolumeExtent(str(depth), (depth, 4, 4)) for depth in depths]
    volumes = np.array([v for v, _ in locate_all(RandomWindows((4, 4), count), *extents)])
    assert len(volumes) == count
    for begin in (0, count // 2):
        for k, depth in enumerate(depths):
            exact = depth / sum(depths) * (count - begin)
            assert abs((volumes[begin:] == k).sum() - exact) <= 2


def sort_by_place(shares):
    """The volumes of all windows, by sorting the places of all windows of all volumes."""
    places = [Fraction(2 * i + 1, 2 * share) for share in shares for i in range(share)]
    volumes = [k for k, share in enumerate(shares) for _ in range(share)]
    return [volumes[i] for i in sorted(range(len(places)), key=places.__getitem__)]


SIZES = [*itertools.product(range(1, 7), repeat=2), *itertools.product(range(1, 5), repeat=3),
         (7, 1, 5, 2), (1,), (32_000_000, 15_360_000)]  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 5, 12, 31])
def test_windows_of_volumes_are_mixed_as_sorting_mixes_them(count):
    for depths in SIZES:
        extents = [VolumeExtent(str(depth), (depth, 1, 1)) for depth in depths]
        volumes = [v for v, _ in locate_all(RandomWindows((1, 1), count), *extents)]
        shares = [volumes.count(k) for k in range(len(depths))]
        assert volumes == sort_by_place(shares), depths
        for share, depth in zip(shares, depths, strict=True):
            assert abs(share - count * depth / sum(depths)) < 1


def test_any_number_of_windows_takes_the_same_memory():
    volumes = [VolumeExtent(name, (4, 30, 30 + 7 * k)) for k, name in enumerate("abc")]
    peaks, sizes = [], []
    for count in (10, 10**9, 10**15):
        tracemalloc.start()
        plan = RandomWindows((2, 8, 8), count).plan(volumes)
        assert plan.count == count
        for index in (0, count // 3, count - 1):
            plan.locate(index, 5)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        sizes.append(len(pickle.dumps(plan)))
    assert max(peaks) < 50_000
    assert max(sizes) - min(sizes) < 100
    found = [plan.locate(index, 0)[0] for index in range(10**14, 10**14 + 1000)]
    sizes = [30, 37, 44]
    for k in range(3):
        assert abs(found.count(k) - 1000 * sizes[k] / sum(sizes)) <= 2


# --- foreground and classes -------------------------------------------------------------------


HALF_BOX = ((0, 0, 0, 10, 10, 10), 500, 3)
"""An organelle in a corner of the volume that fills half of its bounding box."""
THREE = ((0, 0, 0, 2, 4, 4), 32, 2), ((5, 30, 50, 7, 33, 52), 9, 6), ((8, 0, 0, 9, 2, 2), 4, 6)


def counted(*instances, shape=(10, 40, 60)):
    """The same, with a function that counts their voxels: each fills every other plane along z."""
    voxels = np.zeros(shape, bool)
    for (z0, y0, x0, z1, y1, x1), _, _ in instances:
        voxels[z0:z1:2, y0:y1, x0:x1] = True
    calls = []

    def count(corner, extent):
        calls.append(corner)
        indices = [reflect(*axis) for axis in zip(corner, extent, shape, strict=True)]
        return int(voxels[np.ix_(*indices)].sum())

    return dataclasses.replace(volume_with(*instances, shape=shape), count_foreground=count), calls


def test_windows_have_the_foreground_that_is_counted():
    volume, calls = counted(HALF_BOX)
    sampler = RandomWindows((4, 8, 8), 50, min_foreground=0.25)
    found = locate_all(sampler, volume)
    assert all(volume.count_foreground(corner, (4, 8, 8)) / 256 >= 0.25 for _, corner in found)
    assert any(x > 10 for _, (_, _, x) in locate_all(RandomWindows((4, 8, 8), 50), volume))
    calls.clear()
    locate_all(sampler, volume)
    # Where boxes and areas have too little, nothing is counted.
    assert 50 <= len(calls) < 500
    boxes = [np.minimum(np.add(c, (4, 8, 8)), 10) - c for c in calls]
    assert min(np.prod(np.clip(box, 0, None)) for box in boxes) >= 0.25 * 256


def test_the_first_window_drawn_with_enough_foreground_is_taken():
    volume, _ = counted(HALF_BOX)
    [(_, corner)] = locate_all(RandomWindows((4, 8, 8), 1, min_foreground=0.25), volume)
    stream = RandomStream(0, 0, 0)
    while True:
        drawn = tuple(stream.integer(size) for size in (7, 33, 53))
        if volume.count_foreground(drawn, (4, 8, 8)) / 256 >= 0.25:
            break
    assert corner == drawn


def test_the_foreground_of_a_mirrored_window_is_that_of_all_its_voxels():
    volume, _ = counted(HALF_BOX, shape=(10, 10, 12))
    share = volume.count_foreground((-10, -10, -9), (30, 30, 30)) / 30**3
    options = {"shape": (30, 30, 30), "count": 2, "pad": "reflect"}
    found = locate_all(RandomWindows(**options, min_foreground=share), volume)
    assert found == [(0, (-10, -10, -9))] * 2
    with pytest.raises(ArgumentError, match=f"at most {share:.3f}; use a smaller min_foreground"):
        locate_all(RandomWindows(**options, min_foreground=share + 1e-9), volume)


def test_equal_samplers_have_one_repr():
    shares = (0.5, np.float64(0.5)), (0, 0.0)
    for one, other in shares:
        samplers = [RandomWindows((8, 8), 1, min_foreground=share) for share in (one, other)]
        assert repr(samplers[0]) == repr(samplers[1])


def test_a_foreground_that_no_window_has_is_an_error():
    volume, _ = counted(HALF_BOX)
    plan = RandomWindows((4, 8, 8), 1, min_foreground=0.51).plan([volume])
    message = r"volume 50: expected .* at least 0.51.* 1000 random ones have at most 0\.[0-9]+;"
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
    message = r"volume 50: expected instances .* got only instances of classes \[3\]"
    with pytest.raises(ArgumentError, match=message):
        RandomWindows((1, 1, 1), 1, class_weights={6: 1}).plan([volume])
