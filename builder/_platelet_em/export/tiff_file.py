"""`write_tif`: a TIF of a volume, written slice by slice."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from _platelet_em.errors import PlateletEMError

__all__ = ["MAX_CLASSIC_BYTES", "size_in_bytes", "write_tif"]

MAX_CLASSIC_BYTES = 2**32 - 2**25
"""Voxels of a TIF whose offsets have 32 bits, with some room for the rest: tifffile's limit."""


def size_in_bytes(shape: tuple[int, int, int], dtype: np.dtype[Any]) -> int:
    """Bytes of the voxels of a volume.

    >>> size_in_bytes((2, 3, 4), np.dtype(np.uint16))
    48
    """
    return int(np.prod(shape, dtype=np.int64)) * dtype.itemsize


def write_tif(
    path: Path,
    pages: Iterator[NDArray[np.unsignedinteger]],
    shape: tuple[int, int, int],
    dtype: np.dtype[Any],
    *,
    deflate: bool,
    imagej: bool = False,
    bigtiff: bool = False,
    metadata: dict[str, Any] | None = None,
    **tags: Any,
) -> None:
    """Write a TIF with the axes (z, y, x).

    Args:
        path: The file; missing parent folders are created.
        pages: The slices, (y, x), in z order.
        shape: (z, y, x).
        dtype: Of the slices.
        deflate: Whether to compress it, as is worth it for labels.
        imagej: Whether it is a file of ImageJ.
        bigtiff: Whether offsets have 64 bits.
        metadata: Entries for ImageJ or tifffile besides the axes.
        tags: Other arguments of `TiffWriter.write`.

    Raises:
        OSError: if it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # tifffile takes a stack of width 1 for one page, and compresses none that comes in slices.
    is_deflated = deflate and shape[2] > 1
    with (
        _name_short_write(),
        tifffile.TiffWriter(path, imagej=imagej, bigtiff=bigtiff) as file,
    ):
        file.write(
            pages,
            shape=shape,
            dtype=dtype,
            photometric="minisblack",
            compression="zlib" if is_deflated else None,
            metadata={"axes": "ZYX", **(metadata or {})},
            **tags,
        )


@contextlib.contextmanager
def _name_short_write() -> Iterator[None]:
    """Give the number of a full disk to the error by which NumPy's `tofile` reports one."""
    try:
        yield
    except OSError as error:
        if error.errno is None and not isinstance(error, PlateletEMError):
            raise OSError(errno.ENOSPC, str(error)) from error
        raise
