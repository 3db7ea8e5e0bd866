"""`windows`: compared with dense arrays, from every kind of source, and what is read for them."""

import copy
import gc
import itertools
import pickle
import tracemalloc

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import publisher
from support.windows import DTYPES, TRUTH, check_window, position, positions

import platelet_em
from _platelet_em.arrays import instances
from _platelet_em.arrays.page import encode_page
from _platelet_em.hf.volume import RowVolume
from _platelet_em.training import windows as windows_module
from _platelet_em.training.window_index import WindowIndex
from platelet_em import (
    GridWindows,
    LazyLabels,
    LazyStack,
    RandomWindows,
    StratifiedWindows,
    windows,
)

# --- compared with dense arrays ---------------------------------------------------------------


@pytest.mark.parametrize("sampler", [
    GridWindows((3, 8, 8)),
    GridWindows((5, 12, 9), (2, 5, 4), (2, 5, 4)),
    GridWindows((4, 30, 60), label_shape=(1, 25, 4), pad="reflect"),
    RandomWindows((3, 8, 8), 12),
    RandomWindows((20, 5, 64), 5, (9, 4, 3), seed=1, pad="reflect"),
    RandomWindows((7, 20, 19), 12, (2, 3, 4)),
    StratifiedWindows((3, 8, 8), (2, 3, 2)),
    StratifiedWindows((8, 9), (1, 2), (4, 4)),
    RandomWindows((3, 8, 8), 12, (2, 2, 5), pad=None),
    GridWindows((10, 9), (3, 4), (4, 4)),
    RandomWindows((40, 9), 12, (3, 4), pad="reflect"),
], ids=repr)  # fmt: skip
def test_windows_equal_padded_dense_arrays(dense_volumes, volume, sampler):
    found = list(windows(volume, sampler))
    assert found
    for window in found:
        assert list(window) == [*TRUTH, "volume", "corner"]
        assert [type(c) for c in window["corner"]] == [int] * 3
        check_window(dense_volumes, window, sampler.shape, sampler.label_shape)


def check_windows_of_any_shape(data):
    """Draw a volume and samplers, and compare some windows."""
    axes = data.draw(st.sampled_from([2, 3]))
    size = tuple(data.draw(st.integers(1, 6)) for _ in range(3))
    shape = tuple(data.draw(st.integers(1, 15)) for _ in range(axes))
    label_shape = tuple(data.draw(st.integers(1, n)) for n in shape)
    stride = tuple(data.draw(st.integers(1, n)) for n in label_shape)
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    truth = publisher.Volume(
        rng.integers(0, 65536, size, np.uint16),
        rng.integers(0, 7, size, np.uint8),
        rng.integers(0, 3, size),
        rng.integers(0, 5, size),
    )
    row = {
        "image": LazyStack([encode_page(page) for page in truth.images]),
        "semantic": LazyStack(
            [encode_page(page, np.uint8(publisher.OLD)) for page in truth.semantic]
        ),
        "cells": LazyLabels.from_array(truth.cell),
        "organelles": LazyLabels.from_array(truth.organelle),
        "volume": "50",
    }
    source = datasets.IterableDataset.from_generator(lambda: iter([row]))
    for sampler in (
        GridWindows(shape, stride, label_shape, pad="reflect"),
        RandomWindows(shape, 4, label_shape, pad="reflect"),
    ):
        for window in itertools.islice(windows(source, sampler), 30):
            check_window({"50": truth}, window, shape, label_shape)


@given(st.data())
@settings(max_examples=25)
def test_windows_of_any_shape_equal_padded_dense_arrays(data):
    check_windows_of_any_shape(data)


@pytest.mark.long
@given(st.data())
@settings(max_examples=500)
def test_windows_of_many_shapes_equal_padded_dense_arrays(data):
    check_windows_of_any_shape(data)


# --- sources ----------------------------------------------------------------------------------


def as_python_values(stream):
    """A stream that hands over Python values: PIL pictures and dictionaries of lists."""
    return stream.map(lambda row: {"note": row["volume"]})


SOURCES = {
    "plain": lambda load, config: load(config),
    "ours": lambda load, config: load(config).with_format("platelet_em"),
    "numpy": lambda load, config: load(config).with_format("numpy"),
    "reversed": lambda load, config: load(config).select(list(range(len(load(config)))[::-1])),
    "in memory": lambda load, config: load(config, keep_in_memory=True),
    "streaming": lambda load, config: load(config, streaming=True),
    "streaming ours": lambda load, config: load(config, streaming=True).with_format("platelet_em"),
    "streaming python": lambda load, config: as_python_values(load(config, streaming=True)),
    "streaming ours python": lambda load, config: as_python_values(
        load(config, streaming=True).with_format("platelet_em")
    ),
}


@pytest.mark.parametrize("name", SOURCES)
@pytest.mark.parametrize("config", ["volumes", "slices"])
def test_every_source_gives_the_same_windows(dense_volumes, load, name, config):
    weights = {1: 1, 3: 1, 4: 2}
    sampler = RandomWindows((12, 30), 8, (5, 8), class_weights=weights, pad="reflect")
    found = list(windows(SOURCES[name](load, config), sampler))
    for window in found:
        check_window(dense_volumes, window, (12, 30), (5, 8))
    # The order of rows makes no difference either.
    assert [position(w) for w in found] == positions(windows(load("volumes"), sampler))
    assert len({w["corner"][0] for w in found}) > 2


def test_several_volumes_share_the_windows_by_voxels(dense_volumes, load):
    both = datasets.concatenate_datasets([load(), load(split="validation")])
    sizes = {name: v.images.size for name, v in dense_volumes.items()}
    found = list(windows(both, RandomWindows((2, 5, 5), 40)))
    for window in found:
        check_window(dense_volumes, window, (2, 5, 5))
    for name, size in sizes.items():
        exact = 40 * size / sum(sizes.values())
        assert abs(sum(w["volume"] == name for w in found) - exact) < 1
    grid = [w["volume"] for w in windows(both, GridWindows((2, 9, 9)))]
    assert sorted(grid, key=["50", "24"].index) == grid
    assert set(grid) == {"50", "24"}


def test_some_slices_of_a_volume_keep_their_z(dense_volumes, load):
    odd = load("slices").filter(lambda row: row["z"] % 2 == 1)
    found = list(windows(odd, GridWindows((23, 19)), columns=["cells", "image"]))
    assert [w["corner"] for w in found] == [[1, 0, 0], [3, 0, 0], [5, 0, 0]]
    for window in found:
        check_window(dense_volumes, window, (23, 19))


@pytest.mark.parametrize("config", ["volumes", "slices"])
@pytest.mark.parametrize("share", [0.05, 0.3])
def test_each_window_has_the_foreground_that_is_asked_for(scene, config, share):
    shape = (16, 16)  # small windows, where estimates from boxes are wrong
    sampler = RandomWindows(shape, 120, min_foreground=share)
    w = windows(scene(config), sampler, columns=["organelles"])
    assert min((window["organelles"] > 0).mean() for window in w) >= share
    # Also if the organelles are not read.
    assert positions(windows(scene(config), sampler, columns=["image"])) == positions(w)
    drawn = windows(scene(config), RandomWindows(shape, 120), columns=["organelles"])
    assert min((window["organelles"] > 0).mean() for window in drawn) < share / 2


def test_the_foreground_of_mirrored_windows_counts_every_voxel(scene):
    sampler = RandomWindows((20, 32, 32), 20, min_foreground=0.1, pad="reflect")
    w = windows(scene(), sampler, columns=["organelles"])
    assert min((window["organelles"] > 0).mean() for window in w) >= 0.1


def test_classes_apply_to_the_voxels(scene):
    def share_with(index, **options):
        sampler = RandomWindows((4, 48, 48), 60, **options)
        found = windows(scene(), sampler, columns=["semantic"])
        return np.mean([(w["semantic"] == index).any() for w in found])

    for index in (2, 3, 4):
        weighted = share_with(index, class_weights={index: 1})
        assert weighted > max(0.9, share_with(index))


@pytest.mark.parametrize(("column", "count"), [("cells", 1), ("image", 0)])
def test_loops_are_loaded_before_workers_are_forked(volume, monkeypatch, column, count):
    loaded = []
    monkeypatch.setattr(windows_module, "load_compiled", lambda: loaded.append(1))
    w = windows(volume, RandomWindows((2, 5, 5), 3), columns=[column])
    assert len(loaded) == count
    pickle.loads(pickle.dumps(w))
    assert len(loaded) == count, "a worker that is spawned loads them when it needs them"


# --- a list of corners ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "sampler"),
    [
        ("volumes", RandomWindows((3, 9, 9), 9, (2, 4, 5))),
        ("volumes", RandomWindows((9, 9), 9)),
        ("slices", RandomWindows((9, 9), 9, (4, 3))),
        ("volumes", RandomWindows((9, 30, 9), 9, (9, 4, 3), pad="reflect")),
    ],
)
def test_corners_of_windows_give_the_same_windows(dense_volumes, load, config, sampler):
    source = load(config)
    w = windows(source, sampler)
    options = {"shape": sampler.shape, "label_shape": sampler.label_shape, "pad": sampler.pad}
    corners = [window["corner"] for window in w]
    for listed in (
        corners,
        np.array(corners),
        [(window["volume"], window["corner"]) for window in w],
        {"50": corners},
    ):
        again = windows(source, listed, **options)
        assert positions(again) == positions(w)
        for window in again[3:5]:
            check_window(dense_volumes, window, sampler.shape, sampler.label_shape)


@pytest.mark.parametrize(("config", "size"), [("volumes", 32), ("slices", 56)])
def test_corners_are_pickled_in_the_documented_bytes(load, config, size):
    shape = (2, 2, 2)[-3 if config == "volumes" else -2 :]
    few, many = (
        len(pickle.dumps(windows(load(config), np.zeros((n, 3), np.int64), shape=shape)))
        for n in (1, 10_001)
    )
    assert abs(many - few - 10_000 * size) < 1000


def test_corners_of_several_volumes_need_names(dense_volumes, load):
    both = datasets.concatenate_datasets([load(), load(split="validation")])
    options = {"shape": (2, 5, 5), "columns": ["cells"]}
    by_name = windows(both, {"24": [(0, 1, 2)], "50": [(1, 2, 3), (0, 0, 0)]}, **options)
    assert positions(by_name) == [("24", 0, 1, 2), ("50", 1, 2, 3), ("50", 0, 0, 0)]
    pairs = windows(both, [("50", (1, 2, 3)), ("24", [0, 1, 2])], **options)
    assert positions(pairs) == [("50", 1, 2, 3), ("24", 0, 1, 2)]
    for window in [*by_name, *pairs]:
        check_window(dense_volumes, window, (2, 5, 5))
    with pytest.raises(platelet_em.ArgumentError, match="corners of several volumes need their"):
        windows(both, [(0, 1, 2)], **options)
    with pytest.raises(platelet_em.ArgumentError, match=r"volumes \['50', '24'\], got one of '7'"):
        windows(both, {"7": [(0, 1, 2)]}, **options)


def test_corners_by_name_need_different_names(load):
    twice = datasets.concatenate_datasets([load(), load()])
    with pytest.raises(platelet_em.ArgumentError, match=r"different names, got \['50', '50'\]"):
        windows(twice, {"50": [[0, 0, 0]]}, shape=(1, 4, 4))


def test_corners_of_single_slices_are_those_of_their_z(dense_volumes, load):
    odd = load("slices").filter(lambda row: row["z"] % 2 == 1)
    w = windows(odd, [[5, 2, 3], [1, 0, 0]], shape=(4, 4))
    assert positions(w) == [("50", 5, 2, 3), ("50", 1, 0, 0)]
    for window in w:
        check_window(dense_volumes, window, (4, 4))
    with pytest.raises(platelet_em.ArgumentError, match=r"50, z one of \[1, 3, 5\], .*got \[2, 0"):
        windows(odd, [[1, 0, 0], [2, 0, 0]], shape=(4, 4))


@pytest.mark.parametrize(
    ("corners", "options", "message"),
    [
        ([(0, 0, 0)], {}, "shape: expected the shape of the windows at the corners, got None"),
        ([], {"shape": (2, 4, 4)}, r"sampler: expected RandomWindows, .* got \[\]"),
        ([(0, 0)], {"shape": (2, 4, 4)}, "or at least one corner"),
        ([(0, 0, 0.5)], {"shape": (2, 4, 4)}, "or at least one corner"),
        ([(0, 0, 0), (0, 0)], {"shape": (2, 4, 4)}, "or at least one corner"),
        ("abc", {"shape": (2, 4, 4)}, "or at least one corner"),
        (np.uint64([[0, 0, 2**63]]), {"shape": (2, 4, 4)}, "or at least one corner"),
        (7, {}, "or at least one corner"),
        ({}, {"shape": (2, 4, 4)}, "or at least one corner"),
        (
            [(0, 0, 0), (6, 0, 0)],
            {"shape": (2, 4, 4)},
            r"corner 1 of the list: .* volume 50, z 0 to 5, y 0 to 19, x 0 to 15, got \[6, 0, 0\]",
        ),
        ([(0, 0, -1)], {"shape": (2, 4, 4)}, "corner 0 of the list"),
        ([(0, 1, 0)], {"shape": (2, 4, 4), "label_shape": (2, 1, 1), "pad": None}, "x 1 to 16"),
        ([(0, 0, 0)], {"shape": (9, 4, 4)}, "does not fit into 7 voxels along z"),
        (GridWindows((2, 4, 4)), {"shape": (2, 4, 4)}, "shape, label_shape, pad: expected for a"),
        (GridWindows((2, 4, 4)), {"pad": None}, "shape, label_shape, pad: expected for a list"),
    ],
)
def test_corners_that_do_not_fit_are_refused(volume, corners, options, message):
    with pytest.raises(platelet_em.ArgumentError, match=message):
        windows(volume, corners, **options)


# --- refusals ---------------------------------------------------------------------------------


def test_color_pictures_are_not_a_column_of_windows(load):
    with pytest.raises(platelet_em.ArgumentError, match="volume 50, column 'preview': expected"):
        windows(load(), GridWindows((4, 4)), columns=["image", "preview"])


@pytest.mark.parametrize("streaming", [False, True])
def test_a_single_picture_is_not_a_volume(load, streaming):
    with pytest.raises(platelet_em.ArgumentError, match=r"'preview': expected .* one image"):
        windows(load(streaming=streaming), GridWindows((4, 3)), columns=["preview"])


GRID = GridWindows((2, 4, 4))
FOREGROUND = RandomWindows((4, 4), 1, min_foreground=0.1)


@pytest.mark.parametrize(
    ("source", "sampler", "columns", "message"),
    [
        (lambda load: [1], GRID, None, r"source: expected one split, .* got \[1\]"),
        (lambda load: {"train": load()}, GRID, None, r"got a dictionary of \['train'\]"),
        (lambda load: load().select([]), GRID, None, "expected rows of volumes or slices, got no"),
        (lambda load: load(streaming=True).take(0), GRID, None, "expected rows .* got no"),
        (lambda load: load().remove_columns("volume"), GRID, None, "the column 'volume'"),
        (lambda load: load().select_columns("volume"), GRID, None, "a column 'image', or labels"),
        (
            lambda load: load(),
            RandomWindows((4, 4), 1, class_weights=[1, 1]),
            None,
            "class_weights: expected 7 weights, one per class, got 2",
        ),
        (
            lambda load: load(),
            RandomWindows((4, 4), 1, class_weights={7: 1}),
            None,
            "class_weights: expected classes from 0 to 6, got 7",
        ),
        (
            lambda load: load(),
            RandomWindows((4, 4), 1, min_foreground=0.1, foreground="nuclei"),
            None,
            r"foreground: expected one of \['cells', 'organelles'\], got 'nuclei'",
        ),
        (lambda load: load("slices"), GRID, None, "need rows of volumes, these are rows of slice"),
        (
            lambda load: datasets.concatenate_datasets([load("slices")] * 2),
            GridWindows((4, 4)),
            None,
            "slice 0 of volume 50 appears twice, in rows 0 and 7",
        ),
        (lambda load: load(), (4, 4), None, "sampler: expected RandomWindows, GridWin"),
        (lambda load: load(), GridWindows((99, 4, 4), pad=None), None, "does not fit into"),
        (lambda load: load(), GRID, ["nothing"], "the column 'nothing'"),
        (
            lambda load: as_python_values(load(streaming=True)),
            GRID,
            ["nothing"],
            "the column 'nothing'",
        ),
        (
            lambda load: load().remove_columns(["cells", "organelles"]),
            FOREGROUND,
            ["image"],
            "expected a column of instances, which min_foreground and class_weights need",
        ),
        (
            lambda load: load().remove_columns("organelles").rename_column("cells", "organelles"),
            RandomWindows((4, 4), 1, class_weights={3: 1}),
            ["image"],
            "need labels with 'class_id'",
        ),
    ],
)  # fmt: skip
def test_sources_and_samplers_that_do_not_fit_are_refused(load, source, sampler, columns, message):
    options = {} if columns is None else {"columns": columns}
    with pytest.raises(platelet_em.ArgumentError, match=message):
        windows(source(load), sampler, **options)


@pytest.mark.parametrize(
    "columns", ["image", [], [["image"]], ["z"], ["image", "image"], ["image", "volume"]]
)
def test_invalid_columns_are_refused(load, columns):
    with pytest.raises(platelet_em.ArgumentError, match="columns: expected a list"):
        windows(load("slices"), GridWindows((4, 4)), columns=columns)


@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4)])
def test_images_instead_of_foreground_labels_are_refused(shape):
    row = {"volume": "50", "organelles": LazyStack([np.zeros((4, 4), np.uint16)])}
    source = datasets.IterableDataset.from_generator(lambda: iter([row]))
    sampler = RandomWindows(shape, 1, min_foreground=0.1, foreground="organelles")
    with pytest.raises(platelet_em.ArgumentError, match="min_foreground needs labels, got images"):
        windows(source, sampler, columns=["organelles"])


def test_slices_of_different_shapes_are_refused_when_they_are_read():
    rows = [{"volume": "50", "z": z, "image": np.zeros((4, 4 + z), np.uint16)} for z in range(2)]
    source = datasets.IterableDataset.from_generator(lambda: iter(rows))
    rows = iter(windows(source, GridWindows((4, 4)), columns=["image"]))
    next(rows)
    message = r"50, slice 1, .* shape \(4, 4\), got \(4, 5\)"
    with pytest.raises(platelet_em.ArgumentError, match=message):
        next(rows)


# --- what is read -----------------------------------------------------------------------------


@pytest.fixture
def counts(monkeypatch):
    """How many pages were decoded, and how many times RLE strings were parsed."""
    counted = {"_decode": 0, "parse": 0}

    def count(owner, name):
        function = getattr(owner, name)

        def counting(*args):
            counted[name] += 1
            return function(*args)

        monkeypatch.setattr(owner, name, counting)

    count(LazyStack, "_decode")
    count(instances, "parse")
    return counted


def test_only_pages_of_the_window_are_decoded_and_strings_are_parsed_once(volume, counts):
    w = windows(volume, RandomWindows((2, 8, 8), 20, (1, 8, 8)))
    before = dict(counts)
    rows = iter(w)
    next(rows)
    assert counts["_decode"] - before["_decode"] == 2 + 1
    assert counts["parse"] - before["parse"] == 2
    assert len(list(rows)) == 19
    # Mirrored pages are pages of the window anyway.
    assert counts["_decode"] - before["_decode"] <= 20 * (2 + 1)
    assert counts["parse"] - before["parse"] == 2


def test_only_the_requested_columns_are_read(volume, counts):
    w = windows(volume, RandomWindows((2, 8, 8), 20), columns=["cells"])
    counts["_decode"] = 0
    list(w)
    assert counts == {"_decode": 0, "parse": 1}


def test_boxes_and_foreground_are_known_without_decoding(volume, counts, monkeypatch):
    monkeypatch.setattr(LazyLabels, "_read", lambda *_: pytest.fail("decoded"))
    sampler = RandomWindows((2, 8, 8), 9, min_foreground=0.01, class_weights={3: 1})
    for source in (volume, volume.to_iterable_dataset()):
        w = windows(source, sampler, columns=["image"])
        counts["parse"] = 0
        assert len(list(w)) == 9
        assert counts["parse"] <= 1, "strings are parsed once for all windows"


def test_a_window_that_is_not_asked_for_is_not_read(volume, counts):
    w = windows(volume, GridWindows((1, 23, 19)), columns=["image"])
    counts["_decode"] = 0
    assert [window["corner"][0] for window in w[5:]] == [5, 6]
    assert counts["_decode"] == 2


# --- the sequence -----------------------------------------------------------------------------


@pytest.fixture
def w(volume):
    """A sequence of 7 windows."""
    return windows(volume, RandomWindows((2, 8, 8), 7))


def check_same(found, expected):
    assert position(found) == position(expected)
    for column in TRUTH:
        assert found[column].dtype == DTYPES[column]
        assert np.array_equal(found[column], expected[column])


def test_indices_slices_batches_and_iteration_give_the_same_windows(w):
    expected = list(w)
    assert len(expected) == len(w) == 7
    for k in range(7):
        check_same(w[k], expected[k])
        check_same(w[k - 7], expected[k])
        check_same(w[np.int64(k)], expected[k])
    order = [position(window) for window in expected]
    assert positions(w[2:5]) == order[2:5]
    assert positions(w[::-2]) == order[::-2]
    assert positions(w.__getitems__([3, 0])) == [order[3], order[0]]
    assert positions(reversed(w)) == order[::-1]
    assert w[7:] == []
    for index in (7, -8, 10**20):
        with pytest.raises(IndexError, match=rf"index {index}: expected -7 to 6, or an index"):
            w[index]
    for index in (1.0, "1", None, [1]):
        with pytest.raises(TypeError, match="integer"):
            w[index]


def test_an_index_with_an_epoch_gives_the_window_of_that_epoch(w):
    later = positions(w[WindowIndex(1, k, 7)] for k in range(7))
    assert not {*later} & {*positions(w)}
    assert positions(w[WindowIndex(0, k, 7)] for k in range(7)) == positions(w)
    with pytest.raises(IndexError, match=r"index 7: .*whose epoch is lost where it becomes a"):
        w[int(WindowIndex(1, 0, 7))]
    with pytest.raises(IndexError, match="of a sampler of 8 windows: these are 7"):
        w[WindowIndex(1, 0, 8)]


def test_attributes_say_what_the_windows_are(load, w):
    assert (w.volumes, w.shape) == (("50",), (2, 8, 8))
    assert w.columns == ("image", "semantic", "cells", "organelles")
    both = datasets.concatenate_datasets([load(), load(split="validation")])
    for window in windows(both, GridWindows((9, 9)), columns=["cells"]):
        assert window["volume"].position == ["50", "24"].index(window["volume"])
        assert type(window["corner"]) is list


def test_windows_show_themselves(load, w):
    assert repr(w) == (
        "Windows(7 windows (2, 8, 8) of volume 50: image, semantic, cells, organelles)"
    )
    both = datasets.concatenate_datasets([load(), load(split="validation")])
    sampler = RandomWindows((3, 8, 8), 1000, (1, 4, 4))
    streamed = windows(both.to_iterable_dataset(), sampler, columns=["image", "cells"])
    assert repr(streamed) == (
        "Windows(1000 windows (3, 8, 8) of volumes 50, 24: image, cells; the source is in memory)"
    )
    html = streamed._repr_html_()
    size = 3 * 8 * 8 * 2 + 4 * 4 * 4
    for text in ("50 (7, 23, 19), 24 (", "1000", "(3, 8, 8)", "(1, 4, 4)", "image, cells",
                 f"{size} B per window", "a stream, in memory"):  # fmt: skip
        assert text in html, text
    assert "rows are read when needed" in w._repr_html_()


OF_STREAMS = [name for name in dir(datasets.IterableDataset) if not name.startswith("_")]


@pytest.mark.parametrize("name", OF_STREAMS)
def test_methods_of_streams_name_the_way_out(w, name):
    assert not hasattr(w, name)
    message = rf"'{name}': it is a sequence .*w\[:n\].*w.sampler\(\).*w.to_iterable_dataset\(\)"
    with pytest.raises(AttributeError, match=message):
        getattr(w, name)


def test_the_methods_that_streams_of_windows_had_are_among_them():
    assert {"take", "skip", "map", "filter", "shuffle", "batch", "set_epoch", "with_format",
            "state_dict", "load_state_dict", "shard"} <= {*OF_STREAMS}  # fmt: skip


def test_other_names_are_missing_as_usual(w):
    with pytest.raises(AttributeError, match=r"'Windows' object has no attribute 'nothing'$"):
        w.nothing  # noqa: B018
    assert not hasattr(w, "__array__")


@pytest.mark.parametrize("config", ["volumes", "slices"])
@pytest.mark.parametrize("streaming", [False, True])
def test_copies_and_pickles_give_the_same_windows(load, config, streaming):
    sampler = RandomWindows((8, 8), 5, min_foreground=0.02, class_weights={3: 1})
    w = windows(load(config, streaming=streaming), sampler)
    expected = list(w)
    for other in (pickle.loads(pickle.dumps(w)), copy.copy(w), copy.deepcopy(w)):
        for found, window in zip(other, expected, strict=True):
            check_same(found, window)
            assert found["volume"].position == 0


@pytest.mark.parametrize("config", ["volumes", "slices"])
def test_pickles_are_small_whatever_the_number_of_windows(scene, config):
    source = scene(config, keep_in_memory=False)
    sizes = []
    for count in (10, 10**9):
        w = windows(source, RandomWindows((128, 128), count))
        before = len(pickle.dumps(w))
        assert len(w[:3]) == 3
        assert len(pickle.dumps(w)) == before, "rows that were read are not pickled"
        sizes.append(before)
    assert sizes[1] - sizes[0] < 20
    assert sizes[1] < 10_000 < source.data.nbytes / 4


class RowsOnDisk(list):
    """Rows that are not pickled."""

    def __reduce__(self):
        return list, ()


def test_pickles_do_not_grow_with_the_number_of_slices():
    sizes = []
    for count in (10, 1000):
        zs = [*range(count)]
        rows = RowsOnDisk({"cells": np.zeros((4, 4), np.int32)} for _ in zs)
        sizes.append(len(pickle.dumps(RowVolume("50", rows, ["cells"], zs, zs))))
    assert sizes[1] - sizes[0] < 20


def test_a_stream_is_pickled_with_its_rows(load):
    w = windows(load(streaming=True), RandomWindows((2, 8, 8), 3), columns=["image"])
    assert len(pickle.dumps(w)) > 7 * 23 * 19 * 2


# --- memory -----------------------------------------------------------------------------------


@pytest.mark.parametrize("config", ["volumes", "slices"])
@pytest.mark.parametrize("streaming", [False, True])
def test_memory_does_not_grow_with_the_number_of_windows(scene, config, streaming):
    w = windows(scene(config, streaming=streaming), RandomWindows((256, 256), 10**9))
    counts = []
    tracemalloc.start()
    for begin, end in ((0, 40), (10**8, 10**8 + 100)):
        for index in range(begin, end):
            w[index]
        gc.collect()
        counts.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    # A column of 100 windows, of which semantic is the smallest, takes 6 MB.
    assert counts[1] - counts[0] < 2**20


def test_windows_with_packed_labels_say_so(volume):
    w = windows(volume, RandomWindows((2, 8, 8), 5), packed=True)
    assert repr(w).endswith(": image, semantic, cells, organelles; labels stay runs)")
    assert f"{2 * 8 * 8 * 3} B per window, and runs" in w._repr_html_()


@pytest.mark.parametrize("position", [-1, 7, 10**9])
def test_an_index_of_a_position_outside_is_refused(w, position):
    with pytest.raises(IndexError, match="use a sampler of these windows"):
        w[WindowIndex(1, position, len(w))]
