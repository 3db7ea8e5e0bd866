"""The pages of `docs/`: their examples run, and every public name is on the API page."""

import inspect
import re
from pathlib import Path

import pytest
from support import markdown

import platelet_em
from _platelet_em.arrays.lazy import LazyArray

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


def test_pages_have_examples():
    languages = [language for name in PAGES for language, _ in markdown.blocks(read(name))]
    assert {*languages} == {"sh", "python", "output", "text"}


@pytest.mark.parametrize("name", PAGES)
def test_code_fits_the_width_of_the_site(name):
    lines = [line for _, code in markdown.blocks(read(name)) for line in code.splitlines()]
    assert not [line for line in lines if len(line) > 88]


def test_every_public_name_is_on_the_api_page():
    found = re.findall(r"^\.\. (?:auto\w+|data):: (\w+)$", read("api.md"), re.MULTILINE)
    assert sorted(found) == sorted(platelet_em.__all__)


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
