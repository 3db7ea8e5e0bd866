"""The Croissant description of a built repository, for tools that read dataset metadata.

It is JSON-LD as specified by Croissant 1.1: facts about the dataset, every Parquet file with its
checksum, and a record set for each configuration, whose fields are made from the columns of the
schema. Paths are relative to the file, so the description is valid for copies of the folder, too.
"""

import json
from pathlib import Path
from typing import Any

from _platelet_em.hub.layout import data_files
from _platelet_em.hub.markdown import join_words
from _platelet_em.hub.record import present_configs, sha256, stored_schema
from _platelet_em.rows.config import Config
from _platelet_em.rows.schema import Feature, describe_field
from _platelet_em.spec import DatasetSpec

__all__ = ["SYNTHETIC_DESCRIPTION", "describe_dataset", "render_croissant"]

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
"""The complete context of Croissant 1.1: readers warn of missing terms, even unused ones."""

_PARQUET = "application/x-parquet"
SYNTHETIC_DESCRIPTION = "Made from the synthetic sample of the tool, not from data. It imitates: "
_KEY = ("volume", "z")
"""Columns that identify a row, in the configurations that have them."""


def render_croissant(folder: Path, record: dict[str, str], spec: DatasetSpec) -> str:
    """The text of croissant.json; the arguments are those of `describe_dataset`."""
    return json.dumps(describe_dataset(folder, record, spec), indent=2) + "\n"


def describe_dataset(folder: Path, record: dict[str, str], spec: DatasetSpec) -> Node:
    """The Croissant description of a built repository.

    Args:
        folder: The repository, its Parquet files in place.
        record: The record of the files; its `origin` is "synthetic" for the sample.
        spec: The dataset.
    """
    return {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "name": spec.name,
        "description": _describe(record, spec),
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        **_describe_facts(spec),
        "version": f"{stored_schema(folder)}.0.0",
        "distribution": [
            node
            for config in present_configs(folder)
            for node in _distribution(folder, config, spec)
        ],
        "recordSet": [
            *(_record_set(config, folder, spec) for config in present_configs(folder)),
            *([_class_set(spec)] if spec.classes else []),
        ],
    }


def _describe(record: dict[str, str], spec: DatasetSpec) -> str:
    """The description; that of a dataset without one states only what is known."""
    if record["origin"] == "synthetic":
        return SYNTHETIC_DESCRIPTION + spec.description
    labels = join_words(
        [*(["classes"] if spec.classes else []), *(i.column for i in spec.instances)]
    )
    title = spec.title or spec.name
    return spec.description or f"{title}: {len(spec.volumes)} volumes with labels of {labels}."


def _describe_facts(spec: DatasetSpec) -> Node:
    """What is known of who has published the dataset, when, where, and under which license."""
    found: Node = {}
    if spec.citation:
        found["citeAs"] = spec.citation
    if spec.first_author:
        found["creator"] = {"@type": "sc:Person", "name": spec.first_author}
    if spec.published:
        found["datePublished"] = spec.published
    if spec.license:
        found["license"] = _describe_license(spec)
    if spec.homepage:
        found["url"] = spec.homepage
    return found


def _describe_license(spec: DatasetSpec) -> Node:
    found = {"@type": "sc:CreativeWork", "name": spec.license}
    if spec.archives and spec.license == "other":
        details = f'The publisher names no license. Its page says: "{spec.license_details}".'
        return {**found, "description": details}
    if spec.license == "other":
        found["name"] = spec.license_name or spec.license
    if spec.license_details:
        found["description"] = spec.license_details
    return {**found, "url": spec.page} if spec.page else found


def _class_set(spec: DatasetSpec) -> Node:
    """The semantic classes as an enumeration."""
    classified = " and ".join(i.column for i in spec.instances if i.has_class)
    owners = f", and `class_id` of {classified}" if classified else ""
    return {
        "@type": "cr:RecordSet",
        "@id": "classes",
        "name": "classes",
        "description": f"Semantic classes: pixels of `semantic`{owners}.",
        "dataType": "sc:Enumeration",
        "key": {"@id": "classes/index"},
        "field": [
            {"@type": "cr:Field", "@id": "classes/index", "name": "index", "dataType": "cr:Int64"},
            {"@type": "cr:Field", "@id": "classes/name", "name": "name", "dataType": "sc:Text"},
        ],
        "data": [
            {"classes/index": index, "classes/name": name}
            for index, name in enumerate(spec.class_names)
        ],
    }


def _distribution(folder: Path, config: Config, spec: DatasetSpec) -> list[Node]:
    """The file set of the records of a configuration, and each of its files."""
    files: list[Node] = [
        {
            "@type": "cr:FileSet",
            "@id": _file_set(config),
            "name": _file_set(config),
            "description": f"The Parquet files of the configuration {config.name}.",
            "encodingFormat": _PARQUET,
            "includes": [
                f"{config.name}/{split}-*.parquet"
                for split in spec.splits
                if data_files(folder, config.name, split)
            ],
        }
    ]
    for path in data_files(folder, config.name):
        name = path.relative_to(folder).as_posix()
        files.append(
            {
                "@type": "cr:FileObject",
                "@id": name,
                "name": name,
                "contentUrl": name,
                "contentSize": f"{path.stat().st_size} B",
                "encodingFormat": _PARQUET,
                "sha256": sha256(path),
            }
        )
    return files


def _file_set(config: Config) -> str:
    return f"{config.name}-files"


def _record_set(config: Config, folder: Path, spec: DatasetSpec) -> Node:
    columns = config.columns(spec)
    return {
        "@type": "cr:RecordSet",
        "@id": config.name,
        "name": config.name,
        "description": f"{config.description[0].upper()}{config.description[1:]}.",
        "key": [{"@id": f"{config.name}/{name}"} for name in _KEY if name in columns],
        "field": [
            _split_field(config, folder, spec),
            *(
                _field(config, (name,), column.feature, column.description, spec)
                for name, column in columns.items()
            ),
        ],
    }


def _split_field(config: Config, folder: Path, spec: DatasetSpec) -> Node:
    splits = "|".join(split for split in spec.splits if data_files(folder, config.name, split))
    return {
        **_head(config, ("split",), "Split of the row, from the name of its file."),
        "dataType": "sc:Text",
        "source": {
            "fileSet": {"@id": _file_set(config)},
            "extract": {"fileProperty": "fullpath"},
            "transform": {"regex": f"{config.name}/({splits})-.+\\.parquet$"},
        },
    }


def _head(config: Config, path: tuple[str, ...], description: str) -> Node:
    return {
        "@type": "cr:Field",
        "@id": "/".join((config.name, *path)),
        "name": path[-1],
        "description": description,
    }


def _field(
    config: Config, path: tuple[str, ...], feature: Feature, description: str, spec: DatasetSpec
) -> Node:
    """A column, or a field of its struct, as Croissant describes it."""
    head = _head(config, path, description)
    if "_type" not in feature:
        fields = [
            _field(config, (*path, name), inner, describe_field(name, spec), spec)
            for name, inner in feature.items()
        ]
        return {**head, "subField": fields}
    depth = 0
    while feature["_type"] == "Sequence":
        feature, depth = feature["feature"], depth + 1
    is_image = feature["_type"] == "Image"
    if depth:
        head |= {"isArray": True, "arrayShape": ",".join(["-1"] * depth)}
        if is_image:
            # Without this older key mlcroissant takes the list itself for an image.
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
