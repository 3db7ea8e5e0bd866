"""`GridWindows` and `StratifiedWindows`: what grids cover, and one window in each bin."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.windows import SHAPES, locate_all

from _platelet_em.errors import ArgumentError
from _platelet_em.training.geometry import VolumeExtent
from platelet_em import GridWindows, StratifiedWindows

# --- regular ----------------------------------------------------------------------------------


@given(SHAPES, SHAPES, st.data())
def test_grids_cover_each_voxel_in_order_and_end_with_the_volume(volume, label, data):
    stride = tuple(data.draw(st.integers(1, length)) for length in label)
    found = locate_all(GridWindows(label, stride, pad="reflect"), VolumeExtent("", volume))
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


def test_a_grid_takes_no_memory():
    plan = GridWindows((1, 1, 3)).plan([VolumeExtent("50", (1, 1, 2**60))])
    assert plan.count == 2**60 // 3 + 1
    assert [plan.locate(k, 0)[1][2] for k in (1, plan.count - 1)] == [3, 2**60 - 3]


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


# --- stratified -------------------------------------------------------------------------------


@given(SHAPES, SHAPES, st.integers(0, 3), st.integers(0, 3), st.data())
def test_each_bin_has_one_window_at_each_epoch(volume, label, seed, epoch, data):
    label = tuple(min(pair) for pair in zip(label, volume, strict=True))
    sizes = [v - n + 1 for v, n in zip(volume, label, strict=True)]
    bins = tuple(data.draw(st.integers(1, size)) for size in sizes)
    sampler = StratifiedWindows(label, bins, seed=seed)
    found = [c for _, c in locate_all(sampler, VolumeExtent("", volume), epoch=epoch)]
    assert len(found) == np.prod(bins)
    for place, corner in zip(itertools.product(*map(range, bins)), found, strict=True):
        for k, c, wanted, size in zip(place, corner, bins, sizes, strict=True):
            assert k * size // wanted <= c < (k + 1) * size // wanted


def test_stratified_windows_are_new_ones_in_each_epoch_and_reach_every_position():
    sampler, volume = StratifiedWindows((1, 2, 2), (1, 2, 2)), VolumeExtent("50", (2, 5, 4))
    epochs = [tuple(locate_all(sampler, volume, epoch=epoch)) for epoch in range(40)]
    assert len(set(epochs)) > 30
    reached = {corner for epoch in epochs for _, corner in epoch}
    assert reached == set(itertools.product(range(2), range(4), range(3)))
    assert epochs[0] != tuple(locate_all(StratifiedWindows((1, 2, 2), (1, 2, 2), seed=1), volume))


def test_stratified_windows_of_slices_have_the_bins_of_each_slice():
    volumes = VolumeExtent("50", (2, 5, 4)), VolumeExtent("24", (1, 9, 9))
    found = locate_all(StratifiedWindows((2, 2), (2, 2)), *volumes)
    assert [(v, c[0]) for v, c in found] == [(0, 0)] * 4 + [(0, 1)] * 4 + [(1, 0)] * 4


def test_stratified_windows_without_padding_keep_the_margin_inside():
    sampler = StratifiedWindows((5, 5), (4, 4), (1, 1), pad=None)
    for epoch in range(5):
        for _, (_, y, x) in locate_all(sampler, VolumeExtent("", (1, 9, 8)), epoch=epoch):
            assert 2 <= y <= 6
            assert 2 <= x <= 5


def test_more_bins_than_positions_are_refused():
    message = "volume 50: expected at most as many bins as windows have positions along x, which"
    with pytest.raises(ArgumentError, match=f"{message} are 3, got 4"):
        StratifiedWindows((2, 2), (1, 4)).plan([VolumeExtent("50", (2, 5, 4))])


@pytest.mark.parametrize("bins", [(1,), (1, 1, 1), (0, 1), (1.5, 1), 2, None])
def test_invalid_bins_are_refused(bins):
    with pytest.raises(ArgumentError, match="bins: expected 2 extents of at least 1"):
        StratifiedWindows((4, 4), bins)
