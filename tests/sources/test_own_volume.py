"""Volumes of a user's own files, against the arrays that they were written from."""

import gc
import shutil
from dataclasses import replace

import numpy as np
import pytest
import tifffile
from PIL import Image
from skimage.measure import label

from _platelet_em.errors import (
    ArchiveError,
    ImageFormatError,
    LabelFormatError,
    MissingMemberError,
)
from _platelet_em.sources.own_volume import OwnVolume, own_files, own_shape
from _platelet_em.spec import Components, DatasetSpec, InstanceSpec, SemanticClass, VolumeSpec

RNG = np.random.default_rng(0)
SHAPE = (12, 5, 6)
IMAGE = RNG.integers(0, 256, SHAPE, np.uint8)
CLASSES = RNG.integers(0, 3, SHAPE, np.uint8)
CELLS = np.array([0, 4, 9])[RNG.integers(0, 3, SHAPE)].astype(np.uint16)
MASK = RNG.integers(0, 256, SHAPE, np.uint8)
VOLUME = VolumeSpec(
    name="stack 1",
    split="train",
    image_file="Rohdaten (ü)/z*.png",
    label_files=(("semantic", "classes.tif"), ("cells", "cells.tif"), ("pores", "pores/*")),
    components=(("pores", Components(threshold=200, connectivity=1)),),
)


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "Rohdaten (ü)").mkdir()
    (tmp_path / "pores").mkdir()
    for z in range(12):
        Image.fromarray(IMAGE[z]).save(tmp_path / "Rohdaten (ü)" / f"z{z}.png")
        tifffile.imwrite(tmp_path / "pores" / f"Pore {z}.tif", MASK[z])
    tifffile.imwrite(tmp_path / "classes.tif", CLASSES, photometric="minisblack")
    tifffile.imwrite(tmp_path / "cells.tif", CELLS, photometric="minisblack")
    return DatasetSpec(
        name="own",
        folder=str(tmp_path),
        classes=tuple(SemanticClass(name=name) for name in "abc"),
        instances=(
            InstanceSpec(column="cells", name="cell", has_class=True),
            InstanceSpec(column="pores", name="pore", part_of="cells", parent="cell"),
        ),
        volumes=(VOLUME,),
    )


def without(*columns):
    """The volume without some of its labels."""
    files = tuple(file for file in VOLUME.label_files if file[0] not in columns)
    return VolumeSpec(
        name="stack 1",
        split="train",
        image_file=VOLUME.image_file,
        label_files=files,
        components=VOLUME.components,
    )


def test_a_volume_has_what_its_files_have(spec):
    with OwnVolume(VOLUME, spec) as volume:
        assert (volume.name, volume.shape, volume.kinds) == ("stack 1", SHAPE, ("cells", "pores"))
        assert volume.has_semantic
        for z in (11, 0, 5):
            assert volume.image(z).dtype == np.uint8
            np.testing.assert_array_equal(volume.image(z), IMAGE[z])
            np.testing.assert_array_equal(volume.semantic(z), CLASSES[z])
        np.testing.assert_array_equal(np.asarray(volume.labels("cells")), CELLS)
        pores = label(MASK > 200, connectivity=1)
        np.testing.assert_array_equal(np.asarray(volume.labels("pores")), pores)
        assert volume.labels("cells").ids.tolist() == [4, 9]
        assert set(volume.labels("cells").properties) == {"class_id", "purity"}


def test_without_classes_the_parent_is_known(spec):
    pores = label(MASK > 200, connectivity=1)
    with OwnVolume(without("semantic"), spec) as volume:
        assert not volume.has_semantic
        assert volume.labels("cells").properties == {}
        found = volume.labels("pores").properties
    assert set(found) == {"cell"}
    expected = []
    for pore in range(1, pores.max() + 1):
        counts = np.bincount(CELLS[pores == pore], minlength=10)
        best = int(counts[1:].argmax()) + 1
        expected.append(best if counts[best] >= counts[0] else 0)
    assert found["cell"].tolist() == expected


def test_without_parents_nothing_is_known(spec):
    with OwnVolume(without("semantic", "cells"), spec) as volume:
        assert volume.labels("pores").properties == {}


def test_a_volume_may_have_no_labels(spec):
    with OwnVolume(without("semantic", "cells", "pores"), spec) as volume:
        assert volume.kinds == ()
        np.testing.assert_array_equal(volume.image(3), IMAGE[3])


def test_files_are_those_of_the_image_and_then_of_each_column(spec):
    names = [file.name for file in own_files(VOLUME, spec)]
    assert names == [
        *(f"z{z}.png" for z in range(12)),
        "classes.tif",
        "cells.tif",
        *(f"Pore {z}.tif" for z in range(12)),
    ]


def test_the_shape_is_known_from_the_first_header(spec, tmp_path):
    for z in range(1, 12):
        (tmp_path / "Rohdaten (ü)" / f"z{z}.png").write_bytes(b"")
    assert own_shape(VOLUME, spec) == SHAPE


def test_a_shape_that_is_stated_must_be_that_of_the_files(spec):
    assert own_shape(replace(VOLUME, shape=SHAPE), spec) == SHAPE
    wrong = replace(VOLUME, shape=(12, 6, 5))
    with pytest.raises(
        ImageFormatError, match=r"png: expected the shape \(12, 6, 5\) .* got \(12, 5, 6\)"
    ):
        own_shape(wrong, spec)


def test_a_damaged_slice_is_refused_when_it_is_read(spec, tmp_path):
    path = tmp_path / "Rohdaten (ü)" / "z7.png"
    path.write_bytes(path.read_bytes()[:-20])
    with OwnVolume(VOLUME, spec) as volume:
        np.testing.assert_array_equal(volume.image(6), IMAGE[6])
        with pytest.raises(ImageFormatError, match=r"z7\.png: expected a complete picture"):
            volume.image(7)


def test_labels_of_another_shape_name_both_files(spec, tmp_path):
    (tmp_path / "pores" / "Pore 3.tif").unlink()
    with pytest.raises(
        LabelFormatError,
        match=r"pores/\*: expected the shape \(12, 5, 6\) of the image .*/z\*\.png",
    ):
        OwnVolume(VOLUME, spec)


def test_missing_files_are_refused(spec, tmp_path):
    shutil.rmtree(tmp_path / "pores")
    with pytest.raises(MissingMemberError, match=r"pores/\*: expected files of this pattern"):
        OwnVolume(VOLUME, spec)


def test_a_closed_volume_reads_no_images(spec):
    with OwnVolume(VOLUME, spec) as volume:
        pass
    with pytest.raises(ValueError, match=r"z\*\.png: the file is closed: read pages before clos"):
        volume.image(0)


def test_files_are_closed_when_the_volume_is_garbage(spec, tmp_path):
    tifffile.imwrite(tmp_path / "image.tif", IMAGE, photometric="minisblack")
    whole = VolumeSpec(name="whole", split="train", image_file="image.tif")
    volume = OwnVolume(whole, spec)
    close = volume._close
    assert close.alive
    del volume
    gc.collect()
    assert not close.alive


def test_labels_of_another_slice_are_refused(spec, tmp_path):
    (tmp_path / "pores" / "Pore 7.tif").rename(tmp_path / "pores" / "Pore 12.tif")
    for read in (own_files, OwnVolume):
        with pytest.raises(ArchiveError, match=r"Pore 8\.tif: expected the labels of slice 7, z7"):
            read(VOLUME, spec)


def test_a_slice_that_is_there_twice_is_refused(spec, tmp_path):
    shutil.copy(tmp_path / "Rohdaten (ü)" / "z7.png", tmp_path / "Rohdaten (ü)" / "z07.png")
    with pytest.raises(ArchiveError, match=r"expected one file per slice, found z07\.png with"):
        own_files(without("semantic", "cells", "pores"), spec)
