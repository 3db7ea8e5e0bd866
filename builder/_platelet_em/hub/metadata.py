"""Whether card and croissant.json of a repository state what its data files are.

Both are made again from the data files and their record, and compared field by field. Of the card,
that is what `datasets` reads, the license, and the figures; its other text may be edited.
"""

from collections.abc import Iterator
from itertools import islice, takewhile, zip_longest
from pathlib import Path
from typing import Any

from _platelet_em.errors import PlateletEMError, quote
from _platelet_em.files import read_regular
from _platelet_em.hub.card import render_parts, unseal_card
from _platelet_em.hub.croissant import SYNTHETIC_DESCRIPTION, describe_dataset
from _platelet_em.hub.front_matter import describe_front_matter, parse_front_matter
from _platelet_em.hub.layout import CARD, CROISSANT
from _platelet_em.hub.problem import Problem
from _platelet_em.hub.record import Record, is_of_others, read_croissant
from _platelet_em.limits import MAX_METADATA
from _platelet_em.spec import DatasetSpec

__all__ = ["check_card", "check_croissant", "compare"]

_READ = ("size_categories", "configs", "dataset_info")
"""Fields of the card's YAML that decide what is read, or state a fact; others may be edited."""

_PROSE = ("description", "citeAs")
"""Fields of croissant.json that no program reads: earlier versions had other words there."""

_NAMES = ("config_name", "split", "name", "@id")
"""What an entry of a list is called by, if it has one of these fields."""

_LISTED = 20
"""Differences of a file that are listed."""

_ROW = 240
"""Characters of a row of a table that are shown."""

Difference = tuple[str, str, str]
"""Place, and what is expected and found there."""


def check_card(folder: Path, record: Record, spec: DatasetSpec) -> Iterator[Problem]:
    """What the card states otherwise than the data files; they must be intact."""
    path = folder / CARD
    try:
        text = unseal_card(read_regular(path, MAX_METADATA).decode("utf-8"))
        head = parse_front_matter(text)
        expected = describe_front_matter(folder, spec)
        parts = {} if is_of_others(record) else render_parts(folder, record, spec)
    except PlateletEMError as error:
        yield Problem(check="card", file=str(path), error=error)
        return
    except (OSError, ValueError) as error:
        found = f"{error!s:.200}"
        yield Problem(check="card", file=str(path), expected="a card", found=found)
        return
    if not isinstance(head, dict):
        wanted = "YAML between two lines of dashes at the top"
        found = "none" if head is None else quote(head)
        yield Problem(
            check="card", file=str(path), place={"field": "YAML"}, expected=wanted, found=found
        )
    else:
        names = _list_compared(record, expected, head)
        known = {name: expected[name] for name in names if name in expected}
        given = {name: head[name] for name in names if name in head}
        yield from _report("card", path, compare(known, given, ""))
    lines = [line.strip() for line in text.splitlines()]
    for name, part in parts.items():
        yield from _report("card", path, _compare_part(name.replace("_", " "), part, lines))


def _list_compared(record: Record, expected: dict[str, Any], head: dict[Any, Any]) -> list[str]:
    """The fields of YAML that are compared; of a card of another program, those that are read."""
    if is_of_others(record):
        return ["configs", *(["dataset_info"] if "dataset_info" in head else [])]
    both = dict.fromkeys([*expected, *map(str, head)])
    return [*_READ, *(name for name in both if name.startswith("license"))]


def _compare_part(name: str, part: str, lines: list[str]) -> Iterator[Difference]:
    """Where the lines of a card differ from those of a table, or lack those of another part."""
    wanted = [line.strip() for line in part.splitlines() if line.strip()]
    if not part.startswith("|"):
        for line in wanted:
            if not any(line in other for other in lines):
                yield name, quote(line, _ROW), "no such text"
    elif wanted[0] not in lines:
        yield name, f"a table {quote(wanted[0], _ROW)}", "none"
    else:
        table = takewhile(lambda line: line.startswith("|"), lines[lines.index(wanted[0]) :])
        for right, other in zip_longest(wanted, table, fillvalue="no row"):
            if right != other:
                yield name, quote(right, _ROW), quote(other, _ROW)


def check_croissant(folder: Path, record: Record, spec: DatasetSpec) -> Iterator[Problem]:
    """What croissant.json states otherwise than the data files; they must be intact."""
    path = folder / CROISSANT
    try:
        found = read_croissant(folder)
    except (OSError, ValueError):
        return  # reported already: the checksums are read from it
    if is_of_others(record):  # which may have other words, and another number of record sets
        return
    expected = describe_dataset(folder, record, spec)
    yield from _report("croissant", path, compare(expected, found, "", _PROSE))
    if isinstance(found, dict):
        right, other = expected["description"], str(found.get("description"))
        if right.startswith(SYNTHETIC_DESCRIPTION) != other.startswith(SYNTHETIC_DESCRIPTION):
            difference = "description", quote(right), quote(other)
            yield from _report("croissant", path, iter([difference]))


def _report(check: str, path: Path, differences: Iterator[Difference]) -> Iterator[Problem]:
    for place, expected, found in islice(differences, _LISTED):
        yield Problem(
            check=check, file=str(path), place={"field": place}, expected=expected, found=found
        )


def compare(
    expected: Any, found: Any, place: str, prose: tuple[str, ...] = ()
) -> Iterator[Difference]:
    """Where two values of YAML or JSON differ.

    Args:
        expected: The right value.
        found: The other one; it may be of any depth.
        place: Where they are, such as "configs[slices].data_files".
        prose: Keys whose text may differ.
    """
    if isinstance(expected, dict) and isinstance(found, dict):
        for key in [*expected, *(key for key in found if key not in expected)]:
            inside = f"{place}.{key}" if place else str(key)
            if key not in found:
                yield inside, quote(expected[key]), "nothing"
            elif key not in expected:
                yield inside, "nothing", quote(found[key])
            elif key not in prose:
                # The description of a license is its words.
                yield from compare(
                    expected[key], found[key], inside, () if key == "license" else prose
                )
    elif isinstance(expected, list) and isinstance(found, list):
        for index, (right, other) in enumerate(zip(expected, found, strict=False)):
            yield from compare(right, other, f"{place}[{_name_entry(right, index)}]", prose)
        if len(expected) != len(found):
            yield place, f"{len(expected)} entries", f"{len(found)}"
    elif type(expected) is not type(found) or expected != found:
        yield place, quote(expected), quote(found)


def _name_entry(entry: Any, index: int) -> str:
    names = [entry[key] for key in _NAMES if key in entry] if isinstance(entry, dict) else []
    return str(names[0]) if names else str(index)
