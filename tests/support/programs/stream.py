"""Read a stream from the test Hub in many ways, comparing all voxels.

Arguments: a file with the voxels of `train`, names of functions. Prints, as JSON, what each of
them returns, by name.
"""

import itertools
import json
import sys
from functools import cache

import datasets
import numpy as np
from datasets.distributed import split_dataset_by_node

import platelet_em
from support.programs.check_rows import KINDS

WHEN = ("plain", "format first", "format last")
"""When the format is set: not at all, before a change of the stream, or after it."""
ARRAYS = ("image", "semantic", "cells", "organelles")


@cache
def _load():
    datasets.config.USE_PARQUET_EXPORT = False  # there is no datasets-server on loopback
    # Newer Arrow does not need the 5 s that datasets waits after each pass of a shuffled stream.
    datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0
    return datasets.load_dataset("user/deep", "slices", split="train", streaming=True)


def _stream(change, when):
    """A new stream, changed; in the format before or after that, or without it."""
    ds = change(_load().with_format("platelet_em" if when == "format first" else None))
    return ds.with_format("platelet_em") if when == "format last" else ds


@cache
def _truth():
    with np.load(sys.argv[1]) as arrays:
        return dict(arrays)


def _check(row, when):
    """Compare the voxels of a row, or of a batch; returns its z, or that of each of its rows."""
    if isinstance(row["z"], list):
        rows = [dict(zip(row, values, strict=True)) for values in zip(*row.values(), strict=True)]
        return [_check(row, when) for row in rows]
    for column, kind in zip(ARRAYS, KINDS, strict=True):
        value = row[column]
        if column in ("cells", "organelles"):
            assert isinstance(value, dict if when == "plain" else platelet_em.LazyLabels)
            value = platelet_em.LazyLabels.from_struct(value) if when == "plain" else value
        else:
            assert isinstance(value, np.ndarray) == (when != "plain")
        assert np.array_equal(np.asarray(value), _truth()[kind][row["z"]]), (column, row["z"])
    return row["z"]


CHANGES = {
    "none": lambda ds: ds,
    "map": lambda ds: ds.map(lambda row: {"twice": 2 * row["z"]}),
    "map batches": lambda ds: ds.map(
        lambda rows: {"twice": [2 * z for z in rows["z"]]}, batched=True, batch_size=3
    ),
    "filter": lambda ds: ds.filter(lambda row: row["z"] % 3 > 0),
    "take": lambda ds: ds.take(7),
    "skip": lambda ds: ds.skip(7),
    "batch": lambda ds: ds.batch(3),
    "repeat": lambda ds: ds.skip(14).repeat(2),
    "all": lambda ds: (
        ds.skip(1).filter(lambda row: row["z"] % 3 > 0).map(lambda row: {"n": 1}).take(9).batch(2)
    ),
    "shuffle": lambda ds: ds.shuffle(seed=3),
    "shuffle, map": lambda ds: ds.shuffle(seed=3).map(lambda row: {"n": 1}),
    "map, shuffle shards": lambda ds: ds.map(lambda row: {"n": 1}).shuffle(seed=3, buffer_size=1),
}


def resume():
    """For each change and each of WHEN: both, the change, all rows, and rows of resumed streams.

    Each of these reads five rows, from the state of the one before: inside and between shards.
    """
    return _resume(after=5)


def resume_at_each_row():
    """The same, with a new stream for every row."""
    return _resume(after=1)


def _resume(after):
    results = []
    for when, (name, change) in itertools.product(WHEN, CHANGES.items()):
        whole = [_check(row, when) for row in _stream(change, when)]
        resumed = list(_read_by_new_streams(change, when, after))
        results.append([f"{name}, {when}", name, whole, resumed])
    return results


def _read_by_new_streams(change, when, after):
    state, rows = None, [None] * after
    while len(rows) == after:
        ds = _stream(change, when)
        if state is not None:
            ds.load_state_dict(json.loads(state))  # as from a file
        rows = [_check(row, when) for row in itertools.islice(ds, after)]
        state = json.dumps(ds.state_dict())
        yield from rows


def lose_a_buffer():
    """The rows after 6 of a shuffled stream: all that are left, by its state, and by skipping 6.

    The buffer of the shuffle has fewer rows than the stream, and is not part of the state.
    """
    results = []
    for change in (
        lambda ds: ds.shuffle(seed=3, buffer_size=4),
        lambda ds: ds.map(lambda row: {"n": 1}).shuffle(seed=3),
    ):
        ds = _stream(change, "format last")
        rows = iter(ds)
        begun = [next(rows)["z"] for _ in range(6)]
        state, rest = ds.state_dict(), [row["z"] for row in rows]
        ds = _stream(change, "format last")
        ds.load_state_dict(state)
        by_state = [row["z"] for row in ds]
        by_count = [row["z"] for row in itertools.islice(_stream(change, "format last"), 6, None)]
        results.append([begun, rest, by_state, by_count])
    return results


def shuffle():
    """Each of WHEN -> seed and epoch -> the orders of the rows, one per pass."""
    orders = {when: {} for when in WHEN}
    for when, seed in itertools.product(WHEN, (3, 3, 4)):
        ds = _stream(lambda ds, seed=seed: ds.shuffle(seed=seed), when)
        for epoch in (0, 1):
            ds.set_epoch(epoch)
            orders[when].setdefault(f"{seed}, {epoch}", []).append([row["z"] for row in ds])
    return orders


def share_out():
    """For each of WHEN, rows with the worker that read each of them."""
    return [_share_out(when) for when in WHEN]


def _share_out(when):
    from torch.utils.data import DataLoader

    def read(ds, workers):
        loader = DataLoader(ds, batch_size=None, num_workers=workers, collate_fn=_same)
        return [[_check(row, when), row.get("worker")] for row in loader]

    ds = _stream(lambda ds: ds.map(_add_worker), when)
    orders = {"in order": ds, "shuffled": ds.shuffle(seed=3)}
    nodes = {
        name: [read(split_dataset_by_node(ordered, rank, 2), 2) for rank in range(2)]
        for name, ordered in orders.items()
    }
    unchanged = read(_stream(CHANGES["none"], when), 2)
    workers = 8 if when == "format first" else 2
    return {
        "unchanged": unchanged,
        "workers": workers,
        "mapped": read(ds, workers),
        "nodes": nodes,
    }


def _same(row):
    return row


def _add_worker(row):
    from torch.utils.data import get_worker_info

    return {"worker": get_worker_info().id}


if __name__ == "__main__":
    print(json.dumps({name: globals()[name]() for name in sys.argv[2:]}))
