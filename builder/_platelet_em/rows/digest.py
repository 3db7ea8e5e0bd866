"""The digest of all code that shapes rows; it identifies caches and builds of other code."""

import hashlib
from pathlib import Path

import PIL
import tifffile

import _platelet_em

__all__ = ["PACKAGE", "code_digest"]

PACKAGE = Path(_platelet_em.__file__).parent

_SHAPING_FOLDERS = ("arrays", "publisher", "sources", "rows", "hf", "hub")
"""Folders whose code shapes rows and files, in addition to the modules at the top of the package.
The other folders draw samples, train, verify, or talk to the user."""


def code_digest(package: Path = PACKAGE) -> str:
    """SHA-256, in hexadecimal, of the source that shapes rows and of the libraries that encode.

    Editing, adding, renaming or moving any module at the top of the package, or in a folder that
    shapes rows, changes it.

    Args:
        package: Folder of the package.
    """
    digest = hashlib.sha256(f"tifffile {tifffile.__version__} pillow {PIL.__version__}".encode())
    files = [*package.glob("*.py")]
    for folder in _SHAPING_FOLDERS:
        files += (package / folder).rglob("*.py")
    for file in sorted(files):
        name = file.relative_to(package).as_posix()
        digest.update(f"{name}\0".encode() + file.read_bytes())
    return digest.hexdigest()
