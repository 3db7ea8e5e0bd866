"""The training example: it runs, writes its files, and its metrics are right."""

import contextlib
import importlib.util
import io
import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import datasets
import numpy as np
import pytest
from PIL import Image
from support.color_vision import DEFICIENCIES, differences
from support.own import CLASSES, FORMS, write_own

import platelet_em
from _platelet_em.arrays.labels import LazyLabels

SCRIPT = Path(__file__).parents[2] / "examples" / "train_unet.py"
SMALLEST = ("--sample", "3", "96", "0", "--steps", "2")
"""One window per slice, and two steps: enough for a learning curve and for a schedule."""


@pytest.fixture(scope="module")
def example():
    spec = importlib.util.spec_from_file_location("train_unet", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def main(example, monkeypatch):
    """Run the script with these arguments, but draw no pictures, which takes most of the time."""
    for name in ("draw_curve", "draw_prediction"):
        monkeypatch.setattr(example, name, lambda *_: None)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", [str(SCRIPT), *map(str, arguments)])
        example.main()

    return call


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """What the script printed, run as a program in this process, and the folder that it wrote."""
    out = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as text:
        patch.setattr(sys, "argv", [str(SCRIPT), *SMALLEST, "--out", str(out)])
        runpy.run_path(str(SCRIPT), run_name="__main__")
    return text.getvalue(), out


def read_metrics(out):
    return json.loads((out / "metrics.json").read_text())


def test_prints_all_metrics(trained):
    printed, out = trained
    metrics = read_metrics(out)
    figures = metrics["figures"]
    assert {*list(figures)[:6]} == {
        "mean IoU",
        "organelle mean IoU",
        "adjusted Rand index, cells",
        "adjusted Rand index, organelles",
        "PQ, cells",
        "PQ, organelles",
    }
    assert len(figures) == 6 + 7 + 4
    means = dict(list(figures.items())[:2])
    assert list(metrics["checks"]) == ["1", "2"]
    assert metrics["checks"]["2"] == means
    assert metrics["train"].keys() == means.keys()
    for name, value in [*figures.items(), *metrics["train"].items()]:
        word = "absent" if np.isnan(value) else f"{value:.3f}"
        assert f"\n{name:<32} {word:>6}\n" in printed


def test_writes_both_pictures_and_the_network(trained, example):
    import torch

    out = trained[1]
    for name in ("learning_curve.png", "prediction.png"):
        with Image.open(out / name) as picture:
            assert min(picture.size) > 500
            assert len(picture.convert("RGB").getcolors(1 << 24)) > 50
    model = example.UNet(example.CONTEXT, 7)
    model.load_state_dict(torch.load(out / "unet.pt"))


def test_the_same_seed_gives_the_same_loss(main, trained, tmp_path):
    main(*SMALLEST, "--out", tmp_path)
    losses = read_metrics(tmp_path)["losses"]
    assert len(losses) == 2
    assert losses == read_metrics(trained[1])["losses"]


@pytest.mark.long
def test_the_same_seed_gives_the_same_loss_in_another_process(main, tmp_path):
    arguments = ("--sample", "5", "160", "0", "--steps", "5", "--out")
    main(*arguments, tmp_path / "here")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, SCRIPT, *arguments, tmp_path / "there"]
    subprocess.run(command, check=True, env=environment)
    here, there = (read_metrics(tmp_path / name)["losses"] for name in ("here", "there"))
    assert len(here) == 5
    assert here == there


@pytest.mark.parametrize("form", FORMS)
def test_own_volumes_are_trained_on(example, monkeypatch, capsys, tmp_path, form):
    own = write_own(tmp_path / "own", form)
    arguments = ["--description", str(own.description), "--steps", "2"]
    monkeypatch.setattr(sys, "argv", [str(SCRIPT), *arguments, "--out", str(tmp_path / "out")])
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    example.main()
    figures = read_metrics(tmp_path / "out")["figures"]
    kind = {"pictures": "particles", "multipage": "cells"}.get(form)
    names = ["background", kind] if kind else CLASSES
    expected = {"mean IoU", "foreground mean IoU", *(f"IoU, {name}" for name in names)}
    of_kind = {f"adjusted Rand index, {kind}", f"PQ, {kind}"} if kind else set()
    assert {*figures} == expected | of_kind
    assert "foreground mean IoU" in capsys.readouterr().out
    with Image.open(tmp_path / "out" / "prediction.png") as picture:
        assert min(picture.size) > 500


def test_a_missing_data_dir_is_one_sentence(main, tmp_path):
    with pytest.raises(SystemExit, match=r"^error: .*nowhere.*$"):
        main("--data-dir", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--steps", "--threads"])
def test_numbers_below_one_are_refused(main, capsys, option):
    with pytest.raises(SystemExit, match=r"^2$"):
        main(option, 0)
    assert f"argument {option}: expected at least 1, got 0" in capsys.readouterr().err


def test_a_folder_that_cannot_be_created_is_an_error_before_training(main, capsys, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match=r"^error: .*file"):
        main(*SMALLEST, "--out", tmp_path / "file")
    assert "mean IoU" not in capsys.readouterr().out


def test_help_has_examples(main, capsys):
    with pytest.raises(SystemExit, match=r"^0$"):
        main("--help")
    printed = capsys.readouterr().out
    assert "examples:\n" in printed
    assert "doi.org/10.1038/s41598-021-81590-0" in printed


def test_archives_and_their_repository_train_alike(main, archives, repository, tmp_path):
    losses = []
    for option, source in (("--data-dir", archives), ("--repo", repository)):
        main(option, source, "--steps", 1, "--out", tmp_path / option)
        losses.append(read_metrics(tmp_path / option)["losses"])
    assert losses[0] == losses[1]


def test_iou_leaves_out_classes_that_neither_contains(example):
    truth = np.uint8([0, 0, 0, 1, 1, 2, 2, 2])
    found = np.uint8([0, 0, 1, 1, 1, 2, 3, 0])
    ious = example.class_ious(truth, found)
    assert ious == pytest.approx({0: 2 / 4, 1: 2 / 3, 2: 1 / 3, 3: 0})
    assert example.mean_ious(ious) == pytest.approx(
        {"mean IoU": 1.5 / 4, "organelle mean IoU": 1 / 6}
    )
    few = example.mean_ious(example.class_ious(truth[:5], found[:5]))
    assert np.isnan(few["organelle mean IoU"])


def test_panoptic_quality_computed_by_hand(example):
    #                 match: 4 of 5  missed   found, but not there
    truth = np.array([7, 7, 7, 7, 7, 9, 9, 9, 0, 0, 0, 0])
    found = np.array([1, 1, 1, 1, 0, 2, 0, 0, 0, 3, 3, 0])
    # One match of IoU 0.8, two false positives, one miss: an IoU of 1/3 is no match.
    assert example.panoptic_quality(truth, found) == pytest.approx(0.8 / (1 + 2 / 2 + 1 / 2))
    assert example.panoptic_quality(truth, truth * 0) == 0
    assert np.isnan(example.panoptic_quality(truth * 0, found * 0))


@pytest.mark.parametrize("seed", range(10))
def test_panoptic_quality_is_that_of_torchmetrics(example, seed):
    import torch
    from torchmetrics.functional.detection import panoptic_quality

    random = np.random.default_rng(seed)
    truth = np.repeat(random.integers(0, 6, 30), random.integers(1, 9, 30))
    found = np.where(random.random(len(truth)) < 0.2, random.integers(0, 6, len(truth)), truth)
    pairs = (
        torch.from_numpy(np.stack([ids > 0, ids], axis=-1).astype(np.int64))[None]
        for ids in (found, truth)
    )
    expected = panoptic_quality(*pairs, things={1}, stuffs={0}, return_per_class=True)[0, 0]
    assert expected > 0
    assert example.panoptic_quality(truth, found) == pytest.approx(float(expected))


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
    truth = {"volume": "24", "semantic": semantic, "cells": cells, "organelles": classes}
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


def test_specks_are_not_instances(example):
    kinds = np.zeros((3, 20, 20), np.uint8)
    kinds[:, :10, :10] = 1
    kinds[0, 15:17, 15:17] = 1
    kinds[:, :10, 10:] = 2
    found = example.components(kinds)
    assert found[0, 16, 16] == 0
    assert found.dtype == np.int32
    assert len({found[1, 1, 1], found[1, 1, 15], 0}) == 3


def test_predicted_ids_in_pictures_are_those_of_the_truth(example):
    truth = np.array([[0, 8, 8, 8, 0, 0]])
    found = np.array([[0, 0, 2, 2, 0, 1]])
    assert example.like_truth(truth, found).tolist() == [[0, 0, 8, 8, 0, 10]]


def test_the_network_keeps_the_shape_of_a_window(example):
    import torch

    shares = example.UNet(3, 7)(torch.zeros(2, 3, 32, 48))
    assert shares.shape == (2, 7, 32, 48)


def test_only_labeled_voxels_of_the_test_volume_count(example):
    truth = np.array([0, 0, 1, 1, 2, 2])
    prediction = np.array([2, 1, 1, 0, 2, 2])
    assert example.scored_ious("test", truth, prediction) == {1: 0.5, 2: 1.0}
    assert example.scored_ious("24", truth, prediction) == pytest.approx(
        {0: 0, 1: 1 / 3, 2: 2 / 3}
    )


def test_the_test_volume_is_evaluated_on_request(main, trained, tmp_path):
    main(*SMALLEST, "--with-test", "--out", tmp_path / "out")
    found = read_metrics(tmp_path / "out")
    assert len(found["test"]) == 2 + 7
    assert np.isnan(found["test"]["IoU, background"])
    assert not np.isnan(found["test"]["IoU, cell"])
    assert "test" not in read_metrics(trained[1])


@pytest.fixture
def truth_and_found():
    """A volume of one slice: half of its background is found to be another cell."""
    semantic = np.zeros((1, 20, 24), np.uint8)
    semantic[:, :10] = 1
    prediction = np.ones_like(semantic)
    prediction[:, 15:] = 0
    prediction[:, 0, :12] = 0
    cells = np.where(semantic > 0, 5, 0)
    found_cells = np.where(prediction > 0, np.where(semantic > 0, 2, 7), 0)
    image = np.arange(480, dtype=np.uint16).reshape(semantic.shape) * 100
    truth = {"volume": "24", "image": image, "semantic": semantic}
    truth |= {"cells": LazyLabels.from_array(cells), "organelles": LazyLabels(cells.shape, [], [])}
    found = {"semantic": prediction, "cells": found_cells, "organelles": np.zeros_like(cells)}
    return truth, found


def test_wrong_pixels_have_a_color_of_their_own(example, truth_and_found):
    truth, found = truth_and_found
    title, picture, _ = example.wrong_panel(truth, found, 0)
    is_wrong = (picture == example.WRONG).all(axis=-1)
    assert np.array_equal(is_wrong, truth["semantic"][0] != found["semantic"][0])
    assert title == "wrong: 27.5% of pixels"
    gray = picture[~is_wrong]
    assert (gray == gray[:, :1]).all()
    assert gray.max() <= 150


def test_unlabeled_pixels_are_not_wrong(example, truth_and_found):
    truth, found = truth_and_found
    title, picture, _ = example.wrong_panel({**truth, "volume": "test"}, found, 0)
    is_wrong = (picture == example.WRONG).all(axis=-1)
    assert np.array_equal(np.argwhere(is_wrong), [(0, x) for x in range(12)])
    assert title == "wrong: 5.0% of labeled pixels"


@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_color_blind_readers_see_what_is_wrong(example, deficiency):
    grays = np.repeat(np.arange(0, 151, 5)[:, None], 3, axis=1)
    apart = differences(np.concatenate([example.WRONG[None], grays]), deficiency)
    assert apart[0].min() > 20
    apart = differences([example.WRONG, *(example.CLASS_COLORS * 255)], deficiency)
    assert apart[0].min() > 12


def test_an_instance_has_one_color_in_truth_and_prediction(example, truth_and_found):
    (_, true, _), (_, found, _) = example.instance_panels(*truth_and_found, "cells", 0)
    assert (true[:10] == true[0, 0]).all()
    assert (found[1:10] == true[0, 0]).all()
    assert found[10:15].any(axis=-1).all()
    assert not (found[10:15] == true[0, 0]).all(axis=-1).any()
    assert not true[10:].any()


def test_a_picture_of_a_volume_without_instances_has_its_classes(
    example, truth_and_found, tmp_path, monkeypatch
):
    truth, found = truth_and_found
    figures = []
    monkeypatch.setattr(example.plt, "close", figures.append)
    example.draw_prediction(tmp_path / "all.png", truth, found)
    classes = {"semantic": found["semantic"]}
    example.draw_prediction(tmp_path / "classes.png", {**truth, "volume": "test"}, classes)
    monkeypatch.undo()
    legends = [[text.get_text() for text in f.legends[0].get_texts()] for f in figures]
    for figure in figures:
        example.plt.close(figure)
    assert [len(figure.axes) for figure in figures] == [8, 4]
    assert legends[0] == [*platelet_em.CLASS_NAMES, "wrong class"]
    assert legends[1] == ["not labeled", *legends[0][1:]]


def test_losses_are_weighed_by_the_square_roots_of_balanced_weights(example):
    semantic = np.uint8([[0, 0, 0, 0], [0, 0, 1, 2]])
    weights = example.loss_weights([{"volume": "50", "semantic": semantic}])
    assert str(weights.dtype) == "torch.float32"
    expected = [(8 / 7 / 6) ** 0.5, (8 / 7) ** 0.5, (8 / 7) ** 0.5, 0, 0, 0, 0]
    np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_the_progress_bar_shows_loss_and_iou(example, main, monkeypatch, tmp_path):
    shown = []

    class Bar(list):
        def __init__(self, batches, **_):
            super().__init__(batches)

        def set_postfix(self, values, refresh):
            shown.append(values)

    monkeypatch.setattr(example, "tqdm", Bar)
    main(*SMALLEST[:-1], "3", "--out", tmp_path)
    metrics = read_metrics(tmp_path)
    for step, values in enumerate(shown, start=1):
        assert values["loss"] == pytest.approx(np.mean(metrics["losses"][:step]))
    assert len(shown) == 3
    assert shown[2]["validation IoU"] == metrics["checks"]["2"]["mean IoU"]
