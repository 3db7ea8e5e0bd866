"""One address into one file over a bad line: resumed by Range, retried with patience, bounded.

An unfinished file stays beside a note of where its bytes came from, for the next call to go on
with, be it in another process. What is complete is not yet checked: that is the caller's.
"""

import json
import logging
import os
import re
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from time import sleep
from typing import IO, Any, NoReturn
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from datasets.utils import tqdm
from urllib3.util import Retry

from _platelet_em.errors import DownloadError, OutputError, quote
from _platelet_em.files import PARTIAL_SUFFIX

__all__ = ["MAX_BYTES", "MAX_REQUESTS", "RETRIES", "Part", "download"]

MAX_BYTES = 1 << 30
"""No archive is that large: the publisher's have less than 100 MB. What goes on is refused."""

RETRIES = 4
"""How often in a row an address is asked again without a byte more; waits add up to 15 s."""

MAX_REQUESTS = 200
"""How often an address is asked in one call, even if each answer brings a few bytes."""

_TIMEOUT_S = (20, 60)
"""For a connection, and for the next bytes: slow is no trouble, silent is."""

_LONGEST_WAIT_S = 60.0
"""What a server may ask for in Retry-After; beyond that the user decides better than we do."""

_LONGEST_WORDS = 80
_CHUNK = 1 << 18
_MAX_REDIRECTS = 10
_HEADERS = {"Accept-Encoding": "identity"}
"""The bytes as they lie there: what is packed on the way has another length than it says."""

_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_PASSING = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS)
_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Origin:
    """Where the bytes of a part come from.

    Attributes:
        url: The address that was asked.
        validator: What the server calls this state of the file, an ETag or a date; None if it
            says nothing, and then only the check of the whole file can tell.
        length: Bytes of the whole file; None if the server does not say.
    """

    url: str
    validator: str | None
    length: int | None


class Part:
    """What has come of a file so far: the bytes, and a note of their origin.

    Args:
        target: What the file will be called when it is complete and checked.
    """

    def __init__(self, target: Path) -> None:
        self.path = target.with_name(target.name + PARTIAL_SUFFIX)
        self._note = target.with_name(f"{target.name}.origin{PARTIAL_SUFFIX}")

    def origin(self) -> _Origin | None:
        """Where its bytes come from; None if there is no note, or a damaged one."""
        try:
            origin = _Origin(**json.loads(self._note.read_bytes()))
        except (FileNotFoundError, ValueError, TypeError):
            return None
        types = (str, str | None, int | None)
        values = (origin.url, origin.validator, origin.length)
        return origin if all(map(isinstance, values, types)) else None

    def begin(self, origin: _Origin) -> None:
        """Note where the bytes of the part, which is still empty, will come from."""
        self._note.write_text(json.dumps(asdict(origin)), "utf-8")

    def move_to(self, target: Path) -> None:
        """Give the complete file its name."""
        self.path.replace(target)
        self.discard()

    def discard(self) -> None:
        """Leave nothing of it."""
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


class _Trouble(Exception):  # noqa: N818  # never leaves this module
    """What may be better at the next try.

    Attributes:
        answer: What the server said, if it did; it may say when to come again.
    """

    def __init__(self, reason: str, answer: requests.Response | None = None) -> None:
        super().__init__(reason)
        self.answer = answer


def download(url: str, part: Part, label: str) -> None:
    """Bring all of what an address gives into a part, going on where an earlier call stopped.

    Args:
        url: https, or plain http on this machine.
        part: Where to; on trouble it stays, and holds whatever has come.
        label: What to call it beside the progress bar.

    Raises:
        DownloadError: if the address does not give a file; tells why, in one sentence.
        OutputError: if there is no room for it.
        OSError: if it cannot be written.
    """
    try:
        with requests.Session() as session, part.path.open("ab") as file:
            _Transfer(session, url, part, file).run(label)
            file.flush()
            os.fsync(file.fileno())
    finally:
        if part.path.is_file() and part.path.stat().st_size == 0:
            part.discard()


class _Transfer:
    """What one call does with one address."""

    def __init__(self, session: requests.Session, url: str, part: Part, file: IO[bytes]) -> None:
        self._session = session
        self._url = url
        self._part = part
        self._file = file
        origin = part.origin()
        self._origin = origin if origin and origin.url == url else None

    @property
    def _held(self) -> int:
        """Bytes that are here; those of another address do not count, and are overwritten."""
        return self._file.tell() if self._origin else 0

    def run(self, label: str) -> None:
        """Ask until all is here, or until asking is no use."""
        fresh = Retry(total=RETRIES, backoff_factor=1, backoff_jitter=0.25)
        patience, most = fresh, self._held
        total = self._origin.length if self._origin else None
        with tqdm(
            total=total, initial=most, unit="B", unit_scale=True, desc=f"Downloading {label}"
        ) as bar:
            for _ in range(MAX_REQUESTS):
                trouble = self._try(bar)
                if trouble is None:
                    return
                if self._held > most:
                    patience, most = fresh, self._held
                try:
                    patience = patience.increment("GET", self._url)
                except urllib3.exceptions.MaxRetryError:
                    break
                wait = _wait_s(patience, trouble)
                bar.clear()
                _log.warning("%s: %s: asking again in %.0f s", self._url, trouble, wait)
                sleep(wait)
        raise DownloadError(
            f"{self._url} could not be downloaded, in spite of retries: {trouble}"
        ) from trouble

    def _try(self, bar: Any) -> "_Trouble | None":
        """Ask once; returns what went wrong if asking again may help."""
        try:
            self._ask(bar)
        except _Trouble as trouble:
            return trouble
        except ValueError as error:
            raise DownloadError(
                f"{self._url} could not be downloaded: {_reason(error)}"
            ) from error
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            late = isinstance(error, requests.Timeout)
            unreached = _Trouble("it did not answer in time" if late else _reason(error))
            unreached.__cause__ = error
            return unreached
        return None

    def _ask(self, bar: Any) -> None:
        held = self._held
        headers = dict(_HEADERS)
        if self._origin and held:
            if held == self._origin.length:
                return
            headers["Range"] = f"bytes={held}-"
            if self._origin.validator:
                headers["If-Range"] = self._origin.validator
        with _open(self._session, self._url, headers) as answer:
            status = answer.status_code
            if status == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE and held:
                if _content_range(answer) == (None, held):
                    return
                self._begin_anew("it has no bytes after those that came before")
            self._refuse_other_than_archives(answer)
            if status == HTTPStatus.PARTIAL_CONTENT:
                self._go_on(answer, held)
            else:
                self._begin(answer)
            self._receive(answer, bar)

    def _refuse_other_than_archives(self, answer: requests.Response) -> None:
        status = answer.status_code
        said = _one_line(f"{status} {answer.reason or ''}")
        if status in _PASSING or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise _Trouble(f"it answered {said}", answer)
        if status not in (HTTPStatus.OK, HTTPStatus.PARTIAL_CONTENT):
            raise DownloadError(
                f"{self._url} answered {said}: the link may be dead, or closed to you"
            )
        if "html" in answer.headers.get("Content-Type", "").lower():
            raise DownloadError(
                f"{self._url} answered with a web page, not an archive: the link may be dead"
            )
        packing = answer.headers.get("Content-Encoding", "identity").lower()
        if packing != "identity":
            raise DownloadError(
                f"{self._url} answered in the encoding {quote(packing)}, expected the bare file"
            )

    def _begin_anew(self, reason: str) -> NoReturn:
        """Do not go on from what came before: it does not fit what the server has now."""
        self._origin = None
        raise _Trouble(reason)

    def _empty(self) -> None:
        self._file.seek(0)
        self._file.truncate()

    def _begin(self, answer: requests.Response) -> None:
        stated = answer.headers.get("Content-Length", "")
        length = int(stated) if re.fullmatch(r"\d{1,18}", stated, re.ASCII) else None
        self._require_room(length, 0)
        # Emptied before the note changes: never do bytes stand under a note that is not theirs.
        self._empty()
        self._note(_Origin(self._url, _validator(answer), length))

    def _go_on(self, answer: requests.Response, held: int) -> None:
        start, total = _content_range(answer)
        origin = self._origin
        if origin is None or not held or start != held:
            self._begin_anew(f"it answered bytes from {start}, asked for those from {held}")
        validator = _validator(answer)
        if total not in (None, origin.length or total) or (
            validator not in (None, origin.validator or validator)
        ):
            self._begin_anew("it has another file now than before the cut")
        length = origin.length or total
        self._require_room(length, held)
        self._note(replace(origin, length=length))

    def _note(self, origin: _Origin) -> None:
        self._origin = origin
        self._part.begin(origin)

    def _require_room(self, length: int | None, held: int) -> None:
        if length is None:
            return
        if length > MAX_BYTES:
            self._refuse_size(f"{length} bytes")
        folder = self._part.path.parent
        free = shutil.disk_usage(folder).free
        if length - held > free:
            raise OutputError(
                f"{folder}: no room for the archive: {length - held} bytes are to come, {free} "
                "are free"
            )

    def _refuse_size(self, found: str) -> NoReturn:
        self._empty()
        raise DownloadError(
            f"{self._url} gives {found}, expected an archive of less than {MAX_BYTES} bytes"
        )

    def _receive(self, answer: requests.Response, bar: Any) -> None:
        length = self._origin.length if self._origin else None
        bar.total = length
        bar.update(self._held - bar.n)
        place = f"of {length} bytes" if length is not None else "bytes"
        try:
            # All that has come, however little: read() would lose it when the line is cut.
            while chunk := answer.raw.read1(_CHUNK, decode_content=False):
                self._file.write(chunk)
                if self._held > MAX_BYTES:
                    self._refuse_size("bytes without end")
                bar.update(len(chunk))
        except urllib3.exceptions.ReadTimeoutError as error:
            reason = f"it sent nothing for {_TIMEOUT_S[1]} s, after {self._held} {place}"
            raise _Trouble(reason) from error
        except urllib3.exceptions.HTTPError as error:
            raise _Trouble(f"the line was cut after {self._held} {place}") from error
        if length is not None and self._held < length:
            raise _Trouble(f"it ended after {self._held} {place}")
        if not self._held:
            raise _Trouble("it answered with nothing")


def _content_range(answer: requests.Response) -> tuple[int | None, int | None]:
    """First byte and length of the whole, as far as the answer tells them."""
    found = _CONTENT_RANGE.fullmatch(answer.headers.get("Content-Range", ""))
    first, _, total = found.groups() if found else (None, None, None)
    return (int(first) if first else None, int(total) if total and total != "*" else None)


def _validator(answer: requests.Response) -> str | None:
    """What If-Range takes: an ETag that stands for the very bytes, or else a date."""
    for value in (answer.headers.get("ETag"), answer.headers.get("Last-Modified")):
        if value and value.isprintable() and not value.startswith("W/"):
            return value
    return None


def _wait_s(patience: Retry, trouble: _Trouble) -> float:
    """Seconds until the next try: what the server asks for, within reason, or ever more."""
    asked = None
    if trouble.answer is not None:
        # A date beyond all calendars, or no date at all, is no request.
        with suppress(urllib3.exceptions.InvalidHeader, ValueError, OverflowError):
            asked = patience.get_retry_after(trouble.answer.raw)
    return min(asked or patience.get_backoff_time(), _LONGEST_WAIT_S)


def _reason(error: BaseException) -> str:
    """The innermost reason of a chain of errors, without the addresses of objects."""
    chain = (OSError, ValueError, HTTPException, urllib3.exceptions.HTTPError)
    while isinstance(inner := error.__cause__ or error.__context__, chain):
        error = inner
    text = _one_line(str(error).split("] ", 1)[-1].split("object at 0x", 1)[0])
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _one_line(text: str) -> str:
    """Words of a server as a message can hold them: it may say anything, at any length."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(printable.split())[:_LONGEST_WORDS]


def _is_loopback(address: str) -> bool:
    parts = urlsplit(address)
    return parts.scheme == "http" and parts.hostname in _LOOPBACK


def _open(session: requests.Session, url: str, headers: dict[str, str]) -> requests.Response:
    """Ask for an address and follow its redirects, never to anything but https.

    Plain http is for tests: from this machine to this machine.
    """
    address, secure = url, False
    for _ in range(_MAX_REDIRECTS):
        secure = secure or urlsplit(address).scheme == "https"
        if urlsplit(address).scheme != "https" and (secure or not _is_loopback(address)):
            raise DownloadError(
                f"{url} leads to {_one_line(address)}, which is not https: refused"
            )
        answer = session.get(
            address, headers=headers, stream=True, timeout=_TIMEOUT_S, allow_redirects=False
        )
        if not answer.is_redirect:
            return answer
        address = urljoin(address, answer.headers["Location"])
        answer.close()
    raise DownloadError(f"{url} redirects more than {_MAX_REDIRECTS} times")
