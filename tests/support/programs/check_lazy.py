"""Checks of rows in the format `"platelet_em"`, against the voxels in a file of arrays.

They do not import this project, for programs that must not. `truth` is that of check_rows.py.
"""

import numpy as np
from check_rows import KINDS, SPLITS, check_split


def check_lazy_rows(rows, truth, volume="50", label_source="json"):
    """Check rows of `slices` in the format; returns the z of each."""
    rows = list(rows)
    for row in rows:
        expected = {kind: truth[f"{volume}_{kind}"][row["z"]] for kind in KINDS}
        assert row["volume"] == volume
        assert (row["image"].dtype, row["semantic"].dtype) == (np.uint16, np.uint8)
        assert np.array_equal(row["image"], expected["images"])
        assert np.array_equal(row["semantic"], expected["semantic"])
        check_labels(row["cells"], expected["cell"], label_source)
        check_labels(row["organelles"], expected["organelle"], label_source)
    return [row["z"] for row in rows]


def check_both_splits(loaded, truth, label_source):
    """Check the splits of `slices`, plain (where ids are known) and in the format."""
    for split, volume in SPLITS:
        if label_source == "json":
            check_split(loaded[split], truth, volume)
        rows = loaded[split].with_format("platelet_em")
        zs = list(range(len(truth[volume + "_images"])))
        assert check_lazy_rows(rows, truth, volume, label_source) == zs


def check_labels(labels, expected, label_source):
    """Check the voxels of labels; ids from TIFs are the truth's up to a one-to-one change."""
    assert type(labels).__name__ == "LazyLabels"
    if label_source == "json":
        assert np.array_equal(np.asarray(labels), expected)
    else:
        pairs = np.unique([np.ravel(labels), np.ravel(expected)], axis=1)
        assert all(len(np.unique(side)) == pairs.shape[1] for side in pairs)
        assert np.array_equal(pairs[0] == 0, pairs[1] == 0)
