"""The report of a verification: figures, remarks and errors, as text and as JSON.

An error is data that is wrong, or contradicts other data. A remark is a fact worth knowing.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from _platelet_em.errors import printable

__all__ = [
    "BYTES",
    "ERROR",
    "JSON_AND_TIF",
    "LOST_IDS",
    "PALETTE",
    "QUESTIONS",
    "REMARK",
    "VERSION",
    "Finding",
    "Report",
    "Section",
]

ERROR, REMARK = "error", "remark"

_KEPT = 5
"""Findings of one check in one file that are kept; the others are only counted."""

_FORMAT = 1
"""Version of the JSON form."""

_SUMMARY = 10
"""Lines of the summary."""

QUESTIONS = (PALETTE, VERSION, LOST_IDS, JSON_AND_TIF, BYTES) = (
    "palette of the semantic labels",
    "version of the semantic labels",
    "ids that the RGBA labels lost",
    "JSON labels and RGBA labels",
    "byte order and sign of the images",
)
"""What is not known about the published archives until somebody has verified them."""


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
        answers: Question of `QUESTIONS` and what the files answer, such as "volume 50: B".
    """

    title: str
    subject: str = ""
    figures: dict[str, tuple[str, Any]] = field(default_factory=dict)
    groups: dict[tuple[str, str, str], tuple[list[Finding], list[int]]] = field(
        default_factory=dict
    )
    answers: list[tuple[str, str]] = field(default_factory=list)

    def answer(self, question: str, text: str) -> None:
        """Add what the files answer to one of the `QUESTIONS`."""
        self.answers.append((question, text))

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

    def lines(self, *, verbose: bool) -> Iterator[str]:
        """The section as lines of text; its figures only if `verbose`."""
        yield self.title
        width = max(map(len, self.figures), default=0)
        for name, (text, _) in self.figures.items() if verbose else ():
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
    """All results of a verification.

    Attributes:
        sections: In the order in which things were checked.
        asks: Whether `QUESTIONS` are about what was checked: they are about published archives.
    """

    sections: list[Section] = field(default_factory=list)
    asks: bool = True

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

    def answers(self) -> dict[str, list[str]]:
        """What the files answer to each question, without repetitions."""
        given = dict.fromkeys(pair for section in self.sections for pair in section.answers)
        return {name: [text for asked, text in given if asked == name] for name in QUESTIONS}

    def summary(self) -> Iterator[str]:
        """At most ten lines: the number of findings, and one line per check, errors first."""
        yield f"{_count_nouns(self.errors, 'error')}, {_count_nouns(self.remarks, 'remark')}"
        counts: dict[tuple[str, str], int] = {}
        first: dict[tuple[str, str], Finding] = {}
        for section in self.sections:
            for (level, check, _), (kept, (count,)) in section.groups.items():
                counts[level, check] = counts.get((level, check), 0) + count
                first.setdefault((level, check), kept[0])
        listed = sorted(counts, key=lambda pair: pair[0] != ERROR)
        room = _SUMMARY - 1 if len(listed) < _SUMMARY else _SUMMARY - 2
        for level, check in listed[:room]:
            finding = first[level, check]
            file = finding.file.rsplit("/", 1)[-1]
            where = "".join(f", {key} {value}" for key, value in finding.place.items())
            shown = level.upper() if level == ERROR else level
            yield f"  {shown} {check}: {counts[level, check]}, first in {file}{where}"
        if len(listed) > room:
            yield f"  and {len(listed) - room} other checks with findings"

    def lines(self, *, verbose: bool = False) -> Iterator[str]:
        """The report as lines of text; control characters are escaped.

        The summary, the findings of each section, and what is answered of `QUESTIONS`.

        Args:
            verbose: Include all sections, and their figures.
        """
        yield from map(printable, self.summary())
        yield ""
        for section in self.sections:
            if verbose or section.groups:
                yield from map(printable, section.lines(verbose=verbose))
                yield ""
        for question, answers in self.answers().items() if self.asks else ():
            yield printable(f"{question}: {'; '.join(answers) or 'not answered by these files'}")

    def to_json(self) -> str:
        """The report as JSON."""
        document = {
            "format": _FORMAT,
            "errors": self.errors,
            "remarks": self.remarks,
            "questions": self.answers(),
            "sections": [section.document() for section in self.sections],
        }
        return json.dumps(document, indent=1)


def _count_nouns(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
