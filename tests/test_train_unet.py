"""The training example: it runs, writes what it says, and its figures are right."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from _platelet_em.labels import LazyLabels

SCRIPT = Path(__file__).parents[1] / "examples" / "train_unet.py"


def run(*arguments):
    """The script as a process of its own."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    return subprocess.run(
        [sys.executable, SCRIPT, *map(str, arguments)],
        check=False,
        capture_output=True,
        text=True,
        env=environment,
    )


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("train_unet", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What a short run printed, and the folder that it wrote."""
    out = tmp_path_factory.mktemp("trained")
    done = run("--sample", 5, 160, "--steps", 3, "--out", out)
    assert done.returncode == 0, done.stderr
    return done.stdout, out


def test_prints_all_figures_beside_the_baseline(trained):
    printed, out = trained
    record = json.loads((out / "metrics.json").read_text())
    figures = record["figures"]
    assert {*list(figures)[:6]} == {
        "mean IoU",
        "organelle mean IoU",
        "adjusted Rand index, cells",
        "adjusted Rand index, organelles",
        "PQ, cells",
        "PQ, organelles",
    }
    assert len(figures) == 6 + 7 + 4
    for name in figures:
        cells = [record[kind][name] for kind in ("figures", "baseline")]
        words = ["absent" if np.isnan(cell) else f"{cell:.3f}" for cell in cells]
        assert f"\n{name:<32} {words[0]:>7} {words[1]:>9}\n" in printed


def test_writes_both_pictures_and_the_network(trained, example):
    import torch

    out = trained[1]
    for name in ("learning_curve.png", "prediction.png"):
        with Image.open(out / name) as picture:
            assert min(picture.size) > 500
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 50
    model = example.UNet(example.CONTEXT, 7)
    model.load_state_dict(torch.load(out / "unet.pt"))


def test_same_seed_same_loss(trained, tmp_path):
    run("--sample", 5, 160, "--steps", 3, "--out", tmp_path)
    first, second = (
        json.loads((out / "metrics.json").read_text()) for out in (trained[1], tmp_path)
    )
    assert len(first["losses"]) == 3
    assert first["losses"] == second["losses"]
    assert list(first["checks"]) == ["1", "2", "3"]


def test_bad_data_dir_is_one_sentence(tmp_path):
    done = run("--data-dir", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert "nowhere" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_help_has_examples():
    done = run("--help")
    assert "examples:\n" in done.stdout
    assert "doi.org/10.1038/s41598-021-81590-0" in done.stdout


def test_iou_by_hand_leaves_out_what_neither_has(example):
    truth = np.uint8([0, 0, 0, 1, 1, 2, 2, 2])
    found = np.uint8([0, 0, 1, 1, 1, 2, 3, 0])
    ious = example.class_ious(truth, found)
    assert ious == pytest.approx({0: 2 / 4, 1: 2 / 3, 2: 1 / 3, 3: 0})
    means = example.mean_ious(truth, found)
    assert means == pytest.approx({"all": 1.5 / 4, "organelles": 1 / 6})
    assert np.isnan(example.mean_ious(truth[:5], found[:5])["organelles"])


def test_panoptic_quality_by_hand(example):
    #                 match: 4 of 5  missed   found where nothing is
    truth = np.array([7, 7, 7, 7, 7, 9, 9, 9, 0, 0, 0, 0])
    kinds = np.array([1, 1, 1, 1, 1, 2, 2, 2, 0, 0, 0, 0])
    found = np.array([1, 1, 1, 1, 0, 2, 0, 0, 0, 3, 3, 0])
    found_kinds = np.array([1, 1, 1, 1, 0, 2, 0, 0, 0, 1, 1, 0])
    scores = example.panoptic_qualities(truth, kinds, found, found_kinds)
    # Kind 1: one match of IoU 0.8, one false positive. Kind 2: an IoU of 1/3 is no match.
    assert scores == pytest.approx({1: 0.8 / (1 + 0.5), 2: 0})
    assert example.panoptic_qualities(truth * 0, kinds * 0, truth * 0, kinds * 0) == {}


def test_perfect_prediction_has_perfect_figures(example):
    """Two cells, a mitochondrion, and a dense granule whose body and core are one organelle."""
    semantic = np.zeros((4, 20, 40), np.uint8)
    semantic[:, :, :18] = semantic[:, :, 22:] = 1
    cells = semantic * np.where(np.arange(40) < 20, 5, 3).astype(np.int32)
    semantic[:, 5:10, 5:10] = 2
    semantic[:, 5:15, 25:35] = 5
    semantic[:, 8:12, 28:32] = 6
    organelles = np.where(semantic == 2, 4, np.where(semantic > 4, 11, 0)).astype(np.int32)
    lazy = LazyLabels.from_array(organelles)
    classes = LazyLabels(lazy.shape, lazy.ids, lazy.rle, {"class_id": np.array([2, 5])})
    truth = {"semantic": semantic, "cells": cells, "organelles": classes}
    figures, found = example.evaluate(truth, semantic)
    absent = {name for name, value in figures.items() if np.isnan(value)}
    assert absent == {
        "IoU, alpha granule",
        "IoU, canalicular vessel",
        "PQ, alpha granule",
        "PQ, canalicular vessel",
    }
    assert {value for name, value in figures.items() if name not in absent} == {1.0}
    assert len(np.unique(found["cells"])) == len(np.unique(found["organelles"])) == 3

    nothing, _ = example.evaluate(truth, np.ones_like(semantic))
    assert nothing["organelle mean IoU"] == nothing["PQ, organelles"] == 0
    assert nothing["adjusted Rand index, cells"] == 0


def test_specks_are_no_instances(example):
    kinds = np.zeros((3, 20, 20), np.uint8)
    kinds[:, :10, :10] = 1
    kinds[0, 15:17, 15:17] = 1
    kinds[:, :10, 10:] = 2
    found = example.components(kinds)
    assert found[0, 16, 16] == 0
    assert found.dtype == np.int32
    assert len({found[1, 1, 1], found[1, 1, 15], 0}) == 3


def test_predicted_ids_take_those_of_the_truth_for_pictures(example):
    truth = np.array([[0, 8, 8, 8, 0, 0]])
    found = np.array([[0, 0, 2, 2, 0, 1]])
    assert example.like_truth(truth, found).tolist() == [[0, 0, 8, 8, 0, 10]]


def test_network_keeps_the_extent_of_a_window(example):
    import torch

    shares = example.UNet(3, 7)(torch.zeros(2, 3, 32, 48))
    assert shares.shape == (2, 7, 32, 48)
