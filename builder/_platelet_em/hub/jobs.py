"""Jobs of a build: which data files a process writes together, so that it opens few volumes."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from _platelet_em.rows.config import Config, Shape
from _platelet_em.rows.make import CONFIGS
from _platelet_em.rows.shards import Segment, plan_shards
from _platelet_em.spec import VolumeSpec

__all__ = ["Job", "SplitPlan", "divide_jobs", "plan_split", "whole_split"]


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

    The voxels of all volumes, one volume after the other, are cut into as many equal stretches as
    there are processes. Files that begin in one stretch are one job, so that most volumes are
    opened by one process. A file that is longer than a stretch, such as that of all objects of
    many volumes, is a job of its own.

    Args:
        plans: The files of each split.
        num_proc: Number of processes.

    Returns:
        The jobs; each file is in one of them.
    """
    total = sum(math.prod(plan.shapes[v.name]) for plan in plans for v in plan.volumes)
    long: list[tuple[int, Job]] = []
    short: dict[tuple[int, int], list[tuple[str, int]]] = {}
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
                if (end - begin) * num_proc > total:
                    long.append((end - begin, _make_job(plan, [(config.name, index)])))
                else:
                    stretch = begin * num_proc // total
                    short.setdefault((number, stretch), []).append((config.name, index))
    long.sort(key=lambda item: -item[0])
    return [
        *(job for _, job in long),
        *(_make_job(plans[number], files) for (number, _), files in sorted(short.items())),
    ]


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
