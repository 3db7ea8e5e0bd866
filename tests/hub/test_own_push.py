"""Own volumes pushed to the Hub by the real client, and what may not be replaced there."""

import json

import pytest
from PIL import Image
from support.forked import ForkServer
from support.hub import Hub
from support.own import write_own

from _platelet_em.description.parse import read_description
from _platelet_em.hub.build import build

NAME = "user/mine"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    home = tmp_path_factory.mktemp("home")
    with Hub({"hf_user": "user"}) as hub:
        run = ForkServer(home, hub.environment(home), "push")
        yield hub, run
        run.close()


@pytest.fixture
def hub(server):
    """A Hub without repositories, and a function that pushes to it."""
    server[0].repositories.clear()
    server[0].objects.clear()
    return server


def names(hub):
    return {n for n in hub.repositories[NAME].files if n != ".gitattributes"}


def files_of(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.*") if path.is_file()}


@pytest.fixture
def own(tmp_path):
    return write_own(tmp_path / "set", "pictures")


@pytest.fixture
def built(own, tmp_path):
    return build(tmp_path / "repo", spec=read_description(own.description))


@pytest.mark.parametrize("with_description", [True, False])
def test_a_build_is_pushed_whole(with_description, hub, own, built):
    hub, run = hub
    described = ["--description", own.description] if with_description else []
    done = run(NAME, built, *described)
    assert done.code == 0, done.err
    assert names(hub) == files_of(built)
    card = hub.repositories[NAME].files["README.md"].content.decode()
    assert f'load_dataset("{NAME}", "slices")' in card
    assert "<user>" not in card[: card.rindex("<!--")]
    assert "WARNING" not in done.out
    done = run(NAME, built, *described)
    assert "nothing has changed" in done.out


def test_a_push_builds_what_is_not_there(hub, own, tmp_path):
    hub, run = hub
    done = run(NAME, tmp_path / "new", "--description", own.description)
    assert done.code == 0, done.err
    assert names(hub) == files_of(tmp_path / "new")


def test_splits_that_a_later_build_lacks_are_deleted(hub, own, built, tmp_path):
    hub, run = hub
    assert run(NAME, built).code == 0
    text = own.description.read_text("utf-8")
    own.description.write_text(text.replace('= "test"', '= "held"'), "utf-8")
    later = build(tmp_path / "later", spec=read_description(own.description))
    done = run(NAME, later)
    assert done.code == 0, done.err
    assert names(hub) == files_of(later)
    assert not [name for name in names(hub) if "/test-" in name]


def test_another_dataset_is_not_replaced(hub, own, built, flat_repository, tmp_path):
    hub, run = hub
    assert run(NAME, flat_repository).code == 0
    before = names(hub)
    done = run(NAME, built)
    assert done.code == 1
    assert "contains the dataset platelet-em, which own-pictures would replace" in done.err
    assert names(hub) == before
    hub.repositories.clear()
    assert run(NAME, built).code == 0
    done = run(NAME, flat_repository)
    assert done.code == 1
    assert "contains the dataset own-pictures, which platelet-em would replace" in done.err
    text = own.description.read_text("utf-8").replace("own-pictures", "others")
    own.description.write_text(text, "utf-8")
    other = build(tmp_path / "other", spec=read_description(own.description))
    done = run(NAME, other)
    assert done.code == 1
    assert "contains the dataset own-pictures, which others would replace" in done.err


def test_a_build_of_another_description_is_not_pushed(hub, own, built):
    hub, run = hub
    text = own.description.read_text("utf-8")
    own.description.write_text(text.replace('license = "mit"', 'license = "cc0-1.0"'), "utf-8")
    done = run(NAME, built, "--description", own.description)
    assert done.code == 1
    assert "by another description than that of own-pictures" in done.err
    assert NAME not in hub.repositories


def test_a_build_of_other_files_or_with_damage_is_not_pushed(hub, own, built):
    """Messages speak of the files of own volumes, not of archives."""
    hub, run = hub
    picture = next(own.description.parent.joinpath("images").iterdir())
    before = picture.read_bytes()
    Image.open(picture).transpose(Image.Transpose.ROTATE_180).save(picture)
    done = run(NAME, built, "--description", own.description)
    assert done.code == 1
    assert "contains a build from other files: name another folder" in done.err
    assert "--description" in done.err
    picture.write_bytes(before)
    (built / "croissant.json").write_text("{}")
    done = run(NAME, built)
    assert done.code == 1
    assert "repair it by `platelet-em build` from its description" in done.err
    assert "archive" not in done.err
    assert NAME not in hub.repositories


@pytest.mark.parametrize("content", [b"{", b'{"name": []}', b"\xff"])
def test_a_description_of_somebody_on_the_hub_is_not_believed(content, hub, own, built):
    hub, run = hub
    assert run(NAME, built).code == 0
    repository = hub.repositories[NAME]
    files = dict(repository.files)
    files["description.json"] = type(files["description.json"])(content, lfs=False)
    repository.commit("main", "damaged", files)
    done = run(NAME, built)
    assert done.code == 1
    assert "Traceback" not in done.err


def test_the_description_on_the_hub_has_no_paths(hub, own, built):
    hub, run = hub
    assert run(NAME, built).code == 0
    document = json.loads(hub.repositories[NAME].files["description.json"].content)
    assert {volume["image"] for volume in document["volumes"]} == {"slices"}
