"""What an archive has of a volume: files that cannot be read are errors, the others are read."""

import shutil

import pytest
from support import publisher, verified


def unknown_label(first, second):
    first.semantic[0, 13, 4] = 7


def unknown_color(first, second):
    return {"palette": [*publisher.JET[:4], (9, 8, 7), *publisher.JET[5:]]}


def fewer_slices(first, second):
    first.cell = first.cell[:-1]


FAULTS = {
    unknown_label: ("semantic labels", "50-semantic.json", "label 7"),
    unknown_color: ("semantic labels", "50-semantic.tif", "color (9, 8, 7) at"),
    fewer_slices: ("shape", "50-instance-cell.json", "volume, (8, 26, 34) (7, 26, 34)"),
}


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_label_file_that_does_not_fit_is_an_error(fault, tmp_path, capsys):
    check, file, text = FAULTS[fault]
    code, report = verified.run(capsys, verified.plant(tmp_path / "archives", fault))
    assert code == 1
    assert verified.has_finding(report, "error", check, file, text)
    others = [file for _, file, *_ in verified.findings(report, "error") if "24-" in file]
    assert bool(others) == (fault is unknown_color)


def test_missing_and_damaged_members_are_one_error_each(tidy_archives, tmp_path, capsys):
    path = shutil.copy(tidy_archives / "images_and_labels_json.zip", tmp_path)
    verified.change_member(path, "50-instance-cell.json", lambda content: None)
    verified.change_member(path, "24-semantic.json", lambda content: content[:-40])
    code, report = verified.run(capsys, path)
    assert (code, report["errors"]) == (1, 2)
    assert verified.has_finding(report, "error", "cell labels", ".zip", "50-instance-cell.json")
    assert verified.has_finding(report, "error", "semantic labels", "24-semantic.json", "char")
    figures = verified.figures(report, "volume 50, ")[0]
    assert figures["organelle > 0 == semantic >= 2"]["differ"] == 0


def test_labels_without_an_image_are_checked(tidy_archives, tmp_path, capsys):
    path = shutil.copy(tidy_archives / "images_and_labels_json.zip", tmp_path)
    verified.change_member(path, "50-images.tif", lambda content: content[:300])
    code, report = verified.run(capsys, path)
    assert (code, report["errors"]) == (1, 1)
    assert verified.has_finding(report, "error", "images", "50-images.tif", "")
    figures = verified.figures(report, "volume 50, ")[0]
    assert figures["cell > 0 == semantic > 0"]["differ"] == 0
    assert "intensity" not in figures


def test_figures_describe_the_files(tidy_archives, capsys):
    report = verified.run(capsys, tidy_archives)[1]
    first, second = verified.figures(report, "volume 50, ")[:2]
    assert first["images"].startswith("8 x 26 x 34 (z, y, x) uint16, published (50, 800, 800)")
    assert first["semantic file"].startswith("JSON, dtype 'int64', md5 ")
    assert second["semantic file"].startswith("TIF, RGBA uint8, palette B, md5 ")
