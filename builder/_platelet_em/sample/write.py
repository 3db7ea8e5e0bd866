"""`write_sample`: the publisher's archives of a synthetic scene, in their layout."""

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.join import join_slices
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.errors import ArgumentError
from _platelet_em.facts import COLOR_MAP_ENTRIES, PUBLISHED, SAMPLE_COMMENT
from _platelet_em.files import new_file, refuse_existing, user_path
from _platelet_em.limits import MAX_PAGE, MAX_PAGES, MAX_VOXELS
from _platelet_em.progress import progress_bar
from _platelet_em.publisher.color_map import mapped_colors
from _platelet_em.publisher.label_write import write_json, write_tif
from _platelet_em.publisher.palettes import class_palettes
from _platelet_em.publisher.tiff import write_pages
from _platelet_em.sample.anatomy import FIRST, SECOND
from _platelet_em.sample.scene import Scene
from _platelet_em.spec import SEMANTIC, VolumeSpec

__all__ = ["write_sample"]

_SPEC = PUBLISHED
"""The dataset that the sample stands for: the scene draws its classes and kinds of instances."""

_STYLES = (FIRST, SECOND)
"""Of the volumes, in their order."""

_OTHER_DONOR = 1_000_003
"""Added to the seed of the third volume, whose scene is none of the others."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every member, so that the same scene gives the same bytes."""


def write_sample(
    folder: str | Path,
    *,
    depth: int = 12,
    size: int = 512,
    seed: int = 0,
    colors: int | None = None,
    with_test: bool = False,
    force: bool = False,
) -> list[Path]:
    """Write the archives of a synthetic dataset, which can be given as `data_dir`.

    Args:
        folder: Where the archives go.
        depth: Slices of volume 50; volume 24 gets 24/50 of them.
        size: Pixels along y and x.
        seed: Another seed is another scene; the same arguments give the same bytes.
        colors: 256 writes the ids of the RGBA archive through a color map of 256 entries, as the
            publisher's writer does: ids share colors, and from 257 ids on some are background.
            None gives each id a color of its own.
        with_test: Whether to write a third archive, in the layout of the paper's, with the volume
            `test`: one of its cells is labeled, its images are int16, and it has no instances.
        force: Whether to replace archives that are there, when the new ones are complete.

    Returns:
        The paths of the archives.

    Raises:
        ArgumentError: for a depth or size below 1, or larger than files that are read, a seed
            below 0, or another number of colors.
        OutputError: if the folder cannot be written to, or, without `force`, contains archives.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     [path.name for path in write_sample(folder, depth=2, size=64)]
    ['images_and_labels_json.zip', 'images_and_labels_rgba.zip']
    """
    for name, value, least in (("depth", depth, 1), ("size", size, 1), ("seed", seed, 0)):
        if value < least:
            raise ArgumentError(
                f"{name} (on the command line, --{name}): expected at least {least}, got {value}"
            )
    if colors not in (None, COLOR_MAP_ENTRIES):
        raise ArgumentError(
            f"colors: expected {COLOR_MAP_ENTRIES}, or None for a color per id; got {colors}"
        )
    if size**2 > MAX_PAGE or depth > MAX_PAGES or depth * size**2 > MAX_VOXELS:
        raise ArgumentError(
            f"a sample has at most {MAX_PAGES} slices, {MAX_PAGE} pixels per slice and "
            f"{MAX_VOXELS} voxels, since larger files are not read; got depth {depth}, size {size}"
        )
    folder = user_path(folder)
    spec = _SPEC.with_optional() if with_test else _SPEC
    targets = [folder / archive.file_name for archive in spec.needed_archives]
    if not force:
        for target in targets:
            refuse_existing(target)
    with ExitStack() as opened:
        zips = {
            archive.name: opened.enter_context(
                zipfile.ZipFile(
                    opened.enter_context(new_file(target, overwrite=force)),
                    "w",
                    zipfile.ZIP_DEFLATED,
                )
            )
            for archive, target in zip(spec.needed_archives, targets, strict=True)
        }
        for archive in zips.values():
            archive.comment = SAMPLE_COMMENT.encode()
        first = _SPEC.volumes[0]
        for index, volume in enumerate(_SPEC.volumes):
            slices = max(depth * volume.known_shape[0] // first.known_shape[0], 1)
            scene = Scene((slices, size, size), seed * len(_SPEC.volumes) + index, _STYLES[index])
            _write_volume(zips, volume, scene, is_mapped=colors is not None)
        for volume in spec.optional_volumes if with_test else ():
            scene = Scene((depth, size, size), seed + _OTHER_DONOR)
            _write_partly_labeled(zips[volume.archives[0]], volume, scene)
    return targets


def _write_volume(
    zips: dict[str, zipfile.ZipFile], volume: VolumeSpec, scene: Scene, *, is_mapped: bool
) -> None:
    slices: dict[str, list[LazyLabels]] = {column: [] for column in volume.columns}
    with tempfile.TemporaryFile() as images:
        pages = _draw_pages(scene, slices, volume.name)
        write_pages(images, pages, compression=None, description=SAMPLE_COMMENT)
        labels = {column: join_slices(found) for column, found in slices.items()}
        for label_source in volume.archives:
            archive, paths = zips[label_source], volume.members(label_source)
            # Deflate saves 1 % of the images, and takes half of the time of a sample.
            _add_member(archive, paths[volume.images], images, zipfile.ZIP_STORED)
            for column, found in labels.items():
                name = volume.labels(column, label_source)
                with tempfile.TemporaryFile() as file:
                    if label_source == "json":
                        write_json(file, found)
                    elif column == SEMANTIC:
                        palette = class_palettes(_SPEC)["B"]
                        write_tif(file, found, form="rgba", palette=palette, name=name)
                    elif is_mapped:
                        _write_mapped(file, found, name)
                    else:
                        write_tif(file, found, form="rgba", palette=None, name=name)
                    _add_member(archive, paths[name], file)


def _write_partly_labeled(archive: zipfile.ZipFile, volume: VolumeSpec, scene: Scene) -> None:
    """Write a volume in which one cell is labeled, with the indices of its classes."""
    slices: dict[str, list[LazyLabels]] = {column: [] for column in (SEMANTIC, "cells")}
    paths = volume.members(volume.archives[0])
    with tempfile.TemporaryFile() as images, tempfile.TemporaryFile() as file:
        # As of another microscope: signed values, on a gray scale of their own.
        pages = ((page // 4).astype(np.int16) for page in _draw_pages(scene, slices, volume.name))
        write_pages(images, pages, compression=None, description=SAMPLE_COMMENT)
        classes, cells = (
            np.stack([np.asarray(page) for page in found]) for found in slices.values()
        )
        largest = np.bincount(cells[cells > 0]).argmax() if cells.any() else 0
        labels = LazyLabels.from_array(np.where(cells == largest, classes, 0).astype(np.int32))
        name = volume.labels(SEMANTIC, volume.archives[0])
        write_tif(file, labels, form="index", palette=None, name=name)
        _add_member(archive, paths[volume.images], images, zipfile.ZIP_STORED)
        _add_member(archive, paths[name], file)


def _write_mapped(file: IO[bytes], labels: LazyLabels, name: str) -> None:
    """Write instances in the colors of the publisher's writer, which loses some of the ids."""
    palette = np.zeros((int(labels.ids.max(initial=0)) + 1, 3), np.uint8)
    palette[labels.ids] = mapped_colors(labels.ids)
    kept = labels.select(labels.ids[palette[labels.ids].any(axis=1)])
    write_tif(file, kept, form="rgba", palette=palette, name=name)


def _draw_pages(
    scene: Scene, slices: dict[str, list[LazyLabels]], name: str
) -> Iterator[NDArray[np.uint16]]:
    """Draw the scene slice by slice: yields the images, and collects the labels."""
    for z in progress_bar(range(scene.shape[0]), stage=f"Drawing volume {name}", unit="slice"):
        drawn = scene.slice(z)
        arrays: dict[str, NDArray[np.integer]] = {
            SEMANTIC: drawn.semantic,
            "cells": drawn.cells,
            "organelles": drawn.organelles,
        }
        for column, labels in slices.items():
            labels.append(LazyLabels.from_array(arrays[column]))
        yield drawn.image


def _add_member(
    archive: zipfile.ZipFile,
    path: str,
    file: IO[bytes],
    compression: int = zipfile.ZIP_DEFLATED,
) -> None:
    """Put a whole open file into a zip."""
    file.seek(0)
    info = zipfile.ZipInfo(path, _EPOCH)
    info.compress_type = compression
    info.external_attr = 0o644 << 16
    with archive.open(info, "w", force_zip64=True) as member:
        shutil.copyfileobj(file, member, 1 << 20)
