"""Calls that take turns, and the table of their times."""

import gc
import statistics
import time
from collections.abc import Callable

from arms import COMPILED, NUMPY_ALONE, print_table, use_kernels

Call = Callable[[], object]
Times = dict[str, float]
"""Seconds of ours, of ours with NumPy alone ("numpy"), and of peers."""


def race(repeats: int = 9, **calls: Call) -> Times:
    """Median seconds of calls that take turns; a result is freed before the next call.

    The call `numpy` is made with NumPy alone, all others with the compiled loops.
    """
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(repeats + 1):
        for name, call in calls.items():
            use_kernels(NUMPY_ALONE if name == "numpy" else COMPILED)
            gc.collect()
            begin = time.perf_counter()
            result = call()
            times[name].append(time.perf_counter() - begin)
            del result
    use_kernels(COMPILED)
    return {name: statistics.median(each[1:]) for name, each in times.items()}


def both(call: Call) -> dict[str, Call]:
    """Our call, with the compiled loops and without, for `race`."""
    return {"ours": call, "numpy": call}


class Table:
    """Lines of the table of labels: our time, that with NumPy alone, and that of a peer."""

    def __init__(self) -> None:
        self._rows: list[list[str]] = []
        self._notes: list[str] = []

    def add(self, task: str, peer: str, times: Times, key: str = "peer") -> None:
        """A line; `key` is the name of the peer in `times`."""
        cells = [f"{times[name] * 1e3:,.2f}" if name in times else ""
                 for name in ("ours", "numpy", key)]  # fmt: skip
        ratio = times[key] / times["ours"]
        self._rows.append(
            [task, *cells[:2], peer, cells[2], f"{ratio:,.{0 if ratio > 20 else 2}f}"]
        )

    def note(self, text: str) -> None:
        """A line of text below the table."""
        self._notes.append(text)

    def show(self) -> None:
        """Print the table and the notes."""
        heads = ["", "ours, ms", "NumPy alone, ms", "compared with", "its ms", "times as fast"]
        print_table(heads, self._rows)
        print(*(f"- {note}" for note in self._notes), sep="\n", flush=True)
