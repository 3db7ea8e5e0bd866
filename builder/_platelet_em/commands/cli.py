"""The command `platelet-em`."""

import argparse
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeAlias

from datasets.utils import disable_progress_bars

from _platelet_em import __version__
from _platelet_em.commands.info import describe
from _platelet_em.commands.show import show
from _platelet_em.errors import OutputError, PlateletEMError
from _platelet_em.facts import LABEL_SOURCES, VOLUMES, volume_named
from _platelet_em.hub.build import build
from _platelet_em.hub.push import push
from _platelet_em.publisher.cache import MIRRORS
from _platelet_em.publisher.convert import FORMS, convert
from _platelet_em.sample.write import write_sample
from _platelet_em.verify.run import verify

__all__ = ["main"]

_VERIFY_HELP = """\
Exit code 0: no errors (remarks are facts worth knowing); 1: errors, each with file, place,
expected, found and remedy. It goes on after an error; of each kind and file, five are told.

--json: {"format": 1, "errors": N, "remarks": N, "sections": [{"title", "figures": {name: value},
"findings": [{"level": "error" or "remark", "check", "file", "count", "first": [{"place": {"z",
"y", "x", "id", "row", "column", ...}, "expected", "found", "remedy"}]}]}]}; z, y, x and row count
from 0. Names of checks and figures stay; further keys may come."""

_DATA_DIR = "a zip of the publisher, its extracted folder, or a folder with the zips"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns its exit code: 0, 1 for trouble, 2 for a wrong call."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if getattr(options, "sample", None) is False and (given := _given_size(options)):
        parser.error(f"{', '.join(given)} say what the sample is like: add --sample")
    if getattr(options, "sample", None) and options.data_dir is not None:
        parser.error("--sample makes its own archives: leave out --data-dir")
    if sys.stderr is None:
        disable_progress_bars()  # they would be written to where nothing is open
    try:
        code: int = options.run(options) or 0
    except _Closed:
        return 1
    except KeyboardInterrupt:
        _say("interrupted", error=True)
        return 130
    except Exception as error:
        if options.debug:
            raise
        expected = isinstance(error, (PlateletEMError, OSError))
        kind = "" if expected else f"unexpected {type(error).__name__}, see --debug: "
        _say(f"platelet-em: {kind}{error}", error=True)
        return 1
    return code


class _Closed(Exception):  # noqa: N818  # nobody is told: who reads the output has gone
    """The output leads to a pipe that is no longer read, as behind `| head`."""


def _say(line: object, *, error: bool = False) -> None:
    """Print a command's output, or what went wrong, as far as there is a place for it.

    Raises:
        OutputError: if the output cannot be written.
    """
    stream = sys.stderr if error else sys.stdout
    if stream is None:
        return
    # What the terminal has no letters for is escaped: paths may hold anything.
    encoding = stream.encoding or "utf-8"
    text = str(line).encode(encoding, "backslashreplace").decode(encoding)
    try:
        print(text, file=stream, flush=True)
    except OSError as trouble:
        if error:
            return
        # What waits to be written would fail once more at the end of Python.
        with Path(os.devnull).open("w") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())
        if isinstance(trouble, BrokenPipeError):
            raise _Closed from trouble
        raise OutputError(f"standard output: cannot be written: {trouble.strerror}") from trouble


def _given_size(options: argparse.Namespace) -> dict[str, int]:
    """What the user said about the sample; the rest has defaults."""
    names = ("depth", "size", "seed")
    given = {name: getattr(options, name) for name in names}
    return {name: value for name, value in given.items() if value is not None}


@contextmanager
def _archives(options: argparse.Namespace) -> Iterator[Path | None]:
    """Where the archives are: what the user says, or a sample for as long as it is needed."""
    if not options.sample:
        yield options.data_dir
        return
    with tempfile.TemporaryDirectory(prefix="platelet-em-") as folder:
        write_sample(folder, **_given_size(options))
        yield Path(folder)


def _build(options: argparse.Namespace) -> None:
    with _archives(options) as data_dir:
        out = build(
            options.out,
            data_dir=data_dir,
            label_source=options.label_source,
            cache_dir=options.cache_dir,
        )
    _say(f"{out} is complete. Load it: datasets.load_dataset({str(out)!r}, 'slices')")


def _push(options: argparse.Namespace) -> None:
    with _archives(options) as data_dir:
        done = push(
            options.repo_id,
            options.folder,
            private=options.private,
            revision=options.revision,
            dry_run=options.dry_run,
            data_dir=data_dir,
            label_source=options.label_source,
            cache_dir=options.cache_dir,
        )
    for line in done.describe():
        _say(line)


def _sample(options: argparse.Namespace) -> None:
    for path in write_sample(options.folder, **_given_size(options)):
        _say(path)


def _info(options: argparse.Namespace) -> None:
    for line in describe(options.path):
        _say(line)


def _show(options: argparse.Namespace) -> None:
    for path in show(
        options.source,
        options.out,
        spec=volume_named(options.volume),
        slices=options.z,
        label_source=options.label_source,
    ):
        _say(path)


def _convert(options: argparse.Namespace) -> None:
    semantic = None if options.kind is None else options.kind == "semantic"
    convert(
        options.source,
        options.target,
        form=options.form,
        semantic=semantic,
        palette=options.palette,
    )
    _say(options.target)


def _verify(options: argparse.Namespace) -> int:
    report = verify(options.paths)
    for line in [report.to_json()] if options.json else report.lines():
        _say(line)
    return 1 if report.errors else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="platelet-em",
        description="The platelet-em electron-microscopy dataset for Hugging Face datasets.",
        epilog="platelet-em COMMAND --help shows examples.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_build(commands)
    _add_push(commands)
    _add_sample(commands)
    _add_info(commands)
    _add_show(commands)
    _add_convert(commands)
    _add_verify(commands)
    return parser


_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


def _add(commands: _Commands, name: str, purpose: str, *examples: str) -> argparse.ArgumentParser:
    lines = "\n".join(f"  platelet-em {example}" for example in examples)
    command = commands.add_parser(
        name,
        help=purpose,
        description=f"{purpose[0].upper()}{purpose[1:]}.",
        epilog=f"examples:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--debug", action="store_true", help="show where an error came from")
    return command


def _add_label_source(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--label-source",
        choices=LABEL_SOURCES,
        default="json",
        help="json: the true ids; tif: colours, ids by first appearance (default: json)",
    )


def _add_size(command: argparse.ArgumentParser) -> None:
    size = command.add_argument_group("the synthetic sample")
    size.add_argument(
        "--depth", type=int, help="slices of volume 50, volume 24 has fewer in ratio (default: 12)"
    )
    size.add_argument("--size", type=int, help="pixels along y and x (default: 512)")
    size.add_argument("--seed", type=int, help="another seed, another scene (default: 0)")


def _add_build(commands: _Commands) -> None:
    command = _add(
        commands,
        "build",
        "write a complete Hub repository: Parquet files and the dataset card",
        "build repo                        # downloads the archive",
        "build repo --data-dir archives    # takes it from a folder",
        "build repo --sample --depth 6     # of a synthetic scene",
    )
    command.set_defaults(run=_build)
    command.add_argument("out", type=Path, help="the repository's folder")
    _add_archives(command)


def _add_archives(command: argparse.ArgumentParser) -> None:
    command.add_argument("--data-dir", type=Path, help=_DATA_DIR)
    command.add_argument(
        "--cache-dir",
        type=Path,
        help=f"where downloads are kept; mirrors to ask first are named by {MIRRORS}, addresses "
        "of folders with commas between them",
    )
    command.add_argument("--sample", action="store_true", help="build the synthetic sample")
    _add_label_source(command)
    _add_size(command)


def _add_push(commands: _Commands) -> None:
    command = _add(
        commands,
        "push",
        "put a built repository on the Hugging Face Hub, after building it if need be",
        "push user/platelet-em repo --dry-run      # says what would be sent",
        "push user/platelet-em repo",
        "push user/platelet-em                     # downloads the archive, builds, uploads",
        "push user/my-test --sample --private",
        "push user/platelet-em --data-dir archives --label-source tif --revision rgba",
    )
    command.add_argument("repo_id", metavar="REPO_ID", help="USER/NAME; made if it is not there")
    command.add_argument(
        "folder",
        metavar="FOLDER",
        type=Path,
        nargs="?",
        help="a built repository, or where to build it (default: in the cache)",
    )
    command.add_argument(
        "--private", action="store_true", help="make a private repository, if it is made"
    )
    command.add_argument("--revision", help="the branch, made if it is not there (default: main)")
    command.add_argument(
        "--dry-run", action="store_true", help="change nothing there, say what would be"
    )
    _add_archives(command)
    # A folder that is complete has labels of one source already.
    command.set_defaults(run=_push, label_source=None)


def _add_sample(commands: _Commands) -> None:
    command = _add(
        commands,
        "sample",
        "write the two archives of a synthetic dataset in the publisher's layout",
        "sample archives",
        "sample archives --depth 50 --size 800   # as large as the real one",
    )
    command.set_defaults(run=_sample)
    command.add_argument("folder", type=Path, help="where the archives go")
    _add_size(command)


def _add_info(commands: _Commands) -> None:
    command = _add(
        commands,
        "info",
        "say what the dataset is, or what archives or a built repository hold",
        "info",
        "info archives",
        "info repo",
    )
    command.set_defaults(run=_info)
    command.add_argument("path", type=Path, nargs="?", help="archives, or a built repository")


def _add_show(commands: _Commands) -> None:
    command = _add(
        commands,
        "show",
        "draw slices with their labels into PNG files",
        "show repo",
        "show archives --volume 24 --z 0 5 10 --out pictures",
    )
    command.set_defaults(run=_show)
    command.add_argument("source", type=Path, help=f"a built repository, or {_DATA_DIR}")
    command.add_argument(
        "--volume", choices=[v.name for v in VOLUMES], default=VOLUMES[0].name, help="which volume"
    )
    command.add_argument("--z", type=int, nargs="+", default=[0], help="which slices (default: 0)")
    command.add_argument("--out", type=Path, default=Path(), help="where the pictures go")
    _add_label_source(command)


def _add_convert(commands: _Commands) -> None:
    command = _add(
        commands,
        "convert",
        "convert a label file: JSON, TIF of ids, or RGBA TIF, voxel for voxel",
        "convert 50-instance-cell.json 50-instance-cell.tif --form index",
        "convert 50-semantic.json 50-semantic.tif --palette A",
        "convert 50-instance-organelle.tif organelles.json",
    )
    command.set_defaults(run=_convert)
    command.add_argument("source", type=Path, help="a .json or .tif label file")
    command.add_argument("target", type=Path, help="what to write")
    command.add_argument(
        "--form",
        choices=FORMS,
        help="json; index: uint16 ids; rgba: colours (default: by the ending, a TIF being rgba)",
    )
    command.add_argument(
        "--kind",
        choices=("semantic", "instance"),
        help="classes or instances (default: by the file's name)",
    )
    command.add_argument(
        "--palette", choices=("A", "B"), default="B", help="colours of classes (default: B)"
    )


def _add_verify(commands: _Commands) -> None:
    command = _add(
        commands,
        "verify",
        "check archives and built repositories, in themselves and against each other",
        "verify archives                   # both zips, and one against the other",
        "verify images_and_labels_json.zip",
        "verify extracted",
        "verify repo                       # sums, schema, each field of each row",
        "verify archives repo --json       # and voxel for voxel, as a document",
    )
    command.description = f"{command.description}\n\n{_VERIFY_HELP}"
    command.set_defaults(run=_verify)
    command.add_argument(
        "paths",
        metavar="PATH",
        type=Path,
        nargs="+",
        help=f"{_DATA_DIR}, or a built repository",
    )
    command.add_argument("--json", action="store_true", help="print the report as JSON")
