"""A build over an earlier one: whatever fails while its files are moved, one of both is there."""

import errno
import os
import shutil
from pathlib import Path

import pytest
from support import publisher
from support.folders import contents
from support.own import write_own

import platelet_em
from _platelet_em.description.parse import read_description
from _platelet_em.facts import PUBLISHED
from _platelet_em.hub.build import build
from _platelet_em.hub.exchange import exchange, finish_exchange
from _platelet_em.hub.integrity import read_build
from _platelet_em.hub.layout import STAGING

MOVES = 1 + 22 + 1 + 17
"""The finished build, the old files, the folder of the old files, the new files."""


@pytest.fixture(scope="module")
def fewer(tmp_path_factory):
    """Archives of fewer slices, so of other shards."""
    folder = tmp_path_factory.mktemp("fewer")
    publication = publisher.publication(seed=7, depth=3, plane=(7, 61))
    publication.zip(folder / "images_and_labels_json.zip", "json")
    return folder


@pytest.fixture(scope="module")
def small(fewer):
    return build(fewer / "repo", data_dir=fewer)


@pytest.fixture
def out(flat_repository, tmp_path):
    """A repository, with files of the user beside those of the build."""
    folder = shutil.copytree(flat_repository, tmp_path / "repo")
    (folder / ".git").mkdir()
    for name in (".git/HEAD", "LICENSE", "slices/mine.txt"):
        (folder / name).write_text("mine")
    return folder


def visible(folder):
    """Path -> bytes of what readers see of a repository."""
    found = contents(folder).items()
    return {name: data for name, data in found if not name.startswith(".platelet-em")}


class Moves:
    """Counts the renamings of a build's files; some fail, as a test asks."""

    def __init__(self, patch, out, fail):
        self.count, replace = 0, Path.replace

        def counted(path, target):
            inner = [Path(p).relative_to(out).parts for p in (path, target)]
            if any(path.suffix == ".part" for path in (path, Path(target))):
                return replace(path, target)
            assert len(inner) == 2
            self.count += 1
            fail(self.count, path, target)
            return replace(path, target)

        patch.setattr(Path, "replace", counted)


def test_each_file_is_moved_once_and_others_stay(out, fewer, small, monkeypatch):
    with monkeypatch.context() as patch:
        moves = Moves(patch, out, lambda *_: None)
        build(out, data_dir=fewer, force=True)
    assert moves.count == MOVES
    mine = dict.fromkeys((".git/HEAD", "LICENSE", "slices/mine.txt"), b"mine")
    assert contents(out) == {**contents(small), **mine}


def stage(small, out):
    """A copy of a repository where builds put it when it is complete."""
    return shutil.copytree(small, out / STAGING / "x")


@pytest.mark.parametrize("moment", range(1, MOVES + 1))
@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt])
def test_a_failure_while_moving_leaves_the_old_repository(error, moment, out, small, monkeypatch):
    before, staged = visible(out), stage(small, out)

    def fail(count, path, target):
        if count == moment:
            raise error("cannot be moved")

    with monkeypatch.context() as patch:
        Moves(patch, out, fail)
        with pytest.raises(error, match="cannot be moved"):
            exchange(out, staged, PUBLISHED)
    assert visible(out) == before
    assert contents(staged) == contents(small)
    exchange(out, staged, PUBLISHED)
    assert visible(out).items() >= contents(small).items()


@pytest.mark.parametrize("moment", range(1, MOVES + 1))
def test_a_kill_while_moving_loses_nothing_and_is_continued(moment, out, small, monkeypatch):
    before, after, staged = visible(out), contents(small), stage(small, out)

    def fail(count, path, target):
        if count >= moment:
            raise KeyboardInterrupt  # even the undoing stops: a killed process does nothing more

    with monkeypatch.context() as patch:
        Moves(patch, out, fail)
        with pytest.raises(KeyboardInterrupt):
            exchange(out, staged, PUBLISHED)
    everything = set(contents(out).values())
    assert everything >= set(before.values())
    assert everything >= set(after.values())
    assert read_build(out, PUBLISHED) is None, "an unfinished exchange is never pushed"
    finish_exchange(out, PUBLISHED)
    assert visible(out).items() >= (before if moment == 1 else after).items()


@pytest.mark.parametrize("moment", [5, 30])
def test_the_next_build_finishes_an_exchange_first(moment, out, fewer, small, monkeypatch):
    before = visible(out)

    def fail(count, path, target):
        if count >= moment:
            raise OSError(errno.EXDEV, os.strerror(errno.EXDEV), path, None, target)

    with monkeypatch.context() as patch:
        Moves(patch, out, fail)
        with pytest.raises(platelet_em.OutputError, match="cannot be written: Invalid cross-dev"):
            build(out, data_dir=fewer, force=True)
    assert set(contents(out).values()) >= set(before.values())
    build(out, data_dir=fewer)  # no force is needed: it finds the files of this build
    assert visible(out).items() >= contents(small).items()
    assert read_build(out, PUBLISHED)


def test_a_folder_on_another_disk_is_refused_before_the_work(out, fewer, tmp_path, monkeypatch):
    (tmp_path / "disk").mkdir()
    shutil.move(out / "slices", tmp_path / "disk")
    (out / "slices").symlink_to(tmp_path / "disk" / "slices")
    before, stat = visible(out), Path.stat

    def on_another_disk(path, **options):
        found = stat(path, **options)
        if path != out / "slices":
            return found
        return os.stat_result([*found[:2], found.st_dev + 1, *found[3:]])

    with monkeypatch.context() as patch:
        patch.setattr(Path, "stat", on_another_disk)
        patch.setattr("_platelet_em.hub.build._write_data", None)
        with pytest.raises(platelet_em.OutputError, match=r"slices: .* found one on another disk"):
            build(out, data_dir=fewer, force=True)
    assert visible(out) == before
    build(out, data_dir=fewer, force=True)
    assert (out / "slices").is_symlink(), "a link to the same disk is kept"


def test_a_read_only_folder_is_refused_before_the_work(out, fewer, monkeypatch):
    before, access = visible(out), os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: path != out / "preview" and access(path, mode)
    )
    monkeypatch.setattr("_platelet_em.hub.build._write_data", None)
    with pytest.raises(platelet_em.OutputError, match="preview: cannot be written: make it writ"):
        build(out, data_dir=fewer, force=True)
    assert visible(out) == before


def test_a_linked_repository_is_replaced_where_it_is(out, fewer, small, tmp_path):
    (tmp_path / "link").symlink_to(out)
    assert build(tmp_path / "link", data_dir=fewer, force=True) == tmp_path / "link"
    assert (tmp_path / "link").is_symlink()
    assert visible(out).items() >= contents(small).items()


@pytest.mark.parametrize("moment", range(1, MOVES + 1))
def test_old_files_survive_when_the_new_ones_are_deleted_by_hand(moment, out, small, monkeypatch):
    before, staged = visible(out), stage(small, out)

    def fail(count, path, target):
        if count >= moment:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        Moves(patch, out, fail)
        with pytest.raises(KeyboardInterrupt):
            exchange(out, staged, PUBLISHED)
    shutil.rmtree(out / STAGING / "new", ignore_errors=True)
    try:
        finish_exchange(out, PUBLISHED)
    except platelet_em.OutputError as error:
        assert "would be replaced by" in str(error)  # noqa: PT017
        kept = contents(out / STAGING / "old").items()
        assert {**visible(out), **dict(kept)}.items() >= before.items()
    else:
        assert visible(out) == before


@pytest.fixture(scope="module")
def sets(tmp_path_factory):
    """Descriptions of two own datasets with other splits, and the repositories built from them."""
    folder = tmp_path_factory.mktemp("own")
    found = {}
    for form in ("pictures", "stack"):
        spec = read_description(write_own(folder / form, form).description)
        found[form] = spec, build(folder / f"{form}-repo", spec=spec)
    return found


@pytest.mark.parametrize("moment", [1, 2, 3, 4, 5, 9, 14, 19, 20, 22, 28, 36, 37, 38, 39])
@pytest.mark.parametrize(("there", "next_one"), [("pictures", "stack"), ("stack", "pictures")])
def test_a_killed_exchange_is_finished_by_the_build_of_any_dataset(
    moment, there, next_one, sets, tmp_path, monkeypatch
):
    """The build that comes after the kill is of the new dataset, or of the old one again."""
    out = tmp_path / "repo"
    shutil.copytree(sets[there][1], out)
    staged = shutil.copytree(sets[next_one][1], out / STAGING / "x")

    def fail(count, path, target):
        if count >= moment:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        moves = Moves(patch, out, fail)
        with pytest.raises(KeyboardInterrupt):
            exchange(out, staged, sets[next_one][0])
    assert moves.count >= moment
    kept = set(contents(out).values())
    assert kept >= set(contents(sets[there][1]).values())
    assert kept >= set(contents(sets[next_one][1]).values())
    for form in (there, next_one):
        again = tmp_path / form
        shutil.copytree(out, again)
        build(again, spec=sets[form][0], force=True)
        assert contents(again) == contents(sets[form][1])
