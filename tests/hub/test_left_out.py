"""Volumes that are too large for a row are left out of `volumes`, and the card says so."""

import datasets
import pytest

from _platelet_em.facts import PUBLISHED
from _platelet_em.hub.build import build
from _platelet_em.hub.integrity import read_build
from _platelet_em.rows import volumes


@pytest.mark.parametrize(("limit", "splits"), [(10_000, ["validation"]), (10, [])])
def test_a_volume_too_large_for_a_row_is_left_out(archives, tmp_path, monkeypatch, limit, splits):
    monkeypatch.setattr(volumes, "MAX_ROW_BYTES", limit)
    folder = build(tmp_path / "repo", data_dir=archives)
    assert read_build(folder, PUBLISHED) is not None
    card = " ".join((folder / "README.md").read_text().split())
    assert "Volume 50 is too large for a row of `volumes`: its slices are in `slices`." in card
    assert ("Volume 24 is too large" in card) == (not splits)
    names = datasets.get_dataset_config_names(str(folder))
    assert names == ["slices", *(["volumes"] if splits else []), "instances", "preview"]
    if splits:
        loaded = datasets.load_dataset(str(folder), "volumes", cache_dir=str(tmp_path / "cache"))
        assert list(loaded) == splits
    slices = datasets.load_dataset(str(folder), "slices", cache_dir=str(tmp_path / "cache"))
    assert list(slices) == ["train", "validation"]


def test_the_card_of_volumes_that_fit_says_nothing_of_it(repository):
    assert "too large for a row" not in (repository / "README.md").read_text()
