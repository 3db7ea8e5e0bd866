"""Fixtures of windows: small volumes as dense arrays, and datasets of them."""

import datasets
import pytest
from support import publisher

import platelet_em
from _platelet_em.hub.build import build


@pytest.fixture(scope="session")
def dense_volumes():
    """{name: publisher.Volume} of two volumes; volume 50 has the shape (7, 23, 19)."""
    return publisher.publication(seed=5, depth=7, plane=(23, 19)).volumes


@pytest.fixture(scope="session")
def small_repository(dense_volumes, tmp_path_factory):
    """A repository built from these volumes."""
    folder = tmp_path_factory.mktemp("windows")
    publisher.Publication(dense_volumes).folder(folder / "extracted", "json")
    return build(folder / "repo", data_dir=folder / "extracted")


@pytest.fixture(scope="session")
def load(small_repository, cache):
    """Load a split of a configuration of this repository, without format."""

    def load_split(config="volumes", split="train", **options):
        return datasets.load_dataset(
            str(small_repository), config, split=split, cache_dir=str(cache), **options
        )

    return load_split


@pytest.fixture
def volume(load):
    """Map-style rows of `volumes`: volume 50."""
    return load()


@pytest.fixture(scope="session")
def scene(tmp_path_factory):
    """Load a configuration of a volume of shape (8, 256, 256) with realistic organelles."""
    folder = tmp_path_factory.mktemp("scene")
    platelet_em.write_sample(folder / "archives", depth=8, size=256)
    repository = build(folder / "repo", data_dir=folder / "archives")

    def load_volume(config="volumes", **options):
        return datasets.load_dataset(
            str(repository), config, split="train", cache_dir=str(folder), **options
        )

    return load_volume
