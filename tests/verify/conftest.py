"""A repository to damage, and its parts checked one by one."""

import shutil

import pytest


@pytest.fixture
def copied(tidy_repository, tmp_path):
    """A copy of the repository without a fault."""
    return shutil.copytree(tidy_repository, tmp_path / "repo")
