"""`Table`: the values of a table of a description, each of its type, or a problem."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from _platelet_em.description.problems import NOTHING, Problems
from _platelet_em.description.toml_lines import Place
from _platelet_em.spec import Color

__all__ = ["Table", "is_integer", "is_text", "parse_color"]

_T = TypeVar("_T")
_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")
_MAX_INTEGER = 2**63 - 1


def is_text(value: object, keep: str = "") -> bool:
    """Whether a value is a text with characters that can be seen, and without control ones."""
    return (
        isinstance(value, str)
        and bool(value.strip())
        and all(c.isprintable() or c in keep for c in value)
    )


def is_integer(value: object, low: int = 0, high: int = _MAX_INTEGER) -> bool:
    """Whether a value is an integer of a range."""
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def parse_color(text: object) -> Color | None:
    """A color "#rrggbb"; None for anything else.

    >>> parse_color("#0180ff")
    (1, 128, 255)
    """
    if not isinstance(text, str) or not _COLOR.fullmatch(text):
        return None
    red, green, blue = bytes.fromhex(text[1:])
    return red, green, blue


class Table:
    """A table of a description, whose keys are read one after another.

    Each method returns a default, and adds a problem, where the value is missing and required, or
    is not what is expected.

    Args:
        value: The table; a problem if it is none.
        place: Where it is.
        problems: Where its problems go.
    """

    def __init__(self, value: object, place: Place, problems: Problems) -> None:
        self.place = place
        self.problems = problems
        self.is_valid = isinstance(value, Mapping)
        self._items: Mapping[str, Any] = value if isinstance(value, Mapping) else {}
        self._known: dict[str, None] = {}
        if not self.is_valid:
            problems.add(place, "a table", value, "write keys and values in { }")

    def __contains__(self, key: str) -> bool:
        return key in self._items

    def at(self, *key: str | int) -> Place:
        """The place of something in this table."""
        return (*self.place, *key)

    def add(self, key: str, expected: str, remedy: str) -> None:
        """Add the problem that the value of a key is not what is expected."""
        self.problems.add(self.at(key), expected, self._items.get(key, NOTHING), remedy)

    def raw(self, key: str) -> Any:
        """The value of a key as it is; NOTHING if it is missing."""
        self._known[key] = None
        return self._items.get(key, NOTHING)

    def value(
        self,
        key: str,
        parse: Callable[[Any], _T | None],
        expected: str,
        remedy: str,
        *,
        required: bool = False,
    ) -> _T | None:
        """The parsed value of a key, or None.

        Args:
            key: The key.
            parse: Gives None for what is not expected.
            expected: What is expected, in words.
            remedy: What to do otherwise.
            required: Whether it is a problem that the key is missing.
        """
        value = self.raw(key)
        if value is NOTHING and not required:
            return None
        if value is NOTHING or (parsed := parse(value)) is None:
            if self.is_valid:
                self.add(key, expected, remedy)
            return None
        return parsed

    def text(self, key: str, *, required: bool = False, keep: str = "", remedy: str = "") -> str:
        """A text without control characters, other than those of `keep`."""
        return (
            self.value(
                key,
                lambda v: v if is_text(v, keep) else None,
                "a text" if keep else "a text of one line",
                remedy or f'write {key} = "...", or leave it out',
                required=required,
            )
            or ""
        )

    def matching(
        self, key: str, pattern: str, expected: str, remedy: str, *, required: bool = False
    ) -> str:
        """A text of a form."""

        def parse(value: object) -> str | None:
            return value if isinstance(value, str) and re.fullmatch(pattern, value) else None

        return self.value(key, parse, expected, remedy, required=required) or ""

    def address(self, key: str, *, required: bool = False) -> str:
        """An address on the web."""
        return self.matching(
            key,
            r"https?://[!-~]+",
            "an address with http:// or https://",
            "write all of it",
            required=required,
        )

    def flag(self, key: str, *, default: bool = False) -> bool:
        """True or false."""
        value = self.value(
            key,
            lambda v: v if isinstance(v, bool) else None,
            "true or false",
            f"write {key} = true, or leave it out",
        )
        return default if value is None else value

    def integer(self, key: str, default: int, low: int, high: int) -> int:
        """An integer of a range."""
        value: int | None = self.value(
            key,
            lambda v: v if is_integer(v, low, high) else None,
            f"an integer from {low} to {high}",
            f"write {key} = {default}, or leave it out",
        )
        return default if value is None else value

    def numbers(
        self, key: str, count: int | None, expected: str, *, allow_zero: bool = False
    ) -> tuple[float, ...] | None:
        """Positive numbers, or also zeros."""

        def is_number(value: object) -> bool:
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                return False
            return 0 < value <= _MAX_INTEGER or (allow_zero and value == 0)

        def parse(value: Any) -> tuple[float, ...] | None:
            if not isinstance(value, (list, tuple)) or not all(map(is_number, value)):
                return None
            return tuple(map(float, value)) if count in (None, len(value)) else None

        return self.value(key, parse, expected, "write numbers in [ ], or leave it out")

    def integers(self, key: str, count: int, low: int, expected: str) -> tuple[int, ...] | None:
        """As many integers."""

        def parse(value: Any) -> tuple[int, ...] | None:
            if not isinstance(value, (list, tuple)) or len(value) != count:
                return None
            return tuple(value) if all(is_integer(v, low) for v in value) else None

        return self.value(key, parse, expected, "write integers in [ ], or leave it out")

    def texts(self, key: str, expected: str) -> tuple[str, ...]:
        """A list of different texts."""

        def parse(value: Any) -> tuple[str, ...] | None:
            if not isinstance(value, (list, tuple)) or not all(map(is_text, value)):
                return None
            return tuple(value) if value and len(set(value)) == len(value) else None

        return self.value(key, parse, expected, "write texts in [ ], or leave it out") or ()

    def items(self, key: str, expected: str) -> list[tuple[Place, Any]]:
        """The place and value of each item of a list."""
        values = self.value(
            key,
            lambda v: list(v) if isinstance(v, (list, tuple)) else None,
            expected,
            "write a list in [ ], or leave it out",
        )
        return [(self.at(key, i), item) for i, item in enumerate(values or [])]

    def pairs(self, key: str, expected: str) -> list[tuple[str, Any]]:
        """The keys and values of a table."""
        found = self.value(
            key,
            lambda v: list(v.items()) if isinstance(v, Mapping) else None,
            expected,
            "write a table, or leave it out",
        )
        return found or []

    def refuse_others(self, further: Iterable[str] = ()) -> None:
        """Add a problem for each key that nobody has asked for.

        Args:
            further: Keys that are not read here, and are none.
        """
        known = [*dict.fromkeys([*self._known, *further])]
        lower = {name.casefold(): name for name in known}
        for key in self._items:
            if key in known:
                continue
            similar = difflib.get_close_matches(str(key).casefold(), lower, n=1)
            remedy = (
                f"did you mean {lower[similar[0]]}?"
                if similar
                else f"known here are {', '.join(known)}"
            )
            self.problems.add_sentence(self.at(key), f"expected no such key, found it: {remedy}")
