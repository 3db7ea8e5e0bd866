"""Flipped bits in the files of a repository: an error, or the right voxels."""

import shutil

import datasets
import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from _platelet_em.errors import PlateletEMError
from _platelet_em.facts import PUBLISHED
from _platelet_em.hub import build as build_module
from _platelet_em.hub import write as write_module
from _platelet_em.hub.read import open_volume

VERIFIED = ds.ParquetFragmentScanOptions(page_checksum_verification=True)


def flips(path, count, seed):
    """The content of a file, one bit flipped, as often as `count`."""
    content = path.read_bytes()
    rng = np.random.default_rng(seed)
    for position in rng.integers(0, 8 * len(content), count):
        damaged = bytearray(content)
        damaged[position // 8] ^= 1 << position % 8
        yield bytes(damaged)


def read_plain(files):
    """All rows as `datasets` gives them, checksums verified."""
    rows = datasets.load_dataset(
        "parquet",
        data_files={"train": files},
        split="train",
        streaming=True,
        fragment_scan_options=VERIFIED,
    )
    return pa.concat_tables(list(rows.with_format("arrow").iter(batch_size=10)))


def read_ours(folder, truth):
    """Whether all voxels of the slices that are there are right."""
    volume = open_volume(folder, PUBLISHED.volume("50"), partial=True)
    for i, z in enumerate(volume.zs):
        assert np.array_equal(volume.image(i), truth.images[z])
        assert np.array_equal(volume.semantic(i), truth.semantic[z])
        assert np.array_equal(np.asarray(volume.labels("cells", i)), truth.cell[z])
        assert np.array_equal(np.asarray(volume.labels("organelles", i)), truth.organelle[z])


@pytest.fixture
def one_shard(repository, tmp_path):
    """A repository with one shard of slices."""
    (tmp_path / "repo/slices").mkdir(parents=True)
    source = repository / "slices/train-00003-of-00008.parquet"
    return shutil.copy(source, tmp_path / "repo/slices/train-00003-of-00008.parquet")


def check_flips(path, truth, count, seed):
    expected = pq.read_table(path)
    refused = {"ours": 0, "plain": 0}
    for damaged in flips(path, count, seed):
        path.write_bytes(damaged)
        try:
            read_ours(path.parents[1], truth)
        except PlateletEMError:
            refused["ours"] += 1
        try:
            found = read_plain([str(path)])
        except Exception:  # noqa: BLE001  # of datasets, Arrow, JSON, ...
            refused["plain"] += 1
            continue
        if not found.schema.equals(expected.schema):  # a name in the footer: readers miss it
            refused["plain"] += 1
            continue
        for name in ("image", "semantic"):
            assert field(found, name, "bytes") == field(expected, name, "bytes")
        for name in ("cells", "organelles"):
            for part in ("shape", "id", "rle"):
                assert field(found, name, part) == field(expected, name, part)
        assert found["z"].to_pylist() == expected["z"].to_pylist()
    return refused


def field(table, column, name):
    return [row[name] for row in table[column].to_pylist()]


def test_no_flipped_bit_gives_other_voxels(one_shard, publication):
    refused = check_flips(one_shard, publication.volumes["50"], 60, seed=0)
    assert min(refused.values()) > 10


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_none_of_many_flipped_bits_gives_other_voxels(one_shard, publication, seed):
    check_flips(one_shard, publication.volumes["50"], 200, seed)


def test_every_file_has_checksums(repository, tmp_path):
    """pyarrow tells nothing of checksums: a byte of the first page of each file is changed."""
    for path in sorted(repository.glob("*/*.parquet")):
        with pq.ParquetFile(path) as file:
            column = file.metadata.row_group(0).column(0)
        content = bytearray(path.read_bytes())
        content[column.data_page_offset + column.total_compressed_size - 1] ^= 1
        (tmp_path / "damaged.parquet").write_bytes(content)
        with pytest.raises(OSError, match="checksum"):
            pq.read_table(tmp_path / "damaged.parquet", page_checksum_verification=True)


def test_a_damaged_file_of_a_killed_build_is_written_again(
    archives, repository, tmp_path, monkeypatch
):
    out = tmp_path / "repo"
    written = []
    write_file = write_module._ShardFile.finish

    def stop(file):
        if len(written) == 5:
            raise KeyboardInterrupt
        written.append(file._path)
        write_file(file)

    monkeypatch.setattr(write_module._ShardFile, "finish", stop)
    with pytest.raises(KeyboardInterrupt):
        build_module.build(out, data_dir=archives)
    monkeypatch.setattr(write_module._ShardFile, "finish", write_file)
    staged = sorted((out / ".platelet-em-build").rglob("*.parquet"))
    content = bytearray(staged[0].read_bytes())
    content[len(content) // 3] ^= 1
    staged[0].write_bytes(content)
    staged[1].write_bytes(staged[1].read_bytes()[:-9])
    build_module.build(out, data_dir=archives)
    for path in sorted(repository.rglob("*.parquet")):
        assert (out / path.relative_to(repository)).read_bytes() == path.read_bytes()
