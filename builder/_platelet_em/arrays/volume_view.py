"""`VolumeView`: one volume as read from one archive or repository, slice by slice."""

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.labels import LazyLabels

__all__ = ["Box", "VolumeView"]

Box = tuple[slice, slice, slice]
"""A window of a volume: slices with start and stop along z, y and x, inside the volume."""


class VolumeView(Protocol):
    """One volume, wherever it comes from: what rows, pictures, cards and windows are made of.

    Attributes:
        name: Name of the volume.
        shape: (z, y, x).
        has_semantic: Whether it has semantic classes.
        kinds: Columns of the instances that it has labels for, such as ("cells", "organelles").
    """

    @property
    def name(self) -> str:
        """Name of the volume."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(z, y, x)."""

    @property
    def has_semantic(self) -> bool:
        """Whether it has semantic classes."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Columns of the instances that it has labels for."""

    def image(self, z: int) -> NDArray[Any]:
        """Slice z of the image, uint8 or uint16 (y, x)."""

    def semantic(self, z: int) -> NDArray[np.uint8]:
        """Slice z of the class indices, uint8 (y, x)."""

    def labels(self, kind: str, z: int | None = None) -> LazyLabels:
        """Instances of a kind in slice z, (y, x), or in the whole volume, (z, y, x).

        Ids ascend, each has voxels, and properties belong to the whole 3D object.
        """

    def window(self, column: str, box: Box) -> NDArray[Any]:
        """A window of "image", "semantic" or a kind of instances, as an array (z, y, x)."""
