"""Streaming from a Hub over HTTP: what moves, who gets which row, and where a stream resumes.

A test runs functions of this module in a process of its own, whose clients take the test Hub for
the real one; what they return comes back as JSON.
"""

import itertools
import json
import sys
from functools import cache

import datasets
import numpy as np
import pytest
from datasets.distributed import split_dataset_by_node
from support import publisher
from support.clients import publish
from support.plain import KINDS

import platelet_em
from _platelet_em.hub.build import build
from _platelet_em.sample.scene import Scene

DEPTH = 17  # eight shards, of two rows and one of three
ORDER = list(range(DEPTH))
PLACES = ("plain", "format first", "format last")
ARRAYS = ("image", "semantic", "cells", "organelles")


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """A repository with several rows a shard, and a file with the voxels of its `train`."""
    folder = tmp_path_factory.mktemp("deep")
    publication = publisher.publication(seed=5, depth=DEPTH, plane=(17, 13))
    publication.folder(folder / "extracted", "json")
    train = publication.volumes["50"]
    np.savez(folder / "truth.npz", **{kind: getattr(train, kind) for kind in KINDS})
    return build(folder / "repo", data_dir=folder / "extracted"), folder / "truth.npz"


@pytest.fixture
def client(hub, with_us, deep):
    """Call a function of this module where `user/deep` is a repository on the Hub."""
    repository, truth = deep
    publish(hub, "user/deep", repository)

    def call(function):
        code = f"import json, test_stream\nprint(json.dumps(test_stream.{function.__name__}()))"
        return json.loads(" ".join(with_us(code, truth)))

    return call


# --- what moves -------------------------------------------------------------------------------


LABELS = {"columns": ["z", "cells"]}
QUERIES = {
    "labels": LABELS,
    "slice": {**LABELS, "filters": [("z", "==", 10)]},
    "whole-slice": {"filters": [("z", "==", 10)]},
    "nothing": {**LABELS, "filters": [("volume", "==", "24")]},
    "everything": {},
}

READ = f"""
for query, options in {QUERIES}.items():
    options = dict(split="train", streaming=True, **options)
    ds = datasets.load_dataset("user/" + query, "slices", **options)
    assert ds.num_shards == 8
    print(query + "=" + ",".join(f"{{row['z']}}:{{sum(row['cells']['area'])}}" for row in ds))
"""


@pytest.fixture(scope="module")
def full_train(tmp_path_factory):
    """A repository with a `train` of the published size, and the cells' voxels in each slice."""
    folder = tmp_path_factory.mktemp("full")
    scenes = {"50": Scene((50, 800, 800), 0), "24": Scene((2, 40, 40), 1)}
    publication = publisher.Publication({name: _volume(scene) for name, scene in scenes.items()})
    publication.folder(folder / "extracted", "json", encode=_encode)
    repository = build(folder / "repo", data_dir=folder / "extracted")
    return repository, [int(np.count_nonzero(page)) for page in publication.volumes["50"].cell]


def _volume(scene):
    slices = [scene.slice(z) for z in range(scene.shape[0])]
    return publisher.Volume(*(np.stack([getattr(s, array) for s in slices]) for array in ARRAYS))


def _encode(array):
    """As the publisher's encoder, which takes half a minute for an array of this size."""
    return platelet_em.LazyLabels.from_array(array).to_dict()


def test_few_columns_and_few_rows_move_few_bytes(hub, without_us, full_train):
    repository, areas = full_train
    for query in QUERIES:
        files = publish(hub, f"user/{query}", repository).files
    sizes = {p: len(f.content) for p, f in files.items() if p.startswith("slices/train")}
    read = dict(line.split("=") for line in without_us(READ))
    moved = {q: {path: hub.served[f"user/{q}/{path}"] for path in sizes} for q in QUERIES}
    share = {query: sum(moved[query].values()) / sum(sizes.values()) for query in QUERIES}

    rows = [f"{z}:{area}" for z, area in enumerate(areas)]
    assert read["labels"] == read["everything"] == ",".join(rows)
    assert read["slice"] == read["whole-slice"] == rows[10]
    assert read["nothing"] == ""
    assert share["everything"] >= 1, "the Hub counts what moves"
    assert share["labels"] <= 0.05
    assert share["slice"] <= 0.02
    # Of a file without the slice only the end is read, where its statistics are.
    [holder] = [path for path, size in moved["slice"].items() if size > 2**16]
    assert moved["whole-slice"][holder] >= sizes[holder]
    assert all(size <= 2**16 for path, size in moved["whole-slice"].items() if path != holder)
    assert all(size <= 2**16 for size in moved["nothing"].values())


# --- in the client's process ------------------------------------------------------------------


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


# --- where a stream resumes -------------------------------------------------------------------


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
EXPECTED = {
    **dict.fromkeys(("none", "map", "map batches"), ORDER),
    "filter": [z for z in ORDER if z % 3],
    "take": ORDER[:7],
    "skip": ORDER[7:],
    "batch": [ORDER[i : i + 3] for i in range(0, DEPTH, 3)],
    "repeat": ORDER[14:] * 2,
    "all": [[1, 2], [4, 5], [7, 8], [10, 11], [13]],
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


def test_streams_give_the_rows_and_resume_at_each(client):
    results = client(read_in_one_and_in_many)
    assert len(results) == len(PLACES) * len(CHANGES)
    for case, name, whole, one_by_one in results:
        assert one_by_one == whole, case
        if name in EXPECTED:
            assert whole == EXPECTED[name], case
        else:
            assert sorted(whole) == ORDER != whole, case


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


def test_a_partial_shuffle_buffer_resumes_by_count_only(client):
    """As `datasets` says: a state does not hold the buffer. Fails when it one day does."""
    for begun, rest, by_state, by_count in client(lose_a_buffer):
        assert sorted(begun + rest) == ORDER
        assert by_count == rest
        assert by_state != rest


# --- in which order ---------------------------------------------------------------------------


def shuffle():
    """Place -> seed and epoch -> the orders that were read so."""
    orders = {place: {} for place in PLACES}
    for place, seed in itertools.product(PLACES, (3, 3, 4)):
        ds = _stream(lambda ds, seed=seed: ds.shuffle(seed=seed), place)
        for epoch in (0, 1):
            ds.set_epoch(epoch)
            orders[place].setdefault(f"{seed}, {epoch}", []).append([row["z"] for row in ds])
    return orders


def test_shuffles_repeat_by_seed_and_epoch(client):
    results = client(shuffle)
    assert results["plain"] == results["format first"] == results["format last"]
    orders = results["plain"]
    assert [len(orders[key]) for key in ("3, 0", "3, 1")] == [2, 2]
    different = [ORDER]
    for first, *again in orders.values():
        assert sorted(first) == ORDER
        assert first not in different
        assert all(order == first for order in again)
        different.append(first)


# --- who gets which row -----------------------------------------------------------------------


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


def test_workers_and_nodes_share_out_the_rows(client):
    for read in client(share_out):
        assert sorted(z for z, _ in read["unchanged"]) == ORDER
        assert sorted(z for z, _ in read["mapped"]) == ORDER
        assert {worker for _, worker in read["mapped"]} == set(range(8))
        for name, nodes in read["nodes"].items():
            assert sorted(z for node in nodes for z, _ in node) == ORDER, name
            for node in nodes:
                assert {worker for _, worker in node} == {0, 1}, name
                assert len(node) >= DEPTH // 2, name
