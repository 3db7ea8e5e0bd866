"""Own volumes through `load_dataset`: every voxel and id, whatever the door."""

import os

import datasets
import numpy as np
import pyarrow as pa
import pytest
import tifffile
from support.own import FORMS, write_own

import platelet_em
from _platelet_em.hf.builder import PlateletEM
from _platelet_em.rows import volumes


@pytest.fixture(params=FORMS)
def own(request, tmp_path):
    """A set of own volumes of each form."""
    return write_own(tmp_path / "Mein Ordner é [1]", request.param)


def check_rows(rows, volumes):
    """Every row of `slices` of these volumes, in order, under the format."""
    expected = [(volume, z) for volume in volumes for z in range(len(volume.image))]
    count = 0
    for row, (truth, z) in zip(rows, expected, strict=True):
        assert (row["volume"], row["z"]) == (truth.name, z)
        assert row["image"].dtype == truth.image.dtype
        assert np.array_equal(row["image"], truth.image[z])
        if truth.semantic is None:
            assert row["semantic"] is None
        else:
            assert np.array_equal(row["semantic"], truth.semantic[z])
        kinds = [name.removeprefix("n_") for name in row if name.startswith("n_")]
        assert {*truth.labels} <= {*kinds}
        for kind in kinds:
            if kind not in truth.labels:
                assert (row[kind], row[f"n_{kind}"]) == (None, None)
                continue
            page = truth.labels[kind][z]
            assert np.array_equal(np.asarray(row[kind]), page)
            assert row[kind].ids.tolist() == np.unique(page[page > 0]).tolist()
            assert row[f"n_{kind}"] == len(row[kind].ids)
        count += 1
    return count


@pytest.mark.parametrize(
    "options", [{}, {"streaming": True}, {"num_proc": 2}], ids=["map", "stream", "processes"]
)
def test_slices(own, options, tmp_path):
    loaded = platelet_em.load_dataset(
        "slices", description=own.description, cache_dir=tmp_path / "cache", **options
    )
    assert [*loaded] == [*dict.fromkeys(volume.split for volume in own.volumes.values())]
    for split in loaded:
        assert check_rows(loaded[split], own.of(split)) > 0


def test_volumes(own, tmp_path):
    loaded = platelet_em.load_dataset(
        "volumes", description=own.description, cache_dir=tmp_path / "cache"
    )
    for split, rows in loaded.items():
        for row, truth in zip(rows, own.of(split), strict=True):
            assert tuple(row["shape"]) == truth.image.shape
            assert np.array_equal(row["image"], truth.image)
            if truth.semantic is None:
                assert row["semantic"] is None
            else:
                assert np.array_equal(row["semantic"], truth.semantic)
            for kind, array in truth.labels.items():
                assert np.array_equal(row[kind], array)


def test_instances_are_those_of_the_arrays(own, tmp_path):
    loaded = platelet_em.load_dataset(
        "instances", description=own.description, cache_dir=tmp_path / "cache"
    )
    found = {
        (row["volume"], row["kind"], row["id"]): row for rows in loaded.values() for row in rows
    }
    kinds = {i.column: i.name for i in PlateletEM(description=own.description).SPEC.instances}
    expected = {
        (truth.name, kinds[kind], label): (truth, array == label)
        for truth in own.volumes.values()
        for kind, array in truth.labels.items()
        for label in np.unique(array[array > 0]).tolist()
    }
    assert found.keys() == expected.keys()
    for key, (truth, mask) in expected.items():
        row = found[key]
        assert row["voxels"] == mask.sum()
        for axis, places in zip("zyx", np.nonzero(mask), strict=True):
            assert (row[f"{axis}_min"], row[f"{axis}_max"]) == (places.min(), places.max())
        if truth.semantic is None:
            assert (row["class_id"], row["class_name"], row["purity"]) == (None, None, None)
            continue
        counts = np.bincount(truth.semantic[mask], minlength=2)
        counts[0] = 0  # class 0 is that of instances without another
        class_id = int(counts.argmax()) if counts.any() else 0
        assert row["class_id"] == class_id
        share = (truth.semantic[mask] == class_id).mean()
        assert row["purity"] == pytest.approx(share)


def test_a_second_call_is_a_cache_hit_and_another_threshold_is_not(tmp_path):
    own = write_own(tmp_path / "set", "stack")
    options = {"description": own.description, "cache_dir": tmp_path / "cache"}
    first = platelet_em.load_dataset("slices", split="train", **options)
    again = platelet_em.load_dataset("slices", split="train", **options)
    assert again.cache_files == first.cache_files
    text = own.description.read_text("utf-8")
    own.description.write_text(text.replace("threshold = 127", "threshold = 200"), "utf-8")
    other = platelet_em.load_dataset("slices", split="train", **options)
    assert other.cache_files != first.cache_files


@pytest.mark.parametrize("streaming", [False, True])
def test_files_that_are_exchanged_are_noticed(streaming, tmp_path):
    own = write_own(tmp_path / "set", "multipage")
    builder = PlateletEM(
        config_name="slices", description=own.description, cache_dir=tmp_path / "cache"
    )
    image = next(path for path in own.description.parent.rglob("*.tif") if "image" in path.name)
    tifffile.imwrite(image, tifffile.imread(image) ^ 1)

    def read():
        if streaming:
            return list(builder.as_streaming_dataset(split="train"))
        return builder.download_and_prepare()

    with pytest.raises(Exception, match="have changed since it was opened") as raised:
        read()
    causes = (raised.value, raised.value.__cause__)
    assert any(isinstance(error, platelet_em.ArchiveError) for error in causes)


def test_arguments_without_a_meaning_are_refused(own, tmp_path):
    with pytest.raises(platelet_em.ArgumentError, match="data_dir: own volumes are where"):
        platelet_em.load_dataset(description=own.description, data_dir=tmp_path)
    with pytest.raises(platelet_em.ArgumentError, match="label_source: own volumes have"):
        platelet_em.load_dataset(description=own.description, label_source="tif")
    with pytest.raises(platelet_em.ArgumentError, match=r"with_test: own-.* has no optional"):
        platelet_em.load_dataset(description=own.description, with_test=True)


def test_datasets_finds_own_volumes_by_the_name_of_the_plug_in(own, tmp_path):
    platelet_em.register()
    loaded = datasets.load_dataset(
        "platelet_em", "slices", description=str(own.description), cache_dir=tmp_path / "cache"
    )
    for split, rows in loaded.items():
        check_rows(rows.with_format("platelet_em"), own.of(split))


def test_volumes_that_are_left_out_are_named(tmp_path, monkeypatch, caplog):
    own = write_own(tmp_path / "set", "pictures")
    sizes = sorted((truth.image.size, truth.name) for truth in own.of("train"))
    monkeypatch.setattr(volumes, "MAX_ROW_BYTES", 3 * sizes[-2][0])
    rows = platelet_em.load_dataset(
        "volumes", split="train", description=own.description, cache_dir=tmp_path / "cache"
    )
    assert {*rows["volume"]} == {name for _, name in sizes[:-1]}
    assert f"1 of {len(sizes)} volumes are too large for a row of volumes" in caplog.text
    assert sizes[-1][1] in caplog.text
    assert caplog.text.count("too large") == 1


def test_a_split_of_volumes_that_are_too_large_is_left_out(tmp_path, monkeypatch, caplog):
    own = write_own(tmp_path / "set", "stack")
    shapes = {split: own.of(split)[0].image.size for split in ("train", "validation")}
    assert shapes["train"] > shapes["validation"]
    monkeypatch.setattr(volumes, "MAX_ROW_BYTES", 3 * shapes["validation"])
    options = {"description": own.description, "cache_dir": tmp_path / "cache"}
    assert [*platelet_em.load_dataset("volumes", **options)] == ["validation"]
    assert "1 of 1 volumes are too large for a row of volumes" in caplog.text
    monkeypatch.setattr(volumes, "MAX_ROW_BYTES", 1)
    options["cache_dir"] = tmp_path / "other"
    with pytest.raises(platelet_em.ImageFormatError, match="more than one row of 'volumes'"):
        platelet_em.load_dataset("volumes", **options)


def write_slices(folder, names):
    """A description of volumes without labels; slices are single values, counted from 1."""
    lines = ['name = "slices"', 'instances = ["cells"]']
    for value, name in enumerate(names, 1):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        tifffile.imwrite(path, np.full((8, 8), value, np.uint8))
    for volume in dict.fromkeys(name.split("/")[0] for name in names):
        lines += ["[[volumes]]", f'name = "{volume}"', 'split = "train"']
        lines.append(f'image = "{volume}/*.tif"')
    (folder / "my.toml").write_text("\n".join(lines))
    return folder / "my.toml"


def test_a_slice_that_moves_to_another_volume_gives_other_rows(tmp_path):
    description = write_slices(tmp_path / "set", ["a/1.tif", "a/2.tif", "b/3.tif"])
    options = {"split": "train", "description": description, "cache_dir": tmp_path / "cache"}
    before = platelet_em.load_dataset("slices", **options)
    assert before["volume"][:] == ["a", "a", "b"]
    (tmp_path / "set" / "a" / "2.tif").rename(tmp_path / "set" / "b" / "2.tif")
    after = platelet_em.load_dataset("slices", **options)
    assert after["volume"][:] == ["a", "b", "b"]
    assert [int(page.max()) for page in after["image"]] == [1, 2, 3]


def test_a_pipe_in_place_of_a_file_is_refused(tmp_path):
    own = write_own(tmp_path / "set", "pictures")
    path = next((tmp_path / "set" / "masks").glob("*.png"))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(platelet_em.PlateletEMError, match="a pipe"):
        platelet_em.load_dataset("slices", description=own.description, cache_dir=tmp_path / "c")


def test_each_volume_is_a_record_batch_since_few_fill_a_column_of_arrow(tmp_path):
    own = write_own(tmp_path / "set", "pictures")
    loaded = platelet_em.load_dataset(
        "volumes", description=own.description, split="train", cache_dir=str(tmp_path / "cache")
    )
    with pa.memory_map(loaded.cache_files[0]["filename"]) as file:
        batches = [batch.num_rows for batch in pa.ipc.open_stream(file)]
    assert batches == [1] * len(own.of("train"))
