"""Random 3D windows per second, compared with other stores of the same arrays, in one run.

Usage: python benchmarks/windows.py [--depth 50] [--size 800] [--rounds 9]   (or: make bench)

A window is 16 x 256 x 256 voxels of the image, the class indices and both instance maps, all in
memory at the same time; the loop then reads every element of them. The corners are those that
`RandomWindows` draws inside the volume, the same for all arms: peers read a plain slice there. All
arms return arrays of their own, except "views", which only the loop reads.

The input is the synthetic sample, made here. Each arm is checked against the truth before it is
timed. The page cache is warm, and parsed or cached data is available from the first round, which
does not count; arms take turns, one pass over the same windows each, and a rate is that of the
median pass. On a shared machine only ratios are meaningful.

Without workers the loop reads in this process, without a `DataLoader`. With two, all arms are
bound by the 11.5 MB per window that `DataLoader` moves through shared memory, as `np.memmap`
shows; those ratios say little about the stores.

Decode-then-crop is what a loader without lazy arrays does: it decodes for each window. Here, from
slow to fast: the publisher's files, decoded the publisher's way; the row of the volume, with our
decoder; only the 16 rows of `slices` that the window touches, with our decoder. The arm "decoded
once" keeps the volume in memory as dense arrays instead: not a peer on disk, but the limit.
"""

import tempfile
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
from arms import (
    COLUMNS,
    WORKERS,
    Arm,
    Sample,
    Truth,
    archive,
    bytes_of,
    check,
    compare,
    dense,
    loader,
    make_input,
    measure,
    naive_volume,
    one_pass,
    parse_options,
    show,
    sources,
)
from stores import (
    Index,
    Store,
    arms_of,
    litdata_raw,
    memmap,
    stores,
    tif_pages,
    torch_em,
    zarr_chunked,
)

import platelet_em

SHAPE, COUNT = (16, 256, 256), 32
CHUNKINGS = (
    "auto", (1, 800, 800), (1, 256, 256), (4, 128, 128), (8, 128, 128),
    (8, 256, 256), (16, 64, 64), (16, 128, 128), (16, 256, 256),
)  # fmt: skip
MAP, STREAMED = "Parquet, map-style, 0 workers", "Parquet, streamed, 0 workers"


def ours(folder: Path, sampler: platelet_em.RandomWindows) -> Iterator[Arm]:
    """Both ways to load, map-style and streamed."""
    for source in sources(folder, "volumes"):
        windows = platelet_em.windows(source.data, sampler)
        for workers in WORKERS:
            samples = loader(windows, workers) if workers else windows.__iter__
            yield Arm(f"{source.name}, {workers} workers", samples, source.size)


def decode_then_crop(folder: Path) -> Iterator[Store]:
    """Decode with our decoder for each window, and crop."""
    volume, slices = (next(sources(folder, config)) for config in ("volumes", "slices"))

    def read_volume(index: Index) -> Sample:
        row = volume.data[0]
        return {name: np.asarray(row[name])[index].copy() for name in COLUMNS}

    def read_slices(index: Index) -> Sample:
        z, *inside = index
        rows = [dense(slices.data[k]) for k in range(z.start, z.stop)]
        return {n: np.stack([row[n][tuple(inside)] for row in rows]) for n in COLUMNS}

    yield Store("decode the volume, crop", read_volume, volume.size)
    yield Store("decode 16 slices, crop", read_slices, slices.size)


def decoded_once(truth: Truth) -> Store:
    """Dense arrays in memory: the limit."""
    size = sum(array.nbytes for array in truth.values())
    print(f"decoded once: {size / 1e6:.1f} MB of memory")
    return Store("decoded once, crop", lambda index: {n: truth[n][index].copy() for n in truth}, 0)


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
    for name in sorted(seconds, key=seconds.__getitem__):
        rate = len(regions) / seconds[name]
        print(f"{name:<20} {rate:>6.1f} windows/s {made[name].size / 1e6:>6.1f} MB")
    yield made[min(seconds, key=seconds.__getitem__)]


def naive(folder: Path, region: Index) -> Arm:
    """The publisher's files, decoded the publisher's way for one window."""

    def samples() -> Iterator[Sample]:
        yield {name: array[region] for name, array in naive_volume(folder).items()}

    return Arm("decode the publisher's way, crop", samples, bytes_of(archive(folder)))


def main() -> None:
    """Make the input and run all arms."""
    options = parse_options(__doc__, 9)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truth = make_input(folder, options.depth, options.size)
        shape = tuple(map(min, SHAPE, truth["image"].shape))
        arms = list(ours(folder, platelet_em.RandomWindows(shape, COUNT, pad=None)))
        regions = [tuple(slice(c, c + n) for c, n in zip(window["corner"], shape, strict=True))
                   for window in arms[0].samples()]  # fmt: skip
        makers = (memmap, litdata_raw, tif_pages, torch_em, partial(best_zarr, regions))
        for store in [
            decoded_once(truth),
            *decode_then_crop(folder),
            *stores(makers, truth, folder),
        ]:
            arms += arms_of(store, regions)
        windows = [{n: array[region] for n, array in truth.items()} for region in regions]
        for arm in arms:
            check(arm, windows)
        rates = measure(arms, options.rounds)
        last = naive(folder, regions[0])
        check(last, windows[:1])
        rates[last.name] = one_pass(last)
        show([*arms, last], rates, "windows/s", (MAP, STREAMED))
        bar = [arm.name for arm in arms if arm.name.startswith(("zarr", "torch-em", "decode "))]
        for mine in (MAP, STREAMED):
            compare(arms, rates, mine, max(bar, key=rates.__getitem__))
        compare(arms, rates, MAP, "np.memmap, 0 workers")


if __name__ == "__main__":
    main()
