"""Shards and row groups: how the rows of a split, of one volume or of many, are divided."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _platelet_em.rows.make import CONFIGS, config_named
from _platelet_em.rows.shards import Segment, plan_shards, rows_per_group

PLANE = (800, 800)
SLICES = config_named("slices")


def parts_of(config, volumes):
    """Every part of the volumes, in order."""
    return [(name, i) for name, shape in volumes for i in range(config.count_parts(shape))]


def planned_parts(shards):
    return [(s.volume, i) for shard in shards for s in shard for i in range(s.start, s.stop)]


@pytest.mark.parametrize("config", CONFIGS, ids=lambda config: config.name)
@pytest.mark.parametrize("depth", [1, 2, 7, 8, 9, 24, 50, 123])
def test_shards_cover_all_parts_once_and_evenly(config, depth):
    volumes = [("50", (depth, *PLANE))]
    shards = plan_shards(config, volumes)
    assert planned_parts(shards) == parts_of(config, volumes)
    sizes = {segment.stop - segment.start for [segment] in shards}
    assert min(sizes) >= 1
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("depth", "shards"), [(50, 8), (24, 8), (7, 7), (1, 1)])
def test_published_slices_have_eight_shards_of_groups_of_ten(depth, shards):
    planned = plan_shards(SLICES, [("50", (depth, *PLANE))])
    assert len(planned) == shards
    # The bounds of every build so far.
    bounds = [(depth * i // shards, depth * (i + 1) // shards) for i in range(shards)]
    assert planned == [[Segment("50", *bound)] for bound in bounds]
    assert rows_per_group(SLICES, (depth, *PLANE)) == 10


def test_larger_volumes_have_more_shards_and_fewer_rows_per_group():
    large = (200, 1600, 1600)
    shards = plan_shards(SLICES, [("a", large)])
    assert max(s.stop - s.start for [s] in shards) * 3 * 1600 * 1600 < 110_000_000
    assert rows_per_group(SLICES, large) * 3 * 1600 * 1600 < 20_000_000
    assert rows_per_group(SLICES, (2, 20_000, 20_000)) == 1


def test_small_pictures_share_shards():
    volumes = [(f"p{i}", (1, 500 + i % 7, 500)) for i in range(10_000)]
    shards = plan_shards(SLICES, volumes)
    assert len(shards) == -(-sum(3 * h * w for _, (_, h, w) in volumes) // 100_000_000)
    sizes = [sum(3 * (500 + int(s.volume[1:]) % 7) * 500 for s in shard) for shard in shards]
    assert max(sizes) < 1.05 * min(sizes)
    assert planned_parts(shards) == parts_of(SLICES, volumes)


def test_volumes_that_are_left_out_are_in_no_shard():
    volumes = [("small", (2, 30, 30)), ("large", (400, 1600, 1600)), ("last", (1, 9, 9))]
    config = config_named("volumes")
    assert config.count_parts(volumes[1][1]) == 0
    assert planned_parts(plan_shards(config, volumes)) == [("small", 0), ("last", 0)]
    assert plan_shards(config, volumes[1:2]) == []
    assert plan_shards(config, []) == []


@given(
    st.lists(st.tuples(*[st.integers(1, 300)] * 3), min_size=1, max_size=12),
    st.sampled_from(CONFIGS),
)
def test_every_part_is_in_one_shard_in_order(shapes, config):
    volumes = [(str(i), shape) for i, shape in enumerate(shapes)]
    shards = plan_shards(config, volumes)
    assert planned_parts(shards) == parts_of(config, volumes)
    assert all(shards)
    assert all(s.start < s.stop for shard in shards for s in shard)


def test_many_large_volumes_have_larger_shards_instead_of_too_many():
    volumes = [(f"v{i}", (300, 1600, 1600)) for i in range(300)]
    shards = plan_shards(SLICES, volumes)
    assert len(shards) == 5_000
    assert {sum(s.stop - s.start for s in shard) for shard in shards} == {18}
    assert planned_parts(shards) == parts_of(SLICES, volumes)
