"""`describe_spec`: a `DatasetSpec` as a description, plain data for TOML or JSON."""

from typing import Any

from _platelet_em.description.label_section import COLOR_PALETTE
from _platelet_em.spec import (
    Archive,
    Color,
    Components,
    DatasetSpec,
    InstanceSpec,
    SemanticClass,
    VolumeSpec,
)

__all__ = ["describe_spec"]


def describe_spec(spec: DatasetSpec, *, volumes: bool = True) -> dict[str, Any]:
    """A description of the dataset, which `parse_description` reads.

    Args:
        spec: The dataset.
        volumes: Whether to describe its volumes, too, and the folder of their files.

    Returns:
        Dicts with texts as keys, lists, texts, numbers and truth values; what a dataset does not
        have is left out.
    """
    texts = {
        "name": spec.name,
        "title": spec.title,
        "description": spec.description,
        "about": spec.about,
        "notes": list(spec.notes),
        "tags": list(spec.tags),
        "homepage": spec.homepage,
        "citation": spec.citation,
        "first_author": spec.first_author,
        "published": spec.published,
        "license": spec.license,
        "license_name": spec.license_name,
        "license_details": spec.license_details,
        "license_note": spec.license_note,
        "license_link": spec.page,
        "folder": spec.folder if volumes else "",
        "voxel_size_nm": list(spec.voxel_size_nm or ()),
        "is_dense": spec.is_dense,
        "bright_background": spec.bright_background,
        "whole_range": spec.whole_range,
        "confusable_classes": list(spec.confusable_classes or ()),
    }
    palettes = spec.palettes if spec.palettes != (COLOR_PALETTE,) else ()
    found: dict[str, Any] = {
        **texts,
        "palettes": list(palettes),
        "classes": [_describe_class(c, palettes) for c in spec.classes],
        "instances": [_describe_instance(i, spec) for i in spec.instances],
        "semantic_codes": {str(code): index for code, index in spec.semantic_codes},
        "known_files": dict(spec.known_files),
        "archives": [_describe_archive(archive) for archive in spec.archives],
    }
    if volumes:
        found |= {
            "volumes": [_describe_volume(v) for v in spec.volumes],
            "optional_volumes": [_describe_volume(v) for v in spec.optional_volumes],
            "other_labels": [_describe_volume(v) for v in spec.other_labels],
        }
    return _without_empty(found)


def _without_empty(values: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value not in ("", None, [], {}, False)}


def _describe_color(color: Color) -> str:
    return "#" + bytes(color).hex()


def _describe_class(each: SemanticClass, palettes: tuple[str, ...]) -> str | dict[str, Any]:
    found: dict[str, Any] = {"name": each.name}
    if palettes:
        colors = map(_describe_color, each.colors)
        found["colors"] = dict(zip(palettes, colors, strict=True))
    elif each.colors:
        found["color"] = _describe_color(each.colors[0])
    if each.accessible is not None:
        found["accessible"] = _describe_color(each.accessible)
    return found if len(found) > 1 else each.name


def _describe_instance(instance: InstanceSpec, spec: DatasetSpec) -> str | dict[str, Any]:
    parent = spec.parent(instance)
    found: dict[str, Any] = {"name": instance.column}
    if instance.name != instance.column:
        found["kind"] = instance.name
    if instance.part_of is not None:
        found["part_of"] = instance.part_of
        if parent is None or instance.parent != parent.name:
            found["parent"] = instance.parent
    if instance.first_class != 1:
        found["first_class"] = instance.first_class
    if instance.fills_classes:
        found["fills_classes"] = True
    if not instance.has_class:
        found["has_class"] = False
    return found if len(found) > 1 else instance.column


def _describe_archive(archive: Archive) -> dict[str, Any]:
    return _without_empty(
        {
            "name": archive.name,
            "file_name": archive.file_name,
            "url": archive.url,
            "size": archive.size,
            "md5": archive.md5,
        }
    )


def _describe_volume(volume: VolumeSpec) -> dict[str, Any]:
    rules = dict(volume.components)
    return _without_empty(
        {
            "name": volume.name,
            "split": volume.split,
            "shape": list(volume.shape or ()),
            "class_shares": list(volume.class_shares),
            "archives": list(volume.archives),
            "image": volume.image_file,
            **{
                column: _describe_mask(path, rules[column]) if column in rules else path
                for column, path in volume.label_files
            },
            "label_suffix": volume.label_suffix,
            "may_be_signed": volume.may_be_signed,
            "is_partly_labeled": volume.is_partly_labeled,
            "note": volume.note,
            "label_versions": {name: list(counts) for name, counts in volume.label_versions},
        }
    )


def _describe_mask(path: str, rule: Components) -> dict[str, Any]:
    found: dict[str, Any] = {"file": path, "components": True}
    default = Components()
    if rule.threshold != default.threshold:
        found["threshold"] = rule.threshold
    if rule.connectivity != default.connectivity:
        found["connectivity"] = rule.connectivity
    return found
