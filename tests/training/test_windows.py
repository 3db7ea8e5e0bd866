"""`windows`: compared with dense arrays, from every kind of source, and what is read for them."""

import itertools
import pickle

import datasets
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import publisher
from support.windows import TRUTH, check_window, position, positions

import platelet_em
from _platelet_em.arrays import labels
from _platelet_em.arrays.page import encode_page
from platelet_em import GridWindows, LazyLabels, LazyStack, RandomWindows, windows

# --- compared with dense arrays ---------------------------------------------------------------


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
        GridWindows(shape, stride, label_shape),
        RandomWindows(shape, 4, label_shape),
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
    sampler = RandomWindows((12, 30), 8, (5, 8), class_weights={1: 1, 3: 1, 4: 2})
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


def test_foreground_and_classes_apply_to_the_voxels(scene):
    """The estimate from bounding boxes against the voxels themselves."""

    def read(**options):
        sampler = RandomWindows((4, 48, 48), 60, **options)
        return list(windows(scene(), sampler, columns=["organelles", "semantic"]))

    def foreground(found):
        return np.mean([(w["organelles"] > 0).mean() for w in found])

    def share_with(index, found):
        return np.mean([(w["semantic"] == index).any() for w in found])

    unconstrained = read()
    assert foreground(read(min_foreground=0.15)) > max(0.14, 1.5 * foreground(unconstrained))
    for index in (2, 3, 4):
        weighted = share_with(index, read(class_weights={index: 1}))
        assert weighted > max(0.9, share_with(index, unconstrained))


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
        (lambda load: load("slices"), GRID, None, "need rows of volumes, these are rows of slice"),
        (
            lambda load: datasets.concatenate_datasets([load("slices")] * 2),
            GridWindows((4, 4)),
            None,
            "slice 0 of volume 50 appears twice, in rows 0 and 7",
        ),
        (lambda load: load(), (4, 4), None, "sampler: expected RandomWindows or"),
        (lambda load: load(), GridWindows((99, 4, 4), pad=None), None, "does not fit into"),
        (lambda load: load(), GRID, ["nothing"], "the column 'nothing'"),
        (
            lambda load: as_python_values(load(streaming=True)),
            GRID,
            ["nothing"],
            "the column 'nothing'",
        ),
        (
            lambda load: load().remove_columns("organelles"),
            FOREGROUND,
            ["image"],
            "the column 'organelles'",
        ),
        (
            lambda load: load().remove_columns("organelles").rename_column("cells", "organelles"),
            FOREGROUND,
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
    "columns", ["image", [], None, [["image"]], ["z"], ["image", "image"], ["image", "volume"]]
)
def test_invalid_columns_are_refused(load, columns):
    with pytest.raises(platelet_em.ArgumentError, match="columns: expected a list"):
        windows(load("slices"), GridWindows((4, 4)), columns=columns)


@pytest.mark.parametrize("shape", [(4, 4), (1, 4, 4)])
def test_images_instead_of_foreground_labels_are_refused(shape):
    row = {"volume": "50", "organelles": LazyStack([np.zeros((4, 4), np.uint16)])}
    source = datasets.IterableDataset.from_generator(lambda: iter([row]))
    sampler = RandomWindows(shape, 1, min_foreground=0.1)
    with pytest.raises(platelet_em.ArgumentError, match="need labels with 'class_id', got images"):
        windows(source, sampler, columns=["organelles"])


def test_slices_of_different_shapes_are_refused_when_they_are_read():
    rows = [{"volume": "50", "z": z, "image": np.zeros((4, 4 + z), np.uint16)} for z in range(2)]
    source = datasets.IterableDataset.from_generator(lambda: iter(rows))
    stream = iter(windows(source, GridWindows((4, 4)), columns=["image"]))
    next(stream)
    message = r"50, slice 1, .* shape \(4, 4\), got \(4, 5\)"
    with pytest.raises(platelet_em.ArgumentError, match=message):
        next(stream)


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
    count(labels, "parse")
    return counted


def test_only_pages_of_the_window_are_decoded_and_strings_are_parsed_once(volume, counts):
    stream = windows(volume, RandomWindows((2, 8, 8), 20, (1, 8, 8)))
    before = dict(counts)
    rows = iter(stream)
    next(rows)
    assert counts["_decode"] - before["_decode"] == 2 + 1
    assert counts["parse"] - before["parse"] == 2
    assert len(list(rows)) == 19
    # Mirrored pages are pages of the window anyway.
    assert counts["_decode"] - before["_decode"] <= 20 * (2 + 1)
    assert counts["parse"] - before["parse"] == 2


def test_only_the_requested_columns_are_read(volume, counts):
    stream = windows(volume, RandomWindows((2, 8, 8), 20), columns=["cells"])
    counts["_decode"] = 0
    list(stream)
    assert counts == {"_decode": 0, "parse": 1}


def test_boxes_and_areas_are_known_without_decoding(volume, monkeypatch):
    monkeypatch.setattr(LazyLabels, "_read", lambda *_: pytest.fail("decoded"))
    sampler = RandomWindows((2, 8, 8), 9, min_foreground=0.01, class_weights={3: 1})
    for source in (volume, volume.to_iterable_dataset()):
        assert len(list(windows(source, sampler, columns=["image"]))) == 9


def test_resuming_reads_no_window_twice(volume, counts):
    stream = windows(volume, GridWindows((1, 23, 19)), columns=["image"])
    rows = iter(stream)
    for _ in range(5):
        next(rows)
    state = stream.state_dict()
    counts["_decode"] = 0
    stream.load_state_dict(state)
    assert [w["corner"][0] for w in stream] == [5, 6]
    assert counts["_decode"] == 2


def test_a_map_style_source_is_pickled_by_file_name(scene):
    source = scene(keep_in_memory=False)
    stream = windows(source, GridWindows((2, 128, 128)))
    assert len(list(stream)) == 4 * 4
    assert len(pickle.dumps(stream)) < 100_000 < source.data.nbytes / 4
