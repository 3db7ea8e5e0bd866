"""What users do to the stream that `windows` gives: every method of `datasets`, and loaders."""

import copy
import itertools
import pickle

import datasets
import numpy as np
import pyarrow as pa
import pytest
from datasets.distributed import split_dataset_by_node
from support import ends

from platelet_em import ArgumentError, GridWindows, RandomWindows, windows

COUNT = 7
COLUMNS = ("image", "semantic", "cells", "organelles")
DTYPES = dict(zip(COLUMNS, (np.uint16, np.uint8, np.int32, np.int32), strict=True))


@pytest.fixture(scope="module")
def source(repository, cache):
    return datasets.load_dataset(str(repository), "volumes", split="train", cache_dir=str(cache))


@pytest.fixture
def stream(source):
    return windows(source, RandomWindows((2, 8, 8), COUNT))


def check_same(stream, expected, order=None):
    """Whether these are windows of `expected`, with each array as it was."""
    found = list(stream)
    for window, index in itertools.zip_longest(
        found, range(len(expected)) if order is None else order
    ):
        for name in COLUMNS:
            assert type(window[name]) is np.ndarray
            assert window[name].dtype == DTYPES[name]
            assert np.array_equal(window[name], expected[index][name])
        assert (window["volume"], window["corner"]) == (
            expected[index]["volume"],
            expected[index]["corner"],
        )


KEPT = {
    "platelet_em": lambda ds: (ds.with_format("platelet_em"), range(COUNT)),
    "None": lambda ds: (ds.with_format("numpy").with_format(None), range(COUNT)),
    "map": lambda ds: (ds.map(lambda w: {"n": 1}), range(COUNT)),
    "map in batches": lambda ds: (
        ds.map(lambda b: {"n": b["volume"]}, batched=True, batch_size=3),
        range(COUNT),
    ),
    "filter": lambda ds: (ds.filter(lambda w, i: i % 2 == 0, with_indices=True), range(0, 7, 2)),
    "take": lambda ds: (ds.take(3), range(3)),
    "skip": lambda ds: (ds.skip(3), range(3, 7)),
    "shard": lambda ds: (ds.shard(3, 1), range(3, 5)),
    "more shards than windows": lambda ds: (ds.shard(10, 9), []),
    "node": lambda ds: (split_dataset_by_node(ds, 1, 2), range(1, 7, 2)),
    "more nodes than windows": lambda ds: (split_dataset_by_node(ds, 8, 9), []),
    "pickle": lambda ds: (pickle.loads(pickle.dumps(ds)), range(COUNT)),
    "deepcopy": lambda ds: (copy.deepcopy(ds), range(COUNT)),
}


@pytest.mark.parametrize("name", KEPT)
def test_windows_stay_what_they_are(stream, name):
    changed, order = KEPT[name](stream)
    check_same(changed, list(stream), order)


def test_a_buffer_of_a_shuffle_keeps_all_windows(stream):
    corners = sorted(window["corner"] for window in stream)
    assert sorted(window["corner"] for window in stream.shuffle(seed=2)) == corners


def test_batches_are_lists_of_windows(stream):
    whole = list(stream)
    for batches in (stream.batch(3), stream.iter(3)):
        found = list(batches)
        assert [len(batch["image"]) for batch in found] == [3, 3, 1]
        assert np.array_equal(found[2]["cells"][0], whole[6]["cells"])
        assert found[1]["corner"] == [window["corner"] for window in whole[3:6]]


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_other_formats_widen_to_int64(stream, name):
    """As `datasets` does with whatever integers; all of them fit."""
    for plain, window in zip(stream, stream.with_format(name), strict=True):
        for column in (*COLUMNS, "corner"):
            assert str(window[column].dtype).endswith("int64")
            assert np.array_equal(window[column], plain[column])


def test_columns_are_selected_removed_and_renamed(stream):
    whole = list(stream)
    changes = {
        ("corner", "image"): stream.select_columns(["image", "corner"]),
        ("cells", "corner", "image", "organelles", "semantic"): stream.remove_columns("volume"),
        ("cells", "corner", "organelles", "pixel_values", "semantic", "volume"): (
            stream.rename_column("image", "pixel_values")
        ),
    }
    for names, changed in changes.items():
        for window, expected in zip(changed, whole, strict=True):
            assert tuple(sorted(window)) == names
            image = window.get("image", window.get("pixel_values"))
            assert image.dtype == np.uint16
            assert np.array_equal(image, expected["image"])


COMBINE = {
    "concatenate": lambda ds: datasets.concatenate_datasets([ds, ds]),
    "concatenate columns": lambda ds: datasets.concatenate_datasets([ds, ds], axis=1),
    "interleave": lambda ds: datasets.interleave_datasets([ds, ds], [0.5, 0.5], seed=1),
    "of a map": lambda ds: datasets.concatenate_datasets([ds.map(lambda w: {"n": 1})] * 2),
}


@pytest.mark.parametrize("name", COMBINE)
def test_without_features_streams_are_not_combined(stream, name):
    with pytest.raises(ArgumentError, match="concatenate the sources, and take windows of the"):
        COMBINE[name](stream)


def test_other_streams_tell_their_own_errors():
    odd = datasets.IterableDataset.from_generator(lambda: iter([{"a": np.zeros((2, 2))}]))
    with pytest.raises(pa.ArrowInvalid, match="1-dimensional"):
        datasets.concatenate_datasets([odd, odd])


def test_windows_of_concatenated_sources(source):
    other = source.map(lambda row: {"volume": "51"}, keep_in_memory=True)
    for both in (
        datasets.concatenate_datasets([source, other]),
        datasets.concatenate_datasets([source.to_iterable_dataset(), other.to_iterable_dataset()]),
    ):
        found = list(windows(both, GridWindows((2, 16, 16)), columns=["cells"]))
        half = len(found) // 2
        assert [window["volume"] for window in found] == ["50"] * half + ["51"] * half


def test_a_stream_that_was_left_begins_anew(stream):
    whole = list(stream)
    rows = iter(stream)
    next(rows), next(rows)
    del rows
    check_same(stream, whole)
    rows = iter(stream)
    next(rows)
    check_same(pickle.loads(pickle.dumps(stream)), whole)
    check_same(itertools.chain(rows), whole[1:])


@pytest.mark.filterwarnings("ignore:This DataLoader will create 9 worker processes")
@pytest.mark.parametrize(
    ("context", "workers", "persistent"),
    [("fork", 9, False), ("fork", 2, True), ("spawn", 1, True)],
)
def test_workers_over_epochs_and_more_of_them_than_windows(stream, context, workers, persistent):
    from torch.utils.data import DataLoader

    loader = DataLoader(
        stream,
        batch_size=None,
        num_workers=workers,
        multiprocessing_context=context,
        persistent_workers=persistent,
        collate_fn=copy.copy,  # spawned workers cannot import what lies in a test
    )
    epochs = []
    for epoch in (0, 1, 2):
        stream.set_epoch(epoch)
        epochs.append(sorted(window["corner"] for window in loader))
        assert epochs[-1] == sorted(window["corner"] for window in stream)
    assert epochs[0] != epochs[1] != epochs[2]
    # Left in the middle, and read again.
    next(iter(loader))
    assert sorted(window["corner"] for window in loader) == epochs[2]


OLDEST = """
import datasets, numpy as np
from datasets.distributed import split_dataset_by_node
from platelet_em import ArgumentError, GridWindows, LazyLabels, windows

labels = LazyLabels.from_array(np.arange(7 * 8 * 8).reshape(7, 8, 8) % 5)
source = datasets.IterableDataset.from_generator(lambda: iter([{"volume": "50", "cells": labels}]))
stream = windows(source, GridWindows((1, 8, 8)), columns=["cells"])
planes = np.asarray(labels)

CHANGES = {
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
for name, (changed, order) in CHANGES.items():
    found = list(changed)
    assert len(found) == len(order), name
    for window, z in zip(found, order):
        assert window["cells"].dtype == np.int32, name
        assert np.array_equal(window["cells"], planes[z : z + 1]), name
for z, window in enumerate(stream.with_format("numpy").rename_column("cells", "labels")):
    assert np.array_equal(window["labels"], planes[z : z + 1])
assert [len(batch["cells"]) for batch in stream.batch(3)] == [3, 3, 1]
for combine in (datasets.concatenate_datasets, datasets.interleave_datasets):
    try:
        combine([stream, stream])
    except ArgumentError as error:
        assert "concatenate the sources" in str(error)
    else:
        raise AssertionError(combine)
print("ok")
"""


def test_the_oldest_datasets_does_all_this(oldest, tmp_path):
    ends.run(oldest, OLDEST, cwd=tmp_path)
