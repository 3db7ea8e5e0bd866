"""The names of a repository's files."""

import pytest

from _platelet_em.facts import PUBLISHED
from _platelet_em.hub.layout import (
    data_files,
    is_built,
    is_data_file,
    is_repository_file,
    repository_files,
    shard_name,
)


def test_files_of_shards_are_found_in_the_order_of_their_rows(tmp_path):
    names = [shard_name("slices", s, i, 12) for s in ("validation", "train") for i in range(12)]
    for name in [*reversed(names), "slices/train-1-of-2.parquet", "volumes/train.parquet"]:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert names[12] == "slices/train-00000-of-00012.parquet"
    found = data_files(tmp_path, "slices", "train")
    assert [p.relative_to(tmp_path).as_posix() for p in found] == names[12:]
    assert len(data_files(tmp_path, "slices")) == 24
    assert data_files(tmp_path, "preview") == []


@pytest.mark.parametrize(
    "name",
    [
        "README.md",
        "croissant.json",
        "pictures/volume-50.png",
        "pictures/volume-24.png",
        "slices/train-00000-of-00008.parquet",
        "preview/validation-00000-of-00001.parquet",
    ],
)
def test_files_of_a_build_are_recognized_by_their_paths(name):
    assert is_repository_file(name, PUBLISHED)


@pytest.mark.parametrize(
    "name",
    [
        "readme.md",
        "pictures/volume-7.png",
        "volume-50.png",
        "slices/test-00000-of-00008.parquet",
        "slices/train-0-of-8.parquet",
        "other/train-00000-of-00001.parquet",
        "slices/deep/train-00000-of-00008.parquet",
    ],
)
def test_other_files_are_not(name):
    assert not is_repository_file(name, PUBLISHED)
    assert not is_data_file(name, PUBLISHED)


def test_only_files_of_a_build_make_up_a_repository(repository, tmp_path):
    names = {p.relative_to(repository).as_posix() for p in repository_files(repository, PUBLISHED)}
    assert {"README.md", "croissant.json", "pictures/volume-50.png"} <= names
    assert all(is_repository_file(name, PUBLISHED) for name in names)
    assert is_built(repository)
    assert not is_built(tmp_path)
    assert not is_built(repository / "README.md")
