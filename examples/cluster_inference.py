"""Runs a model over images in tiles, on a dask cluster, by default of two processes here.

Usage: python examples/cluster_inference.py REPOSITORY OUT [--scheduler ADDRESS]

REPOSITORY is a folder that `platelet-em build` wrote, or a dataset on the Hub. The folder OUT gets
a folder per volume, which `dask.array.from_npy_stack` opens. It needs
`pip install 'dask[array,distributed]'`.
"""

import argparse
from pathlib import Path

import dask.array as da
import numpy as np
from dask.distributed import Client

import platelet_em

LOCAL = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
"""The cluster of this machine that is started if no other one is named."""

RADIUS = (1, 4, 4)
"""Voxels along z, y, x from which a prediction still depends on the image."""

TILE = (16, 256, 256)


def predict(block):
    """Stands for a network: the mean of the box around each voxel, rounded down.

    Beyond the border everything is 0, as in a convolution with padding.
    """
    total = block.astype(np.int64)
    for axis, radius in enumerate(RADIUS):
        width = [(0, 0)] * 3
        width[axis] = (radius + 1, radius)
        running = np.moveaxis(np.cumsum(np.pad(total, width), axis), axis, 0)
        side = 2 * radius + 1
        total = np.moveaxis(running[side:] - running[:-side], 0, axis)
    voxels = np.prod([2 * radius + 1 for radius in RADIUS])
    return (total // voxels).astype(block.dtype)


def infer(reference, tile=TILE):
    """The predictions of an image as a dask array: the same voxels with any tiles."""
    image = da.from_array(reference, chunks=tile)
    return image.map_overlap(predict, depth=RADIUS, boundary="none", dtype=image.dtype)


def main():
    """Predict on the cluster, whose processes write the results."""
    parser = argparse.ArgumentParser(description="Run a model over images in tiles.")
    parser.add_argument("repository")
    parser.add_argument("out", type=Path)
    parser.add_argument("--splits", nargs="+", default=["train", "validation"])
    parser.add_argument("--tile", nargs=3, type=int, default=TILE, metavar=("Z", "Y", "X"))
    parser.add_argument("--scheduler", help="address of a cluster; without it, two processes here")
    arguments = parser.parse_args()
    address = arguments.scheduler
    with Client(address) if address else Client(**LOCAL):
        for split in arguments.splits:
            find = platelet_em.ColumnReference.of
            for reference in find(arguments.repository, "volumes", split, "image"):
                folder = arguments.out / reference.volume
                folder.mkdir(parents=True)
                result = infer(reference, arguments.tile)
                da.to_npy_stack(folder, result)
                print(f"volume {reference.volume}: {result.npartitions} tiles, {result.shape}")


if __name__ == "__main__":
    main()
