"""Verification: clean data pass, and each planted fault is found where it is."""

import json
import shutil
import zipfile

import numpy as np
import pytest
from support import publisher, verified

import platelet_em
from _platelet_em.commands.cli import main
from _platelet_em.hub.build import build

OLD_WITH_4_AND_6_SWAPPED = [publisher.JET[i] for i in (0, 1, 2, 3, 6, 5, 4)]


# --- clean data -------------------------------------------------------------------------------


def test_clean_data_of_any_form_pass(tidy_archives, tidy_repository, tmp_path, capsys):
    extracted = verified.tidy().folder(tmp_path / "extracted", "json")
    verified.tidy().folder(extracted, "tif")
    of_colors = build(tmp_path / "tif", data_dir=tidy_archives, label_source="tif")
    zips = sorted(tidy_archives.glob("*.zip"))
    for paths in (
        zips[:1],
        zips[1:],
        [tidy_archives],
        [extracted],
        [tidy_repository],
        [of_colors],
        [tidy_archives, tidy_repository],
    ):
        code, document = verified.run(capsys, *paths)
        assert (code, document["errors"]) == (0, 0), paths
        assert verified.findings(document, "error") == []
    code, document = verified.run(capsys, tidy_archives, extracted, tidy_repository, of_colors)
    assert (code, document["errors"]) == (0, 0)
    compared = [s for s in document["sections"] if "against" in s["title"]]
    assert len(compared) == 2 * 7
    assert all(s["figures"]["images"] == 0 for s in compared)


def test_the_sample_passes(tmp_path, capsys):
    platelet_em.write_sample(tmp_path / "archives", depth=4, size=64)
    build(tmp_path / "repo", data_dir=tmp_path / "archives")
    assert main(["verify", str(tmp_path / "archives"), str(tmp_path / "repo")]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("0 errors, ")


def test_figures_answer_what_is_asked_of_the_archives(tidy_archives, capsys):
    document = verified.run(capsys, tidy_archives)[1]
    figures = [s["figures"] for s in document["sections"] if "volume 50, " in s["title"]]
    first, second = figures[:2]
    assert first["semantic file"].startswith("JSON, dtype 'int64', md5 ")
    assert second["semantic file"].startswith("TIF, RGBA uint8, palette B, md5 ")
    truth = verified.tidy().volumes["50"]
    assert first["organelle ids"] == [5, 9, 12, 300]
    assert first["intensity"]["max"] == truth.images.max()
    assert first["purity"]["mixed"] == {"300": 0.666667}
    shares = np.bincount(truth.semantic[0].ravel(), minlength=7) / truth.semantic[0].size
    assert np.allclose(first["class shares, z = 0"], 100 * shares, atol=1e-3)
    assert first["cell > 0 == semantic > 0"]["differ"] == 0
    assert first["cell > 0 == semantic > 0"]["differ_if_flipped"] > 100


# --- faults of archives -----------------------------------------------------------------------


def flip(first, second):
    first.organelle = first.organelle[::-1]


def swap_colors(first, second):
    return {"palette": OLD_WITH_4_AND_6_SWAPPED}


def cell_on_background(first, second):
    first.cell[2, 25, 33] = 3


def organelle_in_plain_cell(first, second):
    second.organelle[4, 13, 9] = 5


def one_voxel_of_another(first, second):
    second.organelle[3, 16, 15 + 3] = 9


def one_voxel_of_another_class(first, second):
    second.semantic[3, 16, 11] = 3


def one_pixel_of_another_image(first, second):
    second.images[5, 6, 7] ^= 1


def frame(first, second):
    second.cell[1, [0, -1]] = second.cell[1, :, 0] = second.cell[1, :, -1] = 200


def unknown_label(first, second):
    first.semantic[0, 13, 4] = 7


def unknown_color(first, second):
    return {"palette": [*publisher.JET[:4], (9, 8, 7), *publisher.JET[5:]]}


def fewer_slices(first, second):
    first.cell = first.cell[:-1]


ARCHIVE_FAULTS = {
    flip: ("flip", "50-instance-organelle.json", "if the slices are taken backwards", {}),
    swap_colors: ("palette", "50-semantic.tif", "4 (canalicular vessel), 6 (dense granule", {}),
    cell_on_background: ("agreement", "50-instance-cell.json", "cell 3 where the class is 0",
     {"z": 2, "y": 25, "x": 33}),
    organelle_in_plain_cell: ("agreement", "50-instance-organelle.tif", "where the class is 1",
     {"z": 4, "y": 13, "x": 9}),
    one_voxel_of_another: ("organelle voxels", "50-instance-organelle.tif", "first of 1 voxels",
     {"z": 3, "y": 16, "x": 18}),
    one_voxel_of_another_class: ("semantic voxels", "50-semantic.tif", "4, as in",
     {"z": 3, "y": 16, "x": 11}),
    one_pixel_of_another_image: ("images voxels", "50-images.tif", "the first of 1 voxels",
     {"z": 5, "y": 6, "x": 7}),
    frame: ("frame", "50-instance-cell.tif", "a drawn frame", {"z": 1}),
    unknown_label: ("semantic labels", "50-semantic.json", "label 7", {}),
    unknown_color: ("semantic labels", "50-semantic.tif", "colour (9, 8, 7) at", {}),
    fewer_slices: ("shape", "50-instance-cell.json", "volume, (8, 26, 34) (7, 26, 34)", {}),
}  # fmt: skip


@pytest.mark.parametrize("fault", ARCHIVE_FAULTS, ids=lambda fault: fault.__name__)
def test_fault_of_an_archive_is_found(fault, tmp_path, capsys):
    check, file, words, place = ARCHIVE_FAULTS[fault]
    code, document = verified.run(capsys, verified.plant(tmp_path / "archives", fault))
    assert code == 1
    assert verified.is_told(document, "error", check, file, words, **place)
    both = fault in (swap_colors, unknown_color)
    assert both or not any("24-" in file for _, file, _, _ in verified.findings(document, "error"))


@pytest.mark.parametrize(
    ("change", "words"),
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
def test_damaged_zip_is_one_error_and_the_other_is_checked(change, words, tmp_path, capsys):
    folder = verified.plant(tmp_path / "archives", lambda first, second: None)
    path = folder / "images_and_labels_json.zip"
    path.write_bytes(change(path.read_bytes()))
    code, document = verified.run(capsys, folder)
    errors = verified.findings(document, "error")
    assert (code, len(errors)) == (1, 1)
    assert words in f"{errors[0][1]}: {errors[0][3]}"
    checked = [s for s in document["sections"] if "volume 50, tif" in s["title"]]
    assert checked[0]["figures"]["cell > 0 == semantic > 0"]["differ"] == 0


def test_missing_and_damaged_members_are_errors_each(tidy_archives, tmp_path, capsys):
    path = shutil.copy(tidy_archives / "images_and_labels_json.zip", tmp_path)
    verified.change_member(path, "50-instance-cell.json", lambda content: None)
    verified.change_member(path, "24-semantic.json", lambda content: content[:-40])
    code, document = verified.run(capsys, path)
    assert (code, document["errors"]) == (1, 2)
    assert verified.is_told(document, "error", "cell labels", ".zip", "50-instance-cell.json")
    assert verified.is_told(document, "error", "semantic labels", "24-semantic.json", "at byte")
    figures = next(s["figures"] for s in document["sections"] if "volume 50, " in s["title"])
    assert figures["organelle > 0 == semantic >= 2"]["differ"] == 0


def test_what_a_tif_cannot_hold_is_a_remark_that_names_the_ids(tmp_path, capsys):
    def lose(first, second):
        second.organelle[second.organelle == 9] = 5
        extra = (slice(1, 3), slice(20, 22), slice(30, 32))
        first.cell[extra] = 8
        first.semantic[extra] = second.semantic[extra] = 1

    code, document = verified.run(capsys, verified.plant(tmp_path / "archives", lose))
    tif = "50-instance-organelle.tif"
    assert verified.is_told(document, "remark", "shared colour", tif, "ids [5, 9]", ids=[5, 9])
    cells = "50-instance-cell.tif"
    assert verified.is_told(document, "remark", "lost id", cells, "is background here", id=8)
    # The lost cell contradicts the classes of the same archive: that is an error.
    assert {check for check, *_ in verified.findings(document, "error")} == {"agreement"}
    assert code == 1


def test_shared_colour_alone_is_no_error(tmp_path, capsys):
    def share(first, second):
        second.organelle[second.organelle == 9] = 5

    code, document = verified.run(capsys, verified.plant(tmp_path / "archives", share))
    assert (code, document["errors"]) == (0, 0)
    assert verified.is_told(document, "remark", "shared colour", ".tif", "ids [5, 9]")


def test_overlapping_masks_are_counted(tidy_archives, tmp_path, capsys):
    path = shutil.copy(tidy_archives / "images_and_labels_json.zip", tmp_path)

    def overlap(content):
        labels = json.loads(content)
        runs = labels["5"].split()
        labels["9"] = f"{runs[0]} 2 {labels['9']}"
        return json.dumps(labels).encode()

    verified.change_member(path, "50-instance-organelle.json", overlap)
    code, document = verified.run(capsys, path)
    place = {"z": 0, "y": 2, "x": 3}
    said = "2 voxels claimed more than once, first by 5 and 9"
    assert verified.is_told(document, "remark", "overlap", "organelle.json", said, **place)
    assert code == 0


def test_labels_and_palette_that_fit_no_image_are_told(tmp_path, capsys):
    def turn(first, second):
        for name in ("semantic", "cell", "organelle"):
            setattr(first, name, getattr(first, name)[::-1])

    document = verified.run(capsys, verified.plant(tmp_path / "archives", turn))[1]
    assert verified.is_told(document, "remark", "flip", "50-semantic.json", "fit the image better")


def test_tif_of_ids_and_tif_of_colors_are_compared_as_partitions(tmp_path, capsys):
    tidy = verified.tidy()
    of_colors = tidy.folder(tmp_path / "colors", "tif", palette=publisher.OLD)
    of_ids = tidy.folder(tmp_path / "ids", "tif")
    for name, volume in tidy.volumes.items():
        for kind in ("semantic", "cell", "organelle"):
            path = of_ids / f"{publisher.FILES[kind].format(name)}.tif"
            path.write_bytes(publisher.tif(getattr(volume, kind).astype(np.uint16)))
    code, document = verified.run(capsys, of_ids, of_colors)
    assert (code, document["errors"]) == (0, 0)
    forms = [s["figures"].get("semantic file", "").split(", md5")[0] for s in document["sections"]]
    assert "TIF, indices uint16" in forms
    assert "TIF, RGBA uint8, palette A" in forms


def test_place_without_our_files_is_an_error(tmp_path, capsys):
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    for path, words in (
        (tmp_path, "neither"),
        (tmp_path / "gone.zip", "found nothing there"),
        (circle, "symbolic links"),
    ):
        code, document = verified.run(capsys, path)
        assert code == 1
        assert verified.is_told(document, "error", "archive", path.name, words)


# --- the report -------------------------------------------------------------------------------


def test_report_for_people(tmp_path, capsys):
    def scatter(first, second):
        first.cell[:, 25, 33] = 3

    folder = verified.plant(tmp_path / "archives", scatter)
    assert main(["verify", str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "16 errors, 10 remarks"
    told = [line for line in lines if line.startswith("  ERROR agreement: ")]
    assert told[0] == (
        "  ERROR agreement: platelet-em/labels-instance/50-instance-cell.json: z 0, y 25, x 33: "
        "expected cell > 0 == semantic > 0, found cell 3 where the class is 0, and 1 such voxels "
        "in this slice: fetch the archive again, or report it to the publisher"
    )
    assert len(told) == 5
    assert "    and 3 more of this kind in this file" in lines


def test_what_a_terminal_would_obey_is_escaped(tidy_archives, tmp_path, capsys):
    path = shutil.copy(tidy_archives / "images_and_labels_json.zip", tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("\x1b[2J\nevil.txt", b"")
    assert main(["verify", path]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert r"  other files  1 \x1b[2J\nevil.txt" in lines
    assert all(map(str.isprintable, lines))


def test_unexpected_trouble_shows_a_traceback_only_with_debug(tidy_archives, monkeypatch, capsys):
    def fail(*_):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr("_platelet_em.verify.run.check_part", fail)
    assert main(["verify", str(tidy_archives)]) == 1
    assert "unexpected ZeroDivisionError" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError, match="planted"):
        main(["verify", str(tidy_archives), "--debug"])


def test_other_files_and_folders_of_an_archive_are_told(tidy_archives, tmp_path, capsys):
    path = shutil.copy(tidy_archives / "images_and_labels_rgba.zip", tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("__MACOSX/._50-images.tif", b"junk")
    document = verified.run(capsys, path)[1]
    figures = document["sections"][0]["figures"]
    assert figures["other files"] == ["__MACOSX/._50-images.tif"]
    assert figures["folders"][0] == "platelet-em/images"
