"""How fast complete samples come, beside other ways to store the same arrays, in one run.

Usage: python benchmarks/loading.py [--depth 50] [--size 800] [--rounds 9]   (or: make bench)

A complete sample is a slice's image, class indices and both instance maps, as arrays (y, x) that
are held at the same time; the loop then reads every element of them. The input is the synthetic
sample, made here, written as the publisher's archives and as each peer stores arrays. Every arm is
checked against the truth before it is timed. The page cache is warm: all arms take turns, a pass
over the volume each, and a rate is that of the median pass. Only ratios mean anything on a shared
machine.
"""

import argparse
import json
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import datasets
import numpy as np
import tifffile
from labels import publisher_decode

import platelet_em
from _platelet_em.repo import build
from _platelet_em.scene import Scene
from platelet_em import LazyLabels

COLUMNS = ("image", "semantic", "cells", "organelles")
OURS, STREAMED = "Parquet, our format", "Parquet, streamed, our format"

Sample = dict[str, Any]
Truth = dict[str, np.ndarray]


@dataclass(frozen=True)
class Arm:
    """A way to get the samples of the volume: a pass over them, and what lies on disk."""

    name: str
    samples: Callable[[], Iterable[Sample]]
    size: int


# --- what the loop does -----------------------------------------------------------------------


def dense(row: Sample) -> Sample:
    """The sample of a row: everything as an array."""
    return {name: np.asarray(row[name]) for name in COLUMNS}


def one_pass(arm: Arm) -> float:
    """Samples a second of one pass that reads every element."""
    count = 0
    begin = time.perf_counter()
    for sample in arm.samples():
        for array in sample.values():
            array.max()
        # It is freed before the next one is made.
        del sample, array
        count += 1
    return count / (time.perf_counter() - begin)


def check(arm: Arm, truth: Truth) -> None:
    """Every sample of the arm is the truth, each slice is there, in any order."""
    seen = set()
    for sample in arm.samples():
        image = np.asarray(sample["image"])
        z = next(z for z, page in enumerate(truth["image"]) if np.array_equal(page, image))
        for name in COLUMNS:
            array = np.asarray(sample[name])
            assert np.array_equal(array, truth[name][z]), (arm.name, name, z)
            assert array.dtype == truth[name].dtype, (arm.name, name, array.dtype)
        seen.add(z)
    assert len(seen) == len(truth["image"]), arm.name


def bytes_of(*paths: Path) -> int:
    """Bytes of files, and of all files in folders."""
    files = [f for path in paths for f in ([path] if path.is_file() else path.rglob("*"))]
    return sum(file.stat().st_size for file in files if file.is_file())


# --- ours -------------------------------------------------------------------------------------


def ours(sample: Path, repo: Path, cache: Path) -> Iterator[Arm]:
    """Door 1 (Parquet) and door 2 (archives), map-style and streaming."""
    parquet = bytes_of(*(repo / "slices").glob("train-*"))
    options: dict[str, Any] = {"name": "slices", "split": "train"}
    plain = datasets.load_dataset(str(repo), cache_dir=str(cache), **options)
    streamed = datasets.load_dataset(str(repo), streaming=True, **options)
    arrow = bytes_of(*(Path(file["filename"]) for file in plain.cache_files))
    table, stream = (each.with_format("platelet_em") for each in (plain, streamed))
    yield Arm(OURS, lambda: (dense(table[i]) for i in range(len(table))), arrow)
    yield Arm(STREAMED, lambda: map(dense, stream), parquet)
    yield Arm("Parquet, plain, PIL and from_struct", lambda: map(_from_plain, plain), arrow)
    for name, source, size in ((OURS, table, arrow), (STREAMED, stream, parquet)):
        loader = _loader(source, workers=2)
        yield Arm(f"{name}, 2 workers", loader, size)

    options = {"split": "train", "data_dir": sample, "cache_dir": cache / "archives"}
    built = platelet_em.load_dataset("slices", **options)
    arrow = bytes_of(*(Path(file["filename"]) for file in built.cache_files))
    yield Arm("archives, our format", lambda: (dense(built[i]) for i in range(len(built))), arrow)
    made = platelet_em.load_dataset("slices", streaming=True, **options)
    archive = bytes_of(sample / "images_and_labels_json.zip")
    yield Arm("archives, streamed, our format", lambda: map(dense, made), archive)


def _from_plain(row: Sample) -> Sample:
    labels = {name: LazyLabels.from_struct(row[name]) for name in ("cells", "organelles")}
    return dense({**row, **labels})


def _loader(source: Any, workers: int) -> Callable[[], Iterator[Sample]]:
    from torch.utils.data import DataLoader

    loader = DataLoader(
        source, batch_size=None, num_workers=workers, collate_fn=_tensors, persistent_workers=True
    )
    return lambda: ({name: t.numpy() for name, t in sample.items()} for sample in loader)


def _tensors(row: Sample) -> Sample:
    import torch

    # A copy of what is a view of the file, for tensors are writable.
    return {name: torch.from_numpy(np.array(row[name], copy=None if name in COLUMNS[2:] else True))
            for name in COLUMNS}  # fmt: skip


# --- the peers --------------------------------------------------------------------------------


def memmap(truth: Truth, folder: Path) -> Iterator[Arm]:
    """Dense arrays, one file a column."""
    for name, array in truth.items():
        np.save(folder / name, array)
    maps = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in truth}
    yield Arm("np.memmap", lambda: _slices(maps), bytes_of(folder))


def litdata_raw(truth: Truth, folder: Path) -> Iterator[Arm]:
    """Arrays as litdata stores them, uncompressed, in chunks of 64 MB."""
    from litdata import StreamingDataset
    from litdata.streaming.cache import Cache

    cache = Cache(str(folder), chunk_bytes="64MB")
    for z, sample in enumerate(_slices(truth)):
        cache[z] = sample
    cache.done()
    cache.merge()
    source = StreamingDataset(str(folder), shuffle=False)
    yield Arm("litdata raw", lambda: iter(source), bytes_of(folder))
    yield Arm("litdata raw, 2 workers", _loader(source, workers=2), bytes_of(folder))


def webdataset_npy(truth: Truth, folder: Path) -> Iterator[Arm]:
    """A tar file with a .npy for each array."""
    import webdataset

    path = folder / "train.tar"
    with webdataset.TarWriter(str(path)) as tar:
        for z, sample in enumerate(_slices(truth)):
            arrays = {f"{name}.npy": np.asarray(array) for name, array in sample.items()}
            tar.write({"__key__": f"{z:03}", **arrays})
    source = webdataset.WebDataset(str(path), shardshuffle=False).decode()
    yield Arm(
        "webdataset npy",
        lambda: ({name: each[f"{name}.npy"] for name in COLUMNS} for each in source),
        bytes_of(path),
    )


def zarr_slices(truth: Truth, folder: Path) -> Iterator[Arm]:
    """Arrays of zarr with its own compressor, a chunk a slice."""
    import zarr

    arrays = {}
    for name, array in truth.items():
        chunks = (1, *array.shape[1:])
        options = {"shape": array.shape, "dtype": array.dtype, "chunks": chunks}
        arrays[name] = zarr.create_array(str(folder / name), **options)
        arrays[name][:] = array
    yield Arm("zarr", lambda: _slices(arrays), bytes_of(folder))


def tif_pages(truth: Truth, folder: Path) -> Iterator[Arm]:
    """Dense, uncompressed multipage TIFs, kept open."""
    for name, array in truth.items():
        tifffile.imwrite(folder / f"{name}.tif", array, photometric="minisblack")
    pages = {name: tifffile.TiffFile(folder / f"{name}.tif").pages for name in truth}

    def samples() -> Iterator[Sample]:
        for z in range(len(truth["image"])):
            yield {name: pages[name][z].asarray() for name in truth}

    yield Arm("tifffile", samples, bytes_of(folder))


def hdf5(truth: Truth, folder: Path) -> Iterator[Arm]:
    """HDF5 as torch-em makes it of a volume: gzip, read by h5py; its loader adds to that."""
    import h5py

    with h5py.File(folder / "train.h5", "w") as file:
        for name, array in truth.items():
            chunks = (1, *array.shape[1:])
            file.create_dataset(name, data=array, compression="gzip", chunks=chunks)
    file = h5py.File(folder / "train.h5", "r")
    yield Arm("h5py gzip", lambda: _slices({n: file[n] for n in truth}), bytes_of(folder))


def _slices(arrays: dict[str, Any]) -> Iterator[Sample]:
    for z in range(arrays["image"].shape[0]):
        yield {name: array[z] for name, array in arrays.items()}


PEERS = (memmap, litdata_raw, webdataset_npy, zarr_slices, tif_pages, hdf5)


def peers(truth: Truth, folder: Path) -> Iterator[Arm]:
    """The peers that are installed."""
    for make in PEERS:
        place = folder / make.__name__
        place.mkdir()
        try:
            yield from make(truth, place)
        except ImportError as error:
            print(f"{make.__name__} is left out: {error}")


def naive(sample: Path) -> Arm:
    """The publisher's files, everything decoded the publisher's way before the first slice."""

    def samples() -> Iterator[Sample]:
        with ZipFile(sample / "images_and_labels_json.zip") as archive:
            place = {Path(name).name: name for name in archive.namelist()}

            def labels(name: str) -> np.ndarray:
                return publisher_decode(json.loads(archive.read(place[name])))

            with archive.open(place["50-images.tif"]) as file:
                image = tifffile.imread(file)
            yield from _slices(
                {
                    "image": image,
                    "semantic": labels("50-semantic.json").astype(np.uint8),
                    "cells": labels("50-instance-cell.json"),
                    "organelles": labels("50-instance-organelle.json"),
                }
            )

    return Arm("naive", samples, bytes_of(sample / "images_and_labels_json.zip"))


# --- the table --------------------------------------------------------------------------------


def measure(arms: list[Arm], rounds: int) -> dict[str, float]:
    """Samples a second of each arm, which take turns; the first round warms up."""
    rates: dict[str, list[float]] = {arm.name: [] for arm in arms}
    for _ in range(rounds + 1):
        for arm in arms:
            rates[arm.name].append(one_pass(arm))
    return {name: statistics.median(each[1:]) for name, each in rates.items()}


def show(arms: list[Arm], rates: dict[str, float]) -> None:
    """The table, and the ratios that matter."""
    size = {arm.name: arm.size for arm in arms}
    print(f"\n{'':<40} {'samples/s':>10} {'MB on disk':>11} {'map-style':>10} {'streamed':>9}")
    for arm in sorted(arms, key=lambda arm: -rates[arm.name]):
        ratios = (f"{rates[mine] / rates[arm.name]:.2f}x" for mine in (OURS, STREAMED))
        print("{:<40} {:>10.1f} {:>11.1f} {:>10} {:>9}".format(
            arm.name, rates[arm.name], size[arm.name] / 1e6, *ratios))  # fmt: skip
    print()
    for mine, peer in ((OURS, "litdata raw"), (OURS, "zarr"), (OURS, "np.memmap"),
                       (STREAMED, "webdataset npy")):  # fmt: skip
        if peer in rates:
            speed, room = rates[mine] / rates[peer], size[mine] / size[peer]
            print(f"{mine}: {speed:.2f} x the speed of {peer}, {room:.2f} x its bytes")


def main() -> None:
    """Make the input, and run all arms."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=50, help="slices (default: 50)")
    parser.add_argument("--size", type=int, default=800, help="pixels along y and x")
    parser.add_argument("--rounds", type=int, default=9, help="passes that count (default: 9)")
    options = parser.parse_args()
    shape = (options.depth, options.size, options.size)
    datasets.disable_progress_bars()
    print(f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}, "
          f"datasets {datasets.__version__}")  # fmt: skip
    print(f"making the sample, {' x '.join(map(str, shape))}", flush=True)
    scene = Scene(shape, 0)
    drawn = [scene.slice(z) for z in range(options.depth)]
    truth = {name: np.stack([getattr(d, name) for d in drawn]) for name in COLUMNS}
    truth = {name: a.astype(np.int32) if name in COLUMNS[2:] else a for name, a in truth.items()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        platelet_em.write_sample(folder / "sample", depth=options.depth, size=options.size)
        build(folder / "repo", data_dir=folder / "sample")
        arms = [
            *ours(folder / "sample", folder / "repo", folder / "cache"),
            *peers(truth, folder),
        ]
        for arm in arms:
            check(arm, truth)
        rates = measure(arms, options.rounds)
        last = naive(folder / "sample")
        check(last, truth)
        rates[last.name] = one_pass(last)
        show([*arms, last], rates)


if __name__ == "__main__":
    main()
