"""The dataset card: the template `dataset_card.md`, filled in with what the built files hold."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import yaml
from numpy.typing import NDArray

import _platelet_em
from _platelet_em.arrays.page import decode_page
from _platelet_em.errors import ConversionError
from _platelet_em.facts import (
    ARCHIVES,
    CITATION,
    CLASS_NAMES,
    CONFIGS,
    LICENSE,
    LICENSE_WORDS,
    SCHEMA_VERSION,
    VOLUMES,
    VolumeSpec,
)
from _platelet_em.hf.formatter import read_slice
from _platelet_em.rows.picture import draw_panels, to_png
from _platelet_em.rows.schema import yaml_features
from _platelet_em.rows.shards import count_files, data_files

__all__ = [
    "CARD",
    "CARD_MARK",
    "SYNTHETIC_MARK",
    "SplitFigures",
    "draw_card_picture",
    "measure",
    "picture_name",
    "render_card",
]

CARD = "README.md"
CARD_MARK = "Made by `platelet-em build`"
"""What every card says, and no other README does: by this a repository is known as ours."""

SYNTHETIC_MARK = "made from the synthetic sample of the tool, not from data"
"""What the cards of such repositories say, and no other card does."""

_SYNTHETIC = (
    f"\n**This repository is {SYNTHETIC_MARK}.** Images and labels\nare drawn; what follows "
    "describes the dataset that they stand for.\n"
)
_IDS_ORIGIN = {
    "json": (
        "Ids are those of the publisher's JSON labels. Ids made from the RGBA labels are others."
    ),
    "tif": (
        "Ids are made here, and are not those of the JSON labels: the RGBA labels hold colours,\n"
        "  which are numbered in the order in which they first appear in (z, y, x). Where their "
        "writer\n  gave two objects one colour, they are one object here: the JSON labels are "
        "the truth."
    ),
}
_TEMPLATE = "dataset_card.md"
_PANEL_WIDTH = 480
"""Pixels across a panel of the card's pictures: five of them fit a screen."""


@dataclass(slots=True)
class SplitFigures:
    """What a split of `slices` holds, measured on its files.

    Attributes:
        rows: Slices.
        plane: (y, x).
        class_voxels: int64 (7,), voxels of each semantic class.
        cells, organelles: The ids that appear.
        organelles_of_class: int64 (7,), organelles by their class.
        histogram: int64 (65536,), voxels of each grey value.
    """

    rows: int = 0
    plane: tuple[int, int] = (0, 0)
    class_voxels: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros(len(CLASS_NAMES), np.int64)
    )
    cells: set[int] = field(default_factory=set)
    organelles: dict[int, int] = field(default_factory=dict)
    histogram: NDArray[np.int64] = field(default_factory=lambda: np.zeros(2**16, np.int64))

    @property
    def organelles_of_class(self) -> NDArray[np.int64]:
        """int64 (7,): organelles by their class."""
        return np.bincount(
            np.fromiter(self.organelles.values(), np.int64, len(self.organelles)),
            minlength=len(CLASS_NAMES),
        )

    @property
    def intensity(self) -> tuple[int, int, float, float]:
        """Least, greatest, mean and standard deviation of the grey values."""
        levels = np.arange(len(self.histogram))
        present = np.flatnonzero(self.histogram)
        mean = float((levels * self.histogram).sum() / self.histogram.sum())
        variance = float(((levels - mean) ** 2 * self.histogram).sum() / self.histogram.sum())
        return int(present[0]), int(present[-1]), mean, variance**0.5

    def add(self, row: dict[str, Any]) -> None:
        """Count one row."""
        image, semantic = decode_page(row["image"]["bytes"]), decode_page(row["semantic"]["bytes"])
        self.rows += 1
        self.plane = (image.shape[0], image.shape[1])
        self.histogram += np.bincount(image.reshape(-1), minlength=2**16)
        self.class_voxels += np.bincount(semantic.reshape(-1), minlength=len(CLASS_NAMES))
        self.cells.update(row["cells"]["id"])
        organelles = row["organelles"]
        self.organelles.update(zip(organelles["id"], organelles["class_id"], strict=True))


def picture_name(spec: VolumeSpec) -> str:
    """Path in the repository of the picture that the card shows of a volume."""
    return f"pictures/volume-{spec.name}.png"


def draw_card_picture(folder: Path, spec: VolumeSpec) -> bytes:
    """The middle slice of a volume with its labels, as PNG, from the repository's files."""
    files = data_files(folder, "slices", spec.split)
    z = count_files(files)[0] // 2
    row = read_slice(files, z)
    if row is None:
        raise ConversionError(
            f"{folder}: slice {z} of volume {spec.name} is missing: build it again"
        )
    labels = np.asarray(row["cells"]), np.asarray(row["organelles"])
    title = f"platelet-em, volume {spec.name}, z = {z}"
    panels = draw_panels(row["image"], row["semantic"], *labels, title=title, width=_PANEL_WIDTH)
    return to_png(panels)


def measure(files: list[Path]) -> SplitFigures:
    """Read the files of a split of `slices`, a row group at a time."""
    figures = SplitFigures()
    columns = ["image", "semantic", "cells.id", "organelles.id", "organelles.class_id"]
    for path in files:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1, columns=columns):
                for row in batch.to_pylist():
                    figures.add(row)
    return figures


def render_card(folder: Path, provenance: dict[str, str]) -> str:
    """The card of a built repository, as the text of its README.md.

    Args:
        folder: The repository, its Parquet files in place.
        provenance: Their record: archive, checksum, label source, tool.

    Raises:
        ConversionError: for a template that asks for what is not known.
    """
    figures = {spec.split: measure(data_files(folder, "slices", spec.split)) for spec in VOLUMES}
    published = {archive.label_source: archive.md5 for archive in ARCHIVES}
    label_source = provenance["label_source"]
    values = {
        "front_matter": _front_matter(folder).rstrip(),
        "volumes_table": _volumes_table(figures),
        "classes_table": _classes_table(figures),
        "pictures": _pictures(figures),
        "files_table": _files_table(folder),
        "archive": provenance["archive"],
        "checksum": _checksum(provenance, published[label_source]),
        "label_source": label_source,
        "tool_version": provenance["tool_version"],
        "schema_version": str(SCHEMA_VERSION),
        "license_words": LICENSE_WORDS,
        "origin_warning": _SYNTHETIC if provenance["origin"] == "synthetic" else "",
        "ids_origin": _IDS_ORIGIN[label_source],
        "citation": CITATION.rstrip(),
    }
    template = _read_template()

    def fill(match: re.Match[str]) -> str:
        if match[1] not in values:
            raise ConversionError(f"{_TEMPLATE}: nothing is known to fill in for {match[0]}")
        return values[match[1]]

    return re.sub(r"\{\{(\w+)\}\}", fill, template)


def _read_template() -> str:
    # In a wheel the template is in the package, in a checkout at the top level.
    package = Path(_platelet_em.__file__).parent
    for folder in (package, *package.parents[:2]):
        if (folder / _TEMPLATE).is_file():
            return (folder / _TEMPLATE).read_text("utf-8")
    raise ConversionError(f"{package / _TEMPLATE}: missing: install platelet-em again")


def _front_matter(folder: Path) -> str:
    """The card's YAML: what the Hub, the viewer and `datasets` read."""
    infos = []
    for config in CONFIGS:
        splits, download = [], 0
        for spec in VOLUMES:
            files = data_files(folder, config.name, spec.split)
            parts = [pq.read_metadata(path) for path in files]
            size = sum(
                p.row_group(i).total_byte_size for p in parts for i in range(p.num_row_groups)
            )
            rows, stored = count_files(files)
            splits.append({"name": spec.split, "num_bytes": size, "num_examples": rows})
            download += stored
        infos.append(
            {
                "config_name": config.name,
                "features": yaml_features(config.name),
                "splits": splits,
                "download_size": download,
                "dataset_size": sum(split["num_bytes"] for split in splits),
            }
        )
    configs = [
        {
            "config_name": config.name,
            **({"default": True} if config is CONFIGS[0] else {}),
            "data_files": [
                {"split": spec.split, "path": f"{config.name}/{spec.split}-*.parquet"}
                for spec in VOLUMES
            ],
        }
        for config in CONFIGS
    ]
    head = {
        "pretty_name": "platelet-em",
        "license": LICENSE,
        # The Hub's field for what a licence says in words.
        "license_details": LICENSE_WORDS,
        "task_categories": ["image-segmentation"],
        "tags": ["biology", "medical", "electron-microscopy", "SBF-SEM", "platelets", "3D"],
        "size_categories": ["n<1K"],
        "configs": configs,
        "dataset_info": infos,
    }
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=99)


def _table(header: list[str], rows: list[list[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _checksum(provenance: dict[str, str], published: str | None) -> str:
    md5 = f"`{provenance['archive_md5']}`"
    if not provenance["archive"].endswith(".zip"):
        return f"MD5 of the MD5s of its files: {md5}"
    if published is None:
        return f"MD5 {md5} (none is published)"
    return f"MD5 {md5} (published: `{published}`)"


def _pictures(figures: dict[str, SplitFigures]) -> str:
    lines = []
    for spec in VOLUMES:
        about = f"Volume {spec.name}, slice {figures[spec.split].rows // 2}"
        shown = "image, contours, semantic classes, cells, organelles, shares of classes"
        lines.append(f"![{about}: {shown}]({picture_name(spec)})")
    return "\n\n".join(lines)


def _volumes_table(figures: dict[str, SplitFigures]) -> str:
    rows = []
    for spec in VOLUMES:
        f = figures[spec.split]
        low, high, mean, std = f.intensity
        shape = f"{f.rows} x {f.plane[0]} x {f.plane[1]}"
        grey = f"{low} to {high}, mean {mean:.0f}, std {std:.0f}"
        counts = [str(len(f.cells)), str(len(f.organelles))]
        voxels = str(int(f.class_voxels.sum()))
        rows.append([spec.name, f"`{spec.split}`", shape, voxels, *counts, grey])
    header = ["volume", "split", "shape (z, y, x)", "voxels", "cells", "organelles", "grey values"]
    return _table(header, rows)


def _classes_table(figures: dict[str, SplitFigures]) -> str:
    header = ["index", "class"]
    for spec in VOLUMES:
        header += [f"% of {spec.name}", f"weight in {spec.name}", f"organelles in {spec.name}"]
    rows = []
    for index, name in enumerate(CLASS_NAMES):
        row = [str(index), name]
        for f in figures.values():
            voxels, total = int(f.class_voxels[index]), int(f.class_voxels.sum())
            share = f"{100 * voxels / total:.3f}" if total else "0"
            weight = f"{total / (len(CLASS_NAMES) * voxels):.3g}" if voxels else "none there"
            row += [share, weight, str(f.organelles_of_class[index])]
        rows.append(row)
    return _table(header, rows)


def _files_table(folder: Path) -> str:
    rows = []
    for config in CONFIGS:
        for spec in VOLUMES:
            files = data_files(folder, config.name, spec.split)
            count, stored = count_files(files)
            cells = [f"`{config.name}`", f"`{spec.split}`", str(count), str(len(files))]
            rows.append([*cells, f"{stored / 1e6:.1f} MB"])
    return _table(["config", "split", "rows", "files", "size"], rows)
