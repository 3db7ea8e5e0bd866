"""Whether a folder is a complete build: no damaged or changed one is taken for it."""

import json
import shutil
import zipfile

import pyarrow.parquet as pq
import pytest
from support.folders import contents

import platelet_em
from _platelet_em.facts import PUBLISHED
from _platelet_em.hub.build import build
from _platelet_em.hub.integrity import inspect_repository, read_build
from _platelet_em.hub.push import push

SHARD = "slices/train-00003-of-00008.parquet"


def flip_a_byte(folder):
    content = bytearray((folder / SHARD).read_bytes())
    content[len(content) // 3] ^= 1
    (folder / SHARD).write_bytes(content)


def remove_rows(folder):
    table = pq.read_table(folder / SHARD)
    pq.write_table(table.slice(0, 0), folder / SHARD)


def drop_a_column(folder):
    pq.write_table(pq.read_table(folder / SHARD).drop_columns("image"), folder / SHARD)


def swap_two_shards(folder):
    other = folder / SHARD.replace("00003", "00004")
    first, second = (folder / SHARD).read_bytes(), other.read_bytes()
    (folder / SHARD).write_bytes(second)
    other.write_bytes(first)


def write(name, content):
    def change(folder):
        (folder / name).write_bytes(content)

    return change


def describe_another_file(folder):
    path = folder / "croissant.json"
    document = json.loads(path.read_text())
    file = next(node for node in document["distribution"] if node.get("sha256"))
    document["distribution"].append({**file, "contentUrl": "slices/other.parquet"})
    path.write_text(json.dumps(document))


DAMAGES = {
    "description of other files": describe_another_file,
    "changed byte": flip_a_byte,
    "no rows": remove_rows,
    "no images": drop_a_column,
    "two shards swapped": swap_two_shards,
    "empty description": write("croissant.json", b"{}"),
    "description that is not text": write("croissant.json", b"\xff"),
    "empty picture": write("pictures/volume-50.png", b""),
    "another card": write("README.md", b"---\nlicense: other\n---\nmy card"),
    "empty card": write("README.md", b""),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_not_a_build(damage, flat_repository, tmp_path):
    folder = shutil.copytree(flat_repository, tmp_path / "repo")
    assert read_build(folder, PUBLISHED)
    DAMAGES[damage](folder)
    assert read_build(folder, PUBLISHED) is None


def test_building_again_repairs_all_damages(flat_repository, flat_archives, tmp_path):
    folder = shutil.copytree(flat_repository, tmp_path / "repo")
    for damage in ("changed byte", "two shards swapped", "empty description", "another card"):
        DAMAGES[damage](folder)
    build(folder, data_dir=flat_archives, force=True)  # the card is no longer one of a build
    assert contents(folder) == contents(flat_repository)


def test_an_incomplete_record_is_not_that_of_a_build(flat_repository, tmp_path):
    folder = shutil.copytree(flat_repository, tmp_path / "repo")
    for path in folder.rglob("*.parquet"):
        table = pq.read_table(path)
        metadata = {**table.schema.metadata, b"platelet_em": b'{"schema_version": 1}'}
        pq.write_table(table.replace_schema_metadata(metadata), path)
    assert read_build(folder, PUBLISHED) is None


def test_the_sample_is_recognized_when_it_is_extracted(tmp_path):
    platelet_em.write_sample(tmp_path / "sample", depth=2, size=32)
    with zipfile.ZipFile(tmp_path / "sample" / "images_and_labels_json.zip") as archive:
        archive.extractall(tmp_path / "extracted")
    out = build(tmp_path / "repo", data_dir=tmp_path / "extracted")
    assert read_build(out, PUBLISHED)["origin"] == "synthetic"
    card = (out / "README.md").read_text()
    assert "made from the synthetic sample of the tool, not from data" in card
    assert "MD5 of the MD5s of its files" in card


def test_a_file_that_cannot_be_read_is_named(flat_repository, tmp_path, monkeypatch):
    folder = shutil.copytree(flat_repository, tmp_path / "repo")
    monkeypatch.setattr("os.access", lambda path, mode: path != folder / SHARD)
    # The Hub is asked first, and there is none here.
    monkeypatch.setattr("_platelet_em.hub.branch.HubBranch.read_state", lambda *_, **__: None)
    with pytest.raises(platelet_em.OutputError, match=f"{SHARD}: cannot be read"):
        push("user/platelet-em", folder, dry_run=True)


def test_a_folder_with_the_name_of_a_shard_is_an_error(flat_repository, flat_archives, tmp_path):
    folder = shutil.copytree(flat_repository, tmp_path / "repo")
    (folder / SHARD).unlink()
    (folder / SHARD).mkdir()
    with pytest.raises(platelet_em.OutputError, match=f"{SHARD}: expected a file"):
        build(folder, data_dir=flat_archives)
    assert (folder / "README.md").is_file()


@pytest.mark.parametrize("key", ["origin", "archive", "archive_md5", "label_source"])
def test_a_record_without_one_of_its_keys_is_of_no_complete_build(key, flat_repository, tmp_path):
    folder = shutil.copytree(flat_repository, tmp_path / "repo")
    for path in folder.rglob("*.parquet"):
        table = pq.read_table(path)
        record = json.loads(table.schema.metadata[b"platelet_em"])
        del record[key]
        metadata = {**table.schema.metadata, b"platelet_em": json.dumps(record)}
        pq.write_table(table.replace_schema_metadata(metadata), path)
    assert read_build(folder, PUBLISHED) is None
    problems = inspect_repository(folder, PUBLISHED).problems
    assert "the record of a build, with" in "".join(p.expected for p in problems)
