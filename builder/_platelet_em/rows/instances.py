"""The configuration `instances`: one row per object, all of it scalars, made without voxels.

It is what people can ask the Hub's viewer: every column has a histogram, and class names are found
by its search.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.label_columns import BORDER, touches_border
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.volume_view import VolumeView
from _platelet_em.rows.config import Config, Row
from _platelet_em.rows.schema import Column, Columns, class_label, value
from _platelet_em.spec import DatasetSpec, InstanceSpec

__all__ = ["CONFIG", "describe_objects"]

_AXES = ("z", "y", "x")

_CHUNK = 10_000
"""Objects that are described at once: a row takes about a kilobyte until it is in Arrow."""


def _columns(spec: DatasetSpec) -> Columns:
    kinds = ", ".join(i.name for i in spec.instances)
    named = ", see `classes`" if spec.classes else "; null without classes"
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
        "class_id": Column(class_label(spec), f"Class with most of the object's voxels{named}."),
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
            for name in _parents(spec)
        },
        **bounds,
        BORDER: Column(value("bool"), "Whether the object reaches the border of the volume."),
    }


def describe_objects(
    name: str, instance: InstanceSpec, labels: LazyLabels, spec: DatasetSpec
) -> Iterator[Row]:
    """The rows of the objects of one kind, in the order of their ids.

    Args:
        name: Name of the volume.
        instance: Their kind.
        labels: They, (z, y, x), with the properties of whole objects.
        spec: The dataset.
    """
    arrays = {  # each is computed from all runs: once, and not for every chunk
        **labels.properties,
        "id": labels.ids,
        "voxels": labels.areas,
        "bbox": labels.bboxes,
    }
    for start in range(0, len(labels.ids), _CHUNK):
        part = {key: array[start : start + _CHUNK] for key, array in arrays.items()}
        columns = _describe_chunk(name, instance, part, labels.shape, spec)
        for row in zip(*columns.values(), strict=True):
            yield dict(zip(columns, row, strict=True))


def _describe_chunk(
    name: str,
    instance: InstanceSpec,
    arrays: Mapping[str, NDArray[Any]],
    shape: Sequence[int],
    spec: DatasetSpec,
) -> dict[str, list[Any]]:
    """The columns of some of the objects, from the arrays of these."""
    count, bboxes = len(arrays["id"]), arrays["bbox"]
    properties = {key: array.tolist() for key, array in arrays.items() if key != "bbox"}
    nothing = [None] * count
    fixed = None if instance.has_class or not spec.classes else instance.first_class
    classes = properties.get("class_id", [fixed] * count)
    low, high = np.split(bboxes, 2, axis=1)
    columns: dict[str, list[Any]] = {
        "volume": [name] * count,
        "kind": [instance.name] * count,
        "id": properties["id"],
        "class_id": classes,
        "class_name": [None if c is None else spec.class_name(c) for c in classes],
        "voxels": properties["voxels"],
        "purity": properties.get("purity", nothing),
    }
    for parent in _parents(spec):
        columns[parent] = properties.get(parent, nothing) if instance.parent == parent else nothing
    for axis, first, last in zip(_AXES, low.T.tolist(), (high - 1).T.tolist(), strict=True):
        columns |= {f"{axis}_min": first, f"{axis}_max": last}
    columns[BORDER] = touches_border(bboxes, shape).tolist()
    return columns


def _parents(spec: DatasetSpec) -> list[str]:
    """Names of the properties with the id of a parent."""
    return sorted({i.parent for i in spec.instances if i.parent is not None})


def _make_rows(volume: VolumeView, index: int, spec: DatasetSpec) -> Iterator[Row]:  # noqa: ARG001  # always 0
    for instance in spec.instances:
        if instance.column in volume.kinds:
            labels = volume.labels(instance.column)
            yield from describe_objects(volume.name, instance, labels, spec)


CONFIG = Config(
    name="instances",
    description="one row per object: kind, class, size, position, without its mask",
    columns=_columns,
    count_parts=lambda shape: 1,  # noqa: ARG005  # all rows at once
    make_rows=_make_rows,
    row_bytes=lambda shape: 200,  # noqa: ARG005  # of any volume
    needs_instances=True,
    since=2,
)
