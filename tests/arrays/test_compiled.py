"""The compiled loops: the same results and errors as NumPy's, compiled once."""

import random
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import fuzz, processes
from support.kernels import loops, with_both
from support.programs import PROGRAMS
from support.runs import HUGE, HUGE_SIZE, assert_canonical, label_arrays, triples

import _platelet_em
import platelet_em
from _platelet_em.arrays import labels as labels_module
from _platelet_em.arrays import runs as runs_module
from _platelet_em.arrays.kernels import load_compiled, value_runs, write_numbers
from _platelet_em.arrays.rle import parse, text_buffer
from _platelet_em.arrays.runs import Runs, encode, paint, paint_window, resolve, window
from _platelet_em.errors import ArgumentError, MissingExtraError
from platelet_em import LazyLabels

SIZE = 40


@pytest.fixture(autouse=True)
def _compiled():
    """Each test has the compiled loops, unless it says otherwise."""
    with loops("numba"):
        assert load_compiled() is not None
        yield


# --- against NumPy ----------------------------------------------------------------------------


@st.composite
def any_strings(draw):
    """RLE strings, most of them canonical, some of them damaged."""
    strings = []
    for _ in range(draw(st.integers(0, 5))):
        numbers = draw(st.lists(st.tuples(st.integers(1, SIZE), st.integers(1, 6)), max_size=5))
        string = " ".join(f"{start} {length}" for start, length in numbers)
        if draw(st.integers(0, 3)) == 0:
            string = fuzz.damage(random.Random(draw(st.integers(0, 999))), string.encode())
            string = string.decode("latin-1")
        strings.append(string)
    return strings


def decode(strings):
    labels = LazyLabels((5, SIZE // 5), range(1, len(strings) + 1), strings)
    whole = np.asarray(labels).tolist()
    return whole, triples(labels.runs), np.asarray(labels).tolist()


@given(strings=any_strings())
def test_any_strings_give_the_same_labels_or_the_same_error(strings):
    slow, fast = with_both(lambda: decode(strings))
    assert fast == slow


@pytest.mark.parametrize(
    "string",
    [
        *("1", "1 ", " 1 2", "1 2 ", "1 2  3 4", "1\t2", "1 2 3", "0 1", "1 0", "-1 2", "+1 2"),
        *("40 1", "40 2", "41 1", "1 40", "1 41", "007 2", "1 2,3 4", "1 2\x00", ""),
        *("1 999999999999999999", "999999999999999999 1", "9999999999999999999 1"),
        *("18446744073709551617 1", "1 18446744073709551617", "1 2 1 2", "5 3 4 3", "3 1 1 1"),
    ],
)
def test_the_edges_of_the_format_are_the_same(string):
    for strings in ([string], [string, "2 2"], ["2 2", string]):
        slow, fast = with_both(lambda strings=strings: decode(strings))
        assert fast == slow


def test_where_instances_overlap_the_later_one_wins():
    strings = ["1 10", "5 2", "4 2 7 9"]
    slow, fast = with_both(lambda: decode(strings))
    assert fast == slow
    assert fast[0][0] == [1, 1, 1, 3, 3, 2, 3, 3]


def test_a_volume_of_more_than_32_bits_is_parsed():
    text = text_buffer([f"{HUGE_SIZE} 1", "1 7"])
    slow, fast = with_both(lambda: triples(parse(*text, HUGE_SIZE)))
    assert fast == slow == [(HUGE_SIZE - 1, HUGE_SIZE, 0), (0, 7, 1)]
    assert LazyLabels(HUGE, [4], [f"{HUGE_SIZE} 1"])[-1, -1, -3:].tolist() == [0, 0, 4]


@given(
    starts=st.lists(st.one_of(st.integers(0, 60), st.integers(0, 2**45)), min_size=1, max_size=40),
    repeats=st.sampled_from([1, 3, 70]),
)
def test_runs_are_sorted_stably_whatever_their_distances(starts, repeats):
    """More than 64 runs at one place are left to NumPy."""
    starts = np.array(starts * repeats, np.int64)
    owners = np.arange(len(starts))
    runs = Runs(starts, starts + 1 + owners % 3, owners)
    slow, fast = with_both(lambda: triples(resolve(runs)))
    assert fast == slow
    if (found := load_compiled().sort_runs(runs.starts, runs.stops, runs.owners)) is not None:
        order = np.argsort(starts, kind="stable")
        for column, values in zip(found, (runs.starts, runs.stops, runs.owners), strict=True):
            assert column.tolist() == values[order].tolist()
    else:
        assert repeats == 70


@st.composite
def array_and_picked(draw):
    """A label array of at least one voxel, and indices along each axis."""
    array = draw(label_arrays.filter(lambda a: a.size))
    picked = []
    for axis, size in enumerate(array.shape):
        begin = draw(st.integers(0, size))
        step = 1 if axis == array.ndim - 1 else draw(st.sampled_from([1, 2, -1, -2]))
        end = draw(st.integers(0, size))
        whole = slice(begin, end, step) if draw(st.booleans()) else slice(None, None, step)
        picked.append(range(*whole.indices(size)))
    return array, picked


@given(case=array_and_picked())
def test_windows_are_those_of_the_dense_array(case):
    array, picked = case
    ids, runs = encode(array)
    expected = array[np.ix_(*picked)].ravel()
    slow, fast = with_both(lambda: triples(window(runs, array.shape, picked)))
    assert fast == slow
    cut = window(runs, array.shape, picked)
    assert_canonical(cut)
    np.testing.assert_array_equal(paint(cut, ids, expected.size), expected)
    painted = paint_window(runs, ids, array.shape, picked)
    assert painted.dtype == np.int32
    np.testing.assert_array_equal(painted, expected)


@pytest.mark.parametrize("width", [1, 31, 32, 33, 63, 64, 65, 200])
def test_blocks_end_with_the_array(width):
    """Runs and gaps around the number of elements that are written at a time."""
    rng = np.random.default_rng(width)
    array = np.repeat(rng.integers(0, 3, 400), rng.integers(1, 70, 400))[: 9 * 200]
    array = array.reshape(9, 200).astype(np.int32)
    ids, runs = encode(array)
    for x in {0, (200 - width) // 2, 200 - width}:
        picked = [range(2, 9), range(x, x + width)]
        found = paint_window(runs, ids, array.shape, picked)
        np.testing.assert_array_equal(found.reshape(7, width), array[2:, x : x + width])


@pytest.mark.parametrize("dtype", ["u1", "u2", "u4", "i4", "i8", "i2", "u8", "bool", ">i4"])
@pytest.mark.parametrize("step", [1, 3])
def test_runs_of_values_are_the_same_for_all_dtypes(dtype, step):
    flat = np.repeat(np.random.default_rng(0).integers(0, 2, 999), 3).astype(dtype)[::step]
    slow, fast = with_both(lambda: [a.tolist() for a in value_runs(flat)])
    assert fast == slow
    assert value_runs(flat)[2].dtype == flat.dtype


@given(numbers=st.lists(st.integers(0, 10**18 - 1), max_size=9))
def test_numbers_are_written_the_same(numbers):
    array = np.array(numbers, np.int64)
    text, ends = write_numbers(array)
    assert text.tobytes() == b"".join(b"%d " % number for number in numbers)
    with loops("numpy"):
        assert ends.tolist() == write_numbers(array)[1].tolist()


def test_runs_may_be_views_of_other_dtypes_or_read_only():
    numbers = np.array([0, 2, 0, 4, 6, 1], np.int32)
    numbers.setflags(write=False)
    runs = Runs(numbers[0::3], numbers[1::3], numbers[2::3])
    labels = LazyLabels.from_runs((2, 3), [7, 9], runs)
    assert labels[:].tolist() == [[7, 7, 0], [0, 9, 9]]
    assert labels[:, 1:].tolist() == [[7, 0], [9, 9]]
    assert labels.crop(np.s_[:, 1:]).rle == ["1 1", "3 2"]
    assert labels.rle == ["1 2", "5 2"]


def test_text_may_be_a_view_with_steps():
    text = np.frombuffer(b"1- -2-5- -2-", np.uint8)[::2]
    for read in (np.asarray, lambda labels: labels[:, 1:]):
        labels = LazyLabels.from_buffer((2, 3), [7, 9], text, np.array([0, 3, 6]))
        assert read(labels)[:, -2:].tolist() == [[7, 0], [9, 9]]


def test_large_arrays_are_painted_from_sorted_runs(monkeypatch):
    monkeypatch.setattr(labels_module, "_CACHED_SIZE", 5)
    labels = LazyLabels((2, 3), [7, 9], ["2 1 5 2", "1 2"])
    assert np.asarray(labels).tolist() == [[9, 9, 0], [0, 7, 7]]
    assert labels._parsed is not None


def test_the_compiled_loops_are_what_is_used(monkeypatch):
    """None of NumPy's is called for canonical labels."""

    def fail(*_):
        raise AssertionError

    for name in ("fill_runs", "expand_ranges"):
        monkeypatch.setattr(runs_module, name, fail)
    labels = LazyLabels((2, 3), [7, 9], ["1 2", "5 2"])
    assert labels[:].tolist() == [[7, 7, 0], [0, 9, 9]]
    assert labels[:, 1:].tolist() == [[7, 0], [9, 9]]
    with loops("numpy"), pytest.raises(AssertionError):
        labels[:]


# --- which loops are used ---------------------------------------------------------------------


def test_numpy_can_be_asked_for():
    with loops("numpy"):
        assert load_compiled() is None


def test_an_unknown_setting_is_an_error():
    with (
        loops("cuda"),
        pytest.raises(ArgumentError, match="KERNELS: expected numpy or numba, got 'cuda'"),
    ):
        load_compiled()


def test_without_numba_numpy_does_the_work(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    monkeypatch.delitem(sys.modules, "_platelet_em.arrays.compiled")
    monkeypatch.delattr(_platelet_em.arrays, "compiled")
    with loops(""):
        assert load_compiled() is None
    with loops("numba"), pytest.raises(MissingExtraError, match=r"platelet-em\[fast\]"):
        load_compiled()


def test_a_numba_that_cannot_be_imported_is_named_once(monkeypatch, caplog):
    class Broken:
        def __getattr__(self, name):
            raise ImportError("Numba needs NumPy 2.2 or less")

    monkeypatch.setitem(sys.modules, "numba", Broken())
    monkeypatch.delitem(sys.modules, "_platelet_em.arrays.compiled")
    monkeypatch.delattr(_platelet_em.arrays, "compiled")
    with loops(""):
        assert load_compiled() is None
        assert load_compiled() is None
        assert [r.getMessage() for r in caplog.records] == [
            "Numba cannot be used, labels are decoded by NumPy: Numba needs NumPy 2.2 or less"
        ]
    with loops("numba"), pytest.raises(ImportError, match=r"Numba needs NumPy 2\.2"):
        load_compiled()


# --- compiled once ----------------------------------------------------------------------------


@pytest.fixture
def copied(tmp_path):
    """A copy of the package in which nothing is compiled; gives the environment that uses it."""
    package = tmp_path / "code" / "_platelet_em"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(Path(_platelet_em.__file__).parent, package, ignore=ignored)
    shutil.copy(platelet_em.__file__, tmp_path / "code")
    return package / "arrays", {
        "PYTHONPATH": str(tmp_path / "code"),
        "XDG_CACHE_HOME": str(tmp_path / "user"),
        "NUMBA_CACHE_DIR": "",
        "PLATELET_EM_KERNELS": "numba",
    }


def run_count(environment, method="none"):
    """(compiled, loaded) of each process of the program."""
    printed = processes.run(
        sys.executable, PROGRAMS / "count_compilations.py", method, **environment
    )
    return [tuple(map(int, line.split())) for line in printed.splitlines()]


def test_loops_are_compiled_once_and_then_loaded_in_all_processes(copied):
    folder, environment = copied
    (first, worker) = run_count(environment, "spawn")
    assert first[0] > 0
    assert first[1] == worker[0] == 0
    assert worker[1] == first[0]
    assert list((folder / "__pycache__").glob("compiled.*.nbi"))
    assert run_count(environment, "fork") == [worker, worker]


def test_a_package_that_cannot_be_written_uses_the_users_cache(copied, tmp_path):
    folder, environment = copied
    (folder / "__pycache__").write_text("a file instead of a folder, as root may write anywhere")
    ((compiled, loaded),) = run_count(environment)
    assert loaded == 0
    assert list((tmp_path / "user").rglob("*.nbi"))
    assert run_count(environment) == [(0, compiled)]


def test_without_any_cache_loops_are_compiled_in_memory(copied, tmp_path):
    folder, environment = copied
    (folder / "__pycache__").write_text("")
    (tmp_path / "user").write_text("")
    environment |= {"HOME": str(tmp_path / "user")}
    ((_, loaded),) = run_count(environment)
    assert loaded == 0


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
def test_a_damaged_cache_is_not_used(copied, suffix):
    folder, environment = copied
    ((compiled, _),) = run_count(environment)
    for path in (folder / "__pycache__").glob(f"*.{suffix}"):
        path.write_bytes(path.read_bytes()[:60])
    ((again, loaded),) = run_count(environment)
    assert (again, loaded) == (compiled, 0)
