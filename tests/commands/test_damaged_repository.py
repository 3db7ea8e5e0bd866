"""Commands that read a repository with a damaged Parquet file: one sentence that names it."""

import shutil

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
