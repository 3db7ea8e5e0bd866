"""Arrow arrays to the values of the format; damaged ones are in test_hostile_rows.py."""

import datasets
import numpy as np
import pyarrow as pa
import pytest

import platelet_em
from _platelet_em.arrays.page import encode_page
from _platelet_em.hf.arrow_values import check_values, read_values, stack_pages

LABELS = {"shape": [2, 3], "id": [4, 7], "rle": ["1 2", "5 2"]}
ENCODED = pa.struct({"bytes": pa.binary(), "path": pa.string()})
DENSE = [[4, 4, 0], [0, 7, 7]]


def encode(*pages):
    """Pages as encoded images; None stays None."""
    images = [p if p is None else {"bytes": encode_page(p), "path": None} for p in pages]
    return pa.array(images, ENCODED)


def page(value, shape=(2, 3)):
    return np.full(shape, value, np.uint16)


def addresses(array):
    """First and last address of each buffer of an Arrow array."""
    return [(b.address, b.address + b.size) for b in array.buffers() if b is not None]


def is_view(values, array):
    """Whether a NumPy array is in a buffer of an Arrow array."""
    address = values.__array_interface__["data"][0]
    return any(begin <= address < end for begin, end in addresses(array))


# --- labels -----------------------------------------------------------------------------------


def test_labels_of_each_row_whatever_the_slice_of_the_array():
    rows = [LABELS, None, {**LABELS, "id": [5, 6]}, {"shape": [4], "id": [], "rle": []}]
    array = pa.array(rows)
    values = read_values("cells", None, array)
    assert np.array_equal(values[0], DENSE)
    assert values[1] is None
    assert values[2].ids.tolist() == [5, 6]
    assert values[3].shape == (4,)
    assert not np.asarray(values[3]).any()
    for start in range(4):
        [value] = read_values("cells", None, array.slice(start, 1))
        assert value is None if start == 1 else value.equals(values[start])


def test_lists_with_one_entry_per_instance_are_properties():
    array = pa.array([{**LABELS, "area": [2, 2], "bbox": [[0, 0, 1, 2], [1, 1, 2, 3]],
                       "weight": [0.5, 1.5], "note": "px"}])  # fmt: skip
    [labels] = read_values("cells", None, array)
    assert labels.areas.tolist() == [2, 2]
    assert {name: found.tolist() for name, found in labels.properties.items()} == {
        "weight": [0.5, 1.5]
    }


def test_properties_are_read_when_they_are_asked_for():
    weights = pa.array([[0.5, None]])
    array = pa.StructArray.from_arrays(
        [*pa.array([LABELS]).flatten(), weights], ["shape", "id", "rle", "weight"]
    )
    [labels] = read_values("cells", None, array)
    assert np.array_equal(labels, DENSE)
    with pytest.raises(platelet_em.LabelFormatError, match="1 of 2 values are null"):
        _ = labels.properties


@pytest.mark.parametrize("missing", ["shape", "id", "rle"])
def test_labels_with_a_null_field_are_an_error(missing):
    array = pa.array([{**LABELS, missing: None}, LABELS])
    with pytest.raises(platelet_em.LabelFormatError, match="shape, id and rle, got one that is n"):
        read_values("cells", None, array)


def test_labels_with_null_strings_are_an_error():
    array = pa.array([{**LABELS, "rle": ["1 1", None]}])
    with pytest.raises(platelet_em.LabelFormatError, match="1 of 2 RLE strings are null"):
        read_values("cells", None, array)


# --- images -----------------------------------------------------------------------------------


def test_images_are_views_of_the_buffer(loaded):
    array = loaded["train"].data.table["image"].chunk(0)
    images = read_values("image", datasets.Image(), array)
    assert all(is_view(image, array.field("bytes")) for image in images)
    assert not images[0].flags.writeable


def test_a_null_image_stays_none():
    first, second = read_values("image", None, encode(page(7), None))
    assert np.array_equal(first, page(7))
    assert second is None


def test_an_image_without_bytes_is_an_error():
    array = pa.array([{"bytes": b"", "path": None}], ENCODED)
    with pytest.raises(platelet_em.ImageFormatError, match="column 'image': expected an encoded"):
        read_values("image", None, array)


def test_an_image_in_a_file_of_its_own_is_read(tmp_path):
    path = tmp_path / "page.tif"
    path.write_bytes(encode_page(page(5)))
    array = pa.array([{"bytes": None, "path": str(path)}], ENCODED)
    [image] = read_values("image", datasets.Image(), array)
    assert np.array_equal(image, page(5))


def test_the_mode_of_the_feature_is_given():
    indices, palette = page(1).astype(np.uint8), np.array([[0, 0, 0], [1, 2, 3]], np.uint8)
    array = pa.array([{"bytes": encode_page(indices, palette), "path": None}], ENCODED)
    [image] = read_values("semantic", datasets.Image(), array)
    assert np.array_equal(image, indices)
    [image] = read_values("semantic", datasets.Image(mode="RGB"), array)
    assert np.array_equal(image, np.full((2, 3, 3), [1, 2, 3]))


def test_images_that_are_not_to_be_decoded_are_left():
    assert read_values("image", datasets.Image(decode=False), encode(page(1))) is None


# --- lists ------------------------------------------------------------------------------------


def test_a_list_of_images_is_a_stack():
    first, second, third = encode(page(1), page(2), page(3)).to_pylist()
    array = pa.array([[first, second], None, [third]], pa.list_(ENCODED))
    stacks = read_values("image", None, array)
    assert isinstance(stacks[0], platelet_em.LazyStack)
    assert np.array_equal(stacks[0], [page(1), page(2)])
    assert stacks[1] is None
    assert np.array_equal(stacks[2], [page(3)])
    [stack] = read_values("image", None, array.slice(2, 1))
    assert np.array_equal(stack, [page(3)])


def test_lists_of_stacks_and_of_labels_are_lists():
    stacks = pa.array([[encode(page(1), page(2)).to_pylist()]], pa.list_(pa.list_(ENCODED)))
    [[stack]] = read_values("image", None, stacks)
    assert np.array_equal(stack, [page(1), page(2)])
    [labels] = read_values("cells", None, pa.array([[LABELS, LABELS]]))
    assert [np.asarray(found).tolist() for found in labels] == [DENSE, DENSE]


def test_pages_that_are_missing_or_in_color_stay_a_list():
    assert stack_pages([page(1), None])[1] is None
    color = np.zeros((2, 3, 3), np.uint8)
    assert isinstance(stack_pages([color, color]), list)
    assert isinstance(stack_pages([page(1), encode_page(page(2))]), platelet_em.LazyStack)


# --- other columns ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "values",
    [
        [1, None],
        ["a", "b"],
        [[1, 2], []],
        [{"shape": [3], "id": 1, "rle": "1 1"}],
        [{"shape": [3], "id": [1], "runs": ["1 1"]}],
        [{"bytes": "text", "path": "a"}],
        [{"bytes": b"", "path": "a", "more": 1}],
    ],
    ids=str,
)
def test_other_columns_are_left(values):
    assert read_values("x", None, pa.array(values)) is None


@pytest.mark.parametrize(
    "array",
    [
        pa.array([1, None, 3]),
        pa.array(["a", None, "bc"]),
        pa.array([b"a", b""]),
        pa.array([[1], None, [2, 3]]),
        pa.array([{"a": [["b"], []]}, None]),
        pa.array(["a", "b", "a"]).dictionary_encode(),
        pa.array([], pa.list_(pa.string())),
    ],
    ids=str,
)
def test_undamaged_arrays_pass_whatever_their_slice(array):
    for start in range(len(array) + 1):
        part = array.slice(start)
        assert check_values(part) is part


@pytest.mark.parametrize(
    "array",
    [
        pa.ListArray.from_arrays([0, 3, 1, 4], pa.array([1, 2, 3, 4])),
        pa.StructArray.from_arrays(
            [pa.ListArray.from_arrays([0, 3, 1, 4], pa.array([1, 2, 3, 4]))], ["field"]
        ),
        pa.StringArray.from_buffers(
            3, pa.py_buffer(np.array([0, 3, 1, 4], np.int32)), pa.py_buffer(b"abcd")
        ),
    ],
    ids=["lists", "a list in structs", "strings"],
)
def test_offsets_in_no_order_are_an_error(array):
    with pytest.raises(pa.ArrowInvalid, match="offsets that are not in order"):
        check_values(array)
