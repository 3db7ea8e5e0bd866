"""The configuration `preview`: one small picture per slice, for viewing only."""

from _platelet_em.arrays.volume_view import VolumeView
from _platelet_em.rows.config import Config, Row
from _platelet_em.rows.pages import preview_page
from _platelet_em.rows.schema import IMAGE, Column, Columns, value
from _platelet_em.spec import DatasetSpec

__all__ = ["CONFIG"]


def _columns(spec: DatasetSpec) -> Columns:  # noqa: ARG001  # the same for every dataset
    return {
        "volume": Column(value("string"), "Name of the volume."),
        "z": Column(value("int32"), "Index of the slice, from 0."),
        "preview": Column(IMAGE, "Small RGB picture of image and labels, for viewing only."),
    }


def _make_rows(volume: VolumeView, z: int, spec: DatasetSpec) -> list[Row]:
    return [{"volume": volume.name, "z": z, "preview": preview_page(volume, z, spec)}]


CONFIG = Config(
    name="preview",
    description="one row per slice, for viewing only: a small picture of image and labels",
    columns=_columns,
    count_parts=lambda shape: shape[0],
    make_rows=_make_rows,
    part_bytes=lambda shape: 800_000,  # noqa: ARG005  # pictures are small, whatever the slice
)
