"""`intensity_statistics`: gray values of volumes, against NumPy; sources and images refused."""

import datasets
import numpy as np
import pytest

from _platelet_em.errors import ArgumentError, ImageFormatError
from _platelet_em.training.statistics import intensity_statistics


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


@pytest.mark.parametrize("dataset", ["slices", None])
def test_sources_that_are_not_datasets_are_refused(dataset):
    with pytest.raises(ArgumentError, match="dataset: expected a dataset, its splits, or rows"):
        intensity_statistics(dataset)


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
