"""Getting the publisher's archives from their addresses into a cache folder."""

from pathlib import Path
from typing import IO
from urllib.parse import urljoin, urlsplit

import datasets
import requests
from datasets.utils import tqdm

from _platelet_em.archive import Source, file_md5, find_source, open_source
from _platelet_em.errors import ArchiveError, ChecksumError, DownloadError
from _platelet_em.files import new_file
from _platelet_em.spec import Archive, archive_for

__all__ = ["download_folder", "fetch", "obtain"]

_CHUNK = 1 << 18
_TIMEOUT_S = (20, 60)
_MAX_REDIRECTS = 10
_HEADERS = {"Accept-Encoding": "identity"}
"""The bytes as they lie there: what is packed on the way has another length than it says."""
_LOOPBACK = ("127.0.0.1", "localhost", "::1")


def download_folder(cache_dir: str | Path | None = None) -> Path:
    """Where archives are kept: below the cache of `datasets`, or below another one."""
    root = Path(cache_dir or datasets.config.HF_DATASETS_CACHE).expanduser()
    return root / "downloads" / "platelet_em"


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
    """
    if data_dir is not None:
        return find_source(data_dir, label_source)
    return open_source(fetch(archive_for(label_source), download_folder(cache_dir), force=force))


def fetch(archive: Archive, folder: Path, *, force: bool = False) -> Path:
    """Download an archive, or find it in the cache.

    It goes to a temporary name, is checked (its MD5 where one is published, else that it is a zip
    with the files it should hold), and only then gets its own name: what has that name is whole.

    Args:
        archive: Which one.
        folder: Where to; it is made if it is not there.
        force: Whether to download even what is there.

    Raises:
        DownloadError: if the address does not give the archive.
        ChecksumError: if what it gives is not the published archive.
    """
    target = folder / archive.file_name
    if target.is_file() and not force and _is_the_published(target, archive):
        return target
    with new_file(target) as file:
        _download(archive.url, file, archive.file_name)
        _check(Path(file.name), archive)
    return target


def _is_the_published(path: Path, archive: Archive) -> bool:
    """Whether a file has the archive's checksum; without one it was checked when it came."""
    if archive.md5 is None:
        return True
    with path.open("rb") as file:
        return file_md5(file) == archive.md5


def _remedy(url: str) -> str:
    return (
        f"; download {url} by other means, and give the zip, or the folder that it unpacks to, as "
        "data_dir (on the command line: --data-dir)"
    )


def _download(url: str, file: IO[bytes], label: str) -> None:
    try:
        with requests.Session() as session, _open(session, url) as answer:
            if "text/html" in answer.headers.get("Content-Type", ""):
                msg = f"{url} answered with a web page, not an archive: the link may be dead"
                raise DownloadError(msg + _remedy(url))
            length = answer.headers.get("Content-Length", "")
            total = int(length) if length.isdecimal() else None
            with tqdm(total=total, unit="B", unit_scale=True, desc=f"Downloading {label}") as bar:
                for chunk in answer.iter_content(_CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
            if total is not None and file.tell() < total:
                msg = f"{url} ended after {file.tell()} of {total} bytes"
                raise DownloadError(msg + _remedy(url))
    except (requests.RequestException, ValueError) as error:  # the latter: no address at all
        msg = f"{url} could not be downloaded: {_reason(error)}"
        raise DownloadError(msg + _remedy(url)) from error
    file.flush()


def _reason(error: BaseException) -> str:
    """The innermost reason of a chain of errors, without the addresses of objects."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    text = str(error).split("] ", 1)[-1].split("object at 0x", 1)[0]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _is_loopback(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme == "http" and parts.hostname in _LOOPBACK


def _open(session: requests.Session, url: str) -> requests.Response:
    """Ask for an address and follow its redirects, never to anything but https.

    Plain http is for tests: from this machine to this machine.
    """
    address = url
    for _ in range(_MAX_REDIRECTS):
        parts = urlsplit(address)
        if parts.scheme != "https" and not (_is_loopback(url) and _is_loopback(address)):
            msg = f"{url} leads to {address[:80]}, which is not https: refused"
            raise DownloadError(msg + _remedy(url))
        answer = session.get(
            address, headers=_HEADERS, stream=True, timeout=_TIMEOUT_S, allow_redirects=False
        )
        if not answer.is_redirect:
            answer.raise_for_status()
            return answer
        address = urljoin(address, answer.headers["Location"])
        answer.close()
    msg = f"{url} redirects more than {_MAX_REDIRECTS} times"
    raise DownloadError(msg + _remedy(url))


def _check(path: Path, archive: Archive) -> None:
    if archive.md5 is not None:
        with path.open("rb") as file:
            found = file_md5(file)
        if found != archive.md5:
            msg = (
                f"{archive.url} gave a file with MD5 {found}, expected {archive.md5}: it was "
                "thrown away; the download is damaged, or the publisher has changed the archive"
            )
            raise ChecksumError(msg + _remedy(archive.url))
        return
    try:
        find_source(path, archive.label_source)
    except ArchiveError as error:
        msg = f"{archive.url} gave no archive of the dataset, and it was thrown away: {error}"
        raise ChecksumError(msg + _remedy(archive.url)) from error
