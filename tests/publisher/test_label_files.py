"""Label files of every form: chosen by suffix, of the image's shape, closed."""

import io
import json

import numpy as np
import pytest
from support import publisher
from support.label_files import JSON, TIF, dense, read

from _platelet_em.errors import ImageFormatError, LabelFormatError
from _platelet_em.publisher.label_files import read_labels

SHAPE = (4, 7, 9)
CLASSES = np.random.default_rng(0).integers(0, 7, SHAPE).astype(np.uint8)


def write(array, form):
    """Name and bytes of a label file."""
    if form == "json":
        return JSON, json.dumps(publisher.encode(array)).encode()
    return TIF, publisher.tif(array if form == "index" else publisher.rgba(array, publisher.OLD))


FORMS = {
    "json": "JSON, dtype 'int64'",
    "index": "TIF, indices uint8",
    "rgba": "TIF, RGBA uint8, palette A",
}


@pytest.mark.parametrize("form", FORMS)
def test_each_form_gives_the_same_classes_and_is_named(form):
    name, data = write(CLASSES, form)
    found = read(data, name=name, semantic=True, shape=SHAPE)
    np.testing.assert_array_equal(dense(found.labels), CLASSES)
    assert found.form == FORMS[form]
    assert found.overlapping is None


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("a.zip: x/50-semantic.json", "json"),
        ("50.JSON", "json"),
        ("a.json.tif", "index"),
        ("a.TIFF", "rgba"),
    ],
)
def test_the_suffix_of_the_name_tells_the_form(name, form):
    found = read(write(CLASSES, form)[1], name=name, semantic=True)
    assert found.form == FORMS[form]


@pytest.mark.parametrize("name", ["50-semantic", "50-semantic.png", "json", ".tif.gz"])
def test_another_suffix_is_refused(name):
    file = io.BytesIO(write(CLASSES, "json")[1])
    with pytest.raises(
        LabelFormatError,
        match=f"^{name}: expected a label file with the suffix .json or .tif or .tiff: name it af",
    ):
        read_labels(file, name)
    assert file.closed


@pytest.mark.parametrize("form", ["json", "index"])
def test_the_first_label_that_is_no_class_is_named(form):
    array = CLASSES.copy()
    array[1, 6, 8] = array[2, 0, 0] = array[3, 1, 1] = 7
    name, data = write(array, form)
    expected = r"expected classes from 0 to 6, got label 7 at 3 voxels, first at z=1, y=6, x=8: "
    with pytest.raises(LabelFormatError, match=f"^{name}: {expected}the file is damaged"):
        read(data, name=name, semantic=True)
    np.testing.assert_array_equal(dense(read(data, name=name).labels), array)


def test_a_label_without_voxels_that_is_no_class_is_refused():
    data = json.dumps({".info": {"shape": [1, 2, 3]}, "6": "1 1", "7": ""}).encode()
    with pytest.raises(
        LabelFormatError, match="classes from 0 to 6, got label 7 without voxels: "
    ):
        read(data, name=JSON, semantic=True)


@pytest.mark.parametrize("shape", [(5, 7, 9), (3, 7, 9), (4, 9, 7), (4, 7, 8), (4, 6, 9)], ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_labels_of_another_shape_than_the_image_are_refused(form, shape):
    name, data = write(np.ones(shape, np.uint8), form)
    found, wanted = (str(s).replace("(", r"\(").replace(")", r"\)") for s in (shape, SHAPE))
    with pytest.raises(
        LabelFormatError,
        match=rf"^{name}: expected the image's shape {wanted}, got shape {found}: use the image",
    ):
        read(data, name=name, semantic=True, shape=SHAPE)


@pytest.mark.parametrize(
    ("name", "data", "error", "message"),
    [
        (JSON, b"II*\0", LabelFormatError, "at character 0: expected JSON, got 'II"),
        (JSON, b'{".info": {"shape": [9]}}', LabelFormatError, "expected a volume"),
        (TIF, b'{"1": ""}', ImageFormatError, "the file: expected a readable TIF"),
        (TIF, publisher.tif(np.zeros(SHAPE, float)), LabelFormatError, "expected integer"),
    ],
)
def test_a_refused_file_is_closed(name, data, error, message):
    file = io.BytesIO(data)
    with pytest.raises(error, match=f"^{name}: {message}"):
        read_labels(file, name)
    assert file.closed
