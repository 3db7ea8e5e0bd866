"""The card's YAML, which the Hub, the viewer and `datasets` read: written, and read strictly."""

import collections
from pathlib import Path
from typing import Any

import yaml
from huggingface_hub.repocard import REGEX_YAML_BLOCK

from _platelet_em.hub.layout import data_files
from _platelet_em.hub.parquet import count_files, explain_damage, read_metadata
from _platelet_em.hub.record import present_configs, stored_schema
from _platelet_em.rows.make import CONFIGS, SLICES
from _platelet_em.rows.schema import yaml_features
from _platelet_em.spec import SEMANTIC, DatasetSpec

__all__ = ["describe_front_matter", "parse_front_matter", "render_front_matter"]

_MAX_YAML = 2**18
"""Characters of a card's YAML that are parsed: `build` writes less than 10,000."""


def render_front_matter(folder: Path, spec: DatasetSpec) -> str:
    """The text between the card's two lines of dashes; raises as `describe_front_matter` does."""
    head = describe_front_matter(folder, spec)
    return yaml.safe_dump(head, sort_keys=False, allow_unicode=True, width=99)


def describe_front_matter(folder: Path, spec: DatasetSpec) -> dict[str, Any]:
    """The fields of the card's YAML, with the figures of the repository's data files.

    Raises:
        ArchiveError: for a data file that is damaged.
    """
    configs: list[dict[str, Any]] = [
        {
            "config_name": config.name,
            **({"default": True} if config is CONFIGS[0] else {}),
            "data_files": [
                {"split": split, "path": f"{config.name}/{split}-*.parquet"}
                for split in spec.splits
                if data_files(folder, config.name, split)
            ],
        }
        for config in present_configs(folder)
    ]
    return {
        "pretty_name": spec.title or spec.name,
        **_describe_license(folder, spec),
        "task_categories": ["image-segmentation"],
        "task_ids": _task_ids(spec),
        # What own files were made from is not known.
        **({"source_datasets": ["original"]} if spec.archives else {}),
        "tags": [*dict.fromkeys([*spec.tags, *_general_tags(spec)])],
        "size_categories": [_size_category(folder)],
        "configs": configs,
        "dataset_info": _describe_configs(folder, spec),
    }


def _task_ids(spec: DatasetSpec) -> list[str]:
    """What the labels of the volumes are for."""
    labeled = {column for volume in spec.volumes for column in volume.columns}
    tasks = []
    if labeled - {SEMANTIC}:
        tasks.append("instance-segmentation")
    if SEMANTIC in labeled:
        tasks.append("semantic-segmentation")
    return [*tasks, "panoptic-segmentation"] if len(tasks) > 1 else tasks


def _general_tags(spec: DatasetSpec) -> list[str]:
    is_3d = any(volume.shape is None or volume.shape[0] > 1 for volume in spec.volumes)
    return ["3d", "image"] if is_3d else ["image"]


def _size_category(folder: Path) -> str:
    """The Hub's word for the number of rows of the default configuration."""
    rows, _ = count_files(data_files(folder, SLICES.name))
    limits = (("1K", 3), ("10K", 4), ("100K", 5), ("1M", 6), ("10M", 7), ("100M", 8), ("1B", 9))
    lower = ""
    for name, digits in limits:
        if rows < 10**digits:
            return f"{lower}n<{name}"
        lower = f"{name}<"
    return "n>1B"


def _describe_license(folder: Path, spec: DatasetSpec) -> dict[str, str]:
    """The fields of the license, as cards of the repository's schema have them."""
    if stored_schema(folder) < 2:
        return {"license": spec.license, "license_details": spec.license_details}
    found = {"license": spec.license}
    if spec.license == "other":  # the Hub knows name and address of all others
        found |= {"license_name": spec.license_name, "license_link": spec.page}
    return {key: text for key, text in found.items() if text}


def _describe_configs(folder: Path, spec: DatasetSpec) -> list[dict[str, Any]]:
    infos = []
    for config in present_configs(folder):
        splits: list[dict[str, Any]] = []
        download = 0
        for split in spec.splits:
            if not (files := data_files(folder, config.name, split)):
                continue
            size = sum(map(_count_bytes, files))
            rows, stored = count_files(files)
            splits.append({"name": split, "num_bytes": size, "num_examples": rows})
            download += stored
        infos.append(
            {
                "config_name": config.name,
                "features": yaml_features(config.columns(spec)),
                "splits": splits,
                "download_size": download,
                "dataset_size": sum(split["num_bytes"] for split in splits),
            }
        )
    return infos


def _count_bytes(path: Path) -> int:
    """The uncompressed size of a Parquet file."""
    with explain_damage(path):
        metadata = read_metadata(path)
    groups = range(metadata.num_row_groups)
    return sum(metadata.row_group(i).total_byte_size for i in groups)


def parse_front_matter(text: str) -> Any:
    """The card's YAML as the Hub's client reads it; None if there is none.

    Raises:
        ValueError: for YAML that is damaged, is too long, has a key twice, of which readers take
            either, or refers to other parts of itself, which may grow without bound.
    """
    if (block := REGEX_YAML_BLOCK.search(text)) is None:
        return None
    if len(block[2]) > _MAX_YAML:  # PyYAML reads about 0.1 MB per second
        raise ValueError(f"{len(block[2])} characters of YAML, expected at most {_MAX_YAML}")
    try:
        return yaml.load(block[2], Loader=_StrictLoader)  # noqa: S506  # a safe loader
    except Exception as error:  # damaged YAML makes PyYAML raise anything
        raise ValueError(f"YAML that cannot be read: {error}") from error


class _StrictLoader(yaml.SafeLoader):
    """A safe loader that refuses aliases and repeated keys."""

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias (*), expected the value itself")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = collections.Counter(str(key.value) for key, _ in node.value)
        if repeated := [key for key, count in keys.items() if count > 1]:
            raise yaml.YAMLError(f"the key {repeated[0]!r} more than once")
        return super().construct_mapping(node, deep)
