"""What normalisation needs to know about a volume's intensities: exact, from its histogram."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.errors import ArgumentError, ImageFormatError, quote
from _platelet_em.hf.formatter import PlateletEMFormatter
from _platelet_em.hf.private import FORMAT

__all__ = ["NORMALIZATIONS", "IntensityStatistics", "intensity_statistics"]

NORMALIZATIONS = ("none", "minmax", "standard", "percentile")

_COLUMNS = ["volume", "image"]
_VALUES = 2**16


@dataclass(frozen=True, slots=True, kw_only=True)
class IntensityStatistics:
    """Intensities of one volume, in its own units (0 to 65535).

    Attributes:
        minimum: The lowest value.
        maximum: The highest value.
        mean: The mean.
        std: The standard deviation, of the volume as it is (not of a sample: divided by n).
        low: The lower percentile that was asked for, as `np.percentile` gives it.
        high: The upper one.
    """

    minimum: float
    maximum: float
    mean: float
    std: float
    low: float
    high: float

    def offset_and_scale(self, normalize: str) -> tuple[float, float]:
        """What to subtract and what to divide by; a volume of one value is only shifted to 0.

        Args:
            normalize: `"none"`, `"minmax"` (to 0..1), `"standard"` (zero mean, unit variance) or
                `"percentile"` (`low` to 0, `high` to 1; what lies beyond is not clipped).

        >>> v = IntensityStatistics(minimum=10, maximum=30, mean=16, std=4, low=12, high=20)
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


def intensity_statistics(
    dataset: Any, *, percentiles: tuple[float, float] = (0.5, 99.5)
) -> dict[str, IntensityStatistics]:
    """Statistics of each volume's images, in one pass that holds one row at a time.

    They belong to whole volumes: give the dataset before it is cut into windows.

    Args:
        dataset: `slices` or `volumes` of this dataset, map-style or streaming, in any format, a
            split or all of them; or any iterable of rows with `volume` and `image`.
        percentiles: Which two `low` and `high` are, from 0 to 100.

    Returns:
        Name of the volume -> its statistics.

    Raises:
        ArgumentError: for what is no dataset; for percentiles that do not ascend from 0 to 100.
        ImageFormatError: for images that are no integers from 0 to 65535, or without a pixel.

    >>> rows = [{"volume": "50", "image": np.uint16([[0, 10], [20, 70]])}]
    >>> statistics = intensity_statistics(rows, percentiles=(0, 50))["50"]
    >>> statistics.minimum, statistics.maximum, statistics.mean, statistics.high
    (0, 70, 25.0, 15.0)
    """
    try:
        lower, upper = percentiles
        valid = 0 <= lower < upper <= 100
    except (TypeError, ValueError):
        valid = False
    if not valid:
        raise ArgumentError(
            f"percentiles: expected two that ascend, from 0 to 100, got {quote(percentiles)}"
        )
    if isinstance(dataset, str) or not isinstance(dataset, Iterable):
        raise ArgumentError(
            f"dataset: expected a dataset, its splits, or rows, got {quote(dataset)}"
        )
    splits = dataset.values() if isinstance(dataset, Mapping) else [dataset]
    histograms: dict[str, NDArray[np.int64]] = {}
    for split in splits:
        for row in _rows(split):
            name, image = row["volume"], row["image"]
            for page in image if len(np.shape(image)) == 3 else [image]:
                counts = _histogram(np.asarray(page), name)
                histograms[name] = histograms.get(name, 0) + counts
    for name, counts in histograms.items():
        if not counts.any():
            raise ImageFormatError(
                f"volume {name!r}: statistics are of at least one pixel, got none"
            )
    return {name: _measure(counts, percentiles) for name, counts in histograms.items()}


def _rows(split: Any) -> Iterable[dict[str, Any]]:
    if hasattr(split, "with_format"):
        # Selected before it is formatted, so that labels are not read.
        return split.select_columns(_COLUMNS).with_format(FORMAT)  # type: ignore[no-any-return]  # datasets is untyped
    return map(PlateletEMFormatter().recursive_tensorize, split)


def _histogram(page: NDArray[Any], name: str) -> NDArray[np.int64]:
    if page.dtype.kind not in "iu" or (page.size and not 0 <= page.min() <= page.max() < _VALUES):
        raise ImageFormatError(
            f"volume {name!r}: statistics are of integer images from 0 to {_VALUES - 1}, got "
            f"dtype {page.dtype}; give the dataset as it was loaded, before it is normalised"
        )
    return np.bincount(page.ravel(), minlength=_VALUES)


def _measure(counts: NDArray[np.int64], percentiles: tuple[float, float]) -> IntensityStatistics:
    present = np.flatnonzero(counts).tolist()
    # In integers of Python, which neither round nor overflow.
    pairs = [(value, int(counts[value])) for value in present]
    n = sum(count for _, count in pairs)
    first = sum(value * count for value, count in pairs)
    second = sum(value**2 * count for value, count in pairs)
    cumulative = np.cumsum(counts)
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
    """As `np.percentile` interpolates, from how many values are at most 0, 1, 2, ..."""
    position = q / 100 * (int(cumulative[-1]) - 1)
    rank = math.floor(position)
    below, above = np.searchsorted(cumulative, [rank, math.ceil(position)], side="right")
    return float(below) + float(above - below) * (position - rank)
