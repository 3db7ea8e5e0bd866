"""The files of a built repository: what is wrong with them becomes findings of a report."""

import os
from contextlib import suppress
from pathlib import Path

from _platelet_em.errors import PlateletEMError
from _platelet_em.hub.integrity import Repository, inspect_repository
from _platelet_em.hub.layout import repository_files
from _platelet_em.hub.parquet import count_files
from _platelet_em.hub.record import stored_configs
from _platelet_em.hub.viewer import describe_narrow_columns
from _platelet_em.spec import DatasetSpec
from _platelet_em.verify.report import Section

__all__ = ["REBUILD", "check_files"]

REBUILD = "build the repository again"
"""Remedy for anything that is wrong with a repository."""

_REMEDIES = {"complete": "run platelet-em build again: it continues where it was", "others": ""}
"""Remedies of checks for which it is another one, or included in what was found."""

_RECORDED = ("label_source", "archive", "archive_md5", "origin", "tool_version")


def check_files(section: Section, folder: Path, spec: DatasetSpec) -> Repository:
    """Check a repository without looking at its rows; figures and findings go to `section`."""
    repository = inspect_repository(folder, spec)
    for problem in repository.problems:
        if problem.error is not None:
            section.exception(problem.check, problem.file, problem.error)
        else:
            section.error(
                problem.check,
                problem.file,
                expected=problem.expected,
                found=problem.found,
                remedy=_REMEDIES.get(problem.check, REBUILD),
                **problem.place,
            )
    _remark_links(section, folder, repository.spec)
    with suppress(PlateletEMError):  # of damaged files, which are problems already
        for text in describe_narrow_columns(folder, repository.spec):
            section.remark("viewer", str(folder), text)
    if repository.record and not repository.has_current_pictures:
        section.remark(
            "picture",
            str(folder),
            "its pictures were drawn by another version of platelet-em, and are not compared",
        )
    _list_figures(section, repository)
    return repository


def _list_figures(section: Section, repository: Repository) -> None:
    """What a repository records, and its files and rows by configuration and split."""
    if repository.record:
        for key in _RECORDED:
            section.figure(key.replace("_", " "), repository.record.get(key, "not recorded"))
    if repository.checksums:
        total = len(repository.checksums)
        section.figure(
            "sums", f"{repository.matching} of {total} files have theirs", repository.matching
        )
    for split, volumes in repository.spec.splits.items():
        for config in stored_configs(repository.folder):
            files = repository.files[config.name, split]
            if files and all(volume.name in repository.shapes for volume in volumes):
                rows, count = count_files(files)[0], len(files)
                section.figure(f"{config.name}, {split}", f"{rows} rows in {count} files")


def _remark_links(section: Section, folder: Path, spec: DatasetSpec) -> None:
    """Name links that lead out of the repository; a snapshot of the Hub's client has its cache."""
    root = Path(os.path.realpath(folder))
    inside = root.parents[1] if root.parent.name == "snapshots" else root
    for path in repository_files(folder, spec):
        target = Path(os.path.realpath(path))
        if not target.is_relative_to(inside):
            section.remark("link", str(path), f"leads out of the repository, to {target}")
