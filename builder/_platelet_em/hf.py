"""The one module that touches private names of `datasets`."""

import functools
import importlib
import threading
from abc import ABC
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

from datasets import formatting, inspect, load, streaming
from datasets.features import features

from _platelet_em.formatting import PlateletEMFormatter
from _platelet_em.labels import LazyLabels

__all__ = ["FORMAT", "prepare_for_builder", "register", "register_format"]

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


def _wrap(module: Any, name: str, wrapper: Callable[..., Any]) -> None:
    """Put a wrapper around a function of a module, once."""
    with _WRAPPING:
        function = getattr(module, name)
        if not hasattr(function, _WRAPPED):
            wrapped = functools.wraps(function)(wrapper(function))
            setattr(wrapped, _WRAPPED, True)
            setattr(module, name, wrapped)
