"""Slices of the synthetic scene: their labels agree, and look like the published ones."""

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label

from _platelet_em.errors import ImageFormatError
from _platelet_em.sample.anatomy import FIRST, SECOND
from _platelet_em.sample.scene import Scene, _keep_longest_lives

ARRAYS = ("image", "semantic", "cells", "organelles")

shapes = st.tuples(st.integers(1, 5), st.integers(1, 60), st.integers(1, 60))
seeds = st.integers(0, 2**40)


def slices_of(scene):
    return [scene.slice(z) for z in range(scene.shape[0])]


def count_runs(labels):
    """Stretches of one id in C order."""
    flat = np.concatenate([[0], labels.ravel()])
    return int(((flat[1:] != flat[:-1]) & (flat[1:] > 0)).sum())


def slices_by_id(arrays):
    found = {}
    for z, array in enumerate(arrays):
        for identifier in np.unique(array[array > 0]).tolist():
            found.setdefault(identifier, []).append(z)
    return found


def assert_consistent(drawn, shape):
    assert {getattr(drawn, name).shape for name in ARRAYS} == {shape}
    assert drawn.image.dtype == np.uint16
    assert drawn.semantic.dtype == np.uint8
    assert drawn.cells.dtype == drawn.organelles.dtype == np.int32
    assert drawn.semantic.max() <= 6
    np.testing.assert_array_equal(drawn.cells > 0, drawn.semantic > 0)
    np.testing.assert_array_equal(drawn.organelles > 0, drawn.semantic >= 2)
    assert (drawn.cells[drawn.organelles > 0] > 0).all()


def assert_ids_have_no_gaps(arrays):
    found = slices_by_id(arrays)
    assert sorted(found) == list(range(1, len(found) + 1))
    for slices in found.values():
        assert slices == list(range(slices[0], slices[-1] + 1))


@pytest.fixture(scope="module")
def full():
    """A slice of the published size from each of three scenes."""
    return [Scene((1, 800, 800), seed).slice(0) for seed in range(3)]


@pytest.fixture(scope="module")
def volume():
    return slices_of(Scene((60, 160, 200), 3))


@settings(max_examples=40, deadline=None)
@given(shape=shapes, seed=seeds)
def test_labels_agree_and_ids_are_consecutive_for_any_shape_and_seed(shape, seed):
    slices = slices_of(Scene(shape, seed))
    for drawn in slices:
        assert_consistent(drawn, shape[1:])
    assert_ids_have_no_gaps([drawn.cells for drawn in slices])
    assert_ids_have_no_gaps([drawn.organelles for drawn in slices])


def test_labels_agree_in_a_full_slice(full):
    for drawn in full:
        assert_consistent(drawn, (800, 800))


def test_ids_are_in_one_range_of_slices_of_a_deep_volume(volume):
    assert_ids_have_no_gaps([drawn.cells for drawn in volume])
    assert_ids_have_no_gaps([drawn.organelles for drawn in volume])


@pytest.mark.parametrize("objects", ["cells", "organelles"])
def test_objects_start_and_end_inside_the_volume_and_span_several_slices(volume, objects):
    ranges = slices_by_id([getattr(drawn, objects) for drawn in volume]).values()
    assert np.mean([len(slices) for slices in ranges]) > 5
    assert any(slices[0] > 0 for slices in ranges)
    assert any(slices[-1] < len(volume) - 1 for slices in ranges)


def test_an_object_is_reduced_to_its_longest_range_of_slices():
    # Part 1 is cell 1; 2 and 3 are parts of organelle 1; 4 is organelle 2, which is nowhere; 5 is
    # organelle 3.
    organelles = np.array([0, 0, 1, 1, 2, 3], np.int32)
    slices = [np.array(s, np.int32) for s in ([0, 1, 2], [1, 5], [3, 2, 5], [3, 1], [5, 0], [2])]
    ids = _keep_longest_lives(slices, organelles, np.array([0, 1, 1, 1, 1, 1], np.int32))
    assert ids.tolist() == [0, 0, 1, 1, 0, 2]
    kept = [numbers.tolist() for numbers in slices]
    assert kept == [[0, 1, 1], [1, 5], [3, 2, 5], [3, 1], [1, 0], [1]]


def test_outlines_change_smoothly_from_slice_to_slice(volume):
    changed = [((a.cells > 0) != (b.cells > 0)).mean() for a, b in pairwise(volume)]
    assert 0 < np.mean(changed) < 0.1


def test_an_organelle_stays_in_one_cell(volume):
    owners = {}
    for drawn in volume:
        marked = drawn.organelles > 0
        for organelle, cell in set(
            zip(drawn.organelles[marked].tolist(), drawn.cells[marked].tolist(), strict=True)
        ):
            owners.setdefault(organelle, set()).add(cell)
    assert {len(cells) for cells in owners.values()} == {1}


@settings(max_examples=10, deadline=None)
@given(shape=shapes, seed=seeds, data=st.data())
def test_a_slice_depends_on_nothing_but_shape_seed_and_z(shape, seed, data):
    order = data.draw(st.permutations(range(shape[0])))
    scene, other = Scene(shape, seed), slices_of(Scene(shape, seed))
    for z in order:
        drawn = scene.slice(z)
        for name in ARRAYS:
            assert getattr(drawn, name).tobytes() == getattr(other[z], name).tobytes()


def test_a_scene_is_the_same_on_every_platform():
    drawn = Scene((3, 90, 110), 5).slice(1)
    little = {"image": "<u2", "semantic": "u1", "cells": "<i4", "organelles": "<i4"}
    data = b"".join(getattr(drawn, name).astype(dtype).tobytes() for name, dtype in little.items())
    assert hashlib.sha256(data).hexdigest()[:32] == "adf0ee191d4711825c62c059387dd7dd"


def test_seeds_give_different_scenes():
    a, b = (Scene((1, 60, 60), seed).slice(0) for seed in (1, 2))
    assert (a.semantic != b.semantic).any()
    assert (a.image != b.image).mean() > 0.9


@pytest.mark.parametrize("seed", range(5))
def test_a_tiny_scene_has_a_cell_with_organelles_of_several_classes(seed):
    drawn = slices_of(Scene((3, 48, 64), seed))
    assert max(d.cells.max() for d in drawn) >= 1
    classes = set().union(*(np.unique(d.semantic).tolist() for d in drawn))
    assert len(classes & {2, 3, 4, 5, 6}) >= 3


def test_shares_and_numbers_of_a_full_slice_are_near_the_real_ones(full):
    shares = np.mean([np.bincount(p.semantic.ravel(), minlength=7) for p in full], axis=0) / 6400
    assert 20 < shares[0] < 45
    assert 45 < shares[1] < 72
    assert 0.3 < shares[2] < 1.5
    assert 2.5 < shares[3] < 6.5
    assert 2.5 < shares[4] < 5.5
    assert 0 < shares[5] < 0.5
    assert 0 < shares[6] < 0.2  # in a volume of one slice, the first granule is in it
    for drawn in full:
        assert 10 <= len(np.unique(drawn.cells)) - 1 <= 26
        assert 60 <= len(np.unique(drawn.organelles)) - 1 <= 150
        assert 2_500 < count_runs(drawn.cells) < 5_500
        assert 1_700 < count_runs(drawn.organelles) < 4_500


REAL = {  # of the paper's labels: percent of each class, and pieces of the classes 2 to 6
    "50": ((36.06, 55.26, 0.616, 4.645, 3.118, 0.238, 0.065), (28, 134, 410, 23, 24)),
    "24": ((45.22, 47.89, 1.384, 2.940, 2.411, 0.131, 0.031), (34, 66, 134, 10, 5)),
}


@pytest.mark.long
@pytest.mark.parametrize(("name", "depth", "style"), [("50", 50, FIRST), ("24", 24, SECOND)])
def test_full_volumes_have_about_the_numbers_of_the_real_ones(name, depth, style):
    scene = Scene((depth, 800, 800), ["50", "24"].index(name), style)
    classes = np.stack([scene.slice(z).semantic for z in range(depth)])
    shares, pieces = REAL[name]
    found = 100 * np.bincount(classes.ravel(), minlength=7) / classes.size
    np.testing.assert_allclose(found, shares, rtol=0.4)
    counts = [label(classes == c, connectivity=3).max() for c in range(2, 7)]
    np.testing.assert_allclose(counts, pieces, rtol=0.25)
    sizes = np.bincount(label(classes == 3, connectivity=3).ravel())[1:]
    assert ((sizes < 10).sum() > 10) == (name == "24")  # specks


def pieces_per_cell(drawn):
    pieces = label(drawn.cells, background=0, connectivity=2).max()
    return pieces / (len(np.unique(drawn.cells)) - 1)


def test_most_cells_of_a_slice_are_in_one_piece(full):
    assert max(pieces_per_cell(drawn) for drawn in full) <= 1.5


def test_cells_one_above_the_other_do_not_mix_where_one_follows_the_other():
    assert max(pieces_per_cell(drawn) for drawn in slices_of(Scene((20, 400, 400), 0))) <= 1.25


def test_some_cells_touch_the_border_and_some_each_other(full):
    touching = 0
    for drawn in full:
        a, b = drawn.cells[:, 1:], drawn.cells[:, :-1]
        touching += int(((a != b) & (a > 0) & (b > 0)).sum())
        edge = np.concatenate(
            [drawn.cells[0], drawn.cells[-1], drawn.cells[:, 0], drawn.cells[:, -1]]
        )
        assert len(np.unique(edge[edge > 0])) >= 3
    assert touching > 0


def test_a_dense_granule_is_one_organelle_and_some_organelle_has_two_other_classes():
    slices = slices_of(Scene((8, 200, 200), 0))
    classes = {}
    for drawn in slices:
        marked = drawn.organelles > 0
        for organelle, kind in set(
            zip(drawn.organelles[marked].tolist(), drawn.semantic[marked].tolist(), strict=True)
        ):
            classes.setdefault(organelle, set()).add(kind)
    assert {5, 6} in classes.values()
    assert {3, 4} in classes.values()
    assert all(kinds <= {5, 6} for kinds in classes.values() if 6 in kinds)


def test_gray_values_follow_the_classes_and_fill_the_range(full):
    image = np.stack([drawn.image for drawn in full]).astype(np.float64)
    semantic = np.stack([drawn.semantic for drawn in full])
    mean = [image[semantic == kind].mean() for kind in range(7)]
    assert mean[2] < mean[3] < mean[1] < mean[4] < mean[0]
    assert mean[6] < mean[5] < mean[1]
    assert 0 < (image == 0).mean() < 0.005
    assert 0 < (image == 65535).mean() < 0.005
    assert 9_000 < image.std() < 18_000


def test_noise_of_the_background_reaches_about_a_pixel_and_further_along_x(full):
    drawn = full[0]
    y, x = np.nonzero(drawn.cells[4:-4, 4:-4] == 0)
    y, x = y + 4, x + 4
    clear = np.ones(len(y), bool)
    for dy in range(-4, 5):
        for dx in range(-4, 5):
            clear &= drawn.cells[y + dy, x + dx] == 0
    y, x = y[clear], x[clear]
    image = drawn.image.astype(np.float64)
    near_x, near_y, far = (
        np.corrcoef(image[y, x], image[y + dy, x + dx])[0, 1]
        for dy, dx in ((0, 1), (1, 0), (4, 4))
    )
    assert 0.3 < near_y < near_x < 0.9
    assert far < 0.4


@pytest.mark.parametrize("shape", [(0, 8, 8), (3, 8), (1, 8, -1)])
def test_a_shape_without_three_positive_sizes_is_refused(shape):
    with pytest.raises(ImageFormatError, match="three positive sizes"):
        Scene(shape, 0)


@pytest.mark.parametrize("z", [-1, 2])
def test_a_slice_outside_the_volume_is_refused(z):
    with pytest.raises(IndexError, match=rf"expected a slice from 0 to 1, got {z}"):
        Scene((2, 8, 8), 0).slice(z)
