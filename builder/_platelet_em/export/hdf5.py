"""The format `hdf5`: one file per volume, for torch-em, micro-SAM and other training code.

A file has the datasets `raw` and `labels/<column>`, all (z, y, x): the layout of torch-em, which
takes a path and the name of a dataset. Labels are uint8 (classes) and uint32 (instances). They are
chunked and compressed by gzip with shuffled bytes, filters that every build of HDF5 has.

The voxel size is an attribute of each dataset, under the two names that readers know, both along
(z, y, x): `resolution` in nm, of the CREMI challenge (https://github.com/cremi/cremi_python),
which gunpowder reads, and `element_size_um` in um, of Fiji's HDF5 plugin
(https://github.com/fiji/HDF5_Vibez). That plugin knows uint8 and uint16, and not uint32.
"""

import io
from pathlib import Path
from typing import Any

import numpy as np

from _platelet_em.export.extras import import_extra
from _platelet_em.export.file_names import distinct_names
from _platelet_em.export.job import IMAGE, ExportJob, ExportVolume
from _platelet_em.export.objects_table import objects_table
from _platelet_em.export.provenance import describe_origin
from _platelet_em.export.slabs import chunk_depth, read_slabs
from _platelet_em.spec import SEMANTIC, DatasetSpec

__all__ = ["write"]

_CHUNK_SIDE = 128
"""Voxels of a chunk along y and x, where the volume has as many. With eight slices of uint32 it
has 512 kB, and fits into the cache of HDF5, 1 MB: it is decompressed once for a whole window."""

_GZIP_LEVEL = 4


def write(job: ExportJob, folder: Path) -> None:
    """Write `<volume>.h5`, and `objects.csv`.

    Args:
        job: What is exported.
        folder: An empty folder.

    Raises:
        MissingExtraError: if h5py is not installed.
    """
    h5py = import_extra("h5py", extra="hdf5", major=3)
    if job.spec.voxel_size_nm is None:
        job.remarks.append("the voxel size is not known: it is left out")
    names = job.rename(distinct_names(volume.name for volume in job.volumes))
    with objects_table(job, folder) as table:
        for volume in job.volumes:
            with job.open(volume) as opened:
                with _Output(folder / f"{names[opened.name]}.h5") as output:
                    with h5py.File(output, "w") as file:
                        _write_volume(file, opened, job.spec, output)
                    output.check()
                table.add(opened)


class _Output(io.FileIO):
    """A file that hides errors from HDF5, which writes to it: `check` raises them.

    What HDF5 cannot write, as on a full disk, it keeps, and tries again when its file is closed
    and when the process ends, which crashes it (HDF5 1.14 and 2.0).
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "w+")
        self._error: BaseException | None = None

    def write(self, data: Any, /) -> int:
        """Write all of the data; after an error, nothing."""
        left = memoryview(data).cast("B")
        size = len(left)
        try:
            while self._error is None and len(left):
                left = left[super().write(left) :]
        except BaseException as error:  # noqa: BLE001  # also Ctrl-C, in the midst of HDF5
            self._error = error
        return size

    def truncate(self, size: int | None = None, /) -> int:
        """Set the size, which HDF5 does when it closes the file; after an error, do nothing."""
        try:
            if self._error is None:
                return super().truncate(size)
        except BaseException as error:  # noqa: BLE001
            self._error = error
        return size or 0

    def check(self) -> None:
        """Raise the error of an earlier call."""
        if self._error is not None:
            raise self._error


def _write_volume(file: Any, volume: ExportVolume, spec: DatasetSpec, output: _Output) -> None:
    file.attrs.update(describe_origin(spec, volume))
    _write_dataset(file, "raw", IMAGE, volume, spec, output)
    for column in volume.columns:
        _write_dataset(file, f"labels/{column}", column, volume, spec, output)
        if column == SEMANTIC:
            file[f"labels/{column}"].attrs["class_names"] = list(spec.class_names)


def _write_dataset(
    file: Any,
    name: str,
    column: str,
    volume: ExportVolume,
    spec: DatasetSpec,
    output: _Output,
) -> None:
    depth, height, width = chunk_depth(volume.shape), *volume.shape[1:]
    dataset = file.create_dataset(
        name,
        volume.shape,
        volume.dtype_of(column),
        chunks=(depth, min(_CHUNK_SIDE, height), min(_CHUNK_SIDE, width)),
        compression="gzip",
        compression_opts=_GZIP_LEVEL,
        shuffle=True,
    )
    dataset.attrs["axes"] = "zyx"
    if spec.voxel_size_nm is not None:
        dataset.attrs["resolution"] = np.array(spec.voxel_size_nm, np.float64)
        dataset.attrs["element_size_um"] = np.array(spec.voxel_size_nm, np.float64) / 1000
    for z, slab in read_slabs(volume, column, depth):
        dataset[z : z + len(slab)] = slab
        output.check()
