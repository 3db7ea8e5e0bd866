"""Verification of built repositories: each fault planted in a row or a file is found there."""

import io
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest
import tifffile
from PIL import Image
from support import verified


@pytest.fixture
def copied(tidy_repository, tmp_path):
    """A copy of the repository to spoil."""
    return shutil.copytree(tidy_repository, tmp_path / "repo")


def put(name, field, value, index=0):
    """Change one entry of a struct."""

    def change(row):
        row[name][field][index] = value

    return change


def turn_ids(row):
    for values in row["organelles"].values():
        if len(values) == len(row["organelles"]["rle"]):
            values[0], values[1] = values[1], values[0]


def split_run(row):
    start, length, *rest = row["cells"]["rle"][0].split()
    row["cells"]["rle"][0] = " ".join(
        [start, "1", str(int(start) + 1), str(int(length) - 1), *rest]
    )


def paint_page(column, value):
    def change(row):
        with Image.open(io.BytesIO(row[column]["bytes"])) as picture:
            page = np.array(picture)
        page[15, 7] = value
        out = io.BytesIO()
        tifffile.imwrite(out, page)
        row[column]["bytes"] = out.getvalue()

    return change


def assign(name, value):
    return lambda row: row.update({name: value})


ROW_FAULTS = {
    "area": (put("cells", "area", 7), "area", "cells.area", "187 7"),
    "bbox": (put("cells", "bbox", [1, 1, 9, 9]), "bbox", "cells.bbox", "[1, 1, 9, 9]"),
    "border": (put("cells", "touches_border", True), "touches_border", "cells.touches_border", ""),
    "class": (put("organelles", "class_id", 4), "class_id", "organelles.class_id", "2, as in"),
    "purity": (put("organelles", "purity", 0.5), "purity", "organelles.purity", "1.0, as in"),
    "cell": (put("organelles", "cell", 70), "cell", "organelles.cell", "3, as in"),
    "id": (put("organelles", "id", 6), "organelle voxels", None, "6, as in"),
    "order": (turn_ids, "ids", "organelles.id", "5 after 9"),
    "rle": (split_run, "rle", "cells.rle", ""),
    "no rle": (put("cells", "rle", "1 2 3"), "rle", "cells", "id 3"),
    "beyond": (put("cells", "rle", "880 9"), "rle", "cells", "880 9"),
    "lists": (lambda row: row["cells"]["area"].pop(), "struct", "cells", "lists of one length"),
    "shape": (put("cells", "shape", -1), "shape", "cells.shape", "[-1, 34]"),
    "image": (paint_page("image", 1), "images voxels", None, "the first of 1 voxels"),
    "semantic": (paint_page("semantic", 0), "semantic voxels", None, "the first of 1 voxels"),
    "class 7": (paint_page("semantic", 7), "classes", "semantic", "classes from 0 to 6 7"),
    "palette": (paint_page("semantic", 0), "palette", "semantic", "['L']"),
    "no page": (assign("image", {"bytes": b"GIF89a", "path": ""}), "page", "image", "GIF89a"),
    "n_cells": (assign("n_cells", 9), "n_cells", "n_cells", "2 9"),
    "z": (assign("z", 0), "z", "z", "1 0"),
    "volume": (assign("volume", "24"), "volume", "volume", "50 24"),
}


@pytest.mark.parametrize("fault", ROW_FAULTS)
def test_fault_of_a_row_is_found_without_archives(fault, copied, capsys):
    change, check, column, words = ROW_FAULTS[fault]
    verified.change_rows(copied / "slices" / "train-00001-of-00008.parquet", 0, change)
    code, document = verified.run(capsys, copied)
    assert code == 1
    place = {"z": 1} if column is None else {"z": 1, "row": 0, "column": column}
    # What contradicts the row of the whole volume is told there.
    file = (
        "volumes/train-00000-of-00001.parquet"
        if column is None
        else "train-00001-of-00008.parquet"
    )
    assert verified.is_told(document, "error", check, file, words, **place)


@pytest.mark.parametrize("column", ["image", "semantic"])
def test_voxel_that_differs_from_the_archive_is_found(column, tidy_archives, copied, capsys):
    path = copied / "slices" / "train-00001-of-00008.parquet"
    verified.change_rows(path, 0, paint_page(column, 0))
    code, document = verified.run(capsys, tidy_archives, copied)
    check = "images voxels" if column == "image" else "semantic voxels"
    place = {"z": 1, "y": 15, "x": 7}
    assert code == 1
    assert verified.is_told(document, "error", check, "slices/train-*", "as in", **place)


def test_repository_of_json_labels_is_compared_with_the_tif_archive(tidy_archives, copied, capsys):
    path = copied / "slices" / "train-00001-of-00008.parquet"
    verified.change_rows(path, 0, put("cells", "rle", "36 16"))
    code, document = verified.run(capsys, tidy_archives / "images_and_labels_rgba.zip", copied)
    assert code == 1
    assert verified.is_told(document, "error", "cell voxels", "50-instance-cell.tif", "as in", z=1)


def remove(path):
    path.unlink()


def spoil(path):
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 3] ^= 255
    path.write_bytes(raw)


FILE_FAULTS = {
    "missing shard": ("slices/train-00003-of-00008.parquet", remove, "shards", "a shard nothing"),
    "changed byte": ("slices/train-00003-of-00008.parquet", spoil, "sums", "SHA-256"),
    "no Parquet": ("preview/train-00000-of-00001.parquet", lambda path: path.write_bytes(b"PAR1"),
                   "schema", "Parquet"),
    "stale record": ("slices/train-00003-of-00008.parquet",
                     lambda path: verified.change_metadata(path, tool_version="0.0.1"),
                     "record", "another build (tool_version)"),
    "newer schema": ("volumes/train-00000-of-00001.parquet",
                     lambda path: verified.change_metadata(path, schema_version=2),
                     "schema", "is of schema 2"),
    "no card": ("README.md", remove, "files", "nothing there"),
    "another card": ("README.md", lambda path: path.write_text("# mine"), "files", "another file"),
    "damaged picture": ("pictures/volume-50.png", lambda path: path.write_bytes(b"no"),
                        "files", "what build wrote"),
    "no sums": ("croissant.json", lambda path: path.write_text("{}"), "sums", "expected the"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FILE_FAULTS)
def test_fault_of_a_file_is_found_and_the_rest_checked(fault, copied, capsys):
    name, change, check, words = FILE_FAULTS[fault]
    change(copied / name)
    code, document = verified.run(capsys, copied)
    assert code == 1
    assert verified.is_told(document, "error", check, name, words)
    figures = [s["figures"] for s in document["sections"] if "volume 24, slices" in s["title"]]
    assert figures[0]["cell > 0 == semantic > 0"]["differ"] == 0


def test_a_class_that_nobody_named_is_an_error_all_over(copied, capsys):
    def spoil_half(row):
        with Image.open(io.BytesIO(row["semantic"]["bytes"])) as picture:
            page = np.array(picture)
        page[(page >= 2) & (np.indices(page.shape)[0] % 3 > 0)] = 200
        out = io.BytesIO()
        tifffile.imwrite(out, page)
        row["semantic"]["bytes"] = out.getvalue()

    for path in (copied / "slices").glob("train-*"):
        verified.change_rows(path, 0, spoil_half)
    code, document = verified.run(capsys, copied)
    assert code == 1
    assert verified.is_told(document, "error", "classes", "00008.parquet", "from 0 to 6 200")
    assert verified.is_told(document, "remark", "purity", "train-*", "% class 200)")


def test_shards_without_number_are_told_in_short(copied, capsys):
    for path in (copied / "slices").glob("train-*"):
        path.rename(path.with_name(path.name.replace("00008", "99999")))
    code, document = verified.run(capsys, copied)
    assert (code, document["errors"] < 50) == (1, True)
    assert verified.is_told(document, "error", "shards", "slices", "99999 shards of train")


def test_columns_that_may_unpack_to_any_size_are_not_read(copied, capsys):
    path = copied / "slices" / "train-00001-of-00008.parquet"
    table = pq.read_table(path)
    pq.write_table(table, path, use_dictionary=["volume"], compression="zstd")
    code, document = verified.run(capsys, copied)
    assert code == 1
    words = "column volume: encoded as ['RLE_DICTIONARY'], not as PLAIN"
    assert verified.is_told(document, "error", "rows", path.name, words)


def test_columns_larger_than_any_are_not_read(copied, capsys, monkeypatch):
    monkeypatch.setattr("_platelet_em.verify.rows._MAX_COLUMN", 1000)
    code, document = verified.run(capsys, copied)
    assert code == 1
    words = "bytes, at most 1000 are read"
    assert verified.is_told(
        document, "error", "rows", "slices/train-00000-of-00008.parquet", words
    )


def test_the_first_of_the_files_may_be_the_stale_one(copied, capsys):
    path = copied / "slices" / "train-00000-of-00008.parquet"
    verified.change_metadata(path, tool_version="0.0.1")
    document = verified.run(capsys, copied)[1]
    words = "another build (tool_version)"
    assert verified.is_told(document, "error", "record", path.name, words)


def test_interrupted_build_is_an_error(copied, capsys):
    (copied / ".platelet-em-build").mkdir()
    code, document = verified.run(capsys, copied)
    assert (code, document["errors"]) == (1, 1)
    assert verified.is_told(document, "error", "complete", "repo", "one that was interrupted")


def test_wrong_volumes_and_previews_are_found(copied, capsys):
    path = copied / "volumes" / "validation-00000-of-00001.parquet"

    def change(row):
        row["cells"]["area"][0] += 1
        row["shape"][0] = 9
        row["organelles"]["class_id"][3] = 6

    verified.change_rows(path, 0, change)
    previews = copied / "preview" / "validation-00000-of-00001.parquet"
    verified.change_rows(previews, 1, assign("preview", {"bytes": b"", "path": None}))
    code, document = verified.run(capsys, copied)
    assert code == 1
    told = {
        (check, place["column"])
        for check, file, place, _ in verified.findings(document, "error")
        if "/volumes/" in file or "/preview/" in file
        if place
    }
    assert told == {
        ("area", "cells.area"),
        ("shape", "shape"),
        ("class_id", "organelles.class_id"),
        ("preview", "preview"),
    }


def test_repository_of_another_archive_is_told(tidy_repository, tmp_path, capsys):
    def cell_on_background(first, second):
        first.cell[2, 25, 33] = 3

    folder = verified.plant(tmp_path / "archives", cell_on_background)
    code, document = verified.run(capsys, folder, tidy_repository)
    assert code == 1
    assert verified.is_told(
        document, "remark", "origin", "repo", "was built from an archive of md5"
    )
    place = {"z": 2, "y": 25, "x": 33}
    assert verified.is_told(
        document, "error", "cell voxels", "slices/train-*", "3, as in", **place
    )
