"""Speed of lazy labels, compared with the publisher's way, NumPy and other libraries, in one run.

Usage: python benchmarks/labels.py [--depth 50] [--size 800]   (or: make bench)

The input is the synthetic sample, made here. Each arm is checked against the truth before it is
timed. Times are medians after a warm-up. All outputs are int32; their allocation is timed, and
they are freed between repeats. On a shared machine only ratios are meaningful.
"""

import argparse
import gc
import json
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from _platelet_em.hf.formatter import PlateletEMFormatter
from _platelet_em.sample.scene import Scene
from platelet_em import LazyLabels

WINDOW = (5, 256, 256)


# --- the publisher's way, written from its description ----------------------------------------


def publisher_decode(labels: dict[str, Any]) -> np.ndarray:
    """For each id: parse, fill a full-volume mask by a loop over runs, assign by the mask."""
    shape = tuple(labels[".info"]["shape"])
    out = np.zeros(shape, np.int32)
    for key, text in labels.items():
        if key == ".info":
            continue
        numbers = [int(word) for word in text.split()]
        mask = np.zeros(out.size, np.uint8)
        for start, length in zip(numbers[0::2], numbers[1::2], strict=True):
            mask[start - 1 : start - 1 + length] = 1
        out[mask.reshape(shape).astype(bool)] = int(key)
    return out


def publisher_encode(array: np.ndarray) -> dict[str, Any]:
    """For each id: one comparison of the full volume, then a loop over its runs."""
    labels: dict[str, Any] = {".info": {"shape": list(array.shape), "dtype": "int64"}}
    for label in np.unique(array[array > 0]):
        mask = np.concatenate([[0], (array == label).ravel(), [0]]).astype(np.int8)
        edges = np.flatnonzero(np.diff(mask))
        words = []
        for start, stop in zip(edges[0::2], edges[1::2], strict=True):
            words += [str(start + 1), str(stop - start)]
        labels[str(label)] = " ".join(words)
    return labels


def reference_row(strings: list[str], ids: list[int], shape: list[int]) -> np.ndarray:
    """Good NumPy for one slice: join, np.fromstring, stable argsort, np.repeat."""
    numbers = np.fromstring(" ".join(strings), dtype=np.int64, sep=" ")
    counts = [string.count(" ") // 2 + 1 for string in strings]
    owners = np.repeat(np.asarray(ids, np.int32), counts)
    starts, lengths = numbers[0::2] - 1, numbers[1::2]
    order = np.argsort(starts, kind="stable")
    starts, lengths, owners = starts[order], lengths[order], owners[order]
    size = shape[0] * shape[1]
    gaps = np.zeros(2 * len(starts) + 1, np.int64)
    gaps[1::2] = lengths
    stops = np.concatenate([[0], starts + lengths])
    gaps[0::2] = np.concatenate([starts, [size]]) - stops
    values = np.zeros(2 * len(starts) + 1, np.int32)
    values[1::2] = owners
    return np.repeat(values, gaps).reshape(shape)


# --- measuring --------------------------------------------------------------------------------


def median(function: Callable[[], object], repeats: int = 9, warm_up: int = 1) -> float:
    """Median time of a call in seconds; its result is freed before the next call."""
    times = []
    for i in range(repeats + warm_up):
        gc.collect()
        begin = time.perf_counter()
        result = function()
        end = time.perf_counter()
        del result
        if i >= warm_up:
            times.append(end - begin)
    return statistics.median(times)


def show(what: str, ours: float, other: str, theirs: float, *, slower: bool = False) -> None:
    """Print a line of the table: how many times faster we are, or slower than a limit."""
    ratio = ours / theirs if slower else theirs / ours
    word = "x its time" if slower else "x faster"
    milliseconds = f"{ours * 1e3:>9.2f} ms  {other:<34} {theirs * 1e3:>10.2f} ms"
    print(f"{what:<40} {milliseconds}  {ratio:>8.2f} {word}", flush=True)


FRESH = """
import json, resource, sys, time
import numpy as np
sys.path.insert(0, sys.argv[3])
if sys.argv[2] == "ours":
    from platelet_em import LazyLabels
    decode = lambda labels: np.asarray(LazyLabels.from_dict(labels))
else:
    from labels import publisher_decode as decode
labels = json.load(open(sys.argv[1]))
def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024
def now():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS")) * 1024
open("/proc/self/clear_refs", "w").write("5")
before = now()
begin = time.perf_counter()
out = decode(labels)
end = time.perf_counter()
print(end - begin, (peak() - before) / out.nbytes)
"""


def fresh(path: Path, who: str, repeats: int) -> tuple[float, float]:
    """Median time and peak memory (in outputs) of the first decode of a new process."""
    command = [sys.executable, "-c", FRESH, str(path), who, str(Path(__file__).parent)]
    lines = [
        subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
        for _ in range(repeats)
    ]
    return tuple(statistics.median(float(line[i]) for line in lines) for i in (0, 1))


# --- the arms ---------------------------------------------------------------------------------


def whole_volume(kind: str, array: np.ndarray, folder: Path) -> LazyLabels:
    """Decode and encode a volume, fresh and warm, compared with the publisher's way."""
    labels = LazyLabels.from_array(array).to_dict()
    assert np.array_equal(np.asarray(LazyLabels.from_dict(labels)), array)
    assert np.array_equal(publisher_decode(labels), array)
    path = folder / f"{kind}.json"
    path.write_text(json.dumps(labels))
    ours, memory = fresh(path, "ours", 9)
    theirs, _ = fresh(path, "publisher", 3)
    show(f"decode {kind}, fresh process", ours, "the publisher's way", theirs)
    print(f"{'':<40} peak memory above the input: {memory:.2f} x the output")
    warm = median(lambda: np.asarray(LazyLabels.from_dict(labels)))
    full = median(lambda: np.full(array.shape, 1, np.int32))
    show(f"decode {kind}, warm", warm, "np.full", full, slower=True)

    ours = median(lambda: LazyLabels.from_array(array).to_dict())
    assert publisher_encode(array) == labels
    theirs = median(lambda: publisher_encode(array), repeats=1, warm_up=0)
    show(f"encode {kind}, warm", ours, "the publisher's way", theirs)
    show(f"encode {kind}, warm", ours, "a copy", median(array.copy), slower=True)
    return LazyLabels.from_dict(labels)


def peers(array: np.ndarray, folder: Path) -> Iterator[tuple[str, Any]]:
    """Arrays of other libraries with the same labels: name, and the object to index."""
    np.save(folder / "labels.npy", array)
    yield "np.memmap", _Copied(np.load(folder / "labels.npy", mmap_mode="r"))
    try:
        import zarr
    except ImportError:
        print("zarr is not installed: left out")
    else:
        for chunks in ((1, *array.shape[1:]), (16, 128, 128)):
            store = str(folder / f"zarr-{chunks[0]}")
            made = zarr.create_array(store, shape=array.shape, dtype="int32", chunks=chunks)
            made[:] = array
            yield f"zarr {'x'.join(map(str, chunks))}", made
    try:
        import crackle
    except ImportError:
        print("crackle-codec is not installed: left out")
    else:
        # Its axes are (x, y, z), and its dtype is that of the input.
        packed = crackle.CrackleArray(crackle.compress(np.asfortranarray(array.T, np.uint32)))
        yield "crackle", _Transposed(packed)


class _Copied:
    """Copies windows, since a view is not an array of its own yet."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        return np.array(self._array[index])


class _Transposed:
    def __init__(self, array: Any) -> None:
        self._array = array

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        return np.asarray(self._array[index[::-1]]).T.astype(np.int32)


def windows(labels: LazyLabels, array: np.ndarray, folder: Path) -> None:
    """Random windows, and all slices one by one, parsed once, compared with the peers."""
    rng = np.random.default_rng(0)
    extent = [min(w, n) for w, n in zip(WINDOW, array.shape, strict=True)]
    corners = [[rng.integers(0, n - w + 1) for n, w in zip(array.shape, extent, strict=True)]
               for _ in range(200)]  # fmt: skip
    boxes = [tuple(slice(c, c + w) for c, w in zip(corner, extent, strict=True))
             for corner in corners]  # fmt: skip
    slices = [(slice(z, z + 1), slice(None), slice(None)) for z in range(len(array))]
    for name, index in (("200 windows 5x256x256", boxes), ("all slices, one by one", slices)):

        def read(source: Any, index: Any = index) -> None:
            for box in index:
                np.asarray(source[box], np.int32)

        assert all(np.array_equal(labels[box], array[box]) for box in index[:20])
        ours = median(lambda: read(labels))
        for peer, source in peers(array, folder / name.split()[0]):
            assert all(np.array_equal(source[box], array[box]) for box in index[:5]), peer
            repeats = 9 if peer == "np.memmap" else 3
            theirs = median(lambda: read(source), repeats)
            show(name, ours, peer, theirs, slower=peer == "np.memmap")


def rows(cells: np.ndarray, organelles: np.ndarray) -> None:
    """Cells and organelles of each slice, directly from an Arrow table."""
    structs = [
        {"cells": dict(LazyLabels.from_array(c).items()),
         "organelles": dict(LazyLabels.from_array(o).items())}
        for c, o in zip(cells, organelles, strict=True)
    ]  # fmt: skip
    table = pa.table({name: pa.array([row[name] for row in structs]) for name in structs[0]})
    tables = [table.slice(z, 1) for z in range(len(cells))]
    batches = [table.slice(z, 10) for z in range(0, len(cells), 10)]
    lists = [
        [(part["rle"], list(part["id"]), part["shape"]) for part in row.values()]
        for row in structs
    ]
    formatter = PlateletEMFormatter()
    for z, dense in enumerate(cells):
        assert np.array_equal(np.asarray(formatter.format_row(tables[z])["cells"]), dense)
        assert np.array_equal(reference_row(*lists[z][0]), dense)

    def per_row(function: Callable[[Any], Iterator[object]], inputs: list[Any]) -> float:
        def all_of_them() -> None:
            for one in inputs:
                # Free each array before the next one is made.
                for _ in function(one):
                    pass

        return median(all_of_them) / len(cells)

    ours = per_row(lambda row: map(np.asarray, formatter.format_row(row).values()), tables)
    batched = per_row(
        lambda rows: map(LazyLabels.stack, formatter.format_batch(rows).values()), batches
    )
    from_lists = per_row(lambda row: (reference_row(*part) for part in row), lists)
    from_arrow = per_row(_reference_from_arrow, tables)
    show("labels of a row, from Arrow", ours, "good NumPy, from ready lists", from_lists)
    show("", ours, "good NumPy, from Arrow", from_arrow)
    show("the same, in batches of ten", batched, "good NumPy, from ready lists", from_lists)


def _reference_from_arrow(row: pa.Table) -> Iterator[np.ndarray]:
    for column in row.columns:
        plain = column[0].as_py()
        yield reference_row(plain["rle"], plain["id"], plain["shape"])


def coco(organelles: np.ndarray) -> None:
    """One slice, compared with pycocotools, which has one mask per instance."""
    try:
        from pycocotools import mask
    except ImportError:
        print("pycocotools is not installed: left out")
        return
    plane = organelles[len(organelles) // 2]
    ids = np.unique(plane[plane > 0])
    packed = mask.encode(np.asfortranarray((plane[..., None] == ids).astype(np.uint8)))

    def decode() -> np.ndarray:
        return (mask.decode(packed) * ids.astype(np.int32)).sum(axis=-1, dtype=np.int32)

    labels = LazyLabels.from_array(plane)
    shape, strings = labels.shape, labels.rle
    assert np.array_equal(decode(), plane)
    ours = median(lambda: np.asarray(LazyLabels(shape, ids, strings)))
    show("organelles of a slice, from strings", ours, "pycocotools", median(decode))


def bad_cases(size: int) -> None:
    """Unusual labels: a run per voxel, one label, none, very many tiny ones."""
    rng = np.random.default_rng(0)
    shape = (10, size // 2, size // 2)
    tiny = np.zeros(shape, np.int32)
    voxels = rng.choice(tiny.size // 4, min(100_000, tiny.size // 8), replace=False) * 4
    tiny.reshape(-1)[voxels] = np.arange(1, len(voxels) + 1)
    cases = {
        "noise, a run per voxel": rng.integers(1, 50, shape).astype(np.int32),
        "one label": np.ones(shape, np.int32),
        "no label": np.zeros(shape, np.int32),
        f"{len(voxels)} tiny instances": tiny,
    }
    for name, array in cases.items():
        labels = LazyLabels.from_array(array).to_dict()
        assert np.array_equal(np.asarray(LazyLabels.from_dict(labels)), array)
        runs = int((np.diff(array.ravel()) != 0).sum()) + 1
        tracemalloc.start()
        np.asarray(LazyLabels.from_dict(labels))
        peak = tracemalloc.get_traced_memory()[1] - array.nbytes
        tracemalloc.stop()
        full = median(lambda: np.full(array.shape, 1, np.int32))
        warm = median(lambda: np.asarray(LazyLabels.from_dict(labels)), 3)
        show(f"decode {name}", warm, "np.full", full, slower=True)
        encode = median(lambda: LazyLabels.from_array(array).to_dict(), 3)
        show(f"encode {name}", encode, "a copy", median(array.copy), slower=True)
        print(f"{'':<40} {runs} runs, {peak / runs:.0f} bytes per run above the output")


def main() -> None:
    """Make the input and run all arms."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--depth", type=int, default=50, help="slices (default: 50)")
    parser.add_argument("--size", type=int, default=800, help="pixels along y and x")
    options = parser.parse_args()
    shape = (options.depth, options.size, options.size)
    print(f"{platform.machine()}, Python {platform.python_version()}, NumPy {np.__version__}")
    print(f"drawing the sample, {' x '.join(map(str, shape))}", flush=True)
    scene = Scene(shape, 0)
    drawn = [scene.slice(z) for z in range(options.depth)]
    cells = np.stack([d.cells for d in drawn])
    organelles = np.stack([d.organelles for d in drawn])
    del drawn
    print(f"{cells.max()} cells, {organelles.max()} organelles\n")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for sub in ("200", "all"):
            (folder / sub).mkdir()
        whole_volume("cells", cells, folder)
        labels = whole_volume("organelles", organelles, folder)
        windows(labels, organelles, folder)
    rows(cells, organelles)
    coco(organelles)
    bad_cases(options.size)


if __name__ == "__main__":
    main()
