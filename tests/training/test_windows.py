"""Windows: against np.pad of dense arrays, shared out, resumed, and what they read."""

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
import pytest
from datasets.distributed import split_dataset_by_node
from hypothesis import given
from hypothesis import strategies as st
from support import ends, publisher

import platelet_em
from _platelet_em.arrays import labels
from _platelet_em.arrays.page import encode_page
from _platelet_em.hub.build import build
from _platelet_em.publisher.palettes import PALETTES
from platelet_em import GridWindows, LazyLabels, LazyStack, RandomWindows, windows

COLUMNS = {"image": "images", "semantic": "semantic", "cells": "cell", "organelles": "organelle"}
DTYPES = {"image": np.uint16, "semantic": np.uint8, "cells": np.int32, "organelles": np.int32}
DEPTH, PLANE = 7, (23, 19)


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Both volumes as dense arrays, and a repository built of them."""
    folder = tmp_path_factory.mktemp("windows")
    publication = publisher.publication(seed=5, depth=DEPTH, plane=PLANE)
    publication.folder(folder / "extracted", "json")
    return publication.volumes, build(folder / "repo", data_dir=folder / "extracted")


@pytest.fixture(scope="module")
def load(scenes, tmp_path_factory):
    """Load a configuration: the training split, plain."""
    cache = str(tmp_path_factory.mktemp("cache"))

    def load_config(config="volumes", split="train", **options):
        return datasets.load_dataset(
            str(scenes[1]), config, split=split, cache_dir=cache, **options
        )

    return load_config


@pytest.fixture
def volume(load):
    return load()


def expect(truth, window, shape, label_shape=None):
    """Compare a window with np.pad of the dense arrays."""
    label_shape = label_shape or shape
    for column in window.keys() & COLUMNS:
        array = getattr(truth[window["volume"]], COLUMNS[column])
        extent = shape if column == "image" else label_shape
        begin = list(window["corner"])
        if column == "image":
            for axis in range(-len(shape), 0):
                begin[axis] -= (shape[axis] - label_shape[axis]) // 2
        full = (1,) * (3 - len(extent)) + tuple(extent)
        wide = [
            (max(-b, 0), max(b + e - n, 0))
            for b, e, n in zip(begin, full, array.shape, strict=True)
        ]
        padded = np.pad(array, wide, mode="reflect")
        at = tuple(slice(b + w, b + w + e) for b, (w, _), e in zip(begin, wide, full, strict=True))
        found = window[column]
        assert type(found) is np.ndarray
        assert (found.shape, found.dtype) == (tuple(extent), DTYPES[column])
        assert np.array_equal(found.reshape(full), padded[at]), (column, window["corner"])
        assert found.flags.writeable
        assert found.flags.c_contiguous


def key(window):
    return (window["volume"], *window["corner"])


def keys(stream):
    return [key(window) for window in stream]


# --- against the dense arrays -----------------------------------------------------------------


@pytest.mark.parametrize("sampler", [
    GridWindows((3, 8, 8)),
    GridWindows((5, 12, 9), (2, 5, 4), (2, 5, 4)),
    GridWindows((4, 30, 60), label_shape=(1, 25, 4)),
    RandomWindows((3, 8, 8), 12),
    RandomWindows((20, 5, 64), 5, (9, 4, 3), seed=1),
    RandomWindows((3, 8, 8), 12, (2, 2, 5), pad=None),
    GridWindows((10, 9), (3, 4), (4, 4)),
    RandomWindows((40, 9), 12, (3, 4)),
], ids=repr)  # fmt: skip
def test_windows_equal_padded_dense_arrays(scenes, volume, sampler):
    found = list(windows(volume, sampler))
    assert found
    for window in found:
        assert list(window) == [*COLUMNS, "volume", "corner"]
        assert [type(c) for c in window["corner"]] == [int] * 3
        expect(scenes[0], window, sampler.shape, sampler.label_shape)


@given(st.data())
def test_windows_of_any_shape_equal_padded_dense_arrays(data):
    axes = data.draw(st.sampled_from([2, 3]))
    size = tuple(data.draw(st.integers(1, 6)) for _ in range(3))
    shape = tuple(data.draw(st.integers(1, 15)) for _ in range(axes))
    label = tuple(data.draw(st.integers(1, n)) for n in shape)
    stride = tuple(data.draw(st.integers(1, n)) for n in label)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    truth = publisher.Volume(
        rng.integers(0, 65536, size, np.uint16),
        rng.integers(0, 7, size, np.uint8),
        rng.integers(0, 3, size),
        rng.integers(0, 5, size),
    )
    row = {
        "image": LazyStack([encode_page(page) for page in truth.images]),
        "semantic": LazyStack([encode_page(page, PALETTES["A"]) for page in truth.semantic]),
        "cells": LazyLabels.from_array(truth.cell),
        "organelles": LazyLabels.from_array(truth.organelle),
        "volume": "50",
    }
    source = datasets.IterableDataset.from_generator(lambda: iter([row]))
    for sampler in (GridWindows(shape, stride, label), RandomWindows(shape, 4, label)):
        for window in itertools.islice(windows(source, sampler), 30):
            expect({"50": truth}, window, shape, label)


def from_python(ds):
    """A stream that hands over Python values: PIL pictures and dictionaries of lists."""
    return ds.map(lambda row: {"note": row["volume"]})


SOURCES = {
    "plain": lambda load, config: load(config),
    "ours": lambda load, config: load(config).with_format("platelet_em"),
    "numpy": lambda load, config: load(config).with_format("numpy"),
    "picked": lambda load, config: load(config).select(list(range(len(load(config)))[::-1])),
    "in memory": lambda load, config: load(config, keep_in_memory=True),
    "streaming": lambda load, config: load(config, streaming=True),
    "streaming ours": lambda load, config: load(config, streaming=True).with_format("platelet_em"),
    "streaming python": lambda load, config: from_python(load(config, streaming=True)),
    "streaming ours python": lambda load, config: from_python(
        load(config, streaming=True).with_format("platelet_em")
    ),
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("config", ["volumes", "slices"])
def test_any_source_gives_the_same_windows(scenes, load, name, config):
    sampler = RandomWindows((12, 30), 15, (5, 8), class_weights={1: 1, 3: 1, 4: 2})
    found = list(windows(SOURCES[name](load, config), sampler))
    for window in found:
        expect(scenes[0], window, (12, 30), (5, 8))
    assert [key(w) for w in found] == keys(windows(load("volumes"), sampler))
    assert len({key(w)[1] for w in found}) > 2


def test_several_volumes_share_the_windows_by_voxels(scenes, load):
    both = datasets.concatenate_datasets([load(), load(split="validation")])
    sizes = {name: v.images.size for name, v in scenes[0].items()}
    found = list(windows(both, RandomWindows((2, 5, 5), 40)))
    for window in found:
        expect(scenes[0], window, (2, 5, 5))
    for name, size in sizes.items():
        exact = 40 * size / sum(sizes.values())
        assert abs(sum(w["volume"] == name for w in found) - exact) < 1
    grid = [w["volume"] for w in windows(both, GridWindows((2, 9, 9)))]
    assert sorted(grid, key=["50", "24"].index) == grid
    assert set(grid) == {"50", "24"}


def test_some_slices_of_a_volume_keep_their_z(scenes, load):
    some = load("slices").filter(lambda row: row["z"] % 2 == 1)
    found = list(windows(some, GridWindows((23, 19)), columns=["cells", "image"]))
    assert [w["corner"] for w in found] == [[z, 0, 0] for z in range(1, DEPTH, 2)]
    for window in found:
        expect(scenes[0], window, (23, 19))


def test_foreground_and_classes_hold_for_the_voxels(full_size, cache):
    """The estimate by boxes against the voxels themselves, on scenes like the real ones."""
    source = datasets.load_dataset(str(full_size), "volumes", split="train", cache_dir=str(cache))

    def read(**options):
        sampler = RandomWindows((4, 64, 64), 60, **options)
        return list(windows(source, sampler, columns=["organelles", "semantic"]))

    def foreground(found):
        return np.mean([(w["organelles"] > 0).mean() for w in found])

    assert foreground(read(min_foreground=0.15)) > max(0.14, 1.5 * foreground(read()))
    for index in (2, 3, 4):
        holding = [(w["semantic"] == index).any() for w in read(class_weights={index: 1})]
        anywhere = [(w["semantic"] == index).any() for w in read()]
        assert np.mean(holding) > max(0.9, np.mean(anywhere))


def test_colour_pictures_are_no_column(load):
    with pytest.raises(platelet_em.ArgumentError, match="volume 50, column 'preview': expected"):
        windows(load(), GridWindows((4, 4)), columns=["image", "preview"])


@pytest.mark.parametrize("streaming", [False, True])
def test_one_picture_of_a_volume_is_no_volume(load, streaming):
    with pytest.raises(platelet_em.ArgumentError, match=r"'preview': expected .* one picture"):
        windows(load(streaming=streaming), GridWindows((4, 3)), columns=["preview"])


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (lambda load: [1], {}, r"source: expected one split, .* got \[1\]"),
        (lambda load: {"train": load()}, {}, r"got a dictionary of \['train'\]"),
        (lambda load: load().select([]), {}, "expected rows of volumes or slices, got none"),
        (lambda load: load(streaming=True).take(0), {}, "expected rows .* got none"),
        (lambda load: load(), {"columns": ["nothing"]}, "expected the column 'nothing'"),
        (lambda load: load().remove_columns("volume"), {}, "expected the column 'volume'"),
        (
            lambda load: from_python(load(streaming=True)),
            {"columns": ["nothing"]},
            "expected the column 'nothing'",
        ),
        (lambda load: load(), {"columns": "image"}, "columns: expected a list"),
        (lambda load: load(), {"columns": []}, "columns: expected a list"),
        (lambda load: load(), {"columns": None}, "columns: expected a list"),
        (lambda load: load(), {"columns": [["image"]]}, "columns: expected a list"),
        (lambda load: load("slices"), {"columns": ["z"]}, "columns: expected a list"),
        (lambda load: load(), {"columns": ["image", "image"]}, "columns: expected a list"),
        (lambda load: load(), {"columns": ["image", "volume"]}, "columns: expected a list"),
        (lambda load: load("slices"), {}, "need rows of volumes, these are rows of slices"),
        (
            lambda load: datasets.concatenate_datasets([load("slices")] * 2),
            {"sampler": GridWindows((4, 4))},
            "slice 0 of volume 50 comes twice, in rows 0, 7",
        ),
        (lambda load: load(), {"sampler": (4, 4)}, "sampler: expected RandomWindows or"),
        (lambda load: load(), {"sampler": GridWindows((99, 4, 4), pad=None)}, "does not fit the"),
        (
            lambda load: load().remove_columns("organelles"),
            {"sampler": RandomWindows((4, 4), 1, min_foreground=0.1), "columns": ["image"]},
            "expected the column 'organelles'",
        ),
        (
            lambda load: load().remove_columns("organelles").rename_column("cells", "organelles"),
            {"sampler": RandomWindows((4, 4), 1, min_foreground=0.1), "columns": ["image"]},
            "need labels with 'class_id'",
        ),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_at_once(load, source, options, message):
    sampler = options.pop("sampler", GridWindows((2, 4, 4))) if options else GridWindows((2, 4, 4))
    with pytest.raises(platelet_em.ArgumentError, match=message):
        windows(source(load), sampler, **options)


def test_slices_of_different_shapes_are_refused_where_they_are_read():
    rows = [{"volume": "50", "z": z, "image": np.zeros((4, 4 + z), np.uint16)} for z in range(2)]
    source = datasets.IterableDataset.from_generator(lambda: iter(rows))
    stream = iter(windows(source, GridWindows((4, 4)), columns=["image"]))
    next(stream)
    with pytest.raises(
        platelet_em.ArgumentError, match=r"50, slice 1, .* shape \(4, 4\), got \(4, 5\)"
    ):
        next(stream)


# --- what is read -----------------------------------------------------------------------------


@pytest.fixture
def counts(monkeypatch):
    """How often pages are decoded and texts parsed."""
    counted = {"_decode": 0, "parse": 0}

    def count(module, name):
        function = getattr(module, name)

        def counting(*args):
            counted[name] += 1
            return function(*args)

        monkeypatch.setattr(module, name, counting)

    count(LazyStack, "_decode")
    count(labels, "parse")
    return counted


def test_only_pages_of_the_window_are_decoded_and_texts_parsed_once(volume, counts):
    stream = windows(volume, RandomWindows((2, 8, 8), 20, (1, 8, 8)))
    begun = dict(counts)
    rows = iter(stream)
    next(rows)
    assert counts["_decode"] - begun["_decode"] == 2 + 1
    assert counts["parse"] - begun["parse"] == 2
    assert len(list(rows)) == 19
    # Pages beyond the border are pages that are read anyway.
    assert counts["_decode"] - begun["_decode"] <= 20 * (2 + 1)
    assert counts["parse"] - begun["parse"] == 2


def test_only_columns_that_are_asked_for_are_read(volume, counts):
    stream = windows(volume, RandomWindows((2, 8, 8), 20), columns=["cells"])
    counts["_decode"] = 0
    list(stream)
    assert counts == {"_decode": 0, "parse": 1}


def test_boxes_and_areas_need_no_voxels(volume, monkeypatch):
    monkeypatch.setattr(LazyLabels, "_read", lambda *_: pytest.fail("decoded"))
    sampler = RandomWindows((2, 8, 8), 9, min_foreground=0.01, class_weights={3: 1})
    for source in (volume, volume.to_iterable_dataset()):
        assert len(list(windows(source, sampler, columns=["image"]))) == 9


def test_resuming_makes_no_window_twice(volume, counts):
    stream = windows(volume, GridWindows((1, 23, 19)), columns=["image"])
    rows = iter(stream)
    for _ in range(5):
        next(rows)
    state = stream.state_dict()
    counts["_decode"] = 0
    stream.load_state_dict(state)
    assert [w["corner"][0] for w in stream] == [5, 6]
    assert counts["_decode"] == 2


def test_a_map_style_source_is_sent_to_workers_by_file_name(full_size, cache):
    source = datasets.load_dataset(
        str(full_size), "volumes", split="train", cache_dir=str(cache), keep_in_memory=False
    )
    stream = windows(source, GridWindows((2, 400, 400)))
    assert len(list(stream)) == 6 * 4
    assert len(pickle.dumps(stream)) < 100_000


# --- states -----------------------------------------------------------------------------------

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
@pytest.mark.parametrize("epoch", [0, 2])
@pytest.mark.parametrize("sampler", [GridWindows((3, 12, 12)), RandomWindows((3, 5, 5), 13)])
def test_a_stream_resumes_at_each_position(volume, name, epoch, sampler):
    def make():
        stream = CHANGES[name](windows(volume, sampler, columns=["image"]))
        stream.set_epoch(epoch)
        return stream

    whole, begun = keys(make()), []
    for position in range(len(whole)):
        stream = make()
        rows = iter(stream)
        begun = [key(next(rows)) for _ in range(position)]
        state = json.loads(json.dumps(stream.state_dict()))
        resumed = make()
        resumed.load_state_dict(state)
        assert begun + keys(resumed) == whole, position
    assert len(begun) == len(whole) - 1 > 2


def test_epochs_give_new_random_windows_whatever_is_done_to_the_stream(volume):
    stream = windows(volume, RandomWindows((3, 5, 5), 24, seed=4), columns=["cells"])
    epochs = []
    for epoch in (0, 1, 2):
        stream.set_epoch(epoch)
        epochs.append(sorted(keys(stream)))
    assert len({str(found) for found in epochs}) == 3
    for name in ("map", "shuffle", "numpy"):
        changed = CHANGES[name](stream)
        for epoch in (2, 0, 1):
            changed.set_epoch(epoch)
            assert sorted(keys(changed)) == epochs[epoch]
    # What was made of the stream does not change it.
    assert stream.epoch == 2
    assert sorted(keys(stream)) == epochs[2]


def test_streams_that_are_read_at_once_do_not_disturb_each_other(volume):
    stream = windows(volume, RandomWindows((3, 5, 5), 9), columns=["cells"])
    whole = keys(stream)
    other = stream.map(lambda w: w)
    other.set_epoch(1)
    pairs = list(zip(stream, other, stream, strict=True))
    assert [key(a) for a, _, _ in pairs] == [key(c) for _, _, c in pairs] == whole
    assert [key(b) for _, b, _ in pairs] == keys(other) != whole


def test_other_streams_are_iterated_as_before(volume):
    windows(volume, GridWindows((2, 9, 9)))
    plain = datasets.IterableDataset.from_generator(lambda: iter([{"a": 1}, {"a": 2}]))
    prepare = datasets.IterableDataset._prepare_ex_iterable_for_iteration
    assert plain.epoch == 0
    assert list(plain) == [{"a": 1}, {"a": 2}]
    assert prepare.__wrapped__
    assert not hasattr(prepare.__wrapped__, "__wrapped__"), "wrapped once"


OLDEST = """
import datasets, json, numpy as np
from datasets.distributed import split_dataset_by_node
from platelet_em import GridWindows, LazyLabels, RandomWindows, windows

labels = LazyLabels.from_array(np.arange(7 * 23 * 19).reshape(7, 23, 19) % 5)
source = datasets.IterableDataset.from_generator(lambda: iter([{"volume": "50", "cells": labels}]))

def keys(stream):
    return [tuple(window["corner"]) for window in stream]

for sampler in (GridWindows((3, 12, 12)), RandomWindows((3, 5, 5), 13)):
    stream = windows(source, sampler, columns=["cells"])
    epochs = []
    for epoch in (0, 1):
        nodes = [split_dataset_by_node(stream.map(dict), rank, 3) for rank in range(3)]
        for part in (stream, *nodes):
            part.set_epoch(epoch)
            whole = keys(part)
            for position in range(1, len(whole)):
                rows = iter(part)
                begun = [tuple(next(rows)["corner"]) for _ in range(position)]
                part.load_state_dict(json.loads(json.dumps(part.state_dict())))
                assert begun + keys(part) == whole, position
                part.load_state_dict(None)
        assert sorted(sum(map(keys, nodes), [])) == sorted(keys(stream))
        epochs.append(sorted(keys(stream)))
    assert (epochs[0] == epochs[1]) == isinstance(sampler, GridWindows)
print("ok")
"""


def test_the_oldest_datasets_resumes_shares_out_and_knows_the_epoch(oldest, tmp_path):
    ends.run(oldest, OLDEST, cwd=tmp_path)


def test_a_grid_is_the_same_each_epoch(volume):
    stream = windows(volume, GridWindows((3, 12, 12)), columns=["cells"])
    first = keys(stream)
    stream.set_epoch(5)
    assert sorted(keys(stream)) == first


def test_a_shuffle_draws_the_order_of_all_windows(volume):
    stream = windows(volume, GridWindows((1, 6, 6)), columns=["cells"])
    shuffled = stream.shuffle(seed=1, buffer_size=1)
    assert sorted(keys(shuffled)) == sorted(keys(stream))
    assert keys(shuffled) == keys(stream.shuffle(seed=1, buffer_size=1))
    moved = [abs(keys(stream).index(k) - i) for i, k in enumerate(keys(shuffled))]
    assert np.mean(moved) > len(moved) / 5


# --- workers and nodes ------------------------------------------------------------------------


@pytest.mark.parametrize("sampler", [GridWindows((3, 12, 12)), RandomWindows((3, 5, 5), 13)])
@pytest.mark.parametrize("ranks", [1, 2, 3, 11, 40])
def test_nodes_share_out_the_windows(volume, counts, sampler, ranks):
    stream = windows(volume, sampler, columns=["image"])
    for epoch, change in itertools.product((0, 1), ("none", "shuffle")):
        shares, whole = [], CHANGES[change](stream)
        whole.set_epoch(epoch)
        whole = sorted(keys(whole))
        counts["_decode"] = 0
        for rank in range(ranks):
            part = split_dataset_by_node(CHANGES[change](stream), rank, ranks)
            part.set_epoch(epoch)
            shares.append(keys(part))
        assert sorted(itertools.chain(*shares)) == whole
        assert max(map(len, shares)) - min(map(len, shares)) <= 1
        assert counts["_decode"] <= 3 * len(whole), "no node reads what another one gives"


# Three workers are more than some machines have cores.
MANY = pytest.mark.filterwarnings("ignore:This DataLoader will create 3 worker processes")


@MANY
@pytest.mark.parametrize("sampler", [GridWindows((3, 12, 12)), RandomWindows((3, 5, 5), 13)])
@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.parametrize("streaming", [False, True])
def test_workers_share_out_the_windows(scenes, load, sampler, context, streaming):
    from torch.utils.data import DataLoader

    stream = windows(load(streaming=streaming), sampler)
    for workers in (0, 1, 2, 3) if context == "fork" else (2,):
        loader = DataLoader(
            stream,
            batch_size=None,
            num_workers=workers,
            collate_fn=copy.copy,  # spawned workers cannot import what lies in a test
            multiprocessing_context=context if workers else None,
            persistent_workers=workers > 0,
        )
        found = []
        for epoch in (0, 1):
            stream.set_epoch(epoch)
            rows = list(loader)
            for row in rows:
                expect(scenes[0], row, sampler.shape)
            found.append(sorted(map(key, rows)))
            assert found[-1] == sorted(keys(stream)), (workers, epoch)
        assert (found[0] == found[1]) == isinstance(sampler, GridWindows)


@MANY
def test_workers_do_equal_work(volume):
    from torch.utils.data import DataLoader

    stream = windows(volume, RandomWindows((3, 5, 5), 13), columns=["cells"]).map(add_worker)
    for change in ("none", "shuffle"):
        loader = DataLoader(
            CHANGES[change](stream), batch_size=None, num_workers=3, collate_fn=copy.copy
        )
        done = [row["worker"] for row in loader]
        assert sorted(map(done.count, range(3))) == [4, 4, 5]


def add_worker(window):
    from torch.utils.data import get_worker_info

    return {"worker": get_worker_info().id}


RANK = """
import json, sys
import datasets, torch.distributed as dist
from datasets.distributed import split_dataset_by_node
from torch.utils.data import DataLoader
import platelet_em

repository, cache, store, rank = sys.argv[1:5]
dist.init_process_group("gloo", init_method=f"file://{store}", rank=int(rank), world_size=2)
volume = datasets.load_dataset(repository, "volumes", split="train", cache_dir=cache)
found = []
for sampler in (platelet_em.GridWindows((3, 12, 12)), platelet_em.RandomWindows((3, 5, 5), 13)):
    stream = platelet_em.windows(volume, sampler)
    stream = split_dataset_by_node(stream, dist.get_rank(), dist.get_world_size())
    loader = DataLoader(stream, batch_size=None, num_workers=2, collate_fn=lambda window: window)
    for epoch in (0, 1):
        stream.set_epoch(epoch)
        mine = [(w["volume"], *w["corner"]) for w in loader]
        shares = [None, None]
        dist.all_gather_object(shares, mine)
        found.append(shares)
dist.destroy_process_group()
print(json.dumps(found))
"""


def test_two_ranks_of_torch_distributed_share_out_the_windows(scenes, volume, tmp_path):
    cache = Path(volume.cache_files[0]["filename"]).parents[4]
    command = [sys.executable, "-c", RANK, scenes[1], cache, tmp_path / "store"]
    ranks = [
        subprocess.Popen([*map(str, command), str(rank)], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    outputs = [rank.communicate()[0] for rank in ranks]
    assert [rank.returncode for rank in ranks] == [0, 0]
    assert outputs[0] == outputs[1]
    found = iter(json.loads(outputs[0].splitlines()[-1]))
    for sampler in (GridWindows((3, 12, 12)), RandomWindows((3, 5, 5), 13)):
        stream = windows(volume, sampler)
        for epoch in (0, 1):
            stream.set_epoch(epoch)
            one, two = [[tuple(k) for k in share] for share in next(found)]
            assert not {*one} & {*two}
            assert sorted(one + two) == sorted(keys(stream))
            assert abs(len(one) - len(two)) <= 1


# --- memory -----------------------------------------------------------------------------------


def resident():
    """Bytes of memory that this process has for itself."""
    lines = Path("/proc/self/smaps_rollup").read_text("ascii").splitlines()
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Private_"))


def grow(stream, pipe):
    rows, seen = iter(stream), []
    for count in (100, 400):
        for _ in range(count):
            next(rows)
        gc.collect()
        seen.append(resident())
    pipe.send(seen)


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("config", ["volumes", "slices"])
@pytest.mark.parametrize("streaming", [False, True])
def test_memory_does_not_grow_with_the_number_of_windows(full_size, cache, config, streaming):
    source = datasets.load_dataset(
        str(full_size), config, split="train", cache_dir=str(cache), streaming=streaming
    )
    stream = windows(source, RandomWindows((256, 256), 500))
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    worker = context.Process(target=grow, args=(stream, theirs))
    worker.start()
    early, late = ours.recv()
    worker.join()
    assert late - early < 8 * 2**20, "400 windows are 290 MB"
