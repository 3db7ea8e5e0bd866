"""`VolumeName`: the name of a window's volume, with its position among the volumes."""

from typing import Any

__all__ = ["VolumeName"]


class VolumeName(str):
    """A str that knows its position in `Windows.volumes`, since tensors cannot hold names.

    >>> name = VolumeName("50", 1)
    >>> name == "50", name.position
    (True, 1)
    """

    position: int

    def __new__(cls, name: str, position: int) -> "VolumeName":
        found = super().__new__(cls, name)
        found.position = position
        return found

    def __reduce__(self) -> Any:
        return VolumeName, (str(self), self.position)
