"""The command: what it runs, what it prints, and how it fails."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tifffile
from support import publisher

from _platelet_em import __version__
from _platelet_em.commands.cli import main

PROGRAMS = Path(__file__).parents[1] / "support" / "programs"


def run(*arguments):
    return main([str(argument) for argument in arguments])


# --- commands ---------------------------------------------------------------------------------


def test_sample_then_build_then_info(tmp_path, capsys):
    size = ("--depth", 2, "--size", 40, "--seed", 3)
    assert run("sample", tmp_path / "archives", *size) == 0
    assert "images_and_labels_rgba.zip" in capsys.readouterr().out
    assert run("build", tmp_path / "repo", "--data-dir", tmp_path / "archives") == 0
    assert "load_dataset" in capsys.readouterr().out
    assert run("info", tmp_path / "repo") == 0
    assert "slices, train: 2 rows in 2 files" in capsys.readouterr().out
    # A build of the sample is the same as a build of archives with the sample.
    assert run("build", tmp_path / "direct", "--sample", *size) == 0
    files = [path.relative_to(tmp_path / "repo") for path in tmp_path.glob("repo/**/*.parquet")]
    assert len(files) == 9
    for file in files:
        assert (tmp_path / "repo" / file).read_bytes() == (tmp_path / "direct" / file).read_bytes()


def test_show_prints_the_paths_of_its_pictures(repository, tmp_path, capsys):
    assert run("show", repository, "--volume", 24, "--z", 1, 3, "--out", tmp_path) == 0
    paths = [str(tmp_path / f"platelet-em-24-z00{z}.png") for z in (1, 3)]
    assert capsys.readouterr().out.split() == paths
    assert all(map(os.path.isfile, paths))


def test_convert(tmp_path, publication):
    truth = publication.volumes["50"].cell
    source = tmp_path / "50-instance-cell.json"
    source.write_text(json.dumps(publisher.encode(truth)))
    assert run("convert", source, tmp_path / "50-instance-cell.tif", "--form", "index") == 0
    assert np.array_equal(tifffile.imread(tmp_path / "50-instance-cell.tif"), truth)
    back = tmp_path / "back.json"
    assert run("convert", tmp_path / "50-instance-cell.tif", back) == 0
    assert np.array_equal(publisher.decode(json.loads(back.read_text())), truth)


def test_convert_does_not_wait_for_a_pipe(tmp_path, capsys):
    os.mkfifo(tmp_path / "pipe")
    assert run("convert", tmp_path / "pipe", tmp_path / "x.json", "--kind", "instance") == 1
    assert "found a pipe" in capsys.readouterr().err


# --- errors -----------------------------------------------------------------------------------


def test_an_error_is_one_line(tmp_path, capsys):
    assert run("build", tmp_path / "repo", "--data-dir", tmp_path / "nowhere") == 1
    err = capsys.readouterr().err.strip()
    assert err == f"platelet-em: {tmp_path / 'nowhere'}: no such file or folder"


def test_debug_shows_where_an_error_comes_from(tmp_path):
    with pytest.raises(OSError, match="nowhere"):
        run("build", tmp_path / "repo", "--data-dir", tmp_path / "nowhere", "--debug")


@pytest.mark.parametrize(
    "arguments",
    [
        ["build", "out", "--data-dir", "nowhere"],
        ["push", "user/name", "--data-dir", "nowhere"],
        ["info", "nowhere"],
        ["show", "nowhere", "--volume", "99", "--label-source", "tif", "--z", "99"],
        ["convert", "nowhere", "x.tif", "--kind", "instance"],
        ["convert", "nowhere", "nowhere"],
        ["verify", ".", "nowhere"],
        ["describe", "nowhere"],
    ],
)
def test_a_missing_file_is_said_first(arguments, monkeypatch, tmp_path, capsys):
    # Before any import that takes long, and before any other complaint.
    monkeypatch.setitem(sys.modules, "_platelet_em.commands.actions", None)
    monkeypatch.chdir(tmp_path)
    assert run(*arguments) == 1
    assert capsys.readouterr().err == "platelet-em: nowhere: no such file or folder\n"
    assert [*tmp_path.iterdir()] == []


@pytest.mark.parametrize("command", ["describe", "verify"])
def test_an_unexpected_error_is_named(command, monkeypatch, capsys):
    def fail(*_):
        raise ZeroDivisionError("planted")

    monkeypatch.setattr(f"_platelet_em.commands.actions.{command}", fail)
    arguments = ["info"] if command == "describe" else ["verify", __file__]
    assert run(*arguments) == 1
    assert "unexpected ZeroDivisionError, see --debug: planted" in capsys.readouterr().err
    with pytest.raises(ZeroDivisionError, match="planted"):
        run(*arguments, "--debug")


def test_quiet_hides_remarks_of_this_command_only(tmp_path, caplog):
    options = ["--sample", "--depth", 2, "--size", 1]
    assert run("build", tmp_path / "a", *options, "--quiet") == 0
    assert caplog.messages == []
    assert run("build", tmp_path / "b", *options) == 0
    assert "no voxel has a label" in caplog.text


def test_an_interruption_ends_with_130(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("_platelet_em.commands.actions.describe", interrupt)
    assert run("info") == 130
    assert capsys.readouterr().err == "interrupted\n"


def test_a_sample_without_slices_is_refused(tmp_path, capsys):
    assert run("sample", tmp_path / "archives", "--depth", 0) == 1
    message = "depth (on the command line, --depth): expected at least 1, got 0"
    assert message in capsys.readouterr().err
    assert not (tmp_path / "archives").exists()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names of any bytes")
def test_a_repository_has_a_name_in_unicode(archives, tmp_path, capsys):
    assert run("build", tmp_path / os.fsdecode(b"bad\xff"), "--data-dir", archives) == 1
    err = capsys.readouterr().err
    assert "bad\\udcff': expected a folder whose name is valid Unicode" in err


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has names of any bytes")
@pytest.mark.parametrize("command", ["info", "show", "verify"])
def test_a_repository_of_another_name_is_an_error(command, repository, tmp_path, capsys):
    path = tmp_path / os.fsdecode(b"bad\xff")
    path.symlink_to(repository)
    assert run(command, path) == 1
    err = capsys.readouterr().err
    assert "bad\\udcff" in err
    assert "expected a name in valid Unicode: rename it, or set a UTF-8 locale" in err


@pytest.mark.parametrize("command", ["build", "sample", "info", "show", "verify"])
def test_a_home_that_does_not_exist_is_an_error(command, capsys):
    assert run(command, "~nobody-has-this-name/x") == 1
    err = capsys.readouterr().err
    assert "~nobody-has-this-name/x: " in err
    assert "unexpected" not in err


def test_links_in_a_circle_are_an_error(tmp_path, archives, capsys):
    (tmp_path / "loop").symlink_to("loop")
    assert run("build", tmp_path / "loop", "--data-dir", archives) == 1
    assert run("verify", tmp_path / "loop") == 1
    assert "unexpected" not in capsys.readouterr().err


# --- standard files ---------------------------------------------------------------------------


def run_in_process(*command, shell=""):
    """Run a Python program; `shell` redirects its standard files."""
    line = ["sh", "-c", f'"$@" {shell}', "sh", sys.executable, *map(str, command)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(line, env=environment, capture_output=True, text=True, check=False)


def test_the_module_is_the_command():
    done = run_in_process("-m", "_platelet_em", "--help")
    assert done.returncode == 0
    assert done.stdout.startswith("usage: platelet-em ")


def test_output_that_is_no_longer_read_is_no_error():
    done = run_in_process("-m", "_platelet_em", "info", shell="| true")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is full")
def test_output_that_cannot_be_written_is_an_error(archives):
    done = run_in_process("-m", "_platelet_em", "verify", archives, "--json", shell=">/dev/full")
    assert done.returncode == 1
    message = "platelet-em: standard output: cannot be written: No space left on device"
    assert message in done.stderr.splitlines()


def test_closed_standard_files_are_no_error(archives, tmp_path):
    command = ["-m", "_platelet_em", "build", tmp_path / "repo", "--data-dir", archives]
    done = run_in_process(*command, shell="<&- >&- 2>&-")
    assert done.returncode == 0
    assert (tmp_path / "repo" / "README.md").is_file()


def test_paths_that_the_terminal_cannot_show_are_escaped(tmp_path, monkeypatch):
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", out)
    assert run("sample", tmp_path / "\u65e5\u672c", "--depth", 1, "--size", 8) == 0
    assert b"\\u65e5\\u672c/images_and_labels_json.zip" in out.buffer.getvalue()


def test_an_interruption_of_the_imports_ends_with_130():
    done = run_in_process(PROGRAMS / "interrupt_import.py")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "interrupted\n")


@pytest.mark.parametrize(
    "error",
    ["MemoryError()", "ImportError('planted' + '\\n' * 9 + 'x' * 999)", "SystemError('x')"],
)
def test_a_failure_of_the_imports_is_one_sentence(error):
    done = run_in_process(PROGRAMS / "interrupt_import.py", error)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"platelet-em: cannot be started ({error.partition('(')[0]}")
    done = run_in_process(PROGRAMS / "interrupt_import.py", error, "--debug")
    assert done.returncode == 1
    assert "Traceback" in done.stderr


LARGE = {"PIL", "datasets", "huggingface_hub", "numpy", "pyarrow", "requests", "tifffile", "torch"}


@pytest.mark.parametrize(
    ("arguments", "code", "text"),
    [
        (["--version"], 0, f"platelet-em {__version__}"),
        (["--help"], 0, "usage: platelet-em"),
        ([], 0, "usage: platelet-em"),
        (["show", "--help"], 0, "usage: platelet-em show"),
        (["show", "nowhere"], 1, "platelet-em: nowhere: no such file or folder"),
        (["show"], 2, "show: expected a SOURCE"),
    ],
)
def test_what_needs_no_large_library_imports_none(arguments, code, text):
    done = run_in_process(PROGRAMS / "list_imports.py", *arguments)
    *printed, modules = done.stdout.splitlines()
    assert done.returncode == code
    assert text in "".join([*printed, done.stderr])
    assert LARGE.isdisjoint(json.loads(modules))


def test_a_command_imports_the_large_libraries():
    done = run_in_process(PROGRAMS / "list_imports.py", "info")
    assert done.stdout.splitlines()[-1:], done.stderr
    assert LARGE - {"torch"} <= set(json.loads(done.stdout.splitlines()[-1]))


def test_quiet_prints_results_only(tmp_path, archives, capsys):
    assert main(["build", str(tmp_path / "repo"), "--data-dir", str(archives), "--quiet"]) == 0
    found = capsys.readouterr()
    assert "is complete" in found.out
    assert not found.err
