"""The split `test`: on request only, its instances null, its images bit for bit."""

import pickle
import shutil
import zipfile

import datasets
import numpy as np
import pytest
from support.paper import NAME, paper

import platelet_em
from _platelet_em.facts import PUBLISHED

SPLITS = ["train", "validation", "test"]


@pytest.fixture(scope="module", params=[np.int16, np.uint16], ids=["int16", "uint16"])
def truth(request):
    return paper(dtype=request.param)


@pytest.fixture
def three(archives, truth, tmp_path):
    """A folder with the JSON archive and the paper's."""
    folder = tmp_path / "three"
    folder.mkdir()
    shutil.copy(archives / "images_and_labels_json.zip", folder)
    truth.zip(folder / NAME)
    return folder


def check(rows, truth):
    rows = list(rows)
    assert [row["z"] for row in rows] == list(range(len(truth.images)))
    for row in rows:
        assert row["volume"] == "test"
        np.testing.assert_array_equal(np.asarray(row["image"]), truth.as_uint16[row["z"]])
        np.testing.assert_array_equal(np.asarray(row["semantic"]), truth.semantic[row["z"]])
        empty = [row[name] for name in ("cells", "organelles", "n_cells", "n_organelles")]
        assert empty == [None] * 4


@pytest.mark.parametrize("streaming", [False, True])
def test_rows_of_slices(three, truth, tmp_path, streaming):
    options = {"data_dir": three, "streaming": streaming, "cache_dir": tmp_path / "cache"}
    loaded = platelet_em.load_dataset("slices", with_test=True, **options)
    assert list(loaded) == SPLITS
    check(loaded["test"], truth)
    check(loaded["test"].with_format(None), truth)
    mapped = loaded["test"].map(lambda row: {"more": row["z"]}).filter(lambda row: row["z"] >= 0)
    check(mapped, truth)
    assert next(iter(loaded["train"]))["cells"] is not None


def test_rows_of_volumes_and_previews(three, truth, tmp_path):
    options = {"data_dir": three, "cache_dir": tmp_path, "split": "test"}
    (row,) = platelet_em.load_dataset("volumes", **options)
    np.testing.assert_array_equal(np.asarray(row["image"]), truth.as_uint16)
    np.testing.assert_array_equal(np.asarray(row["semantic"]), truth.semantic)
    assert (row["cells"], row["organelles"], row["n_cells"]) == (None, None, None)
    previews = platelet_em.load_dataset("preview", **options)
    assert previews["z"] == list(range(len(truth.images)))


@pytest.mark.parametrize("split", ["test", "test[:2]", ["train", "test"], "train+test"])
def test_a_split_that_names_it_asks_for_it(three, tmp_path, split):
    loaded = platelet_em.load_dataset("slices", split=split, data_dir=three, cache_dir=tmp_path)
    last = loaded[-1] if isinstance(loaded, list) else loaded
    assert last[-1]["volume"] == "test"


def test_a_tuple_of_splits_is_in_the_format(three, tmp_path):
    split = ("train", "test")
    loaded = platelet_em.load_dataset("slices", split=split, data_dir=three, cache_dir=tmp_path)
    assert isinstance(loaded, tuple)
    assert [part.format["type"] for part in loaded] == ["platelet_em", "platelet_em"]
    assert loaded[1][-1]["volume"] == "test"


def test_without_asking_nothing_of_it_is_needed(archives, tmp_path):
    loaded = platelet_em.load_dataset("slices", data_dir=archives, cache_dir=tmp_path / "cache")
    assert list(loaded) == ["train", "validation"]


def test_a_split_expression_of_others_does_not_ask_for_it(archives, tmp_path):
    split = datasets.ReadInstruction("train", to=3, unit="abs")
    loaded = platelet_em.load_dataset(split=split, data_dir=archives, cache_dir=tmp_path)
    assert len(loaded) == 3


def test_it_is_found_beside_the_zip_and_in_extracted_folders(three, truth, publication, tmp_path):
    beside = {"data_dir": three / "images_and_labels_json.zip", "cache_dir": tmp_path / "a"}
    check(platelet_em.load_dataset(split="test", **beside), truth)
    extracted = publication.folder(tmp_path / "extracted", "json").parent
    for name, content in truth.files().items():
        path = extracted / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    found = platelet_em.load_dataset(split="test", data_dir=extracted, cache_dir=tmp_path / "b")
    check(found, truth)


def test_an_archive_that_is_nowhere_is_named(archives, tmp_path):
    with pytest.raises(platelet_em.DownloadError, match=NAME):
        platelet_em.load_dataset(split="test", data_dir=archives, cache_dir=tmp_path)


def test_an_archive_that_lacks_a_file_is_not_passed_over_for_a_download(three, tmp_path):
    with zipfile.ZipFile(three / NAME, "w") as archive:
        archive.writestr("platelet_data/test-images.tif", b"")
    with pytest.raises(platelet_em.ArchiveError, match=rf"{NAME}: expected a file test-labels"):
        platelet_em.load_dataset(split="test", data_dir=three, cache_dir=tmp_path)


def test_there_are_no_objects_in_it(three, tmp_path):
    options = {"data_dir": three, "cache_dir": tmp_path}
    loaded = platelet_em.load_dataset("instances", with_test=True, **options)
    assert list(loaded) == ["train", "validation"]
    with pytest.raises(ValueError, match="test"):
        platelet_em.load_dataset("instances", split="test", **options)


def test_a_changed_archive_is_noticed(three, tmp_path):
    stream = platelet_em.load_dataset(
        split="test", data_dir=three, streaming=True, cache_dir=tmp_path
    )
    assert next(iter(stream))["z"] == 0
    paper(seed=9).zip(three / NAME)
    with pytest.raises(platelet_em.ArchiveError, match="has changed since the dataset was opened"):
        list(stream)


def test_a_builder_and_a_stream_can_be_pickled(three, truth, tmp_path):
    builder = platelet_em.PlateletEM(data_dir=three, with_test=True, cache_dir=tmp_path)
    again = pickle.loads(pickle.dumps(builder))
    check(again.as_streaming_dataset("test").with_format("platelet_em"), truth)
    assert {v.name for v in PUBLISHED.volumes} == {"50", "24"}


def test_caches_with_and_without_it_are_different(three, tmp_path):
    options = {"data_dir": three, "cache_dir": tmp_path}
    with_it = platelet_em.PlateletEM(with_test=True, **options)
    without = platelet_em.PlateletEM(**options)
    assert with_it.cache_dir != without.cache_dir


def test_windows_say_that_there_are_no_instances(three, truth, tmp_path):
    volumes = platelet_em.load_dataset("volumes", split="test", data_dir=three, cache_dir=tmp_path)
    sampler = platelet_em.RandomWindows((2, 8, 8), count=3, seed=0)
    with pytest.raises(platelet_em.ArgumentError, match="volume test: has no cells"):
        platelet_em.windows(volumes, sampler)
    columns = ["image", "semantic"]
    for options in ({"min_foreground": 0.1}, {"class_weights": {3: 1}}):
        needy = platelet_em.RandomWindows((2, 8, 8), count=3, **options)
        message = "volume test: has no organelles: .* min_foreground or class_weights of the sampl"
        with pytest.raises(platelet_em.ArgumentError, match=message):
            platelet_em.windows(volumes, needy, columns=columns)
    for window in platelet_em.windows(volumes, sampler, columns=columns):
        box = tuple(slice(c, c + n) for c, n in zip(window["corner"], (2, 8, 8), strict=True))
        np.testing.assert_array_equal(window["image"], truth.as_uint16[box])
        np.testing.assert_array_equal(window["semantic"], truth.semantic[box])
