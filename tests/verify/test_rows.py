"""Rows of a repository, read file by file: what contradicts other rows, or cannot be read."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import verified

from _platelet_em.arrays.page import encode_page

SHARD = "slices/train-00001-of-00008.parquet"


# --- whole objects ----------------------------------------------------------------------------


PROPERTIES = {"class_id": (4, "2"), "purity": (0.5, "1.0"), "cell": (70, "3")}


@pytest.mark.parametrize("name", PROPERTIES)
def test_properties_are_those_of_the_whole_object(name, copied):
    wrong, right = PROPERTIES[name]
    verified.change_rows(copied / SHARD, 0, verified.put("organelles", name, wrong))
    text = f"{right}, as in the voxels of all slices {wrong}"
    place = {"row": 0, "z": 1, "column": f"organelles.{name}", "id": 5}
    report = verified.check_rows(copied)[1]
    assert verified.has_finding(report, "error", name, SHARD, text, **place)


def test_properties_that_differ_between_rows_are_found_where_rows_are_missing(copied):
    (copied / "slices" / "train-00005-of-00008.parquet").unlink()
    verified.change_rows(copied / SHARD, 0, verified.put("organelles", "class_id", 4))
    view, report = verified.check_rows(copied)
    assert view.shape is None
    text = "2, as in row 0 of "
    place = {"row": 0, "column": "organelles.class_id", "id": 5}
    assert verified.has_finding(report, "error", "class_id", SHARD, text, **place)
    assert "not compared" in report["sections"][0]["figures"]


# --- the order of rows ------------------------------------------------------------------------


def test_slices_in_another_order_are_errors(copied):
    verified.change_rows(copied / SHARD, 0, verified.assign("z", 6))
    place = {"row": 0, "z": 1, "column": "z"}
    report = verified.check_rows(copied)[1]
    assert verified.has_finding(report, "error", "z", SHARD, "1 6", **place)


def test_z_is_not_compared_where_a_shard_is_missing(copied):
    (copied / "slices" / "train-00000-of-00008.parquet").unlink()
    view, report = verified.check_rows(copied)
    assert verified.findings(report, "error") == []
    assert view.shape is None


# --- files that cannot be read ----------------------------------------------------------------


def test_a_damaged_row_group_in_the_middle_is_found_and_the_next_file_is_checked(copied):
    path, last = copied / SHARD, copied / "slices" / "train-00007-of-00008.parquet"
    verified.write_table(pa.concat_tables([pq.read_table(path)] * 5), path, row_group_size=2)
    begin = pq.read_metadata(path).row_group(1).column(0).data_page_offset
    raw = bytearray(path.read_bytes())
    raw[begin : begin + 40] = bytes(40)
    path.write_bytes(raw)
    verified.change_rows(last, 0, verified.put("cells", "area", 7))
    view, report = verified.check_rows(copied)
    assert view.shape is None
    assert verified.has_finding(report, "error", "rows", SHARD, "readable rows", row=2)
    assert verified.has_finding(report, "error", "area", last.name, " 7", row=0)
    # After the damaged rows z is unknown, so it is not compared.
    checks = [check for check, file, *_ in verified.findings(report, "error") if last.name in file]
    assert checks == ["area"]


def test_encodings_that_may_expand_to_any_size_are_not_read(copied):
    path = copied / SHARD
    verified.write_table(pq.read_table(path), path, use_dictionary=["volume"])
    text = "column volume: encoded as ['RLE_DICTIONARY'], not as PLAIN"
    report = verified.check_rows(copied)[1]
    assert verified.has_finding(report, "error", "rows", SHARD, text)


def test_columns_that_are_too_large_are_not_read(copied, monkeypatch):
    monkeypatch.setattr("_platelet_em.verify.stored_rows._MAX_COLUMN", 1000)
    text = "bytes, at most 1000 are read"
    name = "slices/train-00000-of-00008.parquet"
    report = verified.check_rows(copied)[1]
    assert verified.has_finding(report, "error", "rows", name, text)


# --- volumes and previews ---------------------------------------------------------------------


def test_wrong_rows_of_volumes_and_previews_are_found(copied):
    path = copied / "volumes" / "validation-00000-of-00001.parquet"

    def change(row):
        row["cells"]["area"][0] += 1
        row["shape"][0] = 9
        row["voxel_size_nm"][0] = 4.0
        row["organelles"]["class_id"][3] = 6

    verified.change_rows(path, 0, change)
    previews = copied / "preview" / "validation-00000-of-00001.parquet"
    verified.change_rows(previews, 0, verified.assign("z", 2))
    verified.change_rows(previews, 1, verified.assign("preview", {"bytes": b"", "path": None}))
    report = verified.check_rows(copied, "24")[1]
    found = {(check, place["column"]) for check, _, place, _ in verified.findings(report, "error")}
    assert found == {
        ("area", "cells.area"),
        ("shape", "shape"),
        ("voxel_size_nm", "voxel_size_nm"),
        ("class_id", "organelles.class_id"),
        ("z", "z"),
        ("preview", "preview"),
    }


def test_a_volume_without_as_many_masks_as_images_is_an_error(copied):
    path = copied / "volumes" / "train-00000-of-00001.parquet"
    verified.change_rows(path, 0, lambda row: row["semantic"].pop())
    text = "one image and one mask per slice 8 images and 7 masks"
    file = "volumes/train-00000-of-00001.parquet"
    report = verified.check_rows(copied)[1]
    assert verified.has_finding(report, "error", "page", file, text, column="image")


def test_published_images_have_16_bits(copied):
    image = {"bytes": encode_page(np.zeros((64, 64), np.uint8)), "path": None}
    verified.change_rows(copied / SHARD, 0, verified.assign("image", image))
    report = verified.check_rows(copied)[1]
    text = "uint16 pixels (y, x)"
    assert verified.has_finding(report, "error", "page", SHARD, text, column="image")
    assert "uint8 or uint16" not in str(report)
