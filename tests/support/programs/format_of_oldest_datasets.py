"""Check the format with the `datasets` of this interpreter; prints ok at the end.

Arguments: the voxels, a built repository.
"""

import copy
import pickle
import sys

import datasets
import numpy as np
from check_lazy import check_labels, check_lazy_rows
from check_rows import read_truth

import platelet_em  # noqa: F401  # registers the format

truth, repository = read_truth(sys.argv[1]), sys.argv[2]
ALL = range(9)

MAP_STYLE = {
    "nothing": (lambda ds: ds, ALL),
    "select": (lambda ds: ds.select([4, 2]), [4, 2]),
    "filter": (lambda ds: ds.filter(lambda row: row["z"] > 2), range(3, 9)),
    "filter by labels": (lambda ds: ds.filter(lambda row: 0 in row["organelles"]), ALL),
    "map": (lambda ds: ds.map(lambda row: {"voxels": int(row["cells"].areas.sum())}), ALL),
    "map batches": (
        lambda ds: ds.map(lambda rows: {"n": [len(x.ids) for x in rows["cells"]]}, batched=True),
        ALL,
    ),
    "map to labels": (
        lambda ds: ds.map(lambda row: {name: row[name] for name in ("cells", "organelles")}),
        ALL,
    ),
    "map in processes": (lambda ds: ds.map(lambda row: {"n": 1}, num_proc=2), ALL),
    "concatenate": (lambda ds: datasets.concatenate_datasets([ds, ds]), [*ALL, *ALL]),
    "pickle": (lambda ds: pickle.loads(pickle.dumps(ds)), ALL),
    "copy": (copy.deepcopy, ALL),
}

STREAMING = {
    "nothing": (lambda ds: ds, ALL),
    "map": (lambda ds: ds.map(lambda row: {"twice": 2 * row["z"]}), ALL),
    "map to rows": (lambda ds: ds.map(lambda row: {**row, "twice": 2 * row["z"]}), ALL),
    "map batches": (
        lambda ds: ds.map(lambda rows: {"n": [2 * z for z in rows["z"]]}, batched=True),
        ALL,
    ),
    "take": (lambda ds: ds.take(3), range(3)),
    "skip": (lambda ds: ds.skip(3).take(2), [3, 4]),
    "shuffle": (lambda ds: ds.shuffle(seed=0, buffer_size=1).take(0), []),
    "pickle": (lambda ds: pickle.loads(pickle.dumps(ds)), ALL),
}

BEFORE_THE_FORMAT = {
    "filter": (lambda ds: ds.filter(lambda row: row["z"] > 2), range(3, 9)),
    "filter, map": (
        lambda ds: ds.filter(lambda row: row["z"] > 2).map(lambda row: {"n": 1}).take(2),
        [3, 4],
    ),
}


def load(config="slices", **options):
    return datasets.load_dataset(repository, config, split="train", **options)


def check_map_style():
    ds = load().with_format("platelet_em")
    for name, (change, expected) in MAP_STYLE.items():
        assert check_lazy_rows(change(ds), truth) == list(expected), name
    assert sorted(check_lazy_rows(ds.shuffle(seed=3), truth)) == list(ALL)
    assert type(ds.map(lambda row: {"cells": row["cells"]}).features["cells"]) is dict
    batch = ds[1:4]
    assert batch["z"] == [1, 2, 3] == ds["z"][1:4]
    assert np.array_equal(np.stack(batch["organelles"]), truth["50_organelle"][1:4])
    for batch in ds.with_format(None).batch(4).with_format("platelet_em"):
        assert np.array_equal(np.stack(batch["cells"]), truth["50_cell"][batch["z"]])
        assert np.array_equal(np.asarray(batch["image"]), truth["50_images"][batch["z"]])
    [row] = load("volumes").with_format("platelet_em")
    assert np.array_equal(row["image"], truth["50_images"])
    assert np.array_equal(row["cells"][2:4, 5:9], truth["50_cell"][2:4, 5:9])


def check_streaming():
    stream = load(streaming=True)
    for name, (change, expected) in STREAMING.items():
        changed = change(stream.with_format("platelet_em"))
        assert check_lazy_rows(changed, truth) == list(expected), f"{name} after the format"
    for name, (change, expected) in {**STREAMING, **BEFORE_THE_FORMAT}.items():
        changed = change(stream).with_format("platelet_em")
        assert check_lazy_rows(changed, truth) == list(expected), f"{name} before the format"
    for ds in (stream, stream.with_format("platelet_em")):
        for batch in ds.batch(4).with_format("platelet_em"):
            for i, z in enumerate(batch["z"]):
                assert np.array_equal(batch["image"][i], truth["50_images"][z])
                assert np.array_equal(np.asarray(batch["cells"][i]), truth["50_cell"][z])
    [row] = load("volumes", streaming=True).with_format("platelet_em")
    assert np.array_equal(row["semantic"], truth["50_semantic"])
    assert np.array_equal(row["organelles"], truth["50_organelle"])


def check_filter_after_the_format():
    """`datasets` 3 encodes the arrays of filtered rows again: wider, with the same values."""
    stream = load(streaming=True).with_format("platelet_em")
    rows = list(stream.filter(lambda row: row["z"] > 2))
    assert [row["z"] for row in rows] == list(range(3, 9))
    for row in rows:
        assert row["image"].dtype == row["semantic"].dtype == np.int32
        assert np.array_equal(row["image"], truth["50_images"][row["z"]])
        assert np.array_equal(row["semantic"], truth["50_semantic"][row["z"]])
        check_labels(row["cells"], truth["50_cell"][row["z"]], "json")


check_map_style()
check_streaming()
check_filter_after_the_format()
print("ok")
