"""`platelet-em show`: which pictures it draws, from where."""

import shutil

import pytest
from PIL import Image

import platelet_em
from _platelet_em.commands.show import show


@pytest.fixture(params=["archives", "repository"])
def source(request):
    return request.getfixturevalue(request.param)


def test_each_slice_is_a_picture(source, tmp_path):
    paths = list(show(source, tmp_path / "new", volume="24", slices=[1, 3]))
    assert paths == [tmp_path / "new" / f"platelet-em-24-z00{z}.png" for z in (1, 3)]
    for path in paths:
        with Image.open(path) as picture:
            assert picture.mode == "RGB"


def test_archives_and_repository_give_the_same_picture(archives, repository, tmp_path):
    pictures = [
        next(show(source, tmp_path / name, volume="50", slices=[4])).read_bytes()
        for source, name in ((archives, "a"), (repository, "b"))
    ]
    assert pictures[0] == pictures[1]


@pytest.mark.parametrize("z", [99, 10**20, -1])
def test_a_slice_that_does_not_exist_is_an_error_with_those_that_do(z, source, tmp_path):
    with pytest.raises(
        platelet_em.MissingMemberError, match=f"volume 50 has no slice z = {z}: expected 0 to 8"
    ):
        list(show(source, tmp_path, volume="50", slices=[z]))
    assert not any(tmp_path.iterdir())


def test_slices_of_a_partly_downloaded_repository_are_shown(repository, tmp_path):
    copied = shutil.copytree(repository, tmp_path / "copy")
    (copied / "slices" / "train-00000-of-00008.parquet").unlink()
    whole, partial = (
        next(show(folder, tmp_path / name, volume="50", slices=[4])).read_bytes()
        for folder, name in ((repository, "whole"), (copied, "partial"))
    )
    assert partial == whole
    with pytest.raises(
        platelet_em.MissingMemberError,
        match="volume 50 has no slice z = 0: expected 1 to 8, of which 8 are present",
    ):
        list(show(copied, tmp_path, volume="50", slices=[0]))


def test_all_slices_are_shown(source, tmp_path):
    paths = list(show(source, tmp_path, volume="24", slices=None))
    assert [path.name for path in paths] == [f"platelet-em-24-z00{z}.png" for z in range(4)]


def test_an_unknown_volume_is_refused(source, tmp_path):
    with pytest.raises(platelet_em.ArgumentError, match=r"^--volume: .* one of 50, 24, got '99'$"):
        list(show(source, tmp_path, volume="99", slices=[0]))


def test_labels_that_a_repository_does_not_have_are_refused(repository, tmp_path):
    assert list(show(repository, tmp_path, volume="24", slices=[0], label_source="json"))
    with pytest.raises(platelet_em.ArgumentError, match="contains 'json' labels, expected tif"):
        list(show(repository, tmp_path, volume="24", slices=[0], label_source="tif"))
