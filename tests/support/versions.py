"""The newest and the oldest supported version of `datasets`, and programs run with either.

The environment with the oldest one has all dependencies in their lowest versions.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.programs import PROGRAMS

NEWEST = Path(sys.executable)
"""The interpreter of the tests."""

VARIABLE = "PLATELET_EM_DATASETS_3_6"
"""Environment variable that names the interpreter with the oldest version."""


def oldest():
    """The interpreter of an environment with `datasets` 3.6, which `make test` creates."""
    python = Path(os.environ.get(VARIABLE) or Path(sys.prefix, "lowest", "bin", "python"))
    found = "nothing"
    if python.is_file():
        command = [python, PROGRAMS / "print_version.py"]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        found = done.stdout.strip() or done.stderr.strip().splitlines()[-1]
    if not found.startswith("3.6."):
        pytest.fail(
            f"{python}: expected a Python with datasets 3.6, found {found}; `make test` creates "
            f"one, or name another one in the environment variable {VARIABLE}",
            pytrace=False,
        )
    return python


TESTS = Path(__file__).parents[1]


def run(python, program, *arguments, cwd, **environment):
    """Run a program with this project, installed or on PYTHONPATH, and with what supports tests.

    It prints ok at its end.
    """
    paths = [*filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep)), TESTS]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(os.path.abspath, paths)),
        "HF_HOME": str(Path(cwd, "home")),
        **environment,
    }
    command = [python, program, *map(str, arguments)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment, cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1:] == ["ok"]
