"""Building a Hub repository: whole, repeatable, and loaded by people who do not have us."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import datasets
import huggingface_hub
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support import plain, publisher
from support.folders import contents, front_matter

import platelet_em
from _platelet_em.facts import PUBLISHED
from _platelet_em.hub import build as repo_module
from _platelet_em.hub.build import build
from _platelet_em.hub.integrity import read_build
from _platelet_em.hub.record import read_record
from _platelet_em.rows.make import CONFIGS
from _platelet_em.rows.picture import SliceArrays, draw_panels
from _platelet_em.rows.schema import json_features

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
                for c in ("volumes", "preview")
                for s in ("train", "validation")
            ),
        ]
    )


PLAIN = """
import sys
import datasets, numpy as np
repository, truth, cache = sys.argv[1:]
truth = np.load(truth)
for streaming in (False, True):
    ds = datasets.load_dataset(repository, "slices", cache_dir=cache, streaming=streaming)
    assert list(ds) == ["train", "validation"]
    for split, name in (("train", "50"), ("validation", "24")):
        rows = list(ds[split])
        assert [row["z"] for row in rows] == list(range(len(truth[name + "_images"])))
        for row in rows:
            z = row["z"]
            assert row["image"].mode == "I;16" and row["semantic"].mode == "P"
            assert np.array_equal(np.asarray(row["image"]), truth[name + "_images"][z])
            assert np.array_equal(np.asarray(row["semantic"]), truth[name + "_semantic"][z])
            for column, kind in (("cells", "cell"), ("organelles", "organelle")):
                labels = row[column]
                mask = np.zeros(np.prod(labels["shape"]), np.int32)
                for label, text in zip(labels["id"], labels["rle"]):
                    for start, length in np.array(text.split(), int).reshape(-1, 2):
                        mask[start - 1 : start - 1 + length] = label
                expected = truth[f"{name}_{kind}"][z]
                assert np.array_equal(mask.reshape(labels["shape"]), expected)
                assert row[f"n_{column}"] == len(labels["id"]) == len(np.unique(expected)) - 1
    volumes = datasets.load_dataset(repository, "volumes", cache_dir=cache, streaming=streaming)
    row = next(iter(volumes["train"]))
    pages = np.stack([np.asarray(page) for page in row["image"]])
    assert np.array_equal(pages, truth["50_images"])
    preview = datasets.load_dataset(repository, "preview", cache_dir=cache, streaming=streaming)
    assert next(iter(preview["train"]))["preview"].mode == "RGB"
assert datasets.get_dataset_config_names(repository) == ["slices", "volumes", "preview"]
print("ok")
"""


def test_plain_datasets_loads_it_without_this_project(
    repository, publication, plain_packages, tmp_path
):
    arrays = {
        f"{name}_{kind}": getattr(volume, kind)
        for name, volume in publication.volumes.items()
        for kind in ("images", "semantic", "cell", "organelle")
    }
    np.savez(tmp_path / "truth.npz", **arrays)
    out = plain.run(plain_packages, PLAIN, repository, tmp_path / "truth.npz", tmp_path / "cache")
    assert out.strip().splitlines()[-1] == "ok"


def test_same_input_same_bytes(repository, archives, tmp_path):
    assert contents(build(tmp_path / "again", data_dir=archives)) == contents(repository)


def test_tif_labels_differ_by_a_bijection_only(archives, publication, same_partition, tmp_path):
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
    assert [c["config_name"] for c in head["configs"]] == ["slices", "volumes", "preview"]
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


def test_card_is_what_the_hub_takes(repository):
    card = huggingface_hub.DatasetCard.load(repository / "README.md")
    assert card.data.license == "other"
    assert card.data.license_details == "cleared for public release"
    assert card.data.task_categories == ["image-segmentation"]
    assert card.data.pretty_name == "platelet-em"
    assert "electron-microscopy" in card.data.tags


def test_row_groups_and_order(repository):
    for path in sorted(repository.rglob("*.parquet")):
        file = pq.ParquetFile(path)
        groups = [file.metadata.row_group(i) for i in range(file.metadata.num_row_groups)]
        assert max(group.num_rows for group in groups) <= 10
        for group in groups:
            columns = [group.column(i) for i in range(group.num_columns)]
            assert {column.compression for column in columns} == {"ZSTD"}
            assert not any("DICTIONARY" in e for column in columns for e in column.encodings)
            assert all(column.has_offset_index for column in columns)
        assert list(FEATURES[path.parent.name]) == file.schema_arrow.names


def test_provenance(repository, archives):
    records = [read_record(path) for path in sorted(repository.rglob("*.parquet"))]
    assert all(record == records[0] for record in records)
    assert records[0]["schema_version"] == 1
    assert records[0]["label_source"] == "json"
    assert records[0]["archive_md5"] in (repository / "README.md").read_text()
    assert read_record(archives / "images_and_labels_json.zip") is None


class Interrupted(BaseException):
    """Stands for a signal: nothing may catch it on the way."""


@pytest.mark.parametrize("stop_at", [0, 1, 5, 13])
def test_interrupted_build_leaves_nothing_and_is_taken_up(
    repository, archives, tmp_path, monkeypatch, stop_at
):
    out = tmp_path / "repo"
    write, written = repo_module._write_file, []

    def stop(path, *arguments):
        if len(written) == stop_at:
            raise Interrupted
        written.append(path.name)
        write(path, *arguments)

    monkeypatch.setattr(repo_module, "_write_file", stop)
    with pytest.raises(Interrupted):
        build(out, data_dir=archives)
    assert not [path for path in out.iterdir() if not path.name.startswith(".")]
    stop_at, first = -1, list(written)
    build(out, data_dir=archives)
    assert contents(out) == contents(repository)
    data = [name for name in contents(repository) if name.endswith(".parquet")]
    assert len(written) == len(data), "no finished file is made again"
    assert written[: len(first)] == first


def stop_moving(patch, after):
    """Let builds be interrupted after they have moved so many files into place."""
    publish = repo_module._publish

    def stop(folder, staging, files, spec):
        publish(folder, staging, files[:after], spec)
        raise Interrupted

    patch.setattr(repo_module, "_publish", stop)


def test_interrupted_while_moving_is_taken_up(repository, archives, tmp_path, monkeypatch):
    out = tmp_path / "repo"
    with monkeypatch.context() as patch:
        stop_moving(patch, after=5)
        with pytest.raises(Interrupted):
            build(out, data_dir=archives)
    build(out, data_dir=archives)
    assert contents(out) == contents(repository)


def test_another_archive_replaces_everything(repository, archives, tmp_path):
    out, other = tmp_path / "repo", tmp_path / "other"
    other.mkdir()
    publisher.publication(seed=7, depth=3).zip(other / "images_and_labels_json.zip", "json")
    build(out, data_dir=other)
    assert len(list((out / "slices").glob("train-*"))) == 3
    (out / "LICENSE").write_text("somebody's own file stays")
    build(out, data_dir=archives)
    found = contents(out)
    assert found.pop("LICENSE")
    assert found == contents(repository)


def test_foreign_files_are_never_overwritten(archives, tmp_path):
    out = tmp_path / "repo"
    out.mkdir()
    for name in ("README.md", "croissant.json"):
        (out / name).write_text("mine")
        with pytest.raises(platelet_em.OutputError, match=f"{name}: was not written by"):
            build(out, data_dir=archives)
        assert contents(out) == {name: b"mine"}
        (out / name).unlink()
    (out / "slices").mkdir()
    (out / "slices" / "train-00000-of-00001.parquet").write_bytes(b"mine")
    with pytest.raises(platelet_em.OutputError, match=r"train-00000-of-00001\.parquet: was not"):
        build(out, data_dir=archives)
    (tmp_path / "file").write_text("mine")
    with pytest.raises(platelet_em.OutputError, match="expected a folder"):
        build(tmp_path / "file", data_dir=archives)


def test_damaged_archive_leaves_no_data(publication, tmp_path):
    files = publication.folder(tmp_path / "bad", "json")
    (files / "labels-instance" / "24-instance-organelle.json").write_text('{"1": "1 2"}')
    with pytest.raises(platelet_em.LabelFormatError, match=r"24-instance-organelle\.json.*\.info"):
        build(tmp_path / "repo", data_dir=files)
    out = tmp_path / "repo"
    assert not [path for path in out.iterdir() if not path.name.startswith(".")]


def test_damaged_files_are_made_again(repository, archives, tmp_path):
    out = shutil.copytree(repository, tmp_path / "repo")
    shards = sorted(out.rglob("*.parquet"))
    content = bytearray(shards[0].read_bytes())
    content[300] ^= 255
    shards[0].write_bytes(content)
    shards[1].write_bytes(shards[1].read_bytes()[:500])
    build(out, data_dir=archives)
    assert contents(out) == contents(repository)


def test_builds_of_two_archives_never_stand_side_by_side(
    repository, archives, tmp_path, monkeypatch
):
    out = shutil.copytree(repository, tmp_path / "repo")
    stop_moving(monkeypatch, after=3)
    with pytest.raises(Interrupted):
        build(out, data_dir=archives, label_source="tif")
    records = [read_record(path) for path in out.rglob("*.parquet") if "." not in path.parent.name]
    assert {record["label_source"] for record in records} == {"tif"}
    assert not (out / "README.md").exists()
    assert not (out / "croissant.json").exists()


@pytest.mark.parametrize("last", ["croissant.json", "README.md"])
def test_interrupted_before_the_last_files_is_taken_up(
    last, repository, archives, tmp_path, monkeypatch
):
    out = shutil.copytree(repository, tmp_path / "repo")
    new_file = repo_module.new_file

    def stop(path):
        if path.name == last:
            raise Interrupted
        return new_file(path)

    with monkeypatch.context() as patch:
        patch.setattr(repo_module, "new_file", stop)
        with pytest.raises(Interrupted):
            build(out, data_dir=archives, label_source="tif")
    beside = {path.name for path in out.iterdir() if path.is_file()}
    assert beside == ({"croissant.json"} if last == "README.md" else set())
    build(out, data_dir=archives)
    assert contents(out) == contents(repository)


def test_a_second_build_at_the_same_time_says_so(repository, archives, tmp_path, monkeypatch):
    out, tried = tmp_path / "repo", []
    write = repo_module._write_file

    def build_again(*arguments):
        if not tried:
            tried.append(True)
            with pytest.raises(
                platelet_em.OutputError, match="another build or push is running there"
            ):
                build(out, data_dir=archives)
        write(*arguments)

    monkeypatch.setattr(repo_module, "_write_file", build_again)
    build(out, data_dir=archives)
    assert tried
    assert contents(out) == contents(repository)


@pytest.mark.parametrize("obstacle", ["slices", "README.md", "croissant.json"])
def test_obstacles_are_found_before_the_work(obstacle, archives, tmp_path):
    out = tmp_path / "repo"
    out.mkdir()
    (out / obstacle).mkdir() if "." in obstacle else (out / obstacle).write_text("mine")
    with pytest.raises(platelet_em.OutputError, match=obstacle):
        build(out, data_dir=archives)
    assert [path.name for path in out.rglob("*")] == [obstacle]


def test_the_card_says_when_nothing_is_data(repository, tmp_path):
    platelet_em.write_sample(tmp_path / "sample", depth=2, size=32)
    out = build(tmp_path / "repo", data_dir=tmp_path / "sample", label_source="tif")
    card = (out / "README.md").read_text()
    assert "made from the synthetic sample" in card
    assert "Ids are made here" in card
    assert "synthetic" not in (repository / "README.md").read_text()
    assert read_record(next(out.rglob("*.parquet")))["origin"] == "synthetic"


def test_a_full_disk_is_said_as_such(archives, tmp_path):
    code = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from _platelet_em.commands.cli import main\n"
        "sys.exit(main(sys.argv[1:]))\n"
    )
    command = [sys.executable, "-c", code, "build", tmp_path / "repo", "--data-dir", archives]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 1
    assert "no room to write" in done.stderr.splitlines()[-1]
    assert "TMPDIR" in done.stderr.splitlines()[-1]


def test_a_cache_that_cannot_hold_the_lock_is_named(archives, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setattr(repo_module, "download_folder", lambda: tmp_path / "file" / "cache")
    with pytest.raises(platelet_em.OutputError, match=r"file/cache/build-.*\.lock: cannot be"):
        build(tmp_path / "repo", data_dir=archives)
    assert not (tmp_path / "repo").exists()


def test_a_place_that_cannot_be_moved_into_is_named(archives, tmp_path, monkeypatch):
    replace = Path.replace

    def refuse(self, target):
        if Path(target).parent == tmp_path / "repo" / "slices":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), self, None, target)
        return replace(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        words = r"repo/slices/train-0.*: cannot be written: Permission denied: make it writable"
        with pytest.raises(platelet_em.OutputError, match=words):
            build(tmp_path / "repo", data_dir=archives)
    build(tmp_path / "repo", data_dir=archives)
    assert read_build(tmp_path / "repo", PUBLISHED) is not None
