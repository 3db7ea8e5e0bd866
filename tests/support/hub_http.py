"""HTTP of the test Hub (hub.py): requests, replies, and faults that tests ask for.

`Handler` reads each request, passes it to `Hub.answer`, and sends the reply.
"""

import json
import re
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, urlsplit

CHUNK = 2**16


@dataclass
class Request:
    """A request; the user is that of its token, None without one."""

    method: str
    path: str
    query: dict
    headers: dict
    body: bytes
    user: str | None = None

    def json(self):
        return json.loads(self.body)


@dataclass
class Reply:
    """The answer to a request; bytes of a file are added to `Hub.served[counted]`."""

    body: bytes | dict | list = b""
    status: int = 200
    headers: dict = field(default_factory=dict)
    counted: str | None = None


class Refusal(Exception):  # noqa: N818  # an answer, not a mistake
    """An error reply, with the code by which clients tell errors apart."""

    def __init__(self, status, code, message, headers=()):
        super().__init__(message)
        headers = {**dict(headers), "X-Error-Message": message}
        headers |= {"X-Error-Code": code} if code else {}
        self.reply = Reply({"error": message}, status, headers)


@dataclass
class Fault:
    """A failure of requests of a method and path: of `times` of them, after the first `skip`.

    Attributes:
        method, path: Which requests; the path is a regular expression for the full path.
        status, headers: The answer.
        after: Bytes of the request after which the connection is closed instead of an answer.
    """

    method: str
    path: str
    status: int = 503
    headers: dict = field(default_factory=dict)
    after: int | None = None
    skip: int = 0
    times: int = 1

    def applies_to(self, method, path):
        """Whether this request fails; to be called once for each request."""
        if method != self.method or not re.fullmatch(self.path, path):
            return False
        self.skip -= 1
        return -self.times <= self.skip < 0


class Handler(BaseHTTPRequestHandler):
    """Passes requests to the Hub, and its replies to the client."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits 40 ms for the acknowledgment of its headers

    def handle(self):
        with suppress(ConnectionError):  # a client that was killed
            super().handle()

    def _serve(self):
        hub, url = self.server.hub, urlsplit(self.path)
        with hub.at_work():
            fault = hub.find_fault(self.command, url.path)
            body = self._read(fault.after if fault else None)
            with hub.lock:
                hub.received[url.path] += len(body)
            if len(body) < int(self.headers.get("Content-Length", 0)):
                hub.requests.append((self.command, url.path, 0))
                self.close_connection = True
                return
            request = Request(self.command, url.path, parse_qs(url.query), self.headers, body)
            reply = hub.answer(request, fault)
        try:
            self._send(reply)
        except ConnectionError:  # a client may stop reading a stream
            self.close_connection = True

    def _read(self, limit):
        """The body as far as it arrives, at most `limit` bytes."""
        length, body = int(self.headers.get("Content-Length", 0)), bytearray()
        stop = length if limit is None else min(length, limit)
        with suppress(ConnectionError):  # what a killed client has sent is counted
            while chunk := self.rfile.read(min(stop - len(body), CHUNK)):
                body += chunk
        return bytes(body)

    do_GET = do_HEAD = do_POST = do_PUT = _serve  # noqa: N815  # names of http.server

    def _send(self, reply):
        body, headers = reply.body, reply.headers
        if not isinstance(body, bytes):
            body = json.dumps(body).encode()
            headers = {**headers, "Content-Type": "application/json"}
        self.send_response(reply.status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        for start in range(0, len(body), CHUNK):
            chunk = body[start : start + CHUNK]
            if reply.counted:  # first, since a client that has the bytes may look at the count
                with self.server.hub.lock:
                    self.server.hub.served[reply.counted] += len(chunk)
            self.wfile.write(chunk)

    def log_message(self, *arguments):
        """Print nothing; failures are in `Hub.failures`."""
