"""Whatever lies in a repository is data: nothing waits, runs a program, or steers the terminal."""

import io
import json
import os
import re
import shutil
import socket
import struct
import zlib
from contextlib import suppress
from functools import cache

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from markdown_it import MarkdownIt
from PIL import EpsImagePlugin, Image
from support import publisher, verified

import platelet_em
from _platelet_em.arrays.page import read_palette
from _platelet_em.commands.cli import main
from _platelet_em.commands.show import show
from _platelet_em.errors import ImageFormatError
from _platelet_em.facts import PUBLISHED
from _platelet_em.hub.build import build
from _platelet_em.hub.integrity import read_build

SHARD = "slices/train-00003-of-00008.parquet"
PICTURE = "pictures/volume-50.png"


# --- what is no regular file ------------------------------------------------------------------


def bind(path):
    # The address of a socket may have 107 characters only.
    with socket.socket(socket.AF_UNIX) as end:
        here = os.open(path.parent, os.O_RDONLY)
        end.bind(f"/proc/self/fd/{here}/{path.name}")
        os.close(here)


KINDS = {
    "pipe": (os.mkfifo, "found a pipe"),
    "socket": (bind, "found a socket"),
    "folder": (os.mkdir, "found a folder"),
    "device": (lambda path: path.symlink_to("/dev/zero"), "found a device"),
    "link to nothing": (lambda path: path.symlink_to("nothing"), "No such file"),
    "link to itself": (lambda path: path.symlink_to(path.name), ""),
}
FILES = [SHARD, "README.md", "croissant.json", PICTURE, "preview/train-00000-of-00001.parquet"]


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.usefixtures("inspected_once")
def test_what_is_no_regular_file_is_named(kind, name, tidy_repository, tmp_path, capsys):
    folder = shutil.copytree(tidy_repository, tmp_path / "repo")
    (folder / name).unlink()
    KINDS[kind][0](folder / name)
    code, report = verified.run(capsys, folder)
    assert code == 1
    files = {file for _, file, *_ in verified.findings(report, "error")}
    assert str(folder / name) in files
    assert read_build(folder, PUBLISHED) is None
    if kind not in ("link to nothing", "link to itself"):
        texts = [text for _, file, _, text in verified.findings(report, "error") if name in file]
        assert any(KINDS[kind][1] in text for text in texts)


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "device"])
@pytest.mark.parametrize("command", ["info", "show", "build", "push"])
def test_no_command_waits_for_it(
    kind, command, tidy_repository, tidy_archives, tmp_path, capsys, monkeypatch
):
    folder = shutil.copytree(tidy_repository, tmp_path / "repo")
    (folder / SHARD).unlink()
    KINDS[kind][0](folder / SHARD)
    monkeypatch.setattr("_platelet_em.hub.branch.HubBranch.read_state", lambda *_, **__: None)
    arguments = {
        "info": ["info", folder],
        "show": ["show", folder, "--z", "3", "--out", tmp_path / "out"],
        "build": ["build", folder, "--data-dir", tidy_archives],
        "push": ["push", "user/name", folder, "--dry-run"],
    }
    assert main(list(map(str, arguments[command]))) == 1
    message = capsys.readouterr().err
    assert f"{SHARD}: expected a" in message
    assert not (folder / ".platelet-em-build").exists()


@pytest.mark.parametrize("name", ["README.md", PICTURE])
def test_build_replaces_no_pipe(name, tidy_repository, tidy_archives, tmp_path, capsys):
    folder = shutil.copytree(tidy_repository, tmp_path / "repo")
    (folder / name).unlink()
    os.mkfifo(folder / name)
    assert main(["build", str(folder), "--data-dir", str(tidy_archives)]) == 1
    assert f"{name}: expected a file, or nothing" in capsys.readouterr().err
    assert (folder / name).is_fifo()


def test_a_snapshot_of_links_is_read_and_links_elsewhere_are_named(
    tidy_repository, tmp_path, capsys
):
    folder, blobs = tmp_path / "cache" / "snapshots" / "a1", tmp_path / "cache" / "blobs"
    shutil.copytree(tidy_repository, folder)
    blobs.mkdir()
    for i, path in enumerate(sorted(p for p in folder.rglob("*") if p.is_file())):
        path.rename(blobs / str(i))
        path.symlink_to(os.path.relpath(blobs / str(i), path.parent))
    assert read_build(folder, PUBLISHED)
    code, report = verified.run(capsys, folder)
    assert (code, [c for c, *_ in verified.findings(report, "remark") if c == "link"]) == (0, [])
    shutil.move((folder / SHARD).resolve(), tmp_path / "elsewhere")
    (folder / SHARD).unlink()
    (folder / SHARD).symlink_to(tmp_path / "elsewhere")
    code, report = verified.run(capsys, folder)
    text = f"leads out of the repository, to {tmp_path / 'elsewhere'}"
    assert verified.has_finding(report, "remark", "link", SHARD, text)


# --- pictures ---------------------------------------------------------------------------------

EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"


def png(width, height, data=b""):
    """A PNG that states a size, whatever data it has."""
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(data)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )


@cache
def large_png():
    return png(9000, 9000, bytes(27001 * 9000))


def saved(file_format):
    out = io.BytesIO()
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(out, file_format)
    return out.getvalue()


PICTURES = {
    "EPS": EPS,
    "AVIF": b"\0\0\0\x1cftypavif\0\0\0\0avifmif1miaf\0\0",
    "ICO": saved("ICO"),
    "PDF": saved("PDF"),
    "30000 x 30000": png(30_000, 30_000),
    "2**31 x 1": png(2**31 - 1, 1),
    "9000 x 9000 of zeros": large_png,  # takes long to make
    "truncated": png(9, 9, bytes(20)),
    "empty": b"",
    "text": b"no picture",
}


def picture(kind):
    content = PICTURES[kind]
    return content() if callable(content) else content


@pytest.mark.parametrize("kind", PICTURES)
@pytest.mark.usefixtures("inspected_once")
def test_a_picture_that_is_not_decoded_is_one_finding(kind, tidy_repository, tmp_path, capsys):
    folder = shutil.copytree(tidy_repository, tmp_path / "repo")
    (folder / PICTURE).write_bytes(picture(kind))
    code, report = verified.run(capsys, folder)
    errors = [(check, file) for check, file, *_ in verified.findings(report, "error")]
    assert (code, errors) == (1, [("files", str(folder / PICTURE))])
    assert verified.figures(report, "volume 24, slices")[0]["slices"] == 3
    assert read_build(folder, PUBLISHED) is None


@pytest.mark.parametrize("column", ["image", "semantic", "preview"])
@pytest.mark.parametrize("kind", PICTURES)
def test_a_picture_in_a_row_is_an_error_of_its_row(kind, column, tidy_repository, tmp_path):
    folder = shutil.copytree(tidy_repository, tmp_path / "repo")
    path = folder / (SHARD if column != "preview" else "preview/train-00000-of-00001.parquet")
    cell = {"bytes": picture(kind), "path": "a.png"}
    verified.change_rows(path, 0, lambda row: row.update({column: cell}))
    _, report = verified.check_rows(folder)
    found = [(file, p["column"]) for _, file, p, _ in verified.findings(report, "error")]
    assert (str(path), column) in found
    assert read_build(folder, PUBLISHED) is None


def test_no_picture_is_passed_to_ghostscript(tidy_repository, tmp_path, capsys, monkeypatch):
    """Pillow passes it, unless it is told which formats to read."""
    started = tmp_path / "started"
    program = tmp_path / "bin" / "gs"
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\ntouch {started}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    with Image.open(io.BytesIO(EPS)) as picture, suppress(OSError):
        picture.load()
    assert started.exists(), "the picture is one that Pillow would pass on"
    started.unlink()
    folder = shutil.copytree(tidy_repository, tmp_path / "repo")
    (folder / PICTURE).write_bytes(EPS)
    cell = {"bytes": EPS, "path": "a.png"}
    row = {"image": cell, "semantic": cell}
    verified.change_rows(folder / SHARD, 0, lambda values: values.update(row))
    assert verified.run(capsys, folder)[0] == 1
    assert main(["show", str(folder), "--z", "3", "--out", str(tmp_path)]) == 1
    with pytest.raises(ImageFormatError, match="a picture with a palette"):
        read_palette(EPS)
    assert not started.exists()


def test_a_card_of_many_bytes_is_refused(tidy_repository, tmp_path, capsys):
    folder = shutil.copytree(tidy_repository, tmp_path / "repo")
    os.truncate(folder / "README.md", 2**40)
    os.truncate(folder / "croissant.json", 2**40)
    _, report = verified.run(capsys, folder)
    for check, name in (("files", "README.md"), ("sums", "croissant.json")):
        assert verified.has_finding(report, "error", check, name, "at most 33554432 bytes")


# --- text -------------------------------------------------------------------------------------

HOSTILE = "a\x1b[2J\x1b]0;b\x07\n\rWARNING: c\u202e\x9b1m"
CONTROLS = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")


def change_records(folder, **values):
    for path in folder.rglob("*.parquet"):
        verified.change_metadata(path, **values)


@pytest.mark.parametrize(
    "command", ["info", "verify", "verify --verbose", "verify --json", "push"]
)
def test_no_control_character_of_a_file_is_printed(
    command, tidy_repository, tmp_path, capsys, monkeypatch
):
    folder = shutil.copytree(tidy_repository, tmp_path / "repo")
    change_records(folder, archive=HOSTILE, tool_version=HOSTILE, **{HOSTILE: HOSTILE})
    (folder / f"{HOSTILE}.csv").write_text("mine")
    card = (folder / "README.md").read_text()
    (folder / "README.md").write_text(card.replace("license: other", f'"{HOSTILE!a}": 1'))
    document = json.loads((folder / "croissant.json").read_text())
    document["distribution"].append(
        {"@type": "cr:FileObject", "contentUrl": HOSTILE, "sha256": ""}
    )
    document[HOSTILE] = HOSTILE
    (folder / "croissant.json").write_text(json.dumps(document))
    monkeypatch.setattr("_platelet_em.hub.branch.HubBranch.read_state", lambda *_, **__: None)
    name, *options = command.split()
    extra = ["user/name", str(folder), "--dry-run"] if name == "push" else [str(folder)]
    main([name, *extra, *options])
    printed = capsys.readouterr()
    text = printed.out + printed.err
    assert "[2J" in text
    assert CONTROLS.findall(text) == []
    assert not [line for line in text.splitlines() if line.startswith("WARNING: c")]


def test_no_control_character_of_an_archive_is_printed(tmp_path, capsys):
    folder = tmp_path / f"{HOSTILE}"
    publisher.publication(seed=2, plane=(7, 61)).zip(
        tmp_path / "images_and_labels_json.zip", "json"
    )
    folder.mkdir()
    (tmp_path / "images_and_labels_json.zip").rename(folder / f"{HOSTILE}.zip")
    for command in (
        ["info", str(folder / f"{HOSTILE}.zip")],
        ["show", str(folder / f"{HOSTILE}.zip"), "--out", str(folder), "--z", "3"],
        ["verify", str(folder / f"{HOSTILE}.zip")],
        ["build", str(folder / "repo"), "--data-dir", str(folder / f"{HOSTILE}.zip")],
    ):
        main(command)
        printed = capsys.readouterr()
        assert "[2J" in printed.out
        assert CONTROLS.findall(printed.out) == []


def test_no_control_character_of_an_archive_is_logged(tmp_path, caplog):
    publication = publisher.publication(seed=2, plane=(7, 61))
    publication.volumes["50"].organelle[:] = 0
    path = tmp_path / f"{HOSTILE}.zip"
    publication.zip(path, "json")
    main(["show", str(path), "--out", str(tmp_path), "--z", "3"])
    (message,) = [r.getMessage() for r in caplog.records if "no voxel" in r.getMessage()]
    assert "[2J" in message
    assert CONTROLS.findall(message) + re.findall("\n", message) == []


NAMES = [
    "<img src=x onerror=alert(1)>.zip",
    "](javascript:alert(1)) **bold** _it_.zip",
    "`code` ``more`` <b>.zip",
    "a`.zip",
    "www.example.com a@example.com.zip",
    "![a](b)\n\n# heading\n\n---\n.zip",
    "<!-- {{citation}} \\1.zip",
    "&lt;b&gt;.zip",
]


@pytest.mark.parametrize("name", NAMES)
def test_the_name_of_an_archive_is_text_in_card_and_description(name, flat_zip, tmp_path, capsys):
    """The oracle is a Markdown parser: the name is the content of one piece of code."""
    shutil.copy(flat_zip, tmp_path / name)
    folder = build(tmp_path / "repo", data_dir=tmp_path / name)
    card = (folder / "README.md").read_text()
    shown = name.replace("\n", "\\n")
    tokens = MarkdownIt("gfm-like", {"linkify": False}).parse(card.split("---\n", 2)[2])
    (origin,) = [t for t in tokens if t.type == "inline" and "Made by `platelet-em" in t.content]
    code = [child.content for child in origin.children if child.type == "code_inline"]
    assert code[:3] == ["platelet-em build", shown, "json"]
    others = {child.type for child in origin.children}
    assert others <= {"text", "code_inline", "softbreak"}
    assert "onerror" not in (folder / "croissant.json").read_text()
    assert read_build(folder, PUBLISHED)
    assert verified.run(capsys, folder)[0] in (0, 1)


@pytest.fixture(scope="module")
def flat_zip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("flat")
    publication = publisher.publication(seed=2, plane=(7, 61))
    publication.zip(folder / "images_and_labels_json.zip", "json")
    return folder / "images_and_labels_json.zip"


def test_a_record_that_is_not_text_is_shown_cut(tidy_repository, tmp_path, capsys):
    folder = shutil.copytree(tidy_repository, tmp_path / "repo")
    change_records(folder, origin=[[]] * 9999)
    assert pq.read_schema(folder / SHARD).metadata
    assert main(["info", str(folder)]) == 0
    assert max(map(len, capsys.readouterr().out.splitlines())) < 1000


# --- images in other files --------------------------------------------------------------------


@pytest.fixture(params=["slices", "volumes"])
def pointing(request, tidy_repository, tmp_path):
    """A repository whose images are a picture of this machine, and its configuration."""
    folder = shutil.copytree(tidy_repository, tmp_path / "repo")
    secret = tmp_path / "secret.png"
    for path in (folder / request.param).glob("train-*"):
        table = pq.read_table(path)
        index = table.column_names.index("image")
        page = {"bytes": None, "path": str(secret)}
        column = table["image"].to_pylist()
        if not secret.exists():
            first = column[0] if request.param == "slices" else column[0][0]
            with Image.open(io.BytesIO(first["bytes"])) as picture:
                picture.save(secret)
        column = [page if request.param == "slices" else [page] * len(value) for value in column]
        field = table.schema.field("image")
        table = table.set_column(index, field, pa.array(column, field.type))
        pq.write_table(table, path)
    return folder, request.param


def test_pictures_of_this_machine_are_no_images_of_a_repository(pointing, tmp_path):
    folder, config = pointing
    message = r"train-.*\.parquet: column 'image': expected images in the file itself, found the p"
    (reference, *_) = platelet_em.ColumnReference.of(folder, config, "train", "image")
    with pytest.raises(platelet_em.ArchiveError, match=message):
        reference.open()
    if config == "slices":
        with pytest.raises(platelet_em.ArchiveError, match=message):
            platelet_em.export(folder, tmp_path / "out", to="tiff")
        with pytest.raises(platelet_em.ArchiveError, match=message):
            list(show(folder, tmp_path / "pictures", volume="50", slices=[0]))
