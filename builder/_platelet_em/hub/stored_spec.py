"""The dataset of a repository: as its file `DESCRIPTION` says, or the published one."""

import json
from dataclasses import replace
from pathlib import Path

from _platelet_em.description.parse import parse_description
from _platelet_em.description.write import describe_spec
from _platelet_em.errors import DescriptionError, quote
from _platelet_em.facts import PUBLISHED, is_published
from _platelet_em.files import read_regular
from _platelet_em.hub.layout import DESCRIPTION
from _platelet_em.hub.record import first_record
from _platelet_em.hub.remote import HubPath
from _platelet_em.limits import MAX_METADATA
from _platelet_em.rows.make import SLICES
from _platelet_em.spec import DatasetSpec

__all__ = ["parse_stored_spec", "store_spec", "stored_spec"]

_VOLUMES_KEY = "volumes"
"""Key of a record with the names of the volumes."""

_STORED = SLICES.name
"""What stands for the files of own volumes in the description of a repository."""


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
