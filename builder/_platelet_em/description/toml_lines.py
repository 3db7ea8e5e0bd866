"""The line of each key of a TOML text, for messages: `tomllib` does not give it."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

__all__ = ["Place", "find_lines"]

Place: TypeAlias = tuple[str | int, ...]
"""Keys, and positions in arrays, from the root of a document: ("volumes", 0, "image")."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_STRINGS = (
    re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}', re.DOTALL),
    re.compile(r"'''.*?'{3,5}", re.DOTALL),
    re.compile(r'"(?:[^"\\\n]|\\.)*"'),
    re.compile(r"'[^'\n]*'"),
)
_SPACE = re.compile(r"[ \t]*")
_BREAKS = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_SCALAR = re.compile(r"[^,\]}#\n]*")
_ESCAPE = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|(.))", re.DOTALL)
_ESCAPED = {"b": "\b", "t": "\t", "n": "\n", "f": "\f", "r": "\r"}

_MAX_DEPTH = 32
"""Keys and positions of a place, at most: all places before one in a deeper key take memory."""


class _UnclearError(Exception):
    """The text is not what this scanner expects."""


def find_lines(text: str, document: Mapping[str, Any]) -> dict[Place, int]:
    r"""The line, from 1, of each key, table and item of an array.

    Args:
        text: The TOML.
        document: The same, as `tomllib` has parsed it.

    Returns:
        Nothing, if a key that this finds is not in the document: no line is better than a wrong
        one.

    >>> find_lines("[a]\nb.c = [1]", {"a": {"b": {"c": [1]}}})
    {('a',): 1, ('a', 'b'): 2, ('a', 'b', 'c'): 2, ('a', 'b', 'c', 0): 2}
    """
    scanner = _Scanner(text)
    try:
        scanner.scan()
    except (_UnclearError, RecursionError, ValueError, OverflowError):
        return {}
    return scanner.lines if all(_is_in(document, place) for place in scanner.lines) else {}


def _is_in(document: Any, place: Place) -> bool:
    for key in place:
        if isinstance(key, int):
            if not isinstance(document, Sequence) or key >= len(document):
                return False
        elif not isinstance(document, Mapping) or key not in document:
            return False
        document = document[key]
    return True


class _Scanner:
    """Goes through a valid TOML text once."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line, self._counted = 1, 0
        self._counts: dict[Place, int] = {}  # items of each array of tables
        self.lines: dict[Place, int] = {}

    def scan(self) -> None:
        table: Place = ()
        self._skip(_BREAKS)
        while self._at < len(self._text):
            if self._take("[["):
                table = self._array_table(self._key())
                self._expect("]]")
            elif self._take("["):
                table = self._resolve(self._key())
                self._expect("]")
            else:
                self._pair(table)
            self._skip(_BREAKS)

    def _array_table(self, key: list[str]) -> Place:
        place = (*self._resolve(key[:-1]), key[-1])
        index = self._counts[place] = self._counts.get(place, -1) + 1
        self._mark(place)
        self._mark((*place, index))
        return (*place, index)

    def _resolve(self, key: list[str]) -> Place:
        """The place of a table header: it goes on in the last item of an array of tables."""
        place: Place = ()
        for part in key:
            place = (*place, part)
            self._mark(place)
            if place in self._counts:
                place = (*place, self._counts[place])
        return place

    def _pair(self, table: Place) -> None:
        place = table
        for part in self._key():
            place = (*place, part)
            self._mark(place)
        self._expect("=")
        self._skip(_SPACE)
        self._value(place)

    def _key(self) -> list[str]:
        parts = []
        while True:
            self._skip(_SPACE)
            parts.append(self._key_part())
            self._skip(_SPACE)
            if not self._take("."):
                return parts

    def _key_part(self) -> str:
        if match := _BARE.match(self._text, self._at):
            self._at = match.end()
            return match[0]
        if (text := self._string()) is None:
            raise _UnclearError
        if text[0] == "'":
            return text[1:-1]
        return _ESCAPE.sub(_unescape, text[1:-1])

    def _value(self, place: Place) -> None:
        if self._take("["):
            self._items(place)
        elif self._take("{"):
            self._skip(_BREAKS)
            while not self._take("}"):
                self._pair(place)
                self._skip(_BREAKS)
                self._take(",")
                self._skip(_BREAKS)
        elif self._string() is None:
            start = self._at
            self._skip(_SCALAR)
            if self._at == start:
                raise _UnclearError

    def _items(self, place: Place) -> None:
        index = 0
        self._skip(_BREAKS)
        while not self._take("]"):
            self._mark((*place, index))
            self._value((*place, index))
            self._skip(_BREAKS)
            self._take(",")
            self._skip(_BREAKS)
            index += 1

    def _string(self) -> str | None:
        for pattern in _STRINGS:
            if match := pattern.match(self._text, self._at):
                self._at = match.end()
                return match[0]
        return None

    def _mark(self, place: Place) -> None:
        if len(place) > _MAX_DEPTH:
            raise _UnclearError
        # Positions only grow, so each line break is counted once.
        self._line += self._text.count("\n", self._counted, self._at)
        self._counted = self._at
        self.lines.setdefault(place, self._line)

    def _skip(self, pattern: re.Pattern[str]) -> None:
        match = pattern.match(self._text, self._at)
        self._at = match.end() if match else self._at

    def _take(self, text: str) -> bool:
        found = self._text.startswith(text, self._at)
        self._at += len(text) * found
        return found

    def _expect(self, text: str) -> None:
        self._skip(_SPACE)
        if not self._take(text):
            raise _UnclearError


def _unescape(match: re.Match[str]) -> str:
    code = match[1] or match[2]
    return chr(int(code, 16)) if code else _ESCAPED.get(match[3], match[3])
