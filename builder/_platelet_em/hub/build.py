"""`build`: a Hub repository written from the files of a dataset.

A build writes into a folder of its own inside the repository, file by file. When all files are
complete, they take the place of an earlier build (exchange.py); the card is the last file. The
next build from the same archive with the same code reuses the files that an interrupted build has
finished.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from _platelet_em import __version__
from _platelet_em.errors import OutputError, PlateletEMError, printable, quote
from _platelet_em.facts import PUBLISHED, is_published
from _platelet_em.files import exclusive_lock, new_file, user_path
from _platelet_em.hub.card import (
    CARD_MARK,
    draw_card_picture,
    is_edited_locally,
    render_card,
)
from _platelet_em.hub.croissant import render_croissant
from _platelet_em.hub.exchange import (
    check_exchangeable,
    exchange,
    finish_exchange,
    folders_of,
    present_spec,
)
from _platelet_em.hub.jobs import divide_jobs, plan_split, whole_split
from _platelet_em.hub.layout import (
    CARD,
    CROISSANT,
    DESCRIPTION,
    LOCK,
    STAGING,
    metadata_files,
    picture_name,
    repository_files,
)
from _platelet_em.hub.record import EXTRACTED, OWN, SYNTHETIC, find_origin, read_record
from _platelet_em.hub.stored_spec import store_spec, stored_spec
from _platelet_em.hub.strays import find_strays
from _platelet_em.hub.workers import check_num_proc, write_in_processes
from _platelet_em.hub.write import DataWriter, discard_empty
from _platelet_em.progress import progress_bar
from _platelet_em.publisher.archive import Identity
from _platelet_em.rows.digest import code_digest
from _platelet_em.rows.picture import DRAWING, to_png
from _platelet_em.sources.opening import VolumeFiles, check_label_source, find_files
from _platelet_em.spec import DatasetSpec

__all__ = ["build", "one_build_at_a_time", "plan_record"]


def plan_record(
    data_dir: str | Path | None,
    label_source: str,
    cache_dir: str | Path | None,
    spec: DatasetSpec = PUBLISHED,
) -> dict[str, str]:
    """The record that a build from these arguments would have; see `build`."""
    files = find_files(spec, check_label_source(label_source, spec), data_dir, cache_dir)
    return _make_record(files, files.identity())


def build(
    out: str | Path,
    *,
    data_dir: str | Path | None = None,
    label_source: str = "json",
    cache_dir: str | Path | None = None,
    with_test: bool = False,
    force: bool = False,
    num_proc: int = 1,
    spec: DatasetSpec = PUBLISHED,
) -> Path:
    """Write a complete Hub repository: Parquet for every configuration, croissant.json, the card.

    Memory goes with the runs of the labels of one volume, and with a slab of slices; rows of
    `volumes`, of which Arrow needs several copies, are left out where they are large.

    Args:
        out: Folder of the repository; it is created or updated. Files with other names in it are
            not changed, and an earlier build stays until the new one is complete.
        data_dir: A zip of the publisher, an extracted folder, or a folder with the zips; None
            downloads the archive.
        label_source: "json" or "tif".
        cache_dir: Where the download is kept; None is the cache of `datasets`.
        with_test: Whether to add the split "test", whose archive is looked for in `data_dir`, or
            else downloaded.
        force: Whether to replace a build from other archives, or with other labels, or a README.md
            that no build has written or that was edited since.
        num_proc: Number of processes that write data files, with the same bytes as one; each has
            a volume in memory. A program that asks for several needs `if __name__ == "__main__":`.
        spec: The dataset; own volumes need no `data_dir` and no label source.

    Returns:
        The folder.

    Raises:
        ArgumentError: for a `num_proc` that is no whole number of at least 1.
        OutputError: for a folder that cannot be written to, or contains other data under names
            of this dataset, or, without `force`, what `force` replaces; or if a process that
            writes was killed.
        PlateletEMError: for archives that are missing or damaged, or a repository of a newer
            schema.
    """
    check_num_proc(num_proc)
    out = user_path(out)
    spec = spec.with_optional() if with_test else spec
    _refuse_foreign(out, present_spec(out, spec))
    files = find_files(spec, check_label_source(label_source, spec), data_dir, cache_dir)
    identity = files.identity()
    record = _make_record(files, identity)
    with one_build_at_a_time(out):
        with _explain_write_errors(out):
            finish_exchange(out, spec)
        before = stored_spec(out, spec)
        _refuse_foreign(out, before)
        check_exchangeable(out, before, spec)
        if not force:
            _refuse_other_build(out, record, before)
            _refuse_other_card(out)
        _build(out, files, identity, record, num_proc)
    return out


@contextmanager
def one_build_at_a_time(out: Path) -> Iterator[None]:
    """Lock a repository by a file in it, which is deleted afterwards.

    Raises:
        OutputError: if another build or push has locked it, or it cannot be written to.
    """
    path = Path(os.path.realpath(out), LOCK)

    def refuse() -> None:
        raise OutputError(
            f"{out}: another build or push is running there: wait until it has ended"
        )

    with ExitStack() as stack:
        try:
            stack.enter_context(exclusive_lock(path, on_wait=refuse))
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            raise OutputError(
                f"{path}: cannot be written: {error.strerror}: make its folder writable, or "
                "choose another folder"
            ) from error
        yield


def _build(
    out: Path, files: VolumeFiles, identity: Identity, record: dict[str, str], num_proc: int
) -> None:
    spec = _measure_volumes(files)
    staging = _open_staging(out, record["fingerprint"])
    _write_data(staging, files, record, spec, num_proc)
    try:
        files.check(identity)
    except PlateletEMError:
        # Its name says that it was made of the content before.
        shutil.rmtree(staging, ignore_errors=True)
        raise
    contents = {
        picture_name(volume): to_png(draw_card_picture(staging, volume, spec))
        for volume in spec.pictured_volumes
    }
    if not is_published(spec):
        contents[DESCRIPTION] = store_spec(spec)
    contents[CROISSANT] = render_croissant(staging, record, spec).encode()
    contents[CARD] = render_card(staging, record, spec).encode()
    for name, content in contents.items():
        with new_file(staging / name) as file:
            file.write(content)
    with _explain_write_errors(out):
        exchange(out, staging, spec)
        shutil.rmtree(out / STAGING)


def _measure_volumes(files: VolumeFiles) -> DatasetSpec:
    """The dataset with the shapes of its own volumes, which their files tell."""
    spec = files.spec
    if spec.archives:
        return spec
    volumes = progress_bar(spec.volumes, stage="Looking at volumes", unit="volume", leave=False)
    return replace(spec, volumes=tuple(replace(v, shape=files.shape(v)) for v in volumes))


def _write_data(
    staging: Path, files: VolumeFiles, record: dict[str, str], spec: DatasetSpec, num_proc: int
) -> None:
    """Write the data files of all splits that an interrupted build has not finished."""
    # Own volumes were measured; of published ones the files decide, such as those of a sample.
    shapes = {v.name: files.shape(v) if spec.archives else v.known_shape for v in spec.volumes}
    plans = [plan_split(volumes, shapes) for volumes in spec.splits.values()]
    if num_proc == 1:
        with DataWriter(staging, files, record, spec) as writer:
            for plan in plans:
                job = whole_split(plan)
                alone = len(plan.volumes) == 1
                subject = f"volume {plan.volumes[0].name}" if alone else f"split {plan.name}"
                stage = f"Writing {subject}"
                with progress_bar(stage=stage, unit="part", total=job.parts) as bar:
                    writer.write(plan, job, bar.update)
    else:
        jobs, total = divide_jobs(plans, num_proc), sum(whole_split(plan).parts for plan in plans)
        stage = f"Writing with {num_proc} processes"
        with progress_bar(stage=stage, unit="part", total=total) as bar:
            write_in_processes(
                staging, files, plans, jobs, record, spec, num_proc=num_proc, update=bar.update
            )
    for plan in plans:
        discard_empty(staging, plan)


@contextmanager
def _explain_write_errors(out: Path) -> Iterator[None]:
    """Name the path that cannot be written when files are moved into a repository."""
    try:
        yield
    except OSError as error:
        path = error.filename2 or error.filename or out
        raise OutputError(
            f"{path}: cannot be written: {error.strerror}: make it writable, or choose another "
            "folder, and build again: finished files are reused"
        ) from error


def _make_record(files: VolumeFiles, identity: Identity) -> dict[str, str]:
    spec, label_source, origin = files.spec, files.label_source, files.origin()
    folder = EXTRACTED if spec.archives else OWN
    names = [folder if name is None else name for name in origin.names]
    md5s = identity.md5.split("+")
    dataset = repr(replace(spec, folder=""))
    parts = [code_digest(), dataset, label_source, *names, *md5s]
    fingerprint = hashlib.sha256("\n".join(parts).encode("utf-8", "surrogateescape"))
    record = {
        "fingerprint": fingerprint.hexdigest()[:32],
        "label_source": label_source,
        "archive": names[0],
        "archive_md5": md5s[0],
        "tool_version": __version__,
        "drawing": DRAWING,
    }
    if spec.archives:  # a build of other own volumes is one of other files
        record |= {"volumes": " ".join(volume.name for volume in spec.volumes)}
    for name, md5 in zip(names[1:], md5s[1:], strict=True):
        record |= {"test_archive": name, "test_archive_md5": md5}
    record |= dict(origin.notes)
    return {**record, "origin": SYNTHETIC if origin.is_sample else find_origin(record, spec)}


def _refuse_foreign(out: Path, spec: DatasetSpec) -> None:
    """Refuse a folder in which files that no build has written would be replaced or deleted."""
    try:
        str(out).encode()
    except UnicodeEncodeError as error:
        # pyarrow cannot open it.
        raise OutputError(
            f"{str(out)!r}: expected a folder whose name is valid Unicode: choose another folder"
        ) from error
    staging = out / STAGING
    if os.path.lexists(staging) and (staging.is_symlink() or not staging.is_dir()):
        # What is there would be deleted; a repository of a stranger may link it to anything.
        raise OutputError(
            f"{staging}: expected the folder of an unfinished build, or nothing: delete this link "
            "or file, or choose another folder"
        )
    for path in folders_of(out, spec):
        if path.exists() and not path.is_dir():
            raise OutputError(
                f"{path}: expected a folder, or nothing there yet: choose another folder"
            )
    found = repository_files(out, spec)
    # One file with a record is enough: damaged files of a build are made again. All are read,
    # since any of them may have a newer schema.
    records = [read_record(path) for path in found if path.suffix == ".parquet"]
    if found and not any(records):
        raise OutputError(
            f"{found[0]}: was not written by platelet-em build: choose another folder"
        )
    for path in (*(out / name for name in metadata_files(spec)), *found):
        if os.path.lexists(path) and not path.is_file():
            raise OutputError(
                f"{path}: expected a file, or nothing there yet: choose another folder"
            )
    if (stray := next(find_strays(out, spec), None)) is not None:
        raise OutputError(
            f"{printable(str(stray))}: datasets may read this file besides those of a build: move "
            "it away, or choose another folder"
        )


def _refuse_other_build(out: Path, record: dict[str, str], spec: DatasetSpec) -> None:
    """Refuse to replace a build from other files, which the user may not have any more."""
    for path in repository_files(out, spec):
        found = (read_record(path) if path.suffix == ".parquet" else None) or {}
        for key in ("label_source", "archive_md5", "test_archive_md5"):
            if key in record and found.get(key, record[key]) != record[key]:
                raise OutputError(
                    f"{out}: contains a build of other data: expected {key.replace('_', ' ')} "
                    f"{record[key]}, got {quote(found[key])} (from {quote(found.get('archive'))})"
                    ": choose another folder, or replace it with --force (in Python, force=True)"
                )
        missing = {*str(found.get("volumes", "")).split()} - {*record.get("volumes", "").split()}
        if missing:
            raise OutputError(
                f"{out}: contains a build with volume {min(missing)}, too: build with that volume "
                "(--with-test), choose another folder, or replace it with --force (in Python, "
                "force=True)"
            )


def _refuse_other_card(out: Path) -> None:
    """Refuse to replace words of the user; the card of an older version may have been edited."""
    path = out / CARD
    if not path.is_file():
        return
    text = path.read_text("utf-8", "replace")
    if CARD_MARK not in text:
        raise OutputError(
            f"{path}: was not written by platelet-em build: move it away, or replace it with "
            "--force (in Python, force=True)"
        )
    if is_edited_locally(text):
        raise OutputError(
            f"{path}: was edited since it was built, and a build would replace it: copy what you "
            "want to keep, then build with --force (in Python, force=True)"
        )


def _open_staging(out: Path, fingerprint: str) -> Path:
    """The folder that the build writes into; unfinished builds from other input are deleted."""
    staging = out / STAGING / fingerprint
    with _explain_write_errors(out):
        staging.mkdir(parents=True, exist_ok=True)
        for other in staging.parent.iterdir():
            if other != staging:
                shutil.rmtree(other)
    return staging
