"""A cache folder of the publisher's archives, downloaded and checked when they are needed."""

import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import datasets

from _platelet_em.errors import (
    ChecksumError,
    DownloadError,
    ImageFormatError,
    MissingMemberError,
    OutputError,
    PlateletEMError,
    quote,
)
from _platelet_em.facts import LABEL_SOURCES, MIRRORS
from _platelet_em.files import exclusive_lock, user_path
from _platelet_em.publisher.archive import Source, file_md5, find_source, open_source
from _platelet_em.publisher.connection import is_on_this_machine, show_url
from _platelet_em.publisher.joined import join_sources, other_archives
from _platelet_em.publisher.transfer import PartialFile, download
from _platelet_em.publisher.volume import ArchiveVolume
from _platelet_em.spec import Archive, DatasetSpec

__all__ = ["archive_urls", "download_folder", "fetch", "obtain", "published_md5s"]

_REMEDY = "free some space there, or name another cache: cache_dir, --cache-dir, or HF_HOME"

_log = logging.getLogger(__name__)


def download_folder(cache_dir: str | Path | None = None) -> Path:
    """The folder for downloaded archives, in `cache_dir` or else in the cache of `datasets`."""
    root = user_path(cache_dir or datasets.config.HF_DATASETS_CACHE)
    return root / "downloads" / "platelet_em"


def archive_urls(archive: Archive) -> list[str]:
    """The URLs to try for an archive, in order: the user's mirrors, then the publisher."""
    named = (mirror.strip() for mirror in os.environ.get(MIRRORS, "").split(","))
    return [*(_file_url(mirror, archive) for mirror in named if mirror), archive.url]


def _file_url(mirror: str, archive: Archive) -> str:
    """The URL of an archive in a folder; a query, which may be a token, stays at the end."""
    folder, mark, query = mirror.partition("?")
    return f"{folder.rstrip('/')}/{archive.file_name}{mark}{query}"


def obtain(
    spec: DatasetSpec,
    label_source: str,
    data_dir: str | Path | None,
    cache_dir: str | Path | None = None,
    *,
    force: bool = False,
) -> Source:
    """The publisher's files: the user's own copy, or else the archives from the cache.

    Args:
        spec: The dataset.
        label_source: "json" or "tif".
        data_dir: A zip, an extracted folder, or a folder with the zips; None takes the archive
            from the cache, and downloads it if necessary.
        cache_dir: The cache; None is that of `datasets`.
        force: Whether to download the archive again if it is in the cache.

    Raises:
        ArchiveError: if `data_dir` lacks the files, or they are damaged.
        DownloadError: if the archive cannot be downloaded.
        ChecksumError: if the download is not the published archive.
        OutputError: if the cache cannot be written.
    """
    sources = [
        _obtain(spec, archive.name, data_dir, cache_dir, force=force)
        for archive in _archives(spec, label_source)
    ]
    return join_sources(sources, spec)


def _archives(spec: DatasetSpec, label_source: str) -> list[Archive]:
    """The archives that rows need: that of the label source, then those of other volumes."""
    return [spec.archive(label_source), *other_archives(spec)]


def published_md5s(spec: DatasetSpec, label_source: str) -> list[str | None]:
    """The published MD5 of each archive that `obtain` gives, or None, in their order."""
    return [archive.md5 for archive in _archives(spec, label_source)]


def _obtain(
    spec: DatasetSpec,
    name: str,
    data_dir: str | Path | None,
    cache_dir: str | Path | None,
    *,
    force: bool,
) -> Source:
    """The files of one archive; one without labels of a source may be missing in `data_dir`."""
    archive = spec.archive(name)
    if data_dir is not None:
        if name in LABEL_SOURCES:
            return find_source(data_dir, name, spec)
        path = user_path(data_dir)
        for place in (path, path.parent) if path.is_file() else (path,):
            try:
                return find_source(place, name, spec)
            except MissingMemberError:  # noqa: PERF203  # two places
                if (place / archive.file_name).is_file():
                    raise  # it is the archive, and lacks a file
    return open_source(fetch(spec, archive, download_folder(cache_dir), force=force), spec)


def fetch(spec: DatasetSpec, archive: Archive, folder: Path, *, force: bool = False) -> Path:
    """The path of an archive in a folder, downloaded if it is not there.

    A download has a temporary name until it is complete and checked: by its MD5 if one is
    published, else by reading all of its contents. The next call continues an interrupted
    download. If several processes need the archive, one downloads it and the others wait.

    Args:
        spec: The dataset.
        archive: The archive.
        folder: The folder; it is created if necessary.
        force: Whether to download the archive again if it is there.

    Raises:
        DownloadError: if no URL gives the archive.
        ChecksumError: if the download is not the published archive.
        OutputError: if the folder cannot be written, and then the download is deleted; or if
            there is no room for the temporary files of the check, and then it is kept.
    """
    target = folder / archive.file_name
    before = _version(target)
    if not force and _is_valid(target, archive, spec):
        return target
    lock = exclusive_lock(
        target.with_name(f"{target.name}.lock"),
        on_wait=lambda: _log.warning("%s: waiting for another process to download it", target),
    )
    with ExitStack() as stack:
        with _cache_errors(folder):
            stack.enter_context(lock)
        # A file that another process has just downloaded satisfies `force`, too.
        is_new = not force or _version(target) != before
        if not (is_new and _is_valid(target, archive, spec)):
            _download(archive, target, spec)
    return target


def _version(path: Path) -> tuple[int, int] | None:
    """A value that changes if the file is replaced; None without a file."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _is_valid(path: Path, archive: Archive, spec: DatasetSpec) -> bool:
    """Whether a file is the archive: by its MD5; without a published one, by its file names.

    The contents of the files were checked after the download.
    """
    if not path.is_file():
        return False
    try:
        if archive.md5 is not None:
            with path.open("rb") as file:
                return file_md5(file) == archive.md5
        find_source(path, archive.name, spec)
    except OSError:  # includes ArchiveError
        return False
    return True


@contextmanager
def _cache_errors(folder: Path) -> Iterator[None]:
    """Add to errors of writing there what the user can do.

    Raises:
        OutputError: for any `OSError` that is no error of this package.
    """
    try:
        yield
    except OutputError as error:
        raise OutputError(f"{error}: {_REMEDY}") from error
    except OSError as error:
        if isinstance(error, PlateletEMError):
            raise
        raise OutputError(
            f"{folder}: the archive cannot be written: {error.strerror or error}: {_REMEDY}"
        ) from error


def _download(archive: Archive, target: Path, spec: DatasetSpec) -> None:
    """Download an archive from the first URL that gives it.

    Raises:
        PlateletEMError: of the class that the last URL, the publisher's, has failed with.
    """
    failures: list[DownloadError | ChecksumError] = []
    urls = archive_urls(archive)
    if datasets.config.HF_HUB_OFFLINE:  # also set by HF_DATASETS_OFFLINE
        urls = [url for url in urls if is_on_this_machine(url)]
    for url in urls:
        try:
            return _download_from(url, archive, target, spec)
        except (DownloadError, ChecksumError) as error:  # noqa: PERF203  # a few URLs
            failures.append(error)
    if not failures:
        failures.append(
            DownloadError(
                f"{archive.file_name} is not in {target.parent}, and is not downloaded, since "
                "HF_HUB_OFFLINE or HF_DATASETS_OFFLINE is set"
            )
        )
    # `from None`: the message has all reasons.
    raise type(failures[-1])(
        f"{'; '.join(map(str, failures))}; download {archive.url} by other means, and give the "
        "zip, or the folder that it unpacks to, as data_dir (on the command line: --data-dir), or "
        "try a synthetic one: platelet-em sample FOLDER"
    ) from None


def _download_from(url: str, archive: Archive, target: Path, spec: DatasetSpec) -> None:
    """Download an archive from a URL, check it, and give it its name."""
    partial = PartialFile(target)
    with _cache_errors(target.parent):
        try:
            download(url, partial, archive.file_name)
        except DownloadError:
            raise
        except OSError:
            partial.delete()
            raise
    try:
        _check(partial.path, archive, show_url(url), spec)
    except (DownloadError, ChecksumError):
        partial.delete()
        raise
    with _cache_errors(target.parent):
        partial.move_to(target)


def _check(path: Path, archive: Archive, url: str, spec: DatasetSpec) -> None:
    """Check a complete download.

    Raises:
        DownloadError: for a web page, whatever its Content-Type was.
        ChecksumError: for anything else that is not the archive.
        OutputError: if there is no room for the temporary files of the check.
    """
    with path.open("rb") as file:
        head = file.read(64)
        file.seek(0)
        md5 = file_md5(file) if archive.md5 is not None else None
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise DownloadError(
            f"{url} answered with a web page, not an archive: the link may be dead"
        )
    if not head.startswith(b"PK"):
        raise ChecksumError(
            f"{url} gave no zip archive: expected a file that begins with PK, got {quote(head)}"
        )
    if md5 != archive.md5:
        raise ChecksumError(
            f"{url} gave a file with MD5 {md5}, expected {archive.md5}: it was deleted; the "
            "download is damaged, or the publisher has changed the archive"
        )
    if archive.md5 is not None:
        return
    try:
        source = find_source(path, archive.name, spec)
        _check_content(source, archive.name, spec)
    except OutputError:
        raise
    except PlateletEMError as error:
        raise ChecksumError(
            f"{url} gave no archive of the dataset, and it was deleted: {error}"
        ) from error


def _check_content(source: Source, label_source: str, spec: DatasetSpec) -> None:
    """Read all images and labels, which checks their CRCs, shapes and colors."""
    for volume in spec.volumes:
        with ArchiveVolume(source, volume, label_source, spec) as opened:
            if opened.shape != volume.shape:
                raise ImageFormatError(
                    f"{source.describe_member(volume.images)}: expected the shape "
                    f"{volume.shape} (z, y, x), got {opened.shape}"
                )
            for z in range(opened.shape[0]):
                opened.image(z)
