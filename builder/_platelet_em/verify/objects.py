"""The rows of `instances` of a repository: each is compared with the object in its slices."""

from typing import Any

from _platelet_em.publisher.volume import LabeledVolume
from _platelet_em.rows import instances
from _platelet_em.rows.config import Row
from _platelet_em.spec import DatasetSpec, VolumeSpec
from _platelet_em.verify.files import REBUILD
from _platelet_em.verify.report import Section
from _platelet_em.verify.row_values import compare_values
from _platelet_em.verify.stored_rows import StoredRows
from _platelet_em.verify.view import VerifiedVolume

__all__ = ["check_objects"]


def check_objects(
    section: Section,
    rows: StoredRows,
    volume: VolumeSpec,
    view: VerifiedVolume,
    spec: DatasetSpec,
) -> None:
    """Check the rows of `instances` of a volume.

    Args:
        section: Receives the findings.
        rows: The rows.
        volume: The volume.
        view: The volume as its slices have it; if they could not be read, nothing is compared.
        spec: The dataset.
    """
    is_covered = bool(rows.files) and instances.CONFIG.covers(volume)
    if not is_covered or not view.labels or view.shape is None:
        return
    expected = _list_objects(view, spec)
    count = 0
    stage = f"Checking volume {volume.name}: objects"
    for reporter, values in rows.read(section, volume.name, stage, has_z=False):
        if count < len(expected):
            compare_values(reporter, values, expected[count])
        count += 1
    if count != len(expected):
        section.error(
            "objects",
            str(rows.files[0]),
            expected=f"{len(expected)} rows, one per object of the slices",
            found=str(count),
            remedy=REBUILD,
        )
    section.figure("instances", f"{count} rows checked", count)


def _list_objects(view: VerifiedVolume, spec: DatasetSpec) -> list[Row]:
    """The rows that the labels of a volume give."""
    if view.shape is None:
        return []

    def no_image(z: int) -> Any:
        raise LookupError(z)  # never read: rows of objects are made from labels

    volume = LabeledVolume(view.volume.name, view.shape, no_image, view.labels, spec)
    return [*instances.CONFIG.make_rows(volume, 0, spec)]
