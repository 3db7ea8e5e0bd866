"""`intensity_statistics`: the gray-value statistics of the volumes of a dataset."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from _platelet_em.errors import ArgumentError, quote
from _platelet_em.hf.formatter import FORMAT, format_example
from _platelet_em.rows.intensity import GrayHistogram, IntensityStatistics

__all__ = ["intensity_statistics"]

_COLUMNS = ["volume", "image"]


def intensity_statistics(
    dataset: Any, *, percentiles: tuple[float, float] = (0.5, 99.5)
) -> dict[str, IntensityStatistics]:
    """Statistics of the images of each volume, in one pass with one row in memory at a time.

    They belong to whole volumes: pass the dataset before it is cut into windows.

    Args:
        dataset: `slices` or `volumes` of this dataset, map-style or streaming, in any format, one
            split or a dictionary of splits; or any iterable of rows with `volume` and `image`.
        percentiles: Which percentiles `low` and `high` are, 0 to 100, ascending.

    Returns:
        Name of the volume -> its statistics.

    Raises:
        ArgumentError: for anything but a dataset; for percentiles that do not ascend from 0 to
            100.
        ImageFormatError: for images that are not integers from 0 to 65535, or without a pixel.

    >>> import numpy as np
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
    histograms: dict[str, GrayHistogram] = {}
    for split in splits:
        for row in _format_rows(split):
            name, image = row["volume"], row["image"]
            histogram = histograms.setdefault(name, GrayHistogram(name))
            for page in image if len(np.shape(image)) == 3 else [image]:
                histogram.add(np.asarray(page))
    return {name: histogram.measure(percentiles) for name, histogram in histograms.items()}


def _format_rows(split: Any) -> Iterable[dict[str, Any]]:
    if hasattr(split, "with_format"):
        # Columns are selected first, so that labels are not read.
        return split.select_columns(_COLUMNS).with_format(FORMAT)  # type: ignore[no-any-return]  # datasets is untyped
    return map(format_example, split)
