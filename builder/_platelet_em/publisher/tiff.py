"""TIF stacks, read page by page and written page by page."""

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from _platelet_em.arrays.tiff_directory import MASK, REDUCED, list_pages
from _platelet_em.arrays.tiff_page import page_shape, read_color_map, read_pixels
from _platelet_em.errors import ImageFormatError, PlateletEMError
from _platelet_em.limits import MAX_PAGE, MAX_VOXELS
from _platelet_em.publisher.tiff_description import find_other_axes

__all__ = ["TiffStack", "write_pages"]


class TiffStack:
    """A multipage TIF whose pages are read one at a time, from any thread.

    Pages are read as `arrays.tiff_page` says. Smaller copies of pages are no slices.

    Args:
        file: Open for reading; closed by `close`, or at the end of a `with` block.
        name: What to call it in a message.

    Attributes:
        shape: (z, y, x), or (z, y, x, channels).
        dtype: dtype of the samples.
        has_colors: Whether the values of pages are indices into a color map of each page.

    Raises:
        ImageFormatError: for anything but a TIF, one that is larger than `limits` allow, or one
            whose pages are not the slices of one volume.
    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name
        # The file has one position, and shuffled streams read from several threads.
        self._lock = threading.Lock()
        try:
            with self._readable("the file"):
                self._pages = self._list_slices(list_pages(file))
                # An OME description may name other files, which would be opened.
                self._tif = tifffile.TiffFile(_handle(file, name), is_ome=False)
                self.shape, self.dtype = self._read_shape()
                self.has_colors = self._read_color_map(0) is not None
        except BaseException:
            file.close()
            raise

    def _list_slices(self, types: list[int]) -> list[int]:
        """Indices of the pages that are slices, by the NewSubfileType of each page."""
        if masks := [i for i, kind in enumerate(types) if kind & MASK]:
            raise ImageFormatError(
                f"{self._name}: page {masks[0]}: the tag NewSubfileType says that it is a "
                "transparency mask: write the file again without masks"
            )
        slices = [i for i, kind in enumerate(types) if not kind & REDUCED]
        if not slices:
            raise ImageFormatError(
                f"{self._name}: expected pages in full resolution, got {len(types)} whose tag "
                "NewSubfileType says that they are smaller copies: write it again"
            )
        return slices

    def _read_shape(self) -> tuple[tuple[int, ...], np.dtype[Any]]:
        first, depth = self._page(0), len(self._pages)
        shape, pixels = page_shape(first, self._name), first.imagelength * first.imagewidth
        if not 0 < pixels <= MAX_PAGE or pixels * depth > MAX_VOXELS:
            raise ImageFormatError(
                f"{self._name}: expected 1 to {MAX_PAGE} pixels per page and at most "
                f"{MAX_VOXELS} voxels, got {depth} pages of {first.imagelength} x "
                f"{first.imagewidth} pixels: the file is damaged, or too large to be read"
            )
        if len(self._tif.pages) == 1 and (planes := self._tif.series[0].size // first.size) > 1:
            raise ImageFormatError(
                f"{self._name}: {planes} planes in one page: tools that read pages would "
                "lose the others: write it with one page per plane"
            )
        if depth == 1 and first.axes == "SYX":
            raise ImageFormatError(
                f"{self._name}: the tag PlanarConfiguration says that its only page has "
                f"{shape[2]} planes, and tifffile writes {shape[2]} slices that way too: write "
                "slices with photometric='minisblack', and colors with planarconfig='contig'"
            )
        if other := find_other_axes(
            str(self._tif.pages.first.description), depth, first.samplesperpixel
        ):
            raise ImageFormatError(
                f"{self._name}: expected one page per slice, but its tag ImageDescription says "
                f"otherwise: {other}: write it as one volume, axes (z, y, x), and colors as RGB"
            )
        return (depth, *shape), first.dtype

    def _page(self, z: int) -> Any:
        return self._tif.pages[self._pages[z]]

    @contextmanager
    def _readable(self, part: str) -> Iterator[None]:
        try:
            yield
        except PlateletEMError:
            raise
        except Exception as error:
            # Damaged files make tifffile and the codecs raise exceptions of any class.
            raise ImageFormatError(
                f"{self._name}: {part}: expected a readable TIF: "
                f"{str(error) or type(error).__name__}: the file is damaged: fetch it again, or "
                "write it again"
            ) from error

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
        self._check_open()
        with self._lock, self._readable(f"page {z}"):
            page, name = self._page(z), f"{self._name}: page {z}"
            shape = page_shape(page, name)
            if shape != self.shape[1:] or page.dtype != self.dtype:
                raise ImageFormatError(
                    f"{name}: expected shape {self.shape[1:]} and dtype {self.dtype} as in page "
                    f"0, got {shape} and {page.dtype}: the file is damaged, or not a stack of "
                    "slices"
                )
            if (read_color_map(page, name) is not None) != self.has_colors:
                raise ImageFormatError(
                    f"{name}: its tag ColorMap has {'no ' * self.has_colors}colors, unlike that "
                    "of page 0: write all pages in one form"
                )
            return read_pixels(page, name)

    def color_map(self, z: int) -> NDArray[np.uint16]:
        """Colors of the values of page z, uint16 (n, 3), of a stack that has colors.

        Raises:
            ImageFormatError: for a damaged color map.
            ValueError: if the stack is closed.
        """
        self._check_open()
        with self._lock, self._readable(f"page {z}"):
            colors = self._read_color_map(z)
            if colors is None:
                raise ValueError("it has no color map")
            return colors

    def _read_color_map(self, z: int) -> NDArray[np.uint16] | None:
        return read_color_map(self._page(z), f"{self._name}: page {z}")

    def _check_open(self) -> None:
        if self._file.closed:
            raise ValueError(f"{self._name}: the file is closed: read pages before closing it")

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
