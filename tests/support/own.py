"""Small sets of own volumes: files, their description, and the arrays that they were made from."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image
from skimage.measure import label

__all__ = ["FORMS", "OwnSet", "Truth", "write_own"]

FORMS = ("stack", "pictures", "multipage")
CLASSES = ("intracellular", "membrane", "mitochondrion")
CODES = {255: 0, 0: 1, 32: 1, 191: 2}
THRESHOLD = 127


@dataclass(frozen=True)
class Truth:
    """One volume as dense arrays (z, y, x); what it has no labels for is None or missing."""

    name: str
    split: str
    image: np.ndarray
    semantic: np.ndarray | None = None
    labels: dict[str, np.ndarray] = field(default_factory=dict)


@dataclass(frozen=True)
class OwnSet:
    """A description, and the truth by name of the volume, in the order of the description."""

    description: Path
    volumes: dict[str, Truth]

    def of(self, split: str) -> list[Truth]:
        """The volumes of a split, in order."""
        return [volume for volume in self.volumes.values() if volume.split == split]


def write_own(folder: Path, form: str, *, seed: int = 0, **options) -> OwnSet:
    """Write a set of one of `FORMS` below a folder; the description is its `my.toml`.

    - "stack": classes as gray codes, a mask of which pieces are mitochondria, one PNG per slice
      without leading zeros, uint8. A second volume, `validation`, has no labels and is uint16.
    - "pictures": a template of 2D pictures of many sizes, with lists per split, RGB-gray or gray
      PNG, and uint16 ids with gaps; no classes. Options: `count`, `side`.
    - "multipage": multipage uint16 TIFs with gaps in ids, up to 70,000: cells, organelles as
      parts of cells, and pores as parts of organelles. A second volume lacks organelles and pores.
      Options: `with_classes`, `shape`.
    """
    writers = {"stack": _write_stack, "pictures": _write_pictures, "multipage": _write_multipage}
    folder.mkdir(parents=True, exist_ok=True)
    return writers[form](folder, np.random.default_rng(seed), **options)


def _write_stack(folder: Path, random, *, shape: Sequence[int] = (11, 24, 20)) -> OwnSet:
    image = random.integers(0, 256, shape, np.uint8)
    codes = np.uint8([*CODES])[random.integers(0, len(CODES), shape)]
    mask = _blobs(random, shape, 6, [THRESHOLD - 7, THRESHOLD, THRESHOLD + 1, 255]).astype(
        np.uint8
    )
    codes[mask > THRESHOLD] = 191
    semantic = np.vectorize(CODES.get, otypes=[np.uint8])(codes)
    pieces = label(mask > THRESHOLD, connectivity=3)
    name = 'Stack 1 "ü"'
    for part, array in {"Raw data": image, "Labels": codes, "Mito": mask}.items():
        (folder / "Größe 1" / part).mkdir(parents=True)
        for z, page in enumerate(array):
            Image.fromarray(page).save(folder / "Größe 1" / part / f"Slice {z}.png")
    unlabeled = random.integers(0, 65536, (3, *shape[1:])).astype(np.uint16)
    _write_tif(folder / "unlabeled.tif", unlabeled)
    return _describe(
        folder,
        f"""\
name = "own-stack"
title = "A stack"
license = "cc-by-4.0"
citation = "10.1234/abcd"
voxel_size_nm = [50, 4.6, 4.6]
classes = {json.dumps(CLASSES)}
instances = [{{ name = "mitochondria", kind = "mitochondrion" }}]

[semantic_codes]
{_lines(f"{code} = {index}" for code, index in CODES.items())}

[[volumes]]
name = {json.dumps(name, ensure_ascii=False)}
split = "train"
image = "Größe 1/Raw data/*.png"
semantic = "Größe 1/Labels/*.png"
mitochondria = {{ file = "Größe 1/Mito/*.png", components = true, threshold = {THRESHOLD} }}

[[volumes]]
name = "unlabeled"
split = "validation"
image = "unlabeled.tif"
""",
        [
            Truth(name, "train", image, semantic, {"mitochondria": pieces.astype(np.int32)}),
            Truth("unlabeled", "validation", unlabeled),
        ],
    )


def _write_pictures(folder: Path, random, *, count: int = 6, side: int = 24) -> OwnSet:
    """Of every three pictures, two are in `train`; pictures have 1 to 2 times `side` pixels."""
    truths = []
    for part in ("images", "masks"):
        (folder / part).mkdir()
    for i in range(count):
        name = f"Probe {i} é" if i % 2 else f"it's_{i}"
        shape = (1, *random.integers(side, 2 * side, 2).tolist())
        image = random.integers(0, 256, shape, np.uint8)
        particles = _blobs(random, shape, 4, [2, 7, 300, 65535])
        page = Image.fromarray(image[0])
        (page.convert("RGB") if i % 2 else page).save(folder / "images" / f"{name}.png")
        Image.fromarray(particles[0].astype(np.uint16)).save(folder / "masks" / f"{name}.png")
        truth = {"particles": particles.astype(np.int32)}
        truths.append(Truth(name, "test" if i % 3 == 2 else "train", image, None, truth))
    truths.sort(key=lambda truth: truth.split, reverse=True)
    for split in ("train", "test"):
        names = [truth.name for truth in truths if truth.split == split]
        (folder / f"{split}.csv").write_text(_lines(names) + "\n", encoding="utf-8")
    return _describe(
        folder,
        """\
name = "own-pictures"
license = "mit"
instances = [{ name = "particles", kind = "particle" }]

[[volumes]]
name = "{stem}"
split = { "train.csv" = "train", "test.csv" = "test" }
image = "images/{stem}.png"
particles = "masks/{stem}.png"
""",
        truths,
    )


def _write_multipage(
    folder: Path, random, *, shape: Sequence[int] = (7, 18, 22), with_classes: bool = False
) -> OwnSet:
    """Organelles are in cells, and pores in organelles; class = cell (1), organelle (2)."""
    instances = """[
    { name = "cells", kind = "cell" },
    { name = "organelles", kind = "organelle", part_of = "cells", parent = "cell" },
    { name = "pores", kind = "pore", part_of = "organelles" },
]"""
    lines = ['name = "own-multipage"', 'license = "bsd-3-clause"', f"instances = {instances}"]
    if with_classes:
        lines.append('classes = ["outside", "cell", "organelle"]')
    truths = []
    for name, split in (("first", "train"), ("second", "test")):
        image = random.integers(0, 65536, shape).astype(np.uint16)
        cells = _blobs(random, shape, 4, [3, 9, 500, 70000])
        organelles = np.where(cells > 0, _blobs(random, shape, 8, [1, 4, 6, 40]), 0)
        pores = np.where(organelles > 0, _blobs(random, shape, 8, [2, 5, 900]), 0)
        labels = {"cells": cells, "organelles": organelles, "pores": pores}
        if name == "second":
            labels = {"cells": cells}
        semantic = np.where(cells > 0, 1, 0).astype(np.uint8)
        if name == "first":
            semantic[organelles > 0] = 2
        files = {"image": image, **{k: v.astype(np.uint32) for k, v in labels.items()}}
        if with_classes:
            files["semantic"] = semantic
        lines += ["", "[[volumes]]", f'name = "{name}"', f'split = "{split}"']
        for key, array in files.items():
            _write_tif(folder / f"{name}-{key}.tif", array)
            lines.append(f'{key} = "{name}-{key}.tif"')
        labels = {column: array.astype(np.int32) for column, array in labels.items()}
        truths.append(Truth(name, split, image, semantic if with_classes else None, labels))
    return _describe(folder, _lines(lines) + "\n", truths)


def _blobs(random, shape: Sequence[int], count: int, values: Sequence[int]) -> np.ndarray:
    """Boxes of these values, in turn, over zeros; each value is there, int64."""
    array = np.zeros(shape, np.int64)
    for k in range(count):
        begin = [int(random.integers(0, max(n - n // 4, 1))) for n in shape]
        box = tuple(slice(b, b + max(n // 4, 1)) for b, n in zip(begin, shape, strict=True))
        array[box] = values[k % len(values)]
    for k, value in enumerate(values):
        array[0, 0, 2 * k] = value
    return array


def _write_tif(path: Path, array: np.ndarray) -> None:
    tifffile.imwrite(path, array, photometric="minisblack")


def _lines(lines) -> str:
    return "\n".join(lines)


def _describe(folder: Path, text: str, truths: list[Truth]) -> OwnSet:
    path = folder / "my.toml"
    path.write_text(text, encoding="utf-8")
    return OwnSet(path, {truth.name: truth for truth in truths})
