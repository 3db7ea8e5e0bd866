"""Commands killed at random moments: no file is incomplete, and running them again completes all.

`platelet-em push` is killed in test_push.py.
"""

import random
import shutil
import threading
import time
from pathlib import Path

import pytest
from support import publisher
from support.folders import contents
from support.forked import ForkServer

from _platelet_em.files import PARTIAL_SUFFIX
from _platelet_em.hub.build import build

CARD = "README.md"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Starts the command, or a program, in processes of their own."""
    folder = tmp_path_factory.mktemp("forked")
    server = ForkServer(folder, {"HF_HOME": str(folder / "home"), "TMPDIR": str(folder)})
    yield server
    server.close()


@pytest.fixture(scope="module")
def older(tmp_path_factory):
    """A repository of other volumes, with fewer slices."""
    folder = tmp_path_factory.mktemp("older")
    publication = publisher.publication(seed=7, depth=3, plane=(7, 61))
    publication.zip(folder / "images_and_labels_json.zip", "json")
    return build(folder / "repo", data_dir=folder)


def files(folder):
    """Path -> bytes of each file, without lock files, which are empty."""
    return {name: content for name, content in contents(folder).items() if not is_lock(name)}


def is_lock(name):
    return name.endswith(".lock")


def is_final(name):
    """Whether readers take a file for complete: neither its name nor a folder's is temporary."""
    parts = Path(name).parts
    return not any(p.startswith(".") or p.endswith((".incomplete", PARTIAL_SUFFIX)) for p in parts)


def command_line(command, out, archives):
    """Arguments of `ForkServer.start` that make it write into `out`."""
    if command == "prepare":
        return (archives, out), {"program": "prepare.py"}
    if command == "sample":
        return ("sample", out, "--depth", "6", "--size", "48", "--force"), {}
    return ("build", out, "--data-dir", archives, "--force"), {}


@pytest.mark.parametrize("kills", [3, pytest.param(40, marks=pytest.mark.long)])
@pytest.mark.parametrize("command", ["build", "rebuild", "sample", "prepare"])
def test_a_killed_command_leaves_no_mixture_and_can_be_run_again(
    command, kills, run, flat_archives, older, tmp_path
):
    undisturbed = tmp_path / "undisturbed"
    code, duration = run_timed(run, command_line(command, undisturbed, flat_archives))
    assert code == 0
    expected = files(undisturbed)
    before = files(older) if command == "rebuild" else {}
    rng, killed = random.Random(command), 0
    for _ in range(5 * kills):
        if killed == kills:
            break
        out = tmp_path / "out"
        if before:
            shutil.copytree(older, out)
        arguments = command_line(command, out, flat_archives)
        # One random moment in each of as many equal parts of the time that the command takes.
        moment = (killed + rng.random()) / kills * duration
        code, seconds = run_timed(run, arguments, kill_after=moment)
        assert code in (0, -9), "the command may end before it is killed"
        killed += code == -9
        # It is slower or faster while the machine is busy.
        duration = seconds if code == 0 else duration
        found = {name: content for name, content in files(out).items() if is_final(name)}
        for name, content in found.items():
            assert content in (expected.get(name), before.get(name)), f"{name} is incomplete"
        assert CARD not in found or found in (before, expected), "a mixture of two builds"
        code, _ = run_timed(run, arguments)
        assert code == 0
        assert files(out) == expected, "files are missing, or were left behind"
        shutil.rmtree(out)
    assert killed == kills


def run_timed(run, arguments, kill_after=None):
    """Exit code and seconds of a run, which is killed after that many seconds."""
    positional, options = arguments
    begin = time.monotonic()
    process = run.start(*positional, **options)
    timer = threading.Timer(kill_after or 0, process.kill if kill_after is not None else str)
    timer.start()
    done = process.wait()
    seconds = time.monotonic() - begin
    timer.join()
    assert done.code in (0, -9), done.err
    return done.code, seconds
