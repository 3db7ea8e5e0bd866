"""Load the archives with `platelet_em.load_dataset`, or unpickle a stream of another process.

Arguments: "load" or "unpickle", the voxels, the archives, the file of the pickled stream. Prints
ok at the end.
"""

import pickle
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from check_lazy import check_lazy_rows
from check_rows import SPLITS, read_truth


def forbid_lock():
    """Fail where `datasets` 3 would lock the builder's source, two folders above it."""
    lock = str(Path(find_spec("platelet_em").origin).resolve().parents[1]) + ".lock"

    def check(event, arguments):
        assert event != "open" or arguments[0] != lock, "many users may not write there"

    sys.addaudithook(check)


def load(truth, archives, pickled):
    import platelet_em
    from _platelet_em.sources import opening

    archives = {"data_dir": archives}
    for options in ({}, {"num_proc": 2, "cache_dir": "workers"}, {"streaming": True}):
        for label_source in ("json", "tif"):
            loaded = platelet_em.load_dataset(label_source=label_source, **options, **archives)
            for split, volume in SPLITS:
                zs = list(range(len(truth[volume + "_images"])))
                assert check_lazy_rows(loaded[split], truth, volume, label_source) == zs
    [row] = platelet_em.load_dataset("volumes", split="validation", **archives)
    assert np.array_equal(row["image"], truth["24_images"])
    assert np.array_equal(row["cells"], truth["24_cell"])
    assert len(platelet_em.load_dataset("preview", split="train", **archives)) == 9

    def fail(*arguments):
        raise AssertionError("the rows are made again")

    opening.ArchiveVolume = fail
    prepared = platelet_em.load_dataset(split="train", **archives)
    assert check_lazy_rows(prepared, truth) == list(range(9))
    stream = platelet_em.load_dataset(split="train", streaming=True, **archives)
    pickled.write_bytes(pickle.dumps(stream))


def unpickle(truth, archives, pickled):
    stream = pickle.loads(pickled.read_bytes())
    assert check_lazy_rows(stream, truth) == list(range(9))


forbid_lock()
function, voxels, folder, file = sys.argv[1:]
{"load": load, "unpickle": unpickle}[function](read_truth(voxels), folder, Path(file))
print("ok")
