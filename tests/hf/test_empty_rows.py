"""Rows without any instance, whose list of boxes is empty: at both ends, in every format."""

import pytest
from support import ends, publisher

from _platelet_em.hub.build import build


@pytest.fixture
def half_empty(tmp_path):
    """A repository whose volume 24 has no instance at all."""
    truth = publisher.publication(depth=3)
    empty = truth.volumes["24"]
    empty.semantic[:], empty.cell[:], empty.organelle[:] = 0, 0, 0
    truth.zip(tmp_path / "images_and_labels_json.zip", "json")
    return build(tmp_path / "half-empty", data_dir=tmp_path / "images_and_labels_json.zip")


EMPTY = """
import sys
sys.path.append(sys.argv[3])  # where torch is, if nowhere else
import datasets, numpy as np, torch
import platelet_em

def check(row):
    assert np.asarray(row["image"]).any()
    for column in ("cells", "organelles"):
        labels, n = row[column], int(row["n_" + column])
        if isinstance(labels, platelet_em.LazyLabels):
            check_lazy(labels, n)
            continue
        assert {len(labels[name]) for name in labels if name != "shape"} == {n}, labels
        boxes = np.asarray(labels["bbox"]).reshape(n, -1 if n else 2 * len(labels["shape"]))
        assert boxes.shape == (n, 2 * len(labels["shape"]))
    return [int(row["n_cells"]), int(row["n_organelles"])] == [0, 0]

def check_lazy(labels, n):
    fields = (labels.ids, labels.areas, labels.bboxes, labels.rle, *labels.properties.values())
    assert {len(field) for field in fields} == {n}
    assert labels.bboxes.shape == (n, 2 * labels.ndim)
    assert np.asarray(labels).shape == labels.shape
    assert np.asarray(labels).any() == (n > 0)
    assert labels.select([]).equals(labels) == (n == 0)

def check_all(path, config, split, format, streaming, empty):
    ds = datasets.load_dataset(path, config, split=split, streaming=streaming)
    ds = ds.with_format(format)
    assert [check(row) for row in ds] == empty
    batch = next(iter(ds.iter(batch_size=2)))
    assert check({name: values[0] for name, values in batch.items()}) == empty[0]

repository, half_empty = sys.argv[1:3]
for format in (None, "numpy", "torch", "platelet_em"):
    for streaming in (False, True):
        how = (format, streaming)
        check_all(repository, "slices", "train", *how, [z == 0 for z in range(9)])
        check_all(half_empty, "slices", "train", *how, [True, False, False])
        check_all(half_empty, "slices", "validation", *how, [True] * 4)
        check_all(half_empty, "volumes", "train", *how, [False])
        check_all(half_empty, "volumes", "validation", *how, [True])
print("ok")
"""


def test_rows_without_instances(end, repository, half_empty, plain_packages, tmp_path):
    ends.run(end, EMPTY, repository, half_empty, plain_packages, cwd=tmp_path)
