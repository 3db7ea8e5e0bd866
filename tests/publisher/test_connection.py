"""Requests: redirects, time without progress, certificates, proxies, and what is never printed."""

import gzip
import socket
import traceback
import tracemalloc

import pytest
import requests
import trustme
from support.faulty_http import (
    FaultyServer,
    bytes_sent,
    endless,
    for_ever,
    hang_up,
    plain,
    ranged,
    running,
    tunnel,
)

from _platelet_em.errors import DownloadError
from _platelet_em.publisher import connection, transfer
from _platelet_em.publisher.connection import show_url
from _platelet_em.publisher.transfer import PartialFile, download

CONTENT = b"PK" + bytes(range(251)) * 300
SIZE = len(CONTENT)
OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNK = b"%x\r\n%s\r\n" % (SIZE, CONTENT)


@pytest.fixture
def partial(tmp_path, waits):
    return PartialFile(tmp_path / "a.zip")


@pytest.fixture
def fetch(partial):
    """Download a URL."""

    def call(url):
        download(url, partial, "a.zip")
        return partial.path.read_bytes()

    return call


@pytest.fixture
def impatient(monkeypatch):
    """A request may take 0.3 s without progress, and is sent twice."""
    monkeypatch.setattr(connection, "STALL_S", 0.3)
    monkeypatch.setattr(transfer, "RETRIES", 1)


@pytest.fixture(scope="session")
def authority():
    """A certificate authority that nobody knows."""
    return trustme.CA()


@pytest.fixture
def secure_server(authority, no_settings):
    """A running https server, with a certificate of the authority."""
    with running(FaultyServer(authority.issue_cert("127.0.0.1"))) as started:
        yield started


def by_requests(url):
    """What `requests` gives, which follows redirects by itself."""
    return requests.get(url, headers={"Accept-Encoding": "identity"}, timeout=60).content


# Redirects


def test_the_body_of_a_redirect_is_not_read(server, fetch, impatient):
    def redirect(handler):
        handler.head(302, {"Location": "/b"})
        while not handler.server.closing.is_set():
            handler.wfile.write(b"no" * (1 << 15))

    server.answer("/b", ranged(CONTENT))
    assert fetch(server.answer("/a", redirect)) == CONTENT
    assert server.asked == ["/a", "/b"]


def test_the_body_of_a_redirect_is_not_decompressed(server, fetch):
    body = gzip.compress(bytes(1 << 28))
    server.answer("/b", ranged(CONTENT))
    url = server.serve("/a", body, 302, Location="/b", Content_Encoding="gzip")
    tracemalloc.start()
    try:
        assert fetch(url) == CONTENT
        assert tracemalloc.get_traced_memory()[1] < 1 << 23
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("path", ["/filé/a.zip", "/血小板.zip", "/a%20b.zip", "/a b.zip"])
def test_a_location_is_read_as_requests_reads_it(path, server, fetch):
    raw = b"HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: %s\r\n\r\n" % path.encode()
    quoted = requests.utils.requote_uri(path)
    server.answer(quoted, ranged(CONTENT))
    url = server.answer("/a", bytes_sent(raw))
    assert fetch(url) == by_requests(url) == CONTENT
    assert server.asked == ["/a", quoted] * 2


def test_a_location_in_no_known_encoding_is_an_error(server, fetch, waits):
    raw = b"HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: /fil\xe9.zip\r\n\r\n"
    url = server.answer("/a", bytes_sent(raw))
    with pytest.raises(UnicodeDecodeError, match="utf-8"):
        by_requests(url)
    with pytest.raises(DownloadError, match=r"UnicodeDecodeError: it is, or redirects to, an inv"):
        fetch(url)
    assert waits == []


def test_https_is_never_downgraded(secure_server, server, fetch, trusted):
    server.answer("/b", ranged(CONTENT))
    url = secure_server.redirect("/a", server.url("/b"))
    with pytest.raises(DownloadError, match=rf"^{url} leads to {server.url('/b')}, which is not"):
        fetch(url)
    first = server.redirect("/first", url)
    with pytest.raises(DownloadError, match=rf"^{first} leads to {server.url('/b')}, which is n"):
        fetch(first)
    assert server.asked == ["/first"]


# Time without progress

STUCK = {
    "status line": for_ever(b"HTTP/1.1 20", b"0", 0.02),
    "headers": for_ever(OK, b"a", 0.02),
    "more headers": for_ever(OK, b"a: b\r\n", 0.02),
    "100 Continue": for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "slow 100 Continue": for_ever(b"", b"HTTP/1.1 100 Continue\r\n\r\n", 0.02),
}
STUCK_BODY = {
    "chunk size": for_ever(CHUNKED + CHUNK, b"0", 0.02),
    "chunk extension": for_ever(CHUNKED + CHUNK + b"5;", b"a", 0.02),
    "trailers": for_ever(CHUNKED + CHUNK + b"0\r\n", b"a: b\r\n"),
    "slow trailers": for_ever(CHUNKED + CHUNK + b"0\r\n", b"a: b\r\n", 0.02),
}


@pytest.mark.parametrize("case", STUCK)
def test_headers_without_end_are_given_up(case, server, fetch, impatient):
    with pytest.raises(DownloadError, match=r"in spite of retries: no response in time$"):
        fetch(server.answer("/a", STUCK[case]))
    assert len(server.asked) == 2


@pytest.mark.parametrize("case", STUCK_BODY)
def test_a_body_without_progress_is_given_up(case, server, fetch, impatient, partial):
    reason = rf"retries: less than 1024 bytes in 0\.3 s, after {SIZE} bytes$"
    with pytest.raises(DownloadError, match=reason):
        fetch(server.answer("/a", STUCK_BODY[case]))
    assert len(server.asked) == 2
    assert partial.path.read_bytes() == CONTENT


def test_a_body_that_drips_is_given_up(server, fetch, impatient):
    head = OK + b'Content-Length: 900000\r\nETag: "1"\r\n\r\n'
    with pytest.raises(
        DownloadError, match=r"less than 1024 bytes in 0\.3 s, after \d+ of 900000"
    ):
        fetch(server.answer("/a", for_ever(head, b"a", 0.02)))
    assert len(server.asked) == 2


def test_a_stuck_request_is_repeated(server, fetch, impatient):
    assert fetch(server.answer("/a", STUCK["headers"], ranged(CONTENT))) == CONTENT


def test_redirects_are_no_progress(server, fetch, monkeypatch):
    monkeypatch.setattr(connection, "STALL_S", 0.5)
    monkeypatch.setattr(transfer, "RETRIES", 0)

    def slow(handler):
        handler.server.closing.wait(0.2)
        plain(status=302, Location=handler.path + "a")(handler)

    for i in range(1, 10):
        server.answer("/" + "a" * i, slow)
    with pytest.raises(DownloadError, match="no response in time"):
        fetch(server.url("/a"))
    assert len(server.asked) < 6


def test_a_proxy_without_end_is_given_up(server, fetch, impatient, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", server.url(""))
    server.answer("192.0.2.1:443", for_ever(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n", 0.02))
    with pytest.raises(DownloadError, match="in spite of retries: "):
        fetch("https://192.0.2.1/a.zip")
    assert len(server.asked) == 2


# Encodings and statuses


@pytest.mark.parametrize(
    "encoding", ["", "none", "utf-8", "aws-chunked", "binary", "zip", "identity", "x-unknown"]
)
def test_a_content_encoding_that_means_nothing_is_ignored(encoding, server, fetch):
    url = server.answer("/a", ranged(CONTENT, Content_Encoding=encoding))
    assert fetch(url) == by_requests(url) == CONTENT


@pytest.mark.parametrize("encoding", ["gzip", "GZIP", "deflate", "br", "zstd", "utf-8, gzip"])
def test_compressed_responses_are_refused(encoding, server, fetch, waits):
    url = server.serve("/a", gzip.compress(CONTENT), Content_Encoding=encoding)
    with pytest.raises(DownloadError, match=f"/a answered with the encoding '{encoding}', expec"):
        fetch(url)
    assert waits == []


@pytest.mark.parametrize("status", [102, 103])
def test_an_interim_answer_is_named(status, server, fetch, waits):
    url = server.answer("/a", bytes_sent(b"HTTP/1.1 %d Early\r\nLink: x\r\n\r\n" % status))
    assert requests.get(url, timeout=60).status_code == status
    with pytest.raises(DownloadError, match=f"/a answered {status} Early, an interim answer wher"):
        fetch(url)
    assert waits == []


def test_a_range_that_is_certainly_the_complete_file_is_read(server, fetch):
    url = server.serve("/a", CONTENT, 206, Content_Range=f"bytes 0-{SIZE - 1}/{SIZE}")
    assert fetch(url) == by_requests(url) == CONTENT
    assert len(server.asked) == 2


@pytest.mark.parametrize(
    ("answer", "length"),
    [
        (f"bytes 0-{SIZE - 1}/*", SIZE),
        (f"bytes 0-{SIZE - 1}/{SIZE + 1}", SIZE),
        (f"bytes 1-{SIZE - 1}/{SIZE}", SIZE),
        (f"bytes 0-{SIZE - 1}/{SIZE}", SIZE - 1),
        (f"bytes 0-{SIZE - 1}/{SIZE}", None),
        (None, SIZE),
    ],
)
def test_any_other_range_is_named(answer, length, server, fetch):
    url = server.serve("/a", CONTENT, 206, Content_Range=answer, Content_Length=length)
    found = repr(answer).replace("*", r"\*")
    with pytest.raises(
        DownloadError,
        match=f"206 Partial Content with the range {found}, expected the complete file$",
    ):
        fetch(url)


# Certificates


@pytest.fixture
def certificates(authority, tmp_path):
    """A file with the authority's certificate."""
    path = tmp_path / "certificates.pem"
    authority.cert_pem.write_to_path(str(path))
    return path


@pytest.fixture
def trusted(certificates, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificates))


VARIABLES = ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"]


@pytest.mark.parametrize("variable", VARIABLES)
def test_a_certificate_that_a_variable_names_is_trusted(
    variable, secure_server, fetch, certificates, monkeypatch
):
    monkeypatch.setenv(variable, str(certificates))
    url = secure_server.answer("/a", ranged(CONTENT, send=SIZE // 2), ranged(CONTENT))
    assert fetch(url) == CONTENT
    assert secure_server.asked_for("Range") == [None, f"bytes={SIZE // 2}-"]
    if variable != "SSL_CERT_FILE":  # which `requests` does not read
        assert by_requests(url) == CONTENT


def test_an_unknown_certificate_is_named_and_not_tried_again(secure_server, fetch, waits):
    url = secure_server.answer("/a", ranged(CONTENT))
    with pytest.raises(requests.exceptions.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        by_requests(url)
    with pytest.raises(
        DownloadError,
        match=rf"^{url} could not be downloaded: the certificate of 127\.0\.0\.1 is not trusted "
        r"\(.*certificate.*\): if .* REQUESTS_CA_BUNDLE or SSL_CERT_FILE$",
    ):
        fetch(url)
    assert secure_server.asked == waits == []


def test_a_certificate_of_another_server_is_refused(authority, no_settings, trusted, fetch, waits):
    with running(FaultyServer(authority.issue_cert("example.org"))) as other:
        reason = r"127\.0\.0\.1 is not trusted \(IP address mismatch"
        with pytest.raises(DownloadError, match=reason):
            fetch(other.answer("/a", ranged(CONTENT)))
    assert other.asked == waits == []


@pytest.mark.parametrize("variable", VARIABLES)
def test_missing_certificates_are_named(variable, secure_server, fetch, monkeypatch, tmp_path):
    monkeypatch.setenv(variable, str(tmp_path / "gone.pem"))
    with pytest.raises(
        DownloadError,
        match=rf"variable {variable} names '.*gone\.pem', expected a file of trusted certificates"
        ": there is no such file: correct the variable, or unset it$",
    ):
        fetch(secure_server.answer("/a", ranged(CONTENT)))


@pytest.mark.parametrize("content", [b"", b"no certificate"])
def test_a_file_without_certificates_is_named(
    content, secure_server, fetch, monkeypatch, tmp_path
):
    (tmp_path / "bad.pem").write_bytes(content)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "bad.pem"))
    with pytest.raises(DownloadError, match=r"REQUESTS_CA_BUNDLE names '.*bad\.pem', expected a"):
        fetch(secure_server.answer("/a", ranged(CONTENT)))


def test_plain_http_on_this_machine_needs_no_certificates(server, fetch, monkeypatch):
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/gone.pem")
    assert fetch(server.answer("/a", ranged(CONTENT))) == CONTENT


def test_a_server_that_speaks_no_tls_is_reported(server, fetch, waits):
    url = server.url("/a").replace("http:", "https:")
    with pytest.raises(DownloadError, match="retries: SSLError: "):
        fetch(url)


# Proxies


@pytest.fixture
def dead():
    """The address of a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    return f"127.0.0.1:{port}"


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy", "ALL_PROXY"])
def test_a_dead_proxy_is_named_without_its_password(
    variable, dead, no_settings, fetch, monkeypatch, caplog
):
    monkeypatch.setenv(variable, f"http://me:hunter2@{dead}")
    with pytest.raises(
        DownloadError,
        match=rf"the proxy http://\*\*\*@{dead} of the environment variable {variable} gives no "
        "connection: ConnectionRefusedError: Connection refused: check the connection$",
    ) as caught:
        fetch("https://192.0.2.1/a.zip")
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)) + caplog.text


def test_a_proxy_without_a_scheme_is_named(dead, no_settings, fetch, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", f"me:hunter2@{dead}")
    with pytest.raises(DownloadError, match=rf"the proxy \*\*\*@{dead} of the environment var"):
        fetch("https://192.0.2.1/a.zip")


def test_a_proxy_that_refuses_is_named(server, fetch, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", server.url(""))
    server.serve("192.0.2.1:443", status=407)
    with pytest.raises(
        DownloadError, match=r"HTTPS_PROXY gives no connection: OSError: Tunnel .* failed: 407 "
    ):
        fetch("https://192.0.2.1/a.zip")


def test_an_invalid_proxy_is_named(no_settings, fetch, monkeypatch, waits):
    monkeypatch.setenv("HTTPS_PROXY", "http://")
    with pytest.raises(DownloadError, match="variable HTTPS_PROXY cannot be used: InvalidProxyUR"):
        fetch("https://192.0.2.1/a.zip")
    assert waits == []


def test_a_file_is_downloaded_through_a_proxy(server, secure_server, fetch, trusted, monkeypatch):
    monkeypatch.setenv("HTTPS_PROXY", server.url(""))
    url = secure_server.answer("/a", ranged(CONTENT, send=SIZE // 2), ranged(CONTENT))
    server.answer(f"127.0.0.1:{secure_server.server_port}", tunnel)
    assert fetch(url) == by_requests(url) == CONTENT
    assert len(server.asked) == 3


# Passwords and tokens


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://h/a.zip?dl=1", "https://h/a.zip?dl=1"),
        ("https://h/a@b/c.zip", "https://h/a@b/c.zip"),
        ("https://me:hunter2@h:8/a", "https://***@h:8/a"),
        ("https://hunter2@h/a", "https://***@h/a"),
        ("https://me:sec@ret@h/a", "https://***@h/a"),
        ("https://me:sec/ret@h/a", "https://***@h/a"),
        ("https://me:sec?ret@h/a", "https://***@h/a"),
        ("https://me:sec#ret@h/a", "https://***@h/a"),
        ("https://me:sec ret@h/a", "https://***@h/a"),
        ("https://h/a?token=hunter2&dl=1&x=hunter2", "https://h/a?token=***&dl=1&x=***"),
        ("https://h/a?hunter2", "https://h/a?***"),
        ("https://h/a?dl=1hunter2", "https://h/a?dl=***"),
        ("https://h/a?t=sec=ret&=hunter2#hunter2", "https://h/a?t=***&=***"),
        ("https://[::1/me:hunter2@h", "https://***@h"),
    ],
)
def test_a_url_is_shown_without_secrets(url, shown):
    assert show_url(url) == shown


FAILURES = {
    "404": plain(b"", 404),
    "503": plain(b"", 503),
    "103": bytes_sent(b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "web page": plain(b"<html>", Content_Type="text/html"),
    "gzip": plain(b"", Content_Encoding="gzip"),
    "too large": plain(b"", Content_Length=1 << 40),
    "empty": plain(b""),
    "hangs up": hang_up,
    "interrupted": ranged(CONTENT, send=5),
    "no status": bytes_sent(b"46\r\n"),
    "http elsewhere": plain(status=302, Location="http://me:hunter2@192.0.2.1/?token=hunter2"),
    "no host": plain(status=302, Location="https://me:hunter2@/?token=hunter2"),
    "bad port": plain(status=302, Location="https://me:hunter2/@h/?token=hunter2"),
    "no address": plain(status=302, Location="https://me:hunter2@[::1/?token=hunter2"),
    "circle": plain(status=302, Location="?token=hunter2"),
    "elsewhere": plain(status=302, Location="https://me:hunter2@192.0.2.1/?token=hunter2"),
}


@pytest.mark.parametrize("case", FAILURES)
def test_passwords_and_tokens_are_never_printed(case, server, fetch, caplog, tmp_path):
    url = server.answer("/a?token=hunter2", FAILURES[case]).replace("//", "//me:hunter2@")
    with pytest.raises(
        DownloadError, match=r"^http://\*\*\*@127\.0\.0\.1:\d+/a\?token="
    ) as caught:
        fetch(url)
    text = "".join(traceback.format_exception(caught.value))
    assert "hunter2" not in text + caplog.text
    assert "***" in str(caught.value)
    assert all(b"hunter2" not in path.read_bytes() for path in tmp_path.iterdir())
    assert server.asked[0] == "/a?token=hunter2"
    assert server.asked_for("Authorization")[0] == "Basic bWU6aHVudGVyMg=="


def test_a_refused_certificate_prints_no_secrets(secure_server, fetch):
    url = secure_server.url("/a?token=hunter2").replace("//", "//me:hunter2@")
    with pytest.raises(DownloadError, match="is not trusted") as caught:
        fetch(url)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value))


def test_a_download_with_a_token_is_continued(server, fetch):
    url = server.answer("/a?token=hunter2", ranged(CONTENT, send=SIZE // 2), plain(b"", 404))
    with pytest.raises(DownloadError, match="404"):
        fetch(url)
    server.answer("/a?token=hunter2", ranged(CONTENT))
    assert fetch(url) == CONTENT
    assert server.asked_for("Range") == [None, *[f"bytes={SIZE // 2}-"] * 2]


def test_an_endless_file_is_bounded_over_tls(secure_server, fetch, trusted, monkeypatch):
    monkeypatch.setattr(transfer, "MAX_BYTES", 1 << 20)
    with pytest.raises(DownloadError, match="or more, expected an archive"):
        fetch(secure_server.answer("/a", endless))
