"""The order of the folders: each module imports only its own folder and those below it."""

import ast
import re
from pathlib import Path

import pytest

import _platelet_em
import platelet_em

FOLDER = Path(_platelet_em.__file__).parent
LEVELS = (
    ("",),
    ("arrays",),
    ("publisher",),
    ("sources",),
    ("description",),
    ("rows", "sample"),
    ("hf",),
    ("hub", "training"),
    ("export",),
    ("verify",),
    ("commands",),
)
"""The folders from the lowest level up, "" being the top of the package. Folders of one level do
not import each other."""
LEVEL_OF = {folder: level for level, folders in enumerate(LEVELS) for folder in folders}
STARTERS = {"__main__"}
"""Modules at the top of the package that may import from every folder: they start the program."""


def name_of(path, root=FOLDER):
    """Dotted name of a module below the package, "" for the package itself."""
    parts = path.relative_to(root).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path, root=FOLDER):
    """Dotted names, relative to the package, of what a file imports of it anywhere in the file.

    `from _platelet_em import x` gives `x`, relative imports are resolved, and the face gives
    "platelet_em".
    """
    package = [*path.relative_to(root).parent.parts]
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        found = []
        if isinstance(node, ast.Import):
            found = [alias.name.split(".") for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = node.module.split(".") if node.module else []
            if node.level:
                module = ["_platelet_em", *package[: len(package) - node.level + 1], *module]
            found = [[*module, alias.name] for alias in node.names]
        for parts in found:
            if parts[0] == "_platelet_em":
                yield ".".join(parts[1:])
            elif parts[0] == "platelet_em":
                yield "platelet_em"


def folder_of(name, root=FOLDER):
    """The folder of an imported name; "" for modules and names at the top of the package."""
    first = name.split(".")[0]
    return first if (root / first).is_dir() and first else ""


def violations(root=FOLDER):
    """Each import from a higher level or another folder of the same, and each unlisted folder."""
    for folder in root.iterdir():
        if folder.is_dir() and [*folder.rglob("*.py")] and folder.name not in LEVEL_OF:
            yield f"{folder.name}: a folder that is not listed"
    for path in root.rglob("*.py"):
        name = name_of(path, root)
        own = path.relative_to(root).parts[0] if len(path.relative_to(root).parts) > 1 else ""
        for imported in imports(path, root):
            if imported == "platelet_em":
                yield f"{name}: imports the face"
                continue
            folder = folder_of(imported, root)
            is_lower = folder == own or LEVEL_OF.get(folder, 99) < LEVEL_OF.get(own, -1)
            if not is_lower and name not in STARTERS:
                yield f"{name}: imports {imported}"


def test_folders_import_lower_levels_only():
    assert not [*violations()]


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("arrays/runs.py", "from _platelet_em.rows.make import x"),
        ("arrays/runs.py", "from _platelet_em import rows"),
        ("arrays/runs.py", "import _platelet_em.hub.card"),
        ("arrays/runs.py", "from ..rows import make"),
        ("arrays/runs.py", "from .. import rows"),
        ("errors.py", "from .arrays import runs"),
        ("errors.py", "from _platelet_em.arrays.runs import Runs"),
        ("rows/make.py", "def f():\n    from _platelet_em.sample.scene import Scene"),
        ("hub/card.py", "import platelet_em"),
        ("hub/card.py", "from platelet_em import build"),
        ("shelf/thing.py", "x = 1"),
        ("arrays/deep/thing.py", "from ...rows import make"),
    ],
)  # fmt: skip
def test_imports_of_higher_levels_are_found(file, code, tmp_path):
    for folder in LEVEL_OF:
        (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / file).parent.mkdir(exist_ok=True, parents=True)
    (tmp_path / file).write_text(code)
    assert len([*violations(tmp_path)]) == 1


@pytest.mark.parametrize(
    ("file", "code"),
    [
        ("rows/make.py", "from _platelet_em.arrays.runs import Runs\nfrom .schema import y"),
        ("rows/make.py", "from ..errors import quote\nfrom _platelet_em import __version__"),
        ("__main__.py", "from _platelet_em.commands.cli import main"),
    ],
)
def test_imports_of_lower_levels_pass(file, code, tmp_path):
    for folder in LEVEL_OF:
        (tmp_path / folder).mkdir(exist_ok=True)
    (tmp_path / file).write_text(code)
    assert not [*violations(tmp_path)]


PATHS = sorted(FOLDER.rglob("*.py"))
NAMES = [name_of(path) or "__init__" for path in PATHS]


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_no_private_names_cross_modules(path):
    private = {name for name in imports(path) if re.match("_[^_]", name.split(".")[-1])}
    assert not private


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_only_one_module_uses_private_names_of_datasets(path):
    if name_of(path) == "hf.private":
        return
    tree = ast.parse(path.read_text("utf-8"))
    modules = {"datasets", "formatting", "features", "iterable_dataset"}
    used = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and isinstance(node.value, ast.Name)
        and node.value.id in modules
    }
    assert not used


def test_the_drawing_shows_the_folders_in_this_order():
    drawing = (Path(__file__).parents[1] / "docs" / "architecture.svg").read_text("utf-8")
    found = re.findall(r'<text class="folder" x="(\d+)" y="(\d+)">(\w+)</text>', drawing)
    drawn = {}
    for _, y, name in sorted(found, key=lambda each: int(each[0])):
        drawn.setdefault(int(y), []).append(name)
    from_below = [tuple(drawn[y]) for y in sorted(drawn, reverse=True)]
    assert tuple(from_below) == LEVELS[1:]


def test_the_face_defines_nothing():
    tree = ast.parse(Path(platelet_em.__file__).read_text("utf-8"))
    definitions = (ast.FunctionDef, ast.ClassDef)
    assert not [node for node in ast.walk(tree) if isinstance(node, definitions)]


@pytest.mark.parametrize("path", PATHS, ids=NAMES)
def test_all_lists_existing_names_once(path):
    name = name_of(path)
    module = __import__(f"_platelet_em.{name}", fromlist=["x"]) if name else _platelet_em
    names = getattr(module, "__all__", [])
    assert path.name == "__init__.py" or names
    assert set(names) <= set(vars(module))
    assert sorted(set(names)) == sorted(names)
