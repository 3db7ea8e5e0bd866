"""Random 3D windows per second, compared with other stores of the same arrays.

A window is 16 x 256 x 256 voxels of the image, the class indices and both instance maps, all in
memory at the same time. The corners are those that `RandomWindows` draws inside the volume, the
same for all arms: peers read a plain slice there. All arms return arrays of their own, except
"views", which only the loop reads. The page cache is warm, and what an arm keeps, such as the
parsed runs of a volume, is there from the first pass, which does not count.

webdataset is no peer here: it reads files in order, and has no random access.

"Decode, then crop" is what a loader without lazy arrays does, here with our decoder: it decodes
the 16 slices that the window touches.
"""

import functools
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import workers
from arms import NUMPY_ALONE, Arm, Figure, check, measure, show
from inputs import COLUMNS, Truth, sources
from stores import (
    MEMMAP,
    Index,
    Sample,
    Store,
    arm_of,
    as_batch,
    litdata_raw,
    loading_of,
    memmap,
    stores,
    tif_pages,
    torch_em,
    zarr_chunked,
)
from workers import Loading

import platelet_em

SHAPE, COUNT = (16, 256, 256), 48
CHUNKINGS = ("auto", (4, 128, 128), (8, 128, 128), (8, 256, 256), (16, 128, 128))


def ours(folder: Path, sampler: platelet_em.RandomWindows) -> Iterator[Arm]:
    """Each source, with the compiled loops and without."""
    for source in sources(folder, "volumes"):
        windows = platelet_em.windows(source.data, sampler)
        batches = functools.partial(map, as_batch, windows)
        yield Arm(f"ours, {source.name}", batches, source.size)
        yield Arm(f"ours, {source.name}, NumPy alone", batches, source.size, NUMPY_ALONE)


def ours_in_workers(folder: Path, sampler: platelet_em.RandomWindows) -> Iterator[Loading]:
    """Each source, dense and packed; each worker parses the volume at its first window."""
    for source in sources(folder, "volumes"):
        for form, collate in (
            ("dense", workers.collate_dense),
            ("packed", workers.collate_packed),
        ):
            make = functools.partial(
                platelet_em.windows, source.data, sampler, packed=form == "packed"
            )
            yield Loading(f"ours, {source.name}, {form}", make, source.size, collate)


def decode_then_crop(folder: Path) -> Store:
    """Decode the slices that a window touches, and crop."""
    slices = next(sources(folder, "slices"))

    def read(index: Index) -> Sample:
        z, *inside = index
        rows = [slices.data[k] for k in range(z.start, z.stop)]
        return {n: np.stack([np.asarray(row[n])[tuple(inside)] for row in rows]) for n in COLUMNS}

    return Store("decode 16 slices, then crop", read, slices.size)


def best_zarr(regions: list[Index], truth: Truth, folder: Path) -> Iterator[Store]:
    """The fastest of several chunkings, by one pass after a warm-up pass."""
    seconds: dict[str, float] = {}
    made: dict[str, Store] = {}
    for i, chunks in enumerate(CHUNKINGS):
        store = zarr_chunked(truth, folder / str(i), chunks)
        for _ in range(2):
            begin = time.perf_counter()
            for region in regions:
                store.read(region)
            seconds[store.name] = time.perf_counter() - begin
        made[store.name] = store
    yield made[min(seconds, key=seconds.__getitem__)]


def run(truth: Truth, folder: Path, rounds: int) -> list[Figure]:
    """Both tables, and the figures of them that the project wants."""
    shape = tuple(map(min, SHAPE, truth["image"].shape))
    sampler = platelet_em.RandomWindows(shape, COUNT, pad=None)
    drawn = platelet_em.windows(next(sources(folder, "volumes")).data, sampler)
    regions = [tuple(slice(c, c + n) for c, n in zip(window["corner"], shape, strict=True))
               for window in drawn]  # fmt: skip
    wanted = [{name: array[region] for name, array in truth.items()} for region in regions]
    makers = (memmap, litdata_raw, tif_pages, torch_em, functools.partial(best_zarr, regions))
    peers = list(stores(makers, truth, folder / "windows"))
    arms = list(ours(folder, sampler))
    arms += [arm_of(store, regions) for store in [decode_then_crop(folder), *peers]]
    for arm in arms:
        check(arm, wanted)
    rates = measure(arms, rounds)
    print(f"## Windows {shape}, one process")
    show("windows/s", arms, rates, MEMMAP)

    loadings = list(ours_in_workers(folder, sampler))
    loadings += [loading_of(store, regions) for store in peers if store.name != "tifffile"]
    print(f"## Windows {shape}, two workers, batches of four")
    in_workers = workers.compare(loadings, wanted, rounds, "windows/s", MEMMAP)
    return list(figures(rates, in_workers, [one.name for one in sources(folder, "volumes")]))


def figures(
    alone: dict[str, float], in_workers: dict[str, float], names: list[str]
) -> Iterator[Figure]:
    """What the project wants of windows with all four columns."""
    for name in names:
        arm = f"ours, {name}"
        plain = alone[MEMMAP]
        yield Figure(f"windows, {name}: / np.memmap", alone[arm] / plain, 1)
        ratio = alone[f"{arm}, NumPy alone"] / plain
        yield Figure(f"windows, {name}, NumPy alone: / np.memmap", ratio, 0.45)
        packed = in_workers[f"{arm}, packed"]
        for peer, least in (
            (MEMMAP, 1.8),
            (f"{MEMMAP}, uint16 labels", 1.3),
            (f"{arm}, dense", 1.8),
        ):
            title = f"windows, {name}, 2 workers: packed / {peer}"
            yield Figure(title, packed / in_workers[peer], least)
