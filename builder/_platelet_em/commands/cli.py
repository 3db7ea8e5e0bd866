"""The command `platelet-em`: runs a command, prints its output, and gives its exit code."""

import argparse
import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from datasets.utils import disable_progress_bars, tqdm

from _platelet_em.commands.arguments import parse_arguments, sample_options
from _platelet_em.commands.info import describe
from _platelet_em.commands.show import show
from _platelet_em.errors import OutputError, PlateletEMError, printable
from _platelet_em.facts import PUBLISHED
from _platelet_em.hub.build import build
from _platelet_em.hub.layout import data_files
from _platelet_em.hub.push import push
from _platelet_em.hub.record import origin_warning, read_record
from _platelet_em.publisher.convert import convert
from _platelet_em.rows.make import CONFIG_NAMES
from _platelet_em.sample.write import write_sample
from _platelet_em.verify.run import verify

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
    # Its thread redraws bars that stand still. Where no thread can be started, tqdm would warn.
    tqdm.monitor_interval = 0
    if options.quiet or sys.stderr is None:
        disable_progress_bars()
    disabled = logging.root.manager.disable
    if options.quiet:
        logging.disable(logging.WARNING)
    try:
        code = _COMMANDS[options.command](options) or 0
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
        is_expected = isinstance(error, (PlateletEMError, OSError))
        kind = "" if is_expected else f"unexpected {type(error).__name__}, see --debug: "
        _print_error(f"platelet-em: {kind}{error}")
        return 1
    finally:
        logging.disable(disabled)
    return code


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


# --- commands ---------------------------------------------------------------------------------


@contextlib.contextmanager
def _archives(options: argparse.Namespace) -> Iterator[Path | None]:
    """The archives to build from: those that the user names, or a sample in a temporary folder."""
    if not options.sample:
        yield options.data_dir
        return
    with tempfile.TemporaryDirectory(prefix="platelet-em-") as folder:
        write_sample(folder, **sample_options(options))
        yield Path(folder)


def _build(options: argparse.Namespace) -> None:
    with _archives(options) as data_dir:
        out = build(
            options.out,
            data_dir=data_dir,
            label_source=options.label_source,
            cache_dir=options.cache_dir,
            force=options.force,
        )
    record = next(filter(None, map(read_record, data_files(out, CONFIG_NAMES[0]))))
    if warning := origin_warning(record, PUBLISHED):
        _print(warning)
    _print(f"{out} is complete. Load it: datasets.load_dataset({str(out)!r}, 'slices')")


def _push(options: argparse.Namespace) -> None:
    with _archives(options) as data_dir:
        done = push(
            options.repo_id,
            options.folder,
            private=options.private,
            revision=options.revision,
            message=options.message,
            tag=options.tag,
            create_pr=options.create_pr,
            overwrite_card=options.overwrite_card,
            dry_run=options.dry_run,
            data_dir=data_dir,
            label_source=options.label_source,
            cache_dir=options.cache_dir,
        )
    for line in done.describe():
        _print(line)


def _sample(options: argparse.Namespace) -> None:
    for path in write_sample(options.folder, force=options.force, **sample_options(options)):
        _print(path)


def _info(options: argparse.Namespace) -> None:
    for line in describe(options.path):
        _print(line)


def _show(options: argparse.Namespace) -> None:
    for path in show(
        options.source,
        options.out,
        volume=options.volume,
        slices=options.z,
        label_source=options.label_source,
        palette=options.palette,
    ):
        _print(path)


def _convert(options: argparse.Namespace) -> None:
    convert(
        options.source,
        options.target,
        form=options.form,
        semantic=None if options.kind is None else options.kind == "semantic",
        palette=options.palette,
        force=options.force,
    )
    _print(options.target)


def _verify(options: argparse.Namespace) -> int:
    report = verify(options.paths)
    lines = (
        report.to_json().splitlines() if options.json else report.lines(verbose=options.verbose)
    )
    for line in lines:
        _print(line)
    return 1 if report.errors else 0


_COMMANDS: dict[str, Callable[[argparse.Namespace], int | None]] = {
    "build": _build,
    "push": _push,
    "sample": _sample,
    "info": _info,
    "show": _show,
    "convert": _convert,
    "verify": _verify,
}
