"""What is killed at a random moment, and run again, ends as if nothing had happened.

`platelet-em push` is killed in test_push.py, where its server is.
"""

import os
import random
import shutil
import threading
import time
from pathlib import Path

import pytest
from support.forked import Forked

from _platelet_em.files import PARTIAL_SUFFIX

KILLS = int(os.environ.get("PLATELET_EM_KILLS", "20"))
"""Of each command."""

CARD = "README.md"
LOAD = """
import platelet_em
for name in ("slices", "volumes"):
    platelet_em.load_dataset(name, data_dir={archives!r}, cache_dir={out!r})
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The command in processes of their own."""
    folder = tmp_path_factory.mktemp("forked")
    forked = Forked(folder, {"HF_HOME": str(folder / "home"), "TMPDIR": str(folder)})
    yield forked
    forked.close()


@pytest.fixture(scope="module")
def older(run, tmp_path_factory):
    """A build of other archives."""
    folder = tmp_path_factory.mktemp("older")
    assert run("sample", folder / "archives", "--depth", "3", "--size", "40").code == 0
    assert run("build", folder / "repo", "--data-dir", folder / "archives").code == 0
    return folder / "repo"


def files(folder):
    """All files below a folder, and their bytes; locks hold nothing."""
    found = {p.relative_to(folder).as_posix(): p for p in folder.rglob("*") if p.is_file()}
    return {name: path.read_bytes() for name, path in found.items() if path.suffix != ".lock"}


def is_final(name):
    """Whether readers take a file for whole: neither its name nor its folder is a writer's."""
    parts = Path(name).parts
    return not any(p.startswith(".") or p.endswith((".incomplete", PARTIAL_SUFFIX)) for p in parts)


def order(command, out, archives):
    """What makes `Forked` run a command that writes into `out`."""
    if command == "prepare":
        return (), {"code": LOAD.format(archives=str(archives), out=str(out))}
    if command == "sample":
        return ("sample", out, "--depth", "6", "--size", "48"), {}
    return ("build", out, "--data-dir", archives), {}


@pytest.mark.parametrize("command", ["build", "rebuild", "sample", "prepare"])
def test_killed_at_random_moments_and_run_again(command, run, archives, older, tmp_path):
    whole = tmp_path / "undisturbed"
    duration = 0.0
    for _ in range(2):  # the first one warms up
        shutil.rmtree(whole, ignore_errors=True)
        code, duration = timed(run, order(command, whole, archives))
        assert code == 0
    expected = files(whole)
    before = files(older) if command == "rebuild" else {}
    dice, killed = random.Random(command), 0
    for _ in range(5 * KILLS):
        if killed == KILLS:
            break
        out = tmp_path / "out"
        if before:
            shutil.copytree(older, out)
        ordered = order(command, out, archives)
        code, seconds = timed(run, ordered, bomb=dice.random() * 1.2 * duration)
        assert code in (0, -9), "late bombs miss"
        killed += code == -9
        # The machine may have other work, too, and then less of it.
        duration = seconds if code == 0 else duration
        found = {name: content for name, content in files(out).items() if is_final(name)}
        for name, content in found.items():
            assert content in (expected.get(name), before.get(name)), f"{name} was half written"
        assert CARD not in found or found in (before, expected), "a mixture was to be seen"
        code, _ = timed(run, ordered)
        assert code == 0
        assert files(out) == expected, "nothing is left behind, and nothing is missing"
        shutil.rmtree(out)
    assert killed == KILLS


def timed(run, ordered, bomb=None):
    """Exit code and seconds of a run, which is killed after `bomb` seconds."""
    arguments, options = ordered
    timer = threading.Timer(bomb or 0, run.kill if bomb is not None else str)
    begun = time.monotonic()
    run.start(*arguments, **options)
    timer.start()
    done = run.wait()
    seconds = time.monotonic() - begun
    timer.join()
    assert done.code in (0, -9), done.err
    return done.code, seconds
