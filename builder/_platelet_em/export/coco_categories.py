"""The categories of a COCO export: the classes that instances may have, and kinds without one."""

from typing import Any

import numpy as np

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.errors import LabelRangeError, printable
from _platelet_em.export.job import ExportJob
from _platelet_em.spec import InstanceSpec

__all__ = ["Categories"]


class Categories:
    """Which category an instance has; all splits of an export have the same list.

    The id of a class is its index. Classes that no exported kind may have are not listed, such as
    the background: a detector would learn to find them. Instances without a class have a category
    of their kind, whose id comes after those of all classes. In a dataset with classes it is
    listed only if there are such instances.

    Args:
        job: What is exported.
    """

    def __init__(self, job: ExportJob) -> None:
        self._job = job
        self._spec = job.spec
        self._kinds = tuple(
            (job.spec.instance(column), max(len(job.spec.classes), 1) + place)
            for place, column in enumerate(job.spec.columns[1:])
            if column in job.columns
        )
        self._unclassified: dict[str, int] = {}

    def find(self, column: str, labels: LazyLabels) -> list[int]:
        """The category of each instance of a slice, in the order of its ids.

        Raises:
            LabelRangeError: for a class that the dataset does not have.
        """
        instance, own = next(pair for pair in self._kinds if pair[0].column == column)
        classes = self._classes_of(instance)
        count = len(labels.ids)
        found = labels.properties.get("class_id")
        if not instance.has_class and classes:
            return [classes[0]] * count
        if not classes or found is None:
            found = np.full(count, -1)
        is_known = np.isin(found, classes)
        if len(wrong := np.unique(found[(found > 0) & ~is_known])):
            raise LabelRangeError(
                f"{printable(column)}: expected instances of classes {classes[0]} to "
                f"{classes[-1]}, got class {wrong[0]}: the labels are damaged, see platelet-em "
                "verify"
            )
        unclassified = int(np.count_nonzero(~is_known))
        self._unclassified[column] = self._unclassified.get(column, 0) + unclassified
        return np.where(is_known, found, own).tolist()  # type: ignore[no-any-return]  # NumPy

    def _classes_of(self, instance: InstanceSpec) -> list[int]:
        """The classes that instances of a kind may have."""
        end = len(self._spec.classes) if instance.has_class else instance.first_class + 1
        return list(range(instance.first_class, min(end, len(self._spec.classes))))

    def list(self) -> list[dict[str, Any]]:
        """The categories as COCO has them, by id, after all instances were asked about.

        Of unclassified instances of a dataset with classes it is remarked how many there are.
        """
        found: dict[int, dict[str, Any]] = {}
        for instance, own in self._kinds:
            for index in self._classes_of(instance):
                found.setdefault(index, _category(index, self._spec.class_name(index), instance))
            number = self._unclassified.get(instance.column, 0)
            if not self._classes_of(instance):
                found[own] = _category(own, instance.name, instance)
            elif number:
                found[own] = _category(own, f"{instance.name} without class", instance)
                self._job.remarks.append(
                    f"{instance.column}: {number} annotations are of objects without a class: "
                    f'they have the category {own}, "{found[own]["name"]}"'
                )
        return [found[index] for index in sorted(found)]


def _category(index: int, name: str, instance: InstanceSpec) -> dict[str, Any]:
    return {"id": index, "name": name, "supercategory": instance.name}
