"""The commands and the Python code of the README run as they are, and state the truth."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import numpy as np
import pytest
from skimage.measure import regionprops
from support import plain, publisher
from support.clients import WITHOUT_TORCH
from support.programs import PROGRAMS

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def blocks(name):
    return BLOCK.findall((ROOT / name).read_text("utf-8"))


def test_readme_starts_with_the_two_commands():
    kind, first = blocks("README.md")[0]
    assert kind == "sh"
    assert [line.split("#")[0].strip() for line in first.splitlines()] == [
        "make demo",
        "make test",
    ]
    makefile = (ROOT / "Makefile").read_text()
    assert all(f"\n{target}:" in makefile for target in ("demo", "test"))


@pytest.mark.filterwarnings("ignore:.*not writable:UserWarning")
def test_readme_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", sysconfig.get_path("scripts") + os.pathsep + os.environ["PATH"])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    if shutil.which("platelet-em") is None:
        command = tmp_path / "bin" / "platelet-em"
        command.parent.mkdir()
        command.write_text(f'#!/bin/sh\nexec {sys.executable} -m _platelet_em "$@"\n')
        command.chmod(0o755)
        monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    names = {}
    ran = []
    for kind, code in blocks("README.md")[1:]:
        if kind == "sh":
            done = subprocess.run(
                ["bash", "-euc", code], check=False, capture_output=True, text=True
            )
            assert done.returncode == 0, f"{code}\n{done.stderr}"
        elif kind == "python":
            exec(compile(code, "README.md", "exec"), names)
        ran.append(kind)
    assert ran.count("python") >= 4
    assert ran.count("sh") >= 4
    assert (tmp_path / "pictures" / "platelet-em-50-z002.png").is_file()


def test_the_queries_of_three_libraries_agree_with_the_archive(
    full_archives, full_size, tmp_path, monkeypatch
):
    (tmp_path / "repo").symlink_to(full_size)
    monkeypatch.chdir(tmp_path)
    readme = (ROOT / "README.md").read_text("utf-8")
    section = readme.split("## Query with pandas, Polars or DuckDB\n")[1]
    answers = {}
    for _, code in BLOCK.findall(section.split("\n## ")[0]):
        names = {}
        exec(compile(code, "README.md", "exec"), names)
        found = names["large"]
        library = next(name for name in ("pandas", "polars", "duckdb") if name in code)
        answers[library] = sorted(zip(found["id"].to_list(), found["area"].to_list(), strict=True))
    expected = large_organelles(full_archives, z=10, class_id=3, area=500)
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


def test_the_rle_code_of_the_card_runs_without_this_project(
    repository, publication, plain_packages, tmp_path
):
    text = (repository / "README.md").read_text().split("### Decoding an RLE string")[1]
    code = BLOCK.search(text)[2]
    assert len(code.splitlines()) == 6
    (tmp_path / "code.py").write_text(code)
    truth = publication.volumes["50"].organelle
    np.save(tmp_path / "truth.npy", truth)
    paths = [repository, tmp_path / "code.py", tmp_path / "truth.npy"]
    out = plain.run(plain_packages, PROGRAMS / "decode_by_card.py", *paths, **WITHOUT_TORCH)
    assert out.split() == [str(len(truth))]
