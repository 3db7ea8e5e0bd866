"""`platelet-em push`: the real client over LFS and Xet, a Hub that fails, and pushes that die."""

import json
import os
import random
import re
import shutil
import threading

import pyarrow.parquet as pq
import pytest
from support import plain, publisher
from support.clients import LOAD_BUILT
from support.folders import contents
from support.forked import Forked
from support.hub import File, Hub, Repository
from support.hub_http import Trouble
from support.plain import CHECK

import platelet_em
from _platelet_em.commands.cli import main
from _platelet_em.hub.build import build, is_repository_file, read_build, repository_files
from _platelet_em.hub.push import push

KILLS = int(os.environ.get("PLATELET_EM_KILLS", "10"))
"""Of a push, by each way of uploading."""

USERS = {"hf_user": "user", "hf_other": "other"}
NAME = "user/platelet-em"
COMMIT = f"/api/datasets/{NAME}/commit/main"


@pytest.fixture(scope="module")
def hubs(tmp_path_factory):
    """Hubs for LFS and for Xet, each with a process that pushes to it."""
    homes = {kind: tmp_path_factory.mktemp(kind) for kind in ("lfs", "xet")}
    with Hub(USERS) as lfs, Hub(USERS, xet=homes["xet"] / "storage") as xet:
        hubs = {"lfs": lfs, "xet": xet}
        runs = {k: Forked(homes[k], hub.environment(homes[k]), "push") for k, hub in hubs.items()}
        yield {kind: (hub, runs[kind]) for kind, hub in hubs.items()}
        for run in runs.values():
            run.close()


def fresh(hub):
    """The Hub as if nothing had happened there."""
    hub.repositories.clear()
    hub.objects.clear()
    hub.received.clear()
    hub.requests.clear()
    hub.troubles.clear()
    hub.heard = lambda method, path: None
    if hub.xet:
        hub.xet.clear()


@pytest.fixture(params=["lfs", "xet"])
def both(request, hubs):
    """A Hub and what pushes to it, once with LFS and once with Xet."""
    fresh(hubs[request.param][0])
    return hubs[request.param]


@pytest.fixture
def lfs(hubs):
    fresh(hubs["lfs"][0])
    return hubs["lfs"]


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A repository of other voxels, label source and depth, so with other shards."""
    folder = tmp_path_factory.mktemp("other")
    archive = folder / "images_and_labels_rgba.zip"
    publisher.publication(seed=7, depth=3).zip(archive, "tif")
    return build(folder / "repo", data_dir=archive, label_source="tif")


def held(hub, at="main"):
    """Path -> content of what a branch or commit holds of builds."""
    repository = hub.repositories[NAME]
    files = repository.commits[repository.sha(at)]
    return {path: file.content for path, file in files.items() if is_repository_file(path)}


def sent(hub, start=0):
    """Methods and paths of the requests that are no reading."""
    return [request[:2] for request in hub.requests[start:] if request[0] not in ("GET", "HEAD")]


# --- what is there afterwards -----------------------------------------------------------------


def test_a_cold_user_without_us_loads_what_was_pushed(
    both, repository, plain_packages, truth, tmp_path
):
    hub, run = both
    done = run(NAME, repository)
    assert done.code == 0, done.err
    assert held(hub) == contents(repository)
    assert len(hub.repositories[NAME].commits) == 2, "the first one is the Hub's"
    xet = {path for path, file in hub.repositories[NAME].files.items() if file.xet}
    large = {path for path in held(hub) if path.endswith((".parquet", ".png"))}
    assert xet == (large if hub.xet else set())
    *_, address, first, second = done.out.splitlines()
    assert address == f"{hub.url}/datasets/{NAME}"
    assert (first, second) == (
        "import datasets",
        f"ds = datasets.load_dataset('{NAME}', 'slices')",
    )
    environment = hub.environment(tmp_path / "home", token="")
    code = f"{CHECK}{LOAD_BUILT}{first}\n{second}\nprint(len(ds['train']))"
    out = plain.run(plain_packages, code, truth, **environment)
    assert out.split() == ["ok", "9"]


LOAD_PRIVATE = """
try:
    print(len(datasets.load_dataset("user/platelet-em", "preview", split="train")))
except datasets.exceptions.DatasetNotFoundError:
    print("hidden")
"""


def test_a_private_repository_is_hidden(lfs, repository, plain_packages, tmp_path):
    hub, run = lfs
    assert run("platelet-em", repository, "--private").code == 0
    assert hub.repositories[NAME].private
    for token, seen in (("", "hidden"), ("hf_user", "9")):
        environment = hub.environment(tmp_path / f"home-{token}", token)
        assert plain.run(plain_packages, CHECK + LOAD_PRIVATE, **environment).split() == [seen]


def test_pushing_again_sends_nothing(both, repository):
    hub, run = both
    assert run(NAME, repository).code == 0
    commits, requests = len(hub.repositories[NAME].commits), len(hub.requests)
    hub.received.clear()
    done = run(NAME, repository)
    assert done.code == 0
    assert "nothing has changed: nothing to send, no commit" in done.out
    assert "load_dataset" in done.out
    assert sent(hub, requests) == []
    assert not [path for _, path, _ in hub.requests[requests:] if "xet-write-token" in path]
    assert hub.received.total() == 0
    assert len(hub.repositories[NAME].commits) == commits


def test_another_build_replaces_files_in_one_commit(both, repository, other):
    hub, run = both
    assert run(NAME, repository).code == 0
    there = hub.repositories[NAME]
    names = ("LICENSE", "notes/a.parquet", "slices/test-00000-of-00001.parquet")
    theirs = {name: File(b"mine", lfs=True) for name in names}
    there.commit("main", "files of the owner", {**there.files, **theirs})
    commits = len(there.commits)
    done = run(NAME, other)
    assert done.code == 0, done.err
    assert held(hub) == contents(other)
    assert len(held(hub)) < len(contents(repository)), "fewer shards: some had to be deleted"
    assert {path: there.files[path] for path in theirs} == theirs
    assert len(there.commits) == commits + 1
    assert re.search(r"\d+ files .* sent, \d+ .* deleted, in one commit", done.out)


def test_a_branch_is_made_and_main_stays(lfs, repository, other):
    hub, run = lfs
    assert run(NAME, repository).code == 0
    done = run(NAME, other, "--revision", "rgba")
    assert done.code == 0, done.err
    assert f"{NAME}: branch rgba created" in done.out
    assert f"load_dataset('{NAME}', 'slices', revision='rgba')" in done.out
    assert held(hub) == contents(repository)
    assert held(hub, at="rgba") == contents(other)
    commits = len(hub.repositories[NAME].commits)
    assert run(NAME, repository, "--revision", "same").code == 0
    assert hub.repositories[NAME].branches["same"] == hub.repositories[NAME].branches["main"]
    assert len(hub.repositories[NAME].commits) == commits, "a branch of the same needs none"
    hub.repositories[NAME].tags["v1"] = hub.repositories[NAME].branches["main"]
    assert "v1 is a tag, expected a branch" in run(NAME, other, "--revision", "v1").error


def test_only_files_of_a_build_are_sent(lfs, repository, tmp_path):
    hub, run = lfs
    folder = shutil.copytree(repository, tmp_path / "repo")
    strays = """platelet-em.py slices/train-mine.parquet slices/test-00000-of-00001.parquet
        notes.txt .secret pictures/a.png"""
    for name in strays.split():
        (folder / name).write_text("mine")
    assert run(NAME, folder).code == 0
    assert set(hub.repositories[NAME].files) == {".gitattributes", *contents(repository)}


# --- building ---------------------------------------------------------------------------------


def test_builds_in_the_cache_and_only_once(lfs, repository, archives, tmp_path):
    hub, run = lfs
    arguments = (NAME, "--data-dir", archives, "--cache-dir", tmp_path)
    done = run(*arguments)
    assert done.code == 0, done.err
    assert held(hub) == contents(repository)
    [folder] = (tmp_path / "downloads" / "platelet_em").glob("built-*")
    assert folder.name == f"built-{read_build(folder)['fingerprint']}"
    times = [path.stat().st_mtime_ns for path in repository_files(folder)]
    assert "nothing has changed" in run(*arguments).out
    assert [path.stat().st_mtime_ns for path in repository_files(folder)] == times


def test_the_sample_is_pushed_as_it_is_built(lfs, tmp_path):
    hub, run = lfs
    size = ("--sample", "--depth", 2, "--size", 40)
    done = run(NAME, tmp_path / "pushed", *size)
    assert done.code == 0, done.err
    assert main(["build", str(tmp_path / "built"), *map(str, size)]) == 0
    assert held(hub) == contents(tmp_path / "built") == contents(tmp_path / "pushed")


def test_a_build_from_another_archive_is_not_what_was_asked_for(lfs, repository, other, tmp_path):
    hub, run = lfs
    folder = shutil.copytree(repository, tmp_path / "repo")
    archive = other.parent / "images_and_labels_rgba.zip"
    done = run(NAME, folder, "--data-dir", archive, "--label-source", "tif")
    assert done.code == 0, done.err
    assert held(hub) == contents(folder) == contents(other)


def half_built(repository, folder, how):
    """A repository to which something has happened."""
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
    else:
        raise ValueError(how)
    return folder


HALVES = (
    "a build was interrupted",
    "a shard is missing",
    "a shard is damaged",
    "a shard too many",
    "no card",
    "no picture",
)


@pytest.mark.parametrize("how", HALVES)
def test_a_half_built_folder_is_completed_first(how, lfs, repository, archives, tmp_path):
    hub, run = lfs
    folder = half_built(repository, tmp_path / "repo", how)
    assert read_build(folder) is None
    done = run(NAME, folder, "--data-dir", tmp_path / "nowhere")
    assert done.code == 1
    assert "nowhere: expected" in done.error
    assert NAME not in hub.repositories
    assert run(NAME, folder, "--data-dir", archives).code == 0
    assert held(hub) == contents(repository)


def test_a_folder_of_a_newer_schema_is_refused(lfs, repository, tmp_path):
    hub, run = lfs
    folder = shutil.copytree(repository, tmp_path / "repo")
    path = folder / "slices" / "train-00003-of-00008.parquet"
    table = pq.read_table(path)
    record = json.loads(table.schema.metadata[b"platelet_em"])
    newer = {**table.schema.metadata, b"platelet_em": json.dumps({**record, "schema_version": 2})}
    pq.write_table(table.replace_schema_metadata(newer), path)
    done = run(NAME, folder)
    assert done.code == 1
    assert "train-00003-of-00008.parquet: is of schema 2, and this version" in done.error
    assert NAME not in hub.repositories


def test_files_of_two_builds_are_no_build(repository, archives, tmp_path):
    folder = shutil.copytree(repository, tmp_path / "repo")
    tif = build(tmp_path / "tif", data_dir=archives, label_source="tif")
    assert read_build(tif)["label_source"] == "tif"
    name = "slices/train-00003-of-00008.parquet"
    shutil.copy(tif / name, folder / name)
    assert read_build(folder) is None


def test_a_complete_folder_needs_no_archives_but_has_one_label_source(lfs, repository):
    hub, run = lfs
    done = run(NAME, repository, "--label-source", "tif")
    assert done.code == 1
    assert "holds json labels, expected tif: build it anew" in done.error
    assert NAME not in hub.repositories
    assert run(NAME, repository, "--label-source", "json").code == 0


def test_a_folder_of_somebody_else_is_refused(lfs, archives, tmp_path):
    hub, run = lfs
    (tmp_path / "README.md").write_text("mine")
    done = run(NAME, tmp_path, "--data-dir", archives)
    assert done.code == 1
    assert "README.md: was not written by platelet-em build" in done.error
    assert NAME not in hub.repositories


def test_what_is_pushed_is_what_a_build_writes(repository):
    names = {path.relative_to(repository).as_posix() for path in repository_files(repository)}
    assert names == set(contents(repository))
    assert all(map(is_repository_file, names))
    for name in ("platelet-em.py", "a/README.md", "slices/a/train-00000-of-00001.parquet"):
        assert not is_repository_file(name)


# --- dry runs ---------------------------------------------------------------------------------


def test_a_dry_run_needs_no_token_and_changes_nothing(lfs, repository, other):
    hub, run = lfs
    done = run(NAME, repository, "--dry-run", HF_TOKEN="")
    assert done.code == 0, done.err
    assert f"{NAME}: would be created" in done.out
    for path in repository_files(repository):
        assert f"would add {path.relative_to(repository).as_posix()} (" in done.out
    assert hub.repositories == {}
    assert run(NAME, repository).code == 0
    before, requests = dict(hub.repositories[NAME].branches), len(hub.requests)
    done = run(NAME, other, "--dry-run", "--revision", "rgba", HF_TOKEN="")
    assert f"{NAME}: branch rgba would be created" in done.out
    assert "would add slices/train-00000-of-00003.parquet (" in done.out
    size = (other / "README.md").stat().st_size
    assert f"would change README.md ({size / 1e3:.1f} kB)" in done.out
    assert "would delete slices/train-00000-of-00008.parquet (" in done.out
    assert "load_dataset" not in done.out
    assert sent(hub, requests) == []
    assert hub.repositories[NAME].branches == before


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("README.md", "and no card that platelet-em has written"),
        ("data/train.csv", "and no card that platelet-em has written"),
        ("slices/train-00000-of-00001.parquet", "and no card that platelet-em has written"),
    ],
)
def test_a_foreign_repository_is_refused(path, message, lfs, repository):
    hub, run = lfs
    there = hub.repositories[NAME] = Repository(NAME, private=False)
    there.commit("main", "mine", {**there.files, path: File(b"mine", lfs=False)})
    before = dict(there.files)
    done = run(NAME, repository)
    assert done.code == 1
    assert done.error.startswith(f"platelet-em: {NAME}: holds {path}, {message}")
    assert there.files == before
    assert sent(hub) == []


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("platelet-em.py", "which `datasets` takes for a loading script: delete it there"),
        ("slices/train-mine.parquet", "which readers would take for data: delete it there"),
        (".huggingface.yaml", "which `datasets` takes for the description of this one: delete"),
        (".gitignore", "by which the Hub leaves files out of a commit: delete it there"),
    ],
)
def test_files_that_spoil_ours_are_named(path, message, lfs, repository, other):
    hub, run = lfs
    assert run(NAME, repository).code == 0
    there = hub.repositories[NAME]
    there.commit("main", "mine", {**there.files, path: File(b"mine", lfs=False)})
    assert f"{NAME}: holds {path}, {message}" in run(NAME, other).error
    assert held(hub) == contents(repository)


def test_the_sample_does_not_take_the_place_of_data(lfs, repository, tmp_path):
    hub, run = lfs
    assert run(NAME, repository).code == 0
    before = held(hub)
    done = run(NAME, tmp_path / "sample", "--sample", "--depth", 2, "--size", 32)
    assert done.code == 1
    assert "holds the publisher's data, and this is the synthetic sample" in done.err
    assert held(hub) == before
    assert run("user/sample", tmp_path / "sample").code == 0
    assert run("user/sample", repository).code == 0, "data may take the place of the sample"


def test_a_dry_run_replaces_no_build(lfs, repository, tmp_path):
    _, run = lfs
    folder = shutil.copytree(repository, tmp_path / "repo")
    done = run(NAME, folder, "--sample", "--depth", 2, "--size", 32, "--dry-run")
    assert done.code == 1
    assert "holds a build of other files, which a dry run does not replace" in done.err
    assert contents(folder) == contents(repository)


def test_a_newer_schema_there_is_not_overwritten(lfs, repository, other):
    hub, run = lfs
    assert run(NAME, repository).code == 0
    files = dict(hub.repositories[NAME].files)
    card = files["README.md"].content.replace(b"(schema 1)", b"(schema 2)")
    hub.repositories[NAME].commit("main", "newer", {**files, "README.md": File(card, False)})
    before = held(hub)
    done = run(NAME, other)
    assert done.code == 1
    assert "holds files of schema 2, and this version of platelet-em writes schema 1" in done.err
    assert held(hub) == before


@pytest.mark.parametrize("branch", ["", "..", "a/../b", "/a", "refs/heads/main"])
def test_what_is_no_branch_is_refused(branch, repository):
    with pytest.raises(platelet_em.ArgumentError, match="expected the name of a branch"):
        push(NAME, repository, revision=branch, dry_run=True)


def test_an_empty_repository_with_a_licence_becomes_ours(lfs, repository):
    hub, run = lfs
    there = hub.repositories[NAME] = Repository(NAME, private=True)
    there.commit("main", "mine", {**there.files, "LICENSE": File(b"mine", lfs=False)})
    assert run(NAME, repository).code == 0
    assert held(hub) == contents(repository)
    assert there.files["LICENSE"].content == b"mine"
    assert there.private


def test_a_public_repository_does_not_get_what_was_to_be_private(lfs, repository, other):
    hub, run = lfs
    assert run(NAME, repository).code == 0
    done = run(NAME, other, "--private")
    assert done.code == 1
    assert f"{NAME}: is public, and was to be private" in done.error
    assert held(hub) == contents(repository)


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
def test_what_the_client_raises_is_one_sentence(name, environment, message, lfs, repository):
    hub, run = lfs
    done = run(name, repository, **environment)
    assert done.code == 1
    assert done.error.startswith(f"platelet-em: {name}: ")
    assert message in done.error
    assert "Traceback" not in done.err
    assert hub.repositories == {}


def test_writing_to_somebody_elses_repository_is_refused(lfs, repository, other):
    hub, run = lfs
    assert run(NAME, repository).code == 0
    done = run(NAME, other, HF_TOKEN="hf_other")
    assert (
        "the Hub answered 403, You may not write here: log in with `hf auth login`" in done.error
    )
    assert held(hub) == contents(repository)


def test_no_network_is_said_as_such(repository, tmp_path):
    with Hub(USERS) as hub:
        pass
    run = Forked(tmp_path, hub.environment(tmp_path), "push")
    done = run(NAME, repository, "--dry-run")
    run.close()
    assert done.code == 1
    assert "Connection refused: look at the connection, and run the same command" in done.error


def test_the_offline_mode_of_the_client_is_named(repository):
    with pytest.raises(platelet_em.HubError, match="HF_HUB_OFFLINE is set: unset it"):
        push(NAME, repository, dry_run=True)  # tests are offline


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
        (["--depth", "3"], "depth say what the sample is like: add --sample"),
    ],
)
def test_options_that_do_not_go_together(arguments, message, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["push", NAME, *arguments])
    assert message in capsys.readouterr().err


def test_debug_shows_what_the_client_raised(lfs, repository):
    _, run = lfs
    done = run(NAME, repository, "--debug", HF_TOKEN="hf_other")
    assert done.code == 1
    assert "HfHubHTTPError" in done.err
    assert "_platelet_em.errors.HubError" in done.error


def test_an_unknown_label_source_is_refused(repository):
    with pytest.raises(platelet_em.ArgumentError, match="label_source: expected one of"):
        push(NAME, repository, label_source="xml")


# --- a Hub that fails -------------------------------------------------------------------------


def test_a_server_that_fails_for_a_moment_is_asked_again(both, repository):
    hub, run = both
    hub.troubles += [
        Trouble("POST", ".*/preupload/main", status=429, headers={"Retry-After": "0"}, skip=3),
        Trouble("PUT", "/lfs/.*", status=503, skip=2),
        Trouble("PUT", "/lfs/.*", after=1000, skip=6),
        Trouble("GET", ".*/xet-write-token/main", status=503, skip=2),
    ]
    done = run(NAME, repository)
    assert done.code == 0, done.err
    statuses = {status for _, _, status in hub.requests}
    assert statuses >= ({429, 503} if hub.xet else {429, 503, 0})
    assert held(hub) == contents(repository)
    assert len(hub.repositories[NAME].commits) == 2


def test_an_upload_that_was_cut_off_goes_on_where_it_was(lfs, repository):
    hub, run = lfs
    hub.troubles += [
        Trouble("PUT", "/lfs/.*", after=1000, skip=5),
        Trouble("PUT", "/lfs/.*", status=400, skip=6),
    ]
    done = run(NAME, repository)
    assert done.code == 1
    assert "the Hub answered 400, trouble: put right what it says, then run" in done.error
    assert len(hub.objects) == 5
    assert len(hub.repositories[NAME].commits) == 1, "nothing of it is to be seen"
    there, hub.received = set(hub.objects), type(hub.received)()
    assert run(NAME, repository).code == 0
    assert held(hub) == contents(repository)
    again = {path.removeprefix("/lfs/") for path in hub.received if path.startswith("/lfs/")}
    assert again == set(hub.objects) - there
    sizes = sum(len(hub.objects[sha256]) for sha256 in again)
    assert sum(n for path, n in hub.received.items() if path.startswith("/lfs/")) == sizes


def test_an_upload_to_xet_goes_on_where_it_was(hubs, repository):
    hub, run = hubs["xet"]
    fresh(hub)
    hub.troubles.append(Trouble("GET", ".*/xet-write-token/main", status=400, skip=5))
    assert run(NAME, repository).code == 1
    there = hub.xet.files()
    assert len(there) == 5
    assert len(hub.repositories[NAME].commits) == 1
    assert run(NAME, repository).code == 0
    assert held(hub) == contents(repository)
    for sha256 in there:
        sent = [size for files, size in hub.xet.uploads() if sha256 in files]
        assert len(sent) == 2, "the client was asked to upload it twice"
        assert min(sent) == 0, "and the second time sent nothing"


@pytest.mark.parametrize(
    ("status", "remedy"), [(500, "run the same"), (412, "somebody has changed")]
)
def test_a_refused_commit_changes_nothing(status, remedy, both, repository, other):
    hub, run = both
    assert run(NAME, repository).code == 0
    hub.troubles.append(Trouble("POST", COMMIT, status=status))
    done = run(NAME, other)
    assert done.code == 1
    assert f"{NAME}: the Hub answered {status}, trouble: {remedy}" in done.error
    assert held(hub) == contents(repository)
    hub.received.clear()
    assert run(NAME, other).code == 0
    assert held(hub) == contents(other)
    assert not [path for path in hub.received if path.startswith("/lfs/")], "all was there"


def test_a_commit_of_somebody_else_in_between_is_not_overwritten(lfs, repository, other):
    hub, run = lfs
    assert run(NAME, repository).code == 0
    there = hub.repositories[NAME]

    def commit(method, path):
        if path.endswith("/preupload/main") and "mine" not in there.files:
            there.commit("main", "mine", {**there.files, "mine": File(b"mine", lfs=False)})

    hub.heard = commit
    assert "somebody has changed it meanwhile" in run(NAME, other).error
    assert held(hub) == contents(repository)
    assert run(NAME, other).code == 0
    assert held(hub) == contents(other)
    assert there.files["mine"].content == b"mine"


def test_killed_at_random_moments_and_run_again(both, repository, other):
    hub, run = both
    old, new = contents(other), contents(repository)

    def start(over_another_build):
        fresh(hub)
        assert not over_another_build or run(NAME, other).code == 0
        hub.requests.clear()

    start(over_another_build=False)
    assert run(NAME, repository).code == 0
    requests = len(hub.requests) - 2  # of a push that has nothing to create
    dice = random.Random(0)
    for moment in range(KILLS):
        start(over_another_build=moment % 2)
        bomb = None
        if moment < KILLS // 2:  # while the Hub has a request, which it will answer
            calls = [str] * dice.randrange(requests) + [run.kill]
        else:  # a moment after one, while the client is at work
            bomb = threading.Timer(dice.random() / 200, run.kill)
            calls = [str] * dice.randrange(requests - 8) + [bomb.start]
        hub.heard = lambda method, path, calls=calls: (calls.pop(0) if calls else str)()
        run.start(NAME, repository)
        code = run.wait().code
        assert code == -9 or (bomb and code == 0), "late bombs miss"
        if bomb:
            bomb.join()
        assert hub.idle.wait(60)
        seen = [held(hub, at=commit) for r in hub.repositories.values() for commit in r.commits]
        assert all(files in ({}, old, new) for files in seen), "a mixture was to be seen"
        done = run(NAME, repository)
        assert done.code == 0, done.err
        assert held(hub) == new
        seen = [held(hub, at=commit) for commit in hub.repositories[NAME].commits]
        assert seen == ([{}, old, new] if moment % 2 else [{}, new])
