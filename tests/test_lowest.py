"""The lowest versions of all dependencies together, in an environment that the Makefile makes."""

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BOUNDS = dict(
    re.findall(
        r'^  "([\w-]+)>=([\d.]+)",',
        re.search(
            r"^dependencies = \[$(.*?)^\]$",
            (ROOT / "pyproject.toml").read_text("utf-8"),
            re.MULTILINE | re.DOTALL,
        )[1],
        re.MULTILINE,
    )
)
TESTS = [
    "tests/arrays/test_runs.py",
    "tests/arrays/test_stack.py",
    "tests/commands/test_hub_names.py",
    "tests/commands/test_info.py",
    "tests/commands/test_show.py",
    "tests/hub/test_read.py",
    "tests/publisher/test_archive.py",
    "tests/publisher/test_transfer.py",
    "tests/rows/test_make.py",
]


@pytest.fixture
def run(oldest):
    """Run Python in that environment, from the folder of the project; returns what it prints."""
    paths = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, paths))}

    def call(*arguments):
        command = [oldest, *map(str, arguments)]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env=environment, cwd=ROOT
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


def test_each_dependency_has_its_lowest_version(run):
    code = "import importlib.metadata as m, sys; [print(m.version(n)) for n in sys.argv[1:]]"
    found = dict(zip(BOUNDS, run("-c", code, *BOUNDS).split(), strict=True))
    assert len(found) > 5
    for name, bound in BOUNDS.items():
        # 3.6 and 3.6.0 are the same version.
        assert re.fullmatch(rf"{re.escape(bound)}(\.0)*", found[name]), (name, bound, found[name])


def test_the_demo_runs(run, tmp_path):
    run("-m", "_platelet_em", "build", tmp_path / "repo", "--sample", "--depth", 6, "--size", 64)
    printed = run(ROOT / "examples" / "demo.py", tmp_path / "repo")
    assert "train: 6 rows of 64 x 64 pixels" in printed
    assert "slice z = 5 of volume 50" in printed


@pytest.mark.parametrize("file", TESTS)
def test_fast_tests_pass(file, run):
    printed = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not long", file)
    assert " passed" in printed
    assert "skipped" not in printed
