"""Labels of one volume against each other and its image: each planted fault is located."""

import json
import shutil

import numpy as np
import pytest
from support import verified


def flip(first, second):
    first.organelle = first.organelle[::-1]


def cell_on_background(first, second):
    first.cell[2, 25, 33] = 3


def organelle_in_plain_cell(first, second):
    second.organelle[4, 13, 9] = 5


def frame(first, second):
    second.cell[1, [0, -1]] = second.cell[1, :, 0] = second.cell[1, :, -1] = 200


FAULTS = {
    flip: ("flip", "50-instance-organelle.json", "with the slices reversed", {}),
    cell_on_background: ("agreement", "50-instance-cell.json", "cell 3 where the class is 0",
     {"z": 2, "y": 25, "x": 33}),
    organelle_in_plain_cell: ("agreement", "50-instance-organelle.tif", "where the class is 1",
     {"z": 4, "y": 13, "x": 9}),
    frame: ("frame", "50-instance-cell.tif", "a drawn frame", {"z": 1}),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_contradiction_is_located(fault, tmp_path, capsys):
    check, file, text, place = FAULTS[fault]
    code, report = verified.run(capsys, verified.plant(tmp_path / "archives", fault))
    assert code == 1
    assert verified.has_finding(report, "error", check, file, text, **place)
    assert not any("24-" in file for _, file, *_ in verified.findings(report, "error"))


def test_figures_of_a_volume(tidy_archives, capsys):
    report = verified.run(capsys, tidy_archives / "images_and_labels_json.zip")[1]
    figures = verified.figures(report, "volume 50, ")[0]
    truth = verified.tidy().volumes["50"]
    assert figures["organelle ids"] == [5, 9, 12, 300]
    assert figures["intensity"]["max"] == truth.images.max()
    assert figures["purity"]["mixed"] == {"300": 0.666667}
    for name, classes in {"z = 0": truth.semantic[0], "all": truth.semantic}.items():
        shares = np.bincount(classes.ravel(), minlength=7) / classes.size
        assert np.allclose(figures[f"class shares, {name}"], 100 * shares, atol=1e-3)
    assert figures["cell > 0 == semantic > 0"]["differ"] == 0
    flipped = (truth.cell > 0) != (truth.semantic > 0)[::-1]
    assert figures["cell > 0 == semantic > 0"]["differ_if_flipped"] == flipped.sum()


def test_overlapping_masks_are_counted(tidy_archives, tmp_path, capsys):
    path = shutil.copy(tidy_archives / "images_and_labels_json.zip", tmp_path)

    def overlap(content):
        labels = json.loads(content)
        runs = labels["5"].split()
        labels["9"] = f"{runs[0]} 2 {labels['9']}"
        return json.dumps(labels).encode()

    verified.change_member(path, "50-instance-organelle.json", overlap)
    code, report = verified.run(capsys, path)
    place = {"z": 0, "y": 2, "x": 3}
    text = "2 voxels claimed more than once, first by 5 and 9"
    assert verified.has_finding(report, "remark", "overlap", "organelle.json", text, **place)
    assert code == 0


def test_ids_without_voxels_are_a_remark(tidy_archives, tmp_path, capsys):
    path = shutil.copy(tidy_archives / "images_and_labels_json.zip", tmp_path)
    verified.change_member(
        path,
        "50-instance-organelle.json",
        lambda content: json.dumps({**json.loads(content), "301": "", "302": ""}).encode(),
    )
    code, report = verified.run(capsys, path)
    assert code == 0
    text = "2 ids without voxels: 301, 302"
    assert verified.has_finding(report, "remark", "ids", "organelle.json", text)


def test_labels_that_fit_the_image_only_if_flipped_are_an_error(tmp_path, capsys):
    def flip_all(first, second):
        for name in ("semantic", "cell", "organelle"):
            setattr(first, name, getattr(first, name)[::-1])

    report = verified.run(capsys, verified.plant(tmp_path / "archives", flip_all))[1]
    text = "fit clearly better if flipped in z"
    assert verified.has_finding(report, "error", "flip", "50-semantic.json", text)


def test_frequencies_of_swapped_classes_are_a_remark(tmp_path, capsys):
    def swap(first, second):
        # Class 6 becomes the more frequent of the two, unlike in the published data.
        first.semantic[first.semantic == 4] = 6

    report = verified.run(capsys, verified.plant(tmp_path / "archives", swap))[1]
    text = "are the two swapped?"
    assert verified.has_finding(report, "remark", "palette", "50-semantic.json", text)


def test_a_class_without_a_name_is_an_error_and_named_by_its_index(copied, capsys):
    organelles = verified.tidy().volumes["50"].organelle
    for z, path in enumerate(sorted((copied / "slices").glob("train-*"))):
        where = (organelles[z] > 0) & (np.indices(organelles[z].shape)[0] % 3 > 0)
        verified.change_rows(path, 0, verified.paint("semantic", 200, where))
    code, report = verified.run(capsys, copied)
    assert code == 1
    assert verified.has_finding(report, "error", "classes", "00008.parquet", "from 0 to 6 200")
    assert verified.has_finding(report, "remark", "purity", "train-*", "% class 200)")
