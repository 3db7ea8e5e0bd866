"""Complete samples per second, compared with other stores of the same arrays, in one run.

Usage: python benchmarks/loading.py [--depth 50] [--size 800] [--rounds 9]   (or: make bench)

A complete sample is a slice's image, class indices and both instance maps, as arrays (y, x) that
are in memory at the same time; the loop then reads every element of them. The input is the
synthetic sample, made here, written as the publisher's archives and in the format of each peer.
Each arm is checked against the truth before it is timed. The page cache is warm; arms take turns,
one pass over the volume each, and a rate is that of the median pass. On a shared machine only
ratios are meaningful.
"""

import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import datasets
from arms import (
    COLUMNS,
    LABELS,
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
from stores import arms_of, litdata_raw, memmap, stores, tif_pages, torch_em, zarr_chunked

from platelet_em import LazyLabels

MAP, STREAMED = "Parquet, map-style, 0 workers", "Parquet, streamed, 0 workers"


def ours(folder: Path) -> Iterator[Arm]:
    """Parquet and archives, map-style and streamed, and Parquet without our format."""
    for source in sources(folder, "slices"):
        is_table = isinstance(source.data, datasets.Dataset)
        samples = partial(_by_index if is_table else _in_order, source.data)
        yield Arm(f"{source.name}, 0 workers", samples, source.size)
        yield Arm(f"{source.name}, 2 workers", loader(source.data, 2), source.size)
    parquet = next(sources(folder, "slices"))
    plain = parquet.data.with_format(None)
    yield Arm("Parquet, PIL and from_struct", lambda: map(_from_plain, plain), parquet.size)


def _by_index(table: datasets.Dataset) -> Iterator[Sample]:
    return (dense(table[i]) for i in range(len(table)))


def _in_order(stream: datasets.IterableDataset) -> Iterator[Sample]:
    return map(dense, stream)


def _from_plain(row: Sample) -> Sample:
    labels = {name: LazyLabels.from_struct(row[name]) for name in LABELS}
    return dense({**row, **labels})


def webdataset_npy(truth: Truth, folder: Path) -> Iterator[Arm]:
    """A tar file with a .npy file per array."""
    import webdataset

    path = folder / "train.tar"
    with webdataset.TarWriter(str(path)) as tar:
        for z in range(len(truth["image"])):
            arrays = {f"{name}.npy": truth[name][z] for name in COLUMNS}
            tar.write({"__key__": f"{z:03}", **arrays})
    source = webdataset.WebDataset(str(path), shardshuffle=False).decode()
    yield Arm(
        "webdataset npy, 0 workers",
        lambda: ({name: each[f"{name}.npy"] for name in COLUMNS} for each in source),
        bytes_of(path),
    )


def zarr_slices(truth: Truth, folder: Path) -> Iterator[object]:
    """One chunk per slice, the best chunking for whole slices."""
    yield zarr_chunked(truth, folder, (1, *truth["image"].shape[1:]))


def peers(truth: Truth, folder: Path) -> Iterator[Arm]:
    """The peers that are installed."""
    slices = [(z, slice(None), slice(None)) for z in range(len(truth["image"]))]
    makers = (memmap, litdata_raw, webdataset_npy, zarr_slices, tif_pages, torch_em)
    for made in stores(makers, truth, folder):
        if isinstance(made, Arm):
            yield made
        else:
            yield from arms_of(made, slices)


def naive(folder: Path) -> Arm:
    """The publisher's files, completely decoded the publisher's way before the first slice."""

    def samples() -> Iterator[Sample]:
        arrays = naive_volume(folder)
        for z in range(len(arrays["image"])):
            yield {name: array[z] for name, array in arrays.items()}

    return Arm("naive", samples, bytes_of(archive(folder)))


def main() -> None:
    """Make the input and run all arms."""
    options = parse_options(__doc__, 9)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        truth = make_input(folder, options.depth, options.size)
        slices = [{n: array[z] for n, array in truth.items()} for z in range(options.depth)]
        arms = [*ours(folder), *peers(truth, folder)]
        for arm in arms:
            check(arm, slices)
        rates = measure(arms, options.rounds)
        last = naive(folder)
        check(last, slices)
        rates[last.name] = one_pass(last)
        show([*arms, last], rates, "samples/s", (MAP, STREAMED))
        zarr = next((arm.name for arm in arms if arm.name.startswith("zarr")), "")
        for peer in ("litdata raw, 0 workers", zarr, "np.memmap, views, 0 workers"):
            compare(arms, rates, MAP, peer)
        compare(arms, rates, STREAMED, "webdataset npy, 0 workers")


if __name__ == "__main__":
    main()
