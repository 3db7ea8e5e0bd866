"""Whether the files of a repository are complete, undamaged, and written by one build."""

import collections
import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pyarrow as pa

from _platelet_em.arrays.page import decode_page
from _platelet_em.errors import ArchiveError, PlateletEMError, SchemaVersionError, quote
from _platelet_em.files import read_regular
from _platelet_em.hub.card import CARD_MARK
from _platelet_em.hub.layout import (
    CARD,
    CROISSANT,
    STAGING,
    data_files,
    metadata_files,
    repository_files,
    shard_name,
)
from _platelet_em.hub.metadata import check_card, check_croissant, compare
from _platelet_em.hub.parquet import (
    explain_damage,
    open_parquet,
    read_group,
    read_metadata,
    read_schema,
)
from _platelet_em.hub.pictures import check_card_pictures, check_previews
from _platelet_em.hub.problem import Problem
from _platelet_em.hub.read import SplitReader
from _platelet_em.hub.record import (
    Record,
    check_readable,
    first_record,
    is_complete,
    is_of_others,
    read_checksums,
    read_features,
    read_record,
    sha256,
    stored_configs,
)
from _platelet_em.hub.repository import Repository
from _platelet_em.hub.row_counts import check_row_counts, has_objects
from _platelet_em.hub.stored_spec import stored_spec
from _platelet_em.hub.strays import find_strays
from _platelet_em.limits import MAX_METADATA
from _platelet_em.rows.config import Config, Shape
from _platelet_em.rows.make import SLICES
from _platelet_em.rows.schema import Columns, arrow_schema, json_features
from _platelet_em.spec import DatasetSpec, VolumeSpec

__all__ = ["Repository", "inspect_repository", "read_build"]

_LISTED = 5
"""Missing shards, or features of one, that are named: a file name may state a total of 99,999."""

_STRAYS = 20
"""Files of others that are named one by one."""


def read_build(folder: Path, spec: DatasetSpec, *, pictures: bool = True) -> Record | None:
    """The record of the complete build in a folder; None if there is none.

    None too for a build that was interrupted, has missing or damaged files, files of two builds, a
    card or a description that state something else than the data files, or data files beside them
    that no build has written.

    Args:
        folder: The repository.
        spec: The dataset.
        pictures: Whether to draw its pictures again and compare them, about 0.2 s per slice.

    Raises:
        SchemaVersionError: for data files of a newer schema.
    """
    for path in repository_files(folder, spec.with_optional()):
        read_record(path)  # a newer schema raises, a damaged record is only a problem
    repository = inspect_repository(folder, spec, pictures=pictures)
    return None if repository.problems else repository.record


def inspect_repository(folder: Path, spec: DatasetSpec, *, pictures: bool = True) -> Repository:
    """Check the files of a repository, and whether card, description and pictures fit its rows.

    Args:
        folder: The repository.
        spec: The dataset.
        pictures: Whether to draw the pictures again and compare them.
    """
    spec = stored_spec(folder, spec)
    repository = Repository(folder, spec, is_of_others=is_of_others(first_record(folder)))
    problems = repository.problems
    _check_data_files(repository, spec)
    # The checksums, which are in croissant.json, are not needed to read the data files.
    is_intact = all(problem.file == str(folder / CROISSANT) for problem in problems)
    damaged = [*_check_metadata_files(repository, spec)]
    problems += damaged
    problems += _check_strays(folder, spec)
    # What is in data files that are damaged is not known.
    if is_intact and repository.record:
        problems += check_croissant(folder, repository.record, spec)
        if str(folder / CARD) not in {problem.file for problem in damaged}:
            problems += check_card(folder, repository.record, spec)
        if pictures and not damaged and repository.has_current_pictures:
            problems += check_card_pictures(folder, spec)
            problems += check_previews(folder, spec)
    if not problems and (folder / STAGING).exists():
        problems.append(
            Problem(
                check="complete",
                file=str(folder),
                expected="a complete build",
                found="one that was interrupted",
            )
        )
    return repository


def _check_data_files(repository: Repository, spec: DatasetSpec) -> None:
    """The data files and their checksums; sets what the repository states about them."""
    folder, problems = repository.folder, repository.problems
    records: dict[Path, Record | None] = {}
    for config in stored_configs(folder):
        columns = config.columns(spec)
        for split, volumes in spec.splits.items():
            problems += _check_names(repository, config, split, volumes)
            readable = repository.files[config.name, split] = []
            for path in data_files(folder, config.name, split):
                found = [*_check_schema(path, columns)]
                problems += found
                records[path] = None
                with suppress(SchemaVersionError):  # a problem of its schema already
                    records[path] = read_record(path)
                if not found:
                    readable.append(path)
            if config is SLICES:
                repository.shapes |= _read_shapes(repository, split, volumes)
    problems += _check_records(repository, records)
    if repository.record and not is_complete(repository.record):
        problems.append(
            Problem(
                check="record",
                file=str(folder),
                expected="the record of a build, with labels, archive, origin and version",
                found=quote(repository.record, 200),
            )
        )
    problems += _check_checksums(repository, list(records))
    for split, volumes in spec.splits.items():
        problems += check_row_counts(repository, split, volumes)


def _check_metadata_files(repository: Repository, spec: DatasetSpec) -> Iterator[Problem]:
    """The card, the Croissant description, and the card's pictures.

    Other programs may leave out all but the card, which they write in their words.
    """
    is_build = not repository.is_of_others
    for name in metadata_files(spec):
        path = repository.folder / name
        found = ""
        if not is_build and name != CARD and not os.path.lexists(path):
            continue
        try:
            content = read_regular(path, MAX_METADATA)
            if is_build and name == CARD and CARD_MARK not in content.decode("utf-8"):
                found = "another file"
            elif path.suffix == ".png":
                decode_page(content, "picture")
        except FileNotFoundError:
            found = "no such file"
        except ArchiveError as error:
            yield Problem(check="files", file=str(path), error=error)
        except (OSError, ValueError) as error:
            found = str(error)
        if found:
            expected = "the file that build wrote"
            yield Problem(check="files", file=str(path), expected=expected, found=found)


def _check_strays(folder: Path, spec: DatasetSpec) -> Iterator[Problem]:
    """Files that no build writes, and that `datasets` would read."""
    for path in islice(find_strays(folder, spec), _STRAYS):
        yield Problem(
            check="others",
            file=str(path),
            expected="no file that datasets may read besides those of the build",
            found="one: move it away",
        )


def _read_shapes(
    repository: Repository, split: str, volumes: Sequence[VolumeSpec]
) -> dict[str, Shape]:
    """(z, y, x) of the volumes of a split; of none if one of its files of `slices` is unreadable.

    Own volumes have those of the repository's description. A published one has that of its rows,
    since it may be a sample.
    """
    files = repository.files[SLICES.name, split]
    if not files or len(files) != len(data_files(repository.folder, SLICES.name, split)):
        return {}
    if not repository.spec.archives:
        return {volume.name: volume.known_shape for volume in volumes}
    try:
        if len(volumes) > 1:
            reader = SplitReader(repository.folder, split, [])
            return {v.name: reader.open(replace(v, label_files=())).shape for v in volumes}
        with explain_damage(files[0]), open_parquet(files[0]) as file:
            encoded = read_group(file, 0, ["image"])["image"][0]["bytes"].as_py()
        height, width = decode_page(encoded).shape
        rows = sum(read_metadata(path).num_rows for path in files)
        return {volumes[0].name: (rows, height, width)}
    except (PlateletEMError, ValueError, TypeError, LookupError, pa.ArrowException):
        return {}


def _check_names(
    repository: Repository, config: Config, split: str, volumes: Sequence[VolumeSpec]
) -> Iterator[Problem]:
    """Whether the names of the shards are those of one build."""
    folder = repository.folder
    files = data_files(folder, config.name, split)
    covered = [volume for volume in volumes if config.covers(volume)]
    if not covered:
        for path in files:
            yield Problem(
                check="shards",
                file=str(path),
                expected=f"no rows of {split}, which has none in {config.name}",
                found="a file",
            )
        return
    shapes = [repository.shapes.get(volume.name) for volume in covered]
    is_optional = repository.is_of_others and config is not SLICES
    too_large = all(shape and not config.count_parts(shape) for shape in shapes)
    has_rows = not config.needs_instances or bool(files) or has_objects(repository, split)
    if not files and (is_optional or too_large or not has_rows):
        return
    counts = {path.stem.rsplit("-of-", 1)[1] for path in files} or {"00001"}
    if len(counts) > 1 or not (text := min(counts)).isdecimal():
        yield Problem(
            check="shards",
            file=str(folder / config.name),
            expected="shards of one build",
            found=f"{split} in {', '.join(sorted(counts))} files",
        )
        return
    found = [f"{config.name}/{path.name}" for path in files]
    count = int(text)
    wanted = dict.fromkeys(shard_name(config.name, split, i, count) for i in range(count))
    for name in found:
        if name not in wanted:
            yield Problem(
                check="shards",
                file=str(folder / name),
                expected=f"the name of one of {count} shards",
                found="another name",
            )
    missing = [name for name in wanted if name not in found]
    for name in missing[:_LISTED]:
        file = str(folder / name)
        yield Problem(check="shards", file=file, expected="a shard", found="no such file")
    if len(missing) > _LISTED:
        yield Problem(
            check="shards",
            file=str(folder / config.name),
            expected=f"{count} shards of {split}, as their names state",
            found=str(len(files)),
        )


def _check_schema(path: Path, columns: Columns) -> Iterator[Problem]:
    """Whether a file can be read as rows of a configuration."""
    expected = arrow_schema(columns)
    try:
        check_readable([path])
        found = read_schema(path)
        if found.equals(expected):
            yield from _check_features(path, found, columns)
            return
        wrong = [field for field in expected if field not in list(found)]
        present = found.names
        if wrong:
            name = wrong[0].name
            present = found.field(name).type if name in found.names else f"no column {name}"
    except PlateletEMError as error:
        yield Problem(check="schema", file=str(path), error=error)
    except (OSError, ValueError, pa.ArrowException) as error:
        yield Problem(check="schema", file=str(path), expected="Parquet", found=f"{error!s:.200}")
    else:
        yield Problem(
            check="schema",
            file=str(path),
            expected=f"columns {expected.names}, {wrong[0] if wrong else 'in this order'}",
            found=str(present),
        )


def _check_features(path: Path, schema: pa.Schema, columns: Columns) -> Iterator[Problem]:
    """Whether `datasets` reads these features from a file that it reads without the card."""
    expected, found = json_features(columns), read_features(schema)
    if found is None or found == expected:  # without a record is reported as that
        return
    for place, right, other in islice(compare(expected, found, "features"), _LISTED):
        yield Problem(
            check="schema",
            file=str(path),
            place={"field": place},
            expected=right,
            found=other,
        )


def _check_records(
    repository: Repository, records: dict[Path, Record | None]
) -> Iterator[Problem]:
    """Whether all files have one record; sets the most frequent one as the repository's."""
    known = [str(sorted(record.items())) for record in records.values() if record]
    if not known:
        return
    usual = collections.Counter(known).most_common(1)[0][0]
    repository.record = next(
        record for record in records.values() if record and str(sorted(record.items())) == usual
    )
    for path, record in records.items():
        if not record:
            yield Problem(
                check="record", file=str(path), expected="a record of the build", found="none"
            )
        elif record != repository.record:
            keys = sorted({*record, *repository.record})
            differing = [k for k in keys if record.get(k) != repository.record.get(k)]
            yield Problem(
                check="record",
                file=str(path),
                expected="the record of the other files",
                found=f"the record of another build ({', '.join(differing)})",
            )


def _check_checksums(repository: Repository, files: list[Path]) -> Iterator[Problem]:
    """Whether each data file has its SHA-256; sets the repository's checksums."""
    folder = repository.folder
    if repository.is_of_others and not os.path.lexists(folder / CROISSANT):
        return
    try:
        repository.checksums = read_checksums(folder)
    except (ValueError, OSError) as error:
        found = (isinstance(error, OSError) and error.strerror) or str(error)
        yield Problem(
            check="sums",
            file=str(folder / CROISSANT),
            expected="the checksums of the data files",
            found=str(found),
        )
        return
    present = {path.relative_to(folder).as_posix(): path for path in files}
    # A file that is missing has been reported already, for the numbers of the shards.
    others = set() if repository.problems else repository.checksums.keys() - present.keys()
    for name in sorted(map(str, others)):
        yield Problem(
            check="sums",
            file=str(folder / CROISSANT),
            expected="checksums of the data files",
            found=f"one of a file that does not exist: {quote(name)}",
        )
    for name, path in present.items():
        expected = repository.checksums.get(name)
        try:
            found = sha256(path)
        except OSError as error:
            found = error.strerror or str(error)
        repository.matching += found == expected
        if found != expected:
            yield Problem(
                check="sums",
                file=str(path),
                expected=f"SHA-256 {expected or 'in croissant.json'}",
                found=found,
            )
