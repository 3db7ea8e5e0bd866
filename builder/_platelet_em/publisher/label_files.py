"""Label files of every form, read into lazy labels; one module per form, named by its suffix."""

from collections.abc import Callable
from pathlib import PurePath
from typing import IO

import numpy as np

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.errors import LabelFormatError
from _platelet_em.publisher import label_json, label_tif
from _platelet_em.publisher.label_file import REMEDY, LabelFile, describe_voxels
from _platelet_em.spec import DatasetSpec

__all__ = ["check_classes", "read_labels"]

_READERS: dict[str, Callable[[IO[bytes], str, DatasetSpec | None], LabelFile]] = {
    ".json": label_json.read,
    ".tif": label_tif.read,
    ".tiff": label_tif.read,
}
"""Suffix of a label file -> what reads it; a new form is one module and one line here."""


def read_labels(
    file: IO[bytes],
    name: str,
    *,
    classes_of: DatasetSpec | None = None,
    shape: tuple[int, int, int] | None = None,
) -> LabelFile:
    """Read a label file of the publisher, and close it.

    Args:
        file: Open for reading; it can seek.
        name: What to call it in a message; its suffix tells the form.
        classes_of: For a file of semantic classes, the dataset whose classes and palettes it
            uses: its ids are class indices from 1 on. None for a file of instances.
        shape: (z, y, x) of the image that the labels belong to; None accepts any.

    Returns:
        The labels, (z, y, x), ids in the order of the file, and how they are stored.

    Raises:
        LabelFormatError: for labels of another shape, unknown colors or ids, or a damaged file.
    """
    with file:
        read = _READERS.get(PurePath(name).suffix.lower())
        if read is None:
            raise LabelFormatError(
                f"{name}: expected a label file with the suffix {' or '.join(_READERS)}: name it "
                "after its form"
            )
        found = read(file, name, classes_of)
    if shape is not None and found.labels.shape != shape:
        raise LabelFormatError(
            f"{name}: expected the image's shape {shape}, got shape {found.labels.shape}: use the "
            "image and the labels of one volume"
        )
    if classes_of is not None:
        check_classes(found.labels, name, classes_of)
    return found


def check_classes(
    labels: LazyLabels, name: str, classes_of: DatasetSpec, remedy: str = REMEDY
) -> None:
    """Refuse ids that are no index of a class.

    Raises:
        LabelFormatError: names the first such id, and where it is.
    """
    last = len(classes_of.classes) - 1
    if (wrong := np.flatnonzero(labels.ids > last)).size:
        owner = int(wrong[0])
        voxels = describe_voxels(labels.runs, owner, labels.shape)
        raise LabelFormatError(
            f"{name}: expected classes from 0 to {last}, got label {labels.ids[owner]} {voxels}: "
            f"{remedy}"
        )
