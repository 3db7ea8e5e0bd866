"""Check rows without instances, whose list of boxes is empty, in every format.

Arguments: a repository whose first slice has no instance; one whose volume 24 has none; a folder
with the package torch, if it is nowhere else. Prints ok at the end.
"""

import sys
from functools import cache

if __name__ == "__main__":
    sys.path.append(sys.argv[3])  # datasets looks for torch when it is imported

import datasets
import numpy as np

import platelet_em

FORMATS = (None, "numpy", "torch", "platelet_em")


def check(row):
    """Check that all fields of a row's labels have one entry per instance; whether none has."""
    assert np.asarray(row["image"]).any()
    for column in ("cells", "organelles"):
        labels, n = row[column], int(row["n_" + column])
        if isinstance(labels, platelet_em.LazyLabels):
            check_lazy(labels, n)
            continue
        assert {len(labels[name]) for name in labels if name != "shape"} == {n}, labels
        boxes = np.asarray(labels["bbox"]).reshape(n, -1 if n else 2 * len(labels["shape"]))
        assert boxes.shape == (n, 2 * len(labels["shape"]))
    return int(row["n_cells"]) == int(row["n_organelles"]) == 0


def check_lazy(labels, n):
    fields = (labels.ids, labels.areas, labels.bboxes, labels.rle, *labels.properties.values())
    assert {len(field) for field in fields} == {n}
    assert labels.bboxes.shape == (n, 2 * labels.ndim)
    assert np.asarray(labels).shape == labels.shape
    assert np.asarray(labels).any() == (n > 0)
    assert labels.select([]).equals(labels) == (n == 0)


@cache
def load(path, config, split, streaming):
    return datasets.load_dataset(path, config, split=split, streaming=streaming)


def check_all(format_name, repository, half_empty):
    """Check the rows of both repositories in a format, map-style and streaming."""
    for streaming in (False, True):
        for path, config, split, is_empty in (
            (repository, "slices", "train", [z == 0 for z in range(9)]),
            (half_empty, "slices", "train", [True, False, False]),
            (half_empty, "slices", "validation", [True] * 4),
            (half_empty, "volumes", "train", [False]),
            (half_empty, "volumes", "validation", [True]),
        ):
            ds = load(str(path), config, split, streaming).with_format(format_name)
            assert [check(row) for row in ds] == is_empty
            batch = next(iter(ds.iter(batch_size=2)))
            assert check({name: values[0] for name, values in batch.items()}) == is_empty[0]


if __name__ == "__main__":
    for each in FORMATS:
        check_all(each, *sys.argv[1:3])
    print("ok")
