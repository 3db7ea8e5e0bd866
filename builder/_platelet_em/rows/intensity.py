"""Gray-value statistics of a volume, exact, from the histogram of its images."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.errors import ImageFormatError

__all__ = ["NORMALIZATIONS", "GrayHistogram", "IntensityStatistics"]

NORMALIZATIONS = ("none", "minmax", "standard", "percentile")

_LEVELS = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class IntensityStatistics:
    """Gray values of one volume, in its own units (0 to 65535).

    Attributes:
        minimum: The lowest value.
        maximum: The highest value.
        mean: The mean.
        std: The standard deviation of the population (divided by n).
        low: The lower requested percentile, equal to that of `np.percentile`.
        high: The upper one.

    >>> IntensityStatistics(minimum=10, maximum=30, mean=16, std=4, low=12, high=20).std
    4
    """

    __module__ = "platelet_em"

    minimum: float
    maximum: float
    mean: float
    std: float
    low: float
    high: float

    def offset_and_scale(self, normalize: str) -> tuple[float, float]:
        """The value to subtract and the one to divide by; a volume of one value is only shifted.

        Args:
            normalize: `"none"`, `"minmax"` (to 0..1), `"standard"` (zero mean, unit variance) or
                `"percentile"` (`low` to 0, `high` to 1; values beyond are not clipped).

        Raises:
            KeyError: for any other word.

        >>> v = IntensityStatistics(
        ...     minimum=10, maximum=30, mean=16, std=4, low=12, high=20
        ... )
        >>> v.offset_and_scale("minmax"), v.offset_and_scale("percentile")
        ((10, 20), (12, 8))
        """
        offset, scale = {
            "none": (0, 1),
            "minmax": (self.minimum, self.maximum - self.minimum),
            "standard": (self.mean, self.std),
            "percentile": (self.low, self.high - self.low),
        }[normalize]
        return offset, scale or 1


class GrayHistogram:
    """How often each gray value occurs in the images of a volume.

    Args:
        name: Name of the volume, for messages.

    Attributes:
        counts: int64 (65536,), pixels of each value.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self.counts = np.zeros(_LEVELS, np.int64)

    def add(self, page: NDArray[Any]) -> None:
        """Count the pixels of an image of any shape.

        Raises:
            ImageFormatError: for anything but integers from 0 to 65535.
        """
        if page.dtype.kind not in "iu" or (
            page.size and not 0 <= page.min() <= page.max() < _LEVELS
        ):
            raise ImageFormatError(
                f"volume {self._name!r}: statistics need integer images with values from 0 to "
                f"{_LEVELS - 1}, got dtype {page.dtype}: pass the dataset as it was loaded, "
                "before it is normalized"
            )
        self.counts += np.bincount(page.ravel(), minlength=_LEVELS)

    def measure(self, percentiles: tuple[float, float] = (0.5, 99.5)) -> IntensityStatistics:
        """The statistics of all pixels.

        Args:
            percentiles: Which percentiles `low` and `high` are, 0 to 100, ascending.

        Raises:
            ImageFormatError: if there is no pixel.
        """
        present = np.flatnonzero(self.counts).tolist()
        if not present:
            raise ImageFormatError(
                f"volume {self._name!r}: statistics need at least one pixel, got none"
            )
        # Python's integers neither round nor overflow.
        pairs = [(level, int(self.counts[level])) for level in present]
        n = sum(count for _, count in pairs)
        first = sum(level * count for level, count in pairs)
        second = sum(level**2 * count for level, count in pairs)
        cumulative = np.cumsum(self.counts)
        low, high = (_percentile(cumulative, q) for q in percentiles)
        return IntensityStatistics(
            minimum=present[0],
            maximum=present[-1],
            mean=first / n,
            std=math.sqrt((n * second - first**2) / n**2),
            low=low,
            high=high,
        )


def _percentile(cumulative: NDArray[np.int64], q: float) -> float:
    """The percentile q, 0..100, as `np.percentile` interpolates it.

    Args:
        cumulative: int64 (65536,), number of pixels with a value of at most 0, 1, 2, ...
        q: The percentile.
    """
    position = q / 100 * (int(cumulative[-1]) - 1)
    rank = math.floor(position)
    below, above = np.searchsorted(cumulative, [rank, math.ceil(position)], side="right")
    return float(below) + float(above - below) * (position - rank)
