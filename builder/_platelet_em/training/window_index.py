"""`WindowIndex`: an index of `Windows` that says in which epoch."""

from typing import Any

__all__ = ["WindowIndex"]


class WindowIndex(int):
    """The index of a window in an epoch, as `Windows.sampler` yields it.

    Its value is `epoch * count + position`. So if something makes plain integers of such indices,
    those of all epochs but the first are out of range: an error, not windows of another epoch.

    Args:
        epoch: From 0.
        position: Of the window in its epoch, 0 to count - 1.
        count: Windows per epoch.

    >>> index = WindowIndex(2, 3, 10)
    >>> int(index), index.epoch, index.position
    (23, 2, 3)
    """

    epoch: int
    position: int
    count: int

    def __new__(cls, epoch: int, position: int, count: int) -> "WindowIndex":
        index = super().__new__(cls, epoch * count + position)
        index.epoch, index.position, index.count = epoch, position, count
        return index

    def __reduce__(self) -> Any:
        return WindowIndex, (self.epoch, self.position, self.count)
