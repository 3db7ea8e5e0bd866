"""One volume in two sources: each voxel that differs is located, lost ids are remarks."""

from dataclasses import replace

import numpy as np
import pytest
from support import publisher, verified

from _platelet_em.facts import PUBLISHED
from _platelet_em.spec import SemanticClass

JET_WITH_4_AND_6_SWAPPED = [publisher.JET[i] for i in (0, 1, 2, 3, 6, 5, 4)]
SHARD = "slices/train-00001-of-00008.parquet"


def swapped_colors(first, second):
    return {"palette": JET_WITH_4_AND_6_SWAPPED}


def one_voxel_of_another_organelle(first, second):
    second.organelle[3, 16, 15 + 3] = 9


def one_voxel_of_another_class(first, second):
    second.semantic[3, 16, 11] = 3


def one_pixel_of_another_gray_value(first, second):
    second.images[5, 6, 7] ^= 1


FAULTS = {
    swapped_colors: ("palette", "50-semantic.tif",
     "4 (canalicular vessel), 6 (dense granule core) swapped", {}),
    one_voxel_of_another_organelle: ("organelle voxels", "50-instance-organelle.tif",
     "first of 1 voxels", {"z": 3, "y": 16, "x": 18}),
    one_voxel_of_another_class: ("semantic voxels", "50-semantic.tif", "4, as in",
     {"z": 3, "y": 16, "x": 11}),
    one_pixel_of_another_gray_value: ("images voxels", "50-images.tif",
     "the first of 1 voxels", {"z": 5, "y": 6, "x": 7}),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_a_difference_between_archives_is_located(fault, tmp_path, capsys):
    check, file, text, place = FAULTS[fault]
    code, report = verified.run(capsys, verified.plant(tmp_path / "archives", fault))
    assert code == 1
    assert verified.has_finding(report, "error", check, file, text, **place)
    others = [file for _, file, *_ in verified.findings(report, "error") if "24-" in file]
    assert bool(others) == (fault is swapped_colors)


def test_ids_that_a_tif_cannot_hold_are_remarks(tmp_path, capsys):
    def lose(first, second):
        second.organelle[second.organelle == 9] = 5
        extra = (slice(1, 3), slice(20, 22), slice(30, 32))
        first.cell[extra] = 8
        first.semantic[extra] = second.semantic[extra] = 1

    code, report = verified.run(capsys, verified.plant(tmp_path / "archives", lose))
    tif, cells = "50-instance-organelle.tif", "50-instance-cell.tif"
    assert verified.has_finding(report, "remark", "shared colour", tif, "ids [5, 9]", ids=[5, 9])
    assert verified.has_finding(report, "remark", "lost id", cells, "is background here", id=8)
    # The lost cell contradicts the classes of the same archive: that is an error.
    assert {check for check, *_ in verified.findings(report, "error")} == {"agreement"}
    assert code == 1


def test_a_shared_color_alone_is_no_error(tmp_path, capsys):
    def share(first, second):
        second.organelle[second.organelle == 9] = 5

    code, report = verified.run(capsys, verified.plant(tmp_path / "archives", share))
    assert (code, report["errors"]) == (0, 0)
    assert verified.has_finding(report, "remark", "shared colour", ".tif", "ids [5, 9]")
    figures = verified.figures(report, "volume 50, against")[0]
    assert figures["organelle"] == {"differ": 0, "ids": 4, "colours": 3}


def test_a_tif_of_ids_and_a_tif_of_colors_are_compared_as_partitions(tmp_path, capsys):
    tidy = verified.tidy()
    of_colors = tidy.folder(tmp_path / "colors", "tif", palette=publisher.OLD)
    of_ids = tidy.folder(tmp_path / "ids", "tif")
    for name, volume in tidy.volumes.items():
        for kind in ("semantic", "cell", "organelle"):
            path = of_ids / f"{publisher.FILES[kind].format(name)}.tif"
            path.write_bytes(publisher.tif(getattr(volume, kind).astype(np.uint16)))
    code, report = verified.run(capsys, of_ids, of_colors)
    assert (code, report["errors"]) == (0, 0)
    forms = [figures.get("semantic file", "") for figures in verified.figures(report, "volume")]
    assert any(form.startswith("TIF, indices uint16, ") for form in forms)
    assert any(form.startswith("TIF, RGBA uint8, palette A, ") for form in forms)


ROW_FAULTS = {
    "image": (verified.paint("image", 0), "images voxels", {"y": 15, "x": 7}),
    "semantic": (verified.paint("semantic", 0), "semantic voxels", {"y": 15, "x": 7}),
    "id": (verified.put("organelles", "id", 6), "organelle voxels", {"y": 2, "x": 4}),
}


@pytest.mark.parametrize("fault", ROW_FAULTS)
def test_a_difference_between_configurations_is_located(fault, copied, capsys):
    change, check, place = ROW_FAULTS[fault]
    verified.change_rows(copied / SHARD, 0, change)
    code, report = verified.run(capsys, copied)
    assert code == 1
    file = "volumes/train-00000-of-00001.parquet"
    assert verified.has_finding(report, "error", check, file, ", as in ", z=1, **place)


@pytest.mark.parametrize("fault", ["image", "semantic"])
def test_a_difference_from_the_archive_is_located(fault, tidy_archives, copied, capsys):
    change, check, place = ROW_FAULTS[fault]
    verified.change_rows(copied / SHARD, 0, change)
    code, report = verified.run(capsys, tidy_archives, copied)
    assert code == 1
    assert verified.has_finding(report, "error", check, "slices/train-*", "as in", z=1, **place)


def test_a_repository_of_json_labels_is_compared_with_the_tif_archive(
    tidy_archives, copied, capsys
):
    verified.change_rows(copied / SHARD, 0, verified.put("cells", "rle", "36 16"))
    code, report = verified.run(capsys, tidy_archives / "images_and_labels_rgba.zip", copied)
    assert code == 1
    file = "50-instance-cell.tif"
    assert verified.has_finding(report, "error", "cell voxels", file, "as in", z=1)


@pytest.mark.parametrize(
    ("index", "name"), [(1, "cell"), (6, "other"), (9, "class 9"), (-1, "class -1")]
)
def test_a_class_without_a_name_can_be_named(index, name):
    names = ["background", "cell", "a", "b", "c", "d", "other"]
    classes = tuple(SemanticClass(name=each, colors=()) for each in names)
    assert replace(PUBLISHED, classes=classes).class_name(index) == name
