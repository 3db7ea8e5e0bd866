"""Fixtures of exports: all three published volumes, as archives and as a repository."""

import shutil

import pytest
from support.paper import NAME, paper

from _platelet_em.hub.build import build


@pytest.fixture(scope="session")
def third():
    """The volume `test`, which has classes and no instances, as dense arrays."""
    return paper()


@pytest.fixture(scope="session")
def three_archives(archives, third, tmp_path_factory):
    """A folder with all three archives."""
    folder = shutil.copytree(archives, tmp_path_factory.mktemp("three") / "archives")
    third.zip(folder / NAME)
    return folder


@pytest.fixture(scope="session")
def three_volumes(three_archives):
    """The repository built from them."""
    return build(three_archives.parent / "repo", data_dir=three_archives, with_test=True)
