"""Load every configuration of a built repository from the Hub; arguments: the voxels, formats."""

import sys

import datasets
import numpy as np
from check_rows import SPLITS, check_preview, check_split, check_volume

NAME = "user/platelet-em"
CHECKS = {"slices": check_split, "volumes": check_volume, "preview": check_preview}

truth = np.load(sys.argv[1])
formats = [None, *sys.argv[2:]]
assert datasets.get_dataset_config_names(NAME) == list(CHECKS)
assert datasets.get_dataset_split_names(NAME, "slices") == ["train", "validation"]
for config, check_rows in CHECKS.items():
    for streaming in (False, True):
        loaded = datasets.load_dataset(NAME, config, streaming=streaming)
        assert list(loaded) == ["train", "validation"]
        for split, volume in SPLITS:
            for format_name in formats:
                check_rows(loaded[split].with_format(format_name), truth, volume)
default = datasets.load_dataset(NAME, split="train")
assert default.config_name == "slices"
print("ok")
