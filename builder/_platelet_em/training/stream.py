"""Windows as a stream of `datasets`."""

import itertools
from collections.abc import Iterator
from typing import Any, Protocol

import datasets

from _platelet_em.errors import ArgumentError
from _platelet_em.training.samplers import parse_integer
from _platelet_em.training.window_index import WindowIndex

__all__ = ["stream_shards"]

_MAX_SHARDS = 64


class _Sequence(Protocol):
    def __len__(self) -> int: ...

    def __getitem__(self, index: Any) -> Any: ...


def stream_shards(
    source: _Sequence, num_shards: int | None, epoch: int, split: Any
) -> datasets.IterableDataset:
    """A stream of the windows of one epoch, see `Windows.to_iterable_dataset`."""
    count = len(source)
    epoch = parse_integer(epoch, "epoch", 0)
    if num_shards is None:
        num_shards = min(count, _MAX_SHARDS)
    num_shards = parse_integer(num_shards, "num_shards", 1)
    if num_shards > count:
        raise ArgumentError(
            f"num_shards: expected at most one for each of {count} windows, got {num_shards}"
        )
    ends = [k * count // num_shards for k in range(num_shards + 1)]
    # datasets shares out the items of lists among the arguments.
    return datasets.IterableDataset.from_generator(
        _ShardReader(source, epoch),
        gen_kwargs={"shards": [range(*pair) for pair in itertools.pairwise(ends)]},
        split=split or datasets.Split.TRAIN,
    )


class _ShardReader:
    """The generator of such a stream; it can be pickled."""

    def __init__(self, source: _Sequence, epoch: int) -> None:
        self._source, self._epoch = source, epoch

    def __call__(self, shards: list[range]) -> Iterator[dict[str, Any]]:
        for position in itertools.chain.from_iterable(shards):
            yield self._source[WindowIndex(self._epoch, position, len(self._source))]
