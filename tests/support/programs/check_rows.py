"""Checks of rows as plain `datasets` gives them, against the voxels in a file of arrays.

`truth` maps "50_images", "50_semantic", "50_cell" and "50_organelle", and the same for volume 24,
to arrays (z, y, x).
"""

import datasets
import numpy as np
from PIL.Image import Image as Picture

datasets.config.USE_PARQUET_EXPORT = False  # the test Hub has no datasets-server

KINDS = ("images", "semantic", "cell", "organelle")
PLAIN_FEATURES = ("Value", "Image", "List", "Sequence", "ClassLabel")
SPLITS = (("train", "50"), ("validation", "24"))


def read_truth(path):
    """The arrays of a file of voxels."""
    with np.load(path) as arrays:
        return dict(arrays)


def check_split(ds, truth, volume):
    """Check the rows of a split of `slices`; returns them."""
    check_features(ds.features)
    rows = list(ds)
    assert [int(row["z"]) for row in rows] == list(range(len(truth[volume + "_images"])))
    for row in rows:
        check(row, {kind: truth[f"{volume}_{kind}"][int(row["z"])] for kind in KINDS})
    return rows


def check_volume(ds, truth, volume):
    """Check the row of a split of `volumes`."""
    check_features(ds.features)
    [row] = ds
    check(row, {kind: truth[f"{volume}_{kind}"] for kind in KINDS})


def check_preview(ds, truth, volume):
    """Check the form of the rows of a split of `preview`."""
    check_features(ds.features)
    rows = list(ds)
    assert [int(row["z"]) for row in rows] == list(range(len(truth[volume + "_images"])))
    for row in rows:
        assert row["volume"] == volume
        picture = np.asarray(row["preview"])
        assert picture.dtype == np.uint8
        assert 3 in (picture.shape[0], picture.shape[2])  # channels come first under "torch"


def check_objects(ds, truth, volume):
    """Check the rows of a split of `instances`: their kinds, ids and sizes."""
    check_features(ds.features)
    expected = []
    for kind in ("cell", "organelle"):
        ids, counts = np.unique(truth[f"{volume}_{kind}"], return_counts=True)
        pairs = zip(ids.tolist(), counts.tolist(), strict=True)
        expected += [(kind, label, count) for label, count in pairs if label]
    found = [(row["kind"], int(row["id"]), int(row["voxels"])) for row in ds]
    assert found == expected
    assert {row["volume"] for row in ds} == {volume}


def check(row, truth):
    """Check the images and labels of a row."""
    for column, kind in (("image", "images"), ("semantic", "semantic")):
        pages = row[column] if isinstance(row[column], list) else [row[column]]
        modes = {page.mode for page in pages if isinstance(page, Picture)}
        assert modes in (set(), {"I;16" if column == "image" else "P"})
        array = np.stack([np.asarray(page) for page in pages])
        assert array.dtype == truth[kind].dtype
        # The format "torch" gives each page an axis of channels.
        assert np.array_equal(array.reshape(truth[kind].shape), truth[kind])
    for column, kind in (("cells", "cell"), ("organelles", "organelle")):
        labels = row[column]
        assert np.array_equal(decode(labels), truth[kind])
        assert row["n_" + column] == len(labels["id"]) == len(np.unique(truth[kind])) - 1


def decode(labels):
    """The voxels of a struct of labels."""
    shape = tuple(map(int, labels["shape"]))
    mask = np.zeros(np.prod(shape), np.int32)
    for label, rle in zip(labels["id"], labels["rle"], strict=True):
        for start, length in np.array(rle.split(), int).reshape(-1, 2):
            mask[start - 1 : start - 1 + length] = int(label)
    return mask.reshape(shape)


def check_features(feature):
    """Check that a feature and its parts are of the types that every version knows."""
    if isinstance(feature, dict):
        for part in feature.values():
            check_features(part)
    elif isinstance(feature, list):  # datasets 3 writes lists of structs this way
        [part] = feature
        check_features(part)
    else:
        assert type(feature).__name__ in PLAIN_FEATURES, feature
        if hasattr(feature, "feature"):
            check_features(feature.feature)
