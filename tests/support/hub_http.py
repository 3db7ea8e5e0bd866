"""What goes between a socket and the test Hub (hub.py): requests, replies, and their troubles.

Every request is read by `Handler`, which hands it to `Hub.answer`, and every body leaves through
`Handler._send`. What shall fail on the way is a `Trouble`.
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
    """What a client sent; the user is the one whose token it carries, or None."""

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
    """What the client gets; the bytes of a file are counted under `counted`."""

    body: bytes | dict | list = b""
    status: int = 200
    headers: dict = field(default_factory=dict)
    counted: str | None = None


class Refusal(Exception):  # noqa: N818  # an answer, not a mistake
    """A reply that is an error, with the code that tells clients which one."""

    def __init__(self, status, code, message, headers=()):
        super().__init__(message)
        headers = {**dict(headers), "X-Error-Message": message}
        headers |= {"X-Error-Code": code} if code else {}
        self.reply = Reply({"error": message}, status, headers)


@dataclass
class Trouble:
    """What befalls requests of a method and path, after the first `skip` of them, `times` times.

    Attributes:
        method, path: Which requests; the path is a regular expression for all of it.
        status, headers: What is answered instead.
        after: Bytes of the body after which the connection is cut instead; None is an answer.
    """

    method: str
    path: str
    status: int = 503
    headers: dict = field(default_factory=dict)
    after: int | None = None
    skip: int = 0
    times: int = 1

    def strikes(self, method, path):
        """Whether it is this request's turn; each request is asked for once."""
        if method != self.method or not re.fullmatch(self.path, path):
            return False
        self.skip -= 1
        return -self.times <= self.skip < 0


class Handler(BaseHTTPRequestHandler):
    """Between the socket and the Hub."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else a body waits 40 ms for its headers' acknowledgement

    def handle(self):
        with suppress(ConnectionError):  # a client that was killed
            super().handle()

    def _serve(self):
        hub, url = self.server.hub, urlsplit(self.path)
        with hub.at_work():
            trouble = hub.trouble(self.command, url.path)
            body = self._read(trouble.after if trouble else None)
            with hub.lock:
                hub.received[url.path] += len(body)
            if len(body) < int(self.headers.get("Content-Length", 0)):
                hub.requests.append((self.command, url.path, 0))
                self.close_connection = True
                return
            request = Request(self.command, url.path, parse_qs(url.query), self.headers, body)
            reply = hub.answer(request, trouble)
        try:
            self._send(reply)
        except ConnectionError:  # a client may leave what it streams
            self.close_connection = True

    def _read(self, limit):
        """The body, as far as it comes, or as far as it shall."""
        length, body = int(self.headers.get("Content-Length", 0)), bytearray()
        stop = length if limit is None else min(length, limit)
        with suppress(ConnectionError):  # what came before the client was killed is counted
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
            if reply.counted:  # before it is sent: who has got it may look at the count
                with self.server.hub.lock:
                    self.server.hub.served[reply.counted] += len(chunk)
            self.wfile.write(chunk)

    def log_message(self, *arguments):
        """Say nothing: what goes wrong is in the failures."""
