"""The directories of a TIFF file: one per page, each a list of tags.

tifffile and Pillow read pages; this parser is for what they do not do. `count_pages` checks a file
before they see it: a reader that follows a circular chain of directories never ends, and one that
allocates what a tag promises takes memory that a file of that size cannot fill. `read_first_tags`
finds the pixels of a page in a buffer in microseconds.

Source: TIFF 6.0, section 2, and the BigTIFF specification. A header of 8 bytes (16 in BigTIFF)
holds the byte order, a version and the offset of the first directory. A directory is a number of
entries, the entries, and the offset of the next directory, 0 after the last. An entry is a tag,
the type of its values, their number, and the value itself, or its offset if it does not fit.
"""

import struct
from dataclasses import dataclass
from typing import IO, Any

from _platelet_em.limits import MAX_PAGES

__all__ = ["count_pages", "read_first_tags"]

_VALUE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8,
                13: 4, 16: 8, 17: 8, 18: 8}  # fmt: skip
"""Bytes of a value of each type."""

_SHORT, _LONG = 3, 4


@dataclass(frozen=True, slots=True)
class _Layout:
    """How the numbers of a TIFF are stored.

    Attributes:
        first: Offset of the first directory, after what precedes it in the header.
        count: Number of entries.
        entry: Tag, type, number of values, value or offset.
        link: Offset of the next directory.
    """

    first: struct.Struct
    count: struct.Struct
    entry: struct.Struct
    link: struct.Struct


def _layout(order: str, is_big: bool) -> _Layout:
    forms = ("8xQ", "Q", "HHQQ", "Q") if is_big else ("4xI", "H", "HHII", "I")
    return _Layout(*(struct.Struct(order + form) for form in forms))


_LITTLE_ENDIAN = _layout("<", is_big=False)
_LAYOUTS = {
    b"II*\0": _LITTLE_ENDIAN,
    b"MM\0*": _layout(">", is_big=False),
    b"II+\0": _layout("<", is_big=True),
    b"MM\0+": _layout(">", is_big=True),
}
"""By the first four bytes of a file: byte order and version."""


def _parse_header(head: Any) -> tuple[_Layout, int]:
    """The layout of a TIFF, and the offset of its first directory."""
    magic = bytes(head[:4])
    layout = _LAYOUTS.get(magic)
    if layout is None:
        raise ValueError(f"it begins with {magic!r}")
    return layout, layout.first.unpack_from(head)[0]


def read_first_tags(data: Any) -> dict[int, int] | None:
    """Tags of the first page whose value is one integer, of a TIFF as this package writes them.

    Args:
        data: Anything with the buffer protocol.

    Returns:
        Tag to value; None for anything but a little-endian TIFF with 32-bit offsets.
    """
    try:
        layout, offset = _parse_header(data)
        if layout is not _LITTLE_ENDIAN:
            return None
        (count,) = layout.count.unpack_from(data, offset)
    except (ValueError, struct.error):
        return None
    begin = offset + layout.count.size
    end = begin + count * layout.entry.size
    if end > len(data):
        return None
    # A short is in the lower half of its field.
    return {
        tag: value if kind == _LONG else value & 0xFFFF
        for tag, kind, values, value in layout.entry.iter_unpack(memoryview(data)[begin:end])
        if values == 1 and kind in (_SHORT, _LONG)
    }


def count_pages(file: IO[bytes]) -> int:
    """The number of pages of a TIFF, classic or BigTIFF, of either byte order.

    Args:
        file: Open for reading; it can seek. It is left at its beginning.

    Raises:
        ValueError: for a file that is not a TIFF; for a chain of directories that is circular,
            leaves the file, or is longer than `limits.MAX_PAGES`; for a tag with more values than
            fit the file.
        struct.error: for a file that ends too early.
    """
    size = file.seek(0, 2)
    file.seek(0)
    layout, offset = _parse_header(file.read(16))
    seen: set[int] = set()
    while offset:
        if offset in seen:
            raise ValueError(
                f"page {len(seen)} is an earlier one again: the chain of pages never ends"
            )
        if offset >= size:
            raise ValueError(
                f"{len(seen)} pages, and another one at byte {offset} of a file of {size} bytes"
            )
        if len(seen) >= MAX_PAGES:
            raise ValueError(f"more than {MAX_PAGES} pages")
        seen.add(offset)
        file.seek(offset)
        (count,) = layout.count.unpack(file.read(layout.count.size))
        if count * layout.entry.size > size:
            raise ValueError(f"page {len(seen) - 1} has {count} tags in {size} bytes of file")
        entries = file.read(count * layout.entry.size)
        for tag, kind, values, _ in layout.entry.iter_unpack(entries):
            if values * _VALUE_SIZES.get(kind, 1) > size:
                raise ValueError(f"tag {tag} has {values} values in {size} bytes of file")
        (offset,) = layout.link.unpack(file.read(layout.link.size))
    file.seek(0)
    return len(seen)
