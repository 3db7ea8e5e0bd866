"""Two `DataLoader` workers: what they send, how fast, and how soon.

Batches of four, two forked and persistent workers. A dense batch is stacked by the worker, by
`default_collate` straight into shared memory, in the dtypes of its arrays. A packed batch is that
of `platelet_em.collate`: image and classes are stacked in the same way, labels are `PackedLabels`,
which the loop paints in the main process. Workers are forked since open files of the peers cannot
be pickled, and compiled loops are those that the main process has loaded.
"""

import functools
import pickle
import statistics
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from arms import COMPILED, Arm, Batch, check, measure, show, use_kernels
from inputs import COLUMNS, Truth
from torch.utils.data import DataLoader, default_collate

import platelet_em

BATCH, WORKERS = 4, 2


@dataclass(frozen=True)
class Loading:
    """A dataset for workers: name, how to make it anew, bytes on disk, and how it is collated."""

    name: str
    make: Callable[[], Any]
    size: int
    collate: Callable[[list[Any]], dict[str, Any]]


def collate_dense(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Arrays of records, of any store, as stacked tensors of the same dtypes."""
    with warnings.catch_warnings():
        # The stacked tensor does not share memory with a read-only array.
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        tensors = [{n: torch.from_numpy(np.asarray(r[n])) for n in COLUMNS} for r in records]
    return default_collate(tensors)


collate_packed = functools.partial(platelet_em.collate, packed=True)


def _open(loading: Loading) -> DataLoader:
    return DataLoader(
        loading.make(),
        batch_size=BATCH,
        num_workers=WORKERS,
        collate_fn=loading.collate,
        persistent_workers=True,
        multiprocessing_context="fork",
    )


def _paint(loader: DataLoader) -> Iterator[Batch]:
    """The batches of a loader as dense arrays."""
    for batch in loader:
        yield {name: batch[name].to("cpu").numpy() for name in COLUMNS}


def _bytes_sent(loader: DataLoader) -> float:
    """Bytes of a pickled batch, per sample: what has to get from one process to the other.

    The voxels or runs of a batch go through shared memory and the rest through a pipe; a plain
    pickle has both.
    """
    batch = next(iter(loader))
    return len(pickle.dumps(batch)) / len(batch["image"])


def _seconds_to_first_batch(loading: Loading) -> float:
    """From nothing but open files to the first painted batch: dataset, workers, reading."""
    begin = time.perf_counter()
    next(_paint(_open(loading)))
    return time.perf_counter() - begin


def compare(
    loadings: Sequence[Loading], truth: Sequence[Truth], rounds: int, unit: str, base: str
) -> dict[str, float]:
    """Check, measure and show; returns samples per second of each."""
    use_kernels(COMPILED)
    loaders = {loading.name: _open(loading) for loading in loadings}
    arms = [Arm(one.name, functools.partial(_paint, loaders[one.name]), one.size)
            for one in loadings]  # fmt: skip
    for arm in arms:
        check(arm, truth)
    sent = {name: f"{_bytes_sent(loader) / 1e6:.2f}" for name, loader in loaders.items()}
    rates = measure(arms, rounds)
    del arms, loaders  # their workers end
    first = {
        one.name: f"{statistics.median(_seconds_to_first_batch(one) for _ in range(3)):.2f}"
        for one in loadings
    }
    more = {"MB sent per sample": sent, "s to the first batch": first}
    show(unit, [Arm(one.name, list, one.size) for one in loadings], rates, base, more)
    return rates
