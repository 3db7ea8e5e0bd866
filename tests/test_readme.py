"""The commands and the Python code of the README run as they are, and state the truth."""

import json
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
from skimage.measure import regionprops
from support import markdown, plain, publisher
from support.clients import WITHOUT_TORCH
from support.programs import PROGRAMS

ROOT = Path(__file__).parents[1]


def test_readme_starts_with_the_two_commands():
    kind, first = markdown.blocks((ROOT / "README.md").read_text("utf-8"))[0]
    assert kind == "sh"
    assert [line.split("#")[0].strip() for line in first.splitlines()] == [
        "make demo",
        "make test",
    ]
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"\n{target}:" in makefile for target in ("demo", "test"))


@pytest.mark.filterwarnings("ignore:.*not writable:UserWarning")
def test_readme_runs(tmp_path, monkeypatch):
    markdown.enter(tmp_path, monkeypatch)
    _, rest = (ROOT / "README.md").read_text("utf-8").split("\n```\n", 1)  # after `make`
    ran = markdown.run(rest, "README.md")
    assert ran.count("python") >= 4
    assert ran.count("sh") >= 4
    assert (tmp_path / "pictures" / "platelet-em-50-z002.png").is_file()


def test_the_queries_of_three_libraries_agree_with_the_archive(
    full_archives, full_size, tmp_path, monkeypatch
):
    (tmp_path / "repo").symlink_to(full_size)
    monkeypatch.chdir(tmp_path)
    answers = {}
    for language, code in markdown.blocks((ROOT / "docs" / "queries.md").read_text("utf-8")):
        if language != "python":
            continue
        names = {}
        exec(compile(code, "queries.md", "exec"), names)
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


def test_card_names_every_column_and_class(repository):
    from _platelet_em.facts import PUBLISHED
    from _platelet_em.rows.make import SLICES
    from _platelet_em.rows.schema import json_features

    features = json_features(SLICES.columns(PUBLISHED))
    card = (repository / "README.md").read_text()
    body = card.split("---\n", 2)[2]
    for column in (*features, *features["organelles"], *PUBLISHED.class_names):
        assert column in body


def test_the_columns_that_the_card_selects_first_print_in_a_line(repository, loaded):
    card = (repository / "README.md").read_text()
    (code,) = re.findall(r"^ds\[.*select_columns.*$", card, re.MULTILINE)
    row = eval(code, {"ds": loaded})
    assert row["volume"] == "50"
    assert len(repr(row)) < 80


def test_the_rle_code_of_the_card_runs_without_this_project(
    repository, publication, plain_packages, tmp_path
):
    text = (repository / "README.md").read_text().split("### Decoding an RLE string")[1]
    code = markdown.blocks(text)[0][1]
    assert len(code.splitlines()) == 6
    (tmp_path / "code.py").write_text(code)
    truth = publication.volumes["50"].organelle
    np.save(tmp_path / "truth.npy", truth)
    paths = [repository, tmp_path / "code.py", tmp_path / "truth.npy"]
    out = plain.run(plain_packages, PROGRAMS / "decode_by_card.py", *paths, **WITHOUT_TORCH)
    assert out.split() == [str(len(truth))]
