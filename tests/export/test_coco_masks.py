"""The run-length code of COCO, compared with that of pycocotools."""

import itertools

import numpy as np
import pytest
from pycocotools import mask as coco

from _platelet_em.export.coco_masks import encode_masks, format_counts

# pycocotools' decoder gives an array that NumPy 2 warns of.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

SHAPES = [(1, 1), (1, 9), (9, 1), (7, 5), (40, 33), (1, 70_000), (300, 200)]


def check(labels):
    """pycocotools encodes the mask of each instance to the same, and decodes what we wrote."""
    masks = encode_masks(labels)
    assert masks.ids.tolist() == np.unique(labels[labels > 0]).tolist()
    for id_, counts, text in zip(masks.ids, masks.lists(), masks.strings(), strict=True):
        truth = np.asfortranarray(labels == id_, np.uint8)
        expected = coco.encode(truth)
        assert text == expected["counts"].decode()
        size = [*labels.shape]
        assert coco.frPyObjects({"size": size, "counts": counts}, *size) == expected
        assert np.array_equal(coco.decode({"size": size, "counts": text}), truth)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("share", [0, 0.02, 0.5, 1])
def test_random_masks(shape, share):
    random = np.random.default_rng(0)
    for count in (1, 3, 20):
        ids = random.integers(1, count + 1, shape)
        check(np.where(random.random(shape) < share, ids, 0))


@pytest.mark.parametrize("shape", [(2, 2), (1, 4), (3, 2)])
def test_every_small_label_array(shape):
    for values in itertools.product((0, 5, 2**31 - 1), repeat=int(np.prod(shape))):
        check(np.array(values).reshape(shape))


def test_single_pixels_and_empty_rows():
    labels = np.zeros((30, 41), np.int32)
    for id_, place in enumerate([(0, 0), (29, 40), (0, 40), (29, 0), (14, 20)], start=1):
        labels[place] = id_
    check(labels)
    labels[5:20] = 7
    check(labels)


def test_counts_of_any_size():
    random = np.random.default_rng(0)
    powers = [sign + (1 << bits) for bits in range(24) for sign in (-1, 0, 1)]
    for size in (1, 2, 3, 4, 5, 80):
        counts = random.choice(powers, size).astype(np.int64)
        counts[1:] = np.maximum(counts[1:], 1)
        shape = [1, int(counts.sum())]
        expected = coco.frPyObjects({"size": shape, "counts": counts.tolist()}, *shape)
        assert format_counts(counts, np.array([0, size])) == [expected["counts"].decode()]


def test_no_masks():
    masks = encode_masks(np.zeros((4, 5), np.int32))
    assert (masks.lists(), masks.strings()) == ([], [])
