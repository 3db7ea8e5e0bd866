"""The pixels of one TIFF page, read as the tags of the page say, or refused.

Every door reads TIFF pages here: archives, label files and pictures in Parquet. tifffile decodes
the samples; what the samples mean is decided by the rules of TIFF 6.0, where a reader of the file
can be certain of it:

| tag | read | refused |
|---|---|---|
| PhotometricInterpretation | MinIsBlack; MinIsWhite (inverted); RGB; palette (indices) | others, none; MinIsWhite of ImageJ, of signed numbers or of floats, and of bits by tifffile |
| ColorMap | see `read_color_map` | missing, or of another length |
| ExtraSamples | alpha; unspecified where reading it as alpha changes nothing | others |
| PlanarConfiguration | 1, 2 | others |
| Predictor | with LZW, deflate, Zstandard and LZMA; ignored with others, as in libtiff | others than 1, 2 |
| Orientation | turned | numbers without a meaning |
| FillOrder | 1; 2, with the bits of each byte reversed | others |
| Compression | lossless ones | others |
| StripOffsets, StripByteCounts (or of tiles) | all pixels in the file | strips or tiles missing, or too short |
"""  # noqa: E501

import functools
import importlib.util
import lzma
import math
import zlib
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from _platelet_em.errors import ImageFormatError, MissingExtraError
from _platelet_em.limits import MAX_PAGE

__all__ = ["page_shape", "read_color_map", "read_pixels"]

_MIN_IS_WHITE, _MIN_IS_BLACK, _RGB, _PALETTE = 0, 1, 2, 3
_SAMPLES = {_MIN_IS_WHITE: 1, _MIN_IS_BLACK: 1, _RGB: 3, _PALETTE: 1}
"""Samples per pixel, without alpha."""

_UNSPECIFIED, _ALPHA = 0, (1, 2)

_PLAIN, _PACKBITS = 1, 32773
_LZMA, _ZSTD = 34925, 50000
_COMPRESSIONS = (_PLAIN, 5, 8, 32946, _PACKBITS, _LZMA, _ZSTD)
"""None, LZW, deflate (two codes), PackBits, LZMA, Zstandard: all are lossless, and what their
codecs return is bounded, by themselves or by `_check_segment`."""

_CODECS: dict[int, Callable[[], Any]] = {
    8: zlib.decompressobj,
    32946: zlib.decompressobj,
    _LZMA: functools.partial(lzma.LZMADecompressor, memlimit=1 << 28),
}
"""Codecs of the standard library, whose output tifffile does not bound."""

_DEFLATE_RATIO = 1032
"""Bytes that one byte of deflate expands to, at most."""

_SLACK = 1 << 26
"""Bytes that a strip may return beyond its page before it is checked; hardly any strip is."""

_MAX_RATIO = 1 << 14
_MAX_RATIO_PLAIN = 8
"""Bytes of a page per byte of its file, at most: a page that claims more is damaged. An
uncompressed pixel takes at least one bit."""

_MAX_SAMPLES = 8
"""Bytes of a pixel, at most: 16-bit RGBA."""

_PIECE = 1 << 20

_REVERSED_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_AXES = ("YX", "YXS", "SYX")


def page_shape(page: Any, name: str) -> tuple[int, ...]:
    """The shape of what `read_pixels` returns, from the tags alone.

    Raises:
        ImageFormatError: for other axes than those of a page.
    """
    if page.dtype is None or page.axes not in _AXES:
        raise ImageFormatError(
            f"{name}: expected pages of the axes (y, x), got {page.shape}: write it with one page "
            "per slice"
        )
    height, width = page.imagelength, page.imagewidth
    if page.tags.valueof(274, 1) in range(5, 9):
        height, width = width, height
    return (height, width) if page.axes == "YX" else (height, width, page.samplesperpixel)


def read_pixels(page: Any, name: str) -> NDArray[Any]:
    """The pixels of a page, as its tags say.

    Args:
        page: A `tifffile.TiffPage`.
        name: What to call the page in a message.

    Returns:
        Array (y, x), or (y, x, channels) of RGB, of RGBA and of gray with alpha; row 0 at the
        top, column 0 at the left, 0 is black. Pages with a palette give its indices.

    Raises:
        ImageFormatError: for a page whose meaning is not certain.
        MissingExtraError: for a codec that is not installed.
        ValueError: for a page that is damaged, or takes more memory than such a file can fill.
        Exception: what codecs raise for damaged bytes.
    """
    shape = page_shape(page, name)
    _check_meaning(page, name)
    _check_complete(page, name)
    _check_memory(page, name)
    if page.compression in (_PLAIN, _PACKBITS):
        page.predictor = 1
    try:
        pixels: NDArray[Any] = page.asarray()
    except Exception as error:
        if isinstance(error, ImportError) or "imagecodecs" in str(error):
            raise _missing_codec(name, str(error)) from error
        raise
    if page.axes == "SYX":
        pixels = np.moveaxis(pixels, 0, -1)
    if page.photometric == _MIN_IS_WHITE:
        pixels = _invert(pixels, page, name)
    if _extra_samples(page) == (_UNSPECIFIED,):
        _check_unspecified(pixels, page, name)
    return _turn(pixels, page.tags.valueof(274, 1)).reshape(shape)


def read_color_map(page: Any, name: str) -> NDArray[np.uint16] | None:
    """The colors of the indices of a palette page.

    Args:
        page: A `tifffile.TiffPage`.
        name: What to call the page in a message.

    Returns:
        uint16 (n, 3), in 8 bits per sample where all are multiples of 257 or of 256, as writers
        scale them. None for a page without a palette, and for one whose colors are the gray values
        0 to n - 1: index and color are one there.

    Raises:
        ImageFormatError: for a palette page without one color for each index.
    """
    if page.photometric != _PALETTE:
        return None
    stored = np.asarray(page.tags.valueof(320, ()))
    length = 1 << int(page.bitspersample)
    if stored.size != 3 * length:
        _refuse(
            name,
            f"ColorMap has {stored.size} values, expected {3 * length}",
            "write the page again, with the colors of its palette",
        )
    colors: NDArray[np.uint16] = stored.reshape(3, length).T.astype(np.uint16)
    for scale in (257, 256):
        if (colors > 255).any() and (colors % scale == 0).all():
            colors //= scale
            break
    is_gray_ramp = (colors == np.arange(length)[:, None]).all()
    return None if is_gray_ramp else colors


def _refuse(name: str, found: str, remedy: str) -> NoReturn:
    raise ImageFormatError(f"{name}: the tag {found}: {remedy}")


def _extra_samples(page: Any) -> tuple[int, ...]:
    """Kinds of the samples beyond gray, index or RGB; unspecified without the tag."""
    extra = page.samplesperpixel - _SAMPLES[page.photometric]
    kinds = tuple(int(kind) for kind in page.extrasamples)
    return kinds or (_UNSPECIFIED,) * extra


def _check_meaning(page: Any, name: str) -> None:
    """Refuse pages whose tags leave open what the samples mean."""
    again = "write the page again, as gray values, indices or RGB"
    if 262 not in page.tags:
        _refuse(name, "PhotometricInterpretation is missing", again)
    if page.photometric not in _SAMPLES:
        _refuse(name, f"PhotometricInterpretation is {page.photometric!r}", again)
    if page.planarconfig not in (1, 2):
        _refuse(name, f"PlanarConfiguration is {page.planarconfig!r}", again)
    if (order := page.tags.valueof(266, 1)) not in (1, 2):
        _refuse(name, f"FillOrder is {order!r}, expected 1 or 2", again)
    if (orientation := page.tags.valueof(274, 1)) not in range(1, 9):
        _refuse(name, f"Orientation is {orientation!r}, expected 1 to 8", again)
    if page.compression not in _COMPRESSIONS:
        _refuse(
            name,
            f"Compression is {page.compression!r}, expected none, deflate, LZW, PackBits, LZMA or "
            "Zstandard",
            "write the page again, without loss",
        )
    if page.compression not in (_PLAIN, _PACKBITS) and page.predictor not in (1, 2):
        _refuse(name, f"Predictor is {page.predictor!r}, expected 1 or 2", again)
    extra = _extra_samples(page)
    if len(extra) != page.samplesperpixel - _SAMPLES[page.photometric] or len(extra) > 1:
        _refuse(
            name,
            f"SamplesPerPixel is {page.samplesperpixel}, with ExtraSamples {extra} and "
            f"PhotometricInterpretation {page.photometric!r}",
            again,
        )
    if extra and extra[0] not in (_UNSPECIFIED, *_ALPHA):
        _refuse(name, f"ExtraSamples is {extra[0]}, expected alpha", again)


def _invert(pixels: NDArray[Any], page: Any, name: str) -> NDArray[Any]:
    """Gray values with 0 as black, of a page that stores them with 0 as white."""
    found = "PhotometricInterpretation is MinIsWhite"
    if page.parent.is_imagej:
        _refuse(
            name,
            f"{found}, and ImageJ wrote the file: its inverting lookup table may change how the "
            "values look, or what they are",
            "choose Image > Lookup Tables > Invert LUT in ImageJ, and save the file again",
        )
    if pixels.dtype == np.bool_:
        first = page.parent.pages.first
        if first.is_shaped or first.software.startswith("tifffile"):
            _refuse(
                name,
                f"{found}, and tifffile wrote the file: it marks bits so without inverting them",
                "write them again with photometric='minisblack'",
            )
        return ~pixels
    if pixels.dtype.kind != "u" or pixels.ndim != 2:
        _refuse(
            name,
            f"{found}, which has no meaning for samples of {pixels.dtype} and shape "
            f"{pixels.shape}",
            "write the page again, as MinIsBlack",
        )
    white = pixels.dtype.type((1 << int(page.bitspersample)) - 1)
    inverted: NDArray[Any] = white - pixels
    return inverted


def _check_unspecified(pixels: NDArray[Any], page: Any, name: str) -> None:
    """Refuse a further sample that may be alpha or not, where that makes a difference."""
    extra, color = pixels[..., -1], pixels[..., :-1].any(axis=-1)
    opaque = (extra == 255) | (extra == (1 << int(page.bitspersample)) - 1)
    if not (opaque | ~color).all():
        _refuse(
            name,
            "ExtraSamples says nothing of the last sample, which is not opaque everywhere",
            "write the page as RGB, or with ExtraSamples 2 (alpha)",
        )


def _turn(pixels: NDArray[Any], orientation: int) -> NDArray[Any]:
    """Turn a page so that row 0 is the top and column 0 the left.

    Orientation 6, for example: row 0 of the file is the right side, column 0 the top, so
    [[1, 2], [3, 4]] is [[3, 1], [4, 2]].
    """
    if orientation == 1:
        return pixels
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(pixels[::rows, ::columns])


def _missing_codec(name: str, missing: str) -> MissingExtraError:
    return MissingExtraError(f"{name}: {missing}: pip install 'platelet-em[codecs]'")


def _check_memory(page: Any, name: str) -> None:
    """Refuse pages whose pixels take more memory than a file of this size can fill."""
    size = page.parent.filehandle.size
    ratio = _MAX_RATIO_PLAIN if page.compression == _PLAIN else _MAX_RATIO
    if page.nbytes > min(ratio * size, _MAX_SAMPLES * MAX_PAGE):
        raise ValueError(f"{page.nbytes} bytes of pixels in {size} of file")
    if page.compression == _ZSTD and importlib.util.find_spec("imagecodecs") is None:
        # Python 3.14 has a codec of its own, whose output tifffile does not bound.
        raise _missing_codec(name, "Zstandard requires the 'imagecodecs' package")
    # A tile is decoded completely, however little of it is inside the page.
    tile = page.tilewidth * page.tilelength if page.is_tiled else 0
    if tile > MAX_PAGE:
        raise ValueError(f"tiles of {page.tilewidth} x {page.tilelength} pixels")
    if len(page.dataoffsets) != (count := math.prod(page.chunked)):
        raise ValueError(f"{len(page.dataoffsets)} strips or tiles, expected {count}")
    if sum(page.databytecounts) > _MAX_SAMPLES * MAX_PAGE:
        raise ValueError(f"{sum(page.databytecounts)} bytes of strips or tiles")
    most = page.nbytes + tile * page.samplesperpixel * page.dtype.itemsize + _SLACK
    for offset, length in zip(page.dataoffsets, page.databytecounts, strict=True):
        if offset + length > size:
            raise ValueError(f"a strip or tile of {length} bytes at byte {offset} of {size}")
        is_small = page.compression != _LZMA and length * _DEFLATE_RATIO <= most
        if page.compression in _CODECS and not is_small:
            _check_segment(page, offset, length, most)


def _check_complete(page: Any, name: str) -> None:
    """Refuse pages some of whose pixels are not in the file, where tifffile would invent them.

    It reads strips and tiles of offset or length 0 as zeros, as in sparse files of GDAL, and a
    single uncompressed strip beyond its end.
    """
    kind, again = "Tile" if page.is_tiled else "Strip", "fetch the file again, or write it again"
    for part, values in (("Offsets", page.dataoffsets), ("ByteCounts", page.databytecounts)):
        if 0 in values:
            missing = f"{kind}{part} is 0 for number {values.index(0)}"
            _refuse(name, f"{missing}: its pixels are missing", again)
    if page.compression == _PLAIN and not page.is_tiled:
        bits = page.imagewidth * page.samplesperpixel * int(page.bitspersample)
        expected = page.imagelength * -(-bits // 8)
        if (found := sum(page.databytecounts)) < expected:
            _refuse(name, f"StripByteCounts sums up to {found}, expected {expected}", again)


def _check_segment(page: Any, offset: int, length: int, most: int) -> None:
    """Unpack a strip piece by piece, keeping nothing, to see whether it exceeds its page."""
    file, codec = page.parent.filehandle, _CODECS[page.compression]()
    file.seek(offset)
    packed, done = file.read(length), 0
    if page.fillorder == 2:
        packed = packed.translate(_REVERSED_BITS)
    while not codec.eof and done <= most:
        piece = codec.decompress(packed, _PIECE)
        packed = codec.unconsumed_tail if hasattr(codec, "unconsumed_tail") else b""
        if not piece and not packed:
            return
        done += len(piece)
    if done > most:
        raise ValueError(f"a strip or tile that unpacks to more than the {most} bytes of its page")
