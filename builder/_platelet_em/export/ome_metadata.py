"""The attributes of OME-Zarr groups: multiscales, rendering, labels with colors and properties.

Keys are those of the specification, https://ngff.openmicroscopy.org/0.5/ and 0.4/. In 0.5 they
are inside of one attribute `ome` that has the version; in 0.4 they are attributes themselves, and
have versions of their own.

Colors and properties list the same label values, and all properties of a label image have the
same keys: napari and ome-zarr-models expect the one or the other.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.colors import ID_COLORS
from _platelet_em.export.job import Objects
from _platelet_em.export.numbers import as_numbers
from _platelet_em.export.pyramid import Level
from _platelet_em.rows.intensity import IntensityStatistics
from _platelet_em.rows.picture import class_colors
from _platelet_em.spec import DatasetSpec

__all__ = ["VERSIONS", "describe_classes", "describe_instances", "multiscales", "omero", "wrap"]

VERSIONS = ("0.5", "0.4")
"""Versions of OME-Zarr, and so of Zarr: 0.5 is Zarr v3, 0.4 is Zarr v2."""

_AXES = ("z", "y", "x")
_METHODS = {
    "mean": "2 x 2 pixels of the level before become one, halves rounded up; z is kept",
    "nearest": "the first of each 2 x 2 pixels of the level before is taken; z is kept",
}

_Attributes: TypeAlias = dict[str, Any]


def wrap(version: str, content: _Attributes) -> _Attributes:
    """Attributes of a group from what the specification defines."""
    return {"ome": {"version": version, **content}} if version == "0.5" else content


def multiscales(
    version: str, name: str, levels: list[Level], *, unit: str | None, method: str
) -> _Attributes:
    """Axes and levels; level k is the array of the name k.

    Args:
        version: One of `VERSIONS`.
        name: What viewers call the image.
        levels: The levels, the largest first.
        unit: Of the voxel size; None if it is not known.
        method: "mean" or "nearest": how a level was made from the one before.
    """
    known = {} if unit is None else {"unit": unit}
    entry = {
        "name": name,
        "axes": [{"name": axis, "type": "space", **known} for axis in _AXES],
        "datasets": [
            {
                "path": str(k),
                "coordinateTransformations": [
                    {"type": "scale", "scale": [float(v) for v in level.scale]},
                    {"type": "translation", "translation": [float(v) for v in level.translation]},
                ],
            }
            for k, level in enumerate(levels)
        ],
        "type": method,
        "metadata": {"description": _METHODS[method]},
    }
    if version == "0.4":
        entry = {"version": version, **entry}
    return {"multiscales": [entry]}


def omero(name: str, depth: int, gray: IntensityStatistics) -> _Attributes:
    """How viewers show an image first: its middle slice, gray, with stretched contrast.

    Args:
        name: What viewers call it.
        depth: Number of its slices.
        gray: Of all its voxels; `low` becomes black and `high` white, and sliders go from the
            minimum to the maximum.
    """
    low, high = gray.low, gray.high
    if low == high:
        low, high = gray.minimum, max(gray.maximum, gray.minimum + 1)
    window = {"min": gray.minimum, "max": gray.maximum, "start": low, "end": high}
    channel = {"label": name, "color": "FFFFFF", "active": True, "window": window}
    rdefs = {"defaultT": 0, "defaultZ": depth // 2, "model": "greyscale"}
    return {"omero": {"name": name, "channels": [channel], "rdefs": rdefs}}


def describe_classes(version: str, spec: DatasetSpec, voxels: NDArray[np.int64]) -> _Attributes:
    """Colors and names of the classes: all of the dataset, and any others that occur.

    Class 0 is transparent, so that it hides no image.

    Args:
        version: One of `VERSIONS`.
        spec: The dataset.
        voxels: Number of voxels by class index, int64 (256,).
    """
    palette = class_colors(spec)
    values = np.union1d(np.arange(len(palette)), np.flatnonzero(voxels)).tolist()
    colors = [palette[v] if v < len(palette) else ID_COLORS[v % len(ID_COLORS)] for v in values]
    columns = {
        "class_name": [spec.class_name(value) for value in values],
        "voxels": voxels[values].tolist(),
    }
    return _describe_labels(version, values, np.array(colors), columns)


def describe_instances(
    version: str, spec: DatasetSpec, column: str, objects: Objects
) -> _Attributes:
    """Colors of instances, those that they choose first in pictures, and their properties."""
    columns: dict[str, list[Any]] = {}
    for name in spec.instance(column).properties:
        if name in objects.properties:
            columns[name] = as_numbers(objects.properties[name])
    if "class_id" in columns:
        names = [spec.class_name(index) for index in columns["class_id"]]
        columns = {"class_name": names, **columns}
    columns["voxels"] = objects.voxels.tolist()
    colors = ID_COLORS[objects.ids % len(ID_COLORS)]
    return _describe_labels(version, objects.ids.tolist(), colors, columns)


def _describe_labels(
    version: str, values: list[int], colors: NDArray[np.uint8], columns: dict[str, list[Any]]
) -> _Attributes:
    return {
        "image-label": {
            "version": version,
            "colors": [
                {"label-value": value, "rgba": [*color, 255 if value else 0]}
                for value, color in zip(values, colors.tolist(), strict=True)
            ],
            "properties": [
                {"label-value": value, **dict(zip(columns, row, strict=True))}
                for value, *row in zip(values, *columns.values(), strict=True)
            ],
            "source": {"image": "../../"},
        }
    }
