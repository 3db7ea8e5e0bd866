"""Verification as a whole: clean data of any form pass, and what is given is described."""

import json
import os
import shutil
import zipfile

import pytest
from support import verified

import platelet_em
from _platelet_em.commands.cli import main
from _platelet_em.hub.build import build
from _platelet_em.verify.run import verify


def test_clean_data_of_any_form_pass(tidy_archives, tidy_repository, tmp_path, capsys):
    extracted = verified.tidy().folder(tmp_path / "extracted", "json")
    verified.tidy().folder(extracted, "tif")
    of_colors = build(tmp_path / "tif", data_dir=tidy_archives, label_source="tif")
    everything = [tidy_archives, extracted, tidy_repository, of_colors]
    for paths in (*([zip_] for zip_ in tidy_archives.glob("*.zip")), [of_colors], everything):
        code, report = verified.run(capsys, *paths)
        assert (code, report["errors"]) == (0, 0), paths
        assert verified.findings(report, "error") == []
    compared = verified.figures(report, "against")
    assert len(compared) == 2 * 7
    assert all(figures["images"] == 0 for figures in compared)


def test_the_sample_passes(tmp_path, capsys):
    platelet_em.write_sample(tmp_path / "archives", depth=4, size=64)
    build(tmp_path / "repo", data_dir=tmp_path / "archives")
    assert main(["verify", str(tmp_path / "archives"), str(tmp_path / "repo")]) == 0
    assert capsys.readouterr().out.splitlines()[0].startswith("0 errors, ")


def test_other_files_and_folders_of_an_archive_are_listed(tidy_archives, tmp_path, capsys):
    path = shutil.copy(tidy_archives / "images_and_labels_rgba.zip", tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/._50-images.tif", b"junk")
    report = verified.run(capsys, path)[1]
    figures = report["sections"][0]["figures"]
    assert figures["other files"] == ["__MACOSX/._50-images.tif"]
    assert figures["folders"][0] == "platelet-em/images"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda raw: raw[: len(raw) // 2], "expected a zip archive"),
        (
            lambda raw: raw[:3000] + bytes([raw[3000] ^ 1]) + raw[3001:],
            "50-images.tif:  cannot be",
        ),
        (lambda raw: b"<html>dead link</html>", "expected a zip archive"),
    ],
    ids=["cut", "a changed byte", "a web page"],
)
def test_a_damaged_zip_is_one_error_and_the_other_zip_is_checked(change, text, tmp_path, capsys):
    folder = verified.plant(tmp_path / "archives", lambda first, second: None)
    path = folder / "images_and_labels_json.zip"
    path.write_bytes(change(path.read_bytes()))
    code, report = verified.run(capsys, folder)
    errors = verified.findings(report, "error")
    assert (code, len(errors)) == (1, 1)
    assert text in f"{errors[0][1]}: {errors[0][3]}"
    checked = verified.figures(report, "volume 50, tif")
    assert checked[0]["cell > 0 == semantic > 0"]["differ"] == 0


def test_paths_without_files_of_the_dataset_are_errors(tmp_path, capsys):
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    for path, text in (
        (tmp_path, "neither"),
        (circle, "symbolic links"),
    ):
        code, report = verified.run(capsys, path)
        assert code == 1
        assert verified.has_finding(report, "error", "archive", path.name, text)
    # The command says so before it runs.
    report = json.loads(verify([tmp_path / "gone.zip"]).to_json())
    assert verified.has_finding(report, "error", "archive", "gone.zip", "found nothing there")


def test_a_repository_of_another_archive_is_a_remark(tidy_repository, tmp_path, capsys):
    def put_cell_on_background(first, second):
        first.cell[2, 25, 33] = 3

    folder = verified.plant(tmp_path / "archives", put_cell_on_background)
    code, report = verified.run(capsys, folder, tidy_repository)
    assert code == 1
    text = "was built from an archive of md5"
    assert verified.has_finding(report, "remark", "origin", "repo", text)
    place = {"z": 2, "y": 25, "x": 33}
    assert verified.has_finding(
        report, "error", "cell voxels", "slices/train-*", "3, as in", **place
    )


def test_a_folder_with_a_file_that_cannot_be_read_has_no_origin(tmp_path, capsys):
    folder = verified.tidy().folder(tmp_path / "extracted", "json")
    repository = build(tmp_path / "repo", data_dir=folder)
    (images,) = folder.rglob("24-images.tif")
    images.unlink()
    os.mkfifo(images)
    code, report = verified.run(capsys, folder, repository)
    assert (code, report["errors"]) == (1, 1)
    assert verified.has_finding(report, "error", "images", "24-images.tif", "a pipe")
