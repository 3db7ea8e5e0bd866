"""What samplers have in common: arguments, and golden windows of a seed."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import support
from support.windows import volume_with

from _platelet_em.errors import ArgumentError
from _platelet_em.training.geometry import VolumeExtent
from platelet_em import GridWindows, RandomWindows, StratifiedWindows

FILE = Path(support.__file__).parents[1] / "golden" / "windows.json"
GOLDEN = json.loads(FILE.read_text("utf-8"))
"""Sampler, volumes, epoch -> index, position of the volume and corner of windows, as of 0.1.0."""

# --- arguments --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "shape", [(4,), (1, 2, 3, 4), (0, 4), (4, -1), (1.5, 2), (np.inf, 2), 7, "ab", None]
)
def test_invalid_shapes_are_refused(shape):
    for make in (
        GridWindows,
        lambda shape: RandomWindows(shape, 1),
        lambda shape: StratifiedWindows(shape, (1, 1)),
    ):
        with pytest.raises(ArgumentError, match="shape: expected 2 or 3 extents of at least 1"):
            make(shape)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"label_shape": (4, 9)}, r"label_shape: expected extents of at most \(8, 8\)"),
        ({"label_shape": (1, 4, 4)}, "label_shape: expected 2 extents"),
        ({"pad": "edge"}, "pad: expected 'margin', 'reflect', or None"),
        ({"count": 0}, "count: expected at least 1, got 0"),
        ({"count": 1.5}, "count: expected an integer, got 1.5"),
        ({"count": True}, "count: expected an integer, got True"),
        ({"count": 2**63}, "count: expected at most 9223372036854775807, got 9223372036854775808"),
        ({"seed": -1}, "seed: expected at least 0, got -1"),
        ({"min_foreground": 1.01}, "min_foreground: expected a share"),
        ({"min_foreground": float("nan")}, "min_foreground: expected a share"),
        ({"min_foreground": "0.5"}, "min_foreground: expected a share"),
        ({"class_weights": [0] * 7}, "class_weights: expected weights, one per class"),
        ({"class_weights": {3: -1}}, "class_weights: expected weights, one per class"),
        ({"class_weights": {3: float("inf")}}, "class_weights: expected weights, one per class"),
        ({"class_weights": [1e308] * 7}, "class_weights: expected weights.*with a finite sum"),
        ({"class_weights": {-1: 1}}, "class_weights: class: expected at least 0, got -1"),
        ({"class_weights": {"3": 1}}, "class_weights: class: expected an integer, got '3'"),
        ({"foreground": ["cells"]}, "foreground: expected the name of a column"),
        ({"class_weights": "abcdefg"}, "class_weights: expected weights, one per class"),
        ({"class_weights": 3}, "class_weights: expected weights, one per class"),
    ],
)
def test_invalid_arguments_are_refused(options, message):
    with pytest.raises(ArgumentError, match=message):
        RandomWindows(**{"shape": (8, 8), "count": 1, **options})


@pytest.mark.parametrize("stride", [(9, 8), (4, 5), (1, 1, 1), (0, 1)])
def test_strides_that_leave_gaps_are_refused(stride):
    with pytest.raises(ArgumentError, match="stride: expected"):
        GridWindows((8, 8), stride=stride, label_shape=(4, 4))


def test_samplers_are_frozen_comparable_and_hashable():
    one = RandomWindows([8, 8], np.int64(3), class_weights={3: 1})
    assert one == RandomWindows((8, 8), 3, class_weights={np.int64(3): 1.0})
    listed = RandomWindows((8, 8), 3, class_weights=[0, 0, 0, 1, 0, 0, 0])
    assert one.of_classes(7) == listed == listed.of_classes(7)
    assert len({one, RandomWindows((8, 8), 3), GridWindows((8, 8)), GridWindows([8, 8])}) == 3
    with pytest.raises(dataclasses.FrozenInstanceError, match="shape"):
        one.shape = (9, 9)


# --- windows of a seed ------------------------------------------------------------------------

THREE = ((0, 0, 0, 2, 4, 4), 32, 2), ((5, 30, 50, 7, 33, 52), 9, 6), ((8, 0, 0, 9, 2, 2), 4, 6)
VOLUMES = [
    volume_with(*THREE),
    dataclasses.replace(volume_with(*THREE, shape=(7, 30, 30)), name="24"),
    dataclasses.replace(volume_with(*THREE, shape=(3, 50, 20)), name="x"),
]
SAMPLERS = {
    "random": RandomWindows((2, 5, 5), 9, seed=7),
    "random plane": RandomWindows((8, 12), 9, (4, 8)),
    "random inner": RandomWindows((3, 9, 9), 9, (1, 4, 4), seed=3, pad=None),
    "random classes": RandomWindows((2, 6, 6), 9, seed=1, class_weights={0: 1, 2: 1, 6: 2}),
    "random larger": RandomWindows((12, 60, 9), 9, (11, 9, 5), pad="reflect"),
    "grid": GridWindows((3, 20, 25), pad="reflect"),
    "grid overlap": GridWindows((5, 30, 25), (2, 10, 20), (3, 20, 20), pad="reflect"),
}


@pytest.mark.parametrize("case", GOLDEN)
def test_windows_of_a_seed_never_change(case):
    """A script that is run again years later reads the same windows."""
    name, volumes, epoch = case.split(", ")
    plan = SAMPLERS[name].plan(VOLUMES[:1] if volumes == "one" else VOLUMES)
    for index, volume, *corner in GOLDEN[case]:
        found = plan.locate(index, int(epoch.removeprefix("epoch ")))
        assert found == (volume, tuple(corner))


def test_every_sampler_is_golden():
    assert {case.split(", ")[0] for case in GOLDEN} == {*SAMPLERS}
    assert len(GOLDEN) == len(SAMPLERS) * 2 * 3


@pytest.mark.parametrize("pad", ["margin", None])
@pytest.mark.parametrize(
    "make",
    [
        lambda shape, **options: RandomWindows(shape, 3, **options),
        GridWindows,
        lambda shape, **options: StratifiedWindows(shape, (1, 1, 1), **options),
    ],
)
def test_windows_larger_than_the_volume_are_refused_unless_they_are_mirrored(make, pad):
    volume = VolumeExtent("50", (4, 6, 8))
    message = r"volume 50: an image window of 7 does not fit into 6 voxels along y; .*'reflect'"
    for options in ({}, {"label_shape": (1, 1, 1)}):
        with pytest.raises(ArgumentError, match=message):
            make((2, 7, 2), pad=pad, **options).plan([volume])
        assert make((2, 7, 2), pad="reflect", **options).plan([volume]).count
