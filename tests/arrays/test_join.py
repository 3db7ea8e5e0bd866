import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from support.runs import IDS, assert_canonical

from _platelet_em.arrays.join import join_slices
from _platelet_em.arrays.labels import LazyLabels

VOLUMES = hnp.arrays(
    np.int32,
    hnp.array_shapes(min_dims=3, max_dims=3, min_side=1, max_side=5),
    elements=st.sampled_from(IDS),
)


@given(VOLUMES)
def test_joining_inverts_slices(volume):
    labels = LazyLabels.from_array(volume)
    joined = join_slices(labels.slices())
    assert joined.equals(labels)
    assert joined.ids.tolist() == labels.ids.tolist()
    assert_canonical(joined.runs)


def test_properties_are_kept_except_those_of_single_slices():
    slices = [
        LazyLabels((1, 2), [7], ["1 1"], {"class_id": [3], "touches_border": [True]}),
        LazyLabels((1, 2), [9, 7], ["1 1", "2 1"], {"class_id": [5, 3], "touches_border": [1, 1]}),
    ]
    joined = join_slices(slices)
    assert joined.ids.tolist() == [7, 9]
    assert {name: values.tolist() for name, values in joined.properties.items()} == {
        "class_id": [3, 5]
    }


def test_an_instance_has_the_properties_of_its_first_slice():
    slices = [
        LazyLabels((1, 2), [7], ["2 1"], {"n": [1]}),
        LazyLabels((1, 2), [7, 9], ["1 1", "2 1"], {"n": [2, 3]}),
    ]
    assert join_slices(slices).properties["n"].tolist() == [1, 3]
