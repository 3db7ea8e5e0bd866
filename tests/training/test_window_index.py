"""`WindowIndex`: an int that keeps its epoch through copies, pickles and queues."""

import copy
import multiprocessing
import pickle

import pytest

from _platelet_em.training.window_index import WindowIndex


@pytest.mark.parametrize("epoch", [0, 1, 10**12])
def test_an_index_is_an_int_that_knows_its_epoch(epoch):
    index = WindowIndex(epoch, 3, 10)
    assert index == epoch * 10 + 3
    queue = multiprocessing.get_context("fork").Queue()
    queue.put([index])
    pickled = [pickle.dumps(index, protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)]
    copies = [copy.copy(index), copy.deepcopy([index])[0], queue.get()[0]]
    copies += map(pickle.loads, pickled)
    for other in copies:
        assert type(other) is WindowIndex
        assert (other, other.epoch, other.position, other.count) == (index, epoch, 3, 10)
    assert {index: 1}[int(index)] == 1
