"""What `platelet-em info` says about own volumes, by their description and their files."""

from collections.abc import Iterator
from typing import Any

from _platelet_em.progress import progress_bar
from _platelet_em.sources.opening import OWN_FILES, find_files
from _platelet_em.spec import DatasetSpec

__all__ = ["describe_own", "inspect_own"]

_LISTED = 20
"""Volumes that are listed as text; JSON has all."""


def inspect_own(spec: DatasetSpec) -> dict[str, Any]:
    """The dataset and its volumes as a JSON object.

    Raises:
        PlateletEMError: for files that are missing, or whose headers are damaged.
    """
    files = find_files(spec, OWN_FILES, None)
    bar = progress_bar(spec.volumes, stage="Looking at volumes", unit="volume", leave=False)
    volumes = [
        {
            "name": volume.name,
            "split": volume.split,
            "shape": list(files.shape(volume)),
            "labels": list(volume.columns),
        }
        for volume in bar
    ]
    return {
        "content": "own volumes",
        "name": spec.name,
        "title": spec.title,
        "description": spec.description,
        "license": spec.license,
        "citation": spec.citation,
        "voxel_size_nm": spec.voxel_size_nm and list(spec.voxel_size_nm),
        "classes": list(spec.class_names),
        "instances": [
            {"column": i.column, "kind": i.name, "part_of": i.part_of} for i in spec.instances
        ],
        "volumes": volumes,
    }


def describe_own(found: dict[str, Any]) -> Iterator[str]:
    """The lines of text for what `inspect_own` found."""
    yield found["title"] or found["name"]
    if found["description"]:
        yield found["description"]
    yield f"License: {found['license'] or 'not stated'}"
    size = found["voxel_size_nm"]
    text = " x ".join(f"{extent:g}" for extent in size or ()) + " nm" * bool(size)
    yield f"Voxel size (z, y, x): {text or 'not stated'}"
    names = ", ".join(f"{i} {name}" for i, name in enumerate(found["classes"]))
    yield f"Classes: {names or 'none'}"
    for each in found["instances"]:
        part = f", part of {each['part_of']}" if each["part_of"] else ""
        yield f"Instances {each['column']}: {each['kind']}{part}"
    for volume in found["volumes"][:_LISTED]:
        labels = ", ".join(volume["labels"]) or "no labels"
        shape = f"shape {tuple(volume['shape'])} (z, y, x)"
        yield f"Volume {volume['name']}: split {volume['split']}, {shape}, {labels}"
    if len(found["volumes"]) > _LISTED:
        yield f"and {len(found['volumes']) - _LISTED} more volumes, see --json"
