"""`platelet-em info`: describes the dataset, archives, or a built repository."""

from collections.abc import Iterator
from pathlib import Path

from _platelet_em.errors import MissingMemberError, PlateletEMError, quote
from _platelet_em.facts import LABEL_SOURCES, PUBLISHED, DatasetSpec
from _platelet_em.files import user_path
from _platelet_em.hub.layout import data_files
from _platelet_em.hub.parquet import count_files
from _platelet_em.hub.record import check_readable, origin_warning, read_record
from _platelet_em.publisher.archive import find_source, needed_files
from _platelet_em.publisher.cache import archive_urls, download_folder
from _platelet_em.publisher.volume import open_images
from _platelet_em.rows.make import CONFIG_NAMES, CONFIGS

__all__ = ["describe"]


def describe(path: str | Path | None = None, spec: DatasetSpec = PUBLISHED) -> Iterator[str]:
    """Describe what is at a path, in lines of text.

    Args:
        path: A built repository, a zip of the publisher, an extracted folder, or a folder with
            the zips; None describes the dataset.
        spec: The dataset.

    Raises:
        MissingMemberError: if there is neither at `path`.
        SchemaVersionError: for a repository of a newer schema.
    """
    if path is None:
        return _describe_dataset(spec)
    path = user_path(path)
    if path.is_dir() and any(data_files(path, name) for name in CONFIG_NAMES):
        return _describe_repository(path, spec)
    return _describe_archives(path, spec)


def _describe_dataset(spec: DatasetSpec) -> Iterator[str]:
    yield spec.description
    yield f"Paper: {spec.homepage}"
    yield f'License: none named; "{spec.license_details}"'
    for volume in spec.volumes:
        yield f"Volume {volume.name}: split {volume.split}, shape (z, y, x) {volume.shape}"
    yield "Classes: " + ", ".join(f"{i} {name}" for i, name in enumerate(spec.class_names))
    for config in CONFIGS:
        yield f"Config {config.name}: {config.description}"
    for archive in spec.archives:
        cached = download_folder() / archive.file_name
        state = f"cached at {cached}" if cached.is_file() else "not downloaded"
        yield f"Archive with {archive.label_source} labels: {archive.size}, {state}"
        for url in archive_urls(archive):
            yield f"  {url}"
        yield f"  MD5 {archive.md5 or 'not published'}"


def _describe_archives(path: Path, spec: DatasetSpec) -> Iterator[str]:
    reasons = []
    for label_source in LABEL_SOURCES:
        try:
            source = find_source(path, label_source, spec)
        except PlateletEMError as error:
            reasons.append(str(error))
            continue
        found = source.identity(needed_files(spec, label_source)).md5
        published = spec.archive(label_source).md5
        yield f"{source.path}: images and {label_source} labels"
        if source.is_zip:
            verdict = "published" if found == published else f"NOT the published {published}"
            yield f"  MD5 {found} ({verdict if published else 'not checked: none is published'})"
        else:
            yield f"  MD5 of its files' MD5s {found} (not checked: none is published of them)"
        for volume in spec.volumes:
            with open_images(source, volume) as images:
                shape = " x ".join(map(str, images.shape))
            yield f"  volume {volume.name}: {shape} (z, y, x), published {volume.shape}"
    if len(reasons) == len(LABEL_SOURCES):
        raise MissingMemberError(
            f"neither a built repository nor the publisher's files: {reasons[0]}"
        )


def _describe_repository(folder: Path, spec: DatasetSpec) -> Iterator[str]:
    files = [path for name in CONFIG_NAMES for path in data_files(folder, name)]
    check_readable(files)
    yield f"{folder}: a built repository"
    record = read_record(files[0]) or {}
    if record and (warning := origin_warning(record, spec)):
        yield f"  {warning}"
    for key, value in record.items():
        yield f"  {key.replace('_', ' ')}: {value if isinstance(value, str) else quote(value)}"
    for config in CONFIGS:
        for volume in spec.volumes:
            shards = data_files(folder, config.name, volume.split)
            rows, stored = count_files(shards)
            size = f"{stored / 1e6:.1f} MB"
            yield f"  {config.name}, {volume.split}: {rows} rows in {len(shards)} files, {size}"
