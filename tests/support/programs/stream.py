"""What a client does with a stream from the test Hub, in a process of its own.

Run as `python stream.py TRUTH FUNCTION`, where TRUTH is a file with the voxels of `train`; prints
what the function returns as JSON.
"""

import itertools
import json
import sys
from functools import cache

import datasets
import numpy as np
from datasets.distributed import split_dataset_by_node

import platelet_em
from support.plain import KINDS

PLACES = ("plain", "format first", "format last")
ARRAYS = ("image", "semantic", "cells", "organelles")


@cache
def _load():
    datasets.config.USE_PARQUET_EXPORT = False  # there is no datasets-server on loopback
    # Newer Arrow needs no rest of 5 s after each pass of a shuffled stream.
    datasets.config.SLEEP_TIME_ON_THREADS_SHUTDOWN = 0
    return datasets.load_dataset("user/deep", "slices", split="train", streaming=True)


def _stream(change, place):
    """A new stream, changed, in our format before or after that, or without it."""
    ds = change(_load().with_format("platelet_em" if place == "format first" else None))
    return ds.with_format("platelet_em") if place == "format last" else ds


@cache
def _truth():
    with np.load(sys.argv[1]) as arrays:
        return dict(arrays)


def _look(row, place):
    """The z of a row, or of each row of a batch, whose voxels were compared with the truth."""
    if isinstance(row["z"], list):
        rows = [dict(zip(row, values, strict=True)) for values in zip(*row.values(), strict=True)]
        return [_look(row, place) for row in rows]
    for column, kind in zip(ARRAYS, KINDS, strict=True):
        value = row[column]
        if column in ("cells", "organelles"):
            assert isinstance(value, dict if place == "plain" else platelet_em.LazyLabels)
            value = platelet_em.LazyLabels.from_struct(value) if place == "plain" else value
        else:
            assert isinstance(value, np.ndarray) == (place != "plain")
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


def read_in_one_and_in_many():
    """For each place and change the rows read at once, and one by one, each by a new stream."""
    results = []
    for place, (name, change) in itertools.product(PLACES, CHANGES.items()):
        whole = [_look(row, place) for row in _stream(change, place)]
        results.append([f"{name}, {place}", name, whole, list(_one_by_one(change, place))])
    return results


def _one_by_one(change, place):
    state = None
    while True:
        ds = _stream(change, place)
        if state is not None:
            ds.load_state_dict(json.loads(state))  # as from a file
        row = next(iter(ds), None)
        if row is None:
            return
        yield _look(row, place)
        state = json.dumps(ds.state_dict())


def lose_a_buffer():
    """Rows after a resumption in a buffer that holds some of the rows, by state and by count."""
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
    """Place -> seed and epoch -> the orders that were read so."""
    orders = {place: {} for place in PLACES}
    for place, seed in itertools.product(PLACES, (3, 3, 4)):
        ds = _stream(lambda ds, seed=seed: ds.shuffle(seed=seed), place)
        for epoch in (0, 1):
            ds.set_epoch(epoch)
            orders[place].setdefault(f"{seed}, {epoch}", []).append([row["z"] for row in ds])
    return orders


def share_out():
    """Rows with the worker that read them: of eight workers, and of two on each of two nodes."""
    return [_share_out(place) for place in PLACES]


def _share_out(place):
    from torch.utils.data import DataLoader

    def read(ds, workers):
        loader = DataLoader(ds, batch_size=None, num_workers=workers, collate_fn=_same)
        return [[_look(row, place), row.get("worker")] for row in loader]

    ds = _stream(lambda ds: ds.map(_add_worker), place)
    orders = {"in order": ds, "shuffled": ds.shuffle(seed=3)}
    nodes = {
        name: [read(split_dataset_by_node(ordered, rank, 2), 2) for rank in range(2)]
        for name, ordered in orders.items()
    }
    unchanged = _stream(CHANGES["none"], place)
    return {"unchanged": read(unchanged, 8), "mapped": read(ds, 8), "nodes": nodes}


def _same(row):
    return row


def _add_worker(row):
    from torch.utils.data import get_worker_info

    return {"worker": get_worker_info().id}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[2]]()))
