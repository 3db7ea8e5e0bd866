"""Shapes and places of the synthetic cells and organelles."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from _platelet_em.sample.anatomy import CELL, MARGIN, Random, Solid, Stream, place_parts

SHAPE = (40, 50)
ROWS = range(SHAPE[0])
NO_NOISE = np.zeros(SHAPE, np.float32)

solids = st.builds(
    Solid,
    center=st.tuples(st.floats(-8, 8), st.floats(-20, 60), st.floats(-20, 70)),
    axis=st.floats(0, 2 * math.pi).map(lambda turn: (math.sin(turn), math.cos(turn))),
    radii=st.tuples(st.floats(1, 20), st.floats(1, 40), st.floats(1, 40)),
    drift=st.tuples(st.floats(-3, 3), st.floats(-3, 3)),
    bend=st.floats(-0.3, 0.3),
    taper=st.floats(-0.3, 0.3),
    square=st.floats(0, 1.5),
)
bands = st.lists(st.sampled_from(range(SHAPE[0] + 1)), min_size=2, max_size=2, unique=True)


def field_of_slice(solid, z):
    y, x = np.ogrid[: SHAPE[0], : SHAPE[1]]
    return solid.field(z, y.astype(np.float32), x.astype(np.float32))


@settings(deadline=None)
@given(solid=solids, reach=st.floats(1, 1.5), band=bands.map(sorted))
def test_a_cut_has_the_field_wherever_it_is_below_the_reach(solid, reach, band):
    expected = field_of_slice(solid, 0)
    cut = solid.cut(0, range(*band), NO_NOISE, reach)
    outside = np.zeros(SHAPE, bool)
    outside[slice(*band)] = True
    if cut is not None:
        window, field = cut
        np.testing.assert_array_equal(field, expected[window])
        assert field.dtype == np.float32
        assert field.size
        assert outside[window].all()
        outside[window] = False
    assert (expected[outside] > reach - 1e-3).all()


def test_a_cut_is_close_around_a_slanted_solid():
    solid = Solid(center=(0, 100, 100), axis=(0.8, 0.6), radii=(5, 100, 20))
    noise = np.zeros((200, 200), np.float32)
    cuts = [solid.cut(0, range(top, top + 20), noise, 1.0) for top in range(0, 200, 20)]
    fields = [field for _, field in filter(None, cuts)]
    inside = sum(np.count_nonzero(field < 1) for field in fields)
    assert 0 < inside <= sum(field.size for field in fields) < 2.5 * inside


def test_noise_moves_the_outline_by_its_weight():
    solid = Solid(center=(0, 20, 25), axis=(0, 1), radii=(5, 15, 15), wave=0.2)
    _, quiet = solid.cut(0, ROWS, NO_NOISE, 1.6)
    _, moved = solid.cut(0, ROWS, NO_NOISE + 1, 1.6)
    np.testing.assert_allclose(moved - quiet, 0.2, rtol=1e-5)


def test_streams_of_different_keys_differ_and_the_same_key_repeats():
    first = {stream: Random(3, stream).uniform(4, 0, 1).tolist() for stream in Stream}
    assert len({tuple(numbers) for numbers in first.values()}) == len(Stream) == 11
    assert Random(3, Stream.CELLS).uniform(4, 0, 1).tolist() == first[Stream.CELLS]


@pytest.mark.parametrize("count", [1, 2, 100_001])
def test_random_numbers_have_the_stated_ranges_and_moments(count):
    uniform = Random(1).uniform(count, -2, 6)
    triangular = Random(1).triangular(count)
    assert uniform.shape == triangular.shape == (count,)
    assert (uniform.dtype, triangular.dtype) == (np.float64, np.float32)
    assert uniform.min() >= -2
    assert uniform.max() < 6
    assert abs(triangular).max() < 6**0.5
    if count > 2:
        assert abs(uniform.mean() - 2) < 0.05
        assert abs(triangular.mean()) < 0.02
        assert abs(triangular.std() - 1) < 0.02


@pytest.mark.parametrize(("shape", "seed"), [((1, 1, 1), 0), ((3, 48, 64), 1), ((9, 300, 300), 2)])
def test_every_organelle_starts_inside_the_cell_that_owns_it(shape, seed):
    parts = place_parts(shape, seed)
    first_parts = {part.organelle: part for part in reversed(parts) if part.organelle}
    assert first_parts
    for part in first_parts.values():
        owner = parts[part.cell - 1]
        assert owner.label == CELL
        assert owner.solid.field(*(np.array([c]) for c in part.solid.center))[0] < MARGIN


def test_cells_come_first_and_numbers_count_from_one():
    parts = place_parts((9, 300, 300), 2)
    cells = [part for part in parts if not part.organelle]
    assert parts[: len(cells)] == cells
    assert [cell.cell for cell in cells] == list(range(1, len(cells) + 1))
    numbers = [part.organelle for part in parts[len(cells) :]]
    assert numbers == sorted(numbers)
    assert set(numbers) == set(range(1, numbers[-1] + 1))
