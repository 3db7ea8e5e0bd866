"""The volumes of a description, also those of a template."""

import logging
import re
from pathlib import Path
from typing import Any

from _platelet_em.description.label_section import VOLUME_KEYS
from _platelet_em.description.lookup import FileLookup
from _platelet_em.description.problems import NOTHING, list_some
from _platelet_em.description.table import Table, is_text
from _platelet_em.description.template import STEM, Template, fill_stem, read_splits
from _platelet_em.description.volume_facts import parse_components, parse_details
from _platelet_em.errors import PlateletEMError, printable
from _platelet_em.spec import SEMANTIC, Components, VolumeSpec

__all__ = ["VolumeSection"]

_log = logging.getLogger(__name__)

_SPLIT = re.compile(r"\w{1,50}")
_MAX_NAME = 200
"""Bytes of the name of a volume: names of files have it, and their systems allow 255."""


class VolumeSection:
    """Reads lists of volumes: those of a dataset, optional ones, and other labels.

    Args:
        table: The description.
        columns: Columns of instances.
        mentioned: The same, and those with problems, which are no problem here.
        has_classes: Whether a volume may have semantic labels.
        archives: Names of the archives.
        base: Folder of the description; None for one that is no file.

    Attributes:
        folder: Folder of the files of volumes in no archive; empty if there are no such volumes.
    """

    def __init__(
        self,
        table: Table,
        *,
        columns: tuple[str, ...],
        mentioned: tuple[str, ...],
        has_classes: bool,
        archives: tuple[str, ...],
        base: Path | None,
    ) -> None:
        self._table = table
        self._problems = table.problems
        self._columns = (SEMANTIC, *columns)
        self._mentioned = mentioned
        self._has_classes = has_classes
        self._archives = archives
        given = table.text("folder")
        self._folder = str(Path(base, _user_folder(given)).absolute()) if base else given
        self._files = FileLookup(Path(self._folder)) if base else None
        self._taken: dict[str, tuple[str, VolumeSpec]] = {}
        self._splits: dict[str, str] = {}
        self.folder = ""

    def parse(self, key: str) -> tuple[VolumeSpec, ...]:
        """The volumes below a key of the description."""
        volumes: list[VolumeSpec] = []
        items = self._table.items(key, f"volumes, each as a table [[{key}]]")
        if key == "volumes" and self._table.raw(key) in ([], ()):
            self._table.add(key, "at least one volume", "write [[volumes]]")
        for index, (place, value) in enumerate(items):
            table = Table(value, place, self._problems)
            found = self._parse_volume(table, is_other=key == "other_labels")
            if found and not found[0].archives:
                self.folder = self._folder
            if key == "other_labels":
                self._check_known(table, found)
            else:
                self._check_names(table, found, f"{key}[{index}]")
            self._check_splits(table, found)
            volumes += found
        return tuple(volumes)

    def _check_splits(self, table: Table, volumes: list[VolumeSpec]) -> None:
        """Names of files have the split, and on some systems capitals make no difference there."""
        for split in dict.fromkeys(volume.split for volume in volumes):
            known = self._splits.setdefault(split.casefold(), split)
            if known != split:
                table.problems.add(
                    table.at("split"), f"{known}, as in another volume", split, "write one of both"
                )

    def _check_known(self, table: Table, volumes: list[VolumeSpec]) -> None:
        for volume in volumes:
            if volume.name and volume.name not in self._taken and self._taken:
                table.add("name", "the name of a volume", "name the volume that they are of")

    def _check_names(self, table: Table, volumes: list[VolumeSpec], where: str) -> None:
        """Names are distinct; an optional volume may be among the volumes, as it is."""
        repeated = []
        for volume in volumes:
            first, other = self._taken.setdefault(volume.name, (where, volume))
            is_same = other is volume or (where.startswith("optional") and other == volume)
            if volume.name and not is_same:
                repeated.append((volume.name, first))
        for name, first in repeated[:5]:
            self._problems.add(
                table.at("name"), "a name of its own", name, f"{first} has it: rename one"
            )

    def _parse_volume(self, table: Table, *, is_other: bool) -> list[VolumeSpec]:
        name = self._name(table)
        archives = self._archive_names(table)
        image = self._image(table, is_required=not is_other, is_own=not archives)
        labels, components = self._labels(table)
        facts = {**parse_details(table), "archives": archives, "components": components}
        self._check_archives(table, archives)
        is_template = STEM in name
        for key, path in {"image": image, **labels}.items():
            if is_template and path and path.count(STEM) != 1:
                table.add(key, f"{STEM} once, as in the name", f"write {STEM} where it stands")
            if not is_template and name and STEM in path:
                table.add("name", f"{STEM}, as in {key}", f'write name = "{STEM}"')
        before = self._problems.count
        split = self._split(table, is_template=is_template)
        known = [*VOLUME_KEYS, *self._columns]
        table.refuse_others([*known, *self._mentioned])
        if is_template:
            is_complete = (
                name.count(STEM) == 1
                and self._problems.count == before
                and all(path.count(STEM) == 1 for path in [image, *labels.values()])
            )
            return self._expand(table, name, split, image, labels, facts) if is_complete else []
        paths = {"image": image, **labels} if not archives else {}
        for key, path in paths.items():
            self._look_up(table, key, path)
        return [
            VolumeSpec(
                name=name,
                split=split if isinstance(split, str) else "",
                image_file=image,
                label_files=tuple(labels.items()),
                **facts,
            )
        ]

    def _name(self, table: Table) -> str:
        name = table.value(
            "name",
            lambda v: v if _is_volume_name(v) else None,
            f"a name without / and control characters, of at most {_MAX_NAME} bytes",
            f'write name = "..."; in a template, "{STEM}"',
            required=True,
        )
        if name and name.count(STEM) > 1:
            table.add("name", f"{STEM} once", "leave the others out")
        return name or ""

    def _archive_names(self, table: Table) -> tuple[str, ...]:
        names = table.texts("archives", "a list of names of [[archives]]")
        if unknown := [name for name in names if name not in self._archives]:
            self._problems.add(
                table.at("archives"),
                f"names of [[archives]] ({', '.join(self._archives) or 'there are none'})",
                unknown[0],
                "add it there, or leave it out",
            )
        return names

    def _check_archives(self, table: Table, archives: tuple[str, ...]) -> None:
        """Volumes are all in archives, which tell no shape before they are fetched, or none is."""
        if self._archives and "archives" not in table and table.is_valid:
            self._problems.add_sentence(
                table.at("archives"),
                "expected names of [[archives]], found none: write archives = [...], or describe "
                "volumes that are in no archive as a dataset of their own",
            )
        if archives and "shape" not in table:
            table.add("shape", "the shape of a volume in archives", "write shape = [z, y, x]")

    def _image(self, table: Table, *, is_required: bool, is_own: bool) -> str:
        return table.text(
            "image",
            required=is_required and is_own,
            remedy='write image = "...", a file, or a pattern of slices such as "raw/*.tif"',
        )

    def _labels(self, table: Table) -> tuple[dict[str, str], tuple[tuple[str, Components], ...]]:
        """Column -> path, in the order of the columns, and those that are masks."""
        labels, masks = {}, []
        for column in self._columns:
            value = table.raw(column)
            if value is NOTHING:
                continue
            if column == SEMANTIC and not self._has_classes:
                self._problems.add_sentence(
                    table.at(column),
                    'expected no such key without classes, found it: write classes = ["..."]',
                )
                continue
            if isinstance(value, str) and is_text(value):
                labels[column] = value
                continue
            if not isinstance(value, dict):
                table.add(
                    column, "a path, a pattern, or a table", f'write {column} = "...", or {{ }}'
                )
                continue
            entry = Table(value, table.at(column), self._problems)
            path = entry.text("file", required=True, remedy='write file = "..."')
            rule = parse_components(entry, may_be=column != SEMANTIC)
            if path:
                labels[column] = path
                masks += [(column, rule)] if rule else []
        return labels, tuple(masks)

    def _split(self, table: Table, *, is_template: bool) -> str | dict[str, str]:
        """The split, or in a template also list file -> split."""
        value = table.raw("split")
        expected = "the name of a split: letters, digits and _, at most 50, and not all"
        remedy = 'write split = "train"'
        if not isinstance(value, dict):
            if isinstance(value, str) and _is_split(value):
                return value
            if table.is_valid:
                table.add("split", expected, remedy)
            return ""
        if not is_template or not value:
            table.add("split", expected, f'{remedy}; lists belong to a template, name = "{STEM}"')
            return {}
        for file, split in value.items():
            if not _is_split(split):
                self._problems.add(
                    table.at("split", file), expected, split, f'write "{file}" = "train"'
                )
        return {file: split for file, split in value.items() if _is_split(split)}

    def _look_up(self, table: Table, key: str, path: str) -> None:
        """Add a problem for a path without a file."""
        if self._files is None or not path:
            return
        try:
            self._files.check(path)
        except PlateletEMError as error:
            self._problems.add_sentence(table.at(key), str(error))
        except OSError as error:
            reason = f"a path that can be looked for, found none: {error.strerror}"
            self._problems.add_sentence(table.at(key), f"expected {reason}: correct it")

    def _expand(
        self,
        table: Table,
        name: str,
        split: str | dict[str, str],
        image: str,
        labels: dict[str, str],
        facts: dict[str, Any],
    ) -> list[VolumeSpec]:
        """The volumes of a template, one for each file that its image matches."""
        if self._files is None:
            self._problems.add_sentence(
                table.at("name"),
                "expected a volume, found a template, which needs a folder: read it as a file",
            )
            return []
        template = Template(image)
        try:
            stems = template.find_stems(self._files)
        except PlateletEMError as error:
            self._problems.add_sentence(table.at("image"), str(error))
            return []
        if isinstance(split, str):
            splits = dict.fromkeys(stems, split)
        else:
            splits = read_splits(self._files, split, stems, table, image)
            if left_out := len(stems) - len(splits):
                source = printable(str(Path(self._folder, image)))
                _log.warning(
                    "%s: %d of %d images are in no list, and are left out",
                    source, left_out, len(stems),
                )  # fmt: skip
        self._check_members(table, labels, splits, self._files)
        unusable = [n for stem in splits if not _is_volume_name(n := name.replace(STEM, stem))]
        for bad in list_some(unusable):
            self._problems.add(
                table.at("name"),
                f"names without control characters, of at most {_MAX_NAME} bytes",
                bad,
                "rename the file",
            )
        return [
            VolumeSpec(
                name=name.replace(STEM, stem),
                split=of,
                image_file=fill_stem(image, stem, self._files),
                label_files=tuple(
                    (c, fill_stem(path, stem, self._files)) for c, path in labels.items()
                ),
                **facts,
            )
            for stem, of in splits.items()
        ]

    def _check_members(
        self, table: Table, labels: dict[str, str], splits: dict[str, str], files: FileLookup
    ) -> None:
        """Add problems for label files of a template that are missing."""
        for column, path in labels.items():
            filled = [fill_stem(path, stem, files) for stem in splits]
            missing = [name for name in filled if not files.has(name)]
            for name in list_some(missing):
                self._look_up(table, column, name)
            if (others := len(missing) - 5) > 0:
                self._problems.add_sentence(
                    table.at(column),
                    f"expected a file for each image, found none for {others} others: leave "
                    "these images out of the lists, or give them a template of their own",
                )


def _user_folder(folder: str) -> Path:
    """A folder of a description, with `~` expanded."""
    try:
        return Path(folder).expanduser()
    except RuntimeError:
        return Path(folder)


def _is_split(name: object) -> bool:
    return isinstance(name, str) and bool(_SPLIT.fullmatch(name)) and name != "all"


def _is_volume_name(name: object) -> bool:
    return (
        isinstance(name, str)
        and is_text(name)
        and "/" not in name
        and name not in (".", "..")
        and len(name.encode()) <= _MAX_NAME
    )
