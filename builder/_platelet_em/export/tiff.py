"""The format `tiff`: 3D TIFs of images and labels, with the voxel size as ImageJ reads it.

A file has the axes (z, y, x). ImageJ takes the size of a pixel from the tags XResolution and
YResolution, and `spacing` and `unit` from its own lines in ImageDescription; it knows uint8,
uint16 and float32, and files up to 4 GB. Labels are deflated, which ImageJ and tifffile read
without other packages; images hardly shrink, and stay as they are, so that they can be mapped.
"""

from pathlib import Path
from typing import Any

import numpy as np

from _platelet_em.errors import LabelRangeError, TooLargeError, printable
from _platelet_em.export.file_names import distinct_names
from _platelet_em.export.job import IMAGE, ExportJob, ExportVolume
from _platelet_em.export.objects_table import objects_table
from _platelet_em.export.tiff_file import MAX_CLASSIC_BYTES, size_in_bytes, write_tif

__all__ = ["write"]

_MAX_IMAGEJ_ID = 65_535


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
    names = job.rename(distinct_names(volume.name for volume in job.volumes))
    with objects_table(job, folder) as table:
        for volume in job.volumes:
            with job.open(volume) as opened:
                for column in (IMAGE, *opened.columns):
                    path = folder / f"{names[opened.name]}-{column}.tif"
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
    dtype = volume.dtype_of(column)
    if imagej and column in volume.kinds:
        _check_ids(volume, column)
        dtype = np.dtype(np.uint16)
    size = size_in_bytes(volume.shape, dtype)
    if imagej and size > MAX_CLASSIC_BYTES:
        raise TooLargeError(
            f"volume {printable(volume.name)}, {column}: expected at most {MAX_CLASSIC_BYTES} "
            f"bytes, as ImageJ can read, got {size}: write BigTIFFs with --no-imagej (in Python, "
            "imagej=False)"
        )
    pages = (page for _, slab in volume.slabs(column, 1, dtype) for page in slab)
    write_tif(
        path,
        pages,
        volume.shape,
        dtype,
        deflate=column != IMAGE,
        imagej=imagej,
        bigtiff=not imagej,
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


def _describe_voxels(
    voxel_size_nm: tuple[float, float, float] | None, *, imagej: bool
) -> dict[str, Any]:
    """The arguments of `write_tif` with the voxel size, in micrometers, as in ImageJ."""
    if voxel_size_nm is None:
        return {}
    z, y, x = (extent / 1000 for extent in voxel_size_nm)
    # ImageJ's unit is in its own lines; elsewhere a resolution is per centimeter.
    unit, per_unit = ("NONE", 1) if imagej else ("CENTIMETER", 10_000)
    return {
        "metadata": {"spacing": z, "unit": "um"},
        "resolution": (per_unit / x, per_unit / y),
        "resolutionunit": unit,
    }
