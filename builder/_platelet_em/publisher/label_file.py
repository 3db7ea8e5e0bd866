"""`LabelFile`: the labels of one file, and how the file stores them."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.runs import Runs
from _platelet_em.errors import LabelFormatError
from _platelet_em.limits import MAX_PAGE, MAX_PAGES, MAX_RUNS, MAX_VOXELS

__all__ = [
    "REMEDY",
    "LabelFile",
    "check_label_count",
    "check_run_count",
    "check_volume_shape",
    "describe_voxels",
]

REMEDY = "the file is damaged, or not a label file: fetch it again"
"""End of the messages about files that break their form."""


@dataclass(frozen=True, slots=True)
class LabelFile:
    """What a label file holds.

    Attributes:
        labels: The instances, or the classes, of axes (z, y, x); ids in the order of the file,
            those without voxels included. Where labels overlapped, the later one has won.
        overlapping: The runs as the file has them, if any of them overlap; else None. Their
            owners are indices into `labels.ids`.
        form: How the file stores them, for reports, such as "TIF, RGBA uint8, palette B".
        colors: The 8-bit color of each instance, int64 (n, 3); None if the file stores no colors.
    """

    labels: LazyLabels
    overlapping: Runs | None
    form: str
    colors: NDArray[np.int64] | None = None


def check_volume_shape(shape: tuple[int, ...], name: str) -> tuple[int, int, int]:
    """The shape of a volume that is not too large to be read.

    Args:
        shape: As the file has it.
        name: What to call the file in a message.

    Raises:
        LabelFormatError: for other axes than (z, y, x), or too many slices, pixels or voxels.
    """
    if len(shape) != 3:
        raise LabelFormatError(f"{name}: expected a volume (z, y, x), got shape {shape}: {REMEDY}")
    depth, height, width = shape
    plane = height * width
    if depth > MAX_PAGES or plane > MAX_PAGE or depth * plane > MAX_VOXELS:
        raise LabelFormatError(
            f"{name}: expected at most {MAX_PAGES} slices, {MAX_PAGE} pixels per slice and "
            f"{MAX_VOXELS} voxels, got shape {shape}: the file is damaged, or too large"
        )
    return depth, height, width


def describe_voxels(runs: Runs, owner: int, shape: tuple[int, ...]) -> str:
    """How many voxels an owner of runs has, and which one is the first, for messages."""
    own = runs[runs.owners == owner]
    if not len(own):
        return "without voxels"
    z, y, x = np.unravel_index(own.starts[0], shape)
    return f"at {own.lengths.sum()} voxels, first at z={z}, y={y}, x={x}"


def check_run_count(count: int, name: str, most: int | None = None) -> None:
    """Refuse more runs than a file of its size may have.

    Raises:
        LabelFormatError: for more than `most`, which is `limits.MAX_RUNS` by default.
    """
    # Of pictures, a large file may have more runs than a small one.
    remedy = (
        "" if most is None else "; labels that compress so well need a file without compression"
    )
    most = MAX_RUNS if most is None else most
    if count > most:
        raise LabelFormatError(
            f"{name}: expected at most {most} runs, got more: the file is damaged, or holds "
            f"noise instead of labels{remedy}"
        )


def check_label_count(count: int, most: int, name: str) -> None:
    """Refuse more labels than a file of its size may have.

    Raises:
        LabelFormatError: for more than `most`.
    """
    if count > most:
        raise LabelFormatError(f"{name}: expected at most {most} labels, got more: {REMEDY}")
