"""The dataset card: the template `dataset_card.md`, filled with words and figures of a dataset."""

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import _platelet_em
from _platelet_em.errors import ConversionError
from _platelet_em.hub.card_code import loading_values, search_queries
from _platelet_em.hub.card_rows import row_values
from _platelet_em.hub.card_tables import (
    classes_table,
    describe_left_out,
    describe_unlabeled,
    files_table,
    picture_links,
    volumes_table,
)
from _platelet_em.hub.card_words import (
    describe_citation,
    describe_dataset,
    describe_license,
    describe_picture_colors,
    list_notes,
)
from _platelet_em.hub.figures import Figures, measure
from _platelet_em.hub.front_matter import render_front_matter
from _platelet_em.hub.markdown import code_block, code_span, escape, wrap
from _platelet_em.hub.read import open_volume
from _platelet_em.hub.record import EXTRACTED, OWN, SYNTHETIC, origin_warning
from _platelet_em.rows.figure import draw_panels
from _platelet_em.rows.picture import read_slice
from _platelet_em.rows.schema import SCHEMA_VERSION
from _platelet_em.spec import DatasetSpec, VolumeSpec

__all__ = [
    "CARD_MARK",
    "SYNTHETIC_MARK",
    "draw_card_picture",
    "is_edited",
    "is_edited_locally",
    "render_card",
    "render_parts",
    "seal_card",
    "unseal_card",
]

CARD_MARK = "Made by `platelet-em build`"
"""In every card, and in no other README: repositories of this package are recognized by it."""

SYNTHETIC_MARK = "made from the synthetic sample of the tool, not from data"
"""Only in cards of repositories that were made from the sample."""

_SYNTHETIC = (
    f"\n**This repository is {SYNTHETIC_MARK}.** Images and labels\nare drawn; the rest of this "
    "card describes the dataset that they imitate.\n"
)
_TEMPLATE = "dataset_card.md"
_USER = "<user>/"
"""How the template's examples begin the name of the repository."""
_DEFAULT = "platelet-em"
"""The name of the repository in examples of cards whose seal does not say another one."""
_ANY_REPOSITORY = re.compile(rf"{_USER}([\w.-]+)")
_SEAL = re.compile(
    rf"\n<!-- Pushed to (\S+)(?: for {_USER}(\S+))? by platelet-em, "
    r"SHA-256 ([0-9a-f]{64}) -->\n\Z"
)
"""The last line of a card on the Hub, with the checksum of the text above it."""
_BUILT = re.compile(r"\n<!-- Built by platelet-em, SHA-256 ([0-9a-f]{64}) -->\n")
"""The last line of a card that was built, with the checksum of the text above it."""
_EMPTY_LINES = re.compile(r"\n{3,}")
_PANEL_WIDTH = 480
"""Pixels across a panel of the card's pictures: five of them fit a screen."""


def draw_card_picture(folder: Path, volume: VolumeSpec, spec: DatasetSpec) -> NDArray[np.uint8]:
    """The middle slice of a volume with its labels, from the repository's files: RGB (y, x, 3)."""
    view = open_volume(folder, volume)
    z = view.shape[0] // 2
    title = f"{spec.name}, volume {volume.name}, z = {z}"
    return draw_panels(read_slice(view, z), spec, title=title, width=_PANEL_WIDTH)


def render_card(folder: Path, record: dict[str, str], spec: DatasetSpec) -> str:
    """The card of a built repository, as the text of its README.md.

    Args:
        folder: The repository, its Parquet files in place.
        record: The record of the files: archive, checksum, label source, tool.
        spec: The dataset.

    Raises:
        ConversionError: for a template with an unknown field.
    """
    figures = measure(folder, spec)
    parts = _render_parts(folder, record, spec, figures)
    bits = {bits for f in figures for bits in f.bits}
    values = {
        "title": escape(spec.title or spec.name),
        "about": describe_dataset(spec),
        "picture_colors": describe_picture_colors(spec),
        "license": describe_license(spec),
        **loading_values(spec, figures),
        "rows_from_files": _rows_from_files(spec),
        **row_values(spec, figures),
        "search": search_queries(spec, figures),
        "notes": list_notes(spec, record["label_source"], bits),
        **_origin_values(record, spec),
        "citation": describe_citation(spec),
        **parts,
    }
    values["classes"] = _classes_section(parts["classes_table"], spec)
    values["decoding"] = _decoding_section(values["rle_code"])

    def fill(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise ConversionError(f"{_TEMPLATE}: {match[0]} is not a field of the card")
        return values[match[1]]

    body = _EMPTY_LINES.sub("\n\n", re.sub(r"\{\{(\w+)\}\}", fill, _read_template()))
    text = f"---\n{render_front_matter(folder, spec).rstrip()}\n---\n\n{body}"
    return f"{text}\n<!-- Built by platelet-em, SHA-256 {_sha256(text)} -->\n"


def render_parts(folder: Path, record: dict[str, str], spec: DatasetSpec) -> dict[str, str]:
    """The parts of a card that state what is in the repository, by their names.

    Args:
        folder: The repository, its Parquet files in place.
        record: The record of the files.
        spec: The dataset.

    Raises:
        PlateletEMError: for damaged files.
    """
    return _render_parts(folder, record, spec, measure(folder, spec))


def _render_parts(
    folder: Path, record: dict[str, str], spec: DatasetSpec, figures: Sequence[Figures]
) -> dict[str, str]:
    return {
        "origin_warning": _origin_warning(record, spec),
        "volumes_table": volumes_table(figures, spec),
        "unlabeled": describe_unlabeled(spec),
        "pictures": picture_links(figures, spec),
        "classes_table": classes_table(figures, spec),
        "checksum": _checksum(record, spec),
        "files_table": files_table(folder, spec),
        "left_out": describe_left_out(folder, figures, spec),
    }


def seal_card(text: str, repo_id: str) -> str:
    """The card as it is pushed: its examples name the repository, and edits can be recognized.

    Args:
        text: The card of a built repository, or of one that was downloaded from the Hub.
        repo_id: USER/NAME.
    """
    text = unseal_card(text)
    found = _ANY_REPOSITORY.search(text)
    name = found[1] if found else _DEFAULT
    text = text.replace(f"{_USER}{name}", repo_id)
    made_for = "" if name == _DEFAULT else f" for {_USER}{name}"
    seal = f"Pushed to {repo_id}{made_for} by platelet-em, SHA-256 {_sha256(text)}"
    return f"{text}\n<!-- {seal} -->\n"


def unseal_card(text: str) -> str:
    """The card before it was pushed, as `build` writes it; a card without a seal as it is."""
    if (seal := _SEAL.search(text)) is None:
        return text
    pattern = rf"(?<![\w.-]){re.escape(seal[1])}(?![\w.-])"
    return re.sub(pattern, f"{_USER}{seal[2] or _DEFAULT}", text[: seal.start()])


def is_edited(text: str) -> bool:
    """Whether a card on the Hub is not exactly what a push wrote."""
    seal = _SEAL.search(text)
    return seal is None or _sha256(text[: seal.start()]) != seal[3]


def is_edited_locally(text: str) -> bool:
    """Whether a card was changed after build or push wrote it; unknown of older ones: False."""
    built = [*_BUILT.finditer(text)]
    if not built or not is_edited(text):
        return False
    return built[-1].end() < len(text) or _sha256(text[: built[-1].start()]) != built[-1][1]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read_template() -> str:
    # In a wheel the template is in the package, in a checkout at the top level.
    package = Path(_platelet_em.__file__).parent
    for folder in (package, *package.parents[:2]):
        if (folder / _TEMPLATE).is_file():
            return (folder / _TEMPLATE).read_text("utf-8")
    raise ConversionError(f"{package / _TEMPLATE}: missing: install platelet-em again")


def _checksum(record: dict[str, str], spec: DatasetSpec) -> str:
    md5 = code_span(record["archive_md5"])
    if record["origin"] == OWN:
        return f"MD5 of their names and of the MD5s of their contents: {md5}"
    if record["archive"] == EXTRACTED:
        return f"MD5 of the MD5s of its files: {md5}"
    published = spec.archive(record["label_source"]).md5
    if published is None:
        return f"MD5 {md5} (none is published)"
    return f"MD5 {md5} (published: `{published}`)"


def _origin_warning(record: dict[str, str], spec: DatasetSpec) -> str:
    """What the card states at its top about a build that is not known to be of published data."""
    if record["origin"] == SYNTHETIC:
        return _SYNTHETIC
    warning = origin_warning(record, spec)
    return f"\n**{warning}.**\n" if warning else ""


def _origin_values(record: dict[str, str], spec: DatasetSpec) -> dict[str, str]:
    """The fields of the template that say what the rows were made from."""
    found = {
        "tool_version": record["tool_version"],
        "schema_version": str(SCHEMA_VERSION),
        "source": "own files",
        "originals": "files",
        "test_origin": _test_origin(record, spec),
    }
    if record["origin"] == OWN:
        return found
    source = f"{code_span(record['archive'])}, labels from `{record['label_source']}`"
    return {**found, "source": source, "originals": "archive"}


def _test_origin(record: dict[str, str], spec: DatasetSpec) -> str:
    """Where the optional volume is from, and how its images were read."""
    if "test_archive" not in record:
        return ""
    archive, md5 = code_span(record["test_archive"]), code_span(record["test_archive_md5"])
    known = [a.md5 for v in spec.optional_volumes for a in spec.archives if a.name in v.archives]
    text = f"Volume test is from {archive}, MD5 {md5} (published: `{known[0]}`)."
    if record.get("test_images", "uint16") != "uint16":
        text += " Its images are int16 there: 32768 is added to each value, and nothing is scaled."
    return wrap(text)


def _rows_from_files(spec: DatasetSpec) -> str:
    """How to make the rows without the repository."""
    if not spec.archives:
        return wrap(
            "On the command line, `platelet-em build` makes a repository such as this one from a "
            "description of own files."
        )
    code = (
        'from_archive = platelet_em.load_dataset("slices", '
        f'label_source="{spec.archives[0].name}")'
    )
    text = wrap(
        "The plug-in also makes rows from the publisher's archives, which it downloads and "
        "checks, without this repository. `platelet_em.register()` lets `datasets` find it by "
        "name, and `datasets` 3 can run it as a script. On the command line, `platelet-em build` "
        "makes a repository such as this one."
    )
    return f"{text}\n\n{code_block('python', code)}"


def _classes_section(table: str, spec: DatasetSpec) -> str:
    if not table:
        return ""
    count = len(spec.classes)
    weight = (
        f"A weight is `voxels / ({count} * voxels of the class)`, as scikit-learn's "
        '`class_weight="balanced"`.'
    )
    is_weighed = "weight in" in table.splitlines()[0]
    return f"### Classes\n\n{table}\n\n{weight if is_weighed else ''}"


def _decoding_section(code: str) -> str:
    return f"### Decoding an RLE string without the plug-in\n\n{code}" if code else ""
