"""`VolumeArray`: NumPy's indexing, what is read and what is kept."""

import copy
import threading
import time

import numpy as np
import pytest

from _platelet_em.errors import TooLargeError
from _platelet_em.export import volume_array
from _platelet_em.export.volume_array import VolumeArray

DENSE = np.random.default_rng(0).integers(0, 65536, (5, 4, 6)).astype(np.uint16)


def array(reads=None):
    def read(z):
        if reads is not None:
            reads.append(z)
        return DENSE[z]

    return VolumeArray(read, DENSE.shape, DENSE.dtype)


@pytest.mark.parametrize(
    "index",
    [np.s_[2], np.s_[-1, 1:3], np.s_[1:4, ::-1, 2], np.s_[..., 3], np.s_[4:1:-2], np.s_[2, 3, 5],
     np.s_[:0], np.s_[[0, 3]], np.s_[None, 1]],
)  # fmt: skip
def test_an_index_gives_what_numpy_gives(index):
    found = array()[index]
    np.testing.assert_array_equal(found, DENSE[index])
    assert found.dtype == DENSE.dtype


def test_only_the_slices_of_an_index_are_read_and_each_once():
    reads = []
    lazy = array(reads)
    assert reads == []
    for _ in range(2):
        assert lazy[2:4, 1, 1].tolist() == DENSE[2:4, 1, 1].tolist()
    assert reads == [2, 3]


def test_slices_that_were_not_looked_at_for_longest_are_dropped(monkeypatch):
    monkeypatch.setattr(volume_array, "_KEPT_BYTES", 2 * DENSE[0].nbytes)
    reads = []
    lazy = array(reads)
    for z in (0, 1, 0, 2, 0, 1):
        np.testing.assert_array_equal(lazy[z], DENSE[z])
    assert reads == [0, 1, 2, 1]
    assert lazy.nbytes == 2 * DENSE[0].nbytes


def test_threads_read_the_right_slices():
    wrong, busy = [], []

    def read(z):
        busy.append(z)
        time.sleep(0.001)  # another thread's turn
        if len(busy) > 1:
            wrong.append(z)
        busy.remove(z)
        return DENSE[z]

    lazy = VolumeArray(read, DENSE.shape, DENSE.dtype)

    def look():
        wrong.extend(z for z in (0, 3, 1, 4, 2) * 20 if (lazy[z] != DENSE[z]).any())

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_an_array_that_does_not_fit_into_memory_is_refused():
    shape = (2**20, 2**20, 2**20)
    huge = VolumeArray(lambda _: pytest.fail("it was read"), shape, np.dtype(np.uint16))
    with pytest.raises(TooLargeError, match="1048576"):
        np.asarray(huge)


def test_a_copy_reads_the_same_files():
    lazy = array()
    for copied in (copy.copy(lazy), copy.deepcopy(lazy)):
        np.testing.assert_array_equal(copied[1:3], DENSE[1:3])
