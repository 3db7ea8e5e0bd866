"""The publisher's JSON form of a label volume: one RLE text a label, and `.info` with the shape.

`{".info": {"shape": [50, 800, 800], "dtype": "int64"}, "1": "7 2 12 1 ...", ...}`: one key per
non-zero label, later keys win where masks overlap (source: the publisher's own decoder). `dtype`
is written in many ways (`int64`, `np.int`, `<class 'numpy.int64'>`) and says nothing that is
needed: it is neither evaluated nor checked.

The texts of a file are megabytes long, so the file is scanned for where they are, and they are
read from there piece by piece.
"""

import contextlib
import json
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from _platelet_em.errors import LabelFormatError, quote
from _platelet_em.limits import MAX_ID, MAX_LABELS

__all__ = ["INFO", "LabelSpans", "parse_id", "parse_shape", "read_text", "scan", "write"]

INFO = ".info"

_BLANKS = b" \t\n\r"
_MAX_INFO = 1 << 16
_MAX_KEY = 64
_PIECE = 1 << 16
_FIRST_CHARACTER = 0x20
"""What is below it, JSON has in strings only as escapes."""

_SHORT = 64
_ESCAPE = 6
"""Bytes of the longest escape of a character: `\\u0031`."""
_REMEDY = "; the file is damaged, or no label file: fetch it again"


@dataclass(frozen=True, slots=True)
class LabelSpans:
    """What a label file holds, and where: its texts are still unread.

    Attributes:
        shape: (z, y, x).
        ids: Labels in the order of the file.
        spans: int64 (n, 2), first byte of the RLE text of each label, and one past its last.
    """

    shape: tuple[int, ...]
    ids: tuple[int, ...]
    spans: NDArray[np.int64]


def parse_id(key: object, name: str) -> int:
    """The label that a key stands for, 1 to 2**31 - 1.

    Raises:
        LabelFormatError: for anything but a plain decimal number in that range.

    >>> parse_id("34", "50-instance-cell.json")
    34
    """
    value = 0
    if isinstance(key, str):
        if key.isascii() and key.isdigit() and len(key) <= len(str(MAX_ID)) and key[0] != "0":
            value = int(key)
    elif not isinstance(key, (bool, np.bool_)):
        try:
            value = operator.index(key)  # type: ignore[arg-type]  # that is what the try is for
        except TypeError:
            value = 0
    if not 1 <= value <= MAX_ID:
        raise LabelFormatError(f"{name}: key {quote(key)}: expected a label from 1 to {MAX_ID}")
    return value


def parse_shape(shape: object, name: str) -> tuple[int, ...]:
    """A shape with at least one axis, no negative extent, and less than 2**61 voxels.

    Raises:
        LabelFormatError: for anything else.
    """
    if isinstance(shape, (str, bytes, Mapping)) or not isinstance(shape, Iterable):
        raise _wrong_shape(shape, name)
    extents, size = [], 1
    for extent in shape:
        if isinstance(extent, (bool, np.bool_)):
            raise _wrong_shape(shape, name)
        try:
            extents.append(operator.index(extent))
        except TypeError:
            raise _wrong_shape(shape, name) from None
        size *= max(extents[-1], 1)
        if extents[-1] < 0 or size >= 2**61 or len(extents) > 8:
            raise _wrong_shape(shape, name)
    if not extents:
        raise _wrong_shape(shape, name)
    return tuple(extents)


def _wrong_shape(shape: object, name: str) -> LabelFormatError:
    return LabelFormatError(
        f"{name}: shape {quote(shape)}: expected a list of extents, such as [50, 800, 800]"
    )


def scan(file: IO[bytes], name: str) -> LabelSpans:
    """Find the labels of a file without reading their RLE texts.

    Args:
        file: Open for reading; it can seek.
        name: What to call it in a message.

    Raises:
        LabelFormatError: for what is not a JSON object of this form, a key that is no label or
            comes twice, or a missing `.info`.
    """
    scanner = _Scanner(file, name)
    spans: dict[int, tuple[int, int]] = {}
    shape = None
    for key in scanner:
        label = None if key == INFO else parse_id(key, name)
        if label in spans or (label is None and shape is not None):
            raise LabelFormatError(
                f"{name}: key {quote(key)} comes twice: which one is meant is not known"
            )
        if label is None:
            info = scanner.value()
            where = f"{name}: {INFO}"
            shape = parse_shape(info.get("shape") if isinstance(info, dict) else info, where)
        else:
            spans[label] = scanner.text(key)
            if len(spans) > MAX_LABELS:
                raise LabelFormatError(f"{name}: more than {MAX_LABELS} labels{_REMEDY}")
    if shape is None:
        raise LabelFormatError(
            f"{name}: the key {INFO!r} with the shape of the volume is missing{_REMEDY}"
        )
    places = np.array(list(spans.values()), np.int64).reshape(-1, 2)
    return LabelSpans(shape, tuple(spans), places)


def read_text(file: IO[bytes], begin: int, end: int, size: int) -> Iterator[bytes]:
    r"""The RLE text in a span, in pieces of at most `size` bytes, JSON's escapes undone.

    Args:
        file: Open for reading; it can seek.
        begin: First byte of the text.
        end: One past its last.
        size: Bytes of a piece, or a few more.

    >>> import io
    >>> list(read_text(io.BytesIO(rb'"1 1\n5 2"'), 1, 9, 100))
    [b'1 1\n5 2']
    """
    at = begin
    while at < end:
        file.seek(at)
        piece = file.read(min(max(size, 2 * _ESCAPE), end - at))
        if not piece:
            return
        if (escape := piece.rfind(b"\\")) >= 0:
            # The last one may go on in the next piece, which begins with it then.
            if escape > 0 and len(piece) - escape < _ESCAPE and at + len(piece) < end:
                piece = piece[:escape]
            at += len(piece)
            with contextlib.suppress(ValueError):
                piece = json.loads(b'"' + piece + b'"')
                piece = piece.encode("utf-8", "surrogatepass")
            yield piece
        else:
            at += len(piece)
            yield piece


class _Scanner:
    """Walks over the bytes of one JSON object, whose long strings it skips."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._name = name
        self._at = 3 if self._read(0, 3) == b"\xef\xbb\xbf" else 0

    def __iter__(self) -> Iterator[str]:
        """The keys in order; the caller takes each value before the next key."""
        self._expect(b"{")
        if self._skip_blanks() == b"}":
            self._expect(b"}")
        else:
            while True:
                key = self._key()
                self._expect(b":")
                yield key
                if self._after_value() == b"}":
                    break
        if self._skip_blanks():
            self._fail("the end of the file")

    def text(self, key: str) -> tuple[int, int]:
        """Begin and end of the string that is the value of `key`, quotes excluded."""
        return self._string(f"a string, the RLE text of {quote(key)}")

    def value(self) -> Any:
        """A short JSON value of any kind."""
        self._skip_blanks()
        # Bytes that are no ASCII become one character each, so that positions stay right.
        head = self._read(self._at, _MAX_INFO).decode("latin-1")
        try:
            value, length = json.JSONDecoder().raw_decode(head)
            head[:length].encode("latin-1").decode("utf-8")
        except (ValueError, RecursionError):
            self._fail(f"a JSON object in UTF-8, of at most {_MAX_INFO} bytes")
        self._at += length
        return value

    def _read(self, begin: int, count: int) -> bytes:
        self._file.seek(begin)
        return self._file.read(count)

    def _key(self) -> str:
        begin, end = self._string("a key")
        if end - begin <= _MAX_KEY:
            with contextlib.suppress(ValueError):
                return str(json.loads(self._read(begin - 1, end - begin + 2)))
        self._at = begin - 1
        return self._fail(f"a key, a JSON string of at most {_MAX_KEY} bytes")

    def _after_value(self) -> bytes:
        """Called when the caller has taken a value: the comma or brace behind it."""
        found = self._skip_blanks()
        if found not in (b",", b"}"):
            self._fail("',' or '}'")
        self._at += 1
        return found

    def _string(self, what: str) -> tuple[int, int]:
        if self._skip_blanks() != b'"':
            self._fail(what)
        begin = self._at = self._at + 1
        while piece := self._read(self._at, _PIECE):
            found = piece.find(b'"')
            part = np.frombuffer(piece, np.uint8)[: found if found >= 0 else None]
            if part.size and part.min() < _FIRST_CHARACTER:
                self._at += int(np.argmax(part < _FIRST_CHARACTER))
                self._fail(f"{what}, without control characters")
            if found >= 0:
                self._at += found + 1
                return begin, self._at - 1
            self._at += len(piece)
        return self._fail(f"a '\"' that ends {what}")

    def _expect(self, mark: bytes) -> None:
        if self._skip_blanks() != mark:
            self._fail(repr(mark.decode()))
        self._at += 1

    def _skip_blanks(self) -> bytes:
        """The next byte that is not blank; empty at the end of the file."""
        size = _SHORT
        while piece := self._read(self._at, size):
            if rest := piece.lstrip(_BLANKS):
                self._at += len(piece) - len(rest)
                return rest[:1]
            self._at += len(piece)
            size = _PIECE
        return b""

    def _fail(self, expected: str) -> NoReturn:
        found = self._read(self._at, 40)
        got = quote(found) if found else "the end of the file"
        raise LabelFormatError(
            f"{self._name}: at byte {self._at}: expected {expected}, got {got}{_REMEDY}"
        )


def write(out: IO[bytes], shape: Sequence[int], ids: Sequence[int], texts: Iterable[str]) -> None:
    """Write a label file in the publisher's form.

    Args:
        out: Where to.
        shape: (z, y, x).
        ids: Labels, in the order in which they are written.
        texts: Their RLE texts.
    """
    info = {"shape": [int(extent) for extent in shape], "dtype": "int64"}
    out.write(json.dumps({INFO: info})[:-1].encode())
    for label, text in zip(ids, texts, strict=True):
        out.write(f', "{int(label)}": "{text}"'.encode())
    out.write(b"}")
