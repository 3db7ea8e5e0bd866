"""`ExportJob`: what is exported, read slab by slab."""

import contextlib
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.label_columns import BORDER
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.volume_view import VolumeView
from _platelet_em.errors import (
    ImageFormatError,
    LabelFormatError,
    LabelRangeError,
    printable,
    quote,
)
from _platelet_em.hub.read import SplitReader
from _platelet_em.hub.source import DatasetSource
from _platelet_em.progress import progress_bar
from _platelet_em.spec import SEMANTIC, DatasetSpec, VolumeSpec

__all__ = ["IMAGE", "ExportJob", "ExportVolume", "Objects"]

IMAGE = "image"

_CLASS_ID = "class_id"


@dataclass(frozen=True, slots=True)
class Objects:
    """The objects of a volume of one kind, by ascending id.

    Attributes:
        ids: int32 (n,).
        voxels: Number of voxels of each, int64 (n,).
        properties: Property -> its values, such as "class_id", each (n,).
    """

    ids: NDArray[np.int32]
    voxels: NDArray[np.int64]
    properties: dict[str, NDArray[np.generic]]


class ExportVolume:
    """A volume that is exported, opened for reading.

    Args:
        spec: What is known of it.
        view: The volume.
        columns: Label columns that are asked for.

    Attributes:
        name: Its name, which may have any character that a file name may have.
        split: Its split.
        shape: (z, y, x).
        columns: Label columns that it has and that are exported, "semantic" first.
        image_dtype: uint8 or uint16.
    """

    def __init__(self, spec: VolumeSpec, view: VolumeView, columns: tuple[str, ...]) -> None:
        self._view = view
        self._objects: dict[str, Objects] = {}
        self._property_names: dict[str, set[str]] = {}
        self.name, self.split, self.shape = spec.name, spec.split, view.shape
        has = {SEMANTIC} if view.has_semantic else set()
        self.columns = tuple(c for c in columns if c in has | {*view.kinds})
        self.image_dtype = view.image(0).dtype
        if self.image_dtype not in (np.uint8, np.uint16):
            raise ImageFormatError(
                f"volume {printable(self.name)}: expected images of uint8 or uint16, got "
                f"{self.image_dtype}: convert them"
            )

    @property
    def kinds(self) -> tuple[str, ...]:
        """The columns with instances among `columns`."""
        return tuple(column for column in self.columns if column != SEMANTIC)

    def slabs(
        self, column: str, depth: int, dtype: np.dtype[np.unsignedinteger] | None = None
    ) -> Iterator[tuple[int, NDArray[np.unsignedinteger]]]:
        """The image, the class indices, or the labels of a kind, some slices at a time.

        Args:
            column: "image", or one of `columns`.
            depth: Slices of a slab; the last one may have fewer.
            dtype: What labels are given as; None is `dtype_of`.

        Yields:
            z of its first slice, and a slab (z, y, x): uint8 class indices, labels of `dtype`, the
            image in its own dtype.

        Raises:
            ImageFormatError: for a slice of another kind of numbers than the first one.
            LabelRangeError: for an id that does not fit.
        """
        count, height, width = self.shape
        into = self.dtype_of(column) if dtype is None else dtype
        stage = f"Writing {printable(column)} of volume {printable(self.name)}"
        with progress_bar(stage=stage, unit="slice", total=count, leave=False) as bar:
            for z in range(0, count, depth):
                box = slice(z, min(z + depth, count)), slice(0, height), slice(0, width)
                slab = self._view.window(column, box)
                if slab.dtype != into:
                    self._check_fits(column, z, slab, into)
                    slab = slab.astype(into)
                yield z, slab
                bar.update(len(slab))

    def dtype_of(self, column: str) -> np.dtype[np.unsignedinteger]:
        """The dtype of a column: the image's own, uint8 class indices, ids of any size as uint32.

        Args:
            column: "image", or one of `columns`.
        """
        if column == IMAGE:
            return self.image_dtype
        return np.dtype(np.uint8 if column == SEMANTIC else np.uint32)

    def _check_fits(
        self, column: str, z: int, slab: NDArray[Any], dtype: np.dtype[np.unsignedinteger]
    ) -> None:
        """Refuse values that are others in this dtype; labels of instances are never negative."""
        where = f"volume {printable(self.name)}, {column}"
        if slab.dtype.kind not in ("bu" if column in (IMAGE, SEMANTIC) else "bui"):
            raise ImageFormatError(
                f"{where}, from slice {z} on: expected {dtype}, got {slab.dtype}: convert it, and "
                "build the repository again"
            )
        if (value := int(slab.max(initial=0))) > np.iinfo(dtype).max:
            raise LabelRangeError(
                f"{where}: expected values up to {np.iinfo(dtype).max}, got {value}, which "
                f"{dtype} cannot hold"
            )

    def labels(self, column: str, z: int) -> LazyLabels:
        """The instances of slice z, (y, x), not decoded.

        Raises:
            LabelFormatError: for properties that no format can hold.
        """
        labels = self._view.labels(column, z)
        if len(labels.ids):
            self._check_properties(column, z, labels.properties)
        return labels

    def _check_properties(
        self, column: str, z: int, properties: Mapping[str, NDArray[Any]]
    ) -> None:
        """Refuse numbers that JSON does not know, and slices with different properties."""
        where = f"volume {printable(self.name)}, {column}, slice {z}"
        remedy = "the labels are damaged, see platelet-em verify"
        names = self._property_names.setdefault(column, {*properties})
        if names != {*properties}:
            raise LabelFormatError(
                f"{where}: expected the properties {quote(sorted(names))}, as in earlier slices, "
                f"got {quote(sorted(properties))}: {remedy}"
            )
        for name, values in properties.items():
            is_float = np.issubdtype(values.dtype, np.floating)
            if is_float and not (is_finite := np.isfinite(values)).all():
                raise LabelFormatError(
                    f"{where}: property {quote(name)}: expected finite numbers, got "
                    f"{values[~is_finite][0]}: {remedy}"
                )
            if name == _CLASS_ID and (values < 0).any():
                raise LabelFormatError(
                    f"{where}: expected classes from 0, got {values.min()}: {remedy}"
                )

    def objects(self, column: str) -> Objects:
        """The objects of a kind, collected slice by slice, without decoding their masks."""
        if column not in self._objects:
            self._objects[column] = self._collect(column)
        return self._objects[column]

    def _collect(self, column: str) -> Objects:
        ids, areas, properties = [], [], defaultdict(list)
        for z in range(self.shape[0]):
            labels = self.labels(column, z)
            ids.append(labels.ids)
            areas.append(labels.areas)
            for name, values in labels.properties.items():
                if name != BORDER:  # which is of the slice
                    properties[name].append(values)
        found, first, index = np.unique(
            np.concatenate(ids), return_index=True, return_inverse=True
        )
        voxels = np.zeros(len(found), np.int64)
        np.add.at(voxels, index.ravel(), np.concatenate(areas))
        of_objects = {name: np.concatenate(parts)[first] for name, parts in properties.items()}
        return Objects(found, voxels, of_objects)


@dataclass(frozen=True, slots=True)
class ExportJob:
    """What is exported.

    Attributes:
        source: Where the volumes are read from.
        volumes: The volumes, in the order of the dataset.
        columns: Label columns that are asked for, in the order of the dataset, "semantic" first;
            volumes may lack some.
        out_name: Name of the folder that is written, which has another one until it is complete.
        remarks: What the user should know, as sentences; writers add to it.
        renamed: Name in files of each volume whose own name the format does not take, see
            `rename`.
    """

    source: DatasetSource
    volumes: tuple[VolumeSpec, ...]
    columns: tuple[str, ...]
    out_name: str = ""
    remarks: list[str] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)
    _readers: dict[Any, SplitReader] = field(default_factory=dict, repr=False)

    @property
    def spec(self) -> DatasetSpec:
        """The dataset."""
        return self.source.spec

    def rename(self, names: dict[str, str]) -> dict[str, str]:
        """Note, and remark, which volumes have other names in files; gives the names back."""
        renamed = {name: other for name, other in names.items() if name != other}
        if renamed:
            self.remarks.append(
                f"other names in files: {len(renamed)} volumes, see `renamed` in export.json"
            )
        self.renamed.update(renamed)
        return names

    @contextlib.contextmanager
    def open(self, volume: VolumeSpec) -> Iterator[ExportVolume]:
        """Open a volume; it is remarked which of the labels it lacks.

        Raises:
            PlateletEMError: for files that are missing or damaged.
        """
        with self.source.open(volume, readers=self._readers) as view:
            opened = ExportVolume(volume, view, self.columns)
            if missing := [column for column in self.columns if column not in opened.columns]:
                self.remarks.append(
                    f"volume {volume.name}: has no labels of {' and '.join(missing)}: left out"
                )
            yield opened
