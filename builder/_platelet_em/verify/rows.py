"""The rows of a built repository: each is checked alone, and against the whole volume.

Images and labels are decoded, and whatever a row says about instances is worked out again from the
voxels: boxes and areas from those of the row, classes and parents of 3D objects from those of all
slices. Only the runs of the labels stay in memory; files are read one row group at a time.
"""

from typing import Any

import numpy as np

from _platelet_em.arrays.join import join_slices
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.page import decode_page
from _platelet_em.facts import LABEL_SOURCES
from _platelet_em.hub.integrity import Repository
from _platelet_em.publisher.organelles import measure_instances
from _platelet_em.rows import preview, slices, volumes
from _platelet_em.rows.config import Config
from _platelet_em.sources.opening import OWN_FILES
from _platelet_em.spec import SEMANTIC, DatasetSpec, InstanceSpec, VolumeSpec
from _platelet_em.verify.files import REBUILD
from _platelet_em.verify.report import Section
from _platelet_em.verify.row_values import (
    RowReporter,
    check_preview,
    compare_values,
    decode_image,
    decode_instances,
    decode_mask,
)
from _platelet_em.verify.stored_rows import StoredRows
from _platelet_em.verify.view import VerifiedVolume

__all__ = ["check_previews", "read_slices", "read_volume_row"]

_Properties = tuple[Any, ...]
"""Values of the properties of an instance, in the order of `InstanceSpec.properties`."""


# --- configurations ---------------------------------------------------------------------------


def read_slices(
    section: Section,
    repository: Repository,
    rows: StoredRows,
    volume: VolumeSpec,
    spec: DatasetSpec,
) -> VerifiedVolume:
    """Check the rows of `slices` of a volume; the result has no shape if some cannot be read."""
    view = _new_view(repository, slices.CONFIG, volume)
    is_whole = repository.is_whole(slices.CONFIG.name, volume.split)
    plane: tuple[int, ...] | None = None
    labels = _LabelCollector(volume, spec)
    dtypes = _image_dtypes(spec)
    count = images = 0
    stage = f"Checking volume {volume.name}: slices"
    for reporter, values in rows.read(section, volume.name, stage, has_z=is_whole):
        count += 1
        # Where rows are missing, the z of the following ones is unknown.
        compare_values(reporter, values, {"volume": volume.name, **reporter.place})
        image = decode_image(reporter, values["image"], plane, dtype=dtypes)
        if image is not None:
            images += 1
            plane, dtypes = image.shape, (image.dtype.type,)
        labels.add_classes(reporter, values, values[SEMANTIC], plane)
        if plane is not None:
            labels.add_instances(reporter, values, plane)
    section.figure("slices", f"{count} rows checked", count)
    joined = None
    if (
        is_whole
        and (count, *(plane or ())) == repository.shapes.get(volume.name)
        and images == count
        and plane is not None
    ):
        joined = labels.join(count)
    if joined is not None and plane is not None:
        view.labels = joined
        height, width = plane
        view.shape = (count, height, width)
        stored, positions = rows.images, rows.positions(volume.name)
        view.image = lambda z: stored[positions[z]]["image"]
    else:
        section.figure("not compared", "rows are missing, or cannot be read")
        _report_shape(section, repository, volume, (count, *(plane or ())))
    labels.check_properties(view.labels)
    return view


def _report_shape(
    section: Section, repository: Repository, volume: VolumeSpec, found: tuple[int, ...]
) -> None:
    """Own volumes must have the shape that the repository describes."""
    if not repository.spec.archives and found != volume.shape:
        section.error(
            "shape",
            str(repository.folder / slices.CONFIG.name),
            expected=f"rows of a volume of the shape {volume.shape} (z, y, x)",
            found=f"{found[0]} rows, of slices of {found[1:] or 'no known'} pixels",
            remedy=REBUILD,
        )


def _image_dtypes(spec: DatasetSpec) -> tuple[type, ...]:
    """What images may be; only own ones may have 8 bits."""
    return (np.uint16,) if spec.archives else (np.uint8, np.uint16)


def read_volume_row(
    section: Section,
    repository: Repository,
    rows: StoredRows,
    volume: VolumeSpec,
    spec: DatasetSpec,
) -> VerifiedVolume:
    """Check the row of `volumes` of a volume; the result has no shape if it cannot be read."""
    view = _new_view(repository, volumes.CONFIG, volume)
    count = 0
    stage = f"Checking volume {volume.name}: volumes"
    for reporter, values in rows.read(section, volume.name, stage, has_z=False):
        count += 1
        expected = {
            "volume": volume.name,
            "voxel_size_nm": spec.voxel_size_nm and list(spec.voxel_size_nm),
        }
        compare_values(reporter, values, expected)
        check_preview(reporter, values["preview"])
        if view.shape is None:
            _read_stacks(reporter, values, view, spec)
    section.figure("volumes", f"{count} rows checked", count)
    return view


def _read_stacks(
    reporter: RowReporter, values: dict[str, Any], view: VerifiedVolume, spec: DatasetSpec
) -> None:
    images, masks = (values[name].values or [] for name in ("image", SEMANTIC))
    if SEMANTIC not in view.volume.columns:
        compare_values(reporter, values, {SEMANTIC: None})
        masks = [None] * len(images)
    if not len(images) == len(masks) > 0:
        reporter.error(
            "page",
            column="image",
            expected="one image and one mask per slice",
            found=f"{len(images)} images and {len(masks)} masks",
        )
        return
    dtypes = _image_dtypes(spec)
    first = decode_image(reporter, images[0], None, dtype=dtypes)
    if first is None:
        return
    height, width = plane = first.shape
    dtypes = (first.dtype.type,)
    shape = (len(images), height, width)
    compare_values(reporter, values, {"shape": list(shape)})
    labels = _LabelCollector(view.volume, spec)
    labels.add_instances(reporter, values, shape)
    is_intact = True
    for z in range(len(images)):
        page = RowReporter(reporter.section, reporter.file, reporter.row, {"z": z})
        is_intact &= decode_image(page, images[z], plane, dtype=dtypes) is not None
        labels.add_classes(page, {}, masks[z], plane)
    joined = labels.join(len(images)) if is_intact else None
    if joined is not None:
        view.labels, view.shape = joined, shape
        view.image = lambda z: decode_page(images[z]["bytes"].as_buffer())
        labels.check_properties(view.labels)


def check_previews(
    section: Section, repository: Repository, rows: StoredRows, volume: VolumeSpec
) -> None:
    """Check the rows of `preview` of a volume."""
    count = 0
    stage = f"Checking volume {volume.name}: preview"
    has_z = repository.is_whole(preview.CONFIG.name, volume.split)
    for reporter, values in rows.read(section, volume.name, stage, has_z=has_z):
        compare_values(reporter, values, {"volume": volume.name, **reporter.place})
        check_preview(reporter, values["preview"])
        count += 1
    section.figure("preview", f"{count} rows checked", count)


def _new_view(repository: Repository, config: Config, volume: VolumeSpec) -> VerifiedVolume:
    files = repository.files[config.name, volume.split]
    folder = repository.folder / config.name
    name = str(files[0]) if len(files) == 1 else str(folder / f"{volume.split}-*")
    label_source = repository.record.get("label_source")
    if label_source not in (*LABEL_SOURCES, OWN_FILES):
        label_source = LABEL_SOURCES[0]
    view = VerifiedVolume(str(folder), volume, label_source, is_built=True)
    view.files = dict.fromkeys(("images", *volume.columns), name)
    return view


# --- labels of all rows -----------------------------------------------------------------------


class _LabelCollector:
    """Collects the labels of the rows of a volume, and the properties that rows state."""

    def __init__(self, volume: VolumeSpec, spec: DatasetSpec) -> None:
        self._spec = spec
        self._labels: dict[str, list[LazyLabels]] = {column: [] for column in volume.columns}
        self._properties: list[tuple[RowReporter, InstanceSpec, dict[int, _Properties]]] = []

    def add_classes(
        self,
        reporter: RowReporter,
        values: dict[str, Any],
        mask: Any,
        plane: tuple[int, ...] | None,
    ) -> None:
        """Decode and add the class indices of the next slice, if they can be decoded.

        Those of a volume without classes must be null.
        """
        if SEMANTIC not in self._labels:
            if values:
                compare_values(reporter, values, {SEMANTIC: None})
            return
        labels = decode_mask(reporter, mask, plane, self._spec)
        if labels is not None:
            self._labels[SEMANTIC].append(labels)

    def add_instances(
        self, reporter: RowReporter, values: dict[str, Any], shape: tuple[int, ...]
    ) -> None:
        """Decode and add the instances of a row, as far as they can be decoded.

        Instances that the volume has no labels of must be null.
        """
        for instance in self._spec.instances:
            if instance.column not in self._labels:
                nothing = dict.fromkeys((instance.column, instance.count_column))
                compare_values(reporter, values, nothing)
                continue
            found = decode_instances(reporter, values, instance, shape)
            if found is not None:
                labels, properties = found
                self._labels[instance.column].append(labels)
                self._properties.append((reporter, instance, properties))

    def join(self, depth: int) -> dict[str, LazyLabels] | None:
        """Column -> labels (z, y, x); None if those of a slice or of a column are missing."""
        joined = {}
        for column, found in self._labels.items():
            if len(found) == depth and found[0].ndim == 2:
                joined[column] = join_slices(found)
            elif len(found) == 1 and found[0].ndim == 3:
                joined[column] = found[0]
            else:
                return None
        return joined

    def check_properties(self, labels: dict[str, LazyLabels]) -> None:
        """Compare the stored properties with those of the whole volume.

        Args:
            labels: The labels (z, y, x); empty if not all are known: then the properties of an
                instance must be those of the first row that it appears in.
        """
        known = _measure_properties(labels, self._spec) if labels else {}
        for reporter, instance, stored in self._properties:
            source = f"row {reporter.row} of {reporter.file}"
            for label, values in stored.items():
                right, origin = known.setdefault((instance.column, label), (values, source))
                for name, expected, found in zip(instance.properties, right, values, strict=True):
                    if found != expected:
                        reporter.error(
                            name,
                            column=f"{instance.column}.{name}",
                            expected=f"{expected}, as in {origin}",
                            found=found,
                            id=label,
                        )


def _measure_properties(
    labels: dict[str, LazyLabels], spec: DatasetSpec
) -> dict[tuple[str, int], tuple[_Properties, str]]:
    """The properties of each instance, by column and id, and what they were measured from."""
    known = {}
    for instance in spec.instances:
        if instance.column not in labels:
            continue
        parent = spec.parent(instance)
        found = labels[instance.column]
        measured = measure_instances(
            found, instance, labels.get(SEMANTIC), labels.get(parent.column) if parent else None
        )
        nothing = [None] * len(found.ids)
        columns = [
            measured[name].tolist() if name in measured else nothing
            for name in instance.properties
        ]
        for i, label in enumerate(found.ids.tolist()):
            values = tuple(column[i] for column in columns)
            known[instance.column, label] = values, "the voxels of all slices"
    return known
