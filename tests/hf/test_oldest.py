"""`datasets` 3.6, the oldest supported version: every way of loading, in its own environment."""

from pathlib import Path

import pytest
from support import plain, versions
from support.programs import PROGRAMS

ROOT = Path(__file__).parents[2]


def test_a_built_repository_loads_without_this_project(oldest, repository, truth, tmp_path):
    packages = tmp_path / "packages"
    packages.mkdir()
    plain.site_packages_without_us(packages, oldest)
    program, home = PROGRAMS / "load_built.py", str(tmp_path / "home")
    out = plain.run(packages, program, truth, repository, python=oldest, HF_HOME=home)
    assert out.split() == ["ok"]


def test_the_format(oldest, repository, truth, tmp_path):
    program = PROGRAMS / "format_of_oldest_datasets.py"
    versions.run(oldest, program, truth, repository, cwd=tmp_path)


def test_load_dataset(oldest, archives, truth, tmp_path):
    program = PROGRAMS / "load_with_oldest_datasets.py"
    for function in ("load", "unpickle"):
        arguments = (function, truth, archives, tmp_path / "pickle")
        versions.run(oldest, program, *arguments, cwd=tmp_path)


@pytest.mark.parametrize("begin_with", ["names", "rows"])
def test_the_script(oldest, archives, truth, tmp_path, begin_with):
    arguments = (begin_with, truth, archives, ROOT, tmp_path / "workers")
    versions.run(oldest, PROGRAMS / "load_by_script.py", *arguments, cwd=tmp_path)
