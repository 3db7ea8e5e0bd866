"""Labels of one column from a user's own files: pictures, a JSON label file, or a mask."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.kernels import value_runs
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.errors import LabelFormatError, printable
from _platelet_em.limits import MAX_ID, MAX_LABELS, TIF_BYTES_PER_LABEL
from _platelet_em.publisher import label_json
from _platelet_em.publisher.label_files import check_classes
from _platelet_em.publisher.page_values import PageRuns, collect_values
from _platelet_em.sources.components import read_components
from _platelet_em.sources.file_stack import FileStack
from _platelet_em.sources.gray import describe_pixel, read_stored
from _platelet_em.sources.own_classes import classes_of_codes, read_classes
from _platelet_em.sources.own_file import open_own_file
from _platelet_em.spec import SEMANTIC, Components, DatasetSpec

__all__ = ["read_own_labels"]

_JSON = ".json"


def read_own_labels(
    paths: Sequence[Path],
    name: str,
    column: str,
    spec: DatasetSpec,
    *,
    image: tuple[str, tuple[int, int, int]] | None,
    components: Components | None = None,
) -> LazyLabels:
    """Read the labels of a column.

    Args:
        paths: One JSON label file, whose shape may be (y, x) for a volume of one slice; or
            pictures as for `FileStack`: semantic classes as `own_classes.read_classes` says, ids
            of instances as integers, kept as they are, or a mask.
        name: What to call the files together in a message.
        column: "semantic", or a kind of instances.
        spec: The dataset.
        image: What to call the files of the image that the labels belong to, and its shape
            (z, y, x); None accepts any shape.
        components: The rule if they are a mask whose pieces are instances.

    Returns:
        The labels, (z, y, x); ids of the classes are their indices.

    Raises:
        LabelFormatError: for labels of another shape, unknown values, or a damaged file.
        ImageFormatError: for pictures that cannot be read.
        ArchiveError: for files that are missing, or cannot be read.
    """
    if any(path.suffix.lower() == _JSON for path in paths):
        labels = _read_json(paths, name, column, spec, components)
        _check_shape(labels.shape, name, image)
        return labels
    with FileStack(paths, name) as stack:
        _check_shape(stack.volume_shape, name, image)
        if column == SEMANTIC:
            return read_classes(stack, spec)
        most = MAX_LABELS + sum(path.stat().st_size for path in paths) // TIF_BYTES_PER_LABEL
        if components is not None:
            return read_components(stack, components, most)
        return _read_ids(stack, most)


def _check_shape(
    shape: tuple[int, ...], name: str, image: tuple[str, tuple[int, int, int]] | None
) -> None:
    if image is None:
        return
    images, expected = image
    if shape != expected:
        raise LabelFormatError(
            f"{name}: expected the shape {expected} of the image {images}, got shape {shape}: use "
            "the image and the labels of one volume"
        )


def _read_json(
    paths: Sequence[Path],
    name: str,
    column: str,
    spec: DatasetSpec,
    components: Components | None,
) -> LazyLabels:
    if len(paths) > 1:
        raise LabelFormatError(
            f"{name}: expected one JSON label file, or pictures, got {len(paths)} files with "
            f"{printable(paths[0].name)}: name one file with the labels of the whole volume"
        )
    if components is not None:
        raise LabelFormatError(
            f"{name}: expected a mask in pictures, got a JSON label file, which has instances "
            "already: leave out components"
        )
    with open_own_file(paths[0], "a JSON label file") as file:
        labels = label_json.read(file, name, None, may_be_plane=True).labels
    if column != SEMANTIC:
        return labels
    if spec.semantic_codes:
        return classes_of_codes(labels, name, spec)
    check_classes(labels, name, spec, "add the classes, or semantic_codes, to the description")
    return labels


def _read_ids(stack: FileStack, most: int) -> LazyLabels:
    """Instances whose ids are the stored values."""

    def id_runs(z: int) -> PageRuns:
        page = read_stored(stack, z)
        if stack.has_colors:
            _check_palette(stack, z, page)
        starts, stops, values = value_runs(page.ravel())
        if (wrong := np.flatnonzero((values < 0) | (values > MAX_ID))).size:
            first = int(wrong[0])
            y, x = divmod(int(starts[first]), stack.shape[2])
            raise LabelFormatError(
                f"{stack.describe_file(z)}: z={z}, y={y}, x={x}: expected ids from 0, the "
                f"background, to {MAX_ID}, got {values[first]}: number the instances again"
            )
        return starts, stops, values

    values = collect_values(stack.volume_shape, stack.name, id_runs, most)
    return LazyLabels.from_runs(values.shape, values.codes.astype(np.int32), values.runs)


def _check_palette(stack: FileStack, z: int, page: NDArray[np.uint8]) -> None:
    """Refuse a page whose ids may be the indices or the gray values that they stand for."""
    colors = stack.color_map(z)
    used = np.unique(page)
    grays = colors[used]
    is_other = grays[:, 0] != used
    if (grays == grays[:, :1]).all() and is_other.any():
        index = int(used[is_other][0])
        place, _, _ = describe_pixel(stack, z, page == index)
        raise LabelFormatError(
            f"{place}: expected ids, got index {index} of a palette, where it is the gray value "
            f"{colors[index, 0]}, and which of them is the id is not known: write ids without a "
            "palette"
        )
