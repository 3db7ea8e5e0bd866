"""Load the archives by the script platelet_em.py, which `datasets` 3 runs.

Arguments: "names" (of configurations and splits) or "rows", the voxels, the archives, the folder
of the script, a cache. Prints ok at the end.
"""

import os
import sys

import datasets
from check_lazy import check_both_splits, check_lazy_rows
from check_rows import SPLITS, check_volume, read_truth

begin_with, voxels, archives, folder, cache = sys.argv[1:]
truth, archives = read_truth(voxels), {"data_dir": archives}
script = {"path": "platelet_em.py", "trust_remote_code": True}


def check_names():
    names = datasets.get_dataset_config_names(**script)
    assert names == ["slices", "volumes", "instances", "preview"], names
    names = datasets.get_dataset_split_names(config_name="slices", **script, **archives)
    assert names == ["train", "validation"], names
    loaded = datasets.load_dataset(name="slices", **script, **archives)
    check_both_splits(loaded, truth, "json")


def check_rows():
    for streaming in (False, True):
        options = {"streaming": streaming, **script, **archives}
        for label_source in ("json", "tif"):
            loaded = datasets.load_dataset(name="slices", label_source=label_source, **options)
            check_both_splits(loaded, truth, label_source)
        for split, volume in SPLITS:
            volumes = datasets.load_dataset(name="volumes", split=split, **options)
            check_volume(volumes, truth, volume)
    workers = datasets.load_dataset(
        name="slices", split="train", num_proc=2, cache_dir=cache, **script, **archives
    )
    assert check_lazy_rows(workers.with_format("platelet_em"), truth) == list(range(9))


os.chdir(folder)
assert "platelet_em" not in sys.modules, "datasets has to import it"
{"names": check_names, "rows": check_rows}[begin_with]()
print("ok")
