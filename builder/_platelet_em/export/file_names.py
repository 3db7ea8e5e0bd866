"""Names of files for volumes whose own names not every tool and file system takes."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import count

__all__ = ["distinct_names", "safe_names"]

_MAX = 200
"""Characters of a name: a file may have 255 bytes, with what formats add."""


def safe_names(names: Iterable[str], *, refused_ending: str = "") -> dict[str, str]:
    """A name for the files of each volume: ASCII letters, digits, ".", "_" and "-".

    Names that consist of these stay as they are. In others accents are dropped, any other
    character becomes "_", and a number tells apart what became equal, also up to capitals.

    Args:
        names: Names of volumes, all different.
        refused_ending: An ending that no name may have.

    Returns:
        Name of the volume -> name for its files, at most 200 characters, all different.

    >>> safe_names(['Stack 1 "ü"', "b", "B", ".x"])
    {'Stack 1 "ü"': 'Stack_1__u_', 'b': 'b', 'B': 'B-2', '.x': '_x'}
    """
    plain = {name: _simplify(name, refused_ending) for name in names}
    found: dict[str, str] = {}
    taken: set[str] = set()
    numbers: Counter[str] = Counter()
    # Those that may stay as they are come first, so that none of them is renamed for another.
    for name in sorted(plain, key=lambda name: plain[name] != name):
        found[name] = choice = _number(plain[name], taken, numbers)
        taken.add(choice.casefold())
    return {name: found[name] for name in plain}


def distinct_names(names: Iterable[str]) -> dict[str, str]:
    """A name for the files of each volume: its own, unless some systems take it for another one.

    These do not tell capitals from small letters, or an accent in a letter from one after it.

    Args:
        names: Names of volumes, all different.

    Returns:
        Name of the volume -> name for its files: the same, or with a number behind it.

    >>> distinct_names(["b", "B", "a", "b-2"])
    {'b': 'b', 'B': 'B-3', 'a': 'a', 'b-2': 'b-2'}
    """
    names = [*names]
    taken = {*map(_fold, names)}
    found: dict[str, str] = {}
    numbers: dict[str, Iterator[int]] = {}
    for name in names:
        key = _fold(name)
        if key not in numbers:
            found[name], numbers[key] = name, count(2)
            continue
        candidates = (f"{name}-{number}" for number in numbers[key])
        found[name] = next(c for c in candidates if _fold(c) not in taken)
        taken.add(_fold(found[name]))
    return found


def _fold(name: str) -> str:
    return unicodedata.normalize("NFC", name).casefold()


def _simplify(name: str, refused_ending: str) -> str:
    decomposed = unicodedata.normalize("NFKD", name)
    letters = "".join(c for c in decomposed if not unicodedata.combining(c))
    plain = re.sub(r"[^A-Za-z0-9._-]", "_", letters)[:_MAX]
    # A leading dot hides a file, and a leading hyphen looks like an option.
    plain = re.sub(r"^[.-]", "_", plain)
    if refused_ending and plain.endswith(refused_ending):
        plain = f"{plain[: _MAX - 1]}_"
    return plain


def _number(plain: str, taken: set[str], numbers: Counter[str]) -> str:
    """The name, or the name with the first number from 2 that nobody has.

    Args:
        plain: The name.
        taken: Names that others have, without capitals.
        numbers: Such a name -> the number that was tried last, here and in earlier calls.
    """
    choice, key = plain, plain.casefold()
    while choice.casefold() in taken:
        numbers[key] = max(numbers[key], 1) + 1
        ending = f"-{numbers[key]}"
        choice = plain[: _MAX - len(ending)] + ending
    return choice
