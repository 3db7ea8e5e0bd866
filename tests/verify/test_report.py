"""The report: the first findings of each check are listed, and nothing in it is obeyed."""

import json
import shutil
import zipfile

from support import publisher, verified

from _platelet_em.commands.cli import main
from _platelet_em.verify.report import Report


def test_the_report_as_text(tmp_path, capsys):
    def scatter(first, second):
        first.cell[:, 25, 33] = 3

    folder = verified.plant(tmp_path / "archives", scatter)
    assert main(["verify", str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[:2] == [
        "16 errors, 10 remarks",
        "  ERROR agreement: 8, first in 50-instance-cell.json, z 0, y 25, x 33",
    ]
    errors = [line for line in lines if line.startswith("  ERROR agreement: p")]
    assert errors[0] == (
        "  ERROR agreement: platelet-em/labels-instance/50-instance-cell.json: z 0, y 25, x 33: "
        "expected cell > 0 == semantic > 0, found cell 3 where the class is 0, and 1 such voxels "
        "in this slice: fetch or write the labels again, or report it to those who made them"
    )
    assert len(errors) == 5
    assert "    and 3 more of this kind in this file" in lines


def test_the_report_as_json():
    report = Report()
    section = report.section("repo", "a built repository")
    section.figure("sums", "22 of 22 files", 22)
    for z in range(7):
        section.error("page", "a.parquet", expected="x", found="y", remedy="build", z=z)
    section.remark("origin", "repo", "was built elsewhere")
    document = json.loads(report.to_json())
    (found,) = document.pop("sections")
    questions = document.pop("questions")
    assert (len(questions), questions["version of the semantic labels"]) == (5, [])
    assert document == {"format": 1, "errors": 7, "remarks": 1}
    assert (found["title"], found["figures"]) == ("repo: a built repository", {"sums": 22})
    pages, origin = found["findings"]
    assert (pages["level"], pages["check"], pages["file"], pages["count"]) == (
        "error", "page", "a.parquet", 7,
    )  # fmt: skip
    assert [each["place"] for each in pages["first"]] == [{"z": z} for z in range(5)]
    assert pages["first"][0] == {
        "place": {"z": 0}, "expected": "x", "found": "y", "remedy": "build",
    }  # fmt: skip
    assert (origin["level"], origin["count"]) == ("remark", 1)


def test_control_characters_are_escaped(tidy_archives, tmp_path, capsys):
    path = shutil.copy(tidy_archives / "images_and_labels_json.zip", tmp_path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("\x1b[2J\nevil.txt", b"")
    assert main(["verify", path, "--verbose"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert r"  other files  1 \x1b[2J\nevil.txt" in lines
    assert all(map(str.isprintable, lines))


def test_the_summary_has_ten_lines_and_errors_first():
    report = Report()
    section = report.section("archive.zip", "volume 50")
    for i in range(12):
        section.remark(f"remark {i}", "folder/a.tif", "odd", z=i)
    section.error("flip", "folder/b.json", found="flipped", z=3)
    section.error("flip", "folder/c.json", found="flipped")
    lines = list(report.summary())
    assert len(lines) == 10
    assert lines[:3] == [
        "2 errors, 12 remarks",
        "  ERROR flip: 2, first in b.json, z 3",
        "  remark remark 0: 1, first in a.tif, z 0",
    ]
    assert lines[-1] == "  and 5 other checks with findings"
    assert list(report.lines())[:10] == lines


def test_a_summary_without_room_to_spare_is_complete():
    report = Report()
    section = report.section("archive.zip")
    for i in range(9):
        section.remark(f"check {i}", "a.tif", "odd")
    lines = list(report.summary())
    assert len(lines) == 10
    assert lines[-1] == "  remark check 8: 1, first in a.tif"


def test_figures_are_shown_only_if_asked_for(tidy_archives, capsys):
    path = str(tidy_archives / "images_and_labels_json.zip")
    assert main(["verify", path]) == 0
    short = capsys.readouterr().out
    assert main(["verify", path, "--verbose"]) == 0
    long = capsys.readouterr().out
    assert "image and classes" in long
    assert "image and classes" not in short
    assert set(short.splitlines()) <= set(long.splitlines())


def test_the_report_ends_with_a_line_for_each_open_question(tidy_archives, capsys):
    assert main(["verify", str(tidy_archives)]) == 0
    last = capsys.readouterr().out.splitlines()[-5:]
    assert last[0].startswith(
        "palette of the semantic labels: volume 50, semantic: TIF, RGBA uint8, palette B; "
    )
    assert last[1] == "version of the semantic labels: not answered by these files"
    assert last[2].startswith(
        "ids that the RGBA labels lost: volume 50, cell: none is seen, 2 colors; "
    )
    assert last[3] == (
        "JSON labels and RGBA labels: "
        "volume 50: voxels that differ: semantic 0, cell 0, organelle 0; "
        "volume 24: voxels that differ: semantic 0, cell 0, organelle 0"
    )
    assert last[4].startswith(
        "byte order and sign of the images: volume 50: stored little-endian, unsigned; "
        "volume 50: background brighter than labeled voxels ("
    )


def test_big_endian_images_are_named(tmp_path, capsys):
    path = verified.tidy().zip(tmp_path / "images_and_labels_json.zip", "json")
    images = verified.tidy().volumes["50"].images
    content = publisher.tif(images.astype(">u2"), byteorder=">")
    assert content[:2] == b"MM"
    verified.change_member(path, "50-images.tif", lambda _: content)
    questions = verified.run(capsys, path)[1]["questions"]
    answers = questions["byte order and sign of the images"]
    assert "volume 50: stored big-endian, unsigned" in answers
    assert "volume 24: stored little-endian, unsigned" in answers
