"""Slabs: the slices that a chunked format writes at once, in whole chunks as far as memory allows.

A chunk that is written in pieces is compressed again for each piece.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.export.job import ExportVolume

__all__ = ["chunk_depth", "read_slabs", "slab_depth"]

_CHUNK_DEPTH = 8
"""Slices of a chunk."""

_SLAB_VOXELS = 64_000_000
"""Voxels that are in memory at once, up to 256 MB. A volume of the published size has 32 million;
larger slices than 2828 x 2828 are in chunks of one slice."""


def chunk_depth(shape: tuple[int, int, int]) -> int:
    """Slices of the chunks of a volume (z, y, x).

    >>> chunk_depth((50, 800, 800)), chunk_depth((1, 800, 800)), chunk_depth((50, 20000, 20000))
    (8, 1, 1)
    """
    depth, height, width = shape
    fits = _CHUNK_DEPTH * height * width <= _SLAB_VOXELS
    return min(depth, _CHUNK_DEPTH) if fits else 1


def slab_depth(shape: tuple[int, int, int]) -> int:
    """As many slices of a volume (z, y, x) as may be in memory: all of them, or whole chunks.

    >>> slab_depth((50, 800, 800)), slab_depth((500, 800, 800)), slab_depth((50, 20000, 20000))
    (50, 96, 1)
    """
    depth, height, width = shape
    fitting = max(1, _SLAB_VOXELS // (height * width))
    return depth if fitting >= depth else fitting - fitting % chunk_depth(shape)


def read_slabs(
    volume: ExportVolume, column: str, depth: int
) -> Iterator[tuple[int, NDArray[Any]]]:
    """A column, `depth` slices at a time, put together from single slices.

    Decoding needs several times the memory of what it decodes.

    Args:
        volume: The volume.
        column: "image", or one of its label columns.
        depth: Slices of a slab; the last one may have fewer.

    Yields:
        z of the first slice, and a slab (z, y, x), which is valid until the next one.
    """
    count, height, width = volume.shape
    slab = np.empty((min(depth, count), height, width), volume.dtype_of(column))
    for z, page in volume.slabs(column, 1):
        slab[z % depth] = page[0]
        if (z + 1) % depth == 0 or z + 1 == count:
            yield z - z % depth, slab[: z % depth + 1]
