"""The public face: its names, its examples, and what importing it does not do."""

import doctest
import importlib
import inspect
import operator
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
    "ColumnReference",
    "ConversionError",
    "CoverageError",
    "DescriptionError",
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
    "PackedLabels",
    "PlateletEM",
    "PlateletEMConfig",
    "PlateletEMError",
    "RandomWindows",
    "SchemaVersionError",
    "StratifiedWindows",
    "ToTensors",
    "TooLargeError",
    "Windows",
    "__version__",
    "collate",
    "convert",
    "export",
    "intensity_statistics",
    "load_dataset",
    "register",
    "stitch",
    "targets",
    "windows",
    "write_sample",
]


def test_public_names():
    assert platelet_em.__all__ == PUBLIC
    assert all(hasattr(platelet_em, name) for name in PUBLIC)


EXAMPLES = doctest.DocTestParser()
VALUES = {"CLASS_NAMES", "FORMAT", "VOLUMES", "__version__"}


@pytest.mark.parametrize("name", [name for name in PUBLIC if name not in VALUES])
def test_public_names_are_documented_with_an_example(name):
    value = getattr(platelet_em, name)
    examples = EXAMPLES.get_examples(value.__doc__)
    assert name in "".join(f"{example.source}{example.exc_msg}" for example in examples)


FUNCTIONS_OF_MODULES = [
    f"{name}.{function}"
    for name in PUBLIC
    if inspect.ismodule(getattr(platelet_em, name))
    for function in getattr(platelet_em, name).__all__
]


@pytest.mark.parametrize("name", FUNCTIONS_OF_MODULES)
def test_functions_of_public_modules_are_documented_with_an_example(name):
    function = operator.attrgetter(name)(platelet_em)
    assert inspect.isfunction(function)
    examples = EXAMPLES.get_examples(function.__doc__)
    assert f"{name}(" in "".join(example.source for example in examples)


NAMES = [name for name in [*PUBLIC, *FUNCTIONS_OF_MODULES] if name not in VALUES]


@pytest.mark.parametrize("name", NAMES)
def test_examples_need_public_names_only(name):
    globs = {public: getattr(platelet_em, public) for public in PUBLIC}
    text = operator.attrgetter(name)(platelet_em).__doc__
    example = EXAMPLES.get_doctest(text, globs, name, None, None)
    assert doctest.DocTestRunner().run(example).failed == 0


def test_public_values_are_documented_with_an_example():
    examples = "".join(e.source for e in EXAMPLES.get_examples(platelet_em.__doc__))
    assert all(f"platelet_em.{name}" in examples for name in VALUES)


MEMBERS = [
    f"{name}.{member}"
    for name in PUBLIC
    if inspect.isclass(getattr(platelet_em, name))
    for base in getattr(platelet_em, name).__mro__
    if base.__module__.startswith((platelet_em.__name__, _platelet_em.__name__))
    for member, value in vars(base).items()
    if not member.startswith("_") and (inspect.isroutine(value) or isinstance(value, property))
]


@pytest.mark.parametrize("name", MEMBERS)
def test_public_members_are_documented(name):
    owner, member = name.split(".")
    assert inspect.getdoc(inspect.getattr_static(getattr(platelet_em, owner), member))


def test_version_is_public():
    assert platelet_em.__version__ == _platelet_em.__version__


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
    """Finds the classes that name the face as their module where they are defined."""

    def _from_module(self, module, object):  # noqa: A002  # doctest's name
        if inspect.isclass(object):
            definition = rf"^class {object.__name__}\b"
            if re.search(definition, Path(module.__file__).read_text(), re.MULTILINE):
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
