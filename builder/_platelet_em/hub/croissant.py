"""The Croissant description of a built repository, for tools that read dataset metadata.

It is JSON-LD as Croissant 1.1 asks for: the dataset's facts, every Parquet file with its checksum,
and a record set for each configuration, whose fields are made from the columns of the schema.
Paths in it are relative to the file, so it holds for a folder and for wherever that is uploaded.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from _platelet_em.facts import (
    CITATION,
    CLASSES,
    CONFIGS,
    DESCRIPTION,
    FIRST_AUTHOR,
    HOMEPAGE_PAPER,
    LICENSE,
    LICENSE_WORDS,
    PUBLISHED,
    SCHEMA_VERSION,
    VOLUMES,
    Config,
)
from _platelet_em.rows.schema import FEATURES, Feature
from _platelet_em.rows.shards import data_files

__all__ = ["CROISSANT", "read_sums", "render_croissant", "sha256"]

CROISSANT = "croissant.json"

Node = dict[str, Any]

_CONTEXT: Node = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""The context of Croissant 1.1, whole: readers warn of one that lacks words, used or not."""

_PARQUET = "application/x-parquet"
_SYNTHETIC = "Made from the synthetic sample of the tool, not from data. It stands for: "
_LICENSE_TEXT = f'The publisher names no licence. Its page says: "{LICENSE_WORDS}".'
_KEY = ("volume", "z")
"""Columns that tell rows apart, in the configurations that have them."""

_CLASS_SET: Node = {
    "@type": "cr:RecordSet",
    "@id": "classes",
    "name": "classes",
    "description": "Semantic classes: pixels of `semantic`, and `class_id` of organelles.",
    "dataType": "sc:Enumeration",
    "key": {"@id": "classes/index"},
    "field": [
        {"@type": "cr:Field", "@id": "classes/index", "name": "index", "dataType": "cr:Int64"},
        {"@type": "cr:Field", "@id": "classes/name", "name": "name", "dataType": "sc:Text"},
    ],
    "data": [{"classes/index": c.index, "classes/name": c.name} for c in CLASSES],
}
_DESCRIPTIONS = {
    "split": "Split of the row, from the name of its file.",
    "image": "16-bit grayscale, the publisher's values bit for bit, of axes (y, x).",
    "semantic": "8-bit palette picture; a pixel is the index of its class, see `classes`.",
    "preview": "Small RGB picture of image and labels, for looking only.",
    "volume": "Name of the volume.",
    "z": "Slice, counted from 0.",
    "shape": "Shape of this row: (y, x) of a slice, (z, y, x) of a volume.",
    "voxel_size_nm": "Approximate size of a voxel in nm, (z, y, x).",
    "n_cells": "Cells in this row.",
    "n_organelles": "Organelles in this row.",
    "cells": "Cell instances: parallel lists, one entry an instance, ascending id.",
    "organelles": "Organelle instances: parallel lists, one entry an instance, ascending id.",
    "id": "The same in every slice that cuts the object, and in the volume.",
    "rle": "The mask: 'start length start length ...', starts from 1, in C order over `shape`.",
    "area": "Pixels (voxels) of the instance in this row.",
    "bbox": "Half-open box: y0, x0, y1, x1; of a volume z0, y0, x0, z1, y1, x1.",
    "touches_border": "Whether the instance reaches the border of this row.",
    "class_id": "Index of the class with most voxels of the whole 3D object, see `classes`.",
    "purity": "Share of the 3D object's voxels that are of that class.",
    "cell": "Id of the cell that holds most of the 3D object, 0 for none.",
}


def render_croissant(folder: Path, provenance: dict[str, str]) -> str:
    """The Croissant description of a built repository, as the text of its croissant.json.

    Args:
        folder: The repository, its Parquet files in place.
        provenance: Their record; its origin says whether they hold data.
    """
    synthetic = provenance["origin"] == "synthetic"
    document: Node = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": "platelet-em",
        "description": (_SYNTHETIC if synthetic else "") + DESCRIPTION,
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "citeAs": CITATION,
        "creator": {"@type": "sc:Person", "name": FIRST_AUTHOR},
        "datePublished": PUBLISHED,
        "license": {
            "@type": "sc:CreativeWork",
            "name": LICENSE,
            "description": _LICENSE_TEXT,
        },
        "url": HOMEPAGE_PAPER,
        "version": f"{SCHEMA_VERSION}.0.0",
        "distribution": [node for config in CONFIGS for node in _distribution(folder, config)],
        "recordSet": [*(_record_set(config) for config in CONFIGS), _CLASS_SET],
    }
    return json.dumps(document, indent=2) + "\n"


def _distribution(folder: Path, config: Config) -> list[Node]:
    """The set of files that the records of a configuration come from, and each file of it."""
    files: list[Node] = [
        {
            "@type": "cr:FileSet",
            "@id": _file_set(config),
            "name": _file_set(config),
            "description": f"The Parquet files of the configuration {config.name}.",
            "encodingFormat": _PARQUET,
            "includes": [f"{config.name}/{spec.split}-*.parquet" for spec in VOLUMES],
        }
    ]
    for path in data_files(folder, config.name):
        place = path.relative_to(folder).as_posix()
        files.append(
            {
                "@type": "cr:FileObject",
                "@id": place,
                "name": place,
                "contentUrl": place,
                "contentSize": f"{path.stat().st_size} B",
                "encodingFormat": _PARQUET,
                "sha256": sha256(path),
            }
        )
    return files


def read_sums(folder: Path) -> dict[str, str]:
    """Path and SHA-256 of each data file, as the description of a built repository has them.

    Raises:
        ValueError: for what is no such description.
        OSError: if it cannot be read.
    """
    try:
        nodes = json.loads((folder / CROISSANT).read_text("utf-8"))["distribution"]
        return {n["contentUrl"]: n["sha256"] for n in nodes if n["@type"] == "cr:FileObject"}
    except (KeyError, TypeError, RecursionError) as error:
        raise ValueError(
            f"{folder / CROISSANT}: expected the description of a built repository"
        ) from error


def sha256(path: Path) -> str:
    """The sum of a file, in hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _file_set(config: Config) -> str:
    return f"{config.name}-files"


def _record_set(config: Config) -> Node:
    columns = FEATURES[config.name]
    return {
        "@type": "cr:RecordSet",
        "@id": config.name,
        "name": config.name,
        "description": f"{config.description[0].upper()}{config.description[1:]}.",
        "key": [{"@id": f"{config.name}/{name}"} for name in _KEY if name in columns],
        "field": [
            _split_field(config),
            *(_field(config, (name,), feature) for name, feature in columns.items()),
        ],
    }


def _split_field(config: Config) -> Node:
    splits = "|".join(spec.split for spec in VOLUMES)
    return {
        **_head(config, ("split",)),
        "dataType": "sc:Text",
        "source": {
            "fileSet": {"@id": _file_set(config)},
            "extract": {"fileProperty": "fullpath"},
            "transform": {"regex": f"{config.name}/({splits})-.+\\.parquet$"},
        },
    }


def _head(config: Config, path: tuple[str, ...]) -> Node:
    return {
        "@type": "cr:Field",
        "@id": "/".join((config.name, *path)),
        "name": path[-1],
        "description": _DESCRIPTIONS[path[-1]],
    }


def _field(config: Config, path: tuple[str, ...], feature: Feature) -> Node:
    """A column, or a field of its struct, as Croissant describes it."""
    head = _head(config, path)
    if "_type" not in feature:
        fields = [_field(config, (*path, name), inner) for name, inner in feature.items()]
        return {**head, "subField": fields}
    lists = 0
    while feature["_type"] == "Sequence":
        feature, lists = feature["feature"], lists + 1
    is_image = feature["_type"] == "Image"
    if lists:
        head |= {"isArray": True, "arrayShape": ",".join(["-1"] * lists)}
        if is_image:
            # Without the older word mlcroissant takes the list itself for a picture.
            head["repeated"] = True
    source: Node = {"fileSet": {"@id": _file_set(config)}, "extract": {"column": path[0]}}
    inside = [*path[1:], *(["bytes"] if is_image else [])]
    if inside:
        source["transform"] = {"jsonPath": ".".join(inside)}
    if feature["_type"] == "ClassLabel":
        head["references"] = {"field": {"@id": "classes/index"}}
    return {**head, "dataType": _data_type(feature), "source": source}


def _data_type(feature: Feature) -> str:
    if feature["_type"] == "Image":
        return "sc:ImageObject"
    if feature["_type"] == "ClassLabel":
        return "cr:Int64"
    named = {"string": "sc:Text", "bool": "sc:Boolean"}
    dtype: str = feature["dtype"]
    return named.get(dtype, f"cr:{dtype.capitalize()}")
