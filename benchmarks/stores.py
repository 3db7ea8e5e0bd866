"""The peers: the same dense arrays as other makers store them, read by index.

An index is (z, y, x), slices, or an integer for z. Stores that are not installed are left out.
Workers are forked, and open files of their own, for a file's position is shared by a fork.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from arms import COLUMNS, WORKERS, Arm, Sample, Truth, bytes_of, loader

Index = tuple[Any, slice, slice]
Read = Callable[[Index], Sample]


@dataclass(frozen=True)
class Store:
    """Arrays of another maker: a name, what reads the sample at an index, bytes on disk."""

    name: str
    read: Read
    size: int


@dataclass(frozen=True)
class _Reads:
    """A map-style dataset of what a store has at some places."""

    read: Read
    places: Sequence[Index]

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, i: int) -> Sample:
        return self.read(self.places[i])


def arms_of(store: Store, places: Sequence[Index]) -> Iterator[Arm]:
    """The arms of a store: in this process, and in workers, which copy views anyway."""
    for workers in WORKERS[: 1 if store.name.endswith("views") else None]:
        if workers:
            samples = loader(_Reads(store.read, places), workers)
        else:
            samples = lambda: map(store.read, places)  # noqa: E731  # as loader gives one
        yield Arm(f"{store.name}, {workers} workers", samples, store.size)


def stores(
    makers: Sequence[Callable[[Truth, Path], Iterator[Store]]], truth: Truth, folder: Path
) -> Iterator[Store]:
    """The stores that are installed, each written into a folder of its own."""
    for i, make in enumerate(makers):
        place = folder / f"store-{i}"
        place.mkdir()
        try:
            yield from make(truth, place)
        except ImportError as error:
            print(f"a store is left out: {error}")


def _pages(page: Callable[[int], np.ndarray], index: Index) -> np.ndarray:
    """What an index reads of an array that is got by whole slices."""
    z, *inside = index
    if isinstance(z, int):
        return page(z)[tuple(inside)]
    return np.stack([page(k)[tuple(inside)] for k in range(z.start, z.stop)])


def memmap(truth: Truth, folder: Path) -> Iterator[Store]:
    """Dense arrays, one file a column: as views that only the loop reads, and copied."""
    for name, array in truth.items():
        np.save(folder / name, array)
    maps = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in truth}
    size = bytes_of(folder)
    yield Store("np.memmap, views", lambda index: {n: maps[n][index] for n in maps}, size)
    yield Store("np.memmap", lambda index: {n: np.array(maps[n][index]) for n in maps}, size)


def litdata_raw(truth: Truth, folder: Path) -> Iterator[Store]:
    """Arrays as litdata stores them: uncompressed, an item a slice, in chunks of 64 MB."""
    from litdata import StreamingDataset
    from litdata.streaming.cache import Cache

    writer = Cache(str(folder), chunk_bytes="64MB")
    for z in range(len(truth["image"])):
        writer[z] = {name: array[z] for name, array in truth.items()}
    writer.done()
    writer.merge()
    source = StreamingDataset(str(folder), shuffle=False)

    def read(index: Index) -> Sample:
        z, *inside = index
        if isinstance(z, int):
            return {name: array[tuple(inside)] for name, array in source[z].items()}
        items = [source[k] for k in range(z.start, z.stop)]
        return {n: np.stack([item[n][tuple(inside)] for item in items]) for n in COLUMNS}

    yield Store("litdata raw", read, bytes_of(folder))


def zarr_chunked(truth: Truth, folder: Path, chunks: Sequence[int] | str) -> Store:
    """Arrays of zarr with its own compressor; "auto" are its own chunks."""
    import zarr

    arrays = {}
    for name, array in truth.items():
        options = {"shape": array.shape, "dtype": array.dtype}
        if chunks != "auto":
            options["chunks"] = tuple(map(min, chunks, array.shape))
        arrays[name] = zarr.create_array(str(folder / name), **options)
        arrays[name][:] = array
    label = "x".join(map(str, arrays["cells"].chunks))
    return Store(f"zarr {label}", lambda index: {n: a[index] for n, a in arrays.items()},
                 bytes_of(folder))  # fmt: skip


def tif_pages(truth: Truth, folder: Path) -> Iterator[Store]:
    """Dense, uncompressed multipage TIFs, kept open."""
    for name, array in truth.items():
        tifffile.imwrite(folder / f"{name}.tif", array, photometric="minisblack")

    @cache
    def pages(name: str, _process: int) -> tifffile.TiffPages:
        return tifffile.TiffFile(folder / f"{name}.tif").pages

    def read(index: Index) -> Sample:
        held = {name: pages(name, os.getpid()) for name in truth}
        return {name: _pages(lambda z: held[name][z].asarray(), index) for name in held}

    yield Store("tifffile", read, bytes_of(folder))


def torch_em(truth: Truth, folder: Path) -> Iterator[Store]:
    """HDF5 as torch-em makes it of this dataset: gzip, h5py's own chunks; by its own loader.

    Its `SegmentationDataset` reads the image, and the three labels, which it stacks as int32. It
    draws the places of its patches itself; here it is told them. Its default normalization and
    augmentation are left out, and so is its conversion of the image to float32.
    """
    import h5py
    import torch

    dataset = _import_torch_em().SegmentationDataset
    path = folder / "densecell_train.h5"
    keys = {"image": "raw", "semantic": "labels/original"}
    keys |= {name: f"labels/{name}" for name in COLUMNS if name not in keys}
    with h5py.File(path, "w") as file:
        for name, array in truth.items():
            file.create_dataset(keys[name], data=array, compression="gzip")

    class Placed(dataset):
        def _sample_bounding_box(self) -> Index:
            return self.place

    @cache
    def opened(shape: tuple[int, ...], _process: int) -> Placed:
        # It makes uint16 int16 on the way, so only uint16 has the values at the end.
        return Placed(
            str(path), keys["image"], str(path), [keys[name] for name in COLUMNS[1:]],
            patch_shape=shape, dtype=torch.uint16, label_dtype=torch.int32,
            with_label_channels=True,
        )  # fmt: skip

    def read(index: Index) -> Sample:
        z, *inside = index
        place = (slice(z, z + 1) if isinstance(z, int) else z, *inside)
        shape = tuple(
            len(range(*s.indices(n))) for s, n in zip(place, truth["image"].shape, strict=True)
        )
        source = opened(shape, os.getpid())
        source.place = place
        image, labels = (each.numpy() for each in source[0])
        arrays = dict(zip(COLUMNS, [image[0], *labels], strict=True))
        return {n: a[0] for n, a in arrays.items()} if isinstance(z, int) else arrays

    yield Store("torch-em", read, bytes_of(path))


def _import_torch_em() -> Any:
    import torch

    try:
        import torchvision  # noqa: F401  # torch-em does
    except RuntimeError:
        # A torchvision for GPUs has no operators beside a torch without; the loader needs none,
        # but a second import of torchvision stumbles over these two.
        for name in ("nms", "qnms"):
            signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define(f"torchvision::{name}", signature)
    import torch_em.data

    return torch_em.data
