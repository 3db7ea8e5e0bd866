"""The dataset card: the template `dataset_card.md`, filled with figures from the built files."""

import hashlib
import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import _platelet_em
from _platelet_em.arrays.volume_view import VolumeView
from _platelet_em.errors import ConversionError, printable
from _platelet_em.hub.front_matter import render_front_matter
from _platelet_em.hub.layout import data_files, picture_name
from _platelet_em.hub.parquet import count_files
from _platelet_em.hub.read import open_volume
from _platelet_em.hub.record import EXTRACTED, SYNTHETIC, origin_warning, stored_configs
from _platelet_em.rows.class_balance import count_classes, weigh_classes
from _platelet_em.rows.figure import draw_panels
from _platelet_em.rows.intensity import GrayHistogram
from _platelet_em.rows.make import SLICES
from _platelet_em.rows.picture import read_slice
from _platelet_em.rows.schema import SCHEMA_VERSION
from _platelet_em.spec import DatasetSpec, VolumeSpec

__all__ = [
    "CARD_MARK",
    "SYNTHETIC_MARK",
    "VolumeFigures",
    "draw_card_picture",
    "is_edited",
    "is_edited_locally",
    "measure",
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
_IDS_ORIGIN = {
    "json": (
        "Ids are those of the publisher's JSON labels. Ids made from the RGBA labels differ."
    ),
    "tif": (
        "Ids are made here, and are not those of the JSON labels: the RGBA labels store colors,\n"
        "  which are numbered in the order in which they first appear in (z, y, x). Where their "
        "writer\n  gave two objects one color, they are one object here: the JSON labels are "
        "the truth."
    ),
}
_TEMPLATE = "dataset_card.md"
_ANY_REPOSITORY = "<user>/platelet-em"
"""The name of the repository in the template's examples."""
_SEAL = re.compile(r"\n<!-- Pushed to (\S+) by platelet-em, SHA-256 ([0-9a-f]{64}) -->\n\Z")
"""The last line of a card on the Hub, with the checksum of the text above it."""
_BUILT = re.compile(r"\n<!-- Built by platelet-em, SHA-256 ([0-9a-f]{64}) -->\n")
"""The last line of a card that was built, with the checksum of the text above it."""
_PANEL_WIDTH = 480
"""Pixels across a panel of the card's pictures: five of them fit a screen."""


@dataclass(slots=True)
class VolumeFigures:
    """Figures of a volume, measured slice by slice.

    Attributes:
        shape: (z, y, x).
        histogram: Pixels of each gray value.
        class_voxels: int64 (n_classes,), voxels of each semantic class.
        instances: Column -> {id: class} of all instances; class 0 where they have none.
    """

    shape: tuple[int, int, int]
    histogram: GrayHistogram
    class_voxels: NDArray[np.int64]
    instances: dict[str, dict[int, int]] = field(default_factory=dict)

    def count_by_class(self, column: str) -> NDArray[np.int64]:
        """int64 (n_classes,): instances of a column by their class."""
        classes = list(self.instances[column].values())
        return np.bincount(np.array(classes, np.int64), minlength=len(self.class_voxels))


def measure(volume: VolumeView, spec: DatasetSpec) -> VolumeFigures:
    """Measure a volume, with one slice in memory at a time."""
    classes = len(spec.classes)
    figures = VolumeFigures(
        volume.shape,
        GrayHistogram(volume.name),
        np.zeros(classes, np.int64),
        {kind: {} for kind in volume.kinds},
    )
    for z in range(volume.shape[0]):
        figures.histogram.add(volume.image(z))
        figures.class_voxels += count_classes(volume.semantic(z), classes)
        for kind, found in figures.instances.items():
            labels = volume.labels(kind, z)
            class_ids = labels.properties.get("class_id", np.zeros_like(labels.ids))
            found.update(zip(labels.ids.tolist(), class_ids.tolist(), strict=True))
    return figures


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
    values = {
        "front_matter": render_front_matter(folder, spec).rstrip(),
        **render_parts(folder, record, spec),
        "archive": _code_span(record["archive"]),
        "label_source": record["label_source"],
        "tool_version": record["tool_version"],
        "schema_version": str(SCHEMA_VERSION),
        "license_words": spec.license_details,
        "publisher_page": spec.page,
        "splits": " and ".join(f"`{v.split}` is volume {v.name}" for v in spec.volumes),
        "test_origin": _test_origin(record, spec),
        "ids_origin": _IDS_ORIGIN[record["label_source"]],
        "citation": spec.citation.rstrip(),
    }

    def fill(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise ConversionError(f"{_TEMPLATE}: {match[0]} is not a field of the card")
        return values[match[1]]

    text = re.sub(r"\{\{(\w+)\}\}", fill, _read_template())
    return f"{text}\n<!-- Built by platelet-em, SHA-256 {_sha256(text)} -->\n"


def render_parts(folder: Path, record: dict[str, str], spec: DatasetSpec) -> dict[str, str]:
    """The parts of a card that state what is in the repository, by their names in the template.

    Args:
        folder: The repository, its Parquet files in place.
        record: The record of the files.
        spec: The dataset.

    Raises:
        PlateletEMError: for damaged files.
    """
    figures = {volume.name: measure(open_volume(folder, volume), spec) for volume in spec.volumes}
    return {
        "origin_warning": _origin_warning(record, spec),
        "volumes_table": _volumes_table(figures, spec),
        "test_note": _test_note(spec),
        "pictures": _pictures(figures, spec),
        "classes_table": _classes_table(figures, spec),
        "checksum": _checksum(record, spec.archive(record["label_source"]).md5),
        "files_table": _files_table(folder, spec),
        "left_out": _left_out(folder, spec),
    }


def _code_span(text: str) -> str:
    """Text that is not ours as code in Markdown, in which neither Markdown nor HTML has a meaning.

    >>> _code_span("a`<b>`.zip")
    '``a`<b>`.zip``'
    """
    text = printable(text)
    # A fence is longer than all runs of backticks inside; a space keeps it apart from them.
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    space = " " if text[:1] in ("`", " ") or text[-1:] in ("`", " ", "") else ""
    return f"{fence}{space}{text}{space}{fence}"


def seal_card(text: str, repo_id: str) -> str:
    """The card as it is pushed: its examples name the repository, and edits can be recognized.

    Args:
        text: The card of a built repository, or of one that was downloaded from the Hub.
        repo_id: USER/NAME.
    """
    text = unseal_card(text).replace(_ANY_REPOSITORY, repo_id)
    return f"{text}\n<!-- Pushed to {repo_id} by platelet-em, SHA-256 {_sha256(text)} -->\n"


def unseal_card(text: str) -> str:
    """The card before it was pushed, as `build` writes it; a card without a seal as it is."""
    if (seal := _SEAL.search(text)) is None:
        return text
    name = rf"(?<![\w.-]){re.escape(seal[1])}(?![\w.-])"
    return re.sub(name, _ANY_REPOSITORY, text[: seal.start()])


def is_edited(text: str) -> bool:
    """Whether a card on the Hub is not exactly what a push wrote."""
    seal = _SEAL.search(text)
    return seal is None or _sha256(text[: seal.start()]) != seal[2]


def is_edited_locally(text: str) -> bool:
    """Whether a card was changed after build or push wrote it; unknown of older ones: False."""
    built = _BUILT.search(text)
    if built is None or not is_edited(text):
        return False
    return built.end() < len(text) or _sha256(text[: built.start()]) != built[1]


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read_template() -> str:
    # In a wheel the template is in the package, in a checkout at the top level.
    package = Path(_platelet_em.__file__).parent
    for folder in (package, *package.parents[:2]):
        if (folder / _TEMPLATE).is_file():
            return (folder / _TEMPLATE).read_text("utf-8")
    raise ConversionError(f"{package / _TEMPLATE}: missing: install platelet-em again")


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _checksum(record: dict[str, str], published: str | None) -> str:
    md5 = _code_span(record["archive_md5"])
    if record["archive"] == EXTRACTED:
        return f"MD5 of the MD5s of its files: {md5}"
    if published is None:
        return f"MD5 {md5} (none is published)"
    return f"MD5 {md5} (published: `{published}`)"


def _origin_warning(record: dict[str, str], spec: DatasetSpec) -> str:
    """What the card states at its top about a build that is not known to be of published data."""
    if record["origin"] == SYNTHETIC:
        return _SYNTHETIC
    warning = origin_warning(record, spec)
    return f"\n**{warning}.**\n" if warning else ""


def _test_note(spec: DatasetSpec) -> str:
    """What to know about volumes that are labeled in part; empty if there are none."""
    partly = [volume for volume in spec.volumes if volume.is_partly_labeled]
    if not partly:
        return ""
    names = " and ".join(volume.name for volume in partly)
    return f"""
**Volume {names}** is the paper's third one. Only one of its cells is labeled: class 0 means
"background or not labeled" there, so score voxels of the classes 1 to 6 only, as the authors do.
It has no instances: `cells`, `organelles` and their numbers are null. Of the published results on
it, one is known here: a mean IoU of 0.446 for the paper's ensemble.
"""


def _test_origin(record: dict[str, str], spec: DatasetSpec) -> str:
    """Where the optional volume is from, and how its images were read."""
    if "test_archive" not in record:
        return ""
    archive, md5 = _code_span(record["test_archive"]), _code_span(record["test_archive_md5"])
    known = [a.md5 for v in spec.optional_volumes for a in spec.archives if a.name in v.archives]
    text = f"Volume test is from {archive}, MD5 {md5} (published: `{known[0]}`)."
    if record.get("test_images", "uint16") != "uint16":
        text += (
            " Its images are int16 there: 32768 is added\nto each value, and nothing is scaled."
        )
    return text


def _pictures(figures: dict[str, VolumeFigures], spec: DatasetSpec) -> str:
    lines = []
    for volume in spec.volumes:
        about = f"Volume {volume.name}, slice {figures[volume.name].shape[0] // 2}"
        kinds = figures[volume.name].instances
        panels = ", ".join(["image", "contours", "semantic classes", *kinds, "shares of classes"])
        lines.append(f"![{about}: {panels}]({picture_name(volume)})")
    return "\n\n".join(lines)


def _volumes_table(figures: dict[str, VolumeFigures], spec: DatasetSpec) -> str:
    kinds = [instance.column for instance in spec.instances]
    rows = []
    for volume in spec.volumes:
        f = figures[volume.name]
        gray = f.histogram.measure()
        shape = " x ".join(map(str, f.shape))
        values = f"{gray.minimum} to {gray.maximum}, mean {gray.mean:.0f}, std {gray.std:.0f}"
        counts = [
            str(len(f.instances[kind])) if kind in f.instances else "not labeled" for kind in kinds
        ]
        voxels = str(int(f.class_voxels.sum()))
        rows.append([volume.name, f"`{volume.split}`", shape, voxels, *counts, values])
    header = ["volume", "split", "shape (z, y, x)", "voxels", *kinds, "gray values"]
    return _table(header, rows)


def _classes_table(figures: dict[str, VolumeFigures], spec: DatasetSpec) -> str:
    classified = [instance.column for instance in spec.instances if instance.has_class]
    header = ["index", "class"]
    for volume in spec.volumes:
        header += [f"% of {volume.name}", f"weight in {volume.name}"]
        header += [f"{c} in {volume.name}" for c in classified if c in volume.columns]
    rows = []
    for index, name in enumerate(spec.class_names):
        row = [str(index), name]
        for volume in spec.volumes:
            f = figures[volume.name]
            row += _weigh_class(f, index, volume)
            row += [str(f.count_by_class(c)[index]) for c in classified if c in volume.columns]
        rows.append(row)
    return _table(header, rows)


def _weigh_class(figures: VolumeFigures, index: int, volume: VolumeSpec) -> list[str]:
    """Percent and weight of a class; of labeled voxels only, where class 0 may mean unlabeled."""
    first = 1 if volume.is_partly_labeled else 0
    if index < first:
        return ["not labeled", "0"]
    voxels, total = int(figures.class_voxels[index]), int(figures.class_voxels[first:].sum())
    weights = weigh_classes(figures.class_voxels, is_partly_labeled=volume.is_partly_labeled)
    share = f"{100 * voxels / total:.3f}" if total else "0"
    return [share, f"{weights[index]:.3g}" if voxels else "none there"]


def _left_out(folder: Path, spec: DatasetSpec) -> str:
    """The volumes that are too large for a row of a configuration; empty if there are none."""
    lines = [
        f"\nVolume {volume.name} is too large for a row of `{config.name}`: its slices are in "
        f"`{SLICES.name}`."
        for config in stored_configs(folder)
        for volume in filter(config.covers, spec.volumes)
        if not data_files(folder, config.name, volume.split)
    ]
    return "\n".join(lines)


def _files_table(folder: Path, spec: DatasetSpec) -> str:
    rows = []
    for config in stored_configs(folder):
        for volume in spec.volumes:
            if not (files := data_files(folder, config.name, volume.split)):
                continue
            count, stored = count_files(files)
            cells = [f"`{config.name}`", f"`{volume.split}`", str(count), str(len(files))]
            rows.append([*cells, f"{stored / 1e6:.1f} MB"])
    return _table(["config", "split", "rows", "files", "size"], rows)
