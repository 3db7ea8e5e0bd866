"""What libraries and people call on an array before they convert it, against NumPy."""

import re

import numpy as np
import pytest
from skimage import color, measure, metrics, segmentation, util

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.page import encode_page
from _platelet_em.arrays.stack import LazyStack
from _platelet_em.errors import LabelRangeError

RNG = np.random.default_rng(0)
DENSE = np.repeat(RNG.integers(0, 5, (3, 8, 5)) * 7, 2, axis=2).astype(np.int32)
IMAGES = RNG.integers(0, 65536, (3, 8, 10)).astype(np.uint16)
PAIRS = {
    "labels": (LazyLabels.from_array(DENSE), DENSE),
    "stack": (LazyStack([encode_page(page) for page in IMAGES]), IMAGES),
}
CALLS = {
    "all": lambda x: x.all(),
    "any, along an axis": lambda x: x.any(axis=0),
    "argmax": lambda x: x.argmax(),
    "argmin": lambda x: x.argmin(),
    "astype": lambda x: x.astype(np.float64),
    "astype, by name": lambda x: x.astype("int64", copy=False),
    "copy": lambda x: x.copy(),
    "flatten": lambda x: x.flatten(),
    "item": lambda x: x.item(5),
    "max": lambda x: x.max(),
    "max, along an axis": lambda x: x.max(axis=1, keepdims=True),
    "mean": lambda x: x.mean(),
    "min": lambda x: x.min(),
    "nonzero": lambda x: np.stack(x.nonzero()),
    "ravel": lambda x: x.ravel(),
    "reshape": lambda x: x.reshape(-1, 5),
    "reshape to a shape": lambda x: x.reshape((8, 30)),
    "squeeze": lambda x: x.squeeze(),
    "std": lambda x: x.std(),
    "sum": lambda x: x.sum(),
    "sum, of a dtype": lambda x: x.sum(axis=(1, 2), dtype=np.int64),
    "swapaxes": lambda x: x.swapaxes(0, 2),
    "T": lambda x: x.T,
    "tolist": lambda x: x.tolist(),
    "transpose": lambda x: x.transpose(2, 0, 1),
    "np.max": np.max,
    "np.mean": np.mean,
    "np.sum": np.sum,
    "np.transpose": np.transpose,
    "np.reshape": lambda x: np.reshape(x, (8, 30)),
    "np.unique": np.unique,
    "np.percentile": lambda x: np.percentile(x, 30),
    "np.copy": np.copy,
    "np.stack": lambda x: np.stack([x, x]),
    "np.histogram": lambda x: np.histogram(x, 5)[0],
    "np.moveaxis": lambda x: np.moveaxis(x, 0, -1),
}


@pytest.mark.parametrize("kind", PAIRS)
@pytest.mark.parametrize("call", CALLS)
def test_a_method_gives_what_numpy_gives(call, kind):
    lazy, dense = PAIRS[kind]
    found, expected = CALLS[call](lazy), CALLS[call](dense)
    assert type(found) is type(expected)
    np.testing.assert_array_equal(found, expected)
    if isinstance(expected, np.ndarray):
        assert found.dtype == expected.dtype


@pytest.mark.parametrize("kind", PAIRS)
def test_assignment_says_what_can_be_changed(kind):
    lazy, dense = PAIRS[kind]
    with pytest.raises(TypeError, match=re.escape("cannot be changed: assign to an array of it")):
        lazy[0, 0, 0] = 1
    changed = lazy.copy()
    changed[0, 0, 0] = 1
    np.testing.assert_array_equal(lazy, dense)


def test_an_id_that_does_not_fit_is_no_other_id():
    with pytest.raises(LabelRangeError):
        LazyLabels((2,), [300], ["1 1"]).astype(np.uint8)


SKIMAGE = {
    "adapted_rand_error": lambda x: metrics.adapted_rand_error(x, x),
    "relabel_sequential": lambda x: segmentation.relabel_sequential(x)[0],
    "clear_border": segmentation.clear_border,
    "label2rgb": lambda x: color.label2rgb(x[0]),
    "label2rgb of a volume": color.label2rgb,
    "regionprops": lambda x: [r.area for r in measure.regionprops(x)],
    "find_boundaries": segmentation.find_boundaries,
}


# That of scikit-image itself with NumPy 2.5.
@pytest.mark.filterwarnings("ignore:Setting the shape on a NumPy array:DeprecationWarning")
@pytest.mark.parametrize("call", SKIMAGE)
def test_scikit_image_takes_labels_as_they_are(call):
    lazy, dense = PAIRS["labels"]
    np.testing.assert_array_equal(SKIMAGE[call](lazy), SKIMAGE[call](dense))


def test_where_scikit_image_takes_arrays_of_numpy_only():
    lazy, dense = PAIRS["labels"]
    image = np.zeros(dense.shape)
    with pytest.raises(TypeError, match=r"0-dimensional|length-1"):
        segmentation.watershed(image, markers=lazy)
    with pytest.raises(TypeError, match="numpy ndarray"):
        util.view_as_windows(lazy, (1, 4, 4))
    found = segmentation.watershed(image, markers=np.asarray(lazy))
    np.testing.assert_array_equal(found, segmentation.watershed(image, markers=dense))


@pytest.mark.parametrize("name", PAIRS)
def test_zarr_stores_them(name):
    zarr = pytest.importorskip("zarr", "3")  # needs Python 3.11
    lazy, dense = PAIRS[name]
    stored = zarr.create_array({}, shape=dense.shape, chunks=(2, 4, 4), dtype=dense.dtype)
    stored[:] = lazy
    np.testing.assert_array_equal(stored[:], dense)
    stored[1:] = lazy[:2]
    np.testing.assert_array_equal(stored[1:], dense[:2])
