"""The layers of the implementation: each module imports only those above it in this list."""

import ast
import re
from pathlib import Path

import pytest

import _platelet_em
import platelet_em

LAYERS = (
    "errors", "spec",
    "stitch",
    "runs", "rle", "palette", "page", "picture",
    "label_json", "lazy", "label_fields", "labels", "stack",
    "files", "archive", "download", "ifd", "tiff", "runstore", "label_files", "objects",
    "schema", "shards", "provenance", "records", "fetch",
    "formatting", "hf",
    "intensity", "tensors",
    "frames", "samplers", "windows",
    "dataset", "card", "croissant", "repo", "remote", "push",
    "convert", "anatomy", "scene", "sample", "info", "show",
    "findings", "parts", "agreement", "comparison", "built", "structs", "built_rows", "verify",
    "cli", "__main__",
)  # fmt: skip

FOLDER = Path(_platelet_em.__file__).parent


def imports(path):
    """Dotted names of the modules that a file imports, at any place in it."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_every_module_has_a_layer():
    modules = {path.stem for path in FOLDER.glob("*.py")} - {"__init__"}
    assert modules == set(LAYERS)
    assert len(LAYERS) == len(modules)


@pytest.mark.parametrize("name", LAYERS)
def test_module_imports_only_lower_layers(name):
    parts = [imported.split(".") for imported in imports(FOLDER / f"{name}.py")]
    used = {part[1] for part in parts if part[0] == "_platelet_em" and len(part) > 1}
    higher = {n for n in used & set(LAYERS) if LAYERS.index(n) >= LAYERS.index(name)}
    assert not higher
    assert "platelet_em" not in {part[0] for part in parts}


@pytest.mark.parametrize("name", LAYERS)
def test_no_private_names_cross_modules(name):
    private = {
        imported
        for imported in imports(FOLDER / f"{name}.py")
        if "." in imported and re.match("_[^_]", imported.split(".")[-1])
    }
    assert not private


@pytest.mark.parametrize("name", [n for n in LAYERS if n != "hf"])
def test_only_one_module_touches_private_names_of_datasets(name):
    tree = ast.parse((FOLDER / f"{name}.py").read_text("utf-8"))
    modules = {"datasets", "formatting", "features", "iterable_dataset"}
    touched = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr.startswith("_")
        and isinstance(node.value, ast.Name)
        and node.value.id in modules
    }
    assert not touched


def test_the_face_holds_no_works():
    tree = ast.parse(Path(platelet_em.__file__).read_text("utf-8"))
    definitions = (ast.FunctionDef, ast.ClassDef)
    assert not [node for node in ast.walk(tree) if isinstance(node, definitions)]


@pytest.mark.parametrize("name", LAYERS)
def test_all_names_what_is_there_once(name):
    module = getattr(__import__(f"_platelet_em.{name}"), name)
    assert set(module.__all__) <= set(vars(module))
    assert len(set(module.__all__)) == len(module.__all__)
