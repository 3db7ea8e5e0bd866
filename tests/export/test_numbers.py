"""`as_numbers`: JSON of it gives the same values again, in few digits."""

import json

import numpy as np
import pytest

from _platelet_em.export.numbers import as_numbers


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_floats_are_the_same_and_short(dtype):
    random = np.random.default_rng(0)
    values = np.concatenate([random.random(500), 10.0 ** random.uniform(-30, 30, 500)])
    values = np.append(values, [0, 1, 0.1]).astype(dtype)
    text = json.dumps(as_numbers(values))
    np.testing.assert_array_equal(np.array(json.loads(text), dtype), values)
    assert text.endswith(" 0.0, 1.0, 0.1]")
    assert all(type(number) is float for number in as_numbers(values))


def test_integers_stay_integers():
    found = as_numbers(np.array([0, 2**31 - 1], np.int32))
    assert found == [0, 2**31 - 1]
    assert {type(number) for number in found} == {int}
