"""Data files divided among processes: each is in one job, with the bytes of a single process."""

from collections import Counter

import pytest
from support.folders import contents
from support.own import FORMS, write_own
from support.paper import NAME, paper

from _platelet_em.description.parse import read_description
from _platelet_em.hub import build as build_module
from _platelet_em.hub.build import build
from _platelet_em.hub.jobs import divide_jobs, plan_split, whole_split
from _platelet_em.hub.write import DataWriter
from _platelet_em.spec import VolumeSpec


def plans_of(shapes, split_of=lambda name: "train"):
    """Plans of volumes with one kind of instances, by split."""
    splits = {}
    for name in shapes:
        volume = VolumeSpec(
            name=name, split=split_of(name), image_file="a", label_files=(("cells", "b"),)
        )
        splits.setdefault(volume.split, []).append(volume)
    return [plan_split(volumes, shapes) for volumes in splits.values()]


def volumes_of(plan, job):
    return {
        s.volume
        for config, files in job.files.items()
        for i in files
        for s in plan.shards[config][i]
    }


@pytest.mark.parametrize("num_proc", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize(
    "shapes",
    [
        {"one": (50, 800, 800)},
        {"one": (1, 1, 1)},
        {f"v{i}": (20 + i, 512, 512) for i in range(8)},
        {f"p{i}": (1, 300 + i, 200) for i in range(500)},
        {"small": (1, 9, 9), "large": (200, 1600, 1600), "last": (3, 5, 5)},
    ],
)
def test_each_file_is_in_one_job(shapes, num_proc):
    plans = plans_of(shapes, lambda name: "test" if name.endswith("7") else "train")
    jobs = divide_jobs(plans, num_proc)
    found = Counter(
        (job.split, config, index)
        for job in jobs
        for config, files in job.files.items()
        for index in files
    )
    assert found == Counter(
        (plan.name, config, index)
        for plan in plans
        for config, shards in plan.shards.items()
        for index in range(len(shards))
    )
    assert sum(job.parts for job in jobs) == sum(whole_split(plan).parts for plan in plans)
    assert all(job.parts for job in jobs)


def test_processes_share_few_volumes():
    shapes = {f"v{i}": (20, 512, 512) for i in range(64)}
    (plan,) = plans_of(shapes)
    objects, *others = divide_jobs([plan], 4)
    assert len(volumes_of(plan, objects)) == 64, "all objects are in one file"
    assert 4 < len(others) < 40
    opened = Counter(
        volume
        for config in ("slices", "volumes", "preview")
        for job in others
        if job.files[config]
        for volume in volumes_of(plan, job)
    )
    assert opened.keys() == shapes.keys()
    jobs = [job for job in others if job.files["preview"]]
    assert all(job.files["volumes"] for job in jobs), "made of the same volumes"
    previewed = Counter(volume for job in jobs for volume in volumes_of(plan, job))
    assert sum(previewed.values()) < 64 + 2 * len(jobs), "only those at its ends are in two jobs"


@pytest.fixture
def one_by_one(monkeypatch):
    """Jobs are done in this process, the last one first, each by a writer of its own."""

    def work(staging, files, plans, jobs, record, spec, *, num_proc, update):
        named = {plan.name: plan for plan in plans}
        for job in reversed(jobs):
            with DataWriter(staging, files, record, spec) as writer:
                writer.write(named[job.split], job, update)

    monkeypatch.setattr(build_module, "write_in_processes", work)


@pytest.mark.usefixtures("one_by_one")
@pytest.mark.parametrize("form", FORMS)
def test_own_volumes_have_the_bytes_of_one_process(form, tmp_path):
    own = write_own(tmp_path / "set", form)
    spec = read_description(own.description)
    first, *others = (build(tmp_path / str(n), spec=spec, num_proc=n) for n in (1, 2, 5))
    for other in others:
        assert contents(other) == contents(first)


@pytest.mark.usefixtures("one_by_one")
def test_published_volumes_have_the_bytes_of_one_process(flat_archives, tmp_path):
    paper().zip(tmp_path / NAME)
    for path in flat_archives.iterdir():
        (tmp_path / path.name).symlink_to(path)
    options = {"data_dir": tmp_path, "with_test": True}
    one, three = (build(tmp_path / str(n), num_proc=n, **options) for n in (1, 3))
    assert contents(one) == contents(three)
