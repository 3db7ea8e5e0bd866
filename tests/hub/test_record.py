"""The record in Parquet metadata: every reader refuses files of a newer schema."""

import dataclasses
import hashlib
import json
import re
import shutil

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.folders import contents

import platelet_em
from _platelet_em.commands.cli import main
from _platelet_em.commands.info import describe, inspect
from _platelet_em.commands.show import show
from _platelet_em.facts import PUBLISHED
from _platelet_em.hub.build import build
from _platelet_em.hub.integrity import read_build
from _platelet_em.hub.record import (
    check_readable,
    find_origin,
    is_complete,
    is_of_others,
    origin_warning,
    read_record,
)
from _platelet_em.rows.schema import SCHEMA_VERSION

DAMAGED = [
    b"", b"{", b"[1]", b"null", b'"1"', b"1", b"\xff\xfe", b"[" * 100_000, b"{}",
    b'{"schema_version": "1"}', b'{"schema_version": 1.0}', b'{"schema_version": true}',
    b'{"schema_version": null}', b'{"schema_version": [1]}', b'{"schema_version": NaN}',
    b'{"schema_version": 0}', b'{"schema_version": -1}', b'{"Schema_version": 1}',
    b'{"schema_version": ' + b"9" * 5_000 + b"}",
]  # fmt: skip
NEWER = r"{}: is of schema 3, and .* knows schemas up to 2: upgrade it"


def put_record(path, stored):
    """Replace the record in a file, or remove it."""
    table = pq.read_table(path)
    metadata = {k: v for k, v in table.schema.metadata.items() if k != b"platelet_em"}
    if stored is not None:
        metadata[b"platelet_em"] = stored
    pq.write_table(table.replace_schema_metadata(metadata), path)


def with_version(path, version):
    record = {**read_record(path), "schema_version": version}
    put_record(path, json.dumps(record).encode())


@pytest.fixture
def copied(flat_repository, tmp_path):
    return shutil.copytree(flat_repository, tmp_path / "repo")


@pytest.fixture(params=["slices/train-00000-of-00008", "slices/train-00007-of-00008"])
def newer(copied, request):
    """A repository, one file of which is of a newer schema; and that file's path."""
    path = copied / f"{request.param}.parquet"
    with_version(path, SCHEMA_VERSION + 1)
    return copied, path


def test_info_refuses_a_newer_repository(newer, capsys):
    folder, path = newer
    with pytest.raises(platelet_em.SchemaVersionError, match=NEWER.format(path)):
        inspect(folder)
    assert main(["info", str(folder)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert "pip install -U platelet-em" in printed.err


def test_show_refuses_a_newer_repository(newer, tmp_path):
    folder, path = newer
    with pytest.raises(platelet_em.SchemaVersionError, match=NEWER.format(path)):
        list(show(folder, tmp_path / "pictures", volume="50", slices=[3]))
    assert not (tmp_path / "pictures").exists()


@pytest.mark.parametrize("unfinished", [False, True])
def test_build_never_overwrites_a_newer_repository(newer, flat_archives, unfinished):
    folder, path = newer
    if unfinished:
        (folder / ".platelet-em-build" / "x").mkdir(parents=True)
        (folder / ".platelet-em-build" / "x" / "file").write_text("half done")
    before = contents(folder)
    with pytest.raises(platelet_em.SchemaVersionError, match=NEWER.format(path)):
        build(folder, data_dir=flat_archives)
    assert contents(folder) == before


@pytest.mark.parametrize("name", ["volumes/train", "preview/validation"])
def test_build_reads_the_records_of_every_config(name, copied, flat_archives):
    path = copied / f"{name}-00000-of-00001.parquet"
    with_version(path, 10**30)
    before = contents(copied)
    with pytest.raises(platelet_em.SchemaVersionError, match=f"{path}: is of schema 10000"):
        build(copied, data_dir=flat_archives)
    assert contents(copied) == before


def test_a_newer_repository_is_refused_even_if_another_file_is_damaged(newer, flat_archives):
    folder, path = newer
    put_record(folder / "preview" / "train-00000-of-00001.parquet", b"{")
    with pytest.raises(platelet_em.SchemaVersionError, match=NEWER.format(path)):
        build(folder, data_dir=flat_archives)


@pytest.mark.parametrize("stored", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_record_is_an_error_for_readers(stored, copied):
    path = copied / "slices" / "train-00002-of-00008.parquet"
    put_record(path, stored)
    assert read_record(path) is None
    message = f"{path}: metadata 'platelet_em': expected a JSON object whose 'schema_version' is a"
    with pytest.raises(platelet_em.SchemaVersionError, match=message) as caught:
        inspect(copied)
    assert len(str(caught.value)) < len(str(path)) + 300
    with pytest.raises(platelet_em.SchemaVersionError, match=message):
        list(show(copied, copied, volume="50", slices=[0]))


@pytest.mark.parametrize("stored", [b"{", b'{"schema_version": -1}'])
def test_a_damaged_record_is_written_again_in_a_repository_of_ours(
    stored, copied, flat_repository, flat_archives
):
    put_record(copied / "slices" / "train-00000-of-00008.parquet", stored)
    assert read_build(copied, PUBLISHED) is None
    build(copied, data_dir=flat_archives)
    assert contents(copied) == contents(flat_repository)


def test_files_with_damaged_records_alone_are_not_ours(flat_archives, copied, tmp_path):
    folder = tmp_path / "other"
    (folder / "slices").mkdir(parents=True)
    path = folder / "slices" / "train-00000-of-00001.parquet"
    shutil.copy(copied / "slices" / "train-00000-of-00008.parquet", path)
    put_record(path, b'{"schema_version": "1"}')
    before = contents(folder)
    with pytest.raises(platelet_em.OutputError, match="was not written by platelet-em build"):
        build(folder, data_dir=flat_archives)
    assert contents(folder) == before


def test_files_without_a_record_are_read(copied, tmp_path, capsys):
    for path in copied.rglob("*.parquet"):
        put_record(path, None)
    assert main(["info", str(copied)]) == 0
    out = capsys.readouterr().out
    assert "slices, train: 9 rows in 8 files" in out
    assert "schema version" not in out
    pictures = list(show(copied, tmp_path, volume="50", slices=[1]))
    assert [path.is_file() for path in pictures] == [True]


def test_records_with_more_keys_are_read(copied):
    path = next(copied.rglob("*.parquet"))
    put_record(path, b'{"later": [1], "schema_version": 1}')
    assert read_record(path) == {"later": [1], "schema_version": 1}
    check_readable([path])


def test_other_files_have_no_record(tmp_path):
    (tmp_path / "text").write_text("PAR1")
    for path in (tmp_path / "text", tmp_path, tmp_path / "nowhere"):
        assert read_record(path) is None


LABELS = {
    "shape": [2, 3], "id": [1, 5], "rle": ["1 1", "3 2"], "area": [1, 2],
    "bbox": [[0, 0, 1, 1], [0, 0, 2, 3]], "touches_border": [True, True],
}  # fmt: skip


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize(
    ("added", "expected"),
    [
        ([0.5, 0.25], [0.5, 0.25]),
        (["a", "b"], ["a", "b"]),
        ([[1], [2, 3]], [[1], [2, 3]]),
        ([[1, 2], [3, 4]], [[1, 2], [3, 4]]),
        ("px", None),
        (1.5, None),
        ({"x": 1}, None),
    ],
)
def test_the_format_reads_fields_that_a_newer_schema_adds(
    streaming, mapped, added, expected, tmp_path
):
    """`datasets` drops the record, so columns are recognized by their fields."""
    table = pa.Table.from_pylist([{"z": 0, "cells": {**LABELS, "added": added}, "new": 7}])
    record = {b"platelet_em": b'{"schema_version": 3}'}
    pq.write_table(table.replace_schema_metadata(record), tmp_path / "newer.parquet")
    loaded = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "newer.parquet"),
        split="train",
        streaming=streaming,
        cache_dir=str(tmp_path / "cache"),
    )
    if mapped:
        loaded = loaded.map(lambda row: row)
    row = next(iter(loaded.with_format("platelet_em")))
    assert row["new"] == 7
    assert np.array_equal(np.asarray(row["cells"]), [[1, 0, 5], [5, 0, 0]])
    found = row["cells"].properties
    assert set(found) == {"touches_border"} | ({"added"} if expected is not None else set())
    if expected is not None:
        assert [np.asarray(value).tolist() for value in found["added"]] == expected


def test_labels_of_another_form_stay_a_struct(tmp_path):
    table = pa.Table.from_pylist([{"cells": {"shape": [2], "id": [1], "runs": ["1 1"]}}])
    pq.write_table(table, tmp_path / "newer.parquet")
    loaded = datasets.Dataset.from_parquet(
        str(tmp_path / "newer.parquet"), cache_dir=str(tmp_path / "cache")
    )
    row = loaded.with_format("platelet_em")[0]
    assert row["cells"] == {"shape": [2], "id": [1], "runs": ["1 1"]}


MD5 = "23891d451dffb8709c4cf719c1a389d4"
PAPER_MD5 = "253310093ee2c00304fbabdb0c7e3a4a"


@pytest.mark.parametrize(
    ("changes", "origin", "warning"),
    [
        ({}, "publisher", "^$"),
        ({"archive": "renamed.zip"}, "publisher", "^$"),
        ({"archive": "RENAMED.ZIP"}, "publisher", "^$"),
        ({"archive_md5": "0" * 32}, "not the published archive", f"MD5 is {MD5}, not '0000"),
        ({"archive_md5": None}, "not the published archive", f"MD5 is {MD5}, not None"),
        ({"label_source": "tif"}, "not checked", "cannot be checked: no checksum is published"),
        ({"archive": "an extracted folder"}, "not checked", "from an extracted folder, and a che"),
        ({"origin": "synthetic"}, "synthetic", "the synthetic sample, not the publisher's data"),
        ({"origin": "not checked"}, "publisher", "^$"),
        ({"test_archive": "p.zip", "test_archive_md5": PAPER_MD5}, "publisher", "^$"),
        (
            {"test_archive": "p.zip", "test_archive_md5": "0" * 32},
            "publisher",
            f"volume test was not built from the published .* {PAPER_MD5}, not '0000",
        ),
        (
            {"test_archive": "an extracted folder", "test_archive_md5": "0" * 32},
            "publisher",
            "volume test was built from an extracted folder",
        ),
    ],
)
def test_the_origin_is_what_the_checksum_says(changes, origin, warning):
    # Older versions wrote "publisher" without comparing checksums.
    record = {"label_source": "json", "archive": "a.zip", "archive_md5": MD5, **changes}
    record.setdefault("origin", "publisher")
    assert find_origin(record, PUBLISHED) == origin
    found = origin_warning(record, PUBLISHED)
    assert re.search(warning, found)
    assert "\n" not in found


@pytest.mark.parametrize("label_source", ["json", "tif"])
def test_a_build_of_other_archives_says_so_everywhere(
    label_source, flat_archives, tmp_path, capsys
):
    out = tmp_path / "repo"
    command = ["build", str(out), "--data-dir", str(flat_archives), "--label-source"]
    assert main([*command, label_source]) == 0
    record = read_build(out, PUBLISHED)
    expected = {"json": "not the published archive", "tif": "not checked"}
    assert record["origin"] == expected[label_source]
    warning = origin_warning(record, PUBLISHED)
    assert warning in capsys.readouterr().out.splitlines()
    assert f"  {warning}" in list(describe(inspect(out)))
    card = (out / "README.md").read_text()
    assert card.split("\n# platelet-em\n")[1].startswith(f"\n**{warning}.**\n")


def test_a_build_of_the_published_archive_warns_of_nothing(flat_archives, tmp_path):
    # What a download without a name is called.
    archive = shutil.copy(flat_archives / "images_and_labels_json.zip", tmp_path / "download")
    md5 = hashlib.md5(archive.read_bytes()).hexdigest()
    archives = tuple(dataclasses.replace(a, md5=md5) for a in PUBLISHED.archives)
    spec = dataclasses.replace(PUBLISHED, archives=archives)
    out = build(tmp_path / "repo", data_dir=archive, spec=spec)
    assert read_build(out, spec)["origin"] == "publisher"
    assert not [line for line in describe(inspect(out, spec)) if "WARNING" in line]
    card = (out / "README.md").read_text()
    assert "WARNING" not in card
    assert f"MD5 `{md5}` (published: `{md5}`)" in card


BUILT = {
    "archive": "own files", "archive_md5": "0" * 32, "fingerprint": "1" * 32,
    "label_source": "files", "origin": "own files", "tool_version": "1",
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "of_others", "complete"),
    [
        ({}, False, True),
        ({"label_source": "json"}, False, True),
        ({"label_source": "png"}, False, False),
        ({"archive": None}, False, False),
        ({"fingerprint": None}, True, True),
        ({"fingerprint": None, "archive": None, "tool_version": None}, True, True),
        ({"fingerprint": None, "origin": "publisher"}, True, False),
        ({"fingerprint": None, "label_source": "json"}, False, False),
        ({"fingerprint": None, "label_source": None}, False, False),
    ],
)
def test_records_of_builds_and_of_other_programs(changes, of_others, complete):
    record = {k: v for k, v in {**BUILT, **changes}.items() if v is not None}
    assert (is_of_others(record), is_complete(record)) == (of_others, complete)
