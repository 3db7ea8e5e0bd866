"""The rows of a built repository: each is checked alone, and against the whole volume.

Images and labels are decoded, and whatever a row says about instances is worked out again from the
voxels: boxes and areas from those of the row, classes and parents of 3D objects from those of all
slices. Only the runs of the labels stay in memory; files are read one row group at a time.
"""

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from _platelet_em.arrays.join import join_slices
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.page import decode_page
from _platelet_em.hub.integrity import Repository
from _platelet_em.hub.parquet import open_parquet, read_group, read_metadata
from _platelet_em.hub.read import ParquetRows
from _platelet_em.progress import progress_bar
from _platelet_em.publisher.organelles import measure_instances
from _platelet_em.rows import preview, slices, volumes
from _platelet_em.rows.config import Config
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
from _platelet_em.verify.view import VerifiedVolume

__all__ = ["check_previews", "read_rows", "read_slices", "read_volume_row"]

_Properties = tuple[Any, ...]
"""Values of the properties of an instance, in the order of `InstanceSpec.properties`."""

_ENCODINGS = {"PLAIN", "RLE"}
"""Encodings that `build` writes: values one after the other, and levels of nesting."""

_MAX_COLUMN = 2**31
"""Bytes of a row group's column, uncompressed; Arrow cannot hold more of one."""


# --- configurations ---------------------------------------------------------------------------


def read_slices(
    section: Section, repository: Repository, volume: VolumeSpec, spec: DatasetSpec
) -> VerifiedVolume:
    """Check the rows of `slices` of a volume; the result has no shape if some cannot be read."""
    view = _new_view(repository, slices.CONFIG, volume)
    files = repository.files[slices.CONFIG.name, volume.name]
    is_whole = repository.is_whole(slices.CONFIG.name, volume)
    plane: tuple[int, ...] | None = None
    labels = _LabelCollector(volume, spec)
    count = images = 0
    for reporter, values in read_rows(
        section, files, f"Checking volume {volume.name}: slices", has_z=is_whole
    ):
        count += 1
        # Where rows are missing, the z of the following ones is unknown.
        compare_values(reporter, values, {"volume": volume.name, **reporter.place})
        image = decode_image(reporter, values["image"], plane)
        if image is not None:
            images += 1
            plane = image.shape
        labels.add_classes(decode_mask(reporter, values[SEMANTIC], plane, spec))
        if plane is not None:
            labels.add_instances(reporter, values, plane)
    section.figure("slices", f"{count} rows checked", count)
    if (
        is_whole
        and (count, *(plane or ())) == repository.shapes.get(volume.name)
        and images == count
        and plane is not None
    ):
        view.labels = labels.join(count)
    if view.labels and plane is not None:
        height, width = plane
        view.shape = (count, height, width)
        rows = ParquetRows(files, ["image"])
        view.image = lambda z: rows[z]["image"]
    else:
        section.figure("not compared", "rows are missing, or cannot be read")
    labels.check_properties(view.labels)
    return view


def read_volume_row(
    section: Section, repository: Repository, volume: VolumeSpec, spec: DatasetSpec
) -> VerifiedVolume:
    """Check the row of `volumes` of a volume; the result has no shape if it cannot be read."""
    view = _new_view(repository, volumes.CONFIG, volume)
    files = repository.files[volumes.CONFIG.name, volume.name]
    count = 0
    for reporter, values in read_rows(
        section, files, f"Checking volume {volume.name}: volumes", has_z=False
    ):
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
    if not len(images) == len(masks) > 0:
        reporter.error(
            "page",
            column="image",
            expected="one image and one mask per slice",
            found=f"{len(images)} images and {len(masks)} masks",
        )
        return
    first = decode_image(reporter, images[0], None)
    if first is None:
        return
    height, width = plane = first.shape
    shape = (len(images), height, width)
    compare_values(reporter, values, {"shape": list(shape)})
    labels = _LabelCollector(view.volume, spec)
    labels.add_instances(reporter, values, shape)
    is_intact = True
    for z in range(len(images)):
        page = RowReporter(reporter.section, reporter.file, reporter.row, {"z": z})
        is_intact &= decode_image(page, images[z], plane) is not None
        labels.add_classes(decode_mask(page, masks[z], plane, spec))
    if is_intact:
        view.labels = labels.join(len(images))
    if view.labels:
        view.shape = shape
        view.image = lambda z: decode_page(images[z]["bytes"].as_buffer())
        labels.check_properties(view.labels)


def check_previews(section: Section, repository: Repository, volume: VolumeSpec) -> None:
    """Check the rows of `preview` of a volume."""
    config = preview.CONFIG.name
    count = 0
    for reporter, values in read_rows(
        section,
        repository.files[config, volume.name],
        f"Checking volume {volume.name}: preview",
        has_z=repository.is_whole(config, volume),
    ):
        compare_values(reporter, values, {"volume": volume.name, **reporter.place})
        check_preview(reporter, values["preview"])
        count += 1
    section.figure("preview", f"{count} rows checked", count)


def _new_view(repository: Repository, config: Config, volume: VolumeSpec) -> VerifiedVolume:
    files = repository.files[config.name, volume.name]
    folder = repository.folder / config.name
    name = str(files[0]) if len(files) == 1 else str(folder / f"{volume.split}-*")
    label_source = "tif" if repository.record.get("label_source") == "tif" else "json"
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

    def add_classes(self, labels: LazyLabels | None) -> None:
        """Add the class indices of the next slice, if they could be decoded."""
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

    def join(self, depth: int) -> dict[str, LazyLabels]:
        """Column -> labels (z, y, x); empty if those of a slice or of a column are missing."""
        joined = {}
        for column, found in self._labels.items():
            if len(found) == depth and found[0].ndim == 2:
                joined[column] = join_slices(found)
            elif len(found) == 1 and found[0].ndim == 3:
                joined[column] = found[0]
            else:
                return {}
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
            found, instance, labels[SEMANTIC], labels[parent.column] if parent else None
        )
        columns = [measured[name].tolist() for name in instance.properties]
        for i, label in enumerate(found.ids.tolist()):
            values = tuple(column[i] for column in columns)
            known[instance.column, label] = values, "the voxels of all slices"
    return known


# --- files ------------------------------------------------------------------------------------


def read_rows(
    section: Section, files: list[Path], description: str, *, has_z: bool
) -> Iterator[tuple[RowReporter, dict[str, Any]]]:
    """The rows of files, one row group at a time, as Arrow scalars by column.

    A file that cannot be read becomes an error, and the next one follows.

    Args:
        section: Receives the errors.
        files: Parquet files, in the order of their rows.
        description: What the progress bar says.
        has_z: Whether rows are slices, whose z is known as long as no row is missing.
    """
    z = 0
    with progress_bar(stage=description, unit="row", total=_count_rows(files), leave=False) as bar:
        for path in files:
            row = 0
            try:
                with open_parquet(path) as file:
                    for group in range(file.num_row_groups):
                        columns = _read_group(file, group)
                        for values in zip(*columns.values(), strict=True):
                            place = {"z": z} if has_z else {}
                            reporter = RowReporter(section, str(path), row, place)
                            yield reporter, dict(zip(columns, values, strict=True))
                            bar.update()
                            row, z = row + 1, z + 1
            except (OSError, ValueError, pa.ArrowException) as error:
                section.error(
                    "rows",
                    str(path),
                    expected="readable rows",
                    found=f"{error!s:.200}",
                    remedy=REBUILD,
                    row=row,
                )
                has_z = False


def _count_rows(files: list[Path]) -> int:
    """The rows of the files that can be read."""
    count = 0
    for path in files:
        with suppress(OSError, pa.ArrowException):
            count += read_metadata(path).num_rows
    return count


def _read_group(file: pq.ParquetFile, group: int) -> dict[str, pa.ChunkedArray]:
    """The columns of a row group, read one by one: reading takes twice the memory of a column.

    Raises:
        pa.ArrowInvalid: for columns that take more memory than their pages say, or more than
            Arrow can hold.
    """
    metadata = file.metadata.row_group(group)
    for i in range(metadata.num_columns):
        column = metadata.column(i)
        if others := set(column.encodings) - _ENCODINGS:
            # Values of a dictionary are stored once and read many times.
            raise pa.ArrowInvalid(
                f"column {column.path_in_schema}: encoded as {sorted(others)}, not as PLAIN"
            )
        if column.total_uncompressed_size > _MAX_COLUMN:
            raise pa.ArrowInvalid(
                f"column {column.path_in_schema}: {column.total_uncompressed_size} bytes, at most "
                f"{_MAX_COLUMN} are read"
            )
    names = file.schema_arrow.names
    return {name: read_group(file, group, [name])[name] for name in names}
