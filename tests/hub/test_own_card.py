"""Card, front matter and Croissant of own volumes: true, complete, and safe from their names."""

import copy
import json
import re

import mlcroissant
import numpy as np
import pytest
import tifffile
import yaml
from PIL import Image
from support import markdown
from support.clients import WITHOUT_TORCH, run_with_us

from _platelet_em.description.parse import read_description
from _platelet_em.hub.build import build
from _platelet_em.hub.card import is_edited_locally, seal_card, unseal_card
from _platelet_em.hub.figures import LISTED
from _platelet_em.verify.run import verify

# mlcroissant uses deprecated parts of rdflib and pandas.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

VOLUME = 'a "b" <i>é [x](y) |'
TITLE = "<script>alert(1)</script> *bold* [link](https://example.org)"
HEAD = "[[volumes]]\n"


def write(folder, text, **files):
    """The dataset of a description, whose files are arrays: name of each -> array."""
    folder.mkdir(exist_ok=True)
    for name, array in files.items():
        tifffile.imwrite(folder / f"{name}.tif", array, photometric="minisblack")
    (folder / "my.toml").write_text(text, "utf-8")
    return read_description(folder / "my.toml")


def arrays(seed=0, shape=(3, 20, 30), dtype=np.uint8):
    rng = np.random.default_rng(seed)
    classes = rng.integers(0, 3, shape).astype(np.uint8)
    cells = np.zeros(shape, np.uint16)
    cells[0, 2:9, 3:12], cells[-1, 10:18, 20:29] = 7, 300
    return rng.integers(0, 200, shape).astype(dtype), classes, cells


@pytest.fixture(scope="module")
def full(tmp_path_factory):
    """A dataset that says much, under names that are Markdown and HTML."""
    image, classes, cells = arrays()
    text = f"""
name = "full.set"
title = "{TITLE}"
description = "First line.\\n- <b>second</b>\\n\\n# third"
license = "other"
license_name = "my|license"
license_link = "https://example.org/a_(b)"
license_details = "<u>all yours</u>"
citation = "doi:10.1234/ab_c"
voxel_size_nm = [40, 8, 8]
tags = ["leaf", "3d"]
notes = ["Slices are **cut** by hand."]
classes = ["<none>", "wall|x", "vesicle"]
instances = [{{ name = "cells", kind = "it's a `cell`" }}]
{HEAD}name = '{VOLUME}'
split = "train"
image = "image.tif"
semantic = "classes.tif"
cells = "cells.tif"
{HEAD}name = "plain"
split = "validation"
image = "other.tif"
semantic = "classes.tif"
is_partly_labeled = true
note = "It is *old*."
"""
    folder = tmp_path_factory.mktemp("full")
    other = image.astype(np.uint16) * 256
    spec = write(folder / "in", text, image=image, classes=classes, cells=cells, other=other)
    return build(folder / "repo", spec=spec)


@pytest.fixture(scope="module")
def bare(tmp_path_factory):
    """A dataset that says nothing it need not: many pictures, of many sizes, without classes."""
    folder = tmp_path_factory.mktemp("bare")
    sizes = [(1, 1), (200, 3), (3, 200), *((10 + i, 20) for i in range(LISTED))]
    files = {}
    for i, size in enumerate(sizes):
        files[f"image{i}"] = np.arange(np.prod(size)).reshape(size).astype(np.uint16)
        files[f"dots{i}"] = (files[f"image{i}"] % 7).astype(np.uint8)
    text = (
        'name = "bare"\ninstances = ["dots"]\n[[volumes]]\nname = "{stem}"\nsplit = "train"\n'
        'image = "image{stem}.tif"\ndots = "dots{stem}.tif"\n'
    )
    return build(folder / "repo", spec=write(folder / "in", text, **files))


def card_of(folder):
    """Front matter and body of a card."""
    _, head, body = (folder / "README.md").read_text("utf-8").split("---\n", 2)
    return yaml.safe_load(head), body


def prose(body):
    """The text without code, on one line."""
    text = re.sub(r"^```.*?^```", "", body, flags=re.MULTILINE | re.DOTALL)
    return " ".join(re.sub(r"(`+)[^`].*?\1", "", text).split())


@pytest.mark.parametrize("name", ["full", "bare"])
def test_verify_finds_no_fault(name, request):
    report = verify([request.getfixturevalue(name)])
    assert report.errors == 0, "\n".join(report.lines())


@pytest.mark.parametrize("name", ["full", "bare"])
def test_mlcroissant_finds_no_fault(name, request, caplog):
    folder = request.getfixturevalue(name)
    document = json.loads((folder / "croissant.json").read_text("utf-8"))
    issues = mlcroissant.Dataset(copy.deepcopy(document)).metadata.ctx.issues
    assert not issues.errors
    optional = {"license", "creator", "citeAs", "datePublished", "url"}
    stated = {"license", "citeAs"} if name == "full" else set()
    assert optional & set(document) == stated
    assert any(r["@id"] == "classes" for r in document["recordSet"]) == (name == "full")
    records = [*mlcroissant.Dataset(folder / "croissant.json").records("slices")]
    assert len(records) == (6 if name == "full" else 3 + LISTED)
    assert "publisher" not in json.dumps(document["recordSet"])


@pytest.mark.parametrize("name", ["full", "bare"])
def test_nothing_is_said_of_the_published_dataset(name, request):
    _, body = card_of(request.getfixturevalue(name))
    for word in ("publisher", "archive", "label_source", "paper", "platelets", "organelle"):
        assert word not in body
    assert "from own files. MD5 of their names" in " ".join(body.split())
    assert "{{" not in body


def test_what_is_not_stated_is_said(bare):
    head, body = card_of(bare)
    for sentence in (
        "What the images show is not described.",
        "The size of a voxel is not stated.",
        "No license is stated.",
        "No citation is stated.",
    ):
        assert sentence in body
    assert "license" not in head
    assert head["pretty_name"] == "bare"
    assert head["task_ids"] == ["instance-segmentation"]
    assert head["tags"] == ["image"]
    assert "### Classes" not in body
    assert "`semantic` | null: there are no classes" in body
    assert "JPEG" not in body


def test_what_is_stated_is_there(full):
    head, body = card_of(full)
    assert head["license"] == "other"
    assert (head["license_name"], head["license_link"]) == (
        "my|license",
        "https://example.org/a_(b)",
    )
    assert head["tags"] == ["leaf", "3d", "image"]
    assert [task[:5] for task in head["task_ids"]] == ["insta", "seman", "panop"]
    assert "[doi:10.1234/ab_c](https://doi.org/10.1234/ab_c)" in body
    assert "[my\\|license](https://example.org/a_%28b%29)" in body
    assert "A voxel is about 40 x 8 x 8 nm (z, y, x)." in body
    assert "- Slices are **cut** by hand." in body
    assert "Voxels are 5 times as long in z as in y and x." in body
    assert "shows 8-bit images as lossy JPEG; the data stay exact." in body
    assert "convert them with `.to(torch.int32)`" in " ".join(body.split())
    text = " ".join(body.split())
    assert "**Volume plain**: labeled in part." in text
    assert (
        "score voxels of the classes 1 to 2 only. No labels of `cells`: null in all rows" in text
    )
    assert "It is *old*." in text


def test_names_have_no_meaning_in_markdown(full):
    _, body = card_of(full)
    text = prose(body)
    assert not re.search(r"(?<!\\)<(?!!-- Built)", text)
    assert "\\<script\\>alert(1)\\</script\\> \\*bold\\* \\[link\\](https://example.org)" in text
    assert "\n\\- \\<b\\>second\\</b\\>\n\n\\# third\n" in body
    [row] = [line for line in body.splitlines() if "3 x 20 x 30" in line and "train" in line]
    assert len(re.findall(r"(?<!\\)\|", row)) == 7
    [link] = re.findall(r"\]\((pictures/[^)]*i%3E[^)]*)\)", body)
    assert re.fullmatch(r"[\w./%~-]+", link)


def test_pictures_of_any_size_are_drawn(full, bare):
    sizes = []
    for folder in (full, bare):
        for path in sorted((folder / "pictures").iterdir()):
            with Image.open(path) as picture:
                sizes.append(picture.size)
    assert len(sizes) == 3
    assert all(100 < side < 4000 for size in sizes for side in size)


def test_many_volumes_are_counted_by_split(bare):
    head, body = card_of(bare)
    count = 3 + LISTED
    [row] = [line for line in body.splitlines() if line.startswith("| `train` |")]
    assert row.startswith(f"| `train` | {count} | {count} | 1 x 1 x 1 | 1 x 200 x 3 | ")
    assert head["size_categories"] == ["n<1K"]
    assert body.count("| `slices` | `train` |") == 1


def test_the_code_of_the_cards_runs(full, bare, tmp_path):
    for number, folder in enumerate((full, bare)):
        _, body = card_of(folder)
        code = [block for language, block in markdown.blocks(body) if language == "python"]
        assert len(code) == 9
        link = tmp_path / f"folder{number}"
        link.symlink_to(folder)
        name = "full.set" if folder is full else "bare"
        script = "\n".join(code).replace(f"hf://datasets/<user>/{name}", str(link))
        script = script.replace(f"<user>/{name}", str(link))
        script += "\nassert mask.any() == bool(labels['id'])\nprint('ok')\n"
        assert "<user>" not in script
        (tmp_path / "card.py").write_text(script)
        environment = {"HF_HOME": str(tmp_path / f"home{number}"), **WITHOUT_TORCH}
        assert run_with_us(tmp_path / "card.py", **environment).split()[-1:] == ["ok"]


def test_a_pushed_card_names_its_repository_and_is_found_unchanged(full):
    text = (full / "README.md").read_text("utf-8")
    sealed = seal_card(text, "me/vnc")
    assert 'load_dataset("me/vnc", "slices")' in sealed
    assert "<user>/full.set" not in sealed.rsplit("\n", 2)[0]
    assert unseal_card(sealed) == text
    assert seal_card(sealed, "me/vnc") == sealed
    assert not is_edited_locally(text)
    assert is_edited_locally(text.replace("by hand", "by foot"))
