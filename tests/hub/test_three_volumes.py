"""Repositories with the paper's third volume: their files, what readers see, what is refused."""

import json
import shutil
import zipfile

import datasets
import duckdb
import mlcroissant
import numpy as np
import pandas as pd
import polars as pl
import pytest
import yaml
from support import verified, versions
from support.clients import WITHOUT_TORCH
from support.paper import NAME, paper
from support.programs import PROGRAMS

import platelet_em
from _platelet_em.commands.cli import main
from _platelet_em.facts import PUBLISHED
from _platelet_em.hub.build import build, plan_record
from _platelet_em.hub.integrity import inspect_repository, read_build
from _platelet_em.hub.layout import data_files
from _platelet_em.hub.record import read_record
from _platelet_em.verify.run import verify


@pytest.fixture(scope="module")
def truth():
    return paper()


@pytest.fixture(scope="module")
def three(tidy_archives, truth, tmp_path_factory):
    """A folder with all three archives."""
    folder = shutil.copytree(tidy_archives, tmp_path_factory.mktemp("three") / "archives")
    truth.zip(folder / NAME)
    return folder


@pytest.fixture(scope="module")
def built(three):
    return build(three.parent / "repo", data_dir=three, with_test=True)


@pytest.fixture
def copied(built, tmp_path):
    return shutil.copytree(built, tmp_path / "repo")


@pytest.mark.parametrize("streaming", [False, True])
def test_plain_datasets_gives_its_voxels_and_nulls(built, truth, tmp_path, streaming):
    options = {"streaming": streaming, "cache_dir": str(tmp_path)}
    loaded = datasets.load_dataset(str(built), "slices", **options)
    assert list(loaded) == ["train", "validation", "test"]
    for row in loaded["test"]:
        np.testing.assert_array_equal(np.asarray(row["image"]), truth.as_uint16[row["z"]])
        np.testing.assert_array_equal(np.asarray(row["semantic"]), truth.semantic[row["z"]])
        assert [row[n] for n in ("cells", "organelles", "n_cells", "n_organelles")] == [None] * 4
    (row,) = loaded["test"].with_format("platelet_em").take(1)
    assert row["cells"] is None
    (volume,) = datasets.load_dataset(str(built), "volumes", split="test", **options)
    assert volume["organelles"] is None
    np.testing.assert_array_equal(np.stack([*map(np.asarray, volume["image"])]), truth.as_uint16)
    objects = datasets.load_dataset(str(built), "instances", **options)
    assert list(objects) == ["train", "validation"]


def test_old_and_new_datasets_load_it(built, three, newest_or_oldest, tmp_path):
    program = PROGRAMS / "load_three_volumes.py"
    versions.run(newest_or_oldest, program, built, three, cwd=tmp_path, **WITHOUT_TORCH)


def test_other_readers_give_nulls(built, truth):
    files = str(built / "slices" / "test-*.parquet")
    depth = len(truth.images)
    frame = pd.read_parquet(min((built / "slices").glob("test-*")), columns=["n_cells"])
    assert frame["n_cells"].isna().all()
    assert pl.scan_parquet(files).select(pl.col("cells").null_count()).collect().item() == depth
    query = f"SELECT count(*), count(organelles), count(n_cells) FROM '{files}'"
    assert duckdb.sql(query).fetchall() == [(depth, 0, 0)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_mlcroissant_gives_nulls(built, truth):
    described = mlcroissant.Dataset(built / "croissant.json")
    rows = [row for row in described.records("slices") if row["slices/split"] == b"test"]
    assert len(rows) == len(truth.images)
    for row in rows:
        assert row["slices/n_cells"] is None
        assert set(row["slices/cells"].values()) == {None}
    splits = {row["instances/split"] for row in described.records("instances")}
    assert splits == {b"train", b"validation"}


def test_record_and_card_say_where_it_is_from_and_how_it_was_read(built):
    record = read_record(next(iter(data_files(built, "slices"))))
    assert record["volumes"] == "50 24 test"
    assert (record["test_archive"], record["test_images"]) == (NAME, "int16, plus 32768")
    card = (built / "README.md").read_text()
    assert record["test_archive_md5"] in card
    assert "32768 is added to each value" in " ".join(card.split())
    assert "score voxels of the classes 1 to 6 only" in " ".join(card.split())
    head = yaml.safe_load(card.split("---\n")[1])
    splits = {
        config["config_name"]: [entry["split"] for entry in config["data_files"]]
        for config in head["configs"]
    }
    assert splits.pop("instances") == ["train", "validation"]
    assert set(map(tuple, splits.values())) == {("train", "validation", "test")}


def test_each_archive_is_recorded_by_its_own_files(three, truth, publication, tmp_path):
    """Also where one folder has the files of both, or one archive has the other's."""
    both = publication.folder(tmp_path / "extracted", "json").parent
    for name, content in truth.files().items():
        (both / name).parent.mkdir(exist_ok=True)
        (both / name).write_bytes(content)
    recorded = plan_record(both, "json", None, PUBLISHED.with_optional())
    assert recorded["archive_md5"] == plan_record(both, "json", None)["archive_md5"]
    apart = tmp_path / "apart"
    shutil.copytree(both / "platelet_data", apart / "platelet_data")
    shutil.copy(three / "images_and_labels_json.zip", apart)
    expected = plan_record(apart, "json", None, PUBLISHED.with_optional())
    assert recorded["test_archive_md5"] == expected["test_archive_md5"]
    with zipfile.ZipFile(apart / "images_and_labels_json.zip", "a") as archive:
        archive.writestr("test-images.tif", b"another")
    again = plan_record(apart, "json", None, PUBLISHED.with_optional())
    assert again["test_images"] == "int16, plus 32768"


def test_the_classes_of_the_card_count_labeled_voxels_only(built, truth):
    card = (built / "README.md").read_text()
    (row,) = [line for line in card.splitlines() if line.startswith("| 1 | cell")]
    labeled = truth.semantic[truth.semantic > 0]
    assert row.split(" | ")[-2] == f"{100 * (labeled == 1).mean():.3f}"
    (row,) = [line for line in card.splitlines() if line.startswith("| 0 | background")]
    assert row.split(" | ")[-2] == "not labeled"


def test_it_passes_verify_alone_and_against_its_archives(built, three):
    report = verify([three, built])
    assert report.errors == 0, "\n".join(report.lines())
    titles = [section.title for section in report.sections]
    assert any("volume test, against" in title for title in titles)
    assert read_build(built, PUBLISHED) is not None


@pytest.mark.parametrize(
    ("spoil", "check"),
    [
        (lambda row: row.update(n_cells=0), "n_cells"),
        (lambda row: row.update(cells={"shape": [21, 30], "id": [], "rle": []}), "cells"),
    ],
)
def test_labels_that_are_empty_instead_of_null_are_errors(copied, capsys, spoil, check):
    verified.change_rows(min((copied / "slices").glob("test-*")), 0, spoil)
    _, report = verified.run(capsys, copied)
    found = {place.get("column") for _, _, place, _ in verified.findings(report, "error")}
    assert check in found


def test_a_missing_shard_of_it_is_found(copied):
    min((copied / "slices").glob("test-*")).unlink()
    checks = {problem.check for problem in inspect_repository(copied, PUBLISHED).problems}
    assert "shards" in checks


def test_a_split_that_no_record_names_is_no_part_of_a_build(tidy_repository, tmp_path):
    copied = shutil.copytree(tidy_repository, tmp_path / "repo")
    source = min((copied / "slices").glob("train-*"))
    shutil.copy(source, copied / "slices" / "test-00000-of-00001.parquet")
    checks = {problem.check for problem in inspect_repository(copied, PUBLISHED).problems}
    assert "others" in checks


def test_a_build_without_it_does_not_delete_it_without_force(copied, three):
    before = {path.name for path in copied.rglob("*.parquet")}
    with pytest.raises(platelet_em.OutputError, match=r"a build with volume test, too: .*--force"):
        build(copied, data_dir=three)
    assert {path.name for path in copied.rglob("*.parquet")} == before
    build(copied, data_dir=three, force=True)
    assert not list(copied.rglob("test-*"))
    assert not (copied / "pictures" / "volume-test.png").exists()
    assert read_build(copied, PUBLISHED) is not None


def test_a_build_with_it_adds_to_one_without(tidy_repository, three, tmp_path):
    copied = shutil.copytree(tidy_repository, tmp_path / "repo")
    build(copied, data_dir=three, with_test=True)
    assert len(list((copied / "slices").glob("test-*"))) == 6
    assert read_build(copied, PUBLISHED)["volumes"] == "50 24 test"


@pytest.mark.parametrize("force", [False, True])
def test_a_build_with_it_replaces_no_picture_of_the_user(tidy_repository, three, tmp_path, force):
    copied = shutil.copytree(tidy_repository, tmp_path / "repo")
    picture = copied / "pictures" / "volume-test.png"
    picture.write_text("mine")
    with pytest.raises(platelet_em.OutputError, match=r"volume-test\.png: was not written by"):
        build(copied, data_dir=three, with_test=True, force=force)
    assert picture.read_text() == "mine"


def test_the_commands_know_it(three, tmp_path, capsys):
    out = tmp_path / "repo"
    assert main(["build", str(out), "--data-dir", str(three), "--with-test"]) == 0
    assert main(["show", str(out), "--volume", "test", "--z", "2", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "platelet-em-test-z002.png").is_file()
    capsys.readouterr()
    assert main(["info", str(out), "--json"]) == 0
    files = json.loads(capsys.readouterr().out)["files"]
    assert {f["config"] for f in files if f["split"] == "test"} == {"slices", "volumes", "preview"}
    assert main(["info", str(three)]) == 0
    assert "volume test: 6 x 21 x 30" in capsys.readouterr().out


def test_the_papers_labels_of_the_other_volumes_are_compared(three, publication, tmp_path, capsys):
    semantic = verified.tidy().volumes["50"].semantic
    for wrong in (False, True):
        labels = semantic.copy()
        labels[1, 2, 3] = (labels[1, 2, 3] + wrong) % 7
        folder = tmp_path / f"paper-{wrong}"
        folder.mkdir()
        content = verified.publisher.tif(labels.astype(np.uint16))
        paper().zip(folder / NAME, **{"platelet_data/train-labels.tif": content})
        _, report = verified.run(capsys, three / "images_and_labels_json.zip", folder)
        errors = [f for f in verified.findings(report, "error") if "train-labels" in str(f)]
        assert bool(errors) == wrong
