"""Volumes of a built repository are those of the archive that it was built from."""

import re
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
from support import verified

import platelet_em
from _platelet_em.facts import PUBLISHED
from _platelet_em.hub.layout import data_files
from _platelet_em.hub.read import ParquetRows, open_volume
from _platelet_em.publisher.archive import find_source
from _platelet_em.publisher.volume import ArchiveVolume

TRAIN = PUBLISHED.volume("50")
COLUMNS = ["image", "semantic", "cells", "organelles"]
SHARD = "slices/train-00003-of-00008.parquet"


@pytest.fixture
def copied(repository, tmp_path):
    """A copy of the repository, to be changed."""
    return shutil.copytree(repository, tmp_path / "repo")


@pytest.mark.parametrize("name", ["50", "24"])
def test_it_equals_the_volume_of_the_archive(repository, archives, name):
    spec = PUBLISHED.volume(name)
    found = open_volume(repository, spec)
    source = find_source(archives, "json", PUBLISHED)
    with ArchiveVolume(source, spec, "json", PUBLISHED) as expected:
        assert found.name == expected.name == name
        assert found.shape == expected.shape
        assert found.kinds == expected.kinds
        for z in range(expected.shape[0]):
            assert np.array_equal(found.image(z), expected.image(z))
            assert np.array_equal(found.semantic(z), expected.semantic(z))
        for kind in expected.kinds:
            check_same_labels(found.labels(kind), expected.labels(kind))
            for z in range(expected.shape[0]):
                check_same_labels(found.labels(kind, z), expected.labels(kind, z))
        box = np.s_[1:4, 2:9, 20:31]
        for column in COLUMNS:
            assert np.array_equal(found.window(column, box), expected.window(column, box))


def check_same_labels(found, expected):
    assert found.equals(expected)
    assert found.ids.tolist() == expected.ids.tolist()
    properties = {**found.properties, **expected.properties}
    for name in properties.keys() - {"touches_border"}:
        assert np.array_equal(found.properties[name], expected.properties[name]), name


def test_one_row_group_is_in_memory_at_a_time(repository, monkeypatch):
    opened = []
    parquet_file = pq.ParquetFile

    def note(path, **options):
        opened.append(path.name)
        return parquet_file(path, **options)

    rows = ParquetRows(data_files(repository, "slices", "train"), COLUMNS)
    assert len(rows) == 9
    monkeypatch.setattr(pq, "ParquetFile", note)
    shards = [f"train-{i:05}-of-00008.parquet" for i in range(8)]
    assert [list(row) for row in rows] == [COLUMNS] * 9
    assert opened == shards
    opened.clear()
    for index in (8, 7, 8, 0, 8):
        assert isinstance(rows[index]["cells"], platelet_em.LazyLabels)
    assert opened == [shards[0], shards[7]]


# --- errors -----------------------------------------------------------------------------------


def expect_error(folder, found):
    message = f"{folder}: volume 50: expected rows of {found}"
    with pytest.raises(platelet_em.MissingMemberError, match=re.escape(message)):
        open_volume(folder, TRAIN)


def expect_wrong_order(folder, found):
    expect_error(folder, f"all its slices in z order, found {found}: build it again")


def test_a_missing_shard_is_an_error(copied):
    (copied / SHARD).unlink()
    expect_wrong_order(copied, "z = 4 instead of 3 in row 3 of 8")


def test_a_missing_last_shard_is_no_smaller_volume(copied):
    (copied / SHARD.replace("00003", "00007")).unlink()
    message = "configuration 'slices', split 'train': expected all its files, such as slices/train"
    with pytest.raises(platelet_em.MissingMemberError, match=message):
        open_volume(copied, TRAIN)
    assert open_volume(copied, TRAIN, partial=True).shape[0] == 7


def test_volumes_of_a_split_share_a_reader(repository, monkeypatch):
    readers = {}
    first = open_volume(repository, TRAIN, readers=readers)
    monkeypatch.setattr("_platelet_em.hub.read.SplitReader", None)
    second = open_volume(repository, TRAIN, readers=readers)
    assert np.array_equal(first.image(8), second.image(8))


def test_a_partial_volume_has_the_slices_that_exist(copied, publication):
    (copied / SHARD).unlink()
    found = open_volume(copied, TRAIN, partial=True)
    assert found.zs == [0, 1, 2, 4, 5, 6, 7, 8]
    for index, z in enumerate(found.zs):
        assert np.array_equal(found.image(index), publication.volumes["50"].images[z])


def test_a_volume_without_rows_is_an_error(copied):
    shutil.rmtree(copied / "slices")
    expect_error(copied, "its slices, found none: build it again")


@pytest.mark.parametrize("z", [0, 2, 5, 2**31 - 1, -1, None])
def test_a_row_of_another_slice_is_an_error(z, copied):
    verified.change_rows(copied / SHARD, 0, verified.assign("z", z))
    expect_wrong_order(copied, f"z = {z} instead of 3 in row 3 of 9")


@pytest.mark.parametrize("z", [0, 2, -1, None])
def test_slices_of_a_partial_volume_ascend(z, copied):
    verified.change_rows(copied / SHARD, 0, verified.assign("z", z))
    with pytest.raises(platelet_em.MissingMemberError, match=f"found z = {z} instead of 3"):
        open_volume(copied, TRAIN, partial=True)


def test_rows_in_another_order_are_an_error(copied):
    first, second = copied / SHARD, copied / SHARD.replace("00003", "00004")
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
    expect_wrong_order(copied, "z = 4 instead of 3 in row 3 of 9")


def test_more_rows_than_can_be_listed_are_refused(copied, monkeypatch):
    monkeypatch.setattr("_platelet_em.hub.parquet.MAX_ROWS", 8)
    message = "00007-of-00008.parquet: expected at most 8 rows of a split, got 9: read it with"
    with pytest.raises(platelet_em.TooLargeError, match=message):
        open_volume(copied, TRAIN)
    with pytest.raises(platelet_em.TooLargeError, match=message):
        platelet_em.ColumnReference.of(copied, "slices", "train", "cells")


def test_a_shard_that_is_replaced_meanwhile_is_an_error(copied):
    found = open_volume(copied, TRAIN)
    found.image(1)
    verified.change_rows(copied / SHARD, 0, verified.paint("image", 7))
    with pytest.raises(platelet_em.ArchiveError, match=f"{SHARD}: was replaced while the reposit"):
        found.image(3)


def test_a_newer_schema_is_an_error(copied):
    verified.change_metadata(copied / SHARD, schema_version=3)
    with pytest.raises(platelet_em.SchemaVersionError, match=f"{SHARD}: is of schema 3"):
        open_volume(copied, TRAIN)
