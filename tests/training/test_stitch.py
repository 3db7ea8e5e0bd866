"""`stitch`: windows of every kind put together, and windows that do not fit."""

import itertools
import tracemalloc

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import platelet_em
from _platelet_em.errors import ArgumentError, CoverageError
from _platelet_em.training.stitch import stitch

BLENDS = ("crop", "average", "gaussian")
DTYPES = ("bool", "u1", "<u2", "<i4", "<i8", "<f2", "<f4", "<f8")


def grid_corners(shape, size, stride):
    """Corners of windows on a grid, the last one along an axis moved back to its end."""
    axes = []
    for extent, length, step in zip(shape, size, stride, strict=True):
        if length >= extent:
            axes.append([(extent - length) // 2])
        else:
            axes.append([*range(0, extent - length, step), extent - length])
    return list(itertools.product(*axes))


def crop(volume, corner, size, spatial=3):
    """The window of a volume, zeros (or False) outside it: what an identity model predicts."""
    out = np.zeros((*volume.shape[:-spatial], *size), volume.dtype)
    source, target = [], []
    for first, length, extent in zip(corner, size, volume.shape[-spatial:], strict=True):
        inside = [i for i in range(first, first + length) if 0 <= i < extent]
        source.append(inside)
        target.append([i - first for i in inside])
    out[(..., *np.ix_(*target))] = volume[(..., *np.ix_(*source))]
    return out


def random_volume(shape, dtype, seed):
    """Values of any bit pattern but NaN, infinities and -0.0 among them."""
    rng = np.random.default_rng(seed)
    dtype = np.dtype(dtype)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    bits = rng.integers(0, 256, (*shape, dtype.itemsize), np.uint8).view(dtype)[..., 0]
    if dtype.itemsize == 8 and dtype.kind == "i":
        return bits >> 11  # means are exact up to 2**53
    if dtype.kind == "f":
        with np.errstate(invalid="ignore"):
            bits = np.where(np.isnan(bits), np.array(-0.0, dtype), bits)
        bits.flat[:: max(bits.size // 3, 1)] = np.array(-np.inf, dtype)
    return bits


@st.composite
def covers(draw, spatial=3):
    """A shape, and windows (corner, size) that cover it: a grid, and some at any position."""
    axis = st.integers(1, 7)
    shape = tuple(draw(axis) for _ in range(spatial))
    size = tuple(draw(st.integers(1, extent + 3)) for extent in shape)
    stride = tuple(draw(st.integers(1, length)) for length in size)
    windows = [(corner, size) for corner in grid_corners(shape, size, stride)]
    for _ in range(draw(st.integers(0, 3))):
        other = tuple(draw(axis) for _ in range(spatial))
        corner = tuple(draw(st.integers(-3, extent + 2)) for extent in shape)
        windows.insert(draw(st.integers(0, len(windows))), (corner, other))
    return shape, windows


@pytest.mark.parametrize("blend", BLENDS)
@given(cover=covers(), dtype=st.sampled_from(DTYPES), seed=st.integers(0, 99), data=st.data())
@settings(max_examples=60)
def test_an_identity_model_returns_the_volume(blend, cover, dtype, seed, data):
    shape, windows = cover
    channels = data.draw(st.sampled_from([(), (2,), (1, 3)]))
    volume = random_volume((*channels, *shape), dtype, seed)
    pairs = ((corner, crop(volume, corner, size)) for corner, size in windows)
    result = stitch(pairs, shape, blend=blend, channel_axes=len(channels))
    assert result.shape == volume.shape
    if blend != "crop" and volume.dtype.kind != "f":
        assert result.dtype == np.float64
        result = result.astype(volume.dtype)
    assert result.dtype == volume.dtype
    assert result.tobytes() == volume.tobytes()


@given(cover=covers(spatial=2), blend=st.sampled_from(BLENDS), seed=st.integers(0, 99))
def test_an_identity_model_returns_a_slice(cover, blend, seed):
    shape, windows = cover
    image = random_volume((2, *shape), "<f4", seed)
    pairs = [(corner, crop(image, corner, size, 2)) for corner, size in windows]
    plain = stitch(pairs, shape, blend=blend, channel_axes=1)
    assert plain.tobytes() == image.tobytes()
    with_z = [((7, *corner), prediction) for corner, prediction in pairs]
    assert stitch(with_z, shape, blend=blend, channel_axes=1).tobytes() == image.tobytes()


@given(cover=covers(spatial=2), seed=st.integers(0, 99))
@settings(max_examples=40)
def test_windows_of_single_slices_make_a_volume(cover, seed):
    shape, windows = cover
    volume = random_volume((3, *shape), "<i4", seed)
    pairs = [
        ((z, *corner), crop(volume[z], corner, size, 2))
        for corner, size in windows
        for z in (2, 0, 1)
    ]
    assert np.array_equal(stitch(pairs, volume.shape), volume)


@given(cover=covers(), seed=st.integers(0, 99))
@settings(max_examples=50)
def test_crop_takes_the_nearest_center_and_of_several_the_first(cover, seed):
    shape, windows = cover
    rng = np.random.default_rng(seed)
    pairs = [(corner, rng.integers(0, 2**31, size, np.int32)) for corner, size in windows]
    expected = np.zeros(shape, np.int32)
    for voxel in np.ndindex(shape):
        found = []
        for number, (corner, values) in enumerate(pairs):
            position = np.subtract(voxel, corner)
            if ((position >= 0) & (position < values.shape)).all():
                distance = ((position - (np.array(values.shape) - 1) / 2) ** 2).sum()
                found.append((distance, number, values[tuple(position)]))
        expected[voxel] = min(found)[2]
    assert np.array_equal(stitch(pairs, shape), expected)


def gaussian(corner, size, shape):
    """The Gaussian weight of each voxel of the volume, 0 outside the window."""
    weight = np.ones(())
    for first, n, extent in zip(corner, size, shape, strict=True):
        i = np.arange(extent) - first
        density = np.exp(-((i - (n - 1) / 2) ** 2) / (2 * (n / 8) ** 2))
        weight = np.multiply.outer(weight, np.where((i >= 0) & (i < n), density, 0))
    return weight


@pytest.mark.parametrize("blend", ["average", "gaussian"])
@given(cover=covers(), dtype=st.sampled_from(["f8", "f4", "u2"]), seed=st.integers(0, 99))
def test_means_are_those_of_numpy(blend, cover, dtype, seed):
    shape, windows = cover
    rng = np.random.default_rng(seed)
    pairs = [(corner, (rng.random(size) * 1000 + 1).astype(dtype)) for corner, size in windows]
    # A window in a volume of zeros is a crop that begins at minus its corner.
    values = [crop(values, [-first for first in corner], shape) for corner, values in pairs]
    weights = [gaussian(corner, size, shape) for corner, size in windows]
    if blend == "average":
        weights = [weight > 0 for weight in weights]
    expected = np.average(values, axis=0, weights=weights)
    precision = 1e-5 if dtype == "f4" else 1e-12
    np.testing.assert_allclose(stitch(pairs, shape, blend=blend), expected, rtol=precision)


def test_a_mean_with_infinities_is_infinite():
    pairs = [((0, 0), np.float32([[-np.inf, 1]])), ((0, 0), np.float32([[3, np.inf]]))]
    for blend in ("average", "gaussian"):
        assert stitch(pairs, (1, 2), blend=blend).tolist() == [[-np.inf, np.inf]]


def test_the_mean_of_bools_is_their_share():
    pairs = [((0, 0), np.array([[vote]])) for vote in (True, True, False, True)]
    result = stitch(pairs, (1, 1), blend="average")
    assert result.dtype == np.float64
    assert result.tolist() == [[0.75]]


def test_only_crop_accepts_strings():
    assert stitch([((0, 0), [["a", "b"]])], (1, 2)).tolist() == [["a", "b"]]
    with pytest.raises(ArgumentError, match=r"only numbers have a mean, got dtype <U1.*crop"):
        stitch([((0, 0), [["a", "b"]])], (1, 2), blend="average")


@pytest.mark.parametrize("value", [2**53 + 1, -(2**60)])
def test_integers_that_float64_cannot_represent_have_no_mean(value):
    pairs = [((0, 0), np.array([[1, value]]))]
    assert stitch(pairs, (1, 2)).tolist() == [[1, value]]
    with pytest.raises(ArgumentError, match=f"float64 cannot represent {value} exactly"):
        stitch(pairs, (1, 2), blend="average")


@pytest.mark.parametrize("blend", BLENDS)
def test_voxels_that_are_not_covered_are_reported(blend):
    pairs = [((0, 0, 0), np.ones((2, 3, 3))), ((0, 0, 3), np.ones((1, 3, 1)))]
    with pytest.raises(CoverageError, match=r"no window covers 3 of 24 voxels.* at \(1, 0, 3\);"):
        stitch(pairs, (2, 3, 4), blend=blend)
    with pytest.raises(CoverageError, match=r"covers 1 of 2 voxels, the first at \(0, 1\); "):
        stitch([((5, 0, 0), [[1.0]])], (1, 2), blend=blend)
    with pytest.raises(CoverageError, match=r"got no windows; .* \(2, 3, 4\)"):
        stitch([], (2, 3, 4), blend=blend)


def test_a_window_outside_the_volume_covers_nothing():
    far = [((0, 9), np.ones((1, 2))), ((-1, 0), np.ones((1, 2))), ((0, 0), np.ones((0, 2)))]
    with pytest.raises(CoverageError, match="no window covers 2 of 2 voxels"):
        stitch(far, (1, 2))
    assert stitch([*far, ((0, 0), [[3.0, 4.0]])], (1, 2)).tolist() == [[3, 4]]


@pytest.mark.parametrize(
    ("windows", "shape", "options", "message"),
    [
        (
            [],
            (1, 2),
            {"blend": "max"},
            "blend: expected one of crop, average, .* got 'max'",
        ),
        ([], (1, 2), {"blend": ["crop"]}, r"blend: expected one of .* got \['crop'\]"),
        ([], (2,), {}, r"shape without channels: expected 2 or 3 extents, .* got \(2,\)"),
        ([], (1, 1, 2, 2), {}, "shape without channels: expected 2 or 3 extents"),
        ([], (1, -2), {}, r"extents, .* got \(1, -2\)"),
        ([], (1, 2.5), {}, r"extents, .* got \(1, 2.5\)"),
        ([], (1, 2), {"channel_axes": -1}, "channel_axes: expected a number of axes, got -1"),
        ([], (1, 2), {"channel_axes": None}, "channel_axes: expected a number of axes, got None"),
        ([((0, 0), [[1, 2], [1]])], (2, 2), {}, "window 0: NumPy cannot read the prediction"),
        ([((0, 0.5), [[1]])], (1, 2), {}, "window 0: corner: expected integers"),
        ([((0, 0), [[[1]]])], (1, 2), {}, "window 0: .* with 0 channel axes do not fit shape"),
        ([((0, 0), [[1]])], (1, 1, 2), {}, "one entry of the corner per axis"),
        ([((0,), [[1]])], (1, 2), {}, "one entry of the corner per axis"),
        ([((0, 0, 0, 0), [[1]])], (1, 2), {}, "one entry of the corner per axis"),
        ([((0, 0), 1)], (1, 2), {}, r"prediction of shape \(\)"),
        ([((0, 0, 0), [[1]])], (1, 1, 2), {"channel_axes": 1}, "with 1 channel axes do not fit"),
    ],
)
def test_arguments_that_do_not_fit_are_refused(windows, shape, options, message):
    with pytest.raises(ArgumentError, match=message):
        stitch(windows, shape, **options)


@pytest.mark.parametrize(
    "other",
    [
        ((0, 0, 0), np.ones((2, 1, 1), np.float64)),
        ((0, 0, 0), np.ones((3, 1, 1), np.float32)),
        ((1, 0, 0), np.ones((2, 1, 1), np.float32)),
    ],
)
def test_windows_of_another_model_or_slice_are_refused(other):
    first = ((0, 0, 0), np.ones((2, 1, 1), np.float32))
    with pytest.raises(ArgumentError, match="window 1: expected dtype, channels and slice as in"):
        stitch([first, other], (1, 1), channel_axes=1)


def test_tensors_that_numpy_cannot_read_are_refused():
    import torch

    for tensor in (torch.ones(1, 2, requires_grad=True), torch.ones(1, 2, dtype=torch.bfloat16)):
        with pytest.raises(ArgumentError, match=r"window 0: .* \.detach\(\)\.float\(\)"):
            stitch([((0, 0), tensor)], (1, 2))


def test_tensors_are_accepted():
    import torch

    volume = torch.arange(24.0).reshape(2, 3, 4)
    pairs = [(torch.tensor([0, 0, x]), volume[:, :, x : x + 2]) for x in (0, 2)]
    assert np.array_equal(stitch(pairs, volume.shape), volume.numpy())


@pytest.mark.parametrize("blend", BLENDS)
def test_memory_is_the_output_and_eight_bytes_per_voxel(blend):
    shape, size = (20, 100, 100), (20, 10, 10)
    corners = grid_corners(shape, size, (20, 5, 5))
    tracemalloc.start()
    stitch(((corner, np.ones(size, np.float32)) for corner in corners), shape, blend=blend)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    windows = 100 * np.prod(size)
    assert peak < (4 + 8 + 1) * np.prod(shape) + windows


# --- with windows -----------------------------------------------------------------------------


@pytest.mark.parametrize("blend", BLENDS)
@pytest.mark.parametrize(
    ("shape", "stride", "label_shape"),
    [
        ((2, 4, 5), None, None),
        ((2, 4, 5), (1, 3, 2), None),
        ((4, 9, 9), (2, 3, 4), (3, 4, 6)),
        ((9, 15, 15), None, None),
        ((4, 5), (3, 3), None),
    ],
)
def test_windows_of_a_grid_are_stitched_to_the_volume(shape, stride, label_shape, blend):
    labels = np.random.default_rng(5).integers(0, 9, (5, 11, 13), np.int32)
    row = {"volume": "50", "cells": platelet_em.LazyLabels.from_array(labels)}
    source = datasets.IterableDataset.from_generator(lambda: iter([row]))
    grid = platelet_em.GridWindows(shape, stride, label_shape, pad="reflect")
    windows = platelet_em.windows(source, grid, columns=["cells"])
    pairs = ((window["corner"], window["cells"]) for window in windows)
    stitched = platelet_em.stitch(pairs, labels.shape, blend=blend)
    np.testing.assert_array_equal(stitched, labels)


@pytest.mark.parametrize("windows", [5, None, "ab", {(0, 0): 1}, np.int64(3)])
def test_what_is_no_series_of_pairs_is_an_error(windows):
    with pytest.raises(ArgumentError, match=r"^stitch: windows: got .*; give pairs \(corner, pre"):
        stitch(windows, (3, 4))


@pytest.mark.parametrize("window", [5, (1,), ((0, 0), 1, 2), None])
def test_what_is_no_pair_is_named(window):
    pair = ((0, 0), np.zeros((3, 4)))
    with pytest.raises(ArgumentError, match=r"^stitch: window 1: got .*; give pairs \(corner"):
        stitch([pair, window], (3, 4))
