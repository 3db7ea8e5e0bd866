"""Check windows and streams of them with the `datasets` here; prints ok at the end."""

import json
import pickle

import datasets
import numpy as np
from datasets.distributed import split_dataset_by_node

from platelet_em import GridWindows, LazyLabels, RandomWindows, windows

CELLS = np.arange(7 * 23 * 19).reshape(7, 23, 19) % 5
ROW = {"volume": "50", "cells": LazyLabels.from_array(CELLS)}


def make_windows(sampler):
    source = datasets.IterableDataset.from_generator(lambda: iter([ROW]))
    return windows(source, sampler, columns=["cells"])


def corners(found):
    return [tuple(window["corner"]) for window in found]


def check_methods():
    w = make_windows(GridWindows((1, 23, 19)))
    assert not hasattr(w, "take")
    stream = w.to_iterable_dataset()
    changes = {
        "sequence": (pickle.loads(pickle.dumps(w)), range(7)),
        "stream": (stream, range(7)),
        "shards": (w.to_iterable_dataset(num_shards=2), range(7)),
        "format": (stream.with_format("platelet_em"), range(7)),
        "map": (stream.map(lambda w: {"n": 1}), range(7)),
        "filter": (stream.filter(lambda w: w["corner"][0] % 2 == 0), range(0, 7, 2)),
        "take": (stream.take(3), range(3)),
        "skip": (stream.skip(3), range(3, 7)),
        "node": (split_dataset_by_node(stream, 1, 2), range(1, 7, 2)),
    }
    for name, (changed, expected) in changes.items():
        found = [window["cells"] for window in changed]
        assert [array.dtype for array in found] == [np.int32] * len(expected), name
        assert np.array_equal(np.concatenate(found), CELLS[list(expected)]), name


def check_epochs(sampler):
    w = make_windows(sampler)
    samplers = [w.sampler(rank=rank, world_size=3) for rank in range(3)]
    epochs = []
    for epoch in (0, 1):
        parts = [corners(w[index] for index in sampler) for sampler in samplers]
        epochs.append(sorted(corner for part in parts for corner in part))
        assert epochs[-1] == sorted(corners(w.to_iterable_dataset(epoch=epoch)))
    assert (epochs[0] == epochs[1]) == isinstance(sampler, GridWindows)


def check_resuming(stream):
    expected = corners(stream)
    for position in range(1, len(expected)):
        rows = iter(stream)
        begun = [tuple(next(rows)["corner"]) for _ in range(position)]
        stream.load_state_dict(json.loads(json.dumps(stream.state_dict())))
        assert begun + corners(stream) == expected, position
        stream.load_state_dict(None)


check_methods()
check_epochs(GridWindows((3, 12, 12)))
check_epochs(RandomWindows((3, 5, 5), 13))
check_resuming(make_windows(RandomWindows((3, 5, 5), 13)).to_iterable_dataset(num_shards=3))
print("ok")
