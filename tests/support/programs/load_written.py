"""Load what `to_parquet` and `save_to_disk` wrote of the slices of a volume; argument: a folder.

In the folder are out.parquet, saved and the voxels as images.npy and cells.npy. Prints ok.
"""

import sys
from pathlib import Path

import datasets
import numpy as np
from check_rows import decode

folder = Path(sys.argv[1])
images, cells = np.load(folder / "images.npy"), np.load(folder / "cells.npy")
parquet = {"path": "parquet", "data_files": str(folder / "out.parquet"), "split": "train"}
for ds in (
    datasets.load_dataset(**parquet, cache_dir=str(folder / "cache")),
    datasets.load_dataset(**parquet, streaming=True),
    datasets.load_from_disk(str(folder / "saved")),
):
    assert ds.features["image"] == datasets.Image(), ds.features
    rows = list(ds)
    assert len(rows) == len(images)
    for z, row in enumerate(rows):
        assert np.array_equal(np.asarray(row["image"]), images[z])
        assert np.array_equal(decode(row["cells"]), cells[z])
print("ok")
