"""Downloads: continued, repeated, bounded and refused."""

import json
import random
import socket
import time
from types import SimpleNamespace

import pytest
from datasets.utils import tqdm
from support.faulty_http import endless, hang_up, plain, ranged, silent

from _platelet_em.errors import DownloadError, OutputError
from _platelet_em.publisher import connection
from _platelet_em.publisher import transfer as module
from _platelet_em.publisher.transfer import MAX_BYTES, MAX_REQUESTS, RETRIES, PartialFile, download

CONTENT = bytes(range(251)) * 3000
SIZE = len(CONTENT)
HALF = SIZE // 2


@pytest.fixture
def partial(tmp_path, waits):
    return PartialFile(tmp_path / "a.zip")


@pytest.fixture
def get(server, partial):
    """Download from a server that gives these answers, one after the other."""

    def call(*answers):
        download(server.answer("/a", *answers), partial, "a.zip")
        return partial.path.read_bytes()

    return call


def leave(partial, content, url, validator='"1"', length=SIZE):
    """Write the files of a process that was killed during a download."""
    partial.path.write_bytes(content)
    partial.write_origin(module._Origin(url, validator, length))


def asked_for_all(server):
    """Of each request, whether it asked for the file from its first byte on."""
    return [value is None for value in server.asked_for("Range")]


# Interrupted downloads


@pytest.mark.parametrize("end", ["close", "reset"])
def test_an_interrupted_download_is_continued(end, get, server, waits):
    assert get(ranged(CONTENT, send=HALF, end=end), ranged(CONTENT)) == CONTENT
    assert server.asked_for("Range") == [None, f"bytes={HALF}-"]
    assert server.asked_for("If-Range") == [None, '"1"']
    assert waits == [0]


def test_every_received_byte_is_kept(get, server):
    assert get(ranged(CONTENT, send=1), ranged(CONTENT, send=2), ranged(CONTENT)) == CONTENT
    assert server.asked_for("Range") == [None, "bytes=1-", "bytes=3-"]


def test_a_download_interrupted_in_a_chunk_is_continued(get, server):
    head = {"Content_Length": None, "Transfer_Encoding": "chunked", "ETag": '"1"'}
    interrupted = plain(b"%x\r\n%s" % (SIZE, CONTENT[:1000]), **head)
    assert get(interrupted, ranged(CONTENT)) == CONTENT
    assert server.asked_for("Range") == [None, "bytes=1000-"]


def test_a_silent_server_is_asked_again(get, server, monkeypatch):
    monkeypatch.setattr(connection, "STALL_S", 0.2)
    assert get(silent, ranged(CONTENT, send=HALF, end="stall"), ranged(CONTENT)) == CONTENT
    assert server.asked_for("Range") == [None, None, f"bytes={HALF}-"]


def test_a_slow_server_is_not_asked_again(get, server, monkeypatch):
    monkeypatch.setattr(connection, "STALL_S", 0.5)
    begin = time.monotonic()
    monkeypatch.setattr(connection, "MIN_PROGRESS", 10)
    assert get(ranged(CONTENT[:600], pace=10)) == CONTENT[:600]
    assert time.monotonic() - begin > 1
    assert len(server.asked) == 1


def test_a_server_may_send_less_than_the_range(get, server):
    step = SIZE // 5 + 1
    answers = (ranged(CONTENT, send=step), ranged(CONTENT, limit=step))
    assert get(*answers) == CONTENT
    assert server.asked_for("Range") == [None] + [f"bytes={step * i}-" for i in (1, 2, 3, 4)]


def test_retries_without_progress_are_bounded(get, server, partial, waits):
    with pytest.raises(DownloadError, match=rf"/a could not .* broke after {HALF} of 753000 byt"):
        get(ranged(CONTENT, send=HALF), ranged(CONTENT, send=0))
    assert len(server.asked) == 1 + RETRIES
    assert partial.path.read_bytes() == CONTENT[:HALF]


def test_retries_that_bring_one_byte_each_are_bounded(get, server, monkeypatch):
    assert 10 < MAX_REQUESTS < 1000
    monkeypatch.setattr(module, "MAX_REQUESTS", 20)
    monkeypatch.setattr(connection, "MIN_PROGRESS", 1)
    with pytest.raises(DownloadError, match=r"the connection broke after 20 of 753000 bytes"):
        get(ranged(CONTENT, send=1))
    assert len(server.asked) == 20


def test_progress_resets_the_number_of_retries(get, server, waits):
    lost = [hang_up] * (RETRIES - 1)
    assert get(*lost, ranged(CONTENT, send=1024), *lost, ranged(CONTENT)) == CONTENT
    assert [round(w) for w in waits] == [0, 2, 4, 0, 2, 4, 8]


@pytest.mark.parametrize(
    "seed", [*range(6), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(6, 200))]
)
def test_the_file_is_complete_after_any_sequence_of_failures(seed, get):
    choice = random.Random(seed)
    other = CONTENT[::-1][: HALF + 7]

    def faults():
        yield plain(b"", choice.choice([408, 429, 500, 503]), Retry_After="1")
        yield hang_up
        for content, etag in ((CONTENT, '"1"'), (other, '"2"')):
            for end in ("close", "reset"):
                send = choice.randrange(len(content))
                yield ranged(content, etag=etag, send=send, limit=HALF // 3, end=end)
        yield plain(CONTENT[: choice.randrange(SIZE)], ETag='"3"', Content_Length=SIZE)
        yield ranged(CONTENT, Content_Range=f"bytes 0-9/{SIZE}", send=5)

    picked = [choice.choice(list(faults())) for _ in range(RETRIES)]
    # The server may have served the other file completely; a mixture of both is an error.
    assert get(*picked, ranged(CONTENT)) in (CONTENT, other)


# Partial files of earlier processes


def test_a_partial_file_is_continued(get, server, partial):
    leave(partial, CONTENT[:HALF], server.url("/a"))
    assert get(ranged(CONTENT)) == CONTENT
    assert server.asked_for("Range") == [f"bytes={HALF}-"]


def test_a_partial_file_with_all_bytes_needs_no_request(get, server, partial):
    leave(partial, CONTENT, server.url("/a"))
    assert get(ranged(CONTENT)) == CONTENT
    assert server.asked == []


@pytest.mark.parametrize("validator", ['"1"', "Sat, 01 Jan 2022 00:00:00 GMT"])
def test_a_file_that_has_changed_is_downloaded_anew(validator, get, server, partial):
    leave(partial, b"old" * 100, server.url("/a"), validator)
    assert get(ranged(CONTENT, etag='"2"')) == CONTENT
    assert server.asked_for("If-Range") == [validator]


def test_a_change_is_noticed_if_the_server_ignores_if_range(get, server, partial):
    leave(partial, b"old" * 100, server.url("/a"))
    answers = (ranged(CONTENT, etag=None, ETag='"2"'), ranged(CONTENT, etag='"2"'))
    server.answer("/a", *answers)

    def ignore(handler):
        del handler.headers["If-Range"]
        answers[0](handler)

    assert get(ignore, answers[1]) == CONTENT
    assert asked_for_all(server) == [False, True]


def test_without_etag_and_date_the_length_is_compared(get, server, partial):
    leave(partial, CONTENT[:HALF], server.url("/a"), None)
    assert get(ranged(CONTENT, etag=None)) == CONTENT
    assert server.asked_for("If-Range") == [None]
    leave(partial, CONTENT[:HALF], server.url("/a"), None, SIZE + 1)
    assert get(ranged(CONTENT, etag=None)) == CONTENT
    assert asked_for_all(server) == [False, False, True]


def test_weak_etags_are_not_used(get, server):
    date = "Sat, 01 Jan 2022 00:00:00 GMT"
    weak = {"ETag": 'W/"1"', "Last_Modified": date}
    assert get(ranged(CONTENT, send=5, **weak), ranged(CONTENT)) == CONTENT
    assert server.asked_for("If-Range") == [None, date]


def test_bytes_of_another_url_are_overwritten(get, server, partial):
    leave(partial, CONTENT[:HALF], server.url("/b"))
    assert get(ranged(CONTENT)) == CONTENT
    assert asked_for_all(server) == [True]


@pytest.mark.parametrize("note", [None, b"", b"{", b"\xff", b"[]", b'{"url": 1}', b"7"])
def test_bytes_without_a_valid_note_are_overwritten(note, get, server, partial, tmp_path):
    leave(partial, CONTENT[:HALF], server.url("/a"))
    path = tmp_path / "a.zip.origin.part"
    path.unlink() if note is None else path.write_bytes(note)
    assert get(ranged(CONTENT)) == CONTENT
    assert asked_for_all(server) == [True]


@pytest.mark.parametrize("field", ["url", "validator", "length"])
def test_a_note_with_wrong_types_is_ignored(field, partial, server):
    leave(partial, CONTENT[:HALF], server.url("/a"))
    path = partial.path.with_name("a.zip.origin.part")
    path.write_text(json.dumps({**json.loads(path.read_text()), field: [1]}))
    assert partial.read_origin() is None


# Servers without support of Range


def test_without_support_of_range_the_download_starts_again(get, server):
    assert get(ranged(CONTENT, send=HALF), plain(CONTENT)) == CONTENT
    assert asked_for_all(server) == [True, False]


@pytest.mark.parametrize(
    "content_range",
    ["bytes 0-9/753000", f"bytes {HALF}-/753000", "bytes */753000", "items 1-2/3", "", None],
)
def test_a_range_that_was_not_requested_is_not_used(content_range, get, server):
    wrong = ranged(CONTENT, Content_Range=content_range)
    assert get(ranged(CONTENT, send=HALF), wrong, ranged(CONTENT)) == CONTENT
    assert asked_for_all(server) == [True, False, True]


def test_a_range_instead_of_the_file_is_not_used(get, server):
    wrong = plain(CONTENT[5:], 206, Content_Range=f"bytes 5-752999/{SIZE}")
    assert get(wrong, ranged(CONTENT)) == CONTENT


def test_a_range_beyond_the_end_starts_again(get, server, partial):
    leave(partial, CONTENT + b"more", server.url("/a"), length=None)
    assert get(ranged(CONTENT)) == CONTENT
    assert asked_for_all(server) == [False, True]


def test_a_range_that_begins_at_the_end_means_that_the_file_is_complete(get, server, partial):
    leave(partial, CONTENT, server.url("/a"), length=None)
    assert get(ranged(CONTENT)) == CONTENT
    assert asked_for_all(server) == [False]


# Lengths


def test_a_content_length_that_is_too_large_is_noticed(get, server):
    assert get(ranged(CONTENT, Content_Length=SIZE + 9)) == CONTENT
    assert server.asked_for("Range") == [None, f"bytes={SIZE}-"]


def test_retries_for_a_wrong_content_length_are_bounded(get, server):
    with pytest.raises(DownloadError, match="retries: the connection broke after 753000 "):
        get(plain(CONTENT, Content_Length=SIZE + 9))
    assert len(server.asked) == 1 + RETRIES


@pytest.mark.parametrize("length", [None, "many", "-5", "²", " "])
def test_without_a_valid_length_everything_is_read(length, get):
    assert get(plain(CONTENT, Content_Length=length)) == CONTENT


def test_chunked_responses_are_read(get):
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (SIZE, CONTENT)
    assert get(plain(body, Content_Length=None, Transfer_Encoding="chunked")) == CONTENT


@pytest.mark.parametrize("size", [b"-5", b"zz", b"", b"f" * 40])
def test_retries_for_invalid_chunks_are_bounded(size, get):
    body = size + b"\r\nabc"
    with pytest.raises(DownloadError, match="could not be downloaded"):
        get(plain(body, Content_Length=None, Transfer_Encoding="chunked"))


@pytest.mark.parametrize("length", [MAX_BYTES + 1, 10**17])
def test_a_file_that_is_too_large_is_refused(length, get, server, tmp_path):
    with pytest.raises(DownloadError, match=rf"/a gives {length} bytes or .* {MAX_BYTES} "):
        get(plain(CONTENT, Content_Length=length))
    assert len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_endless_response_is_refused(get, server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 1 << 20)
    with pytest.raises(DownloadError, match=r"/a gives 1\d+ bytes or more, expected an archive"):
        get(endless)
    assert len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_empty_response_is_no_file(get, server, tmp_path):
    with pytest.raises(DownloadError, match="in spite of retries: the response is empty"):
        get(plain(b""))
    assert len(server.asked) == 1 + RETRIES
    assert list(tmp_path.iterdir()) == []


def test_free_space_is_checked_before_the_download(get, partial, server, tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=HALF))
    with pytest.raises(OutputError, match=rf"^{tmp_path}: no room .*: 753000 .* {HALF} are free"):
        get(ranged(CONTENT))
    leave(partial, CONTENT[:HALF], server.url("/a"))
    assert get(ranged(CONTENT)) == CONTENT


# Statuses and headers


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 507])
def test_temporary_errors_are_retried(status, get, server, waits):
    assert get(plain(b"", status), plain(b"", status), ranged(CONTENT)) == CONTENT
    assert [round(w) for w in waits] == [0, 2]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_permanent_server_error_is_reported(status, get, server, waits, tmp_path):
    with pytest.raises(DownloadError, match=f"retries: the server answered {status} [A-Z]"):
        get(plain(b"", status, Content_Type="text/html"))
    assert len(server.asked) == 1 + RETRIES
    assert [round(w) for w in waits] == [0, 2, 4, 8]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("retry_after", "waited"),
    [
        ("7", 7), ("0", 0), ("86400", 60), ("9" * 30, 60), ("soon", 0), ("-1", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 60), ("Mon, 01 Jan 1990 00:00:00 GMT", 0),
        ("Fri, 31 Dec 99999999999999999999 23:59:59 GMT", 0),
    ],
)  # fmt: skip
def test_retry_after_is_obeyed_up_to_a_minute(retry_after, waited, get, waits):
    assert get(plain(b"", 503, Retry_After=retry_after), ranged(CONTENT)) == CONTENT
    assert waits == [waited]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416, 451, 204, 304, 300])
def test_permanent_refusals_are_not_retried(status, get, server, partial, waits):
    with pytest.raises(
        DownloadError, match=rf"/a answered {status} [A-Z].*: the link may be dead"
    ):
        get(plain(b"", status))
    assert len(server.asked) == 1
    assert not partial.path.exists()


def test_a_refusal_keeps_the_received_bytes(get, partial):
    with pytest.raises(DownloadError, match="answered 403 Forbidden"):
        get(ranged(CONTENT, send=HALF), plain(b"", 403))
    assert partial.path.read_bytes() == CONTENT[:HALF]
    assert get(ranged(CONTENT)) == CONTENT


@pytest.mark.parametrize(
    "content_type", ["text/html; charset=utf-8", "TEXT/HTML", "application/xhtml+xml"]
)
def test_a_web_page_is_refused_and_the_received_bytes_are_kept(content_type, get, partial):
    page = plain(b"<html>too much traffic</html>", Content_Type=content_type)
    with pytest.raises(
        DownloadError, match=r"/a answered with a web page, not an archive: .* dead"
    ):
        get(ranged(CONTENT, send=HALF), page)
    assert partial.path.read_bytes() == CONTENT[:HALF]


def test_no_compression_is_accepted(get, server):
    get(ranged(CONTENT))
    assert server.asked_for("Accept-Encoding") == ["identity"]


def test_text_of_a_server_is_quoted_in_one_short_line(get, server):
    def rude(handler):
        handler.wfile.write(b"HTTP/1.1 404 \x1b[31m\x85" + b"no " * 1000 + b"\r\n\r\n")

    with pytest.raises(DownloadError, match=r"/a answered 404 \[31m no no") as caught:
        get(rude)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200
    with pytest.raises(DownloadError, match=r"retries: BadStatusLine: 46$"):
        get(lambda handler: handler.wfile.write(b"46\r\n"))


def test_a_closed_connection_is_reported(get, server):
    with pytest.raises(DownloadError, match="retries: RemoteDisconnected: Remote end closed conn"):
        get(hang_up)
    assert len(server.asked) == 1 + RETRIES


def test_a_server_that_never_answers_is_reported(get, server, monkeypatch):
    monkeypatch.setattr(connection, "STALL_S", 0.1)
    with pytest.raises(DownloadError, match=r"in spite of retries: no response in time$"):
        get(silent)
    assert len(server.asked) == 1 + RETRIES


def test_a_refused_connection_is_reported(partial, waits, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    reason = "could not be downloaded: ConnectionRefusedError: Connection refused: check the conn"
    with pytest.raises(DownloadError, match=reason) as caught:
        download(f"http://127.0.0.1:{port}/a.zip", partial, "a.zip")
    assert "\n" not in str(caught.value)
    assert waits == []
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_host_is_reported(partial, waits, monkeypatch):
    def unknown(*arguments):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DownloadError, match="gaierror: Name or service not known: check"):
        download("https://example.org/a.zip", partial, "a.zip")
    assert waits == []


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_every_redirect_status_is_followed(status, get, server):
    server.answer("/b", ranged(CONTENT))
    assert get(plain(b"", status, Location=server.url("/b"))) == CONTENT
    assert server.asked == ["/a", "/b"]


def test_redirects_are_followed_again_after_an_interruption(get, server):
    server.answer("/b", ranged(CONTENT, send=HALF))
    server.answer("/c", ranged(CONTENT))
    assert get(plain(status=302, Location="/b"), plain(status=302, Location="/c")) == CONTENT
    assert server.asked_for("Range") == [None, None, f"bytes={HALF}-", f"bytes={HALF}-"]


def test_relative_redirects_are_resolved(server, partial):
    url = server.redirect("/s/a.zip?dl=1", "/cd/0/get")
    server.redirect("/cd/0/get", "inline/b.zip")
    server.redirect("/cd/0/inline/b.zip", f"//127.0.0.1:{server.server_port}/c.zip")
    server.serve("/c.zip", CONTENT)
    download(url, partial, "a.zip")
    assert server.asked == ["/s/a.zip?dl=1", "/cd/0/get", "/cd/0/inline/b.zip", "/c.zip"]


@pytest.mark.parametrize(
    "location",
    [
        "http://192.0.2.1/a.zip",
        "http://127.0.0.1@192.0.2.1/a.zip",
        "http://127.0.0.1.example.org/a.zip",
        "//192.0.2.1/a.zip",
        "ftp://127.0.0.1/a.zip",
        "file:///etc/passwd",
        "data:application/zip,PK",
    ],
)
def test_redirects_to_anything_but_https_are_refused(location, get, server, tmp_path):
    found = location if not location.startswith("//") else f"http:{location}"
    found = found.replace("127.0.0.1@", r"\*\*\*@")
    with pytest.raises(DownloadError, match=f"/a leads to {found}, which is not https: refused"):
        get(plain(status=302, Location=location))
    assert len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_url_without_https_is_refused(partial, waits, tmp_path):
    url = "http://192.0.2.1/a.zip"
    with pytest.raises(DownloadError, match=rf"^{url} leads to {url}, which is not https: refus"):
        download(url, partial, "a.zip")
    assert waits == []
    assert list(tmp_path.iterdir()) == []


def test_redirects_to_https_elsewhere_are_followed(get):
    # Tests have no network: it can only be seen that a connection was tried.
    with pytest.raises(DownloadError, match=r"tests have no network: \('192\.0\.2\.1', 443\)"):
        get(plain(status=302, Location="https://192.0.2.1/a.zip"))


def test_redirects_in_a_circle_are_refused(get, server, tmp_path):
    server.redirect("/b", "/a")
    with pytest.raises(DownloadError, match="/a redirects more than 10 times"):
        get(plain(status=302, Location="/b"))
    assert len(server.asked) == 10
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("location", ["http://[::1/a.zip", "https://"])
def test_a_redirect_to_an_invalid_url_is_refused(location, get, server, tmp_path):
    with pytest.raises(DownloadError, match=r"/a could not be downloaded: .+"):
        get(plain(status=302, Location=location))
    assert len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


# Progress bar and log


def test_the_progress_bar_starts_at_the_received_bytes(get, server, partial, monkeypatch):
    seen = []

    class Bar(tqdm):
        def update(self, n=1):
            seen.append((self.n + n, self.total))
            self.n += n

    monkeypatch.setattr("_platelet_em.progress.tqdm", Bar)
    leave(partial, CONTENT[:HALF], server.url("/a"))
    get(ranged(CONTENT, send=10), plain(CONTENT))
    assert seen[0] == (HALF, SIZE)
    assert (0, SIZE) in seen
    assert max(seen) == (SIZE, SIZE) == seen[-1]


def test_retries_are_logged(get, server, caplog):
    get(ranged(CONTENT, send=HALF), ranged(CONTENT))
    (line,) = caplog.messages
    reason = f"the connection broke after {HALF} of 753000 bytes"
    assert line == f"{server.url('/a')}: {reason}: trying again in 0 s"


def test_ctrl_c_keeps_the_received_bytes(get, partial, server, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        get(ranged(CONTENT, send=HALF))
    assert get(ranged(CONTENT)) == CONTENT
    assert server.asked_for("Range") == [None, f"bytes={HALF}-"]
