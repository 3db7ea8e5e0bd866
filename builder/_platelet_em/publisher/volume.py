"""Volumes to rows: the publisher's files of one volume as the rows of each configuration."""

import threading
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from types import TracebackType
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.page import encode_page
from _platelet_em.arrays.runs import Runs, paint
from _platelet_em.errors import ImageFormatError
from _platelet_em.facts import VOXEL_SIZE_NM, VolumeSpec
from _platelet_em.publisher.archive import Source
from _platelet_em.publisher.label_files import read_labels
from _platelet_em.publisher.organelles import OrganelleProperties, measure_organelles
from _platelet_em.publisher.palettes import PALETTES
from _platelet_em.publisher.runstore import RunStore
from _platelet_em.publisher.tiff import TiffStack
from _platelet_em.rows.picture import draw_preview, to_png
from _platelet_em.rows.schema import arrow_schema

__all__ = ["Volume", "make_table", "open_images"]

Row = dict[str, Any]

_MAX_ROW_BYTES = 2**31 - 1
"""Arrow's binary columns, which `datasets` images are, hold no more than this in one row."""


def open_images(source: Source, spec: VolumeSpec) -> TiffStack:
    """The image stack of a volume: uint16 (z, y, x).

    Raises:
        ImageFormatError: for another dtype or number of axes.
    """
    name = source.place(spec.images)
    stack = TiffStack(source.open(spec.images), name)
    if len(stack.shape) != 3 or stack.dtype != np.uint16:
        stack.close()
        raise ImageFormatError(
            f"{name}: expected uint16 pages of the axes (y, x), got {stack.dtype} pages of shape "
            f"{stack.shape[1:]}"
        )
    return stack


def make_table(config: str, rows: list[Row]) -> pa.Table:
    """Rows as an Arrow table of the configuration's schema.

    The rows are emptied on the way: a volume's pages would lie in memory twice.
    """
    schema = arrow_schema(config)
    columns = [pa.array([row.pop(field.name) for row in rows], field.type) for field in schema]
    return pa.Table.from_arrays(columns, schema=schema)


class Volume:
    """One volume of the publisher, opened for making rows.

    What belongs to whole objects is worked out here once, so that rows are the same whichever
    process makes them. Runs wait in temporary files, images are read page by page.

    Args:
        source: Archive or folder.
        spec: Which volume.
        label_source: "json" or "tif".

    Attributes:
        shape: (z, y, x).
        cells, organelles: Runs and ids of the instances.
        properties: Columns of the organelles, aligned with `organelles.ids`.

    Raises:
        PlateletEMError: for files that are missing, damaged, or do not fit each other.
    """

    def __init__(self, source: Source, spec: VolumeSpec, label_source: str) -> None:
        self.spec = spec
        self._lock = threading.Lock()
        with ExitStack() as opened:
            self._images = opened.enter_context(open_images(source, spec))
            depth, height, width = self._images.shape
            self.shape = (depth, height, width)

            def read(kind: str) -> RunStore:
                file_name = spec.labels(kind, label_source)
                store = read_labels(
                    source.open(file_name),
                    source.place(file_name),
                    semantic=kind == "semantic",
                    shape=self.shape,
                )
                return opened.enter_context(store)

            self._semantic = read("semantic")
            self.cells = read("cell")
            self.organelles = read("organelle")
            self.properties: OrganelleProperties = measure_organelles(
                self.organelles, self.cells, self._semantic
            )
            # Closed at the latest when nobody has the volume any more.
            self._close = weakref.finalize(self, opened.pop_all().close)

    def __enter__(self) -> "Volume":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._close()

    def rows(self, config: str, start: int, stop: int) -> Iterator[Row]:
        """The rows from `start` to `stop` of a configuration, in z order."""
        make = {"slices": self.slice_row, "preview": self.preview_row}
        for index in range(start, stop):
            # Shuffled streams read shards in threads, and files have one position each.
            with self._lock:
                row = self.volume_row() if config == "volumes" else make[config](index)
            yield row

    def image(self, z: int) -> NDArray[np.uint16]:
        """Slice z of the image, uint16 (y, x)."""
        return self._images.page(z)

    def semantic(self, z: int) -> NDArray[np.uint8]:
        """Slice z of the class indices, uint8 (y, x)."""
        runs, plane = self._semantic.slice(z), self.shape[1:]
        classes = self._semantic.ids
        return paint(runs, classes, plane[0] * plane[1], np.uint8).reshape(plane)

    def labels(self, kind: str, z: int | None = None) -> LazyLabels:
        """Cells or organelles of slice z, or of the volume: ids ascending, with properties."""
        store = self.cells if kind == "cells" else self.organelles
        runs = store.volume() if z is None else store.slice(z)
        present = np.unique(runs.owners)
        present = present[np.argsort(store.ids[present], kind="stable")]
        place = np.zeros(len(store.ids), np.int64)
        place[present] = np.arange(len(present))
        further: dict[str, NDArray[Any]] = {}
        if kind == "organelles":
            p = self.properties
            further = {"class_id": p.class_id, "purity": p.purity, "cell": p.cell}
        return LazyLabels.from_runs(
            self.shape if z is None else self.shape[1:],
            store.ids[present],
            Runs(runs.starts, runs.stops, place[runs.owners]),
            {name: column[present] for name, column in further.items()},
        )

    def slice_row(self, z: int) -> Row:
        """A row of the configuration `slices`."""
        cells, organelles = self.labels("cells", z), self.labels("organelles", z)
        return {
            "image": self._image_page(z),
            "semantic": self._semantic_page(z),
            "volume": self.spec.name,
            "z": z,
            "n_cells": len(cells.ids),
            "n_organelles": len(organelles.ids),
            "cells": dict(cells.items()),
            "organelles": dict(organelles.items()),
        }

    def volume_row(self) -> Row:
        """The row of the configuration `volumes`."""
        depth, height, width = self.shape
        if 2 * depth * height * width > _MAX_ROW_BYTES:
            raise ImageFormatError(
                f"volume {self.spec.name}: its {depth} images of {height} x {width} pixels are "
                f"more than one row can hold ({_MAX_ROW_BYTES} bytes): use the config 'slices'"
            )
        cells, organelles = self.labels("cells"), self.labels("organelles")
        return {
            "image": [self._image_page(z) for z in range(depth)],
            "semantic": [self._semantic_page(z) for z in range(depth)],
            "preview": self._preview(depth // 2),
            "volume": self.spec.name,
            "shape": list(self.shape),
            "voxel_size_nm": list(VOXEL_SIZE_NM),
            "n_cells": len(cells.ids),
            "n_organelles": len(organelles.ids),
            "cells": dict(cells.items()),
            "organelles": dict(organelles.items()),
        }

    def preview_row(self, z: int) -> Row:
        """A row of the configuration `preview`."""
        return {"volume": self.spec.name, "z": z, "preview": self._preview(z)}

    def _image_page(self, z: int) -> Row:
        return {"bytes": encode_page(self.image(z)), "path": f"{self.spec.name}-image-{z:03}.tif"}

    def _semantic_page(self, z: int) -> Row:
        page = encode_page(self.semantic(z), PALETTES["A"])
        return {"bytes": page, "path": f"{self.spec.name}-semantic-{z:03}.tif"}

    def _preview(self, z: int) -> Row:
        picture = draw_preview(
            self.image(z),
            self.semantic(z),
            np.asarray(self.labels("cells", z)),
            np.asarray(self.labels("organelles", z)),
        )
        return {"bytes": to_png(picture), "path": f"{self.spec.name}-preview-{z:03}.png"}
