"""The peers: the same dense arrays in the stores of other libraries, read by index.

An index (z, y, x) consists of slices; z may be an integer. Stores that are not installed are
skipped. Workers are forked and open files of their own, since forks share the position in a file.
"""

import functools
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from arms import Arm, Batch
from inputs import COLUMNS, LABELS, Truth, bytes_of
from workers import Loading, collate_dense

MEMMAP = "np.memmap"

Index = tuple[Any, slice, slice]
Sample = dict[str, np.ndarray]
Read = Callable[[Index], Sample]


@dataclass(frozen=True)
class Store:
    """Arrays in another store: its name, a function that reads a sample, and bytes on disk."""

    name: str
    read: Read
    size: int


@dataclass(frozen=True)
class _Reads:
    """A map-style dataset of the samples of a store at some indices."""

    read: Read
    indices: Sequence[Index]

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, i: int) -> Sample:
        return self.read(self.indices[i])


def as_batch(sample: dict[str, Any]) -> Batch:
    """One sample as a batch of arrays."""
    return {name: np.asarray(sample[name])[None] for name in COLUMNS}


def arm_of(store: Store, indices: Sequence[Index]) -> Arm:
    """A store read in this process."""
    return Arm(store.name, lambda: (as_batch(store.read(index)) for index in indices), store.size)


def loading_of(store: Store, indices: Sequence[Index]) -> Loading:
    """A store read by workers."""
    return Loading(store.name, lambda: _Reads(store.read, indices), store.size, collate_dense)


def stores(
    makers: Sequence[Callable[[Truth, Path], Iterator[Any]]], truth: Truth, folder: Path
) -> Iterator[Any]:
    """What the makers of those stores give that are installed, each in a folder of its own."""
    for i, make in enumerate(makers):
        own = folder / f"store-{i}"
        own.mkdir(parents=True)
        try:
            yield from make(truth, own)
        except ImportError as error:
            print(f"a store is skipped: {error}")


def _join_pages(page: Callable[[int], np.ndarray], index: Index) -> np.ndarray:
    """The window at an index of an array that is read page by page."""
    z, *inside = index
    if isinstance(z, int):
        return page(z)[tuple(inside)]
    return np.stack([page(k)[tuple(inside)] for k in range(z.start, z.stop)])


def memmap(truth: Truth, folder: Path) -> Iterator[Store]:
    """Dense arrays, one file per column, labels as int32 and as uint16: copied, and as views.

    Views are read by the loop, or by what stacks a batch.
    """
    for name, dtype in ((MEMMAP, np.int32), (f"{MEMMAP}, uint16 labels", np.uint16)):
        own = folder / np.dtype(dtype).name
        own.mkdir()
        for column, array in truth.items():
            np.save(own / column, array.astype(dtype) if column in LABELS else array)
        # Copy-on-write: torch takes writable arrays only.
        maps = {column: np.load(own / f"{column}.npy", mmap_mode="c") for column in truth}
        size = bytes_of(own)
        yield Store(name, functools.partial(_copy_window, maps), size)
        yield Store(f"{name}, views", functools.partial(_view_window, maps), size)


def _view_window(maps: Truth, index: Index) -> Sample:
    return {name: array[index] for name, array in maps.items()}


def _copy_window(maps: Truth, index: Index) -> Sample:
    return {name: np.array(array[index]) for name, array in maps.items()}


def litdata_raw(truth: Truth, folder: Path) -> Iterator[Store]:
    """Arrays in litdata's format: uncompressed, one item per slice, in chunks of 64 MB."""
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
    """Arrays of zarr with its default compressor; "auto" selects its default chunks."""
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

    @functools.cache
    def pages(name: str, _process: int) -> tifffile.TiffPages:
        return tifffile.TiffFile(folder / f"{name}.tif").pages

    def read(index: Index) -> Sample:
        opened = {name: pages(name, os.getpid()) for name in truth}
        return {name: _join_pages(lambda z: opened[name][z].asarray(), index) for name in opened}

    yield Store("tifffile", read, bytes_of(folder))


def torch_em(truth: Truth, folder: Path) -> Iterator[Store]:
    """HDF5 as torch-em writes it for this dataset (gzip, default chunks), by its own loader.

    Its `SegmentationDataset` reads the image and the three labels, which it stacks as int32. It
    draws random patches; here they are given. Its default normalization and augmentation are
    omitted, and so is its conversion of the image to float32.
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
            return self.box

    @functools.cache
    def opened(shape: tuple[int, ...], _process: int) -> Placed:
        # It converts uint16 to int16 and then to `dtype`: only uint16 restores the values.
        return Placed(
            str(path), keys["image"], str(path), [keys[name] for name in COLUMNS[1:]],
            patch_shape=shape, dtype=torch.uint16, label_dtype=torch.int32,
            with_label_channels=True,
        )  # fmt: skip

    def read(index: Index) -> Sample:
        z, *inside = index
        box = (slice(z, z + 1) if isinstance(z, int) else z, *inside)
        shape = tuple(
            len(range(*s.indices(n))) for s, n in zip(box, truth["image"].shape, strict=True)
        )
        source = opened(shape, os.getpid())
        source.box = box
        image, labels = (each.numpy() for each in source[0])
        arrays = dict(zip(COLUMNS, [image[0], *labels], strict=True))
        return {n: a[0] for n, a in arrays.items()} if isinstance(z, int) else arrays

    yield Store("torch-em", read, bytes_of(path))


def _import_torch_em() -> Any:
    import torch

    try:
        import torchvision  # noqa: F401  # imported by torch-em
    except RuntimeError:
        # torchvision for GPUs has no operators with torch for CPUs. The loader needs none, but a
        # second import of torchvision fails without these two.
        for name in ("nms", "qnms"):
            signature = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
            torch.library.define(f"torchvision::{name}", signature)
    import torch_em.data

    return torch_em.data
