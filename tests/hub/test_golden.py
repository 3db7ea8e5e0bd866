"""Files of every schema so far are read, voxel for voxel: see golden/make.py."""

import json
import shutil

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from golden import make
from support import paper, publisher

from _platelet_em.commands.cli import main
from _platelet_em.commands.info import describe, inspect
from _platelet_em.errors import OutputError
from _platelet_em.facts import PUBLISHED
from _platelet_em.hub.build import build
from _platelet_em.hub.integrity import inspect_repository
from _platelet_em.hub.record import check_readable, read_record
from _platelet_em.rows.schema import SCHEMA_VERSION

FOLDERS = sorted(make.FOLDER.glob("schema-*"))
PRESENT = make.FOLDER / f"schema-{SCHEMA_VERSION}"
SPLITS = {"train": "50", "validation": "24"}
PICTURES = ("image", "semantic", "preview")


class Golden:
    """A golden repository, its voxels, and properties of its instances."""

    def __init__(self, folder):
        self.repository = folder / "repository"
        self.arrays = dict(np.load(folder / "truth.npz"))
        self.properties = json.loads((folder / "properties.json").read_text("utf-8"))

    def array(self, volume, kind, z=None):
        array = self.arrays[f"{volume}_{kind}"]
        return array if z is None else array[z]

    def check_labels(self, labels, volume, kind, z):
        """Check labels as plain Python values: their voxels, and all fields of each instance."""
        truth = self.array(volume, kind, z)
        strings = {str(i): t for i, t in zip(labels["id"], labels["rle"], strict=True)}
        assert labels["shape"] == list(truth.shape)
        dense = publisher.decode({".info": {"shape": labels["shape"]}, **strings})
        assert np.array_equal(dense, truth)
        assert labels["id"] == np.unique(truth[truth > 0]).tolist()
        for i, label in enumerate(labels["id"]):
            indices = np.nonzero(truth == label)
            low, high = [n.min() for n in indices], [n.max() + 1 for n in indices]
            assert labels["area"][i] == len(indices[0])
            assert labels["bbox"][i] == [*low, *high]
            border = 0 in low or any(h == n for h, n in zip(high, truth.shape, strict=True))
            assert labels["touches_border"][i] == border
            if kind == "organelle":
                expected = self.properties[volume][str(label)]
                assert labels["class_id"][i] == expected["class_id"]
                assert labels["purity"][i] == np.float32(expected["purity"])
                assert labels["cell"][i] == expected["cell"]


@pytest.fixture(scope="module", params=FOLDERS, ids=[folder.name for folder in FOLDERS])
def golden(request):
    return Golden(request.param)


def load(golden, config, split, streaming, cache):
    return datasets.load_dataset(
        str(golden.repository), config, split=split, streaming=streaming, cache_dir=str(cache)
    )


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("split", SPLITS)
def test_plain_datasets_reads_slices(golden, split, streaming, cache):
    rows = list(load(golden, "slices", split, streaming, cache))
    name = SPLITS[split]
    assert [row["z"] for row in rows] == list(range(len(golden.array(name, "images"))))
    for row in rows:
        z = row["z"]
        assert row["volume"] == name
        assert np.array_equal(np.asarray(row["image"]), golden.array(name, "images", z))
        assert np.array_equal(np.asarray(row["semantic"]), golden.array(name, "semantic", z))
        for column, kind in (("cells", "cell"), ("organelles", "organelle")):
            golden.check_labels(row[column], name, kind, z)
            assert row[f"n_{column}"] == len(row[column]["id"])


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("split", SPLITS)
def test_plain_datasets_reads_volumes(golden, split, streaming, cache):
    (row,) = load(golden, "volumes", split, streaming, cache)
    name = SPLITS[split]
    assert row["volume"] == name
    for column, kind in (("image", "images"), ("semantic", "semantic")):
        pages = np.stack([np.asarray(page) for page in row[column]])
        assert np.array_equal(pages, golden.array(name, kind))
    for column, kind in (("cells", "cell"), ("organelles", "organelle")):
        golden.check_labels(row[column], name, kind, None)
    assert row["shape"] == list(golden.array(name, "images").shape)
    assert row["voxel_size_nm"] == [40.0, 10.0, 10.0]
    assert row["preview"].mode == "RGB"


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("split", SPLITS)
def test_plain_datasets_reads_previews(golden, split, streaming, cache):
    rows = list(load(golden, "preview", split, streaming, cache))
    assert len(rows) == len(golden.array(SPLITS[split], "images"))
    assert {row["preview"].mode for row in rows} == {"RGB"}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("config", ["slices", "volumes"])
@pytest.mark.parametrize("split", SPLITS)
def test_the_format_reads_it(golden, config, split, streaming, cache):
    name = SPLITS[split]
    for row in load(golden, config, split, streaming, cache).with_format("platelet_em"):
        z = row.get("z")
        for column, kind in (("image", "images"), ("semantic", "semantic")):
            assert np.array_equal(np.asarray(row[column]), golden.array(name, kind, z))
        for column, kind in (("cells", "cell"), ("organelles", "organelle")):
            assert np.array_equal(np.asarray(row[column]), golden.array(name, kind, z))
        organelles = row["organelles"]
        for key, values in organelles.properties.items():
            if key == "touches_border":
                continue
            expected = [golden.properties[name][str(i)][key] for i in organelles.ids]
            assert values.tolist() == np.asarray(expected, values.dtype).tolist()
        assert {"class_id", "purity", "cell"} <= set(organelles.properties)


@pytest.mark.parametrize("streaming", [False, True])
def test_volumes_without_instances_have_nulls(golden, streaming, cache):
    if "test_images" not in golden.arrays:
        pytest.skip("schema 1 has two volumes")
    rows = load(golden, "slices", "test", streaming, cache)
    for row in [*rows, *rows.with_format("platelet_em")]:
        z = row["z"]
        assert np.array_equal(np.asarray(row["image"]), golden.array("test", "images", z))
        assert np.array_equal(np.asarray(row["semantic"]), golden.array("test", "semantic", z))
        assert (row["cells"], row["organelles"], row["n_cells"]) == (None, None, None)


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("split", SPLITS)
def test_plain_datasets_reads_objects(golden, split, streaming, cache):
    if not (golden.repository / "instances").is_dir():
        pytest.skip("schema 1 has no table of objects")
    rows = list(load(golden, "instances", split, streaming, cache))
    name = SPLITS[split]
    for kind in ("cell", "organelle"):
        ids, counts = np.unique(golden.array(name, kind), return_counts=True)
        expected = [pair for pair in zip(ids.tolist(), counts.tolist(), strict=True) if pair[0]]
        assert [(r["id"], r["voxels"]) for r in rows if r["kind"] == kind] == expected
    for row in rows:
        if row["kind"] == "organelle":
            known = golden.properties[name][str(row["id"])]
            assert {key: row[key] for key in ("class_id", "cell")} == {
                key: known[key] for key in ("class_id", "cell")
            }
            assert row["purity"] == np.float32(known["purity"])


def test_info_and_show_read_it(golden, tmp_path, capsys):
    lines = "\n".join(describe(inspect(golden.repository)))
    assert "label source: json" in lines
    for split, name in SPLITS.items():
        assert f"slices, {split}: {len(golden.array(name, 'images'))} rows" in lines
    assert main(["show", str(golden.repository), "--z", "0", "2", "--out", str(tmp_path)]) == 0
    assert len(list(tmp_path.glob("*.png"))) == 2


def test_it_contains_the_difficult_cases(golden):
    organelles = [p for of in golden.properties.values() for p in of.values()]
    assert any(p["class_id"] == 0 for p in organelles)
    assert any(p["cell"] == 0 for p in organelles)
    assert any(p["purity"] == 0.5 for p in organelles)
    assert not golden.array("50", "cell", 0).any()
    assert not golden.array("50", "organelle", 0).any()
    assert golden.array("50", "organelle").max() == 2**31 - 1


def test_each_folder_has_files_of_its_schema():
    for folder in FOLDERS:
        files = sorted(folder.rglob("*.parquet"))
        check_readable(files)
        versions = {read_record(path)["schema_version"] for path in files}
        assert versions == {int(folder.name.removeprefix("schema-"))}


def test_golden_files_are_never_overwritten(tmp_path):
    numbers = [int(folder.name.removeprefix("schema-")) for folder in FOLDERS]
    assert sorted(numbers) == list(range(1, SCHEMA_VERSION + 1)), "run golden/make.py"
    (tmp_path / PRESENT.name).mkdir()
    with pytest.raises(FileExistsError, match=PRESENT.name):
        make.make(tmp_path)


def test_golden_files_are_small():
    for folder in FOLDERS:
        size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        assert size < 600_000  # three splits and a table of objects, since schema 2


@pytest.fixture(scope="module")
def built_now(tmp_path_factory):
    """What the present code builds from the voxels of the golden files."""
    golden = Golden(PRESENT)
    arrays = {name: [golden.array(name, kind) for kind in make.KINDS] for name in SPLITS.values()}
    made = publisher.Publication({name: publisher.Volume(*of) for name, of in arrays.items()})
    folder = tmp_path_factory.mktemp("golden")
    made.zip(folder / "images_and_labels_json.zip", "json")
    signed = (golden.array("test", "images").astype(int) - 32768).astype(np.int16)
    paper.Paper(signed, golden.array("test", "semantic")).zip(folder / paper.NAME)
    return build(folder / "repository", data_dir=folder, with_test=True)


def describe_schema(path):
    """What readers see of the schema of a file: columns, types, metadata."""
    schema = pq.read_schema(path)
    columns = [(field.name, str(field.type), field.nullable) for field in schema]
    metadata = schema.metadata
    record = json.loads(metadata[b"platelet_em"])
    record.pop("drawing", None)  # optional: the first builds of schema 1 have none
    return columns, json.loads(metadata[b"huggingface"]), sorted(metadata), sorted(record)


def tables(folder):
    return {p.relative_to(folder).as_posix() for p in folder.rglob("*.parquet")}


def test_no_schema_changes_without_a_new_version(built_now):
    repository = PRESENT / "repository"
    assert tables(built_now) == tables(repository)
    for name in sorted(tables(repository)):
        assert describe_schema(built_now / name) == describe_schema(repository / name), (
            "raise SCHEMA_VERSION"
        )


def test_no_value_changes_without_a_new_version(built_now):
    """Images may be encoded differently one day; everything else stays the same."""
    repository = PRESENT / "repository"
    for name in sorted(tables(repository)):
        old, new = (pq.read_table(folder / name) for folder in (repository, built_now))
        columns = [column for column in old.column_names if column not in PICTURES]
        old, new = (table.select(columns).replace_schema_metadata() for table in (old, new))
        assert old.equals(new), name


@pytest.mark.parametrize("force", [False, True])
def test_a_users_file_named_like_a_later_configuration_is_kept(tidy_archives, tmp_path, force):
    """Schema 1 has no `instances`: what is there is not of a build."""
    copied = shutil.copytree(make.FOLDER / "schema-1" / "repository", tmp_path / "repo")
    mine = copied / "instances" / "train-00000-of-00001.parquet"
    mine.parent.mkdir()
    pq.write_table(pa.table({"mine": [1]}), mine)
    found = {
        (problem.check, problem.file) for problem in inspect_repository(copied, PUBLISHED).problems
    }
    assert ("others", str(mine)) in found
    with pytest.raises(OutputError, match="datasets may read this file"):
        build(copied, data_dir=tidy_archives, force=force)
    assert pq.read_table(mine).column_names == ["mine"]
