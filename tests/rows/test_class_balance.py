"""Voxels of classes and their weights, against NumPy and scikit-learn."""

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from _platelet_em.errors import LabelFormatError, LabelRangeError
from _platelet_em.rows.class_balance import count_classes, weigh_classes


def test_voxels_are_counted():
    semantic = np.random.default_rng(0).integers(0, 6, (3, 20, 30)).astype(np.uint8)
    counts = count_classes(semantic, 7)
    assert counts.dtype == np.int64
    assert counts.tolist() == [(semantic == index).sum() for index in range(7)]
    assert count_classes(semantic[:0], 2).tolist() == [0, 0]


@pytest.mark.parametrize("wrong", [-1, 7, 300])
def test_classes_that_do_not_exist_are_refused(wrong):
    semantic = np.array([[[0, 1], [wrong, 2]]])
    with pytest.raises(LabelRangeError, match=rf"class {wrong} at \(0, 1, 0\): .* from 0 to 6"):
        count_classes(semantic, 7)
    with pytest.raises(LabelFormatError, match="expected class indices as integers, got dtype f"):
        count_classes(semantic.astype(np.float32), 7)


def test_weights_are_those_of_scikit_learn():
    y = np.random.default_rng(0).choice(5, 1000, p=[0.6, 0.3, 0.05, 0.04, 0.01])
    expected = compute_class_weight("balanced", classes=np.arange(5), y=y)
    assert weigh_classes(np.bincount(y)).tolist() == expected.tolist()
    labeled = compute_class_weight("balanced", classes=np.arange(1, 5), y=y[y > 0])
    found = weigh_classes(np.bincount(y), is_partly_labeled=True)
    assert found.tolist() == [0, *labeled.tolist()]


def test_classes_without_voxels_weigh_nothing():
    assert weigh_classes(np.array([0, 2, 0, 1])).tolist() == [0, 3 / 8, 0, 3 / 4]
    assert weigh_classes(np.zeros(3, np.int64)).tolist() == [0, 0, 0]
