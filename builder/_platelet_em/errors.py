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
    "DescriptionError",
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
    """Base class of all exceptions that this package raises on purpose.

    >>> import platelet_em
    >>> try:
    ...     platelet_em.LazyLabels((2, 3), [7], ["5 9"]).areas
    ... except platelet_em.PlateletEMError as error:
    ...     print(type(error).__name__)
    LabelFormatError
    """

    __module__ = "platelet_em"

    def __init_subclass__(cls) -> None:
        # Messages and pickles name the public module.
        cls.__module__ = "platelet_em"


class ArgumentError(PlateletEMError, ValueError):
    """An argument outside the accepted values.

    >>> import platelet_em
    >>> platelet_em.RandomWindows((64, 64), count=8, seed=-1)
    Traceback (most recent call last):
        ...
    platelet_em.ArgumentError: seed: expected at least 0, got -1
    """


class ArchiveError(PlateletEMError, OSError):
    """An archive or a folder that does not hold what the publisher ships, or a damaged repository.

    It names the file; the remedy is to fetch or build it again.

    >>> issubclass(ArchiveError, OSError)
    True
    """


class ChecksumError(ArchiveError):
    """A downloaded archive whose content is not the published one.

    The archive is deleted, so that the next attempt downloads it again.

    >>> issubclass(ChecksumError, ArchiveError)
    True
    """


class DownloadError(PlateletEMError, ConnectionError):
    """An archive that could not be downloaded.

    Ways out are another try, which continues the download, a mirror (`PLATELET_EM_MIRRORS`), and
    an archive that was downloaded by hand (`data_dir`).

    >>> issubclass(DownloadError, ConnectionError)
    True
    """


class HubError(PlateletEMError, ConnectionError):
    """A repository on the Hub that could not be read or written, or that `push` refuses.

    >>> issubclass(HubError, ConnectionError)
    True
    """


class MissingMemberError(ArchiveError, FileNotFoundError):
    """A file that is missing from an archive or a folder.

    >>> import platelet_em
    >>> platelet_em.convert("nowhere/50-instance-cell.json", "cells.tif")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    platelet_em.MissingMemberError: nowhere/50-instance-cell.json...
    """


class LabelFormatError(PlateletEMError, ValueError):
    """Labels that violate their format: RLE strings, JSON label files, colors of TIF labels.

    >>> import platelet_em
    >>> platelet_em.LazyLabels((2, 3), [7], ["5 9"]).areas  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    platelet_em.LabelFormatError: labels: id 7...
    """


class LabelRangeError(PlateletEMError, OverflowError):
    """A label id outside the range of the requested dtype.

    >>> import platelet_em
    >>> platelet_em.LazyLabels((2, 3), [300], ["1 2"]).astype("uint8")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    platelet_em.LabelRangeError: ...300...
    """


class ImageFormatError(PlateletEMError, ValueError):
    """An image of an unexpected shape, dtype or layout.

    >>> import platelet_em
    >>> platelet_em.LazyStack([b"no picture"])  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    platelet_em.ImageFormatError: page 0: expected an encoded picture, got b'no picture'...
    """


class ConversionError(PlateletEMError, ValueError):
    """A conversion that was refused because it would lose ids or voxels.

    >>> import platelet_em
    >>> platelet_em.convert("cells.json", "cells.png")  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    platelet_em.ConversionError: ...
    """


class CoverageError(PlateletEMError, ValueError):
    """Windows that leave voxels of a volume without a value.

    >>> import platelet_em
    >>> platelet_em.stitch([((0, 0), [[1, 1]])], (2, 2))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    platelet_em.CoverageError: stitch: no window covers 2 of 4 voxels, the first at ...
    """


class DescriptionError(PlateletEMError, ValueError):
    """A description of own volumes with mistakes: all of them, one per line.

    Each line names the file, the line and the key, what was expected and found, and the remedy.

    >>> issubclass(DescriptionError, ValueError)
    True
    """


class MissingExtraError(PlateletEMError, ImportError):
    """An optional dependency that is not installed; the message has the command that installs it.

    >>> issubclass(MissingExtraError, ImportError)
    True
    """


class OutputError(PlateletEMError, OSError):
    """A path that cannot be written to, or that holds somebody else's files.

    >>> import platelet_em
    >>> platelet_em.write_sample("/dev/null/archives", depth=1, size=32)  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    platelet_em.OutputError: ...
    """


class SchemaVersionError(PlateletEMError, ValueError):
    """A file of a schema newer than this version reads, or with a damaged schema record.

    The remedy is a newer version of this package.

    >>> issubclass(SchemaVersionError, ValueError)
    True
    """


class TooLargeError(PlateletEMError, MemoryError):
    """An array too large for the memory of this machine, or for any machine.

    It is raised before memory is allocated.

    >>> import platelet_em
    >>> platelet_em.LazyLabels((2**20, 2**20, 2**20), [], [])[:]  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    platelet_em.TooLargeError: ...
    """

    def __reduce__(self) -> str | tuple[object, ...]:
        # tblib, by which dask sends errors, calls `MemoryError.__new__` for classes without one.
        return super().__reduce__()


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
