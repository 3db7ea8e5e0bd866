from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.measure import label

from _platelet_em.errors import ImageFormatError
from _platelet_em.sample.scene import Scene

FULL_SLICES = (0, 7, 15)

shapes = st.tuples(st.integers(1, 5), st.integers(1, 60), st.integers(1, 60))
seeds = st.integers(0, 2**40)


def slices_of(scene):
    return [scene.slice(z) for z in range(scene.shape[0])]


def runs(labels):
    """Horizontal stretches of one id in C order."""
    flat = np.concatenate([[0], labels.ravel()])
    return int(((flat[1:] != flat[:-1]) & (flat[1:] > 0)).sum())


def slices_by_id(arrays):
    found = {}
    for z, array in enumerate(arrays):
        for identifier in np.unique(array[array > 0]).tolist():
            found.setdefault(identifier, []).append(z)
    return found


def assert_consistent(page, flat):
    assert page.image.shape == page.semantic.shape == flat
    assert page.cells.shape == page.organelles.shape == flat
    assert page.image.dtype == np.uint16
    assert page.semantic.dtype == np.uint8
    assert page.cells.dtype == page.organelles.dtype == np.int32
    assert page.semantic.max() <= 6
    np.testing.assert_array_equal(page.cells > 0, page.semantic > 0)
    np.testing.assert_array_equal(page.organelles > 0, page.semantic >= 2)
    assert (page.cells[page.organelles > 0] > 0).all()


def assert_ids_live_once(arrays):
    lives = slices_by_id(arrays)
    assert sorted(lives) == list(range(1, len(lives) + 1))
    for life in lives.values():
        assert life == list(range(life[0], life[-1] + 1))


@pytest.fixture(scope="module")
def full():
    scene = Scene((16, 800, 800), 0)
    return [scene.slice(z) for z in FULL_SLICES]


@pytest.fixture(scope="module")
def volume():
    return slices_of(Scene((60, 160, 200), 3))


@settings(max_examples=40, deadline=None)
@given(shape=shapes, seed=seeds)
def test_labels_agree_and_ids_are_consecutive_for_any_shape_and_seed(shape, seed):
    pages = slices_of(Scene(shape, seed))
    for page in pages:
        assert_consistent(page, shape[1:])
    assert_ids_live_once([page.cells for page in pages])
    assert_ids_live_once([page.organelles for page in pages])


def test_labels_agree_in_a_full_slice(full):
    for page in full:
        assert_consistent(page, (800, 800))


def test_ids_keep_to_one_range_of_slices_of_a_deep_volume(volume):
    assert_ids_live_once([page.cells for page in volume])
    assert_ids_live_once([page.organelles for page in volume])


def test_objects_start_end_and_live_over_several_slices(volume):
    for kind in ("cells", "organelles"):
        lives = slices_by_id([getattr(page, kind) for page in volume]).values()
        assert np.mean([len(life) for life in lives]) > 5
        assert any(life[0] > 0 for life in lives)
        assert any(life[-1] < len(volume) - 1 for life in lives)


def test_outlines_change_smoothly_from_slice_to_slice(volume):
    changed = [((a.cells > 0) != (b.cells > 0)).mean() for a, b in pairwise(volume)]
    assert 0 < np.mean(changed) < 0.1


def test_an_organelle_stays_in_one_cell(volume):
    owners = {}
    for page in volume:
        marked = page.organelles > 0
        for organelle, cell in set(
            zip(page.organelles[marked].tolist(), page.cells[marked].tolist(), strict=True)
        ):
            owners.setdefault(organelle, set()).add(cell)
    assert {len(cells) for cells in owners.values()} == {1}


@settings(max_examples=10, deadline=None)
@given(shape=shapes, seed=seeds, data=st.data())
def test_a_slice_depends_on_nothing_but_shape_seed_and_z(shape, seed, data):
    order = data.draw(st.permutations(range(shape[0])))
    scene, other = Scene(shape, seed), slices_of(Scene(shape, seed))
    for z in order:
        page = scene.slice(z)
        for name in ("image", "semantic", "cells", "organelles"):
            assert getattr(page, name).tobytes() == getattr(other[z], name).tobytes()


def test_seeds_give_different_scenes():
    a, b = (Scene((1, 60, 60), seed).slice(0) for seed in (1, 2))
    assert (a.semantic != b.semantic).any()
    assert (a.image != b.image).mean() > 0.9


@pytest.mark.parametrize("seed", range(5))
def test_a_tiny_scene_has_a_cell_with_organelles_of_several_kinds(seed):
    pages = slices_of(Scene((3, 48, 64), seed))
    assert max(page.cells.max() for page in pages) >= 1
    kinds = set().union(*(np.unique(page.semantic).tolist() for page in pages))
    assert len(kinds & {2, 3, 4, 5, 6}) >= 3


def test_shares_and_numbers_of_a_full_slice_are_near_the_real_ones(full):
    shares = np.mean([np.bincount(p.semantic.ravel(), minlength=7) for p in full], axis=0) / 6400
    assert 20 < shares[0] < 45
    assert 45 < shares[1] < 72
    assert 0.3 < shares[2] < 1.5
    assert 2.5 < shares[3] < 6.5
    assert 2.5 < shares[4] < 5.5
    assert 0 < shares[5] < 0.5
    assert 0 < shares[6] < 0.1
    for page in full:
        assert 10 <= len(np.unique(page.cells)) - 1 <= 26
        assert 60 <= len(np.unique(page.organelles)) - 1 <= 150
        assert 2_500 < runs(page.cells) < 5_500
        assert 1_700 < runs(page.organelles) < 4_500


def pieces_per_cell(page):
    pieces = label(page.cells, background=0, connectivity=2).max()
    return pieces / (len(np.unique(page.cells)) - 1)


def test_most_cells_of_a_slice_are_in_one_piece(full):
    assert max(pieces_per_cell(page) for page in full) <= 1.5


def test_cells_one_above_the_other_do_not_mix_where_one_follows_the_other():
    scene = Scene((50, 800, 800), 0)
    assert max(pieces_per_cell(scene.slice(z)) for z in range(15, 19)) <= 1.5


def test_some_cells_touch_the_border_and_some_each_other(full):
    touching = 0
    for page in full:
        a, b = page.cells[:, 1:], page.cells[:, :-1]
        touching += int(((a != b) & (a > 0) & (b > 0)).sum())
        edge = np.concatenate([page.cells[0], page.cells[-1], page.cells[:, 0], page.cells[:, -1]])
        assert len(np.unique(edge[edge > 0])) >= 3
    assert touching > 0


def test_a_dense_granule_is_one_organelle_and_some_organelle_has_two_other_classes():
    pages = slices_of(Scene((8, 200, 200), 0))
    classes = {}
    for page in pages:
        marked = page.organelles > 0
        for organelle, kind in set(
            zip(page.organelles[marked].tolist(), page.semantic[marked].tolist(), strict=True)
        ):
            classes.setdefault(organelle, set()).add(kind)
    assert {5, 6} in classes.values()
    assert {3, 4} in classes.values()
    assert all(kinds <= {5, 6} for kinds in classes.values() if 6 in kinds)


def test_grey_values_follow_the_classes_and_fill_the_range(full):
    image = np.stack([page.image for page in full]).astype(np.float64)
    semantic = np.stack([page.semantic for page in full])
    mean = [image[semantic == kind].mean() for kind in range(7)]
    assert mean[2] < mean[3] < mean[1] < mean[4] < mean[0]
    assert mean[6] < mean[5] < mean[1]
    assert 0 < (image == 0).mean() < 0.005
    assert 0 < (image == 65535).mean() < 0.005
    assert 9_000 < image.std() < 18_000


def test_noise_of_the_background_reaches_about_a_pixel_and_further_along_x(full):
    page = full[0]
    y, x = np.nonzero(page.cells[4:-4, 4:-4] == 0)
    y, x = y + 4, x + 4
    clear = np.ones(len(y), bool)
    for dy in range(-4, 5):
        for dx in range(-4, 5):
            clear &= page.cells[y + dy, x + dx] == 0
    y, x = y[clear], x[clear]
    image = page.image.astype(np.float64)
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
    with pytest.raises(IndexError, match="of a scene of 2 slices"):
        Scene((2, 8, 8), 0).slice(z)
