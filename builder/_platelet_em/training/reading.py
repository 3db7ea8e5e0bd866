"""Reads one column of a window, mirrored where it reaches beyond the border of its volume."""

from typing import Any

from numpy.typing import NDArray

from _platelet_em.arrays.volume_view import VolumeView
from _platelet_em.training.geometry import IMAGE, Corner, Shape, WindowGeometry, reflect

__all__ = ["read_column"]


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


def _read_mirrored(volume: VolumeView, column: str, begin: Shape, extent: Shape) -> NDArray[Any]:
    """A window (z, y, x) that may reach beyond the border, where it is mirrored."""
    inside, mirrored = [], {}
    for axis, (first, length, size) in enumerate(zip(begin, extent, volume.shape, strict=True)):
        low, high = first, first + length
        if low < 0 or high > size:
            index = reflect(first, length, size)
            low, high = int(index.min()), int(index.max()) + 1
            mirrored[axis] = index - low
        inside.append(slice(low, high))
    z, y, x = inside
    array = volume.window(column, (z, y, x))
    for axis, index in mirrored.items():
        array = array.take(index, axis)
    return array
