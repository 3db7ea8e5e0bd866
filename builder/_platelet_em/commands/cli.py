"""The command `platelet-em`: parses, runs a command, prints, and gives the exit code.

What the commands need is imported after the arguments have been accepted, since that takes
seconds.
"""

import argparse
import contextlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from _platelet_em.commands.arguments import parse_arguments
from _platelet_em.errors import MissingMemberError, OutputError, PlateletEMError, printable
from _platelet_em.files import user_path
from _platelet_em.hub.location import find_location

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    Args:
        arguments: Without the name of the program; None is those of this process.

    Returns:
        The exit code: 0 for success, 1 for an error, 130 after Ctrl-C.

    Raises:
        SystemExit: with code 2 for arguments that are not accepted, with 0 after `--help`.
    """
    options = parse_arguments(arguments)
    disabled = logging.root.manager.disable
    if options.quiet:
        logging.disable(logging.WARNING)
    try:
        return _run(options)
    except _OutputClosedError:
        return 1
    except KeyboardInterrupt:
        _print_error("interrupted")
        return 130
    except MemoryError as error:
        if options.debug:
            raise
        _print_error(f"platelet-em: {_describe_shortage(error)}")
        return 1
    except Exception as error:
        if options.debug:
            raise
        _print_error(f"platelet-em: {_describe_error(error)}")
        return 1
    finally:
        logging.disable(disabled)


def _run(options: argparse.Namespace) -> int:
    """Run a command whose arguments name files that exist."""
    for path in _named_files(options):
        _check_exists(path)
    for place in _named_locations(options):
        find_location(place)
    try:
        from _platelet_em.commands import actions  # noqa: PLC0415  # takes seconds
    except Exception as error:  # too little memory shows in many ways
        if options.debug:
            raise
        text = " ".join(str(error).split())[:200]  # those of NumPy have pages
        reason = f"{type(error).__name__}: {text}" if text else type(error).__name__
        _print_error(
            f"platelet-em: cannot be started ({reason}): this process has too little memory, or "
            "the installation is damaged, see --debug"
        )
        return 1
    actions.limit_progress_bars(quiet=options.quiet)
    return actions.ACTIONS[options.command](options, _print) or 0


def _named_files(options: argparse.Namespace) -> Iterator[Path]:
    """The paths that a command reads, and that cannot be on the Hub."""
    # With a description, it may be a pattern of slices.
    if options.command == "convert" and options.description is None:
        yield options.source
    if options.command == "describe":
        yield options.folder
    for name in ("data_dir", "description"):
        if getattr(options, name, None) is not None:
            yield getattr(options, name)


def _named_locations(options: argparse.Namespace) -> list[str]:
    """What a command reads from this machine or from the Hub."""
    if options.command == "verify":
        return list(options.paths)
    if options.command == "show":
        return [options.source]
    return [options.path] if options.command == "info" and options.path is not None else []


def _check_exists(path: Path) -> None:
    """Refuse a path with nothing there.

    Raises:
        MissingMemberError: names it.
    """
    try:
        user_path(path).stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingMemberError(f"{path}: no such file or folder") from error
    except OSError:
        return  # reading it will say what is wrong with it


def _describe_error(error: Exception) -> str:
    """One sentence about an error that ended a command."""
    if isinstance(error, UnicodeEncodeError):  # Arrow opens no file of such a name
        return (
            f"{error.object!r}: expected a name in valid Unicode: rename it, or set a UTF-8 "
            "locale, such as LC_ALL=C.UTF-8"
        )
    if isinstance(error, (PlateletEMError, OSError)):
        return str(error)
    return f"unexpected {type(error).__name__}, see --debug: {error}"


def _describe_shortage(error: MemoryError) -> str:
    """What to do about too little memory; errors of this package say it themselves."""
    if isinstance(error, PlateletEMError):
        return str(error)
    found = f" ({error})" if str(error) else ""
    return (
        f"this process may not have more memory{found}: end other programs, or raise the limit "
        "(ulimit -v, or that of the job or container)"
    )


# --- output -----------------------------------------------------------------------------------


class _OutputClosedError(Exception):
    """The output is a pipe that is no longer read, as in `| head`."""


def _print(line: object) -> None:
    """Print a line of a command's output; control characters in it are escaped.

    Raises:
        _OutputClosedError: if nobody reads it any more.
        OutputError: if it cannot be written.
    """
    stream = sys.stdout
    if stream is None:
        return
    try:
        print(_encodable(printable(str(line)), stream.encoding), file=stream, flush=True)
    except OSError as error:
        # Python would write what is in the buffer once more when it ends, and fail again.
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
        if isinstance(error, BrokenPipeError):
            raise _OutputClosedError from error
        raise OutputError(f"standard output: cannot be written: {error.strerror}") from error


def _print_error(line: str) -> None:
    """Print an error message, escaped, if there is a stream for it."""
    stream = sys.stderr
    if stream is not None:
        with contextlib.suppress(OSError):
            text = printable(line, keep="\n")
            print(_encodable(text, stream.encoding), file=stream, flush=True)


def _encodable(line: str, encoding: str | None) -> str:
    """The line with what the encoding lacks escaped: paths may hold any character."""
    encoding = encoding or "utf-8"
    return line.encode(encoding, "backslashreplace").decode(encoding)
