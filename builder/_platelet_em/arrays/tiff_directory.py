"""The directories of a TIFF file: one per page, each a list of tags.

tifffile reads pages; this parser is for what it does not do. `list_pages` checks a file before
tifffile sees it: a reader that follows a circular chain of directories never ends, and one that
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

__all__ = ["MASK", "REDUCED", "list_pages", "read_first_tags"]

_VALUE_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8,
                13: 4, 16: 8, 17: 8, 18: 8}  # fmt: skip
"""Bytes of a value of each type."""

_SHORT, _LONG = 3, 4

REDUCED, MASK = 1, 4
"""Bits of NewSubfileType: a smaller copy of another page, and a transparency mask of one."""

_NEW_SUBFILE_TYPE, _SUBFILE_TYPE = 254, 255
_OLD_REDUCED = 2


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
        Tag to value, -1 for a tag whose value is anything else; None for anything but a
        little-endian TIFF with 32-bit offsets.
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
    # A short is in the lower half of its field. No function is called: each row comes by here.
    return {
        tag: (value if kind == _LONG else value & 0xFFFF)
        if values == 1 and kind in (_SHORT, _LONG)
        else -1
        for tag, kind, values, value in layout.entry.iter_unpack(memoryview(data)[begin:end])
    }


def list_pages(file: IO[bytes]) -> list[int]:
    """NewSubfileType of each page of a TIFF, classic or BigTIFF, of either byte order.

    Args:
        file: Open for reading; it can seek. It is left at its beginning.

    Returns:
        One number per page, 0 for a page without the tag. The older SubfileType counts as the
        newer one.

    Raises:
        ValueError: for a file that is not a TIFF; for a chain of directories that is circular,
            leaves the file, or is longer than `limits.MAX_PAGES`; for a tag with more values than
            fit the file.
        struct.error: for a file that ends too early.
    """
    size = file.seek(0, 2)
    file.seek(0)
    layout, offset = _parse_header(file.read(16))
    types: dict[int, int] = {}
    while offset:
        if offset in types:
            raise ValueError(
                f"page {len(types)} is an earlier one again: the chain of pages never ends"
            )
        if offset >= size:
            raise ValueError(
                f"{len(types)} pages, and another one at byte {offset} of a file of {size} bytes"
            )
        if len(types) >= MAX_PAGES:
            raise ValueError(f"more than {MAX_PAGES} pages")
        file.seek(offset)
        (count,) = layout.count.unpack(file.read(layout.count.size))
        if count * layout.entry.size > size:
            raise ValueError(f"page {len(types)} has {count} tags in {size} bytes of file")
        types[offset] = _subfile_type(layout, file.read(count * layout.entry.size), size)
        (offset,) = layout.link.unpack(file.read(layout.link.size))
    file.seek(0)
    return list(types.values())


def _subfile_type(layout: _Layout, entries: bytes, size: int) -> int:
    """NewSubfileType of a directory, all of whose tags fit a file of `size` bytes."""
    found = 0
    for i, (tag, kind, values, _) in enumerate(layout.entry.iter_unpack(entries)):
        if values * _VALUE_SIZES.get(kind, 1) > size:
            raise ValueError(f"tag {tag} has {values} values in {size} bytes of file")
        if tag in (_NEW_SUBFILE_TYPE, _SUBFILE_TYPE):
            # A value that is smaller than its field is at the field's beginning.
            begin = i * layout.entry.size + layout.entry.size - layout.link.size
            length = min(_VALUE_SIZES.get(kind, 1), layout.link.size)
            is_little = layout.entry.format.startswith("<")
            field = entries[begin : begin + length]
            value = int.from_bytes(field, "little" if is_little else "big")
            found |= value if tag == _NEW_SUBFILE_TYPE else REDUCED * (value == _OLD_REDUCED)
    return found
