"""Files of a repository: each fault of a file is found there, and the rest is checked."""

import shutil

import pyarrow.parquet as pq
import pytest
from support import verified

SHARD = "slices/train-00003-of-00008.parquet"


def remove(path):
    path.unlink()


def change_a_byte(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 3] ^= 255
    path.write_bytes(raw)


def reverse_columns(path):
    table = pq.read_table(path)
    verified.write_table(table.select(table.column_names[::-1]), path)


def repeat_rows(path):
    table = pq.read_table(path)
    verified.write_table(table.take([0, 0]), path)


FAULTS = {
    "missing shard": (SHARD, remove, "shards", "a shard no such file"),
    "changed byte": (SHARD, change_a_byte, "sums", "SHA-256"),
    "too many rows": (SHARD, repeat_rows, "rows", "1 rows of 9 2"),
    "other order of columns": (SHARD, reverse_columns, "schema", "in this order"),
    "missing column": (SHARD, lambda path: verified.write_table(
        pq.read_table(path).drop_columns("n_cells"), path), "schema", "no column n_cells"),
    "no Parquet": ("preview/train-00000-of-00001.parquet", lambda path: path.write_bytes(b"PAR1"),
                   "schema", "Parquet"),
    "no record": (SHARD, lambda path: verified.write_table(
        pq.read_table(path).replace_schema_metadata(None), path), "record", "none"),
    "stale record": (SHARD, lambda path: verified.change_metadata(path, tool_version="0.0.1"),
                     "record", "another build (tool_version)"),
    "newer schema": ("volumes/train-00000-of-00001.parquet",
                     lambda path: verified.change_metadata(path, schema_version=3),
                     "schema", "is of schema 3"),
    "no card": ("README.md", remove, "files", "no such file"),
    "another card": ("README.md", lambda path: path.write_text("# mine"), "files", "another file"),
    "damaged picture": ("pictures/volume-50.png", lambda path: path.write_bytes(b"no"),
                        "files", "the file that build wrote"),
    "no checksums": ("croissant.json", lambda path: path.write_text("{}"), "sums", "expected the"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_file_is_found_and_the_rest_is_checked(fault, copied, capsys):
    name, change, check, text = FAULTS[fault]
    change(copied / name)
    code, report = verified.run(capsys, copied)
    assert code == 1
    assert verified.has_finding(report, "error", check, name, text)
    figures = verified.figures(report, "volume 24, slices")
    assert figures[0]["cell > 0 == semantic > 0"]["differ"] == 0


def test_files_with_another_checksum_are_not_counted(copied, capsys):
    change_a_byte(copied / SHARD)
    report = verified.run(capsys, copied)[1]
    total = len(list(copied.rglob("*.parquet")))
    assert verified.figures(report, "a built repository")[0]["sums"] == total - 1


def test_rows_of_a_shard_too_many_are_an_error(copied, capsys):
    path = copied / "preview" / "train-00000-of-00001.parquet"
    shutil.copy(path, path.with_name("train-00001-of-00002.parquet"))
    path.rename(path.with_name("train-00000-of-00002.parquet"))
    report = verified.run(capsys, copied)[1]
    name = "train-00001-of-00002.parquet"
    assert verified.has_finding(report, "error", "rows", name, "0 rows of ")


def test_a_file_of_another_schema_still_has_its_record(copied, capsys):
    reverse_columns(copied / SHARD)
    report = verified.run(capsys, copied)[1]
    checks = {check for check, *_ in verified.findings(report, "error")}
    assert "schema" in checks
    assert "record" not in checks


def test_the_first_file_may_be_the_one_of_another_build(copied, capsys):
    path = copied / "slices" / "train-00000-of-00008.parquet"
    verified.change_metadata(path, tool_version="0.0.1")
    report = verified.run(capsys, copied)[1]
    text = "another build (tool_version)"
    assert verified.has_finding(report, "error", "record", path.name, text)
    assert (
        len([check for check, *_ in verified.findings(report, "error") if check == "record"]) == 1
    )


def test_shards_of_two_builds_are_an_error(copied, capsys):
    path = copied / SHARD
    shutil.copy(path, path.with_name("train-00000-of-00009.parquet"))
    code, report = verified.run(capsys, copied)
    assert code == 1
    text = "shards of one build train in 00008, 00009 files"
    assert verified.has_finding(report, "error", "shards", "slices", text)


def test_a_shard_without_a_number_is_an_error(copied, capsys):
    path = copied / SHARD
    shutil.copy(path, path.with_name("train-extra-of-00008.parquet"))
    code, report = verified.run(capsys, copied)
    assert code == 1
    text = "the name of one of 8 shards another name"
    assert verified.has_finding(report, "error", "shards", "train-extra-of-00008.parquet", text)


def test_thousands_of_missing_shards_are_counted(copied, capsys):
    for path in (copied / "slices").glob("train-*"):
        path.rename(path.with_name(path.name.replace("00008", "99999")))
    code, report = verified.run(capsys, copied)
    assert (code, report["errors"] < 50) == (1, True)
    assert verified.has_finding(report, "error", "shards", "slices", "99999 shards of train")


def test_an_interrupted_build_is_an_error(copied, capsys):
    (copied / ".platelet-em-build").mkdir()
    code, report = verified.run(capsys, copied)
    assert (code, report["errors"]) == (1, 1)
    assert verified.has_finding(report, "error", "complete", "repo", "one that was interrupted")
