"""The files of a built repository, checked: all there, as they were written, of this schema."""

import collections
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from _platelet_em.errors import PlateletEMError
from _platelet_em.facts import CONFIG_NAMES, CONFIGS, VOLUMES, VolumeSpec, config_named
from _platelet_em.hub.build import read_build
from _platelet_em.hub.card import CARD, CARD_MARK, picture_name
from _platelet_em.hub.croissant import CROISSANT, read_sums, sha256
from _platelet_em.hub.record import check_readable, read_provenance
from _platelet_em.rows.schema import arrow_schema
from _platelet_em.rows.shards import count_rows, data_files, shard_bounds, shard_name
from _platelet_em.verify.report import Section

__all__ = ["Built", "check_files", "is_built"]

_REMEDY = "build the repository again"
_TOLD = 5
"""Missing shards that are told one by one: a name may promise 99,999."""

_RECORDED = ("label_source", "archive", "archive_md5", "origin", "tool_version")


class Built:
    """A repository's files, those of them that can be read, and its record.

    Attributes:
        folder: The repository.
        record: What all its files say of themselves; empty if none of them does.
        readable: (config, volume) -> files of this schema, in the order of their rows.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.record: dict[str, Any] = {}
        self.readable: dict[tuple[str, str], list[Path]] = {}

    def files(self, config: str, spec: VolumeSpec) -> list[Path]:
        """The readable files of a configuration of a volume."""
        return self.readable.get((config, spec.name), [])


def is_built(path: Path) -> bool:
    """Whether a folder has data files, or the description, of a built repository."""
    return path.is_dir() and (
        (path / CROISSANT).is_file() or any(data_files(path, name) for name in CONFIG_NAMES)
    )


def check_files(section: Section, folder: Path) -> Built:
    """Check a repository without looking at its rows; figures and findings go to `section`."""
    built = Built(folder)
    _check_beside(section, folder)
    records: dict[Path, Any] = {}
    for config in CONFIG_NAMES:
        for spec in VOLUMES:
            files = _check_names(section, folder, config, spec)
            built.readable[config, spec.name] = [
                path for path in files if _check_schema(section, path, config, records)
            ]
    _check_records(section, built, records)
    _check_sums(section, folder, list(records))
    for spec in VOLUMES:
        _check_row_counts(section, built, spec)
    if not any(level == "error" for level, _, _ in section.groups) and not _is_complete(folder):
        section.error(
            "complete",
            str(folder),
            expected="a complete build",
            found="one that was interrupted",
            remedy="run platelet-em build again: it goes on where it was",
        )
    return built


def _is_complete(folder: Path) -> bool:
    try:
        return read_build(folder) is not None
    except PlateletEMError:
        return False


def _check_beside(section: Section, folder: Path) -> None:
    """The card, the description, and the card's pictures."""
    for name in (CARD, CROISSANT, *map(picture_name, VOLUMES)):
        path = folder / name
        try:
            if name == CARD:
                intact = CARD_MARK in path.read_text("utf-8")
            elif path.suffix == ".png":
                with Image.open(path) as picture:
                    picture.load()
                intact = True
            else:
                intact = path.is_file()
        except FileNotFoundError:
            intact, found = False, "nothing there"
        except (OSError, ValueError, SyntaxError) as error:
            intact, found = False, str(error)
        else:
            found = "another file"
        if not intact:
            section.error(
                "files", str(path), expected="what build wrote", found=found, remedy=_REMEDY
            )


def _check_names(section: Section, folder: Path, config: str, spec: VolumeSpec) -> list[Path]:
    """The shards that are there; those that are not are errors."""
    files = data_files(folder, config, spec.split)
    counts = {path.stem.rsplit("-of-", 1)[1] for path in files}
    if len(counts) == 1 and (text := min(counts)).isdecimal():
        count = int(text)
        wanted = [folder / shard_name(config, spec.split, i, count) for i in range(count)]
    else:
        wanted = files or [folder / shard_name(config, spec.split, 0, 1)]
        if files:
            section.error(
                "shards",
                str(folder / config),
                expected="shards of one build",
                found=f"{spec.split} in {', '.join(sorted(counts))} files",
                remedy=_REMEDY,
            )
    missing = [path for path in wanted if path not in files]
    for path in missing[:_TOLD]:
        section.error(
            "shards", str(path), expected="a shard", found="nothing there", remedy=_REMEDY
        )
    if len(missing) > _TOLD:
        section.error(
            "shards",
            str(folder / config),
            expected=f"{len(wanted)} shards of {spec.split}, as their names say",
            found=f"{len(files)}",
            remedy=_REMEDY,
        )
    return files


def _check_schema(section: Section, path: Path, config: str, records: dict[Path, Any]) -> bool:
    """Whether a file can be read as rows of a configuration; notes its record."""
    records[path] = None
    try:
        check_readable([path])
        records[path] = read_provenance(path)
        found = pq.read_schema(path)
    except PlateletEMError as error:
        section.trouble("schema", str(path), error)
        return False
    except (OSError, pa.ArrowException) as error:
        section.error(
            "schema", str(path), expected="Parquet", found=f"{error!s:.200}", remedy=_REMEDY
        )
        return False
    expected = arrow_schema(config)
    if not found.equals(expected):
        wrong = [field for field in expected if field not in list(found)]
        section.error(
            "schema",
            str(path),
            expected=f"columns {expected.names}, {wrong[0] if wrong else 'in this order'}",
            found=str(found.names if not wrong else _type_of(found, wrong[0].name)),
            remedy=_REMEDY,
        )
        return False
    return True


def _type_of(schema: pa.Schema, name: str) -> object:
    return schema.field(name).type if name in schema.names else f"no column {name}"


def _check_records(section: Section, built: Built, records: dict[Path, Any]) -> None:
    known = [str(sorted(record.items())) for record in records.values() if record]
    if not known:
        return
    usual = collections.Counter(known).most_common(1)[0][0]
    built.record = next(r for r in records.values() if r and str(sorted(r.items())) == usual)
    for path, record in records.items():
        if not record:
            section.error(
                "record", str(path), expected="a record of the build", found="none", remedy=_REMEDY
            )
        elif record != built.record:
            names = sorted({*record, *built.record})
            differ = [k for k in names if record.get(k) != built.record.get(k)]
            section.error(
                "record",
                str(path),
                expected="the record of the other files",
                found=f"that of another build ({', '.join(differ)})",
                remedy=_REMEDY,
            )
    for key in _RECORDED:
        section.figure(key.replace("_", " "), built.record.get(key, "not recorded"))


def _check_sums(section: Section, folder: Path, files: list[Path]) -> None:
    try:
        sums = read_sums(folder)
    except (ValueError, OSError) as error:
        found = error.strerror if isinstance(error, OSError) else str(error)
        section.error(
            "sums",
            str(folder / CROISSANT),
            expected="the sums of the data files",
            found=str(found),
            remedy=_REMEDY,
        )
        return
    matching = 0
    for path in files:
        name, found = path.relative_to(folder).as_posix(), sha256(path)
        matching += found == sums.get(name)
        if found != sums.get(name):
            section.error(
                "sums",
                str(path),
                expected=f"SHA-256 {sums.get(name, 'in croissant.json')}",
                found=found,
                remedy=_REMEDY,
            )
    section.figure("sums", f"{matching} of {len(sums)} files have theirs", matching)


def _check_row_counts(section: Section, built: Built, spec: VolumeSpec) -> None:
    """Rows of each shard, by the depth that the shards of `slices` add up to."""
    slices = built.files(CONFIG_NAMES[0], spec)
    if len(slices) != len(data_files(built.folder, CONFIG_NAMES[0], spec.split)):
        return
    depth = sum(pq.read_metadata(path).num_rows for path in slices)
    for config in CONFIGS:
        files = built.files(config.name, spec)
        bounds = shard_bounds(config_named(config.name), depth)
        for path in files:
            index = int(path.stem.split("-")[1])
            start, stop = bounds[index] if index < len(bounds) else (0, 0)
            if (rows := pq.read_metadata(path).num_rows) != stop - start:
                section.error(
                    "rows",
                    str(path),
                    expected=f"{stop - start} rows of {count_rows(config, depth)}",
                    found=str(rows),
                    remedy=_REMEDY,
                )
        said = f"{count_rows(config, depth)} rows in {len(files)} files"
        section.figure(f"{config.name}, {spec.split}", said)
