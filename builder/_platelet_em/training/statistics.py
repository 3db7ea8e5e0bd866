"""Statistics of the volumes of a dataset: their gray values, and the weights of their classes."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

import datasets
import numpy as np
from numpy.typing import NDArray

from _platelet_em.errors import ArgumentError, quote
from _platelet_em.facts import PUBLISHED
from _platelet_em.hf.formatter import FORMAT, format_example
from _platelet_em.hf.label_features import labels_of_features
from _platelet_em.rows.class_balance import count_classes, weigh_classes
from _platelet_em.rows.intensity import GrayHistogram, IntensityStatistics
from _platelet_em.spec import SEMANTIC
from _platelet_em.training.samplers import parse_integer

__all__ = ["class_weights", "intensity_statistics"]

_MAX_CLASSES = 256
"""Classes are stored in 8 bits."""

_PARTLY_LABELED = tuple(v.name for v in PUBLISHED.with_optional().volumes if v.is_partly_labeled)
"""The default of `partly_labeled`, for a dataset with the published classes."""


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
    measured: dict[str, IntensityStatistics] = {}
    rows_left = _count_rows(dataset)
    for row in _read_columns(dataset, "image"):
        name, image = row["volume"], row["image"]
        histogram = histograms.setdefault(name, GrayHistogram(name))
        for page in image if len(np.shape(image)) == 3 else [image]:
            histogram.add(np.asarray(page))
        rows_left[name] -= 1
        if rows_left[name] == 0:
            # A histogram takes 512 kB, and there may be thousands of volumes.
            measured[name] = histograms.pop(name).measure(percentiles)
    return measured | {name: each.measure(percentiles) for name, each in histograms.items()}


def class_weights(
    dataset: Any, *, classes: int | None = None, partly_labeled: Collection[str] | None = None
) -> NDArray[np.float64]:
    """The weight of each semantic class in a loss, with which each class counts alike.

    It is `voxels / (classes * voxels of the class)`, as in the table of the dataset card and in
    scikit-learn's `class_weight="balanced"`. The voxels of all volumes of the dataset are
    counted together. In a volume that is labeled in part (the published split `test`), class 0
    also means "not labeled", and is not counted; if there is no other volume, its weight is 0.

    Args:
        dataset: `slices` or `volumes` of this dataset, map-style or streaming, in any format, one
            split or a dictionary of splits; or any iterable of rows with `volume` and `semantic`.
            It is read in one pass, with one row in memory at a time.
        classes: Number of classes. None: that of the names in the features of the dataset; up to
            the highest index found, if they name none; of rows without features, the published
            seven.
        partly_labeled: Names of the volumes that are labeled in part. None: those of the published
            dataset, if the classes are the published ones or rows have no features, else none.

    Returns:
        float64 (classes,), one weight per class, which `torch.nn.CrossEntropyLoss` takes as
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
    names = _find_class_names(dataset)
    if partly_labeled is None:
        partly_labeled = _PARTLY_LABELED if names == PUBLISHED.class_names else ()
    if classes is not None:
        classes = parse_integer(classes, "classes", 1)
    count = classes or len(names)
    voxels = np.zeros(count or _MAX_CLASSES, np.int64)
    is_partly_labeled = True
    for row in _read_columns(dataset, SEMANTIC):
        semantic = row[SEMANTIC]
        for page in semantic if len(np.shape(semantic)) == 3 else [semantic]:
            counts = count_classes(np.asarray(page), len(voxels))
            if row["volume"] in partly_labeled:
                counts[0] = 0
            else:
                is_partly_labeled = False
            voxels += counts
    if not count:
        voxels = np.trim_zeros(voxels, "b")
    if not voxels.any():
        raise ArgumentError("dataset: expected at least one voxel with a class, got none")
    return weigh_classes(voxels, is_partly_labeled=is_partly_labeled)


def _count_rows(dataset: Any) -> Counter[str]:
    """The rows of each volume; none of a stream, which is not read for this."""
    splits = dataset.values() if isinstance(dataset, Mapping) else [dataset]
    if not all(isinstance(s, datasets.Dataset) and "volume" in s.column_names for s in splits):
        return Counter()
    return Counter(name for split in splits for name in split.with_format(None)["volume"])


def _find_class_names(dataset: Any) -> tuple[str, ...]:
    """The names of the classes of a dataset, of rows those of the published one; () if unknown."""
    splits = [*dataset.values()] if isinstance(dataset, Mapping) else [dataset]
    if not any(hasattr(split, "features") for split in splits):
        return PUBLISHED.class_names
    labels = [c for split in splits for c in labels_of_features(getattr(split, "features", None))]
    return next((column.class_names for column in labels if column.class_names), ())


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
