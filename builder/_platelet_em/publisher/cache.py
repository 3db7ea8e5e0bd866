"""Getting the publisher's archives from their addresses into a cache folder."""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import datasets
from filelock import FileLock, Timeout

from _platelet_em.errors import (
    ChecksumError,
    DownloadError,
    ImageFormatError,
    OutputError,
    PlateletEMError,
    quote,
)
from _platelet_em.facts import VOLUMES, Archive, archive_for
from _platelet_em.files import user_path
from _platelet_em.publisher.archive import Source, file_md5, find_source, open_source
from _platelet_em.publisher.transfer import Part, download
from _platelet_em.publisher.volume import Volume

__all__ = ["MIRRORS", "addresses", "download_folder", "fetch", "obtain"]

MIRRORS = "PLATELET_EM_MIRRORS"
"""Environment variable: addresses of folders that hold the archives too, asked before the
publisher, with commas between them."""

_log = logging.getLogger(__name__)


def download_folder(cache_dir: str | Path | None = None) -> Path:
    """Where archives are kept: below the cache of `datasets`, or below another one."""
    root = user_path(cache_dir or datasets.config.HF_DATASETS_CACHE)
    return root / "downloads" / "platelet_em"


def addresses(archive: Archive) -> list[str]:
    """Where an archive is looked for, in order: the mirrors that the user names, the publisher."""
    named = (mirror.strip() for mirror in os.environ.get(MIRRORS, "").split(","))
    mirrors = [f"{mirror.rstrip('/')}/{archive.file_name}" for mirror in named if mirror]
    return [*mirrors, archive.url]


def obtain(
    label_source: str,
    data_dir: str | Path | None,
    cache_dir: str | Path | None = None,
    *,
    force: bool = False,
) -> Source:
    """The publisher's files: those that the user names, or the archive, fetched if need be.

    Args:
        label_source: "json" or "tif".
        data_dir: A zip, an extracted folder, or a folder with the zips; None fetches.
        cache_dir: Whose download folder is used; None is that of `datasets`.
        force: Whether to download even what is in the cache.

    Raises:
        ArchiveError: for a `data_dir` without the files, or damaged.
        DownloadError: if the archive cannot be fetched.
        OutputError: if there is no room for it.
    """
    if data_dir is not None:
        return find_source(data_dir, label_source)
    return open_source(fetch(archive_for(label_source), download_folder(cache_dir), force=force))


def fetch(archive: Archive, folder: Path, *, force: bool = False) -> Path:
    """Download an archive, or find it in the cache.

    It goes to a temporary name, is checked (its MD5 where one is published, else all that it
    holds), and only then gets its own name: what has that name is whole. What a cut or a kill
    leaves waits under the temporary name, and the next call goes on with it. Of several
    processes one downloads, and the others wait for it.

    Args:
        archive: Which one.
        folder: Where to; it is made if it is not there.
        force: Whether to download even what is there.

    Raises:
        DownloadError: if no address gives the archive.
        ChecksumError: if what they give is not the published archive.
        OutputError: if it cannot be written, and then nothing of it is left; or if there is no
            room for temporary files to check it with, and then the next call goes on from there.
    """
    target = folder / archive.file_name
    before = _state(target)
    if not force and _is_the_published(target, archive):
        return target
    with _alone_with(target):
        # What another process brought while this one waited is as new as can be.
        fresh = not force or _state(target) != before
        if not (fresh and _is_the_published(target, archive)):
            _bring(archive, target)
    return target


def _state(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


def _is_the_published(path: Path, archive: Archive) -> bool:
    """Whether a file is the archive: by its checksum; without one, by the files that it holds.

    What they hold was checked when it came.
    """
    if not path.is_file():
        return False
    try:
        if archive.md5 is not None:
            with path.open("rb") as file:
                return file_md5(file) == archive.md5
        find_source(path, archive.label_source)
    except OSError:  # an ArchiveError is one, too
        return False
    return True


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """Say what can be done where the cache cannot be written to."""
    remedy = "free some room there, or name another cache: cache_dir, --cache-dir, or HF_HOME"
    try:
        yield
    except OutputError as error:
        raise OutputError(f"{error}: {remedy}") from error
    except OSError as error:
        if isinstance(error, PlateletEMError):
            raise
        reason = error.strerror or error
        raise OutputError(
            f"{folder}: the archive cannot be kept there: {reason}: {remedy}"
        ) from error


@contextmanager
def _alone_with(target: Path) -> Iterator[None]:
    """Hold the lock on a file, which the system frees if its holder is killed."""
    lock = FileLock(target.with_name(target.name + ".lock"))
    with _writing(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            _log.warning("%s: another process is downloading it: waiting for its end", target)
            lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _bring(archive: Archive, target: Path) -> None:
    """Download from the first address that gives the archive."""
    failures: list[PlateletEMError] = []
    for url in addresses(archive):
        failure = _bring_from(url, archive, target)
        if failure is None:
            return
        failures.append(failure)
    _give_up(archive, failures)


def _bring_from(url: str, archive: Archive, target: Path) -> PlateletEMError | None:
    """Download from one address, and check; returns why another address may do better."""
    part = Part(target)
    try:
        with _writing(target.parent):
            download(url, part, archive.file_name)
    except DownloadError as error:
        return error
    except OutputError:
        part.discard()
        raise
    try:
        _check(part.path, archive, url)
    except (DownloadError, ChecksumError) as error:
        part.discard()
        return error
    with _writing(target.parent):
        part.move_to(target)
    return None


def _give_up(archive: Archive, failures: list[PlateletEMError]) -> NoReturn:
    """One sentence for all addresses; the kind of the error is that of the last, the publisher."""
    raise type(failures[-1])(
        f"{'; '.join(map(str, failures))}; download {archive.url} by other means, and give the "
        "zip, or the folder that it unpacks to, as data_dir (on the command line: --data-dir)"
    ) from failures[-1]


def _check(path: Path, archive: Archive, url: str) -> None:
    """Look at what an address gave.

    Raises:
        DownloadError: for a web page, whatever it calls itself.
        ChecksumError: for what else is not the archive.
    """
    with path.open("rb") as file:
        head = file.read(64)
        file.seek(0)
        found = file_md5(file) if archive.md5 is not None else None
    if head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        raise DownloadError(
            f"{url} answered with a web page, not an archive: the link may be dead"
        )
    if not head.startswith(b"PK"):
        raise ChecksumError(
            f"{url} gave no zip archive: expected one, which begins with PK, got {quote(head)}"
        )
    if found != archive.md5:
        raise ChecksumError(
            f"{url} gave a file with MD5 {found}, expected {archive.md5}: it was thrown away; the "
            "download is damaged, or the publisher has changed the archive"
        )
    if archive.md5 is not None:
        return
    try:
        _check_content(find_source(path, archive.label_source), archive.label_source)
    except OutputError:
        raise
    except PlateletEMError as error:
        raise ChecksumError(
            f"{url} gave no archive of the dataset, and it was thrown away: {error}"
        ) from error


def _check_content(source: Source, label_source: str) -> None:
    """Read all pages and labels: sums of the members, shapes, colours; 6 s for the real size."""
    for spec in VOLUMES:
        with Volume(source, spec, label_source) as volume:
            if volume.shape != spec.shape:
                raise ImageFormatError(
                    f"{source.place(spec.images)}: expected the shape {spec.shape} (z, y, x), "
                    f"got {volume.shape}"
                )
            for z in range(volume.shape[0]):
                volume.image(z)
