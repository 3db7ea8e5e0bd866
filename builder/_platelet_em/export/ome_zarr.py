"""The format `ome-zarr`: images and labels in chunks and levels, for napari and other viewers.

A volume is one image group `<volume>.ome.zarr` with the axes (z, y, x): arrays `0`, `1`, ... are
its levels, and `labels/<column>/0`, ... those of its labels, on the same grids. The versions of
the specification are 0.5 (https://ngff.openmicroscopy.org/0.5/), on Zarr v3 with shards, and 0.4
(https://ngff.openmicroscopy.org/0.4/), on Zarr v2 without, where each chunk is a file.

Chunks are compressed by Blosc (zstd, bytes shuffled), which is a codec of the core of Zarr v3, and
common in v2. Chunks of zeros are not stored, which is how Zarr says that a chunk is empty. Labels
are uint8 (classes) and uint32 (instances); the specification allows any integers.
"""

from pathlib import Path
from typing import Any

import numpy as np

from _platelet_em.export import ome_metadata
from _platelet_em.export.extras import import_extra
from _platelet_em.export.file_names import distinct_names
from _platelet_em.export.job import IMAGE, ExportJob, ExportVolume
from _platelet_em.export.objects_table import objects_table
from _platelet_em.export.provenance import describe_origin
from _platelet_em.export.pyramid import Level, halve_image, halve_labels, plan_levels
from _platelet_em.export.slabs import chunk_depth, read_slabs, slab_depth
from _platelet_em.rows.intensity import GrayHistogram
from _platelet_em.spec import SEMANTIC, DatasetSpec

__all__ = ["write"]

_CHUNK_SIDE = 256
"""Voxels of a chunk along y and x, where the level has as many; levels end below."""

_SHARD_SIDE = 2048
"""The most voxels of a shard along y and x."""


def write(job: ExportJob, folder: Path, *, ome: str) -> None:
    """Write `<volume>.ome.zarr`, and `objects.csv`.

    Args:
        job: What is exported.
        folder: An empty folder.
        ome: Version of OME-Zarr, "0.5" or "0.4".

    Raises:
        MissingExtraError: if zarr is not installed.
    """
    zarr = import_extra("zarr", extra="ome-zarr", major=3, python=(3, 11))
    if job.spec.voxel_size_nm is None:
        job.remarks.append("the voxel size is not known: the scale is 1, without a unit")
    names = job.rename(distinct_names(volume.name for volume in job.volumes))
    with objects_table(job, folder) as table:
        for volume in job.volumes:
            with job.open(volume) as opened:
                path = folder / f"{names[opened.name]}.ome.zarr"
                _VolumeWriter(zarr, path, ome, job.spec, opened).write()
                table.add(opened)


class _VolumeWriter:
    """Writes one volume.

    Args:
        zarr: The module.
        path: The folder of the volume, which does not exist.
        version: Version of OME-Zarr.
        spec: The dataset.
        volume: The volume.
    """

    def __init__(
        self, zarr: Any, path: Path, version: str, spec: DatasetSpec, volume: ExportVolume
    ) -> None:
        self._zarr, self._version, self._spec, self._volume = zarr, version, spec, volume
        self._levels = plan_levels(volume.shape, spec.voxel_size_nm or (1, 1, 1), _CHUNK_SIDE)
        self._depth = slab_depth(volume.shape)
        self._root = zarr.create_group(
            zarr.storage.LocalStore(path), zarr_format=3 if version == "0.5" else 2
        )

    def write(self) -> None:
        """Write arrays first, and attributes when they are known."""
        name = self._volume.name
        gray = self._write_image()
        content = self._describe_levels(name, "mean")
        content |= ome_metadata.omero(name, self._volume.shape[0], gray.measure())
        origin = {"platelet_em": describe_origin(self._spec, self._volume)}
        self._set_attributes(self._root, content, origin)
        if self._volume.columns:
            labels = self._root.create_group("labels")
            self._set_attributes(labels, {"labels": [*self._volume.columns]})
            for column in self._volume.columns:
                self._write_labels(labels.create_group(column), column)

    def _write_image(self) -> GrayHistogram:
        """Write the levels of the image; returns the histogram of its voxels."""
        histogram = GrayHistogram(self._volume.name)
        arrays = self._create_levels(self._root, self._volume.dtype_of(IMAGE))
        for z, slab in read_slabs(self._volume, IMAGE, self._depth):
            for page in slab:
                histogram.add(page)
            _write_slab(arrays, z, slab, halve_image)
        return histogram

    def _write_labels(self, group: Any, column: str) -> None:
        """Write the levels of a label column, and what is known of its values."""
        arrays = self._create_levels(group, self._volume.dtype_of(column))
        voxels = np.zeros(256, np.int64)
        for z, slab in read_slabs(self._volume, column, self._depth):
            if column == SEMANTIC:
                for page in slab:
                    voxels += np.bincount(page.ravel(), minlength=len(voxels))
            _write_slab(arrays, z, slab, halve_labels)
        content = self._describe_levels(column, "nearest")
        if column == SEMANTIC:
            content |= ome_metadata.describe_classes(self._version, self._spec, voxels)
        else:
            objects = self._volume.objects(column)
            content |= ome_metadata.describe_instances(self._version, self._spec, column, objects)
        self._set_attributes(group, content)

    def _describe_levels(self, name: str, method: str) -> dict[str, Any]:
        unit = "nanometer" if self._spec.voxel_size_nm else None
        return ome_metadata.multiscales(
            self._version, name, self._levels, unit=unit, method=method
        )

    def _set_attributes(self, group: Any, content: dict[str, Any], *others: Any) -> None:
        group.attrs.update(ome_metadata.wrap(self._version, content))
        for other in others:
            group.attrs.update(other)

    def _create_levels(self, group: Any, dtype: np.dtype[Any]) -> list[Any]:
        return [
            group.create_array(
                str(k), dtype=dtype, fill_value=0, shape=level.shape, **self._layout(level)
            )
            for k, level in enumerate(self._levels)
        ]

    def _layout(self, level: Level) -> dict[str, Any]:
        """The arguments of `Group.create_array` with chunks, shards and codecs."""
        _, height, width = level.shape
        chunks = chunk_depth(self._volume.shape), min(_CHUNK_SIDE, height), min(_CHUNK_SIDE, width)
        if self._version == "0.4":
            import numcodecs  # noqa: PLC0415  # comes with zarr

            return {
                "chunks": chunks,
                "chunk_key_encoding": {"name": "v2", "separator": "/"},
                "compressors": numcodecs.Blosc(cname="zstd", clevel=5, shuffle=1),
            }
        sides = self._depth, min(_SHARD_SIDE, height), min(_SHARD_SIDE, width)
        return {
            "chunks": chunks,
            "shards": tuple(-(-s // c) * c for s, c in zip(sides, chunks, strict=True)),
            "compressors": self._zarr.codecs.BloscCodec(cname="zstd", clevel=5, shuffle="shuffle"),
            "dimension_names": ("z", "y", "x"),
        }


def _write_slab(arrays: list[Any], z: int, slab: Any, halve: Any) -> None:
    """Write slices from z on into all levels."""
    for k, array in enumerate(arrays):
        if k:
            slab = halve(slab)
        array[z : z + len(slab)] = slab
