"""Complete samples per second, compared with other stores of the same arrays.

A complete sample is a slice's image, class indices and both instance maps, as arrays (y, x) that
are in memory at the same time. The page cache is warm. In one process there is no `DataLoader`,
and a sample is read at a time; workers send batches of four slices.
"""

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import workers
from arms import NUMPY_ALONE, Arm, Batch, Figure, check, measure, one_pass, show
from inputs import COLUMNS, LABELS, Truth, archive, bytes_of, read_publishers_way, sources
from stores import (
    MEMMAP,
    Sample,
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

from platelet_em import LazyLabels

LITDATA = "litdata raw"


def ours(folder: Path) -> Iterator[Arm]:
    """Each source with the compiled loops and without, and Parquet without our format."""
    for source in sources(folder, "slices"):
        batches = functools.partial(map, as_batch, source.data)
        yield Arm(f"ours, {source.name}", batches, source.size)
        yield Arm(f"ours, {source.name}, NumPy alone", batches, source.size, NUMPY_ALONE)
        if source.name == "map-style":
            plain = source.data.with_format(None)
            yield Arm("plain `datasets` and `LazyLabels`",
                      functools.partial(map, _from_plain, plain), source.size)  # fmt: skip


def _from_plain(row: Sample) -> Batch:
    return as_batch(row | {name: LazyLabels.from_struct(row[name]) for name in LABELS})


def ours_in_workers(folder: Path) -> Iterator[Loading]:
    """Each source, dense and packed."""
    for source in sources(folder, "slices"):
        make = functools.partial(source.data.select_columns, list(COLUMNS))
        for form, collate in (
            ("dense", workers.collate_dense),
            ("packed", workers.collate_packed),
        ):
            yield Loading(f"ours, {source.name}, {form}", make, source.size, collate)


def webdataset_npy(truth: Truth, folder: Path) -> Iterator[Loading]:
    """Two tar files, one for each worker, with a .npy file per array."""
    import webdataset

    paths = [folder / f"train-{k}.tar" for k in range(2)]
    for path, zs in zip(paths, np.array_split(range(len(truth["image"])), 2), strict=True):
        with webdataset.TarWriter(str(path)) as tar:
            for z in zs:
                arrays = {f"{name}.npy": truth[name][z] for name in COLUMNS}
                tar.write({"__key__": f"{z:03}", **arrays})

    def make() -> webdataset.WebDataset:
        source = webdataset.WebDataset(list(map(str, paths)), shardshuffle=False).decode()
        return source.map(lambda sample: {name: sample[f"{name}.npy"] for name in COLUMNS})

    yield Loading("webdataset npy", make, bytes_of(folder), workers.collate_dense)


def zarr_slices(truth: Truth, folder: Path) -> Iterator[object]:
    """One chunk per slice, the best chunking for slices."""
    yield zarr_chunked(truth, folder, (1, *truth["image"].shape[1:]))


def naive(folder: Path) -> Arm:
    """The publisher's files, completely decoded the publisher's way before the first slice."""

    def batches() -> Iterator[Batch]:
        arrays = read_publishers_way(folder)
        for z in range(len(arrays["image"])):
            yield {name: array[z][None] for name, array in arrays.items()}

    return Arm("the publisher's way", batches, bytes_of(archive(folder)))


def run(truth: Truth, folder: Path, rounds: int) -> list[Figure]:
    """Both tables, and the figures of them that the project wants."""
    depth = len(truth["image"])
    planes = [{name: array[z] for name, array in truth.items()} for z in range(depth)]
    indices = [(z, slice(None), slice(None)) for z in range(depth)]
    made = list(
        stores(
            (memmap, litdata_raw, zarr_slices, tif_pages, torch_em, webdataset_npy),
            truth,
            folder / "samples",
        )
    )
    tars = [one for one in made if isinstance(one, Loading)]
    peers = [one for one in made if not isinstance(one, Loading)]
    arms = [*ours(folder), *(arm_of(store, indices) for store in peers)]
    arms += [Arm(tar.name, functools.partial(map, as_batch, tar.make()), tar.size) for tar in tars]
    for arm in arms:
        check(arm, planes)
    rates = measure(arms, rounds)
    last = naive(folder)
    check(last, planes)
    rates[last.name] = one_pass(last)
    print("## Complete samples, one process")
    show("samples/s", [*arms, last], rates, MEMMAP)

    loadings = [*ours_in_workers(folder), *tars]
    loadings += [loading_of(s, indices) for s in peers if s.name != "tifffile"]
    print("## Complete samples, two workers, batches of four")
    in_workers = workers.compare(loadings, planes, rounds, "samples/s", MEMMAP)
    return list(figures(rates, in_workers, [one.name for one in sources(folder, "slices")]))


def figures(
    alone: dict[str, float], in_workers: dict[str, float], names: list[str]
) -> Iterator[Figure]:
    """What the project wants of complete samples."""
    for name in names:
        arm = f"ours, {name}"
        slow = alone[f"{arm}, NumPy alone"]
        yield Figure(f"samples, {name}: compiled / NumPy alone", alone[arm] / slow, 1.5)
        if LITDATA in alone:
            yield Figure(f"samples, {name}: / litdata raw", alone[arm] / alone[LITDATA], 0.8)
        for form in ("dense", "packed"):
            rate = in_workers[f"{arm}, {form}"]
            if LITDATA in alone:
                ratio = rate / in_workers[LITDATA]
                title = f"samples, {name}, {form}, 2 workers: / litdata raw"
                yield Figure(title, ratio, 0.8)
        dense = in_workers[f"{arm}, dense"]
        yield Figure(f"samples, {name}, 2 workers: packed / dense", rate / dense, 1.5)
