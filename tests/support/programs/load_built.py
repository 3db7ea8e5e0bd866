"""Load every configuration of a built repository, and compare its rows with the voxels.

Arguments: the voxels, the repository (a folder, or its name on the Hub), formats.
"""

import sys

import datasets
from check_rows import SPLITS, check_objects, check_preview, check_split, check_volume, read_truth

CHECKS = {
    "slices": check_split,
    "volumes": check_volume,
    "instances": check_objects,
    "preview": check_preview,
}

truth, name = read_truth(sys.argv[1]), sys.argv[2]
formats = [None, *sys.argv[3:]]
assert datasets.get_dataset_config_names(name) == list(CHECKS)
assert datasets.get_dataset_split_names(name, "slices") == ["train", "validation"]
for config, check_rows in CHECKS.items():
    for streaming in (False, True):
        loaded = datasets.load_dataset(name, config, streaming=streaming)
        assert list(loaded) == ["train", "validation"]
        for split, volume in SPLITS:
            for format_name in formats:
                check_rows(loaded[split].with_format(format_name), truth, volume)
default = datasets.load_dataset(name, split="train")
assert default.config_name == "slices"
print("ok")
