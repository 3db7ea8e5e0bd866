"""Check streams of windows with the `datasets` of this interpreter; prints ok at the end.

The methods of `datasets` keep the windows as they are, streams resume at every position, and
nodes share out the windows of each epoch.
"""

import json

import datasets
import numpy as np
from datasets.distributed import split_dataset_by_node

from platelet_em import ArgumentError, GridWindows, LazyLabels, RandomWindows, windows

CELLS = np.arange(7 * 23 * 19).reshape(7, 23, 19) % 5
ROW = {"volume": "50", "cells": LazyLabels.from_array(CELLS)}


def make_stream(sampler):
    source = datasets.IterableDataset.from_generator(lambda: iter([ROW]))
    return windows(source, sampler, columns=["cells"])


def corners(stream):
    return [tuple(window["corner"]) for window in stream]


def check_methods():
    stream = make_stream(GridWindows((1, 23, 19)))
    changes = {
        "format": (stream.with_format("platelet_em"), range(7)),
        "no format": (stream.with_format("numpy").with_format(None), range(7)),
        "map": (stream.map(lambda w: {"n": 1}), range(7)),
        "filter": (stream.filter(lambda w: w["corner"][0] % 2 == 0), range(0, 7, 2)),
        "take": (stream.take(3), range(3)),
        "skip": (stream.skip(3), range(3, 7)),
        "shard": (stream.shard(3, 1), range(3, 5)),
        "node": (split_dataset_by_node(stream, 1, 2), range(1, 7, 2)),
        "select": (stream.select_columns(["cells"]), range(7)),
    }
    for name, (changed, expected) in changes.items():
        found = [window["cells"] for window in changed]
        assert [array.dtype for array in found] == [np.int32] * len(expected), name
        assert np.array_equal(np.concatenate(found), CELLS[list(expected)]), name
    renamed = stream.with_format("numpy").rename_column("cells", "labels")
    assert np.array_equal(np.concatenate([window["labels"] for window in renamed]), CELLS)
    assert [len(batch["cells"]) for batch in stream.batch(3)] == [3, 3, 1]
    check_not_combined(datasets.concatenate_datasets, stream)
    check_not_combined(datasets.interleave_datasets, stream)


def check_not_combined(combine, stream):
    try:
        combine([stream, stream])
    except ArgumentError as error:
        assert "concatenate the sources" in str(error)  # noqa: PT017  # pytest is not here
    else:
        raise AssertionError(combine)


def check_resuming(stream):
    expected = corners(stream)
    for position in range(1, len(expected)):
        rows = iter(stream)
        begun = [tuple(next(rows)["corner"]) for _ in range(position)]
        stream.load_state_dict(json.loads(json.dumps(stream.state_dict())))
        assert begun + corners(stream) == expected, position
        stream.load_state_dict(None)


def check_epochs(sampler):
    stream = make_stream(sampler)
    epochs = []
    for epoch in (0, 1):
        nodes = [split_dataset_by_node(stream.map(dict), rank, 3) for rank in range(3)]
        for part in (stream, *nodes):
            part.set_epoch(epoch)
            check_resuming(part)
        epochs.append(sorted(corners(stream)))
        assert sorted(corner for node in nodes for corner in corners(node)) == epochs[-1]
    assert (epochs[0] == epochs[1]) == isinstance(sampler, GridWindows)


check_methods()
check_epochs(GridWindows((3, 12, 12)))
check_epochs(RandomWindows((3, 5, 5), 13))
print("ok")
