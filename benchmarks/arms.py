"""Shared parts of the loading benchmarks: input, arms, timing and tables."""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import datasets
import numpy as np
import tifffile
from labels import publisher_decode
from torch.utils.data import DataLoader

import platelet_em
from _platelet_em.hub.build import build
from _platelet_em.sample.scene import Scene

COLUMNS = ("image", "semantic", "cells", "organelles")
LABELS = COLUMNS[2:]
WORKERS = (0, 2)

Sample = dict[str, Any]
Truth = dict[str, np.ndarray]


@dataclass(frozen=True)
class Arm:
    """A way to load the samples: its name, a pass over them, and bytes on disk."""

    name: str
    samples: Callable[[], Iterable[Sample]]
    size: int


@dataclass(frozen=True)
class Source:
    """A split in our format: its name, the dataset, and bytes on disk."""

    name: str
    data: Any
    size: int


# --- the input --------------------------------------------------------------------------------


def parse_options(doc: str, rounds: int) -> argparse.Namespace:
    """Parse the options of a benchmark, and print its first line."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--depth", type=int, default=50, help="slices (default: 50)")
    parser.add_argument("--size", type=int, default=800, help="pixels along y and x")
    parser.add_argument("--rounds", type=int, default=rounds, help="passes that are timed")
    datasets.disable_progress_bars()
    print(f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}, "
          f"datasets {datasets.__version__}")  # fmt: skip
    return parser.parse_args()


def make_input(folder: Path, depth: int, size: int) -> Truth:
    """Write the sample as archives and as Parquet; returns the arrays that each arm must give."""
    shape = (depth, size, size)
    print(f"making the sample, {' x '.join(map(str, shape))}", flush=True)
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
    """The split `train` of a config from Parquet and from archives, map-style and streamed."""
    options: dict[str, Any] = {"name": config, "split": "train"}
    repo, sample, cache = str(folder / "repo"), folder / "sample", folder / "cache"
    table = datasets.load_dataset(repo, cache_dir=str(cache), **options)
    yield Source("Parquet, map-style", table.with_format("platelet_em"), _arrow_bytes(table))
    stream = datasets.load_dataset(repo, streaming=True, **options).with_format("platelet_em")
    parquet = bytes_of(*(folder / "repo" / config).glob("train-*"))
    yield Source("Parquet, streamed", stream, parquet)
    options |= {"data_dir": sample, "cache_dir": cache / "archives"}
    table = platelet_em.load_dataset(**options)
    yield Source("archives, map-style", table, _arrow_bytes(table))
    stream = platelet_em.load_dataset(streaming=True, **options)
    yield Source("archives, streamed", stream, bytes_of(archive(folder)))


def _arrow_bytes(table: datasets.Dataset) -> int:
    return bytes_of(*(Path(file["filename"]) for file in table.cache_files))


def archive(folder: Path) -> Path:
    """The archive of both volumes, for the plug-in and for naive reading."""
    return folder / "sample" / "images_and_labels_json.zip"


def naive_volume(folder: Path) -> Truth:
    """The publisher's files of the volume, completely decoded the publisher's way."""
    with ZipFile(archive(folder)) as members:
        paths = {Path(name).name: name for name in members.namelist()}

        def labels(name: str) -> np.ndarray:
            return publisher_decode(json.loads(members.read(paths[name])))

        with members.open(paths["50-images.tif"]) as file:
            image = tifffile.imread(file)
        return {
            "image": image,
            "semantic": labels("50-semantic.json").astype(np.uint8),
            "cells": labels("50-instance-cell.json"),
            "organelles": labels("50-instance-organelle.json"),
        }


# --- the loop ---------------------------------------------------------------------------------


def dense(row: Sample) -> Sample:
    """The sample of a row: all columns as arrays."""
    return {name: np.asarray(row[name]) for name in COLUMNS}


def loader(source: Any, workers: int) -> Callable[[], Iterator[Sample]]:
    """A pass over a dataset with worker processes, which are kept for the next pass."""
    # Open files of the peers cannot be pickled, so workers are forked.
    batches = DataLoader(
        source,
        batch_size=None,
        num_workers=workers,
        collate_fn=_tensors,
        persistent_workers=True,
        multiprocessing_context="fork",
    )
    return lambda: ({name: t.numpy() for name, t in sample.items()} for sample in batches)


def _tensors(row: Sample) -> Sample:
    import torch

    # Views of files are copied, since tensors are writable.
    arrays = {name: np.asarray(row[name]) for name in COLUMNS}
    return {
        name: torch.from_numpy(array if array.flags.writeable else array.copy())
        for name, array in arrays.items()
    }


def one_pass(arm: Arm) -> float:
    """Samples per second of one pass that reads every element."""
    count = 0
    begin = time.perf_counter()
    for sample in arm.samples():
        for name in COLUMNS:
            sample[name].max()
        # Free it before the next one is made.
        del sample
        count += 1
    return count / (time.perf_counter() - begin)


def check(arm: Arm, truth: Sequence[Truth]) -> None:
    """Assert that the samples of the arm equal the truth, in any order."""
    seen = set()
    for sample in arm.samples():
        image = sample["image"]
        i = next(i for i, true in enumerate(truth) if np.array_equal(true["image"], image))
        for name in COLUMNS:
            array = sample[name]
            assert np.array_equal(array, truth[i][name]), (arm.name, name, i)
            # Wider dtypes are allowed: a loader that stacks its labels gives all as int32.
            assert np.can_cast(truth[i][name].dtype, array.dtype), (arm.name, name, array.dtype)
        seen.add(i)
    assert len(seen) == len(truth), arm.name


def measure(arms: Sequence[Arm], rounds: int) -> dict[str, float]:
    """Median samples per second of each arm; arms take turns, and the first round warms up."""
    rates: dict[str, list[float]] = {arm.name: [] for arm in arms}
    for _ in range(rounds + 1):
        for arm in arms:
            rates[arm.name].append(one_pass(arm))
    return {name: statistics.median(each[1:]) for name, each in rates.items()}


# --- the table --------------------------------------------------------------------------------


def show(arms: Sequence[Arm], rates: dict[str, float], unit: str, mine: Sequence[str]) -> None:
    """Print a table: the rate of each arm, and how many times faster some of ours are."""
    heads = "".join(f" {f'[{k}]':>8}" for k in range(1, len(mine) + 1))
    print(f"\n{'':<46} {unit:>10} {'MB on disk':>11}{heads}")
    for arm in sorted(arms, key=lambda arm: -rates[arm.name]):
        ratios = "".join(f" {rates[name] / rates[arm.name]:>7.2f}x" for name in mine)
        mark = "".join(f" [{k}]" for k, name in enumerate(mine, 1) if name == arm.name)
        name = arm.name + mark
        print(f"{name:<46} {rates[arm.name]:>10.1f} {arm.size / 1e6:>11.1f}{ratios}")
    print()


def compare(arms: Sequence[Arm], rates: dict[str, float], mine: str, peer: str) -> None:
    """Print the ratio of speed and of bytes to a peer."""
    size = {arm.name: arm.size for arm in arms}
    if peer in rates:
        speed, space = rates[mine] / rates[peer], size[mine] / size[peer]
        print(f"{mine}: {speed:.2f} x the speed of {peer}, {space:.2f} x its bytes")
