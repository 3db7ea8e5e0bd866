"""The pages of `docs/`: their examples run, and every public name is on the API page."""

import inspect
import json
import re
import sys
import zipfile
from importlib import resources
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from skimage.measure import regionprops
from support import markdown, publisher

import platelet_em
from _platelet_em.arrays.lazy import LazyArray

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

DOCS = Path(__file__).parents[1] / "docs"
PAGES = sorted(path.name for path in DOCS.glob("*.md"))


@pytest.mark.filterwarnings("ignore:.*not writable:UserWarning", "ignore::DeprecationWarning")
@pytest.mark.parametrize("name", PAGES)
def test_examples_run(name, sample, tmp_path, monkeypatch):
    text = (DOCS / name).read_text("utf-8")
    markdown.enter(tmp_path, monkeypatch)
    for folder, command in (("archives", "platelet-em sample"), ("repo", "platelet-em build")):
        if f"{command} {folder}" not in text:  # else the page makes it
            Path(folder).symlink_to(sample / folder)
    markdown.run(text, name)


def test_the_queries_of_three_libraries_agree_with_the_archive(
    full_archives, full_size, tmp_path, monkeypatch
):
    (tmp_path / "repo").symlink_to(full_size)
    monkeypatch.chdir(tmp_path)
    answers = {}
    for language, code in markdown.blocks(read("queries.md")):
        if language != "python":
            continue
        names = {}
        exec(compile(code, "queries.md", "exec"), names)
        if "large" not in names:  # the table of objects
            continue
        found = names["large"]
        library = next(name for name in ("pandas", "polars", "duckdb") if name in code)
        answers[library] = sorted(zip(found["id"].to_list(), found["area"].to_list(), strict=True))
    expected = large_organelles(full_archives, z=2, class_id=3, area=500)
    assert len(expected) > 5
    assert answers == dict.fromkeys(["pandas", "polars", "duckdb"], expected)


def large_organelles(archives, z, class_id, area):
    """(id, area) of the organelles of a class in a slice of volume 50, from dense arrays."""
    arrays = {}
    with zipfile.ZipFile(archives / "images_and_labels_json.zip") as archive:
        for kind in ("semantic", "organelle"):
            path = f"platelet-em/{publisher.FILES[kind].format('50')}.json"
            labels = json.loads(archive.read(path))
            shape = labels.pop(".info")["shape"]
            flat = np.zeros(np.prod(shape), np.int64)
            for label, rle in labels.items():
                for start, length in np.array(rle.split(), int).reshape(-1, 2):
                    flat[start - 1 : start - 1 + length] = int(label)
            arrays[kind] = flat.reshape(shape)
    votes = np.zeros((arrays["organelle"].max() + 1, 7), int)
    np.add.at(votes, (arrays["organelle"], arrays["semantic"]), 1)
    winners = votes[:, 2:].argmax(axis=1) + 2
    regions = regionprops(arrays["organelle"][z])
    return [(r.label, r.area) for r in regions if winners[r.label] == class_id and r.area > area]


def test_pages_have_examples():
    languages = [language for name in PAGES for language, _ in markdown.blocks(read(name))]
    assert {*languages} == {"sh", "python", "output", "text", "toml"}


def test_descriptions_are_valid():
    files = resources.files("_platelet_em.description")
    schema = json.loads((files / "description.schema.json").read_text("utf-8"))
    texts = [
        code for name in PAGES for lang, code in markdown.blocks(read(name)) if lang == "toml"
    ]
    documents = [document for text in texts if (document := tomllib.loads(text))]
    assert len(documents) > 1
    for document in documents:
        jsonschema.validate(document, schema)


@pytest.mark.parametrize("name", PAGES)
def test_code_fits_the_width_of_the_site(name):
    lines = [line for _, code in markdown.blocks(read(name)) for line in code.splitlines()]
    assert not [line for line in lines if len(line) > 88]


def test_every_public_name_is_on_the_api_page():
    text = read("api.md")
    found = re.findall(r"^\.\. (?:auto\w+|data):: (\w+)$", text, re.MULTILINE)
    assert sorted(found) == sorted(platelet_em.__all__)
    of_targets = r"^\.\. autofunction:: platelet_em::targets\.(\w+)$"
    functions = re.findall(of_targets, text, re.MULTILINE)
    assert sorted(functions) == platelet_em.targets.__all__


def test_the_api_page_lists_the_methods_of_arrays_that_decode_everything():
    sentence = re.search(
        r"^Both classes also have .*?\.$", read("api.md"), re.DOTALL | re.MULTILINE
    )
    named = re.findall(r"`(\w+)`", sentence[0])
    dense = {
        n for n, value in vars(LazyArray).items() if inspect.isfunction(value) and n[0] != "_"
    }
    assert named == sorted(dense)


def test_every_page_is_in_the_table_of_contents():
    index = read("index.md")
    listed = re.search(r"^```\{toctree\}\n:hidden:\n\n(.*?)^```", index, re.MULTILINE | re.DOTALL)
    names = [f"{name}.md" for name in listed[1].split()]
    assert sorted([*names, "index.md"]) == PAGES
    assert names == re.findall(r"\]\((.+\.md)\) \|", index)


def read(name):
    return (DOCS / name).read_text("utf-8")
