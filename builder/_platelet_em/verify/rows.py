"""The rows of a built repository, checked in themselves and read into parts to compare."""

import io
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from datasets.utils import tqdm
from numpy.typing import NDArray
from PIL import Image

from _platelet_em.arrays.page import decode_page
from _platelet_em.arrays.runs import Runs, value_runs
from _platelet_em.errors import PlateletEMError, quote
from _platelet_em.facts import CLASS_NAMES, VOXEL_SIZE_NM, VolumeSpec
from _platelet_em.publisher.organelles import measure_organelles
from _platelet_em.publisher.palettes import PALETTES
from _platelet_em.publisher.runstore import RunStore
from _platelet_em.rows.shards import data_files
from _platelet_em.verify.files import Built
from _platelet_em.verify.report import Section
from _platelet_em.verify.structs import Row, read_struct
from _platelet_em.verify.view import INSTANCES, KINDS, Part

__all__ = ["check_previews", "read_slices", "read_volume"]

Plane = tuple[int, ...]

_COLUMNS = {"cell": "cells", "organelle": "organelles"}
_PAGES = {"image": (np.uint16, "images"), "semantic": (np.uint8, "semantic")}
_PROPERTIES = ("class_id", "purity", "cell")
_ENCODINGS = {"PLAIN", "RLE"}
"""Of what `build` writes: the values one after the other, and how they nest."""

_MAX_COLUMN = 2**31
"""Bytes of a row group's column, unpacked; Arrow holds no more of one."""


# --- slices -----------------------------------------------------------------------------------


def read_slices(section: Section, built: Built, spec: VolumeSpec, opened: ExitStack) -> Part:
    """Check the rows of `slices` of a volume; the part has no shape if some are missing."""
    part = _new_part(built, "slices", spec)
    files = built.files("slices", spec)
    depth = sum(pq.read_metadata(path).num_rows for path in files)
    if not depth:
        return part
    pages = _SlicePages(files)
    labels: _Labels | None = None
    z = 0
    intact = whole = _shards_are_all(built, "slices", spec)
    for path in files:
        for index, values in enumerate(_rows(section, path, f"Volume {spec.name}: slices")):
            row = Row(section, str(path), index, {"z": z})
            plane = None if labels is None else labels.plane
            image = _read_page(row, "image", values["image"], plane)
            semantic = _read_page(row, "semantic", values["semantic"], plane)
            if labels is None and image is not None:
                labels = _Labels(part, (depth, *image.shape), opened)
            intact &= image is not None and semantic is not None
            # Where shards are missing, nobody knows what the first z of the next one is.
            _check_values(row, values, {"volume": spec.name, **({"z": z} if whole else {})})
            if labels is not None:
                if semantic is not None:
                    labels.add_classes(z, semantic)
                intact &= _read_instances(row, values, labels, labels.plane, z)
            z += 1
    if labels is not None:
        labels.finish()
        if intact and z == depth:
            part.shape, part.image = labels.shape, pages
            _check_properties(part, labels)
    section.figure("slices", f"{z} rows checked", z)
    if part.shape is None:
        part.labels.clear()
        section.figure("not compared", "rows are missing, or cannot be read")
    return part


def _new_part(built: Built, config: str, spec: VolumeSpec) -> Part:
    source = built.record.get("label_source")
    kind = "tif" if source == "tif" else "json"
    part = Part(str(built.folder / config), spec, kind, is_built=True)
    files = built.files(config, spec)
    name = str(files[0]) if len(files) == 1 else str(built.folder / config / f"{spec.split}-*")
    part.files = dict.fromkeys(("images", *KINDS), name)
    return part


def _shards_are_all(built: Built, config: str, spec: VolumeSpec) -> bool:
    files = built.files(config, spec)
    if not files or files != data_files(built.folder, config, spec.split):
        return False
    return files[0].stem.endswith(f"-of-{len(files):05}")


def _rows(section: Section, path: Path, what: str) -> Iterator[dict[str, Any]]:
    """The rows of a file as Arrow scalars, a row group in memory at a time.

    Columns are read one by one: reading takes as much memory again as what is read.
    """
    try:
        with pq.ParquetFile(path) as file, _bar(file.metadata.num_rows, what) as bar:
            for group in range(file.num_row_groups):
                _check_size(file.metadata.row_group(group))
                columns = {
                    name: file.read_row_group(group, columns=[name])[name]
                    for name in file.schema_arrow.names
                }
                for i in range(file.metadata.row_group(group).num_rows):
                    yield {name: column[i] for name, column in columns.items()}
                    bar.update()
    except (OSError, pa.ArrowException) as error:
        section.error(
            "rows",
            str(path),
            expected="readable rows",
            found=f"{error!s:.200}",
            remedy="build the repository again",
        )


def _check_size(group: Any) -> None:
    """Refuse columns that take more memory than their pages say, or more than Arrow can hold."""
    for i in range(group.num_columns):
        column = group.column(i)
        if others := set(column.encodings) - _ENCODINGS:
            # A dictionary's values, and what they share, are written once and read many times.
            raise pa.ArrowInvalid(
                f"column {column.path_in_schema}: encoded as {sorted(others)}, not as PLAIN"
            )
        if column.total_uncompressed_size > _MAX_COLUMN:
            raise pa.ArrowInvalid(
                f"column {column.path_in_schema}: {column.total_uncompressed_size} bytes, at most "
                f"{_MAX_COLUMN} are read"
            )


def _bar(total: int, what: str) -> Any:
    return tqdm(total=total, desc=what, unit="row", leave=False)


def _read_page(row: Row, column: str, value: Any, plane: Plane | None) -> NDArray[Any] | None:
    """A page of the right dtype and shape; None, and an error, for any other."""
    dtype, _ = _PAGES[column]
    try:
        if not value.is_valid or not value["bytes"].is_valid:
            row.error("page", column=column, expected="an encoded picture", found="none")
            return None
        page = decode_page(value["bytes"].as_buffer(), column)
    except PlateletEMError as error:
        row.error("page", column=column, expected="an encoded picture", found=error)
        return None
    if page.dtype != dtype or page.ndim != 2 or (plane is not None and page.shape != plane):
        expected = f"{np.dtype(dtype)} pixels (y, x)" + (f" of shape {plane}" if plane else "")
        row.error("page", column=column, expected=expected, found=f"{page.dtype} {page.shape}")
        return None
    if column == "semantic":
        _check_classes(row, page, value["bytes"].as_py())
    return page


def _check_classes(row: Row, page: NDArray[Any], encoded: bytes) -> None:
    """A mask's values, and the colours in which other programs show them."""
    column = "semantic"
    if page.max(initial=0) >= len(CLASS_NAMES):
        y, x = (int(c) for c in np.argwhere(page >= len(CLASS_NAMES))[0])
        classes = f"classes from 0 to {len(CLASS_NAMES) - 1}"
        row.error("classes", column=column, expected=classes, found=page[y, x], y=y, x=x)
    expected = PALETTES["A"].ravel().tolist()
    try:
        with Image.open(io.BytesIO(encoded)) as picture:
            found = (picture.getpalette() or [picture.mode])[: len(expected)]
    except (OSError, ValueError, TypeError, SyntaxError) as error:
        found = [str(error)]
    if found != expected:
        row.error("palette", column=column, expected=str(expected), found=quote(found))


def _check_values(row: Row, values: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, right in expected.items():
        if (found := values[name].as_py()) != right:
            row.error(name, column=name, expected=str(right), found=found)


def _read_instances(
    row: Row, values: dict[str, Any], labels: "_Labels", shape: Plane, z: int | None
) -> bool:
    """Check both structs of a row and gather their runs; whether both could be read."""
    readable = True
    for kind, column in _COLUMNS.items():
        struct = values[column].as_py()
        read = read_struct(row, column, struct, shape)
        if read is None:
            readable = False
            continue
        ids, runs = read
        _check_values(row, values, {f"n_{column}": len(ids)})
        labels.add_instances(kind, z, ids, runs)
        if kind == "organelle":
            columns = zip(*(struct[name] for name in _PROPERTIES), strict=True)
            for label, found in zip(ids.tolist(), columns, strict=True):
                labels.add_properties(row, label, found)
    return readable


class _Labels:
    """The labels of rows on their way into the stores of a part, each id one owner there."""

    def __init__(self, part: Part, shape: Plane, opened: ExitStack) -> None:
        depth, height, width = shape
        self.shape = (depth, height, width)
        self.plane = (height, width)
        for kind in KINDS:
            part.labels[kind] = opened.enter_context(RunStore(self.shape))
        self._stores = part.labels.copy()
        self._owners: dict[str, dict[int, int]] = {kind: {} for kind in INSTANCES}
        self.properties: dict[int, tuple[tuple[Any, ...], Row]] = {}

    def add_classes(self, z: int, page: NDArray[Any]) -> None:
        starts, stops, values = value_runs(page.reshape(-1))
        held = values > 0
        runs = Runs(starts[held], stops[held], values[held].astype(np.int64) - 1)
        self._stores["semantic"].add_slice(z, runs)

    def add_instances(self, kind: str, z: int | None, ids: NDArray[np.int32], runs: Runs) -> None:
        owners = self._owners[kind]
        here = np.array([owners.setdefault(i, len(owners)) for i in ids.tolist()], np.int64)
        runs = Runs(runs.starts, runs.stops, here[runs.owners])
        if z is None:
            self._stores[kind].add(runs)
        else:
            self._stores[kind].add_slice(z, runs)

    def add_properties(self, row: Row, label: int, found: tuple[Any, ...]) -> None:
        """An organelle's columns, which are the same in each row; the first ones are kept."""
        known, first = self.properties.setdefault(label, (found, row))
        if found != known:
            _tell_properties(row, label, known, found, f"row {first.row} of {first.file}")

    def finish(self) -> None:
        """Say what the owners stand for."""
        for kind, owners in self._owners.items():
            self._stores[kind].ids = np.array(list(owners), np.int32)
        self._stores["semantic"].ids = np.arange(1, 256, dtype=np.int32)


def _tell_properties(
    row: Row, label: int, right: tuple[Any, ...], found: tuple[Any, ...], source: str
) -> None:
    for name, expected, value in zip(_PROPERTIES, right, found, strict=True):
        if value != expected:
            said = f"{expected}, as in {source}"
            row.error(name, column=f"organelles.{name}", expected=said, found=value, id=label)


def _check_properties(part: Part, labels: _Labels) -> None:
    """Class, purity and cell of each organelle, worked out again from all slices."""
    store = part.labels["organelle"]
    measured = measure_organelles(store, part.labels["cell"], part.labels["semantic"])
    columns = (measured.class_id, measured.purity, measured.cell)
    right = zip(*(column.tolist() for column in columns), strict=True)
    for label, expected in zip(store.ids.tolist(), right, strict=True):
        found, row = labels.properties[label]
        if found != expected:
            _tell_properties(row, label, expected, found, "the voxels of all slices")


class _SlicePages:
    """Images of `slices` by z: the row group that was read last stays in memory."""

    def __init__(self, files: list[Path]) -> None:
        self._groups: list[tuple[Path, int, int]] = []
        for path in files:
            metadata = pq.read_metadata(path)
            for group in range(metadata.num_row_groups):
                rows = metadata.row_group(group).num_rows
                self._groups += [(path, group, i) for i in range(rows)]
        self._kept: tuple[Path, int] | None = None
        self._column: Any = None

    def __call__(self, z: int) -> NDArray[np.uint16]:
        path, group, i = self._groups[z]
        if self._kept != (path, group):
            with pq.ParquetFile(path) as file:
                self._column = file.read_row_group(group, columns=["image"])["image"]
            self._kept = path, group
        page: NDArray[np.uint16] = decode_page(self._column[i]["bytes"].as_buffer())
        return page


# --- volumes and previews ---------------------------------------------------------------------


def read_volume(section: Section, built: Built, spec: VolumeSpec, opened: ExitStack) -> Part:
    """Check the row of `volumes` of a volume; the part has no shape if it cannot be read."""
    part = _new_part(built, "volumes", spec)
    read = 0
    for path in built.files("volumes", spec):
        for index, values in enumerate(_rows(section, path, f"Volume {spec.name}: volumes")):
            row = Row(section, str(path), index, {})
            _check_values(row, values, {"volume": spec.name, "voxel_size_nm": list(VOXEL_SIZE_NM)})
            _check_preview(row, values["preview"])
            read += 1
            if part.shape is None:
                _read_stacks(row, values, part, opened)
    section.figure("volumes", f"{read} rows checked", read)
    return part


def _read_stacks(row: Row, values: dict[str, Any], part: Part, opened: ExitStack) -> None:
    images, classes = values["image"].values or [], values["semantic"].values or []
    if not len(images) == len(classes) > 0:
        found = f"{len(images)} images and {len(classes)} masks"
        row.error("page", column="image", expected="a page of each kind a slice", found=found)
        return
    first = _read_page(row, "image", images[0], None)
    if first is None:
        return
    shape = (len(images), *first.shape)
    _check_values(row, values, {"shape": list(shape)})
    labels = _Labels(part, shape, opened)
    intact = _read_instances(row, values, labels, shape, None)
    for z in range(len(images)):
        at = Row(row.section, row.file, row.row, {"z": z})
        semantic = _read_page(at, "semantic", classes[z], labels.plane)
        intact &= _read_page(at, "image", images[z], labels.plane) is not None
        intact &= semantic is not None
        if semantic is not None:
            labels.add_classes(z, semantic)
    labels.finish()
    if intact:
        part.shape = labels.shape
        part.image = lambda z: decode_page(images[z]["bytes"].as_buffer())
        _check_properties(part, labels)
    else:
        part.labels.clear()


def check_previews(section: Section, built: Built, spec: VolumeSpec) -> None:
    """Check the rows of `preview` of a volume."""
    z = 0
    whole = _shards_are_all(built, "preview", spec)
    for path in built.files("preview", spec):
        for index, values in enumerate(_rows(section, path, f"Volume {spec.name}: preview")):
            row = Row(section, str(path), index, {"z": z})
            _check_values(row, values, {"volume": spec.name, **({"z": z} if whole else {})})
            _check_preview(row, values["preview"])
            z += 1
    section.figure("preview", f"{z} rows checked", z)


def _check_preview(row: Row, value: Any) -> None:
    try:
        data = value["bytes"].as_buffer() if value.is_valid and value["bytes"].is_valid else b""
        page = decode_page(data, "preview")
    except PlateletEMError as error:
        row.error("preview", column="preview", expected="a picture", found=error)
        return
    if page.dtype != np.uint8 or page.shape[2:] != (3,):
        found = f"{page.dtype} {page.shape}"
        row.error("preview", column="preview", expected="an RGB picture", found=found)
