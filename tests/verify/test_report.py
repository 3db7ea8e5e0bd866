"""The report: the first findings of each check are listed, and nothing in it is obeyed."""

import json
import shutil
import zipfile

from support import verified

from _platelet_em.commands.cli import main
from _platelet_em.verify.report import Report


def test_the_report_as_text(tmp_path, capsys):
    def scatter(first, second):
        first.cell[:, 25, 33] = 3

    folder = verified.plant(tmp_path / "archives", scatter)
    assert main(["verify", str(folder)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "16 errors, 10 remarks"
    errors = [line for line in lines if line.startswith("  ERROR agreement: ")]
    assert errors[0] == (
        "  ERROR agreement: platelet-em/labels-instance/50-instance-cell.json: z 0, y 25, x 33: "
        "expected cell > 0 == semantic > 0, found cell 3 where the class is 0, and 1 such voxels "
        "in this slice: fetch the archive again, or report it to the publisher"
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
    assert main(["verify", path]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert r"  other files  1 \x1b[2J\nevil.txt" in lines
    assert all(map(str.isprintable, lines))
