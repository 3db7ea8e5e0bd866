"""`EpochSampler`: the indices of windows for a `DataLoader`, a new epoch in each pass.

Imported when a sampler is asked for, since PyTorch is, where it is installed.
"""

import functools
import logging
import sys
from collections.abc import Iterator, Mapping
from typing import Any

from _platelet_em.arrays.memory import has_room
from _platelet_em.errors import ArgumentError, TooLargeError, quote
from _platelet_em.training.random_numbers import permutation
from _platelet_em.training.samplers import parse_integer
from _platelet_em.training.window_index import WindowIndex

__all__ = ["EpochSampler"]

_ORDER_BYTES = 16
"""Memory that an order takes for each window while it is made."""

_log = logging.getLogger(__name__)


def _find_base() -> Any:
    """The class of samplers that share out by ranks themselves.

    Lightning wraps all others in one that shares out once more.
    """
    try:
        from torch.utils.data.distributed import DistributedSampler  # noqa: PLC0415  # optional
    except ImportError:
        return object
    return DistributedSampler


class EpochSampler(_find_base()):  # type: ignore[misc]  # a class that may be missing
    """Indices of windows, see `Windows.sampler`.

    Args:
        count: Windows per epoch.
        described: What the windows depend on, for comparison with that of a state.
        shuffle: As of `Windows.sampler`, and so all others.
        seed: See `shuffle`.
        rank: See `shuffle`.
        world_size: See `shuffle`.
        uneven: See `shuffle`.

    Raises:
        ArgumentError: for an argument outside the accepted values.

    >>> sampler = EpochSampler(5, {}, False, 0, 1, 2, "share")
    >>> [(index.epoch, index.position) for index in sampler]
    [(0, 1), (0, 3)]
    >>> sampler
    EpochSampler(5 windows, rank 1 of 2, next epoch 1)
    """

    def __init__(
        self,
        count: int,
        described: Mapping[str, Any],
        shuffle: bool,
        seed: int,
        rank: int | None,
        world_size: int | None,
        uneven: str,
    ) -> None:
        # The class of PyTorch would look up its process group, and number the windows itself.
        if (rank is None) != (world_size is None):
            raise ArgumentError(
                f"rank, world_size: expected both or neither, got {rank} and {world_size}"
            )
        if rank is not None:
            world_size = parse_integer(world_size, "world_size", 1)
            rank = parse_integer(rank, "rank", 0)
            if rank >= world_size:
                raise ArgumentError(f"rank: expected 0 to {world_size - 1}, got {rank}")
        if uneven not in ("share", "drop"):
            raise ArgumentError(f"uneven: expected 'share' or 'drop', got {quote(uneven)}")
        self._count, self._described = count, dict(described)
        self._shuffle, self._seed = bool(shuffle), parse_integer(seed, "seed", 0)
        self._given = None if rank is None else (rank, world_size)
        self._uneven = uneven
        self._next = (0, 0)  # epoch and position at which the next pass begins
        self._current: _Pass | None = None

    def __iter__(self) -> Iterator[WindowIndex]:
        return _Pass(self)

    def __len__(self) -> int:
        rank, world_size = self._place()
        return len(self._share(range(self._count), rank, world_size))

    def __repr__(self) -> str:
        rank, world_size = self._place()
        dropped = self._count % world_size if self._uneven == "drop" else 0
        parts = [
            f"{self._count} windows",
            *(["shuffled"] if self._shuffle else []),
            *([f"rank {rank} of {world_size}"] if world_size > 1 else []),
            *([f"{dropped} of {self._count} dropped"] if dropped else []),
            f"next epoch {self._next[0]}",
        ]
        return f"EpochSampler({', '.join(parts)})"

    def __getstate__(self) -> dict[str, Any]:
        # A pass stays in its process.
        return {**self.__dict__, "_current": None}

    @property
    def epoch(self) -> int:
        """The epoch of the current pass, or of the next one if none has begun."""
        return int(self.state_dict()["epoch"])

    @property
    def rank(self) -> int:
        """Rank of this process, by which windows are shared out."""
        return self._place()[0]

    @property
    def num_replicas(self) -> int:
        """Number of these processes, under the name that PyTorch has for it."""
        return int(self._place()[1])

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next pass.

        If a state of the middle of this epoch was loaded, its rest is still what is next.
        """
        epoch = parse_integer(epoch, "epoch", 0)
        self._current = None
        if epoch != self._next[0]:
            if self._next[1]:
                _log.warning(
                    "set_epoch(%d) leaves out the rest of epoch %d, whose state was loaded: set "
                    "the epoch of what calls it to that of the sampler first",
                    epoch,
                    self._next[0],
                )
            self._next = (epoch, 0)

    def state_dict(self) -> dict[str, Any]:
        """Epoch, number of indices of it that were yielded, and settings, as JSON has them."""
        if self._current is not None:
            return self._current.state_dict()
        return self.next_state()

    def next_state(self) -> dict[str, Any]:
        """The state with which the next pass begins."""
        return self.state_of(*self._next)

    def state_of(self, epoch: int, position: int) -> dict[str, Any]:
        """The state at a position of an epoch."""
        return {"epoch": epoch, "position": position, "settings": self._settings()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue at a state with the next pass; with the next epoch, if that one was complete.

        Raises:
            ArgumentError: for the state of other settings, or something else.
        """
        epoch, position = self.parse_state(state)
        self._current = None
        self._next = (epoch, position) if position < len(self) else (epoch + 1, 0)

    def parse_state(self, state: Mapping[str, Any]) -> tuple[int, int]:
        """Epoch and position of a state of these settings."""
        try:
            epoch, position, settings = state["epoch"], state["position"], dict(state["settings"])
        except (TypeError, KeyError, ValueError):
            raise ArgumentError(
                f"state: expected what state_dict of such a sampler returned, got {quote(state)}"
            ) from None
        for name, expected in self._settings().items():
            if (found := settings.get(name)) != expected:
                one, other = _cut_what_is_common(found, expected)
                raise ArgumentError(
                    f"state: it was taken with {name}={quote(one)}, and this sampler has "
                    f"{name}={quote(other)}: load it into a sampler of the same settings"
                )
        position = parse_integer(position, "state: position", 0)
        if position > len(self):
            raise ArgumentError(f"state: position: expected at most {len(self)}, got {position}")
        return parse_integer(epoch, "state: epoch", 0), position

    def begin_pass(self, new: "_Pass", at: tuple[int, int] | None = None) -> tuple[int, int, Any]:
        """Epoch, position and order of a pass that begins, at the next position or a given one."""
        epoch, position = at or self._next
        self._next, self._current = (epoch + 1, 0), new
        order: Any = range(self._count)
        if self._shuffle:
            if not has_room(_ORDER_BYTES * self._count):
                raise TooLargeError(
                    f"shuffle: the order of {self._count} windows takes {_ORDER_BYTES} bytes "
                    "each, more than this machine has: random windows need none"
                )
            order = permutation(self._count, self._seed, epoch)
        rank, world_size = self._place()
        if self._uneven == "share" and self._count % world_size and rank == 0:
            _warn_of_unequal_ranks(self._count, world_size)
        return epoch, position, self._share(order, rank, world_size)

    def index(self, epoch: int, position: int) -> WindowIndex:
        """The index of a window."""
        return WindowIndex(epoch, position, self._count)

    def _share(self, order: Any, rank: int, world_size: int) -> Any:
        """The part of an order that a rank reads."""
        end = self._count
        if self._uneven == "drop":
            end -= end % world_size
            if not end:
                raise ArgumentError(
                    f"uneven='drop': {self._count} windows for {world_size} ranks leave none: "
                    "use uneven='share', or more windows"
                )
        return order[rank:end:world_size]

    def _place(self) -> tuple[int, Any]:
        """Rank and world size."""
        if self._given is not None:
            return self._given
        accelerate = sys.modules.get("accelerate.state")
        if accelerate is not None and accelerate.is_initialized():
            return 0, 1
        distributed = sys.modules.get("torch.distributed")
        if distributed is None or not (
            distributed.is_available() and distributed.is_initialized()
        ):
            return 0, 1
        return distributed.get_rank(), distributed.get_world_size()

    def _settings(self) -> dict[str, Any]:
        rank, world_size = self._place()
        return {
            "count": self._count,
            "shuffle": self._shuffle,
            "seed": self._seed,
            "uneven": self._uneven,
            "rank": rank,
            "world_size": world_size,
            **self._described,
        }


def _cut_what_is_common(a: Any, b: Any) -> tuple[Any, Any]:
    """Two descriptions from a little before the place where they differ.

    >>> _cut_what_is_common("Grid((16, 256, 256), seed=0)", "Grid((16, 256, 256), seed=1)")
    ('...16, 256, 256), seed=0)', '...16, 256, 256), seed=1)')
    >>> _cut_what_is_common(2, 3)
    (2, 3)
    """
    if not (isinstance(a, str) and isinstance(b, str)):
        return a, b
    same = next((k for k, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), 0)
    begin = max(same - 20, 0)
    return (f"...{a[begin:]}", f"...{b[begin:]}") if begin else (a, b)


@functools.cache
def _warn_of_unequal_ranks(count: int, world_size: int) -> None:
    _log.warning(
        "%d windows for %d ranks: some read one more than others, and DistributedDataParallel "
        "waits forever where that is a batch more; uneven='drop' gives all the same number",
        count,
        world_size,
    )


class _Pass(Iterator[WindowIndex]):
    """One pass through the indices of an epoch.

    The epoch begins with the first index: loaders of PyTorch also make iterators that they drop.
    A pass has a state of its own, since torchdata's `StatefulDataLoader` loads a state of the end
    of an epoch into a pass that is complete, and not into the next epoch.
    """

    def __init__(self, sampler: EpochSampler) -> None:
        self._sampler = sampler
        self._order: Any = None
        self._epoch = self._position = 0

    def __next__(self) -> WindowIndex:
        if self._order is None:
            self._begin()
        if self._position >= len(self._order):
            raise StopIteration
        index = self._sampler.index(self._epoch, int(self._order[self._position]))
        self._position += 1
        return index

    def _begin(self, at: tuple[int, int] | None = None) -> None:
        self._epoch, self._position, self._order = self._sampler.begin_pass(self, at)

    def state_dict(self) -> dict[str, Any]:
        """The state of this pass, or that with which it will begin."""
        if self._order is None:
            return self._sampler.next_state()
        return self._sampler.state_of(self._epoch, self._position)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on at a state in this pass."""
        self._begin(self._sampler.parse_state(state))
