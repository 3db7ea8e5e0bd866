"""`platelet-em verify`: archives, folders and built repositories, in themselves and together."""

import os
import zipfile
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path, PurePosixPath

from _platelet_em.errors import PlateletEMError
from _platelet_em.facts import KNOWN_FILES, LABEL_SOURCES, VOLUMES, VolumeSpec, archive_for
from _platelet_em.files import user_path
from _platelet_em.publisher.archive import Source, file_md5, needed_files, open_source
from _platelet_em.verify.compare import compare_parts
from _platelet_em.verify.consistency import check_part
from _platelet_em.verify.files import Built, check_files, is_built
from _platelet_em.verify.report import Report, Section
from _platelet_em.verify.rows import check_previews, read_slices, read_volume
from _platelet_em.verify.view import KINDS, Part, read_archive_part

__all__ = ["verify"]

_LISTED = 5
"""Names of other files in an archive that are told."""


def verify(paths: Iterable[str | Path]) -> Report:
    """Check what lies at the paths, and compare what belongs together.

    Args:
        paths: Zips of the publisher, extracted folders, folders with the zips, repositories that
            `build` wrote; in any order.

    Returns:
        The report. It goes on after an error; what cannot be read is one error.
    """
    report = Report()
    sources: list[tuple[Source, str]] = []
    repositories: list[tuple[Built, Section]] = []
    # `Path.resolve` raises for links that lead in a circle, before there is a section to say so.
    given = {os.path.realpath(path): path for path in map(user_path, paths)}
    for path in given.values():
        if is_built(path):
            section = report.section(path, "a built repository")
            repositories.append((check_files(section, path), section))
        else:
            sources += _find_sources(report, path)
    # The JSON labels have the true ids: the others are compared with them.
    sources.sort(key=lambda pair: LABEL_SOURCES.index(pair[1]))
    for built, section in repositories:
        _check_origin(section, built, sources)
    for spec in VOLUMES:
        with ExitStack() as opened:
            _verify_volume(report, spec, sources, [built for built, _ in repositories], opened)
    return report


def _find_sources(report: Report, path: Path) -> list[tuple[Source, str]]:
    """Each archive at a path, with each kind of labels that it holds."""
    candidates = [path]
    if path.is_dir():
        candidates += [p for p in sorted(path.glob("*.zip")) if not p.name.startswith("._")]
    found, known = [], len(report.sections)
    for place in candidates:
        try:
            source = open_source(place)
        except PlateletEMError as error:
            report.section(place).trouble("archive", str(place), error)
            continue
        kinds = [kind for kind in LABEL_SOURCES if _holds_any(source, kind)]
        if kinds:
            _check_archive(
                report.section(place, f"images, {' and '.join(kinds)} labels"), source, kinds
            )
        found += [(source, kind) for kind in kinds]
    if not found and not any(section.count("error") for section in report.sections[known:]):
        report.section(path).error(
            "archive",
            str(path),
            expected="the publisher's files, or a built repository",
            found="neither",
            remedy="give a zip, its extracted folder, a folder with the zips, or a repository",
        )
    return found


def _holds_any(source: Source, label_source: str) -> bool:
    names = [spec.labels(kind, label_source) for spec in VOLUMES for kind in KINDS]
    return any(source.holds([name]) for name in names)


def _check_archive(section: Section, source: Source, kinds: list[str]) -> None:
    """The sum of a zip, its folders, and what lies beside the publisher's files."""
    path = source.path
    if source.is_zip:
        with path.open("rb") as file:
            md5 = file_md5(file)
        known = KNOWN_FILES.get(md5)
        published = {kind: archive_for(kind).md5 for kind in kinds}
        section.figure("md5", f"{md5} ({known or 'not a published one'})", md5)
        section.figure("size", f"{path.stat().st_size} bytes", path.stat().st_size)
        for kind, sum_ in published.items():
            if known is None and sum_ is not None:
                said = f"md5 {md5}, that of the published {kind} archive is {sum_}"
                section.remark("checksum", str(path), said)
            elif known is None:
                said = f"md5 {md5}, and none is published of the archive with {kind} labels"
                section.remark("checksum", str(path), said)
        with zipfile.ZipFile(path) as archive:
            names = [info.filename for info in archive.infolist() if not info.is_dir()]
    else:
        names = [p.relative_to(path).as_posix() for p in sorted(path.rglob("*")) if p.is_file()]
    wanted = {name for spec in VOLUMES for kind in LABEL_SOURCES for name in spec.members(kind)}
    ours = [name for name in names if PurePosixPath(name).name in wanted]
    folders = sorted({str(PurePosixPath(name).parent) for name in ours})
    section.figure("folders", ", ".join(folders), folders)
    others = [name for name in names if PurePosixPath(name).name not in wanted]
    told = ", ".join(others[:_LISTED]) + (", ..." if len(others) > _LISTED else "")
    section.figure("other files", f"{len(others)} {told}".strip(), others)


def _check_origin(section: Section, built: Built, sources: list[tuple[Source, str]]) -> None:
    """Whether a repository says that it was made from an archive that is given, too.

    Its voxels decide whether it is right: the same files may lie in another zip, or in a folder.
    """
    recorded = built.record.get("archive_md5")
    fitting = [
        source
        for source, kind in sources
        if kind == built.record.get("label_source") and source.holds(needed_files(kind))
    ]
    for source in fitting:
        found = source.identity(needed_files(built.record["label_source"]))
        if found != recorded:
            said = f"was built from an archive of md5 {recorded}, that of {source.path} is {found}"
            section.remark("origin", str(built.folder), said)


def _verify_volume(
    report: Report,
    spec: VolumeSpec,
    sources: list[tuple[Source, str]],
    repositories: list[Built],
    opened: ExitStack,
) -> None:
    """Read a volume from each source, check each, and compare each with an earlier one."""
    parts: list[Part] = []
    for source, label_source in sources:
        section = report.section(source.path, f"volume {spec.name}, {label_source} labels")
        part = read_archive_part(section, source, spec, label_source, opened)
        check_part(section, part)
        _compare(report, spec, parts, part)
        parts += [part] if part.shape is not None else []
    for built in repositories:
        section = report.section(built.folder, f"volume {spec.name}, slices")
        part = read_slices(section, built, spec, opened)
        check_part(section, part)
        _compare(report, spec, parts, part)
        parts += [part] if part.shape is not None else []
        section = report.section(built.folder, f"volume {spec.name}, volumes and preview")
        part = read_volume(section, built, spec, opened)
        check_previews(section, built, spec)
        # It is not kept to compare others with: its images lie in memory, all of them.
        _compare(report, spec, parts, part)


def _compare(report: Report, spec: VolumeSpec, earlier: list[Part], part: Part) -> None:
    """Compare with the first earlier part, at best one with the same kind of labels."""
    known = [p for p in earlier if p.label_source == part.label_source] or earlier
    if part.shape is not None and known:
        section = report.section(part.name, f"volume {spec.name}, against {known[0].name}")
        compare_parts(section, known[0], part)
