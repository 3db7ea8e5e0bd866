"""Progress bars: one for each stage of long work, and none where nobody sees them."""

import contextlib
import sys
from typing import Any

from datasets.utils import tqdm

__all__ = ["progress_bar"]


def progress_bar(
    iterable: Any = None,
    *,
    stage: str,
    unit: str,
    total: int | None = None,
    done: int = 0,
    leave: bool = True,
) -> Any:
    """A bar on standard error, or around an iterable, whose items it counts.

    There is no bar without a terminal or a notebook with widgets, nor where the bars of `datasets`
    are switched off.

    Args:
        iterable: What to iterate; None counts by calls of `update`.
        stage: What is done, such as "Drawing volume 50".
        unit: What is counted, such as "slice"; "B" counts bytes.
        total: The number of units; None is the length of the iterable, if it has one.
        done: Units that were done before.
        leave: Whether the bar stays when it is complete.
    """
    return tqdm(
        iterable,
        desc=stage,
        unit=unit,
        total=total,
        initial=done,
        leave=leave,
        unit_scale=unit == "B",
        disable=not (_has_widgets() or _is_terminal()),
    )


def _has_widgets() -> bool:
    return any(cls.__module__ == "tqdm.notebook" for cls in tqdm.__mro__)


def _is_terminal() -> bool:
    with contextlib.suppress(AttributeError, ValueError):  # no standard error, or a closed one
        return sys.stderr.isatty()
    return False
