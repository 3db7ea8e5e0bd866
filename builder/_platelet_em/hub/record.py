"""Our own record in the metadata of a Parquet file: its schema's version, and what it is made of.

Everything of ours that reads a built repository from its files asks here first, so that files of
a newer schema, whose columns may mean something else, are never read as if they were of this one.
"""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from _platelet_em.errors import SchemaVersionError, quote
from _platelet_em.facts import SCHEMA_VERSION
from _platelet_em.rows.schema import METADATA_KEY

__all__ = ["check_readable", "read_provenance"]

Record = dict[str, Any]

_VERSION_KEY = "schema_version"


def read_provenance(path: Path) -> Record | None:
    """The record of a file; None if it has none, if that is damaged, or if it is no Parquet file.

    Raises:
        SchemaVersionError: for a file of a newer schema.
    """
    stored = _stored(path)
    record = None if stored is None else _parse(stored)
    if record is not None and record[_VERSION_KEY] > SCHEMA_VERSION:
        raise SchemaVersionError(
            f"{path}: is of schema {quote(record[_VERSION_KEY])}, and this version of platelet-em "
            f"knows schemas up to {SCHEMA_VERSION}: upgrade it (pip install -U platelet-em)"
        )
    return record


def check_readable(files: Iterable[Path]) -> None:
    """Stop at the first file whose columns may mean something else than this version knows.

    Files without a record pass: they are what somebody wrote from our rows with other tools.

    Raises:
        SchemaVersionError: for a file of a newer schema, or whose record is damaged.
    """
    for path in files:
        if read_provenance(path) is None and (stored := _stored(path)) is not None:
            raise SchemaVersionError(
                f"{path}: metadata {METADATA_KEY!r}: expected a JSON object whose "
                f"{_VERSION_KEY!r} is a whole number from 1, got {quote(stored)}: fetch or build "
                "the file again"
            )


def _stored(path: Path) -> bytes | None:
    """The record as it stands in the file; None if there is none."""
    try:
        metadata: dict[bytes, bytes] = pq.read_schema(path).metadata or {}
    except (OSError, pa.ArrowException):
        return None
    return metadata.get(METADATA_KEY.encode())


def _parse(stored: bytes) -> Record | None:
    """The record, or None for anything that is no record of any version."""
    try:
        record = json.loads(stored)
    except (ValueError, RecursionError):
        return None
    version = record.get(_VERSION_KEY) if isinstance(record, dict) else None
    # bool is an int to Python, and true is no version.
    return record if type(version) is int and version >= 1 else None
