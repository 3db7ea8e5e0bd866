"""OME-Zarr: read back by zarr, ome-zarr, ome-zarr-models and tensorstore, voxel for voxel."""

import hashlib
import json
import sys

import numpy as np
import pytest
from support.own import Truth, write_own

from _platelet_em.errors import ArgumentError, MissingExtraError
from _platelet_em.export.run import export

zarr = pytest.importorskip("zarr", "3", reason="zarr 3 needs Python 3.11")

VERSIONS = ("0.5", "0.4")


def read(path):
    """Path below the group -> each array, and each group's attributes of OME-Zarr."""
    root = zarr.open_group(path, mode="r")
    arrays = {name: array[:] for name, array in root.members(None) if hasattr(array, "shape")}
    groups = {name: group for name, group in root.members(None) if name not in arrays}
    attributes = {name: dict(group.attrs) for name, group in {"": root, **groups}.items()}
    return arrays, {name: found.get("ome", found) for name, found in attributes.items()}


def expected_levels(truth, halve):
    levels = [truth]
    while max(levels[-1].shape[1:]) > 256:
        levels.append(halve(levels[-1]))
    return levels


def halve_image(stack):
    """Means of the pixels that are there, halves rounded up."""
    odd = [(0, n % 2) for n in stack.shape[1:]]
    padded = np.pad(stack.astype(float), [(0, 0), *odd], constant_values=np.nan)
    depth, height, width = padded.shape
    blocks = padded.reshape(depth, height // 2, 2, width // 2, 2)
    return np.floor(np.nanmean(blocks, axis=(2, 4)) + 0.5).astype(stack.dtype)


def assert_complete(arrays, truth):
    """The arrays of a group are all levels of a `Truth`, and nothing else."""
    labels = dict(truth.labels)
    if truth.semantic is not None:
        labels["semantic"] = truth.semantic
    expected = {"": expected_levels(truth.image, halve_image)} | {
        f"labels/{column}/": expected_levels(array, lambda a: a[:, ::2, ::2])
        for column, array in labels.items()
    }
    named = {
        f"{path}{k}": level for path, levels in expected.items() for k, level in enumerate(levels)
    }
    assert arrays.keys() == named.keys()
    for path, level in named.items():
        assert np.array_equal(arrays[path], level), path
        kind = truth.image.dtype if "/" not in path else np.uint32
        assert arrays[path].dtype == (np.uint8 if "semantic" in path else kind)


def published(volume):
    """What the arrays of a volume of the publisher are called in an export."""
    labels = {"semantic": volume.semantic, "cells": volume.cell, "organelles": volume.organelle}
    return {"": volume.images} | {f"labels/{column}": array for column, array in labels.items()}


@pytest.fixture(scope="module", params=VERSIONS)
def version(request):
    return request.param


@pytest.fixture(scope="module")
def exported(version, archives, tmp_path_factory):
    """Both published volumes."""
    out = tmp_path_factory.mktemp("ome-zarr") / "out"
    return export(archives, out, to="ome-zarr", ome=version)


# --- other readers ----------------------------------------------------------------------------


def test_ome_zarr_reads_it(exported, publication):
    io, reader = (pytest.importorskip(f"ome_zarr.{name}") for name in ("io", "reader"))
    for name, volume in publication.volumes.items():
        path = exported / f"{name}.ome.zarr"
        nodes = {n.zarr.basename(): n for n in reader.Reader(io.parse_url(path))()}
        for place, truth in published(volume).items():
            node = nodes[place.rpartition("/")[2] or path.name]
            assert np.array_equal(np.asarray(node.data[0]), truth)
        colors = nodes["organelles"].metadata["color"]
        assert colors.keys() == nodes["organelles"].metadata["properties"].keys()
        assert colors.keys() == {*np.unique(volume.organelle).tolist()} - {0}


def test_tensorstore_reads_it(exported, version, publication):
    tensorstore = pytest.importorskip("tensorstore")
    driver = "zarr3" if version == "0.5" else "zarr"
    for name, volume in publication.volumes.items():
        for place, truth in published(volume).items():
            path = exported / f"{name}.ome.zarr" / place / "0"
            store = {"driver": "file", "path": f"{path}/"}
            array = tensorstore.open({"driver": driver, "kvstore": store}).result()
            assert np.array_equal(array.read().result(), truth)


def test_ome_zarr_models_finds_it_valid(exported, version):
    models = pytest.importorskip(f"ome_zarr_models.v{version.replace('.', '')}")
    for path in exported.glob("*.ome.zarr"):
        group = zarr.open_group(path, mode="r")
        image = models.Image.from_zarr(group)
        axes = (image.ome_attributes if version == "0.5" else image.attributes).multiscales[0].axes
        assert [(axis.name, axis.unit) for axis in axes] == [(n, "nanometer") for n in "zyx"]
        models.Labels.from_zarr(group["labels"])
        for column in ("semantic", "cells", "organelles"):
            label = models.ImageLabel.from_zarr(group["labels"][column])
            attributes = label.ome_attributes if version == "0.5" else label.attributes
            assert attributes.image_label.version == version


# --- voxels -----------------------------------------------------------------------------------


def test_all_levels_of_pictures_of_many_sizes(tmp_path, version):
    own = write_own(tmp_path / "own", "pictures", count=4, side=280)
    out = export(own.description, tmp_path / "out", to="ome-zarr", ome=version)
    depths = set()
    for name, truth in own.volumes.items():
        arrays, attributes = read(out / f"{name}.ome.zarr")
        assert_complete(arrays, truth)
        depths.add(len(attributes[""]["multiscales"][0]["datasets"]))
    assert depths == {2, 3}


def test_chunks_follow_the_axes_and_empty_ones_are_not_stored(tmp_path, monkeypatch, version):
    monkeypatch.setattr("_platelet_em.export.ome_zarr._CHUNK_SIDE", 8)
    monkeypatch.setattr("_platelet_em.export.ome_zarr._SHARD_SIDE", 24)
    own = write_own(tmp_path / "own", "multipage", shape=(9, 6, 60))
    out = export(own.description, tmp_path / "out", to="ome-zarr", ome=version)
    root = zarr.open_group(out / "first.ome.zarr", mode="r")
    for name, array in root.members(None):
        if hasattr(array, "shape"):
            _, height, width = array.shape
            assert array.fill_value == 0
            assert array.chunks == (8, height, min(8, width)), name
            if version == "0.5":
                assert array.shards == (16, height, min(24, -(-width // 8) * 8)), name
    truth = own.volumes["first"].labels["pores"]
    blocks = [truth[z : z + 8, :, x : x + 8] for z in (0, 8) for x in range(0, 60, 8)]
    if version == "0.4":
        stored = [path for path in (out / "first.ome.zarr/labels/pores/0").rglob("[0-9]")
                  if path.is_file()]  # fmt: skip
        assert len(stored) == sum(block.any() for block in blocks) < len(blocks)


@pytest.mark.parametrize("slab_voxels", [1, 24 * 20 * 8, 24 * 20 * 17])
def test_a_volume_may_have_several_slabs(tmp_path, monkeypatch, version, slab_voxels):
    """Slabs of 1, 8 and 16 slices of 19."""
    monkeypatch.setattr("_platelet_em.export.slabs._SLAB_VOXELS", slab_voxels)
    own = write_own(tmp_path / "own", "stack", shape=(19, 24, 20))
    out = export(own.description, tmp_path / "out", to="ome-zarr", ome=version)
    for name, truth in own.volumes.items():
        assert_complete(read(out / f"{name}.ome.zarr")[0], truth)


def test_ids_of_32_bits_and_volumes_that_lack_labels(tmp_path, version):
    own = write_own(tmp_path / "own", "multipage", with_classes=True)
    out = export(own.description, tmp_path / "out", to="ome-zarr", ome=version)
    for name, truth in own.volumes.items():
        arrays, attributes = read(out / f"{name}.ome.zarr")
        assert_complete(arrays, truth)
        assert attributes["labels"]["labels"] == ["semantic", *truth.labels]
        values = [
            p["label-value"] for p in attributes["labels/cells"]["image-label"]["properties"]
        ]
        assert values == [3, 9, 500, 70_000]


def test_a_volume_without_labels_has_no_group_of_labels(tmp_path, version):
    own = write_own(tmp_path / "own", "stack")
    out = export(own.description, tmp_path / "out", to="ome-zarr", ome=version)
    assert not (out / "unlabeled.ome.zarr" / "labels").exists()
    remarks = json.loads((out / "export.json").read_text())["remarks"]
    assert remarks == ["volume unlabeled: has no labels of semantic and mitochondria: left out"]


def test_the_volume_of_the_paper_has_classes_only(tmp_path, version, three_archives, third):
    out = export(three_archives, tmp_path / "out", to="ome-zarr", ome=version, split="test")
    arrays, attributes = read(out / "test.ome.zarr")
    assert_complete(arrays, Truth("test", "test", third.as_uint16, third.semantic))
    assert attributes["labels"]["labels"] == ["semantic"]


def test_archives_and_their_repository_give_the_same_files(
    exported, version, repository, tmp_path
):
    again = export(repository, tmp_path / "out", to="ome-zarr", ome=version)
    sums = [
        {
            path.relative_to(out): hashlib.md5(path.read_bytes()).hexdigest()
            for path in out.rglob("*")
            if path.is_file()
        }
        for out in (exported, again)
    ]
    assert sums[0] == sums[1]


def test_0_5_has_a_file_per_array_and_0_4_has_none_of_zarr_3(exported, version):
    names = [path.name for path in (exported / "50.ome.zarr").rglob("*") if path.is_file()]
    if version == "0.5":  # root, labels and three label images; four arrays of a shard each
        assert (names.count("zarr.json"), len(names)) == (5 + 4, 5 + 4 + 4)
    else:
        assert "zarr.json" not in names
        assert {".zattrs", ".zgroup", ".zarray"} <= {*names}


# --- attributes -------------------------------------------------------------------------------


def test_the_levels_are_in_nanometers(exported):
    for attributes in read(exported / "50.ome.zarr")[1].values():
        if "multiscales" in attributes:
            (dataset,) = attributes["multiscales"][0]["datasets"]
            assert dataset["coordinateTransformations"] == [
                {"type": "scale", "scale": [40, 10, 10]},
                {"type": "translation", "translation": [0, 0, 0]},
            ]


def test_without_a_voxel_size_there_is_no_unit(tmp_path, version):
    own = write_own(tmp_path / "own", "multipage")
    out = export(own.description, tmp_path / "out", to="ome-zarr", ome=version)
    multiscales = read(out / "first.ome.zarr")[1][""]["multiscales"][0]
    assert multiscales["axes"] == [{"name": axis, "type": "space"} for axis in "zyx"]
    scale = multiscales["datasets"][0]["coordinateTransformations"][0]
    assert scale == {"type": "scale", "scale": [1, 1, 1]}
    remarks = json.loads((out / "export.json").read_text())["remarks"]
    assert remarks[0] == "the voxel size is not known: the scale is 1, without a unit"


def test_the_contrast_is_that_of_all_voxels(exported, publication):
    for name, volume in publication.volumes.items():
        omero = read(exported / f"{name}.ome.zarr")[1][""]["omero"]
        start, end = np.percentile(volume.images, [0.5, 99.5])
        expected = {"start": start, "end": end}
        expected |= {"min": volume.images.min(), "max": volume.images.max()}
        assert omero["channels"][0]["window"] == pytest.approx(expected)


def test_properties_and_colors_list_the_same_values(exported, publication):
    attributes = read(exported / "50.ome.zarr")[1]
    volume = publication.volumes["50"]
    for column, array in (("cells", volume.cell), ("organelles", volume.organelle)):
        found = attributes[f"labels/{column}"]["image-label"]
        ids, voxels = np.unique(array[array > 0], return_counts=True)
        assert [color["label-value"] for color in found["colors"]] == ids.tolist()
        assert [each["label-value"] for each in found["properties"]] == ids.tolist()
        assert [each["voxels"] for each in found["properties"]] == voxels.tolist()
        assert len({tuple(each) for each in found["properties"]}) == 1
        assert all(color["rgba"][3] == 255 for color in found["colors"])
        assert found["source"] == {"image": "../../"}
    assert [*found["properties"][0]] == [
        "label-value", "class_name", "class_id", "purity", "cell", "voxels"
    ]  # fmt: skip


def test_classes_have_names_and_accessible_colors(exported, publication):
    found = read(exported / "50.ome.zarr")[1]["labels/semantic"]["image-label"]
    counts = np.bincount(publication.volumes["50"].semantic.ravel(), minlength=7).tolist()
    names = json.loads((exported / "export.json").read_text())["classes"]
    assert found["properties"] == [
        {"label-value": i, "class_name": names[i], "voxels": counts[i]} for i in range(7)
    ]
    assert [color["label-value"] for color in found["colors"]] == [*range(7)]
    assert [color["rgba"][3] for color in found["colors"]] == [0, *[255] * 6]


def test_a_group_says_where_it_is_from(exported):
    origin = zarr.open_group(exported / "24.ome.zarr", mode="r").attrs["platelet_em"]
    assert (origin["volume"], origin["split"], origin["license"]) == ("24", "validation", "other")


# --- refusals ---------------------------------------------------------------------------------


def test_another_version_is_refused(archives, tmp_path):
    with pytest.raises(ArgumentError, match=r"ome: expected one of '0\.5', '0\.4', got '0\.3'"):
        export(archives, tmp_path / "out", to="ome-zarr", ome="0.3")


def test_nothing_is_written_without_zarr(archives, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "zarr", None)
    with pytest.raises(MissingExtraError, match=r"pip install platelet-em\[ome-zarr\]"):
        export(archives, tmp_path / "out", to="ome-zarr")
    assert [*tmp_path.iterdir()] == []
