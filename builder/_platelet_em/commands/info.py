"""`platelet-em info`: describes the dataset, archives, or a built repository."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from _platelet_em.commands.own import describe_own, inspect_own
from _platelet_em.errors import MissingMemberError, PlateletEMError, quote
from _platelet_em.facts import LABEL_SOURCES, PUBLISHED
from _platelet_em.hub.layout import data_files, has_data
from _platelet_em.hub.parquet import count_files
from _platelet_em.hub.record import check_readable, origin_warning, read_record, stored_configs
from _platelet_em.hub.remote import HubPath
from _platelet_em.hub.stored_spec import stored_spec
from _platelet_em.hub.viewer import describe_narrow_columns
from _platelet_em.publisher.archive import archive_files, find_source
from _platelet_em.publisher.cache import archive_urls, download_folder
from _platelet_em.publisher.connection import show_url
from _platelet_em.publisher.volume import open_images
from _platelet_em.rows.make import CONFIG_NAMES, CONFIGS
from _platelet_em.spec import DatasetSpec

__all__ = ["describe", "inspect"]

_FORMAT = 1
"""Version of the JSON form."""


def inspect(path: Path | HubPath | None = None, spec: DatasetSpec = PUBLISHED) -> dict[str, Any]:
    """Describe what is at a path, as a JSON object; `platelet-em info --help` lists its keys.

    Args:
        path: A built repository, here or on the Hub, a zip of the publisher, an extracted folder,
            or a folder with the zips; None describes the dataset.
        spec: The dataset; of own volumes, the files are opened for their shapes.

    Raises:
        HubError: if the Hub does not answer.
        MissingMemberError: if there is none of these at `path`.
        SchemaVersionError: for a repository of a newer schema.
    """
    if path is None:
        found = _inspect_dataset(spec) if spec.archives else inspect_own(spec)
    elif has_data(path):
        found = _inspect_repository(path, spec)
    elif isinstance(path, HubPath):
        raise MissingMemberError(
            f"{path}: expected a built repository, found no data files of one"
        )
    else:
        found = _inspect_archives(path, spec)
    return {"format": _FORMAT, **found}


def describe(found: dict[str, Any]) -> Iterator[str]:
    """The lines of text for what `inspect` found."""
    lines = {
        "dataset": _describe_dataset,
        "archives": _describe_archives,
        "repository": _describe_repository,
        "own volumes": describe_own,
    }
    return lines[found["content"]](found)


# --- the dataset ------------------------------------------------------------------------------


def _inspect_dataset(spec: DatasetSpec) -> dict[str, Any]:
    archives = []
    for archive in spec.with_optional().needed_archives:
        cached = download_folder() / archive.file_name
        archives.append(
            {
                "label_source": archive.name,
                "size": archive.size,
                "md5": archive.md5,
                "urls": [show_url(url) for url in archive_urls(archive)],
                "cached": str(cached) if cached.is_file() else None,
            }
        )
    return {
        "content": "dataset",
        "name": spec.name,
        "description": spec.description,
        "homepage": spec.homepage,
        "license_details": spec.license_details,
        "classes": list(spec.class_names),
        "volumes": [
            {"name": volume.name, "split": volume.split, "shape": list(volume.known_shape)}
            for volume in spec.with_optional().volumes
        ],
        "configs": [{"name": c.name, "description": c.description} for c in CONFIGS],
        "archives": archives,
    }


def _describe_dataset(found: dict[str, Any]) -> Iterator[str]:
    yield found["description"]
    yield f"Paper: {found['homepage']}"
    yield f'License: none named; "{found["license_details"]}"'
    for volume in found["volumes"]:
        shape = tuple(volume["shape"])
        yield f"Volume {volume['name']}: split {volume['split']}, shape (z, y, x) {shape}"
    yield "Classes: " + ", ".join(f"{i} {name}" for i, name in enumerate(found["classes"]))
    for config in found["configs"]:
        yield f"Config {config['name']}: {config['description']}"
    for archive in found["archives"]:
        cached = archive["cached"]
        state = f"cached at {cached}" if cached else "not downloaded"
        name = archive["label_source"]
        title = f"Archive with {name} labels" if name in LABEL_SOURCES else f"The {name}'s archive"
        yield f"{title}: {archive['size']}, {state}"
        for url in archive["urls"]:
            yield f"  {url}"
        yield f"  MD5 {archive['md5'] or 'not published'}"


# --- archives ---------------------------------------------------------------------------------


def _inspect_archives(path: Path, spec: DatasetSpec) -> dict[str, Any]:
    archives, reasons = [], []
    spec = spec.with_optional()
    for label_source in (archive.name for archive in spec.archives):
        try:
            source = find_source(path, label_source, spec)
        except PlateletEMError as error:
            reasons.append(str(error))
            continue
        volumes = []
        for volume in (v for v in spec.volumes if label_source in v.archives):
            with open_images(source, volume) as images:
                shapes = {"shape": list(images.shape), "published_shape": list(volume.known_shape)}
            volumes.append({"name": volume.name, **shapes})
        archives.append(
            {
                "path": str(source.path),
                "label_source": label_source,
                "is_zip": source.is_zip,
                "md5": source.identity(archive_files(spec, label_source)).md5,
                "published_md5": spec.archive(label_source).md5,
                "volumes": volumes,
            }
        )
    if not archives:
        raise MissingMemberError(
            f"neither a built repository nor the publisher's files: {reasons[0]}"
        )
    return {"content": "archives", "path": str(path), "archives": archives}


def _describe_archives(found: dict[str, Any]) -> Iterator[str]:
    for archive in found["archives"]:
        yield f"{archive['path']}: images and {archive['label_source']} labels"
        md5, published = archive["md5"], archive["published_md5"]
        if archive["is_zip"]:
            verdict = "published" if md5 == published else f"NOT the published {published}"
            yield f"  MD5 {md5} ({verdict if published else 'not checked: none is published'})"
        else:
            yield f"  MD5 of its files' MD5s {md5} (not checked: none is published of them)"
        for volume in archive["volumes"]:
            shape = " x ".join(map(str, volume["shape"]))
            published = tuple(volume["published_shape"])
            yield f"  volume {volume['name']}: {shape} (z, y, x), published {published}"


# --- repositories -----------------------------------------------------------------------------


def _inspect_repository(folder: Path | HubPath, spec: DatasetSpec) -> dict[str, Any]:
    paths = [path for name in CONFIG_NAMES for path in data_files(folder, name)]
    check_readable(paths)
    record = read_record(paths[0]) or {}
    spec = stored_spec(folder, spec)
    files = []
    for config in stored_configs(folder):
        for split, volumes in spec.splits.items():
            if not any(map(config.covers, volumes)):
                continue
            shards = data_files(folder, config.name, split)
            rows, stored = count_files(shards)
            counts = {"rows": rows, "files": len(shards), "bytes": stored}
            files.append({"config": config.name, "split": split, **counts})
    return {
        "content": "repository",
        "path": str(folder),
        "dataset": spec.name,
        "commit": folder.sha if isinstance(folder, HubPath) else None,
        "warning": origin_warning(record, spec) if record else "",
        "record": record,
        "files": files,
        "viewer": list(describe_narrow_columns(folder, spec)),
    }


def _describe_repository(found: dict[str, Any]) -> Iterator[str]:
    commit = f", commit {found['commit']}" if found["commit"] else ""
    yield f"{found['path']}: a built repository{commit}"
    yield f"  dataset: {found['dataset']}"
    if found["warning"]:
        yield f"  {found['warning']}"
    for key, value in found["record"].items():
        yield f"  {key.replace('_', ' ')}: {value if isinstance(value, str) else quote(value)}"
    for part in found["files"]:
        size = f"{part['bytes'] / 1e6:.1f} MB"
        yield (
            f"  {part['config']}, {part['split']}: {part['rows']} rows in {part['files']} files, "
            f"{size}"
        )
    for text in found["viewer"]:
        yield f"  {text}"
