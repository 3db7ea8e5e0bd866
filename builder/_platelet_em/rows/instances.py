"""The configuration `instances`: one row per object, all of it scalars, made without voxels.

It is what people can ask the Hub's viewer: every column has a histogram, and class names are found
by its search.
"""

from typing import Any

import numpy as np

from _platelet_em.arrays.label_columns import BORDER, touches_border
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.volume_view import VolumeView
from _platelet_em.rows.config import Config, Row
from _platelet_em.rows.schema import Column, Columns, class_label, value
from _platelet_em.spec import DatasetSpec, InstanceSpec

__all__ = ["CONFIG", "describe_objects"]

_AXES = ("z", "y", "x")


def _columns(spec: DatasetSpec) -> Columns:
    parents = sorted({i.parent for i in spec.instances if i.parent is not None})
    kinds = ", ".join(i.name for i in spec.instances)
    bounds = {
        f"{axis}_{end}": Column(
            value("int32"), f"{'First' if end == 'min' else 'Last'} {axis} of the object."
        )
        for axis in _AXES
        for end in ("min", "max")
    }
    return {
        "volume": Column(value("string"), "Name of the volume."),
        "kind": Column(value("string"), f"Kind of object: {kinds}."),
        "id": Column(value("int32"), "Id of the object, the same in every slice."),
        "class_id": Column(
            class_label(spec), "Class with most of the object's voxels, see `classes`."
        ),
        "class_name": Column(value("string"), "Name of that class."),
        "voxels": Column(value("int64"), "Number of voxels."),
        "purity": Column(
            value("float32"),
            "Share of the voxels in this class; null where not known.",
        ),
        **{
            name: Column(
                value("int32"),
                f"Id of the {name} that contains most of the object, 0 for none; null where it "
                "has no meaning.",
            )
            for name in parents
        },
        **bounds,
        BORDER: Column(value("bool"), "Whether the object reaches the border of the volume."),
    }


def describe_objects(
    name: str, instance: InstanceSpec, labels: LazyLabels, spec: DatasetSpec
) -> list[Row]:
    """The rows of the objects of one kind, in the order of their ids.

    Args:
        name: Name of the volume.
        instance: Their kind.
        labels: They, (z, y, x), with the properties of whole objects.
        spec: The dataset.
    """
    count = len(labels.ids)
    properties = labels.properties
    classes = properties.get("class_id", np.full(count, instance.first_class)).tolist()
    low, high = np.split(labels.bboxes, 2, axis=1)
    columns: dict[str, list[Any]] = {
        "volume": [name] * count,
        "kind": [instance.name] * count,
        "id": labels.ids.tolist(),
        "class_id": classes,
        "class_name": [spec.class_name(index) for index in classes],
        "voxels": labels.areas.tolist(),
        "purity": properties["purity"].tolist() if "purity" in properties else [None] * count,
    }
    for parent in sorted({i.parent for i in spec.instances if i.parent is not None}):
        has_parent = instance.parent == parent and parent in properties
        columns[parent] = properties[parent].tolist() if has_parent else [None] * count
    for axis, first, last in zip(_AXES, low.T.tolist(), (high - 1).T.tolist(), strict=True):
        columns |= {f"{axis}_min": first, f"{axis}_max": last}
    columns[BORDER] = touches_border(labels.bboxes, labels.shape).tolist()
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def _make_rows(volume: VolumeView, index: int, spec: DatasetSpec) -> list[Row]:  # noqa: ARG001  # always 0
    return [
        row
        for instance in spec.instances
        if instance.column in volume.kinds
        for row in describe_objects(volume.name, instance, volume.labels(instance.column), spec)
    ]


CONFIG = Config(
    name="instances",
    description="one row per object: kind, class, size, position, without its mask",
    columns=_columns,
    count_parts=lambda shape: 1,  # noqa: ARG005  # all rows at once
    make_rows=_make_rows,
    is_one_row=False,
    needs_instances=True,
    since=2,
)
