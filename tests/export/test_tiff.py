"""The format `tiff`: what tifffile, Pillow and scikit-image read from it."""

import errno

import numpy as np
import pytest
import tifffile
from PIL import Image
from support.own import write_own
from support.truth import arrays_of, own_arrays

import platelet_em
from _platelet_em.export.tiff_file import write_tif


def check(folder, truth, **dtypes):
    """Each column of each volume is a file of its own, and there is no other."""
    expected = {f"{name}-{column}.tif" for name, arrays in truth.items() for column in arrays}
    assert {path.name for path in folder.glob("*.tif")} == expected
    for name, arrays in truth.items():
        for column, array in arrays.items():
            read = tifffile.imread(folder / f"{name}-{column}.tif")
            assert read.dtype == dtypes.get(column, array.dtype)
            np.testing.assert_array_equal(read.reshape(array.shape), array)


@pytest.fixture(scope="module", params=["three_archives", "three_volumes"])
def exported(request, tmp_path_factory):
    source = request.getfixturevalue(request.param)
    out = tmp_path_factory.mktemp("tiff") / "out"
    return platelet_em.export(source, out, to="tiff", split=["train", "validation", "test"])


def test_each_volume_is_exact(exported, publication, third):
    ids = {"cells": np.uint16, "organelles": np.uint16}
    check(exported, arrays_of(publication, third), **ids)


def test_imagej_finds_axes_and_the_voxel_size_in_micrometers(exported):
    with tifffile.TiffFile(exported / "50-image.tif") as file:
        assert file.series[0].axes == "ZYX"
        depth = len(file.pages)
        expected = {"images": depth, "slices": depth, "spacing": 0.04, "unit": "um"}
        assert {key: file.imagej_metadata[key] for key in expected} == expected
        tags = file.pages[0].tags
        assert tags["XResolution"].value == tags["YResolution"].value == (100, 1)
        assert tags["ResolutionUnit"].value == 1


def test_labels_are_deflated_and_images_can_be_mapped(exported, publication):
    for column in ("semantic", "cells", "organelles"):
        with tifffile.TiffFile(exported / f"50-{column}.tif") as file:
            assert {page.compression.name for page in file.pages} == {"ADOBE_DEFLATE"}
    mapped = tifffile.memmap(exported / "50-image.tif", mode="r")
    np.testing.assert_array_equal(mapped, publication.volumes["50"].images)


def test_pixels_need_not_be_square(tmp_path):
    own = write_own(tmp_path / "own", "stack")
    text = own.description.read_text("utf-8").replace("[50, 4.6, 4.6]", "[50, 8, 5]")
    own.description.write_text(text, "utf-8")
    for imagej, pixels_per_um in ((True, 1), (False, 10_000)):
        out = platelet_em.export(
            own.description, tmp_path / str(imagej), to="tiff", volume="unlabeled", imagej=imagej
        )
        with tifffile.TiffFile(out / "unlabeled-image.tif") as file:
            tags = file.pages[0].tags
            x, y = (tags[name].value for name in ("XResolution", "YResolution"))
        assert (x[0] / x[1], y[0] / y[1]) == (200 * pixels_per_um, 125 * pixels_per_um)


def test_other_readers_read_the_slices(exported, publication):
    with Image.open(exported / "24-organelles.tif") as file:
        file.seek(3)
        np.testing.assert_array_equal(np.asarray(file), publication.volumes["24"].organelle[3])


def test_without_imagej_ids_have_32_bits(archives, publication, tmp_path):
    out = platelet_em.export(archives, tmp_path / "out", to="tiff", imagej=False)
    ids = {"cells": np.uint32, "organelles": np.uint32}
    check(out, arrays_of(publication), **ids)
    with tifffile.TiffFile(out / "50-cells.tif") as file:
        assert file.is_bigtiff
        page = file.pages[0]
        assert file.shaped_metadata[0]["axes"] == "ZYX"
        assert page.get_resolution(unit="micrometer") == (100, 100)


def test_ids_that_imagej_cannot_hold_are_refused_and_nothing_is_written(tmp_path):
    own = write_own(tmp_path / "own", "multipage")
    with pytest.raises(
        platelet_em.LabelRangeError,
        match=r"^volume first, cells: expected ids up to 65535, which ImageJ reads exactly, got "
        r"70000: write uint32 with --no-imagej \(in Python, imagej=False\)$",
    ):
        platelet_em.export(own.description, tmp_path / "out", to="tiff")
    assert [path.name for path in tmp_path.iterdir()] == ["own"]
    out = platelet_em.export(own.description, tmp_path / "out", to="tiff", imagej=False)
    check(out, own_arrays(own), cells=np.uint32, organelles=np.uint32, pores=np.uint32)


@pytest.mark.parametrize("form", ["stack", "pictures"])
def test_own_volumes_are_exact(form, tmp_path):
    own = write_own(tmp_path / "own", form)
    out = platelet_em.export(own.description, tmp_path / "out", to="tiff")
    check(out, own_arrays(own), mitochondria=np.uint16, particles=np.uint16)


def test_an_unknown_voxel_size_is_not_invented(tmp_path):
    own = write_own(tmp_path / "own", "pictures")
    out = platelet_em.export(own.description, tmp_path / "out", to="tiff", split="test")
    for path in out.glob("*.tif"):
        with tifffile.TiffFile(path) as file:
            assert {"spacing", "unit"}.isdisjoint(file.imagej_metadata)
            assert file.pages[0].tags["XResolution"].value == (1, 1)


@pytest.mark.parametrize("imagej", [True, False])
@pytest.mark.parametrize("shape", [(3, 5, 1), (3, 1, 5), (1, 5, 4), (1, 1, 1)])
def test_volumes_of_any_shape_are_exact(shape, imagej, tmp_path):
    random = np.random.default_rng(0)
    arrays = {
        "image": random.integers(0, 65536, shape).astype(np.uint16),
        "cells": random.integers(0, 9, shape).astype(np.uint16),
    }
    lines = ["name = 'small'", "instances = ['cells']", "[[volumes]]", "name = 'a'"]
    lines += ["split = 'train'", *(f"{name} = '{name}.tif'" for name in arrays)]
    (tmp_path / "my.toml").write_text("\n".join(lines))
    for name, array in arrays.items():
        with tifffile.TiffWriter(tmp_path / f"{name}.tif") as file:
            for page in array:
                file.write(page, photometric="minisblack", metadata=None)
    out = platelet_em.export(tmp_path / "my.toml", tmp_path / "out", to="tiff", imagej=imagej)
    check(out, {"a": arrays}, cells=np.uint16 if imagej else np.uint32)


def test_a_file_that_imagej_cannot_read_is_refused(archives, tmp_path, monkeypatch):
    monkeypatch.setattr("_platelet_em.export.tiff.MAX_CLASSIC_BYTES", 1000)
    with pytest.raises(
        platelet_em.TooLargeError,
        match=r"^volume 50, image: expected at most 1000 bytes, as ImageJ can read, got \d+: "
        r"write BigTIFFs with --no-imagej",
    ):
        platelet_em.export(archives, tmp_path / "out", to="tiff")
    assert not any(tmp_path.iterdir())


def test_a_short_write_is_a_full_disk(tmp_path, monkeypatch):
    def write_short(*_, **__):
        raise OSError("4096 requested and 1864 written")  # as `ndarray.tofile` does

    monkeypatch.setattr("tifffile.TiffWriter.write", write_short)
    with pytest.raises(OSError, match="4096 requested and 1864 written") as caught:
        write_tif(tmp_path / "a.tif", iter([]), (1, 2, 2), np.dtype(np.uint8), deflate=False)
    assert caught.value.errno == errno.ENOSPC
