"""The one module that touches private names of `datasets`."""

import copy
import functools
import importlib
import sys
import threading
from abc import ABC
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from typing import Any

import numpy as np
import pyarrow as pa
from datasets import formatting, inspect, iterable_dataset, load, streaming
from datasets.features import features
from numpy.typing import NDArray

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.errors import ArgumentError
from _platelet_em.hf.formatter import PlateletEMFormatter

__all__ = ["FORMAT", "prepare_for_builder", "register", "register_format", "stream_by_index"]

_FACE = "platelet_em"
"""The module that holds the builder, and the name under which `datasets` finds it."""

_WRAPPING = threading.Lock()
_WRAPPED = "_wrapped_by_platelet_em"


# --- the format -------------------------------------------------------------------------------


class _MappingOrLabels(ABC):  # noqa: B024  # classes are registered with it, not derived
    """What `datasets` writes as a struct of its items: mappings, and lazy labels."""


_MappingOrLabels.register(Mapping)  # type: ignore[type-abstract]  # any Mapping counts
_MappingOrLabels.register(LazyLabels)


class _Formatter(PlateletEMFormatter):
    """The formatter that is registered; the first one lets `datasets` write what it gives.

    When a `map` gives a lazy value back, `datasets` writes dense nested lists, unless the value
    is a mapping: then a struct of its items, which is what it came from. Being a mapping for
    everybody would break DataLoaders, which take mappings apart; so it is one for the function
    that writes, and from when the format is used.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if features.Mapping is Mapping:
            features.Mapping = _MappingOrLabels


class _FormatName(str):
    """The format's name, which brings the format along when it is unpickled.

    A worker process that is spawned has not imported us: its datasets would carry the name of a
    format that is not there.
    """

    __slots__ = ()

    def __reduce__(self) -> Any:
        return register_format, ()


FORMAT = _FormatName("platelet_em")
"""What `with_format` takes."""


def register_format() -> str:
    """Let `with_format("platelet_em")` work; calling it again changes nothing."""
    if FORMAT not in formatting._FORMAT_TYPES:
        formatting._register_formatter(_Formatter, FORMAT)
    return FORMAT


# --- the builder ------------------------------------------------------------------------------


def register() -> None:
    """Let `datasets.load_dataset("platelet_em", "slices", ...)` find the builder (experimental).

    So do `load_dataset_builder`, `get_dataset_config_names` and their like; they all take the
    keywords `data_dir` and `label_source`. Rows come without format, as from any dataset.

    `datasets` has no entry point for plug-ins, so this wraps the function with which it finds
    datasets, for the process that calls it; calling it again changes nothing. As with the names
    of its own builders ("csv", "parquet"), the name then goes before a folder of that name in
    the current one, which `"./platelet_em"` still loads; every other name is found as before.
    """
    for module in (load, inspect):
        _wrap(module, "dataset_module_factory", _finding_ours)


def _finding_ours(find: Callable[..., Any]) -> Callable[..., Any]:
    def find_also_ours(path: Any, *args: Any, **kwargs: Any) -> Any:
        if path != _FACE:
            return find(path, *args, **kwargs)
        # The builder hashes its own code; datasets takes the keywords out of their dictionary.
        return load.DatasetModule(_FACE, hash="", builder_kwargs={"dataset_name": _FACE})

    return find_also_ours


def prepare_for_builder() -> None:
    """What `datasets` 3 wants of the world before our builder is made.

    It looks for the builder's module among the imported ones. And it locks its source, as if it
    were a script in its own cache, by a file two folders higher: that is beside site-packages,
    where many may not write. Nothing replaces our source, so it needs no lock.
    """
    importlib.import_module(_FACE)
    if hasattr(streaming, "lock_importable_file"):
        _wrap(streaming, "lock_importable_file", _sparing_ours)


def _sparing_ours(lock: Callable[[str], Any]) -> Callable[[str], Any]:
    def lock_unless_ours(file: str) -> Any:
        return nullcontext() if file == importlib.import_module(_FACE).__file__ else lock(file)

    return lock_unless_ours


# --- streams ----------------------------------------------------------------------------------


Make = Callable[[int, int], dict[str, Any]]
"""Makes an example of its index and the epoch."""


def stream_by_index(make: Make, count: int, split: Any = None) -> iterable_dataset.IterableDataset:
    """A stream of examples that are made by index, in order, and each of them a shard.

    So they are shared out one by one; a stream that is resumed makes nothing twice; and
    `set_epoch` reaches `make`. Examples pass as they are, without features.

    Args:
        make: Makes the example of an index, 0 to count - 1, in an epoch.
        count: Number of examples.
        split: The dataset's split.
    """
    _tell_streams()
    return iterable_dataset.IterableDataset(_ByIndex(make, range(count)), split=split)


class _ByIndex(iterable_dataset._BaseExamplesIterable):  # type: ignore[misc]  # datasets is untyped
    """The source of such a stream, or a part of it.

    `datasets` shares shards out to nodes only if their number is a multiple of that of nodes, and
    else lets each node make all examples and drop those of the others. So where nodes are waited
    for, empty shards make the number up; as each node takes every nth shard, all of them get the
    same number of examples, or one less.
    """

    sleep_on_threads_shutdown = False

    def __init__(
        self, make: Make, indices: range | NDArray[np.int64], epoch: int = 0, nodes: int = 1
    ) -> None:
        super().__init__()
        self.make, self.indices, self.epoch, self.nodes = make, indices, epoch, nodes

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # A worker that is spawned has not called what made the stream.
        _tell_streams()

    def __iter__(self) -> Iterator[tuple[int, dict[str, Any]]]:
        state: dict[str, Any] = self._state_dict or {"position": 0}
        epoch = self.epoch
        for position in range(state["position"], len(self.indices)):
            index = int(self.indices[position])
            example = self.make(index, epoch)
            state["position"] = position + 1
            yield index, example

    def _init_state_dict(self) -> dict[str, Any]:
        self._state_dict = {"position": 0, "type": type(self).__name__}
        return self._state_dict

    @property
    def num_shards(self) -> int:
        return -(-len(self.indices) // self.nodes) * self.nodes

    def shuffle_data_sources(self, generator: np.random.Generator) -> "_ByIndex":
        # The generator is for all sources alike, so it must not move on.
        indices = copy.deepcopy(generator).permutation(self.indices)
        return _ByIndex(self.make, indices, self.epoch, self.nodes)

    def shard_data_sources(
        self, num_shards: int, index: int, contiguous: bool = True
    ) -> "_ByIndex":
        part = slice(index, None, num_shards)
        if contiguous:
            size, longer = divmod(len(self.indices), num_shards)
            begin = index * size + min(index, longer)
            part = slice(begin, begin + size + (index < longer))
        return _ByIndex(self.make, self.indices[part], self.epoch)

    def reshard_data_sources(self) -> "_ByIndex":
        return self


def _tell_streams() -> None:
    """Let streams by index know the epoch and the number of nodes, when an iteration begins.

    `datasets` keeps both to itself. All other streams are iterated as before.
    """
    _wrap(iterable_dataset.IterableDataset, "_prepare_ex_iterable_for_iteration", _telling_ours)
    _wrap(iterable_dataset.IterableDataset, "_resolve_features", _explaining_ours)


def _telling_ours(prepare: Callable[..., Any]) -> Callable[..., Any]:
    def prepare_ours(stream: Any, *args: Any, **kwargs: Any) -> Any:
        source = stream._ex_iterable
        if not any(isinstance(s, _ByIndex) for s in _sources(source)):
            return prepare(stream, *args, **kwargs)
        # A copy, for other datasets made of this one iterate the same sources.
        stream._ex_iterable = _copy_sources(source)
        state = stream._starting_state_dict
        for copied in _sources(stream._ex_iterable):
            if isinstance(copied, _ByIndex):
                copied.epoch = stream.epoch
                copied.nodes = stream._distributed.world_size if stream._distributed else 1
        if _is_in_worker():
            # The state is of the worker's share. It is loaded once more when that is taken; into
            # the whole, of which a shuffle makes more parts, it does not fit.
            stream._starting_state_dict = None
        try:
            return prepare(stream, *args, **kwargs)
        finally:
            stream._ex_iterable, stream._starting_state_dict = source, state

    return prepare_ours


def _explaining_ours(resolve: Callable[..., Any]) -> Callable[..., Any]:
    def resolve_ours(stream: Any) -> Any:
        try:
            return resolve(stream)
        except pa.ArrowInvalid as error:
            if not any(isinstance(s, _ByIndex) for s in _sources(stream._ex_iterable)):
                raise
            raise ArgumentError(
                "windows have no features, which datasets needs to concatenate, interleave or "
                "push streams: concatenate the sources, and take windows of the whole"
            ) from error

    return resolve_ours


def _is_in_worker() -> bool:
    """Whether this process is a worker of a DataLoader."""
    data = sys.modules.get("torch.utils.data")
    return data is not None and data.get_worker_info() is not None


def _sources(source: Any) -> Iterator[Any]:
    """An iterable of `datasets`, and all that it takes its examples from."""
    yield source
    inner = [source.ex_iterable] if hasattr(source, "ex_iterable") else []
    for further in [*inner, *getattr(source, "ex_iterables", [])]:
        yield from _sources(further)


def _copy_sources(source: Any) -> Any:
    source = copy.copy(source)
    if hasattr(source, "ex_iterable"):
        source.ex_iterable = _copy_sources(source.ex_iterable)
    if hasattr(source, "ex_iterables"):
        source.ex_iterables = [_copy_sources(further) for further in source.ex_iterables]
    return source


# ----------------------------------------------------------------------------------------------


def _wrap(module: Any, name: str, wrapper: Callable[..., Any]) -> None:
    """Put a wrapper around a function of a module, once."""
    with _WRAPPING:
        function = getattr(module, name)
        if not hasattr(function, _WRAPPED):
            wrapped = functools.wraps(function)(wrapper(function))
            setattr(wrapped, _WRAPPED, True)
            setattr(module, name, wrapped)
