"""HTTP and HTTPS servers on this machine whose answers are wrong or break off as a test demands.

They also serve as a proxy.
"""

import http.server
import re
import shutil
import socket
import ssl
import struct
import threading
import time
from contextlib import contextmanager

import pytest


def plain(body=b"", status=200, **headers):
    """An answer with that body; a header of `None` is not sent."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def answer(handler):
        handler.head(status, {"Content-Length": len(body), **named})
        handler.wfile.write(body)

    return answer


def ranged(content, *, etag='"1"', send=None, limit=None, end="close", pace=None, **headers):
    """A file with support of Range and If-Range, whose body breaks off if that is wanted.

    Args:
        content: The complete file.
        etag: Its ETag; None sends none.
        send: Bytes of the body to send, of those that the headers announce; None sends all.
        limit: Largest number of bytes in an answer to a Range, which its headers announce.
        end: What happens after the body: "close", "reset", or "stall" until the server closes.
        pace: Bytes to send at a time, 20 ms apart.
        headers: More headers, or other values; one of `None` is not sent.
    """
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    def answer(handler):
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers.get("Range", ""))
        if handler.headers.get("If-Range", etag) != etag:
            asked = None
        start = int(asked[1]) if asked else 0
        if asked and start >= len(content):
            handler.head(416, {"Content-Length": 0, "Content-Range": f"bytes */{len(content)}"})
            return
        body = content[start:]
        sent = {"ETag": etag, "Content-Type": "application/zip"}
        if asked:
            body = body[:limit]
            sent["Content-Range"] = f"bytes {start}-{start + len(body) - 1}/{len(content)}"
        handler.head(206 if asked else 200, {"Content-Length": len(body), **sent, **named})
        body = body[:send]
        for i in range(0, len(body), pace or len(body) or 1):
            handler.wfile.write(body[i : i + (pace or len(body))])
            if pace:
                time.sleep(0.02)
        if end == "stall":
            handler.server.closing.wait()
        elif end == "reset":
            # A reset discards bytes that have not arrived yet.
            time.sleep(0.05)
            handler.connection.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            handler.connection.close()

    return answer


def endless(handler):
    """A body without a length and without an end."""
    handler.head(200, {})
    while not handler.server.closing.is_set():
        handler.wfile.write(b"PK" * (1 << 16))


def bytes_sent(data):
    """These bytes as the whole answer, status line included."""

    def answer(handler):
        handler.wfile.write(data)

    return answer


def for_ever(start, again, pause=0.0):
    """An answer that begins with some bytes, and repeats others until the client gives up."""

    def answer(handler):
        handler.wfile.write(start)
        while not handler.server.closing.wait(pause):
            handler.wfile.write(again)

    return answer


def tunnel(handler):
    """As a proxy does: connects the client to the server that it names."""
    host, _, port = handler.path.partition(":")
    with socket.create_connection((host, int(port))) as there, there.makefile("rwb", 0) as far:
        handler.head(200, {})

        def send_back():
            shutil.copyfileobj(far, handler.wfile)
            handler.connection.shutdown(socket.SHUT_RDWR)

        back = threading.Thread(target=send_back)
        back.start()
        while data := handler.connection.recv(1 << 16):
            far.write(data)
        there.shutdown(socket.SHUT_WR)
        back.join()


def silent(handler):
    """Accepts the request, and sends nothing."""
    handler.server.closing.wait()


def hang_up(handler):
    """Closes the connection without an answer."""


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        self.server.seen_headers.append(self.headers)
        answers = self.server.answers.get(self.path, [plain(b"not here", 404)])
        (answers[0] if len(answers) == 1 else answers.pop(0))(self)

    do_CONNECT = do_GET  # noqa: N815

    def head(self, status, headers):
        self.send_response(status)
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, str(value))
        self.end_headers()

    def log_message(self, *args):
        """Print nothing; requests are in the list `asked`."""


class FaultyServer(http.server.ThreadingHTTPServer):
    """Gives the answers of a path one after the other, and repeats the last one."""

    def __init__(self, certificate=None):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.scheme = "http"
        if certificate is not None:
            self.scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            certificate.configure_cert(context)
            # The thread of the connection does the handshake, not the one that accepts.
            self.socket = context.wrap_socket(
                self.socket, server_side=True, do_handshake_on_connect=False
            )
        self.answers, self.asked, self.seen_headers = {}, [], []
        self.closing = threading.Event()

    def handle_error(self, request, client_address):
        """Print nothing: a client that refuses an answer closes the connection."""

    def url(self, path):
        return f"{self.scheme}://127.0.0.1:{self.server_port}{path}"

    def answer(self, path, *answers):
        self.answers[path] = list(answers)
        return self.url(path)

    def serve(self, path, body=b"", status=200, **headers):
        return self.answer(path, plain(body, status, **headers))

    def redirect(self, path, location, status=302):
        return self.serve(path, status=status, Location=location)

    def asked_for(self, header):
        """That header of each request, None if it had none."""
        return [headers[header] for headers in self.seen_headers]


@contextmanager
def running(server):
    """The server, answering in threads of its own."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            server.shutdown()
            thread.join()


@pytest.fixture
def server(no_settings):
    """A running server, which clients use without a proxy."""
    with running(FaultyServer()) as started:
        yield started


@pytest.fixture
def no_settings(monkeypatch):
    """No environment variables about proxies and certificates."""
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def waits(monkeypatch):
    """The waits between retries in seconds, recorded instead of waited."""
    recorded = []
    monkeypatch.setattr("_platelet_em.publisher.transfer.sleep", recorded.append)
    return recorded
