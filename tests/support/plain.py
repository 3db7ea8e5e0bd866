"""A Python without this project: what everybody has who only installed `datasets`."""

import json
import os
import subprocess
import sys
from pathlib import Path

OURS = ("platelet_em", "_platelet_em")
KINDS = ("images", "semantic", "cell", "organelle")
PLAIN_FEATURES = ("Value", "Image", "List", "Sequence", "ClassLabel")

# What processes start with: comparing rows with the truth.
CHECK = f"KINDS, PLAIN_FEATURES = {KINDS}, {PLAIN_FEATURES}"
CHECK += """
import datasets, huggingface_hub, numpy as np, sys
from PIL.Image import Image as Picture
datasets.config.USE_PARQUET_EXPORT = False  # there is no datasets-server on loopback
SPLITS = (("train", "50"), ("validation", "24"))

def check_split(ds, truth, volume):
    check_features(ds.features)
    rows = list(ds)
    assert [int(row["z"]) for row in rows] == list(range(len(truth[volume + "_images"])))
    for row in rows:
        check(row, {kind: truth[f"{volume}_{kind}"][int(row["z"])] for kind in KINDS})
    return rows

def check_volume(ds, truth, volume):
    check_features(ds.features)
    [row] = ds
    check(row, {kind: truth[f"{volume}_{kind}"] for kind in KINDS})

def check_preview(ds, truth, volume):
    check_features(ds.features)
    rows = list(ds)
    assert [int(row["z"]) for row in rows] == list(range(len(truth[volume + "_images"])))
    for row in rows:
        assert row["volume"] == volume
        picture = np.asarray(row["preview"])
        assert picture.dtype == np.uint8
        assert 3 in (picture.shape[0], picture.shape[2])  # channels come first under "torch"

def check(row, truth):
    for column, kind in (("image", "images"), ("semantic", "semantic")):
        pages = row[column] if isinstance(row[column], list) else [row[column]]
        modes = {page.mode for page in pages if isinstance(page, Picture)}
        assert modes in (set(), {"I;16" if column == "image" else "P"})
        array = np.stack([np.asarray(page) for page in pages])
        assert array.dtype == truth[kind].dtype
        # The format "torch" gives each page an axis of channels.
        assert np.array_equal(array.reshape(truth[kind].shape), truth[kind])
    for column, kind in (("cells", "cell"), ("organelles", "organelle")):
        labels = row[column]
        shape = tuple(map(int, labels["shape"]))
        mask = np.zeros(np.prod(shape), np.int32)
        for label, text in zip(labels["id"], labels["rle"], strict=True):
            for start, length in np.array(text.split(), int).reshape(-1, 2):
                mask[start - 1 : start - 1 + length] = int(label)
        assert np.array_equal(mask.reshape(shape), truth[kind])
        assert row["n_" + column] == len(labels["id"]) == len(np.unique(truth[kind])) - 1

def check_features(feature):
    if isinstance(feature, dict):
        for part in feature.values():
            check_features(part)
    elif isinstance(feature, list):  # datasets 3 spells lists of structs so
        [part] = feature
        check_features(part)
    else:
        assert type(feature).__name__ in PLAIN_FEATURES, feature
        if hasattr(feature, "feature"):
            check_features(feature.feature)
"""

ROOTS = """
import json, site, sysconfig
print(json.dumps([*map(sysconfig.get_path, ("purelib", "platlib")), *site.getsitepackages()]))
"""


def site_packages_without_us(folder, python=sys.executable):
    """A folder that links to every package that an interpreter has, but ours; returns its path."""
    folder = Path(folder)
    found = subprocess.run([python, "-I", "-c", ROOTS], check=True, capture_output=True, text=True)
    for root in sorted(filter(os.path.isdir, set(json.loads(found.stdout)))):
        for entry in Path(root).iterdir():
            name = entry.name.lower().replace("-", "_")
            link = folder / entry.name
            if not name.startswith(OURS) and not name.endswith(".pth") and not link.exists():
                link.symlink_to(entry)
    return folder


def run(packages, code, *arguments, python=sys.executable, **environment):
    """Run code there, warnings being errors of ours alone; returns what it printed."""
    start = (
        f"import sys; sys.path[:] = [p for p in sys.path if 'site-packages' not in p]\n"
        f"sys.path.append({str(packages)!r})\n"
        "import importlib.util\n"
        f"assert not any(map(importlib.util.find_spec, {OURS!r})), 'this project is installed'\n"
    )
    command = [python, "-I", "-c", start + code, *map(str, arguments)]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, env={**os.environ, **environment}
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
