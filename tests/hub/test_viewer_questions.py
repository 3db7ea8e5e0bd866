"""What people ask the viewer: statistics, search, filters and SQL, on what `build` writes."""

import re
import shutil

import datasets
import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support import viewer

import platelet_em
from _platelet_em.facts import PUBLISHED
from _platelet_em.hub.viewer import describe_narrow_columns

CONFIGS = ("slices", "volumes", "instances", "preview")
SPLITS = ("train", "validation")


@pytest.fixture(scope="module")
def objects(full_size):
    """The rows of `instances` of volume 50, and their features."""
    loaded = datasets.load_dataset(str(full_size), "instances", split="train")
    return list(loaded), loaded.features


@pytest.fixture(scope="module")
def card(full_size):
    """Language -> blocks of the card about the viewer."""
    text = (full_size / "README.md").read_text()
    section = text.split("### Searching in the viewer")[1].split("\n### ")[0]
    return dict(re.findall(r"^```(\w+)\n(.*?)^```", section, re.MULTILINE | re.DOTALL))


def test_search_finds_objects_by_their_classes(objects):
    rows, features = objects
    found = viewer.search(rows, features, "mitochondrion")
    assert len(found) > 5
    assert found == [i for i, row in enumerate(rows) if row["class_name"] == "mitochondrion"]
    assert viewer.search(rows, features, "50 7") == []


def test_search_finds_nothing_of_use_in_slices(full_size):
    loaded = datasets.load_dataset(str(full_size), "slices", split="train").select(range(5))
    plain = loaded.remove_columns(["image", "semantic"])
    assert viewer.search(list(plain), plain.features, "mitochondrion") == []


def test_the_filters_of_the_card_work(full_size, full_archives, card):
    filters = card["text"].splitlines()
    common, large, many, rare = (
        int(number) for text in filters for number in re.findall(r"(?:[=>]|\()(\d+)", text)
    )
    counts = []
    for config, text in zip(("instances", "slices", "slices"), filters, strict=True):
        files = f"{full_size}/{config}/train-*.parquet"
        counts.append(duckdb.sql(f"SELECT count(*) FROM '{files}' WHERE {text}").fetchall()[0][0])
    volume = platelet_em.load_dataset("volumes", split="train", data_dir=full_archives)[0]
    organelles = volume["organelles"]
    classes = organelles.properties["class_id"]
    rows = organelles.slices()
    expected = [
        int(((classes == common) & (organelles.areas > large)).sum()),
        sum(len(labels.ids) > many for labels in rows),
        sum(rare in labels.properties["class_id"] for labels in rows),
    ]
    assert counts == expected
    assert min(expected) > 0


def test_the_sql_of_the_card_runs(full_size, objects, card):
    connection = duckdb.connect()
    files = f"{full_size}/instances/train-*.parquet"
    connection.sql(f"CREATE VIEW instances AS FROM '{files}'")
    found = {name: count for name, count, _ in connection.sql(card["sql"]).fetchall()}
    names = [row["class_name"] for row in objects[0] if row["kind"] == "organelle"]
    expected = dict(zip(*(a.tolist() for a in np.unique(names, return_counts=True)), strict=True))
    assert found == expected


def test_what_has_no_statistics_is_named(full_size, repository):
    for folder in (full_size, repository):
        named = list(describe_narrow_columns(folder, PUBLISHED))
        for config in CONFIGS:
            for split in SPLITS:
                loaded = datasets.load_dataset(str(folder), config, split=split)
                numbers = [n for n, f in loaded.features.items() if isinstance(f, datasets.Value)]
                rows = list(loaded.select_columns(numbers))
                has = viewer.has_statistics(rows, {n: loaded.features[n] for n in numbers})
                is_named = any(text.startswith(f"{config}, {split}: ") for text in named)
                assert has != is_named or len(rows) == 1


@pytest.mark.parametrize(
    "values",
    [
        pa.array(["1", "2"]),
        pa.StringArray.from_buffers(
            2, pa.py_buffer(b"\0\0\0\0\1\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")
        ),
        pa.array([1.0, 2.0]),
        pa.array([True, False]),
        pa.array([1, 2], pa.date32()),
        pa.array([2**62, -(2**62)], pa.timestamp("us")),
        pa.array([1, 2], pa.decimal128(5, 2)),
    ],
    ids=lambda values: str(values.type),
)
def test_a_column_of_another_type_is_not_asked_for_its_extremes(tidy_repository, tmp_path, values):
    copied = shutil.copytree(tidy_repository, tmp_path / "repo")
    path = min((copied / "instances").glob("train-*"))
    table = pq.read_table(path).slice(0, 2)
    at = table.schema.get_field_index("voxels")
    changed = table.set_column(at, "voxels", values)
    pq.write_table(changed.replace_schema_metadata(table.schema.metadata), path)
    named = [text for text in describe_narrow_columns(copied, PUBLISHED) if "voxels" in text]
    assert [text for text in named if "train" in text] == []
