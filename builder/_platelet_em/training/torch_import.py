"""`import_torch`: PyTorch, which is optional and imported when it is first needed."""

from typing import Any

from _platelet_em.errors import MissingExtraError

__all__ = ["import_torch"]


def import_torch(what: str) -> Any:
    """The module `torch`.

    Args:
        what: What needs it, for the message, in the plural.

    Raises:
        MissingExtraError: if PyTorch is not installed.
    """
    try:
        import torch.utils.data  # noqa: PLC0415  # optional, and slow to import
    except ImportError as error:
        raise MissingExtraError(
            f"{what} need PyTorch ({error}): pip install platelet-em[torch]"
        ) from error
    return torch
