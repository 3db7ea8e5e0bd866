"""`import_extra`: the optional packages of formats, imported when they are first needed."""

import importlib
import sys
from typing import Any

from _platelet_em.errors import MissingExtraError

__all__ = ["import_extra"]


def import_extra(
    package: str, *, extra: str, major: int = 0, python: tuple[int, int] = (3, 10)
) -> Any:
    """The module of an optional package.

    Args:
        package: Its name.
        extra: The extra that installs it, which is the name of the format.
        major: The first major version that will do.
        python: The first version of Python that the package runs on.

    Raises:
        MissingExtraError: if it is not installed, is too old, or does not run on this Python.
    """
    what = f"{extra}: needs {package} {major or ''}".rstrip()
    install = f"pip install platelet-em[{extra}]"
    if sys.version_info[:2] < python:
        expected, found = (".".join(map(str, v)) for v in (python, sys.version_info[:2]))
        raise MissingExtraError(
            f"{what}, which needs Python {expected} or later, found Python {found}: install "
            f"platelet-em[{extra}] under a newer Python"
        )
    try:
        module = importlib.import_module(package)
    except ImportError as error:
        raise MissingExtraError(f"{what} ({error}): {install}") from error
    if int(module.__version__.partition(".")[0]) < major:
        raise MissingExtraError(
            f"{what} or later, found {package} {module.__version__}: {install}"
        )
    return module
