"""The publisher's TIF files, page by page: uint16 images, and labels as indices or colours."""

import struct
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import IO, Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from _platelet_em.errors import ImageFormatError

__all__ = ["TiffStack", "pack_colors", "unpack_colors", "write_pages"]

_TIFF_TROUBLE = (
    tifffile.TiffFileError,
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    ArithmeticError,
    OSError,
    struct.error,
    zlib.error,
    NotImplementedError,
)

_MAX_EXPANSION = 1 << 14
"""Bytes of a page for each byte of its file, at most: a page that asks for more is damaged."""


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
            self._tif = tifffile.TiffFile(_handle(self._file, self._name))
            depth = len(self._tif.pages)
            first = self._tif.pages[0]
            if (follows := _next_page(self._tif)) != 0:
                msg = f"{depth} pages, and another one at byte {follows}, where none is"
                raise ValueError(msg)
            if depth == 1 and (planes := self._tif.series[0].size // first.size) > 1:
                msg = (
                    f"{planes} planes and one page: tools that read pages would lose the others: "
                    "write it with a page for each plane"
                )
                raise ValueError(msg)
        if first.dtype is None or not 2 <= len(first.shape) <= 3:
            msg = f"{self._name}: expected pages of the axes (y, x), got {first.shape}"
            raise ImageFormatError(msg)
        return (depth, *first.shape), first.dtype

    @contextmanager
    def _trouble(self, place: str) -> Iterator[None]:
        try:
            yield
        except ImageFormatError:
            raise
        except _TIFF_TROUBLE as error:
            msg = (
                f"{self._name}: {place}: expected a readable TIF: {error}: the file is damaged, "
                "or of a kind that needs `pip install imagecodecs`"
            )
            raise ImageFormatError(msg) from error

    @property
    def description(self) -> str:
        """What the first page says of itself; empty if it says nothing."""
        with self._trouble("page 0"):
            return str(self._tif.pages.first.description)

    def page(self, z: int) -> NDArray[Any]:
        """Page z, an array (y, x) or (y, x, channels).

        Raises:
            ImageFormatError: if it cannot be read, or differs from page 0.
        """
        with self._trouble(f"page {z}"):
            page = self._tif.pages[z]
            if page.shape != self.shape[1:] or page.dtype != self.dtype:
                msg = (
                    f"{self._name}: page {z}: expected shape {self.shape[1:]} and dtype "
                    f"{self.dtype} as in page 0, got {page.shape} and {page.dtype}"
                )
                raise ImageFormatError(msg)
            if page.nbytes > _MAX_EXPANSION * self._tif.filehandle.size:
                msg = f"{page.nbytes} bytes of pixels in {self._tif.filehandle.size} of file"
                raise ValueError(msg)
            return page.asarray()

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


def _next_page(tif: tifffile.TiffFile) -> int:
    """What the last page says is the place of the next: 0, unless the file is cut there."""
    form, file = tif.tiff, tif.filehandle
    begin = tif.pages[-1].offset
    file.seek(begin)
    (tags,) = struct.unpack(form.tagnoformat, file.read(form.tagnosize))
    file.seek(begin + form.tagnosize + tags * form.tagsize)
    (place,) = struct.unpack(form.offsetformat, file.read(form.offsetsize))
    return int(place)


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
