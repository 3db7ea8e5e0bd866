"""The one module that uses private names of `datasets`; one test names each of them."""

import functools
import logging
import sys
import threading
from abc import ABC
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

from datasets import formatting, inspect, load, streaming
from datasets.features import features
from datasets.formatting.formatting import TensorFormatter

__all__ = [
    "TensorFormatter",
    "decode_python_values",
    "is_registered",
    "prepare_for_builder",
    "register",
    "register_formatter",
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


# --- wrapping ---------------------------------------------------------------------------------


def _wrap(module: Any, name: str, wrapper: Callable[..., Any]) -> None:
    """Wrap a function of a module, once."""
    with _WRAPPING:
        function = getattr(module, name)
        if not hasattr(function, _WRAPPED):
            wrapped = functools.wraps(function)(wrapper(function))
            setattr(wrapped, _WRAPPED, True)
            setattr(module, name, wrapped)
