"""The report of a verification: figures, remarks and errors, as text and as JSON.

An error is data that is wrong, or contradicts other data. A remark is a fact worth knowing.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

__all__ = ["ERROR", "REMARK", "Finding", "Report", "Section"]

ERROR, REMARK = "error", "remark"

_KEPT = 5
"""Findings of one check in one file that are kept; the others are only counted."""

_FORMAT = 1
"""Version of the JSON form."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong, or worth knowing.

    Attributes:
        level: "error" or "remark".
        check: Name of the check, the same in every version.
        file: The file, or archive and member.
        place: Where in it: z, y, x, id, row, column, as far as they apply.
        expected: What should be there; empty if `found` describes the problem completely.
        found: What is there.
        remedy: What to do; empty for remarks, and if `found` includes it.
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
        result = f"expected {self.expected}, found {self.found}" if self.expected else self.found
        return ": ".join(part for part in (self.file, where, result, self.remedy) if part)


@dataclass(slots=True)
class Section:
    """The results of checking one thing.

    Attributes:
        title: What was checked.
        subject: Its path, which is not repeated in the lines below the title.
        figures: Name -> its text, and its value in JSON.
        groups: Findings by level, check and file: the first of them, and their number.
    """

    title: str
    subject: str = ""
    figures: dict[str, tuple[str, Any]] = field(default_factory=dict)
    groups: dict[tuple[str, str, str], tuple[list[Finding], list[int]]] = field(
        default_factory=dict
    )

    def figure(self, name: str, text: object, value: Any = None) -> None:
        """Add a result; `value` is its form in JSON, by default the text."""
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
        """Add an error."""
        self._add(ERROR, check, file, place, expected, found, remedy)

    def remark(self, check: str, file: str, found: str, **place: Any) -> None:
        """Add a remark."""
        self._add(REMARK, check, file, place, "", found, "")

    def exception(self, check: str, file: str, error: Exception) -> None:
        """Add an error from an exception of this package, whose message names file and remedy."""
        text = str(error)
        # The file is shown once: most messages begin with it.
        prefix = f"{file}: "
        self.error(check, file, found=text.removeprefix(prefix))

    def _add(self, level: str, check: str, file: str, place: dict[str, Any], *texts: str) -> None:
        kept, count = self.groups.setdefault((level, check, file), ([], [0]))
        count[0] += 1
        if len(kept) < _KEPT:
            expected, found, remedy = texts
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
        """Number of findings of a level."""
        return sum(count[0] for (found, _, _), (_, count) in self.groups.items() if found == level)

    def lines(self) -> Iterator[str]:
        """The section as lines of text."""
        yield self.title
        width = max(map(len, self.figures), default=0)
        for name, (text, _) in self.figures.items():
            yield f"  {name:<{width}}  {text}"
        for level in (REMARK, ERROR):
            for (found, check, _), (kept, count) in self.groups.items():
                if found != level:
                    continue
                for finding in kept:
                    text = str(finding)
                    for end in (": ", "/"):
                        text = text.removeprefix(f"{self.subject}{end}")
                    yield f"  {level.upper() if level == ERROR else level} {check}: {text}"
                if count[0] > len(kept):
                    yield f"    and {count[0] - len(kept)} more of this kind in this file"

    def document(self) -> dict[str, Any]:
        """The section as a JSON object."""
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
    """All results of a verification."""

    sections: list[Section] = field(default_factory=list)

    def section(self, subject: object, what: str = "") -> Section:
        """Add a section about a path."""
        self.sections.append(Section(f"{subject}: {what}" if what else str(subject), str(subject)))
        return self.sections[-1]

    @property
    def errors(self) -> int:
        """Number of errors."""
        return sum(section.count(ERROR) for section in self.sections)

    @property
    def remarks(self) -> int:
        """Number of remarks."""
        return sum(section.count(REMARK) for section in self.sections)

    def lines(self) -> Iterator[str]:
        """The report as lines of text; control characters are escaped."""
        for section in self.sections:
            yield from map(_printable, section.lines())
            yield ""
        yield f"{_count_nouns(self.errors, 'error')}, {_count_nouns(self.remarks, 'remark')}"

    def to_json(self) -> str:
        """The report as JSON."""
        document = {
            "format": _FORMAT,
            "errors": self.errors,
            "remarks": self.remarks,
            "sections": [section.document() for section in self.sections],
        }
        return json.dumps(document, indent=1)


def _printable(line: str) -> str:
    """A line without control characters, which names of files may contain."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)


def _count_nouns(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
