"""croissant.json: mlcroissant finds no fault in it, and reads the truth with it."""

import copy
import hashlib
import json
import re
import shutil

import mlcroissant
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from support import publisher

import platelet_em
from _platelet_em.facts import PUBLISHED
from _platelet_em.hub.build import build
from _platelet_em.hub.croissant import render_croissant
from _platelet_em.hub.layout import CROISSANT

# mlcroissant uses deprecated parts of rdflib and pandas.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

SPLITS = {"train": "50", "validation": "24"}
INTEGERS = ("z", "n_cells", "n_organelles")


@pytest.fixture(scope="module")
def document(repository):
    return json.loads((repository / CROISSANT).read_text("utf-8"))


def problems(source, caplog):
    """The errors and warnings of mlcroissant, which changes the description it is given."""
    caplog.clear()
    issues = mlcroissant.Dataset(copy.deepcopy(source)).metadata.ctx.issues
    logged = [r.getMessage() for r in caplog.records if r.levelname in ("WARNING", "ERROR")]
    return [*issues.errors, *issues.warnings, *logged]


def read(repository, record_set, **options):
    return list(mlcroissant.Dataset(repository / CROISSANT).records(record_set, **options))


def plain(value):
    """A value of mlcroissant as the Python value in Parquet: its strings are bytes."""
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key.rsplit("/", 1)[1]: plain(item) for key, item in value.items()}
    return value.item() if isinstance(value, np.generic) else value


def decoded(labels):
    return publisher.decode(
        {
            ".info": {"shape": labels["shape"]},
            **{str(i): t for i, t in zip(labels["id"], labels["rle"], strict=True)},
        }
    )


def stored(repository, config):
    """The rows of a configuration's files, as pyarrow reads them."""
    files = sorted((repository / config).iterdir())
    return [row for path in files for row in pq.read_table(path).to_pylist()]


def test_mlcroissant_finds_no_fault(repository, document, caplog):
    assert problems(repository / CROISSANT, caplog) == []
    assert problems(document, caplog) == []


@pytest.mark.parametrize("word", ["datePublished", "license", "version", "citeAs"])
def test_mlcroissant_would_find_a_missing_property(document, word, caplog):
    found = problems({k: v for k, v in document.items() if k != word}, caplog)
    assert any("is recommended, but does not exist" in problem for problem in found)


def test_mlcroissant_would_find_a_missing_word_of_the_context(document, caplog):
    short = copy.deepcopy(document)
    del short["@context"]["samplingRate"]
    assert any("not standard" in problem for problem in problems(short, caplog))


def test_slices_are_the_publishers_voxels(repository, publication):
    rows = [plain(row) for row in read(repository, "slices")]
    found = [(row["volume"], row["z"]) for row in rows]
    depths = {name: len(truth.images) for name, truth in publication.volumes.items()}
    assert found == [(name, z) for name in ("50", "24") for z in range(depths[name])]
    for row in rows:
        truth, z = publication.volumes[row["volume"]], row["z"]
        assert SPLITS[row["split"]] == row["volume"]
        assert (row["image"].mode, row["semantic"].mode) == ("I;16", "P")
        assert np.array_equal(np.asarray(row["image"]), truth.images[z])
        assert np.array_equal(np.asarray(row["semantic"]), truth.semantic[z])
        assert np.array_equal(decoded(row["cells"]), truth.cell[z])
        assert np.array_equal(decoded(row["organelles"]), truth.organelle[z])
    assert not rows[0]["cells"]["id"], "one row has no instances"


def test_volumes_are_the_publishers_voxels(repository, publication):
    rows = [plain(row) for row in read(repository, "volumes")]
    assert [row["volume"] for row in rows] == ["50", "24"]
    for row in rows:
        truth = publication.volumes[row["volume"]]
        assert np.array_equal(np.stack([np.asarray(p) for p in row["image"]]), truth.images)
        assert np.array_equal(np.stack([np.asarray(p) for p in row["semantic"]]), truth.semantic)
        assert np.array_equal(decoded(row["cells"]), truth.cell)
        assert np.array_equal(decoded(row["organelles"]), truth.organelle)
        assert tuple(row["shape"]) == truth.images.shape
        assert row["voxel_size_nm"] == [40.0, 10.0, 10.0]


@pytest.mark.parametrize("config", ["slices", "volumes", "preview"])
def test_every_value_is_that_of_the_files(repository, config):
    pictures = 0
    rows = stored(repository, config)
    for found, row in zip(read(repository, config), rows, strict=True):
        record = plain(found)
        del record["split"]
        assert list(record) == list(row)
        for column, value in row.items():
            if column in ("image", "semantic", "preview"):
                pages = value if isinstance(value, list) else [value]
                read_pages = record[column] if isinstance(value, list) else [record[column]]
                for page, picture in zip(pages, read_pages, strict=True):
                    assert isinstance(picture, Image.Image)
                    picture.fp.seek(0)
                    assert picture.fp.read() == page["bytes"]
                    pictures += 1
            else:
                assert record[column] == value
    assert pictures >= len(rows)


def test_numbers_keep_their_types(repository):
    row = read(repository, "slices")[3]
    assert {type(row[f"slices/{name}"]) for name in INTEGERS} == {np.int32}
    organelles = row["slices/organelles"]
    expected = {"id": np.int32, "area": np.int64, "class_id": np.int64, "purity": np.float32}
    for name, kind in {**expected, "touches_border": bool, "rle": bytes}.items():
        assert {type(value) for value in organelles[f"slices/organelles/{name}"]} == {kind}


def test_records_of_one_split(repository, publication):
    for split, name in SPLITS.items():
        rows = read(repository, "slices", filters={"slices/split": split})
        assert {row["slices/volume"] for row in rows} == {name.encode()}
        assert len(rows) == len(publication.volumes[name].images)


def test_classes_are_named_and_referred_to(repository, document):
    rows = [plain(row) for row in read(repository, "classes")]
    names = tuple(row["name"] for row in rows)
    assert names == platelet_em.CLASS_NAMES
    assert [row["index"] for row in rows] == list(range(7))
    for config in ("slices", "volumes"):
        (node,) = (
            field
            for field in fields(document, config)
            if field["@id"] == f"{config}/organelles/class_id"
        )
        assert node["references"] == {"field": {"@id": "classes/index"}}


def fields(document, config):
    (record_set,) = (r for r in document["recordSet"] if r["@id"] == config)
    for field in record_set["field"]:
        yield field
        yield from field.get("subField", ())


@pytest.mark.parametrize("config", ["slices", "volumes", "preview"])
def test_fields_are_the_columns_of_the_files(repository, document, config):
    schema = pq.read_schema(next((repository / config).iterdir()))
    expected = {f"{config}/split"}
    for column in schema:
        expected.add(f"{config}/{column.name}")
        if column.name in ("cells", "organelles"):
            expected |= {f"{config}/{column.name}/{inner.name}" for inner in column.type}
    nodes = list(fields(document, config))
    assert [node["@id"] for node in nodes] == list(dict.fromkeys(node["@id"] for node in nodes))
    assert {node["@id"] for node in nodes} == expected
    assert all(node["description"] for node in nodes)
    (record_set,) = (r for r in document["recordSet"] if r["@id"] == config)
    key = [node["@id"].removeprefix(f"{config}/") for node in record_set["key"]]
    assert key == (["volume"] if config == "volumes" else ["volume", "z"])
    for node in nodes:
        lists = {"bbox": "-1,-1"}.get(node["name"], "-1" if node.get("isArray") else None)
        assert node.get("arrayShape") == lists


def test_every_parquet_file_is_listed_with_its_checksum(repository, document):
    files = [n for n in document["distribution"] if n["@type"] == "cr:FileObject"]
    listed = {node["contentUrl"]: node for node in files}
    assert len(listed) == len(files)
    present = {p.relative_to(repository).as_posix(): p for p in repository.rglob("*.parquet")}
    assert set(listed) == set(present)
    for name, path in present.items():
        assert listed[name]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert listed[name]["contentSize"] == f"{path.stat().st_size} B"


def test_facts(document):
    assert document["conformsTo"] == "http://mlcommons.org/croissant/1.1"
    assert document["license"]["name"] == "other"
    assert "cleared for public release" in document["license"]["description"]
    assert "10.1038/s41598-021-81590-0" in document["citeAs"]
    assert document["version"] == "2.0.0"
    assert "synthetic" not in document["description"]


def test_it_states_that_the_sample_is_synthetic(tmp_path, caplog):
    platelet_em.write_sample(tmp_path / "sample", depth=1, size=24)
    out = build(tmp_path / "repo", data_dir=tmp_path / "sample", label_source="tif")
    document = json.loads((out / CROISSANT).read_text("utf-8"))
    assert document["description"].startswith("Made from the synthetic sample of the tool")
    assert problems(out / CROISSANT, caplog) == []
    assert len(read(out, "slices")) == 2


def test_it_is_independent_of_the_path_of_the_folder(repository, tmp_path, monkeypatch):
    text = (repository / CROISSANT).read_text("utf-8")
    assert str(repository) not in text
    urls = set(re.findall(r'"https?://[^"]*"', text))
    assert all(re.match('"https?://(schema|mlcommons|purl|doi)', url) for url in urls)
    moved = shutil.copytree(repository, tmp_path / "somebody" / "platelet-em")
    monkeypatch.chdir(moved)
    assert len(list(mlcroissant.Dataset(CROISSANT).records("slices"))) == 13


def test_an_unfinished_build_beside_the_files_is_not_read(repository, tmp_path):
    out = shutil.copytree(repository, tmp_path / "repo")
    shutil.copytree(repository / "slices", out / ".platelet-em-build" / "x" / "slices")
    assert len(read(out, "slices")) == 13


def test_same_files_same_bytes(repository):
    provenance = {"origin": "publisher"}
    again = render_croissant(repository, provenance, PUBLISHED)
    assert again == (repository / CROISSANT).read_text("utf-8")
