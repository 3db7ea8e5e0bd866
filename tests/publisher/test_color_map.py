"""The publisher's color map, against matplotlib, and what it loses, against the labels."""

import numpy as np
import pytest
from matplotlib import colormaps

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.publisher.color_map import color_map, find_lost_ids, is_mapped, mapped_colors

JET = colormaps["jet"](np.arange(256), bytes=True)[:, :3]


def grid(count, side=23, depth=2):
    """Labels 1 to count, each 2 x 2 pixels in all slices, none next to another."""
    labels = np.zeros((depth, 3 * side, 3 * side), np.int32)
    for i in range(count):
        y, x = divmod(i, side)
        labels[:, 3 * y : 3 * y + 2, 3 * x : 3 * x + 2] = i + 1
    return labels


def write_and_read(labels):
    """The labels that a file of mapped colors holds, and their colors, in order of appearance."""
    lut = np.zeros((labels.max() + 1, 3), np.int64)
    lut[1:] = JET[np.minimum(np.arange(1, len(lut)) * 256 // (len(lut) - 1), 255)]
    lut[(lut == JET[0]).all(axis=1)] = 0
    colors = list(dict.fromkeys(map(tuple, lut[labels[labels > 0]].tolist())))
    colors = [color for color in colors if any(color)]
    ids = np.array([colors.index(tuple(c)) + 1 if c.any() else 0 for c in lut])
    return ids[labels], np.array(colors)


def test_the_color_map_is_that_of_matplotlib():
    assert np.array_equal(color_map(), JET)


@pytest.mark.parametrize(
    ("ids", "colors", "lost"),
    [(6, 6, 0), (199, 197, 0), (244, 241, 0), (256, 252, 0), (257, 252, 1), (476, 252, 1)],
)
def test_as_many_colors_as_the_publisher_writes(ids, colors, lost):
    found = mapped_colors(np.arange(1, ids + 1))
    assert len(np.unique(found[found.any(axis=1)], axis=0)) == colors
    assert (~found.any(axis=1)).sum() == lost


def test_losses_are_counted():
    labels = grid(476)
    found, colors = write_and_read(labels)
    losses = find_lost_ids(
        LazyLabels.from_array(found), colors, LazyLabels.from_array(2 * (labels > 0)), 2
    )
    sharing = np.bincount(np.unique(np.stack([found, labels]).reshape(2, -1), axis=1)[0])
    shared = sharing[1:][sharing[1:] > 1]
    assert (losses.shared, losses.shared_pieces) == (len(shared), shared.sum())
    assert (losses.background_pieces, losses.background_voxels) == (1, 8)
    assert "1 objects or parts of them (8 voxels) are background" in str(losses)


def test_a_color_of_two_entries_of_the_map_may_be_two_ids():
    found, colors = write_and_read(grid(199))
    losses = find_lost_ids(LazyLabels.from_array(found), colors, None, 2)
    assert (losses.colors, losses.shared, losses.shared_pieces) == (197, 1, 3)
    assert losses.background_pieces == 0


def test_a_file_without_losses_has_none():
    labels = grid(20)
    found, colors = write_and_read(labels)
    semantic = LazyLabels.from_array(2 * (labels > 0))
    assert find_lost_ids(LazyLabels.from_array(found), colors, semantic, 2) is None
    assert find_lost_ids(LazyLabels.from_array(found), None, semantic, 2) is None


def empty_slice(found):
    found[1] = 0


def outside_of_the_classes(found):
    found[0, -1, -1] = 3


@pytest.mark.parametrize("damage", [empty_slice, outside_of_the_classes])
def test_damage_is_not_explained_by_the_color_map(damage):
    labels = grid(476)
    found, colors = write_and_read(labels)
    damage(found)
    losses = find_lost_ids(
        LazyLabels.from_array(found), colors, LazyLabels.from_array(2 * (labels > 0)), 2
    )
    assert losses.background_pieces == 0


def test_other_colors_are_not_those_of_the_map():
    assert is_mapped(JET[1:])
    assert not is_mapped(np.array([[1, 2, 3]]))
    assert not is_mapped(JET[:1])
    assert not is_mapped(np.empty((0, 3), np.int64))
