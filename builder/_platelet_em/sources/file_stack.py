"""`FileStack`: the slices of a volume from one multipage file, or from one file per slice."""

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from _platelet_em.errors import ImageFormatError, printable, quote
from _platelet_em.limits import MAX_PAGES, MAX_VOXELS
from _platelet_em.publisher.tiff import TiffStack
from _platelet_em.sources.own_file import open_own_file
from _platelet_em.sources.png import PNG_MAGIC, PngStack

__all__ = ["FileStack", "PageStack"]

_TIFF_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


class PageStack(Protocol):
    """Pages of one shape and dtype, read one at a time: `TiffStack`, `PngStack`, `FileStack`.

    Attributes:
        shape: (z, y, x), or (z, y, x, channels).
        dtype: dtype of the samples.
        has_colors: Whether the values of pages are indices into a color map of each page.
    """

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    has_colors: bool

    def page(self, z: int) -> NDArray[Any]:
        """Page z, an array (y, x) or (y, x, channels)."""

    def color_map(self, z: int) -> NDArray[np.uint16]:
        """Colors of the values of page z, uint16 (n, 3), of a stack that has colors."""

    def close(self) -> None:
        """Close the file."""


class FileStack:
    """A stack of pages from files, read one at a time, from any thread.

    A single file stays open; of several, each is opened while its page is read, and only then
    compared with the first one. Pictures of 1 bit have the values 0 and 255.

    Args:
        paths: One TIF of any number of pages, one PNG, or several files of one page each, TIF or
            PNG, in the order of the slices.
        name: What to call them together in a message.

    Attributes:
        name: As given.
        shape: (z, y, x), or (z, y, x, channels).
        dtype: dtype of the samples.
        has_colors: Whether the values of pages are indices into a color map of each page.
        size: Bytes of all files.

    Raises:
        ImageFormatError: for files of other formats, damaged ones, those of several pages among
            several files, and volumes that are larger than `limits` allow.
        ArchiveError: for files that are missing or cannot be read.
    """

    def __init__(self, paths: Sequence[Path], name: str) -> None:
        self.name = name
        self._paths = tuple(paths)
        self._is_closed = False
        with contextlib.ExitStack() as opened:
            first = opened.enter_context(contextlib.closing(_open_file(self._paths[0])))
            self._form = _form(first)
            self.shape = self._read_shape(first)
            self.has_colors = first.has_colors
            self.dtype = self._form[1]
            self._single: PageStack | None = None
            if len(self._paths) == 1:
                self._single = first
                opened.pop_all()

    def _read_shape(self, first: PageStack) -> tuple[int, ...]:
        """The shape of a volume that is not too large to be read."""
        depth, height, width = first.shape[:3]
        if len(self._paths) > 1:
            self._check_one_page(first, 0)
            depth = len(self._paths)
        if depth > MAX_PAGES or depth * height * width > MAX_VOXELS:
            raise ImageFormatError(
                f"{self.name}: expected at most {MAX_PAGES} slices and {MAX_VOXELS} voxels, got "
                f"{depth} slices of {height} x {width} pixels: describe parts of it as volumes of "
                "their own"
            )
        return (depth, *first.shape[1:])

    @property
    def volume_shape(self) -> tuple[int, int, int]:
        """(z, y, x), whatever channels there are."""
        depth, height, width = self.shape[:3]
        return depth, height, width

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(path.stat().st_size for path in self._paths)

    def describe_file(self, z: int) -> str:
        """The file that has page z, for messages."""
        return printable(str(self._paths[0 if self._single else z]))

    def page(self, z: int) -> NDArray[Any]:
        """Page z, an array (y, x) or (y, x, channels).

        Raises:
            ImageFormatError: if it cannot be read, or differs in form from the first one.
            ArchiveError: if its file is missing or cannot be read.
            MissingExtraError: if it is compressed with a codec that is not installed.
            ValueError: if the stack is closed.
        """
        self._check_open()
        page: NDArray[Any]
        if self._single:
            page = self._single.page(z)
        else:
            with contextlib.closing(self._open_slice(z)) as stack:
                page = stack.page(0)
        if page.dtype == np.bool_:
            # Indices of 1 bit stay 0 and 1: they count colors.
            page = page.view(np.uint8) * np.uint8(1 if self.has_colors else 255)
        return page

    def color_map(self, z: int) -> NDArray[np.uint16]:
        """Colors of the values of page z, uint16 (n, 3), of a stack that has colors.

        Raises:
            ImageFormatError: for a damaged color map.
            ValueError: if the stack is closed.
        """
        self._check_open()
        if self._single:
            return self._single.color_map(z)
        with contextlib.closing(self._open_slice(z)) as stack:
            return stack.color_map(0)

    def _open_slice(self, z: int) -> PageStack:
        """The file of page z, which has the form of the first one."""
        with contextlib.ExitStack() as opened:
            stack = opened.enter_context(contextlib.closing(_open_file(self._paths[z])))
            self._check_one_page(stack, z)
            if (found := _form(stack)) != self._form:
                raise ImageFormatError(
                    f"{self.describe_file(z)}: expected {_describe_form(self._form)}, as in "
                    f"{self.describe_file(0)}, got {_describe_form(found)}: write all slices of a "
                    "volume in one form and size"
                )
            opened.pop_all()
        return stack

    def _check_one_page(self, stack: PageStack, z: int) -> None:
        if stack.shape[0] != 1:
            raise ImageFormatError(
                f"{printable(str(self._paths[z]))}: expected one page, since {self.name} are "
                f"{len(self._paths)} files, got {stack.shape[0]} pages: name one multipage file, "
                "or files of one page each"
            )

    def _check_open(self) -> None:
        if self._is_closed:
            raise ValueError(f"{self.name}: the file is closed: read pages before closing it")

    def close(self) -> None:
        """Close the file; pages cannot be read any more."""
        self._is_closed = True
        if self._single:
            self._single.close()

    def __enter__(self) -> "FileStack":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


_Form = tuple[tuple[int, ...], np.dtype[Any], bool]


def _form(stack: PageStack) -> _Form:
    """What all pages of a stack have in common: shape, dtype, and whether they are indices."""
    # A mask of 1 bit may come among gray pictures of 8 bits: it is read as one of them.
    is_bits = stack.dtype == np.bool_
    return stack.shape[1:], np.dtype(np.uint8) if is_bits else stack.dtype, stack.has_colors


def _describe_form(form: _Form) -> str:
    shape, dtype, has_colors = form
    height, width = shape[:2]
    channels = f" and {shape[2]} channels" if len(shape) > 2 else ""
    colors = " with a palette" if has_colors else ""
    return f"{dtype} pictures of {height} x {width} pixels{channels}{colors}"


def _open_file(path: Path) -> PageStack:
    """A TIF or PNG, whatever its suffix is."""
    shown = printable(str(path))
    with contextlib.ExitStack() as opened:
        file = opened.enter_context(open_own_file(path, "a TIF or PNG"))
        head = file.read(len(PNG_MAGIC))
        file.seek(0)
        if head == PNG_MAGIC:
            return PngStack(path)
        if head[:4] in _TIFF_MAGIC:
            opened.pop_all()
            return TiffStack(file, shown)
    found = "an empty file" if not head else "a JPEG" if head[:2] == b"\xff\xd8" else quote(head)
    raise ImageFormatError(
        f"{shown}: expected a TIF or PNG, got {found}: convert it without loss, and labels from "
        "the original, since other formats change values"
    )
