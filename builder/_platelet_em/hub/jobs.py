"""Jobs of a build: which data files a process writes together, so that it opens few volumes."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from _platelet_em.rows.config import Config, Shape
from _platelet_em.rows.make import CONFIGS
from _platelet_em.rows.shards import Segment, plan_shards
from _platelet_em.spec import VolumeSpec

__all__ = ["Job", "SplitPlan", "divide_jobs", "plan_split", "whole_split"]

_STRETCHES = 4
"""Stretches of the volumes per process, at most: more are opened more often."""


@dataclass(frozen=True, slots=True)
class SplitPlan:
    """The data files of a split.

    Attributes:
        volumes: All volumes of the split, in the order of their rows.
        shapes: Volume -> (z, y, x).
        shards: Configuration -> what is in each of its files.
    """

    volumes: tuple[VolumeSpec, ...]
    shapes: Mapping[str, Shape]
    shards: Mapping[str, Sequence[Sequence[Segment]]]

    @property
    def name(self) -> str:
        """Name of the split."""
        return self.volumes[0].split


@dataclass(frozen=True, slots=True)
class Job:
    """Data files of a split that one process writes, in one pass over their volumes.

    Attributes:
        split: Name of the split.
        files: Configuration -> the indices of its files.
        parts: Parts of volumes in all of them.
    """

    split: str
    files: Mapping[str, Sequence[int]]
    parts: int


def plan_split(volumes: Sequence[VolumeSpec], shapes: Mapping[str, Shape]) -> SplitPlan:
    """Plan the data files of a split, which do not depend on the number of processes."""
    shards = {
        config.name: plan_shards(
            config, [(v.name, shapes[v.name]) for v in volumes if config.covers(v)]
        )
        for config in CONFIGS
    }
    return SplitPlan(tuple(volumes), shapes, shards)


def whole_split(plan: SplitPlan) -> Job:
    """All files of a split as one job: each volume is opened once."""
    return _make_job(
        plan, [(config, i) for config, shards in plan.shards.items() for i in range(len(shards))]
    )


def divide_jobs(plans: Sequence[SplitPlan], num_proc: int) -> list[Job]:
    """Divide the files of a build among processes; those that take longest come first.

    The voxels of all volumes, one volume after the other, are cut into 1, 2, 4, ... equal
    stretches. Files that begin in the same stretch, one that is as long as they are, are one job,
    so that a volume is opened by few. There are up to `_STRETCHES` stretches per process, which
    then end at about the same time.

    Example: of 8 equal volumes, the file of all objects has a stretch of its own, the whole; two
    files of previews have half of it each, together with two of `volumes`; eight of `slices` have
    an eighth each.

    Args:
        plans: The files of each split.
        num_proc: Number of processes.

    Returns:
        The jobs; each file is in one of them.
    """
    total = sum(math.prod(plan.shapes[v.name]) for plan in plans for v in plan.volumes)
    most = _power_of_two(_STRETCHES * num_proc)
    found: dict[tuple[str | int, ...], list[tuple[str, int]]] = {}
    voxels: Counter[tuple[str | int, ...]] = Counter()
    start = 0
    for number, plan in enumerate(plans):
        offsets = {}
        for volume in plan.volumes:
            offsets[volume.name] = start
            start += math.prod(plan.shapes[volume.name])
        for config in reversed(CONFIGS):  # drawing previews takes longest
            for index, shard in enumerate(plan.shards[config.name]):
                begin = offsets[shard[0].volume] + _voxels_before(config, plan, shard[0], "start")
                end = offsets[shard[-1].volume] + _voxels_before(config, plan, shard[-1], "stop")
                count = min(most, _power_of_two(total // (end - begin)))
                # A single volume stays open from job to job.
                alone = config.name if len(plan.volumes) == 1 else ""
                key = (number, count, begin * count // total, alone)
                found.setdefault(key, []).append((config.name, index))
                voxels[key] += end - begin
    return [_make_job(plans[int(key[0])], found[key]) for key, _ in voxels.most_common()]


def _power_of_two(most: int) -> int:
    """The largest power of two that is at most that number, at least 1."""
    return 1 << (most.bit_length() - 1)


def _voxels_before(config: Config, plan: SplitPlan, segment: Segment, edge: str) -> int:
    """Voxels of a volume before an edge, "start" or "stop", of a segment of it."""
    shape = plan.shapes[segment.volume]
    part: int = getattr(segment, edge)
    return math.prod(shape) * part // config.count_parts(shape)


def _make_job(plan: SplitPlan, files: Sequence[tuple[str, int]]) -> Job:
    chosen: dict[str, list[int]] = {config.name: [] for config in CONFIGS}
    for config, index in files:
        chosen[config].append(index)
    parts = sum(s.stop - s.start for config, i in files for s in plan.shards[config][i])
    return Job(plan.name, chosen, parts)
