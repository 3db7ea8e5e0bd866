"""Raw datasets of nnU-Net, read back by tifffile; test_nnunet_tool.py asks nnU-Net itself."""

import csv
import json
import logging
import shutil
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import tifffile
from PIL import Image
from support import own as own_sets
from support.own import write_own
from support.paper import NAME, paper

import platelet_em
from _platelet_em.errors import LabelRangeError
from _platelet_em.export import nnunet
from _platelet_em.facts import PUBLISHED


def read_json(path):
    return json.loads(path.read_text("utf-8"))


def remarks_of(out):
    return read_json(out / "export.json")["remarks"]


def files_of(out):
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


def assert_equal(path, truth, dtype):
    """The file is a plain TIF of this dtype with the voxels of the truth."""
    with tifffile.TiffFile(path) as tif:
        assert not tif.is_imagej
        assert tif.asarray().dtype == dtype
        assert tif.asarray().shape == truth.shape
        np.testing.assert_array_equal(tif.asarray(), truth)


@pytest.fixture(scope="module")
def exported(archives, tmp_path_factory):
    out = tmp_path_factory.mktemp("raw") / "Dataset050_Platelets"
    return platelet_em.export(archives, out, to="nnunet")


def test_the_files_are_where_nnunet_looks(exported):
    assert files_of(exported) == {
        *("dataset.json", "objects.csv", "export.json"),
        *("imagesTr/50_0000.tif", "imagesTr/50.json", "labelsTr/50.tif", "labelsTr/50.json"),
        *("imagesTs/24_0000.tif", "imagesTs/24.json", "labelsTs/24.tif", "labelsTs/24.json"),
        *("instancesTr/cells/50.tif", "instancesTr/organelles/50.tif"),
        *("instancesTs/cells/24.tif", "instancesTs/organelles/24.tif"),
    }


@pytest.mark.parametrize(("name", "ending"), [("50", "Tr"), ("24", "Ts")])
def test_every_voxel_is_read_back(exported, publication, name, ending):
    truth = publication.volumes[name]
    assert_equal(exported / f"images{ending}" / f"{name}_0000.tif", truth.images, np.uint16)
    assert_equal(exported / f"labels{ending}" / f"{name}.tif", truth.semantic, np.uint8)
    instances = exported / f"instances{ending}"
    assert_equal(instances / "cells" / f"{name}.tif", truth.cell, np.uint32)
    assert_equal(instances / "organelles" / f"{name}.tif", truth.organelle, np.uint32)
    for folder in ("images", "labels"):
        spacing = read_json(exported / f"{folder}{ending}" / f"{name}.json")
        assert spacing == {"spacing": [40, 10, 10]}


def test_files_that_are_too_large_for_32_bits_are_bigtiffs(
    archives, publication, tmp_path, monkeypatch
):
    truth = publication.volumes["50"]
    monkeypatch.setattr("_platelet_em.export.nnunet.MAX_CLASSIC_BYTES", truth.images.nbytes - 1)
    out = platelet_em.export(archives, tmp_path / "out", to="nnunet", split="train")
    for name, expected in (("imagesTr/50_0000.tif", True), ("labelsTr/50.tif", False)):
        with tifffile.TiffFile(out / name) as file:
            assert file.is_bigtiff == expected
    assert_equal(out / "imagesTr" / "50_0000.tif", truth.images, np.uint16)


def test_the_dataset_is_described_as_nnunet_reads_it(exported):
    assert read_json(exported / "dataset.json") == {
        "channel_names": {"0": "image"},
        "labels": {name: index for index, name in enumerate(PUBLISHED.class_names)},
        "numTraining": 1,
        "file_ending": ".tif",
        "overwrite_image_reader_writer": "Tiff3DIO",
        "name": "platelet-em",
        "description": PUBLISHED.description,
        "reference": PUBLISHED.homepage,
        "licence": "cleared for public release",
        "converted_by": f"platelet-em {platelet_em.__version__}",
    }


def test_objects_are_listed(exported, publication):
    with (exported / "objects.csv").open(encoding="utf-8", newline="") as file:
        lines = [*csv.DictReader(file)]
    expected = {
        (name, column, int(id_))
        for name, truth in publication.volumes.items()
        for column, array in (("cells", truth.cell), ("organelles", truth.organelle))
        for id_ in np.unique(array[array > 0])
    }
    assert {(line["volume"], line["column"], int(line["id"])) for line in lines} == expected


def test_a_repository_gives_the_same_bytes(exported, repository, tmp_path):
    out = platelet_em.export(repository, tmp_path / exported.name, to="nnunet")
    assert files_of(out) == files_of(exported)
    for path in files_of(out):
        assert (out / path).read_bytes() == (exported / path).read_bytes(), path


def test_few_training_volumes_and_the_name_of_the_folder_are_remarked(
    exported, archives, tmp_path
):
    folds = (
        "nnU-Net divides training volumes into 5 folds, and this export has 1: train with the "
        "fold `all`, or with a splits_final.json of your own"
    )
    assert remarks_of(exported) == [folds]
    out = platelet_em.export(archives, tmp_path / "raw", to="nnunet", kinds="semantic")
    assert remarks_of(out) == [
        (
            "nnU-Net finds a dataset by the name of its folder, DatasetNNN_Name in nnUNet_raw: "
            "rename raw, such as to Dataset050_platelet-em"
        ),
        folds,
    ]


def test_enough_training_volumes_are_no_remark(archives, tmp_path, monkeypatch):
    monkeypatch.setattr(nnunet, "_FOLDS", 1)
    out = platelet_em.export(archives, tmp_path / "Dataset001_a", to="nnunet", kinds="semantic")
    assert remarks_of(out) == []


@pytest.mark.parametrize(("highest", "is_known"), [(6, True), (7, False), (255, False)])
def test_a_class_that_there_is_not_is_an_error(highest, is_known):
    slabs = [(0, np.zeros((1, 2, 2), np.uint8)), (1, np.full((1, 2, 2), highest, np.uint8))]
    volume = SimpleNamespace(name="a", slabs=lambda *_: slabs)
    message = f"^volume a, semantic, slice 1: expected classes 0 to 6, got {highest}: the labels"
    expected = nullcontext() if is_known else pytest.raises(LabelRangeError, match=message)
    with expected:
        assert len([*nnunet._pages(volume, "semantic", 7)]) == 2


def test_unlabeled_voxels_are_remarked_and_stay(tidy_archives, tmp_path):
    three = shutil.copytree(tidy_archives, tmp_path / "archives")
    truth = paper()
    truth.zip(three / NAME)
    out = tmp_path / "out"
    platelet_em.export(three, out, to="nnunet", split=["train", "test"])
    assert_equal(out / "labelsTs" / "test.tif", truth.semantic, np.uint8)
    assert_equal(out / "imagesTs" / "test_0000.tif", truth.as_uint16, np.uint16)
    assert not [path for path in files_of(out) if path.startswith("instancesTs")]
    assert 'volume test: label 0 also means "not labeled": score only voxels whose' in str(
        remarks_of(out)
    )
    assert "ignore" not in read_json(out / "dataset.json")["labels"]


def test_a_first_class_of_another_name_is_called_background_and_said(tmp_path, caplog):
    own = write_own(tmp_path / "set", "multipage", with_classes=True)
    with caplog.at_level(logging.WARNING):
        out = platelet_em.export(own.description, tmp_path / "Dataset001_own", to="nnunet")
    (train,), (test,) = own.of("train"), own.of("test")
    assert_equal(out / "labelsTr" / "first.tif", train.semantic, np.uint8)
    assert_equal(out / "labelsTs" / "second.tif", test.semantic, np.uint8)
    for column, labels in train.labels.items():
        assert_equal(out / "instancesTr" / column / "first.tif", labels, np.uint32)
    assert train.labels["cells"].max() == 70_000
    labels = read_json(out / "dataset.json")["labels"]
    assert labels == {"background": 0, "cell": 1, "organelle": 2}
    assert "class 0, 'outside', is called 'background' in dataset.json" in caplog.text
    assert read_json(out / "export.json")["classes"] == ["outside", "cell", "organelle"]
    assert "the voxel size is not known: nnU-Net assumes cubes" in remarks_of(out)
    assert not [*out.glob("images*/*.json")]


def test_a_name_with_other_characters_is_recorded(tmp_path):
    own = write_own(tmp_path / "set", "stack")
    out = platelet_em.export(own.description, tmp_path / "Dataset001_own", to="nnunet")
    (truth,), (unlabeled,) = own.of("train"), own.of("validation")
    assert read_json(out / "export.json")["renamed"] == {truth.name: "Stack_1__u_"}
    assert_equal(out / "imagesTr" / "Stack_1__u__0000.tif", truth.image, np.uint8)
    assert_equal(out / "labelsTr" / "Stack_1__u_.tif", truth.semantic, np.uint8)
    assert_equal(out / "imagesTs" / "unlabeled_0000.tif", unlabeled.image, np.uint16)
    assert not (out / "labelsTs").exists()
    assert read_json(out / "imagesTr" / "Stack_1__u_.json") == {"spacing": [50, 4.6, 4.6]}


def test_a_training_volume_without_classes_is_left_out(tmp_path):
    own = write_own(tmp_path / "set", "stack")
    text = own.description.read_text("utf-8").replace('split = "validation"', 'split = "train"')
    own.description.write_text(text, "utf-8")
    out = platelet_em.export(own.description, tmp_path / "out", to="nnunet")
    assert "volume unlabeled: is left out: nnU-Net trains with classes only" in remarks_of(out)
    assert read_json(out / "dataset.json")["numTraining"] == 1
    assert not (out / "imagesTs").exists()
    with pytest.raises(platelet_em.ArgumentError, match=r"got 'unlabeled' of train: export more"):
        platelet_em.export(own.description, tmp_path / "no", to="nnunet", volume="unlabeled")
    assert not (tmp_path / "no").exists()


def test_without_a_training_volume_there_is_no_dataset(archives, tmp_path):
    message = "expected a volume with classes of the split train, .*, got '24' of validation"
    with pytest.raises(platelet_em.ArgumentError, match=message):
        platelet_em.export(archives, tmp_path / "out", to="nnunet", split="validation")


def test_without_classes_there_is_no_dataset(archives, tmp_path):
    with pytest.raises(platelet_em.ArgumentError, match=r"expected semantic among .*add it"):
        platelet_em.export(archives, tmp_path / "out", to="nnunet", kinds=["cells"])
    own = write_own(tmp_path / "set", "pictures")
    with pytest.raises(platelet_em.ArgumentError, match="the dataset has no classes: export to"):
        platelet_em.export(own.description, tmp_path / "out", to="nnunet")


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (["a", "background", "c"], "expected 'background' at index 0 if at all, .*got it at 1"),
        (["a", "ignore", "c"], "expected 'ignore' at index 2 if at all, .*got it at 1"),
    ],
)
def test_names_that_mean_something_to_nnunet_are_refused(tmp_path, monkeypatch, classes, message):
    monkeypatch.setattr(own_sets, "CLASSES", tuple(classes))
    own = write_own(tmp_path / "set", "stack")
    with pytest.raises(platelet_em.ConversionError, match=message):
        platelet_em.export(own.description, tmp_path / "out", to="nnunet")


def test_a_last_class_that_nnunet_ignores_is_remarked(tmp_path, monkeypatch):
    monkeypatch.setattr(own_sets, "CLASSES", ("background", "a", "ignore"))
    own = write_own(tmp_path / "set", "stack")
    out = platelet_em.export(own.description, tmp_path / "out", to="nnunet")
    assert read_json(out / "dataset.json")["labels"] == {"background": 0, "a": 1, "ignore": 2}
    remarks = remarks_of(out)
    assert "class 2, 'ignore': nnU-Net leaves its voxels out of training and scores" in remarks
    assert not [remark for remark in remarks if remark.startswith("class 0")]


def test_a_single_class_is_refused(tmp_path):
    own = write_own(tmp_path / "set", "multipage", with_classes=True)
    text = own.description.read_text().replace('["outside", "cell", "organelle"]', '["outside"]')
    own.description.write_text(text)
    with pytest.raises(platelet_em.ConversionError, match="classes: expected at least 2"):
        platelet_em.export(own.description, tmp_path / "out", to="nnunet")


@pytest.mark.parametrize("shape", [(1, 12, 9), (4, 12, 1), (3, 1, 9)])
def test_stacks_of_one_slice_row_or_column(tmp_path, shape):
    folder = tmp_path / "set"
    random = np.random.default_rng(0)
    image = random.integers(0, 2**16, shape).astype(np.uint16)
    classes = random.integers(0, 2, shape).astype(np.uint8)
    for name, array in (("image", image), ("semantic", classes)):
        (folder / name).mkdir(parents=True)
        for z, page in enumerate(array):
            Image.fromarray(page).save(folder / name / f"{z}.png")
    (folder / "my.toml").write_text(
        'name = "thin"\nclasses = ["background", "a"]\n'
        '[[volumes]]\nname = "x_seg"\nsplit = "train"\n'
        'image = "image/*.png"\nsemantic = "semantic/*.png"\n'
    )
    out = platelet_em.export(folder / "my.toml", tmp_path / "out", to="nnunet")
    assert_equal(out / "imagesTr" / "x_seg__0000.tif", image, np.uint16)
    assert_equal(out / "labelsTr" / "x_seg_.tif", classes, np.uint8)
    assert read_json(out / "export.json")["renamed"] == {"x_seg": "x_seg_"}
