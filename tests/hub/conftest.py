"""Fixtures of the tests that build repositories again and again."""

import pytest
from support import publisher

from _platelet_em.hub.build import build


@pytest.fixture(scope="session")
def flat_archives(tmp_path_factory):
    """Archives of low and wide slices, whose previews are drawn quickly; depths as usual."""
    folder = tmp_path_factory.mktemp("flat")
    publication = publisher.publication(seed=2, plane=(7, 61))
    publication.zip(folder / "images_and_labels_json.zip", "json")
    publication.zip(folder / "images_and_labels_rgba.zip", "tif")
    return folder


@pytest.fixture(scope="session")
def flat_repository(flat_archives, tmp_path_factory):
    """The repository built from their JSON archive."""
    return build(tmp_path_factory.mktemp("flat-built") / "repo", data_dir=flat_archives)
