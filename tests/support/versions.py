"""Both ends of what is supported: the `datasets` of the tests, and the oldest one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.plain import CHECK

NEWEST = Path(sys.executable)
VARIABLE = "PLATELET_EM_DATASETS_3_6"


# What processes start with that check rows of our format.
CHECK_LAZY = (
    CHECK
    + """
truth = np.load(sys.argv[1])

def check_lazy(rows, volume="50", label_source="json"):
    rows = list(rows)
    for row in rows:
        expected = {kind: truth[f"{volume}_{kind}"][row["z"]] for kind in KINDS}
        assert row["volume"] == volume
        assert (row["image"].dtype, row["semantic"].dtype) == (np.uint16, np.uint8)
        assert np.array_equal(row["image"], expected["images"])
        assert np.array_equal(row["semantic"], expected["semantic"])
        check_labels(row["cells"], expected["cell"], label_source)
        check_labels(row["organelles"], expected["organelle"], label_source)
    return [row["z"] for row in rows]

def check_both_splits(loaded, label_source):
    for split, volume in SPLITS:
        if label_source == "json":
            check_split(loaded[split], truth, volume)
        rows = loaded[split].with_format("platelet_em")
        zs = list(range(len(truth[volume + "_images"])))
        assert check_lazy(rows, volume, label_source) == zs

def check_labels(labels, expected, label_source):
    assert type(labels).__name__ == "LazyLabels"
    if label_source == "json":
        assert np.array_equal(np.asarray(labels), expected)
    else:  # the same up to a one-to-one change of ids
        pairs = np.unique([np.ravel(labels), np.ravel(expected)], axis=1)
        assert all(len(np.unique(side)) == pairs.shape[1] for side in pairs)
        assert np.array_equal(pairs[0] == 0, pairs[1] == 0)
"""
)


def oldest():
    """The interpreter of an environment with `datasets` 3.6, which `make test` makes."""
    python = Path(os.environ.get(VARIABLE) or Path(sys.prefix, "datasets-3.6", "bin", "python"))
    ask = [python, "-c", "import datasets; print(datasets.__version__)"]
    found = "nothing"
    if python.is_file():
        done = subprocess.run(ask, check=False, capture_output=True, text=True)
        found = done.stdout.strip() or done.stderr.strip().splitlines()[-1]
    if not found.startswith("3.6."):
        pytest.fail(
            f"{python}: expected a Python that has datasets 3.6, found {found}; `make test` makes "
            f"one, or name another one in the environment variable {VARIABLE}",
            pytrace=False,
        )
    return python


def run(python, code, *arguments, cwd):
    """Run code, or a file, with this project, installed or on PYTHONPATH; prints ok at its end."""
    paths = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(os.path.abspath, paths)),
        "HF_HOME": str(Path(cwd, "home")),
    }
    command = [python, *([code] if isinstance(code, Path) else ["-c", code])]
    command += map(str, arguments)
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment, cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1:] == ["ok"]
