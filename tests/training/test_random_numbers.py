"""`random_numbers`: golden values, and permutations."""

import numpy as np
import pytest

from _platelet_em.training.random_numbers import RandomStream, permutation


def test_numbers_of_a_seed_never_change():
    assert [RandomStream(7, 1, 2).integer(10**9), RandomStream(0).integer(7)] == [923012461, 4]
    assert permutation(9, 3, 2).tolist() == [7, 8, 0, 6, 5, 2, 1, 3, 4]
    assert permutation(9, 2**70, 2).tolist() == [7, 1, 4, 5, 0, 2, 6, 8, 3]


@pytest.mark.parametrize("count", [1, 2, 5, 1000])
def test_permutations_have_each_position_once(count):
    orders = [permutation(count, seed, epoch) for seed in range(3) for epoch in range(3)]
    for order in orders:
        assert np.array_equal(np.sort(order), np.arange(count))
        assert order.dtype == np.int64
    if count == 1000:
        assert len({order.tobytes() for order in orders}) == 9
        # Positions go anywhere: the mean distance of a random order is a third.
        assert abs(np.abs(orders[0] - np.arange(count)).mean() / count - 1 / 3) < 0.03


def test_weights_are_probabilities():
    drawn = [RandomStream(0, k).weighted_index([1, 0, 3, 0]) for k in range(2000)]
    assert {*drawn} == {0, 2}
    assert abs(drawn.count(0) - 500) < 100
