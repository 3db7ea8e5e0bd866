"""All benchmarks, in one run on one synthetic sample; `make bench` runs it.

Usage: python benchmarks [--depth 50] [--size 800] [--rounds 7] [--memory reused]
                         [labels] [samples] [windows] [growth]

Prints tables in Markdown, as they are in docs/performance.md, and last the figures that the
project wants. Needs two idle cores; on a shared machine only ratios are meaningful.
"""

import argparse
import contextlib
import ctypes
import importlib.metadata
import platform
import tempfile
from collections.abc import Iterator
from pathlib import Path

import datasets
import growth
import labels
import loading
import windows
from arms import show_figures
from inputs import make_input

LIBRARIES = ("numpy", "numba", "torch", "datasets", "litdata", "zarr", "webdataset", "torch_em")
PARTS = ("labels", "samples", "windows", "growth")


def versions() -> Iterator[str]:
    """The libraries that are installed, with their versions."""
    for name in LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            yield f"{name} {importlib.metadata.version(name)}"


def set_memory(kind: str) -> None:
    """Take large arrays from memory that was freed before, or always from the system.

    By itself, the C library decides that by what the process has allocated so far, and so by the
    order of the arms. Fresh memory costs more than the reading of most arms.
    """
    trim_threshold, mmap_threshold = -1, -3  # of malloc.h
    libc = ctypes.CDLL(None)
    if kind == "reused":
        libc.mallopt(trim_threshold, 1 << 30)
        libc.mallopt(mmap_threshold, 1 << 25)
    else:
        libc.mallopt(mmap_threshold, 1 << 17)


def main() -> None:
    """Make the input, and run what was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="part", help=f"of {', '.join(PARTS)}; or all")
    parser.add_argument("--depth", type=int, default=50, help="slices (default: 50)")
    parser.add_argument("--size", type=int, default=800, help="pixels along y and x")
    parser.add_argument("--rounds", type=int, default=7, help="passes that are timed")
    parser.add_argument("--memory", choices=["reused", "fresh"], default="reused",
                        help="where arrays below 32 MB are put (default: reused)")  # fmt: skip
    options = parser.parse_args()
    parts = options.parts or PARTS
    if unknown := set(parts) - set(PARTS):
        parser.error(f"parts: expected {', '.join(PARTS)}, got {', '.join(sorted(unknown))}")
    datasets.disable_progress_bars()
    set_memory(options.memory)
    print(f"{platform.machine()}, Python {platform.python_version()}, {', '.join(versions())}")
    figures = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        print(
            f"sample: {options.depth} x {options.size} x {options.size}, memory {options.memory}",
            flush=True,
        )
        truth = make_input(folder, options.depth, options.size)
        print(f"{truth['cells'].max()} cells, {truth['organelles'].max()} organelles\n")
        if "labels" in parts:
            figures += labels.run(truth, folder / "labels")
        if "samples" in parts:
            figures += loading.run(truth, folder, options.rounds)
        if "windows" in parts:
            figures += windows.run(truth, folder, options.rounds)
        if "growth" in parts:
            growth.run(folder / "growth")
    print("## What the project wants")
    show_figures(figures)


if __name__ == "__main__":
    main()
