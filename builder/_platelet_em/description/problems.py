"""The mistakes of a description, collected and reported at once."""

import re
from collections.abc import Mapping

from _platelet_em.description.toml_lines import Place
from _platelet_em.errors import DescriptionError, printable, quote

__all__ = ["NOTHING", "Problems", "list_some"]

NOTHING = object()
"""Stands for a value that is not there."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_LISTED = 5


def list_some(values: list[str]) -> list[str]:
    """The first values of a list that may be long, for one line each."""
    return values[:_LISTED]


class Problems:
    """Mistakes of one document, in the order of its lines.

    Args:
        source: What to call the document, such as the path of its file.
        lines: The line of each place, as far as known.
    """

    def __init__(self, source: str, lines: Mapping[Place, int] | None = None) -> None:
        self._source = printable(source)
        self._lines = lines or {}
        self._found: dict[tuple[int, str], None] = {}  # a set, in order

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._found)

    def add(self, place: Place, expected: str, found: object, remedy: str) -> None:
        """Add a mistake.

        Args:
            place: Where it is; for what is missing, where it should be.
            expected: What was expected.
            found: The value; NOTHING for none.
            remedy: What to do.
        """
        shown = "nothing" if found is NOTHING else quote(found)
        self.add_sentence(place, f"expected {expected}, found {shown}: {remedy}")

    def add_sentence(self, place: Place, sentence: str) -> None:
        """Add a mistake in words of its own."""
        line = self._line(place)
        parts = [self._source, *([f"line {line}"] if line else [])]
        parts += [name] if (name := _name(place)) else []
        text = printable(": ".join([*parts, sentence]))
        self._found[line, text] = None

    def _line(self, place: Place) -> int:
        """The line of a place, or of the innermost table around it; 0 if not known."""
        for end in range(len(place), 0, -1):
            if place[:end] in self._lines:
                return self._lines[place[:end]]
        return 0

    def check(self) -> None:
        """Report the mistakes.

        Raises:
            DescriptionError: if there are any; one line each.
        """
        if self._found:
            found = sorted(self._found, key=lambda each: each[0])
            raise DescriptionError("\n".join(text for _, text in found))


def _name(place: Place) -> str:
    """A place as people write it: volumes[0].image."""
    name = ""
    for part in place:
        if isinstance(part, int):
            name += f"[{part}]"
        else:
            key = part if _BARE.fullmatch(part) else quote(part, 40)
            name += f".{key}" if name else key
    return name
