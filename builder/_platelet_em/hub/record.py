"""The record of a build: its origin, in each Parquet file, and the checksums of these files.

All readers of a built repository read the record first: the columns of a newer schema may have
another meaning.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from _platelet_em.description.parse import parse_description
from _platelet_em.description.write import describe_spec
from _platelet_em.errors import DescriptionError, HubError, SchemaVersionError, quote
from _platelet_em.facts import LABEL_SOURCES, PUBLISHED, is_published
from _platelet_em.files import open_regular, read_regular
from _platelet_em.hub.layout import CROISSANT, DESCRIPTION, data_files
from _platelet_em.hub.parquet import DataFile, read_schema
from _platelet_em.hub.remote import HubPath
from _platelet_em.limits import MAX_METADATA
from _platelet_em.rows.config import Config
from _platelet_em.rows.make import CONFIG_NAMES, CONFIGS, SLICES
from _platelet_em.rows.schema import SCHEMA_VERSION, Columns, json_features
from _platelet_em.sources.opening import OWN_FILES
from _platelet_em.spec import DatasetSpec

__all__ = [
    "EXTRACTED",
    "OWN",
    "SYNTHETIC",
    "Record",
    "check_readable",
    "find_origin",
    "first_record",
    "is_complete",
    "is_of_others",
    "origin_warning",
    "parquet_metadata",
    "parse_stored_spec",
    "present_configs",
    "read_checksums",
    "read_description",
    "read_features",
    "read_record",
    "sha256",
    "store_spec",
    "stored_configs",
    "stored_schema",
    "stored_spec",
]

Record = dict[str, Any]

_FEATURES_KEY = "huggingface"
"""Key of the features in the metadata of a Parquet file, which `datasets` reads."""

_METADATA_KEY = "platelet_em"
"""Key of the record in the metadata of a Parquet file."""

_VERSION_KEY = "schema_version"

_VOLUMES_KEY = "volumes"

_KEYS = ("archive", "archive_md5", "fingerprint", "label_source", "origin", "tool_version")

EXTRACTED = "an extracted folder"
"""The `archive` of a build from a folder; that from a zip is its name, whatever its suffix."""

_STORED = SLICES.name
"""What stands for the files of own volumes in the description of a repository."""

OWN = "own files"
"""The `origin` of a build of own volumes."""

SYNTHETIC = "synthetic"
"""The `origin` of a build from the sample."""


def parquet_metadata(columns: Columns, record: dict[str, str]) -> dict[str, str]:
    """Key-value metadata of a Parquet file: features for `datasets`, and the record.

    Args:
        columns: The columns of the file.
        record: What the file was made from, and by which tool.
    """
    return {
        _FEATURES_KEY: json.dumps({"info": {"features": json_features(columns)}}),
        _METADATA_KEY: json.dumps({_VERSION_KEY: SCHEMA_VERSION, **record}),
    }


def is_of_others(record: Record) -> bool:
    """Whether another program than `build` has written the files, by the rules of the format."""
    return record.get("label_source") == OWN_FILES and "fingerprint" not in record


def is_complete(record: Record) -> bool:
    """Whether a record has all that a build, or another program, writes into it, as text."""
    if is_of_others(record):
        return record.get("origin") == OWN
    return all(isinstance(record.get(key), str) for key in _KEYS) and (
        record["label_source"] in (*LABEL_SOURCES, OWN_FILES)
    )


def find_origin(record: Record, spec: DatasetSpec) -> str:
    """The `origin` of a build: whether its archive is the one that the publisher has published.

    Args:
        record: A record with `label_source`, `archive` and `archive_md5`. An `origin` in it counts
            only if it is that of the sample: older versions did not compare checksums.
        spec: The dataset.

    Returns:
        "synthetic", "publisher", "not the published archive", or, where no checksum is published,
        "not checked"; of own volumes, "own files".
    """
    if record.get("label_source") == OWN_FILES:
        return OWN
    if record.get("origin") == SYNTHETIC:
        return SYNTHETIC
    published = _published_md5(record, spec)
    if published is None or record.get("archive") == EXTRACTED:
        return "not checked"
    matches = record.get("archive_md5") == published
    return "publisher" if matches else "not the published archive"


def origin_warning(record: Record, spec: DatasetSpec) -> str:
    """One line for the user about a build that is not known to be of the publisher's data.

    Returns:
        The line; empty for a build from the published archives, and for own volumes.
    """
    origin = find_origin(record, spec)
    if origin == OWN:
        return ""
    published = _published_md5(record, spec)
    if origin == "publisher":
        return _test_warning(record, spec)
    if origin == SYNTHETIC:
        return "WARNING: the synthetic sample, not the publisher's data"
    if origin != "not checked":
        found = quote(record.get("archive_md5"))
        return (
            f"WARNING: not built from the published archive, whose MD5 is {published}, not {found}"
        )
    if published is None:
        return (
            "WARNING: built from an archive that cannot be checked: no checksum is published of it"
        )
    return "WARNING: built from an extracted folder, and a checksum is published only of the zip"


def _test_warning(record: Record, spec: DatasetSpec) -> str:
    """The line about the optional volume, whose archive may be another one than the published."""
    found = record.get("test_archive_md5")
    known = {a.md5 for v in spec.optional_volumes for a in spec.archives if a.name in v.archives}
    if found is None or found in known:
        return ""
    if record.get("test_archive") == EXTRACTED:
        return "WARNING: volume test was built from an extracted folder, which cannot be checked"
    return (
        f"WARNING: volume test was not built from the published archive, whose MD5 is "
        f"{', '.join(filter(None, known))}, not {quote(found)}"
    )


def _published_md5(record: Record, spec: DatasetSpec) -> str | None:
    """The checksum that the publisher states for the archive of a build, if there is one."""
    label_source = record.get("label_source")
    return next((a.md5 for a in spec.archives if a.name == label_source), None)


def read_record(path: DataFile) -> Record | None:
    """The record of a file; None if it has none, or if record or file are damaged.

    Raises:
        SchemaVersionError: for a file of a newer schema.
    """
    stored = _read_metadata(path)
    record = None if stored is None else _parse(stored)
    if record is not None and record[_VERSION_KEY] > SCHEMA_VERSION:
        raise SchemaVersionError(
            f"{path}: is of schema {quote(record[_VERSION_KEY])}, and this version of platelet-em "
            f"knows schemas up to {SCHEMA_VERSION}: upgrade it (pip install -U platelet-em)"
        )
    return record


def stored_spec(folder: Path | HubPath, spec: DatasetSpec) -> DatasetSpec:
    """The dataset of a repository, with the optional volumes only if it was built with them.

    Args:
        folder: The repository.
        spec: The dataset of a folder in which nothing is built, which is given back. A repository
            that does not describe its own is of the published dataset, and its record says which
            of the optional volumes it has.

    Raises:
        DescriptionError: for a description that is damaged.
    """
    stored, record = _read_dataset(folder), first_record(folder)
    if stored is not None:
        spec = stored
    elif record and not is_published(spec):
        spec = PUBLISHED
    if not record:
        return spec
    names = {volume.name for volume in spec.optional_volumes}
    is_there = bool(names & {*str(record.get(_VOLUMES_KEY, "")).split()})
    return spec.with_optional() if is_there else spec.without_optional()


def store_spec(spec: DatasetSpec) -> bytes:
    """The content of the file `DESCRIPTION` of a repository of that dataset.

    Paths on the machine of the build are no part of it: images and labels are in `slices` now.
    """
    document = describe_spec(_without_files(spec))
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def _without_files(spec: DatasetSpec) -> DatasetSpec:
    """The dataset without the paths of files of own volumes."""
    volumes = tuple(
        volume
        if volume.archives
        else replace(
            volume,
            image_file=_STORED,
            label_files=tuple((column, _STORED) for column in volume.columns),
            components=(),
        )
        for volume in spec.volumes
    )
    return replace(spec, volumes=volumes, folder="")


def _read_dataset(folder: Path | HubPath) -> DatasetSpec | None:
    """The dataset that a repository describes; None if it is the published one."""
    path = folder / DESCRIPTION
    if isinstance(path, HubPath):
        if str(path.path) not in path.commit.sizes:
            return None
        content = path.open().read(MAX_METADATA + 1) or b""
    else:
        try:
            content = read_regular(path, MAX_METADATA)
        except (FileNotFoundError, NotADirectoryError):
            return None
    return parse_stored_spec(content, str(path))


def parse_stored_spec(content: bytes, name: str) -> DatasetSpec:
    """The dataset that a file `DESCRIPTION` describes.

    Whatever files it names, a stranger may have named them: none is known of own volumes.

    Args:
        content: Of the file.
        name: What to call it in a message.

    Raises:
        DescriptionError: for one that no build has written.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DescriptionError(
            f"{name}: expected JSON, got {error!s:.200}: fetch the repository again, or build "
            "it in another folder"
        ) from error
    if not isinstance(document, dict):
        raise DescriptionError(
            f"{name}: expected a JSON object, got {quote(document)}: fetch the repository "
            "again, or build it in another folder"
        )
    spec = parse_description(document, source=name)
    for volume in (*spec.volumes, *spec.optional_volumes):
        if volume.shape is None and not volume.archives:
            raise DescriptionError(
                f"{name}: volume {quote(volume.name)}: expected its shape, found none: write "
                '"shape": [z, y, x]'
            )
    return _without_files(spec)


def stored_schema(folder: Path | HubPath) -> int:
    """The schema version of a repository; that of this code if none of its files has a record."""
    version: int = first_record(folder).get(_VERSION_KEY, SCHEMA_VERSION)
    return version


def first_record(folder: Path | HubPath) -> Record:
    """The record of the first file that has one; empty if none has."""
    for path in (path for name in CONFIG_NAMES for path in data_files(folder, name)):
        if record := read_record(path):
            return record
    return {}


def stored_configs(folder: Path | HubPath) -> list[Config]:
    """The configurations that a repository has by its schema version."""
    version = stored_schema(folder)
    return [config for config in CONFIGS if config.since <= version]


def present_configs(folder: Path | HubPath) -> list[Config]:
    """The configurations that a repository has rows of: none is too large for all volumes."""
    return [config for config in stored_configs(folder) if data_files(folder, config.name)]


def read_features(schema: pa.Schema) -> dict[str, Any] | None:
    """The features that `datasets` reads from the metadata of a Parquet file; None without any.

    Metadata that are damaged are features that no file has.
    """
    if (stored := (schema.metadata or {}).get(_FEATURES_KEY.encode())) is None:
        return None
    try:
        features = json.loads(stored)["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def check_readable(files: Iterable[DataFile]) -> None:
    """Refuse files of a newer schema, whose columns may have another meaning.

    Files without a record pass: other tools have written them from rows of a repository.

    Raises:
        SchemaVersionError: for a file of a newer schema, or whose record is damaged.
    """
    for path in files:
        if read_record(path) is None and (stored := _read_metadata(path)) is not None:
            raise SchemaVersionError(
                f"{path}: metadata {_METADATA_KEY!r}: expected a JSON object whose "
                f"{_VERSION_KEY!r} is an integer of at least 1, got {quote(stored)}: fetch or "
                "build the file again"
            )


def _read_metadata(path: DataFile) -> bytes | None:
    """The record as stored in the file; None if there is none."""
    try:
        metadata: dict[bytes, bytes] = read_schema(path).metadata or {}
    except HubError:  # says nothing about the file
        raise
    except (OSError, UnicodeDecodeError, pa.ArrowException):
        return None
    return metadata.get(_METADATA_KEY.encode())


def _parse(stored: bytes) -> Record | None:
    """The parsed record; None if it is not a record of any version."""
    try:
        record = json.loads(stored)
    except (ValueError, RecursionError):
        return None
    version = record.get(_VERSION_KEY) if isinstance(record, dict) else None
    # In Python bool is an int, but true is no version.
    return record if type(version) is int and version >= 1 else None


def read_description(folder: Path) -> Any:
    """The Croissant description of a repository, as parsed JSON.

    Raises:
        ValueError: for a file that is not JSON.
        OSError: if it cannot be read, or is too large.
    """
    content = read_regular(folder / CROISSANT, MAX_METADATA)
    try:
        return json.loads(content.decode("utf-8"))
    except RecursionError as error:
        raise ValueError(
            f"{folder / CROISSANT}: expected JSON of a few levels, got thousands"
        ) from error


def read_checksums(folder: Path) -> dict[str, str]:
    """Path -> SHA-256 of each data file, from the Croissant description of a repository.

    Raises:
        ValueError: for a file that is not such a description.
        OSError: if it cannot be read.
    """
    try:
        nodes = read_description(folder)["distribution"]
        return {n["contentUrl"]: n["sha256"] for n in nodes if n["@type"] == "cr:FileObject"}
    except (KeyError, TypeError) as error:
        raise ValueError(
            f"{folder / CROISSANT}: expected the description of a built repository"
        ) from error


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    digest = hashlib.sha256()
    with open_regular(path) as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()
