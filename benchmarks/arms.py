"""What all benchmarks share: arms that take turns, the check before they do, and tables.

An arm is one way to load the same samples. Each is checked against the truth before it is timed.
Arms take turns, one pass over all samples each; the first pass of each warms up, and a rate is
that of the median pass. The loop reads every element of every array.
"""

import os
import statistics
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from inputs import COLUMNS, Truth

from _platelet_em.arrays.kernels import load_compiled

COMPILED, NUMPY_ALONE = "numba", "numpy"
"""Values of PLATELET_EM_KERNELS."""

Batch = dict[str, np.ndarray]
"""Column -> array with a leading axis, which counts samples."""


@dataclass(frozen=True)
class Arm:
    """A way to load the samples: its name, a pass over them, bytes on disk, and the loops."""

    name: str
    batches: Callable[[], Iterable[Batch]]
    size: int
    kernels: str = COMPILED


@dataclass(frozen=True)
class Figure:
    """A figure of which the project wants at least, or at most, some value."""

    name: str
    measured: float
    wanted: float
    is_limit: bool = False


def use_kernels(setting: str) -> None:
    """Decode labels with the compiled loops, or with NumPy alone, from now on."""
    os.environ["PLATELET_EM_KERNELS"] = setting
    load_compiled.cache_clear()
    load_compiled()


def check(arm: Arm, truth: Sequence[Truth]) -> None:
    """Assert that the samples of the arm are those of the truth, in any order."""
    use_kernels(arm.kernels)
    expected = {_checksum(sample["image"]): sample for sample in truth}
    found = []
    for batch in arm.batches():
        for k, image in enumerate(batch["image"]):
            found.append(_checksum(image))
            for name in COLUMNS:
                assert np.array_equal(batch[name][k], expected[found[-1]][name]), (arm.name, name)
    assert sorted(found) == sorted(_checksum(sample["image"]) for sample in truth), arm.name


def _checksum(array: np.ndarray) -> int:
    return zlib.crc32(array.tobytes())


def one_pass(arm: Arm) -> float:
    """Samples per second of one pass that reads every element."""
    use_kernels(arm.kernels)
    count = 0
    begin = time.perf_counter()
    for batch in arm.batches():
        for name in COLUMNS:
            batch[name].max()
        count += len(batch["image"])
        del batch  # before the next one is made
    return count / (time.perf_counter() - begin)


def measure(arms: Sequence[Arm], rounds: int) -> dict[str, float]:
    """Median samples per second of each arm."""
    rates: dict[str, list[float]] = {arm.name: [] for arm in arms}
    for _ in range(rounds + 1):
        for arm in arms:
            rates[arm.name].append(one_pass(arm))
    return {name: statistics.median(each[1:]) for name, each in rates.items()}


def show(
    unit: str,
    arms: Sequence[Arm],
    rates: Mapping[str, float],
    base: str,
    more: Mapping[str, Mapping[str, str]] | None = None,
) -> None:
    """Print a table of arms, the fastest first, with their speed relative to that of `base`.

    `more` has further columns: heading -> {name of an arm: text}.
    """
    more = more or {}
    ordered = sorted(arms, key=lambda arm: -rates[arm.name])
    print_table(
        ["", unit, f"of {base}", "MB on disk", *more],
        [[arm.name, f"{rates[arm.name]:,.0f}", f"{rates[arm.name] / rates[base]:.2f}",
          f"{arm.size / 1e6:.0f}", *(column.get(arm.name, "") for column in more.values())]
         for arm in ordered],
    )  # fmt: skip


def print_table(heads: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a Markdown table whose columns, all but the first, are aligned to the right."""
    print("\n| " + " | ".join(heads) + " |")
    print("| --- |" + " ---: |" * (len(heads) - 1))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |")
    print(flush=True)


def show_figures(figures: Iterable[Figure]) -> None:
    """Print what is wanted beside what was measured."""
    rows = [
        [figure.name, f"{figure.measured:.2f}",
         f"{'at most' if figure.is_limit else 'at least'} {figure.wanted:g}",
         "" if (figure.measured <= figure.wanted) == figure.is_limit else "missed"]
        for figure in figures
    ]  # fmt: skip
    print_table(["figure", "measured", "wanted", ""], rows)
