"""What is said about labels when a volume is loaded or built from an archive."""

import logging

import numpy as np
import pytest
from support import publisher, verified

import platelet_em
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.commands.cli import main
from _platelet_em.facts import PUBLISHED
from _platelet_em.publisher import volume as volumes
from _platelet_em.publisher.label_remarks import missing_labels
from _platelet_em.spec import DatasetSpec


@pytest.fixture(autouse=True)
def _not_said_yet():
    volumes._warn_once.cache_clear()


def no_organelle(volume):
    volume.organelle[:] = 0


def no_label(volume):
    volume.cell[:] = volume.organelle[:] = volume.semantic[:] = 0


def one_class(volume):
    volume.organelle[:] = 0
    volume.semantic = (volume.cell > 0).astype(np.uint8)


CASES = {
    no_organelle: {"50-instance-organelle": "no voxel has a label"},
    no_label: {
        "50-semantic": "no voxel has a label",
        "50-instance-cell": "no voxel has a label",
        "50-instance-organelle": "no voxel has a label",
    },
    one_class: {
        "50-semantic": "all labeled voxels are of one class, 1 (cell)",
        "50-instance-organelle": "no voxel has a label",
    },
}


@pytest.mark.parametrize("source", ["json", "tif"])
@pytest.mark.parametrize("change", CASES, ids=lambda change: change.__name__)
def test_build_and_verify_say_which_labels_are_missing(change, source, tmp_path, caplog, capsys):
    publication = verified.tidy()
    change(publication.volumes["50"])
    path = publication.zip(tmp_path / f"{source}.zip", source)
    with caplog.at_level(logging.WARNING):
        arguments = ["--data-dir", str(path), "--label-source", source]
        assert main(["build", str(tmp_path / "repo"), *arguments]) == 0
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == len(CASES[change])
    capsys.readouterr()
    code, report = verified.run(capsys, path)
    for file, text in CASES[change].items():
        assert any(f"{file}.{source}: {text}" in line for line in said)
        level = "error" if text.startswith("no voxel") else "remark"
        assert verified.has_finding(report, level, "labels", f"{file}.{source}", text)
    assert code == 1


def test_a_dataset_of_one_class_may_have_one(tmp_path):
    labels = {"semantic": LazyLabels.from_array(np.ones((1, 2, 2), np.int32))}
    assert set(missing_labels(labels, PUBLISHED)) == {"semantic"}
    two = {f: getattr(PUBLISHED, f) for f in PUBLISHED.__slots__} | {
        "classes": PUBLISHED.classes[:2]
    }
    assert missing_labels(labels, DatasetSpec(**two)) == {}


def test_complete_labels_need_no_remark(tidy_archives, tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        platelet_em.load_dataset("slices", data_dir=tidy_archives, cache_dir=tmp_path)
    assert not caplog.records


def test_loading_a_file_that_lost_ids_says_so_once(tmp_path, caplog):
    platelet_em.write_sample(tmp_path / "archives", depth=1, size=1200, colors=256)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            rows = platelet_em.load_dataset(
                "slices",
                label_source="tif",
                data_dir=tmp_path / "archives",
                streaming=True,
                split="train",
            )
            next(iter(rows))
    said = [r.getMessage() for r in caplog.records if "ids were lost" in r.getMessage()]
    assert len(said) == 1
    assert "50-instance-organelle.tif" in said[0]
    assert "colors are in" in said[0]


@pytest.mark.parametrize("colors", [0, 255, 257])
def test_another_number_of_colors_is_refused(colors, tmp_path):
    with pytest.raises(platelet_em.PlateletEMError, match=f"expected 256, .* got {colors}"):
        platelet_em.write_sample(tmp_path, colors=colors)


def many_organelles():
    """A volume of 300 organelles, in one cell; no two slices are equal."""
    organelle = np.zeros((3, 60, 60), np.int32)
    for i in range(300):
        y, x = divmod(i, 19)
        organelle[:, 3 * y + 1 : 3 * y + 3, 3 * x + 1 : 3 * x + 3] = i + 1
    organelle[1, 1, 4] = organelle[2, 1, 7] = 0
    cell = np.ones_like(organelle)
    cell[:, 54:] = 0
    semantic = cell + 2 * (organelle > 0)
    noise = np.random.default_rng(0).integers(0, 9000, cell.shape)
    images = (50_000 - 9000 * semantic + noise).astype(np.uint16)
    return publisher.Volume(images, semantic.astype(np.uint8), cell, organelle)


def test_lost_ids_are_a_remark_of_verify_and_name_the_objects(tmp_path, capsys):
    volume = many_organelles()
    publication = publisher.Publication({"50": volume, "24": verified.tidy_volume(3, 1)})
    publication.zip(tmp_path / "images_and_labels_json.zip", "json")
    jet = publisher.jet()
    lut = np.zeros((301, 3), np.uint8)
    lut[1:] = jet[np.minimum(np.arange(1, 301) * 256 // 300, 255)]
    colors = publisher.rgba(volume.organelle, lut)
    colors[volume.organelle == 1] = 0
    path = publication.zip(tmp_path / "images_and_labels_rgba.zip", "tif")
    name = "50-instance-organelle.tif"
    verified.change_member(path, name, lambda _: publisher.tif(colors, compression="zlib"))
    code, report = verified.run(capsys, path)
    assert (code, report["errors"]) == (0, 0)
    text = "1 objects or parts of them (12 voxels) are background"
    assert verified.has_finding(report, "remark", "lost ids", name, text)
    code, report = verified.run(capsys, tmp_path)
    assert (code, report["errors"]) == (0, 0)
    shared = [color for color in np.unique(lut[2:], axis=0) if (lut[2:] == color).all(1).sum() > 1]
    merged = sum((lut[2:] == color).all(axis=1).sum() for color in shared)
    text = (
        f"{merged + 1} of 300 objects are affected: 1 are background, {merged} share "
        f"{len(shared)} colors, exactly as the publisher's color map"
    )
    assert verified.has_finding(report, "remark", "lost ids", name, text)
