"""Volumes of the publisher, against the dense arrays that their archives were made of."""

import dataclasses
import gc
import json

import numpy as np
import pytest
from support import publisher

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.errors import ImageFormatError, LabelFormatError, MissingMemberError
from _platelet_em.facts import PUBLISHED
from _platelet_em.publisher.archive import Source, find_source
from _platelet_em.publisher.volume import (
    ArchiveVolume,
    LabeledVolume,
    open_images,
)

SOURCES = ["json", "tif"]
NAMES = ["50", "24"]
FIRST = PUBLISHED.volumes[0]


def numbered(array):
    """Labels numbered by their first appearance in (z, y, x) order."""
    result = np.zeros_like(array)
    values = [value for value in dict.fromkeys(array.ravel().tolist()) if value]
    for number, value in enumerate(values, 1):
        result[array == value] = number
    return result


class Truth:
    """The dense arrays of a volume, (z, y, x), by column; ids of TIFs follow their appearance."""

    def __init__(self, dense, source):
        ids = {"json": np.asarray, "tif": numbered}[source]
        self.columns = {
            "image": dense.images,
            "semantic": dense.semantic,
            "cells": ids(dense.cell),
            "organelles": ids(dense.organelle),
        }

    def properties(self, label):
        """class_id, purity and cell of an organelle."""
        inside = self.columns["organelles"] == label
        classes = np.bincount(self.columns["semantic"][inside], minlength=7)
        class_id = 2 + int(classes[2:].argmax()) if classes[2:].any() else 0
        cells = np.bincount(self.columns["cells"][inside])
        cell = 0
        if len(cells) > 1 and cells[1:].max() >= cells[0]:
            cell = 1 + int(cells[1:].argmax())
        return class_id, np.float32(classes[class_id] / inside.sum()), cell


@pytest.fixture(scope="module", params=SOURCES)
def source(request):
    return request.param


@pytest.fixture(scope="module", params=NAMES)
def volume(request, source, archives):
    spec = PUBLISHED.volume(request.param)
    with ArchiveVolume(
        find_source(archives, source, PUBLISHED), spec, source, PUBLISHED
    ) as opened:
        yield opened


@pytest.fixture(scope="module")
def truth(volume, source, publication):
    return Truth(publication.volumes[volume.name], source)


def ship(dense, path):
    """A folder of the publisher whose two volumes are both `dense`."""
    folder = publisher.Publication(dict.fromkeys(NAMES, dense)).folder(path, "json")
    return find_source(folder, "json", PUBLISHED)


def open_volume(source, label_source="json"):
    return ArchiveVolume(source, FIRST, label_source, PUBLISHED)


def small(**arrays):
    """A volume of 2 x 3 x 4 voxels without labels, but for the given arrays."""
    shape = (2, 3, 4)
    images = np.arange(24).reshape(shape).astype(np.uint16)
    semantic, cell, organelle = (np.zeros(shape, np.int32) for _ in range(3))
    fields = {"images": images, "semantic": semantic.astype(np.uint8)}
    return publisher.Volume(**{**fields, "cell": cell, "organelle": organelle, **arrays})


def check_labels(labels, dense):
    """Labels have the voxels of a dense array, ids ascend, and each has voxels."""
    np.testing.assert_array_equal(np.asarray(labels), dense)
    assert labels.ids.tolist() == np.unique(dense[dense > 0]).tolist()


# The view of a volume


def test_a_volume_has_a_name_a_shape_and_kinds(volume, truth):
    assert volume.name in NAMES
    assert volume.shape == truth.columns["image"].shape
    assert volume.kinds == ("cells", "organelles")


def test_slices_of_images_and_classes_are_the_dense_arrays(volume, truth):
    # In any order, and again.
    for z in [*reversed(range(volume.shape[0])), 0]:
        for read, column, dtype in (
            (volume.image, "image", np.uint16),
            (volume.semantic, "semantic", np.uint8),
        ):
            page = read(z)
            assert page.dtype == dtype
            np.testing.assert_array_equal(page, truth.columns[column][z])


@pytest.mark.parametrize("kind", ["cells", "organelles"])
def test_labels_are_the_dense_arrays(kind, volume, truth):
    check_labels(volume.labels(kind), truth.columns[kind])
    for z in reversed(range(volume.shape[0])):
        check_labels(volume.labels(kind, z), truth.columns[kind][z])


def test_classes_are_labels_whose_ids_are_class_indices(volume, truth):
    check_labels(volume.classes, truth.columns["semantic"])


@pytest.mark.parametrize("column", ["image", "semantic", "cells", "organelles"])
@pytest.mark.parametrize(
    "box",
    [
        (slice(0, 4), slice(0, 23), slice(0, 31)),
        (slice(1, 3), slice(5, 20), slice(7, 8)),
        (slice(3, 4), slice(22, 23), slice(0, 31)),
    ],
    ids=str,
)
def test_windows_are_those_of_the_dense_arrays(column, box, volume, truth):
    window = volume.window(column, box)
    expected = truth.columns[column][box]
    np.testing.assert_array_equal(window, expected)
    dtypes = {"image": np.uint16, "semantic": np.uint8}
    assert window.dtype == dtypes.get(column, np.int32)


def test_a_slice_that_the_volume_does_not_have_is_refused(volume):
    depth = volume.shape[0]
    for read in (volume.semantic, lambda z: volume.labels("cells", z)):
        with pytest.raises(IndexError, match=str(depth)):
            read(depth)
    with pytest.raises(ImageFormatError, match=f"page {depth}: expected a readable TIF"):
        volume.image(depth)


@pytest.mark.parametrize("seed", range(6))
def test_volumes_of_odd_shapes(seed, tmp_path):
    shape = [(1, 5, 6), (4, 1, 9), (5, 8, 2), (3, 12, 11), (6, 7, 9), (2, 20, 20)][seed]
    dense = publisher.random_volume(shape, seed + 50)
    columns = Truth(dense, "json").columns
    assert columns["cells"].any()
    with open_volume(ship(dense, tmp_path)) as volume:
        for kind in volume.kinds:
            check_labels(volume.labels(kind), columns[kind])
            for z in range(shape[0]):
                check_labels(volume.labels(kind, z), columns[kind][z])
        for z in range(shape[0]):
            np.testing.assert_array_equal(volume.semantic(z), columns["semantic"][z])


# Properties of whole objects


def test_organelles_have_class_purity_and_cell_of_the_whole_object(volume, truth):
    labels = [volume.labels("organelles")]
    labels += [volume.labels("organelles", z) for z in range(volume.shape[0])]
    for each in labels:
        columns = (each.properties[name] for name in ("class_id", "purity", "cell"))
        found = list(zip(*columns, strict=True))
        assert found == [truth.properties(label) for label in each.ids]


def test_cells_have_no_properties(volume):
    assert volume.labels("cells").properties == {}


def test_overlaps_are_resolved_and_ids_ascend_in_any_order_of_keys(tmp_path):
    labels = {
        ".info": {"shape": [2, 3, 4]},
        "9": "1 14",
        "2": "5 6",
        "30": "6 1 24 1",
        "4": "24 1",
    }
    path = ship(small(), tmp_path).path
    for name in ("cell", "organelle"):
        (path / f"labels-instance/50-instance-{name}.json").write_text(json.dumps(labels))
    truth = publisher.decode(labels)
    with open_volume(find_source(path, "json", PUBLISHED)) as volume:
        for kind in ("cells", "organelles"):
            check_labels(volume.labels(kind), truth)
            assert volume.labels(kind).ids.tolist() == [2, 4, 9, 30]
            for z in range(2):
                check_labels(volume.labels(kind, z), truth[z])
        assert volume.labels("organelles").properties["cell"].tolist() == [2, 4, 9, 30]


def test_labels_without_voxels_are_no_instances(tmp_path):
    labels = {".info": {"shape": [2, 3, 4]}, "3": "", "5": "7 2", "6": "7 2"}
    path = ship(small(), tmp_path).path
    (path / "labels-instance/50-instance-organelle.json").write_text(json.dumps(labels))
    with open_volume(find_source(path, "json", PUBLISHED)) as volume:
        assert volume.labels("organelles").ids.tolist() == [6]


# Volumes that have only some labels


def labeled(**columns):
    """A volume in memory of 1 x 1 x 4 voxels, with labels of these columns."""
    labels = {
        column: LazyLabels.from_array(np.array(voxels).reshape(1, 1, 4))
        for column, voxels in columns.items()
    }
    image = np.arange(4, dtype=np.uint16).reshape(1, 1, 4)
    return LabeledVolume("mine", (1, 1, 4), lambda z: image[z], labels, PUBLISHED)


def test_a_volume_has_the_kinds_that_it_has_labels_for():
    volume = labeled(semantic=[0, 1, 2, 2], organelles=[0, 0, 5, 5])
    assert volume.kinds == ("organelles",)
    assert set(volume.labels("organelles").properties) == {"class_id", "purity"}
    with pytest.raises(KeyError, match="cells"):
        volume.labels("cells")


def test_without_classes_instances_only_have_their_parent():
    volume = labeled(cells=[1, 1, 0, 0], organelles=[0, 5, 5, 0])
    assert not volume.has_semantic
    assert volume.kinds == ("cells", "organelles")
    properties = volume.labels("organelles").properties
    assert {name: values.tolist() for name, values in properties.items()} == {"cell": [1]}
    with pytest.raises(KeyError, match="semantic"):
        volume.semantic(0)
    assert labeled(organelles=[0, 5, 5, 0]).labels("organelles").properties == {}


def test_a_volume_says_whether_it_has_classes():
    assert labeled(semantic=[0, 1, 2, 2]).has_semantic


def test_windows_of_a_volume_in_memory():
    volume = labeled(semantic=[0, 1, 2, 2], organelles=[0, 0, 5, 5])
    box = (slice(0, 1), slice(0, 1), slice(1, 3))
    found = {c: volume.window(c, box).tolist() for c in ("image", "semantic", "organelles")}
    assert found == {"image": [[[1, 2]]], "semantic": [[[1, 2]]], "organelles": [[[0, 5]]]}


def test_columns_of_the_volume_decide_which_files_are_read(tmp_path):
    path = ship(small(), tmp_path).path
    (path / "labels-instance/50-instance-cell.json").unlink()
    label_files = tuple(file for file in FIRST.label_files if file[0] != "cells")
    spec = dataclasses.replace(FIRST, label_files=label_files)
    with ArchiveVolume(Source(path, PUBLISHED), spec, "json", PUBLISHED) as volume:
        assert volume.kinds == ("organelles",)


# Files that do not match each other


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (np.zeros((2, 3, 4), np.uint8), r"got uint8 pages of shape \(3, 4\)"),
        (np.zeros((2, 3, 4, 3), np.uint16), r"got uint16 pages of shape \(3, 4, 3\)"),
        (np.zeros((2, 3, 4), np.int16), r"got int16 pages of shape \(3, 4\)"),
    ],
)
def test_images_of_another_dtype_or_shape_are_refused(images, found, tmp_path):
    source = ship(small(images=images), tmp_path)
    expected = rf"50-images\.tif: expected uint16 pages of the axes \(y, x\), {found}: convert"
    with pytest.raises(ImageFormatError, match=expected):
        open_images(source, FIRST)


@pytest.mark.parametrize("name", ["semantic", "cell", "organelle"])
@pytest.mark.parametrize("shape", [(1, 3, 4), (2, 4, 3)], ids=str)
def test_labels_of_another_shape_than_the_images_are_refused(name, shape, tmp_path):
    source = ship(small(**{name: np.ones(shape, np.uint8)}), tmp_path)
    found = str(shape).replace("(", r"\(").replace(")", r"\)")
    expected = rf"50-.*{name}\.json: expected the image's shape \(2, 3, 4\), got shape {found}"
    with pytest.raises(LabelFormatError, match=expected):
        open_volume(source)


# Files are closed


@pytest.fixture
def opened(monkeypatch):
    """The files that sources open."""
    files = []
    open_file = Source.open

    def spy(self, name):
        files.append(open_file(self, name))
        return files[-1]

    monkeypatch.setattr(Source, "open", spy)
    return files


def test_files_are_closed_at_the_end_of_a_block(opened, archives):
    with open_volume(find_source(archives, "json", PUBLISHED)) as volume:
        assert [file.closed for file in opened] == [False, True, True, True]
    assert all(file.closed for file in opened)
    with pytest.raises(ValueError, match=r"50-images\.tif: the file is closed: read pages befo"):
        volume.image(1)


def test_files_are_closed_when_the_volume_is_garbage(opened, archives):
    volume = open_volume(find_source(archives, "tif", PUBLISHED), "tif")
    assert not all(file.closed for file in opened)
    del volume
    gc.collect()
    assert all(file.closed for file in opened)


def test_files_are_closed_when_a_later_one_is_damaged(opened, tmp_path):
    path = ship(small(), tmp_path).path
    (path / "labels-instance/50-instance-organelle.json").write_text("{}")
    source = find_source(path, "json", PUBLISHED)
    with pytest.raises(LabelFormatError, match=r"50-instance-organelle\.json: the key '\.info'"):
        open_volume(source)
    assert [file.closed for file in opened] == [True] * 4
    (path / "labels-instance/50-instance-cell.json").unlink()
    with pytest.raises(MissingMemberError, match=r"expected a file 50-instance-cell\.json"):
        open_volume(Source(path, PUBLISHED))
    assert all(file.closed for file in opened)
