"""The one module that touches private names of `datasets`."""

from abc import ABC
from collections.abc import Mapping
from typing import Any

from datasets import formatting
from datasets.features import features

from _platelet_em.formatting import PlateletEMFormatter
from _platelet_em.labels import LazyLabels

__all__ = ["FORMAT", "register_format"]


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
