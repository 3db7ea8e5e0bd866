"""Read epochs of windows where PyTorch cannot be imported; prints ok at the end."""

import os
import sys

os.environ["USE_TORCH"] = "0"  # for datasets

import datasets
import numpy as np

from platelet_em import LazyLabels, RandomWindows, windows


class NoTorch:
    """Finds no torch."""

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ModuleNotFoundError(name)


sys.meta_path.insert(0, NoTorch())
labels = LazyLabels.from_array(np.zeros((4, 9, 9), np.int32))
rows = [{"volume": "50", "cells": labels}]
source = datasets.IterableDataset.from_generator(lambda: iter(rows))
w = windows(source, RandomWindows((2, 4, 4), 5), columns=["cells"])
assert len(list(w)) == 5
repr(w), w._repr_html_(), hasattr(w, "take")
sampler = w.sampler(shuffle=True)
assert type(sampler).__mro__[1] is object
for epoch in range(2):
    assert [index.epoch for index in sampler] == [epoch] * 5
sampler.load_state_dict(sampler.state_dict())
print("ok")
