"""What a verification finds: figures, remarks and errors, and the two forms of its report.

An error is data that is wrong, or contradicts other data. A remark is worth knowing and no fault.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ERROR", "REMARK", "Finding", "Report", "Section"]

ERROR, REMARK = "error", "remark"

_KEPT = 5
"""Findings of one kind in one file that are told one by one; further ones are counted."""

_FORMAT = 1
"""Version of the JSON form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    Attributes:
        level: "error" or "remark".
        check: What was checked, a name that stays the same from version to version.
        file: The file, or archive and member.
        place: Where in it: z, y, x, id, row, column, as far as it has them.
        expected: What should be there; empty if `found` says all of it.
        found: What is there.
        remedy: What to do; empty for remarks, and if `found` says it.
    """

    level: str
    check: str
    file: str
    place: dict[str, Any]
    expected: str
    found: str
    remedy: str

    def __str__(self) -> str:
        where = ", ".join(f"{key} {value}" for key, value in self.place.items())
        said = f"expected {self.expected}, found {self.found}" if self.expected else self.found
        return ": ".join(part for part in (self.file, where, said, self.remedy) if part)


@dataclass(slots=True)
class Section:
    """What was checked of one thing, with what result.

    Attributes:
        title: What was checked.
        subject: Its path, which people need not read again in each line below the title.
        figures: Name -> the text for people, and the value for machines.
        groups: Findings by level, check and file: the first of them, and how many there are.
    """

    title: str
    subject: str = ""
    figures: dict[str, tuple[str, Any]] = field(default_factory=dict)
    groups: dict[tuple[str, str, str], tuple[list[Finding], list[int]]] = field(
        default_factory=dict
    )

    def figure(self, name: str, text: object, value: Any = None) -> None:
        """Note a result; `value` is its form in JSON, the text if there is none."""
        self.figures[name] = (str(text), str(text) if value is None else value)

    def error(
        self,
        check: str,
        file: str,
        *,
        found: str,
        expected: str = "",
        remedy: str = "",
        **place: Any,
    ) -> None:
        """Note what is wrong."""
        self._add(ERROR, check, file, place, expected, found, remedy)

    def remark(self, check: str, file: str, found: str, **place: Any) -> None:
        """Note what is worth knowing."""
        self._add(REMARK, check, file, place, "", found, "")

    def trouble(self, check: str, file: str, error: Exception) -> None:
        """Note an exception: ours says file, place and remedy itself."""
        text = str(error)
        # The file is said once: most messages begin with it.
        prefix = f"{file}: "
        self.error(check, file, found=text.removeprefix(prefix))

    def _add(self, level: str, check: str, file: str, place: dict[str, Any], *said: str) -> None:
        kept, count = self.groups.setdefault((level, check, file), ([], [0]))
        count[0] += 1
        if len(kept) < _KEPT:
            expected, found, remedy = said
            kept.append(
                Finding(
                    level=level,
                    check=check,
                    file=file,
                    place=place,
                    expected=expected,
                    found=found,
                    remedy=remedy,
                )
            )

    def count(self, level: str) -> int:
        """How many findings of a level there are."""
        return sum(count[0] for (kind, _, _), (_, count) in self.groups.items() if kind == level)

    def lines(self) -> Iterator[str]:
        """The section for people."""
        yield self.title
        width = max(map(len, self.figures), default=0)
        for name, (text, _) in self.figures.items():
            yield f"  {name:<{width}}  {text}"
        for level in (REMARK, ERROR):
            for (kind, check, _), (kept, count) in self.groups.items():
                if kind != level:
                    continue
                for finding in kept:
                    text = str(finding)
                    for end in (": ", "/"):
                        text = text.removeprefix(f"{self.subject}{end}")
                    yield f"  {level.upper() if level == ERROR else level} {check}: {text}"
                if count[0] > len(kept):
                    yield f"    and {count[0] - len(kept)} more of this kind in this file"

    def document(self) -> dict[str, Any]:
        """The section for machines."""
        findings = [
            {
                "level": level,
                "check": check,
                "file": file,
                "count": count[0],
                "first": [
                    {
                        "place": finding.place,
                        "expected": finding.expected,
                        "found": finding.found,
                        "remedy": finding.remedy,
                    }
                    for finding in kept
                ],
            }
            for (level, check, file), (kept, count) in self.groups.items()
        ]
        figures = {name: value for name, (_, value) in self.figures.items()}
        return {"title": self.title, "figures": figures, "findings": findings}


@dataclass(slots=True)
class Report:
    """All that a verification says."""

    sections: list[Section] = field(default_factory=list)

    def section(self, subject: object, what: str = "") -> Section:
        """Begin a section about what lies at a path."""
        self.sections.append(Section(f"{subject}: {what}" if what else str(subject), str(subject)))
        return self.sections[-1]

    @property
    def errors(self) -> int:
        """How many errors there are."""
        return sum(section.count(ERROR) for section in self.sections)

    @property
    def remarks(self) -> int:
        """How many remarks there are."""
        return sum(section.count(REMARK) for section in self.sections)

    def lines(self) -> Iterator[str]:
        """The report for people, line by line; what a terminal would obey is escaped."""
        for section in self.sections:
            yield from map(_printable, section.lines())
            yield ""
        yield f"{_many(self.errors, 'error')}, {_many(self.remarks, 'remark')}"

    def to_json(self) -> str:
        """The report for machines."""
        document = {
            "format": _FORMAT,
            "errors": self.errors,
            "remarks": self.remarks,
            "sections": [section.document() for section in self.sections],
        }
        return json.dumps(document, indent=1)


def _printable(line: str) -> str:
    """Names of files are told as they are, and may be anything."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
