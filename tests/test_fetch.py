"""Downloads from a server of this machine: what is fetched, checked, kept and refused."""

import hashlib
import http.server
import socket
import threading
from pathlib import Path

import datasets
import pytest

from _platelet_em import fetch as fetch_module
from _platelet_em.errors import ArchiveError, ChecksumError, DownloadError, MissingMemberError
from _platelet_em.fetch import download_folder, fetch, obtain
from _platelet_em.spec import Archive

CONTENT = b"not a zip, but its MD5 is known " * 20_000
NAME = "images_and_labels_json.zip"
SUM = hashlib.md5(CONTENT).hexdigest()
REMEDY = r"; download {} by other means, and give the zip, or the folder .* as data_dir "


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        self.server.seen_headers.append(self.headers)
        status, headers, body = self.server.answers.get(self.path, (404, {}, b"not here"))
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            if value is not None:
                self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Silence: what was asked is in the list."""


class Server(http.server.ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers, self.asked, self.seen_headers = {}, [], []

    def handle_error(self, request, client_address):
        """A client that refuses an answer closes the connection: no trouble of the server."""

    def url(self, path):
        return f"http://127.0.0.1:{self.server_port}{path}"

    def serve(self, path, body=b"", status=200, **headers):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.answers[path] = (status, named, body)

    def redirect(self, path, location, status=302):
        self.serve(path, status=status, Location=location)


@pytest.fixture
def server(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def md5(data):
    return hashlib.md5(data).hexdigest()


def archive_at(url, sum_=SUM, label_source="json"):
    return Archive(label_source=label_source, file_name=NAME, url=url, size="small", md5=sum_)


def refusal(reason, url):
    return reason + REMEDY.format(url.replace("?", r"\?"))


def test_an_archive_gets_its_name_in_a_new_folder(server, tmp_path):
    server.serve("/a.zip?dl=1", CONTENT, Content_Type="application/zip")
    folder = tmp_path / "not" / "there"
    path = fetch(archive_at(server.url("/a.zip?dl=1")), folder)
    assert path == folder / NAME
    assert path.read_bytes() == CONTENT
    assert list(folder.iterdir()) == [path]
    assert server.asked == ["/a.zip?dl=1"]


@pytest.mark.parametrize("size", [0, 1, 1000, 2**18, 2**18 + 1])
def test_archives_of_any_size_are_checked_whole(size, server, tmp_path):
    server.serve("/a.zip", CONTENT[:size])
    archive = archive_at(server.url("/a.zip"), md5(CONTENT[:size]))
    assert fetch(archive, tmp_path).read_bytes() == CONTENT[:size]


def test_the_bytes_are_asked_for_as_they_are(server, tmp_path):
    server.serve("/a.zip", CONTENT)
    fetch(archive_at(server.url("/a.zip")), tmp_path)
    assert server.seen_headers[0]["Accept-Encoding"] == "identity"


def test_a_second_call_asks_nothing(server, tmp_path):
    server.serve("/a.zip", CONTENT)
    archive = archive_at(server.url("/a.zip"))
    first, second = fetch(archive, tmp_path), fetch(archive, tmp_path)
    assert first == second
    assert len(server.asked) == 1


def test_force_asks_again_and_replaces(server, tmp_path):
    server.serve("/a.zip", CONTENT)
    archive = archive_at(server.url("/a.zip"))
    assert fetch(archive, tmp_path).read_bytes() == CONTENT
    assert fetch(archive, tmp_path, force=True).read_bytes() == CONTENT
    assert server.asked == ["/a.zip", "/a.zip"]


def test_a_cached_archive_that_was_damaged_since_is_fetched_again(server, tmp_path):
    server.serve("/a.zip", CONTENT)
    (tmp_path / NAME).write_bytes(b"")
    assert fetch(archive_at(server.url("/a.zip")), tmp_path).read_bytes() == CONTENT


def test_a_forced_download_that_fails_keeps_what_was_there(server, tmp_path):
    (tmp_path / NAME).write_bytes(b"old")
    with pytest.raises(DownloadError, match="404 Client Error"):
        fetch(archive_at(server.url("/gone")), tmp_path, force=True)
    assert [p.read_bytes() for p in tmp_path.iterdir()] == [b"old"]


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_unknown_length_is_read_to_its_end(chunked, server, tmp_path):
    if chunked:
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(CONTENT), CONTENT)
        server.serve("/a.zip", body, Content_Length=None, Transfer_Encoding="chunked")
    else:
        server.serve("/a.zip", CONTENT, Content_Length=None)
    assert fetch(archive_at(server.url("/a.zip")), tmp_path).read_bytes() == CONTENT


# Redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_every_kind_of_redirect_is_followed(status, server, tmp_path):
    server.redirect("/a.zip", server.url("/b.zip"), status)
    server.serve("/b.zip", CONTENT)
    assert fetch(archive_at(server.url("/a.zip")), tmp_path).read_bytes() == CONTENT
    assert server.asked == ["/a.zip", "/b.zip"]


def test_relative_redirects_start_from_where_they_are_given(server, tmp_path):
    server.redirect("/s/a.zip?dl=1", "/cd/0/get")
    server.redirect("/cd/0/get", "inline/b.zip")
    server.redirect("/cd/0/inline/b.zip", f"//127.0.0.1:{server.server_port}/c.zip")
    server.serve("/c.zip", CONTENT)
    assert fetch(archive_at(server.url("/s/a.zip?dl=1")), tmp_path).read_bytes() == CONTENT
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
def test_redirects_to_anything_but_https_are_refused(location, server, tmp_path):
    server.redirect("/a.zip", location)
    url = server.url("/a.zip")
    found = location if not location.startswith("//") else f"http:{location}"
    with pytest.raises(
        DownloadError, match=refusal(rf"^{url} leads to {found}, which is not https: refused", url)
    ):
        fetch(archive_at(url), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_an_address_without_https_is_refused_at_once(tmp_path):
    url = "http://192.0.2.1/a.zip"
    with pytest.raises(DownloadError, match=rf"^{url} leads to {url}, which is not https: refus"):
        fetch(archive_at(url), tmp_path)


def test_redirects_to_https_elsewhere_are_followed(server, tmp_path):
    # There is no network here, so that it was tried is all that shows.
    server.redirect("/a.zip", "https://192.0.2.1/a.zip")
    url = server.url("/a.zip")
    with pytest.raises(DownloadError, match=r"tests have no network: \('192\.0\.2\.1', 443\)"):
        fetch(archive_at(url), tmp_path)


def test_redirects_in_a_circle_end(server, tmp_path):
    server.redirect("/a.zip", "/b.zip")
    server.redirect("/b.zip", "/a.zip")
    url = server.url("/a.zip")
    with pytest.raises(DownloadError, match=refusal(f"^{url} redirects more than 10 times", url)):
        fetch(archive_at(url), tmp_path)
    assert len(server.asked) == 10
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("location", ["http://[::1/a.zip", "https://exa mple/", "https://"])
def test_a_redirect_to_what_is_no_address_is_refused(location, server, tmp_path):
    server.redirect("/a.zip", location)
    url = server.url("/a.zip")
    with pytest.raises(DownloadError, match=refusal(rf"^{url} could not be downloaded: .+", url)):
        fetch(archive_at(url), tmp_path)
    assert list(tmp_path.iterdir()) == []


# What goes wrong


def test_another_md5_is_refused_and_thrown_away(server, tmp_path):
    server.serve("/a.zip", CONTENT + b"!")
    url = server.url("/a.zip")
    found = md5(CONTENT + b"!")
    with pytest.raises(
        ChecksumError,
        match=refusal(rf"^{url} gave a file with MD5 {found}, expected {SUM}: .*", url),
    ):
        fetch(archive_at(url), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_web_page_is_refused(server, tmp_path):
    server.serve("/a.zip", b"<html>sign in</html>", Content_Type="text/html; charset=utf-8")
    url = server.url("/a.zip")
    with pytest.raises(
        DownloadError,
        match=refusal(rf"^{url} answered with a web page, not an archive: .* dead", url),
    ):
        fetch(archive_at(url, None), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("status", "reason"), [(404, "404 Client"), (500, "500 Server")])
def test_an_error_of_the_server_is_told(status, reason, server, tmp_path):
    server.serve("/a.zip", CONTENT, status, Content_Type="text/html")
    url = server.url("/a.zip")
    with pytest.raises(
        DownloadError,
        match=refusal(rf"^{url} could not be downloaded: HTTPError: {reason} Error: .*", url),
    ):
        fetch(archive_at(url), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_refused_connection_is_told_in_one_sentence(server, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    url = f"http://127.0.0.1:{port}/a.zip"
    reason = rf"^{url} could not be downloaded: ConnectionRefusedError: Connection refused"
    with pytest.raises(DownloadError, match=refusal(reason, url)) as caught:
        fetch(archive_at(url), tmp_path)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_without_a_network_the_address_and_the_way_out_are_told(server, tmp_path):
    url = "https://192.0.2.1/s/a.zip?dl=1"
    with pytest.raises(
        DownloadError, match=refusal(r"^https://192.0.2.1/s/a.zip\?dl=1 could not be.*", url)
    ) as caught:
        fetch(archive_at(url), tmp_path)
    assert "\n" not in str(caught.value)
    assert " object at 0x" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kept", [0, 1, 300_000])
def test_a_body_that_ends_too_early_is_refused(kept, server, tmp_path):
    server.serve("/a.zip", CONTENT[:kept], Content_Length=len(CONTENT))
    url = server.url("/a.zip")
    # Clients differ in who notices it, but the number of bytes is always told.
    with pytest.raises(
        DownloadError, match=refusal(rf"^{url} (could not be|ended after).*\b{kept} .*", url)
    ):
        fetch(archive_at(url, None), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_body_in_chunks_that_ends_too_early_is_refused(server, tmp_path):
    body = b"%x\r\n%s" % (len(CONTENT), CONTENT[:1000])
    server.serve("/a.zip", body, Content_Length=None, Transfer_Encoding="chunked")
    url = server.url("/a.zip")
    with pytest.raises(DownloadError, match=refusal(f"^{url} could not be downloaded: .*", url)):
        fetch(archive_at(url), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_length_that_is_no_number_does_no_harm(server, tmp_path):
    server.serve("/a.zip", CONTENT, Content_Length="many")
    assert fetch(archive_at(server.url("/a.zip")), tmp_path).read_bytes() == CONTENT


# Archives without a published sum


def test_an_archive_without_a_sum_is_checked_by_its_content(server, archives, tmp_path):
    content = (archives / "images_and_labels_rgba.zip").read_bytes()
    server.serve("/a.zip", content)
    path = fetch(archive_at(server.url("/a.zip"), None, "tif"), tmp_path)
    assert path.read_bytes() == content


def test_an_archive_with_other_files_is_refused_and_thrown_away(server, archives, tmp_path):
    server.serve("/a.zip", (archives / "images_and_labels_json.zip").read_bytes())
    url = server.url("/a.zip")
    with pytest.raises(
        ChecksumError,
        match=refusal(
            rf"^{url} gave no archive of the dataset, and .* a file 50-semantic\.tif, .*", url
        ),
    ):
        fetch(archive_at(url, None, "tif"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_archive_is_refused_and_thrown_away(server, tmp_path):
    server.serve("/a.zip", CONTENT)
    url = server.url("/a.zip")
    with pytest.raises(
        ChecksumError, match=rf"^{url} gave no archive of the dataset.*: expected a zip archive"
    ):
        fetch(archive_at(url, None, "tif"), tmp_path)
    assert list(tmp_path.iterdir()) == []


# The publisher's files, from wherever


@pytest.fixture
def published(server, archives, monkeypatch):
    """The archives of the dataset lie on the server of this test."""
    known = {}
    for source, name in (("json", NAME), ("tif", "images_and_labels_rgba.zip")):
        content = (archives / name).read_bytes()
        server.serve(f"/{source}", content)
        known[source] = Archive(
            label_source=source,
            file_name=name,
            url=server.url(f"/{source}"),
            size="small",
            md5=md5(content) if source == "json" else None,
        )
    monkeypatch.setattr(fetch_module, "archive_for", known.__getitem__)
    return server


@pytest.mark.parametrize("source", ["json", "tif"])
def test_without_a_place_the_archive_of_that_source_is_fetched(source, published, tmp_path):
    found = obtain(source, None, tmp_path)
    assert found.holds([f"50-semantic.{source}", "24-images.tif"])
    assert found.path.parent == tmp_path / "downloads" / "platelet_em"
    assert obtain(source, None, tmp_path).path == found.path
    assert published.asked == [f"/{source}"]
    obtain(source, None, tmp_path, force=True)
    assert published.asked == [f"/{source}", f"/{source}"]


def test_with_a_place_nothing_is_asked(published, archives, tmp_path):
    assert obtain("json", archives, tmp_path, force=True).path == archives / NAME
    with pytest.raises(MissingMemberError, match="nowhere: expected a zip or a folder"):
        obtain("json", tmp_path / "nowhere", tmp_path)
    assert published.asked == []
    assert list(tmp_path.iterdir()) == []


def test_archives_are_kept_below_the_cache_of_datasets(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", Path("/the/cache"))
    assert download_folder() == Path("/the/cache/downloads/platelet_em")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert download_folder("~/x") == tmp_path / "x" / "downloads" / "platelet_em"


def test_a_wrong_sum_is_an_error_of_the_archive_and_no_download_is_one_of_the_connection():
    assert issubclass(ChecksumError, ArchiveError)
    assert issubclass(ChecksumError, OSError)
    assert issubclass(DownloadError, ConnectionError)
