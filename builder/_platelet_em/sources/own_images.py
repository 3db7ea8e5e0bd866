"""`OwnImages`: the images of a volume from a user's own files, as gray values."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.errors import ImageFormatError
from _platelet_em.sources.file_stack import FileStack
from _platelet_em.sources.gray import read_gray

__all__ = ["OwnImages"]

_REMEDIES = {
    "int8": "add 128, and write them as uint8",
    "int16": "add 32768, and write them as uint16",
}


class OwnImages:
    """Gray images of uint8 or uint16, read slice by slice, from any thread.

    Args:
        paths: Files as for `FileStack`. Pictures in color, with or without a palette, are read
            where all channels are equal and all pixels opaque.
        name: What to call them together in a message.

    Attributes:
        shape: (z, y, x).
        dtype: uint8 or uint16.

    Raises:
        ImageFormatError: for other dtypes.
    """

    def __init__(self, paths: Sequence[Path], name: str) -> None:
        self._stack = FileStack(paths, name)
        self.shape = self._stack.volume_shape
        self.dtype = np.dtype(np.uint8) if self._stack.has_colors else self._stack.dtype
        if self.dtype not in (np.uint8, np.uint16):
            self.close()
            remedy = _REMEDIES.get(str(self.dtype), "scale them, and write them as uint16")
            raise ImageFormatError(
                f"{name}: expected images of uint8 or uint16, got {self.dtype}: {remedy}"
            )

    def page(self, z: int) -> NDArray[Any]:
        """Slice z, uint8 or uint16 (y, x).

        Raises:
            ImageFormatError: for colors, transparent pixels, and damaged files.
        """
        return read_gray(self._stack, z)

    def close(self) -> None:
        """Close the files."""
        self._stack.close()

    def __enter__(self) -> "OwnImages":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()
