"""The columns of the three configurations, and how they are spelled for Arrow, Parquet and YAML.

The columns are written down once, as the JSON form of `datasets` features. Lists are `Sequence`
in it: that is the one spelling that `datasets` 3.6 to 5.x all read from Parquet metadata, while
they all read `list` from a card's YAML.
"""

import json
from typing import Any

import pyarrow as pa

from _platelet_em.facts import CLASS_NAMES, SCHEMA_VERSION

__all__ = [
    "FEATURES",
    "METADATA_KEY",
    "Feature",
    "arrow_schema",
    "parquet_metadata",
    "yaml_features",
]

Feature = dict[str, Any]

METADATA_KEY = "platelet_em"
"""Where our record stands in the metadata of a Parquet file."""


def _value(dtype: str) -> Feature:
    return {"dtype": dtype, "_type": "Value"}


def _list(feature: Feature) -> Feature:
    return {"feature": feature, "_type": "Sequence"}


_IMAGE: Feature = {"_type": "Image"}
_CELLS: Feature = {
    "shape": _list(_value("int32")),
    "id": _list(_value("int32")),
    "rle": _list(_value("string")),
    "area": _list(_value("int64")),
    "bbox": _list(_list(_value("int32"))),
    "touches_border": _list(_value("bool")),
}
_ORGANELLES: Feature = {
    **_CELLS,
    "class_id": _list({"names": list(CLASS_NAMES), "_type": "ClassLabel"}),
    "purity": _list(_value("float32")),
    "cell": _list(_value("int32")),
}

FEATURES: dict[str, Feature] = {
    "slices": {
        "image": _IMAGE,
        "semantic": _IMAGE,
        "volume": _value("string"),
        "z": _value("int32"),
        "n_cells": _value("int32"),
        "n_organelles": _value("int32"),
        "cells": _CELLS,
        "organelles": _ORGANELLES,
    },
    "volumes": {
        "image": _list(_IMAGE),
        "semantic": _list(_IMAGE),
        "preview": _IMAGE,
        "volume": _value("string"),
        "shape": _list(_value("int32")),
        # float64: a top-level list of float32 makes the Hub call the dataset a time series.
        "voxel_size_nm": _list(_value("float64")),
        "n_cells": _value("int32"),
        "n_organelles": _value("int32"),
        "cells": _CELLS,
        "organelles": _ORGANELLES,
    },
    "preview": {"volume": _value("string"), "z": _value("int32"), "preview": _IMAGE},
}
"""Configuration -> column -> feature, in the order of the columns."""


def _arrow_type(feature: Feature) -> pa.DataType:
    kind = feature.get("_type")
    if kind == "Value":
        return {"string": pa.string(), "bool": pa.bool_()}.get(
            feature["dtype"]
        ) or pa.type_for_alias(feature["dtype"])
    if kind == "ClassLabel":
        return pa.int64()
    if kind == "Image":
        return pa.struct({"bytes": pa.binary(), "path": pa.string()})
    if kind == "Sequence":
        return pa.list_(_arrow_type(feature["feature"]))
    return pa.struct({name: _arrow_type(field) for name, field in feature.items()})


def arrow_schema(config: str) -> pa.Schema:
    """The Arrow schema of a configuration, the same as its `datasets` features give."""
    return pa.schema({name: _arrow_type(f) for name, f in FEATURES[config].items()})


def parquet_metadata(config: str, provenance: dict[str, str]) -> dict[str, str]:
    """Key-value metadata of our Parquet files: features for `datasets`, and our own record.

    Args:
        config: Name of the configuration.
        provenance: What the file was made from, and by what.
    """
    return {
        "huggingface": json.dumps({"info": {"features": FEATURES[config]}}),
        METADATA_KEY: json.dumps({"schema_version": SCHEMA_VERSION, **provenance}),
    }


def yaml_features(config: str) -> list[Feature]:
    """The features of a configuration as a card's `dataset_info.features` spells them."""
    fields: list[Feature] = _to_yaml(FEATURES[config])["struct"]
    return fields


def _to_yaml(feature: Feature) -> Feature:
    kind = feature.get("_type")
    if kind == "Value":
        return {"dtype": feature["dtype"]}
    if kind == "ClassLabel":
        names = {str(index): name for index, name in enumerate(feature["names"])}
        return {"dtype": {"class_label": {"names": names}}}
    if kind == "Image":
        return {"dtype": "image"}
    if kind == "Sequence":
        inner = _to_yaml(feature["feature"])
        # Without the word dtype between the two: so is what datasets writes itself.
        return {"list": inner.get("dtype", inner)}
    return {"struct": [{"name": name, **_to_yaml(field)} for name, field in feature.items()]}
