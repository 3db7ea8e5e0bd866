"""`draft_description`: a first description of a folder, made by looking at its files."""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from _platelet_em.description.draft_volumes import LabelColumn, toml_text, write_volumes
from _platelet_em.description.guess import guess_labels
from _platelet_em.description.label_section import is_free_name
from _platelet_em.description.look import Look
from _platelet_em.description.series import FolderContent, Series, find_series, list_folder
from _platelet_em.errors import ArchiveError, printable
from _platelet_em.files import user_path
from _platelet_em.spec import SEMANTIC

__all__ = ["draft_description"]

_NOTE = """\
# A first description of {folder}, made by looking at some of its files.
# Each line with "guess" may be wrong: check it, and delete the word. Lines that begin with # do
# nothing. Then: platelet-em show my.toml, platelet-em build OUT --description my.toml"""

_PLACEHOLDERS = """\
# title = "..."
# license = "cc-by-4.0"             # as the Hub names it{license}
# citation = "10.1234/abcd"         # a DOI, or BibTeX
# voxel_size_nm = [40, 10, 10]      # z, y, x"""


@dataclass(kw_only=True)
class _Labels:
    """What the labels of a folder seem to be."""

    columns: list[LabelColumn] = field(default_factory=list)
    class_values: tuple[int, ...] = ()
    has_colors: bool = False
    reason: str = ""
    notes: list[str] = field(default_factory=list)


def draft_description(folder: str | Path, out: str | Path | None = None) -> str:
    """A first description of the pictures in a folder.

    Files are looked at in part: the first, middle and last of each group, and pages of these.

    Args:
        folder: The folder.
        out: Where the description will be; in another folder, it names `folder`. None is in it.

    Returns:
        TOML, with comments that say what was seen. Where images were found, `read_description`
        reads it.

    Raises:
        ArchiveError: for what is no folder, or cannot be read.
    """
    root = user_path(folder)
    try:
        content = list_folder(root)
    except OSError as error:
        raise ArchiveError(
            f"{printable(str(folder))}: expected a folder with pictures, found none that can be "
            f"read ({error.strerror}): name the folder of your files"
        ) from error
    series = find_series(root, content)
    labels = _find_labels([s for s in series if s.role == "labels"])
    root = root.absolute()
    lines = [_NOTE.format(folder=printable(str(root)))]
    lines.append(f"name = {toml_text(_dataset_name(root.name))}  # guess: the folder")
    if out is None:
        lines.append(f"# folder = {toml_text(str(root))}   # if this file is not in that folder")
    elif user_path(out).absolute().parent != root:
        lines.append(f"folder = {toml_text(str(root))}")
    lines.append(_PLACEHOLDERS.format(license=_find_license(root)))
    lines += ["", *_write_labels(labels), ""]
    images = [s for s in series if s.role == "image"]
    lines += write_volumes(root, images, labels.columns, content.lists)
    lines += _write_remarks(content, series, labels)
    return "\n".join(lines) + "\n"


def _dataset_name(name: str) -> str:
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    found = re.sub(r"[^A-Za-z0-9]+", "-", ascii_name).strip("-").lower()[:90].strip("-")
    return found or "my-dataset"


def _find_license(root: Path) -> str:
    for path in sorted(root.iterdir()):
        if path.stem.casefold() in ("license", "licence", "copying"):
            return f"; see {printable(path.name)}"
    return ""


def _find_labels(series: list[Series]) -> _Labels:
    """The column of each series; series of one name are one column."""
    labels = _Labels()
    for key, group in _group(series).items():
        looks = [look for each in group for look in each.looks]
        guess = guess_labels(looks, group[0].words)
        if guess is None:
            reason = next((look.reason for look in looks if look.reason), "too many colors")
            labels.notes.append(f"{_example(group[0])}: not understood: {reason}")
            continue
        is_classes = guess.kind in ("classes", "colors")
        if is_classes and not any(c.name == SEMANTIC for c in labels.columns):
            labels.columns.append(LabelColumn(name=SEMANTIC, series=group))
            labels.class_values, labels.has_colors = guess.values, guess.kind == "colors"
            labels.reason = f"{_example(group[0])}: {guess.reason}"
        elif is_classes and guess.kind == "colors":
            labels.notes.append(f"{_example(group[0])}: further classes as colors: left out")
        else:
            name = _column_name(key, {c.name for c in labels.columns})
            labels.columns.append(
                LabelColumn(
                    name=name,
                    series=group,
                    threshold=guess.threshold if guess.kind == "mask" else None,
                    reason=f"{_example(group[0])}: {guess.reason}",
                )
            )
    return labels


def _group(series: list[Series]) -> dict[tuple[str, ...], list[Series]]:
    """Series by their words: "train/masks" and "test/masks" are one kind of labels."""
    groups: dict[tuple[str, ...], list[Series]] = {}
    for each in series:
        guess = guess_labels(each.looks, each.words)
        kind = "semantic" if guess and guess.kind in ("classes", "colors") else "instances"
        groups.setdefault((kind, *(each.own_words or ["objects"])), []).append(each)
    return groups


def _example(series: Series) -> str:
    return printable(series.path("*" if len(series.stems) > 1 else series.stems[0]))


def _column_name(key: tuple[str, ...], taken: set[str]) -> str:
    name = "_".join(key[1:])
    name = name if is_free_name(name) else "objects"
    while name in taken:
        name = f"{name}_2"
    return name


def _write_labels(labels: _Labels) -> Iterator[str]:
    """The lines of classes, codes and instances."""
    instances = [column for column in labels.columns if column.name != SEMANTIC]
    if labels.reason:
        yield f"# guess: classes, in {labels.reason}"
        yield "# Name them, in the order of their index; values that were not seen are missing."
        yield "classes = ["
        yield from _write_classes(labels)
        yield "]"
    for column in instances:
        yield f"# guess: {column.name}, in {column.reason}"
    if instances:
        yield f"instances = [{', '.join(toml_text(column.name) for column in instances)}]"
    if not labels.columns:
        yield '# classes = ["background", "..."]   # no labels were found'
        yield '# instances = ["cells"]'
        yield 'instances = ["objects"]  # guess: one of both is needed'
    values = labels.class_values
    if not labels.has_colors and values and values != tuple(range(len(values))):
        yield ""
        yield "[semantic_codes]  # guess: stored value = index of its class; several may share one"
        yield from (f"{value} = {index}" for index, value in enumerate(values))


def _write_classes(labels: _Labels) -> Iterator[str]:
    for index, value in enumerate(labels.class_values):
        if labels.has_colors:
            yield f'  {{ name = "class {index}", color = "#{value:06x}" }},'
        else:
            yield f'  "class {index}",  # stored as {value}'


def _write_remarks(content: FolderContent, series: list[Series], labels: _Labels) -> Iterator[str]:
    """What was seen and is not described, as comments."""
    remarks = list(labels.notes)
    for each in series:
        remarks += _remarks_of(each.looks, _example(each))
    if content.skipped:
        remarks.append(
            f"{len(content.skipped)} files have control characters in their names, or names that "
            f"are not Unicode, and are left out: {printable(repr(content.skipped[0])[:80])}"
        )
    if content.others:
        remarks.append(f"files of other kinds, which were not looked at: {content.others}")
    if not content.is_complete:
        remarks.append("there are more files than were looked at")
    yield from (f"# Seen: {printable(remark)}" for remark in dict.fromkeys(remarks))


def _remarks_of(looks: Iterable[Look], example: str) -> Iterator[str]:
    for look in looks:
        if look.form == "unreadable":
            yield f"{example}: one cannot be read: {look.reason}"
        if look.form == "gray in RGB":
            yield f"{example}: RGB with equal channels, which is read as gray"
