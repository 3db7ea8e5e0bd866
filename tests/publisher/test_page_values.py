"""The distinct values of pages and their runs, against the dense array."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from _platelet_em.arrays.kernels import value_runs
from _platelet_em.arrays.runs import check_runs, paint
from _platelet_em.errors import LabelFormatError
from _platelet_em.publisher.page_values import collect_values

VOLUMES = st.tuples(*[st.integers(1, 6)] * 3).flatmap(
    lambda shape: arrays(np.uint64, shape, elements=st.sampled_from([0, 1, 2, 7, 2**31, 2**48]))
)


def collect(pages, most=99, size=0):
    def read_runs(z):
        return value_runs(pages[z].ravel())

    return collect_values(pages.shape, "labels", read_runs, most, size)


@given(pages=VOLUMES)
def test_values_are_in_the_order_of_their_first_voxel(pages):
    values = collect(pages)
    assert values.codes.dtype == np.uint64
    assert values.codes.tolist() == [v for v in dict.fromkeys(pages.ravel().tolist()) if v]
    check_runs(values.runs, pages.size, len(values.codes))
    owners = np.arange(1, len(values.codes) + 1, dtype=np.int32)
    found = np.append(np.uint64(0), values.codes)[paint(values.runs, owners, pages.size)]
    np.testing.assert_array_equal(found.reshape(pages.shape), pages)
    touch = values.runs.starts[1:] == values.runs.stops[:-1]
    assert (values.runs.owners[1:][touch] != values.runs.owners[:-1][touch]).all()


@pytest.mark.parametrize(
    "pages", [np.arange(1, 5).reshape(1, 2, 2), np.arange(1, 5)[:, None, None]]
)
def test_more_values_than_a_file_may_have_are_refused(pages):
    assert len(collect(pages, 4).codes) == 4
    with pytest.raises(LabelFormatError, match=r"^labels: expected at most 3 labels, got more"):
        collect(pages, 3)


def test_a_larger_file_may_have_more_runs(monkeypatch):
    monkeypatch.setattr("_platelet_em.publisher.page_values.MAX_RUNS", 3)
    pages = np.array([[[1, 0, 1, 0, 1, 0, 1]]])
    with pytest.raises(LabelFormatError, match="at most 3 runs"):
        collect(pages)
    assert len(collect(pages, size=1).runs) == 4
