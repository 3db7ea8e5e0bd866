"""Hostile and damaged archives: no other files are written, opened or waited for."""

import json
import os
import re
import socket
import stat
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path

import pytest
from support import limits
from support.programs import PROGRAMS

from _platelet_em.errors import ArchiveError
from _platelet_em.facts import PUBLISHED
from _platelet_em.publisher import archive

IMAGES = "platelet-em/images/50-images.tif"


def find_source(path):
    return archive.find_source(path, "json", PUBLISHED)


def write(path, files, change=lambda name, info: None, **options):
    """A zip of named contents; `change` may alter how a member is listed."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as zipped:
        for name, content in files:
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            change(name, info)
            zipped.writestr(info, content)
    return path


def renamed(prefix):
    """Members in another folder."""

    def make(path, files):
        # zipfile itself cleans the names that it writes.
        write(path, [(f"{'_' * len(prefix)}{name}", data) for name, data in files])
        blank, wanted = b"_" * len(prefix), prefix.encode()
        data = path.read_bytes()
        for name, _ in files:
            data = data.replace(blank + name.encode(), wanted + name.encode())
        path.write_bytes(data)

    return make


def listed(**fields):
    """The list of members gives other attributes of the images."""

    def change(name, info):
        if name == IMAGES:
            for field, value in fields.items():
                setattr(info, field, value)

    return lambda path, files: write(path, files, change)


def patched(offset, replacement):
    """Bytes of the images' entry in the list of members, and of their own header, are replaced."""

    def make(path, files):
        write(path, files)
        data = bytearray(path.read_bytes())
        entry = data.rindex(IMAGES.encode()) - 46
        assert data[entry : entry + 4] == b"PK\1\2"
        header = struct.unpack_from("<I", data, entry + 42)[0]
        for position in (entry + offset, header + offset - 2):
            data[position : position + len(replacement)] = replacement
        path.write_bytes(data)

    return make


def with_more(more):
    return lambda path, files: write(path, [*more, *files])


def twice(path, files):
    write(path, files)
    with (
        pytest.warns(UserWarning, match="Duplicate name"),
        zipfile.ZipFile(path, "a") as zipped,
    ):
        zipped.writestr(IMAGES, b"others")


def bomb(path, files):
    """512 MiB of zeros in 0.5 MB, listed as 1000 bytes."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    piece, count = bytes(1 << 20), 512
    packed = b"".join([*(packer.compress(piece) for _ in range(count)), packer.flush()])
    write(path, [(n, packed if n == IMAGES else d) for n, d in files],
          lambda n, i: setattr(i, "compress_type", zipfile.ZIP_STORED))  # fmt: skip
    data = bytearray(path.read_bytes())
    entry = data.rindex(IMAGES.encode()) - 46
    header = struct.unpack_from("<I", data, entry + 42)[0]
    for position in (entry + 10, header + 8):
        struct.pack_into("<H", data, position, zipfile.ZIP_DEFLATED)
    for position in (entry + 24, header + 22):
        struct.pack_into("<I", data, position, 1000)
    path.write_bytes(data)


def wrong_sum(path, files):
    write(path, files)
    data = bytearray(path.read_bytes())
    entry = data.rindex(IMAGES.encode()) - 46
    data[entry + 16] ^= 1
    path.write_bytes(data)


def cut(path, files):
    write(path, files)
    path.write_bytes(path.read_bytes()[:-30])


def many_names(path, files):
    with zipfile.ZipFile(path, "w") as zipped:
        for i in range(20_000):
            zipped.writestr(f"{i:0200}", b"")
        for name, content in files:
            zipped.writestr(name, content)


def billions(path, files):
    """A zip64 whose list claims billions of members, and as many bytes."""
    write(path, files)
    data = path.read_bytes()
    end = data.rindex(b"PK\5\6")
    record = struct.pack("<4sQ2H2I4Q", b"PK\6\6", 44, 45, 45, 0, 0, 2**33, 2**33, 2**40, 0)
    locator = struct.pack("<4sIQI", b"PK\6\7", 0, end, 1)
    tail = struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, 2**32 - 1, 2**32 - 1, 0)
    path.write_bytes(data[:end] + record + locator + tail)


def padded_list(path, files):
    """A list of members of a gigabyte, as a hole in a sparse file."""
    write(path, files)
    data = path.read_bytes()
    end = data.rindex(b"PK\5\6")
    begin, size = struct.unpack_from("<I", data, end + 16)[0], 1 << 30
    with path.open("wb") as file:
        file.write(data[:end])
        file.truncate(begin + size)
        file.seek(0, 2)
        file.write(struct.pack("<4s4H2IH", b"PK\5\6", 0, 0, 9, 9, size, begin, 0))


READ = {
    "names that lead up": renamed("../../../"),
    "absolute names": renamed("/tmp/"),
    "names of a Windows drive": renamed("C:\\\\x\\"),
    "names with backslashes": lambda path, files: renamed("")(
        path, [(n.replace("/", "\\"), d) for n, d in files]
    ),
    "a few thousand other members": with_more([(f"{i}.txt", b"") for i in range(5_000)]),
    "a member without a name": with_more([("", b"")]),
    "a member called like a folder": with_more([(".", b""), ("/", b""), ("..", b"")]),
}
BAD = {
    "a link": (listed(external_attr=(stat.S_IFLNK | 0o777) << 16), "expected a file, got a link"),
    "a device": (
        listed(external_attr=(stat.S_IFCHR | 0o777) << 16),
        "expected a file, got a link or",
    ),
    "encrypted": (patched(8, b"\1"), "expected a file without a password, got an encrypted one"),
    "bzip2": (
        listed(compress_type=zipfile.ZIP_BZIP2),
        "expected a file stored or deflated, got m",
    ),
    "LZMA": (listed(compress_type=zipfile.ZIP_LZMA), "expected a file stored or deflated, got m"),
    "an unknown method": (
        patched(10, b"\x63\0"),
        "stored or deflated, got method 99: fetch .*pack",
    ),
    "more bytes than a file may have": (
        patched(24, struct.pack("<I", 2**32 - 2)),
        "(cannot be unpacked|expected the 4294967294 bytes that the zip lists, got)",
    ),
    "half a gigabyte that is listed as a few bytes": (bomb, "cannot be unpacked: Bad CRC-32"),
    "a wrong sum": (wrong_sum, "cannot be unpacked: Bad CRC-32 for file '.*50-images.tif': fetch"),
    "cut": (cut, "expected a zip archive: "),
    "a name twice": (twice, r"found 2 files 50-images\.tif \(.*50-images.tif, .*50-images"),
    "two members of one base name": (
        with_more([("../50-images.tif", b"others")]),
        r"found 2 files 50-images\.tif \(\.\./50-images.tif, platelet-em",
    ),
    "many long names": (many_names, "a list of members of .* expected at most 4194304"),
    "billions of names": (billions, "expected a zip archive: "),
    "a list of a gigabyte": (padded_list, "a list of members of 1073741824 bytes, expected"),
    "a name that is not UTF-8": (
        lambda path, files: (
            write(path, [("\u20ac.txt", b""), *files]),
            path.write_bytes(path.read_bytes().replace("\u20ac".encode(), b"\xff\xfe\xff")),
        ),
        "expected a zip archive: .*decode",
    ),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("archives")


@pytest.fixture(scope="module")
def found(folder, publication):
    files = [(f"platelet-em/{name}", data) for name, data in publication.files("json").items()]
    cases = {}
    for name, make in [*READ.items(), *((name, bad[0]) for name, bad in BAD.items())]:
        path = folder / f"{len(cases)}.zip"
        make(path, files)
        cases[name] = ("read_source", path)
    before = sorted(os.walk(folder))
    found = limits.outcomes(cases)
    assert sorted(os.walk(folder)) == before, "nothing is extracted"
    return found


@pytest.mark.parametrize("case", READ)
def test_names_are_compared_and_never_used_as_paths(case, found):
    assert found[case].get("value", found[case])[1] == 100


@pytest.mark.parametrize("case", BAD)
def test_a_hostile_zip_is_one_error_that_names_it(case, found):
    outcome = found[case]
    assert outcome.get("error") == "ArchiveError", outcome
    assert re.match(rf"/.*/\d+\.zip: .*{BAD[case][1]}", outcome["message"]), outcome["message"]
    assert len(outcome["message"]) < 500


def test_unpacked_files_have_no_name_afterwards(publication, tmp_path):
    path = publication.zip(tmp_path / "a.zip", "json", top="../../")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, PROGRAMS / "list_opened_files.py", path]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
    # To make a file without a name, Linux opens the folder.
    names = [name for name in json.loads(done.stdout) if not Path(name).is_dir()]
    assert not any(map(os.path.lexists, names))


@pytest.mark.parametrize(
    ("folder", "shown"),
    [
        ("\x1b[2J", r".*/a\.zip: \\x1b\[2J/images/50-images\.tif"),
        ("\x1b[2J\n" + "x" * 500, r".*/a\.zip: \.\.\.x{90,}/images/50-images\.tif"),
    ],
)
def test_control_characters_are_escaped_in_messages_and_long_names_are_cut(
    folder, shown, publication, tmp_path
):
    files = [(f"{folder}/{name}", data) for name, data in publication.files("json").items()]
    source = find_source(write(tmp_path / "a.zip", files))
    assert re.fullmatch(shown, source.describe_member("50-images.tif"))


# Folders


def pipe(path, elsewhere):
    os.mkfifo(path)


def connection(path, elsewhere):
    # The path of a socket may have at most 107 bytes, so it is made in another folder.
    with tempfile.TemporaryDirectory() as short, socket.socket(socket.AF_UNIX) as server:
        server.bind(f"{short}/x")
        Path(f"{short}/x").rename(path)


def huge(path, elsewhere):
    with path.open("wb") as file:
        file.truncate(2**32 + 1)


SPECIAL = {
    "a pipe": (pipe, "expected a file, got a folder, a device or a pipe"),
    "a connection": (connection, "expected a file, got a folder, a device or a pipe"),
    "a link to a device": (
        lambda p, _: p.symlink_to("/dev/zero"),
        "expected a file, got a folder",
    ),
    "a link to a folder": (
        lambda p, there: p.symlink_to(there),
        "expected a file 50-images.tif, found",
    ),
    "a link to nothing": (
        lambda p, there: p.symlink_to(there / "no"),
        "cannot be read: No such file",
    ),
    "a link to itself": (lambda p, _: p.symlink_to(p.name), "cannot be read: Too many levels"),
    "a file that is too large": (huge, "expected at most 4294967296 bytes, got 4294967297"),
}


@pytest.fixture(scope="module")
def special(publication, tmp_path_factory):
    cases = {}
    for i, (name, (make, _)) in enumerate(SPECIAL.items()):
        folder = tmp_path_factory.mktemp(f"special{i}")
        publication.folder(folder, "json")
        images = folder / "images/50-images.tif"
        images.unlink()
        make(images, tmp_path_factory.getbasetemp())
        cases[name] = ("read_source", folder)
    return limits.outcomes(cases)


@pytest.mark.parametrize("case", SPECIAL)
def test_anything_but_a_regular_file_is_refused_and_not_waited_for(case, special):
    outcome = special[case]
    assert outcome.get("error") in ("ArchiveError", "MissingMemberError"), outcome
    assert re.search(SPECIAL[case][1], outcome["message"]), outcome["message"]


def test_links_to_files_are_followed_since_caches_consist_of_them(publication, tmp_path):
    publication.folder(tmp_path / "x", "json")
    images = tmp_path / "x/images/50-images.tif"
    content = images.read_bytes()
    images.rename(tmp_path / "blob")
    images.symlink_to(tmp_path / "blob")
    with find_source(tmp_path / "x").open("50-images.tif") as file:
        assert file.read() == content


def test_links_that_lead_in_a_circle_are_not_followed(publication, tmp_path):
    publication.folder(tmp_path / "x", "json")
    (tmp_path / "x/images/again").symlink_to(tmp_path / "x")
    assert find_source(tmp_path / "x").holds(["50-images.tif"])


def test_a_pipe_instead_of_a_zip_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.zip")
    for path in (tmp_path / "a.zip", tmp_path):
        with pytest.raises(ArchiveError, match=r"expected a zip archive: it is not a regular fil"):
            find_source(path)


def test_a_member_that_is_too_large_is_refused(publication, tmp_path, monkeypatch):
    monkeypatch.setattr("_platelet_em.publisher.archive.MAX_FILE", 1000)
    path = publication.zip(tmp_path / "a.zip", "json")
    with pytest.raises(
        ArchiveError, match=r"50-images\.tif: expected at most 1000 bytes, got \d{4,}:"
    ):
        find_source(path).open("50-images.tif")
