"""The configuration `volumes`: one row per volume, with stacks of images and 3D instances."""

import math

from _platelet_em.arrays.volume_view import VolumeView
from _platelet_em.rows.config import Config, Row
from _platelet_em.rows.pages import (
    image_page,
    label_values,
    preview_page,
    semantic_page,
    stack_pages,
)
from _platelet_em.rows.schema import (
    IMAGE,
    Column,
    Columns,
    describe_image,
    describe_semantic,
    label_columns,
    list_of,
    value,
)
from _platelet_em.spec import DatasetSpec

__all__ = ["CONFIG", "MAX_ROW_BYTES"]

MAX_ROW_BYTES = 2**29
"""Bytes of the images and classes of a row; larger volumes are left out. Arrow writes the list of
a row as one page, which takes three times as much memory; its binary columns, in which `datasets`
stores images, end at 2**31 - 1."""


def _columns(spec: DatasetSpec) -> Columns:
    return {
        "image": Column(list_of(IMAGE), f"{describe_image(spec, ' of each slice')}."),
        "semantic": Column(list_of(IMAGE), describe_semantic(spec, " of each slice")),
        "preview": Column(IMAGE, "Small RGB picture of image and labels, for viewing only."),
        "volume": Column(value("string"), "Name of the volume."),
        "shape": Column(list_of(value("int32")), "Shape of the volume, (z, y, x)."),
        # float64: a top-level list of float32 makes the Hub call the dataset a time series.
        "voxel_size_nm": Column(
            list_of(value("float64")),
            "Approximate size of a voxel in nm, (z, y, x); null if it is not known.",
        ),
        **label_columns(spec),
    }


def _make_rows(volume: VolumeView, index: int, spec: DatasetSpec) -> list[Row]:  # noqa: ARG001  # always 0
    depth = volume.shape[0]
    row: Row = {
        "image": stack_pages((image_page(volume, z) for z in range(depth)), depth),
        "semantic": stack_pages((semantic_page(volume, z, spec) for z in range(depth)), depth)
        if volume.has_semantic
        else None,
        "preview": preview_page(volume, depth // 2, spec),
        "volume": volume.name,
        "shape": list(volume.shape),
        "voxel_size_nm": spec.voxel_size_nm and list(spec.voxel_size_nm),
        **label_values(volume, spec),
    }
    return [row]


CONFIG = Config(
    name="volumes",
    description="one row per volume: stacks of images and masks, and the 3D instances",
    columns=_columns,
    count_parts=lambda shape: int(3 * math.prod(shape) <= MAX_ROW_BYTES),
    make_rows=_make_rows,
    part_bytes=lambda shape: 3 * math.prod(shape),
)
