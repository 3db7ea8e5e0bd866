"""What each command of `platelet-em` does, and what it prints."""

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import datasets
from datasets.utils import tqdm
from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars

from _platelet_em.commands.info import describe, inspect
from _platelet_em.commands.options import sample_options
from _platelet_em.commands.show import show
from _platelet_em.description.draft import draft_description
from _platelet_em.description.parse import read_description
from _platelet_em.errors import ArgumentError
from _platelet_em.export.run import export
from _platelet_em.facts import PUBLISHED
from _platelet_em.files import new_file, refuse_existing, user_path
from _platelet_em.hub.build import build
from _platelet_em.hub.layout import data_files
from _platelet_em.hub.location import is_description
from _platelet_em.hub.push import push
from _platelet_em.hub.record import origin_warning, read_record
from _platelet_em.hub.remote import HubPath, download_repository, open_location
from _platelet_em.rows.make import CONFIG_NAMES
from _platelet_em.sample.write import write_sample
from _platelet_em.sources.convert import convert
from _platelet_em.spec import DatasetSpec
from _platelet_em.verify.run import verify

__all__ = ["ACTIONS", "limit_progress_bars"]

Write = Callable[[object], None]
"""Prints a line."""


def limit_progress_bars(*, quiet: bool) -> None:
    """Switch off the bars of this process, also those of `datasets` and of the Hub's client.

    Args:
        quiet: Whether to do so in a terminal, too.
    """
    # Its thread redraws bars that stand still. Where no thread can be started, tqdm would warn.
    tqdm.monitor_interval = 0
    if quiet or sys.stderr is None or not sys.stderr.isatty():
        datasets.disable_progress_bars()
        if not are_progress_bars_disabled():
            disable_progress_bars()


@contextlib.contextmanager
def _archives(options: argparse.Namespace) -> Iterator[Path | None]:
    """The archives to build from: those that the user names, or a sample in a temporary folder."""
    if not options.sample:
        yield options.data_dir
        return
    with tempfile.TemporaryDirectory(prefix="platelet-em-") as folder:
        write_sample(folder, with_test=options.with_test, **sample_options(options))
        yield Path(folder)


def _dataset(description: Path | None) -> DatasetSpec:
    """The dataset that a description describes; the published one without."""
    return PUBLISHED if description is None else read_description(description)


def _build(options: argparse.Namespace, write: Write) -> None:
    spec = _dataset(options.description)
    with _archives(options) as data_dir:
        out = build(
            options.out,
            data_dir=data_dir,
            label_source=options.label_source,
            cache_dir=options.cache_dir,
            with_test=options.with_test,
            force=options.force,
            num_proc=options.num_proc,
            spec=spec,
        )
    record = next(filter(None, map(read_record, data_files(out, CONFIG_NAMES[0]))))
    if warning := origin_warning(record, spec):
        write(warning)
    write(f"{out} is complete. Load it: datasets.load_dataset({str(out)!r}, 'slices')")


def _push(options: argparse.Namespace, write: Write) -> None:
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
            with_test=options.with_test,
            num_proc=options.num_proc,
            spec=_dataset(options.description),
        )
    for line in done.describe():
        write(line)


def _sample(options: argparse.Namespace, write: Write) -> None:
    for path in write_sample(
        options.folder,
        with_test=options.with_test,
        force=options.force,
        **sample_options(options),
    ):
        write(path)


def _info(options: argparse.Namespace, write: Write) -> None:
    if options.path is not None and is_description(options.path):
        found = inspect(None, read_description(options.path))
    else:
        found = inspect(None if options.path is None else open_location(options.path))
    for line in json.dumps(found, indent=1).splitlines() if options.json else describe(found):
        write(line)


def _show(options: argparse.Namespace, write: Write) -> None:
    own = is_description(options.source)
    for path in show(
        None if own else open_location(options.source),
        options.out,
        volume=options.volume,
        slices=options.z,
        label_source=options.label_source,
        palette=options.palette,
        spec=read_description(options.source) if own else PUBLISHED,
    ):
        write(path)


def _convert(options: argparse.Namespace, write: Write) -> None:
    convert(
        options.source,
        options.target,
        form=options.form,
        semantic=None if options.kind is None else options.kind == "semantic",
        palette=options.palette,
        force=options.force,
        spec=_dataset(options.description),
    )
    write(options.target)


def _export(options: argparse.Namespace, write: Write) -> None:
    out = export(
        options.source,
        options.out,
        to=options.to,
        split=options.split,
        volume=options.volume,
        kinds=options.kinds,
        label_source=options.label_source,
        imagej=options.imagej,
        counts=options.counts,
        ome=options.ome,
    )
    write(f"{out} is complete")


def _verify(options: argparse.Namespace, write: Write) -> int:
    described = [path for path in options.paths if is_description(path)]
    if len(described) > 1:
        raise ArgumentError(
            f"expected one description at most, got {', '.join(described)}: verify one after the "
            "other"
        )
    others = [path for path in options.paths if path not in described]
    spec = read_description(described[0]) if described else PUBLISHED
    report = verify([_fetch(path, quiet=options.quiet) for path in others], spec)
    lines = (
        report.to_json().splitlines() if options.json else report.lines(verbose=options.verbose)
    )
    for line in lines:
        write(line)
    return 1 if report.errors else 0


def _fetch(text: str, *, quiet: bool) -> Path:
    """The path that the user names, or that of a copy of a dataset on the Hub."""
    found = open_location(text)
    if isinstance(found, HubPath):
        sizes = found.commit.sizes.values()
        if not quiet and sys.stderr is not None:
            message = f"{found}: downloading {len(sizes)} files, {sum(sizes) / 1e6:.1f} MB"
            print(message, file=sys.stderr)  # noqa: T201  # a remark, and no part of the report
        return download_repository(found)
    return found


def _describe(options: argparse.Namespace, write: Write) -> None:
    out: Path | None = options.out
    if out is not None and not options.force:
        refuse_existing(user_path(out))
    text = draft_description(options.folder, out)
    if out is None:
        for line in text.splitlines():
            write(line)
        return
    with new_file(user_path(out), overwrite=options.force) as file:
        file.write(text.encode())
    write(f"{out} is written. Check its guesses, then: platelet-em show {out}")


ACTIONS: dict[str, Callable[[argparse.Namespace, Write], int | None]] = {
    "build": _build,
    "push": _push,
    "sample": _sample,
    "info": _info,
    "show": _show,
    "convert": _convert,
    "export": _export,
    "verify": _verify,
    "describe": _describe,
}
