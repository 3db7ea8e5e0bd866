"""The cache of archives: downloads, checks, mirrors, several processes, full disks."""

import hashlib
import io
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from dataclasses import replace
from pathlib import Path

import datasets
import pytest
import tifffile
from support import publisher
from support.faulty_http import plain, ranged
from support.forked import ForkServer
from support.programs import PROGRAMS

from _platelet_em.errors import (
    ArchiveError,
    ChecksumError,
    DownloadError,
    MissingMemberError,
    OutputError,
)
from _platelet_em.facts import MIRRORS, PUBLISHED
from _platelet_em.publisher import cache as module
from _platelet_em.publisher.cache import archive_urls, download_folder, obtain
from _platelet_em.publisher.transfer import RETRIES
from _platelet_em.spec import Archive

CONTENT = b"PK\x03\x04 and no zip, but its MD5 is known " * 20_000
SIZE = len(CONTENT)
NAME = "images_and_labels_json.zip"
REMEDY = r"; download {} by other means, and give the zip, or the folder .* as data_dir "
FETCH = PROGRAMS / "fetch.py"


@pytest.fixture(autouse=True)
def _no_waiting(waits):
    """The waits between retries are skipped."""


def md5(data):
    return hashlib.md5(data).hexdigest()


def archive_at(url, content=CONTENT, label_source="json"):
    sum_ = None if content is None else md5(content)
    return Archive(name=label_source, file_name=NAME, url=url, size="small", md5=sum_)


def refusal(reason, url):
    return reason + REMEDY.format(url.replace("?", r"\?"))


def fetch(archive, folder, *, spec=PUBLISHED, **options):
    return module.fetch(spec, archive, folder, **options)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def processes(tmp_path_factory):
    """Starts processes that fetch an archive."""
    server = ForkServer(tmp_path_factory.mktemp("processes"), {})
    yield server
    server.close()


def start(processes, url, folder):
    return processes.start(NAME, url, md5(CONTENT), folder, program=FETCH.name)


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Addresses and certificates of the user


def test_a_token_of_a_mirror_stays_behind_the_name_of_the_archive(server, tmp_path, monkeypatch):
    path = f"/copies/{NAME}?token=hunter2&dl=1"
    url = server.answer(path, ranged(CONTENT))
    mirror = url.replace(NAME, "").replace("//", "//me:hunter2@", 1)
    monkeypatch.setenv(MIRRORS, mirror)
    assert fetch(archive_at("https://192.0.2.1/"), tmp_path).read_bytes() == CONTENT
    assert server.asked == [path]
    assert server.asked_for("Authorization") == ["Basic bWU6aHVudGVyMg=="]


@pytest.mark.parametrize("content", [b"PK no", b"<html>", b"no", None])
def test_a_mirror_that_fails_is_named_without_its_password(
    content, server, tmp_path, monkeypatch, caplog
):
    found = plain(b"", 404) if content is None else plain(content)
    url = server.answer(f"/{NAME}?token=hunter2", found)
    monkeypatch.setenv(MIRRORS, url.replace(NAME, "").replace("//", "//me:hunter2@", 1))
    with pytest.raises(
        (DownloadError, ChecksumError),
        match=rf"^http://\*\*\*@127.*/{NAME}\?token=\*\*\* .*; http",
    ) as caught:
        fetch(archive_at(server.url("/gone")), tmp_path)
    assert "hunter2" not in "".join(traceback.format_exception(caught.value)) + caplog.text


@pytest.mark.parametrize("name", ["REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
def test_missing_certificates_are_not_blamed_on_the_cache(
    name, tmp_path, no_settings, monkeypatch
):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    monkeypatch.setenv(name, "/gone/corporation.pem")
    reason = f"variable {name} names '/gone/corporation.pem', expected .* there is no such file"
    with pytest.raises(DownloadError, match=reason) as caught:
        fetch(archive_at("https://192.0.2.1/a.zip"), tmp_path)
    assert "cache" not in str(caught.value)


# Downloads to the cache


def test_an_archive_is_downloaded_to_a_new_folder(server, tmp_path):
    folder = tmp_path / "not" / "there"
    path = fetch(archive_at(server.serve("/a.zip?dl=1", CONTENT)), folder)
    assert path == folder / NAME
    assert path.read_bytes() == CONTENT
    assert names(folder) == [NAME]
    assert server.asked == ["/a.zip?dl=1"]
    new = tmp_path / "new"
    new.touch()
    assert path.stat().st_mode == new.stat().st_mode


@pytest.mark.parametrize("size", [2, 1000, 2**18, 2**18 + 1])
def test_archives_of_any_size_are_checked_completely(size, server, tmp_path):
    url = server.serve("/a.zip", CONTENT[:size])
    assert fetch(archive_at(url, CONTENT[:size]), tmp_path).read_bytes() == CONTENT[:size]


def test_a_second_call_sends_no_request(server, tmp_path):
    archive = archive_at(server.serve("/a.zip", CONTENT))
    assert fetch(archive, tmp_path) == fetch(archive, tmp_path)
    assert len(server.asked) == 1


def test_force_downloads_again_and_replaces(server, tmp_path):
    archive = archive_at(server.serve("/a.zip", CONTENT))
    for _ in range(2):
        assert fetch(archive, tmp_path, force=True).read_bytes() == CONTENT
    assert server.asked == ["/a.zip", "/a.zip"]


def test_a_damaged_archive_in_the_cache_is_downloaded_again(server, tmp_path):
    (tmp_path / NAME).write_bytes(CONTENT[:-1])
    archive = archive_at(server.serve("/a.zip", CONTENT))
    assert fetch(archive, tmp_path).read_bytes() == CONTENT


def test_a_forced_download_that_fails_keeps_the_old_file(server, tmp_path):
    (tmp_path / NAME).write_bytes(b"old")
    with pytest.raises(DownloadError, match="answered 404 Not Found"):
        fetch(archive_at(server.url("/gone")), tmp_path, force=True)
    assert names(tmp_path) == [NAME]
    assert (tmp_path / NAME).read_bytes() == b"old"


def test_the_next_call_continues_a_download_that_failed(server, tmp_path):
    url = server.answer("/a.zip", ranged(CONTENT, send=1000), ranged(CONTENT, send=0))
    with pytest.raises(
        DownloadError, match=refusal(rf"^{url} .* after 1000 of {SIZE} bytes", url)
    ):
        fetch(archive_at(url), tmp_path)
    assert names(tmp_path) == [f"{NAME}.origin.part", f"{NAME}.part"]
    server.answer("/a.zip", ranged(CONTENT))
    assert fetch(archive_at(url), tmp_path).read_bytes() == CONTENT
    assert names(tmp_path) == [NAME]
    assert server.asked_for("Range")[1:] == ["bytes=1000-"] * (RETRIES + 1)


# Downloads that are not the archive


def test_another_md5_is_refused_and_deleted(server, tmp_path):
    url = server.serve("/a.zip", CONTENT + b"!")
    sums = f"MD5 {md5(CONTENT + b'!')}, expected {md5(CONTENT)}"
    reason = rf"^{url} gave a file with {sums}: it was deleted; .*"
    with pytest.raises(ChecksumError, match=refusal(reason, url)):
        fetch(archive_at(url), tmp_path)
    assert names(tmp_path) == []


def test_a_mixture_of_two_files_is_deleted_and_downloaded_anew(server, tmp_path):
    other = CONTENT[:1000].lower()
    url = server.answer("/a.zip", ranged(other + CONTENT, send=1000, etag=None), plain(b"", 403))
    with pytest.raises(DownloadError, match="answered 403"):
        fetch(archive_at(url), tmp_path)
    server.answer("/a.zip", ranged(other + CONTENT, etag=None))
    with pytest.raises(ChecksumError, match=r"gave no zip archive|with MD5"):
        fetch(archive_at(url), tmp_path)
    assert names(tmp_path) == []
    server.answer("/a.zip", ranged(CONTENT, etag=None))
    assert fetch(archive_at(url), tmp_path).read_bytes() == CONTENT
    assert server.asked_for("Range")[-2:] == ["bytes=1000-", None]


@pytest.mark.parametrize(
    "content_type", ["text/html", "application/zip", "application/octet-stream", None]
)
@pytest.mark.parametrize("page", [b"<html>sign in</html>", b"\xef\xbb\xbf\n<!DOCTYPE html><html>"])
def test_a_web_page_is_refused_with_any_content_type(page, content_type, server, tmp_path):
    url = server.serve("/a.zip", page, Content_Type=content_type)
    reason = rf"^{url} answered with a web page, not an archive: the link may be dead"
    for content in (None, CONTENT, page):
        with pytest.raises(DownloadError, match=refusal(reason, url)):
            fetch(archive_at(url, content), tmp_path)
        assert names(tmp_path) == []


@pytest.mark.parametrize("content", [b"P", b"Rar!\x1a\x07", b"\x1f\x8b\x08", b"\0" * 99])
def test_a_file_that_is_no_zip_is_refused_and_deleted(content, server, tmp_path):
    url = server.serve("/a.zip", content)
    with pytest.raises(ChecksumError, match=refusal(rf"^{url} gave no zip archive: .* b'.*", url)):
        fetch(archive_at(url, content), tmp_path)
    assert names(tmp_path) == []


# Archives without a published MD5


@pytest.fixture
def small_spec(publication):
    """The published dataset, but with volumes of the shapes of the small publication."""
    shapes = {name: volume.images.shape for name, volume in publication.volumes.items()}
    volumes = tuple(replace(v, shape=shapes[v.name]) for v in PUBLISHED.volumes)
    return replace(PUBLISHED, volumes=volumes)


@pytest.fixture
def fetch_tif(server, tmp_path, small_spec):
    """Fetch a zip without a published MD5; it is deleted if it is refused."""

    def call(path):
        url = server.serve("/a.zip", Path(path).read_bytes())
        try:
            return fetch(archive_at(url, None, "tif"), tmp_path / "cache", spec=small_spec)
        except ChecksumError:
            assert names(tmp_path / "cache") == []
            raise

    return call


def test_an_archive_without_an_md5_is_checked_by_its_content(fetch_tif, archives, server):
    path = archives / "images_and_labels_rgba.zip"
    assert fetch_tif(path).read_bytes() == path.read_bytes()
    fetch_tif(path)
    assert len(server.asked) == 1


def test_a_truncated_archive_without_an_md5_is_downloaded_again(fetch_tif, archives, server):
    path = archives / "images_and_labels_rgba.zip"
    cached = fetch_tif(path)
    cached.write_bytes(path.read_bytes()[:-1000])
    assert fetch_tif(path).read_bytes() == path.read_bytes()


def test_an_archive_with_other_files_is_refused(fetch_tif, archives):
    with pytest.raises(
        ChecksumError, match=r"/a.zip gave no archive of the dataset, and .* 50-semantic\.tif, .*"
    ):
        fetch_tif(archives / NAME)


def test_an_archive_of_other_shapes_is_refused(fetch_tif, tmp_path):
    other = publisher.publication(depth=8).zip(tmp_path / "other.zip", "tif")
    with pytest.raises(
        ChecksumError,
        match=r"50-images\.tif: expected the shape \(9, 23, 31\) \(z, y, x\), got \(8, 23, 31\)",
    ):
        fetch_tif(other)


def test_an_archive_whose_labels_have_another_shape_is_refused(fetch_tif, publication, tmp_path):
    volume = publication.volumes["24"]
    wrong = replace(volume, cell=volume.cell[:, :-1])
    other = publisher.Publication({**publication.volumes, "24": wrong})
    with pytest.raises(ChecksumError, match=r"24-instance-cell\.tif: expected the image's shape"):
        fetch_tif(other.zip(tmp_path / "other.zip", "tif"))


def test_an_archive_of_unknown_colors_is_refused(fetch_tif, publication, tmp_path):
    palette = [*publisher.JET[:4], (9, 8, 7), *publisher.JET[5:]]
    with pytest.raises(ChecksumError, match=r"50-semantic\.tif: .*color \(9, 8, 7\) at"):
        fetch_tif(publication.zip(tmp_path / "other.zip", "tif", palette=palette))


def test_an_archive_with_a_page_of_another_size_is_refused(fetch_tif, publication, tmp_path):
    pages = io.BytesIO()
    with tifffile.TiffWriter(pages) as out:
        for z, page in enumerate(publication.volumes["24"].images):
            out.write(page[: -1 if z == 2 else None], photometric="minisblack", metadata=None)
    extra = {"images/24-images.tif": pages.getvalue()}
    other = publisher.Publication(publication.volumes, extra)
    with pytest.raises(ChecksumError, match=r"24-images\.tif: .*page 2"):
        fetch_tif(other.zip(tmp_path / "other.zip", "tif"))


@pytest.mark.parametrize("member", ["24-images.tif", "50-instance-organelle.tif"])
def test_an_archive_with_a_flipped_byte_is_refused(member, fetch_tif, archives, tmp_path):
    content = bytearray((archives / "images_and_labels_rgba.zip").read_bytes())
    content[content.index(member.encode()) + len(member) + 40] ^= 1
    (tmp_path / "other.zip").write_bytes(content)
    with pytest.raises(ChecksumError, match=f"{member}: cannot be unpacked"):
        fetch_tif(tmp_path / "other.zip")


def test_without_room_for_the_check_the_download_is_kept(
    fetch_tif, archives, server, monkeypatch, tmp_path
):
    def no_room(*arguments):
        raise OutputError("no room for temporary files")

    path = archives / "images_and_labels_rgba.zip"
    with monkeypatch.context() as patch:
        patch.setattr(module, "_check_content", no_room)
        with pytest.raises(OutputError, match="no room for temporary files"):
            fetch_tif(path)
        assert NAME not in names(tmp_path / "cache")
    assert fetch_tif(path).read_bytes() == path.read_bytes()
    assert len(server.asked) == 1


# Mirrors


def test_mirrors_are_tried_before_the_publisher(monkeypatch):
    json = PUBLISHED.archives[0]
    assert archive_urls(json) == [json.url]
    monkeypatch.setenv(MIRRORS, " https://a.example/x/ ,, https://b.example,")
    a, b = f"https://a.example/x/{NAME}", f"https://b.example/{NAME}"
    assert archive_urls(json) == [a, b, json.url]


def test_the_first_url_that_gives_the_archive_is_enough(server, tmp_path, monkeypatch):
    # Plain http to another machine, a dead link, another file, a web page; then the archive.
    mirrors_here = ["dead", "other", "page", "good", "never"]
    mirrors = ["http://192.0.2.1", *(server.url(f"/{name}") for name in mirrors_here)]
    monkeypatch.setenv(MIRRORS, ",".join(mirrors))
    server.serve(f"/other/{NAME}", CONTENT[:-1])
    server.serve(f"/page/{NAME}", b"<html>")
    server.serve(f"/good/{NAME}", CONTENT)
    assert fetch(archive_at(server.url("/a.zip")), tmp_path).read_bytes() == CONTENT
    assert server.asked == [f"/{name}/{NAME}" for name in mirrors_here[:-1]]
    assert names(tmp_path) == [NAME]


def test_if_no_url_gives_the_archive_the_message_has_all_reasons(server, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    monkeypatch.setenv(MIRRORS, f"http://192.0.2.1,{server.url('/m')}")
    url = server.serve("/a.zip", CONTENT[:-1])
    reasons = (
        rf"^http://192.0.2.1/{NAME} leads to .* refused; "
        rf"{server.url('/m')}/{NAME} answered 404 Not Found: .*; {url} gave a file with MD5 .*"
    )
    # The class of the exception is that of the last URL, the publisher's.
    with pytest.raises(ChecksumError, match=refusal(reasons, url)):
        fetch(archive_at(url), tmp_path)


def test_offline_only_this_machine_is_asked(server, tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setenv(MIRRORS, f"http://192.0.2.1,https://[,{server.url('/m')}")
    server.serve(f"/m/{NAME}", CONTENT)
    assert fetch(archive_at("https://192.0.2.1/a.zip"), tmp_path).read_bytes() == CONTENT


def test_offline_is_one_error_that_names_the_ways_out(tmp_path, monkeypatch):
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(DownloadError, match="HF_HUB_OFFLINE or HF_DATASETS_OFFLINE is set") as at:
        fetch(archive_at("https://192.0.2.1/a.zip"), tmp_path)
    text = "".join(traceback.format_exception(at.value))
    assert text.count("Traceback") == 1
    assert "platelet_em.DownloadError: " in text
    for way in ("data_dir", "--data-dir", "platelet-em sample"):
        assert way in str(at.value)


def test_without_a_network_there_is_one_error_at_once(tmp_path, monkeypatch, waits):
    def unknown(*arguments):
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(DownloadError, match="Temporary failure in name resolution: check") as at:
        fetch(archive_at("https://example.org/a.zip"), tmp_path)
    assert "".join(traceback.format_exception(at.value)).count("Traceback") == 1
    assert "platelet-em sample" in str(at.value)
    assert waits == []


def test_a_download_from_a_mirror_is_continued(server, tmp_path, monkeypatch):
    monkeypatch.setenv(MIRRORS, server.url("/m"))
    url = server.url("/a.zip")
    server.answer(f"/m/{NAME}", ranged(CONTENT, send=1000), ranged(CONTENT, send=0))
    with pytest.raises(DownloadError, match=r"after 1000 of .*answered 404"):
        fetch(archive_at(url), tmp_path)
    server.seen_headers.clear()
    server.answer(f"/m/{NAME}", ranged(CONTENT))
    fetch(archive_at(url), tmp_path)
    assert server.asked_for("Range") == ["bytes=1000-"]


# Processes


def gated(gate):
    """Half of the archive, and the rest when the event is set."""

    def answer(handler):
        handler.head(200, {"Content-Length": SIZE, "ETag": '"1"'})
        handler.wfile.write(CONTENT[: SIZE // 2])
        gate.wait()
        handler.wfile.write(CONTENT[SIZE // 2 :])

    return answer


@pytest.mark.parametrize("killed", [False, True])
def test_of_two_processes_one_downloads(killed, processes, server, tmp_path):
    gate = threading.Event()
    url = server.answer("/a.zip", gated(gate), ranged(CONTENT))
    part = tmp_path / f"{NAME}.part"
    first, second = (start(processes, url, tmp_path) for _ in range(2))
    wait_for(lambda: part.is_file() and part.stat().st_size)
    # Either of them may be the one that downloads.
    wait_for(lambda: first.err or second.err)
    waiting, working = (first, second) if first.err else (second, first)
    assert "waiting for another process to download it" in waiting.err
    if killed:
        working.kill()
        assert working.wait().code == -signal.SIGKILL
        size = part.stat().st_size
    gate.set()
    for process in (waiting,) if killed else (waiting, working):
        assert process.wait().code == 0
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert names(tmp_path) == [NAME], "no lock file is left"
    assert server.asked_for("Range") == ([None, f"bytes={size}-"] if killed else [None])


def test_of_two_forced_downloads_at_the_same_time_one_is_enough(server, tmp_path, caplog):
    gate = threading.Event()
    archive = archive_at(server.answer("/a.zip", gated(gate), plain(b"", 500)))
    (tmp_path / NAME).write_bytes(b"old")
    both = [
        threading.Thread(target=fetch, args=(archive, tmp_path), kwargs={"force": True})
        for _ in range(2)
    ]
    for thread in both:
        thread.start()
    wait_for(lambda: "waiting for another process" in caplog.text)
    gate.set()
    for thread in both:
        thread.join()
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert len(server.asked) == 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_the_download_of_a_stopped_process_is_continued(how, processes, server, tmp_path):
    url = server.answer("/a.zip", ranged(CONTENT, send=SIZE // 2, end="stall"))
    part = tmp_path / f"{NAME}.part"
    process = start(processes, url, tmp_path)
    wait_for(lambda: part.is_file() and part.stat().st_size)
    process.send_signal(how)
    assert process.wait().code != 0
    size = part.stat().st_size
    assert NAME not in names(tmp_path)
    server.answer("/a.zip", ranged(CONTENT))
    assert fetch(archive_at(url), tmp_path).read_bytes() == CONTENT
    assert server.asked_for("Range") == [None, f"bytes={size}-"]
    assert names(tmp_path) == [NAME]


# Disks

CACHE_REMEDY = "free some space there, or name another cache: cache_dir, --cache-dir, or HF_HOME"


@pytest.fixture
def read_only_folder():
    """A read-only folder, and a user who is not allowed to write there, unlike root."""
    folder = Path(tempfile.mkdtemp(prefix="platelet-em-"))
    (folder / "with").mkdir()
    (folder / "with" / NAME).write_bytes(CONTENT)
    (folder / "without").mkdir()
    for path in (folder / "with" / NAME, folder / "with", folder / "without", folder):
        path.chmod(0o555)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    yield folder
    os.seteuid(user)
    for path in (folder, folder / "with", folder / "without"):
        path.chmod(0o755)
    shutil.rmtree(folder)


def test_a_read_only_cache_is_enough_if_it_has_the_archive(read_only_folder, server):
    archive = archive_at(server.serve("/a.zip", CONTENT))
    assert fetch(archive, read_only_folder / "with") == read_only_folder / "with" / NAME
    assert server.asked == []


@pytest.mark.parametrize("folder", ["without", "not/there"])
def test_a_read_only_cache_is_named(folder, read_only_folder, server):
    archive = archive_at(server.serve("/a.zip", CONTENT))
    path = read_only_folder / folder
    expected = f"^{path}: the archive cannot be written: Permission denied: {CACHE_REMEDY}$"
    with pytest.raises(OutputError, match=expected):
        fetch(archive, path)
    assert server.asked == []


def test_a_cache_below_a_file_is_named(server, tmp_path):
    (tmp_path / "file").touch()
    archive = archive_at(server.serve("/a.zip", CONTENT))
    with pytest.raises(OutputError, match=f"file/x: the archive cannot be .*: {CACHE_REMEDY}$"):
        fetch(archive, tmp_path / "file" / "x")


def test_a_disk_that_is_too_small_is_named_before_the_download(server, tmp_path):
    url = server.serve("/a.zip", CONTENT, Content_Length=2**29)
    room = shutil.disk_usage(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: room._replace(free=2**20))
        expected = rf"^{tmp_path}: no room .*: {2**29} bytes are missing, {2**20} are free: "
        with pytest.raises(OutputError, match=expected + CACHE_REMEDY):
            fetch(archive_at(url), tmp_path)
    assert names(tmp_path) == []


def test_a_limit_of_file_sizes_is_named_and_leaves_nothing(server, tmp_path):
    url = server.serve("/a.zip", CONTENT)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 17, hard))
    try:
        with pytest.raises(
            OutputError, match=f"^{tmp_path}: the archive .* large: {CACHE_REMEDY}"
        ):
            fetch(archive_at(url), tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert names(tmp_path) == []


def test_a_full_disk_is_named_and_leaves_nothing(server, tmp_path):
    mount = 'mount -t tmpfs -o size=256k none "$0"'
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*unshare, mount, tmp_path], check=False, capture_output=True).returncode:
        pytest.skip("no file system can be mounted here; see the test above")
    # Without Content-Length, the free space is not checked before the download.
    url = server.serve("/a.zip", CONTENT, Content_Length=None)
    fetch_there = [sys.executable, FETCH, NAME, url, md5(CONTENT), tmp_path]
    command = [*unshare, f'{mount} && exec "$@"', tmp_path, *fetch_there]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    reason = f"{tmp_path}: the archive cannot be written: No space left on device: {CACHE_REMEDY}"
    assert done.stdout.splitlines() == [f"OutputError {reason}", "[]"], done.stderr


# The publisher's files, of the user or from the cache


@pytest.fixture
def published(server, archives, small_spec):
    """A dataset whose archives are on the server of this test."""
    known = []
    for archive in PUBLISHED.needed_archives:
        content = (archives / archive.file_name).read_bytes()
        url = server.serve(f"/{archive.name}", content)
        known.append(replace(archive, url=url, md5=archive.md5 and md5(content)))
    return replace(small_spec, archives=tuple(known))


@pytest.mark.parametrize("source", ["json", "tif"])
def test_without_data_dir_the_archive_of_the_label_source_is_fetched(
    source, published, server, tmp_path
):
    found = obtain(published, source, None, tmp_path)
    assert found.holds([f"50-semantic.{source}", "24-images.tif"])
    assert found.path.parent == tmp_path / "downloads" / "platelet_em"
    assert obtain(published, source, None, tmp_path).path == found.path
    assert server.asked == [f"/{source}"]
    obtain(published, source, None, tmp_path, force=True)
    assert server.asked == [f"/{source}", f"/{source}"]


def test_with_data_dir_no_request_is_sent(published, server, archives, tmp_path):
    assert obtain(published, "json", archives, tmp_path, force=True).path == archives / NAME
    with pytest.raises(MissingMemberError, match="nowhere: expected a zip or a folder"):
        obtain(published, "json", tmp_path / "nowhere", tmp_path)
    assert server.asked == []
    assert list(tmp_path.iterdir()) == []


def test_the_download_folder_is_in_the_cache_of_datasets(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", Path("/the/cache"))
    assert download_folder() == Path("/the/cache/downloads/platelet_em")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert download_folder("~/x") == tmp_path / "x" / "downloads" / "platelet_em"


def test_the_classes_of_the_errors():
    assert issubclass(ChecksumError, ArchiveError)
    assert issubclass(ChecksumError, OSError)
    assert issubclass(DownloadError, ConnectionError)
