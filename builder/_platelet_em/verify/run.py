"""`verify`: archives, folders and built repositories, each alone and against the others."""

import os
import zipfile
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

from _platelet_em.description.write import describe_spec
from _platelet_em.errors import PlateletEMError, quote
from _platelet_em.facts import LABEL_SOURCES, PUBLISHED
from _platelet_em.files import user_path
from _platelet_em.hub.integrity import Repository
from _platelet_em.hub.layout import is_built
from _platelet_em.publisher.archive import Source, archive_files, file_md5, open_source
from _platelet_em.rows.make import CONFIGS
from _platelet_em.sources.opening import OWN_FILES, VolumeFiles, find_files
from _platelet_em.spec import DatasetSpec, InstanceSpec, VolumeSpec
from _platelet_em.verify.compare import compare_volumes
from _platelet_em.verify.consistency import check_volume
from _platelet_em.verify.files import REBUILD, check_files
from _platelet_em.verify.objects import check_objects
from _platelet_em.verify.report import Report, Section
from _platelet_em.verify.rows import check_previews, read_slices, read_volume_row
from _platelet_em.verify.stored_rows import StoredRows
from _platelet_em.verify.view import VerifiedVolume, read_archive_volume, read_own_volume

__all__ = ["verify"]

_SHOWN = 240
"""Characters of a value of a description that are shown."""

_LISTED = 5
"""Names of other files in an archive that are listed in the text of a figure."""


def verify(paths: Iterable[str | Path], spec: DatasetSpec = PUBLISHED) -> Report:
    """Check what is at the paths, and compare what belongs together.

    Args:
        paths: Zips of the publisher, extracted folders, folders with the zips, repositories that
            `build` wrote; in any order.
        spec: The dataset of the archives. Own volumes have none: their files are checked, too.
            Repositories of other datasets are checked by what they say of theirs.

    Returns:
        The report. It continues after an error; a file that cannot be read is one error.
    """
    report = Report()
    sources: list[tuple[Source, str]] = []
    repositories: list[Repository] = []
    sections: list[Section] = []
    # `Path.resolve` raises for links that lead in a circle, before there is a section to say so.
    given = {os.path.realpath(path): path for path in map(user_path, paths)}
    for path in given.values():
        if is_built(path):
            sections.append(report.section(path, "a built repository"))
            repositories.append(check_files(sections[-1], path, spec))
        else:
            sources += _find_sources(report, path, spec)
    # The JSON labels have the true ids: the others are compared with them.
    order = [archive.name for archive in spec.archives]
    sources.sort(key=lambda pair: order.index(pair[1]))
    for section, repository in zip(sections, repositories, strict=True):
        _check_origin(section, repository, sources)
    asked = [spec] if sources or not repositories else []
    report.asks = any(each.archives for each in (*asked, *(r.spec for r in repositories)))
    named = {spec.name: spec} if sources or not spec.archives else {}
    for each in (repository.spec for repository in repositories):
        named.setdefault(each.name, each)
    for name, each in named.items():
        own = [repository for repository in repositories if repository.spec.name == name]
        _check_descriptions(sections, repositories, each)
        _verify_dataset(report, each, sources if name == spec.name else [], own)
    return report


def _check_descriptions(
    sections: list[Section], repositories: list[Repository], spec: DatasetSpec
) -> None:
    """Whether a repository of a dataset describes the same classes, instances and volumes."""
    for section, repository in zip(sections, repositories, strict=True):
        if repository.spec.name != spec.name:
            continue
        described = [*_pair_labels(spec, repository.spec)]
        if not spec.archives:
            described += _pair_volumes(spec, repository.spec)
        for expected, found in described:
            if expected != found:
                section.error(
                    "description",
                    str(repository.folder),
                    expected=expected,
                    found=found,
                    remedy="build it again, or name the description that it was built with",
                )


def _pair_labels(spec: DatasetSpec, stored: DatasetSpec) -> Iterator[tuple[str, str]]:
    """Each fact about labels and voxels as a description has it, and as a repository has it."""
    for what in ("class_names", "columns", "voxel_size_nm"):
        found = (f"{what} {quote(getattr(each, what), _SHOWN)}" for each in (spec, stored))
        yield next(found), next(found)
    here, there = ({i.column: i for i in each.instances} for each in (spec, stored))
    for column in (column for column in here if column in there):
        yield _describe_instances(here[column], spec), _describe_instances(there[column], stored)


def _describe_instances(instance: InstanceSpec, spec: DatasetSpec) -> str:
    described = describe_spec(spec, volumes=False)["instances"]
    return f"instances {quote(described[spec.instances.index(instance)], _SHOWN)}"


def _pair_volumes(spec: DatasetSpec, stored: DatasetSpec) -> Iterator[tuple[str, str]]:
    """Each volume as a description has it, and as a repository has it; both may lack some."""
    here = {volume.name: volume for volume in spec.with_optional().volumes}
    there = {volume.name: volume for volume in stored.volumes}
    optional = {volume.name for volume in spec.optional_volumes} - {*there}
    for name in {**here, **there}:
        if name not in optional:
            yield _describe_volume(name, here.get(name)), _describe_volume(name, there.get(name))


def _describe_volume(name: str, volume: VolumeSpec | None) -> str:
    if volume is None:
        return f"no volume {quote(name)}"
    labels = ", ".join(volume.columns) or "nothing"
    return f"volume {quote(name)} in split {volume.split}, with labels of {labels}"


def _verify_dataset(
    report: Report,
    spec: DatasetSpec,
    sources: list[tuple[Source, str]],
    repositories: list[Repository],
) -> None:
    """Check each volume of a dataset in all of its sources, and compare them."""
    own = None
    if not spec.archives and spec.folder:
        own = find_files(spec, OWN_FILES, None)
    for split, volumes in spec.with_optional().splits.items():
        stored = [
            (
                repository,
                {
                    config.name: StoredRows(
                        repository.files.get((config.name, split), []),
                        is_shared=len(repository.spec.splits.get(split, ())) > 1,
                    )
                    for config in CONFIGS
                },
            )
            for repository in repositories
        ]
        for repository, rows in stored:
            _report_unknown(report, repository, rows, split)
        for volume in volumes:
            with ExitStack() as opened:
                _verify_volume(report, volume, sources, own, stored, spec, opened)


def _report_unknown(
    report: Report, repository: Repository, rows: dict[str, StoredRows], split: str
) -> None:
    """Rows of volumes that a split does not have, or that cannot be known."""
    known = {volume.name for volume in repository.spec.splits.get(split, ())}
    for config, stored in rows.items():
        for path, error in stored.damaged:
            report.section(repository.folder, f"{config}, {split}").error(
                "rows",
                str(path),
                expected="readable rows",
                found=f"{error!s:.200}",
                remedy=REBUILD,
            )
        for name in stored.volumes:
            if name not in known:
                report.section(repository.folder, f"{config}, {split}").error(
                    "volume",
                    str(repository.folder / config),
                    expected=f"rows of the {len(known)} volumes of {split}",
                    found=f"rows of {quote(name)}",
                    remedy=REBUILD,
                )


def _find_sources(report: Report, path: Path, spec: DatasetSpec) -> list[tuple[Source, str]]:
    """Each archive at a path, with each kind of labels that it holds."""
    if not spec.archives:
        report.section(path).error(
            "repository",
            str(path),
            expected=f"a built repository of {spec.name}, whose volumes are in no archive",
            found="none",
            remedy="give the folder that platelet-em build has written",
        )
        return []
    candidates = [path]
    if path.is_dir():
        candidates += [p for p in sorted(path.glob("*.zip")) if not p.name.startswith("._")]
    found: list[tuple[Source, str]] = []
    known = len(report.sections)
    for candidate in candidates:
        try:
            source = open_source(candidate, spec)
        except PlateletEMError as error:
            report.section(candidate).exception("archive", str(candidate), error)
            continue
        label_sources = [a.name for a in spec.archives if _has_labels(source, a.name, spec)]
        if label_sources:
            title = f"images, {' and '.join(label_sources)} labels"
            _check_archive(report.section(candidate, title), source, label_sources, spec)
        found += [(source, name) for name in label_sources]
    if not found and not any(section.count("error") for section in report.sections[known:]):
        report.section(path).error(
            "archive",
            str(path),
            expected="the publisher's files, or a built repository",
            found="neither",
            remedy="give a zip, its extracted folder, a folder with the zips, or a repository",
        )
    return found


def _has_labels(source: Source, label_source: str, spec: DatasetSpec) -> bool:
    return any(
        source.holds([volume.labels(column, label_source)])
        for volume in _volumes_in(label_source, spec)
        for column in volume.columns
    )


def _volumes_in(archive: str, spec: DatasetSpec) -> list[VolumeSpec]:
    """The volumes that an archive has images or labels of."""
    every = (*spec.with_optional().volumes, *spec.other_labels)
    return [volume for volume in every if archive in volume.archives]


def _check_archive(
    section: Section, source: Source, label_sources: list[str], spec: DatasetSpec
) -> None:
    """The checksum of a zip, its folders, and files in it that are not the publisher's."""
    path = source.path
    if source.is_zip:
        with path.open("rb") as file:
            md5 = file_md5(file)
        known = spec.describe_file(md5)
        section.figure("md5", f"{md5} ({known or 'not a published one'})", md5)
        section.figure("size", f"{path.stat().st_size} bytes", path.stat().st_size)
        for name in label_sources if known is None else ():
            published = spec.archive(name).md5
            text = (
                f"that of the published {name} archive is {published}"
                if published
                else f"and none is published of the archive with {name} labels"
            )
            section.remark("checksum", str(path), f"md5 {md5}, {text}")
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    else:
        names = [p.relative_to(path).as_posix() for p in sorted(path.rglob("*")) if p.is_file()]
    wanted = {
        PurePosixPath(name).name
        for archive in spec.archives
        for volume in _volumes_in(archive.name, spec)
        for name in volume.members(archive.name)
    }
    ours = [name for name in names if PurePosixPath(name).name in wanted]
    folders = sorted({str(PurePosixPath(name).parent) for name in ours})
    section.figure("folders", ", ".join(folders), folders)
    others = [name for name in names if PurePosixPath(name).name not in wanted]
    listed = ", ".join(others[:_LISTED]) + (", ..." if len(others) > _LISTED else "")
    section.figure("other files", f"{len(others)} {listed}".strip(), others)


def _check_origin(
    section: Section,
    repository: Repository,
    sources: list[tuple[Source, str]],
) -> None:
    """Whether a repository was made from one of the archives that are checked with it.

    Its voxels decide whether it is right: the same files may be in another zip, or in a folder.
    """
    record = repository.record
    for source, label_source in sources:
        recorded = record.get("archive_md5")
        if label_source not in LABEL_SOURCES:
            recorded = record.get("test_archive_md5")
        elif label_source != record.get("label_source"):
            continue
        needed = archive_files(repository.spec, label_source)
        if recorded is None or not needed or not source.holds(needed):
            continue
        try:
            found = source.identity(needed).md5
        except PlateletEMError:
            continue  # the file that cannot be read becomes an error with its volume
        if found != recorded:
            section.remark(
                "origin",
                str(repository.folder),
                f"was built from an archive of md5 {recorded}, that of {source.path} is {found}",
            )


def _verify_volume(
    report: Report,
    volume: VolumeSpec,
    sources: list[tuple[Source, str]],
    own: VolumeFiles | None,
    stored: list[tuple[Repository, dict[str, StoredRows]]],
    spec: DatasetSpec,
    opened: ExitStack,
) -> None:
    """Read a volume from each source, check each, and compare each with an earlier one."""
    views: list[VerifiedVolume] = []

    def check(section: Section, view: VerifiedVolume, of: DatasetSpec = spec) -> None:
        check_volume(section, view, of)
        _compare(report, views, view, spec)
        if view.shape is not None:
            views.append(view)

    for source, label_source in sources:
        for found in _volumes_in(label_source, spec):
            # The paper's archive may be given for its labels, or for the third volume alone.
            is_there = source.holds(found.members(label_source)) or label_source in LABEL_SOURCES
            if found.name == volume.name and is_there:
                title = f"volume {volume.name}, {label_source} labels"
                section = report.section(source.path, title)
                view = read_archive_volume(section, source, found, label_source, spec, opened)
                check(section, view)
    if own is not None:
        section = report.section(spec.folder, f"volume {volume.name}")
        check(section, read_own_volume(section, own, volume, spec, opened))
    for repository, rows in stored:
        # What the repository itself says of its rows: another description may have other columns.
        ours = repository.spec
        described = repository.volume(volume.name)
        if described is None or described.split != volume.split:
            continue
        section = report.section(repository.folder, f"volume {volume.name}, slices")
        slices = read_slices(section, repository, rows["slices"], described, ours)
        check(section, slices, ours)
        title = f"volume {volume.name}, volumes, instances and preview"
        section = report.section(repository.folder, title)
        check_objects(section, rows["instances"], described, slices, ours)
        view = read_volume_row(section, repository, rows["volumes"], described, ours)
        check_previews(section, repository, rows["preview"], described)
        # Nothing is compared with it later on: all its images are in memory.
        _compare(report, views, view, spec)


def _compare(
    report: Report, earlier: list[VerifiedVolume], view: VerifiedVolume, spec: DatasetSpec
) -> None:
    """Compare with the first earlier source, preferably one with the same kind of labels."""
    known = [v for v in earlier if v.label_source == view.label_source] or earlier
    if view.shape is not None and known:
        title = f"volume {view.volume.name}, against {known[0].name}"
        compare_volumes(report.section(view.name, title), known[0], view, spec)
