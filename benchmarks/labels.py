"""Speed of lazy labels, compared with the publisher's way, NumPy and other libraries.

Times are medians after a warm-up; what is compared takes turns. All outputs are int32; their
allocation is timed, and they are freed between repeats.
"""

import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import publishers_way
import pyarrow as pa
from arms import COMPILED, NUMPY_ALONE, Figure, use_kernels
from inputs import LABELS, Truth
from race import Call, Table, Times, both, race

from _platelet_em.hf.formatter import PlateletEMFormatter
from platelet_em import LazyLabels

WINDOW, COUNT = (16, 256, 256), 64

# --- new processes ----------------------------------------------------------------------------

DECODE = """
import json, sys, time
import numpy as np
sys.path.insert(0, sys.argv[3])
if sys.argv[2] == "ours":
    from platelet_em import LazyLabels
    decode = lambda labels: np.asarray(LazyLabels.from_dict(labels))
else:
    from publishers_way import decode
labels = json.load(open(sys.argv[1]))
def status(name):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) for line in lines if line.startswith(name)) * 1024
open("/proc/self/clear_refs", "w").write("5")
before = status("VmRSS")
begin = time.perf_counter()
out = decode(labels)
end = time.perf_counter()
print(end - begin, (status("VmHWM") - before) / out.nbytes)
"""

FIRST_USE = """
import time
import numpy as np
from platelet_em import LazyLabels
labels = LazyLabels((2, 3), [7], ["1 2"])
begin = time.perf_counter()
np.asarray(labels)
print(time.perf_counter() - begin)
"""


def in_new_process(program: str, *arguments: str, **environment: str) -> list[float]:
    """The numbers that a program prints."""
    command = [sys.executable, "-c", program, *arguments]
    run = subprocess.run(
        command, check=True, capture_output=True, text=True, env=os.environ | environment
    )
    return [float(word) for word in run.stdout.split()]


def first_use(table: Table) -> Iterator[Figure]:
    """The compiled loops in new processes: into an empty cache, and from it."""
    with tempfile.TemporaryDirectory() as cache:
        times = [in_new_process(FIRST_USE, NUMBA_CACHE_DIR=cache)[0] for _ in range(4)]
    first, later = times[0], statistics.median(times[1:])
    table.note(f"First use of the compiled loops: {first:.2f} s once, to compile them, "
               f"{later:.2f} s in each later process")  # fmt: skip
    yield Figure("first use, once, s", first, 5, is_limit=True)
    yield Figure("first use, later processes, s", later, 1, is_limit=True)


# --- volumes ----------------------------------------------------------------------------------


def fresh_volume(table: Table, kind: str, array: np.ndarray, folder: Path) -> None:
    """The first decode of a new process."""
    labels = LazyLabels.from_array(array).to_dict()
    assert np.array_equal(publishers_way.decode(labels), array)
    path, here = folder / f"{kind}.json", str(Path(__file__).parent)
    path.write_text(json.dumps(labels))

    def median(who: str, kernels: str, repeats: int) -> tuple[float, ...]:
        runs = [in_new_process(DECODE, str(path), who, here, PLATELET_EM_KERNELS=kernels)
                for _ in range(repeats)]  # fmt: skip
        return tuple(map(statistics.median, zip(*runs, strict=True)))

    ours, memory = median("ours", COMPILED, 3)
    alone, memory_alone = median("ours", NUMPY_ALONE, 3)
    peer, _ = median("publisher", NUMPY_ALONE, 1)
    times = {"ours": ours, "numpy": alone, "peer": peer}
    table.add(f"decode {kind}, new process", "the publisher's way", times)
    table.note(f"Peak memory above the input, {kind}: {memory:.2f} of the output, "
               f"with NumPy alone {memory_alone:.2f}")  # fmt: skip


def warm_volume(table: Table, kind: str, array: np.ndarray) -> float:
    """Decode and encode a volume; returns the time of decoding, of np.full."""
    labels = LazyLabels.from_array(array).to_dict()

    def decode() -> np.ndarray:
        return np.asarray(LazyLabels.from_dict(labels))

    def fill() -> np.ndarray:
        return np.full(array.shape, 1, np.int32)

    assert np.array_equal(decode(), array)
    times = race(**both(decode), peer=fill)
    table.add(f"decode {kind}", "`np.full`", times)
    read = race(**both(lambda: decode().max()), peer=lambda: fill().max())
    table.add(f"decode {kind}, and read", "`np.full`, and read", read)

    encoded = race(5, **both(lambda: LazyLabels.from_array(array).to_dict()), peer=array.copy)
    table.add(f"encode {kind}", "a copy", encoded)
    if kind == "cells":  # organelles take minutes
        begin = time.perf_counter()
        assert publishers_way.encode(array) == labels
        seconds = time.perf_counter() - begin
        table.add("the same", "the publisher's way", encoded | {"peer": seconds})
    return times["ours"] / times["peer"]


# --- windows ----------------------------------------------------------------------------------


class _Transposed:
    """An array of crackle, whose axes are (x, y, z)."""

    def __init__(self, array: Any) -> None:
        self._array = array

    def __getitem__(self, index: tuple[slice, ...]) -> np.ndarray:
        return np.asarray(self._array[index[::-1]]).T.astype(np.int32)


def peers(array: np.ndarray, folder: Path) -> Iterator[tuple[str, Any]]:
    """Arrays of other libraries with the same labels: name, and the object to index."""
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
        packed = crackle.CrackleArray(crackle.compress(np.asfortranarray(array.T, np.uint32)))
        yield "crackle", _Transposed(packed)


def windows(table: Table, kind: str, array: np.ndarray, folder: Path) -> Times:
    """Random windows, and all slices one by one, parsed once; returns the times of windows."""
    rng = np.random.default_rng(0)
    extent = [min(w, n) for w, n in zip(WINDOW, array.shape, strict=True)]
    corners = [[rng.integers(0, n - w + 1) for n, w in zip(array.shape, extent, strict=True)]
               for _ in range(COUNT)]  # fmt: skip
    boxes = [tuple(slice(c, c + w) for c, w in zip(corner, extent, strict=True))
             for corner in corners]  # fmt: skip
    planes = [(slice(z, z + 1), slice(None), slice(None)) for z in range(len(array))]
    labels = LazyLabels.from_dict(LazyLabels.from_array(array).to_dict())
    np.save(folder / "labels.npy", array)
    file = np.load(folder / "labels.npy", mmap_mode="r")

    def read(source: Any, index: Iterable[Any]) -> None:
        for box in index:
            np.array(source[box], copy=source is file).max()

    assert all(np.array_equal(labels[box], array[box]) for box in [*boxes, *planes])
    plane_times = race(**both(lambda: read(labels, planes)), peer=lambda: read(file, planes))
    times = race(**both(lambda: read(labels, boxes)), peer=lambda: read(file, boxes))
    name = f"{COUNT} windows {'x'.join(map(str, extent))} of {kind}"
    table.add(name, "`np.memmap`", times)
    for peer, source in peers(array, folder):
        assert all(np.array_equal(source[box], array[box]) for box in boxes[:5]), peer
        table.add("the same", peer, times | race(2, peer=lambda: read(source, boxes)))
    table.add(f"all slices of {kind}, one by one", "`np.memmap`", plane_times)
    return times


# --- slices -----------------------------------------------------------------------------------


def decode_with_numpy(strings: list[str], ids: list[int], shape: list[int]) -> np.ndarray:
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


def rows(table: Table, cells: np.ndarray, organelles: np.ndarray) -> Times:
    """Cells and organelles of each slice, directly from an Arrow table."""
    structs = [
        {"cells": dict(LazyLabels.from_array(c).items()),
         "organelles": dict(LazyLabels.from_array(o).items())}
        for c, o in zip(cells, organelles, strict=True)
    ]  # fmt: skip
    arrow = pa.table({name: pa.array([row[name] for row in structs]) for name in structs[0]})
    single = [arrow.slice(z, 1) for z in range(len(cells))]
    tens = [arrow.slice(z, 10) for z in range(0, len(cells), 10)]
    lists = [[(part["rle"], list(part["id"]), part["shape"]) for part in row.values()]
             for row in structs]  # fmt: skip
    format_row = PlateletEMFormatter().format_row
    format_batch = PlateletEMFormatter().format_batch
    for z, dense in enumerate(cells):
        assert np.array_equal(np.asarray(format_row(single[z])["cells"]), dense)
        assert np.array_equal(decode_with_numpy(*lists[z][0]), dense)

    def all_of(function: Callable[[Any], Iterator[object]], inputs: list[Any]) -> Call:
        def decode() -> None:
            for one in inputs:
                for _ in function(one):  # each is freed before the next one is made
                    pass

        return decode

    def from_arrow(row: pa.Table) -> Iterator[np.ndarray]:
        for column in row.columns:
            plain = column[0].as_py()
            yield decode_with_numpy(plain["rle"], plain["id"], plain["shape"])

    times = race(
        **both(all_of(lambda row: map(np.asarray, format_row(row).values()), single)),
        arrow=all_of(from_arrow, single),
        lists=all_of(lambda row: (decode_with_numpy(*part) for part in row), lists),
    )
    table.add("labels of all slices, from Arrow", "good NumPy, from Arrow", times, "arrow")
    table.add("the same", "good NumPy, from lists", times, "lists")
    batched = race(
        **both(all_of(lambda ten: map(LazyLabels.stack, format_batch(ten).values()), tens)),
    )
    table.add("the same, in batches of ten", "good NumPy, from lists", times | batched, "lists")
    return times


def coco(table: Table, organelles: np.ndarray) -> None:
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
    times = race(**both(lambda: np.asarray(LazyLabels(shape, ids, strings))), peer=decode)
    table.add("organelles of a slice, from strings", "pycocotools", times)


# --- bad cases --------------------------------------------------------------------------------


def bad_cases(table: Table, size: int) -> None:
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
        f"{len(voxels):,} tiny instances": tiny,
    }
    for name, array in cases.items():
        labels = LazyLabels.from_array(array).to_dict()

        def decode(labels: Any = labels) -> np.ndarray:
            return np.asarray(LazyLabels.from_dict(labels))

        assert np.array_equal(decode(), array)
        runs = int((np.diff(array.ravel()) != 0).sum()) + 1
        tracemalloc.start()
        decode()
        peak = tracemalloc.get_traced_memory()[1] - array.nbytes
        tracemalloc.stop()
        full = functools.partial(np.full, array.shape, 1, np.int32)
        table.add(f"decode {name}", "`np.full`", race(3, **both(decode), peer=full))
        encode = race(3, **both(lambda: LazyLabels.from_array(array).to_dict()), peer=array.copy)
        table.add(f"encode {name}", "a copy", encode)
        table.note(f"{name}: {runs:,} runs, {peak / runs:.0f} bytes per run above the output")


def run(truth: Truth, folder: Path) -> list[Figure]:
    """The table, and the figures of it that the project wants."""
    use_kernels(COMPILED)
    table = Table()
    kinds = {name: truth[name] for name in LABELS}
    folder.mkdir()
    for kind, array in kinds.items():
        fresh_volume(table, kind, array, folder)
    figures = [*first_use(table)]
    for kind, array in kinds.items():
        ratio = warm_volume(table, kind, array)
        figures.append(Figure(f"{kind} of a volume: time of np.full", ratio, 1.3, is_limit=True))
    for kind, array in kinds.items():
        (folder / kind).mkdir()
        times = windows(table, kind, array, folder / kind)
        figures.append(Figure(f"label windows, {kind}: / np.memmap",
                              times["peer"] / times["ours"], 1.8))  # fmt: skip
    times = rows(table, **kinds)
    figures.append(Figure("labels of a slice, from Arrow: compiled / NumPy alone",
                          times["numpy"] / times["ours"], 2.5))  # fmt: skip
    coco(table, truth["organelles"])
    bad_cases(table, truth["cells"].shape[-1])
    print("## Labels, one process")
    table.show()
    return figures
