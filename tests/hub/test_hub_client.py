"""Upload and download: the real clients with a Hub on loopback, with and without this project."""

import io
import re
import urllib.error
import urllib.request

import pyarrow.parquet as pq
import pytest
from support.clients import LOAD_BUILT
from support.folders import contents
from support.hub import File, Hub, Repository
from support.plain import PLAIN_FEATURES

# --- what people push, and others load --------------------------------------------------------


PUSH = """
import sys
import platelet_em
archives = dict(data_dir=sys.argv[1])
slices = platelet_em.load_dataset(**archives)
assert {part.format["type"] for part in slices.values()} == {"platelet_em"}
slices.push_to_hub("user/slices")
slices.map(lambda row: {"area": int(row["cells"].areas.sum())}).push_to_hub("user/mapped")
# After map or filter, datasets 5.2 pushes no stream that has images, whatever its format.
platelet_em.load_dataset(streaming=True, **archives).push_to_hub("user/stream")
platelet_em.load_dataset("volumes", **archives).push_to_hub("user/slices", "volumes")
slices["validation"].push_to_hub("user/private", split="validation", private=True)
print("ok")
"""

LOAD_PUSHED = """
truth = np.load(sys.argv[1])
for streaming in (False, True):
    load = dict(streaming=streaming)
    for name in ("slices", "mapped", "stream"):
        loaded = datasets.load_dataset("user/" + name, "default", **load)
        assert list(loaded) == ["train", "validation"]
        for split, volume in SPLITS:
            for row in check_split(loaded[split], truth, volume):
                assert ("area" in row) == (name == "mapped")
                assert row.get("area", sum(row["cells"]["area"])) == sum(row["cells"]["area"])
    loaded = datasets.load_dataset("user/slices", "volumes", **load)
    for split, volume in SPLITS:
        check_volume(loaded[split], truth, volume)
    check_split(datasets.load_dataset("user/private", split="validation", **load), truth, "24")
assert datasets.get_dataset_config_names("user/slices") == ["default", "volumes"]
print("ok")
"""


def test_pushed_datasets_are_plain_for_everybody(hub, with_us, without_us, archives, truth):
    assert with_us(PUSH, archives) == ["ok"]
    private = {name: repository.private for name, repository in hub.repositories.items()}
    public = ["user/slices", "user/mapped", "user/stream"]
    assert private == {**dict.fromkeys(public, False), "user/private": True}
    for repository in hub.repositories.values():
        for file in repository.files.values():
            if file.lfs:
                metadata = pq.read_schema(io.BytesIO(file.content)).metadata or {}
                kinds = re.findall(r'"_type": "(\w+)"', metadata.get(b"huggingface", b"").decode())
                assert set(kinds) <= set(PLAIN_FEATURES)
    assert without_us(LOAD_PUSHED, truth) == ["ok"]


PUSH_AGAIN = """
import sys
import platelet_em
train = platelet_em.load_dataset(data_dir=sys.argv[1], split="train")
train.push_to_hub("user/out", num_shards=3)
train.push_to_hub("user/out", num_shards=2)
train.select([1, 2]).push_to_hub("user/out", split="validation")
print("ok")
"""


def test_pushing_again_replaces_the_split(hub, with_us, archives):
    assert with_us(PUSH_AGAIN, archives) == ["ok"]
    assert sorted(hub.repositories["user/out"].files) == [
        ".gitattributes",
        "README.md",
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
        "data/validation-00000-of-00001.parquet",
    ]


# --- a built repository -----------------------------------------------------------------------


UPLOAD = """
api = huggingface_hub.HfApi()
for _ in range(2):
    api.create_repo("user/platelet-em", repo_type="dataset", exist_ok=True)
    api.upload_folder(repo_id="user/platelet-em", repo_type="dataset", folder_path=sys.argv[1])
print("ok")
"""


def test_built_repository_loads_from_the_hub(hub, without_us, repository, truth):
    assert without_us(UPLOAD, repository) == ["ok"]
    files = dict(hub.repositories["user/platelet-em"].files)
    assert files.pop(".gitattributes")
    assert {path: file.content for path, file in files.items()} == contents(repository)
    regular = {path for path, file in files.items() if not file.lfs}
    assert regular == {"README.md", "croissant.json"}
    assert len(hub.repositories["user/platelet-em"].commits) == 2, "the same again is no commit"
    assert without_us(LOAD_BUILT, truth) == ["ok"]
    for path, file in files.items():
        served = hub.served[f"user/platelet-em/{path}"]
        beside = path.startswith("pictures/") or path == "croissant.json"
        assert served == 0 if beside else served >= len(file.content)


# --- the Hub itself ---------------------------------------------------------------------------


REFUSALS = """
from huggingface_hub import errors
def refused(error, call, *arguments, **options):
    try:
        call(*arguments, **options)
    except error as caught:
        return caught
    raise AssertionError(f"{error} was not raised")

api = huggingface_hub.HfApi()
owner, in_data = sys.argv[1] == "owner", dict(repo_id="user/data", repo_type="dataset")
refused(errors.RepositoryNotFoundError, api.dataset_info, "user/nothing")
if owner:
    assert api.whoami()["name"] == "user"
    assert api.list_repo_files(**in_data) == [".gitattributes", "a/b.txt", "a/c.parquet", "d.txt"]
    refused(errors.RevisionNotFoundError, api.dataset_info, "user/data", revision="no")
    refused(errors.EntryNotFoundError, api.hf_hub_download, filename="no.txt", **in_data)
    refused(errors.EntryNotFoundError, api.delete_file, "no.txt", **in_data)
    again = refused(errors.HfHubHTTPError, api.create_repo, "user/data", repo_type="dataset")
    assert again.response.status_code == 409
    main = api.list_repo_refs(**in_data).branches[0].target_commit
    stale = refused(errors.HfHubHTTPError, api.upload_file, path_or_fileobj=b"new",
                    path_in_repo="e.txt", parent_commit="0" * 40, **in_data)
    assert stale.response.status_code == 412
    assert api.list_repo_refs(**in_data).branches[0].target_commit == main
    api.delete_folder("a", **in_data)
    assert api.list_repo_files(**in_data) == [".gitattributes", "d.txt"]
    old = api.hf_hub_download(filename="a/b.txt", revision=main, **in_data)
    assert open(old).read() == "text"
else:
    refused(errors.RepositoryNotFoundError, api.hf_hub_download, filename="d.txt", **in_data)
    refused(errors.RepositoryNotFoundError, api.upload_file, path_or_fileobj=b"new",
            path_in_repo="d.txt", **in_data)
    refused(errors.HfHubHTTPError, api.create_repo, "user/mine", repo_type="dataset")
    refused(datasets.exceptions.DatasetNotFoundError, datasets.load_dataset, "user/data")
print("ok")
"""


@pytest.fixture
def data(hub):
    """A small private repository."""
    files = {"a/b.txt": File(b"text", lfs=False), "a/c.parquet": File(b"0123456789", lfs=True)}
    data = hub.repositories["user/data"] = Repository("user/data", private=True)
    data.commit("main", "files", {**data.files, **files, "d.txt": files["a/b.txt"]})
    return data


@pytest.mark.parametrize(
    ("who", "token"), [("owner", "hf_user"), ("other", "hf_other"), ("nobody", "")]
)
def test_private_repositories_and_errors(hub, data, without_us, who, token):
    hub.page_size = 2
    assert without_us(REFUSALS, who, token=token) == ["ok"]


def fetch(hub, path, method="GET", **headers):
    headers = {"Authorization": "Bearer hf_user", **headers}
    request = urllib.request.Request(hub.url + path, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status, reply.read(), reply.headers
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read(), error.headers


@pytest.mark.parametrize(
    ("wanted", "status", "body", "part"),
    [
        ("bytes=0-0", 206, b"0", "0-0/10"),
        ("bytes=3-5", 206, b"345", "3-5/10"),
        ("bytes=8-99", 206, b"89", "8-9/10"),
        ("bytes=7-", 206, b"789", "7-9/10"),
        ("bytes=-4", 206, b"6789", "6-9/10"),
        ("bytes=-99", 206, b"0123456789", "0-9/10"),
        ("bytes=10-", 416, b"", "*/10"),
        ("lines=1-2", 200, b"0123456789", None),
    ],
)
@pytest.mark.usefixtures("data")
def test_ranges_are_served_and_counted(hub, wanted, status, body, part):
    path = "/datasets/user/data/resolve/main/a%2Fc.parquet"
    found, content, headers = fetch(hub, path, Range=wanted)
    assert (found, content) == (status, body)
    assert headers["Content-Range"] == (part and f"bytes {part}")
    assert headers["Content-Length"] == str(len(body))
    assert headers["X-Linked-Size"] == "10"
    assert headers["X-Repo-Commit"] == hub.repositories["user/data"].branches["main"]
    fetch(hub, path, method="HEAD")
    assert hub.served.total() == hub.served["user/data/a/c.parquet"] == len(body)


def test_a_wrong_token_is_refused(hub):
    for path in ("/api/whoami-v2", "/api/datasets/user/data"):
        status, _, headers = fetch(hub, path, Authorization="Bearer hf_wrong")
        assert status == 401
        assert headers["X-Error-Message"] == "Invalid credentials in Authorization header"


def test_calls_that_the_hub_does_not_know_are_failures(hub):
    assert fetch(hub, "/api/models/user/model")[0] == 501
    assert "GET /api/models/user/model" in hub.failures.pop()
    with pytest.raises(AssertionError, match="GET /api/spaces"), Hub() as other:
        fetch(other, "/api/spaces", Authorization="")
