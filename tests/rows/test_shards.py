"""Shards: how the rows of a volume are divided."""

import pytest

from _platelet_em.rows.make import CONFIGS, config_named
from _platelet_em.rows.shards import shard_bounds


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
@pytest.mark.parametrize("depth", [1, 2, 7, 8, 9, 24, 50, 123])
def test_shards_cover_all_rows_once_and_evenly(config, depth):
    bounds = shard_bounds(config, depth)
    rows = [row for start, stop in bounds for row in range(start, stop)]
    assert rows == list(range(config.count_rows(depth)))
    sizes = {stop - start for start, stop in bounds}
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1
    assert len(bounds) == min(len(rows), {"slices": 8}.get(config.name, 1))


def test_the_published_training_slices_have_at_least_eight_shards():
    assert len(shard_bounds(config_named("slices"), 50)) >= 8
