"""The columns of rows as features, in the forms of `datasets`, Arrow, Parquet and YAML.

Features are written in the JSON form of `datasets`. Lists are `Sequence` in it, the only spelling
that `datasets` 3.6 to 5.x all read from Parquet metadata. From the YAML of a card they all read
`list`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import pyarrow as pa

from _platelet_em.spec import DatasetSpec, InstanceSpec

__all__ = [
    "IMAGE",
    "SCHEMA_VERSION",
    "Column",
    "Columns",
    "Feature",
    "arrow_schema",
    "class_label",
    "describe_field",
    "describe_image",
    "describe_semantic",
    "json_features",
    "label_columns",
    "list_of",
    "value",
    "yaml_features",
]

SCHEMA_VERSION = 2
"""Version of the columns and of the files that `build` writes."""

Feature = dict[str, Any]


class Column(NamedTuple):
    """A column of rows: its feature, and a sentence that describes it."""

    feature: Feature
    description: str


Columns = Mapping[str, Column]
"""Name -> column, in the order of the file."""

IMAGE: Feature = {"_type": "Image"}

_FIELD_DESCRIPTIONS = {
    "shape": "Shape of this row: (y, x) of a slice, (z, y, x) of a volume.",
    "id": "Id of the instance, the same in every slice that cuts the object, and in the volume.",
    "rle": "The mask: 'start length start length ...', starts from 1, in C order over `shape`.",
    "area": "Number of pixels (voxels) of the instance in this row.",
    "bbox": "Half-open bounding box: y0, x0, y1, x1; of a volume z0, y0, x0, z1, y1, x1.",
    "touches_border": "Whether the instance reaches the border of this row.",
    "class_id": "Index of the class with most voxels of the whole 3D object, see `classes`.",
    "purity": "Share of the 3D object's voxels that belong to this class.",
}


def value(dtype: str) -> Feature:
    """The feature of a scalar."""
    return {"dtype": dtype, "_type": "Value"}


def class_label(spec: DatasetSpec) -> Feature:
    """The feature of a class index; of a dataset without classes, an integer."""
    if not spec.classes:
        return value("int64")
    return {"names": list(spec.class_names), "_type": "ClassLabel"}


def list_of(feature: Feature) -> Feature:
    """The feature of a list."""
    return {"feature": feature, "_type": "Sequence"}


def describe_image(spec: DatasetSpec, added: str = "") -> str:
    """What an image is, as a phrase without a full stop.

    Args:
        spec: The dataset; only own volumes have images of 8 bits.
        added: Words after the axes.
    """
    if spec.archives:
        return f"16-bit grayscale image (y, x){added}, the publisher's values bit for bit"
    return f"Grayscale image (y, x){added} of 8 or 16 bits, the values of the files bit for bit"


def describe_semantic(spec: DatasetSpec, added: str = "") -> str:
    """What a mask of classes is, as a sentence; `added` are words after the axes."""
    if not spec.classes:
        return "Null: the dataset has no classes."
    return f"8-bit palette image (y, x){added}; a pixel is the index of its class, see `classes`."


def _label_struct(instance: InstanceSpec, spec: DatasetSpec) -> Feature:
    """Parallel lists, one entry per instance; properties of the whole object come last."""
    types = {
        "class_id": class_label(spec),
        "purity": value("float32"),
    }
    return {
        "shape": list_of(value("int32")),
        "id": list_of(value("int32")),
        "rle": list_of(value("string")),
        "area": list_of(value("int64")),
        "bbox": list_of(list_of(value("int32"))),
        "touches_border": list_of(value("bool")),
        **{name: list_of(types.get(name, value("int32"))) for name in instance.properties},
    }


def label_columns(spec: DatasetSpec) -> dict[str, Column]:
    """The columns with the number of instances of each kind, then those with the instances."""
    counts = {
        instance.count_column: Column(value("int32"), f"Number of {instance.column} in this row.")
        for instance in spec.instances
    }
    structs = {
        instance.column: Column(
            _label_struct(instance, spec),
            f"{instance.name.capitalize()} instances: parallel lists, one entry per instance, "
            "ascending id.",
        )
        for instance in spec.instances
    }
    return {**counts, **structs}


def describe_field(name: str, spec: DatasetSpec) -> str:
    """Description of a field of a label struct; any other field is the id of a parent."""
    if name in ("class_id", "purity") and not spec.classes:
        return "Null: the dataset has no classes."
    known = _FIELD_DESCRIPTIONS.get(name)
    return known or f"Id of the {name} that contains most of the 3D object, 0 for none."


def json_features(columns: Columns) -> dict[str, Feature]:
    """Name -> feature, as `datasets` writes them to JSON."""
    return {name: column.feature for name, column in columns.items()}


def arrow_schema(columns: Columns) -> pa.Schema:
    """The Arrow schema of the columns, the same as their `datasets` features give."""
    return pa.schema({name: _arrow_type(column.feature) for name, column in columns.items()})


def _arrow_type(feature: Feature) -> pa.DataType:
    feature_type = feature.get("_type")
    if feature_type == "Value":
        return {"string": pa.string(), "bool": pa.bool_()}.get(
            feature["dtype"]
        ) or pa.type_for_alias(feature["dtype"])
    if feature_type == "ClassLabel":
        return pa.int64()
    if feature_type == "Image":
        return pa.struct({"bytes": pa.binary(), "path": pa.string()})
    if feature_type == "Sequence":
        return pa.list_(_arrow_type(feature["feature"]))
    return pa.struct({name: _arrow_type(field) for name, field in feature.items()})


def yaml_features(columns: Columns) -> list[Feature]:
    """The features as a card's `dataset_info.features` spells them."""
    fields: list[Feature] = _to_yaml(json_features(columns))["struct"]
    return fields


def _to_yaml(feature: Feature) -> Feature:
    feature_type = feature.get("_type")
    if feature_type == "Value":
        return {"dtype": feature["dtype"]}
    if feature_type == "ClassLabel":
        names = {str(index): name for index, name in enumerate(feature["names"])}
        return {"dtype": {"class_label": {"names": names}}}
    if feature_type == "Image":
        return {"dtype": "image"}
    if feature_type == "Sequence":
        inner = _to_yaml(feature["feature"])
        # Without the key dtype in between, as datasets writes it.
        return {"list": inner.get("dtype", inner)}
    return {"struct": [{"name": name, **_to_yaml(field)} for name, field in feature.items()]}
