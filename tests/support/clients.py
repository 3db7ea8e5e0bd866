"""Processes whose real clients use the test Hub, with and without this project installed."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import plain
from support.hub import LFS_SUFFIXES, File, Hub, Repository
from support.plain import CHECK


@pytest.fixture
def hub():
    with Hub({"hf_user": "user", "hf_other": "other"}) as hub:
        yield hub


@pytest.fixture
def with_us(hub, tmp_path):
    """Run a program, or code in a string, that has this project; returns the words it printed."""

    def run(program, *arguments):
        environment = {**os.environ, **hub.environment(tmp_path / "home-with-us")}
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
        start = [program] if isinstance(program, Path) else ["-c", program]
        command = [sys.executable, *start, *map(str, arguments)]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.split()

    return run


@pytest.fixture
def without_us(hub, plain_packages, tmp_path):
    """Run a program, or code in a string, that does not have this project; returns the words."""

    def run(program, *arguments, token="hf_user"):
        environment = hub.environment(tmp_path / "home-without-us", token)
        if isinstance(program, str):
            program = CHECK + program
        return plain.run(plain_packages, program, *arguments, **environment).split()

    return run


def publish(hub, name, folder):
    """Commit the files of a folder to a new repository of the Hub, without a client."""
    repository = hub.repositories[name] = Repository(name, private=False)
    paths = [path for path in folder.rglob("*") if path.is_file()]
    files = {
        path.relative_to(folder).as_posix(): File(path.read_bytes(), path.suffix in LFS_SUFFIXES)
        for path in paths
    }
    repository.commit("main", "files", {**repository.files, **files})
    return repository
