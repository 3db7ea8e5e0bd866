"""Data without a fault, and ways to plant one: for the tests of `platelet-em verify`."""

import copy
import json
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from _platelet_em.commands.cli import main
from support import publisher

ORGANELLES = {5: 2, 9: 3, 12: 4, 300: 5}
"""Id -> class; organelle 300 has a core of class 6, too."""


def tidy_volume(depth, seed):
    """Cells that hold organelles, which drift with z, so that nothing is the same upside down."""
    shape = depth, 26, 34
    cell, organelle, semantic = (np.zeros(shape, np.int32) for _ in range(3))
    for z in range(depth):
        cell[z, 1:12, 1 + z : 18 + z] = 3
        cell[z, 13:26, 4 + z : 24 + z] = 70
        semantic[z] = cell[z] > 0
        for i, (label, index) in enumerate(ORGANELLES.items()):
            y, x = (2, 3 + 5 * i + z) if i < 2 else (15, 6 * i - 4 + z)
            organelle[z, y : y + 6, x : x + 4] = label
            semantic[z, y : y + 6, x : x + 4] = index
    semantic[(organelle == 300) & (np.indices(shape)[1] > 18)] = 6
    noise = np.random.default_rng(seed).integers(0, 2000, shape)
    images = (semantic * 9000 + noise).astype(np.uint16)
    return publisher.Volume(images, semantic.astype(np.uint8), cell, organelle)


def tidy():
    """A publication without a fault."""
    return publisher.Publication({"50": tidy_volume(8, 0), "24": tidy_volume(3, 1)})


def write_archives(folder, json_side, tif_side, **options):
    """Both zips in a folder, each of a publication of its own; returns the folder."""
    folder.mkdir(exist_ok=True)
    json_side.zip(folder / "images_and_labels_json.zip", "json")
    tif_side.zip(folder / "images_and_labels_rgba.zip", "tif", **options)
    return folder


def plant(folder, fault):
    """Archives with a fault: `fault` changes volume 50 of the JSON side, or of the TIF side."""
    sides = tidy(), tidy()
    options = fault(*(side.volumes["50"] for side in sides)) or {}
    return write_archives(folder, *sides, **options)


def change_rows(path, row, change):
    """Rewrite a Parquet file, after `change` has had its way with a row as Python values."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows[row])
    pq.write_table(
        pa.Table.from_pylist(rows, schema=table.schema),
        path,
        compression="zstd",
        use_dictionary=False,
    )


def change_metadata(path, **further):
    """Rewrite a Parquet file with other values in our record."""
    table = pq.read_table(path)
    metadata = dict(table.schema.metadata)
    record = {**json.loads(metadata[b"platelet_em"]), **further}
    metadata[b"platelet_em"] = json.dumps(record).encode()
    pq.write_table(
        table.replace_schema_metadata(metadata), path, compression="zstd", use_dictionary=False
    )


def change_member(path, name, change):
    """Rewrite a zip with one member changed; None leaves it out."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            if member.endswith(name):
                content = change(content)  # noqa: PLW2901  # that member's new content
            if content is not None:
                archive.writestr(member, content)


def run(capsys, *paths):
    """Exit code and document of `platelet-em verify PATH... --json`."""
    code = main(["verify", *map(str, paths), "--json"])
    return code, json.loads(capsys.readouterr().out)


def findings(document, level):
    """(check, file, place, what is said), of each finding of a level that is told."""
    return [
        (
            group["check"],
            group["file"],
            copy.copy(each["place"]),
            f"{each['expected']} {each['found']}",
        )
        for section in document["sections"]
        for group in section["findings"]
        if group["level"] == level
        for each in group["first"]
    ]


def is_told(document, level, check, file, words, **place):
    """Whether such a finding is there."""
    return any(
        found_check == check
        and found_file.endswith(file)
        and words in said
        and place.items() <= found_place.items()
        for found_check, found_file, found_place, said in findings(document, level)
    )
