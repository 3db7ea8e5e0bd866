"""What a path or a name on the Hub stands for; the Hub is not asked."""

import pytest

import platelet_em
from _platelet_em.hub.location import HubName, find_location


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("user/platelet-em", HubName("user/platelet-em")),
        ("a/b.c_d", HubName("a/b.c_d")),
        ("hf://datasets/user/name", HubName("user/name")),
        ("hf://datasets/user/name/", HubName("user/name")),
        ("hf://datasets/user/name@main", HubName("user/name", "main")),
        ("hf://datasets/user/name@refs%2Fpr%2F1", HubName("user/name", "refs/pr/1")),
        ("hf://datasets/user/name@refs/pr/1", HubName("user/name", "refs/pr/1")),
    ],
)
def test_names_on_the_hub(text, name):
    assert find_location(text) == name


@pytest.mark.parametrize("text", ["user/name", "hf:/datasets", "x"])
def test_a_path_that_exists_is_a_path(text, tmp_path):
    (tmp_path / text).mkdir(parents=True)
    assert find_location(text).samefile(tmp_path / text)
    assert find_location(tmp_path / text) == tmp_path / text


@pytest.mark.parametrize(
    "text",
    [
        "nowhere", "./nowhere/x", "/nowhere/x", "a/b/c", "user/na me", "user/", "user/-x",
        "../a/b", "there/typo", "file/x",
    ],
)  # fmt: skip
def test_other_paths_that_do_not_exist_are_missing(text, tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "file").touch()
    with pytest.raises(platelet_em.MissingMemberError, match=f"^{text}: no such file or folder$"):
        find_location(text)


@pytest.mark.parametrize(
    "text",
    ["hf://user/name", "hf://datasets/user", "hf://datasets/a/b/c", "hf://datasets/a/b@", "hf://"],
)
def test_addresses_of_another_form_are_refused(text):
    with pytest.raises(platelet_em.ArgumentError, match="expected hf://datasets/USER/NAME"):
        find_location(text)


def test_an_empty_path_is_refused():
    with pytest.raises(platelet_em.ArgumentError, match="a path is empty"):
        find_location("")


def test_links_in_a_circle_are_a_path(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    assert str(find_location("loop")) == "loop"
