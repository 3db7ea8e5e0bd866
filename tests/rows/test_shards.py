"""Shards and row groups: how the rows of a volume are divided."""

import pytest

from _platelet_em.rows.make import CONFIGS, config_named
from _platelet_em.rows.shards import rows_per_group, shard_bounds

PLANE = (800, 800)


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
@pytest.mark.parametrize("depth", [1, 2, 7, 8, 9, 24, 50, 123])
def test_shards_cover_all_parts_once_and_evenly(config, depth):
    bounds = shard_bounds(config, (depth, *PLANE))
    parts = [part for start, stop in bounds for part in range(start, stop)]
    assert parts == list(range(config.count_parts((depth, *PLANE))))
    sizes = {stop - start for start, stop in bounds}
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("depth", "shards"), [(50, 8), (24, 8), (7, 7), (1, 1)])
def test_published_slices_have_eight_shards_of_groups_of_ten(depth, shards):
    slices = config_named("slices")
    assert len(shard_bounds(slices, (depth, *PLANE))) == shards
    assert rows_per_group(slices, (depth, *PLANE)) == 10


def test_larger_volumes_have_more_shards_and_fewer_rows_per_group():
    slices, large = config_named("slices"), (200, 1600, 1600)
    bounds = shard_bounds(slices, large)
    assert max(stop - start for start, stop in bounds) * 3 * 1600 * 1600 < 110_000_000
    assert rows_per_group(slices, large) * 3 * 1600 * 1600 < 20_000_000
    assert rows_per_group(slices, (2, 20_000, 20_000)) == 1
