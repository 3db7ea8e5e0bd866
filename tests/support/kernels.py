"""Switching between NumPy's loops and the compiled ones."""

import contextlib

import pytest

from _platelet_em.arrays.kernels import load_compiled

pytest.importorskip("numba")


@contextlib.contextmanager
def loops(name):
    """Decode with "numpy" or with "numba", whatever the environment says."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLATELET_EM_KERNELS", name)
        load_compiled.cache_clear()
        try:
            yield
        finally:
            load_compiled.cache_clear()


def with_both(function):
    """What a function gives with each of them: its result, or the text of its error."""
    outcomes = []
    for name in ("numpy", "numba"):
        with loops(name):
            try:
                outcomes.append(function())
            except ValueError as error:  # all errors about labels are
                outcomes.append(f"{type(error).__name__}: {error}")
    return outcomes
