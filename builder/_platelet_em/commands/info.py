"""What `platelet-em info` says: of the dataset, of archives, or of a built repository."""

from collections.abc import Iterator
from pathlib import Path

from _platelet_em.errors import MissingMemberError, PlateletEMError
from _platelet_em.facts import (
    ARCHIVES,
    CLASSES,
    CONFIGS,
    DESCRIPTION,
    HOMEPAGE_PAPER,
    LABEL_SOURCES,
    LICENSE_WORDS,
    VOLUMES,
    archive_for,
)
from _platelet_em.files import user_path
from _platelet_em.hub.record import check_readable, read_provenance
from _platelet_em.publisher.archive import find_source, needed_files
from _platelet_em.publisher.cache import addresses, download_folder
from _platelet_em.publisher.volume import open_images
from _platelet_em.rows.shards import count_files, data_files

__all__ = ["describe"]


def describe(path: str | Path | None = None) -> Iterator[str]:
    """Lines about a built repository or archives at `path`; without one, about the dataset.

    Raises:
        MissingMemberError: if there is neither at `path`.
        SchemaVersionError: for a repository of a newer schema.
    """
    if path is None:
        return _describe_dataset()
    path = user_path(path)
    if path.is_dir() and any(data_files(path, config.name) for config in CONFIGS):
        return _describe_repository(path)
    return _describe_archives(path)


def _describe_dataset() -> Iterator[str]:
    yield DESCRIPTION
    yield f"Paper: {HOMEPAGE_PAPER}"
    yield f'Licence: none named; "{LICENSE_WORDS}"'
    for spec in VOLUMES:
        yield f"Volume {spec.name}: split {spec.split}, shape (z, y, x) {spec.shape}"
    yield "Classes: " + ", ".join(f"{c.index} {c.name}" for c in CLASSES)
    for config in CONFIGS:
        yield f"Config {config.name}: {config.description}"
    for archive in ARCHIVES:
        cached = download_folder() / archive.file_name
        where = f"cached at {cached}" if cached.is_file() else "not downloaded"
        yield f"Archive with {archive.label_source} labels: {archive.size}, {where}"
        for address in addresses(archive):
            yield f"  {address}"
        yield f"  MD5 {archive.md5 or 'not published'}"


def _describe_archives(path: Path) -> Iterator[str]:
    reasons = []
    for label_source in LABEL_SOURCES:
        try:
            source = find_source(path, label_source)
        except PlateletEMError as error:
            reasons.append(str(error))
            continue
        found = source.identity(needed_files(label_source))
        published = archive_for(label_source).md5
        yield f"{source.path}: images and {label_source} labels"
        if source.is_zip:
            verdict = "the published one" if found == published else f"published: {published}"
            yield f"  MD5 {found} ({verdict if published else 'none is published'})"
        for spec in VOLUMES:
            with open_images(source, spec) as images:
                shape = " x ".join(map(str, images.shape))
            yield f"  volume {spec.name}: {shape} (z, y, x), published {spec.shape}"
    if len(reasons) == len(LABEL_SOURCES):
        raise MissingMemberError(
            f"neither a built repository nor the publisher's files: {reasons[0]}"
        )


def _describe_repository(folder: Path) -> Iterator[str]:
    files = [path for config in CONFIGS for path in data_files(folder, config.name)]
    check_readable(files)
    yield f"{folder}: a built repository"
    for key, value in (read_provenance(files[0]) or {}).items():
        yield f"  {key.replace('_', ' ')}: {value}"
    for config in CONFIGS:
        for spec in VOLUMES:
            shards = data_files(folder, config.name, spec.split)
            rows, stored = count_files(shards)
            size = f"{stored / 1e6:.1f} MB"
            yield f"  {config.name}, {spec.split}: {rows} rows in {len(shards)} files, {size}"
