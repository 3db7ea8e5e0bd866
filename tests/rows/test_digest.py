"""The digest of the code: it follows each module that shapes rows, and no other."""

import shutil

import pytest

from _platelet_em.rows.digest import PACKAGE, code_digest

MODULES = sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))
SHAPING = ("arrays/", "publisher/", "sources/", "rows/", "hf/", "hub/")


@pytest.fixture
def package(tmp_path):
    """A copy of the package, whose modules may be edited."""
    ignored = shutil.ignore_patterns("__pycache__")
    return shutil.copytree(PACKAGE, tmp_path / "package", ignore=ignored)


def test_there_are_modules_in_folders():
    assert sum("/" in name for name in MODULES) > 40


def test_it_is_the_same_wherever_the_package_is(package):
    assert code_digest(package) == code_digest()


@pytest.mark.parametrize("name", MODULES)
def test_editing_a_module_that_shapes_rows_changes_it(name, package):
    path = package / name
    path.write_text(path.read_text("utf-8") + "\n# edited\n", "utf-8")
    shapes_rows = "/" not in name or name.startswith(SHAPING)
    assert (code_digest(package) != code_digest()) == shapes_rows


def test_editing_help_texts_does_not_change_it(package):
    path = package / "commands" / "arguments.py"
    text = path.read_text("utf-8")
    edited = text.replace("draw slices with their labels", "draw some slices")
    assert edited != text
    path.write_text(edited, "utf-8")
    assert code_digest(package) == code_digest()


@pytest.mark.parametrize("name", ["rows/new.py", "rows/deeper/new.py", "new.py"])
def test_a_new_module_changes_it(name, package):
    path = package / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    assert code_digest(package) != code_digest()


def test_moving_a_module_changes_it(package):
    (package / "rows" / "shards.py").rename(package / "arrays" / "shards.py")
    assert code_digest(package) != code_digest()
