"""`ExportVolume`: slabs and objects of volumes, from archives and from repositories."""

from types import SimpleNamespace

import numpy as np
import pytest
from support.own import write_own

import platelet_em
from _platelet_em.export.job import ExportJob, ExportVolume
from _platelet_em.hub.source import find_dataset
from _platelet_em.spec import VolumeSpec

COLUMNS = ("semantic", "cells", "organelles")


@pytest.fixture(params=["archives", "repository"])
def opened(request):
    dataset = find_dataset(request.getfixturevalue(request.param))
    job = ExportJob(dataset, dataset.spec.volumes, COLUMNS)
    with job.open(dataset.spec.volume("50")) as volume:
        yield volume


@pytest.mark.parametrize("depth", [1, 2, 4, 9, 100])
def test_slabs_are_the_volume(depth, opened, publication):
    dense = publication.volumes["50"].organelle
    slabs = [*opened.slabs("organelles", depth)]
    assert [z for z, _ in slabs] == [*range(0, len(dense), depth)]
    assert max(len(slab) for _, slab in slabs) <= depth
    joined = np.concatenate([slab for _, slab in slabs])
    np.testing.assert_array_equal(joined, dense)
    assert joined.dtype == np.uint32


def test_objects_are_those_of_the_volume_with_properties_of_the_whole(opened, publication):
    volume = publication.volumes["50"]
    found = opened.objects("organelles")
    ids, counts = np.unique(volume.organelle[volume.organelle > 0], return_counts=True)
    assert found.ids.tolist() == ids.tolist()
    assert found.voxels.tolist() == counts.tolist()
    assert [*found.properties] == ["class_id", "purity", "cell"]


def test_an_id_that_does_not_fit_is_an_error(tmp_path):
    dataset = find_dataset(write_own(tmp_path, "multipage").description)
    job = ExportJob(dataset, dataset.spec.volumes, ("cells",))
    with (
        job.open(dataset.spec.volumes[0]) as volume,
        pytest.raises(
            platelet_em.LabelRangeError,
            match=r"^volume first, cells: expected values up to 65535, got 70000, which uint16",
        ),
    ):
        list(volume.slabs("cells", 100, np.dtype(np.uint16)))


def test_objects_are_collected_once(opened, monkeypatch):
    first = opened.objects("cells")
    monkeypatch.setattr(opened, "labels", None)
    assert opened.objects("cells") is first


@pytest.mark.parametrize("dtype", [np.int16, np.float32, np.uint32])
def test_images_of_other_dtypes_are_refused(dtype):
    page = np.zeros((2, 3), dtype)
    view = SimpleNamespace(shape=(1, 2, 3), has_semantic=False, kinds=(), image=lambda _: page)
    spec = VolumeSpec(name="a", split="train", image_file="a.tif")
    message = f"^volume a: expected images of uint8 or uint16, got {np.dtype(dtype)}: convert them"
    with pytest.raises(platelet_em.ImageFormatError, match=message):
        ExportVolume(spec, view, ())


def test_each_column_has_its_dtype(opened):
    found = [opened.dtype_of(column) for column in ("image", *COLUMNS)]
    assert found == [np.uint16, np.uint8, np.uint32, np.uint32]


# --- damaged volumes --------------------------------------------------------------------------


class Damaged:
    """A volume of two slices of 2 x 3 pixels, as a `VolumeView`, with pages of any dtype.

    Args:
        pages: Of the image and of the classes.
        properties: Of the only cell, in each slice.
    """

    shape = 2, 2, 3
    has_semantic = True
    kinds = ("cells",)

    def __init__(self, pages=(), properties=({}, {})):
        self._pages = [np.asarray(page) * np.ones((2, 3), np.uint8) for page in pages]
        self._properties = properties

    def image(self, z):
        return np.zeros((2, 3), np.uint8)

    def window(self, column, box):
        return np.stack(self._pages[box[0]])

    def labels(self, kind, z):
        return platelet_em.LazyLabels((2, 3), [7], ["1 2"], self._properties[z])


def damaged(**options):
    spec = VolumeSpec(name="a", split="train", image_file="")
    return ExportVolume(spec, Damaged(**options), ("semantic", "cells"))


@pytest.mark.parametrize("column", ["image", "semantic"])
@pytest.mark.parametrize("value", [np.float32(1.5), np.int16(-5), np.int32(5), np.float64("nan")])
def test_slices_of_other_numbers_are_refused_and_never_rounded(column, value):
    volume = damaged(pages=[np.uint8(1), value])
    message = f"^volume a, {column}, from slice 1 on: expected uint8, got {value.dtype}: convert"
    with pytest.raises(platelet_em.ImageFormatError, match=message):
        list(volume.slabs(column, 1))


def test_slices_of_fewer_bits_are_widened():
    (_, slab), *_ = damaged(pages=[np.uint16(200), np.True_]).slabs("image", 2)
    assert slab.dtype == np.uint8
    assert slab[:, 0, 0].tolist() == [200, 1]


@pytest.mark.parametrize(
    ("properties", "message"),
    [
        (
            [{"purity": np.float32([1])}, {"purity": np.float32(["nan"])}],
            "slice 1: property 'purity': expected finite numbers, got nan: the labels are damaged",
        ),
        ([{"purity": [np.inf]}, {}], "slice 0: property 'purity': expected finite .*, got inf"),
        ([{"class_id": [-1]}, {}], "slice 0: expected classes from 0, got -1: the labels are"),
        (
            [{"class_id": [1], "cell": [2]}, {"cell": [2]}],
            r"slice 1: expected the properties \['cell', 'class_id'\], as in .*, got \['cell'\]",
        ),
    ],
)
def test_properties_that_no_format_can_hold_are_refused(properties, message):
    with pytest.raises(platelet_em.LabelFormatError, match=f"^volume a, cells, {message}"):
        damaged(properties=properties).objects("cells")
