"""`datasets` 3.6, the oldest that is supported: every door, in an environment of its own."""

from pathlib import Path

import pytest
from support import ends, plain

ROOT = Path(__file__).parents[2]

PLAIN = """
truth = np.load(sys.argv[1])
for streaming in (False, True):
    for config in datasets.get_dataset_config_names(sys.argv[2]):
        loaded = datasets.load_dataset(sys.argv[2], config, streaming=streaming)
        assert list(loaded) == ["train", "validation"]
        for split, volume in SPLITS:
            if config == "slices":
                check_split(loaded[split], truth, volume)
            elif config == "volumes":
                check_volume(loaded[split], truth, volume)
            else:
                check_features(loaded[split].features)
                rows = list(loaded[split])
                assert [row["z"] for row in rows] == list(range(len(truth[volume + "_images"])))
                assert {row["preview"].mode for row in rows} == {"RGB"}
print(datasets.__version__, config)
"""


def test_a_built_repository_loads_without_this_project(oldest, repository, truth, tmp_path):
    packages = tmp_path / "packages"
    packages.mkdir()
    plain.site_packages_without_us(packages, oldest)
    home = {"HF_HOME": str(tmp_path / "home")}
    out = plain.run(packages, plain.CHECK + PLAIN, truth, repository, python=oldest, **home)
    assert out.split() == ["3.6.0", "preview"]


MAP_STYLE = """
import copy, pickle
import platelet_em
ds = datasets.load_dataset(sys.argv[2], "slices", split="train").with_format("platelet_em")
for change, expected in {
    "ds": range(9),
    "ds.select([4, 2])": [4, 2],
    "ds.filter(lambda row: row['z'] > 2)": range(3, 9),
    "ds.filter(lambda row: 0 in row['organelles'])": range(9),
    "ds.map(lambda row: {'voxels': int(row['cells'].areas.sum())})": range(9),
    "ds.map(lambda batch: {'n': [len(x.ids) for x in batch['cells']]}, batched=True)": range(9),
    "ds.map(lambda row: {name: row[name] for name in ('cells', 'organelles')})": range(9),
    "ds.map(lambda row: {'n': 1}, num_proc=2)": range(9),
    "datasets.concatenate_datasets([ds, ds])": [*range(9), *range(9)],
    "pickle.loads(pickle.dumps(ds))": range(9),
    "copy.deepcopy(ds)": range(9),
}.items():
    assert check_lazy(eval(change)) == list(expected), change
assert sorted(check_lazy(ds.shuffle(seed=3))) == list(range(9))
assert type(ds.map(lambda row: {"cells": row["cells"]}).features["cells"]) is dict
batch = ds[1:4]
assert batch["z"] == [1, 2, 3] == ds["z"][1:4]
assert np.array_equal(np.stack(batch["organelles"]), truth["50_organelle"][1:4])
for batch in ds.with_format(None).batch(4).with_format("platelet_em"):
    assert np.array_equal(np.stack(batch["cells"]), truth["50_cell"][batch["z"]])
    assert np.array_equal(np.asarray(batch["image"]), truth["50_images"][batch["z"]])
[row] = datasets.load_dataset(sys.argv[2], "volumes")["train"].with_format("platelet_em")
assert np.array_equal(row["image"], truth["50_images"])
assert np.array_equal(row["cells"][2:4, 5:9], truth["50_cell"][2:4, 5:9])
print("ok")
"""


def test_format_map_style(oldest, repository, truth, tmp_path):
    ends.run(oldest, ends.CHECK_LAZY + MAP_STYLE, truth, repository, cwd=tmp_path)


STREAMING = """
import pickle
import platelet_em
def load(config="slices"):
    return datasets.load_dataset(sys.argv[2], config, split="train", streaming=True)

changes = {
    "ds": range(9),
    "ds.map(lambda row: {'twice': 2 * row['z']})": range(9),
    "ds.map(lambda row: {**row, 'twice': 2 * row['z']})": range(9),
    "ds.map(lambda batch: {'n': [2 * z for z in batch['z']]}, batched=True)": range(9),
    "ds.take(3)": range(3),
    "ds.skip(3).take(2)": [3, 4],
    "ds.shuffle(seed=0, buffer_size=1).take(0)": [],
    "pickle.loads(pickle.dumps(ds))": range(9),
}
for change, expected in changes.items():
    ds = load().with_format("platelet_em")
    assert check_lazy(eval(change)) == list(expected), change
changes["ds.filter(lambda row: row['z'] > 2)"] = range(3, 9)
changes["ds.filter(lambda row: row['z'] > 2).map(lambda row: {'n': 1}).take(2)"] = [3, 4]
for change, expected in changes.items():
    ds = load()
    assert check_lazy(eval(change).with_format("platelet_em")) == list(expected), change
for early in (False, True):
    ds = load().with_format("platelet_em").batch(4) if early else load().batch(4)
    for batch in ds.with_format("platelet_em"):
        for i, z in enumerate(batch["z"]):
            assert np.array_equal(batch["image"][i], truth["50_images"][z])
            assert np.array_equal(np.asarray(batch["cells"][i]), truth["50_cell"][z])
[row] = load("volumes").with_format("platelet_em")
assert np.array_equal(row["semantic"], truth["50_semantic"])
assert np.array_equal(row["organelles"], truth["50_organelle"])
print("ok")
"""


def test_format_streaming(oldest, repository, truth, tmp_path):
    ends.run(oldest, ends.CHECK_LAZY + STREAMING, truth, repository, cwd=tmp_path)


FILTER_AFTER_THE_FORMAT = """
import platelet_em
ds = datasets.load_dataset(sys.argv[2], "slices", split="train", streaming=True)
rows = list(ds.with_format("platelet_em").filter(lambda row: row["z"] > 2))
assert [row["z"] for row in rows] == list(range(3, 9))
for row in rows:
    # datasets 3 encodes the arrays of filtered rows anew: wider, with the same values.
    assert row["image"].dtype == row["semantic"].dtype == np.int32
    assert np.array_equal(row["image"], truth["50_images"][row["z"]])
    assert np.array_equal(row["semantic"], truth["50_semantic"][row["z"]])
    check_labels(row["cells"], truth["50_cell"][row["z"]], "json")
print("ok")
"""


def test_a_streaming_filter_after_the_format_keeps_values_but_no_dtypes(
    oldest, repository, truth, tmp_path
):
    code = ends.CHECK_LAZY + FILTER_AFTER_THE_FORMAT
    ends.run(oldest, code, truth, repository, cwd=tmp_path)


NO_LOCK = """
from importlib.util import find_spec
from pathlib import Path
lock = str(Path(find_spec("platelet_em").origin).resolve().parents[1]) + ".lock"

def no_lock_beside_site_packages(event, arguments):
    assert event != "open" or arguments[0] != lock, "many may not write there"

sys.addaudithook(no_lock_beside_site_packages)
"""

LOAD = """
import pickle
import platelet_em
from _platelet_em.hf import builder as dataset
archives = dict(data_dir=sys.argv[2])
for options in ({}, {"num_proc": 2, "cache_dir": "workers"}, {"streaming": True}):
    for label_source in ("json", "tif"):
        loaded = platelet_em.load_dataset(label_source=label_source, **options, **archives)
        for split, volume in SPLITS:
            zs = list(range(len(truth[volume + "_images"])))
            assert check_lazy(loaded[split], volume, label_source) == zs
[row] = platelet_em.load_dataset("volumes", split="validation", **archives)
assert np.array_equal(row["image"], truth["24_images"])
assert np.array_equal(row["cells"], truth["24_cell"])
assert len(platelet_em.load_dataset("preview", split="train", **archives)) == 9

def fail(*arguments):
    raise AssertionError("the rows are made again")

dataset.Volume = fail
assert check_lazy(platelet_em.load_dataset(split="train", **archives)) == list(range(9))
stream = platelet_em.load_dataset(split="train", streaming=True, **archives)
Path(sys.argv[3]).write_bytes(pickle.dumps(stream))
print("ok")
"""

UNPICKLE = """
import pickle
stream = pickle.loads(Path(sys.argv[3]).read_bytes())
assert check_lazy(stream) == list(range(9))
print("ok")
"""


def test_load_dataset(oldest, archives, truth, tmp_path):
    start = ends.CHECK_LAZY + NO_LOCK
    for code in (LOAD, UNPICKLE):
        ends.run(oldest, start + code, truth, archives, tmp_path / "pickle", cwd=tmp_path)


# A process that has not imported the plug-in, in the folder of the script.
SCRIPT = """
import os
os.chdir(sys.argv[3])
script = dict(path="platelet_em.py", trust_remote_code=True)
archives = dict(data_dir=sys.argv[2])
assert "platelet_em" not in sys.modules
if sys.argv[4] == "names first":
    names = datasets.get_dataset_config_names(**script)
    assert names == ["slices", "volumes", "preview"], names
    names = datasets.get_dataset_split_names(config_name="slices", **script, **archives)
    assert names == ["train", "validation"], names
for streaming in (False, True):
    options = dict(streaming=streaming, **script, **archives)
    for label_source in ("json", "tif"):
        loaded = datasets.load_dataset(name="slices", label_source=label_source, **options)
        check_both_splits(loaded, label_source)
    for split, volume in SPLITS:
        volumes = datasets.load_dataset(name="volumes", split=split, **options)
        check_volume(volumes, truth, volume)
workers = datasets.load_dataset(
    name="slices", split="train", num_proc=2, cache_dir=sys.argv[5], **script, **archives
)
assert check_lazy(workers.with_format("platelet_em")) == list(range(9))
print("ok")
"""


@pytest.mark.parametrize("order", ["names first", "rows first"])
def test_the_script_door(oldest, archives, truth, tmp_path, order):
    code = ends.CHECK_LAZY + SCRIPT
    ends.run(oldest, code, truth, archives, ROOT, order, tmp_path / "workers", cwd=tmp_path)
