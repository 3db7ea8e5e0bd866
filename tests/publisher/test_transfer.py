"""One address into one file: what is resumed, retried, bounded and refused."""

import io
import json
import random
import socket
import time
from types import SimpleNamespace

import pytest
from support.faulty_http import endless, hang_up, plain, ranged, silent

from _platelet_em.errors import DownloadError, OutputError
from _platelet_em.publisher import transfer as module
from _platelet_em.publisher.transfer import MAX_BYTES, MAX_REQUESTS, RETRIES, Part, download

CONTENT = bytes(range(251)) * 3000
SIZE = len(CONTENT)
HALF = SIZE // 2


@pytest.fixture
def part(tmp_path, waits):
    return Part(tmp_path / "a.zip")


@pytest.fixture
def get(server, part):
    """Download what the server answers, one answer after the other."""

    def call(*answers):
        download(server.answer("/a", *answers), part, "a.zip")
        return part.path.read_bytes()

    return call


def leave(part, content, url, validator='"1"', length=SIZE):
    """What a process that was killed leaves behind."""
    part.path.write_bytes(content)
    part.begin(module._Origin(url, validator, length))


def whole(server):
    """The answers that were asked for from the first byte on."""
    return [place is None for place in server.asked_for("Range")]


# A cut, and on from there


@pytest.mark.parametrize("end", ["close", "reset"])
def test_a_cut_goes_on_where_it_was(end, get, server, waits):
    assert get(ranged(CONTENT, send=HALF, end=end), ranged(CONTENT)) == CONTENT
    assert server.asked_for("Range") == [None, f"bytes={HALF}-"]
    assert server.asked_for("If-Range") == [None, '"1"']
    assert waits == [0]


def test_every_byte_that_came_counts(get, server):
    assert get(ranged(CONTENT, send=1), ranged(CONTENT, send=2), ranged(CONTENT)) == CONTENT
    assert server.asked_for("Range") == [None, "bytes=1-", "bytes=3-"]


def test_a_cut_in_a_chunk_goes_on_where_it_was(get, server):
    head = {"Content_Length": None, "Transfer_Encoding": "chunked", "ETag": '"1"'}
    cut = plain(b"%x\r\n%s" % (SIZE, CONTENT[:1000]), **head)
    assert get(cut, ranged(CONTENT)) == CONTENT
    assert server.asked_for("Range") == [None, "bytes=1000-"]


def test_silence_is_a_stall_and_goes_on_where_it_was(get, server, monkeypatch):
    monkeypatch.setattr(module, "_TIMEOUT_S", (5, 0.2))
    assert get(silent, ranged(CONTENT, send=HALF, end="stall"), ranged(CONTENT)) == CONTENT
    assert server.asked_for("Range") == [None, None, f"bytes={HALF}-"]


def test_slow_is_no_stall(get, server, monkeypatch):
    monkeypatch.setattr(module, "_TIMEOUT_S", (5, 0.2))
    begin = time.monotonic()
    assert get(ranged(CONTENT[:300], pace=10)) == CONTENT[:300]
    assert time.monotonic() - begin > 0.4
    assert len(server.asked) == 1


def test_a_server_may_give_less_than_asked(get, server):
    step = SIZE // 5 + 1
    answers = (ranged(CONTENT, send=step), ranged(CONTENT, limit=step))
    assert get(*answers) == CONTENT
    assert server.asked_for("Range") == [None] + [f"bytes={step * i}-" for i in (1, 2, 3, 4)]


def test_cuts_that_bring_nothing_come_to_an_end(get, server, part, waits):
    with pytest.raises(DownloadError, match=rf"/a could not be .* cut after {HALF} of 753000 byt"):
        get(ranged(CONTENT, send=HALF), ranged(CONTENT, send=0))
    assert len(server.asked) == 1 + RETRIES
    assert part.path.read_bytes() == CONTENT[:HALF]


def test_cuts_that_bring_a_byte_each_come_to_an_end(get, server):
    with pytest.raises(DownloadError, match=rf"the line was cut after {MAX_REQUESTS} of 753000"):
        get(ranged(CONTENT, send=1))
    assert len(server.asked) == MAX_REQUESTS


def test_progress_gives_new_patience(get, server, waits):
    lost = [hang_up] * (RETRIES - 1)
    assert get(*lost, ranged(CONTENT, send=9), *lost, ranged(CONTENT)) == CONTENT
    assert [round(w) for w in waits] == [0, 2, 4, 0, 2, 4, 8]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_goes_wrong_in_whatever_order_the_file_comes_whole(seed, get):
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
    assert get(*picked, ranged(CONTENT)) == CONTENT


# Another process left something


def test_what_was_left_is_gone_on_with(get, server, part):
    leave(part, CONTENT[:HALF], server.url("/a"))
    assert get(ranged(CONTENT)) == CONTENT
    assert server.asked_for("Range") == [f"bytes={HALF}-"]


def test_what_was_left_whole_asks_nothing(get, server, part):
    leave(part, CONTENT, server.url("/a"))
    assert get(ranged(CONTENT)) == CONTENT
    assert server.asked == []


@pytest.mark.parametrize("validator", ['"1"', "Sat, 01 Jan 2022 00:00:00 GMT"])
def test_a_file_that_changed_is_fetched_anew(validator, get, server, part):
    leave(part, b"old" * 100, server.url("/a"), validator)
    assert get(ranged(CONTENT, etag='"2"')) == CONTENT
    assert server.asked_for("If-Range") == [validator]


def test_a_file_that_changed_is_noticed_if_the_server_ignores_if_range(get, server, part):
    leave(part, b"old" * 100, server.url("/a"))
    answers = (ranged(CONTENT, etag=None, ETag='"2"'), ranged(CONTENT, etag='"2"'))
    server.answer("/a", *answers)

    def ignore(handler):
        del handler.headers["If-Range"]
        answers[0](handler)

    assert get(ignore, answers[1]) == CONTENT
    assert whole(server) == [False, True]


def test_a_server_without_a_name_for_its_files_is_trusted_as_far_as_the_length(get, server, part):
    leave(part, CONTENT[:HALF], server.url("/a"), None)
    assert get(ranged(CONTENT, etag=None)) == CONTENT
    assert server.asked_for("If-Range") == [None]
    leave(part, CONTENT[:HALF], server.url("/a"), None, SIZE + 1)
    assert get(ranged(CONTENT, etag=None)) == CONTENT
    assert whole(server) == [False, False, True]


def test_weak_names_of_files_are_not_sent_back(get, server):
    date = "Sat, 01 Jan 2022 00:00:00 GMT"
    weak = {"ETag": 'W/"1"', "Last_Modified": date}
    assert get(ranged(CONTENT, send=5, **weak), ranged(CONTENT)) == CONTENT
    assert server.asked_for("If-Range") == [None, date]


def test_the_bytes_of_another_address_are_overwritten(get, server, part):
    leave(part, CONTENT[:HALF], server.url("/b"))
    assert get(ranged(CONTENT)) == CONTENT
    assert whole(server) == [True]


@pytest.mark.parametrize("note", [None, b"", b"{", b"\xff", b"[]", b'{"url": 1}', b"7"])
def test_bytes_without_a_sound_note_are_overwritten(note, get, server, part, tmp_path):
    leave(part, CONTENT[:HALF], server.url("/a"))
    place = tmp_path / "a.zip.origin.part"
    place.unlink() if note is None else place.write_bytes(note)
    assert get(ranged(CONTENT)) == CONTENT
    assert whole(server) == [True]


@pytest.mark.parametrize("field", ["url", "validator", "length"])
def test_a_note_of_wrong_types_is_no_note(field, part, server):
    leave(part, CONTENT[:HALF], server.url("/a"))
    place = part.path.with_name("a.zip.origin.part")
    place.write_text(json.dumps({**json.loads(place.read_text()), field: [1]}))
    assert part.origin() is None


# Servers that do not understand Range


def test_a_server_without_ranges_starts_anew(get, server):
    assert get(ranged(CONTENT, send=HALF), plain(CONTENT)) == CONTENT
    assert whole(server) == [True, False]


@pytest.mark.parametrize(
    "said",
    ["bytes 0-9/753000", f"bytes {HALF}-/753000", "bytes */753000", "items 1-2/3", "", None],
)
def test_a_part_that_was_not_asked_for_is_not_used(said, get, server):
    wrong = ranged(CONTENT, Content_Range=said)
    assert get(ranged(CONTENT, send=HALF), wrong, ranged(CONTENT)) == CONTENT
    assert whole(server) == [True, False, True]


def test_a_part_instead_of_the_whole_is_not_used(get, server):
    part = plain(CONTENT[5:], 206, Content_Range=f"bytes 5-752999/{SIZE}")
    assert get(part, ranged(CONTENT)) == CONTENT


def test_a_range_beyond_the_end_starts_anew(get, server, part):
    leave(part, CONTENT + b"more", server.url("/a"), length=None)
    assert get(ranged(CONTENT)) == CONTENT
    assert whole(server) == [False, True]


def test_a_range_from_the_very_end_means_that_all_is_here(get, server, part):
    leave(part, CONTENT, server.url("/a"), length=None)
    assert get(ranged(CONTENT)) == CONTENT
    assert whole(server) == [False]


# Lengths


def test_a_length_that_is_too_long_is_found_out(get, server):
    assert get(ranged(CONTENT, Content_Length=SIZE + 9)) == CONTENT
    assert server.asked_for("Range") == [None, f"bytes={SIZE}-"]


def test_a_length_that_is_too_long_without_ranges_comes_to_an_end(get, server):
    with pytest.raises(DownloadError, match="in spite of retries: the line was cut after 753000 "):
        get(plain(CONTENT, Content_Length=SIZE + 9))
    assert len(server.asked) == 1 + RETRIES


@pytest.mark.parametrize("length", [None, "many", "-5", "²", " "])
def test_without_a_length_all_is_read(length, get):
    assert get(plain(CONTENT, Content_Length=length)) == CONTENT


def test_chunks_are_read_to_their_end(get):
    body = b"%x\r\n%s\r\n0\r\n\r\n" % (SIZE, CONTENT)
    assert get(plain(body, Content_Length=None, Transfer_Encoding="chunked")) == CONTENT


@pytest.mark.parametrize("size", [b"-5", b"zz", b"", b"f" * 40])
def test_chunks_without_a_sound_size_come_to_an_end(size, get):
    body = size + b"\r\nabc"
    with pytest.raises(DownloadError, match="could not be downloaded"):
        get(plain(body, Content_Length=None, Transfer_Encoding="chunked"))


@pytest.mark.parametrize("length", [MAX_BYTES + 1, 10**17])
def test_a_length_beyond_all_archives_is_refused(length, get, server, tmp_path):
    with pytest.raises(DownloadError, match=rf"/a gives {length} bytes, expected .* {MAX_BYTES} "):
        get(plain(CONTENT, Content_Length=length))
    assert len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_body_without_end_is_refused(get, server, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 1 << 20)
    with pytest.raises(DownloadError, match=r"/a gives bytes without end, expected an archive"):
        get(endless)
    assert len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_no_file(get, server, tmp_path):
    with pytest.raises(DownloadError, match="in spite of retries: it answered with nothing"):
        get(plain(b""))
    assert len(server.asked) == 1 + RETRIES
    assert list(tmp_path.iterdir()) == []


def test_room_is_looked_for_before(get, part, server, tmp_path, monkeypatch):
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=HALF))
    with pytest.raises(OutputError, match=rf"^{tmp_path}: no room .*: 753000 .* {HALF} are free"):
        get(ranged(CONTENT))
    leave(part, CONTENT[:HALF], server.url("/a"))
    assert get(ranged(CONTENT)) == CONTENT


# What the server says


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504, 507])
def test_passing_trouble_is_waited_for(status, get, server, waits):
    assert get(plain(b"", status), plain(b"", status), ranged(CONTENT)) == CONTENT
    assert [round(w) for w in waits] == [0, 2]


@pytest.mark.parametrize("status", [429, 500, 503])
def test_lasting_trouble_is_told(status, get, server, waits, tmp_path):
    with pytest.raises(DownloadError, match=f"in spite of retries: it answered {status} [A-Z]"):
        get(plain(b"", status, Content_Type="text/html"))
    assert len(server.asked) == 1 + RETRIES
    assert [round(w) for w in waits] == [0, 2, 4, 8]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("said", "waited"),
    [
        ("7", 7), ("0", 0), ("86400", 60), ("9" * 30, 60), ("soon", 0), ("-1", 0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 60), ("Mon, 01 Jan 1990 00:00:00 GMT", 0),
        ("Fri, 31 Dec 99999999999999999999 23:59:59 GMT", 0),
    ],
)  # fmt: skip
def test_a_server_may_say_when_within_reason(said, waited, get, waits):
    assert get(plain(b"", 503, Retry_After=said), ranged(CONTENT)) == CONTENT
    assert waits == [waited]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416, 451, 204, 304, 300])
def test_what_will_not_change_is_asked_once(status, get, server, part, waits):
    with pytest.raises(
        DownloadError, match=rf"/a answered {status} [A-Z].*: the link may be dead"
    ):
        get(plain(b"", status))
    assert len(server.asked) == 1
    assert not part.path.exists()


def test_a_refusal_keeps_what_had_come(get, part):
    with pytest.raises(DownloadError, match="answered 403 Forbidden"):
        get(ranged(CONTENT, send=HALF), plain(b"", 403))
    assert part.path.read_bytes() == CONTENT[:HALF]
    assert get(ranged(CONTENT)) == CONTENT


@pytest.mark.parametrize(
    "kind", ["text/html; charset=utf-8", "TEXT/HTML", "application/xhtml+xml"]
)
def test_a_web_page_is_refused_and_keeps_what_had_come(kind, get, part):
    page = plain(b"<html>too much traffic</html>", Content_Type=kind)
    with pytest.raises(
        DownloadError, match=r"/a answered with a web page, not an archive: .* dead"
    ):
        get(ranged(CONTENT, send=HALF), page)
    assert part.path.read_bytes() == CONTENT[:HALF]


def test_the_bytes_are_asked_for_as_they_are(get, server):
    get(ranged(CONTENT))
    assert server.asked_for("Accept-Encoding") == ["identity"]


def test_bytes_that_are_packed_all_the_same_are_refused(get):
    with pytest.raises(
        DownloadError, match="/a answered in the encoding 'gzip', expected the bar"
    ):
        get(plain(CONTENT, Content_Encoding="gzip"))


def test_what_a_server_says_is_told_in_one_short_line(get, server):
    def rude(handler):
        handler.wfile.write(b"HTTP/1.1 404 \x1b[31m\x85" + b"no " * 1000 + b"\r\n\r\n")

    with pytest.raises(DownloadError, match=r"/a answered 404 \[31m no no") as caught:
        get(rude)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 200
    with pytest.raises(DownloadError, match=r"retries: BadStatusLine: 46$"):
        get(lambda handler: handler.wfile.write(b"46\r\n"))


def test_no_answer_is_told(get, server):
    with pytest.raises(DownloadError, match="retries: RemoteDisconnected: Remote end closed conn"):
        get(hang_up)
    assert len(server.asked) == 1 + RETRIES


def test_a_server_that_never_answers_is_told(get, server, monkeypatch):
    monkeypatch.setattr(module, "_TIMEOUT_S", (5, 0.1))
    with pytest.raises(DownloadError, match=r"in spite of retries: it did not answer in time$"):
        get(silent)
    assert len(server.asked) == 1 + RETRIES


def test_no_server_is_told(part, waits, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    reason = "retries: ConnectionRefusedError: Connection refused$"
    with pytest.raises(DownloadError, match=reason) as caught:
        download(f"http://127.0.0.1:{port}/a.zip", part, "a.zip")
    assert "\n" not in str(caught.value)
    assert len(waits) == RETRIES
    assert list(tmp_path.iterdir()) == []


def test_no_such_server_is_told(part, waits, monkeypatch):
    def unknown(*arguments):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DownloadError, match=r"retries: gaierror: .*Name or service not known$"):
        download("https://example.org/a.zip", part, "a.zip")
    assert len(waits) == RETRIES


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_every_kind_of_redirect_is_followed(status, get, server):
    server.answer("/b", ranged(CONTENT))
    assert get(plain(b"", status, Location=server.url("/b"))) == CONTENT
    assert server.asked == ["/a", "/b"]


def test_redirects_are_followed_anew_after_a_cut(get, server):
    server.answer("/b", ranged(CONTENT, send=HALF))
    server.answer("/c", ranged(CONTENT))
    assert get(plain(status=302, Location="/b"), plain(status=302, Location="/c")) == CONTENT
    assert server.asked_for("Range") == [None, None, f"bytes={HALF}-", f"bytes={HALF}-"]


def test_relative_redirects_start_from_where_they_are_given(server, part):
    url = server.redirect("/s/a.zip?dl=1", "/cd/0/get")
    server.redirect("/cd/0/get", "inline/b.zip")
    server.redirect("/cd/0/inline/b.zip", f"//127.0.0.1:{server.server_port}/c.zip")
    server.serve("/c.zip", CONTENT)
    download(url, part, "a.zip")
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
    with pytest.raises(DownloadError, match=f"/a leads to {found}, which is not https: refused"):
        get(plain(status=302, Location=location))
    assert len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("first", ["https://example.org/a.zip", "http://127.0.0.1/a.zip"])
def test_what_was_secure_once_is_never_downgraded(first, part, monkeypatch):
    # No certificate is at hand: what https would answer is put in its place.
    def redirect(session, address, **options):
        answer = module.requests.Response()
        answer.raw = io.BytesIO()
        secure = address.startswith("https:")
        answer.headers["Location"] = "http://localhost/" if secure else "https://example.org/"
        answer.status_code = 302
        return answer

    monkeypatch.setattr(module.requests.Session, "get", redirect)
    with pytest.raises(DownloadError, match=rf"^{first} leads to http://localhost/, which is not"):
        download(first, part, "a.zip")


def test_an_address_without_https_is_refused_at_once(part, waits, tmp_path):
    url = "http://192.0.2.1/a.zip"
    with pytest.raises(DownloadError, match=rf"^{url} leads to {url}, which is not https: refus"):
        download(url, part, "a.zip")
    assert waits == []
    assert list(tmp_path.iterdir()) == []


def test_redirects_to_https_elsewhere_are_followed(get):
    # There is no network here, so that it was tried is all that shows.
    with pytest.raises(DownloadError, match=r"tests have no network: \('192\.0\.2\.1', 443\)"):
        get(plain(status=302, Location="https://192.0.2.1/a.zip"))


def test_redirects_in_a_circle_end(get, server, tmp_path):
    server.redirect("/b", "/a")
    with pytest.raises(DownloadError, match="/a redirects more than 10 times"):
        get(plain(status=302, Location="/b"))
    assert len(server.asked) == 10
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("location", ["http://[::1/a.zip", "https://"])
def test_a_redirect_to_what_is_no_address_is_refused(location, get, server, tmp_path):
    with pytest.raises(DownloadError, match=r"/a could not be downloaded: .+"):
        get(plain(status=302, Location=location))
    assert len(server.asked) == 1
    assert list(tmp_path.iterdir()) == []


# What is seen


def test_the_bar_starts_where_the_file_does_and_never_beyond(get, server, part, monkeypatch):
    seen = []

    class Bar(module.tqdm):
        def update(self, n=1):
            seen.append((self.n + n, self.total))
            self.n += n

    monkeypatch.setattr(module, "tqdm", Bar)
    leave(part, CONTENT[:HALF], server.url("/a"))
    get(ranged(CONTENT, send=10), plain(CONTENT))
    assert seen[0] == (HALF, SIZE)
    assert (0, SIZE) in seen
    assert max(seen) == (SIZE, SIZE) == seen[-1]


def test_retries_are_told(get, server, caplog):
    get(ranged(CONTENT, send=HALF), ranged(CONTENT))
    (line,) = caplog.messages
    assert line == (
        f"{server.url('/a')}: the line was cut after {HALF} of 753000 bytes: asking again in 0 s"
    )


def test_an_interruption_keeps_what_had_come(get, part, server, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "sleep", interrupt)
    with pytest.raises(KeyboardInterrupt):
        get(ranged(CONTENT, send=HALF))
    assert get(ranged(CONTENT)) == CONTENT
    assert server.asked_for("Range") == [None, f"bytes={HALF}-"]
