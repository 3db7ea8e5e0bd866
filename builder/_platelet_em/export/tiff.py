"""The format `tiff`: 3D TIFs of images and labels, with the voxel size as ImageJ reads it.

A file has the axes (z, y, x). ImageJ takes the size of a pixel from the tags XResolution and
YResolution, and `spacing` and `unit` from its own lines in ImageDescription; it knows uint8,
uint16 and float32, and files up to 4 GB. Labels are deflated, which ImageJ and tifffile read
without further packages; images hardly shrink, and stay as they are, so that they can be mapped.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray

from _platelet_em.errors import LabelRangeError, TooLargeError, printable
from _platelet_em.export.job import IMAGE, ExportJob, ExportVolume
from _platelet_em.export.objects_table import objects_table
from _platelet_em.spec import SEMANTIC

__all__ = ["write"]

_MAX_IMAGEJ_ID = 65_535
_MAX_IMAGEJ_BYTES = 2**32 - 2**25
"""What tifffile accepts for an ImageJ file: offsets have 32 bits."""

_SLAB = 1
"""Slices that are read at once."""


def write(job: ExportJob, folder: Path, *, imagej: bool) -> None:
    """Write `<volume>-<column>.tif` for the image and each label column, and `objects.csv`.

    Args:
        job: What is exported.
        folder: An empty folder.
        imagej: Whether files are ImageJ's: ids up to 65535 as uint16. Otherwise they are BigTIFFs
            with ids as uint32.

    Raises:
        LabelRangeError: for an id that ImageJ cannot read.
        TooLargeError: for a file that ImageJ cannot read.
    """
    with objects_table(job, folder) as table:
        for volume in job.volumes:
            with job.open(volume) as opened:
                for column in (IMAGE, *opened.columns):
                    path = folder / f"{opened.name}-{column}.tif"
                    _write_file(path, opened, column, job.spec.voxel_size_nm, imagej=imagej)
                table.add(opened)


def _write_file(
    path: Path,
    volume: ExportVolume,
    column: str,
    voxel_size_nm: tuple[float, float, float] | None,
    *,
    imagej: bool,
) -> None:
    dtype: np.dtype[Any] = volume.image_dtype
    if column != IMAGE:
        dtype = np.dtype(volume.label_dtype(column))
        if imagej and column != SEMANTIC:
            _check_ids(volume, column)
            dtype = np.dtype(np.uint16)
    size = int(np.prod(volume.shape, dtype=np.int64)) * dtype.itemsize
    if imagej and size > _MAX_IMAGEJ_BYTES:
        raise TooLargeError(
            f"volume {printable(volume.name)}, {column}: expected at most {_MAX_IMAGEJ_BYTES} "
            f"bytes, as ImageJ can read, got {size}: write BigTIFFs with --no-imagej (in Python, "
            "imagej=False)"
        )
    with tifffile.TiffWriter(path, imagej=imagej, bigtiff=not imagej) as file:
        file.write(
            _pages(volume, column, dtype),
            shape=volume.shape,
            dtype=dtype,
            photometric="minisblack",
            compression=None if column == IMAGE else "zlib",
            **_describe_voxels(voxel_size_nm, imagej=imagej),
        )


def _check_ids(volume: ExportVolume, column: str) -> None:
    ids = volume.objects(column).ids
    if len(ids) and ids[-1] > _MAX_IMAGEJ_ID:
        raise LabelRangeError(
            f"volume {printable(volume.name)}, {column}: expected ids up to {_MAX_IMAGEJ_ID}, "
            f"which ImageJ reads exactly, got {ids[-1]}: write uint32 with --no-imagej (in "
            "Python, imagej=False)"
        )


def _pages(
    volume: ExportVolume, column: str, dtype: np.dtype[Any]
) -> Iterator[NDArray[np.unsignedinteger]]:
    for _, slab in volume.slabs(column, _SLAB, dtype.type):
        yield from slab


def _describe_voxels(
    voxel_size_nm: tuple[float, float, float] | None, *, imagej: bool
) -> dict[str, Any]:
    """The arguments of `TiffWriter.write` with axes and voxel size; micrometers, as in ImageJ."""
    metadata: dict[str, Any] = {"axes": "ZYX"}
    if voxel_size_nm is None:
        return {"metadata": metadata}
    z, y, x = (extent / 1000 for extent in voxel_size_nm)
    metadata |= {"spacing": z, "unit": "um"}
    # ImageJ's unit is in its own lines; elsewhere a resolution is per centimeter.
    unit, per_unit = ("NONE", 1) if imagej else ("CENTIMETER", 10_000)
    return {
        "metadata": metadata,
        "resolution": (per_unit / x, per_unit / y),
        "resolutionunit": unit,
    }
