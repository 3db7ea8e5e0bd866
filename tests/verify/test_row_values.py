"""Values of one row: each field that is damaged or wrong is found at its row and column."""

import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support import verified

from _platelet_em.rows.make import CONFIG_NAMES

SHARD = "slices/train-00001-of-00008.parquet"


def swap_ids(row):
    for values in row["organelles"].values():
        if len(values) == len(row["organelles"]["rle"]):
            values[0], values[1] = values[1], values[0]


def split_run(row):
    start, length, *others = row["cells"]["rle"][0].split()
    row["cells"]["rle"][0] = " ".join(
        [start, "1", str(int(start) + 1), str(int(length) - 1), *others]
    )


def recolor_last_class(row):
    with Image.open(io.BytesIO(row["semantic"]["bytes"])) as picture:
        palette = picture.getpalette()
        palette[3 * 6] ^= 1
        picture.putpalette(palette)
        out = io.BytesIO()
        picture.save(out, "TIFF")
    row["semantic"]["bytes"] = out.getvalue()


assign, paint, put = verified.assign, verified.paint, verified.put

FAULTS = {
    "area": (put("cells", "area", 7), "area", "cells.area", "187 7"),
    "bbox": (put("cells", "bbox", [1, 1, 9, 9]), "bbox", "cells.bbox", "[1, 1, 9, 9]"),
    "border": (put("cells", "touches_border", True), "touches_border", "cells.touches_border", ""),
    "order of ids": (swap_ids, "ids", "organelles.id", "ascending ids 5 after 9"),
    "id twice": (put("organelles", "id", 9), "rle", "organelles", "id 9 "),
    "id 0": (put("organelles", "id", 0), "rle", "organelles", "id 0"),
    "no voxels": (put("cells", "rle", ""), "ids", "cells", "instances with voxels none"),
    "split run": (split_run, "rle", "cells.rle", ""),
    "odd numbers": (put("cells", "rle", "1 2 3"), "rle", "cells", "id 3"),
    "beyond the slice": (put("cells", "rle", "880 9"), "rle", "cells", "880 9"),
    "no string": (put("cells", "rle", None), "rle", "cells", "id 3"),
    "lists": (lambda row: row["cells"]["area"].pop(), "struct", "cells", "lists of one length"),
    "no list": (assign("cells", None), "struct", "cells", "all of its fields no shape"),
    "shape": (put("cells", "shape", -1), "shape", "cells.shape", "[-1, 34]"),
    "class 7": (paint("semantic", 7), "classes", "semantic", "classes from 0 to 6 7"),
    "palette": (paint("semantic", 0), "palette", "semantic", "['no palette']"),
    "one color": (recolor_last_class, "palette", "semantic", "[0, 0, 0, "),
    "no image": (assign("image", None), "page", "image", "an encoded image none"),
    "no TIFF": (assign("image", {"bytes": b"GIF89a", "path": ""}), "page", "image", "GIF89a"),
    "n_cells": (assign("n_cells", 9), "n_cells", "n_cells", "2 9"),
    "volume": (assign("volume", "24"), "volume", "volume", "50 24"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_row_is_located(fault, copied):
    change, name, column, text = FAULTS[fault]
    verified.change_rows(copied / SHARD, 0, change)
    place = {"z": 1, "row": 0, "column": column}
    report = verified.check_rows(copied)[1]
    assert verified.has_finding(report, "error", name, SHARD, text, **place)


def test_an_image_of_another_shape_is_an_error(copied):
    with_page = pq.read_table(copied / "preview" / "train-00000-of-00001.parquet")
    preview = with_page["preview"][0].as_py()
    verified.change_rows(copied / SHARD, 0, assign("image", preview))
    text = "uint16 pixels (y, x) of shape (26, 34) uint8"
    place = {"z": 1, "column": "image"}
    report = verified.check_rows(copied)[1]
    assert verified.has_finding(report, "error", "page", SHARD, text, **place)


def test_a_string_that_is_not_unicode_is_an_error(copied):
    path = copied / SHARD
    table = pq.read_table(path)
    index = table.column_names.index("volume")
    damaged = pa.array([b"5\xff"]).view(pa.string())
    verified.write_table(table.set_column(index, table.schema.field(index), damaged), path)
    text = "50 'utf-8' codec can't decode byte 0xff"
    place = {"z": 1, "column": "volume"}
    report = verified.check_rows(copied)[1]
    assert verified.has_finding(report, "error", "volume", SHARD, text, **place)


# --- every column -----------------------------------------------------------------------------


def fields(data_type, path=()):
    """The path of each field of a row, through structs."""
    for field in data_type:
        inside = (*path, field.name)
        yield from fields(field.type, inside) if pa.types.is_struct(field.type) else (inside,)


def spoil(value):
    """A wrong value of the same type; the first entry of a list is spoiled."""
    if isinstance(value, list):
        return [spoil(value[0]), *value[1:]]
    if isinstance(value, (dict, bytes)):
        return None
    if isinstance(value, bool):
        return not value
    if value is None:
        return 1
    return f"{value} 1" if isinstance(value, str) else value + 1


UNCHECKED = ("path", "id")
"""Names of pictures, which are for people; and ids, which are compared with other sources."""


@pytest.mark.parametrize("config", CONFIG_NAMES)
def test_each_field_of_a_row_is_checked(config, copied):
    shard = min((copied / config).glob("train-*"))
    content = shard.read_bytes()
    for path in fields(pq.read_schema(shard)):
        *structs, last = path

        def change(row, structs=structs, last=last):
            for struct in structs:
                row = row[struct]
            row[last] = spoil(row[last])

        verified.change_rows(shard, 0, change)
        report = verified.check_rows(copied)[1]
        found = {
            place["column"].split(".")[0]
            for _, file, place, _ in verified.findings(report, "error")
            if file == str(shard)
        }
        assert path[0] in found or last in UNCHECKED, path
        shard.write_bytes(content)
