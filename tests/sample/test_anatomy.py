import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from _platelet_em.sample.anatomy import MARGIN, Random, Solid, Stream, place_anatomy

FLAT = (40, 50)
QUIET = np.zeros(FLAT, np.float32)

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


def whole_field(solid, z):
    y, x = np.ogrid[: FLAT[0], : FLAT[1]]
    return solid.field(z, y.astype(np.float32), x.astype(np.float32))


@settings(deadline=None)
@given(solid=solids, reach=st.floats(1, 1.5))
def test_a_cut_has_the_field_wherever_it_is_below_the_reach(solid, reach):
    expected = whole_field(solid, 0)
    cut = solid.cut(0, QUIET, reach)
    outside = np.ones(FLAT, bool)
    if cut is not None:
        window, field = cut
        np.testing.assert_array_equal(field, expected[window])
        assert field.dtype == np.float32
        outside[window] = False
    assert (expected[outside] > reach - 1e-3).all()


def test_noise_moves_the_outline_by_its_weight():
    solid = Solid(center=(0, 20, 25), axis=(0, 1), radii=(5, 15, 15), wave=0.2)
    _, quiet = solid.cut(0, QUIET, 1.6)
    _, moved = solid.cut(0, QUIET + 1, 1.6)
    np.testing.assert_allclose(moved - quiet, 0.2, rtol=1e-5)


def test_streams_of_different_keys_differ_and_the_same_key_repeats():
    first = {tag: Random(3, tag).many(4, 0, 1).tolist() for tag in Stream}
    assert len({tuple(numbers) for numbers in first.values()}) == len(Stream)
    assert Random(3, Stream.CELLS).many(4, 0, 1).tolist() == first[Stream.CELLS]


@pytest.mark.parametrize(("shape", "seed"), [((1, 1, 1), 0), ((3, 48, 64), 1), ((9, 300, 300), 2)])
def test_every_organelle_starts_inside_the_cell_that_owns_it(shape, seed):
    anatomy = place_anatomy(shape, seed)
    assert anatomy.organelles
    for organelle in anatomy.organelles:
        owner = anatomy.cells[organelle.owner - 1].solid
        center = organelle.parts[0][1].center
        assert owner.field(*(np.array([place]) for place in center))[0] < MARGIN
