"""The builder and `platelet_em.load_dataset`: from the archives to rows, cached or streamed."""

import errno
import os
import shutil
from dataclasses import replace

import datasets
import numpy as np
import pytest
import requests
from datasets import Dataset, DatasetDict, IterableDataset, IterableDatasetDict
from support import plain, publisher
from support.clients import WITHOUT_TORCH
from support.programs import PROGRAMS

import platelet_em
from _platelet_em.facts import PUBLISHED
from _platelet_em.hf import builder as builder_module
from _platelet_em.hf import load as load_module
from _platelet_em.publisher import archive as archive_module
from _platelet_em.publisher import cache as cache_module
from _platelet_em.sources import opening as opening_module

TRAIN, VALIDATION = 9, 4


@pytest.fixture
def load(archives, cache):
    """load_dataset on the archives, with a shared cache."""

    def call(*arguments, **options):
        options = {"data_dir": archives, "cache_dir": cache, **options}
        return platelet_em.load_dataset(*arguments, **options)

    return call


def check_same_rows(a, b):
    assert len(a) == len(b)
    for x, y in zip(a, b, strict=True):
        assert x.keys() == y.keys()
        for key in x:
            if isinstance(x[key], platelet_em.LazyLabels):
                assert x[key].equals(y[key])
                assert x[key].ids.tolist() == y[key].ids.tolist()
            else:
                assert np.array_equal(x[key], y[key]), key


@pytest.mark.parametrize("label_source", ["json", "tif"])
@pytest.mark.parametrize("streaming", [False, True])
def test_slices_are_the_publishers_voxels(
    load, publication, same_partition, label_source, streaming
):
    loaded = load(label_source=label_source, streaming=streaming)
    assert type(loaded) is (IterableDatasetDict if streaming else DatasetDict)
    for split, name in (("train", "50"), ("validation", "24")):
        truth = publication.volumes[name]
        rows = list(loaded[split])
        assert [row["z"] for row in rows] == list(range(len(truth.images)))
        assert {row["volume"] for row in rows} == {name}
        assert np.array_equal(np.stack([row["image"] for row in rows]), truth.images)
        assert np.array_equal(np.stack([row["semantic"] for row in rows]), truth.semantic)
        for column, array in (("cells", truth.cell), ("organelles", truth.organelle)):
            labels = np.stack([np.asarray(row[column]) for row in rows])
            if label_source == "json":
                assert np.array_equal(labels, array)
            else:
                assert same_partition(labels, array)
                first = {i: np.flatnonzero(labels == i)[0] for i in np.unique(labels)[1:]}
                assert list(first) == list(range(1, len(first) + 1))
                assert sorted(first.values()) == list(first.values())


@pytest.mark.parametrize("label_source", ["json", "tif"])
@pytest.mark.parametrize("streaming", [False, True])
def test_volumes_are_the_publishers_voxels(
    load, publication, same_partition, label_source, streaming
):
    loaded = load("volumes", label_source=label_source, streaming=streaming)
    for split, name in (("train", "50"), ("validation", "24")):
        truth, row = publication.volumes[name], next(iter(loaded[split]))
        assert np.array_equal(np.asarray(row["image"]), truth.images)
        assert np.array_equal(np.asarray(row["semantic"]), truth.semantic)
        for column, array in (("cells", truth.cell), ("organelles", truth.organelle)):
            compare = np.array_equal if label_source == "json" else same_partition
            assert compare(np.asarray(row[column]), array)


def test_previews_are_color_pictures(load):
    row = load("preview", split="train")[0]
    assert list(row) == ["volume", "z", "preview"]
    assert row["preview"].shape[2] == 3


def test_return_types(load):
    assert type(load(split="train")) is Dataset
    assert type(load(split="train", streaming=True)) is IterableDataset
    assert len(load(split="train[2:5]")) == 3
    assert [len(part) for part in load(split=["train", "validation"])] == [TRAIN, VALIDATION]
    assert load(split="validation").format["type"] == "platelet_em"
    assert load(split=datasets.Split.VALIDATION).num_rows == VALIDATION
    assert len(load(split="train+validation")) == TRAIN + VALIDATION


def test_unknown_names_are_errors(load):
    with pytest.raises(platelet_em.ArgumentError, match=r"name: expected one of .* 'pixels'"):
        load("pixels")
    with pytest.raises(platelet_em.PlateletEMError, match=r"expected one of \('json', 'tif'\)"):
        load(label_source="png")
    with pytest.raises(ValueError, match="tests"):
        load(split="tests")
    with pytest.raises(NotImplementedError, match="num_proc"):
        load(streaming=True, num_proc=2)


def test_num_proc_and_streaming_give_the_same_rows(load, tmp_path):
    rows = list(load(split="train"))
    check_same_rows(rows, list(load(split="train", num_proc=2, cache_dir=tmp_path)))
    check_same_rows(rows, list(load(split="train", streaming=True)))


def test_a_stream_has_eight_shards_in_order(load):
    stream = load(split="train", streaming=True)
    assert stream.num_shards == 8
    parts = [list(stream.shard(8, i)) for i in range(8)]
    assert [row["z"] for part in parts for row in part] == list(range(TRAIN))


def test_streaming_opens_a_volume_once(load, monkeypatch):
    opened = []
    volume = opening_module.ArchiveVolume

    def count(*arguments):
        opened.append(arguments)
        return volume(*arguments)

    monkeypatch.setattr(opening_module, "ArchiveVolume", count)
    stream = load(split="train", streaming=True)
    assert len(list(stream)) == len(list(stream)) == TRAIN
    assert len(opened) == 1


def test_shuffled_epochs_read_in_threads(load, check_row):
    stream = load(split="train", streaming=True).shuffle(seed=1, buffer_size=3)
    for epoch in range(12):
        stream.set_epoch(epoch)
        seen = []
        for row in stream:
            check_row(row)
            seen.append(row["z"])
            if epoch % 3 == 0 and len(seen) == 3:
                break
        else:
            assert sorted(seen) == list(range(TRAIN))


def test_two_streams_are_read_alternately(load, check_row):
    loaded = load(streaming=True)
    pairs = list(zip(loaded["train"].take(4), loaded["validation"], strict=True))
    assert len(pairs) == VALIDATION
    for pair in pairs:
        for row in pair:
            check_row(row)


def test_second_call_is_a_cache_hit(load, monkeypatch):
    first = load(split="train")

    def fail(*arguments):
        raise AssertionError("the rows are made again")

    monkeypatch.setattr(opening_module, "ArchiveVolume", fail)
    second = load(split="train")
    assert second.cache_files == first.cache_files


def cache_folder(archives, tmp_path, **options):
    return platelet_em.PlateletEM(cache_dir=tmp_path, data_dir=archives, **options).cache_dir


def test_cache_depends_on_code(archives, tmp_path, monkeypatch):
    before = cache_folder(archives, tmp_path)
    monkeypatch.setattr(builder_module, "code_digest", lambda: "another code")
    assert cache_folder(archives, tmp_path) != before


def test_cache_depends_on_parameters(archives, tmp_path):
    folders = {
        cache_folder(archives, tmp_path, config_name=name, label_source=source)
        for name in ("slices", "volumes", "preview")
        for source in ("json", "tif")
    }
    assert len(folders) == 6
    assert cache_folder(archives, tmp_path, hash="x") not in folders


def test_cache_depends_on_the_content_of_the_archives(archives, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(archives, moved)
    before = cache_folder(archives, tmp_path)
    assert cache_folder(moved, tmp_path) == before
    publisher.publication(seed=5).zip(moved / "images_and_labels_json.zip", "json")
    assert cache_folder(moved, tmp_path) != before


def test_another_archive_at_the_same_path_gives_its_own_rows(tmp_path):
    data, cache = tmp_path / "data", tmp_path / "cache"
    data.mkdir()
    for seed in (1, 2):
        truth = publisher.publication(seed=seed, depth=2)
        truth.zip(data / "images_and_labels_json.zip", "json")
        row = platelet_em.load_dataset(data_dir=data, cache_dir=cache, split="train")[1]
        assert np.array_equal(row["image"], truth.volumes["50"].images[1])


def test_extracted_folder(publication, tmp_path, check_row):
    folder = publication.folder(tmp_path / "extracted", "json")
    for row in platelet_em.load_dataset(data_dir=folder, cache_dir=tmp_path, split="validation"):
        check_row(row)


def test_damaged_labels_are_an_error_of_this_package(publication, tmp_path):
    bad = publisher.Publication(publication.volumes)
    files = bad.folder(tmp_path / "bad", "json")
    target = files / "labels-instance" / "50-instance-cell.json"
    target.write_text(target.read_text().replace(" 1 ", " x ", 1))
    with pytest.raises(
        platelet_em.LabelFormatError, match=r"50-instance-cell\.json: id \d+: .*'x'"
    ):
        platelet_em.load_dataset(data_dir=files, cache_dir=tmp_path / "cache")
    assert not list((tmp_path / "cache").rglob("*.arrow"))


@pytest.mark.parametrize("options", [{}, {"num_proc": 2}, {"streaming": True}])
def test_a_label_error_reaches_the_caller_from_any_process(publication, tmp_path, options):
    files = publication.folder(tmp_path / "bad", "json")
    target = files / "labels-instance" / "24-instance-cell.json"
    target.write_text('{".info": {"shape": [4, 23, 31]}, "7": "1 +3"}')
    options = {**options, "data_dir": files, "cache_dir": tmp_path / "cache"}
    where = r"24-instance-cell\.json: id 7: .*'\+'"
    with pytest.raises(platelet_em.LabelFormatError, match=where):
        list(platelet_em.load_dataset(**options)["validation"])


def test_a_downloaded_archive_is_identified_by_its_content(publication, tmp_path):
    folder = cache_module.download_folder(tmp_path)
    folder.mkdir(parents=True)
    folders = set()
    for truth in (publication, publisher.publication(seed=3, depth=2)):
        truth.zip(folder / "images_and_labels_rgba.zip", "tif")
        loaded = platelet_em.load_dataset(label_source="tif", cache_dir=tmp_path, split="train")
        assert np.array_equal(loaded[1]["image"], truth.volumes["50"].images[1])
        folders.add(loaded.cache_files[0]["filename"])
    assert len(folders) == 2


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("label_source", ["json", "tif"])
def test_a_forced_download_is_fetched_once_and_cached_as_itself(
    tmp_path, monkeypatch, label_source, streaming
):
    served = [publisher.publication(seed=seed, depth=2) for seed in (1, 2)]
    fetched = []

    def download(url, part, label):
        fetched.append(label)
        served[len(fetched) - 1].zip(part.path, label_source)

    def load(mode=None):
        options = {"label_source": label_source, "cache_dir": tmp_path / "cache", "split": "train"}
        loaded = platelet_em.load_dataset(**options, streaming=streaming, download_mode=mode)
        return list(loaded)[1]["image"]

    monkeypatch.setattr(cache_module, "download", download)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    shapes = {name: volume.images.shape for name, volume in served[0].volumes.items()}
    volumes = tuple(replace(v, shape=shapes[v.name]) for v in PUBLISHED.volumes)
    spec = replace(PUBLISHED, volumes=volumes)
    monkeypatch.setattr(load_module, "PUBLISHED", spec)
    monkeypatch.setattr(builder_module.PlateletEM, "SPEC", spec)
    # No test has the archive whose checksum is published.
    monkeypatch.setattr(cache_module, "file_md5", lambda file: PUBLISHED.archives[0].md5)
    if label_source == "json":
        monkeypatch.setattr(archive_module, "file_md5", lambda file: PUBLISHED.archives[0].md5)
    assert np.array_equal(load(), served[0].volumes["50"].images[1])
    assert np.array_equal(load("force_redownload"), served[1].volumes["50"].images[1])
    if not streaming:

        def fail(*arguments):
            raise AssertionError("the rows of the new archive are in the old one's cache")

        monkeypatch.setattr(opening_module, "ArchiveVolume", fail)
    assert np.array_equal(load(), served[1].volumes["50"].images[1])
    assert len(fetched) == 2


def test_without_network_the_error_explains_how_to_give_the_archives(tmp_path, monkeypatch, waits):
    def refuse(*arguments, **options):
        raise requests.ConnectionError("no route to host")

    monkeypatch.setattr(requests.Session, "get", refuse)
    for label_source, address in (("json", "images_and_labels_json.zip"), ("tif", "_rgba.zip")):
        with pytest.raises(platelet_em.DownloadError) as caught:
            platelet_em.load_dataset(label_source=label_source, cache_dir=tmp_path)
        message = str(caught.value)
        assert address in message
        assert "data_dir" in message
        assert "\n" not in message
    assert not list(tmp_path.rglob("*.part"))


def test_what_datasets_writes_loads_without_this_project(
    load, plain_packages, publication, tmp_path
):
    train = load(split="train")
    train.to_parquet(tmp_path / "out.parquet")
    train.with_format(None).save_to_disk(tmp_path / "saved")
    truth = publication.volumes["50"]
    np.save(tmp_path / "images.npy", truth.images)
    np.save(tmp_path / "cells.npy", truth.cell)
    out = plain.run(plain_packages, PROGRAMS / "load_written.py", tmp_path, **WITHOUT_TORCH)
    assert out.split() == ["ok"]


def test_a_full_disk_is_an_output_error(archives, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(datasets.arrow_writer.ArrowWriter, "finalize", full)
    with pytest.raises(
        platelet_em.OutputError, match=rf"^{tmp_path}.*: no room to write: No space"
    ):
        platelet_em.load_dataset(data_dir=archives, cache_dir=tmp_path)
