"""What the benchmarks read: the synthetic sample as arrays, archives and Parquet."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import datasets
import numpy as np
import publishers_way
import tifffile

import platelet_em
from _platelet_em.hub.build import build
from _platelet_em.sample.scene import Scene

COLUMNS = ("image", "semantic", "cells", "organelles")
LABELS = COLUMNS[2:]

Truth = dict[str, np.ndarray]
"""Column -> array (z, y, x): image uint16, semantic uint8, labels int32."""


@dataclass(frozen=True)
class Source:
    """A split in our format: its name, the dataset, and its bytes on disk."""

    name: str
    data: Any
    size: int


def make_input(folder: Path, depth: int, size: int) -> Truth:
    """Write the sample as archives and as Parquet; returns the arrays that each arm must give."""
    shape = (depth, size, size)
    platelet_em.write_sample(folder / "sample", depth=depth, size=size)
    build(folder / "repo", data_dir=folder / "sample")
    scene = Scene(shape, 0)
    drawn = [scene.slice(z) for z in range(depth)]
    truth = {name: np.stack([getattr(d, name) for d in drawn]) for name in COLUMNS}
    return {name: a.astype(np.int32) if name in LABELS else a for name, a in truth.items()}


def bytes_of(*paths: Path) -> int:
    """Total bytes of files, and of all files in folders."""
    files = [f for path in paths for f in ([path] if path.is_file() else path.rglob("*"))]
    return sum(file.stat().st_size for file in files if file.is_file())


def sources(folder: Path, config: str) -> Iterator[Source]:
    """The split `train` of a config, map-style (an Arrow file), and streamed from two formats.

    Loaded from the archive it becomes the same Arrow file, which is why that is no source here.
    """
    options: dict[str, Any] = {"name": config, "split": "train"}
    repo = str(folder / "repo")
    table = datasets.load_dataset(repo, cache_dir=str(folder / "cache"), **options)
    arrow = bytes_of(*(Path(file["filename"]) for file in table.cache_files))
    yield Source("map-style", table.with_format("platelet_em"), arrow)
    stream = datasets.load_dataset(repo, streaming=True, **options).with_format("platelet_em")
    parquet = bytes_of(*(folder / "repo" / config).glob("train-*"))
    yield Source("streamed Parquet", stream, parquet)
    stream = platelet_em.load_dataset(data_dir=folder / "sample", streaming=True, **options)
    yield Source("streamed archive", stream, bytes_of(archive(folder)))


def archive(folder: Path) -> Path:
    """The archive of both volumes."""
    return folder / "sample" / "images_and_labels_json.zip"


def read_publishers_way(folder: Path) -> Truth:
    """The publisher's files of the volume, completely decoded the publisher's way."""
    with ZipFile(archive(folder)) as members:
        paths = {Path(name).name: name for name in members.namelist()}

        def labels(name: str) -> np.ndarray:
            return publishers_way.decode(json.loads(members.read(paths[name])))

        with members.open(paths["50-images.tif"]) as file:
            image = tifffile.imread(file)
        return {
            "image": image,
            "semantic": labels("50-semantic.json").astype(np.uint8),
            "cells": labels("50-instance-cell.json"),
            "organelles": labels("50-instance-organelle.json"),
        }
