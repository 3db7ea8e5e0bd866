"""Reads one column of a window, mirrored where it reaches beyond the border of its volume."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.volume_view import Box, VolumeView
from _platelet_em.hf.volume import RowVolume
from _platelet_em.training.geometry import IMAGE, Corner, Shape, WindowGeometry, reflect

__all__ = ["crop_column", "read_column"]


def read_column(
    volume: VolumeView, column: str, corner: Corner, geometry: WindowGeometry, *, is_plane: bool
) -> NDArray[Any]:
    """A column of the window at a corner.

    Args:
        volume: Where it is read from.
        column: "image", or a column with the shape of the label window.
        corner: First voxel (z, y, x) of the label window.
        geometry: Shapes of the windows.
        is_plane: Whether the axis z is left out.

    Returns:
        An array of its own, (z, y, x) or (y, x).
    """
    begin, extent = corner, geometry.label_shape
    if column == IMAGE:
        begin = tuple(c - o for c, o in zip(corner, geometry.offset, strict=True))
        extent = geometry.image_shape
    array = _read_mirrored(volume, column, begin, extent)
    return array[0] if is_plane else array


def crop_column(
    volume: RowVolume, column: str, corner: Corner, geometry: WindowGeometry, *, is_plane: bool
) -> LazyLabels:
    """As `read_column`, of a column of labels, which stay lazy."""
    box, mirrored = _find_box(corner, geometry.label_shape, volume.shape)
    if mirrored:
        # Only where a window is larger than the volume.
        return LazyLabels.from_array(
            read_column(volume, column, corner, geometry, is_plane=is_plane)
        )
    labels = volume.crop(column, box)
    return labels.crop(0) if is_plane else labels


def _read_mirrored(volume: VolumeView, column: str, begin: Shape, extent: Shape) -> NDArray[Any]:
    """A window (z, y, x) that may reach beyond the border, where it is mirrored."""
    box, mirrored = _find_box(begin, extent, volume.shape)
    array = volume.window(column, box)
    for axis, index in mirrored.items():
        array = array.take(index, axis)
    return array


def _find_box(
    begin: Shape, extent: Shape, size: Shape
) -> tuple[Box, dict[int, NDArray[np.int64]]]:
    """The part of a volume that a window needs, and {axis: indices in it} where it is mirrored."""
    inside, mirrored = [], {}
    for axis, (first, length, end) in enumerate(zip(begin, extent, size, strict=True)):
        low, high = first, first + length
        if low < 0 or high > end:
            index = reflect(first, length, end)
            low, high = int(index.min()), int(index.max()) + 1
            mirrored[axis] = index - low
        inside.append(slice(low, high))
    z, y, x = inside
    return (z, y, x), mirrored
