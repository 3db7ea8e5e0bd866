"""Commands that read a repository with a damaged Parquet file: one sentence that names it."""

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from _platelet_em.commands.cli import main


@pytest.mark.parametrize("kept", [0, 4, 1000, -1])
@pytest.mark.parametrize("command", [["info"], ["show", "--z", "3"]])
def test_a_truncated_file_is_named(command, kept, repository, tmp_path, capsys):
    folder = shutil.copytree(repository, tmp_path / "repo")
    path = sorted((folder / "slices").glob("train-*"))[1]
    path.write_bytes(path.read_bytes()[:kept])
    name, *options = command
    out = ["--out", str(tmp_path / "pictures")] if name == "show" else []
    assert main([name, str(folder), *options, *out]) == 1
    message = capsys.readouterr().err
    assert message.startswith(f"platelet-em: {path}: expected Parquet that can be read: ")
    assert message.endswith(": build it again\n")


@pytest.mark.parametrize("z", [None, -5, 0])
def test_slices_out_of_order_are_named_by_the_first(z, repository, tmp_path, capsys):
    folder = shutil.copytree(repository, tmp_path / "repo")
    path = max((folder / "slices").glob("train-*"))
    table = pq.read_table(path)
    column = table.schema.get_field_index("z")
    zs = pa.array([z] * len(table), table.schema.field("z").type)
    pq.write_table(table.set_column(column, table.schema.field("z"), zs), path)
    assert main(["show", str(folder), "--z", "3", "--out", str(tmp_path / "pictures")]) == 1
    assert capsys.readouterr().err == (
        f"platelet-em: {folder}: volume 50: expected rows of all its slices in z order, found "
        f"z = {z} instead of 7 in row 7 of 9: build it again\n"
    )


@pytest.mark.parametrize("column", ["z", "organelles"])
def test_a_missing_column_is_named(column, repository, tmp_path, capsys):
    folder = shutil.copytree(repository, tmp_path / "repo")
    path = max((folder / "slices").glob("train-*"))
    pq.write_table(pq.read_table(path).drop_columns(column), path)
    assert main(["show", str(folder), "--z", "8", "--out", str(tmp_path / "pictures")]) == 1
    message = capsys.readouterr().err
    assert message.startswith(f"platelet-em: {path}: expected the column {column!r}, got only [")
    assert message.endswith(": build it again\n")


def test_slices_of_swapped_files_are_not_drawn(repository, tmp_path, capsys):
    folder = shutil.copytree(repository, tmp_path / "repo")
    first, second = sorted((folder / "slices").glob("train-*"))[:2]
    contents = first.read_bytes(), second.read_bytes()
    second.write_bytes(contents[0])
    first.write_bytes(contents[1])
    assert main(["show", str(folder), "--z", "0", "--out", str(tmp_path / "pictures")]) == 1
    assert "found z = 0 instead of 1 in row 1 of 9: build it again" in capsys.readouterr().err
