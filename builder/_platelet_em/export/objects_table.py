"""`objects.csv`: what is known of whole objects, for formats whose files hold masks only."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from _platelet_em.errors import ConversionError, quote
from _platelet_em.export.job import ExportJob, ExportVolume
from _platelet_em.export.numbers import as_numbers
from _platelet_em.spec import DatasetSpec

__all__ = ["OBJECTS", "ObjectsTable", "objects_table"]

OBJECTS = "objects.csv"
"""Name of the file."""

_COLUMNS = ("volume", "column", "id", "voxels")
"""Columns that every dataset has."""


class ObjectsTable:
    """A CSV with a line per object: volume, column, id, voxels, and the dataset's properties.

    What an object does not have is empty: a cell has no purity.

    Args:
        file: Open for text, without translation of line ends.
        spec: The dataset.

    Raises:
        ConversionError: for a property that has the name of another column.
    """

    def __init__(self, file: Any, spec: DatasetSpec) -> None:
        self._spec = spec
        parents = [i.parent for i in spec.instances if i.parent is not None]
        classes = ["class_name", "class_id", "purity"] if spec.classes else []
        self._properties = [*classes[1:], *dict.fromkeys(parents)]
        if taken := [name for name in parents if name in _COLUMNS]:
            raise ConversionError(
                f"{OBJECTS}: expected a parent of another name than its columns, got "
                f"{quote(taken[0])}: rename it in the description"
            )
        fields = [*_COLUMNS, *classes[:1], *self._properties]
        self._writer = csv.DictWriter(file, fields, restval="")
        self._writer.writeheader()

    def add(self, volume: ExportVolume) -> None:
        """Write the objects of a volume, kind by kind, by ascending id."""
        for column in volume.kinds:
            objects = volume.objects(column)
            lists = {name: as_numbers(values) for name, values in objects.properties.items()}
            for i, (id_, voxels) in enumerate(zip(objects.ids, objects.voxels, strict=True)):
                line = {"volume": volume.name, "column": column, "id": id_, "voxels": voxels}
                line |= {name: lists[name][i] for name in self._properties if name in lists}
                if self._spec.classes and "class_id" in lists:
                    line["class_name"] = self._spec.class_name(lists["class_id"][i])
                self._writer.writerow(line)


@contextmanager
def objects_table(job: ExportJob, folder: Path) -> Iterator[ObjectsTable]:
    """The table of an export; if only volumes without instances follow, it has no lines."""
    with (folder / OBJECTS).open("w", newline="", encoding="utf-8") as file:
        yield ObjectsTable(file, job.spec)
