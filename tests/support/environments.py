"""Environments with this project and with what it requires, and nothing else of what is here."""

import importlib.metadata
import sys
from pathlib import Path

from packaging.requirements import Requirement

import _platelet_em
import platelet_em
from support import processes
from support.programs import PROGRAMS

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib

ROOT = Path(__file__).parents[2]


def dependencies(extra=None):
    """What pyproject.toml requires, as strings: of the package, or of one of its extras."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project["dependencies"] if extra is None else project["optional-dependencies"][extra]


def link_packages(folder, requirements):
    """Link this project, and these packages with all that they require, into a folder."""
    for module in (platelet_em, _platelet_em):
        path = Path(module.__file__)
        _link(path.parent if path.name == "__init__.py" else path, folder)
    if Path(platelet_em.__file__).samefile(ROOT / "platelet_em.py"):  # not installed
        _link(ROOT / "dataset_card.md", folder)
    waiting, seen = [Requirement(text) for text in requirements], set()
    while waiting:
        requirement = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        for extra in ("", *requirement.extras):
            if (requirement.name, extra) not in seen:
                seen.add((requirement.name, extra))
                waiting += _link_distribution(folder, requirement.name, extra)
    return folder


def _link_distribution(folder, name, extra):
    """Link the files of a package; returns what it requires with that extra."""
    found = importlib.metadata.distribution(name)
    for top in {path.parts[0] for path in found.files if path.parts[0] != ".."}:
        _link(Path(found.locate_file(top)), folder)
    required = [Requirement(text) for text in found.requires or ()]
    wanted = [r for r in required if r.marker is None or r.marker.evaluate({"extra": extra})]
    for requirement in wanted:
        requirement.marker = None
    return wanted


def _link(path, folder):
    link = Path(folder) / path.name
    if not link.exists():
        link.symlink_to(path)


def run(packages, program, *arguments, cwd, **environment):
    """Run a program that may import these packages only; returns what it printed."""
    command = [sys.executable, "-I", PROGRAMS / "with_packages.py", packages, program, *arguments]
    return processes.run(*command, cwd=cwd, **environment)
