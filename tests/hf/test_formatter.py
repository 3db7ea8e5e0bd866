"""The format `"platelet_em"` on what plain `datasets` loaded, map-style and streaming."""

import copy
import os
import pickle
import platform
import subprocess
import sys

import datasets
import numpy as np
import pyarrow as pa
import pytest
from support import tiff_writer
from support.programs import PROGRAMS

import platelet_em
from _platelet_em.hf.formatter import PlateletEMFormatter, register_format

TRAIN = 9


@pytest.fixture
def train(loaded):
    return loaded["train"].with_format("platelet_em")


@pytest.fixture
def stream(repository):
    return datasets.load_dataset(
        str(repository), "slices", split="train", streaming=True
    ).with_format("platelet_em")


@pytest.fixture
def volumes(repository, cache):
    return datasets.load_dataset(str(repository), "volumes", cache_dir=str(cache))


def test_rows(train, check_row):
    rows = list(train)
    assert [row["z"] for row in rows] == list(range(TRAIN))
    for row in rows:
        check_row(row)


def test_dtypes_and_types(train):
    row = train[3]
    assert row["image"].dtype == np.uint16
    assert row["semantic"].dtype == np.uint8
    assert row["cells"].dtype == np.int32
    assert type(row["z"]) is int
    assert type(row["volume"]) is str
    assert not row["image"].flags.writeable


@pytest.mark.parametrize(
    "change",
    [
        lambda ds: ds.select([4, 2]),
        lambda ds: ds.shuffle(seed=3),
        lambda ds: ds.filter(lambda row: row["n_organelles"] > 0),
        lambda ds: ds.filter(lambda row: 0 in row["organelles"]),
        lambda ds: ds.map(lambda row: {"voxels": int(row["cells"].areas.sum())}),
        lambda ds: ds.map(lambda batch: {"n": [len(x.ids) for x in batch["cells"]]}, batched=True),
        lambda ds: ds.select_columns(["volume", "z", "image", "semantic", "cells", "organelles"]),
        lambda ds: datasets.concatenate_datasets([ds, ds]),
        lambda ds: ds.train_test_split(0.5, shuffle=False)["train"],
        lambda ds: pickle.loads(pickle.dumps(ds)),
        copy.deepcopy,
        lambda ds: ds.with_format(None).with_format("platelet_em"),
    ],
)
def test_map_style(train, change, check_row):
    changed = change(train)
    assert changed.format["type"] == "platelet_em"
    assert len(changed) > 1
    for row in changed:
        check_row(row)


def test_map_that_returns_lazy_values_keeps_the_columns(train, check_row):
    labels = ["cells", "organelles"]
    same = train.map(lambda row: {**{k: row[k] for k in labels}, "new": row["z"] + 1})
    assert {k: same.features[k] for k in labels} == {k: train.features[k] for k in labels}
    assert same["new"][:] == [z + 1 for z in range(TRAIN)]
    for row in same:
        check_row(row)
    assert same.with_format(None)[2]["organelles"] == train.with_format(None)[2]["organelles"]


@pytest.mark.filterwarnings("ignore:Downcasting array dtype:UserWarning")
def test_map_that_returns_the_row_keeps_the_voxels(train, check_row):
    for row in train.map(lambda row: {**row}):
        check_row(row)


def test_columns_and_batches(train, publication):
    truth = publication.volumes["50"]
    cells = train["cells"]
    assert np.array_equal(np.asarray(cells[2]), truth.cell[2])
    assert train["z"][1:4] == [1, 2, 3]
    batch = train[1:4]
    assert {len(values) for values in batch.values()} == {3}
    assert np.array_equal(np.stack(batch["image"]), truth.images[1:4])
    assert np.array_equal(np.stack(batch["organelles"]), truth.organelle[1:4])
    assert np.array_equal(platelet_em.LazyLabels.stack(batch["organelles"]), truth.organelle[1:4])
    assert train[[5, 1]]["z"] == [5, 1]


def test_properties_are_aligned(loaded, train):
    for row, plain in zip(train, loaded["train"], strict=True):
        organelles = row["organelles"]
        assert organelles.ids.tolist() == plain["organelles"]["id"]
        assert organelles.rle == plain["organelles"]["rle"]
        assert organelles.areas.tolist() == plain["organelles"]["area"]
        assert organelles.bboxes.tolist() == plain["organelles"]["bbox"]
        names = ["touches_border", "class_id", "purity", "cell"]
        assert list(organelles.properties) == names
        for name in names:
            assert organelles.properties[name].tolist() == plain["organelles"][name]


@pytest.mark.parametrize(
    "change",
    [
        lambda ds: ds,
        lambda ds: ds.filter(lambda row: row["z"] > 2),
        lambda ds: ds.map(lambda row: {"twice": 2 * row["z"]}),
        lambda ds: ds.map(lambda row: {**row, "twice": 2 * row["z"]}),
        lambda ds: ds.map(lambda batch: {"n": [2 * z for z in batch["z"]]}, batched=True),
        lambda ds: ds.filter(lambda row: row["z"] > 2).map(lambda row: {"n": 1}).take(2),
        lambda ds: ds.shuffle(seed=0, buffer_size=4),
        lambda ds: ds.take(3),
        lambda ds: ds.skip(3),
        lambda ds: ds.select_columns(["volume", "z", "image", "semantic", "cells", "organelles"]),
        lambda ds: pickle.loads(pickle.dumps(ds)),
    ],
)
@pytest.mark.parametrize("late", [False, True], ids=["format first", "format last"])
def test_streaming(stream, change, late, check_row):
    changed = change(stream.with_format(None) if late else stream)
    rows = list(changed.with_format("platelet_em") if late else changed)
    assert len(rows) > 1
    for row in rows:
        check_row(row)


def test_streaming_batches(stream, publication):
    truth = publication.volumes["50"]
    seen = []
    for batch in stream.iter(batch_size=4):
        seen += batch["z"]
        for z, image, cells in zip(batch["z"], batch["image"], batch["cells"], strict=True):
            assert np.array_equal(image, truth.images[z])
            assert np.array_equal(np.asarray(cells), truth.cell[z])
    assert seen == list(range(TRAIN))


def test_streaming_batch_transform_gives_lists(stream, publication):
    batch = next(iter(stream.batch(3)))
    assert batch["z"] == [0, 1, 2]
    for z in range(3):
        assert np.array_equal(batch["image"][z], publication.volumes["50"].images[z])
        assert np.array_equal(np.asarray(batch["cells"][z]), publication.volumes["50"].cell[z])


def test_volumes(volumes, publication):
    for split, name in (("train", "50"), ("validation", "24")):
        truth = publication.volumes[name]
        row = volumes[split].with_format("platelet_em")[0]
        assert isinstance(row["image"], platelet_em.LazyStack)
        assert np.array_equal(np.asarray(row["image"]), truth.images)
        assert np.array_equal(np.asarray(row["semantic"]), truth.semantic)
        assert row["semantic"].dtype == np.uint8
        assert np.array_equal(np.asarray(row["cells"]), truth.cell)
        assert np.array_equal(row["organelles"][1:3, 4:9], truth.organelle[1:3, 4:9])
        assert row["shape"] == list(truth.cell.shape)
        assert row["voxel_size_nm"] == [40.0, 10.0, 10.0]
        assert row["preview"].shape[-1] == 3


@pytest.mark.parametrize("map_first", [False, True])
def test_volumes_stream(repository, publication, map_first):
    plain = datasets.load_dataset(str(repository), "volumes", split="train", streaming=True)
    if map_first:
        plain = plain.map(lambda row: {"n": 1})
    row = next(iter(plain.with_format("platelet_em")))
    assert np.array_equal(np.asarray(row["image"]), publication.volumes["50"].images)
    assert np.array_equal(np.asarray(row["semantic"]), publication.volumes["50"].semantic)
    assert np.array_equal(np.asarray(row["cells"]), publication.volumes["50"].cell)


def test_dictionaries_of_datasets(loaded, repository, check_row):
    for row in loaded.with_format("platelet_em")["validation"]:
        check_row(row)
    streams = datasets.load_dataset(str(repository), "slices", streaming=True)
    for row in streams.with_format("platelet_em")["validation"]:
        check_row(row)


def test_some_columns_only(loaded):
    train, columns = loaded["train"], ["cells"]
    assert list(train.with_format("platelet_em", columns=columns)[0]) == columns
    row = train.with_format("platelet_em", columns=columns, output_all_columns=True)[0]
    assert row["image"].mode == "I;16"


def test_dataloader_workers(train, check_row):
    from torch.utils.data import DataLoader

    seen = []
    for batch in DataLoader(train, batch_size=2, num_workers=2, collate_fn=list):
        for row in batch:
            check_row(row)
            seen.append(row["z"])
    assert seen == list(range(TRAIN))


# PyTorch warns once that its tensors of read-only arrays are not read-only.
@pytest.mark.filterwarnings("ignore:.*not writable:UserWarning")
def test_dataloader_workers_share_a_stream(stream, check_row):
    from torch.utils.data import DataLoader

    seen = []
    for row in DataLoader(stream, batch_size=None, num_workers=2):
        check_row({**row, "image": row["image"].numpy(), "semantic": row["semantic"].numpy()})
        seen.append(row["z"])
    assert sorted(seen) == list(range(TRAIN))


@pytest.mark.filterwarnings("ignore:.*not writable:UserWarning")
def test_the_error_of_default_collate_names_the_type(train):
    from torch.utils.data import default_collate

    with pytest.raises(TypeError, match="LazyLabels"):
        default_collate([train[0], train[1]])


@pytest.mark.filterwarnings("ignore:.*not writable:UserWarning")
def test_spawned_workers_know_the_format(loaded, tmp_path):
    from torch.utils.data import DataLoader

    loaded["validation"].save_to_disk(tmp_path / "saved")
    ds = datasets.load_from_disk(tmp_path / "saved").with_format("platelet_em")
    # A spawned worker imports nothing of ours before it unpickles the dataset.
    workers = {"num_workers": 1, "multiprocessing_context": "spawn"}
    rows = list(DataLoader(ds, batch_size=None, **workers))
    assert [int(row["z"]) for row in rows] == [0, 1, 2, 3]
    assert isinstance(rows[0]["cells"], platelet_em.LazyLabels)


def test_nulls_stay_none(loaded):
    train = loaded["train"]
    table = train.data.table
    null = pa.nulls(1, table.schema.field("cells").type)
    row = table.slice(1, 1).set_column(table.schema.get_field_index("cells"), "cells", null)
    formatter = PlateletEMFormatter(features=train.features)
    assert formatter.format_row(row)["cells"] is None
    assert formatter.format_column(row.select(["cells"])) == [None]


def test_renamed_columns_are_recognized_by_their_fields(train, publication):
    renamed = train.rename_column("cells", "platelets")
    assert np.array_equal(np.asarray(renamed[4]["platelets"]), publication.volumes["50"].cell[4])


@pytest.mark.parametrize("streaming", [False, True])
def test_batches_of_pictures_and_of_volumes(repository, cache, publication, streaming):
    def load(config):
        options = {"split": "train", "streaming": streaming, "cache_dir": str(cache)}
        return datasets.load_dataset(str(repository), config, **options)

    batch = next(iter(load("preview").batch(2).with_format("platelet_em")))
    assert [picture.shape[2] for picture in batch["preview"]] == [3, 3]
    batch = next(iter(load("volumes").batch(1).with_format("platelet_em")))
    assert np.array_equal(np.asarray(batch["image"][0]), publication.volumes["50"].images)
    assert np.array_equal(np.asarray(batch["cells"][0]), publication.volumes["50"].cell)


def test_images_have_the_mode_of_the_feature(loaded):
    cast = loaded["train"].cast_column("semantic", datasets.Image(mode="RGB"))
    assert cast.with_format("platelet_em")[3]["semantic"].shape[2] == 3


def test_images_without_decoding_stay_encoded(loaded):
    raw = loaded["train"].cast_column("image", datasets.Image(decode=False))
    assert set(raw.with_format("platelet_em")[0]["image"]) == {"bytes", "path"}


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="freed memory is kept on glibc only")
def test_a_sample_reuses_the_memory_of_the_last_one():
    environment = {k: v for k, v in os.environ.items() if not k.startswith("MALLOC_")}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    command = [sys.executable, PROGRAMS / "count_page_faults.py"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    # Without that it would be 1,250, the pages of both arrays.
    assert int(done.stdout) < 100


def test_registering_twice_changes_nothing(caplog):
    register_format()
    assert register_format() == "platelet_em"
    assert not caplog.records


ODD_PAGES = {
    **{f"orientation {o}": {274: o} for o in range(1, 9)},
    "MinIsWhite": {262: 0},
    "MinIsWhite, turned": {262: 0, 274: 6},
    "fill order 2": {266: 2},
    "predictor without compression": {317: 2},
}


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("name", ODD_PAGES)
def test_a_page_with_odd_tags_is_the_same_map_style_streamed_and_after_map(name, dtype):
    page = np.random.default_rng(0).integers(0, 2**16, (5, 8)).astype(dtype)
    data = tiff_writer.write([page], ODD_PAGES[name])
    features = datasets.Features({"image": datasets.Image()})
    rows = datasets.Dataset.from_dict({"image": [{"bytes": data, "path": None}]}, features)
    stream = rows.to_iterable_dataset()
    found = rows.with_format("platelet_em")[0]["image"]
    for other in (stream, stream.map(lambda row: row)):
        np.testing.assert_array_equal(next(iter(other.with_format("platelet_em")))["image"], found)
    plain = np.asarray(rows[0]["image"])
    if dtype == np.uint16 and ODD_PAGES[name].get(262) == 0:
        plain = 65535 - plain  # Pillow does not invert 16 bits
    np.testing.assert_array_equal(found, plain)
