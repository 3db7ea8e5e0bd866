"""The directories of a TIF, walked before anybody believes them.

A TIF is a chain of directories, one a page, whose tags say how many values they have. A reader
that follows a chain in a circle never ends, and one that makes room for what a tag promises takes
memory that no file of that size can fill. So the chain is followed here first, and each tag's
promise is held against the size of the file; nothing else is read.
"""

import struct
from typing import IO

from _platelet_em.limits import MAX_PAGES

__all__ = ["count_pages"]

_ORDERS = {b"II": "<", b"MM": ">"}
_CLASSIC, _BIG = 42, 43
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8,
          17: 8, 18: 8}  # fmt: skip
"""Bytes of a value of each type of TIFF 6.0 and BigTIFF."""


def count_pages(file: IO[bytes]) -> int:
    """The number of pages of a TIF, classic or big, of either byte order.

    Args:
        file: Open for reading; it can seek. It is left at its begin.

    Raises:
        ValueError: for what is no TIF; for a chain of pages that leads in a circle, out of the
            file, or to more than `spec.MAX_PAGES`; for a tag with more values than fit the file.
        struct.error: for a file that ends too early.
    """
    size = file.seek(0, 2)
    file.seek(0)
    head = file.read(16)
    order = _ORDERS.get(head[:2], "")
    magic = struct.unpack(order + "H", head[2:4])[0] if order and len(head) >= 8 else 0
    if magic not in (_CLASSIC, _BIG):
        raise ValueError(f"it begins with {head[:4]!r}")
    count_form, entry_form, place_form = (
        ("H", "HHI4x", "I") if magic == _CLASSIC else ("Q", "HHQ8x", "Q")
    )
    entry_size = struct.calcsize("<" + entry_form)
    (place,) = struct.unpack_from(order + place_form, head, 4 if magic == _CLASSIC else 8)
    seen: set[int] = set()
    while place:
        if place in seen:
            raise ValueError(
                f"page {len(seen)} is an earlier one again: the chain of pages never ends"
            )
        if place >= size:
            raise ValueError(f"{len(seen)} pages, and another one at byte {place}, where none is")
        if len(seen) >= MAX_PAGES:
            raise ValueError(f"more than {MAX_PAGES} pages")
        seen.add(place)
        file.seek(place)
        (tags,) = struct.unpack(order + count_form, file.read(struct.calcsize(count_form)))
        if tags * entry_size > size:
            raise ValueError(f"page {len(seen) - 1} has {tags} tags in {size} bytes of file")
        entries = file.read(tags * entry_size)
        for tag, kind, values in struct.iter_unpack(order + entry_form, entries):
            if values * _SIZES.get(kind, 1) > size:
                raise ValueError(f"tag {tag} has {values} values in {size} bytes of file")
        (place,) = struct.unpack(order + place_form, file.read(struct.calcsize(place_form)))
    file.seek(0)
    return len(seen)
