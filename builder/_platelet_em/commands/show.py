"""Slices as pictures: what `platelet-em show` draws, from archives or from a repository."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from _platelet_em.errors import MissingMemberError
from _platelet_em.facts import VolumeSpec
from _platelet_em.files import new_file, user_path
from _platelet_em.hf.formatter import read_slice
from _platelet_em.hub.record import check_readable
from _platelet_em.publisher.archive import find_source
from _platelet_em.publisher.volume import Volume
from _platelet_em.rows.picture import draw_panels, to_png
from _platelet_em.rows.shards import count_files, data_files

__all__ = ["show"]


def show(
    source: str | Path,
    folder: str | Path,
    *,
    spec: VolumeSpec,
    slices: Iterable[int],
    label_source: str = "json",
) -> Iterator[Path]:
    """Draw slices, each into a PNG of its own.

    Args:
        source: A built repository, a zip of the publisher, an extracted folder, or a folder with
            the zips.
        folder: Where the pictures go.
        spec: The volume.
        slices: Which z.
        label_source: "json" or "tif", for archives.

    Yields:
        The path of each picture, once it is written.

    Raises:
        MissingMemberError: for a slice, or files, that are not there.
        SchemaVersionError: for a repository of a newer schema.
    """
    source = user_path(source)
    shards = data_files(source, "slices", spec.split)
    rows = _stored(shards, slices) if shards else _made(source, spec, slices, label_source)
    for row in rows:
        title = f"platelet-em, volume {spec.name}, z = {row['z']}"
        labels = (np.asarray(row["cells"]), np.asarray(row["organelles"]))
        picture = draw_panels(row["image"], row["semantic"], *labels, title=title)
        target = user_path(folder) / f"platelet-em-{spec.name}-z{row['z']:03}.png"
        with new_file(target) as file:
            file.write(to_png(picture))
        yield target


def _stored(shards: list[Path], slices: Iterable[int]) -> Iterator[dict[str, Any]]:
    check_readable(shards)
    for z in slices:
        row = read_slice(shards, z)
        if row is None:
            raise _no_slice(z, count_files(shards)[0])
        yield row


def _made(
    source: Path, spec: VolumeSpec, slices: Iterable[int], label_source: str
) -> Iterator[dict[str, Any]]:
    with Volume(find_source(source, label_source), spec, label_source) as volume:
        for z in slices:
            if not 0 <= z < volume.shape[0]:
                raise _no_slice(z, volume.shape[0])
            yield {
                "z": z,
                "image": volume.image(z),
                "semantic": volume.semantic(z),
                "cells": volume.labels("cells", z),
                "organelles": volume.labels("organelles", z),
            }


def _no_slice(z: int, depth: int) -> MissingMemberError:
    return MissingMemberError(f"there is no slice z = {z}: expected 0 to {depth - 1}")
