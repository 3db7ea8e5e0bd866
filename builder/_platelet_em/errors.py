"""Exceptions: one base class, and under it one class for each kind of trouble.

Each class is also the builtin that a caller would expect, so `except ValueError` works without
knowing this package. A message names the file, the place in it, what was expected, what was
found, and what to do.
"""

__all__ = [
    "ArchiveError",
    "ArgumentError",
    "ChecksumError",
    "ConversionError",
    "CoverageError",
    "DownloadError",
    "HubError",
    "ImageFormatError",
    "LabelFormatError",
    "LabelRangeError",
    "MissingExtraError",
    "MissingMemberError",
    "OutputError",
    "PlateletEMError",
    "SchemaVersionError",
    "TooLargeError",
    "quote",
]


class PlateletEMError(Exception):
    """Base of everything that this package raises on purpose."""


class ArgumentError(PlateletEMError, ValueError):
    """An argument that is not one of those that there are."""


class ArchiveError(PlateletEMError, OSError):
    """An archive or a folder that is not what the publisher ships."""


class ChecksumError(ArchiveError):
    """A downloaded archive whose checksum is not the published one."""


class DownloadError(PlateletEMError, ConnectionError):
    """An archive that could not be fetched."""


class HubError(PlateletEMError, ConnectionError):
    """A repository on the Hub that could not be read or written."""


class MissingMemberError(ArchiveError, FileNotFoundError):
    """A file that the archive should hold and does not."""


class LabelFormatError(PlateletEMError, ValueError):
    """Labels that break their format: RLE strings, JSON dictionaries, TIF colours."""


class LabelRangeError(PlateletEMError, OverflowError):
    """An id that does not fit the dtype that was asked for."""


class ImageFormatError(PlateletEMError, ValueError):
    """A picture of another shape, dtype or layout than the data has."""


class ConversionError(PlateletEMError, ValueError):
    """A conversion that would lose ids or voxels, and was refused."""


class CoverageError(PlateletEMError, ValueError):
    """Windows that leave voxels of a volume without a value."""


class MissingExtraError(PlateletEMError, ImportError):
    """A package that only some need, and that is not installed."""


class OutputError(PlateletEMError, OSError):
    """A place that cannot be written to, or that holds somebody else's files."""


class SchemaVersionError(PlateletEMError, ValueError):
    """A file of a newer schema than this version knows, or whose record of it is damaged."""


class TooLargeError(PlateletEMError, MemoryError):
    """An array that this machine has no memory for, or that no machine has."""


def quote(value: object, limit: int = 80) -> str:
    """The repr of a found value, cut at `limit` characters, for use in a message."""
    if isinstance(value, (str, bytes, bytearray, memoryview)) and len(value) > limit:
        value = value[:limit] if isinstance(value, str) else bytes(value[:limit])
        return repr(value)[:limit] + "..."
    if isinstance(value, (list, tuple)):
        # Every item takes a character and more: what comes later would be cut anyway.
        value = value[:limit]
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # integers of thousands of digits, lists in lists
        text = f"<{type(value).__name__} that cannot be shown>"
    return text if len(text) <= limit else text[:limit] + "..."
