"""TIF stacks, read page by page and written page by page."""

import functools
import importlib.util
import lzma
import math
import threading
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from _platelet_em.arrays.tiff_directory import count_pages
from _platelet_em.errors import ImageFormatError, MissingExtraError, PlateletEMError
from _platelet_em.limits import MAX_PAGE, MAX_VOXELS

__all__ = ["TiffStack", "write_pages"]

_LZMA, _ZSTD = 34925, 50000
_COMPRESSIONS = (1, 5, 8, 32946, 32773, _LZMA, _ZSTD)
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
_AXES = ("YX", "YXS", "SYX")


class TiffStack:
    """A multipage TIF whose pages are read one at a time, from any thread.

    Args:
        file: Open for reading; closed by `close`, or at the end of a `with` block.
        name: What to call it in a message.

    Attributes:
        shape: (z, y, x), or (z, y, x, channels).
        dtype: dtype of the samples.

    Raises:
        ImageFormatError: for anything but a TIF, or one that is larger than `limits` allow.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name
        # The file has one position, and shuffled streams read from several threads.
        self._lock = threading.Lock()
        try:
            self.shape, self.dtype = self._open()
        except BaseException:
            file.close()
            raise

    def _open(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        with self._readable("the file"):
            self._depth = count_pages(self._file)
            # An OME description may name other files, which would be opened.
            self._tif = tifffile.TiffFile(_handle(self._file, self._name), is_ome=False)
            first: Any = self._tif.pages[0]
            if first.dtype is None or first.axes not in _AXES:
                raise ImageFormatError(
                    f"{self._name}: expected pages of the axes (y, x), got {first.shape}: write "
                    "it with one page per slice"
                )
            pixels = first.imagelength * first.imagewidth
            if not 0 < pixels <= MAX_PAGE or pixels * self._depth > MAX_VOXELS:
                raise ImageFormatError(
                    f"{self._name}: expected 1 to {MAX_PAGE} pixels per page and at most "
                    f"{MAX_VOXELS} voxels, got {self._depth} pages of {first.imagelength} x "
                    f"{first.imagewidth} pixels: the file is damaged, or too large to be read"
                )
            if self._depth == 1 and (planes := self._tif.series[0].size // first.size) > 1:
                raise ImageFormatError(
                    f"{self._name}: {planes} planes in one page: tools that read pages would "
                    "lose the others: write it with one page per plane"
                )
            return (self._depth, *_last_samples(first.shape, first.axes)), first.dtype

    @contextmanager
    def _readable(self, part: str) -> Iterator[None]:
        try:
            yield
        except PlateletEMError:
            raise
        except Exception as error:
            # Damaged files make tifffile and the codecs raise exceptions of any class.
            if isinstance(error, ImportError) or "imagecodecs" in str(error):
                raise self._missing_codec(part, str(error)) from error
            raise ImageFormatError(
                f"{self._name}: {part}: expected a readable TIF: "
                f"{str(error) or type(error).__name__}: the file is damaged: fetch it again, or "
                "write it again"
            ) from error

    def _missing_codec(self, part: str, missing: str) -> MissingExtraError:
        return MissingExtraError(
            f"{self._name}: {part}: {missing}: pip install 'platelet-em[codecs]'"
        )

    @property
    def description(self) -> str:
        """The description of the first page; empty if it has none."""
        with self._readable("page 0"):
            return str(self._tif.pages.first.description)

    def page(self, z: int) -> NDArray[Any]:
        """Page z, an array (y, x) or (y, x, channels).

        Raises:
            ImageFormatError: if it cannot be read, or differs from page 0.
            MissingExtraError: if it is compressed with a codec that is not installed.
            ValueError: if the stack is closed.
        """
        if self._file.closed:
            raise ValueError(f"{self._name}: the file is closed: read pages before closing it")
        with self._lock, self._readable(f"page {z}"):
            page: Any = self._tif.pages[z]
            shape = _last_samples(page.shape, page.axes)
            if shape != self.shape[1:] or page.dtype != self.dtype:
                raise ImageFormatError(
                    f"{self._name}: page {z}: expected shape {self.shape[1:]} and dtype "
                    f"{self.dtype} as in page 0, got {shape} and {page.dtype}: the file is "
                    "damaged, or not a stack of slices"
                )
            if page.planarconfig not in (1, 2):
                raise ValueError(f"planar configuration {int(page.planarconfig)}, expected 1 or 2")
            self._check_size(page)
            pixels: NDArray[Any] = page.asarray()
            return np.moveaxis(pixels, 0, -1) if page.axes == "SYX" else pixels

    def _check_size(self, page: Any) -> None:
        """Refuse pages whose pixels take more memory than a file of this size can hold."""
        size = self._tif.filehandle.size
        ratio = _MAX_RATIO_PLAIN if page.compression == 1 else _MAX_RATIO
        if page.nbytes > min(ratio * size, _MAX_SAMPLES * MAX_PAGE):
            raise ValueError(f"{page.nbytes} bytes of pixels in {size} of file")
        if page.compression not in _COMPRESSIONS:
            raise ImageFormatError(
                f"{self._name}: page {page.index}: expected it uncompressed, or compressed with "
                f"deflate, LZW, PackBits, LZMA or Zstandard, got {page.compression!r}: write it "
                "again"
            )
        if page.compression == _ZSTD and importlib.util.find_spec("imagecodecs") is None:
            # Python 3.14 has a codec of its own, whose output tifffile does not bound.
            raise self._missing_codec(
                f"page {page.index}", "Zstandard requires the 'imagecodecs' package"
            )
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
                self._check_segment(_CODECS[page.compression](), offset, length, most)

    def _check_segment(self, codec: Any, offset: int, length: int, most: int) -> None:
        """Unpack a strip piece by piece, keeping nothing, to see whether it exceeds its page."""
        self._file.seek(offset)
        packed, done = self._file.read(length), 0
        while not codec.eof and done <= most:
            piece = codec.decompress(packed, _PIECE)
            packed = codec.unconsumed_tail if hasattr(codec, "unconsumed_tail") else b""
            if not piece and not packed:
                return
            done += len(piece)
        if done > most:
            raise ValueError(
                f"a strip or tile that unpacks to more than the {most} bytes of its page"
            )

    def close(self) -> None:
        """Close the file."""
        self._tif.close()
        self._file.close()

    def __enter__(self) -> "TiffStack":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _handle(file: IO[bytes], name: str) -> tifffile.FileHandle:
    """The file for tifffile: temporary files have a number where it expects a name."""
    return tifffile.FileHandle(file, name=name)


def _last_samples(shape: tuple[int, ...], axes: str) -> tuple[int, ...]:
    """The shape of a page, samples last."""
    return (*shape[1:], shape[0]) if axes == "SYX" else shape


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
        pages: Arrays (y, x) or (y, x, channels), of one shape and dtype.
        compression: As in tifffile; the publisher's label files are deflate-compressed.
        description: Description of each page, in ASCII.
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
