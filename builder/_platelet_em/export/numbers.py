"""`as_numbers`: the values of objects as Python's numbers, for JSON and CSV."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["as_numbers"]


def as_numbers(values: NDArray[Any]) -> list[Any]:
    """Values as Python's numbers; of float32, those with the fewest digits that give it again.

    >>> as_numbers(np.float32([0.1, 1])), np.float32([0.1, 1]).tolist()
    ([0.1, 1.0], [0.10000000149011612, 1.0])
    """
    if np.issubdtype(values.dtype, np.floating):
        return [float(str(value)) for value in values]
    return values.tolist()  # type: ignore[no-any-return]  # NumPy is typed loosely
