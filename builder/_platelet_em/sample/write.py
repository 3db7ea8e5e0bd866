"""The embedded sample: both archives of the publisher, in their layout, of a synthetic scene."""

import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import IO

import numpy as np
from datasets.utils import tqdm
from numpy.typing import NDArray

from _platelet_em.arrays.runs import Runs, encode
from _platelet_em.errors import ArgumentError
from _platelet_em.facts import ARCHIVES, SAMPLE_COMMENT, VOLUMES, VolumeSpec
from _platelet_em.files import new_file, user_path
from _platelet_em.limits import MAX_PAGE, MAX_PAGES, MAX_VOXELS
from _platelet_em.publisher.convert import write_json, write_tif
from _platelet_em.publisher.palettes import PALETTES
from _platelet_em.publisher.runstore import RunStore
from _platelet_em.publisher.tiff import write_pages
from _platelet_em.sample.scene import Scene

__all__ = ["write_sample"]

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""Time of every member, so that the same scene gives the same bytes."""

_KINDS = ("semantic", "cell", "organelle")


def write_sample(
    folder: str | Path, *, depth: int = 12, size: int = 512, seed: int = 0
) -> list[Path]:
    """Write the two archives of a synthetic dataset, which the project takes as `data_dir`.

    Args:
        folder: Where to.
        depth: Slices of the training volume; the other one has as many less as in the dataset.
        size: Pixels along y and x.
        seed: Another seed is another scene; the same arguments give the same bytes.

    Returns:
        The paths of the archives.

    Raises:
        ArgumentError: for a depth or size below 1, or so large that nobody reads the volume, or
            a seed below 0.
        OutputError: if the place cannot be written to.
    """
    if depth < 1 or size < 1 or seed < 0:
        raise ArgumentError(
            "a sample needs a depth and a size of at least 1, and a seed of at least 0; got "
            f"{depth}, {size} and {seed}"
        )
    if size**2 > MAX_PAGE or depth > MAX_PAGES or depth * size**2 > MAX_VOXELS:
        raise ArgumentError(
            f"a sample has at most {MAX_PAGES} slices, {MAX_PAGE} pixels a slice and {MAX_VOXELS} "
            f"voxels, for larger files are not read; got depth {depth}, size {size}"
        )
    folder = user_path(folder)
    targets = [folder / archive.file_name for archive in ARCHIVES]
    with ExitStack() as opened:
        zips = {
            archive.label_source: opened.enter_context(
                zipfile.ZipFile(opened.enter_context(new_file(target)), "w", zipfile.ZIP_DEFLATED)
            )
            for archive, target in zip(ARCHIVES, targets, strict=True)
        }
        for archive in zips.values():
            archive.comment = SAMPLE_COMMENT.encode()
        for index, spec in enumerate(VOLUMES):
            slices = max(depth * spec.shape[0] // VOLUMES[0].shape[0], 1)
            scene = Scene((slices, size, size), seed * len(VOLUMES) + index)
            _write_volume(zips, spec, scene)
    return targets


def _write_volume(zips: dict[str, zipfile.ZipFile], spec: VolumeSpec, scene: Scene) -> None:
    with ExitStack() as opened:
        stores = {kind: opened.enter_context(RunStore(scene.shape)) for kind in _KINDS}
        images = opened.enter_context(tempfile.TemporaryFile())
        write_pages(
            images, _draw(scene, stores, spec.name), compression=None, description=SAMPLE_COMMENT
        )
        for label_source, archive in zips.items():
            _add(archive, spec.members(label_source)[spec.images], images)
            for kind, store in stores.items():
                name = spec.labels(kind, label_source)
                with tempfile.TemporaryFile() as file:
                    if label_source == "json":
                        write_json(file, store)
                    else:
                        palette = PALETTES["B"] if kind == "semantic" else None
                        write_tif(file, store, form="rgba", palette=palette, name=name)
                    _add(archive, spec.members(label_source)[name], file)


def _draw(scene: Scene, stores: dict[str, RunStore], name: str) -> Iterator[NDArray[np.uint16]]:
    """Draw the scene slice by slice: yields the images, puts the labels into the stores."""
    places: dict[str, dict[int, int]] = {kind: {} for kind in _KINDS}
    for z in tqdm(range(scene.shape[0]), desc=f"Drawing volume {name}", unit="slice"):
        drawn = scene.slice(z)
        labels: dict[str, NDArray[np.integer]] = {
            "semantic": drawn.semantic,
            "cell": drawn.cells,
            "organelle": drawn.organelles,
        }
        for kind, store in stores.items():
            present, runs = encode(labels[kind])
            # A small scene lacks some classes: only labels that it shows get a place.
            known = places[kind]
            owners = [known.setdefault(label, len(known)) for label in present.tolist()]
            owner = np.array(owners, np.int64)[runs.owners]
            store.add_slice(z, Runs(runs.starts, runs.stops, owner))
        yield drawn.image
    for kind, store in stores.items():
        store.ids = np.array(list(places[kind]), np.int32)


def _add(archive: zipfile.ZipFile, place: str, file: IO[bytes]) -> None:
    """Put a whole open file into a zip."""
    file.seek(0)
    info = zipfile.ZipInfo(place, _EPOCH)
    info.compress_type = zipfile.ZIP_DEFLATED
    info.external_attr = 0o644 << 16
    with archive.open(info, "w", force_zip64=True) as member:
        shutil.copyfileobj(file, member, 1 << 20)
