"""Archives in the cache: what is fetched, checked, kept, shared and refused."""

import hashlib
import io
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import datasets
import pytest
import tifffile
from support import publisher
from support.faulty_http import plain, ranged

from _platelet_em.errors import (
    ArchiveError,
    ChecksumError,
    DownloadError,
    MissingMemberError,
    OutputError,
)
from _platelet_em.facts import ARCHIVES, VOLUMES, Archive
from _platelet_em.publisher import cache as fetch_module
from _platelet_em.publisher.cache import MIRRORS, addresses, download_folder, fetch, obtain
from _platelet_em.publisher.transfer import RETRIES

CONTENT = b"PK\x03\x04 and no zip, but its MD5 is known " * 20_000
SIZE = len(CONTENT)
NAME = "images_and_labels_json.zip"
REMEDY = r"; download {} by other means, and give the zip, or the folder .* as data_dir "
FETCH = """
import sys
from pathlib import Path
from _platelet_em.errors import PlateletEMError
from _platelet_em.publisher.cache import fetch
from _platelet_em.facts import Archive
name, url, md5, folder = sys.argv[1:]
archive = Archive(label_source="json", file_name=name, url=url, size="small", md5=md5)
try:
    fetch(archive, Path(folder))
except PlateletEMError as error:
    print(type(error).__name__, error)
print(sorted(path.name for path in Path(folder).iterdir()))
"""


@pytest.fixture(autouse=True)
def _no_waiting(waits):
    """Nobody waits between tries."""


def md5(data):
    return hashlib.md5(data).hexdigest()


def archive_at(url, content=CONTENT, label_source="json"):
    sum_ = None if content is None else md5(content)
    return Archive(label_source=label_source, file_name=NAME, url=url, size="small", md5=sum_)


def refusal(reason, url):
    return reason + REMEDY.format(url.replace("?", r"\?"))


def left(folder):
    """Names of what lies there, but for the lock."""
    return sorted(p.name for p in folder.iterdir() if p.name != f"{NAME}.lock")


def start(url, folder, *before):
    arguments = [sys.executable, "-c", FETCH, NAME, url, md5(CONTENT), str(folder)]
    return subprocess.Popen(
        [*before, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# Into the cache, and out of it


def test_an_archive_gets_its_name_in_a_new_folder(server, tmp_path):
    folder = tmp_path / "not" / "there"
    path = fetch(archive_at(server.serve("/a.zip?dl=1", CONTENT)), folder)
    assert path == folder / NAME
    assert path.read_bytes() == CONTENT
    assert left(folder) == [NAME]
    assert server.asked == ["/a.zip?dl=1"]
    new = tmp_path / "new"
    new.touch()
    assert path.stat().st_mode == new.stat().st_mode


@pytest.mark.parametrize("size", [2, 1000, 2**18, 2**18 + 1])
def test_archives_of_any_size_are_checked_whole(size, server, tmp_path):
    url = server.serve("/a.zip", CONTENT[:size])
    assert fetch(archive_at(url, CONTENT[:size]), tmp_path).read_bytes() == CONTENT[:size]


def test_a_second_call_asks_nothing(server, tmp_path):
    archive = archive_at(server.serve("/a.zip", CONTENT))
    assert fetch(archive, tmp_path) == fetch(archive, tmp_path)
    assert len(server.asked) == 1


def test_force_asks_again_and_replaces(server, tmp_path):
    archive = archive_at(server.serve("/a.zip", CONTENT))
    for _ in range(2):
        assert fetch(archive, tmp_path, force=True).read_bytes() == CONTENT
    assert server.asked == ["/a.zip", "/a.zip"]


def test_a_cached_archive_that_was_damaged_since_is_fetched_again(server, tmp_path):
    (tmp_path / NAME).write_bytes(CONTENT[:-1])
    archive = archive_at(server.serve("/a.zip", CONTENT))
    assert fetch(archive, tmp_path).read_bytes() == CONTENT


def test_a_forced_download_that_fails_keeps_what_was_there(server, tmp_path):
    (tmp_path / NAME).write_bytes(b"old")
    with pytest.raises(DownloadError, match="answered 404 Not Found"):
        fetch(archive_at(server.url("/gone")), tmp_path, force=True)
    assert left(tmp_path) == [NAME]
    assert (tmp_path / NAME).read_bytes() == b"old"


def test_a_download_that_fails_is_gone_on_with_by_the_next_call(server, tmp_path):
    url = server.answer("/a.zip", ranged(CONTENT, send=1000), ranged(CONTENT, send=0))
    with pytest.raises(
        DownloadError, match=refusal(rf"^{url} .* after 1000 of {SIZE} bytes", url)
    ):
        fetch(archive_at(url), tmp_path)
    assert left(tmp_path) == [f"{NAME}.origin.part", f"{NAME}.part"]
    server.answer("/a.zip", ranged(CONTENT))
    assert fetch(archive_at(url), tmp_path).read_bytes() == CONTENT
    assert left(tmp_path) == [NAME]
    assert server.asked_for("Range")[1:] == ["bytes=1000-"] * (RETRIES + 1)


# What is not the archive


def test_another_md5_is_refused_and_thrown_away(server, tmp_path):
    url = server.serve("/a.zip", CONTENT + b"!")
    found = rf"^{url} gave a file with MD5 {md5(CONTENT + b'!')}, expected {md5(CONTENT)}: .*"
    with pytest.raises(ChecksumError, match=refusal(found, url)):
        fetch(archive_at(url), tmp_path)
    assert left(tmp_path) == []


def test_what_was_put_together_wrongly_is_thrown_away_and_fetched_anew(server, tmp_path):
    other = CONTENT[:1000].lower()
    url = server.answer("/a.zip", ranged(other + CONTENT, send=1000, etag=None), plain(b"", 403))
    with pytest.raises(DownloadError, match="answered 403"):
        fetch(archive_at(url), tmp_path)
    server.answer("/a.zip", ranged(other + CONTENT, etag=None))
    with pytest.raises(ChecksumError, match=r"gave no zip archive|with MD5"):
        fetch(archive_at(url), tmp_path)
    assert left(tmp_path) == []
    server.answer("/a.zip", ranged(CONTENT, etag=None))
    assert fetch(archive_at(url), tmp_path).read_bytes() == CONTENT
    assert server.asked_for("Range")[-2:] == ["bytes=1000-", None]


@pytest.mark.parametrize(
    "kind", ["text/html", "application/zip", "application/octet-stream", None]
)
@pytest.mark.parametrize("page", [b"<html>sign in</html>", b"\xef\xbb\xbf\n<!DOCTYPE html><html>"])
def test_a_web_page_is_refused_whatever_it_calls_itself(page, kind, server, tmp_path):
    url = server.serve("/a.zip", page, Content_Type=kind)
    reason = rf"^{url} answered with a web page, not an archive: the link may be dead"
    for content in (None, CONTENT, page):
        with pytest.raises(DownloadError, match=refusal(reason, url)):
            fetch(archive_at(url, content), tmp_path)
        assert left(tmp_path) == []


@pytest.mark.parametrize("content", [b"P", b"Rar!\x1a\x07", b"\x1f\x8b\x08", b"\0" * 99])
def test_what_is_no_zip_is_refused_and_thrown_away(content, server, tmp_path):
    url = server.serve("/a.zip", content)
    with pytest.raises(ChecksumError, match=refusal(rf"^{url} gave no zip archive: .* b'.*", url)):
        fetch(archive_at(url, content), tmp_path)
    assert left(tmp_path) == []


# Archives without a published sum


@pytest.fixture
def published_shapes(publication, monkeypatch):
    """The publisher's volumes have the shapes of the small publication."""
    shapes = {name: volume.images.shape for name, volume in publication.volumes.items()}
    volumes = tuple(replace(spec, shape=shapes[spec.name]) for spec in VOLUMES)
    monkeypatch.setattr(fetch_module, "VOLUMES", volumes)


@pytest.fixture
def fetch_colors(server, tmp_path, published_shapes):
    """Fetch that zip, which has no sum; what is no dataset is thrown away."""

    def call(path):
        url = server.serve("/a.zip", Path(path).read_bytes())
        try:
            return fetch(archive_at(url, None, "tif"), tmp_path / "cache")
        except ChecksumError:
            assert left(tmp_path / "cache") == []
            raise

    return call


def test_an_archive_without_a_sum_is_checked_by_its_content(fetch_colors, archives, server):
    path = archives / "images_and_labels_rgba.zip"
    assert fetch_colors(path).read_bytes() == path.read_bytes()
    fetch_colors(path)
    assert len(server.asked) == 1


def test_an_archive_without_a_sum_that_was_cut_since_is_fetched_again(
    fetch_colors, archives, server
):
    path = archives / "images_and_labels_rgba.zip"
    cached = fetch_colors(path)
    cached.write_bytes(path.read_bytes()[:-1000])
    assert fetch_colors(path).read_bytes() == path.read_bytes()


def test_an_archive_with_other_files_is_refused(fetch_colors, archives):
    with pytest.raises(
        ChecksumError, match=r"/a.zip gave no archive of the dataset, and .* 50-semantic\.tif, .*"
    ):
        fetch_colors(archives / NAME)


def test_an_archive_of_other_shapes_is_refused(fetch_colors, tmp_path):
    other = publisher.publication(depth=8).zip(tmp_path / "other.zip", "tif")
    with pytest.raises(
        ChecksumError,
        match=r"50-images\.tif: expected the shape \(9, 23, 31\) \(z, y, x\), got \(8, 23, 31\)",
    ):
        fetch_colors(other)


def test_an_archive_whose_labels_have_another_shape_is_refused(
    fetch_colors, publication, tmp_path
):
    volume = publication.volumes["24"]
    wrong = replace(volume, cell=volume.cell[:, :-1])
    other = publisher.Publication({**publication.volumes, "24": wrong})
    with pytest.raises(ChecksumError, match=r"24-instance-cell\.tif: expected the image's shape"):
        fetch_colors(other.zip(tmp_path / "other.zip", "tif"))


def test_an_archive_of_unknown_colours_is_refused(fetch_colors, publication, tmp_path):
    palette = [*publisher.JET[:4], (9, 8, 7), *publisher.JET[5:]]
    with pytest.raises(ChecksumError, match=r"50-semantic\.tif: .*colour \(9, 8, 7\) at"):
        fetch_colors(publication.zip(tmp_path / "other.zip", "tif", palette=palette))


def test_an_archive_with_a_page_of_another_size_is_refused(fetch_colors, publication, tmp_path):
    pages = io.BytesIO()
    with tifffile.TiffWriter(pages) as out:
        for z, page in enumerate(publication.volumes["24"].images):
            out.write(page[: -1 if z == 2 else None], photometric="minisblack", metadata=None)
    extra = {"images/24-images.tif": pages.getvalue()}
    other = publisher.Publication(publication.volumes, extra)
    with pytest.raises(ChecksumError, match=r"24-images\.tif: .*page 2"):
        fetch_colors(other.zip(tmp_path / "other.zip", "tif"))


@pytest.mark.parametrize("member", ["24-images.tif", "50-instance-organelle.tif"])
def test_an_archive_with_a_flipped_byte_is_refused(member, fetch_colors, archives, tmp_path):
    content = bytearray((archives / "images_and_labels_rgba.zip").read_bytes())
    content[content.index(member.encode()) + len(member) + 40] ^= 1
    (tmp_path / "other.zip").write_bytes(content)
    with pytest.raises(ChecksumError, match=f"{member}: cannot be unpacked"):
        fetch_colors(tmp_path / "other.zip")


def test_without_room_to_look_into_it_nothing_needs_to_come_twice(
    fetch_colors, archives, server, monkeypatch, tmp_path
):
    def no_room(source, label_source):
        raise OutputError("no room for temporary files")

    path = archives / "images_and_labels_rgba.zip"
    with monkeypatch.context() as patch:
        patch.setattr(fetch_module, "_check_content", no_room)
        with pytest.raises(OutputError, match="no room for temporary files"):
            fetch_colors(path)
        assert NAME not in left(tmp_path / "cache")
    assert fetch_colors(path).read_bytes() == path.read_bytes()
    assert len(server.asked) == 1


# Mirrors


def test_mirrors_are_asked_before_the_publisher(monkeypatch):
    json = ARCHIVES[0]
    assert addresses(json) == [json.url]
    monkeypatch.setenv(MIRRORS, " https://a.example/x/ ,, https://b.example,")
    a, b = f"https://a.example/x/{NAME}", f"https://b.example/{NAME}"
    assert addresses(json) == [a, b, json.url]


def test_the_first_address_that_gives_the_archive_is_enough(server, tmp_path, monkeypatch):
    # Plain http elsewhere, a dead link, another file, a web page; then the archive.
    names = ["dead", "other", "page", "good", "never"]
    mirrors = ["http://192.0.2.1", *(server.url(f"/{name}") for name in names)]
    monkeypatch.setenv(MIRRORS, ",".join(mirrors))
    server.serve(f"/other/{NAME}", CONTENT[:-1])
    server.serve(f"/page/{NAME}", b"<html>")
    server.serve(f"/good/{NAME}", CONTENT)
    assert fetch(archive_at(server.url("/a.zip")), tmp_path).read_bytes() == CONTENT
    assert server.asked == [f"/{name}/{NAME}" for name in names[:-1]]
    assert left(tmp_path) == [NAME]


def test_if_no_address_gives_it_all_reasons_are_told(server, tmp_path, monkeypatch):
    monkeypatch.setenv(MIRRORS, f"http://192.0.2.1,{server.url('/m')}")
    url = server.serve("/a.zip", CONTENT[:-1])
    reasons = (
        rf"^http://192.0.2.1/{NAME} leads to .* refused; "
        rf"{server.url('/m')}/{NAME} answered 404 Not Found: .*; {url} gave a file with MD5 .*"
    )
    # The kind of the error is that of what the publisher's address gave.
    with pytest.raises(ChecksumError, match=refusal(reasons, url)):
        fetch(archive_at(url), tmp_path)


def test_what_a_mirror_began_it_goes_on_with(server, tmp_path, monkeypatch):
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
    """Half of the archive, and the rest when the gate opens."""

    def answer(handler):
        handler.head(200, {"Content-Length": SIZE, "ETag": '"1"'})
        handler.wfile.write(CONTENT[: SIZE // 2])
        gate.wait()
        handler.wfile.write(CONTENT[SIZE // 2 :])

    return answer


@pytest.mark.parametrize("killed", [False, True])
def test_of_two_processes_one_downloads(killed, server, tmp_path):
    gate = threading.Event()
    url = server.answer("/a.zip", gated(gate), ranged(CONTENT))
    part = tmp_path / f"{NAME}.part"
    with start(url, tmp_path) as first, start(url, tmp_path) as second:
        # Either may come first: the one that says that it waits is the second.
        wait_for(lambda: part.is_file() and part.stat().st_size)
        said = {}

        def listen(process):
            said[process] = process.stderr.readline()

        listeners = [threading.Thread(target=listen, args=(p,)) for p in (first, second)]
        for listener in listeners:
            listener.start()
        wait_for(lambda: said)
        (waiting,) = said
        assert "another process is downloading it: waiting for its end" in said[waiting]
        working = second if waiting is first else first
        if killed:
            working.kill()
            working.wait()
            size = part.stat().st_size
        gate.set()
        assert waiting.wait() == 0
        assert working.wait() == (-signal.SIGKILL if killed else 0)
        for listener in listeners:
            listener.join()
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert left(tmp_path) == [NAME]
    assert server.asked_for("Range") == ([None, f"bytes={size}-"] if killed else [None])


def test_of_two_forced_downloads_at_once_one_is_enough(server, tmp_path, caplog):
    gate = threading.Event()
    archive = archive_at(server.answer("/a.zip", gated(gate), plain(b"", 500)))
    (tmp_path / NAME).write_bytes(b"old")
    both = [
        threading.Thread(target=fetch, args=(archive, tmp_path), kwargs={"force": True})
        for _ in range(2)
    ]
    for thread in both:
        thread.start()
    wait_for(lambda: "waiting for its end" in caplog.text)
    gate.set()
    for thread in both:
        thread.join()
    assert (tmp_path / NAME).read_bytes() == CONTENT
    assert len(server.asked) == 1


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_process_that_is_stopped_leaves_what_the_next_goes_on_with(how, server, tmp_path):
    url = server.answer("/a.zip", ranged(CONTENT, send=SIZE // 2, end="stall"))
    part = tmp_path / f"{NAME}.part"
    with start(url, tmp_path) as process:
        wait_for(lambda: part.is_file() and part.stat().st_size)
        process.send_signal(how)
    size = part.stat().st_size
    assert NAME not in left(tmp_path)
    server.answer("/a.zip", ranged(CONTENT))
    assert fetch(archive_at(url), tmp_path).read_bytes() == CONTENT
    assert server.asked_for("Range") == [None, f"bytes={size}-"]
    assert left(tmp_path) == [NAME]


# Disks

CACHE_REMEDY = "free some room there, or name another cache: cache_dir, --cache-dir, or HF_HOME"


@pytest.fixture
def bound_folder():
    """A folder that may only be read, and a user whom that binds, unlike the first one."""
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


def test_a_cache_that_may_only_be_read_is_enough_if_the_archive_is_there(bound_folder, server):
    archive = archive_at(server.serve("/a.zip", CONTENT))
    assert fetch(archive, bound_folder / "with") == bound_folder / "with" / NAME
    assert server.asked == []


@pytest.mark.parametrize("folder", ["without", "not/there"])
def test_a_cache_that_may_only_be_read_is_named(folder, bound_folder, server):
    archive = archive_at(server.serve("/a.zip", CONTENT))
    place = bound_folder / folder
    expected = f"^{place}: the archive cannot be kept there: Permission denied: {CACHE_REMEDY}$"
    with pytest.raises(OutputError, match=expected):
        fetch(archive, place)
    assert server.asked == []


def test_a_cache_below_a_file_is_named(server, tmp_path):
    (tmp_path / "file").touch()
    archive = archive_at(server.serve("/a.zip", CONTENT))
    with pytest.raises(OutputError, match=f"file/x: the archive cannot be .*: {CACHE_REMEDY}$"):
        fetch(archive, tmp_path / "file" / "x")


def test_a_disk_that_cannot_hold_the_archive_is_named_before(server, tmp_path):
    url = server.serve("/a.zip", CONTENT, Content_Length=2**29)
    room = shutil.disk_usage(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda path: room._replace(free=2**20))
        expected = rf"^{tmp_path}: no room .*: {2**29} bytes are to come, {2**20} are free: "
        with pytest.raises(OutputError, match=expected + CACHE_REMEDY):
            fetch(archive_at(url), tmp_path)
    assert left(tmp_path) == []


def test_a_file_that_may_not_grow_is_named_and_leaves_nothing(server, tmp_path):
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
    assert left(tmp_path) == []


def test_a_full_disk_is_named_and_leaves_nothing(server, tmp_path):
    mount = 'mount -t tmpfs -o size=256k none "$0"'
    unshare = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if subprocess.run([*unshare, mount, tmp_path], check=False, capture_output=True).returncode:
        pytest.skip("no file system may be mounted here; see the test above")
    # Without a length there is nothing to look for beforehand.
    url = server.serve("/a.zip", CONTENT, Content_Length=None)
    # Its own network would have no loopback: only its mounts are apart.
    with start(url, tmp_path, *unshare, f'{mount} && exec "$@"', str(tmp_path)) as process:
        said, _ = process.communicate()
    error, names = said.splitlines()
    assert error == (
        f"OutputError {tmp_path}: the archive cannot be kept there: No space left on device: "
        f"{CACHE_REMEDY}"
    )
    assert NAME not in names.replace(f"{NAME}.lock", "")


# The publisher's files, from wherever


@pytest.fixture
def published(server, archives, monkeypatch, published_shapes):
    """The archives of the dataset lie on the server of this test."""
    known = {}
    for archive in ARCHIVES:
        content = (archives / archive.file_name).read_bytes()
        url = server.serve(f"/{archive.label_source}", content)
        known[archive.label_source] = replace(archive, url=url, md5=archive.md5 and md5(content))
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
