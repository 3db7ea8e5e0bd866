"""Statistics of volumes, against NumPy, scikit-learn and the card; sources that are refused."""

import re

import datasets
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

import platelet_em
from _platelet_em.errors import ArgumentError, ImageFormatError, LabelRangeError
from _platelet_em.hub.build import build
from _platelet_em.training.statistics import class_weights, intensity_statistics


def test_statistics_are_those_of_numpy(loaded, repository, cache, publication):
    volumes = datasets.load_dataset(str(repository), "volumes", cache_dir=str(cache))
    stream = datasets.load_dataset(str(repository), "slices", split="train", streaming=True)
    expected = {}
    for name, truth in publication.volumes.items():
        low, high = np.percentile(truth.images, [2, 99])
        images = truth.images.astype(np.float64)
        expected[name] = [images.min(), images.max(), images.mean(), images.std(), low, high]
    for source in (loaded, volumes, {"all": [*loaded["train"], *loaded["validation"]]}):
        found = intensity_statistics(source, percentiles=(2, 99))
        assert set(found) == {"50", "24"}
        for name, s in found.items():
            values = [s.minimum, s.maximum, s.mean, s.std, s.low, s.high]
            np.testing.assert_allclose(values, expected[name], rtol=1e-12)
    assert intensity_statistics(stream) == intensity_statistics(loaded["train"])


def test_statistics_do_not_round_or_overflow():
    image = np.full((1000, 1000), 65535, np.uint16)
    image[0, 0] = 65534
    [found] = intensity_statistics([{"volume": "50", "image": image}] * 40).values()
    assert found.mean == 65535 - 1e-6
    assert found.std == pytest.approx((1e-6 * (1 - 1e-6)) ** 0.5, rel=1e-12)


@pytest.mark.parametrize("function", [intensity_statistics, class_weights])
@pytest.mark.parametrize("dataset", ["slices", None])
def test_sources_that_are_not_datasets_are_refused(dataset, function):
    with pytest.raises(ArgumentError, match="dataset: expected a dataset, its splits, or rows"):
        function(dataset)


def test_images_of_other_values_are_refused():
    row = {"volume": "50", "image": np.ones((2, 2), np.float32)}
    with pytest.raises(ImageFormatError, match=r"volume '50': .*float32: pass the dataset as"):
        intensity_statistics([row])
    with pytest.raises(ImageFormatError, match="from 0 to 65535"):
        intensity_statistics([{"volume": "50", "image": np.array([[-1, 2]])}])
    with pytest.raises(ImageFormatError, match=r"volume '50': .* at least one pixel, got none"):
        intensity_statistics([{"volume": "50", "image": np.empty((0, 4), np.uint16)}])


@pytest.mark.parametrize("percentiles", [(5, 5), (-1, 5), (5, 101), 5, None, (1, 2, 3)])
def test_invalid_percentiles_are_refused(percentiles):
    with pytest.raises(ArgumentError, match="two that ascend, from 0 to 100"):
        intensity_statistics([], percentiles=percentiles)


def balanced(*semantic):
    """The weights of scikit-learn for the voxels of all arrays; all seven classes are there."""
    voxels = np.concatenate([np.ravel(array) for array in semantic])
    return compute_class_weight("balanced", classes=np.arange(7), y=voxels).tolist()


def test_class_weights_are_those_of_scikit_learn(loaded, repository, cache, publication):
    volumes = datasets.load_dataset(str(repository), "volumes", cache_dir=str(cache))
    truth = {name: volume.semantic for name, volume in publication.volumes.items()}
    stream = datasets.load_dataset(str(repository), "slices", split="train", streaming=True)
    for source in (loaded["train"], volumes["train"], stream, [*loaded["train"]]):
        weights = class_weights(source)
        assert weights.dtype == np.float64
        assert weights.tolist() == balanced(truth["50"])
    for source in (loaded, volumes.with_format("platelet_em")):
        assert class_weights(source).tolist() == balanced(truth["50"], truth["24"])


def test_class_weights_are_those_of_the_card(tmp_path):
    platelet_em.write_sample(tmp_path / "archives", depth=2, size=96, with_test=True)
    repository = build(tmp_path / "repo", data_dir=tmp_path / "archives", with_test=True)
    lines = (repository / "README.md").read_text("utf-8").splitlines()
    [head] = [line for line in lines if line.startswith("| index | class |")]
    table = [re.split(r" *\| *", line)[1:-1] for line in lines[lines.index(head) + 2 :][:7]]
    splits = platelet_em.load_dataset(
        "slices", data_dir=tmp_path / "archives", with_test=True, cache_dir=tmp_path / "cache"
    )
    for split, volume in (("train", "50"), ("validation", "24"), ("test", "test")):
        column = re.split(r" *\| *", head)[1:-1].index(f"weight in {volume}")
        written = [row[column].replace("none there", "0") for row in table]
        assert [f"{weight:.3g}" for weight in class_weights(splits[split])] == written


def test_background_of_a_volume_that_is_labeled_in_part_does_not_count():
    partly = {"volume": "test", "semantic": np.uint8([[0, 0, 0], [1, 1, 2]])}
    complete = {"volume": "50", "semantic": np.uint8([[0, 1], [1, 1]])}
    assert class_weights([partly]).tolist() == [0, 3 / 12, 3 / 6, 0, 0, 0, 0]
    together = [7 / 7, 7 / 35, 7 / 7, 0, 0, 0, 0]
    assert class_weights([partly, complete]).tolist() == together
    assert class_weights([complete, partly]).tolist() == together


def test_class_weights_of_nothing_are_refused():
    for rows in ([], [{"volume": "test", "semantic": np.zeros((2, 2), np.uint8)}]):
        with pytest.raises(ArgumentError, match="at least one voxel with a class, got none"):
            class_weights(rows)
    with pytest.raises(LabelRangeError, match="class 7 at"):
        class_weights([{"volume": "50", "semantic": np.uint8([[7]])}])


@pytest.mark.parametrize("row", [{"volume": "50"}, {"semantic": np.zeros((2, 2), np.uint8)},
                                 {"volume": "50", "semantic": None}])  # fmt: skip
def test_rows_without_a_column_are_refused(row):
    missing = "volume" if "volume" not in row else "semantic"
    with pytest.raises(ArgumentError, match=f"dataset: expected rows with '{missing}', got one"):
        class_weights([row])
