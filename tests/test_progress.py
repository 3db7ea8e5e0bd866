"""Progress bars: what they say, and where there are none."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios

import pytest
from datasets.utils import tqdm
from support.programs import PROGRAMS

from _platelet_em import progress
from _platelet_em.progress import progress_bar

SAMPLE = ("--depth", "2", "--size", "40")


def environment():
    kept = {name: value for name, value in os.environ.items() if "PROGRESS_BARS" not in name}
    return {**kept, "PYTHONPATH": os.pathsep.join(filter(None, map(os.path.abspath, sys.path)))}


def run_in_terminal(*arguments):
    """What the command draws on a terminal of 150 columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 150, 0, 0))
    command = [sys.executable, "-m", "_platelet_em", *map(str, arguments)]
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=theirs, env=environment()
    )
    os.close(theirs)
    drawn = b""
    while True:
        try:
            data = os.read(ours, 1 << 16)
        except OSError:  # Linux: the other end is closed
            break
        if not data:
            break
        drawn += data
    os.close(ours)
    assert process.wait() == 0, drawn
    return drawn.decode()


def stages(drawn):
    """Stage -> its number of units, in the order of their first bars."""
    return dict(re.findall(r"\r([^\r\n|]*?): +\d+%[^\r]*\d/(\d+)", drawn))


def test_each_stage_has_one_bar_that_names_it(tmp_path):
    assert stages(run_in_terminal("build", tmp_path / "repo", "--sample", *SAMPLE)) == {
        "Drawing volume 50": "2",
        "Painting 50-semantic.tif": "2",
        "Painting 50-instance-cell.tif": "2",
        "Painting 50-instance-organelle.tif": "2",
        "Drawing volume 24": "1",
        "Painting 24-semantic.tif": "1",
        "Painting 24-instance-cell.tif": "1",
        "Painting 24-instance-organelle.tif": "1",
        "Reading volume 50": "1",
        "Writing volume 50": "6",
        "Reading volume 24": "1",
        "Writing volume 24": "4",
    }
    assert stages(run_in_terminal("verify", tmp_path / "repo")).items() >= {
        ("Checking previews of train", "1"),
        ("Checking volume 50: slices", "2"),
        ("Comparing slices: organelle", "2"),
        ("Checking volume 50: volumes", "1"),
    }


def test_quiet_draws_nothing(tmp_path):
    assert run_in_terminal("sample", tmp_path, *SAMPLE, "--quiet") == ""


def test_without_a_terminal_there_is_none(tmp_path):
    command = [sys.executable, "-m", "_platelet_em", "build", tmp_path / "repo", "--sample"]
    done = subprocess.run(
        [*command, *SAMPLE], check=True, capture_output=True, text=True, env=environment()
    )
    assert done.stderr == ""


@pytest.mark.parametrize(("module", "is_warned"), [("platelet_em", False), ("tqdm.auto", True)])
def test_a_notebook_without_widgets_stays_quiet(module, is_warned):
    program = [sys.executable, PROGRAMS / "import_in_notebook.py", module]
    done = subprocess.run(program, check=True, capture_output=True, text=True, env=environment())
    assert ("IProgress not found" in done.stdout) == is_warned
    assert done.stderr == ""


def test_a_notebook_with_widgets_has_bars(monkeypatch, capsys):
    class Notebook(tqdm):
        """Stands for that of `tqdm.notebook`, which needs widgets."""

    Notebook.__module__ = "tqdm.notebook"
    monkeypatch.setattr(progress, "tqdm", Notebook)
    monkeypatch.setattr(
        sys.modules["datasets.utils.tqdm"], "are_progress_bars_disabled", lambda: False
    )
    assert list(progress_bar(range(3), stage="Counting", unit="number")) == [0, 1, 2]
    assert "Counting: 100%" in capsys.readouterr().err


@pytest.mark.parametrize("stream", [None, "closed"])
def test_without_standard_error_there_is_none(stream, monkeypatch, tmp_path):
    if stream == "closed":
        stream = (tmp_path / "x").open("w")
        stream.close()
    monkeypatch.setattr("sys.stderr", stream)
    assert list(progress_bar(range(3), stage="Counting", unit="number")) == [0, 1, 2]
