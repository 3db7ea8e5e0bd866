"""The formats of exports, and those that are refused since they would lose voxels.

Nothing large is imported here: the help lists the formats.
"""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from _platelet_em.errors import ArgumentError, quote

if TYPE_CHECKING:
    from _platelet_em.export.job import ExportJob

__all__ = ["FORMATS", "LOSSY", "ExportFormat", "FormatOption", "find_format"]


class _Writer(Protocol):
    """What a format's module has."""

    def write(self, job: "ExportJob", folder: Path, **options: Any) -> None:
        """Write all volumes of a job into an empty folder."""


@dataclass(frozen=True, slots=True)
class FormatOption:
    """An option that only one format has.

    Attributes:
        name: Its name in Python.
        default: What it is if the user does not say.
        values: What it may be.
    """

    name: str
    default: object
    values: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class ExportFormat:
    """A format.

    Attributes:
        name: What it is called on the command line.
        purpose: What is written, and who reads it, as a phrase.
        module: The module of this folder that writes it.
        options: Options that it has and others do not.
    """

    name: str
    purpose: str
    module: str
    options: tuple[FormatOption, ...] = ()

    def write(self, job: "ExportJob", folder: Path, options: dict[str, Any]) -> None:
        """Write all volumes of a job into an empty folder.

        Raises:
            MissingExtraError: for an optional package that is not installed.
            PlateletEMError: for a dataset that the format cannot hold without loss.
        """
        module: _Writer = importlib.import_module(f"{__package__}.{self.module}")
        module.write(job, folder, **options)


FORMATS = (
    ExportFormat(
        "tiff",
        "one 3D file per volume for the image and for each kind of labels, for Fiji, Cellpose, "
        "StarDist",
        "tiff",
        (FormatOption("imagej", True, (True, False)),),
    ),
    ExportFormat(
        "coco",
        "an annotation with an exact mask per object and slice, for pycocotools, torchvision",
        "coco",
        (FormatOption("counts", "compressed", ("compressed", "uncompressed")),),
    ),
    ExportFormat(
        "nnunet",
        "a raw dataset of nnU-Net v2: classes as labels, instances in folders of their own",
        "nnunet",
    ),
    ExportFormat(
        "ome-zarr",
        "one OME-Zarr per volume, in chunks and levels, labels with colors and properties, for "
        "napari and other viewers",
        "ome_zarr",
        (FormatOption("ome", "0.5", ("0.5", "0.4")),),
    ),
    ExportFormat(
        "hdf5",
        "one HDF5 file per volume, with raw and labels/<column>, for torch-em and micro-SAM",
        "hdf5",
    ),
)
"""All formats; a new one is one module and one entry here."""

LOSSY = {
    "yolo": "an object is one polygon there: holes, separate pieces and thin parts would be lost; "
    "export to coco, whose masks are exact",
    "png": "one picture per slice holds 16 bits, and no ids above 65535; export to tiff",
    "panoptic": "one picture per slice holds one label per pixel, but an organelle is inside a "
    "cell; export to coco, or to ome-zarr",
    "voc": "one picture per slice holds one label per pixel of 255 at most; export to coco",
}
"""Formats that are asked for, and why they are not offered."""


def find_format(name: str) -> ExportFormat:
    """The format of that name.

    Raises:
        ArgumentError: for any other, with the reason for one that would lose voxels.
    """
    if isinstance(name, str):  # an array would be compared item by item
        for each in FORMATS:
            if each.name == name:
                return each
        if reason := LOSSY.get(name.lower()):
            raise ArgumentError(f"to: {name} is not offered: {reason}")
    names = ", ".join(each.name for each in FORMATS)
    raise ArgumentError(f"to: expected one of {names}, got {quote(name)}")
