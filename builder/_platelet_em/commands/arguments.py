"""The arguments of the command `platelet-em`, with their help.

Nothing large is imported here: help and completion are there at once.
"""

import argparse
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

from _platelet_em import __version__
from _platelet_em.commands.help_texts import COMPLETION, INFO_DETAILS, VERIFY_DETAILS
from _platelet_em.commands.options import (
    ANYWHERE,
    add_archive_options,
    add_common,
    add_description,
    add_force,
    add_label_source,
    add_sample_options,
    add_with_test,
    refuse_other_sources,
)
from _platelet_em.export.registry import FORMATS, LOSSY
from _platelet_em.facts import (
    LABEL_FORMS,
    PICTURE_PALETTES,
    PUBLISHED,
)
from _platelet_em.limits import MAX_PAGES

__all__ = ["parse_arguments"]

_Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

_SLICES = re.compile(r"all|\d{1,9}(-\d{1,9})?")


def parse_arguments(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parse a command line; `command` in the result is the name of the command.

    Args:
        arguments: Without the name of the program; None is those of this process.

    Raises:
        SystemExit: with code 2 for arguments that are not accepted, with 0 after `--help`, and
            without a command, which prints the help.
    """
    parser = argparse.ArgumentParser(
        prog="platelet-em",
        description="The platelet-em electron-microscopy dataset for Hugging Face datasets.",
        epilog=COMPLETION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    add_common(parser, default=False)
    commands = parser.add_subparsers(metavar="COMMAND", dest="command")
    _add_build(commands)
    _add_push(commands)
    _add_sample(commands)
    _add_info(commands)
    _add_show(commands)
    _add_convert(commands)
    _add_export(commands)
    _add_verify(commands)
    _add_describe(commands)
    _complete(parser)
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        parser.exit()
    if options.command in ("build", "push"):
        refuse_other_sources(options, parser)
    if options.command == "show":
        _parse_show(options, parser)
    return options


def _complete(parser: argparse.ArgumentParser) -> None:
    """Answer a shell that asks for completions, and end; else do nothing."""
    if "_ARGCOMPLETE" in os.environ:
        try:
            import argcomplete  # noqa: PLC0415  # for shells only
        except ImportError:
            return
        argcomplete.autocomplete(parser)


def _parse_show(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """Read the slices of `show`; a path after them is the source: `show --z 0 repo`."""
    words: list[str] = options.z or ["0"]
    if options.source is None and not _SLICES.fullmatch(words[-1]):
        options.source = words.pop()
    if options.source is None:
        parser.error(f"show: expected a SOURCE: {ANYWHERE}")
    slices: dict[int, None] = {}  # each once, in the order in which they are named
    for text in words:
        if not _SLICES.fullmatch(text):
            parser.error(f"--z: expected slices such as 0, 0-5 or all, got {text!r}")
        if text == "all":
            continue
        first, _, last = text.partition("-")
        count = int(last or first) - int(first) + 1
        if not 0 < count <= MAX_PAGES:
            parser.error(f"--z: expected a range of 1 to {MAX_PAGES} slices, got {text!r}")
        slices |= dict.fromkeys(range(int(first), int(first) + count))
    options.z = None if "all" in words else [*slices]


def _add(commands: _Commands, name: str, purpose: str, *examples: str) -> argparse.ArgumentParser:
    lines = "\n".join(f"  platelet-em {example}" for example in examples)
    command = commands.add_parser(
        name,
        help=purpose,
        description=f"{purpose[0].upper()}{purpose[1:]}.",
        epilog=f"examples:\n{lines}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_common(command, default=argparse.SUPPRESS)
    return command


def _add_build(commands: _Commands) -> None:
    command = _add(
        commands,
        "build",
        "write a complete Hub repository: Parquet files and the dataset card",
        "build repo                        # downloads the archive",
        "build repo --data-dir archives    # reads it from a folder",
        "build repo --sample --depth 6     # from a synthetic scene",
        "build repo --description my.toml  # from your own files",
    )
    command.add_argument(
        "out", type=Path, help="folder of the repository; an interrupted build is continued there"
    )
    add_force(
        command,
        "replace a repository that was built from other archives or labels, and a README.md that "
        "build has not written or that was edited since",
    )
    add_archive_options(command)


def _add_push(commands: _Commands) -> None:
    command = _add(
        commands,
        "push",
        "upload a built repository to the Hugging Face Hub, after building it if necessary",
        "push user/platelet-em repo --dry-run      # lists what would be uploaded",
        "push user/platelet-em repo",
        "push user/platelet-em                     # downloads the archive, builds, uploads",
        "push user/my-test --sample --private      # uploads a synthetic scene",
        "push user/platelet-em --data-dir archives --label-source tif --revision rgba",
        "push user/my-data repo --description my.toml",
    )
    command.add_argument(
        "repo_id", metavar="REPO_ID", help="USER/NAME; created if it does not exist"
    )
    command.add_argument(
        "folder",
        metavar="FOLDER",
        type=Path,
        nargs="?",
        help="a built repository, which must be undamaged, or the folder to build it in (default: "
        "a folder in the cache)",
    )
    command.add_argument(
        "--private", action="store_true", help="create a private repository, if it is created"
    )
    command.add_argument("--revision", help="branch; created if it does not exist (default: main)")
    command.add_argument("--message", help="commit message (default: names this version)")
    command.add_argument("--tag", help="tag the result; the tag must not exist (default: no tag)")
    command.add_argument(
        "--create-pr", action="store_true", help="open a pull request for the branch instead"
    )
    command.add_argument(
        "--overwrite-card", action="store_true", help="replace a card that was edited on the Hub"
    )
    command.add_argument(
        "--dry-run", action="store_true", help="change nothing on the Hub, list what would change"
    )
    add_archive_options(command, label_source=None)


def _add_sample(commands: _Commands) -> None:
    command = _add(
        commands,
        "sample",
        "write the two archives of a synthetic dataset in the publisher's layout",
        "sample archives",
        "sample archives --depth 50 --size 800   # as large as the published dataset",
    )
    command.add_argument("folder", type=Path, help="folder for the archives")
    add_force(command, "replace archives that are there, when the new ones are complete")
    add_with_test(
        command, "write a third archive, in the layout of the paper's, with the volume test"
    )
    add_sample_options(command)


def _add_info(commands: _Commands) -> None:
    command = _add(
        commands,
        "info",
        "describe the dataset, or the content of archives or of a built repository",
        "info",
        "info archives",
        "info repo",
        "info user/platelet-em --json",
        "info my.toml                     # own volumes",
    )
    command.description = f"{command.description}\n\n{INFO_DETAILS}"
    command.add_argument(
        "path", nargs="?", help=f"{ANYWHERE} (default: describe the dataset itself)"
    )
    command.add_argument("--json", action="store_true", help="print the description as JSON")


def _add_show(commands: _Commands) -> None:
    command = _add(
        commands,
        "show",
        "draw slices with their labels as PNG files",
        "show repo",
        "show archives --volume 24 --z 0 5 10-12 --out pictures",
        "show repo --z all --out pictures",
        "show user/platelet-em --z 10             # fetches only what it needs from the Hub",
        "show my.toml --volume stack1             # own volumes",
    )
    command.add_argument("source", nargs="?", help=ANYWHERE)
    names = [volume.name for volume in PUBLISHED.with_optional().volumes]
    # Without `choices`, which are checked before anything is said about the source.
    volume: Any = command.add_argument(
        "--volume",
        metavar="NAME",
        help=f"volume: {', '.join(names)}, or one of your own (default: the first one)",
    )
    volume.completer = lambda **_: names  # what argcomplete asks for
    command.add_argument(
        "--z",
        nargs="+",
        action="extend",
        metavar="Z",
        help="slices, counted from 0, ranges of them such as 0-5, or all (default: 0)",
    )
    command.add_argument(
        "--out",
        type=Path,
        default=Path(),
        help="folder for the pictures (default: the current folder)",
    )
    command.add_argument(
        "--palette",
        choices=PICTURE_PALETTES,
        default=PICTURE_PALETTES[0],
        help="colors of the classes: accessible, also to color-blind readers; publisher, as in "
        f"the published pictures (default: {PICTURE_PALETTES[0]})",
    )
    add_label_source(command, default=None, described="that of a repository, otherwise json")


def _add_convert(commands: _Commands) -> None:
    command = _add(
        commands,
        "convert",
        "convert a label file, voxel for voxel, to JSON, a TIF of ids, or an RGBA TIF",
        "convert 50-instance-cell.json 50-instance-cell.tif --form index",
        "convert 50-semantic.json 50-semantic.tif --palette A",
        "convert 50-instance-organelle.tif organelles.json",
        "convert 'labels/*.png' classes.json --kind semantic --description my.toml",
    )
    command.add_argument(
        "source",
        type=Path,
        help="a .json or .tif label file; with --description also a .png, or a pattern of slices "
        "in quotes",
    )
    command.add_argument("target", type=Path, help="the file to write")
    command.add_argument(
        "--form",
        choices=LABEL_FORMS,
        help="json; index: a TIF of uint16 ids; rgba: a TIF of colors (default: by the suffix "
        "of the target, json or rgba; index for classes without colors)",
    )
    command.add_argument(
        "--kind",
        choices=("semantic", "instance"),
        help="classes or instances (default: as in the name of the source)",
    )
    command.add_argument(
        "--palette",
        metavar=f"{{{','.join(PUBLISHED.palettes)}}}",
        help="colors of classes: A, of older files; B, of the current archives (default: B); of "
        "own volumes those of the description",
    )
    add_description(
        command,
        "description of your own volumes, for their classes and colors (default: the published "
        "classes)",
    )
    add_force(command, "replace an existing target, when the new file is complete")


def _add_export(commands: _Commands) -> None:
    command = _add(
        commands,
        "export",
        "write volumes in the format of another tool, voxel for voxel",
        "export repo tif --to tiff",
        "export archives cells --to tiff --split train --kinds cells",
        "export user/platelet-em tif --to tiff    # fetches the slices from the Hub",
        "export my.toml tif --to tiff             # own volumes",
    )
    formats = "\n".join(f"  {each.name:9} {each.purpose}" for each in FORMATS)
    command.description = (
        f"{command.description}\n\nformats:\n{formats}\n\nNot offered, since they would lose "
        f"voxels or ids: {', '.join(LOSSY)}."
    )
    command.add_argument("source", metavar="SOURCE", help=ANYWHERE)
    command.add_argument(
        "out",
        metavar="OUT",
        type=Path,
        help="folder to write; there must be nothing in it. It gets its name when it is complete",
    )
    # Without `choices`: a format that is not offered gets its reason.
    to: Any = command.add_argument(
        "--to", metavar="FORMAT", required=True, help="the format, see above"
    )
    to.completer = lambda **_: [each.name for each in FORMATS]
    command.add_argument(
        "--split",
        nargs="+",
        action="extend",
        metavar="SPLIT",
        help="splits to write (default: all, of archives train and validation)",
    )
    command.add_argument(
        "--volume",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="names of volumes to write (default: all)",
    )
    command.add_argument(
        "--kinds",
        nargs="+",
        action="extend",
        metavar="COLUMN",
        help="label columns to write, such as semantic cells organelles (default: all)",
    )
    command.add_argument(
        "--no-imagej",
        dest="imagej",
        action="store_const",
        const=False,
        help="tiff: BigTIFFs with ids of 32 bits, instead of files for ImageJ, which reads ids up "
        "to 65535",
    )
    command.add_argument(
        "--counts",
        choices=("compressed", "uncompressed"),
        help="coco: run lengths of masks as strings, as pycocotools writes them, or as lists of "
        "integers (default: compressed)",
    )
    command.add_argument(
        "--ome",
        metavar="VERSION",
        help="ome-zarr: version, 0.5 (Zarr v3, few files) or 0.4 (Zarr v2, a file per chunk) "
        "(default: 0.5)",
    )
    add_label_source(command, default=None, described="that of a repository, otherwise json")


def _add_verify(commands: _Commands) -> None:
    command = _add(
        commands,
        "verify",
        "check archives and built repositories, each alone and against the others",
        "verify archives                   # both zips, and one against the other",
        "verify images_and_labels_json.zip",
        "verify extracted",
        "verify repo                       # checksums, schema, card, every field of every row",
        "verify archives repo --json       # and voxel for voxel; the report as JSON",
        "verify my.toml repo               # own files, and the repository built from them",
        "verify user/platelet-em           # downloads it first",
    )
    command.description = f"{command.description}\n\n{VERIFY_DETAILS}"
    command.add_argument(
        "paths",
        metavar="PATH",
        nargs="+",
        help=f"{ANYWHERE}; such a dataset is downloaded first, into the cache of the Hub's client",
    )
    command.add_argument(
        "--verbose", action="store_true", help="print all figures, not only errors and remarks"
    )
    command.add_argument("--json", action="store_true", help="print the report as JSON")


def _add_describe(commands: _Commands) -> None:
    command = _add(
        commands,
        "describe",
        "write a first description of your own volumes, by looking at the files of a folder",
        "describe my-data                           # prints it",
        "describe my-data --out my-data/my.toml",
        "describe my-data --out my.toml --force     # replaces it",
    )
    command.add_argument(
        "folder",
        metavar="FOLDER",
        type=Path,
        help="folder of TIF, PNG and JSON files, and of lists",
    )
    command.add_argument(
        "--out",
        type=Path,
        help="the description to write (default: print it); its guesses are "
        "marked as such: check them",
    )
    add_force(command, "replace an existing description")
