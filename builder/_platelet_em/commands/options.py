"""Options and descriptions of sources that several commands have."""

import argparse
from pathlib import Path
from typing import Any

from _platelet_em.facts import COLOR_MAP_ENTRIES, LABEL_SOURCES, MIRRORS

__all__ = [
    "ANYWHERE",
    "add_archive_options",
    "add_common",
    "add_description",
    "add_force",
    "add_label_source",
    "add_sample_options",
    "add_with_test",
    "refuse_other_sources",
    "sample_options",
]

_PLACES = "a zip of the publisher, its extracted folder"
_ARCHIVES = f"{_PLACES}, or a folder with the zips"

ANYWHERE = (
    f"a built repository, {_PLACES}, a folder with the zips, a description of own volumes "
    "(.toml), or a dataset on the Hub (USER/NAME or hf://datasets/USER/NAME[@REVISION]); a path "
    "that exists goes before a name on the Hub"
)


def sample_options(options: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `write_sample` that the user gave; the others have defaults there."""
    given = {name: getattr(options, name) for name in ("depth", "size", "seed", "colors")}
    return {name: value for name, value in given.items() if value is not None}


def add_common(parser: argparse.ArgumentParser, default: object) -> None:
    """Options that may stand before the command, and after it."""
    parser.add_argument(
        "--debug", action="store_true", default=default, help="show the traceback of an error"
    )
    parser.add_argument(
        "--quiet", action="store_true", default=default, help="no progress bars and no remarks"
    )


def add_label_source(
    command: argparse.ArgumentParser,
    default: str | None = "json",
    described: str = "that of a complete FOLDER, otherwise json",
) -> None:
    """Add --label-source; its default may be None, with words that say what that is."""
    described = default or described
    command.add_argument(
        "--label-source",
        choices=LABEL_SOURCES,
        default=default,
        help="json: labels with the true ids; tif: labels as colors, whose ids are numbered by "
        f"first appearance (default: {described})",
    )


def add_force(command: argparse.ArgumentParser, purpose: str) -> None:
    command.add_argument("--force", action="store_true", help=purpose)


def add_sample_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("synthetic sample")
    group.add_argument(
        "--depth",
        type=int,
        help="slices of volume 50; volume 24 gets 24/50 of this depth (default: 12)",
    )
    group.add_argument("--size", type=int, help="pixels along y and x (default: 512)")
    group.add_argument("--seed", type=int, help="number of the random scene (default: 0)")
    group.add_argument(
        "--colors",
        type=int,
        choices=[COLOR_MAP_ENTRIES],
        help="write the RGBA labels through a color map of 256 entries, as the publisher's writer "
        "does: ids share colors, and some become background (default: one color per id)",
    )


def add_archive_options(
    command: argparse.ArgumentParser, label_source: str | None = "json"
) -> None:
    command.add_argument(
        "--data-dir", type=Path, help=f"{_ARCHIVES} (default: download the archive)"
    )
    add_description(
        command,
        "description of your own volumes, which are used instead of the published ones; "
        "see platelet-em describe --help (default: the published volumes)",
    )
    command.add_argument(
        "--cache-dir",
        type=Path,
        help="folder in which downloads are kept (default: the cache of datasets); the "
        f"environment variable {MIRRORS} lists mirrors to try before the publisher, separated by "
        "commas",
    )
    command.add_argument(
        "--sample", action="store_true", help="use the synthetic sample instead of archives"
    )
    command.add_argument(
        "--num-proc",
        type=_number_of_processes,
        metavar="N",
        default=1,
        help="processes that write data files, the same bytes as one does; each has a volume in "
        "memory and takes seconds to start (default: 1)",
    )
    add_with_test(
        command,
        "add the split test, the paper's third volume, which has classes and no instances; its "
        "archive is looked for in DATA_DIR, or else downloaded",
    )
    add_label_source(command, label_source)
    add_sample_options(command)


def _number_of_processes(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text!r}")
    return int(text)


def add_with_test(command: argparse.ArgumentParser, purpose: str) -> None:
    command.add_argument("--with-test", action="store_true", help=purpose)


def add_description(command: argparse.ArgumentParser, purpose: str) -> None:
    """Add --description."""
    command.add_argument("--description", type=Path, metavar="FILE", help=purpose)


def refuse_other_sources(options: argparse.Namespace, parser: argparse.ArgumentParser) -> None:
    """End with an error if volumes are asked for that are not all from one source."""
    if options.sample and options.data_dir is not None:
        parser.error("--sample makes its own archives: leave out --data-dir")
    if options.description is not None:
        given = {
            "--data-dir": options.data_dir is not None,
            "--sample": options.sample,
            "--with-test": options.with_test,
            "--label-source": options.label_source not in (None, LABEL_SOURCES[0]),
        }
        if others := [name for name, is_given in given.items() if is_given]:
            parser.error(
                f"--description names the volumes and their labels: leave out {others[0]}"
            )
    if not options.sample and (given_names := sample_options(options)):
        names = ", ".join(f"--{name}" for name in given_names)
        parser.error(f"{names}: only for the synthetic sample: add --sample")
