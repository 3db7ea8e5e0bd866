"""`platelet-em push` by the real client: over LFS and Xet, with faults of the Hub, and killed."""

import hashlib
import itertools
import json
import os
import random
import re
import shutil
import threading
from concurrent.futures import Future

import pyarrow.parquet as pq
import pytest
from support import paper, plain, publisher
from support.clients import WITHOUT_TORCH
from support.folders import contents
from support.forked import ForkServer
from support.hub import File, Hub, Repository
from support.hub_http import Fault
from support.programs import PROGRAMS

import platelet_em
from _platelet_em.commands.cli import main
from _platelet_em.facts import PUBLISHED
from _platelet_em.hub.build import build
from _platelet_em.hub.integrity import read_build
from _platelet_em.hub.layout import is_repository_file, repository_files
from _platelet_em.hub.push import push

USERS = {"hf_user": "user", "hf_other": "other"}
NAME = "user/platelet-em"
COMMIT = f"/api/datasets/{NAME}/commit/main"


@pytest.fixture(scope="module")
def hubs(tmp_path_factory):
    """Hubs for LFS and for Xet, each with processes that push to it."""
    homes = {storage: tmp_path_factory.mktemp(storage) for storage in ("lfs", "xet")}
    with Hub(USERS) as lfs, Hub(USERS, xet=homes["xet"] / "storage") as xet:
        hubs = {"lfs": lfs, "xet": xet}
        runs = {
            storage: ForkServer(homes[storage], hub.environment(homes[storage]), "push")
            for storage, hub in hubs.items()
        }
        yield {storage: (hub, runs[storage]) for storage, hub in hubs.items()}
        for run in runs.values():
            run.close()


def reset(hub):
    """Make the Hub empty, without faults."""
    hub.repositories.clear()
    hub.objects.clear()
    hub.received.clear()
    hub.requests.clear()
    hub.faults.clear()
    hub.on_request = lambda method, path: None
    if hub.xet:
        hub.xet.clear()


@pytest.fixture(params=["lfs", "xet"])
def both(request, hubs):
    """A Hub and a function that pushes to it, once with LFS and once with Xet."""
    reset(hubs[request.param][0])
    return hubs[request.param]


@pytest.fixture
def lfs(hubs):
    reset(hubs["lfs"][0])
    return hubs["lfs"]


@pytest.fixture(scope="module")
def fewer_slices(tmp_path_factory):
    """JSON archives of other voxels."""
    folder = tmp_path_factory.mktemp("fewer")
    publication = publisher.publication(seed=7, depth=3, plane=(7, 61))
    publication.zip(folder / "images_and_labels_json.zip", "json")
    return folder


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A repository of other voxels, label source and depth, so with other shards."""
    folder = tmp_path_factory.mktemp("other")
    archive = folder / "images_and_labels_rgba.zip"
    publisher.publication(seed=7, depth=3, plane=(7, 61)).zip(archive, "tif")
    return build(folder / "repo", data_dir=archive, label_source="tif")


def built_files(hub, at="main"):
    """Path -> content of the files of a build on a branch or in a commit; the card as built."""
    repository = hub.repositories[NAME]
    files = repository.commits[repository.sha(at)]
    found = {
        path: file.content for path, file in files.items() if is_repository_file(path, PUBLISHED)
    }
    if "README.md" in found:
        text, seal = found["README.md"].removesuffix(b"\n").rsplit(b"\n", 1)
        found["README.md"] = text.replace(NAME.encode(), b"<user>/platelet-em")
        digest = hashlib.sha256(text).hexdigest()
        pushed = f"<!-- Pushed to {NAME} by platelet-em, SHA-256 {digest} -->"
        assert seal == pushed.encode() or b"schema 3" in text, "edited by a test"
    return found


def writes(hub, start=0):
    """Methods and paths of the requests that may change something."""
    return [request[:2] for request in hub.requests[start:] if request[0] not in ("GET", "HEAD")]


# --- the repository after a push --------------------------------------------------------------


def test_a_user_without_this_project_loads_what_was_pushed(
    both, repository, plain_packages, truth, tmp_path
):
    hub, run = both
    done = run(NAME, repository)
    assert done.code == 0, done.err
    assert built_files(hub) == contents(repository)
    assert len(hub.repositories[NAME].commits) == 2, "the first one is the Hub's"
    xet = {path for path, file in hub.repositories[NAME].files.items() if file.xet}
    large = {path for path in built_files(hub) if path.endswith((".parquet", ".png"))}
    assert xet == (large if hub.xet else set())
    *_, url, first, second = done.out.splitlines()
    assert url == f"{hub.url}/datasets/{NAME}"
    assert first == "import datasets"
    assert second == f"ds = datasets.load_dataset('{NAME}', 'slices')"
    environment = {**hub.environment(tmp_path / "home", token=""), **WITHOUT_TORCH}
    if hub.xet:
        out = plain.run(plain_packages, PROGRAMS / "load_built.py", truth, NAME, **environment)
        assert out.split() == ["ok"]
    else:  # test_hub_client.py loads all of the same files over LFS
        printed = tmp_path / "printed.py"
        printed.write_text(f"{first}\n{second}\nprint(len(ds['train']))")
        assert plain.run(plain_packages, printed, **environment).split() == ["9"]


def test_a_private_repository_is_hidden(lfs, flat_repository, plain_packages, tmp_path):
    hub, run = lfs
    assert run("platelet-em", flat_repository, "--private").code == 0
    assert hub.repositories[NAME].private
    environment = {**hub.environment(tmp_path / "home", token=""), **WITHOUT_TORCH}
    found = plain.run(plain_packages, PROGRAMS / "count_private.py", "hf_user", **environment)
    assert found.split() == ["hidden", "9"]


def test_pushing_again_sends_nothing(both, flat_repository):
    hub, run = both
    assert run(NAME, flat_repository).code == 0
    commits, requests = len(hub.repositories[NAME].commits), len(hub.requests)
    hub.received.clear()
    done = run(NAME, flat_repository)
    assert done.code == 0
    assert "nothing has changed: nothing to send, no commit" in done.out
    assert "load_dataset" in done.out
    assert writes(hub, requests) == []
    assert not [path for _, path, _ in hub.requests[requests:] if "xet-write-token" in path]
    assert hub.received.total() == 0
    assert len(hub.repositories[NAME].commits) == commits


def test_a_third_volume_is_pushed_and_leaves_with_a_build_that_lacks_it(
    lfs, flat_repository, flat_archives, tmp_path
):
    hub, run = lfs
    archives = shutil.copytree(flat_archives, tmp_path / "archives")
    paper.paper().zip(archives / paper.NAME)
    three = build(tmp_path / "three", data_dir=archives, with_test=True)
    assert run(NAME, flat_repository).code == 0
    done = run(NAME, three)
    assert done.code == 0, done.err
    names = set(hub.repositories[NAME].files)
    assert {path.relative_to(three).as_posix() for path in three.rglob("*.parquet")} <= names
    assert "pictures/volume-test.png" in names
    done = run(NAME, flat_repository)
    assert done.code == 0, done.err
    assert not [name for name in hub.repositories[NAME].files if "test" in name]
    assert built_files(hub) == contents(flat_repository)


def test_a_build_that_is_not_what_was_asked_for_is_not_pushed(
    lfs, flat_repository, flat_archives, tmp_path
):
    hub, run = lfs
    done = run(NAME, flat_repository, "--with-test")
    assert done.code == 1
    assert "contains a build without volume test" in done.err
    archives = shutil.copytree(flat_archives, tmp_path / "archives")
    paper.paper().zip(archives / paper.NAME)
    three = build(tmp_path / "three", data_dir=archives, with_test=True)
    paper.paper(seed=1).zip(archives / paper.NAME)
    done = run(NAME, three, "--with-test", "--data-dir", str(archives))
    assert done.code == 1
    assert "contains a build from other archives" in done.err
    assert NAME not in hub.repositories


@pytest.mark.parametrize(
    "name", ["slices/test-00007-of-00009.parquet", "pictures/volume-test.png"]
)
def test_files_of_the_owner_with_names_of_the_third_volume_are_not_touched(
    lfs, flat_repository, flat_archives, name, tmp_path
):
    hub, run = lfs
    assert run(NAME, flat_repository).code == 0
    on_hub = hub.repositories[NAME]
    on_hub.commit("main", "mine", {**on_hub.files, name: File(b"mine", lfs=True)})
    assert run(NAME, flat_repository).code == 0
    assert on_hub.files[name].content == b"mine"
    archives = shutil.copytree(flat_archives, tmp_path / "archives")
    paper.paper().zip(archives / paper.NAME)
    three = build(tmp_path / "three", data_dir=archives, with_test=True)
    done = run(NAME, three)
    assert done.code == 1
    assert f"contains {name}, which no push has written" in done.err
    assert on_hub.files[name].content == b"mine"
    assert "slices/test-00000-of-00006.parquet" not in on_hub.files


def test_another_build_replaces_files_in_one_commit(both, flat_repository, other):
    hub, run = both
    assert run(NAME, flat_repository).code == 0
    on_hub = hub.repositories[NAME]
    names = ("LICENSE", "notes/a.parquet", "slices/other-00000-of-00001.parquet")
    of_owner = {name: File(b"mine", lfs=True) for name in names}
    on_hub.commit("main", "files of the owner", {**on_hub.files, **of_owner})
    commits = len(on_hub.commits)
    done = run(NAME, other)
    assert done.code == 0, done.err
    assert built_files(hub) == contents(other)
    assert len(built_files(hub)) < len(contents(flat_repository)), (
        "fewer shards: some had to be deleted"
    )
    assert {path: on_hub.files[path] for path in of_owner} == of_owner
    assert len(on_hub.commits) == commits + 1
    assert re.search(r"\d+ files .* sent, \d+ .* deleted, in one commit", done.out)


def test_a_new_branch_leaves_main_unchanged(lfs, flat_repository, other):
    hub, run = lfs
    assert run(NAME, flat_repository).code == 0
    done = run(NAME, other, "--revision", "rgba")
    assert done.code == 0, done.err
    assert f"{NAME}: branch rgba created" in done.out
    assert f"load_dataset('{NAME}', 'slices', revision='rgba')" in done.out
    assert built_files(hub) == contents(flat_repository)
    assert built_files(hub, at="rgba") == contents(other)
    commits = len(hub.repositories[NAME].commits)
    assert run(NAME, flat_repository, "--revision", "same").code == 0
    assert hub.repositories[NAME].branches["same"] == hub.repositories[NAME].branches["main"]
    assert len(hub.repositories[NAME].commits) == commits, "a branch of the same files needs none"
    hub.repositories[NAME].tags["v1"] = hub.repositories[NAME].branches["main"]
    assert "v1 is a tag, expected a branch" in run(NAME, other, "--revision", "v1").error


def test_only_files_of_a_build_are_sent(lfs, flat_repository, tmp_path):
    hub, run = lfs
    folder = shutil.copytree(flat_repository, tmp_path / "repo")
    for name in ("platelet-em.py", "LICENSE", "notes.txt", ".secret", "pictures/a.png"):
        (folder / name).write_text("mine")
    assert run(NAME, folder).code == 0
    assert set(hub.repositories[NAME].files) == {".gitattributes", *contents(flat_repository)}


# --- builds -----------------------------------------------------------------------------------


def test_without_a_folder_a_build_in_the_cache_is_made_once(
    lfs, flat_repository, flat_archives, tmp_path
):
    hub, run = lfs
    arguments = (NAME, "--data-dir", flat_archives, "--cache-dir", tmp_path)
    done = run(*arguments)
    assert done.code == 0, done.err
    assert built_files(hub) == contents(flat_repository)
    [folder] = (tmp_path / "downloads" / "platelet_em").glob("built-*")
    assert folder.name == f"built-{read_build(folder, PUBLISHED)['fingerprint']}"
    times = [path.stat().st_mtime_ns for path in repository_files(folder, PUBLISHED)]
    assert "nothing has changed" in run(*arguments).out
    assert [path.stat().st_mtime_ns for path in repository_files(folder, PUBLISHED)] == times


def test_the_sample_is_pushed_as_build_writes_it(lfs, tmp_path):
    hub, run = lfs
    size = ("--sample", "--depth", 2, "--size", 40)
    done = run(NAME, tmp_path / "pushed", *size)
    assert done.code == 0, done.err
    assert main(["build", str(tmp_path / "built"), *map(str, size)]) == 0
    assert built_files(hub) == contents(tmp_path / "built") == contents(tmp_path / "pushed")


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_build_from_another_archive_is_neither_replaced_nor_pushed(
    options, lfs, flat_repository, fewer_slices, tmp_path
):
    hub, run = lfs
    folder = shutil.copytree(flat_repository, tmp_path / "repo")
    done = run(NAME, folder, "--data-dir", fewer_slices, *options)
    assert done.code == 1
    assert "repo: contains a build from other archives: name another folder" in done.error
    done = run(NAME, folder, "--sample", "--depth", 2, "--size", 32, *options)
    assert done.code == 1
    assert contents(folder) == contents(flat_repository)
    assert NAME not in hub.repositories


def test_a_build_from_these_archives_is_pushed_as_it_is(
    lfs, flat_repository, flat_archives, tmp_path
):
    hub, run = lfs
    folder = shutil.copytree(flat_repository, tmp_path / "repo")
    assert run(NAME, folder, "--data-dir", flat_archives).code == 0
    assert built_files(hub) == contents(folder) == contents(flat_repository)


def damaged_build(repository, folder, how):
    """A copy of a repository, damaged in that way."""
    shutil.copytree(repository, folder)
    shard = folder / "slices" / "train-00003-of-00008.parquet"
    if how == "a build was interrupted":
        (folder / ".platelet-em-build").mkdir()
    elif how == "a shard is missing":
        shard.unlink()
    elif how == "a shard is damaged":
        shard.write_bytes(shard.read_bytes()[:500])
    elif how == "a shard too many":
        shutil.copy(shard, folder / "slices" / "train-00000-of-00001.parquet")
    elif how == "no card":
        (folder / "README.md").unlink()
    elif how == "no picture":
        (folder / "pictures" / "volume-24.png").unlink()
    elif how == "another card":
        (folder / "README.md").write_text("# A card of the user")
    elif how == "a flipped bit":
        content = bytearray(shard.read_bytes())
        content[len(content) // 2] ^= 4
        shard.write_bytes(content)
    else:
        raise ValueError(how)
    return folder


DAMAGES = {
    "a build was interrupted": "repo: expected a complete build, found one that was interrupted",
    "a shard is missing": "train-00003-of-00008.parquet: expected a shard, found no such file",
    "a shard too many": "slices: expected shards of one build, found train in 00001, 00008 files",
    "a shard is damaged": "train-00003-of-00008.parquet: expected Parquet, found ",
    "a flipped bit": "train-00003-of-00008.parquet: expected SHA-256 ",
    "no card": "README.md: expected the file that build wrote, found no such file",
    "no picture": "volume-24.png: expected the file that build wrote, found no such file",
    "another card": "README.md: expected the file that build wrote, found another file",
}


OPTIONS = [(), ("--dry-run",), ("--sample",), ("--data-dir",)]
OFTEN = {(how, OPTIONS[i % 4]) for i, how in enumerate(DAMAGES)} | {
    ("a flipped bit", options) for options in OPTIONS
}
"""Each damage with one of the options, and one damage with all; the others take a minute."""


@pytest.mark.parametrize(
    ("how", "options"),
    [
        pytest.param(*pair, marks=[] if pair in OFTEN else pytest.mark.long)
        for pair in itertools.product(DAMAGES, OPTIONS)
    ],
)
def test_a_damaged_build_is_neither_pushed_nor_built_over(
    how, options, lfs, flat_repository, flat_archives, tmp_path
):
    hub, run = lfs
    folder = damaged_build(flat_repository, tmp_path / "repo", how)
    before = contents(folder)
    more = (flat_archives,) if options == ("--data-dir",) else ()
    done = run(NAME, folder, *options, *more)
    assert done.code == 1
    assert f"platelet-em: {folder}: is no complete, undamaged build: " in done.error
    assert DAMAGES[how] in done.error
    md5 = hashlib.md5((flat_archives / "images_and_labels_json.zip").read_bytes()).hexdigest()
    archive = f"'images_and_labels_json.zip' (MD5 '{md5}')"
    remedy = f"repair it by `platelet-em build` from {archive}, with 'json' labels"
    assert remedy in done.error
    assert contents(folder) == before
    assert NAME not in hub.repositories


def test_a_read_only_folder_is_pushed(lfs, flat_repository, tmp_path, monkeypatch):
    folder = shutil.copytree(flat_repository, tmp_path / "repo")
    folder.chmod(0o555)
    _, run = lfs
    assert run(NAME, folder, "--dry-run").code == 0
    monkeypatch.setattr("os.access", lambda path, mode: mode != os.W_OK)
    monkeypatch.setattr("_platelet_em.hub.branch.HubBranch.read_state", lambda *_, **__: None)
    monkeypatch.setattr("_platelet_em.hub.push.one_build_at_a_time", None)
    assert len(push(NAME, folder, dry_run=True).changes) == len(contents(folder))


def test_a_folder_of_a_newer_schema_is_refused(lfs, flat_repository, tmp_path):
    hub, run = lfs
    folder = shutil.copytree(flat_repository, tmp_path / "repo")
    path = folder / "slices" / "train-00003-of-00008.parquet"
    table = pq.read_table(path)
    record = json.loads(table.schema.metadata[b"platelet_em"])
    newer = {**table.schema.metadata, b"platelet_em": json.dumps({**record, "schema_version": 3})}
    pq.write_table(table.replace_schema_metadata(newer), path)
    done = run(NAME, folder)
    assert done.code == 1
    assert "train-00003-of-00008.parquet: is of schema 3, and this version" in done.error
    assert NAME not in hub.repositories


def test_files_of_two_builds_are_no_complete_build(flat_repository, flat_archives, tmp_path):
    folder = shutil.copytree(flat_repository, tmp_path / "repo")
    tif = build(tmp_path / "tif", data_dir=flat_archives, label_source="tif")
    assert read_build(tif, PUBLISHED)["label_source"] == "tif"
    name = "slices/train-00003-of-00008.parquet"
    shutil.copy(tif / name, folder / name)
    assert read_build(folder, PUBLISHED) is None


def test_a_complete_folder_needs_no_archives_but_has_one_label_source(lfs, flat_repository):
    hub, run = lfs
    done = run(NAME, flat_repository, "--label-source", "tif")
    assert done.code == 1
    assert "contains json labels, expected tif: name another folder" in done.error
    assert NAME not in hub.repositories
    assert run(NAME, flat_repository, "--label-source", "json").code == 0


def test_a_folder_with_other_files_is_refused(lfs, flat_archives, tmp_path):
    hub, run = lfs
    (tmp_path / "README.md").write_text("mine")
    done = run(NAME, tmp_path, "--data-dir", flat_archives)
    assert done.code == 1
    assert "is no complete, undamaged build: " in done.error
    assert (tmp_path / "README.md").read_text() == "mine"
    assert NAME not in hub.repositories


def test_the_files_of_a_push_are_those_of_a_build(flat_repository):
    names = {
        path.relative_to(flat_repository).as_posix()
        for path in repository_files(flat_repository, PUBLISHED)
    }
    assert names == set(contents(flat_repository))
    assert all(is_repository_file(name, PUBLISHED) for name in names)
    for name in ("platelet-em.py", "a/README.md", "slices/a/train-00000-of-00001.parquet"):
        assert not is_repository_file(name, PUBLISHED)


# --- the card on the Hub ----------------------------------------------------------------------


def edit(hub, old, new):
    """Change the card on the Hub, as its owner does in the browser."""
    on_hub = hub.repositories[NAME]
    card = on_hub.files["README.md"].content
    assert old in card
    file = File(card.replace(old, new), lfs=False)
    on_hub.commit("main", "Update README.md", {**on_hub.files, "README.md": file})
    return file.content


EDITS = {
    "text": (b"\n## License\n", b"\nSee our \x1b[31mpreprint.\n\n## License\n"),
    "YAML": (b"\npretty_name: platelet-em\n", b"\npretty_name: My platelets\n"),
    "seal": (b"<!-- Pushed to user/platelet-em by platelet-em, ", b"<!-- by me "),
}


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("text", True),
        ("YAML", False),
        ("seal", True),
        ("seal", False),
        pytest.param("text", False, marks=pytest.mark.long),
        pytest.param("YAML", True, marks=pytest.mark.long),
    ],
)
def test_an_edited_card_is_replaced_only_when_asked(
    name, same, lfs, flat_repository, other, tmp_path
):
    hub, run = lfs
    old, new = EDITS[name]
    assert run(NAME, flat_repository).code == 0
    edited, commits = edit(hub, old, new), len(hub.repositories[NAME].commits)
    pushed = flat_repository if same else other
    for options in ((), ("--dry-run",)):
        done = run(NAME, pushed, *options)
        assert done.code == 1
        assert f"{NAME}: README.md was edited there, and this push would replace it:" in done.err
        for line in new.decode().split("\n"):
            if line not in old.decode():
                assert f"\n+{line}".replace("\x1b", "?") in done.err
        assert len(done.err.split("replace it:")[1].splitlines()) < 15, "and nothing else"
        assert f"keep into {pushed / 'README.md'}, then push with --overwrite-card" in done.error
    assert hub.repositories[NAME].files["README.md"].content == edited
    assert len(hub.repositories[NAME].commits) == commits
    if same:  # what is kept is copied into the folder, as the message says
        pushed = shutil.copytree(flat_repository, tmp_path / "repo")
        (pushed / "README.md").write_bytes(edited)
        done = run(NAME, pushed)
        assert done.code == 0, done.err
    else:
        assert run(NAME, pushed, "--overwrite-card").code == 0
        assert built_files(hub) == contents(pushed)
    on_hub = hub.repositories[NAME].files["README.md"].content
    assert (new.strip() in on_hub) == same
    assert run(NAME, other).code == 0, "what a push wrote may be replaced"


def test_the_card_names_its_repository(lfs, flat_repository, tmp_path):
    hub, run = lfs
    assert run("user/mine", flat_repository).code == 0
    files = hub.repositories["user/mine"].files
    built = (flat_repository / "README.md").read_text()
    count = built.count("<user>/platelet-em")
    assert count >= 4
    card = files["README.md"].content.decode()
    assert 'load_dataset("user/mine", "slices")' in card
    assert "hf://datasets/user/mine/slices" in card
    assert "<user>" not in card
    assert card.count("user/mine") == count + 1, "and the last line"
    assert card.startswith(built.replace("<user>/platelet-em", "user/mine"))
    # A copy from the Hub is a build like any other, and gets the name of another repository.
    copy = shutil.copytree(flat_repository, tmp_path / "repo")
    (copy / "README.md").write_text(card)
    assert run("user/mine", copy).out.count("nothing has changed") == 1
    assert run(NAME, copy).code == 0
    assert built_files(hub) == contents(flat_repository)


def test_the_origin_is_stated(lfs, flat_repository, other):
    _, run = lfs
    assert "WARNING: not built from the published archive, whose MD5 is 23891d451dffb8709c4" in (
        run(NAME, flat_repository, "--dry-run").out
    )
    warning = "WARNING: built from an archive that cannot be checked: no checksum is published"
    assert warning in run(NAME, other).out


# --- message, tag, pull request ---------------------------------------------------------------


def test_message_and_tag(lfs, flat_repository, other):
    hub, run = lfs
    done = run(NAME, flat_repository, "--message", "First release", "--tag", "v1")
    assert done.code == 0, done.err
    on_hub = hub.repositories[NAME]
    first = on_hub.branches["main"]
    assert on_hub.titles[first] == "First release"
    assert on_hub.tags == {"v1": first}
    assert f"{NAME}: tagged v1" in done.out
    assert "revision='v1'" in done.out
    requests = len(hub.requests)
    done = run(NAME, other, "--tag", "v1")
    assert "--tag v1: exists at another commit: choose another name" in done.error
    assert writes(hub, requests) == []
    assert run(NAME, flat_repository, "--tag", "v1").code == 0, "the tag of this very commit"
    assert f"{NAME}: would be tagged v2" in run(NAME, other, "--tag", "v2", "--dry-run").out
    assert run(NAME, flat_repository, "--tag", "again").code == 0
    assert run(NAME, other, "--tag", "v2").code == 0
    second = on_hub.branches["main"]
    assert on_hub.tags == {"v1": first, "again": first, "v2": second}
    assert "Upload a build of platelet-em" in on_hub.titles[second]


def test_a_pull_request_of_somebody_else_leaves_main_unchanged(both, flat_repository, other):
    hub, run = both
    assert run(NAME, flat_repository).code == 0
    done = run(NAME, other, "--create-pr", "--message", "Other labels", HF_TOKEN="hf_other")
    assert done.code == 0, done.err
    on_hub = hub.repositories[NAME]
    assert f"{hub.url}/datasets/{NAME}/discussions/1" in done.out
    assert built_files(hub) == contents(flat_repository)
    assert built_files(hub, at="refs/pr/1") == contents(other)
    assert on_hub.titles[on_hub.branches["refs/pr/1"]] == "Other labels"


def test_a_pull_request_needs_a_branch_and_has_no_tag(lfs, flat_repository):
    hub, run = lfs
    done = run(NAME, flat_repository, "--create-pr")
    assert f"{NAME}: has no branch main, which a pull request needs" in done.error
    assert run(NAME, flat_repository).code == 0
    done = run(NAME, flat_repository, "--create-pr", "--revision", "rgba")
    assert "has no branch rgba, which a pull request needs" in done.error
    done = run(NAME, flat_repository, "--create-pr", "--tag", "v1")
    assert "--tag v1: a pull request has no tag" in done.error
    assert len(hub.repositories[NAME].commits) == 2


# --- dry runs ---------------------------------------------------------------------------------


def test_a_dry_run_needs_no_token_and_changes_nothing(lfs, flat_repository, other):
    hub, run = lfs
    done = run(NAME, flat_repository, "--dry-run", HF_TOKEN="")
    assert done.code == 0, done.err
    assert f"{NAME}: would be created" in done.out
    for path in repository_files(flat_repository, PUBLISHED):
        assert f"would add {path.relative_to(flat_repository).as_posix()} (" in done.out
    assert hub.repositories == {}
    assert run(NAME, flat_repository).code == 0
    before, requests = dict(hub.repositories[NAME].branches), len(hub.requests)
    done = run(NAME, other, "--dry-run", "--revision", "rgba", HF_TOKEN="")
    assert f"{NAME}: branch rgba would be created" in done.out
    assert "would add slices/train-00000-of-00003.parquet (" in done.out
    assert "would change README.md (" in done.out
    assert "would delete slices/train-00000-of-00008.parquet (" in done.out
    assert "load_dataset" not in done.out
    assert writes(hub, requests) == []
    assert hub.repositories[NAME].branches == before


# --- refusals ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("README.md", "and no card written by platelet-em"),
        ("data/train.csv", "and no card written by platelet-em"),
        ("slices/train-00000-of-00001.parquet", "and no card written by platelet-em"),
    ],
)
def test_a_repository_of_other_data_is_refused(path, message, lfs, flat_repository):
    hub, run = lfs
    on_hub = hub.repositories[NAME] = Repository(NAME, private=False)
    on_hub.commit("main", "mine", {**on_hub.files, path: File(b"mine", lfs=False)})
    before = dict(on_hub.files)
    done = run(NAME, flat_repository)
    assert done.code == 1
    assert done.error.startswith(f"platelet-em: {NAME}: contains {path}, {message}")
    assert on_hub.files == before
    assert writes(hub) == []


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("platelet-em.py", "which `datasets` takes for a loading script: delete it there"),
        ("slices/train-mine.parquet", "which readers would take for data of this dataset: del"),
        (".huggingface.yaml", "which `datasets` takes for the description of this dataset: del"),
        (".gitignore", "which makes the Hub leave files out of commits: delete it there"),
    ],
)
def test_files_that_would_break_the_dataset_are_named(path, message, lfs, flat_repository, other):
    hub, run = lfs
    assert run(NAME, flat_repository).code == 0
    on_hub = hub.repositories[NAME]
    on_hub.commit("main", "mine", {**on_hub.files, path: File(b"mine", lfs=False)})
    assert f"{NAME}: contains {path}, {message}" in run(NAME, other).error
    assert built_files(hub) == contents(flat_repository)


def test_the_sample_does_not_replace_data(lfs, flat_repository, tmp_path):
    hub, run = lfs
    assert run(NAME, flat_repository).code == 0
    before = built_files(hub)
    done = run(NAME, tmp_path / "sample", "--sample", "--depth", 2, "--size", 32)
    assert done.code == 1
    assert "contains the publisher's data, which the synthetic sample would replace" in done.err
    assert built_files(hub) == before
    assert run("user/sample", tmp_path / "sample").code == 0
    assert run("user/sample", flat_repository).code == 0, "data may replace the sample"


def test_files_of_a_newer_schema_are_not_replaced(lfs, flat_repository, other):
    hub, run = lfs
    assert run(NAME, flat_repository).code == 0
    files = dict(hub.repositories[NAME].files)
    card = files["README.md"].content.replace(b"(schema 2)", b"(schema 3)")
    hub.repositories[NAME].commit("main", "newer", {**files, "README.md": File(card, False)})
    before = built_files(hub)
    done = run(NAME, other)
    assert done.code == 1
    assert (
        "contains files of schema 3, and this version of platelet-em writes schema 2" in done.err
    )
    assert built_files(hub) == before


@pytest.mark.parametrize("branch", ["", "..", "a/../b", "/a", "refs/heads/main"])
def test_an_invalid_branch_is_refused(branch, flat_repository):
    with pytest.raises(platelet_em.ArgumentError, match="expected the name of a branch"):
        push(NAME, flat_repository, revision=branch, dry_run=True)


def test_a_repository_with_only_a_license_is_accepted(lfs, flat_repository):
    hub, run = lfs
    on_hub = hub.repositories[NAME] = Repository(NAME, private=True)
    on_hub.commit("main", "mine", {**on_hub.files, "LICENSE": File(b"mine", lfs=False)})
    assert run(NAME, flat_repository).code == 0
    assert built_files(hub) == contents(flat_repository)
    assert on_hub.files["LICENSE"].content == b"mine"
    assert on_hub.private


def test_with_private_a_public_repository_is_refused(lfs, flat_repository, other):
    hub, run = lfs
    assert run(NAME, flat_repository).code == 0
    done = run(NAME, other, "--private")
    assert done.code == 1
    assert f"{NAME}: is public, but --private was given" in done.error
    assert built_files(hub) == contents(flat_repository)


@pytest.mark.parametrize(
    ("name", "environment", "message"),
    [
        (
            NAME,
            {"HF_TOKEN": ""},
            "there is no token: log in with `hf auth login`, or set HF_TOKEN",
        ),
        (NAME, {"HF_TOKEN": "hf_wrong"}, "the Hub answered 401, "),
        (
            NAME,
            {"HF_TOKEN": "hf_other"},
            "the Hub answered 403, This is not your namespace: log in",
        ),
        ("user/a/b", {}, "Repo id must be in the form 'repo_name' or 'namespace/repo_name'"),
        ("user/-", {}, "give it as USER/NAME"),
    ],
)
def test_an_error_of_the_client_is_one_sentence(name, environment, message, lfs, flat_repository):
    hub, run = lfs
    done = run(name, flat_repository, **environment)
    assert done.code == 1
    assert done.error.startswith(f"platelet-em: {name}: ")
    assert message in done.error
    assert "Traceback" not in done.err
    assert hub.repositories == {}


def test_a_repository_of_another_user_is_refused(lfs, flat_repository, other):
    hub, run = lfs
    assert run(NAME, flat_repository).code == 0
    done = run(NAME, other, HF_TOKEN="hf_other")
    assert (
        "the Hub answered 403, You may not write here: log in with `hf auth login`" in done.error
    )
    assert built_files(hub) == contents(flat_repository)


def test_a_failed_connection_is_named(flat_repository, tmp_path):
    with Hub(USERS) as hub:
        pass
    run = ForkServer(tmp_path, hub.environment(tmp_path), "push")
    done = run(NAME, flat_repository, "--dry-run")
    run.close()
    assert done.code == 1
    assert "Connection refused: check the connection, and run the same command" in done.error


def test_the_offline_mode_of_the_client_is_named(flat_repository):
    with pytest.raises(platelet_em.HubError, match="HF_HUB_OFFLINE is set: unset it"):
        push(NAME, flat_repository, dry_run=True)  # tests are offline


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["push", "--help"])
    out = capsys.readouterr().out
    assert "examples:\n  platelet-em push user/platelet-em repo --dry-run" in out
    for option in ("--private", "--revision", "--dry-run", "--data-dir", "--label-source"):
        assert option in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sample", "--data-dir", "x"], "leave out --data-dir"),
        (["--depth", "3"], "--depth: only for the synthetic sample: add --sample"),
    ],
)
def test_contradicting_options_are_refused(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["push", NAME, *arguments])
    assert message in capsys.readouterr().err


def test_debug_shows_the_exception_of_the_client(lfs, flat_repository):
    _, run = lfs
    done = run(NAME, flat_repository, "--debug", HF_TOKEN="hf_other")
    assert done.code == 1
    assert "HfHubHTTPError" in done.err
    assert done.error.startswith("platelet_em.HubError: ")


def test_an_unknown_label_source_is_refused(flat_repository):
    with pytest.raises(platelet_em.ArgumentError, match="label_source: expected one of"):
        push(NAME, flat_repository, label_source="xml")


# --- faults of the Hub ------------------------------------------------------------------------


def test_temporary_faults_are_retried(both, flat_repository):
    hub, run = both
    hub.faults += [
        Fault("POST", ".*/preupload/main", status=429, headers={"Retry-After": "0"}, skip=3),
        Fault("PUT", "/lfs/.*", status=503, skip=2),
        Fault("PUT", "/lfs/.*", after=1000, skip=6),
        Fault("GET", ".*/xet-write-token/main", status=503, skip=2),
    ]
    done = run(NAME, flat_repository)
    assert done.code == 0, done.err
    statuses = {status for _, _, status in hub.requests}
    assert statuses >= ({429, 503} if hub.xet else {429, 503, 0})
    assert built_files(hub) == contents(flat_repository)
    assert len(hub.repositories[NAME].commits) == 2


def test_an_interrupted_upload_is_continued(lfs, flat_repository):
    hub, run = lfs
    hub.faults += [
        Fault("PUT", "/lfs/.*", after=1000, skip=5),
        Fault("PUT", "/lfs/.*", status=400, skip=6),
    ]
    done = run(NAME, flat_repository)
    assert done.code == 1
    assert "the Hub answered 400, fault: correct what it names, then run" in done.error
    assert len(hub.objects) == 5
    assert len(hub.repositories[NAME].commits) == 1, "nothing of it is visible"
    uploaded, hub.received = set(hub.objects), type(hub.received)()
    assert run(NAME, flat_repository).code == 0
    assert built_files(hub) == contents(flat_repository)
    again = {path.removeprefix("/lfs/") for path in hub.received if path.startswith("/lfs/")}
    assert again == set(hub.objects) - uploaded
    sizes = sum(len(hub.objects[sha256]) for sha256 in again)
    assert sum(n for path, n in hub.received.items() if path.startswith("/lfs/")) == sizes


def test_an_interrupted_upload_to_xet_is_continued(hubs, flat_repository):
    hub, run = hubs["xet"]
    reset(hub)
    hub.faults.append(Fault("GET", ".*/xet-write-token/main", status=400, skip=5))
    assert run(NAME, flat_repository).code == 1
    uploaded = hub.xet.files()
    assert len(uploaded) == 5
    assert len(hub.repositories[NAME].commits) == 1
    assert run(NAME, flat_repository).code == 0
    assert built_files(hub) == contents(flat_repository)
    for sha256 in uploaded:
        sent = [size for files, size in hub.xet.uploads() if sha256 in files]
        assert len(sent) == 2, "the client uploaded it twice"
        assert min(sent) == 0, "and the second time sent nothing"


def test_a_refused_commit_changes_nothing(both, flat_repository, other):
    hub, run = both
    assert run(NAME, flat_repository).code == 0
    for status, remedy in ((500, "run the same"), (412, "the branch has changed")):
        hub.faults.append(Fault("POST", COMMIT, status=status))
        done = run(NAME, other)
        assert done.code == 1
        assert f"{NAME}: the Hub answered {status}, fault: {remedy}" in done.error
        assert built_files(hub) == contents(flat_repository)
    hub.received.clear()
    assert run(NAME, other).code == 0
    assert built_files(hub) == contents(other)
    assert not [path for path in hub.received if path.startswith("/lfs/")], "uploaded twice"


def test_a_commit_during_the_push_is_not_overwritten(lfs, flat_repository, other):
    hub, run = lfs
    assert run(NAME, flat_repository).code == 0
    on_hub = hub.repositories[NAME]

    def commit(method, path):
        if path.endswith("/preupload/main") and "mine" not in on_hub.files:
            on_hub.commit("main", "mine", {**on_hub.files, "mine": File(b"mine", lfs=False)})

    hub.on_request = commit
    assert "the branch has changed in the meantime" in run(NAME, other).error
    assert built_files(hub) == contents(flat_repository)
    assert run(NAME, other).code == 0
    assert built_files(hub) == contents(other)
    assert on_hub.files["mine"].content == b"mine"


# --- kills ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kills", [4, pytest.param(40, marks=pytest.mark.long)])
def test_a_killed_push_leaves_no_mixture_and_can_be_repeated(kills, both, flat_repository, other):
    hub, run = both
    old, new = contents(other), contents(flat_repository)

    def start(over_another_build):
        reset(hub)
        assert not over_another_build or run(NAME, other).code == 0
        hub.requests.clear()

    start(over_another_build=False)
    assert run(NAME, flat_repository).code == 0
    requests = len(hub.requests) - 2  # of a push that has nothing to create
    rng = random.Random(kills)
    for moment in range(kills):
        start(over_another_build=moment % 2)
        process, timer = Future(), None

        def kill(process=process):
            process.result().kill()

        if moment < kills // 2:  # during a request, which the Hub will answer
            calls = [str] * rng.randrange(requests) + [kill]
        else:  # shortly after a request, while the client is working
            timer = threading.Timer(rng.random() / 200, kill)
            calls = [str] * rng.randrange(requests - 8) + [timer.start]
        hub.on_request = lambda method, path, calls=calls: (calls.pop(0) if calls else str)()
        process.set_result(run.start(NAME, flat_repository))
        code = process.result().wait().code
        assert code == -9 or (timer and code == 0), "a late timer finds no process"
        if timer:
            timer.join()
        assert hub.idle.wait(60)
        commits = [c for found in hub.repositories.values() for c in found.commits]
        assert all(built_files(hub, at=c) in ({}, old, new) for c in commits), "a mixture"
        done = run(NAME, flat_repository)
        assert done.code == 0, done.err
        assert built_files(hub) == new
        commits = [built_files(hub, at=commit) for commit in hub.repositories[NAME].commits]
        assert commits == ([{}, old, new] if moment % 2 else [{}, new])
