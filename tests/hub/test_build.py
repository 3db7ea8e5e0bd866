"""Building a Hub repository: complete, repeatable, and loaded without this project."""

import errno
import json
import os
import shutil
import subprocess
import sys

import datasets
import huggingface_hub
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support import plain, publisher
from support.clients import WITHOUT_TORCH
from support.folders import contents, front_matter
from support.programs import PROGRAMS

import platelet_em
from _platelet_em.commands.cli import main
from _platelet_em.errors import ArchiveError
from _platelet_em.facts import PUBLISHED
from _platelet_em.hub import build as build_module
from _platelet_em.hub import write as write_module
from _platelet_em.hub.build import build
from _platelet_em.hub.card import seal_card
from _platelet_em.hub.integrity import read_build
from _platelet_em.hub.record import read_record
from _platelet_em.rows.figure import draw_panels
from _platelet_em.rows.make import CONFIGS
from _platelet_em.rows.picture import SliceArrays
from _platelet_em.rows.schema import SCHEMA_VERSION, json_features

FEATURES = {config.name: json_features(config.columns(PUBLISHED)) for config in CONFIGS}


def test_files(repository):
    names = sorted(contents(repository))
    shards = [f"slices/train-{i:05}-of-00008.parquet" for i in range(8)]
    assert names == sorted(
        [
            "README.md",
            "croissant.json",
            "pictures/volume-24.png",
            "pictures/volume-50.png",
            *shards,
            *(f"slices/validation-{i:05}-of-00004.parquet" for i in range(4)),
            *(
                f"{c}/{s}-00000-of-00001.parquet"
                for c in ("volumes", "instances", "preview")
                for s in ("train", "validation")
            ),
        ]
    )


def test_plain_datasets_loads_it_without_this_project(repository, truth, plain_packages, tmp_path):
    environment = {"HF_HOME": str(tmp_path / "home"), **WITHOUT_TORCH}
    program = PROGRAMS / "load_built.py"
    assert plain.run(plain_packages, program, truth, repository, **environment).split() == ["ok"]


def test_same_input_same_bytes(flat_repository, flat_archives, tmp_path):
    assert contents(build(tmp_path / "again", data_dir=flat_archives)) == contents(flat_repository)


def test_tif_labels_are_the_same_up_to_a_change_of_ids(
    archives, publication, same_partition, tmp_path
):
    folder = build(tmp_path / "repo", data_dir=archives, label_source="tif")
    loaded = datasets.load_dataset(str(folder), "slices", cache_dir=str(tmp_path / "cache"))
    for split, name in (("train", "50"), ("validation", "24")):
        rows = list(loaded[split].with_format("platelet_em"))
        for column, kind in (("cells", "cell"), ("organelles", "organelle")):
            labels = np.stack([np.asarray(row[column]) for row in rows])
            assert same_partition(labels, getattr(publication.volumes[name], kind))


def test_card_agrees_with_parquet_metadata(repository):
    head = front_matter(repository)
    assert head["license"] == "other"
    assert [c["config_name"] for c in head["configs"]] == [
        "slices",
        "volumes",
        "instances",
        "preview",
    ]
    for info in head["dataset_info"]:
        config = info["config_name"]
        from_card = datasets.Features._from_yaml_list(info["features"])
        for path in sorted((repository / config).iterdir()):
            metadata = pq.read_schema(path).metadata
            features = json.loads(metadata[b"huggingface"])["info"]["features"]
            assert features == FEATURES[config]
            assert datasets.Features.from_dict(features) == from_card
            assert from_card.arrow_schema.equals(pq.read_schema(path).remove_metadata())
        rows = {s["name"]: s["num_examples"] for s in info["splits"]}
        for split, count in rows.items():
            shards = (repository / config).glob(f"{split}-*")
            assert sum(pq.read_metadata(shard).num_rows for shard in shards) == count


def test_card_figures_are_those_of_the_arrays(repository, publication):
    card = (repository / "README.md").read_text()
    assert "{{" not in card
    for truth in publication.volumes.values():
        shape = " x ".join(map(str, truth.images.shape))
        cells, organelles = (len(np.unique(a)) - 1 for a in (truth.cell, truth.organelle))
        assert f"| {shape} | {truth.images.size} | {cells} | {organelles} |" in card
        low, high = truth.images.min(), truth.images.max()
        mean, std = truth.images.mean(), truth.images.std()
        assert f"{low} to {high}, mean {mean:.0f}, std {std:.0f}" in card
        share = (truth.semantic == 1).mean()
        assert f"| {100 * share:.3f} | {1 / (7 * share):.3g} |" in card


def test_card_shows_the_middle_slice_of_each_volume(repository, publication):
    card = (repository / "README.md").read_text()
    for name, truth in publication.volumes.items():
        z = len(truth.images) // 2
        labels = {"cells": truth.cell[z], "organelles": truth.organelle[z]}
        arrays = SliceArrays(truth.images[z], truth.semantic[z], labels)
        title = f"platelet-em, volume {name}, z = {z}"
        drawn = draw_panels(arrays, PUBLISHED, title=title, width=480)
        with Image.open(repository / "pictures" / f"volume-{name}.png") as picture:
            assert np.array_equal(np.asarray(picture), drawn)
        assert f"![Volume {name}, slice {z}: " in card
        assert f"](pictures/volume-{name}.png)" in card


def test_the_hub_accepts_the_card(repository):
    card = huggingface_hub.DatasetCard.load(repository / "README.md")
    assert card.data.license == "other"
    assert card.data.license_name == "cleared-for-public-release"
    assert card.data.license_link == "https://github.com/bio3d-vision/bio3d-vision.github.io"
    assert card.data.task_categories == ["image-segmentation"]
    assert card.data.pretty_name == "platelet-em"
    assert "electron-microscopy" in card.data.tags


def test_row_groups_and_order(repository):
    for path in sorted(repository.rglob("*.parquet")):
        file = pq.ParquetFile(path)
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        assert path.parent.name == "instances" or max(g.num_rows for g in groups) <= 10
        for group in groups:
            columns = [group.column(i) for i in range(group.num_columns)]
            assert {column.compression for column in columns} == {"ZSTD"}
            assert not any("DICTIONARY" in e for column in columns for e in column.encodings)
            assert all(column.has_offset_index for column in columns)
        assert list(FEATURES[path.parent.name]) == file.schema_arrow.names


def test_provenance(repository, archives):
    records = [read_record(path) for path in sorted(repository.rglob("*.parquet"))]
    assert all(record == records[0] for record in records)
    assert records[0]["schema_version"] == SCHEMA_VERSION
    assert records[0]["label_source"] == "json"
    assert records[0]["archive_md5"] in (repository / "README.md").read_text()
    assert read_record(archives / "images_and_labels_json.zip") is None


class Interrupted(BaseException):
    """Represents a signal: nothing may catch it on the way."""


@pytest.mark.parametrize("stop_at", [0, 1, 5, 13])
def test_an_interrupted_build_leaves_nothing_and_is_continued(
    flat_repository, flat_archives, tmp_path, monkeypatch, stop_at
):
    out = tmp_path / "repo"
    write, written = write_module._ShardFile.finish, []

    def stop(file):
        if len(written) == stop_at:
            raise Interrupted
        written.append(file._path.name)
        write(file)

    monkeypatch.setattr(write_module._ShardFile, "finish", stop)
    with pytest.raises(Interrupted):
        build(out, data_dir=flat_archives)
    assert not [path for path in out.iterdir() if not path.name.startswith(".")]
    stop_at, first = -1, list(written)
    build(out, data_dir=flat_archives)
    assert contents(out) == contents(flat_repository)
    data = [name for name in contents(flat_repository) if name.endswith(".parquet")]
    assert len(written) == len(data), "no finished file is written again"
    assert written[: len(first)] == first


def test_another_archive_replaces_everything(flat_repository, flat_archives, tmp_path):
    out, other = tmp_path / "repo", tmp_path / "other"
    other.mkdir()
    publisher.publication(seed=7, depth=3).zip(other / "images_and_labels_json.zip", "json")
    build(out, data_dir=other)
    assert len(list((out / "slices").glob("train-*"))) == 3
    (out / "LICENSE").write_text("a file of the user stays")
    before = contents(out)
    message = "contains a build of other data: expected archive md5 .* replace it with --force"
    with pytest.raises(platelet_em.OutputError, match=message):
        build(out, data_dir=flat_archives)
    assert contents(out) == before
    build(out, data_dir=flat_archives, force=True)
    found = contents(out)
    assert found.pop("LICENSE")
    assert found == contents(flat_repository)


def test_files_of_others_are_never_overwritten(flat_archives, tmp_path):
    out = tmp_path / "repo"
    out.mkdir()
    for name in ("README.md", "croissant.json"):
        (out / name).write_text("mine")
        with pytest.raises(platelet_em.OutputError, match=f"{name}: was not written by"):
            build(out, data_dir=flat_archives)
        assert contents(out) == {name: b"mine"}
        (out / name).unlink()
    (out / "slices").mkdir()
    (out / "slices" / "train-00000-of-00001.parquet").write_bytes(b"mine")
    with pytest.raises(platelet_em.OutputError, match=r"train-00000-of-00001\.parquet: was not"):
        build(out, data_dir=flat_archives)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(platelet_em.OutputError, match="expected a folder"):
        build(tmp_path / "file", data_dir=flat_archives)


def test_damaged_archive_leaves_no_data(publication, tmp_path):
    files = publication.folder(tmp_path / "bad", "json")
    (files / "labels-instance" / "24-instance-organelle.json").write_text('{"1": "1 2"}')
    with pytest.raises(platelet_em.LabelFormatError, match=r"24-instance-organelle\.json.*\.info"):
        build(tmp_path / "repo", data_dir=files)
    out = tmp_path / "repo"
    assert not [path for path in out.iterdir() if not path.name.startswith(".")]


def test_damaged_files_are_written_again(flat_repository, flat_archives, tmp_path):
    out = shutil.copytree(flat_repository, tmp_path / "repo")
    shards = sorted(out.rglob("*.parquet"))
    content = bytearray(shards[0].read_bytes())
    content[300] ^= 255
    shards[0].write_bytes(content)
    shards[1].write_bytes(shards[1].read_bytes()[:500])
    build(out, data_dir=flat_archives)
    assert contents(out) == contents(flat_repository)


@pytest.mark.parametrize("damage", ["none", "one shard", "no card"])
def test_other_labels_need_force(damage, flat_repository, flat_archives, tmp_path, capsys):
    out = shutil.copytree(flat_repository, tmp_path / "repo")
    if damage == "one shard":
        (out / "slices" / "train-00000-of-00008.parquet").write_bytes(b"PAR1")
    elif damage == "no card":
        (out / "README.md").unlink()
    before = contents(out)
    command = ["build", str(out), "--data-dir", str(flat_archives), "--label-source", "tif"]
    assert main(command) == 1
    assert "of other data: expected label source tif, got 'json'" in capsys.readouterr().err
    assert contents(out) == before
    assert main([*command, "--force"]) == 0
    assert read_build(out, PUBLISHED)["label_source"] == "tif"


@pytest.mark.parametrize("edit", ["appended", "changed", "after a push"])
def test_an_edited_card_needs_force(edit, flat_repository, flat_archives, tmp_path, capsys):
    out = shutil.copytree(flat_repository, tmp_path / "repo")
    card = out / "README.md"
    text = card.read_text()
    if edit == "after a push":
        card.write_text(seal_card(text, "user/mine"))
        assert main(["build", str(out), "--data-dir", str(flat_archives)]) == 0
        assert card.read_text() == text, "a card as it was pushed is no edited one"
        text = seal_card(text, "user/mine")
    card.write_text(text.replace("platelets", "thrombocytes", 1) + "mine\n" * (edit == "appended"))
    before = contents(out)
    command = ["build", str(out), "--data-dir", str(flat_archives)]
    assert main(command) == 1
    assert f"{card}: was edited since it was built" in capsys.readouterr().err
    assert contents(out) == before
    assert main([*command, "--force"]) == 0
    assert contents(out) == contents(flat_repository)


@pytest.mark.parametrize("is_built", [False, True])
def test_nothing_is_deleted_behind_a_link_in_place_of_unfinished_builds(
    is_built, flat_repository, flat_archives, tmp_path
):
    out = tmp_path / "repo"
    shutil.copytree(flat_repository, out) if is_built else out.mkdir()
    (tmp_path / "mine/photos").mkdir(parents=True)
    (tmp_path / "mine/photos/a.png").write_text("mine")
    (out / ".platelet-em-build").symlink_to("../mine")
    for force in (False, True):
        with pytest.raises(
            platelet_em.OutputError, match=r"platelet-em-build: .* delete this link"
        ):
            build(out, data_dir=flat_archives, force=force)
    assert (tmp_path / "mine/photos/a.png").read_text() == "mine"


def test_a_card_of_the_user_needs_force(flat_repository, flat_archives, tmp_path):
    out = shutil.copytree(flat_repository, tmp_path / "repo")
    (out / "README.md").write_text("mine")
    with pytest.raises(platelet_em.OutputError, match=r"README\.md: was not .* --force"):
        build(out, data_dir=flat_archives)
    assert (out / "README.md").read_text() == "mine"
    build(out, data_dir=flat_archives, force=True)
    assert contents(out) == contents(flat_repository)


def test_a_card_of_the_user_beside_an_interrupted_build_is_kept(
    flat_archives, tmp_path, monkeypatch
):
    out = tmp_path / "repo"

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(write_module._ShardFile, "finish", stop)
    with pytest.raises(KeyboardInterrupt):
        build(out, data_dir=flat_archives)
    (out / "README.md").write_text("mine")
    with pytest.raises(platelet_em.OutputError, match=r"README\.md: was not written by"):
        build(out, data_dir=flat_archives)
    assert (out / "README.md").read_text() == "mine"


def test_a_second_build_at_the_same_time_is_refused(
    flat_repository, flat_archives, tmp_path, monkeypatch
):
    out, tried = tmp_path / "repo", []
    write = write_module._ShardFile.finish

    def build_again(*arguments):
        if not tried:
            tried.append(True)
            with pytest.raises(
                platelet_em.OutputError, match="another build or push is running there"
            ):
                build(out, data_dir=flat_archives)
        write(*arguments)

    monkeypatch.setattr(write_module._ShardFile, "finish", build_again)
    build(out, data_dir=flat_archives)
    assert tried
    assert contents(out) == contents(flat_repository)


@pytest.mark.parametrize("obstacle", ["slices", "README.md", "croissant.json"])
def test_obstacles_are_found_before_the_work(obstacle, flat_archives, tmp_path):
    out = tmp_path / "repo"
    out.mkdir()
    (out / obstacle).mkdir() if "." in obstacle else (out / obstacle).write_text("mine")
    with pytest.raises(platelet_em.OutputError, match=obstacle):
        build(out, data_dir=flat_archives)
    assert [path.name for path in out.rglob("*")] == [obstacle]


def test_the_card_states_that_the_sample_is_synthetic(repository, tmp_path):
    platelet_em.write_sample(tmp_path / "sample", depth=2, size=32)
    out = build(tmp_path / "repo", data_dir=tmp_path / "sample", label_source="tif")
    card = (out / "README.md").read_text()
    assert "made from the synthetic sample" in card
    assert "Ids are made here" in card
    assert "synthetic" not in (repository / "README.md").read_text()
    assert read_record(next(out.rglob("*.parquet")))["origin"] == "synthetic"


def test_a_full_disk_is_an_error(flat_archives, tmp_path):
    command = [sys.executable, PROGRAMS / "run_on_full_disk.py", "build", tmp_path / "repo"]
    command += ["--data-dir", flat_archives]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert "no room to write" in done.stderr.splitlines()[-1]
    assert "TMPDIR" in done.stderr.splitlines()[-1]


def test_the_lock_is_in_the_folder_whatever_its_path(flat_archives, tmp_path, monkeypatch):
    out, write, tried = tmp_path / "repo", write_module._ShardFile.finish, []
    (tmp_path / "link").symlink_to(out)

    def build_by_link(*arguments):
        if not tried:
            tried.append(True)
            command = [sys.executable, "-m", "_platelet_em", "build", tmp_path / "link"]
            environment = {"PYTHONPATH": os.pathsep.join(sys.path), "HF_HOME": tmp_path / "home"}
            done = subprocess.run(
                [*command, "--data-dir", flat_archives],
                check=False,
                capture_output=True,
                text=True,
                env={**os.environ, **environment},
            )
            assert "another build or push is running there" in done.stderr
        write(*arguments)

    monkeypatch.setattr(write_module._ShardFile, "finish", build_by_link)
    build(out, data_dir=flat_archives)
    assert tried
    assert read_build(out, PUBLISHED)
    assert not [name for name in contents(out) if name.endswith(".lock")]


def test_a_folder_whose_lock_cannot_be_created_is_named(flat_archives, tmp_path, monkeypatch):
    def refuse(path, on_wait):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), path)

    monkeypatch.setattr(build_module, "exclusive_lock", refuse)
    words = r"repo/\.platelet-em\.lock: cannot be written: Permission denied: make its folder"
    with pytest.raises(platelet_em.OutputError, match=words):
        build(tmp_path / "repo", data_dir=flat_archives)


def test_archives_that_are_exchanged_during_a_build_end_it(publication, tmp_path, monkeypatch):
    folder = tmp_path / "archives"
    folder.mkdir()
    publication.zip(folder / "images_and_labels_json.zip", "json")
    out = build(tmp_path / "repo", data_dir=folder)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    other = publisher.publication(seed=99)
    write_file = write_module._ShardFile.finish

    def meddle(file):
        write_file(file)
        other.zip(tmp_path / "other.zip", "json")
        (tmp_path / "other.zip").replace(folder / "images_and_labels_json.zip")

    monkeypatch.setattr(write_module._ShardFile, "finish", meddle)
    with pytest.raises(ArchiveError, match="its content has changed since the dataset was opened"):
        build(out, data_dir=folder)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
