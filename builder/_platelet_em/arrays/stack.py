"""`LazyStack`: encoded pages that behave like an array (z, y, x) and decode what is read."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays import display
from _platelet_em.arrays.lazy import LazyArray, as_slice
from _platelet_em.arrays.memory import check_room
from _platelet_em.arrays.page import decode_page, view_page
from _platelet_em.errors import ImageFormatError

__all__ = ["LazyStack", "read_pages"]


class LazyStack(LazyArray):
    """A stack of encoded pages, used as an array of shape (z, y, x).

    Reading a window decodes only the pages that it touches. The first page determines shape and
    dtype; a page that differs is an error when it is read. A stack without pages has the shape
    (0, 0, 0) and dtype uint8.

    Args:
        pages: One item per page, in z order: encoded bytes (or a buffer of them), or a decoded
            array (y, x).

    Raises:
        ImageFormatError: for a page that is not a picture, or differs from the first.

    >>> import numpy as np
    >>> stack = LazyStack([np.full((4, 5), z, np.uint16) for z in range(3)])
    >>> stack.shape, stack[1:, 2, 3].tolist()
    ((3, 4, 5), [1, 2])
    """

    __module__ = "platelet_em"  # what messages and pickles name
    __slots__ = ("_dtype", "_pages", "_shape", "_views")

    def __init__(self, pages: Sequence[Any]) -> None:
        self._pages = list(pages)
        # Views take no memory, so that a page is parsed and checked once only.
        self._views: list[NDArray[Any] | None] = [None] * len(self._pages)
        _, first = self._decode(0) if self._pages else (None, np.empty((0, 0), np.uint8))
        if first.ndim != 2:
            raise ImageFormatError(f"page 0: expected the axes (y, x), got shape {first.shape}")
        self._shape = (len(self._pages), *first.shape)
        self._dtype: np.dtype[Any] = first.dtype.newbyteorder("=")

    def _decode(self, z: int) -> tuple[NDArray[Any] | None, NDArray[Any]]:
        """A view of a page's bytes where they allow it, and the page."""
        page = self._pages[z]
        view = page if isinstance(page, np.ndarray) else view_page(page)
        return view, decode_page(page, f"page {z}") if view is None else view

    def _page(self, z: int) -> NDArray[Any]:
        if (view := self._views[z]) is not None:
            return view
        view, page = self._decode(z)
        if page.shape != self._shape[1:] or page.dtype.newbyteorder("=") != self._dtype:
            raise ImageFormatError(
                f"page {z}: expected shape {self._shape[1:]} and dtype {self._dtype} as in page "
                f"0, got {page.shape} and {page.dtype}"
            )
        self._views[z] = view
        return page

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent along each axis, (z, y, x)."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the pages, uint16 of images and uint8 of masks."""
        return self._dtype

    @property
    def nbytes(self) -> int:
        """Bytes of the encoded pages."""
        return sum(
            page.nbytes if isinstance(page, np.ndarray) else memoryview(page).nbytes
            for page in self._pages
        )

    @property
    def pages(self) -> list[Any]:
        """The pages in their stored form, in z order."""
        return list(self._pages)

    def __repr__(self) -> str:
        return f"LazyStack(shape={self.shape}, dtype={self.dtype}, {self.nbytes} bytes encoded)"

    def _repr_html_(self) -> str:
        return display.to_html(self, {}, display.draw_gray)

    def __reduce__(self) -> Any:
        pages = [p if isinstance(p, np.ndarray) else bytes(p) for p in self._pages]
        return type(self), (pages,)

    def _read(self, picked: tuple[range, ...]) -> NDArray[Any]:
        return read_pages(self._page, picked, self._dtype)


def read_pages(
    page: Callable[[int], NDArray[Any]], picked: tuple[range, ...], dtype: np.dtype[Any]
) -> NDArray[Any]:
    """A window of pages, of which only those are asked for that it touches.

    Args:
        page: Gives page z, (y, x).
        picked: Indices along z, y and x, all of them inside the stack.
        dtype: Of the result.

    >>> window = range(2, 0, -1), range(1), range(2)
    >>> read_pages(lambda z: np.full((4, 5), z), window, np.dtype(int)).tolist()
    [[[2, 2]], [[1, 1]]]
    """
    pages, rows, columns = picked
    check_room(list(map(len, picked)), dtype.itemsize)
    out = np.empty([len(indices) for indices in picked], dtype)
    if out.size:
        window = as_slice(rows), as_slice(columns)
        for i, z in enumerate(pages):
            out[i] = page(z)[window]
    return out
