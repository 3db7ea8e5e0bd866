import copy
import itertools
import operator
import pickle
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra import numpy as hnp
from support import publisher

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.stack import LazyStack

PLANES = [(2, 3), (1, 1), (0, 3), (3, 0), (0, 0)]
OPERATORS = [
    "add", "sub", "mul", "truediv", "floordiv", "mod", "eq", "ne", "lt", "le", "gt", "ge", "and_",
]  # fmt: skip
VOLUMES = [(2, 3, 2), (1, 0, 3), (2, 2, 0)]


class Two:
    """An object that is an index without being a number."""

    def __index__(self):
        return 2


def labels_of(shape):
    """Lazy labels and the dense array that they stand for."""
    dense = (np.arange(np.prod(shape, dtype=int)).reshape(shape) * 7 % 5).astype(np.int32)
    return LazyLabels.from_array(dense), dense


def stack_of(shape):
    """A lazy stack and the dense array that it stands for."""
    dense = (np.arange(np.prod(shape, dtype=int)).reshape(shape) * 7 % 251).astype(np.uint16)
    return LazyStack(list(dense)), dense


def outcome(array, index):
    """All that a caller can see of `array[index]`: the elements, or the exception."""
    try:
        result = array[index]
    except Exception as error:  # noqa: BLE001  # whatever it is, the other array does the same
        return type(error)
    return type(result), result.dtype, result.shape, result.tolist()


def truth(array):
    """`bool(array)`, or what NumPy says why there is none."""
    try:
        return bool(array)
    except ValueError as error:
        return str(error)


def assert_same(lazy, dense, indices):
    wrong = [index for index in indices if outcome(lazy, index) != outcome(dense, index)]
    assert not wrong, f"{len(wrong)} differ, the first is {wrong[0]!r}"


# --- indices ----------------------------------------------------------------------------------


def shown(value):
    """The repr of a parameter without addresses of objects, the same in every process."""
    return re.sub(" at 0x[0-9a-f]+", "", repr(value))


@pytest.mark.parametrize("size", range(5))
def test_every_int_and_slice_of_one_axis(size):
    lazy, dense = labels_of((size,))
    bounds = [None, *range(-size - 2, size + 3)]
    slices = [slice(*s) for s in itertools.product(bounds, bounds, [None, 1, 2, 3, -1, -2, -3])]
    assert_same(lazy, dense, [*range(-size - 2, size + 3), *slices])


@pytest.mark.parametrize("shape", PLANES)
def test_every_short_index_of_a_plane(shape):
    lazy, dense = labels_of(shape)
    parts = [
        0, 1, -1, 2, -3, 4, None, ..., slice(None), slice(1, None), slice(None, None, -1),
        slice(-1, None, -2), slice(1, 1), slice(0, 9, 2), slice(2, 0, -1), slice(-9, -1),
        np.int16(1), slice(None, None, 3), slice(2, None), slice(-2, 9), slice(9, None, -1), True,
    ]  # fmt: skip
    for length in range(4):
        assert_same(lazy, dense, itertools.product(parts, repeat=length))


@pytest.mark.parametrize("make", [labels_of, stack_of])
@pytest.mark.parametrize("shape", VOLUMES)
def test_every_short_index_of_a_volume(make, shape):
    lazy, dense = make(shape)
    parts = [0, -1, 2, None, ..., slice(None), slice(None, None, -2), slice(1, 3)]
    for length in range(5):
        assert_same(lazy, dense, itertools.product(parts, repeat=length))


@pytest.mark.parametrize("make", [labels_of, stack_of])
@pytest.mark.parametrize(
    "index",
    [
        np.int8(-1), np.uint64(1), np.int64(7), Two(), (Two(), slice(None)), np.array(1),
        slice(np.int32(1), np.uint8(3)), slice(Two(), None, np.int16(-1)), (np.intp(2), ..., 1),
    ],
    ids=shown,
)  # fmt: skip
def test_whatever_is_an_index_is_taken_as_one(make, index):
    lazy, dense = make((4, 3, 3))
    assert_same(lazy, dense, [index])


@pytest.mark.parametrize("make", [labels_of, stack_of])
@pytest.mark.parametrize(
    "index",
    [
        True, False, np.True_, (True, 1), (0, np.False_), (None, True, ..., 0), [0, 2], [], [-5],
        [[0, 1], [2, 3]], [True, False, True, False], (0, [1, 2]), ([0, 1], [1, 2]), ([0, 1], 1),
        ([0, 1], slice(None), [1, 2]), (slice(None), [[1], [0]], [0, 2]), (..., [2]), (None, [1]),
        np.array([3, 0], np.uint8), np.array([], int), np.array([], float), np.array(True),
        np.ones((4, 3, 3), bool), np.eye(4, 3, dtype=bool), np.zeros(3, bool), (np.array(1), [0]),
        (np.array([0, 1]), ..., np.array([[1], [0]])),
    ],
    ids=shown,
)  # fmt: skip
def test_bools_and_fancy_indices_give_what_numpy_gives(make, index):
    lazy, dense = make((4, 3, 3))
    assert_same(lazy, dense, [index])


@pytest.mark.parametrize("make", [labels_of, stack_of])
@pytest.mark.parametrize(
    "index",
    [
        1.0, np.float32(1), "a", b"a", ["a"], 1j, object(), {}, (0, 1.5), (..., ...), (0, 0, 0, 0),
        slice(1.0), slice(None, "a"), slice(0, 1, 0), (0, slice(0, 1, 0)), 2**70, -(2**70),
        slice(2**70), slice(-(2**70), 2**70, 2**65), np.array([1.5]), [[0], [1, 2]],
        ([0, 1], [0, 1, 2]), np.array("2020", "M8[Y]"),
    ],
    ids=shown,
)  # fmt: skip
def test_what_is_no_index_fails_as_in_numpy(make, index):
    lazy, dense = make((4, 3, 3))
    assert_same(lazy, dense, [index])


def test_lazy_arrays_serve_as_indices():
    lazy, dense = labels_of((4, 3, 3))
    picks = LazyLabels.from_array([[0, 3], [1, 1]])
    np.testing.assert_array_equal(lazy[picks], dense[np.asarray(picks)])
    np.testing.assert_array_equal(lazy[lazy > 2], dense[dense > 2])


VOLUME = publisher.random_volume((7, 30, 41), 5, organelles=40)
LAZY_LABELS = LazyLabels.from_array(VOLUME.organelle)
LAZY_STACK = LazyStack(list(VOLUME.images))


@given(index=hnp.basic_indices((7, 30, 41), allow_newaxis=True, allow_ellipsis=True))
def test_any_basic_index_of_a_larger_volume(index):
    assert_same(LAZY_LABELS, VOLUME.organelle, [index])
    assert_same(LAZY_STACK, VOLUME.images, [index])


@given(
    index=hnp.basic_indices((30, 41), min_dims=1, allow_newaxis=True)
    | hnp.integer_array_indices((30, 41))
)
def test_any_index_of_a_larger_plane(index):
    dense = VOLUME.cell[3]
    assert_same(LazyLabels.from_array(dense), dense, [index])


def test_what_is_read_can_be_written_to_and_changes_nothing():
    lazy, dense = labels_of((4, 3, 3))
    window = lazy[1:, ::-1]
    window[...] = 99
    whole = np.asarray(lazy)
    whole[...] = 99
    np.testing.assert_array_equal(lazy, dense)
    with pytest.raises(TypeError, match="cannot be changed: assign to an array of it"):
        lazy[0] = 1


# --- the face of an array ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        *itertools.product([labels_of, stack_of], [(2, 3, 4), (1, 1, 1), (3, 0, 2)]),
        (labels_of, (0, 3, 2)),
        (labels_of, (5,)),
        (labels_of, (2, 1, 3, 2)),
    ],
)
def test_extents_are_those_of_the_array(make, shape):
    lazy, dense = make(shape)
    assert (lazy.shape, lazy.ndim, lazy.size, len(lazy), lazy.dtype) == (
        dense.shape, dense.ndim, dense.size, len(dense), dense.dtype,
    )  # fmt: skip


@pytest.mark.parametrize("make", [labels_of, stack_of])
def test_iteration_goes_over_the_first_axis(make):
    lazy, dense = make((4, 3, 2))
    assert [outcome([part], 0) for part in lazy] == [outcome([part], 0) for part in dense]
    assert [type(n) for n in LazyLabels.from_array([3, 0])] == [np.int32, np.int32]


@pytest.mark.parametrize("make", [labels_of, stack_of])
@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 3, 4), (1, 0, 3), (1, 1, 2)])
def test_truth_is_that_of_the_array(make, shape):
    lazy, dense = make(shape)
    assert truth(lazy) == truth(dense)


def test_the_truth_of_one_element_is_its_own():
    assert bool(LazyLabels((1, 1), [4], ["1 1"])) is True
    assert bool(LazyLabels((1, 1), [4], [""])) is False


def test_the_truth_of_a_huge_array_is_refused_without_making_it():
    with pytest.raises(ValueError, match="more than one element is ambiguous"):
        bool(LazyLabels((2**30, 2**30), [4], ["1 1"]))


@pytest.mark.parametrize("make", [labels_of, stack_of])
def test_membership_is_that_of_the_array(make):
    lazy, dense = make((4, 3, 2))
    for value in (0, 1, 3.0, 4, 7, 300, -1, 2.5, np.uint8(2), True, None, "a", np.array(3)):
        assert (value in lazy) == (value in dense), value
    for row in (dense[1], dense[1] + 1000, dense[1:2, :1]):
        assert (row in lazy) == (row in dense)


def test_lazy_arrays_are_not_hashable():
    with pytest.raises(TypeError, match="unhashable type: 'LazyLabels'"):
        hash(LAZY_LABELS)


# --- conversion and operators -----------------------------------------------------------------


@pytest.mark.parametrize("make", [labels_of, stack_of])
@pytest.mark.parametrize("dtype", [None, np.uint8, np.int32, np.uint16, np.int64, np.float32])
def test_conversion_gives_a_new_array_of_the_dtype(make, dtype):
    lazy, dense = make((4, 3, 2))
    for array in (np.asarray(lazy, dtype), np.array(lazy, dtype), lazy.__array__(dtype)):
        assert (type(array), array.dtype) == (np.ndarray, np.dtype(dtype or dense.dtype))
        assert array.flags.writeable
        np.testing.assert_array_equal(array, dense)


def test_conversion_without_a_copy_is_refused():
    with pytest.raises(ValueError, match="a lazy array cannot be converted without a copy"):
        LAZY_LABELS.__array__(copy=False)


@pytest.mark.parametrize("name", OPERATORS)
@pytest.mark.parametrize("make", [labels_of, stack_of])
def test_operators_are_elementwise(name, make):
    apply = getattr(operator, name)
    lazy, dense = make((2, 3, 4))
    other = np.arange(1, 5, dtype=np.int64)
    for result, expected in [
        (apply(lazy, 3), apply(dense, 3)),
        (apply(3 + other, lazy + 1), apply(3 + other, dense + 1)),
        (apply(lazy, other), apply(dense, other)),
        (apply(lazy, lazy + 1), apply(dense, dense + 1)),
        (apply(lazy, LazyLabels.from_array(other)), apply(dense, other.astype(np.int32))),
    ]:
        assert (type(result), result.dtype) == (np.ndarray, expected.dtype)
        np.testing.assert_array_equal(result, expected)


def test_numpy_functions_take_lazy_arrays():
    dense = VOLUME.organelle
    assert np.add.reduce(LAZY_LABELS, axis=None) == np.sum(LAZY_LABELS) == dense.sum()
    np.testing.assert_array_equal(np.negative(LAZY_LABELS), -dense)
    np.testing.assert_array_equal(np.max(LAZY_LABELS, axis=0), dense.max(axis=0))
    np.testing.assert_array_equal(np.unique(LAZY_LABELS), np.unique(dense))
    np.testing.assert_array_equal(
        np.stack([LAZY_LABELS[0], LAZY_LABELS[3]]), np.stack([dense[0], dense[3]])
    )


def test_results_go_into_dense_arrays_only():
    lazy, dense = labels_of((2, 3))
    out = np.zeros((2, 3), np.int32)
    assert np.add(lazy, 1, out=out) is out
    np.testing.assert_array_equal(out, dense + 1)
    with pytest.raises(TypeError, match="NotImplemented"):
        np.add(dense, 1, out=lazy)
    with pytest.raises(TypeError, match="NotImplemented"):
        operator.iadd(lazy, 1)
    with pytest.raises(TypeError, match="NotImplemented"):
        np.add.at(lazy, 0, 1)


def test_a_lazy_array_tells_where_and_at_which_indices_a_function_works():
    counts = np.zeros(5, int)
    picks = LazyLabels.from_array([1, 4, 4])
    np.add.at(counts, picks, 1)
    assert counts.tolist() == [0, 1, 0, 0, 2]
    masks = LazyStack([np.array([[True, False]])])
    out = np.zeros((1, 1, 2), int)
    np.add(out, 5, out=out, where=masks)
    assert out.tolist() == [[[5, 0]]]


# --- other libraries --------------------------------------------------------------------------


@pytest.mark.parametrize("make", [labels_of, stack_of])
def test_copies_and_pickles_are_equal_arrays(make):
    lazy, dense = make((4, 3, 2))
    for other in (copy.copy(lazy), copy.deepcopy(lazy), pickle.loads(pickle.dumps(lazy))):
        assert type(other) is type(lazy)
        assert (other.shape, other.dtype) == (lazy.shape, lazy.dtype)
        np.testing.assert_array_equal(np.asarray(other), dense)


@pytest.mark.parametrize("make", [labels_of, stack_of])
def test_torch_takes_the_converted_array(make):
    torch = pytest.importorskip("torch")
    lazy, dense = make((4, 3, 2))
    tensor = torch.as_tensor(np.asarray(lazy))
    assert str(tensor.dtype) == f"torch.{dense.dtype}"
    np.testing.assert_array_equal(tensor.numpy(), dense)
    tensor[:] = 0
    np.testing.assert_array_equal(np.asarray(lazy), dense)


@pytest.mark.parametrize("make", [labels_of, stack_of])
def test_dask_takes_lazy_arrays(make):
    import dask.array as da

    lazy, dense = make((4, 3, 2))
    chunked = da.from_array(lazy, chunks=(2, 2, 2))
    np.testing.assert_array_equal(chunked[1:, ::-1].compute(), dense[1:, ::-1])


@pytest.mark.parametrize("make", [labels_of, stack_of])
def test_dask_reads_what_a_result_needs(make):
    import dask.array as da

    lazy, dense = make((4, 3, 2))
    chunked = da.from_array(lazy, chunks=(1, 3, 2))
    assert chunked.dtype == dense.dtype
    assert int((chunked > 2).sum().compute()) == int((dense > 2).sum())


@pytest.mark.parametrize("make", [labels_of, stack_of])
def test_matplotlib_draws_lazy_arrays(make):
    import matplotlib as mpl

    mpl.use("agg")
    from matplotlib import pyplot as plt

    lazy, dense = make((4, 3, 2))
    figure, axes = plt.subplots()
    shown = axes.imshow(lazy[1]).get_array()
    np.testing.assert_array_equal(np.asarray(shown), dense[1])
    plt.close(figure)
