"""Attributes of OME-Zarr that files of the other tests do not show."""

import numpy as np
import pytest

from _platelet_em.arrays.colors import ID_COLORS
from _platelet_em.export.job import Objects
from _platelet_em.export.ome_metadata import (
    describe_classes,
    describe_instances,
    multiscales,
    omero,
)
from _platelet_em.export.pyramid import plan_levels
from _platelet_em.facts import PUBLISHED
from _platelet_em.rows.intensity import GrayHistogram


def window(image):
    histogram = GrayHistogram("a")
    histogram.add(np.array(image, np.uint16))
    (channel,) = omero("a", 1, histogram.measure())["omero"]["channels"]
    return channel["window"]


@pytest.mark.parametrize(
    ("image", "start", "end"),
    [([7] * 9, 7, 8), ([0] * 9, 0, 1), ([65535] * 9, 65535, 65536), ([3] * 999 + [9], 3, 9)],
)
def test_the_contrast_of_an_image_with_one_gray_is_not_empty(image, start, end):
    found = window(image)
    assert (found["start"], found["end"]) == (start, end)


@pytest.mark.parametrize(("depth", "middle"), [(1, 0), (2, 1), (50, 25), (51, 25)])
def test_the_middle_slice_is_shown_first(depth, middle):
    histogram = GrayHistogram("a")
    histogram.add(np.array([1, 2]))
    assert omero("a", depth, histogram.measure())["omero"]["rdefs"]["defaultZ"] == middle


def test_the_color_of_an_instance_follows_from_its_id():
    ids = np.array([2, 9, 70_000], np.int32)
    objects = Objects(ids, np.array([5, 6, 7]), {})
    found = describe_instances("0.5", PUBLISHED, "cells", objects)["image-label"]
    assert [each["label-value"] for each in found["colors"]] == ids.tolist()
    expected = [[*ID_COLORS[id_ % 8].tolist(), 255] for id_ in ids.tolist()]
    assert [each["rgba"] for each in found["colors"]] == expected
    assert found["properties"][2] == {"label-value": 70_000, "voxels": 7}


def test_a_class_that_the_dataset_does_not_have_is_listed_if_it_occurs():
    voxels = np.zeros(256, np.int64)
    voxels[[1, 200]] = 8, 3
    found = describe_classes("0.5", PUBLISHED, voxels)["image-label"]
    assert [each["label-value"] for each in found["colors"]] == [*range(7), 200]
    assert found["properties"][7] == {
        "label-value": 200,
        "class_name": "class 200",
        "voxels": 3,
    }
    assert found["properties"][1]["voxels"] == 8


def test_multiscales_have_a_version_of_their_own_in_0_4_only():
    levels = plan_levels((3, 4, 5), (1, 1, 1), 8)
    for version, expected in (("0.4", "0.4"), ("0.5", None)):
        attributes = multiscales(version, "a", levels, unit=None, method="mean")
        (found,) = attributes["multiscales"]
        assert found.get("version") == expected
