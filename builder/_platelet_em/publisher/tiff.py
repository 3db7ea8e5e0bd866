"""The publisher's TIF files, page by page: uint16 images, and labels as indices or colours."""

import functools
import importlib.util
import lzma
import math
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import IO, Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from _platelet_em.arrays.tiff_directory import count_pages
from _platelet_em.errors import ImageFormatError, MissingExtraError, PlateletEMError
from _platelet_em.limits import MAX_PAGE, MAX_VOXELS

__all__ = ["TiffStack", "pack_colors", "unpack_colors", "write_pages"]

_LZMA, _ZSTD = 34925, 50000
_COMPRESSIONS = (1, 5, 8, 32946, 32773, _LZMA, _ZSTD)
"""None, LZW, deflate by its two numbers, PackBits, LZMA, Zstandard: they give back what was put
in, and their codecs give no more than they are asked for, or are asked here."""

_CODECS: dict[int, Callable[[], Any]] = {
    8: zlib.decompressobj,
    32946: zlib.decompressobj,
    _LZMA: functools.partial(lzma.LZMADecompressor, memlimit=1 << 28),
}
"""Those that Python brings, and that tifffile lets give as much as they like."""

_DEFLATE_RATIO = 1032
"""What a byte of deflate can give, at most."""

_SLACK = 1 << 26
"""Bytes that a strip may give beyond its page before anybody looks: few ever are looked at."""

_MAX_RATIO = 1 << 14
_MAX_RATIO_PLAIN = 8
"""Bytes of a page for each byte of its file, at most: a page that asks for more is damaged.
Uncompressed pixels are a bit at least."""

_MAX_SAMPLES = 8
"""Bytes of a pixel: RGBA of 16 bits."""

_PIECE = 1 << 20
_AXES = ("YX", "YXS", "SYX")


class TiffStack:
    """A multipage TIF whose pages are read one at a time.

    Args:
        file: Open for reading; closed by `close`, or at the end of a `with` block.
        name: What to call it in a message.

    Attributes:
        shape: (z, y, x), or (z, y, x, channels).
        dtype: Of the samples.

    Raises:
        ImageFormatError: for what is no TIF, or one whose pages differ in shape or dtype.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name
        try:
            self.shape, self.dtype = self._open()
        except BaseException:
            file.close()
            raise

    def _open(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        with self._trouble("the file"):
            self._depth = count_pages(self._file)
            # An OME description may name other files, which would be opened.
            self._tif = tifffile.TiffFile(_handle(self._file, self._name), is_ome=False)
            first: Any = self._tif.pages[0]
            if first.dtype is None or first.axes not in _AXES:
                raise ImageFormatError(
                    f"{self._name}: expected pages of the axes (y, x), got {first.shape}"
                )
            pixels = first.imagelength * first.imagewidth
            if not 0 < pixels <= MAX_PAGE or pixels * self._depth > MAX_VOXELS:
                raise ImageFormatError(
                    f"{self._name}: expected 1 to {MAX_PAGE} pixels a page and at most "
                    f"{MAX_VOXELS} voxels, got {self._depth} pages of {first.imagelength} x "
                    f"{first.imagewidth} pixels: the file is damaged, or too large to be read"
                )
            if self._depth == 1 and (planes := self._tif.series[0].size // first.size) > 1:
                raise ImageFormatError(
                    f"{self._name}: {planes} planes and one page: tools that read pages would "
                    "lose the others: write it with a page for each plane"
                )
            return (self._depth, *_last_samples(first.shape, first.axes)), first.dtype

    @contextmanager
    def _trouble(self, place: str) -> Iterator[None]:
        try:
            yield
        except PlateletEMError:
            raise
        except Exception as error:
            # What is damaged makes tifffile and the codecs raise whatever they meet.
            if isinstance(error, ImportError) or "imagecodecs" in str(error):
                raise self._missing_codec(place, str(error)) from error
            raise ImageFormatError(
                f"{self._name}: {place}: expected a readable TIF: {_shown(error)}: the file is "
                "damaged: fetch it again, or write it anew"
            ) from error

    def _missing_codec(self, place: str, what: str) -> MissingExtraError:
        return MissingExtraError(
            f"{self._name}: {place}: {what}: pip install 'platelet-em[codecs]'"
        )

    @property
    def description(self) -> str:
        """What the first page says of itself; empty if it says nothing."""
        with self._trouble("page 0"):
            return str(self._tif.pages.first.description)

    def page(self, z: int) -> NDArray[Any]:
        """Page z, an array (y, x) or (y, x, channels).

        Raises:
            ImageFormatError: if it cannot be read, or differs from page 0.
            MissingExtraError: if it is compressed with what is not installed.
        """
        with self._trouble(f"page {z}"):
            page: Any = self._tif.pages[z]
            shape = _last_samples(page.shape, page.axes)
            if shape != self.shape[1:] or page.dtype != self.dtype:
                raise ImageFormatError(
                    f"{self._name}: page {z}: expected shape {self.shape[1:]} and dtype "
                    f"{self.dtype} as in page 0, got {shape} and {page.dtype}"
                )
            if page.planarconfig not in (1, 2):
                raise ValueError(f"planar configuration {int(page.planarconfig)}, expected 1 or 2")
            self._check_size(page)
            pixels: NDArray[Any] = page.asarray()
            return np.moveaxis(pixels, 0, -1) if page.axes == "SYX" else pixels

    def _check_size(self, page: Any) -> None:
        """Refuse pages whose pixels take more memory than their file can mean."""
        size = self._tif.filehandle.size
        ratio = _MAX_RATIO_PLAIN if page.compression == 1 else _MAX_RATIO
        if page.nbytes > min(ratio * size, _MAX_SAMPLES * MAX_PAGE):
            raise ValueError(f"{page.nbytes} bytes of pixels in {size} of file")
        if page.compression not in _COMPRESSIONS:
            raise ImageFormatError(
                f"{self._name}: page {page.index}: expected it uncompressed, or compressed with "
                f"deflate, LZW, PackBits, LZMA or Zstandard, got {page.compression!r}: write it "
                "anew"
            )
        if page.compression == _ZSTD and importlib.util.find_spec("imagecodecs") is None:
            # Newer Pythons have a codec, too, that tifffile lets give as much as it likes.
            what = "Zstandard requires the 'imagecodecs' package"
            raise self._missing_codec(f"page {page.index}", what)
        # A tile is decoded whole, however little of it lies in the page.
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
                self._check_segment(_CODECS[page.compression](), offset, length, most)

    def _check_segment(self, codec: Any, offset: int, length: int, most: int) -> None:
        """Unpack a strip piece by piece, and keep nothing: whether it gives more than a page."""
        self._file.seek(offset)
        packed, done = self._file.read(length), 0
        while not codec.eof and done <= most:
            piece = codec.decompress(packed, _PIECE)
            packed = codec.unconsumed_tail if hasattr(codec, "unconsumed_tail") else b""
            if not piece and not packed:
                return
            done += len(piece)
        if done > most:
            raise ValueError(f"a strip or tile that gives more than the {most} bytes of its page")

    def close(self) -> None:
        """Close the file."""
        self._tif.close()
        self._file.close()

    def __enter__(self) -> "TiffStack":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _handle(file: IO[bytes], name: str) -> tifffile.FileHandle:
    """The file as tifffile takes it: temporary files have a number where it expects a name."""
    return tifffile.FileHandle(file, name=name)


def _last_samples(shape: tuple[int, ...], axes: str) -> tuple[int, ...]:
    """The shape of a page whose samples are the last axis, if it has that axis."""
    return (*shape[1:], shape[0]) if axes == "SYX" else shape


def _shown(error: Exception) -> str:
    return str(error) or type(error).__name__


def pack_colors(page: NDArray[Any]) -> NDArray[np.uint64]:
    """One number a pixel for colours (y, x, 3 or 4): 16 bits a sample, red highest.

    Pixels that are black, or transparent (alpha 0), become 0.

    >>> hex(pack_colors(np.array([[[1, 2, 3, 255]]], np.uint8))[0, 0])
    '0x100020003'
    """
    samples = page.astype(np.uint64)
    color: NDArray[np.uint64] = samples[..., 0] << np.uint64(32)
    color |= samples[..., 1] << np.uint64(16) | samples[..., 2]
    if page.shape[-1] == 4:
        color[samples[..., 3] == 0] = 0
    return color


def unpack_colors(codes: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Samples of packed colours, int64 (n, 3)."""
    shifts = np.array([32, 16, 0], np.uint64)
    samples: NDArray[np.uint64] = codes[:, None] >> shifts & np.uint64(0xFFFF)
    return samples.astype(np.int64)


def write_pages(
    file: IO[bytes],
    pages: Iterable[NDArray[Any]],
    *,
    compression: str | None = "zlib",
    description: str | None = None,
) -> None:
    """Write a multipage TIF page by page.

    Args:
        file: Open for writing, empty.
        pages: Arrays (y, x) or (y, x, channels), all alike.
        compression: As tifffile has it; the publisher's label files are deflate-compressed.
        description: What each page says of itself, in ASCII.
    """
    with tifffile.TiffWriter(_handle(file, "pages"), byteorder="<") as out:
        for page in pages:
            out.write(
                page,
                photometric="rgb" if page.ndim == 3 else "minisblack",
                extrasamples=["unassalpha"] if page.shape[2:] == (4,) else None,
                compression=compression,
                description=description,
                metadata=None,
                software=False,
            )
