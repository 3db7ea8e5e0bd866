import numpy as np
import pytest

from _platelet_em.arrays.shape import parse_shape
from _platelet_em.errors import ArgumentError, LabelFormatError

NAME = "labels: shape"


@pytest.mark.parametrize("shape", [[50, 800, 800], (1,), [0, 5], np.array([2, 3]), [2**61 - 1]])
def test_shapes_are_tuples_of_python_integers(shape):
    found = parse_shape(shape, NAME)
    assert found == tuple(int(n) for n in shape)
    assert {type(n) for n in found} == {int}


@pytest.mark.parametrize(
    "shape",
    [
        *(None, 5, "12", b"12", {1: 2}, [], [-1, 3], [2.0], ["3"], [True], [np.True_], [None]),
        *([[1]], [np.array([1, 2])], [1] * 9, [2**62], [2**31, 2**31], [0, 2**62], [2**62, 0]),
    ],
)
def test_other_shapes_are_refused(shape):
    message = rf"^{NAME}: expected a list of extents, such as \[50, 800, 800\], got ."
    with pytest.raises(LabelFormatError, match=message):
        parse_shape(shape, NAME)


def test_an_endless_shape_is_refused_without_reading_it():
    with pytest.raises(LabelFormatError, match=r"expected a list of extents, .* got <generator"):
        parse_shape((1 for _ in iter(int, 1)), NAME)


@pytest.mark.parametrize("shape", [(4, 5), (1, 1, 1)])
def test_a_caller_states_the_number_of_axes_and_the_smallest_extent(shape):
    assert parse_shape(shape, "stride", axes=(2, 3), minimum=1) == shape


@pytest.mark.parametrize("shape", [(4,), (4, 5, 6, 7), (4, 0), (4, 5, -1), 4, (4, 0.5)])
def test_a_shape_outside_what_a_caller_states_is_refused(shape):
    message = r"^stride: expected 2 or 3 extents of at least 1, such as \[50, 800, 800\], got "
    with pytest.raises(ArgumentError, match=message):
        parse_shape(shape, "stride", axes=(2, 3), minimum=1, error=ArgumentError)
