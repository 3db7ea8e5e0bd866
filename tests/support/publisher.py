"""The publisher's archives and decoder, written from their description alone.

They share no code with the package, which the tests compare with them.
"""

import io
import json
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import tifffile
from matplotlib import colormaps

JET = [
    (0, 0, 0), (0, 40, 255), (0, 212, 255), (124, 255, 121), (255, 229, 0), (255, 70, 0),
    (127, 0, 0),
]  # fmt: skip
OLD = [
    (0, 0, 0), (1, 1, 224), (1, 171, 254), (1, 254, 1), (255, 224, 0), (250, 94, 0),
    (245, 0, 203),
]  # fmt: skip
EXAMPLE = {
    ".info": {"shape": [10, 10], "dtype": "uint16"},
    "1": "7 2 12 1 21 1 40 1 50 4 60 3 68 1 71 1 81 1",
    "2": "1 3 11 1 33 2 42 3 87 2",
}
FILES = {
    "images": "images/{}-images.tif",
    "semantic": "labels-semantic/{}-semantic",
    "cell": "labels-instance/{}-instance-cell",
    "organelle": "labels-instance/{}-instance-organelle",
}


def decode(labels):
    """The publisher's decoder: for each key a mask of the whole volume, assigned in key order."""
    shape = tuple(labels[".info"]["shape"])
    result = np.zeros(shape, np.int64)
    for key, string in labels.items():
        if key == ".info":
            continue
        mask = np.zeros(int(np.prod(shape)), np.uint8)
        numbers = [int(word) for word in string.split()]
        for start, length in zip(numbers[0::2], numbers[1::2], strict=True):
            mask[start - 1 : start - 1 + length] = 1
        result[mask.reshape(shape).astype(bool)] = int(key)
    return result


def encode(array, dtype="int64"):
    """The JSON form of a label array: one mask at a time, the ends of its runs by differences."""
    flat = np.asarray(array).ravel()
    labels = {".info": {"shape": list(np.shape(array)), "dtype": dtype}}
    for label in np.unique(flat[flat != 0]):
        edges = np.flatnonzero(np.diff(np.concatenate([[0], flat == label, [0]])))
        runs = zip(edges[0::2], edges[1::2], strict=True)
        labels[str(label)] = " ".join(f"{a + 1} {b - a}" for a, b in runs)
    return labels


def colors(count, seed=0):
    """Distinct colors by index, uint8 (count + 1, 3); index 0 is black, and no other."""
    codes = np.random.default_rng(seed).choice(2**24 - 1, count, replace=False) + 1
    codes = np.concatenate([[0], codes])
    return np.stack([codes >> 16, codes >> 8 & 255, codes & 255], -1).astype(np.uint8)


def jet():
    """The color map of the publisher's writer, uint8 (256, 3)."""
    return colormaps["jet"](np.arange(256), bytes=True)[:, :3]


def rgba(array, lut):
    """Indices as opaque colors on a transparent black background."""
    alpha = np.where(array > 0, 255, 0).astype(np.uint8)
    return np.concatenate([np.asarray(lut, np.uint8)[array], alpha[..., None]], -1)


def tif(array, **options):
    """The bytes of a multipage TIF."""
    out = io.BytesIO()
    color = array.ndim == 4
    options.setdefault("photometric", "rgb" if color else "minisblack")
    if color and array.shape[-1] == 4:
        options.setdefault("extrasamples", ["unassalpha"])
    tifffile.imwrite(out, array, **options)
    return out.getvalue()


def label_file(array, source, palette=None, encode=encode):
    """The bytes of a label file of that source; colors are those of a palette, or one per id."""
    if source == "json":
        return json.dumps(encode(array)).encode()
    lut = colors(int(array.max(initial=0)) + 1) if palette is None else palette
    return tif(rgba(array, lut), compression="zlib")


def write_labels(stem, array, source, palette=None):
    """Write a label file of that source."""
    content = label_file(array, source, palette)
    stem.with_name(f"{stem.name}.{source}").write_bytes(content)


@dataclass
class Volume:
    """A volume as dense arrays (z, y, x)."""

    images: np.ndarray
    semantic: np.ndarray
    cell: np.ndarray
    organelle: np.ndarray

    def files(self, name, source, palette=JET, encode=encode):
        """Path below the top folder -> bytes, as the publisher ships them."""
        files = {FILES["images"].format(name): tif(self.images)}
        for labels in ("semantic", "cell", "organelle"):
            of_classes = palette if labels == "semantic" else None
            content = label_file(getattr(self, labels), source, of_classes, encode)
            files[f"{FILES[labels].format(name)}.{source}"] = content
        return files


@dataclass
class Publication:
    """The two volumes, and ways to write them."""

    volumes: dict[str, Volume]
    extra: dict[str, bytes] = field(default_factory=dict)

    def files(self, source, **options):
        """All files of an archive."""
        parts = [v.files(name, source, **options) for name, v in self.volumes.items()]
        return {**{k: v for part in parts for k, v in part.items()}, **self.extra}

    def zip(self, path, source, top="platelet-em/", **options):
        """Write the zip with labels of that source; returns its path."""
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in self.files(source, **options).items():
                archive.writestr(top + name, content)
        return Path(path)

    def folder(self, path, source, **options):
        """Write the extracted folder; returns its path."""
        for name, content in self.files(source, **options).items():
            target = Path(path) / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        return Path(path)


def random_volume(shape, seed, cells=4, organelles=9):
    """Blobs that touch, cross the border, mix classes and reach out of cells."""
    rng = np.random.default_rng(seed)
    grid = np.indices(shape)

    def blobs(count, radius, ids):
        array = np.zeros(shape, np.int32)
        for label in ids[:count]:
            center = [rng.uniform(-0.1 * n, 1.1 * n) for n in shape]
            radii = [max(r * rng.uniform(0.6, 1.4), 0.8) for r in radius]
            distance = sum(((g - c) / r) ** 2 for g, c, r in zip(grid, center, radii, strict=True))
            array[distance < 1] = label
        return array

    ids = rng.choice(np.arange(1, 400), cells + organelles, replace=False)
    large, small = [n / 3 for n in shape], [n / 8 for n in shape]
    cell = blobs(cells, large, ids[:cells])
    organelle = blobs(organelles, small, ids[cells:])
    semantic = (cell > 0).astype(np.uint8)
    classes = rng.integers(0, 7, shape)
    semantic[organelle > 0] = classes[organelle > 0]
    return Volume(rng.integers(0, 2**16, shape).astype(np.uint16), semantic, cell, organelle)


def publication(seed=0, depth=9, plane=(23, 31)):
    """A small publication with ids far apart, empty slices, and a lone voxel."""
    train, validation = (
        random_volume((d, *plane), seed + i, organelles=7 + i) for i, d in enumerate((depth, 4))
    )
    train.cell[0], train.organelle[0], train.semantic[0] = 0, 0, 0
    train.cell[1, 0, 0] = train.semantic[1, 0, 0] = 1
    return Publication({"50": train, "24": validation})
