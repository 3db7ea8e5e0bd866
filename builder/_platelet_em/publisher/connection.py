"""One GET request: what it may lead to, how long it may take, and the reason why it failed."""

import errno
import io
import os
import re
import socket
import ssl
from functools import partial
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urljoin, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies, select_proxy

from _platelet_em.errors import DownloadError

__all__ = [
    "MIN_PROGRESS",
    "STALL_S",
    "Session",
    "TemporaryError",
    "UnreachableError",
    "is_on_this_machine",
    "one_line",
    "open_url",
    "show_url",
]

STALL_S = 60.0
"""Seconds without progress after which a request ends; redirects and headers are no progress."""

MIN_PROGRESS = 1 << 10
"""Bytes of a file within `STALL_S` that are progress: a slow server is fine, a stuck one not."""

_CONNECT_S = 20.0
_MAX_REASON = 80
_MAX_REDIRECTS = 10
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_CERTIFICATES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")
"""Environment variables that name trusted certificates; the first one that is set counts."""

_UNREACHABLE = (errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN)
_PROXY_UNUSABLE = (requests.exceptions.InvalidProxyURL, requests.exceptions.InvalidSchema)
_USER = re.compile(r"//[^/\s]*@")
_QUERY = re.compile(r"([?&])(?!dl=[01]\b)([^=&\s]*=)?[^&\s'\")]+")


class TemporaryError(Exception):
    """A failure that another request may not meet; never leaves this folder.

    Attributes:
        response: The server's response, if there was one; it may have a Retry-After.
    """

    def __init__(self, reason: str, response: requests.Response | None = None) -> None:
        super().__init__(reason)
        self.response = response


class UnreachableError(TemporaryError):
    """No connection to the server: in most cases this machine has no network."""


class _Clock:
    """The time since a request has last made progress."""

    def __init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        self._since = monotonic()
        self._received = 0

    def receive(self, size: int) -> None:
        """Count bytes of the file."""
        self._received += size
        if self._received >= MIN_PROGRESS:
            self.restart()

    def seconds_left(self) -> float:
        """The seconds that the next read may take.

        Raises:
            TimeoutError: if none are left.
        """
        left = self._since + STALL_S - monotonic()
        if left <= 0:
            raise TimeoutError("timed out")
        return left


class _TimedReader(io.RawIOBase):
    """The incoming bytes of a socket, until the clock has run out.

    The timeout of a socket alone ends nothing: it starts again with every byte that arrives, and
    headers, interim answers and trailers may go on for ever.
    """

    def __init__(self, clock: _Clock, socket: Any, raw: io.RawIOBase) -> None:
        self._clock = clock
        self._socket = socket
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._socket.settimeout(self._clock.seconds_left())
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(HTTPResponse):
    """A response, from a server or from a proxy, that reads until the clock has run out."""

    def __init__(self, clock: _Clock, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_TimedReader(clock, sock, self.fp.detach()))


class _TimedAdapter(HTTPAdapter):
    """Makes connections, also those through proxies, whose responses are `_TimedResponse`."""

    def __init__(self, clock: _Clock) -> None:
        self._clock = clock
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self._time(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        is_new = proxy not in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        if is_new:
            self._time(manager)
        return manager

    def _time(self, manager: Any) -> None:
        response = {"response_class": staticmethod(partial(_TimedResponse, self._clock))}
        pools = {}
        for scheme, pool in manager.pool_classes_by_scheme.items():
            connection = type("TimedConnection", (pool.ConnectionCls,), response)
            pools[scheme] = type("TimedPool", (pool,), {"ConnectionCls": connection})
        manager.pool_classes_by_scheme = pools


class Session(requests.Session):
    """A session whose requests end when they make no progress, and follow no redirect."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = _Clock()
        for scheme in ("https://", "http://"):
            self.mount(scheme, _TimedAdapter(self.clock))
        # `requests` reads the other variables of `_CERTIFICATES`, and prefers them.
        self.verify = os.environ.get("SSL_CERT_FILE") or True

    def get_redirect_target(self, resp: requests.Response) -> str | None:  # noqa: ARG002
        """None: `requests` would read the body of a redirect, even of one it does not follow."""
        return None


def open_url(session: Session, url: str, headers: dict[str, str]) -> requests.Response:
    """Send a GET request and follow its redirects, never from https to anything else.

    Plain http is accepted on this machine, for tests.

    Args:
        session: Its clock is started again.
        url: The address.
        headers: Headers of each request.

    Returns:
        The first response that is no redirect; its body has not been read.

    Raises:
        DownloadError: for an address that is not https or not valid, too many redirects, and
            certificates that are missing or not trusted.
        TemporaryError: for any other failure.
    """
    session.clock.restart()
    address, is_secure = url, False
    for _ in range(_MAX_REDIRECTS):
        is_secure = _check_scheme(address, url, is_secure)
        try:
            response = session.get(
                address, headers=headers, stream=True, timeout=(_CONNECT_S, STALL_S)
            )
            if not response.is_redirect:
                return response
            with response:
                # As `requests` reads it, in UTF-8 as well.
                location = requests.Session.get_redirect_target(session, response)
            address = urljoin(address, location or "")
        # `from None`, here and below: the text of these errors has addresses in it, with secrets.
        except (OSError, urllib3.exceptions.HTTPError, ValueError) as error:
            raise _explain(error, url, address) from None
    raise DownloadError(f"{show_url(url)} redirects more than {_MAX_REDIRECTS} times")


def _check_scheme(address: str, url: str, is_secure: bool) -> bool:
    """Refuse an address that is not https, and certificates that are missing.

    Args:
        address: The address.
        url: The one that was asked for, before redirects.
        is_secure: Whether an address before it was https.

    Returns:
        Whether this one or an address before it is https.
    """
    try:
        parts = urlsplit(address)
        is_loopback = parts.scheme == "http" and is_on_this_machine(address)
    except ValueError as error:
        raise _explain(error, url, address) from None
    if parts.scheme == "https":
        _check_certificates(url)
        return True
    if is_secure or not is_loopback:
        raise DownloadError(
            f"{show_url(url)} leads to {one_line(show_url(address))}, which is not https: refused"
        )
    return False


def _check_certificates(url: str) -> None:
    """Refuse a variable that names no certificates.

    Raises:
        DownloadError: names it.
    """
    name = next(filter(os.environ.get, _CERTIFICATES), None)
    if name is None:
        return
    path = Path(os.environ[name])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if path.is_dir():
            context.load_verify_locations(capath=path)
        else:
            context.load_verify_locations(path)
    except OSError as error:
        reason = error.strerror if path.exists() else "there is no such file"
        raise DownloadError(
            f"{show_url(url)} could not be downloaded: the environment variable {name} names "
            f"{str(path)!r}, expected a file of trusted certificates: {reason}: correct the "
            "variable, or unset it"
        ) from error


def _explain(error: Exception, url: str, address: str) -> DownloadError | TemporaryError:
    """The error of this package for one of `requests`."""
    proxy = _describe_proxy(address)
    temporary = UnreachableError if _is_unreachable(error) else TemporaryError
    if proxy and isinstance(error, requests.exceptions.ProxyError | requests.ConnectTimeout):
        return temporary(f"{proxy} gives no connection: {_cause(error)}")
    if isinstance(error, requests.Timeout):
        return temporary("no response in time")
    if proxy and isinstance(error, _PROXY_UNUSABLE):
        reason = f"{proxy} cannot be used: {_cause(error)}"
    elif isinstance(error, ValueError):
        # The text of the error may have any part of the address in it.
        reason = f"{type(error).__name__}: it is, or redirects to, an invalid address"
    elif isinstance(cause := _innermost(error), ssl.SSLCertVerificationError):
        reason = (
            f"the certificate of {urlsplit(address).hostname} is not trusted "
            f"({one_line(cause.verify_message)}): if the server, or the network you are in, has "
            "certificates of its own, name the file with them in REQUESTS_CA_BUNDLE or "
            "SSL_CERT_FILE"
        )
    else:
        return temporary(_cause(error))
    return DownloadError(f"{show_url(url)} could not be downloaded: {reason}")


def _is_unreachable(error: Exception) -> bool:
    """Whether there was no connection at all: no address for a name, or nobody behind it."""
    inner = _innermost(error)
    return (
        isinstance(error, requests.ConnectTimeout)
        or isinstance(inner, socket.gaierror)
        or (isinstance(inner, OSError) and inner.errno in _UNREACHABLE)
    )


def _describe_proxy(address: str) -> str | None:
    """The proxy that a request of an address uses, and where its name comes from."""
    try:
        proxy = select_proxy(address, get_environ_proxies(address))
    except ValueError:
        return None
    if not proxy:
        return None
    wanted = (f"{address.partition(':')[0]}_proxy".lower(), "all_proxy")
    names = [n for n, value in os.environ.items() if n.lower() in wanted and value == proxy]
    origin = f"the environment variable {names[0]}" if names else "this system's settings"
    shown = show_url(proxy if "//" in proxy else f"//{proxy}").removeprefix("//")
    return f"the proxy {shown} of {origin}"


def is_on_this_machine(url: str) -> bool:
    """Whether a URL names this machine as its server."""
    try:
        return urlsplit(url).hostname in _LOOPBACK
    except ValueError:
        return False


def show_url(url: str) -> str:
    """A URL for a message, without passwords and without the values in its query."""
    try:
        _ = urlsplit(url).port
    except ValueError:  # one reason is a password with a slash in it
        url = re.sub("//.*@", "//***@", url)
    return hide_secrets(url.replace(" ", "%20"))


def hide_secrets(text: str) -> str:
    """A text for a message: user names, passwords and query values of URLs in it become `***`.

    `dl=1`, which every address of the publisher ends with, is no secret.
    """
    return _QUERY.sub(r"\1\2***", _USER.sub("//***@", text))


def _cause(error: BaseException) -> str:
    """The innermost cause of an exception, without the addresses of objects and secrets."""
    error = _innermost(error)
    text = str(error).split("] ", 1)[-1].split("object at 0x", 1)[0]
    text = one_line(hide_secrets(text))
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _innermost(error: BaseException) -> BaseException:
    chain = (OSError, ValueError, HTTPException, urllib3.exceptions.HTTPError)
    while isinstance(inner := error.__cause__ or error.__context__, chain):
        error = inner
    return error


def one_line(text: str) -> str:
    """Text of a server for a message: printable, on one line, and short."""
    printable = "".join(letter if letter.isprintable() else " " for letter in text)
    return " ".join(printable.split())[:_MAX_REASON]
