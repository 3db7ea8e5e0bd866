"""The lowest versions of all dependencies together, in an environment that the Makefile makes."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from support import markdown
from support.programs import PROGRAMS

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
    "tests/hub/test_reference.py",
    "tests/publisher/test_archive.py",
    "tests/publisher/test_transfer.py",
    "tests/rows/test_make.py",
]


@pytest.fixture
def run(oldest):
    """Run Python in that environment, from the folder of the project; returns what it prints."""
    paths = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(os.path.abspath, paths))}

    def call(*arguments, cwd=ROOT):
        command = [oldest, *map(str, arguments)]
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, env=environment, cwd=cwd
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


def test_the_readme_prints_what_it_says(run, tmp_path):
    run("-m", "_platelet_em", "build", tmp_path / "demo" / "repo", "--sample")
    blocks = markdown.blocks((ROOT / "README.md").read_text("utf-8"))
    code = [block for language, block in blocks if language == "python" and "torch" not in block]
    expected = [block for language, block in blocks if language == "output"]
    assert len(code) == len(expected) - 1  # all but the last, which needs PyTorch
    (tmp_path / "blocks.json").write_text(json.dumps(code))
    program = PROGRAMS / "run_blocks.py"
    printed = run(program, tmp_path / "blocks.json", cwd=tmp_path)
    assert json.loads(printed) == expected[:-1]


@pytest.mark.parametrize("file", TESTS)
def test_fast_tests_pass(file, run):
    printed = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not long", file)
    assert " passed" in printed
    assert "skipped" not in printed
