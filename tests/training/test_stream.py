"""`Windows.to_iterable_dataset`: methods of `datasets`, workers, nodes, epochs, states."""

import copy
import itertools
import json
import pickle

import datasets
import numpy as np
import pytest
from datasets.distributed import split_dataset_by_node
from support import versions
from support.programs import PROGRAMS
from support.windows import DTYPES, position, positions

from _platelet_em.training.window_index import WindowIndex
from platelet_em import ArgumentError, GridWindows, RandomWindows, windows

COUNT = 7


@pytest.fixture
def w(volume):
    return windows(volume, RandomWindows((2, 8, 8), COUNT))


def check_same(stream, expected):
    """Compare windows with those expected, arrays included."""
    for found, other in itertools.zip_longest(stream, expected):
        for name, dtype in DTYPES.items():
            assert type(found[name]) is np.ndarray
            assert found[name].dtype == dtype
            assert np.array_equal(found[name], other[name])
        assert position(found) == position(other)


METHODS = {
    "nothing": lambda ds: (ds, range(COUNT)),
    "our format": lambda ds: (ds.with_format("platelet_em"), range(COUNT)),
    "map": lambda ds: (ds.map(lambda w: {"n": 1}), range(COUNT)),
    "map in batches": lambda ds: (
        ds.map(lambda b: {"n": b["volume"]}, batched=True, batch_size=3),
        range(COUNT),
    ),
    "filter": lambda ds: (ds.filter(lambda w, i: i % 2 == 0, with_indices=True), range(0, 7, 2)),
    "take": lambda ds: (ds.take(3), range(3)),
    "skip": lambda ds: (ds.skip(3), range(3, 7)),
    "node": lambda ds: (split_dataset_by_node(ds, 1, 2), range(1, 7, 2)),
    "pickle": lambda ds: (pickle.loads(pickle.dumps(ds)), range(COUNT)),
    "deepcopy": lambda ds: (copy.deepcopy(ds), range(COUNT)),
}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("num_shards", [None, 1, 3])
def test_methods_do_not_change_windows(w, name, num_shards):
    changed, indices = METHODS[name](w.to_iterable_dataset(num_shards=num_shards))
    check_same(changed, w.__getitems__(indices))


def test_a_shuffled_stream_has_each_window_once(w):
    shuffled = positions(w.to_iterable_dataset().shuffle(seed=3))
    assert sorted(shuffled) == sorted(positions(w))
    assert shuffled != positions(w)


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_other_formats_widen_to_int64(w, name):
    """As `datasets` does with all integers; every value fits."""
    for plain, window in zip(w, w.to_iterable_dataset().with_format(name), strict=True):
        for column in (*DTYPES, "corner"):
            assert str(window[column].dtype).endswith("int64")
            assert np.array_equal(window[column], plain[column])


def test_split_and_shards_are_those_of_the_source_and_the_argument(load, w):
    assert w.to_iterable_dataset().split == "train"
    assert w.to_iterable_dataset().num_shards == COUNT
    assert w.to_iterable_dataset(num_shards=3).num_shards == 3
    other = windows(load(split="validation"), RandomWindows((2, 8, 8), 100), columns=["cells"])
    assert other.to_iterable_dataset().split == "validation"
    assert other.to_iterable_dataset().num_shards == 64
    rows = datasets.IterableDataset.from_generator(lambda: iter([load()[0]]))
    assert len([*windows(rows, GridWindows((4, 8, 8))).to_iterable_dataset()]) == 2 * 3 * 3


def test_a_stream_has_the_windows_of_its_epoch(w):
    expected = positions(w[WindowIndex(3, k, COUNT)] for k in range(COUNT))
    stream = w.to_iterable_dataset(epoch=3)
    assert positions(stream) == expected
    stream.set_epoch(1)
    assert sorted(positions(stream)) == sorted(expected)


@pytest.mark.parametrize("ranks", [1, 2, 3, 9])
@pytest.mark.parametrize("num_shards", [None, 2, 6])
def test_nodes_share_out_the_windows(w, ranks, num_shards):
    stream = w.to_iterable_dataset(num_shards=num_shards)
    parts = [positions(split_dataset_by_node(stream, rank, ranks)) for rank in range(ranks)]
    assert sorted(itertools.chain(*parts)) == sorted(positions(w))


@pytest.mark.parametrize("num_shards", [None, 3])
def test_workers_share_out_the_windows(w, num_shards):
    from torch.utils.data import DataLoader

    stream = w.to_iterable_dataset(num_shards=num_shards)
    loader = DataLoader(stream, None, num_workers=2, collate_fn=copy.copy)
    assert sorted(position(window) for window in loader) == sorted(positions(w))


def test_a_stream_resumes_at_each_position(w):
    expected = positions(w)
    for count in range(COUNT):
        stream = w.to_iterable_dataset(num_shards=2).map(lambda w: {"n": 1})
        rows = iter(stream)
        begun = [position(next(rows)) for _ in range(count)]
        state = json.loads(json.dumps(stream.state_dict()))
        resumed = w.to_iterable_dataset(num_shards=2).map(lambda w: {"n": 1})
        resumed.load_state_dict(state)
        assert begun + positions(resumed) == expected, count


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_shards": 0}, "num_shards: expected at least 1, got 0"),
        ({"num_shards": 8}, "num_shards: expected at most one for each of 7 windows, got 8"),
        ({"num_shards": 1.5}, "num_shards: expected an integer"),
        ({"epoch": -1}, "epoch: expected at least 0"),
    ],
)
def test_invalid_arguments_are_refused(w, options, message):
    with pytest.raises(ArgumentError, match=message):
        w.to_iterable_dataset(**options)


def test_the_oldest_datasets_has_the_same_windows(oldest, tmp_path):
    versions.run(oldest, PROGRAMS / "windows_of_oldest_datasets.py", cwd=tmp_path)
