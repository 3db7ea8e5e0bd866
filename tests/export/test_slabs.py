"""Slabs: depths that chunks divide, and slices in order."""

import numpy as np
import pytest

from _platelet_em.export.slabs import chunk_depth, read_slabs, slab_depth


@pytest.mark.parametrize("shape", [(1, 5, 5), (7, 2828, 2828), (900, 800, 801), (30, 9000, 9000)])
def test_slabs_are_the_volume_or_whole_chunks(shape):
    depth, chunk = slab_depth(shape), chunk_depth(shape)
    assert depth == shape[0] or depth % chunk == 0
    assert 1 <= chunk <= depth <= shape[0]
    assert depth == 1 or depth * shape[1] * shape[2] <= 64_000_000


class Volume:
    """The part of an `ExportVolume` that is read."""

    def __init__(self, array):
        self.array, self.shape = array, array.shape

    def dtype_of(self, column):
        return self.array.dtype

    def slabs(self, column, depth):
        yield from ((z, self.array[z : z + depth]) for z in range(0, len(self.array), depth))


@pytest.mark.parametrize("depth", [1, 3, 4, 7, 9])
def test_slabs_make_up_the_volume(depth):
    array = np.random.default_rng(0).integers(0, 65536, (7, 3, 4)).astype(np.uint16)
    found = [(z, slab.copy()) for z, slab in read_slabs(Volume(array), "image", depth)]
    assert [z for z, _ in found] == [*range(0, 7, depth)]
    assert np.array_equal(np.concatenate([slab for _, slab in found]), array)
