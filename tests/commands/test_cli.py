"""The command: what it prints, what it writes, and how it fails."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from support import publisher

from _platelet_em.commands.cli import main

COMMANDS = ("build", "sample", "info", "show", "convert", "verify")


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_examples(command, capsys):
    with pytest.raises(SystemExit, match="0"):
        run(command, "--help")
    out = capsys.readouterr().out
    assert "examples:" in out
    assert f"  platelet-em {command}" in out


def test_sample_then_build_then_info(tmp_path, capsys):
    assert run("sample", tmp_path / "archives", "--depth", 4, "--size", 48) == 0
    assert "images_and_labels_rgba.zip" in capsys.readouterr().out
    assert run("build", tmp_path / "repo", "--data-dir", tmp_path / "archives") == 0
    assert "load_dataset" in capsys.readouterr().out
    assert run("info", tmp_path / "repo") == 0
    out = capsys.readouterr().out
    assert "slices, train: 4 rows in 4 files" in out
    assert "label source: json" in out
    assert run("info", tmp_path / "archives") == 0
    out = capsys.readouterr().out
    assert "volume 50: 4 x 48 x 48 (z, y, x)" in out
    assert "published: 23891d451dffb8709c4cf719c1a389d4" in out


def test_build_sample_is_the_build_of_the_sample(tmp_path):
    size = ("--depth", 2, "--size", 40, "--seed", 3)
    assert run("sample", tmp_path / "archives", *size) == 0
    assert run("build", tmp_path / "a", "--data-dir", tmp_path / "archives") == 0
    assert run("build", tmp_path / "b", "--sample", *size) == 0
    for path in (tmp_path / "a").rglob("*.parquet"):
        other = tmp_path / "b" / path.relative_to(tmp_path / "a")
        assert path.read_bytes() == other.read_bytes()


def test_info_of_the_dataset(capsys):
    assert run("info") == 0
    out = capsys.readouterr().out
    assert "Volume 24: split validation, shape (z, y, x) (24, 800, 800)" in out
    assert "4 canalicular vessel" in out


@pytest.mark.parametrize("built", [False, True])
def test_show_draws_what_is_asked_for(built, archives, repository, tmp_path, capsys):
    source = repository if built else archives
    assert run("show", source, "--volume", 24, "--z", 1, 3, "--out", tmp_path) == 0
    names = [f"platelet-em-24-z00{z}.png" for z in (1, 3)]
    assert capsys.readouterr().out.split() == [str(tmp_path / name) for name in names]
    for name in names:
        with Image.open(tmp_path / name) as picture:
            assert picture.mode == "RGB"


def test_show_is_the_same_from_archives_and_repository(archives, repository, tmp_path):
    assert run("show", repository, "--z", 4, "--out", tmp_path / "a") == 0
    assert run("show", archives, "--z", 4, "--out", tmp_path / "b") == 0
    name = "platelet-em-50-z004.png"
    assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("built", [False, True])
def test_show_names_the_slices_that_are_there(built, archives, repository, capsys):
    assert run("show", repository if built else archives, "--z", 99) == 1
    assert "no slice z = 99: expected 0 to 8" in capsys.readouterr().err


def test_convert(tmp_path, publication):
    truth = publication.volumes["50"].cell
    source = tmp_path / "50-instance-cell.json"
    source.write_text(json.dumps(publisher.encode(truth)))
    assert run("convert", source, tmp_path / "50-instance-cell.tif", "--form", "index") == 0
    assert np.array_equal(tifffile.imread(tmp_path / "50-instance-cell.tif"), truth)
    back = tmp_path / "back.json"
    assert run("convert", tmp_path / "50-instance-cell.tif", back) == 0
    assert np.array_equal(publisher.decode(json.loads(back.read_text())), truth)


def test_trouble_is_one_sentence(tmp_path, capsys):
    assert run("build", tmp_path / "repo", "--data-dir", tmp_path / "nowhere") == 1
    err = capsys.readouterr().err.strip()
    assert err.startswith(f"platelet-em: {tmp_path / 'nowhere'}: expected")
    assert "\n" not in err


def test_debug_shows_where_it_came_from(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        run("build", tmp_path / "repo", "--data-dir", tmp_path / "nowhere", "--debug")


def test_unexpected_trouble_is_named(monkeypatch, capsys):
    def fail(path):
        raise RuntimeError("a bug")

    monkeypatch.setattr("_platelet_em.commands.cli.describe", fail)
    assert run("info") == 1
    assert "unexpected RuntimeError, see --debug: a bug" in capsys.readouterr().err


def test_sample_refuses_no_slices(tmp_path, capsys):
    assert run("sample", tmp_path / "archives", "--depth", 0) == 1
    assert "got 0, 512 and 0" in capsys.readouterr().err
    assert not (tmp_path / "archives").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sample", "--data-dir", "x"], "leave out --data-dir"),
        (["--depth", "3"], "depth say what the sample is like: add --sample"),
    ],
)
def test_options_that_do_not_go_together(arguments, message, tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        run("build", tmp_path / "repo", *arguments)
    assert message in capsys.readouterr().err


def run_apart(*arguments, shell):
    """The command in a process of its own, its standard files as a shell sets them up."""
    code = "import sys; from _platelet_em.commands.cli import main; sys.exit(main(sys.argv[1:]))"
    command = ["sh", "-c", f'"$@" {shell}', "sh", sys.executable, "-c", code, *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_output_that_is_no_longer_read_is_no_trouble(archives):
    done = run_apart("info", shell="| true")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_output_that_has_no_room_is_said(archives):
    done = run_apart("verify", archives, "--json", shell=">/dev/full")
    assert done.returncode == 1
    said = "platelet-em: standard output: cannot be written: No space left on device"
    assert said in done.stderr.splitlines()


def test_closed_standard_files_do_no_harm(archives, tmp_path):
    done = run_apart("build", tmp_path / "repo", "--data-dir", archives, shell="<&- >&- 2>&-")
    assert done.returncode == 0
    assert (tmp_path / "repo" / "README.md").is_file()


def test_paths_that_the_terminal_has_no_letters_for_are_escaped(tmp_path, monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", out)
    assert run("sample", tmp_path / "\u65e5\u672c", "--depth", 1, "--size", 8) == 0
    assert b"\\u65e5\\u672c/images_and_labels_json.zip" in out.buffer.getvalue()


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes are Linux's")
def test_a_repository_has_a_name_that_is_text(archives, tmp_path, capsys):
    assert run("build", tmp_path / os.fsdecode(b"bad\xff"), "--data-dir", archives) == 1
    err = capsys.readouterr().err
    assert "bad\\udcff': expected a folder whose name is text" in err


@pytest.mark.parametrize("command", ["build", "sample", "info", "show", "verify"])
def test_home_of_nobody_is_one_sentence(command, capsys):
    assert run(command, "~nobody-has-this-name/x") == 1
    assert "there is no such home" in capsys.readouterr().err


def test_links_in_a_circle_are_one_sentence(tmp_path, archives, capsys):
    (tmp_path / "loop").symlink_to("loop")
    assert run("build", tmp_path / "loop", "--data-dir", archives) == 1
    assert run("verify", tmp_path / "loop") == 1
    assert "unexpected" not in capsys.readouterr().err


def test_convert_does_not_wait_for_a_pipe(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    assert run("convert", tmp_path / "pipe", tmp_path / "x.json", "--kind", "instance") == 1
    assert "found a pipe" in capsys.readouterr().err


def test_show_names_the_slices_that_are_there_even_for_numbers_that_no_slice_has(
    repository, capsys
):
    assert run("show", repository, "--z", 10**20) == 1
    assert "there is no slice z = 1" in capsys.readouterr().err


INTERRUPTED = """
import sys

class Finder:
    def find_spec(self, name, *_):
        if name == "_platelet_em.commands.cli":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Finder())
from _platelet_em.__main__ import run
sys.exit(run())
"""


def test_it_can_be_stopped_before_it_has_begun():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], env=environment, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


def test_the_module_is_the_command():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "_platelet_em", "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("usage: platelet-em ")
