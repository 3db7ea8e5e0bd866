"""Measures each object of a repository on a dask cluster, by default of two processes here.

Usage: python examples/cluster_statistics.py REPOSITORY OUT.parquet [--scheduler ADDRESS]

REPOSITORY is a folder that `platelet-em build` wrote, or a dataset on the Hub. OUT.parquet gets
one row per object: voxels, class, bounding box (half-open) and mean gray value. It needs
`pip install 'dask[distributed]'`.
"""

import argparse
from dataclasses import replace

import dask
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from dask.distributed import Client

import platelet_em

LOCAL = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
"""The cluster of this machine that is started if no other one is named."""

SLAB = 8
"""Slices of the image that are decoded at a time."""


def measure(reference):
    """One row per object of a column of labels, as an Arrow table."""
    labels = reference.open()
    image = replace(reference, column="image").open()
    gray = np.zeros(len(labels.ids), np.uint64)
    for z in range(0, len(labels), SLAB):
        slab = labels.crop(np.s_[z : z + SLAB])
        # The sum over a run is the difference of two running sums, so labels stay runs.
        total = np.cumsum(image[z : z + SLAB], dtype=np.uint64)
        running = np.append(np.uint64(0), total)
        sums = running[slab.runs.stops] - running[slab.runs.starts]
        objects = np.searchsorted(labels.ids, slab.ids)
        np.add.at(gray, objects[slab.runs.owners], sums)
    count = len(labels.ids)
    class_ids = labels.properties.get("class_id")  # cells have none
    names = ("z_start", "y_start", "x_start", "z_stop", "y_stop", "x_stop")
    return pa.table({
        "volume": [reference.volume] * count,
        "column": [reference.column] * count,
        "id": labels.ids,
        "class_id": pa.nulls(count, pa.int64()) if class_ids is None else class_ids,
        "voxels": labels.areas,
        **dict(zip(names, labels.bboxes.T, strict=True)),
        "mean_gray": gray / labels.areas,
    })  # fmt: skip


def find_labels(repository, splits, columns):
    """A reference to each column of labels of each volume."""
    return [
        reference
        for split in splits
        for column in columns
        for reference in platelet_em.ColumnReference.of(repository, "volumes", split, column)
    ]


def main():
    """Measure on the cluster, and write the table."""
    parser = argparse.ArgumentParser(description="Measure each object of a repository.")
    parser.add_argument("repository")
    parser.add_argument("out")
    parser.add_argument("--splits", nargs="+", default=["train", "validation"])
    parser.add_argument("--columns", nargs="+", default=["cells", "organelles"])
    parser.add_argument("--scheduler", help="address of a cluster; without it, two processes here")
    arguments = parser.parse_args()
    references = find_labels(arguments.repository, arguments.splits, arguments.columns)
    tasks = [dask.delayed(measure)(reference) for reference in references]
    address = arguments.scheduler
    with Client(address) if address else Client(**LOCAL) as client:
        tables = dask.compute(*tasks)
        processes = len(client.nthreads())
    table = pa.concat_tables(tables)
    pq.write_table(table, arguments.out)
    print(f"{table.num_rows} objects, {len(tasks)} tasks, {processes} processes")


if __name__ == "__main__":
    main()
