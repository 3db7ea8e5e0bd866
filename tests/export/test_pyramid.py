"""Levels of resolution: shapes, places, and pixels, against NumPy."""

import numpy as np
import pytest

from _platelet_em.export.pyramid import halve_image, halve_labels, plan_levels


def test_levels_end_when_a_slice_fits():
    shapes = [level.shape for level in plan_levels((3, 1025, 30), (1, 1, 1), 256)]
    assert shapes == [(3, 1025, 30), (3, 513, 15), (3, 257, 8), (3, 129, 4)]
    assert len(plan_levels((50, 256, 256), (40, 10, 10), 256)) == 1


def test_a_voxel_is_where_its_voxels_of_level_0_are():
    """The center of a voxel is the mean of the centers of those that it was made from."""
    size = (40.0, 10.0, 12.0)
    for k, level in enumerate(plan_levels((2, 64, 64), size, 8)):
        for index in (0, 3):
            fine = np.arange(index * 2**k, (index + 1) * 2**k)
            for axis in (1, 2):
                expected = (fine * size[axis]).mean()
                found = index * level.scale[axis] + level.translation[axis]
                assert found == pytest.approx(expected)
        assert (level.scale[0], level.translation[0]) == (40, 0)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("plane", [(8, 6), (7, 6), (6, 9), (5, 5), (1, 4), (1, 1)])
def test_halved_images_are_means_of_the_pixels_that_are_there(plane, dtype):
    top = np.iinfo(dtype).max
    slab = np.random.default_rng(0).integers(0, top, (3, *plane), dtype, endpoint=True)
    slab[1] = top
    padded = np.full((3, *(n + n % 2 for n in plane)), np.nan)
    padded[:, : plane[0], : plane[1]] = slab
    blocks = padded.reshape(3, padded.shape[1] // 2, 2, padded.shape[2] // 2, 2)
    halved = halve_image(slab)
    assert halved.dtype == dtype
    assert np.array_equal(halved, np.floor(np.nanmean(blocks, axis=(2, 4)) + 0.5))


def test_halved_labels_are_labels():
    slab = np.random.default_rng(0).integers(0, 70_000, (2, 7, 8)).astype(np.uint32)
    halved = halve_labels(slab)
    assert halved.shape == (2, 4, 4)
    assert (halved[1, 3, 2], halved[0, 0, 1]) == (slab[1, 6, 4], slab[0, 0, 2])
