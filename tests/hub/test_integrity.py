"""Whether a folder holds a complete build: what is damaged or changed is never taken for one."""

import shutil
import zipfile

import pyarrow.parquet as pq
import pytest

import platelet_em
from _platelet_em.facts import PUBLISHED
from _platelet_em.hub.build import build
from _platelet_em.hub.integrity import read_build
from _platelet_em.hub.push import push

SHARD = "slices/train-00003-of-00008.parquet"


def flip_a_byte(folder):
    content = bytearray((folder / SHARD).read_bytes())
    content[len(content) // 3] ^= 1
    (folder / SHARD).write_bytes(content)


def take_the_rows(folder):
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


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(flip_a_byte, id="a byte"),
        pytest.param(take_the_rows, id="no rows"),
        pytest.param(drop_a_column, id="no images"),
        pytest.param(swap_two_shards, id="two shards swapped"),
        pytest.param(write("croissant.json", b"{}"), id="no description"),
        pytest.param(write("croissant.json", b"\xff"), id="no text"),
        pytest.param(write("pictures/volume-50.png", b""), id="no picture"),
        pytest.param(write("README.md", b"---\nlicense: other\n---\nmy card"), id="another card"),
        pytest.param(write("README.md", b""), id="no card"),
    ],
)
def test_a_damaged_folder_is_no_build_and_is_made_again(damage, repository, archives, tmp_path):
    folder = shutil.copytree(repository, tmp_path / "repo")
    assert read_build(folder, PUBLISHED)
    damage(folder)
    assert read_build(folder, PUBLISHED) is None
    assert read_build(build(folder, data_dir=archives), PUBLISHED) == read_build(
        repository, PUBLISHED
    )


def test_a_record_that_says_too_little_is_no_build(repository, tmp_path):
    folder = shutil.copytree(repository, tmp_path / "repo")
    for path in folder.rglob("*.parquet"):
        table = pq.read_table(path)
        metadata = {**table.schema.metadata, b"platelet_em": b'{"schema_version": 1}'}
        pq.write_table(table.replace_schema_metadata(metadata), path)
    assert read_build(folder, PUBLISHED) is None


def test_the_sample_is_known_when_it_is_unpacked(tmp_path):
    platelet_em.write_sample(tmp_path / "sample", depth=2, size=32)
    with zipfile.ZipFile(tmp_path / "sample" / "images_and_labels_json.zip") as archive:
        archive.extractall(tmp_path / "extracted")
    out = build(tmp_path / "repo", data_dir=tmp_path / "extracted")
    assert read_build(out, PUBLISHED)["origin"] == "synthetic"
    card = (out / "README.md").read_text()
    assert "made from the synthetic sample of the tool, not from data" in card
    assert "MD5 of the MD5s of its files" in card


def test_a_file_that_cannot_be_read_is_named(repository, tmp_path, monkeypatch):
    folder = shutil.copytree(repository, tmp_path / "repo")
    monkeypatch.setattr("os.access", lambda path, mode: path != folder / SHARD)
    # The Hub is asked first, and there is none here.
    monkeypatch.setattr("_platelet_em.hub.branch.HubBranch.read_state", lambda branch: None)
    with pytest.raises(platelet_em.OutputError, match=f"{SHARD}: cannot be read"):
        push("user/platelet-em", folder, dry_run=True)


def test_a_folder_in_the_place_of_a_shard_is_named(repository, archives, tmp_path):
    folder = shutil.copytree(repository, tmp_path / "repo")
    (folder / SHARD).unlink()
    (folder / SHARD).mkdir()
    with pytest.raises(platelet_em.OutputError, match=f"{SHARD}: expected a file"):
        build(folder, data_dir=archives)
    assert (folder / "README.md").is_file()
