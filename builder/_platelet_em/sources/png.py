"""PNG pictures, whose stored samples are read bit for bit or refused.

What the file stores is read: the samples and the palette. The following is decided here:

| chunk | read | refused |
|---|---|---|
| IHDR | gray of 1 to 16 bits, gray with alpha, palette, 8-bit RGB and RGBA, interlaced or not | RGB and RGBA of 16 bits, more than `limits.MAX_PAGE` pixels |
| IDAT | exactly the pixels of the picture | less, or more |
| tRNS | palettes that are opaque | transparent colors |
| eXIf | orientation 1, or none | a picture that is to be turned |
| acTL | | animations |
| gAMA, cHRM, sRGB, iCCP, sBIT, bKGD and all others | ignored: they change how values look, not what they are | |

Pillow undoes the filters of the rows. Everything else is read here: Pillow scales samples of 2 and
4 bits, drops half of those of 16-bit RGB, and fills rows that are missing with zeros.

Source: Portable Network Graphics Specification, third edition (W3C).
"""  # noqa: E501

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from _platelet_em.errors import ImageFormatError, printable, quote
from _platelet_em.limits import MAX_PAGE
from _platelet_em.sources.own_file import open_own_file

__all__ = ["PNG_MAGIC", "PngStack"]

PNG_MAGIC = b"\x89PNG\r\n\x1a\n"

_HEADER = struct.Struct(">IIBBBBB")
_HEADER_BYTES = len(PNG_MAGIC) + 8 + _HEADER.size + 4

_GRAY, _RGB, _PALETTE, _GRAY_ALPHA, _RGBA = 0, 2, 3, 4, 6
_CHANNELS = {_GRAY: 1, _RGB: 3, _PALETTE: 1, _GRAY_ALPHA: 2, _RGBA: 4}
_DEPTHS = {
    _GRAY: (1, 2, 4, 8, 16),
    _RGB: (8, 16),
    _PALETTE: (1, 2, 4, 8),
    _GRAY_ALPHA: (8, 16),
    _RGBA: (8, 16),
}

_MODES = {
    (1, 1): ("P", "P;1"),
    (1, 2): ("P", "P;2"),
    (1, 4): ("P", "P;4"),
    (1, 8): ("P", "P"),
    (1, 16): ("LA", "LA"),
    (2, 8): ("LA", "LA"),
    (2, 16): ("RGBA", "RGBA"),
    (3, 8): ("RGB", "RGB"),
    (4, 8): ("RGBA", "RGBA"),
}
"""Channels and bits per sample -> mode and raw mode of Pillow whose pixels have the same bytes."""

_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2),
          (0, 1, 1, 2))  # fmt: skip
"""First column and row, and steps along x and y, of the passes of an interlaced picture."""

_OTHER_CHUNKS = 1 << 24
"""Bytes of a file beyond its pixels, at most: profiles and texts take a few thousand."""

_ORIENTATION = 274


@dataclass(frozen=True, slots=True)
class _Header:
    """What the chunk IHDR says.

    Attributes:
        bits: Per sample.
        color: Color type.
    """

    width: int
    height: int
    bits: int
    color: int
    is_interlaced: bool

    @property
    def channels(self) -> int:
        return _CHANNELS[self.color]

    def stored_bytes(self) -> int:
        """Bytes of all rows, with the byte that names the filter of each."""
        if not self.is_interlaced:
            return self.height * self._row_bytes(self.width)
        size = 0
        for x, y, step_x, step_y in _ADAM7:
            columns = -((x - self.width) // step_x)
            rows = -((y - self.height) // step_y)
            size += rows * self._row_bytes(columns) if columns > 0 and rows > 0 else 0
        return size

    def _row_bytes(self, columns: int) -> int:
        return 1 + -(-columns * self.channels * self.bits // 8)


class PngStack:
    """A PNG picture as a stack of one page; the file is only open while it is read.

    Args:
        path: The file.

    Attributes:
        shape: (1, y, x), or (1, y, x, channels) of gray with alpha, RGB and RGBA.
        dtype: uint8 or uint16; bool of gray pictures of 1 bit.
        has_colors: Whether the values of the page are indices into its palette. A palette of the
            gray values 0, 1, 2, ... is none: index and color are one there.

    Raises:
        ImageFormatError: for a damaged file, and what the table of this module refuses.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._name = printable(str(path))
        with open_own_file(path, "a PNG") as file:
            header = self._read_header(file)
            self._header = header
            self._colors = self._find_palette(file) if header.color == _PALETTE else None
        axes = () if header.channels == 1 else (header.channels,)
        self.shape: tuple[int, ...] = (1, header.height, header.width, *axes)
        is_mask = header.bits == 1 and header.color == _GRAY
        dtype = np.bool_ if is_mask else np.uint16 if header.bits == 16 else np.uint8
        self.dtype: np.dtype[Any] = np.dtype(dtype)
        self.has_colors = self._colors is not None and not _is_gray_ramp(self._colors)

    def page(self, z: int) -> NDArray[Any]:
        """The picture, an array (y, x) or (y, x, channels); z must be 0.

        Raises:
            ImageFormatError: if it is damaged, or was exchanged since it was opened.
        """
        if z != 0:
            raise IndexError(f"page {z} of a picture")
        header = self._header
        most = header.stored_bytes() + header.stored_bytes() // 64 + _OTHER_CHUNKS
        with open_own_file(self._path, "a PNG") as file:
            if self._read_header(file) != header:
                self._fail("the picture as it was when it was opened", "another one")
            packed = self._read_packed(file, most)
        pixels = self._unfilter(self._unpack(packed)).reshape(self.shape[1:])
        if self.dtype == np.bool_:
            return pixels.astype(np.bool_)
        if self._colors is not None and int(pixels.max()) >= len(self._colors):
            self._fail(f"indices of its {len(self._colors)} colors", f"index {pixels.max()}")
        return pixels

    def color_map(self, z: int) -> NDArray[np.uint16]:
        """Colors of the values of the picture, uint16 (n, 3), in 8 bits; z must be 0.

        Raises:
            ValueError: for a picture without a palette.
        """
        if z != 0 or self._colors is None:
            raise ValueError("it has no color map")
        return self._colors.astype(np.uint16)

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> "PngStack":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _fail(self, expected: str, found: str, remedy: str = "") -> NoReturn:
        remedy = remedy or "the file is damaged: copy it again, or write it again"
        raise ImageFormatError(f"{self._name}: expected {expected}, got {found}: {remedy}")

    def _read_header(self, file: IO[bytes]) -> _Header:
        """The header of a picture that is neither too large nor of a form that is not read."""
        head = file.read(_HEADER_BYTES)
        body = head[len(PNG_MAGIC) + 4 : -4]
        if (
            len(head) < _HEADER_BYTES
            or not head.startswith(PNG_MAGIC + b"\0\0\0\x0dIHDR")
            or head[-4:] != struct.pack(">I", zlib.crc32(body))
        ):
            self._fail("a PNG with its header", quote(head[:32]))
        width, height, bits, color, packing, filtering, interlace = _HEADER.unpack(body[4:])
        if bits not in _DEPTHS.get(color, ()) or packing or filtering or interlace > 1:
            self._fail("a form that PNG has", f"the header {quote(body[4:])}")
        if not 0 < width * height <= MAX_PAGE:
            self._fail(
                f"1 to {MAX_PAGE} pixels",
                f"{width} x {height} pixels",
                "the file is damaged, or too large to be read",
            )
        if (_CHANNELS[color], bits) not in _MODES:
            self._fail(
                "gray values, or 8-bit RGB",
                f"16-bit {'RGB' if color == _RGB else 'RGBA'}",
                "write gray values of 16 bits, or a TIF",
            )
        return _Header(width, height, bits, color, bool(interlace))

    def _chunks(self, file: IO[bytes], most: int) -> Iterator[tuple[bytes, bytes]]:
        """Name and content of each chunk after the header, to the end of the picture."""
        name, done = b"", 0
        while name != b"IEND":
            head = file.read(8)
            length, name = struct.unpack(">I4s", head) if len(head) == 8 else (0, b"")
            done += length + 12
            if done > most:
                self._fail(f"at most {most} bytes for a picture of this size", "more")
            content, check = file.read(length), file.read(4)
            if len(check) < 4:
                self._fail("a complete picture", "a file that ends too early")
            if check != struct.pack(">I", zlib.crc32(content, zlib.crc32(name))):
                self._fail("chunks that match their checksums", f"another {quote(name)}")
            yield name, content

    def _find_palette(self, file: IO[bytes]) -> NDArray[np.uint8]:
        """The palette, uint8 (n, 3); the file is at the end of the header."""
        name, content = b"", b""
        for name, content in self._chunks(file, _OTHER_CHUNKS):  # noqa: B007  # the last one is used
            if name in (b"PLTE", b"IDAT"):
                break
        entries = len(content) // 3 if name == b"PLTE" else 0
        if len(content) % 3 or not 0 < entries <= 1 << self._header.bits:
            self._fail("a palette with a color for each index", "none, or a damaged one")
        return np.frombuffer(content, np.uint8).reshape(-1, 3)

    def _read_packed(self, file: IO[bytes], most: int) -> bytes:
        """The compressed rows; refuses what would change the meaning of the picture."""
        parts = []
        for name, content in self._chunks(file, most):
            if name == b"IDAT":
                parts.append(content)
            elif name == b"acTL":
                self._fail("one picture", "an animation", "write each slice as a file of its own")
            elif name == b"tRNS" and (self._colors is None or set(content) - {255}):
                self._fail(
                    "opaque pixels",
                    "a transparent color",
                    "write the picture without transparency",
                )
            elif name == b"eXIf" and (orientation := self._read_orientation(content)) != 1:
                self._fail(
                    "a picture that is stored upright",
                    f"Orientation {orientation} in its EXIF data",
                    "turn it as this says, and write it without EXIF data",
                )
            elif name[:1].isupper() and name not in (b"PLTE", b"IEND"):
                self._fail("chunks that PNG has", f"{quote(name)}", "write it again")
        return b"".join(parts)

    def _read_orientation(self, content: bytes) -> int:
        exif = Image.Exif()
        try:
            exif.load(b"Exif\0\0" + content)
            return int(exif.get(_ORIENTATION, 1))
        except Exception:  # noqa: BLE001  # damaged bytes make Pillow raise anything
            self._fail("readable EXIF data", quote(content), "write it without EXIF data")

    def _unpack(self, packed: bytes) -> bytes:
        """The rows, each after the byte that names its filter."""
        expected, codec = self._header.stored_bytes(), zlib.decompressobj()
        try:
            rows = codec.decompress(packed, expected + 1)
        except zlib.error as error:
            self._fail("readable pixels", str(error))
        if len(rows) > expected or (len(rows) == expected and not codec.eof):
            self._fail(f"{expected} bytes of pixels", "more, or no end of them")
        if len(rows) < expected:
            self._fail(f"{expected} bytes of pixels", f"{len(rows)}")
        return rows

    def _unfilter(self, rows: bytes) -> NDArray[Any]:
        """The samples of rows that are complete, flat."""
        header = self._header
        mode, raw_mode = _MODES[header.channels, header.bits]
        size = (header.width, header.height)
        # The decoder reads compressed rows: these are stored, which costs a copy.
        stored = zlib.compress(rows, 0)
        try:
            picture = Image.frombytes(
                mode, size, stored, "zip", (raw_mode, int(header.is_interlaced))
            )
        except ValueError as error:
            self._fail("readable pixels", str(error))
        samples = np.asarray(picture).reshape(-1)
        if header.bits < 16:
            return samples
        return samples.view(">u2").astype(np.uint16)


def _is_gray_ramp(colors: NDArray[np.uint8]) -> bool:
    """Whether the colors are the gray values 0 to n - 1."""
    return bool((colors == np.arange(len(colors))[:, None]).all())
