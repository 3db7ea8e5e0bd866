"""Processes whose real clients use the test Hub, with and without this project installed."""

import os
import subprocess
import sys

import pytest

from support import plain
from support.hub import LFS_SUFFIXES, File, Hub, Repository

WITHOUT_TORCH = {"USE_TORCH": "0"}
"""Environment in which `datasets` does not import PyTorch to stream, which takes seconds."""


@pytest.fixture
def hub():
    with Hub({"hf_user": "user", "hf_other": "other"}) as hub:
        yield hub


@pytest.fixture
def with_us(hub, tmp_path):
    """Run a program that may import this project; returns the words it printed."""

    def run(program, *arguments):
        environment = {**hub.environment(tmp_path / "home-with-us"), **WITHOUT_TORCH}
        return run_with_us(program, *arguments, **environment).split()

    return run


def run_with_us(program, *arguments, **environment):
    """Run a program that may import this project; returns what it printed."""
    path = os.pathsep.join(filter(None, sys.path))
    environment = {**os.environ, **environment, "PYTHONPATH": path}
    command = [sys.executable, program, *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def without_us(hub, plain_packages, tmp_path):
    """Run a program that cannot import this project; returns the words it printed."""

    def run(program, *arguments, token="hf_user", torch=False):
        environment = hub.environment(tmp_path / "home-without-us", token)
        environment |= {} if torch else WITHOUT_TORCH
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
