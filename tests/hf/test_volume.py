"""`RowVolume`: rows of `slices`, or a row of `volumes`, seen as one volume."""

import pickle

import numpy as np
import pytest

import platelet_em
from _platelet_em.hf.volume import RowVolume

COLUMNS = {"image": "images", "semantic": "semantic", "cells": "cell", "organelles": "organelle"}
DEPTH = 9
BOXES = [
    np.s_[0:9, 0:23, 0:31],
    np.s_[2:5, 4:11, 30:31],
    np.s_[8:9, 0:1, 7:20],
]


class CountedRows(list):
    """Rows that count how often one of them is read."""

    count = 0

    def __getitem__(self, index):
        self.count += 1
        return super().__getitem__(index)


@pytest.fixture(scope="module")
def rows(archives, cache):
    """Configuration -> rows of volume 50 in the format, map-style."""
    options = {"data_dir": archives, "cache_dir": cache, "split": "train"}
    return {name: platelet_em.load_dataset(name, **options) for name in ("slices", "volumes")}


def open_rows(rows, config, columns=COLUMNS, **options):
    """The volume of all rows of a configuration."""
    zs = range(DEPTH) if config == "slices" else None
    return RowVolume("50", rows, list(columns), range(len(rows)), zs, **options)


@pytest.fixture(params=["slices", "volumes"])
def config(request):
    return request.param


@pytest.fixture(params=["dataset", "list"])
def volume(request, rows, config):
    found = rows[config]
    return open_rows(found if request.param == "dataset" else list(found), config)


def test_it_has_the_name_shape_and_kinds_of_the_volume(volume, publication):
    assert volume.name == "50"
    assert volume.shape == publication.volumes["50"].images.shape
    assert volume.kinds == ("cells", "organelles")


def test_its_pages_are_the_truth(volume, publication):
    truth = publication.volumes["50"]
    for z in range(DEPTH):
        image, semantic = volume.image(z), volume.semantic(z)
        assert (image.dtype, semantic.dtype) == (np.uint16, np.uint8)
        assert np.array_equal(image, truth.images[z])
        assert np.array_equal(semantic, truth.semantic[z])


@pytest.mark.parametrize("kind", ["cells", "organelles"])
def test_its_labels_are_the_truth(volume, kind, publication):
    truth = getattr(publication.volumes["50"], COLUMNS[kind])
    labels = volume.labels(kind)
    assert isinstance(labels, platelet_em.LazyLabels)
    assert labels.ids.tolist() == np.unique(truth)[1:].tolist()
    assert np.array_equal(labels, truth)
    for z in range(DEPTH):
        in_slice = volume.labels(kind, z)
        assert in_slice.ids.tolist() == [i for i in np.unique(truth[z]) if i]
        assert np.array_equal(in_slice, truth[z])


@pytest.mark.parametrize("box", BOXES, ids=str)
@pytest.mark.parametrize("column", COLUMNS)
def test_its_windows_are_those_of_the_truth(volume, column, box, publication):
    truth = getattr(publication.volumes["50"], COLUMNS[column])
    assert np.array_equal(volume.window(column, box), truth[box])


def test_properties_from_slices_are_those_of_the_volume(rows):
    joined = open_rows(rows["slices"], "slices").labels("organelles").properties
    expected = dict(open_rows(rows["volumes"], "volumes").labels("organelles").properties)
    del expected["touches_border"]
    assert list(joined) == list(expected) == ["class_id", "purity", "cell"]
    for name, values in expected.items():
        assert joined[name].dtype == values.dtype
        assert np.array_equal(joined[name], values)


def test_rows_need_not_be_in_order_or_of_one_volume(rows, publication):
    others = [{"image": None}] * 2
    shuffled = [*others, *list(rows["slices"])[::-1]]
    positions = range(len(shuffled) - 1, 1, -1)
    volume = RowVolume("50", shuffled, ["image", "cells"], positions, range(DEPTH))
    assert volume.kinds == ("cells",)
    assert np.array_equal(volume.labels("cells"), publication.volumes["50"].cell)


def test_it_is_pickled_without_the_rows_that_it_read(volume, publication):
    volume.labels("cells", 0)
    assert volume._kept
    again = pickle.loads(pickle.dumps(volume))
    assert not again._kept
    assert again.shape == volume.shape
    assert np.array_equal(again.labels("cells"), publication.volumes["50"].cell)


def test_rows_are_kept_so_that_each_is_read_once(rows):
    counted = CountedRows(rows["slices"])
    volume = open_rows(counted, "slices")
    for _ in range(2):
        volume.labels("cells")
        volume.image(3)
    assert counted.count == DEPTH


def test_without_keep_rows_only_the_last_one_is_kept(rows):
    counted = CountedRows(rows["slices"])
    volume = open_rows(counted, "slices", keep_rows=False)
    before = counted.count
    for z, reads in ((5, 1), (5, 1), (6, 2), (5, 3)):
        volume.image(z)
        volume.labels("cells", z)
        assert counted.count - before == reads


@pytest.mark.parametrize(
    ("config", "axes"), [("slices", r"\(y, x\)"), ("volumes", r"\(z, y, x\)")]
)
def test_a_column_without_voxels_is_an_error(rows, config, axes):
    message = f"volume 50, column 'volume': expected images or labels of the axes {axes}, got '50'"
    with pytest.raises(platelet_em.ArgumentError, match=message):
        open_rows(rows[config], config, ["volume", "image"])


@pytest.mark.parametrize("config", ["slices", "volumes"])
def test_a_second_column_without_voxels_is_an_error(rows, config):
    with pytest.raises(platelet_em.ArgumentError, match=r"column 'volume': .* shape .*, got '50'"):
        open_rows(rows[config], config, ["image", "volume"])


def test_a_slice_of_another_shape_is_an_error(rows):
    found = list(rows["slices"])
    found[4] = {**found[4], "semantic": found[4]["semantic"][1:]}
    volume = open_rows(found, "slices")
    message = r"volume 50, slice 4, column 'semantic': .* \(23, 31\), got \(22, 31\)"
    with pytest.raises(platelet_em.ArgumentError, match=message):
        volume.semantic(4)
