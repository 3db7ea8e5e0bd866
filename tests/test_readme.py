"""The README is short, and its code prints what it says, with what the text has installed."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support import environments, markdown
from support.programs import PROGRAMS

from _platelet_em.commands.actions import ACTIONS
from _platelet_em.commands.show import show

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text("utf-8")
BLOCKS = markdown.blocks(TEXT)
TORCH = ["torch==2.13.0"]


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A folder after `make demo`: the commands of its recipe that write what the text uses."""
    folder = tmp_path_factory.mktemp("clone")
    recipe = (ROOT / "Makefile").read_text().split("\ndemo:")[1].split("\n\n")[0]
    build = re.search(r"\$\(BIN\)/platelet-em (build .*)\n", recipe)[1]
    assert build == "build demo/repo --sample --force"
    packages = environments.link_packages(
        tmp_path_factory.mktemp("packages"), environments.dependencies()
    )
    run(packages, folder, ROOT / "builder" / "_platelet_em" / "__main__.py", *build.split())
    return folder


def run(packages, folder, program, *arguments):
    return environments.run(
        packages, program, *arguments, cwd=folder, HF_HOME=str(folder / "home")
    )


def test_it_is_short():
    words = markdown.BLOCK.sub("", TEXT).split()
    assert len(words) <= 900


def test_it_starts_with_the_two_commands():
    language, first = BLOCKS[0]
    assert language == "sh"
    assert [line.split("#")[0].strip() for line in first.splitlines()] == [
        "make demo",
        "make test",
    ]


def test_its_code_prints_what_it_says(demo, tmp_path):
    code, expected = [], []
    for language, block in BLOCKS:
        if language == "python":
            code.append(block)
            expected.append(None)
        elif language == "output":
            expected[-1] = block
    assert len(code) == 4
    assert None not in expected
    with_torch = next(i for i, block in enumerate(code) if "import torch" in block)
    assert with_torch == 3
    printed = print_blocks(demo, tmp_path / "without", code[:with_torch])
    assert printed == expected[:with_torch]
    assert print_blocks(demo, tmp_path / "with", code, TORCH) == expected


def print_blocks(demo, folder, code, extra=()):
    """What blocks of code print, where only this project's dependencies and extras are there."""
    folder.mkdir()
    packages = environments.link_packages(folder, [*environments.dependencies(), *extra])
    (folder / "blocks.json").write_text(json.dumps(code))
    found = run(packages, demo, PROGRAMS / "run_blocks.py", folder / "blocks.json")
    return json.loads(found)


def test_its_picture_is_what_show_draws(demo, tmp_path):
    (drawn,) = show(demo / "demo" / "repo", tmp_path, volume="50", slices=[5])
    with Image.open(drawn) as new, Image.open(ROOT / "docs" / "slice.png") as shown:
        assert new.size == shown.size
        difference = np.abs(np.asarray(new).astype(int) - np.asarray(shown))
    assert (difference > 24).mean() < 0.01


def test_commands_and_links_in_it_exist():
    for target in re.findall(r"\]\(([^)]+)\)", TEXT):
        assert target.startswith("https://doi.org/") or (ROOT / target).exists(), target
    for command in re.findall(r"`platelet-em ([a-z]+)", TEXT):
        assert command in ACTIONS


def test_it_cites_the_paper_as_the_package_does():
    from _platelet_em.facts import PUBLISHED

    assert PUBLISHED.citation in TEXT


def test_it_links_to_every_page():
    pages = {f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")} - {"docs/index.md"}
    assert not pages - set(re.findall(r"\]\(([^)]+)\)", TEXT))
