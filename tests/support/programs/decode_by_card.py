"""Decode the organelles of each slice by the code of the card; prints the number of slices.

Arguments: a repository, a file with the code, a file with the voxels. The code decodes `row` into
`mask`.
"""

import sys
from pathlib import Path

import datasets
import numpy as np

repository, code, voxels = sys.argv[1:]
truth = np.load(voxels)
stream = datasets.load_dataset(repository, "slices", split="train", streaming=True)
rows = list(stream)
for z, row in enumerate(rows):
    names = {"row": row}
    exec(Path(code).read_text(), names)
    assert np.array_equal(names["mask"], truth[z])
print(len(rows))
