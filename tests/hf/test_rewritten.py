"""Parquet that other tools wrote again, without the card beside it, in the format.

Features of `datasets` are lost on the way: columns are recognized by their fields and types.
"""

import datasets
import duckdb
import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import platelet_em  # noqa: F401  # registers the format
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.stack import LazyStack
from _platelet_em.hf.arrow_values import read_values

CONFIGS = ("slices", "volumes", "instances", "preview")
LISTS = ("fixed", "view", "large view")


def with_pandas(sources, target):
    pd.concat(map(pd.read_parquet, sources)).to_parquet(target, index=False)


def with_polars(sources, target):
    pl.read_parquet(sources).write_parquet(target)


def with_duckdb(sources, target):
    duckdb.sql(f"COPY (SELECT * FROM read_parquet({sources})) TO '{target}' (FORMAT parquet)")


def shards(repository, config):
    return sorted(map(str, (repository / config).glob("train-*.parquet")))


@pytest.fixture(scope="module", params=[with_pandas, with_polars, with_duckdb])
def rewrite(request):
    return request.param


def original(repository, config):
    files = {"train": shards(repository, config)}
    return datasets.load_dataset("parquet", data_files=files, split="train")


def load(folder, *, streaming=False):
    files = {"train": sorted(map(str, folder.glob("*.parquet")))}
    cache = str(folder / "cache")
    return datasets.load_dataset(
        "parquet", data_files=files, split="train", cache_dir=cache, streaming=streaming
    )


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        if isinstance(value, int) and isinstance(found[name], float):  # pandas, beside nulls
            assert found[name] == value
            continue
        assert type(found[name]) is type(value), name
        if isinstance(value, LazyLabels):
            assert found[name].equals(value)
            for key, values in value.properties.items():
                np.testing.assert_array_equal(found[name].properties[key], values)
        else:
            np.testing.assert_array_equal(np.asarray(found[name]), np.asarray(value))


@pytest.mark.parametrize("config", CONFIGS)
def test_rows_are_the_same_map_style_and_streamed(repository, rewrite, config, tmp_path):
    rewrite(shards(repository, config), tmp_path / "again.parquet")
    expected = list(original(repository, config).with_format("platelet_em"))
    streamed = load(tmp_path, streaming=True)
    mapped = streamed.map(lambda row: row)
    for rows in (load(tmp_path), streamed, mapped):
        found = list(rows.with_format("platelet_em"))
        assert len(found) == len(expected)
        for row, other in zip(found, expected, strict=True):
            assert_same(row, other)
    kinds = {type(value) for row in expected for value in row.values()}
    assert (LazyLabels in kinds) == (config in ("slices", "volumes"))
    assert config != "volumes" or LazyStack in kinds


def test_rows_all_without_objects(repository, rewrite, tmp_path):
    rows = pq.read_table(shards(repository, "slices")[0]).to_pylist()
    for row in rows:
        for column in ("cells", "organelles"):
            row[column] = {key: [] if key != "shape" else v for key, v in row[column].items()}
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "empty.parquet")  # lists of nulls
    (tmp_path / "again").mkdir()
    rewrite([str(tmp_path / "empty.parquet")], tmp_path / "again/empty.parquet")
    for streaming in (False, True):
        loaded = load(tmp_path / "again", streaming=streaming)
        for row in loaded.with_format("platelet_em"):
            assert row["cells"].ids.dtype == np.int32
            assert not len(row["organelles"].ids)
            assert not np.asarray(row["cells"]).any()
            dtypes = {name: array.dtype for name, array in row["organelles"].properties.items()}
            assert dtypes["purity"] == np.float32
            assert dtypes["class_id"] == np.int64


def as_lists(kind, values, item):
    if kind == "fixed":
        return pa.array(values, pa.list_(item, len(values[0])))
    make = pa.list_view if kind == "view" else pa.large_list_view
    return pa.array(values, make(item))


@pytest.mark.parametrize("kind", LISTS)
def test_lists_of_other_types_are_labels_and_stacks(repository, kind):
    if kind != "fixed" and not hasattr(pa, "list_view"):
        pytest.skip("this pyarrow has no list views")
    pages = [[{"bytes": b, "path": None} for b in row] for row in encoded_pages(repository)]
    encoded = pa.struct({"bytes": pa.large_binary(), "path": pa.string()})
    struct = pa.StructArray.from_arrays(
        [
            as_lists(kind, [[2, 3], [2, 3]], pa.int32()),
            as_lists(kind, [[4, 7], [5, 6]], pa.int64()),
            as_lists(kind, [["1 2", "5 2"], ["1 1", "2 1"]], pa.large_string()),
            as_lists(kind, [[0.5, 1.5], [2.5, 3.5]], pa.float32()),
        ],
        ["shape", "id", "rle", "weight"],
    )
    table = pa.table({"cells": struct, "pages": as_lists(kind, pages, encoded)})
    expected = [[[4, 4, 0], [0, 7, 7]], [[5, 6, 0], [0, 0, 0]]]
    for part, labels in ((table, expected), (table.slice(1, 1), expected[1:])):
        batch = {
            name: read_values(name, None, column.combine_chunks())
            for name, column in zip(part.column_names, part.columns, strict=True)
        }
        assert [np.asarray(found).tolist() for found in batch["cells"]] == labels
        weights = [found.properties["weight"].tolist() for found in batch["cells"]]
        assert weights == [[0.5, 1.5], [2.5, 3.5]][-len(labels) :]
        assert all(type(stack) is LazyStack for stack in batch["pages"])
        last = original(repository, "slices").with_format("platelet_em")[3]["image"]
        np.testing.assert_array_equal(batch["pages"][-1][1], last)


def encoded_pages(repository):
    """Two rows of two encoded images."""
    rows = original(repository, "slices").with_format("arrow")[:4]["image"].to_pylist()
    return [[rows[0]["bytes"], rows[1]["bytes"]], [rows[2]["bytes"], rows[3]["bytes"]]]


def test_a_struct_of_other_types_is_no_image():
    fields = {"note": [{"bytes": "8", "path": "a"}], "size": [{"bytes": 8, "path": "a"}]}
    row = datasets.Dataset(pa.table(fields)).with_format("platelet_em")[0]
    assert row == {name: values[0] for name, values in fields.items()}


def test_images_that_are_not_to_be_decoded_stay_as_they_are(repository):
    rows = original(repository, "slices").cast_column("image", datasets.Image(decode=False))
    assert set(rows.with_format("platelet_em")[0]["image"]) == {"bytes", "path"}


@pytest.mark.parametrize("kind", LISTS)
def test_a_missing_list_of_another_type_is_none(repository, kind):
    if kind != "fixed" and not hasattr(pa, "list_view"):
        pytest.skip("this pyarrow has no list views")
    encoded = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    first, last = (
        [{"bytes": data, "path": None} for data in row] for row in encoded_pages(repository)
    )
    column = as_lists(kind, [first, None, last], encoded)
    for part, expected in ((column, [first, None, last]), (column.slice(1), [None, last])):
        stacks = read_values("pages", None, part)
        for stack, pages in zip(stacks, expected, strict=True):
            if pages is None:
                assert stack is None
            else:
                assert [bytes(page) for page in stack.pages] == [p["bytes"] for p in pages]
