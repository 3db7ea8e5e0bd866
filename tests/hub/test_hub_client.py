"""Upload and download by the real clients on a test Hub, with and without this project."""

import io
import re
import urllib.error
import urllib.request

import pyarrow.parquet as pq
import pytest
from support.folders import contents
from support.hub import File, Hub, Repository
from support.programs import PROGRAMS
from support.programs.check_rows import PLAIN_FEATURES

NAME = "user/platelet-em"

# --- datasets that users push -----------------------------------------------------------------


def test_pushed_datasets_load_without_this_project(hub, with_us, without_us, archives, truth):
    assert with_us(PROGRAMS / "push_datasets.py", archives) == ["ok"]
    # Pushing again replaces the split.
    assert sorted(hub.repositories.pop("user/twice").files) == [
        ".gitattributes",
        "README.md",
        "data/train-00000-of-00002.parquet",
        "data/train-00001-of-00002.parquet",
        "data/validation-00000-of-00001.parquet",
    ]
    private = {name: repository.private for name, repository in hub.repositories.items()}
    public = ["user/slices", "user/mapped", "user/stream"]
    assert private == {**dict.fromkeys(public, False), "user/private": True}
    for repository in hub.repositories.values():
        for file in repository.files.values():
            if file.lfs:
                metadata = pq.read_schema(io.BytesIO(file.content)).metadata or {}
                features = re.findall(
                    r'"_type": "(\w+)"', metadata.get(b"huggingface", b"").decode()
                )
                assert set(features) <= set(PLAIN_FEATURES)
    assert without_us(PROGRAMS / "load_pushed.py", truth) == ["ok"]


# --- a built repository -----------------------------------------------------------------------


def test_a_built_repository_loads_from_the_hub(hub, without_us, repository, truth):
    assert without_us(PROGRAMS / "upload_folder.py", repository) == ["ok"]
    files = dict(hub.repositories[NAME].files)
    assert files.pop(".gitattributes")
    assert {path: file.content for path, file in files.items()} == contents(repository)
    regular = {path for path, file in files.items() if not file.lfs}
    assert regular == {"README.md", "croissant.json"}
    assert len(hub.repositories[NAME].commits) == 2, "uploading the same again is no commit"
    program, formats = PROGRAMS / "load_built.py", ("numpy", "torch")
    assert without_us(program, truth, NAME, *formats, torch=True) == ["ok"]
    for path, file in files.items():
        served = hub.served[f"user/platelet-em/{path}"]
        is_metadata = path.startswith("pictures/") or path == "croissant.json"
        assert served == 0 if is_metadata else served >= len(file.content)


# --- the test Hub itself ----------------------------------------------------------------------


@pytest.fixture
def data(hub):
    """A small private repository."""
    files = {"a/b.txt": File(b"text", lfs=False), "a/c.parquet": File(b"0123456789", lfs=True)}
    data = hub.repositories["user/data"] = Repository("user/data", private=True)
    data.commit("main", "files", {**data.files, **files, "d.txt": files["a/b.txt"]})
    return data


@pytest.mark.usefixtures("data")
def test_private_repositories_and_errors(hub, without_us):
    hub.page_size = 2
    assert without_us(PROGRAMS / "check_refusals.py") == ["ok"]


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
    ("range_", "status", "body", "content_range"),
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
def test_ranges_are_served_and_counted(hub, range_, status, body, content_range):
    path = "/datasets/user/data/resolve/main/a%2Fc.parquet"
    found, content, headers = fetch(hub, path, Range=range_)
    assert (found, content) == (status, body)
    assert headers["Content-Range"] == (content_range and f"bytes {content_range}")
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


def test_calls_without_a_route_are_failures(hub):
    assert fetch(hub, "/api/models/user/model")[0] == 501
    assert "GET /api/models/user/model" in hub.failures.pop()
    with pytest.raises(AssertionError, match="GET /api/spaces"), Hub() as other:
        fetch(other, "/api/spaces", Authorization="")
