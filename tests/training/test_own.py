"""Training on own volumes: any kinds of instances, without classes, of 8 bits, of many sizes."""

import itertools
import pickle

import datasets
import numpy as np
import pytest
from support.own import CLASSES, FORMS, write_own

import platelet_em
from _platelet_em.training.mixture import Mixture
from platelet_em import (
    FORMAT,
    ArgumentError,
    GridWindows,
    LazyLabels,
    PackedLabels,
    RandomWindows,
    StratifiedWindows,
    ToTensors,
    collate,
    intensity_statistics,
    stitch,
    targets,
    windows,
)

SIDE = (16, 16)


@pytest.fixture(scope="module")
def own_sets(tmp_path_factory):
    """Form -> the set; "classes" is "multipage" with classes."""
    folder = tmp_path_factory.mktemp("own")
    sets = {form: write_own(folder / form, form) for form in FORMS}
    sets["classes"] = write_own(folder / "classes", "multipage", with_classes=True)
    return sets


@pytest.fixture(scope="module")
def load(own_sets, tmp_path_factory):
    """Load rows of a set, in the format."""
    cache = tmp_path_factory.mktemp("cache")

    def load_rows(form, config="slices", split="train", **options):
        return platelet_em.load_dataset(
            config, description=own_sets[form].description, split=split, cache_dir=cache, **options
        )

    return load_rows


def cut(truth, window, shape):
    """The arrays of a volume at the corner of a window."""
    z, y, x = window["corner"]
    box = (z, slice(y, y + shape[0]), slice(x, x + shape[1]))
    arrays = {"image": truth.image, **truth.labels}
    if truth.semantic is not None:
        arrays["semantic"] = truth.semantic
    return {name: array[box] for name, array in arrays.items()}


# --- windows ----------------------------------------------------------------------------------


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("config", ["slices", "volumes"])
@pytest.mark.parametrize("form", [*FORMS, "classes"])
def test_windows_are_those_of_the_files(own_sets, load, form, config, streaming):
    truths = own_sets[form].volumes
    for sampler in (GridWindows(SIDE, pad="reflect"), RandomWindows(SIDE, 9)):
        found = windows(load(form, config, streaming=streaming), sampler)
        first = next(iter(truths.values()))
        has_classes = first.semantic is not None
        assert found.columns == ("image", *["semantic"] * has_classes, *first.labels)
        for window in found:
            expected = cut(truths[window["volume"]], window, SIDE)
            assert {*window} == {*expected, "volume", "corner"}
            for name, array in expected.items():
                assert window[name].dtype == array.dtype
                np.testing.assert_array_equal(window[name], array)


def test_classes_that_are_null_in_all_rows_are_left_out_and_other_columns_are_not(load):
    unlabeled = load("stack", split="validation")
    message = "volume unlabeled: has no mitochondria: they are null .* without them"
    with pytest.raises(ArgumentError, match=message):
        windows(unlabeled, GridWindows(SIDE))
    assert windows(unlabeled, GridWindows(SIDE), columns=["image"]).columns == ("image",)
    mixed = datasets.concatenate_datasets([unlabeled, load("stack")])
    message = "volume unlabeled: has no semantic: they are null .* without them"
    with pytest.raises(ArgumentError, match=message):
        windows(mixed, GridWindows(SIDE))
    found = windows(mixed, GridWindows(SIDE), columns=["image"])
    assert {window["image"].dtype.name for window in found} == {"uint8", "uint16"}


def test_nulls_are_seen_beyond_the_first_row(load):
    rows = [*load("stack", split="validation"), *load("stack")]
    stream = datasets.IterableDataset.from_generator(lambda: iter(rows))
    with pytest.raises(ArgumentError, match="volume unlabeled: has no semantic"):
        windows(stream, GridWindows(SIDE))
    with pytest.raises(ArgumentError, match=r"volume unlabeled: has no mitochondria: .* leave it"):
        windows(stream, RandomWindows(SIDE, 1, min_foreground=0.1), columns=["image"])


def test_a_window_that_is_larger_than_a_picture_is_refused(load):
    with pytest.raises(ArgumentError, match=r"volume it's_0: an image window of 99 does not fit"):
        windows(load("pictures"), GridWindows((99, 99)))


@pytest.mark.parametrize("config", ["slices", "volumes"])
def test_pictures_are_stratified_and_listed_by_name(load, config):
    pictures = load("pictures", config)
    found = windows(pictures, StratifiedWindows(SIDE, bins=(2, 2)))
    assert len(found) == 4 * len(found.volumes)
    assert found.volumes[:2] == ("it's_0", "Probe 1 é")
    [listed] = windows(pictures, {"Probe 1 é": [(0, 2, 3)]}, shape=SIDE)
    assert (listed["volume"], listed["corner"]) == ("Probe 1 é", [0, 2, 3])


# --- instances that samplers go by ------------------------------------------------------------


@pytest.mark.parametrize("config", ["slices", "volumes"])
@pytest.mark.parametrize("form", [*FORMS, "classes"])
def test_foreground_is_the_first_kind_of_instances(own_sets, load, form, config):
    truths = own_sets[form].volumes
    kind = next(iter(next(iter(truths.values())).labels))
    found = windows(load(form, config), RandomWindows(SIDE, 12, min_foreground=0.02))
    shares = [(window[kind] > 0).mean() for window in found]
    assert min(shares) >= 0.02
    assert min((w[kind] > 0).mean() for w in windows(load(form), RandomWindows(SIDE, 60))) < 0.02


def test_foreground_is_another_kind_by_name(load):
    sampler = RandomWindows(SIDE, 12, min_foreground=0.01, foreground="pores")
    assert "foreground='pores'" in repr(sampler)
    found = windows(load("multipage"), sampler, columns=["image", "cells"])
    assert found.columns == ("image", "cells")
    positions = [window["corner"] for window in found]
    labeled = windows(load("multipage"), positions, columns=["pores"], shape=SIDE)
    assert all((window["pores"] > 0).mean() >= 0.01 for window in labeled)


def test_classes_draw_windows_about_instances_of_them(load):
    weights = {2: 1}
    sampler = RandomWindows((1, 1), 60, class_weights=weights, foreground="organelles")
    found = windows(load("classes", "volumes"), sampler)
    boxes = load("classes", "volumes")[0]["organelles"].bboxes
    for window in found:
        corner = np.array(window["corner"])
        assert ((boxes[:, :3] <= corner) & (corner < boxes[:, 3:])).all(axis=1).any()
    # No instance of a cell has class 0, so those windows are anywhere.
    anywhere = windows(load("classes"), RandomWindows((1, 1), 60, class_weights={0: 1}))
    assert len({tuple(window["corner"]) for window in anywhere}) > 50


@pytest.mark.parametrize("option", [{"min_foreground": 0.1}, {"class_weights": {2: 1}}])
def test_volumes_without_what_is_asked_for_get_no_windows(option):
    def make_row(name, ids, classes):
        labels = np.zeros((2, 3), np.int32)
        labels[0, : len(ids)] = ids
        found = LazyLabels.from_array(labels)
        labels = LazyLabels(found.shape, found.ids, found.rle, {"class_id": classes})
        return {"volume": name, "z": 0, "particles": labels}

    rows = [make_row("none", [], []), make_row("some", [3, 4], [1, 2]), make_row("no", [], [])]
    stream = datasets.IterableDataset.from_generator(lambda: iter(rows))
    found = windows(stream, RandomWindows((2, 2), 9, **option))
    assert {window["volume"] for window in found} == {"some"}
    stream = datasets.IterableDataset.from_generator(lambda: iter(rows[:1]))
    with pytest.raises(ArgumentError, match="volume none: expected"):
        windows(stream, RandomWindows((2, 2), 9, **option))[0]


def test_weights_of_classes_need_classes(load):
    for config in ("slices", "volumes"):
        with pytest.raises(ArgumentError, match="column 'cells': class_weights need labels with"):
            windows(load("multipage", config), RandomWindows(SIDE, 1, class_weights={1: 1}))
    with pytest.raises(ArgumentError, match="expected 3 weights, one per class, got 7"):
        windows(load("classes"), RandomWindows(SIDE, 1, class_weights=[1] * 7))


# --- loaders ----------------------------------------------------------------------------------


SPAWN = pytest.param("spawn", True, marks=pytest.mark.long)


@pytest.mark.parametrize(("method", "packed"), [("fork", False), ("fork", True), SPAWN])
def test_workers_read_the_windows_of_each_epoch(own_sets, load, packed, method):
    from torch.utils.data import DataLoader

    found = windows(load("pictures"), RandomWindows(SIDE, 8), packed=packed)
    loader = DataLoader(
        found, 4, sampler=found.sampler(), num_workers=2, collate_fn=collate,
        multiprocessing_context=method,
    )  # fmt: skip
    for _ in range(2):
        for batch in loader:
            labels = batch["particles"]
            assert isinstance(labels, PackedLabels) == packed
            dense = labels.dense() if packed else labels.numpy()
            for volume, corner, array in zip(batch["volume"], batch["corner"], dense, strict=True):
                truth = own_sets["pictures"].volumes[volume]
                expected = cut(truth, {"corner": corner}, SIDE)["particles"]
                np.testing.assert_array_equal(array, expected)


def test_a_batch_has_images_of_8_and_of_16_bits(load):
    import torch

    mixed = datasets.concatenate_datasets([load("stack"), load("stack", split="validation")])
    found = windows(mixed, GridWindows(SIDE), columns=["image"])
    batch = [found[0], found[-1]]
    assert {window["image"].dtype.name for window in batch} == {"uint8", "uint16"}
    images = collate(batch)["image"]
    assert images.dtype == torch.int32
    for image, window in zip(images, batch, strict=True):
        np.testing.assert_array_equal(image, window["image"])
    statistics = intensity_statistics(mixed)
    tensors = ToTensors(normalize="minmax", statistics=statistics)
    images = tensors.collate([*found])["image"]
    assert images.dtype == torch.float32
    assert 0 <= images.min() < 0.01
    assert 0.99 < images.max() <= 1


def test_the_stream_of_windows_is_the_sequence(load):
    found = windows(load("multipage", "volumes"), GridWindows((3, *SIDE)))
    for window, streamed in zip(found, found.to_iterable_dataset(), strict=True):
        np.testing.assert_array_equal(window["pores"], streamed["pores"])


@pytest.mark.parametrize("form", [*FORMS, "classes"])
def test_rows_and_windows_become_tensors(own_sets, load, form):
    import torch

    rows = load(form)
    kinds = {*next(iter(own_sets[form].volumes.values())).labels}
    for record in (rows[0], rows.with_format(None)[0], windows(rows, GridWindows(SIDE))[0]):
        tensors = ToTensors()(record)
        assert tensors["image"].dtype == torch.float32
        assert float(tensors["image"].max()) == np.asarray(record["image"]).max()
        for kind in kinds:
            assert tensors[kind].dtype == torch.int64
        if isinstance(record[next(iter(kinds))], LazyLabels):
            np.testing.assert_array_equal(tensors[kind], record[kind])
        assert isinstance(tensors["volume"], str)
    if form in ("pictures", "multipage"):
        assert ToTensors()(rows[0])["semantic"] is None


def test_labels_are_those_of_windows_and_of_lazy_columns_only():
    record = {
        "image": np.ones((2, 2), np.uint8),
        "particles": np.ones((2, 2), np.int32),
        "lazy": LazyLabels.from_array(np.eye(2, dtype=np.int32)),
        "preview": np.ones((2, 2, 3), np.uint8),
        "weights": np.ones((2, 2), np.float32),
        "counts": np.ones(3, np.int64),
    }
    tensors = ToTensors(labels="uint8")(record)
    kinds = {name: str(getattr(value, "dtype", "")) for name, value in tensors.items()}
    assert kinds == {
        "image": "torch.float32",
        "particles": "torch.uint8",
        "lazy": "torch.uint8",
        "preview": "uint8",
        "weights": "float32",
        "counts": "int64",
    }


def test_windows_of_own_labels_are_stitched_and_have_targets(own_sets, load):
    volumes = load("multipage", "volumes")
    grid = GridWindows((3, *SIDE), stride=(2, 9, 9))
    found = windows(volumes, grid, columns=["organelles"])
    pairs = ((window["corner"], window["organelles"]) for window in found)
    truth = own_sets["multipage"].volumes["first"].labels["organelles"]
    np.testing.assert_array_equal(stitch(pairs, truth.shape), truth)
    lazy = volumes[0]["organelles"]
    np.testing.assert_array_equal(targets.boundaries(lazy), targets.boundaries(truth))
    page = load("pictures")[0]["particles"]
    assert targets.center_offsets(page).shape == (2, *page.shape)


# --- statistics -------------------------------------------------------------------------------


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("config", ["slices", "volumes"])
def test_statistics_of_each_picture(own_sets, load, config, streaming):
    found = intensity_statistics(load("pictures", config, streaming=streaming))
    truths = own_sets["pictures"].of("train")
    assert [*found] == [truth.name for truth in truths]
    for truth in truths:
        measured = found[truth.name]
        assert (measured.minimum, measured.maximum) == (truth.image.min(), truth.image.max())
        assert measured.mean == pytest.approx(truth.image.mean())
        assert measured.low == pytest.approx(np.percentile(truth.image, 0.5))


def test_statistics_of_volumes_whose_rows_are_mixed(own_sets, load):
    stack = load("stack")
    mixed = datasets.concatenate_datasets([stack, load("stack", split="validation")]).shuffle(1)
    found = intensity_statistics({"all": mixed})
    for name, truth in own_sets["stack"].volumes.items():
        assert found[name].mean == pytest.approx(truth.image.mean())


def test_class_weights_are_of_as_many_classes_as_the_dataset_names(own_sets, load):
    [truth] = own_sets["stack"].of("train")
    voxels = np.bincount(truth.semantic.ravel(), minlength=len(CLASSES))
    expected = voxels.sum() / (len(CLASSES) * voxels)
    for streaming in (False, True):
        found = targets.class_weights(load("stack", streaming=streaming))
        np.testing.assert_allclose(found, expected)
    # Class 0 of an own volume counts, whatever it is called.
    rows = load("stack").map(lambda row: {"volume": "test"})
    np.testing.assert_allclose(targets.class_weights(rows), expected)
    partly = targets.class_weights(rows, partly_labeled=["test"])
    np.testing.assert_allclose(partly, [0, *(voxels[1:].sum() / (2 * voxels[1:]))])
    assert targets.class_weights(rows, classes=5)[3:].tolist() == [0, 0]
    unnamed = load("stack").select_columns(["volume", "semantic"])
    np.testing.assert_allclose(targets.class_weights(unnamed), expected)


def test_class_weights_need_classes(load):
    with pytest.raises(ArgumentError, match="expected rows with 'semantic', got one without"):
        targets.class_weights(load("pictures"))


# --- many volumes -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def many(load):
    """2,000 volumes of one row each."""
    # Under the format, datasets would encode the arrays again.
    rows = load("pictures").with_format(None).select([0] * 2000).flatten_indices()
    names = [f"picture {k}" for k in range(2000)]
    return rows.remove_columns("volume").add_column("volume", names).with_format(FORMAT)


def test_many_volumes_are_shown_and_pickled_in_little_room(many, tmp_path):
    many.save_to_disk(tmp_path / "rows")
    found = windows(datasets.load_from_disk(tmp_path / "rows"), RandomWindows(SIDE, 3000))
    assert len(found.volumes) == 2000
    assert "picture 9, and 1990 others: image, particles" in repr(found)
    assert "and 1990 others" in found._repr_html_()
    assert len(pickle.dumps(found)) < 2000 * 400
    again = pickle.loads(pickle.dumps(found))
    assert [w["volume"] for w in again[:50]] == [w["volume"] for w in found[:50]]
    state = found.sampler().state_dict()
    assert len(str(state)) < 1000
    again.sampler().load_state_dict(state)
    other = windows(many.select(range(1999)), RandomWindows(SIDE, 3000)).sampler()
    with pytest.raises(ArgumentError, match="it was taken with volumes="):
        other.load_state_dict(state)


def test_few_rows_are_kept(many):
    found = windows(many, GridWindows(SIDE))
    kept = {id(volume._kept) for volume in found._volumes}
    assert len(kept) == 1
    for i in range(0, len(found), 5):
        found[i]
    assert len(found._volumes[0]._kept) <= 1000


def test_a_mixture_of_many_volumes_is_evenly_spread():
    shares = [1, 3] * 5000
    mixture = Mixture(shares)
    found = [mixture.find(index) for index in range(mixture.count)]
    assert np.bincount(found).tolist() == shares
    # A third of the windows of those with three stand before those with one.
    assert found[:5000] == [*range(1, 10000, 2)]
    assert [k % 2 for k in itertools.islice(found, 5000, 15000)].count(0) == 5000
