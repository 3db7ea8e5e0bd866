"""The Hub repository: Parquet files of all configurations, their description, and the card.

A build works in a folder of its own inside the repository, file by file, and moves the files into
place when all of them are there, the card last. What an interrupted build has finished is taken
up by the next one, if it is made from the same archive by the same code.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from datasets.utils import tqdm
from filelock import FileLock, Timeout
from PIL import Image

from _platelet_em import __version__
from _platelet_em.errors import OutputError
from _platelet_em.facts import CONFIG_NAMES, CONFIGS, SAMPLE_COMMENT, VOLUMES, VolumeSpec
from _platelet_em.files import new_file, user_path
from _platelet_em.hub.card import CARD, CARD_MARK, draw_card_picture, picture_name, render_card
from _platelet_em.hub.croissant import CROISSANT, read_sums, render_croissant, sha256
from _platelet_em.hub.record import read_provenance
from _platelet_em.publisher.archive import Source, needed_files
from _platelet_em.publisher.cache import download_folder, obtain
from _platelet_em.publisher.volume import Volume, make_table, open_images
from _platelet_em.rows.digest import code_digest
from _platelet_em.rows.schema import arrow_schema, parquet_metadata
from _platelet_em.rows.shards import data_files, is_data_file, shard_bounds, shard_name

__all__ = [
    "build",
    "build_fingerprint",
    "is_repository_file",
    "one_build_at_a_time",
    "read_build",
    "repository_files",
]

_STAGING = ".platelet-em-build"
_BESIDE_DATA = (CARD, CROISSANT, *map(picture_name, VOLUMES))
"""What a build writes beside the data files."""

_RECORD_KEYS = {"fingerprint", "label_source", "origin"}
_ROWS_PER_GROUP = 10
"""The viewer fetches rows by group, and must not fetch more than it can hold."""


@dataclass(frozen=True, slots=True)
class _DataFile:
    """One Parquet file of the repository: its place, and the rows that it holds."""

    name: str
    config: str
    start: int
    stop: int


def repository_files(folder: Path) -> list[Path]:
    """The files that make up a built repository, as far as they are there; no others."""
    places = [(config, spec.split) for config in CONFIG_NAMES for spec in VOLUMES]
    data = [path for place in places for path in data_files(folder, *place)]
    beside = [folder / name for name in _BESIDE_DATA]
    return [path for path in beside if path.is_file()] + data


def is_repository_file(name: str) -> bool:
    """Whether builds write a file of this path in a repository: see `repository_files`."""
    return name in _BESIDE_DATA or is_data_file(name)


def read_build(folder: Path) -> dict[str, Any] | None:
    """The record of the complete build that a folder holds; None if it holds none.

    A build that was interrupted is none, nor is one with a file that is missing or damaged, a
    card that no build has written, or files of two builds side by side.

    Raises:
        SchemaVersionError: for data files of a newer schema.
    """
    if (folder / _STAGING).exists() or not all((folder / f).is_file() for f in _BESIDE_DATA):
        return None
    records = []
    for config in CONFIG_NAMES:
        for spec in VOLUMES:
            files = data_files(folder, config, spec.split)
            names = [shard_name(config, spec.split, i, len(files)) for i in range(len(files))]
            if not files or files != [folder / name for name in names]:
                return None
            records += [read_provenance(path) for path in files]
    record = records[0]
    if not record or any(other != record for other in records) or not set(record) >= _RECORD_KEYS:
        return None
    return record if _is_intact(folder) else None


def _is_intact(folder: Path) -> bool:
    """Whether the card is a build's, the pictures are pictures, and the data have their sums."""
    data = [path for path in repository_files(folder) if path.suffix == ".parquet"]
    try:
        card = (folder / CARD).read_text("utf-8")
        for spec in VOLUMES:
            with Image.open(folder / picture_name(spec)) as picture:
                picture.verify()
        sums = read_sums(folder)
    except (ValueError, OSError, SyntaxError):
        return False
    here = {path.relative_to(folder).as_posix(): sha256(path) for path in data}
    return CARD_MARK in card and here == sums


def build_fingerprint(
    data_dir: str | Path | None, label_source: str, cache_dir: str | Path | None
) -> str:
    """What the record of a build from these arguments has as `fingerprint`; see `build`."""
    source = obtain(label_source, data_dir, cache_dir)
    return _provenance(source, label_source)["fingerprint"]


def build(
    out: str | Path,
    *,
    data_dir: str | Path | None = None,
    label_source: str = "json",
    cache_dir: str | Path | None = None,
) -> Path:
    """Write a complete Hub repository: Parquet for every configuration, croissant.json, the card.

    Args:
        out: The repository's folder; it is made, or brought up to date. Files of other names
            that are there stay as they are.
        data_dir: A zip of the publisher, an extracted folder, or a folder with the zips; None
            downloads the archive.
        label_source: "json" or "tif".
        cache_dir: Where the download is kept; None is the cache of `datasets`.

    Returns:
        The folder.

    Raises:
        PlateletEMError: for archives that cannot be had or read, or a place that cannot be
            written to, holds somebody else's data under our names, or a repository of a newer
            schema.
    """
    out = user_path(out)
    _refuse_foreign(out)
    source = obtain(label_source, data_dir, cache_dir)
    provenance = _provenance(source, label_source)
    with one_build_at_a_time(out):
        _build(out, source, provenance)
    return out


@contextmanager
def one_build_at_a_time(out: Path) -> Iterator[None]:
    """Hold a lock on a repository, which lies outside of it so that nothing stays behind there.

    Raises:
        OutputError: if another build, or a push, holds it.
    """
    name = hashlib.sha256(os.fsencode(os.path.realpath(out))).hexdigest()[:32]
    path = download_folder() / f"build-{name}.lock"
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputError(
            f"{out}: another build is at work there, or a push: wait until it has ended"
        ) from None
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be written: {error.strerror}: set HF_HOME to a place that can"
        ) from error
    try:
        yield
    finally:
        lock.release()


def _build(out: Path, source: Source, provenance: dict[str, str]) -> None:
    staging = _open_staging(out, provenance["fingerprint"])
    files: list[str] = []
    for spec in VOLUMES:
        files += _write_volume(staging, source, spec, provenance)
    with _writes(out):
        _publish(out, staging, files)
    contents = {picture_name(spec): draw_card_picture(out, spec) for spec in VOLUMES}
    contents[CROISSANT] = render_croissant(out, provenance).encode()
    # The card is the last: where it lies, all of the repository does.
    contents[CARD] = render_card(out, provenance).encode()
    for name, content in contents.items():
        with new_file(staging / name) as file:
            file.write(content)
        with _writes(out):
            (out / name).parent.mkdir(exist_ok=True)
            (staging / name).replace(out / name)
    with _writes(out):
        shutil.rmtree(staging.parent)


@contextmanager
def _writes(out: Path) -> Iterator[None]:
    """Say which place it is where files cannot be moved into a repository."""
    try:
        yield
    except OSError as error:
        place = error.filename2 or error.filename or out
        raise OutputError(
            f"{place}: cannot be written to: {error.strerror}: make it writable, or choose "
            "another folder, and build again: what is finished is taken up"
        ) from error


def _provenance(source: Source, label_source: str) -> dict[str, str]:
    identity = source.identity(needed_files(label_source))
    archive = source.path.name if source.is_zip else "an extracted folder"
    parts = [code_digest(), label_source, archive, identity]
    return {
        "fingerprint": hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32],
        "label_source": label_source,
        "archive": archive,
        "archive_md5": identity,
        "tool_version": __version__,
        "origin": "synthetic" if _is_sample(source) else "publisher",
    }


def _is_sample(source: Source) -> bool:
    """Whether the files are the embedded sample's; an extracted folder has lost the comment."""
    if source.is_zip:
        return source.comment == SAMPLE_COMMENT
    with open_images(source, VOLUMES[0]) as images:
        return images.description == SAMPLE_COMMENT


def _refuse_foreign(out: Path) -> None:
    """Stop before anything is overwritten or deleted that this project did not write."""
    try:
        str(out).encode()
    except UnicodeEncodeError as error:
        # pyarrow cannot open it.
        raise OutputError(
            f"{str(out)!r}: expected a folder whose name is text: choose another place"
        ) from error
    pictures = [out / picture_name(spec) for spec in VOLUMES]
    for place in (out, *(out / config for config in CONFIG_NAMES), pictures[0].parent):
        if place.exists() and not place.is_dir():
            raise OutputError(
                f"{place}: expected a folder, or nothing there yet: choose another place"
            )
    found = repository_files(out)
    # One file of ours makes it our repository, and what is damaged there is made again. All are
    # read: any of them may be of a newer schema.
    ours = [read_provenance(path) for path in found]
    if found and not (out / _STAGING).is_dir() and not any(ours):
        raise OutputError(
            f"{found[0]}: was not written by platelet-em build: choose another folder"
        )
    for path in (out / CARD, out / CROISSANT, *pictures, *found):
        if path.is_dir():
            raise OutputError(
                f"{path}: expected a file, or nothing there yet: choose another place"
            )


def _open_staging(out: Path, fingerprint: str) -> Path:
    """The folder that the build works in; what was begun from something else is thrown away."""
    staging = out / _STAGING / fingerprint
    with _writes(out):
        staging.mkdir(parents=True, exist_ok=True)
        for other in staging.parent.iterdir():
            if other != staging:
                shutil.rmtree(other)
    return staging


def _plan(spec: VolumeSpec, depth: int) -> Iterator[_DataFile]:
    for config in CONFIGS:
        bounds = shard_bounds(config, depth)
        for index, (start, stop) in enumerate(bounds):
            name = shard_name(config.name, spec.split, index, len(bounds))
            yield _DataFile(name, config.name, start, stop)


def _write_volume(
    staging: Path, source: Source, spec: VolumeSpec, provenance: dict[str, str]
) -> list[str]:
    """Write the files of a volume that are not there yet; returns the names of all of them."""
    with tqdm(total=1, desc=f"Reading volume {spec.name}", unit="volume") as bar:
        volume = Volume(source, spec, provenance["label_source"])
        bar.update()
    with volume:
        plan = list(_plan(spec, volume.shape[0]))
        with tqdm(total=sum(f.stop - f.start for f in plan), unit="row") as bar:
            for file in plan:
                bar.set_description(f"Writing {file.name}")
                # A file that is published already may have been damaged since: it is made again.
                if not (staging / file.name).is_file():
                    _write_file(staging / file.name, volume, file, provenance)
                bar.update(file.stop - file.start)
    return [file.name for file in plan]


def _write_file(path: Path, volume: Volume, file: _DataFile, provenance: dict[str, str]) -> None:
    schema = arrow_schema(file.config).with_metadata(parquet_metadata(file.config, provenance))
    rows = volume.rows(file.config, file.start, file.stop)
    with (
        new_file(path) as raw,
        pq.ParquetWriter(
            raw, schema, compression="zstd", use_dictionary=False, write_page_index=True
        ) as writer,
    ):
        group: list[dict[str, Any]] = []
        for index, row in enumerate(rows, file.start + 1):
            group.append(row)
            if len(group) == _ROWS_PER_GROUP or index == file.stop:
                writer.write_table(make_table(file.config, group))
                group = []


def _publish(out: Path, staging: Path, files: list[str]) -> None:
    """Put finished files in the place of an earlier build's.

    What was there goes first, the card before all: files of two builds never stand side by side.
    """
    (out / CARD).unlink(missing_ok=True)
    for path in repository_files(out):
        path.unlink()
    for name in files:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (staging / name).replace(out / name)
