"""Data without a fault, and ways to plant one: for the tests of `platelet-em verify`."""

import copy
import io
import json
import zipfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import tifffile
from PIL import Image

from _platelet_em.commands.cli import main
from _platelet_em.facts import PUBLISHED
from _platelet_em.hub.integrity import inspect_repository
from _platelet_em.rows.make import CONFIGS
from _platelet_em.verify.objects import check_objects
from _platelet_em.verify.report import Report
from _platelet_em.verify.rows import check_previews, read_slices, read_volume_row
from _platelet_em.verify.stored_rows import StoredRows
from support import publisher

ORGANELLES = {5: 2, 9: 3, 12: 4, 300: 5}
"""Id -> class; organelle 300 has a core of class 6, too."""


# --- archives ---------------------------------------------------------------------------------


def tidy_volume(depth, seed):
    """Cells that hold organelles; they move with z, so that a flipped volume is another one.

    The background is the brightest, as in the published pictures.
    """
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
    images = (60_000 - semantic * 9000 + noise).astype(np.uint16)
    return publisher.Volume(images, semantic.astype(np.uint8), cell, organelle)


def tidy():
    """A publication without a fault."""
    return publisher.Publication({"50": tidy_volume(8, 0), "24": tidy_volume(3, 1)})


def write_archives(folder, json_side, tif_side, **options):
    """Write both zips into a folder, each of a publication of its own; returns the folder."""
    folder.mkdir(exist_ok=True)
    json_side.zip(folder / "images_and_labels_json.zip", "json")
    tif_side.zip(folder / "images_and_labels_rgba.zip", "tif", **options)
    return folder


def plant(folder, fault):
    """Write archives with a fault.

    `fault` changes volume 50 of the JSON archive (its first argument) or of the TIF archive; it
    may return options for the TIF archive.
    """
    sides = tidy(), tidy()
    options = fault(*(side.volumes["50"] for side in sides)) or {}
    return write_archives(folder, *sides, **options)


def change_member(path, name, change):
    """Rewrite a zip with one member changed; None leaves it out."""
    with zipfile.ZipFile(path) as archive:
        members = {info.filename: archive.read(info) for info in archive.infolist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            new = change(content) if member.endswith(name) else content
            if new is not None:
                archive.writestr(member, new)


# --- repositories -----------------------------------------------------------------------------


def write_table(table, path, **options):
    """Write a Parquet file with the encodings that `build` uses."""
    pq.write_table(table, path, compression="zstd", **{"use_dictionary": False, **options})


def change_rows(path, row, change):
    """Rewrite a Parquet file, after `change` has changed a row of Python values."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows[row])
    write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def assign(column, value):
    """A change of a row: the column gets this value."""
    return lambda row: row.update({column: value})


def put(column, field, value, index=0):
    """A change of a row: one entry of a list of a struct gets this value."""

    def change(row):
        row[column][field][index] = value

    return change


def paint(column, value, where=(15, 7)):
    """A change of a row: some pixels of a page get this value; a mask loses its palette."""

    def change(row):
        with Image.open(io.BytesIO(row[column]["bytes"])) as picture:
            page = np.array(picture)
        page[where] = value
        out = io.BytesIO()
        tifffile.imwrite(out, page)
        row[column]["bytes"] = out.getvalue()

    return change


def change_metadata(path, **changes):
    """Rewrite a Parquet file with other values in its record."""
    table = pq.read_table(path)
    metadata = dict(table.schema.metadata)
    record = {**json.loads(metadata[b"platelet_em"]), **changes}
    metadata[b"platelet_em"] = json.dumps(record).encode()
    write_table(table.replace_schema_metadata(metadata), path)


# --- reports ----------------------------------------------------------------------------------


def run(capsys, *paths):
    """Exit code and report of `platelet-em verify PATH... --json`."""
    code = main(["verify", *map(str, paths), "--json"])
    return code, json.loads(capsys.readouterr().out)


def check_rows(folder, name="50"):
    """The view of a volume's slices, and a report about its rows alone, without its files."""
    report, volume = Report(), PUBLISHED.volume(name)
    repository = inspect_repository(folder, PUBLISHED, pictures=False)
    rows = {
        config.name: StoredRows(repository.files[config.name, volume.split], is_shared=False)
        for config in CONFIGS
    }
    view = read_slices(report.section("slices"), repository, rows["slices"], volume, PUBLISHED)
    read_volume_row(report.section("volumes"), repository, rows["volumes"], volume, PUBLISHED)
    check_objects(report.section("instances"), rows["instances"], volume, view, PUBLISHED)
    check_previews(report.section("preview"), repository, rows["preview"], volume)
    return view, json.loads(report.to_json())


def findings(report, level):
    """(check, file, place, expected and found) of each finding of a level that is listed."""
    return [
        (
            group["check"],
            group["file"],
            copy.copy(finding["place"]),
            f"{finding['expected']} {finding['found']}",
        )
        for section in report["sections"]
        for group in section["findings"]
        if group["level"] == level
        for finding in group["first"]
    ]


def has_finding(report, level, check, file, text, **place):
    """Whether a report lists such a finding; `file` is the end of its file's name."""
    return any(
        found_check == check
        and found_file.endswith(file)
        and text in found_text
        and place.items() <= found_place.items()
        for found_check, found_file, found_place, found_text in findings(report, level)
    )


def figures(report, title):
    """The figures of each section whose title contains a text."""
    return [section["figures"] for section in report["sections"] if title in section["title"]]
