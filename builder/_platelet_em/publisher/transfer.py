"""Download of one URL to one file over an unreliable connection.

A download that was interrupted continues where it stopped, also in another process: the partial
file stays, with a note of where its bytes come from. Requests are repeated a bounded number of
times, and not at all while there is no connection; a bounded number of bytes is accepted. What may
go wrong with one request is the matter of connection.py. The content of a complete file is not
checked here.
"""

import hashlib
import json
import logging
import os
import re
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from pathlib import Path
from time import sleep
from typing import IO, Any, NoReturn

import requests
import urllib3
from urllib3.util import Retry

from _platelet_em.errors import DownloadError, OutputError, quote
from _platelet_em.files import PARTIAL_SUFFIX
from _platelet_em.progress import progress_bar
from _platelet_em.publisher import connection
from _platelet_em.publisher.connection import (
    Session,
    TemporaryError,
    UnreachableError,
    one_line,
    open_url,
    show_url,
)

__all__ = ["MAX_BYTES", "MAX_REQUESTS", "RETRIES", "PartialFile", "download"]

MAX_BYTES = 1 << 30
"""Largest file that is accepted, in bytes; the publisher's archives have less than 100 MB."""

RETRIES = 4
"""Repeated requests in a row without progress; their waits add up to about 15 s."""

MAX_REQUESTS = 200
"""Requests of one call, even if each of them brings a few bytes."""

_MAX_WAIT_S = 60.0
"""Longest Retry-After that is obeyed."""

_CHUNK = 1 << 18
_RETRY_STATUSES = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)")
_ENCODINGS = frozenset({"gzip", "x-gzip", "deflate", "br", "zstd"})
"""Content encodings that change the bytes. Object stores send back any other word they were given
with a file, and mean nothing by it."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where the bytes of a partial file come from.

    Attributes:
        url: The URL that was requested, before redirects; its SHA-256 if there are secrets in it.
        validator: The value for If-Range: the server's ETag or modification date of the file;
            None if it sends neither.
        length: Size of the complete file in bytes; None if the server does not send it.
    """

    url: str
    validator: str | None
    length: int | None

    def confirm(self, validator: str | None, length: int | None) -> "_Origin | None":
        """The origin, with what a later response states about the file; None if they disagree."""
        if validator not in (None, self.validator or validator):
            return None
        if length not in (None, self.length or length):
            return None
        return replace(self, length=self.length or length)


class PartialFile:
    """An incomplete download: the bytes so far, and a note of their origin in a second file.

    Args:
        target: Path of the complete file; both files are in its folder.
    """

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(target.name + PARTIAL_SUFFIX)
        self._note = target.with_name(f"{target.name}.origin{PARTIAL_SUFFIX}")

    def read_origin(self) -> _Origin | None:
        """The origin of the bytes; None without a note, or with a damaged one."""
        try:
            origin = _Origin(**json.loads(self._note.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        types = (str, str | None, int | None)
        values = (origin.url, origin.validator, origin.length)
        return origin if all(map(isinstance, values, types)) else None

    def write_origin(self, origin: _Origin) -> None:
        """Note the origin of the bytes; those of another origin must have been removed before."""
        self._note.write_text(json.dumps(asdict(origin)), "utf-8")

    def move_to(self, target: Path) -> None:
        """Rename the complete file, and delete the note."""
        self.path.replace(target)
        self.delete()

    def delete(self) -> None:
        """Delete both files."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


def download(url: str, partial: PartialFile, label: str) -> None:
    """Download a URL completely, or continue a download of the same URL.

    Args:
        url: An https URL, or an http URL of this machine.
        partial: Receives the bytes, and keeps them if the download fails.
        label: Name of the file for the progress bar.

    Raises:
        DownloadError: if the URL does not give a complete file of at most `MAX_BYTES`.
        OutputError: if the disk has not enough space for it.
        OSError: if the partial file cannot be written.
    """
    try:
        with Session() as session, partial.path.open("ab") as file:
            _Download(session, url, partial, file).run(label)
            file.flush()
            os.fsync(file.fileno())
    finally:
        if partial.path.is_file() and partial.path.stat().st_size == 0:
            partial.delete()


class _Download:
    """One call of `download`: its open file, and the origin of what the file contains."""

    def __init__(self, session: Session, url: str, partial: PartialFile, file: IO[bytes]) -> None:
        self._session = session
        self._url = url
        self._shown = show_url(url)
        self._partial = partial
        self._file = file
        origin = partial.read_origin()
        is_secret = self._shown != url
        self._noted_url = (
            hashlib.sha256(url.encode(errors="surrogatepass")).hexdigest() if is_secret else url
        )
        self._origin = origin if origin and origin.url == self._noted_url else None
        self._has_answered = False

    @property
    def _size(self) -> int:
        """Bytes received so far; bytes of another origin do not count, and are overwritten."""
        return self._file.tell() if self._origin else 0

    def run(self, label: str) -> None:
        """Send requests until the file is complete, or a limit is reached."""
        retry = all_retries = Retry(total=RETRIES, backoff_factor=1, backoff_jitter=0.25)
        largest = self._size
        with progress_bar(stage=f"Downloading {label}", unit="B", done=largest) as bar:
            for _ in range(MAX_REQUESTS):
                try:
                    self._request(bar)
                except TemporaryError as error:
                    failure = error
                else:
                    return
                if isinstance(failure, UnreachableError) and not self._has_answered:
                    raise DownloadError(
                        f"{self._shown} could not be downloaded: {failure}: check the connection"
                    ) from None
                if self._size - largest >= connection.MIN_PROGRESS:
                    retry, largest = all_retries, self._size
                try:
                    retry = retry.increment("GET", self._shown)
                except urllib3.exceptions.MaxRetryError:
                    break
                wait = _wait_s(retry, failure.response)
                bar.clear()
                _log.warning("%s: %s: trying again in %.0f s", self._shown, failure, wait)
                sleep(wait)
        raise DownloadError(
            f"{self._shown} could not be downloaded, in spite of retries: {failure}"
        ) from None

    def _request(self, bar: Any) -> None:
        """Request the missing bytes once, and append them to the file."""
        size = self._size
        # The length of a compressed response would not be that of the file.
        headers = {"Accept-Encoding": "identity"}
        if self._origin and size:
            if size == self._origin.length:
                return
            headers["Range"] = f"bytes={size}-"
            if self._origin.validator:
                headers["If-Range"] = self._origin.validator
        with open_url(self._session, self._url, headers) as response:
            self._has_answered = True
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and size:
                if _content_range(response) == (None, None, size):
                    return
                self._start_over("the server has no bytes after those that were received")
            self._check_response(response)
            self._check_origin(response, size)
            self._receive(response, bar)

    def _check_response(self, response: requests.Response) -> None:
        """Refuse what is not the file: errors, web pages, compressed responses."""
        status = response.status_code
        answer = one_line(f"{status} {response.reason or ''}")
        if status in _RETRY_STATUSES or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise TemporaryError(f"the server answered {answer}", response)
        if status < HTTPStatus.OK:
            raise DownloadError(
                f"{self._shown} answered {answer}, an interim answer where the file was expected: "
                "try another network, or a mirror"
            )
        if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            raise DownloadError(
                f"{self._shown} answered {answer}: the link may be dead or restricted"
            )
        if "html" in response.headers.get("Content-Type", "").lower():
            raise DownloadError(
                f"{self._shown} answered with a web page, not an archive: the link may be dead"
            )
        encoding = response.headers.get("Content-Encoding", "")
        if not _ENCODINGS.isdisjoint(re.split(r"[\s,]+", encoding.lower())):
            raise DownloadError(
                f"{self._shown} answered with the encoding {quote(encoding)}, expected identity, "
                "which was asked for: the server, or a proxy, compresses what it should not"
            )

    def _check_origin(self, response: requests.Response, size: int) -> None:
        """Accept a response that starts the file, or continues it after `size` bytes."""
        is_partial = response.status_code == HTTPStatus.PARTIAL_CONTENT
        is_continued = is_partial and not _is_complete(response)
        if is_continued:
            start, _, length = _content_range(response)
            if not self._origin or not size or start != size:
                expected = f"the bytes from {size} on" if size else "the complete file"
                self._start_over(
                    "the server answered 206 Partial Content with the range "
                    f"{quote(response.headers.get('Content-Range'))}, expected {expected}"
                )
            origin = self._origin.confirm(_validator(response), length)
            if origin is None:
                self._start_over("the file on the server has changed since the interruption")
        else:
            origin = _Origin(self._noted_url, _validator(response), _content_length(response))
        if origin.length is not None:
            self._check_size(origin.length)
            self._check_free_space(origin.length - (size if is_continued else 0))
        if not is_continued:
            # Emptied before the note changes: it never describes bytes of another origin.
            self._empty()
        self._origin = origin
        self._partial.write_origin(origin)

    def _start_over(self, reason: str) -> NoReturn:
        """Give up the bytes received so far; the next request asks for all."""
        self._origin = None
        raise TemporaryError(reason)

    def _empty(self) -> None:
        self._file.seek(0)
        self._file.truncate()

    def _check_size(self, size: int) -> None:
        """Refuse a file of that size if it is too large to be an archive."""
        if size > MAX_BYTES:
            self._empty()
            raise DownloadError(
                f"{self._shown} gives {size} bytes or more, expected an archive of at most "
                f"{MAX_BYTES} bytes"
            )

    def _check_free_space(self, missing: int) -> None:
        folder = self._partial.path.parent
        free = shutil.disk_usage(folder).free
        if missing > free:
            raise OutputError(
                f"{folder}: no room for the archive: {missing} bytes are missing, {free} are free"
            )

    def _receive(self, response: requests.Response, bar: Any) -> None:
        """Append the body of a response to the file."""
        length = self._origin.length if self._origin else None
        bar.total = length
        bar.update(self._size - bar.n)
        of_length = "bytes" if length is None else f"of {length} bytes"
        try:
            # read1 returns what has arrived; read would lose it when the connection breaks.
            while chunk := response.raw.read1(_CHUNK, decode_content=False):
                self._file.write(chunk)
                self._check_size(self._size)
                self._session.clock.receive(len(chunk))
                bar.update(len(chunk))
        except urllib3.exceptions.ReadTimeoutError as error:
            raise TemporaryError(
                f"less than {connection.MIN_PROGRESS} bytes in {connection.STALL_S:g} s, after "
                f"{self._size} {of_length}"
            ) from error
        except urllib3.exceptions.HTTPError as error:
            raise TemporaryError(f"the connection broke after {self._size} {of_length}") from error
        if length is not None and self._size < length:
            raise TemporaryError(f"the response ended after {self._size} {of_length}")
        if not self._size:
            raise TemporaryError("the response is empty")


def _content_length(response: requests.Response) -> int | None:
    header = response.headers.get("Content-Length", "")
    return int(header) if re.fullmatch(r"\d{1,18}", header, re.ASCII) else None


def _content_range(response: requests.Response) -> tuple[int | None, int | None, int | None]:
    """First and last byte and total size from Content-Range, None for what it does not state."""
    found = _CONTENT_RANGE.fullmatch(response.headers.get("Content-Range", ""))
    first, last, total = found.groups() if found else (None, None, None)
    return (
        int(first) if first else None,
        int(last) if last else None,
        int(total) if total and total != "*" else None,
    )


def _is_complete(response: requests.Response) -> bool:
    """Whether a response of status 206 is certainly the complete file."""
    first, last, total = _content_range(response)
    return (first, last) == (0, (total or 0) - 1) and _content_length(response) == total


def _validator(response: requests.Response) -> str | None:
    """The value for If-Range: a strong ETag, else a date."""
    for value in (response.headers.get("ETag"), response.headers.get("Last-Modified")):
        if value and value.isprintable() and not value.startswith("W/"):
            return value
    return None


def _wait_s(retry: Retry, response: requests.Response | None) -> float:
    """Seconds until the next request: the server's Retry-After up to a limit, else a backoff."""
    retry_after = None
    if response is not None:
        # Ignored if it is no date, or a date outside the calendar.
        with suppress(urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
            retry_after = retry.get_retry_after(response.raw)
    return min(retry_after or retry.get_backoff_time(), _MAX_WAIT_S)
