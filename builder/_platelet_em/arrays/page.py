"""One slice as an encoded picture: uncompressed TIFF out of an array, and an array out of a TIFF.

Pages are uncompressed so that reading one is a view of the bytes it is stored in: the entropy of
the images leaves a compressor 6 %, and the masks are compressed by the Parquet file around them.
"""

import io
import struct
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image

from _platelet_em.errors import ImageFormatError, quote
from _platelet_em.limits import MAX_PAGE

__all__ = ["decode_page", "encode_page", "view_page"]

Page = NDArray[Any]

_FORMATS = ("TIFF", "PNG", "JPEG", "BMP", "GIF", "PPM", "WEBP")
"""What is read. Pillow knows others, some of which it hands to other programs to read."""

_TIFF_LITTLE_ENDIAN = b"II*\0"
_SHORT, _LONG = 3, 4
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES, _STRIP_BYTES, _SAMPLE_FORMAT = 273, 277, 279, 339
_BLACK_IS_ZERO, _PALETTE, _UNSIGNED = 1, 3, 1


def encode_page(page: Page, palette: NDArray[np.uint8] | None = None) -> bytes:
    """Encode a slice as an uncompressed one-strip TIFF; the same page gives the same bytes.

    Args:
        page: uint16 (y, x) gray values, or uint8 (y, x) indices into a palette.
        palette: uint8 (n, 3), the RGB colours of the indices, for uint8 pages.

    Raises:
        ImageFormatError: for another dtype or number of axes.
    """
    expected = np.uint16 if palette is None else np.uint8
    if page.ndim != 2 or page.dtype != expected or not page.size:
        raise ImageFormatError(
            f"a page has the axes (y, x), at least one pixel and dtype {np.dtype(expected)}; got "
            f"shape {page.shape}, dtype {page.dtype}"
        )
    colormap = None
    if palette is not None:
        colormap = np.zeros((3, 256), np.uint16)
        colormap[:, : len(palette)] = palette.T.astype(np.uint16) * 257
    out = io.BytesIO()
    tifffile.imwrite(
        out,
        page,
        photometric="minisblack" if palette is None else "palette",
        colormap=colormap,
        rowsperstrip=page.shape[0],
        byteorder="<",
        metadata=None,
        software=False,
    )
    return out.getvalue()


def decode_page(data: Any, name: str = "page") -> Page:
    """Read an encoded picture: a view where the bytes allow it, else whatever Pillow reads.

    Args:
        data: bytes, or anything with the buffer protocol.
        name: what to call the picture in a message.

    Returns:
        Array (y, x), or (y, x, channels) for colour pictures; palette pictures give indices.
        Views are read-only.

    Raises:
        ImageFormatError: for what is no picture.
    """
    if isinstance(data, str):
        raise ImageFormatError(
            f"{name}: expected the bytes of an encoded picture, got the text {quote(data)}"
        )
    if (view := view_page(data)) is not None:
        return view
    try:
        with Image.open(io.BytesIO(data), formats=_FORMATS) as picture:
            if picture.width * picture.height <= MAX_PAGE:
                return np.asarray(picture)
            error: object = (
                f"{picture.width} x {picture.height} pixels, at most {MAX_PAGE} are read"
            )
    except Exception as trouble:  # noqa: BLE001  # anything, see below
        # What is damaged makes Pillow raise whatever it meets.
        error = trouble
    raise ImageFormatError(
        f"{name}: expected an encoded picture, got {quote(bytes(data[:16]))}: {error}"
    ) from (error if isinstance(error, Exception) else None)


def view_page(data: Any) -> Page | None:
    """The pixels of an uncompressed grayscale or palette TIFF of one strip, without a copy.

    None for everything else, pictures or not.
    """
    tags = _first_directory(data)
    if tags is None:
        return None
    width, height, bits = tags.get(_WIDTH, 0), tags.get(_HEIGHT, 0), tags.get(_BITS, 1)
    dtype: np.dtype[Any] = np.dtype("<u2" if bits == 16 else "<u1")
    offset = tags.get(_STRIP_OFFSETS, 0)
    if (
        bits not in (8, 16)
        or _STRIP_OFFSETS not in tags
        or tags.get(_COMPRESSION, 1) != 1
        or tags.get(_SAMPLES, 1) != 1
        or tags.get(_SAMPLE_FORMAT, _UNSIGNED) != _UNSIGNED
        or tags.get(_PHOTOMETRIC) not in (_BLACK_IS_ZERO, _PALETTE)
        or tags.get(_STRIP_BYTES) != width * height * dtype.itemsize
        or not 0 < width * height * dtype.itemsize <= len(data) - offset
    ):
        return None
    pixels: Page = np.frombuffer(data, dtype, width * height, offset).reshape(height, width)
    pixels.setflags(write=False)
    return pixels


def _first_directory(data: Any) -> dict[int, int] | None:
    """Tags of a little-endian TIFF's first page that hold one number; None for anything else."""
    if len(data) < 8 or bytes(data[:4]) != _TIFF_LITTLE_ENDIAN:
        return None
    (begin,) = struct.unpack_from("<I", data, 4)
    if begin + 2 > len(data):
        return None
    (count,) = struct.unpack_from("<H", data, begin)
    if begin + 2 + 12 * count > len(data):
        return None
    entries = struct.iter_unpack("<HHII", memoryview(data)[begin + 2 : begin + 2 + 12 * count])
    # A short lies in the lower half of its field.
    return {
        tag: value if kind == _LONG else value & 0xFFFF
        for tag, kind, values, value in entries
        if values == 1 and kind in (_SHORT, _LONG)
    }
