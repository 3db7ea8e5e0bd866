"""References open what their names say, in any process, and never another dataset's voxels."""

import os
import pickle
import re
import shutil
import threading
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path

import dask.array as da
import dask.base
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi, constants
from support import verified
from support.clients import publish
from support.own import write_own

import platelet_em
from _platelet_em.description.parse import read_description
from _platelet_em.hub import remote, row_columns
from _platelet_em.hub.build import build
from platelet_em import ColumnReference

NAME = "user/platelet-em"
ADDRESS = f"hf://datasets/{NAME}"
SPLITS = {"train": "50", "validation": "24"}
TRUTH = {
    "image": "images",
    "semantic": "semantic",
    "cells": "cell",
    "organelles": "organelle",
}


@pytest.fixture
def copied(repository, tmp_path):
    """A copy of the repository, to be changed."""
    return shutil.copytree(repository, tmp_path / "repo")


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """A repository of two volumes, the second of which, in `test`, has cells only."""
    folder = tmp_path_factory.mktemp("own")
    own = write_own(folder / "set", "multipage")
    return build(folder / "repo", spec=read_description(own.description))


@pytest.fixture
def reads(monkeypatch):
    """The (file, row group, columns) that are read."""
    found = []
    read = row_columns.read_group

    def note(file, group, columns):
        found.append((group, columns))
        return read(file, group, columns)

    monkeypatch.setattr(row_columns, "read_group", note)
    row_columns._keep_group.cache_clear()
    return found


def refer(path, column="cells", config="volumes", split="train", row=0, **others):
    return ColumnReference(path, config, split, row, column, **others)


# --- the name ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["nowhere", "a/b/c", "./user/name", Path("user/name"), "nowhere/of/../this"]
)
def test_a_folder_is_made_absolute_and_need_not_exist(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "user").mkdir()
    assert refer(path).path == str(tmp_path / path)


def test_the_home_directory_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert refer("~/repo").path == str(tmp_path / "repo")


@pytest.mark.parametrize("path", [ADDRESS, f"{ADDRESS}@main", f"{ADDRESS}@refs/pr/1"])
def test_an_address_stays_as_it_is(path):
    assert refer(path).path == path


def test_a_name_on_the_hub_becomes_an_address(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert refer(NAME).path == ADDRESS
    (tmp_path / NAME).mkdir(parents=True)
    assert refer(NAME).path == str(tmp_path / NAME)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": "instances"}, "config: expected one of slices, volumes, got 'instances'"),
        ({"config": None}, "config: expected one of slices, volumes, got None"),
        (
            {"config": np.array(["a", "b"])},
            "config: expected one of slices, volumes, got arr",
        ),
        ({"split": "tr*"}, "split: expected a name such as train, got 'tr*'"),
        ({"split": "../x"}, "split: expected a name"),
        ({"split": 1}, "split: expected a name"),
        ({"row": -1}, "row: expected a position in the split, from 0, got -1"),
        ({"row": True}, "row: expected a position"),
        ({"row": 1.0}, "row: expected a position"),
        ({"column": ""}, "column: expected a name, got ''"),
        ({"column": None}, "column: expected a name, got None"),
        ({"volume": 50}, "volume: expected a name, got 50"),
        ({"file_digest": b"x"}, "file_digest: expected a name, got b'x'"),
        ({"path": ""}, "a path is empty"),
        ({"path": None}, "path: expected a folder, or a dataset on the Hub, got None"),
        ({"path": "hf://models/a/b"}, "expected hf://datasets/USER/NAME"),
    ],
)
def test_arguments_are_checked(change, message):
    arguments = {"path": "repo", "config": "volumes", "split": "train", "row": 0}
    with pytest.raises(platelet_em.ArgumentError, match=re.escape(message)):
        ColumnReference(**{**arguments, "column": "cells", **change})


def test_it_is_small_and_the_same_after_pickling(repository):
    (reference,) = ColumnReference.of(repository, "volumes", "train", "organelles")
    reference.open()
    for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
        pickled = pickle.dumps(reference, protocol)
        assert len(pickled) < 400
        found = pickle.loads(pickled)
        assert found == reference
        assert hash(found) == hash(reference)
    assert refer(repository, row=np.int64(1)) == refer(repository, row=1)
    assert not hasattr(reference, "__dict__")
    with pytest.raises(FrozenInstanceError, match="row"):
        reference.row = 1


def test_a_pickle_of_another_version_gets_defaults_or_fails_when_it_is_read():
    reference = refer(ADDRESS, volume="50")
    make, arguments = reference.__reduce__()
    assert make(*arguments) == reference
    assert make(*arguments[:5]) == refer(ADDRESS)
    with pytest.raises(TypeError, match="positional arguments but 9 were given"):
        make(*arguments, "new")


def test_it_is_true_without_being_read():
    assert refer("nowhere")


def test_dask_has_the_same_token_for_the_same_name_only():
    first = refer(ADDRESS, volume="50")
    others = [
        replace(first, **{name: value})
        for name, value in {
            "path": f"{ADDRESS}@x",
            "config": "slices",
            "split": "test",
            "row": 1,
            "column": "image",
            "volume": "24",
            "file_digest": "0",
        }.items()
    ]
    assert len(others) == len(fields(ColumnReference))
    tokens = {dask.base.tokenize(each) for each in [first, *others]}
    assert len(tokens) == len(others) + 1
    assert dask.base.tokenize(pickle.loads(pickle.dumps(first))) == dask.base.tokenize(first)


# --- what it opens ----------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("column", TRUTH)
def test_each_row_is_that_of_the_archive(repository, publication, split, column):
    truth = getattr(publication.volumes[SPLITS[split]], TRUTH[column])
    is_labels = column in ("cells", "organelles")
    volume = refer(repository, column, split=split).open()
    assert type(volume) is (platelet_em.LazyLabels if is_labels else platelet_em.LazyStack)
    for found, expected in [
        (volume, truth),
        *((refer(repository, column, "slices", split, z), page) for z, page in enumerate(truth)),
    ]:
        assert np.array_equal(found, expected)
        assert found.dtype == (np.int32 if is_labels else expected.dtype)
    page = refer(repository, column, "slices", split, 2).open()
    assert type(page) is (platelet_em.LazyLabels if is_labels else np.ndarray)
    with pytest.raises(platelet_em.ArgumentError, match=f"a row from 0 to {len(truth) - 1}, got"):
        refer(repository, column, "slices", split, len(truth)).open()


def test_labels_have_their_properties(repository, loaded):
    expected = loaded["train"].with_format("platelet_em")[3]["organelles"]
    found = refer(repository, "organelles", "slices", row=3).open()
    assert found.equals(expected)
    assert {*found.properties} == {"touches_border", "class_id", "purity", "cell"}
    for name, values in expected.properties.items():
        assert np.array_equal(found.properties[name], values)


@pytest.mark.parametrize("column", TRUTH)
@pytest.mark.parametrize("config", ["slices", "volumes"])
def test_it_is_used_as_an_array(repository, publication, config, column):
    reference = refer(repository, column, config)
    array = getattr(publication.volumes["50"], TRUTH[column])
    array = array[0] if config == "slices" else array
    assert (reference.shape, reference.ndim, reference.size) == (
        array.shape,
        array.ndim,
        array.size,
    )
    assert len(reference) == len(array)
    for index in [2, -1, np.s_[1:3], np.s_[..., 5:2:-1], (1, 2), np.s_[None, :, 4], ...]:
        assert np.array_equal(reference[index], array[index])
    with pytest.raises(IndexError, match="out of bounds"):
        reference[99]
    assert np.asarray(reference, dtype=np.int64).dtype == np.int64
    copy = np.array(reference)
    copy += 1
    assert np.array_equal(reference, array)


def test_copies_are_made_as_numpy_asks_for_them(repository):
    reference = refer(repository, "image", "slices")
    page = reference.open()
    assert reference.__array__() is page
    assert reference.__array__(np.uint16, copy=False) is page
    assert not np.shares_memory(reference.__array__(copy=True), page)
    with pytest.raises(ValueError, match="expected an array that is not copied"):
        reference.__array__(np.int64, copy=False)
    with pytest.raises(ValueError, match="cannot be converted without a copy"):
        refer(repository).__array__(copy=False)


def test_what_is_shared_cannot_be_changed(repository):
    page = refer(repository, "image", "slices").open()
    with pytest.raises(ValueError, match="read-only"):
        page[0] = 0


def test_dask_takes_it_and_leaves_the_array_where_it_is(repository, publication):
    truth = publication.volumes["50"].cell
    for reference, expected in [
        (refer(repository), truth),
        (refer(repository, config="slices", row=4), truth[4]),
    ]:
        array = da.from_array(reference, chunks=7)
        assert array.dtype == np.int32
        assert np.array_equal(array.compute(), expected)
        inside = [v for v in dict(array.__dask_graph__()).values() if not isinstance(v, tuple)]
        assert not [v for v in inside if isinstance(v, (np.ndarray, platelet_em.LazyLabels))]


# --- what it reads ----------------------------------------------------------------------------


def test_only_the_column_of_its_row_group_is_read_and_once(repository, reads):
    (reference,) = ColumnReference.of(repository, "volumes", "train", "organelles")
    assert reads == []
    first = reference.open()
    assert first[2].any()
    assert pickle.loads(pickle.dumps(reference)).open() is first
    assert refer(repository, "organelles").open() is first
    assert reads == [(0, ["volume", "organelles"])]


def test_threads_wait_for_the_one_that_reads(repository, monkeypatch, reads):
    read, entered, may_go_on = row_columns.read_group, threading.Event(), threading.Event()

    def wait(*arguments):
        entered.set()
        assert may_go_on.wait(60)
        return read(*arguments)

    monkeypatch.setattr(row_columns, "read_group", wait)
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(refer(repository).open())) for _ in range(4)
    ]
    threads[0].start()
    assert entered.wait(60)
    for thread in threads[1:]:
        thread.start()
    may_go_on.set()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(value is found[0] for value in found)
    assert len(reads) == 1


def test_few_columns_are_kept(repository, reads):
    references = [
        refer(repository, column, config, split)
        for column in TRUTH
        for config in ("slices", "volumes")
        for split in SPLITS
    ]
    assert len(references) == 16 > row_columns._KEPT_GROUPS
    for reference in references:
        reference.open()
    assert len(reads) == 16
    for reference in reversed(references):
        reference.open()
    assert len(reads) == 16 + 16 - row_columns._KEPT_GROUPS


def test_a_forked_process_reads_by_itself(repository, monkeypatch, reads):
    refer(repository).open()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    refer(repository).open()
    assert len(reads) == 2


# --- references of a split --------------------------------------------------------------------


def test_a_forked_process_asks_the_hub_by_itself(repository, monkeypatch):
    asked = []
    monkeypatch.setattr(
        row_columns, "open_location", lambda path: asked.append(path) or repository
    )
    row_columns._open_on_hub.cache_clear()
    for process in (-1, -1, -2):
        monkeypatch.setattr(os, "getpid", lambda process=process: process)
        refer(ADDRESS).open()
    row_columns._open_on_hub.cache_clear()
    assert asked == [ADDRESS] * 2


def test_of_gives_the_rows_of_a_split(repository):
    found = ColumnReference.of(repository, "slices", "train", "cells")
    assert [reference.row for reference in found] == [*range(9)]
    assert {reference.volume for reference in found} == {"50"}
    assert all(re.fullmatch("[0-9a-f]{16}", reference.file_digest) for reference in found)
    assert len({reference.file_digest for reference in found}) == 8, "a digest for each shard"
    for reference in found:
        z = reference.row
        assert np.array_equal(reference, refer(repository, config="slices", row=z))
        assert replace(reference, column="image").open().dtype == np.uint16


def test_of_reads_neither_images_nor_labels(repository, monkeypatch, reads):
    columns = []
    read = pq.ParquetFile.read

    def note(self, names, **options):
        columns.extend(names)
        return read(self, names, **options)

    monkeypatch.setattr(pq.ParquetFile, "read", note)
    for column in TRUTH:
        assert len(ColumnReference.of(repository, "volumes", "train", column)) == 1
    assert not [name for name in columns if "rle" in name or "bytes" in name]
    assert reads == []


def test_rows_without_labels_are_left_out(own):
    assert [r.volume for r in ColumnReference.of(own, "volumes", "train", "organelles")] == [
        "first"
    ]
    for config in ("volumes", "slices"):
        assert ColumnReference.of(own, config, "test", "organelles") == ()
        found = ColumnReference.of(own, config, "test", "cells")
        assert {reference.volume for reference in found} == {"second"}


# --- errors -----------------------------------------------------------------------------------


def expect(error, message, reference):
    with pytest.raises(error, match=re.escape(message)):
        reference.open()


@pytest.mark.parametrize("row", [0, 1])
def test_null_is_an_error_that_names_the_volume(own, row):
    reference = refer(own, "organelles", "slices", "test", row)
    message = f"row {row} of 'test': volume second has no organelles: they are null"
    expect(platelet_em.ArgumentError, message, reference)


def test_other_columns_are_refused(repository):
    lazy = "expected images or labels, image or semantic or cells or organelles, found"
    for column, found in [("z", "other values"), ("masks", "no such column")]:
        message = f"column {column!r}: {lazy} {found}"
        expect(platelet_em.ArgumentError, message, refer(repository, column, "slices"))
        with pytest.raises(platelet_em.ArgumentError, match=re.escape(message)):
            ColumnReference.of(repository, "slices", "train", column)


def test_a_column_that_only_looks_like_labels_is_refused(tmp_path):
    table = pa.table({"volume": ["a"], "cells": [{"rle": ["1 2"]}]})
    (tmp_path / "slices").mkdir()
    pq.write_table(table, tmp_path / "slices/train-00000-of-00001.parquet")
    message = "row 0 of 'train': column 'cells': expected images or labels, got {'rle': ['1 2']}"
    expect(platelet_em.ArgumentError, message, refer(tmp_path, config="slices"))
    pq.write_table(table.drop_columns("volume"), tmp_path / "slices/train-00000-of-00001.parquet")
    message = "expected one column 'volume', found none"
    expect(platelet_em.ArchiveError, message, refer(tmp_path, config="slices"))


def test_two_columns_of_a_name_are_refused(copied):
    shard = copied / "volumes/train-00000-of-00001.parquet"
    table = pq.read_table(shard)
    names = [*table.column_names, "cells"]
    pq.write_table(pa.table([*table.columns, table["cells"]], names=names), shard)
    message = "expected one column 'cells', found 2: build it again"
    expect(platelet_em.ArchiveError, message, refer(copied))
    with pytest.raises(platelet_em.ArchiveError, match=message):
        ColumnReference.of(copied, "volumes", "train", "cells")


def test_a_missing_folder_is_named(tmp_path):
    reference = refer(tmp_path / "gone")
    expect(platelet_em.MissingMemberError, "gone: no such file or folder", reference)


def test_a_split_that_there_is_not_is_named(repository):
    message = "split 'test': expected all its files, such as volumes/test-00000-of-00001.parquet"
    expect(platelet_em.MissingMemberError, message, refer(repository, split="test"))
    with pytest.raises(platelet_em.MissingMemberError, match="found none: check the names"):
        ColumnReference.of(repository, "volumes", "test", "cells")


def test_a_missing_shard_does_not_shift_the_rows(copied):
    (copied / "slices/train-00003-of-00008.parquet").unlink()
    message = "expected all its files, such as slices/train-00000-of-00007.parquet, found"
    expect(platelet_em.MissingMemberError, message, refer(copied, config="slices", row=7))


def test_a_newer_schema_is_an_error(copied):
    shard = copied / "volumes/train-00000-of-00001.parquet"
    verified.change_metadata(shard, schema_version=3)
    expect(platelet_em.SchemaVersionError, f"{shard}: is of schema 3", refer(copied))
    with pytest.raises(platelet_em.SchemaVersionError, match="is of schema 3"):
        ColumnReference.of(copied, "volumes", "train", "cells")


def test_a_damaged_file_is_named(copied):
    shard = copied / "volumes/train-00000-of-00001.parquet"
    shard.write_bytes(b"PAR1" + bytes(99) + b"PAR1")
    expect(platelet_em.ArchiveError, f"{shard}: expected Parquet that can be read", refer(copied))


def test_a_file_that_is_changed_in_its_place_is_read_again(copied):
    reference = refer(copied)
    assert np.asarray(reference).any()
    (file,) = copied.glob("volumes/train-*")
    content = bytearray(file.read_bytes())
    before = file.stat()
    content[4:-5000:50] = bytes(len(content[4:-5000:50]))
    file.write_bytes(content)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns + 10**9))
    after = file.stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size)
    expect(platelet_em.ArchiveError, f"{file}: expected Parquet that can be read", reference)


def test_another_volume_is_an_error(repository):
    message = "row 0 of 'train': expected volume '24', found '50'"
    expect(platelet_em.ArchiveError, message, refer(repository, volume="24"))
    assert refer(repository, volume="50").open().shape == (9, 23, 31)


# --- built again ------------------------------------------------------------------------------


def put(source, folder):
    shutil.rmtree(folder)
    shutil.copytree(source, folder)


def test_voxels_of_another_build_are_an_error(copied, repository, tidy_repository):
    (reference,) = ColumnReference.of(copied, "volumes", "train", "cells")
    by_hand = refer(copied)
    before = np.asarray(reference)
    assert np.array_equal(by_hand, before)
    put(tidy_repository, copied)
    message = f"expected the file with the digest {reference.file_digest}, found one with "
    expect(platelet_em.ArchiveError, message, reference)
    (again,) = ColumnReference.of(copied, "volumes", "train", "cells")
    assert again.file_digest != reference.file_digest
    there = np.asarray(refer(tidy_repository))
    assert np.array_equal(again, there)
    assert np.array_equal(by_hand, there), "made by hand, it reads what is there"
    put(repository, copied)
    assert np.array_equal(reference, before), "the same bytes are the same build"


def test_a_file_that_is_replaced_after_its_footer_was_read_is_an_error(
    copied, tidy_repository, monkeypatch
):
    monkeypatch.setattr(row_columns, "file_stamp", lambda _: 0)
    reference = refer(copied, "organelles")
    reference.shape  # noqa: B018  # reads the footers
    put(tidy_repository, copied)
    expect(platelet_em.ArchiveError, "expected the file with the digest", refer(copied, "image"))


# --- on the Hub -------------------------------------------------------------------------------


@pytest.fixture
def online(hub, monkeypatch):
    """This process uses the test Hub."""
    api = HfApi(endpoint=hub.url, token="hf_user")
    monkeypatch.setattr(remote, "connect", lambda: api)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)
    row_columns._open_on_hub.cache_clear()
    yield hub
    row_columns._open_on_hub.cache_clear()


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A repository whose files are larger than what is read of each of them at first."""
    folder = tmp_path_factory.mktemp("large")
    platelet_em.write_sample(folder / "archives", depth=9, size=300)
    return build(folder / "repo", data_dir=folder / "archives")


def test_the_hub_sends_what_the_column_needs(online, large):
    publish(online, NAME, large)
    (reference,) = ColumnReference.of(NAME, "volumes", "train", "cells")
    commit = online.repositories[NAME].branches["main"]
    assert reference.path == f"{ADDRESS}@{commit}"
    assert reference.volume == "50"
    expected = refer(large).open()
    assert reference.open().equals(expected)
    (shard,) = large.glob("volumes/train-*")
    served = online.served[f"{NAME}/volumes/{shard.name}"]
    assert served <= 2**17 < shard.stat().st_size, "twice its end, and not the images"
    requests = len(online.requests)
    assert reference[3].any()
    assert len(online.requests) == requests, "it is kept"
    assert np.array_equal(replace(reference, column="image"), refer(large, "image"))


def test_the_commit_is_that_of_the_reference(online, repository, tidy_repository):
    data = publish(online, NAME, repository)
    (reference,) = ColumnReference.of(ADDRESS, "volumes", "train", "cells")
    before = np.asarray(refer(repository))
    assert np.array_equal(refer(ADDRESS), before)
    publish(online, "user/other", tidy_repository)
    data.commit("main", "another build", dict(online.repositories["user/other"].files))
    assert np.array_equal(reference, before)
    assert np.array_equal(refer(ADDRESS), before), "a process reads one commit of a branch"
    (again,) = ColumnReference.of(ADDRESS, "volumes", "train", "cells")
    assert again.path != reference.path
    assert np.array_equal(again, refer(tidy_repository))
    message = "expected the file with the digest"
    expect(platelet_em.ArchiveError, message, replace(reference, path=again.path))


def test_offline_is_said_when_it_is_opened():
    row_columns._open_on_hub.cache_clear()
    reference = refer(ADDRESS)
    expect(platelet_em.HubError, "the Hub is not asked, since HF_HUB_OFFLINE is set", reference)
