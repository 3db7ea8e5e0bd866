"""`LabelColumn`: a column of instance labels, as the features of a dataset or a row have it."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.hf.arrow_values import class_names_of, is_labels

__all__ = ["LabelColumn", "labels_of_features", "labels_of_rows"]

_CLASS = "class_id"


@dataclass(frozen=True, slots=True)
class LabelColumn:
    """A column of instance labels.

    Attributes:
        name: Name of the column.
        has_classes: Whether its instances may have classes; they are null in a dataset without.
        class_names: Names of the semantic classes, by index; empty if they are not known.
    """

    name: str
    has_classes: bool = False
    class_names: tuple[str, ...] = ()


def labels_of_features(features: Any) -> list[LabelColumn]:
    """The columns of instance labels, in the order of the features.

    Args:
        features: Features of a dataset; None has no columns.
    """
    return [
        LabelColumn(
            field.name,
            field.type.get_field_index(_CLASS) >= 0,
            tuple(class_names_of(features[field.name])),
        )
        for field in (features.arrow_schema if features else ())
        if is_labels(field.type)
    ]


def labels_of_rows(rows: Iterable[Mapping[str, Any]]) -> list[LabelColumn]:
    """The columns of instance labels of rows in the format, in the order in which they appear."""
    found: dict[str, LabelColumn] = {}
    for row in rows:
        for name, value in row.items():
            if name not in found and isinstance(value, LazyLabels):
                has_classes = _CLASS in value.properties
                found[name] = LabelColumn(name, has_classes, tuple(value.class_names))
    return [*found.values()]
