"""Categories of COCO: classes, kinds without a class, and objects without one."""

import numpy as np
import pytest

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.errors import LabelRangeError
from _platelet_em.export.coco_categories import Categories
from _platelet_em.export.job import ExportJob
from _platelet_em.facts import PUBLISHED
from _platelet_em.hub.source import DatasetSource
from _platelet_em.spec import DatasetSpec, InstanceSpec, SemanticClass


def categories_of(spec, columns=None):
    return Categories(ExportJob(DatasetSource(None, spec), spec.volumes, columns or spec.columns))


def labels_of(*class_ids):
    count = len(class_ids)
    strings = [f"{i + 1} 1" for i in range(count)]
    return LazyLabels((1, 9), range(1, count + 1), strings, {"class_id": np.array(class_ids)})


def without_classes(count):
    return LazyLabels((1, 9), range(1, count + 1), [f"{i + 1} 1" for i in range(count)])


def ids_and_names(categories):
    return [(each["id"], each["name"]) for each in categories.list()]


def spec_of(*instances, classes=()):
    classes = tuple(SemanticClass(name=name) for name in classes)
    return DatasetSpec(name="own", classes=classes, instances=instances)


def test_the_published_classes_except_the_background():
    categories = categories_of(PUBLISHED)
    assert categories.find("cells", without_classes(2)) == [1, 1]
    assert categories.find("organelles", labels_of(2, 6, 5)) == [2, 6, 5]
    assert ids_and_names(categories) == [*enumerate(PUBLISHED.class_names)][1:]
    kinds = [each["supercategory"] for each in categories.list()]
    assert kinds == ["cell", *["organelle"] * 5]


def test_classes_of_the_exported_kinds_only():
    assert ids_and_names(categories_of(PUBLISHED, ("cells",))) == [(1, "cell")]
    organelles = categories_of(PUBLISHED, ("semantic", "organelles"))
    assert [each["id"] for each in organelles.list()] == [2, 3, 4, 5, 6]


def test_objects_without_a_class_have_a_category_of_their_own_and_a_remark():
    categories = categories_of(PUBLISHED)
    assert categories.find("organelles", labels_of(0, 3)) == [8, 3]
    assert categories.find("organelles", without_classes(1)) == [8]
    assert categories.list()[-1] == {
        "id": 8,
        "name": "organelle without class",
        "supercategory": "organelle",
    }
    assert categories._job.remarks == [
        (
            "organelles: 2 annotations are of objects without a class: they have the category 8, "
            '"organelle without class"'
        )
    ]


def test_kinds_of_a_dataset_without_classes():
    spec = spec_of(
        InstanceSpec(column="cells", name="cell", has_class=True),
        InstanceSpec(column="pores", name="pore"),
    )
    categories = categories_of(spec)
    assert categories.find("cells", without_classes(2)) == [1, 1]
    assert categories.find("pores", without_classes(1)) == [2]
    assert ids_and_names(categories) == [(1, "cell"), (2, "pore")]
    assert ids_and_names(categories_of(spec, ("pores",))) == [(2, "pore")]


def test_class_0_where_objects_may_have_it():
    instance = InstanceSpec(column="somata", name="soma", first_class=0, has_class=True)
    categories = categories_of(spec_of(instance, classes=("soma", "axon")))
    assert categories.find("somata", labels_of(0, 1)) == [0, 1]
    assert ids_and_names(categories) == [(0, "soma"), (1, "axon")]


def test_a_kind_whose_class_there_is_not():
    instance = InstanceSpec(column="nuclei", name="nucleus")
    categories = categories_of(spec_of(instance, classes=("outside",)))
    assert categories.find("nuclei", without_classes(1)) == [1]
    assert ids_and_names(categories) == [(1, "nucleus")]


@pytest.mark.parametrize("wrong", [1, 7, 200])
def test_a_class_that_the_kind_cannot_have_is_an_error(wrong):
    message = f"organelles: expected instances of classes 2 to 6, got class {wrong}: the labels"
    with pytest.raises(LabelRangeError, match=message):
        categories_of(PUBLISHED).find("organelles", labels_of(2, wrong))
