"""One thing that is wrong with a file of a repository."""

from dataclasses import dataclass, field
from typing import Any

from _platelet_em.errors import PlateletEMError

__all__ = ["Problem"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something wrong with a file of a repository.

    Attributes:
        check: Name of the check that found it.
        file: The file.
        expected: What should be there; empty if `error` is set.
        found: What is there; empty if `error` is set.
        place: Field, or row and column, of the file; empty for the whole file.
        error: The exception that describes the problem, if there was one.
    """

    check: str
    file: str
    expected: str = ""
    found: str = ""
    place: dict[str, Any] = field(default_factory=dict)
    error: PlateletEMError | None = None

    def __str__(self) -> str:
        """The problem in words."""
        where = ", ".join(f"{key} {value}" for key, value in self.place.items())
        file = f"{self.file}: {where}" if where else self.file
        return str(self.error or f"{file}: expected {self.expected}, found {self.found}")
