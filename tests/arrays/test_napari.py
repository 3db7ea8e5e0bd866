"""napari shows lazy arrays as they are; `make test-napari` runs this, on a virtual screen."""

import numpy as np
import pytest

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.page import encode_page
from _platelet_em.arrays.stack import LazyStack


def test_napari_shows_labels_over_a_stack():
    napari = pytest.importorskip("napari")
    dense = np.zeros((6, 100, 120), np.int32)
    dense[1:4, 10:60, 20:90], dense[2:, 70:90, 5:50] = 7, 300
    pages = np.random.default_rng(0).integers(0, 65536, dense.shape).astype(np.uint16)
    viewer = napari.Viewer()
    try:
        image = viewer.add_image(LazyStack([encode_page(page) for page in pages]))
        labels = viewer.add_labels(LazyLabels.from_array(dense))
        viewer.dims.set_point(0, 2)
        assert (labels.get_value((2, 20, 30)), image.get_value((2, 20, 30))) == (
            dense[2, 20, 30],
            pages[2, 20, 30],
        )
        with_labels = viewer.screenshot(canvas_only=True, flash=False)
        labels.visible = False
        assert (with_labels != viewer.screenshot(canvas_only=True, flash=False)).any()
    finally:
        viewer.close()
