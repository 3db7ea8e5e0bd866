"""The stream that `windows` returns: methods of `datasets`, resuming, epochs, workers, nodes."""

import copy
import gc
import itertools
import json
import multiprocessing
import pickle
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pyarrow as pa
import pytest
from datasets.distributed import split_dataset_by_node
from support import versions
from support.windows import DTYPES, check_window, position, positions

from platelet_em import ArgumentError, GridWindows, LazyStack, RandomWindows, windows

PROGRAMS = Path(versions.__file__).parent / "programs"
COUNT = 7
SAMPLERS = (GridWindows((3, 12, 12)), RandomWindows((3, 5, 5), 13))


@pytest.fixture
def stream(volume):
    """A stream of 7 windows."""
    return windows(volume, RandomWindows((2, 8, 8), COUNT))


# --- methods of datasets ----------------------------------------------------------------------


def check_same(stream, expected):
    """Compare windows with those expected, arrays included."""
    for found, other in itertools.zip_longest(stream, expected):
        for name, dtype in DTYPES.items():
            assert type(found[name]) is np.ndarray
            assert found[name].dtype == dtype
            assert np.array_equal(found[name], other[name])
        assert position(found) == position(other)


METHODS = {
    "our format": lambda ds: (ds.with_format("platelet_em"), range(COUNT)),
    "no format": lambda ds: (ds.with_format("numpy").with_format(None), range(COUNT)),
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


@pytest.mark.parametrize("name", METHODS)
def test_methods_do_not_change_windows(stream, name):
    changed, indices = METHODS[name](stream)
    expected = list(stream)
    check_same(changed, [expected[i] for i in indices])


def test_shuffling_in_a_buffer_loses_no_window(stream):
    assert sorted(positions(stream.shuffle(seed=2))) == sorted(positions(stream))


def test_batches_are_lists_of_windows(stream):
    expected = list(stream)
    for batches in (stream.batch(3), stream.iter(3)):
        found = list(batches)
        assert [len(batch["image"]) for batch in found] == [3, 3, 1]
        assert np.array_equal(found[2]["cells"][0], expected[6]["cells"])
        assert found[1]["corner"] == [window["corner"] for window in expected[3:6]]


@pytest.mark.parametrize("name", ["numpy", "torch"])
def test_other_formats_widen_to_int64(stream, name):
    """As `datasets` does with all integers; every value fits."""
    for plain, window in zip(stream, stream.with_format(name), strict=True):
        for column in (*DTYPES, "corner"):
            assert str(window[column].dtype).endswith("int64")
            assert np.array_equal(window[column], plain[column])


def test_columns_are_selected_removed_and_renamed(stream):
    expected = list(stream)
    changes = {
        ("corner", "image"): stream.select_columns(["image", "corner"]),
        ("cells", "corner", "image", "organelles", "semantic"): stream.remove_columns("volume"),
        ("cells", "corner", "organelles", "pixel_values", "semantic", "volume"): (
            stream.rename_column("image", "pixel_values")
        ),
    }
    for names, changed in changes.items():
        for window, other in zip(changed, expected, strict=True):
            assert tuple(sorted(window)) == names
            image = window.get("image", window.get("pixel_values"))
            assert image.dtype == np.uint16
            assert np.array_equal(image, other["image"])


COMBINE = {
    "concatenate": lambda ds: datasets.concatenate_datasets([ds, ds]),
    "concatenate columns": lambda ds: datasets.concatenate_datasets([ds, ds], axis=1),
    "interleave": lambda ds: datasets.interleave_datasets([ds, ds], [0.5, 0.5], seed=1),
    "after map": lambda ds: datasets.concatenate_datasets([ds.map(lambda w: {"n": 1})] * 2),
}


@pytest.mark.parametrize("name", COMBINE)
def test_streams_of_windows_cannot_be_combined(stream, name):
    """They have no features, which `datasets` needs for that."""
    with pytest.raises(ArgumentError, match="concatenate the sources, and take windows of the"):
        COMBINE[name](stream)


def test_errors_of_other_streams_are_those_of_datasets():
    odd = datasets.IterableDataset.from_generator(lambda: iter([{"a": np.zeros((2, 2))}]))
    with pytest.raises(pa.ArrowInvalid, match="1-dimensional"):
        datasets.concatenate_datasets([odd, odd])


def test_windows_of_concatenated_sources(volume):
    other = volume.map(lambda row: {"volume": "51"}, keep_in_memory=True)
    for both in (
        datasets.concatenate_datasets([volume, other]),
        datasets.concatenate_datasets([volume.to_iterable_dataset(), other.to_iterable_dataset()]),
    ):
        found = [w["volume"] for w in windows(both, GridWindows((4, 16, 16)), columns=["cells"])]
        half = len(found) // 2
        assert found == ["50"] * half + ["51"] * half


def test_an_abandoned_iteration_does_not_change_the_stream(stream):
    expected = list(stream)
    rows = iter(stream)
    next(rows), next(rows)
    del rows
    check_same(stream, expected)
    rows = iter(stream)
    next(rows)
    check_same(pickle.loads(pickle.dumps(stream)), expected)
    check_same(rows, expected[1:])


def test_other_streams_are_iterated_as_before(volume):
    windows(volume, GridWindows((2, 9, 9)))
    plain = datasets.IterableDataset.from_generator(lambda: iter([{"a": 1}, {"a": 2}]))
    prepare = datasets.IterableDataset._prepare_ex_iterable_for_iteration
    assert plain.epoch == 0
    assert list(plain) == [{"a": 1}, {"a": 2}]
    assert prepare.__wrapped__
    assert not hasattr(prepare.__wrapped__, "__wrapped__"), "wrapped once"


# --- states and epochs ------------------------------------------------------------------------

CHANGES = {
    "none": lambda ds: ds,
    "map": lambda ds: ds.map(lambda w: {"n": 1}),
    "filter": lambda ds: ds.filter(lambda w: w["corner"][0] % 2 == 0),
    "take": lambda ds: ds.take(7),
    "skip": lambda ds: ds.skip(5),
    "shuffle": lambda ds: ds.shuffle(seed=3, buffer_size=1),
    "shuffle one by one": lambda ds: ds.shuffle(seed=3, buffer_size=1, max_buffer_input_shards=1),
    "shuffle, map": lambda ds: ds.shuffle(seed=3, buffer_size=1).map(lambda w: {"n": 1}),
    "node": lambda ds: split_dataset_by_node(ds, 1, 2),
    "node, shuffle": lambda ds: split_dataset_by_node(ds, 1, 3).shuffle(seed=3, buffer_size=1),
    "shard": lambda ds: ds.shard(3, 1),
    "numpy": lambda ds: ds.with_format("numpy"),
    "repeat": lambda ds: ds.shard(2, 0).map(lambda w: {"n": 1}).repeat(2),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize(
    ("sampler", "epoch"),
    [
        (GridWindows((4, 12, 12)), 0),
        (RandomWindows((3, 5, 5), 9), 2),
        *(pytest.param(s, e, marks=pytest.mark.long) for s in SAMPLERS for e in (0, 2)),
    ],
)
def test_a_stream_resumes_at_each_position(volume, name, sampler, epoch):
    def make():
        stream = CHANGES[name](windows(volume, sampler, columns=["image"]))
        stream.set_epoch(epoch)
        return stream

    expected = positions(make())
    assert len(expected) > 1
    for count in range(len(expected)):
        stream = make()
        rows = iter(stream)
        begun = [position(next(rows)) for _ in range(count)]
        state = json.loads(json.dumps(stream.state_dict()))
        resumed = make()
        resumed.load_state_dict(state)
        assert begun + positions(resumed) == expected, count


def test_epochs_give_new_random_windows_after_any_method(volume):
    stream = windows(volume, RandomWindows((3, 5, 5), 24, seed=4), columns=["cells"])
    epochs = []
    for epoch in (0, 1, 2):
        stream.set_epoch(epoch)
        epochs.append(sorted(positions(stream)))
    assert len({str(found) for found in epochs}) == 3
    for name in ("map", "shuffle", "numpy"):
        changed = CHANGES[name](stream)
        for epoch in (2, 0, 1):
            changed.set_epoch(epoch)
            assert sorted(positions(changed)) == epochs[epoch]
    # Streams made from a stream do not change it.
    assert stream.epoch == 2
    assert sorted(positions(stream)) == epochs[2]


def test_a_grid_is_the_same_in_each_epoch(volume):
    stream = windows(volume, GridWindows((3, 12, 12)), columns=["cells"])
    first = positions(stream)
    stream.set_epoch(5)
    assert sorted(positions(stream)) == first


def test_streams_that_are_read_at_the_same_time_are_independent(volume):
    stream = windows(volume, RandomWindows((3, 5, 5), 9), columns=["cells"])
    expected = positions(stream)
    other = stream.map(lambda w: w)
    other.set_epoch(1)
    triples = list(zip(stream, other, stream, strict=True))
    assert [position(a) for a, _, _ in triples] == expected
    assert [position(c) for _, _, c in triples] == expected
    assert [position(b) for _, b, _ in triples] == positions(other) != expected


def test_a_shuffle_permutes_all_windows(volume):
    stream = windows(volume, GridWindows((1, 6, 6)), columns=["cells"])
    expected, found = positions(stream), positions(stream.shuffle(seed=1, buffer_size=1))
    assert sorted(found) == sorted(expected)
    assert found == positions(stream.shuffle(seed=1, buffer_size=1))
    moved = [abs(expected.index(p) - i) for i, p in enumerate(found)]
    assert np.mean(moved) > len(moved) / 5


def test_the_oldest_datasets_has_the_same_streams(oldest, tmp_path):
    versions.run(oldest, PROGRAMS / "windows_of_oldest_datasets.py", cwd=tmp_path)


# --- workers and nodes ------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("ranks", [1, 2, 3, 11, 40])
def test_nodes_share_out_the_windows(volume, monkeypatch, sampler, ranks):
    decoded = []
    decode = LazyStack._decode
    monkeypatch.setattr(LazyStack, "_decode", lambda x, z: decoded.append(z) or decode(x, z))
    stream = windows(volume, sampler, columns=["image"])
    for epoch, change in itertools.product((0, 1), ("none", "shuffle")):
        expected = CHANGES[change](stream)
        expected.set_epoch(epoch)
        expected = sorted(positions(expected))
        decoded.clear()
        shares = []
        for rank in range(ranks):
            part = split_dataset_by_node(CHANGES[change](stream), rank, ranks)
            part.set_epoch(epoch)
            shares.append(positions(part))
        assert sorted(itertools.chain(*shares)) == expected
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        assert len(decoded) <= 3 * len(expected), "no node reads windows of another one"


# Three workers are more than some machines have cores.
MANY = pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")


def make_loader(stream, workers, context="fork", *, persistent=True):
    from torch.utils.data import DataLoader

    return DataLoader(
        stream,
        batch_size=None,
        num_workers=workers,
        collate_fn=copy.copy,  # spawned workers cannot import a function of a test
        multiprocessing_context=context if workers else None,
        persistent_workers=persistent and workers > 0,
    )


@MANY
@pytest.mark.parametrize(
    ("sampler", "streaming"),
    [
        (SAMPLERS[0], False),
        (SAMPLERS[1], True),
        pytest.param(SAMPLERS[0], True, marks=pytest.mark.long),
        pytest.param(SAMPLERS[1], False, marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("workers", [0, 1, 3])
def test_workers_share_out_the_windows(dense_volumes, load, sampler, streaming, workers):
    stream = windows(load(streaming=streaming), sampler)
    loader = make_loader(stream, workers)
    epochs = []
    for epoch in (0, 1):
        stream.set_epoch(epoch)
        found = list(loader)
        for window in found:
            check_window(dense_volumes, window, sampler.shape)
        epochs.append(sorted(map(position, found)))
        assert epochs[-1] == sorted(positions(stream)), epoch
    assert (epochs[0] == epochs[1]) == isinstance(sampler, GridWindows)


def test_spawned_workers_share_out_the_windows(dense_volumes, load):
    """Of both kinds of source in one loader, since each worker takes seconds to start."""
    from torch.utils.data import ChainDataset

    sampler = RandomWindows((3, 5, 5), 13)
    streams = [windows(load(streaming=streaming), sampler) for streaming in (False, True)]
    loader = make_loader(ChainDataset(streams), 2, "spawn")
    for epoch in (0, 1):
        for stream in streams:
            stream.set_epoch(epoch)
        found = list(loader)
        for window in found:
            check_window(dense_volumes, window, sampler.shape)
        assert sorted(map(position, found)) == sorted(positions(streams[0]) * 2), epoch


@MANY
@pytest.mark.parametrize("persistent", [False, True])
def test_more_workers_than_windows(volume, persistent):
    stream = windows(volume, RandomWindows((2, 8, 8), 2))
    loader = make_loader(stream, 3, persistent=persistent)
    epochs = []
    for epoch in (0, 1, 2):
        stream.set_epoch(epoch)
        epochs.append(sorted(positions(loader)))
        assert epochs[-1] == sorted(positions(stream))
    assert epochs[0] != epochs[1] != epochs[2]
    # An abandoned pass does not change the next one.
    next(iter(loader))
    assert sorted(positions(loader)) == epochs[2]


@MANY
def test_workers_read_equal_numbers_of_windows(volume):
    stream = windows(volume, RandomWindows((3, 5, 5), 13), columns=["cells"]).map(add_worker)
    for change in ("none", "shuffle"):
        loader = make_loader(CHANGES[change](stream), 3, persistent=False)
        workers = [window["worker"] for window in loader]
        assert sorted(map(workers.count, range(3))) == [4, 4, 5]


def add_worker(window):
    from torch.utils.data import get_worker_info

    return {"worker": get_worker_info().id}


def test_ranks_of_torch_distributed_share_out_the_windows(
    small_repository, volume, cache, tmp_path
):
    command = [sys.executable, PROGRAMS / "windows_of_rank.py", small_repository, cache]
    processes = [
        subprocess.Popen(
            [*map(str, [*command, tmp_path / "store", rank, 2])], stdout=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs[0] == outputs[1]
    found = iter(json.loads(outputs[0].splitlines()[-1]))
    for sampler in SAMPLERS:
        stream = windows(volume, sampler)
        for epoch in (0, 1):
            stream.set_epoch(epoch)
            one, two = [[tuple(p) for p in share] for share in next(found)]
            assert not {*one} & {*two}
            assert sorted(one + two) == sorted(positions(stream))
            assert abs(len(one) - len(two)) <= 1


# --- memory -----------------------------------------------------------------------------------


def private_memory():
    """Bytes of memory that this process does not share."""
    lines = Path("/proc/self/smaps_rollup").read_text("ascii").splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Private_"))


def read_and_measure(stream, counts, pipe):
    """Read these numbers of windows, and send the memory that is in use after each."""
    rows, measured = iter(stream), []
    for count in counts:
        for _ in range(count):
            next(rows)
        gc.collect()
        measured.append(private_memory())
    pipe.send(measured)


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("config", ["volumes", "slices"])
@pytest.mark.parametrize("streaming", [False, True])
def test_memory_does_not_grow_with_the_number_of_windows(scene, config, streaming):
    stream = windows(scene(config, streaming=streaming), RandomWindows((256, 256), 200))
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe()
    process = context.Process(target=read_and_measure, args=(stream, (50, 150), sender))
    process.start()
    early, late = receiver.recv()
    process.join()
    # A column of 150 windows, of which semantic is the smallest, takes 9 MB; all take 108 MB.
    assert late - early < 8 * 2**20
