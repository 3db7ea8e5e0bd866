"""PNGs written chunk by chunk: any form, filter and interlacing, and whatever else they may say.

Source: Portable Network Graphics Specification, third edition.
"""

import struct
import zlib

import numpy as np

MAGIC = b"\x89PNG\r\n\x1a\n"
GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
PASSES = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
          (0, 1, 1, 2)]  # fmt: skip


def chunk(name, content):
    check = zlib.crc32(name + content)
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", check)


def write(samples, color=GRAY, bits=8, *, palette=(), interlaced=False, before=(), rows=None):
    """The bytes of a PNG.

    Args:
        samples: Array (y, x) or (y, x, channels) of stored samples.
        color: Color type.
        bits: Per sample.
        palette: Colors (n, 3).
        interlaced: Whether it is written in seven passes.
        before: Chunks before the pixels, (name, content).
        rows: The filtered rows to write instead of those of the samples.
    """
    samples = np.asarray(samples)
    height, width = samples.shape[:2]
    if rows is None:
        parts = [samples[y::dy, x::dx] for x, y, dx, dy in PASSES] if interlaced else [samples]
        rows = b"".join(filtered(part, bits) for part in parts if part.size)
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, int(interlaced))
    packed = zlib.compress(rows)
    middle = len(packed) // 2
    chunks = [(b"IHDR", header)]
    if len(palette):
        chunks.append((b"PLTE", np.asarray(palette, np.uint8).tobytes()))
    chunks += [*before, (b"IDAT", packed[:middle]), (b"IDAT", packed[middle:]), (b"IEND", b"")]
    return MAGIC + b"".join(chunk(*each) for each in chunks)


def filtered(samples, bits):
    """Rows of packed samples, each after its filter; the five filters take turns."""
    channels = samples.shape[2] if samples.ndim == 3 else 1
    step = max(1, channels * bits // 8)
    out, above = bytearray(), None
    for y, row in enumerate(samples.reshape(len(samples), -1)):
        current = packed_row(row, bits)
        above = bytes(len(current)) if above is None else above
        out.append(y % 5)
        for i, value in enumerate(current):
            left = current[i - step] if i >= step else 0
            corner = above[i - step] if i >= step else 0
            guess = predict(y % 5, left, above[i], corner)
            out.append((value - guess) % 256)
        above = current
    return bytes(out)


def packed_row(row, bits):
    if bits == 16:
        return row.astype(">u2").tobytes()
    if bits == 8:
        return row.astype(np.uint8).tobytes()
    shifts = np.arange(bits - 1, -1, -1)
    return np.packbits(row[:, None] >> shifts & 1).tobytes()


def predict(kind, left, up, corner):
    if kind == 4:
        distances = [(abs(left + up - corner - v), i, v) for i, v in enumerate((left, up, corner))]
        return min(distances)[2]
    return (0, left, up, (left + up) // 2)[kind]
