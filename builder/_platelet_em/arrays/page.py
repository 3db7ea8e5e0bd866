"""One slice as an encoded picture: an array as an uncompressed TIFF, and a picture as an array.

Pages are uncompressed so that reading one is a view of its stored bytes: a compressor saves 6 % of
the images, and the masks are compressed by the Parquet file around them.
"""

import io
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageOps

from _platelet_em.arrays.tiff_directory import list_pages, read_first_tags
from _platelet_em.arrays.tiff_page import read_pixels
from _platelet_em.errors import ImageFormatError, PlateletEMError, quote
from _platelet_em.limits import MAX_PAGE

__all__ = ["decode_page", "encode_page", "read_palette", "view_page"]

Page = NDArray[Any]

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "WEBP")
"""Formats that Pillow reads here. It knows others, some of which it passes to other programs."""

_TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_FILL_ORDER, _STRIP_OFFSETS, _ORIENTATION, _SAMPLES, _STRIP_BYTES = 266, 273, 274, 277, 279
_SAMPLE_FORMAT = 339
_BLACK_IS_ZERO, _PALETTE, _UNSIGNED = 1, 3, 1
_HEADER = 8
"""Bytes before the first strip, at least."""


def encode_page(page: Page, palette: NDArray[np.uint8] | None = None) -> bytes:
    """Encode a slice as an uncompressed TIFF of one strip; the same page gives the same bytes.

    Args:
        page: uint8 or uint16 (y, x), gray values, or uint8 (y, x), indices into a palette.
        palette: uint8 (n, 3), the RGB color of each index, for uint8 pages.

    Raises:
        ImageFormatError: for another dtype or number of axes, or no pixels.
    """
    expected = (np.uint8, np.uint16) if palette is None else (np.uint8,)
    if page.ndim != 2 or page.dtype not in expected or not page.size:
        raise ImageFormatError(
            f"a page has the axes (y, x), at least one pixel and dtype "
            f"{' or '.join(np.dtype(d).name for d in expected)}; got "
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
    """Decode a picture: a view of its bytes where they allow it, else a copy.

    Args:
        data: Bytes, or anything with the buffer protocol.
        name: What to call the picture in a message.

    Returns:
        Array (y, x), or (y, x, channels) of a color picture, turned as its orientation says;
        palette pictures give indices. Views are read-only. Of a TIFF, the first page.

    Raises:
        ImageFormatError: for bytes that are not a picture, more than `limits.MAX_PAGE` pixels, or
            a TIFF that `tiff_page.read_pixels` refuses.
        MissingExtraError: for a TIFF whose codec is not installed.
    """
    if isinstance(data, str):
        raise ImageFormatError(
            f"{name}: expected the bytes of an encoded picture, got the string {quote(data)}"
        )
    if (view := view_page(data)) is not None:
        return view
    decode = _decode_tiff if bytes(data[:4]) in _TIFF else _decode_with_pillow
    try:
        return decode(io.BytesIO(data), name)
    except PlateletEMError:
        raise
    except Exception as error:  # damaged bytes make tifffile and Pillow raise anything
        raise ImageFormatError(
            f"{name}: expected an encoded picture, got {quote(bytes(data[:16]))}: "
            f"{str(error) or type(error).__name__}"
        ) from error


def read_palette(data: bytes) -> list[int]:
    """The palette of a picture that `decode_page` reads: R, G, B, R, ...; empty without one.

    Raises:
        ImageFormatError: for bytes that Pillow cannot read as one of these formats.
    """
    try:
        with Image.open(io.BytesIO(data), formats=("TIFF", *_FORMATS)) as picture:
            return picture.getpalette() or []
    except Exception as error:  # damaged bytes make Pillow raise anything
        raise ImageFormatError(f"expected a picture with a palette: {error}") from error


def _decode_tiff(file: io.BytesIO, name: str) -> Page:
    list_pages(file)
    with tifffile.TiffFile(file, is_ome=False) as tif:
        page: Any = tif.pages[0]
        _check_size(page.imagewidth, page.imagelength)
        return read_pixels(page, name)


def _decode_with_pillow(file: io.BytesIO, _: str) -> Page:
    with Image.open(file, formats=_FORMATS) as picture:
        _check_size(picture.width, picture.height)
        # `datasets` turns pictures too.
        return np.asarray(ImageOps.exif_transpose(picture))


def _check_size(width: int, height: int) -> None:
    if not 0 < width * height <= MAX_PAGE:
        raise ValueError(f"{width} x {height} pixels, expected 1 to {MAX_PAGE}")


def view_page(data: Any) -> Page | None:
    """The pixels of an uncompressed grayscale or palette TIFF of one strip, without a copy.

    Args:
        data: Bytes, or anything with the buffer protocol.

    Returns:
        Read-only uint8 or uint16 (y, x); None for everything else, picture or not.
    """
    tags = read_first_tags(data)
    if tags is None:
        return None
    width, height, bits = tags.get(_WIDTH, 0), tags.get(_HEIGHT, 0), tags.get(_BITS, 1)
    dtype: np.dtype[Any] = np.dtype("<u2" if bits == 16 else "<u1")
    offset = tags.get(_STRIP_OFFSETS, -1)
    if (
        bits not in (8, 16)
        or offset < _HEADER
        or tags.get(_COMPRESSION, 1) != 1
        or tags.get(_SAMPLES, 1) != 1
        or tags.get(_ORIENTATION, 1) != 1
        or tags.get(_FILL_ORDER, 1) != 1
        or tags.get(_SAMPLE_FORMAT, _UNSIGNED) != _UNSIGNED
        or tags.get(_PHOTOMETRIC) not in (_BLACK_IS_ZERO, _PALETTE)
        or tags.get(_STRIP_BYTES) != width * height * dtype.itemsize
        or not 0 < width * height * dtype.itemsize <= len(data) - offset
    ):
        return None
    pixels: Page = np.frombuffer(data, dtype, width * height, offset).reshape(height, width)
    pixels.setflags(write=False)
    return pixels
