"""The public face: its names, its examples, and what importing it does not do."""

import doctest
import importlib
import inspect
import os
import pickle
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.programs import PROGRAMS

import _platelet_em
import platelet_em

PUBLIC = [
    "CLASS_NAMES",
    "FORMAT",
    "VOLUMES",
    "ArchiveError",
    "ArgumentError",
    "ChecksumError",
    "ConversionError",
    "CoverageError",
    "DownloadError",
    "GridWindows",
    "HubError",
    "ImageFormatError",
    "IntensityStatistics",
    "LabelFormatError",
    "LabelRangeError",
    "LazyLabels",
    "LazyStack",
    "MissingExtraError",
    "MissingMemberError",
    "OutputError",
    "PlateletEM",
    "PlateletEMConfig",
    "PlateletEMError",
    "RandomWindows",
    "SchemaVersionError",
    "ToTensors",
    "TooLargeError",
    "collate",
    "convert",
    "intensity_statistics",
    "load_dataset",
    "register",
    "stitch",
    "windows",
    "write_sample",
]


def test_public_names():
    assert platelet_em.__all__ == PUBLIC
    assert all(hasattr(platelet_em, name) for name in PUBLIC)


def test_public_names_are_documented():
    for name in PUBLIC:
        value = getattr(platelet_em, name)
        if callable(value):
            assert value.__doc__, name


def test_public_classes_name_the_face_so_that_pickles_survive_moves():
    for name in PUBLIC:
        value = getattr(platelet_em, name)
        if isinstance(value, type):
            assert value.__module__ == "platelet_em", name
            assert pickle.loads(pickle.dumps(value)) is value


def test_importing_needs_no_optional_package_and_touches_neither_network_nor_files():
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-W", "error", PROGRAMS / "import_face.py"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr


MODULES = [
    m.name for m in pkgutil.walk_packages(_platelet_em.__path__, "_platelet_em.") if not m.ispkg
]


def test_all_modules_are_searched_for_examples():
    folder = Path(_platelet_em.__file__).parent
    files = {path for path in folder.rglob("*.py") if path.name != "__init__.py"}
    assert {folder.parent / f"{name.replace('.', '/')}.py" for name in MODULES} == files
    assert any(name.count(".") > 1 for name in MODULES)


class Finder(doctest.DocTestFinder):
    """Finds the classes that name the face as their module where their methods are defined."""

    def _from_module(self, module, object):  # noqa: A002  # doctest's name
        if inspect.isclass(object):
            methods = (getattr(value, "__func__", value) for value in vars(object).values())
            if any(getattr(method, "__globals__", 0) is vars(module) for method in methods):
                return True
        return super()._from_module(module, object)


@pytest.mark.parametrize("name", ["platelet_em", *MODULES])
def test_doctests(name):
    module, runner = importlib.import_module(name), doctest.DocTestRunner()
    for found in Finder().find(module):
        runner.run(found)
    assert runner.failures == 0
    written = re.findall("^ *>>> ", Path(module.__file__).read_text(), re.MULTILINE)
    assert runner.tries >= len(written), "examples that were not run"
