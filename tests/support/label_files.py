"""Label files in memory, read and turned into voxels by plain Python."""

import io
import json

import numpy as np

from _platelet_em.facts import PUBLISHED
from _platelet_em.publisher.label_files import read_labels

JSON, TIF = "50-labels.json", "50-labels.tif"


def read(data, *, name, semantic=False, shape=None):
    """Read the bytes of a label file that must be closed afterwards."""
    file = io.BytesIO(data)
    found = read_labels(file, name, classes_of=PUBLISHED if semantic else None, shape=shape)
    assert file.closed
    assert found.labels.ids.dtype == np.int32
    return found


def read_json(labels, **options):
    """Read labels as a JSON file; returns their voxels and ids."""
    found = read(json.dumps(labels).encode(), name=JSON, **options)
    return dense(found.labels), found.labels.ids.tolist()


def read_tif(data, **options):
    """Read a TIF file; returns the voxels and ids of its labels."""
    found = read(data, name=TIF, **options)
    return dense(found.labels), found.labels.ids.tolist()


def dense(labels):
    """The voxels of labels (z, y, x), from the runs of the volume and of each slice.

    Checks that both are canonical and say the same.
    """
    volume = _fill(labels.shape, labels)
    for z in reversed(range(labels.shape[0])):
        np.testing.assert_array_equal(_fill(labels.shape[1:], labels.slice(z)), volume[z])
    return volume


def _fill(shape, labels):
    flat, runs = np.zeros(int(np.prod(shape)), np.int64), labels.runs
    previous = (0, None)
    for start, stop, owner in zip(
        runs.starts.tolist(), runs.stops.tolist(), runs.owners.tolist(), strict=True
    ):
        assert previous[0] <= start < stop <= flat.size, "sorted, disjoint, and inside"
        assert previous != (start, owner), "two runs of one instance touch"
        flat[start:stop] = labels.ids[owner]
        previous = (stop, owner)
    return flat.reshape(shape)
