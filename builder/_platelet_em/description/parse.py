"""A description file, and the `DatasetSpec` that it describes.

The format is that of `docs/own-volumes.md`. Its sections are read by `label_section` (classes,
instances) and `volume_section` (volumes, templates); `describe_spec` writes it.
"""

import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

from _platelet_em.description.label_section import parse_classes, parse_codes, parse_instances
from _platelet_em.description.problems import NOTHING, Problems
from _platelet_em.description.table import Table, is_integer, is_text
from _platelet_em.description.toml_lines import find_lines
from _platelet_em.description.volume_section import VolumeSection
from _platelet_em.errors import ArchiveError, DescriptionError, MissingMemberError, printable
from _platelet_em.files import read_regular, user_path
from _platelet_em.limits import MAX_METADATA
from _platelet_em.spec import Archive, DatasetSpec, InstanceSpec, SemanticClass

__all__ = ["parse_description", "read_description"]

_SYNTAX = re.compile(r"(.*) \(at (?:line (\d+), column (\d+)|end of document)\)", re.DOTALL)
_LICENSE = r"[A-Za-z0-9][A-Za-z0-9.+_-]*"
_DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|doi:)?10\.\d{4,9}/\S+", re.IGNORECASE)
_MD5 = re.compile(r"[0-9a-f]{32}")
_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?")


def read_description(path: str | Path) -> DatasetSpec:
    """The dataset that a description file describes.

    Args:
        path: A TOML file. The paths in it are relative to its folder.

    Raises:
        DescriptionError: with every mistake in it, one per line, also files that are missing; or
            if it cannot be read.
        MissingMemberError: if there is no such file.
    """
    file = user_path(path)
    name = printable(str(path))
    try:
        text = read_regular(file, MAX_METADATA).decode("utf-8-sig")
    except FileNotFoundError as error:
        raise MissingMemberError(f"{name}: no such file") from error
    except ArchiveError as error:
        raise DescriptionError(
            f"{str(error).removesuffix(': remove it')}: name a description file, such as my.toml"
        ) from error
    except UnicodeDecodeError as error:
        raise DescriptionError(
            f"{name}: byte {error.start}: expected text in UTF-8, found another encoding: save "
            "it as UTF-8"
        ) from error
    except OSError as error:
        raise DescriptionError(
            f"{name}: cannot be read: {error.strerror}: give yourself the right to read it"
        ) from error
    document = _parse_toml(text, name)
    return parse_description(
        document,
        source=str(path),
        base=file.absolute().parent,
        lines=find_lines(text, document),
    )


def _parse_toml(text: str, name: str) -> dict[str, Any]:
    """The document.

    Raises:
        DescriptionError: where it is no TOML, with the line and column.
    """
    try:
        document: dict[str, Any] = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # also numbers of thousands of digits
        match = _SYNTAX.fullmatch(str(error))
        reason = match[1] if match else "nested too deeply, or with a number that is too long"
        place = f"line {match[2]}, column {match[3]}" if match and match[2] else "the end"
        parts = [name, place] if match else [name]
        raise DescriptionError(
            printable(
                f"{': '.join(parts)}: expected TOML, found a mistake: "
                f"{reason[:1].lower()}{reason[1:]}: correct it there"
            )
        ) from error
    return document


def parse_description(
    document: Mapping[str, Any],
    *,
    source: str = "description",
    base: Path | None = None,
    lines: Mapping[tuple[str | int, ...], int] | None = None,
    needs_volumes: bool = True,
) -> DatasetSpec:
    """The dataset that a document describes.

    Args:
        document: What TOML or JSON gives, such as from `describe_spec`.
        source: What messages call it.
        base: Folder that its paths are relative to: the files are looked for there, and templates
            are expanded. Without it, no file is looked for, and templates are mistakes.
        lines: The line of each key, for messages.
        needs_volumes: Whether a document without volumes is a mistake.

    Raises:
        DescriptionError: with every mistake, one per line.
    """
    problems = Problems(source, lines)
    table = Table(document, (), problems)
    facts = {**_parse_facts(table), **_parse_remarks(table)}
    labels = _parse_labels(table)
    archives = _parse_archives(table)
    section = VolumeSection(
        table,
        columns=tuple(i.column for i in labels.instances),
        mentioned=labels.mentioned,
        has_classes=labels.class_count != 0,
        archives=tuple(a.name for a in archives),
        base=base,
    )
    for key in ("volumes", "optional_volumes", "other_labels"):
        facts[key] = section.parse(key)
    if needs_volumes and "volumes" not in table:
        problems.add(
            (), "a volume", NOTHING, "write [[volumes]], and below it name, split and image"
        )
    table.refuse_others()
    problems.check()
    return DatasetSpec(
        **facts,
        classes=labels.classes,
        palettes=labels.palettes,
        semantic_codes=labels.codes,
        instances=labels.instances,
        confusable_classes=labels.confusable,
        folder=section.folder,
        archives=archives,
    )


class _Labels(NamedTuple):
    """Classes and instances; `class_count` is None where problems leave it open."""

    classes: tuple[SemanticClass, ...]
    palettes: tuple[str, ...]
    codes: tuple[tuple[int, int], ...]
    instances: tuple[InstanceSpec, ...]
    confusable: tuple[int, int] | None
    mentioned: tuple[str, ...]
    class_count: int | None


def _parse_labels(table: Table) -> _Labels:
    """What labels there may be."""
    problems = table.problems
    before = problems.count
    classes, palettes = parse_classes(table, table.texts("palettes", "a list of different names"))
    class_count = len(classes) if problems.count == before else None
    instances, mentioned = parse_instances(table, class_count)
    if not classes and not mentioned and problems.count == before:
        problems.add(
            (), "classes or instances", NOTHING, 'write instances = ["..."] or classes = ["..."]'
        )
    codes = parse_codes(table, class_count)
    pair = table.integers("confusable_classes", 2, 0, "the indices of two classes")
    if pair and class_count is not None and max(pair) >= class_count:
        table.add("confusable_classes", "indices of classes", "classes count from 0")
    confusable = (pair[0], pair[1]) if pair else None
    return _Labels(classes, palettes, codes, instances, confusable, mentioned, class_count)


def _parse_facts(table: Table) -> dict[str, Any]:
    """What people want to know of the dataset."""
    name = table.value(
        "name",
        lambda v: v if isinstance(v, str) and _is_name(v) else None,
        "a name that a file and a dataset on the Hub may have: letters, digits, and . _ - between "
        "them, not two in a row of . or -",
        'write name = "my-dataset"',
        required=True,
    )
    return {
        "name": name or "",
        "title": table.text("title"),
        "description": table.text("description", keep="\n\t"),
        "about": table.text("about", keep="\n\t"),
        "notes": table.texts("notes", "a list of different texts, each of one line"),
        "tags": table.texts("tags", "a list of different words"),
        "homepage": table.address("homepage"),
        "citation": _parse_citation(table),
        "first_author": table.text("first_author"),
        "published": _parse_year(table),
        "license": table.matching(
            "license",
            _LICENSE,
            'an identifier of a license, such as "cc-by-4.0" or "other"',
            "see https://huggingface.co/docs/hub/repositories-licenses",
        ),
        "license_name": table.text("license_name"),
        "license_details": table.text("license_details"),
        "license_note": table.text("license_note", keep="\n\t"),
        "page": table.address("license_link"),
        "voxel_size_nm": table.numbers("voxel_size_nm", 3, "three positive numbers, z, y, x"),
    }


def _parse_remarks(table: Table) -> dict[str, Any]:
    """What is known of the published files."""
    return {
        "known_files": _parse_known_files(table),
        "is_dense": table.flag("is_dense"),
        "bright_background": table.flag("bright_background"),
        "whole_range": table.flag("whole_range"),
    }


def _is_name(name: str) -> bool:
    return bool(_NAME.fullmatch(name)) and ".." not in name and "--" not in name


def _parse_citation(table: Table) -> str:
    def parse(value: object) -> str | None:
        if not isinstance(value, str) or not is_text(value, keep="\n\t"):
            return None
        return value if value.lstrip()[:1] == "@" or _DOI.fullmatch(value.strip()) else None

    return (
        table.value(
            "citation",
            parse,
            "a DOI, or BibTeX",
            'write citation = "10.1234/abcd", or an entry that begins with @',
        )
        or ""
    )


def _parse_year(table: Table) -> str:
    def parse(value: object) -> str | None:
        if is_integer(value, 1000, 9999):
            return str(value)
        return value if isinstance(value, str) and re.fullmatch("[1-9][0-9]{3}", value) else None

    return table.value("published", parse, "a year", 'write published = "2021"') or ""


def _parse_archives(table: Table) -> tuple[Archive, ...]:
    archives: dict[str, Archive] = {}
    for place, value in table.items("archives", "archives, each as a table [[archives]]"):
        entry = Table(value, place, table.problems)
        name = entry.text("name", required=True)
        archive = Archive(
            name=name,
            file_name=entry.matching(
                "file_name",
                r"[^/\\\0-\x1f]+",
                "the name of a zip",
                "write it without folders",
                required=True,
            ),
            url=entry.address("url", required=True),
            size=entry.text("size"),
            md5=entry.matching("md5", _MD5.pattern, "an MD5 in hexadecimal", "see md5sum") or None,
        )
        if name and name in archives:
            entry.add("name", "a name of its own", "rename one")
        archives[name] = archive
        entry.refuse_others()
    return tuple(archives.values())


def _parse_known_files(table: Table) -> tuple[tuple[str, str], ...]:
    found = []
    for md5, name in table.pairs("known_files", "a table of MD5 and names"):
        if _MD5.fullmatch(md5) and is_text(name):
            found.append((md5, name))
            continue
        table.problems.add(
            table.at("known_files", md5), "an MD5 and a text", name, 'write MD5 = "what it is"'
        )
    return tuple(found)
