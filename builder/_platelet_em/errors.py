"""The exceptions of this package.

Each class is also the builtin exception that a caller would expect, so `except ValueError` works
without knowing this package. A message names the file and the position in it, what was expected,
what was found, and what to do.
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
    "printable",
    "quote",
]


class PlateletEMError(Exception):
    """Base class of all exceptions that this package raises on purpose."""

    __module__ = "platelet_em"

    def __init_subclass__(cls) -> None:
        # Messages and pickles name the public module.
        cls.__module__ = "platelet_em"


class ArgumentError(PlateletEMError, ValueError):
    """An argument outside the accepted values."""


class ArchiveError(PlateletEMError, OSError):
    """An archive or a folder that does not hold what the publisher ships."""


class ChecksumError(ArchiveError):
    """A downloaded archive whose content is not the published one."""


class DownloadError(PlateletEMError, ConnectionError):
    """An archive that could not be downloaded."""


class HubError(PlateletEMError, ConnectionError):
    """A repository on the Hub that could not be read or written."""


class MissingMemberError(ArchiveError, FileNotFoundError):
    """A file that is missing from an archive or a folder."""


class LabelFormatError(PlateletEMError, ValueError):
    """Labels that violate their format: RLE strings, JSON label files, colors of TIF labels."""


class LabelRangeError(PlateletEMError, OverflowError):
    """A label id outside the range of the requested dtype."""


class ImageFormatError(PlateletEMError, ValueError):
    """An image of an unexpected shape, dtype or layout."""


class ConversionError(PlateletEMError, ValueError):
    """A conversion that was refused because it would lose ids or voxels."""


class CoverageError(PlateletEMError, ValueError):
    """Windows that leave voxels of a volume without a value."""


class MissingExtraError(PlateletEMError, ImportError):
    """An optional dependency that is not installed."""


class OutputError(PlateletEMError, OSError):
    """A path that cannot be written to, or that holds somebody else's files."""


class SchemaVersionError(PlateletEMError, ValueError):
    """A file of a schema newer than this version reads, or with a damaged schema record."""


class TooLargeError(PlateletEMError, MemoryError):
    """An array too large for the memory of this machine, or for any machine."""


def quote(value: object, limit: int = 80) -> str:
    """The repr of a value for a message, cut at `limit` characters."""
    if isinstance(value, (str, bytes, bytearray, memoryview)) and len(value) > limit:
        value = value[:limit] if isinstance(value, str) else bytes(value[:limit])
        return repr(value)[:limit] + "..."
    if isinstance(value, (list, tuple)):
        # Every item takes at least one character: items beyond the limit would be cut anyway.
        value = value[:limit]
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # integers of thousands of digits, recursive lists
        text = f"<{type(value).__name__} without a repr>"
    return text if len(text) <= limit else text[:limit] + "..."


def printable(text: str, *, keep: str = "") -> str:
    r"""Text without control characters: they are escaped, since it may come from a file.

    Names, records and messages of strangers may hold codes that a terminal obeys, characters that
    turn the direction of writing, or line breaks that imitate further lines.

    Args:
        text: Any text.
        keep: Characters that stay as they are.

    >>> printable("a\x1b[2Jb\n")
    'a\\x1b[2Jb\\n'
    """
    return "".join(
        c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text
    )
