"""Volumes as layers of napari: image, classes and instances, read when they are shown."""

import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from typing import Any

import numpy as np

from _platelet_em.arrays.colors import ID_COLORS
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.volume_view import VolumeView
from _platelet_em.errors import MissingMemberError, PlateletEMError
from _platelet_em.export.volume_array import VolumeArray
from _platelet_em.facts import LABEL_SOURCES
from _platelet_em.hub.source import DatasetSource, find_dataset
from _platelet_em.rows.picture import class_colors
from _platelet_em.spec import DatasetSpec, VolumeSpec

__all__ = ["Layer", "read_layers"]

Layer = tuple[Any, dict[str, Any], str]
"""Data, arguments of the layer's class, and its type, as napari's readers give them."""

_MAX_VOLUMES = 4
"""Volumes that are opened together: each has a layer for each of its columns."""

_MAX_COLORED = 10_000
"""Objects that get colors of ours, each by an entry of a dictionary; more get napari's."""

_CONTRAST = (0.5, 99.5)
"""Percentiles of the gray values of the middle slice that become black and white."""

_log = logging.getLogger(__name__)


def read_layers(path: str) -> list[Layer]:
    """The layers of the volumes at a path.

    Of each volume: the image, "semantic" in the colors of the classes, and a layer of each kind of
    instances, whose features are `class`, `purity`, the parent and `voxels`. Slices are read when
    they are shown; labels are runs in memory. The scale is in nm, (z, y, x). Images and classes of
    the first volume are visible.

    Args:
        path: A built repository, a zip of the publisher, its extracted folder, a folder with the
            zips, a description of own volumes (.toml), or a dataset on the Hub.

    Raises:
        PlateletEMError: for files that are missing or damaged.
    """
    layers: list[Layer] = []
    dataset = find_dataset(path)
    volumes = dataset.spec.volumes
    for volume in volumes[:_MAX_VOLUMES]:
        for layer in _read_volume(dataset, volume):
            layer[1]["visible"] &= volume == volumes[0]
            layers.append(layer)
    if len(volumes) > _MAX_VOLUMES:
        others = f"{len(volumes) - _MAX_VOLUMES} more volumes"
        _log.warning("%s: has %s, which are not opened", dataset, others)
    return layers


def _read_volume(dataset: DatasetSource, volume: VolumeSpec) -> Iterator[Layer]:
    """The layers of a volume, from below."""
    spec, name = dataset.spec, volume.name
    opened, view = _open(dataset, volume)
    lock, axes = threading.Lock(), _describe_axes(spec)
    first = view.image(0)
    image = VolumeArray(view.image, view.shape, first.dtype, lock, opened)
    gray = {"colormap": "gray", "contrast_limits": _find_contrast(view)}
    yield image, {"name": f"{name} image", "visible": True, **gray, **axes}, "image"
    if view.has_semantic:
        classes = VolumeArray(view.semantic, view.shape, np.dtype(np.uint8), lock, opened)
        colors = _colormap(dict(enumerate(class_colors(spec))))
        features = {"index": [*range(len(spec.classes))], "class": [*spec.class_names]}
        shown = {"colormap": colors, "features": features, "opacity": 0.4}
        yield classes, {"name": f"{name} semantic", "visible": True, **shown, **axes}, "labels"
    for kind in view.kinds:
        labels = view.labels(kind)
        shown = {"features": _describe_objects(labels, spec), "opacity": 0.5}
        if len(labels.ids) <= _MAX_COLORED:
            ids = labels.ids.tolist()
            shown["colormap"] = _colormap({id_: ID_COLORS[id_ % len(ID_COLORS)] for id_ in ids})
        yield labels, {"name": f"{name} {kind}", "visible": False, **shown, **axes}, "labels"


def _open(
    dataset: DatasetSource, volume: VolumeSpec
) -> tuple[AbstractContextManager[VolumeView], VolumeView]:
    """A volume, and what closes its files when the last array that reads from it is gone.

    Raises:
        PlateletEMError: for files that are missing or damaged.
    """
    try:
        opened = dataset.open(volume)
        return opened, opened.__enter__()
    except MissingMemberError:
        if dataset.label_source is None and dataset.spec.archives:
            other = replace(dataset, label_source=LABEL_SOURCES[1])
            with suppress(PlateletEMError):  # there may be only the other archive
                opened = other.open(volume)
                return opened, opened.__enter__()
        raise


def _describe_axes(spec: DatasetSpec) -> dict[str, Any]:
    """The arguments of a layer with its axes, and its scale where that is known."""
    axes: dict[str, Any] = {"axis_labels": ("z", "y", "x")}
    if spec.voxel_size_nm is not None:
        axes |= {"scale": spec.voxel_size_nm, "units": ("nm", "nm", "nm")}
    return axes


def _find_contrast(view: VolumeView) -> tuple[float, float]:
    """The gray values that become black and white."""
    low, high = np.percentile(view.image(view.shape[0] // 2), _CONTRAST)
    return float(low), max(float(high), float(low) + 1)


def _colormap(colors: Mapping[int, Any]) -> dict[int | None, Any]:
    """Label -> RGBA from 0 to 1, as napari takes it; label 0 is transparent, as all others are."""
    transparent = (0.0, 0.0, 0.0, 0.0)
    found: dict[int | None, Any] = {
        label: (*(rgb / 255).tolist(), 1.0) for label, rgb in colors.items()
    }
    return {**found, 0: transparent, None: transparent}


def _describe_objects(labels: LazyLabels, spec: DatasetSpec) -> dict[str, Any]:
    """Feature -> values of the objects; `index` is what napari finds them by."""
    features: dict[str, Any] = {"index": labels.ids}
    properties = dict(labels.properties)
    if spec.classes and (classes := properties.pop("class_id", None)) is not None:
        features["class"] = [spec.class_name(index) for index in classes.tolist()]
    return {**features, "voxels": labels.areas, **properties}
