"""Load what push_datasets.py has pushed; argument: the voxels."""

import sys

import datasets
from check_rows import SPLITS, check_split, check_volume, read_truth

truth = read_truth(sys.argv[1])
for streaming in (False, True):
    load = {"streaming": streaming}
    for name in ("slices", "mapped", "stream"):
        loaded = datasets.load_dataset("user/" + name, "default", **load)
        assert list(loaded) == ["train", "validation"]
        for split, volume in SPLITS:
            for row in check_split(loaded[split], truth, volume):
                assert ("area" in row) == (name == "mapped")
                assert row.get("area", sum(row["cells"]["area"])) == sum(row["cells"]["area"])
    loaded = datasets.load_dataset("user/slices", "volumes", **load)
    for split, volume in SPLITS:
        check_volume(loaded[split], truth, volume)
    check_split(datasets.load_dataset("user/private", split="validation", **load), truth, "24")
assert datasets.get_dataset_config_names("user/slices") == ["default", "volumes"]
print("ok")
