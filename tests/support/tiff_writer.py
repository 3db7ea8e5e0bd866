"""TIFFs written tag by tag: whatever a file may say, with any compression.

Source: TIFF 6.0. One strip per page, or per page and plane.
"""

import struct
import zlib

import imagecodecs
import numpy as np

SHORT, LONG = 3, 4
CODECS = {
    1: bytes,
    5: imagecodecs.lzw_encode,
    8: zlib.compress,
    32946: zlib.compress,
    32773: imagecodecs.packbits_encode,
    34925: imagecodecs.lzma_encode,
    50000: imagecodecs.zstd_encode,
}
REVERSED = np.array([int(f"{i:08b}"[::-1], 2) for i in range(256)], np.uint8)


def write(pages, tags=(), *, order="<", page_tags=None, planar=False):
    """The bytes of a TIFF.

    Args:
        pages: Arrays (y, x) or (y, x, samples) of stored samples; each may differ in shape.
        tags: Tag -> number or list of numbers, over what the arrays imply; None leaves one out.
        order: Byte order.
        page_tags: Index of a page -> its own tags.
        planar: Store one strip per sample.
    """
    out = bytearray((b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 0))
    link = 4
    for i, page in enumerate(pages):
        samples = page.shape[2] if page.ndim == 3 else 1
        given = {**dict(tags), **(page_tags or {}).get(i, {})}
        compression, fill_order = given.get(259, 1), given.get(266, 1)
        planes = np.moveaxis(page, -1, 0) if planar else [page]
        strips = [
            encode(np.ascontiguousarray(plane), compression, fill_order, given.get(317, 1), order)
            for plane in planes
        ]
        offsets = []
        for strip in strips:
            offsets.append(len(out))
            out += strip + bytes(len(strip) % 2)
        fields = {
            256: page.shape[1], 257: page.shape[0], 258: [8 * page.itemsize] * samples,
            259: compression, 262: 2 if samples > 2 else 1, 273: offsets, 277: samples,
            278: page.shape[0], 279: [len(strip) for strip in strips],
            284: 2 if planar else 1, **given,
        }  # fmt: skip
        directory = len(out)
        out[link : link + 4] = struct.pack(order + "I", directory)
        link = add_directory(out, {k: v for k, v in fields.items() if v is not None}, order)
    return bytes(out)


def encode(plane, compression, fill_order, predictor, order):
    if predictor == 2 and compression not in (1, 32773):  # libtiff ignores it elsewhere
        first = plane[:, :1]
        plane = np.concatenate([first, plane[:, 1:] - plane[:, :-1]], axis=1)
    data = CODECS[compression](plane.astype(plane.dtype.newbyteorder(order)).tobytes())
    return REVERSED[np.frombuffer(data, np.uint8)].tobytes() if fill_order == 2 else data


def add_directory(out, fields, order):
    """Append a directory and its long values; returns the position of its link."""
    begin = len(out)
    out += bytes(2 + 12 * len(fields) + 4)
    out[begin : begin + 2] = struct.pack(order + "H", len(fields))
    for i, (tag, value) in enumerate(sorted(fields.items())):
        if isinstance(value, bytes):
            kind, count, data = 2, len(value), value
        else:
            values = np.atleast_1d(value).tolist()
            kind = LONG if tag in (254, 256, 257, 273, 278, 279) else SHORT
            count, form = len(values), "I" if kind == LONG else "H"
            data = struct.pack(f"{order}{count}{form}", *values)
        entry = begin + 2 + 12 * i
        if len(data) > 4:
            position = len(out)
            out += data + bytes(len(data) % 2)
            data = struct.pack(order + "I", position)
        out[entry : entry + 12] = struct.pack(order + "HHI", tag, kind, count) + data.ljust(
            4, b"\0"
        )
    return begin + 2 + 12 * len(fields)
