"""Streaming from a Hub over HTTP: what moves, who gets which row, and where a stream resumes.

A test runs functions of support/programs/stream.py in a process of its own, whose clients take the
test Hub for the real one; what they return comes back as JSON.
"""

import json

import numpy as np
import pytest
from support import publisher
from support.clients import publish
from support.plain import KINDS
from support.programs import stream
from support.programs.stream import (
    CHANGES,
    PLACES,
    lose_a_buffer,
    read_in_one_and_in_many,
    share_out,
    shuffle,
)

from _platelet_em.facts import PUBLISHED
from _platelet_em.hub.build import build
from _platelet_em.hub.read import open_volume

DEPTH = 17  # eight shards, of two rows and one of three
ORDER = list(range(DEPTH))
PROGRAM = stream.__file__


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
    """Call a function of the program where `user/deep` is a repository on the Hub."""
    repository, truth = deep
    publish(hub, "user/deep", repository)

    def call(function):
        code = f"import runpy; runpy.run_path({PROGRAM!r}, run_name='__main__')"
        return json.loads(" ".join(with_us(code, truth, function.__name__)))

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


def test_few_columns_and_few_rows_move_few_bytes(hub, without_us, full_size):
    for query in QUERIES:
        files = publish(hub, f"user/{query}", full_size).files
    sizes = {p: len(f.content) for p, f in files.items() if p.startswith("slices/train")}
    read = dict(line.split("=") for line in without_us(READ))
    moved = {q: {path: hub.served[f"user/{q}/{path}"] for path in sizes} for q in QUERIES}
    share = {query: sum(moved[query].values()) / sum(sizes.values()) for query in QUERIES}

    cells = open_volume(full_size, PUBLISHED.volume("50"), PUBLISHED).labels("cells").slices()
    rows = [f"{z}:{labels.areas.sum()}" for z, labels in enumerate(cells)]
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


# --- where a stream resumes -------------------------------------------------------------------


EXPECTED = {
    **dict.fromkeys(("none", "map", "map batches"), ORDER),
    "filter": [z for z in ORDER if z % 3],
    "take": ORDER[:7],
    "skip": ORDER[7:],
    "batch": [ORDER[i : i + 3] for i in range(0, DEPTH, 3)],
    "repeat": ORDER[14:] * 2,
    "all": [[1, 2], [4, 5], [7, 8], [10, 11], [13]],
}


def test_streams_give_the_rows_and_resume_at_each(client):
    results = client(read_in_one_and_in_many)
    assert len(results) == len(PLACES) * len(CHANGES)
    for case, name, whole, one_by_one in results:
        assert one_by_one == whole, case
        if name in EXPECTED:
            assert whole == EXPECTED[name], case
        else:
            assert sorted(whole) == ORDER != whole, case


def test_a_partial_shuffle_buffer_resumes_by_count_only(client):
    """As `datasets` says: a state does not hold the buffer. Fails when it one day does."""
    for begun, rest, by_state, by_count in client(lose_a_buffer):
        assert sorted(begun + rest) == ORDER
        assert by_count == rest
        assert by_state != rest


# --- in which order ---------------------------------------------------------------------------


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
