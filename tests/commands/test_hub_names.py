"""`info`, `show` and `verify` of datasets on the Hub: what is read, and how it fails."""

import json
import re
import socket
from collections import Counter

import pyarrow.parquet as pq
import pytest
from huggingface_hub import HfApi, constants
from support.clients import publish
from support.hub_http import Fault
from support.own import FORMS, write_own

import platelet_em
from _platelet_em.commands.cli import main
from _platelet_em.description.parse import read_description
from _platelet_em.hub import remote
from _platelet_em.hub.build import build
from _platelet_em.hub.remote import open_location

NAME = "user/platelet-em"
ADDRESS = f"hf://datasets/{NAME}"


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A repository whose files are larger than what is read of each of them at first."""
    folder = tmp_path_factory.mktemp("large")
    platelet_em.write_sample(folder / "archives", depth=9, size=300)
    return build(folder / "repo", data_dir=folder / "archives")


@pytest.fixture
def online(hub, monkeypatch, tmp_path):
    """This process uses the test Hub, and a cache of its own, from an empty folder."""
    api = HfApi(endpoint=hub.url, token="hf_user")
    monkeypatch.setattr(remote, "connect", lambda: api)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True, raising=False)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return hub


def run(*arguments):
    return main(list(map(str, arguments)))


def ranges(hub):
    """Path in the repository -> requests of it."""
    found = (re.search("/resolve/[^/]+/(.*)", path) for _, path, _ in hub.requests)
    return Counter(match[1] for match in found if match)


# --- info -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [NAME, ADDRESS, f"{ADDRESS}@main"])
def test_info_is_that_of_the_folder(name, online, repository, capsys):
    sha = publish(online, NAME, repository).branches["main"]
    assert run("info", name) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    shown = name if "@" in name else ADDRESS
    assert first == f"{shown}: a built repository, commit {sha}"
    assert run("info", repository) == 0
    assert capsys.readouterr().out.splitlines()[1:] == lines


def test_info_reads_the_end_of_each_file_once(online, large, capsys):
    publish(online, NAME, large)
    assert run("info", NAME, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["content"], found["path"]) == ("repository", ADDRESS)
    assert found["commit"] == online.repositories[NAME].branches["main"]
    files = [path.relative_to(large).as_posix() for path in large.rglob("*.parquet")]
    assert ranges(online) == Counter(files)
    assert all(online.served[f"{NAME}/{file}"] <= 2**16 for file in files)


# --- show -------------------------------------------------------------------------------------


def test_show_reads_the_row_groups_of_its_slices(online, large, tmp_path):
    publish(online, NAME, large)
    assert run("show", NAME, "--z", 4, "--out", tmp_path / "a") == 0
    served = dict(online.served)
    assert run("show", large, "--z", 4, "--out", tmp_path / "b") == 0
    picture = "platelet-em-50-z004.png"
    assert (tmp_path / "a" / picture).read_bytes() == (tmp_path / "b" / picture).read_bytes()
    shards = sorted(path.name for path in large.glob("slices/train-*"))
    assert {f"{NAME}/slices/{name}" for name in shards} == served.keys()
    sizes = {name: (large / "slices" / name).stat().st_size for name in shards}
    complete = [name for name in shards if served[f"{NAME}/slices/{name}"] > 0.8 * sizes[name]]
    rows = [pq.read_metadata(large / "slices" / name).num_rows for name in shards]
    (with_slice,) = complete
    assert sum(rows[: shards.index(with_slice)]) <= 4 < sum(rows[: shards.index(with_slice) + 1])


def test_show_reads_the_revision(online, repository, tidy_repository, tmp_path):
    found = publish(online, NAME, repository)
    publish(online, "user/other", tidy_repository)
    other = online.repositories["user/other"].files
    found.commit("rgba", "another build", dict(other))
    out = ["--volume", "24", "--z", "2", "--out"]
    assert run("show", f"{ADDRESS}@rgba", *out, tmp_path / "a") == 0
    assert run("show", tidy_repository, *out, tmp_path / "b") == 0
    assert run("show", NAME, *out, tmp_path / "c") == 0
    a, b, c = (next((tmp_path / name).iterdir()).read_bytes() for name in "abc")
    assert a == b != c


# --- verify -----------------------------------------------------------------------------------


def test_verify_downloads_first_and_says_so(online, tidy_repository, capsys):
    publish(online, NAME, tidy_repository)
    assert run("verify", NAME, "--json") == 0
    found = capsys.readouterr()
    assert json.loads(found.out)["errors"] == 0
    assert re.fullmatch(rf"{ADDRESS}: downloading \d+ files, 0\.\d MB\n", found.err)
    served = sum(online.served.values())
    assert served > 0
    assert run("verify", ADDRESS, "--quiet") == 0
    assert capsys.readouterr().err == ""
    assert sum(online.served.values()) == served


def test_verify_compares_the_hub_with_archives(online, tidy_repository, tidy_archives, capsys):
    publish(online, NAME, tidy_repository)
    assert run("verify", tidy_archives, NAME, "--json") == 0
    titles = [section["title"] for section in json.loads(capsys.readouterr().out)["sections"]]
    assert any("against" in title and "slices" in title for title in titles), titles


def test_verify_finds_what_is_wrong_on_the_hub(online, tidy_repository, tmp_path, capsys):
    files = publish(online, NAME, tidy_repository).files
    shard = files["slices/train-00001-of-00008.parquet"]
    object.__setattr__(shard, "content", shard.content[:500] + b"!" + shard.content[501:])
    assert run("verify", NAME) == 1
    assert "train-00001-of-00008.parquet: expected SHA-256" in capsys.readouterr().out


# --- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["info", "show", "verify"])
def test_a_path_that_exists_wins(command, online, repository, tmp_path, capsys):
    (tmp_path / "work" / "user").mkdir()
    (tmp_path / "work" / NAME).symlink_to(repository)
    run(command, NAME)
    assert "unexpected" not in capsys.readouterr().err
    assert online.requests == []


@pytest.mark.parametrize("command", ["info", "show", "verify"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "user/nowhere",
            (
                "user/nowhere: no such file or folder here, and hf://datasets/user/nowhere: "
                "the Hub answered 404, Repository not found"
            ),
        ),
        (f"{ADDRESS}@gone", f"{ADDRESS}@gone: the Hub answered 404, Invalid rev id"),
        ("hf://models/a/b", "expected hf://datasets/USER/NAME"),
    ],
)
def test_an_unknown_name_is_one_sentence(command, name, message, online, repository, capsys):
    publish(online, NAME, repository)
    assert run(command, name) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line


@pytest.mark.parametrize("command", ["info", "show"])
def test_a_dataset_of_something_else_is_named(command, online, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "data.parquet").write_bytes(b"x")
    publish(online, NAME, tmp_path / "other")
    assert run(command, NAME) == 1
    assert f"{ADDRESS}: expected a built repository" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["info", "show"])
@pytest.mark.parametrize("damage", [b"", b"x" * 5000, b"PAR1" + b"\xff" * 100 + b"PAR1"])
def test_a_damaged_file_is_named(command, damage, online, repository, capsys):
    files = publish(online, NAME, repository).files
    shard = "slices/train-00000-of-00008.parquet"
    object.__setattr__(files[shard], "content", damage)
    assert run(command, NAME) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{ADDRESS}/{shard}: expected Parquet that can be read" in line


def test_a_flipped_bit_is_found(online, large, tmp_path, capsys):
    files = publish(online, NAME, large).files
    shard = files["slices/train-00000-of-00008.parquet"]
    content = bytearray(shard.content)
    content[3000] ^= 1
    object.__setattr__(shard, "content", bytes(content))
    assert run("show", NAME, "--z", 0, "--out", tmp_path) == 1
    assert "CRC" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["info", "show"])
def test_a_refused_file_is_an_error_of_the_hub(command, online, repository, capsys):
    publish(online, NAME, repository)
    online.faults.append(Fault("GET", f"/datasets/{NAME}/resolve/.*", status=403, times=99))
    assert run(command, NAME) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "the Hub answered 403" in line
    assert "build it again" not in line


def test_too_many_files_are_not_listed(online, repository, monkeypatch):
    publish(online, NAME, repository)
    online.page_size = 4
    monkeypatch.setattr(remote, "_MAX_ENTRIES", 9)
    with pytest.raises(platelet_em.TooLargeError, match="has more than 9 files"):
        open_location(NAME)
    assert sum("/tree/" in path for _, path, _ in online.requests) == 3


def test_a_read_is_bounded(online, repository, monkeypatch):
    publish(online, NAME, repository)
    monkeypatch.setattr(remote, "_MAX_READ", 10)
    file = next((open_location(NAME) / "preview").glob("train-*")).open()
    with pytest.raises(platelet_em.TooLargeError, match="expected at most 10 bytes"):
        file.read()


def test_a_file_on_the_hub_is_read_as_any_file(online, large):
    publish(online, NAME, large)
    path = next((open_location(NAME) / "volumes").glob("train-*"))
    content = (large / path.path).read_bytes()
    file = path.open()
    assert file.readable()
    assert file.seekable()
    assert (file.seek(-10, 2), file.read()) == (len(content) - 10, content[-10:])
    assert (file.seek(5), file.read(7), file.tell()) == (5, content[5:12], 12)
    assert (file.seek(3, 1), file.read(2)) == (15, content[15:17])
    file.seek(len(content) - 2**16 - 3)
    assert file.read(9) == content[-(2**16) - 3 :][:9]
    assert file.read(0) == b""
    file.seek(len(content) + 5)
    assert file.read() == b""


@pytest.mark.parametrize("command", ["info", "show", "verify", "push"])
def test_offline_is_said_in_one_sentence(command, repository, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)  # tests are offline
    assert run(command, NAME) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert f"{NAME}: the Hub is not asked, since HF_HUB_OFFLINE is set: unset it" in line


def test_without_a_connection_it_is_said_at_once(online, monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    monkeypatch.setattr(remote, "connect", lambda: HfApi(endpoint=f"http://127.0.0.1:{port}"))
    assert run("info", NAME) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "Connection refused: check the connection" in line


# --- own volumes ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_own_volumes_on_the_hub_are_those_of_the_folder(form, online, tmp_path, capsys):
    own = write_own(tmp_path / "set", form)
    folder = build(tmp_path / "repo", spec=read_description(own.description))
    publish(online, NAME, folder)
    assert run("info", NAME, "--json") == 0
    there = json.loads(capsys.readouterr().out)
    assert run("info", folder, "--json") == 0
    here = json.loads(capsys.readouterr().out)
    for key in ("dataset", "record", "files", "viewer"):
        assert there[key] == here[key]
    last = [*own.volumes][-1]
    for source, out in ((NAME, "a"), (folder, "b"), (own.description, "c")):
        assert run("show", source, "--volume", last, "--out", tmp_path / out) == 0
    pictures = [(tmp_path / out / f"{there['dataset']}-{last}-z000.png") for out in "abc"]
    assert len({path.read_bytes() for path in pictures}) == 1
    capsys.readouterr()
    assert run("verify", NAME) == 0
