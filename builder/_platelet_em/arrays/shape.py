"""Shapes that come from files or arguments, checked before they are used."""

import operator
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from _platelet_em.errors import LabelFormatError, PlateletEMError, quote

__all__ = ["parse_shape"]

_ANY_NUMBER = range(1, 9)
_MAX_SIZE = 2**61
"""Flat indices, and sums of a few of them, have to fit int64."""


def parse_shape(
    shape: object,
    name: str,
    *,
    axes: Sequence[int] = _ANY_NUMBER,
    minimum: int = 0,
    error: type[PlateletEMError] = LabelFormatError,
) -> tuple[int, ...]:
    """Check a shape: integers in an allowed number, and fewer than 2**61 elements.

    Args:
        shape: Extent along each axis; any iterable of integers, read no further than needed.
        name: What to call the shape in a message, such as "labels: shape".
        axes: The allowed numbers of axes, ascending.
        minimum: The smallest allowed extent.
        error: Class of the exception.

    Raises:
        PlateletEMError: of class `error`, for anything else.

    >>> parse_shape([50, 800, 800], "50-instance-cell.json: .info: shape")
    (50, 800, 800)
    """
    extents = _read_extents(shape, axes[-1], minimum)
    if extents is None or len(extents) not in axes:
        number = "a list of" if axes is _ANY_NUMBER else " or ".join(map(str, axes))
        least = f" of at least {minimum}" if minimum else ""
        example = [50, 800, 800][-axes[-1] :]
        raise error(
            f"{name}: expected {number} extents{least}, such as {example}, got {quote(shape)}"
        )
    return extents


def _read_extents(shape: object, most: int, minimum: int) -> tuple[int, ...] | None:
    """The extents as Python integers; None if they are no shape of at most `most` axes."""
    if isinstance(shape, (str, bytes, Mapping)) or not isinstance(shape, Iterable):
        return None
    extents, size = [], 1
    for value in shape:
        if isinstance(value, (bool, np.bool_)):
            return None
        try:
            extent = operator.index(value)
        except TypeError:
            return None
        extents.append(extent)
        size *= max(extent, 1)
        if extent < minimum or size >= _MAX_SIZE or len(extents) > most:
            return None
    return tuple(extents)
