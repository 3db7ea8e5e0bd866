"""Repositories of own volumes: read by those who have nothing of ours, rebuilt, and pushed."""

import json
import os
import sys

import datasets
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tifffile
from support.own import FORMS, write_own

import platelet_em
from _platelet_em.commands.cli import main
from _platelet_em.description.parse import read_description
from _platelet_em.facts import PUBLISHED
from _platelet_em.hub import write as write_module
from _platelet_em.hub.build import build
from _platelet_em.hub.integrity import inspect_repository, read_build
from _platelet_em.hub.stored_spec import stored_spec


@pytest.fixture(params=FORMS)
def own(request, tmp_path):
    """A set of own volumes of each form."""
    return write_own(tmp_path / "set", request.param)


def build_own(own, out, **options):
    return build(out, spec=read_description(own.description), **options)


def paint(struct):
    """The labels of a struct as an array, by the words of the format page alone."""
    array = np.zeros(struct["shape"], np.int64)
    flat = array.reshape(-1)
    for label, rle in zip(struct["id"], struct["rle"], strict=True):
        for start, length in np.array(rle.split(), int).reshape(-1, 2):
            flat[start - 1 : start - 1 + length] = label
    return array


def check_plain(rows, volumes, image=np.asarray):
    expected = [(volume, z) for volume in volumes for z in range(len(volume.image))]
    for row, (truth, z) in zip(rows, expected, strict=True):
        assert (row["volume"], row["z"]) == (truth.name, z)
        page = image(row["image"])
        assert page.dtype == truth.image.dtype
        assert np.array_equal(page, truth.image[z])
        if truth.semantic is None:
            assert row["semantic"] is None
        else:
            assert np.array_equal(image(row["semantic"]), truth.semantic[z])
        for kind, array in truth.labels.items():
            assert np.array_equal(paint(row[kind]), array[z])


@pytest.mark.parametrize("streaming", [False, True])
def test_plain_datasets_reads_every_voxel(own, streaming, tmp_path):
    out = build_own(own, tmp_path / "repo")
    loaded = datasets.load_dataset(
        str(out), "slices", streaming=streaming, cache_dir=tmp_path / "cache"
    )
    assert [*loaded] == [*dict.fromkeys(volume.split for volume in own.volumes.values())]
    for split, rows in loaded.items():
        check_plain(rows, own.of(split))


def test_pandas_reads_every_voxel(own, tmp_path):
    out = build_own(own, tmp_path / "repo")
    for split in {volume.split for volume in own.volumes.values()}:
        files = sorted((out / "slices").glob(f"{split}-*.parquet"))
        rows = pd.concat([pd.read_parquet(path) for path in files]).to_dict("records")
        check_plain(rows, own.of(split), lambda cell: decode(cell["bytes"]))


def decode(content):
    import io

    from PIL import Image

    return np.asarray(Image.open(io.BytesIO(content)))


def test_every_config_loads_with_the_features_of_the_card(own, tmp_path):
    out = build_own(own, tmp_path / "repo")
    for config in ("slices", "volumes", "instances", "preview"):
        if not (out / config).is_dir():
            assert config == "instances", "a set without labels has no objects"
            continue
        loaded = datasets.load_dataset(str(out), config, cache_dir=tmp_path / "cache")
        assert sum(map(len, loaded.values())) > 0
        for rows in loaded.values():
            rows.with_format("platelet_em")[0]


def test_the_repository_describes_its_dataset_without_paths(own, tmp_path):
    out = build_own(own, tmp_path / "repo")
    text = (out / "description.json").read_text("utf-8")
    for path in ("Größe 1", "images/", "masks/", ".tif", ".png", str(tmp_path)):
        assert path not in text
    spec, stored = read_description(own.description), stored_spec(out, PUBLISHED)
    for name in ("name", "title", "license", "classes", "instances", "voxel_size_nm"):
        assert getattr(stored, name) == getattr(spec, name)
    for before, after in zip(spec.volumes, stored.volumes, strict=True):
        assert (after.name, after.split, after.columns) == (
            before.name,
            before.split,
            before.columns,
        )
        assert after.shape == own.volumes[after.name].image.shape


def test_a_build_is_complete_and_the_same_twice(own, tmp_path):
    first, second = (build_own(own, tmp_path / name) for name in ("a", "b"))
    assert not inspect_repository(first, PUBLISHED).problems
    assert read_build(first, PUBLISHED)
    files = {p.relative_to(first).as_posix(): p.read_bytes() for p in first.rglob("*.*")}
    assert files == {p.relative_to(second).as_posix(): p.read_bytes() for p in second.rglob("*.*")}


class Interrupted(BaseException):
    """Represents a signal."""


@pytest.mark.parametrize("stop_at", [0, 2, 7])
def test_an_interrupted_build_of_many_volumes_is_continued(stop_at, tmp_path, monkeypatch):
    own = write_own(tmp_path / "set", "pictures", count=12)
    whole = build_own(own, tmp_path / "whole")
    finish, written = write_module._ShardFile.finish, []

    def stop(file):
        if len(written) == stop_at:
            raise Interrupted
        written.append(file._path.name)
        finish(file)

    with monkeypatch.context() as patch:
        patch.setattr(write_module._ShardFile, "finish", stop)
        with pytest.raises(Interrupted):
            build_own(own, tmp_path / "repo")
    assert not [*(tmp_path / "repo").glob("*")][1:], "nothing but the folder of unfinished builds"
    out = build_own(own, tmp_path / "repo")
    for path in whole.rglob("*.*"):
        assert (out / path.relative_to(whole)).read_bytes() == path.read_bytes()


def test_pictures_of_many_sizes_share_row_groups(tmp_path):
    own = write_own(tmp_path / "set", "pictures", count=40)
    out = build_own(own, tmp_path / "repo")
    files = sorted((out / "slices").glob("train-*.parquet"))
    assert len(files) == 8
    assert {pq.read_metadata(path).num_row_groups for path in files} == {1}


def test_another_description_needs_force_and_leaves_no_files_of_the_first(tmp_path):
    own = write_own(tmp_path / "set", "pictures")
    out = build_own(own, tmp_path / "repo")
    text = own.description.read_text("utf-8")
    own.description.write_text(text.replace('= "test"', '= "held"'), "utf-8")
    (tmp_path / "set" / "images" / "new.png").write_bytes(
        next((tmp_path / "set" / "images").glob("*.png")).read_bytes()
    )
    build_own(own, out)
    assert not [*out.rglob("test-*")]
    assert [*out.rglob("held-*")]
    assert not inspect_repository(out, PUBLISHED).problems


def test_own_volumes_do_not_replace_the_published_ones(archives, own, tmp_path):
    out = build(tmp_path / "repo", data_dir=archives)
    before = {path: path.read_bytes() for path in out.rglob("*.*")}
    with pytest.raises(platelet_em.OutputError, match="contains a build of other data"):
        build_own(own, out)
    assert {path: path.read_bytes() for path in out.rglob("*.*")} == before
    build_own(own, out, force=True)
    assert not inspect_repository(out, PUBLISHED).problems


STORED = """{{"name": "own-pictures", "instances": ["particles"], "volumes": [
    {{"name": "a", "split": "train", "image": "slices", "shape": {}}}]}}"""


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "expected JSON"),
        (b"[]", "expected a JSON object"),
        (b'{"name": 3}', "name"),
        (b"\xff\xfe", "expected JSON"),
        (b"[" * 100_000, "expected JSON"),
        (STORED.format("[1000000000000000, 1, 1]").encode(), "expected at most 16384 slices"),
        (STORED.format("[1, 100000, 100000]").encode(), "expected at most 16384 slices"),
    ],
)
def test_a_damaged_description_is_one_error(content, words, tmp_path, capsys):
    own = write_own(tmp_path / "set", "pictures")
    out = build_own(own, tmp_path / "repo")
    (out / "description.json").write_bytes(content)
    for command in (["info", out], ["show", out, "--out", tmp_path], ["verify", out]):
        assert main(list(map(str, command))) == 1
        shown = capsys.readouterr()
        assert words in shown.out + shown.err
        assert "Traceback" not in shown.err


def test_build_by_the_command_line(own, tmp_path, capsys):
    arguments = ["build", str(tmp_path / "repo"), "--description", str(own.description)]
    assert main(arguments) == 0
    assert "WARNING" not in capsys.readouterr().out
    assert json.loads((tmp_path / "repo" / "description.json").read_text())["name"]
    assert main(["show", str(tmp_path / "repo"), "--out", str(tmp_path / "pictures")]) == 0
    assert len([*(tmp_path / "pictures").glob("*.png")]) == 1
    with pytest.raises(SystemExit, match="2"):
        main([*arguments, "--sample"])


def test_a_slice_that_comes_to_an_unlabeled_volume_during_a_build_is_refused(
    tmp_path, monkeypatch
):
    own = write_own(tmp_path / "set", "stack")
    text = own.description.read_text("utf-8").split("semantic = ")[0]
    own.description.write_text(text, "utf-8")
    first = next(own.description.parent.rglob("Raw data/*.png"))
    write = sys.modules[build.__module__]._write_data

    def write_later(*arguments):
        (first.parent / "Slice 0 again.png").write_bytes(first.read_bytes())
        write(*arguments)

    monkeypatch.setattr(sys.modules[build.__module__], "_write_data", write_later)
    with pytest.raises(platelet_em.ArchiveError, match=r"Slice 0 again\.png: came to volume"):
        build_own(own, tmp_path / "repo")
    assert not [*(tmp_path / "repo").glob("slices")]


def test_no_file_is_read_that_a_repository_names(tmp_path, capsys):
    own = write_own(tmp_path / "set", "multipage")
    out = build_own(own, tmp_path / "repo")
    (tmp_path / "secret").write_text("password")
    document = json.loads((out / "description.json").read_text("utf-8"))
    document["folder"] = str(tmp_path)
    for volume in document["volumes"]:
        volume |= {"image": "secret", "cells": str(tmp_path / "secret")}
    (out / "description.json").write_text(json.dumps(document), "utf-8")
    for command in (["verify", out], ["info", out], ["show", out, "--out", tmp_path]):
        assert main(list(map(str, command))) == 0
        shown = capsys.readouterr()
        assert "secret" not in shown.out + shown.err
    assert stored_spec(out, PUBLISHED).folder == ""


@pytest.mark.parametrize("has_objects", [True, False])
def test_a_split_without_objects_does_not_keep_others_from_loading(has_objects, tmp_path, capsys):
    own = write_own(tmp_path / "set", "multipage")
    for path in tmp_path.glob("set/*-*.tif"):
        if "image" not in path.name and not (has_objects and path.name.startswith("first")):
            tifffile.imwrite(path, np.zeros_like(tifffile.imread(path)))
    out, cache = build_own(own, tmp_path / "repo"), str(tmp_path / "cache")
    options = {"description": own.description, "cache_dir": cache}
    assert main(["verify", str(out)]) == 0
    loaded = platelet_em.load_dataset("instances", **options)
    assert {name: bool(len(rows)) for name, rows in loaded.items()} == {
        "train": has_objects,
        "test": False,
    }
    assert len(platelet_em.load_dataset("instances", split=["test"], **options)[0]) == 0
    if has_objects:
        plain = datasets.load_dataset(str(out), "instances", cache_dir=cache)
        assert {name: len(rows) for name, rows in plain.items()} == {"train": len(loaded["train"])}
        next((out / "instances").glob("train-*")).unlink()
        assert main(["verify", str(out)]) == 1
        assert "shards: instances/train-00000" in capsys.readouterr().out
    else:
        assert not (out / "instances").exists()


@pytest.mark.parametrize("target", ["pipe", "/dev/zero", "folder"])
def test_what_is_no_file_is_neither_waited_for_nor_read(target, tmp_path):
    own = write_own(tmp_path / "set", "multipage")
    image = tmp_path / "set" / "first-image.tif"
    image.unlink()
    if target == "pipe":
        os.mkfifo(image)
    else:
        (tmp_path / "folder").mkdir()
        image.symlink_to(target if target.startswith("/") else tmp_path / target)
    with pytest.raises(platelet_em.PlateletEMError, match=r"first-image\.tif: expected a"):
        build_own(own, tmp_path / "repo")


def test_a_file_that_is_no_picture_leaves_nothing_half_written(tmp_path):
    own = write_own(tmp_path / "set", "pictures")
    next((tmp_path / "set" / "images").glob("*.png")).write_bytes(b"x")
    with pytest.raises(platelet_em.ImageFormatError, match="expected a TIF or PNG"):
        build_own(own, tmp_path / "repo")
    assert not [*(tmp_path / "repo").rglob("*")]
