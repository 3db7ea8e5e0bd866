"""Runs and label arrays for tests of the lazy labels: strategies, short forms, and checks."""

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from _platelet_em.arrays.runs import Runs
from _platelet_em.limits import MAX_ID

IDS = [0, 1, 2, 5, MAX_ID]

HUGE = (5_000, 100_000, 100_000)
"""A shape whose flat indices do not fit 32 bits."""

HUGE_SIZE = 5 * 10**13

label_arrays = hnp.arrays(
    np.int32,
    hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5),
    elements=st.sampled_from(IDS),
)


def make_runs(*triples):
    """Runs from (start, stop, owner)."""
    starts, stops, owners = np.array(triples, np.int64).reshape(-1, 3).T
    return Runs(starts, stops, owners)


def triples(runs):
    """The (start, stop, owner) of each run."""
    return list(zip(runs.starts.tolist(), runs.stops.tolist(), runs.owners.tolist(), strict=True))


def assert_canonical(runs):
    """The runs are sorted by start, disjoint, maximal, and of dtype int64."""
    assert (runs.lengths > 0).all()
    assert (runs.starts[1:] >= runs.stops[:-1]).all()
    touching = runs.starts[1:] == runs.stops[:-1]
    assert (runs.owners[1:] != runs.owners[:-1])[touching].all()
    assert {a.dtype for a in (runs.starts, runs.stops, runs.owners)} == {np.dtype(np.int64)}
