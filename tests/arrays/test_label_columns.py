import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from _platelet_em.arrays.label_columns import (
    check_offsets,
    check_properties,
    instance_properties,
    parse_id,
    touches_border,
)
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.errors import LabelFormatError
from _platelet_em.limits import MAX_ID

NAME = "50-instance-cell.json"


@pytest.mark.parametrize("key", ["1", "34", str(MAX_ID), 5, np.int64(7), np.uint8(255)])
def test_an_id_is_a_plain_decimal_number(key):
    assert parse_id(key, NAME) == int(key)
    assert type(parse_id(key, NAME)) is int


@pytest.mark.parametrize(
    "key",
    [
        *("0", "-1", "+1", "01", "1.0", "1e3", " 1", "1 ", "", "x", "\u0661", "\u00b2"),
        *(str(MAX_ID + 1), "9" * 60, 0, -1, MAX_ID + 1, 1.0, True, np.True_, None, b"1"),
    ],
)
def test_other_keys_are_refused(key):
    message = rf"^{NAME}: key .+: expected a label from 1 to {MAX_ID}$"
    with pytest.raises(LabelFormatError, match=message):
        parse_id(key, NAME)


@pytest.mark.parametrize("offsets", [[0, 3], [0, 3, 3, 3]])
def test_there_is_one_offset_more_than_ids(offsets):
    text = np.frombuffer(b"1 2", np.uint8)
    with pytest.raises(LabelFormatError, match=f"^labels: 2 ids, but {len(offsets) - 1} RLE str"):
        check_offsets(text, np.array(offsets), 2)


@pytest.mark.parametrize("offsets", [[-1, 3, 6], [0, 3, 7], [0, 4, 3], [4, 3, 6]])
def test_offsets_outside_the_text_or_out_of_order_are_refused(offsets):
    text = np.frombuffer(b"1 25 2", np.uint8)
    check_offsets(text, np.array([0, 3, 6]), 2)
    with pytest.raises(LabelFormatError, match="of 6 bytes: expected ascending offsets inside"):
        check_offsets(text, np.array(offsets), 2)


# --- properties -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["shape", "id", "rle", "area", "bbox"])
def test_a_property_cannot_have_the_name_of_a_field(name):
    with pytest.raises(LabelFormatError, match=f"a property cannot be called '{name}'"):
        check_properties({name: [1]}, 1)


@pytest.mark.parametrize("value", [None, "a", 3])
def test_fields_of_a_struct_that_are_not_lists_are_left_out(value):
    assert instance_properties({"shape": [4], "class_id": value, "name": value}) == {}


@pytest.mark.parametrize("values", [[None], [[1], [2, 3]]], ids=["null", "ragged"])
def test_a_property_without_a_value_for_each_id_is_refused(values):
    with pytest.raises(LabelFormatError, match="property 'class_id': expected a value for each"):
        instance_properties({"class_id": values})


def test_properties_of_python_values_have_the_dtypes_of_arrow():
    struct = {
        "shape": [2, 2], "id": [3], "rle": ["1 1"], "area": [1], "bbox": [[0, 0, 1, 1]],
        "touches_border": [True], "class_id": [3], "purity": [0.5], "cell": [4],
    }  # fmt: skip
    for row in (struct, {**struct, **{k: [] for k in struct if k != "shape"}}):
        dtypes = {name: values.dtype.name for name, values in instance_properties(row).items()}
        assert dtypes == {
            "touches_border": "bool", "class_id": "int64", "purity": "float32", "cell": "int32",
        }  # fmt: skip


def test_strings_and_lists_are_objects():
    found = instance_properties({"name": ["a", "bc"], "outline": [[1, 2], [3]]})
    assert found["name"].tolist() == ["a", "bc"]
    assert [values.tolist() for values in found["outline"]] == [[1, 2], [3]]
    assert {values.dtype for values in found.values()} == {np.dtype(object)}


@given(
    labels=hnp.arrays(
        np.int32,
        hnp.array_shapes(min_dims=2, max_dims=3, max_side=6),
        elements=st.sampled_from([0, 1, 2, 7, 90]),
    )
)
def test_an_instance_touches_the_border_if_it_has_an_outermost_voxel(labels):
    lazy = LazyLabels.from_array(labels)
    inner = np.zeros(labels.shape, bool)
    inner[(slice(1, -1),) * labels.ndim] = True
    expected = np.isin(lazy.ids, labels[~inner])
    assert touches_border(lazy.bboxes, labels.shape).tolist() == expected.tolist()


def test_an_instance_without_voxels_touches_no_border():
    assert touches_border(np.zeros((1, 4), np.int64), (2, 3)).tolist() == [False]
