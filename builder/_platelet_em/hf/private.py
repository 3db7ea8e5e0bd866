"""The one module that uses private names of `datasets`; one test names each of them."""

import copy
import functools
import logging
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
from datasets.formatting.formatting import TensorFormatter
from numpy.typing import NDArray

from _platelet_em.errors import ArgumentError

__all__ = [
    "TensorFormatter",
    "decode_python_values",
    "is_registered",
    "prepare_for_builder",
    "register",
    "register_formatter",
    "stream_by_index",
    "write_as_structs",
]

_FACE = "platelet_em"
"""The module that holds the builder, and the name under which `datasets` finds it."""

_WRAPPING = threading.Lock()
_WRAPPED = "_wrapped_by_platelet_em"

_log = logging.getLogger(__name__)


# --- the format -------------------------------------------------------------------------------


def is_registered(name: str) -> bool:
    """Whether `with_format` knows a format of that name."""
    return name in formatting._FORMAT_TYPES


def register_formatter(formatter: type, name: str) -> None:
    """Let `with_format(name)` use that class."""
    formatting._register_formatter(formatter, name)


def decode_python_values(formatter: TensorFormatter, values: list[Any], name: str) -> list[Any]:
    """A column of Python values, decoded by its feature as `datasets` does without a format."""
    decoded: list[Any] = formatter.python_features_decoder.decode_column(values, name)
    return decoded


class _MappingOrOurs(ABC):  # noqa: B024  # classes are registered with it, not derived
    """What `datasets` writes as a struct of its items: mappings, and registered classes."""


_MappingOrOurs.register(Mapping)  # type: ignore[type-abstract]  # any Mapping counts


def write_as_structs(cls: type) -> None:
    """Let `datasets` write instances of a class, returned by a `map`, as structs of their items.

    It writes dense nested lists otherwise, unless the value is a `Mapping`. Registering the class
    as a `Mapping` globally would break DataLoaders, which collate the items of mappings. So only
    the name `Mapping` in the module of `datasets` that writes is replaced, by a class that accepts
    both. If other code has already replaced that name, it stays, and one warning is logged.
    """
    _MappingOrOurs.register(cls)
    if features.Mapping is Mapping:
        features.Mapping = _MappingOrOurs
    elif features.Mapping is not _MappingOrOurs:
        _warn_of_dense_lists(repr(features.Mapping), cls.__name__)


@functools.cache  # a formatter is made for each row that is read
def _warn_of_dense_lists(mapping: str, name: str) -> None:
    _log.warning(
        "datasets.features.features.Mapping was replaced by %s: what a map returns as %s is "
        "written as dense lists; return dict(labels.items()) instead",
        mapping,
        name,
    )


# --- the builder ------------------------------------------------------------------------------


def register() -> None:
    """Let `datasets.load_dataset("platelet_em", "slices", ...)` find the builder (experimental).

    `load_dataset_builder`, `get_dataset_config_names` and similar functions find it too; all take
    the keywords `data_dir` and `label_source`. Rows come without format, as from any dataset.

    `datasets` has no entry point for plug-ins, so this wraps the function with which it finds
    datasets, in this process only; calling it again changes nothing. As with the names of its own
    builders ("csv", "parquet"), the name then has precedence over a folder of that name in the
    current one, which `"./platelet_em"` still loads; every other name is found as before.

    >>> import datasets, platelet_em
    >>> platelet_em.register()
    >>> datasets.get_dataset_config_names("platelet_em")
    ['slices', 'volumes', 'instances', 'preview']
    """
    for module in (load, inspect):
        _wrap(module, "dataset_module_factory", _find_builder)


def _find_builder(find: Callable[..., Any]) -> Callable[..., Any]:
    def find_also_ours(path: Any, *args: Any, **kwargs: Any) -> Any:
        if path != _FACE:
            return find(path, *args, **kwargs)
        # The builder hashes its own code; datasets takes the keywords out of their dictionary.
        return load.DatasetModule(_FACE, hash="", builder_kwargs={"dataset_name": _FACE})

    return find_also_ours


def prepare_for_builder() -> None:
    """Keep `datasets` 3 from locking the source of the builder.

    It locks the source as if it were a script in its own cache, by a file two folders higher,
    which is next to site-packages, where many users cannot write. The source is never replaced,
    so it needs no lock.
    """
    if hasattr(streaming, "lock_importable_file"):
        _wrap(streaming, "lock_importable_file", _skip_lock)


def _skip_lock(lock: Callable[[str], Any]) -> Callable[[str], Any]:
    def lock_unless_ours(file: str) -> Any:
        face = sys.modules.get(_FACE)
        is_ours = face is not None and file == face.__file__
        return nullcontext() if is_ours else lock(file)

    return lock_unless_ours


# --- streams ----------------------------------------------------------------------------------


MakeExample = Callable[[int, int], dict[str, Any]]
"""Makes an example from its index and the epoch."""


def stream_by_index(
    make: MakeExample, count: int, split: Any = None
) -> iterable_dataset.IterableDataset:
    """A stream of examples that are made by index, in order, each of them a shard of its own.

    So examples are distributed one by one, a resumed stream makes none of them twice, and
    `set_epoch` reaches `make`. Examples pass unchanged, without features.

    Args:
        make: Makes the example of an index, 0 to count - 1, in an epoch.
        count: Number of examples.
        split: The dataset's split.
    """
    _pass_epoch_to_streams()
    return iterable_dataset.IterableDataset(_ByIndex(make, range(count)), split=split)


class _ByIndex(iterable_dataset._BaseExamplesIterable):  # type: ignore[misc]  # datasets is untyped
    """The source of a stream by index, or a part of it.

    `datasets` distributes shards to nodes only if their number is a multiple of the number of
    nodes; otherwise each node makes all examples and drops those of the others. So for several
    nodes the number of shards is rounded up with empty ones. As each node takes every nth shard,
    all of them get the same number of examples, or one less.
    """

    sleep_on_threads_shutdown = False

    def __init__(
        self, make: MakeExample, indices: range | NDArray[np.int64], epoch: int = 0, nodes: int = 1
    ) -> None:
        super().__init__()
        self.make, self.indices, self.epoch, self.nodes = make, indices, epoch, nodes

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        # A spawned worker has not called stream_by_index.
        _pass_epoch_to_streams()

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
        # All sources get the same generator, so it must not advance.
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


def _pass_epoch_to_streams() -> None:
    """Pass the epoch and the number of nodes to streams by index when an iteration begins.

    `datasets` does not make them available. All other streams are iterated as before.
    """
    _wrap(iterable_dataset.IterableDataset, "_prepare_ex_iterable_for_iteration", _pass_epoch)
    _wrap(iterable_dataset.IterableDataset, "_resolve_features", _explain_missing_features)


def _pass_epoch(prepare: Callable[..., Any]) -> Callable[..., Any]:
    def prepare_ours(stream: Any, *args: Any, **kwargs: Any) -> Any:
        source = stream._ex_iterable
        if not any(isinstance(s, _ByIndex) for s in _walk_sources(source)):
            return prepare(stream, *args, **kwargs)
        # A copy, since other datasets made from this one iterate the same sources.
        stream._ex_iterable = _copy_sources(source)
        state = stream._starting_state_dict
        for copied in _walk_sources(stream._ex_iterable):
            if isinstance(copied, _ByIndex):
                copied.epoch = stream.epoch
                copied.nodes = stream._distributed.world_size if stream._distributed else 1
        if _is_in_worker():
            # The state belongs to the worker's shards, and is loaded when these are selected; it
            # does not match the state of all shards, of which a shuffle makes more parts.
            stream._starting_state_dict = None
        try:
            return prepare(stream, *args, **kwargs)
        finally:
            stream._ex_iterable, stream._starting_state_dict = source, state

    return prepare_ours


def _explain_missing_features(resolve: Callable[..., Any]) -> Callable[..., Any]:
    def resolve_ours(stream: Any) -> Any:
        try:
            return resolve(stream)
        except pa.ArrowInvalid as error:
            if not any(isinstance(s, _ByIndex) for s in _walk_sources(stream._ex_iterable)):
                raise
            raise ArgumentError(
                "windows have no features, which datasets needs to concatenate, interleave or "
                "push streams: concatenate the sources, and take windows of the result"
            ) from error

    return resolve_ours


def _is_in_worker() -> bool:
    """Whether this process is a worker of a DataLoader."""
    data = sys.modules.get("torch.utils.data")
    return data is not None and data.get_worker_info() is not None


def _walk_sources(source: Any) -> Iterator[Any]:
    """An iterable of `datasets`, and all iterables from which it takes its examples."""
    yield source
    inner = [source.ex_iterable] if hasattr(source, "ex_iterable") else []
    for each in [*inner, *getattr(source, "ex_iterables", [])]:
        yield from _walk_sources(each)


def _copy_sources(source: Any) -> Any:
    source = copy.copy(source)
    if hasattr(source, "ex_iterable"):
        source.ex_iterable = _copy_sources(source.ex_iterable)
    if hasattr(source, "ex_iterables"):
        source.ex_iterables = [_copy_sources(each) for each in source.ex_iterables]
    return source


# --- wrapping ---------------------------------------------------------------------------------


def _wrap(module: Any, name: str, wrapper: Callable[..., Any]) -> None:
    """Wrap a function of a module, once."""
    with _WRAPPING:
        function = getattr(module, name)
        if not hasattr(function, _WRAPPED):
            wrapped = functools.wraps(function)(wrapper(function))
            setattr(wrapped, _WRAPPED, True)
            setattr(module, name, wrapped)
