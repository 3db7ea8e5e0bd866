"""Writes a repository by the rules of docs/format.md, as another program would: without ours."""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tifffile
from PIL import Image

COLORS = ["#000000", "#204080", "#ff8000"]
CLASSES = ["outside", "wall", "vesicle"]
INT, LONG, TEXT = pa.int32(), pa.int64(), pa.string()
IMAGE = pa.struct([("bytes", pa.binary()), ("path", TEXT)])
COMMON = [
    ("shape", pa.list_(INT)),
    ("id", pa.list_(INT)),
    ("rle", pa.list_(TEXT)),
    ("area", pa.list_(LONG)),
    ("bbox", pa.list_(pa.list_(INT))),
    ("touches_border", pa.list_(pa.bool_())),
]
CLASSED = [("class_id", pa.list_(LONG)), ("purity", pa.list_(pa.float32()))]
CELLS = pa.struct([*COMMON, *CLASSED])
PARTS = pa.struct([*COMMON, *CLASSED, ("cell", pa.list_(INT))])
LABELS = [("n_cells", INT), ("n_parts", INT), ("cells", CELLS), ("parts", PARTS)]
BOUNDS = [f"{axis}_{end}" for axis in "zyx" for end in ("min", "max")]
SCHEMAS = {
    "slices": pa.schema(
        [("image", IMAGE), ("semantic", IMAGE), ("volume", TEXT), ("z", INT), *LABELS]
    ),
    "volumes": pa.schema(
        [
            ("image", pa.list_(IMAGE)),
            ("semantic", pa.list_(IMAGE)),
            ("preview", IMAGE),
            ("volume", TEXT),
            ("shape", pa.list_(INT)),
            ("voxel_size_nm", pa.list_(pa.float64())),
            *LABELS,
        ]
    ),
    "instances": pa.schema(
        [
            ("volume", TEXT),
            ("kind", TEXT),
            ("id", INT),
            ("class_id", LONG),
            ("class_name", TEXT),
            ("voxels", LONG),
            ("purity", pa.float32()),
            ("cell", INT),
            *((name, INT) for name in BOUNDS),
            ("touches_border", pa.bool_()),
        ]
    ),
    "preview": pa.schema([("volume", TEXT), ("z", INT), ("preview", IMAGE)]),
}
RECORD = {"schema_version": 2, "label_source": "files", "origin": "own files", "tool": "by hand"}


def tiff(page, palette=None):
    colormap = None
    if palette:
        colormap = np.zeros((3, 256), np.uint16)
        for index, color in enumerate(palette):
            colormap[:, index] = [257 * int(color[i : i + 2], 16) for i in (1, 3, 5)]
    out = io.BytesIO()
    kind = "palette" if palette else "minisblack"
    tifffile.imwrite(out, page, photometric=kind, colormap=colormap, metadata=None)
    return {"bytes": out.getvalue(), "path": "page.tif"}


def png(page):
    out = io.BytesIO()
    Image.fromarray(np.stack([page.astype(np.uint8)] * 3, axis=-1)).save(out, format="PNG")
    return {"bytes": out.getvalue(), "path": "preview.png"}


def runs(mask):
    """Pairs of start, from 1, and length, of the mask flattened in C order."""
    flat = np.concatenate([[0], mask.ravel().astype(int), [0]])
    starts, ends = np.flatnonzero(np.diff(flat) == 1), np.flatnonzero(np.diff(flat) == -1)
    return " ".join(f"{s + 1} {e - s}" for s, e in zip(starts, ends, strict=True))


def most(values, first):
    """The value from `first` on that is most frequent, the lower of equal ones; 0 for none."""
    found, counts = np.unique(values[values >= first], return_counts=True)
    return int(found[np.argmax(counts)]) if len(found) else 0


def properties(volume, kind):
    """id -> class, purity, parent of the whole objects."""
    labels = volume[kind]
    found = {}
    for label in np.unique(labels[labels > 0]):
        index = share = None
        if "semantic" in volume:
            classes = volume["semantic"][labels == label]
            index = most(classes, 1)
            share = np.float32((classes == index).sum() / len(classes))
        parents = volume["cells"][labels == label]
        parent = most(parents, 1)
        if (parents == 0).sum() > (parents == parent).sum():
            parent = 0
        found[int(label)] = (index, share, parent)
    return found


def struct(labels, known, kind, classed):
    rows = {name: [] for name in ("id", "rle", "area", "bbox", "touches_border")}
    ids = [int(i) for i in np.unique(labels[labels > 0])]
    for label in ids:
        mask = labels == label
        where = np.argwhere(mask)
        low, high = where.min(axis=0), where.max(axis=0) + 1
        touches = bool((low == 0).any() or (high == mask.shape).any())
        values = (label, runs(mask), int(mask.sum()), [*map(int, [*low, *high])], touches)
        for name, value in zip(rows, values, strict=True):
            rows[name].append(value)
    names = ("class_id", "purity", "cell")[: 3 if kind == "parts" else 2]
    shared = {name: [known[i][n] for i in ids] for n, name in enumerate(names)}
    if not classed:
        shared |= {"class_id": None, "purity": None}
    return {"shape": list(labels.shape), **rows, **shared}


def label_values(volume, z=None):
    counts, structs = {}, {}
    for kind in ("cells", "parts"):
        found = None
        if kind in volume:
            labels = volume[kind] if z is None else volume[kind][z]
            found = struct(labels, properties(volume, kind), kind, "semantic" in volume)
        counts[f"n_{kind}"] = None if found is None else len(found["id"])
        structs[kind] = found
    return {**counts, **structs}


def object_rows(name, volume):
    for kind, word in (("cells", "cell"), ("parts", "part")):
        if kind not in volume:
            continue
        known, shape = properties(volume, kind), volume[kind].shape
        for label, (index, share, parent) in known.items():
            where = np.argwhere(volume[kind] == label)
            low, high = where.min(axis=0), where.max(axis=0)
            pairs = zip(low, high, strict=True)
            yield {
                "volume": name,
                "kind": word,
                "id": label,
                "class_id": index,
                "class_name": None if index is None else CLASSES[index],
                "voxels": len(where),
                "purity": share,
                "cell": parent if kind == "parts" else None,
                **dict(zip(BOUNDS, [int(v) for pair in pairs for v in pair], strict=True)),
                "touches_border": bool((low == 0).any() or (high + 1 == shape).any()),
            }


def rows_of(name, volume):
    """Configuration -> rows of a volume."""
    images = [tiff(page) for page in volume["image"]]
    masks = None
    if "semantic" in volume:
        masks = [tiff(page, COLORS) for page in volume["semantic"]]
    previews = [png(page) for page in volume["image"]]
    depth = len(images)
    return {
        "slices": [
            {"image": images[z], "semantic": masks and masks[z], "volume": name, "z": z}
            | label_values(volume, z)
            for z in range(depth)
        ],
        "volumes": [
            {
                "image": images,
                "semantic": masks,
                "preview": previews[depth // 2],
                "volume": name,
                "shape": list(volume["image"].shape),
                "voxel_size_nm": [40.0, 8.0, 8.0],
                **label_values(volume),
            }
        ],
        "instances": [*object_rows(name, volume)],
        "preview": [{"volume": name, "z": z, "preview": previews[z]} for z in range(depth)],
    }


def card(configs, splits):
    lines = ["---", "configs:"]
    for config in configs:
        lines += [f"- config_name: {config}"]
        lines += ["  default: true"] if config == "slices" else []
        lines += ["  data_files:"]
        for split in splits:
            lines += [f"  - split: {split}", f"    path: {config}/{split}-*.parquet"]
    return "\n".join([*lines, "---", "", "# By hand", ""])


def write(folder, volumes, configs):
    """volumes: split -> {name: {"image", "semantic", "cells", maybe "parts"}}."""
    described = []
    for split, named in volumes.items():
        found = [rows_of(name, volume) for name, volume in named.items()]
        for config in configs:
            (folder / config).mkdir(parents=True, exist_ok=True)
            rows = [row for each in found for row in each[config]]
            table = pa.Table.from_pylist(rows, schema=SCHEMAS[config])
            path = folder / config / f"{split}-00000-of-00001.parquet"
            # Other libraries write no schema of Arrow.
            options = {"use_dictionary": False, "store_schema": False}
            with pq.ParquetWriter(path, table.schema, **options) as writer:
                writer.write_table(table)
                writer.add_key_value_metadata({"platelet_em": json.dumps(RECORD)})
        for name, volume in named.items():
            shape = list(volume["image"].shape)
            entry = {"name": name, "split": split, "shape": shape, "image": "slices"}
            described.append(entry | {key: "slices" for key in volume if key != "image"})
    description = {
        "name": "by-hand",
        "voxel_size_nm": [40, 8, 8],
        "classes": [
            {"name": name, "color": color} for name, color in zip(CLASSES, COLORS, strict=True)
        ],
        "instances": [
            {"name": "cells", "kind": "cell"},
            {"name": "parts", "kind": "part", "part_of": "cells", "parent": "cell"},
        ],
        "volumes": described,
    }
    (folder / "description.json").write_text(json.dumps(description))
    (folder / "README.md").write_text(card(configs, volumes))


def main():
    folder, configs = Path(sys.argv[1]), sys.argv[2:]
    rng = np.random.default_rng(3)
    volumes = {}
    for split, names in (("train", ["a b", "b"]), ("test", ["c", "d"])):
        for number, name in enumerate(names):
            shape = (2 + number, 18, 20)
            cells, parts = np.zeros(shape, int), np.zeros(shape, int)
            cells[0, 1:9, 2:11], cells[-1, 5:18, 11:18] = 7, 300
            parts[0, 3:5, 9:13], parts[:, 14:16, 12:14] = 2, 9
            volume = {
                "image": rng.integers(0, 256, shape).astype(np.uint8 if number else np.uint16),
                **(
                    {} if name == "d" else {"semantic": rng.integers(0, 3, shape).astype(np.uint8)}
                ),
                "cells": cells,
                **({"parts": parts} if split == "train" else {}),
            }
            volumes.setdefault(split, {})[name] = volume
    write(folder, volumes, configs)
    np.savez(folder.parent / "truth.npz", **{
        f"{name}|{key}": value
        for named in volumes.values() for name, volume in named.items()
        for key, value in volume.items()
    })  # fmt: skip


if __name__ == "__main__":
    main()
