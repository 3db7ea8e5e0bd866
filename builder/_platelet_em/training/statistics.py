"""Statistics of the volumes of a dataset: their gray values, and the weights of their classes."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.errors import ArgumentError, quote
from _platelet_em.facts import PUBLISHED
from _platelet_em.hf.formatter import FORMAT, format_example
from _platelet_em.rows.class_balance import count_classes, weigh_classes
from _platelet_em.rows.intensity import GrayHistogram, IntensityStatistics

__all__ = ["class_weights", "intensity_statistics"]

_PARTLY_LABELED = {v.name for v in PUBLISHED.with_optional().volumes if v.is_partly_labeled}


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
    histograms: dict[str, GrayHistogram] = {}
    for row in _read_columns(dataset, "image"):
        name, image = row["volume"], row["image"]
        histogram = histograms.setdefault(name, GrayHistogram(name))
        for page in image if len(np.shape(image)) == 3 else [image]:
            histogram.add(np.asarray(page))
    return {name: histogram.measure(percentiles) for name, histogram in histograms.items()}


def class_weights(dataset: Any) -> NDArray[np.float64]:
    """The weight of each semantic class in a loss, with which each class counts alike.

    It is `voxels / (classes * voxels of the class)`, as in the table of the dataset card and in
    scikit-learn's `class_weight="balanced"`. The voxels of all volumes of the dataset are
    counted together. In a volume that is labeled in part (split `test`), class 0 also means "not
    labeled", and is not counted; if there is no other volume, its weight is 0.

    Args:
        dataset: `slices` or `volumes` of this dataset, map-style or streaming, in any format, one
            split or a dictionary of splits; or any iterable of rows with `volume` and `semantic`.
            It is read in one pass, with one row in memory at a time.

    Returns:
        float64 (7,), one weight per class, which `torch.nn.CrossEntropyLoss` takes as
        `torch.tensor(weights, dtype=torch.float32)`. The weight of a class without voxels is 0.

    Raises:
        ArgumentError: for anything but a dataset, and for one without a labeled voxel.
        LabelFormatError: for class indices that are not integers.
        LabelRangeError: for an index without a class.

    >>> import numpy as np
    >>> from platelet_em import targets
    >>> rows = [{"volume": "50", "semantic": np.uint8([[0, 0, 0, 0], [0, 0, 1, 2]])}]
    >>> targets.class_weights(rows).round(3).tolist()
    [0.19, 1.143, 1.143, 0.0, 0.0, 0.0, 0.0]
    """
    voxels = np.zeros(len(PUBLISHED.classes), np.int64)
    is_partly_labeled = True
    for row in _read_columns(dataset, "semantic"):
        semantic = row["semantic"]
        for page in semantic if len(np.shape(semantic)) == 3 else [semantic]:
            counts = count_classes(np.asarray(page), len(voxels))
            if row["volume"] in _PARTLY_LABELED:
                counts[0] = 0
            else:
                is_partly_labeled = False
            voxels += counts
    if not voxels.any():
        raise ArgumentError("dataset: expected at least one voxel with a class, got none")
    return weigh_classes(voxels, is_partly_labeled=is_partly_labeled)


def _read_columns(dataset: Any, column: str) -> Iterator[dict[str, Any]]:
    """The rows of a dataset in the format, with this column and `volume`."""
    if isinstance(dataset, str) or not isinstance(dataset, Iterable):
        raise ArgumentError(
            f"dataset: expected a dataset, its splits, or rows, got {quote(dataset)}"
        )
    splits: Iterable[Any] = dataset.values() if isinstance(dataset, Mapping) else [dataset]
    for split in splits:
        rows: Iterable[dict[str, Any]] = map(format_example, split)
        if hasattr(split, "with_format"):
            # Columns are selected first, so that no others are read.
            rows = split.select_columns(["volume", column]).with_format(FORMAT)
        for row in rows:
            if missing := [name for name in ("volume", column) if row.get(name) is None]:
                raise ArgumentError(
                    f"dataset: expected rows with {missing[0]!r}, got one without: "
                    f"{quote(list(row))}"
                )
            yield row
