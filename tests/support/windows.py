"""Windows compared with dense arrays, and volumes for samplers."""

import datasets
import numpy as np
from hypothesis import strategies as st

import platelet_em
from _platelet_em.training.geometry import InstanceBoxes, VolumeExtent

SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))

TRUTH = {"image": "images", "semantic": "semantic", "cells": "cell", "organelles": "organelle"}
"""Column of a window -> attribute of `publisher.Volume`."""
DTYPES = {"image": np.uint16, "semantic": np.uint8, "cells": np.int32, "organelles": np.int32}


def check_window(volumes, window, shape, label_shape=None):
    """Compare a window with np.pad of the dense arrays.

    `volumes` is {name: publisher.Volume}; `shape` and `label_shape` are those of the sampler.
    """
    for column in window.keys() & TRUTH:
        array = getattr(volumes[window["volume"]], TRUTH[column])
        extent = shape if column == "image" else label_shape or shape
        size = (1,) * (3 - len(extent)) + tuple(extent)
        begin = list(window["corner"])
        if column == "image" and label_shape is not None:
            for axis in range(-len(shape), 0):
                begin[axis] -= (shape[axis] - label_shape[axis]) // 2
        pad = [
            (max(-first, 0), max(first + length - end, 0))
            for first, length, end in zip(begin, size, array.shape, strict=True)
        ]
        region = tuple(
            slice(first + before, first + before + length)
            for first, length, (before, _) in zip(begin, size, pad, strict=True)
        )
        expected = np.pad(array, pad, mode="reflect")[region]
        found = window[column]
        assert type(found) is np.ndarray
        assert (found.shape, found.dtype) == (tuple(extent), DTYPES[column])
        assert np.array_equal(found.reshape(size), expected), (column, window["corner"])
        assert found.flags.writeable
        assert found.flags.c_contiguous


def position(window):
    """(Volume, z, y, x) of a window."""
    return (window["volume"], *window["corner"])


def positions(stream):
    return [position(window) for window in stream]


def volume_with(*instances, shape=(10, 40, 60)):
    """A volume with instances (bounding box, area, class)."""
    boxes, areas, classes = map(np.array, zip(*instances, strict=True))
    return VolumeExtent("50", shape, InstanceBoxes(boxes, areas, classes))


def locate_all(sampler, *volumes, epoch=0):
    """(Position of the volume, corner) of each window of an epoch."""
    plan = sampler.plan(volumes)
    return [plan.locate(index, epoch) for index in range(plan.count)]


def make_windows(count):
    """Random windows of a small volume made here."""
    labels = np.arange(40**3, dtype=np.int32).reshape(40, 40, 40)
    row = {"volume": "50", "cells": platelet_em.LazyLabels.from_array(labels)}
    source = datasets.IterableDataset.from_generator(lambda: iter([row]))
    sampler = platelet_em.RandomWindows((2, 8, 8), count)
    return platelet_em.windows(source, sampler, columns=["cells"])
