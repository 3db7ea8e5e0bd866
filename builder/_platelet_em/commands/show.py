"""`platelet-em show`: draws slices with their labels as PNG files."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from _platelet_em.arrays.volume_view import VolumeView
from _platelet_em.errors import ArgumentError, MissingMemberError, quote
from _platelet_em.facts import LABEL_SOURCES, PICTURE_PALETTES, PUBLISHED
from _platelet_em.files import new_file, user_path
from _platelet_em.hub.layout import data_files, has_data
from _platelet_em.hub.read import open_volume
from _platelet_em.hub.record import read_record
from _platelet_em.hub.remote import HubPath
from _platelet_em.hub.stored_spec import stored_spec
from _platelet_em.publisher.archive import find_source
from _platelet_em.publisher.volume import ArchiveVolume
from _platelet_em.rows.figure import draw_panels
from _platelet_em.rows.make import SLICES
from _platelet_em.rows.picture import read_slice, to_png
from _platelet_em.sources.opening import check_label_source, find_files
from _platelet_em.spec import DatasetSpec, VolumeSpec

__all__ = ["show"]

_LISTED = 12
"""Volumes that a message names."""


def show(
    source: Path | HubPath | None,
    folder: str | Path,
    *,
    volume: str | None,
    slices: Iterable[int] | None,
    label_source: str | None = None,
    palette: str = PICTURE_PALETTES[0],
    spec: DatasetSpec = PUBLISHED,
) -> Iterator[Path]:
    """Draw slices with their labels, one PNG file each.

    Args:
        source: A built repository, here or on the Hub, a zip of the publisher, an extracted
            folder, or a folder with the zips; None shows the files of own volumes.
        folder: Folder for the pictures; it is created if it does not exist.
        volume: Name of the volume; None is the first one.
        slices: z of each slice, from 0; None is all slices.
        label_source: "json" or "tif"; None is that of a repository, and "json" of archives.
        palette: Colors of the classes: "accessible" or "publisher".
        spec: The dataset, where a repository does not describe its own.

    Yields:
        The path of each picture, once it is written.

    Raises:
        ArgumentError: for an unknown volume, and labels that a repository was not built from.
        MissingMemberError: for a slice, or files, that do not exist.
        SchemaVersionError: for a repository of a newer schema.
    """
    folder = user_path(folder)
    if source is not None:
        spec = stored_spec(source, spec) if data_files(source, SLICES.name) else spec
    named = {each.name: each for each in spec.with_optional().volumes}
    chosen = spec.volumes[0].name if volume is None else volume
    if chosen not in named:
        names = ", ".join([*named][:_LISTED]) + (", ..." if len(named) > _LISTED else "")
        raise ArgumentError(f"--volume: expected one of {names}, got {quote(chosen)}")
    with ExitStack() as opened:
        slices = None if slices is None else list(slices)
        first_z = slices[0] if slices else None
        view, indices = _open(source, named[chosen], first_z, label_source, spec, opened)
        for z in indices if slices is None else slices:
            if z not in indices:
                raise MissingMemberError(
                    f"{source or spec.folder}: volume {chosen} has no slice z = {z}: expected "
                    f"{min(indices)} to {max(indices)}, of which {len(indices)} are present"
                )
            title = f"{spec.title or spec.name}, volume {chosen}, z = {z}"
            picture = draw_panels(read_slice(view, indices[z]), spec, title=title, palette=palette)
            target = folder / f"{spec.name}-{chosen}-z{z:03}.png"
            with new_file(target) as file:
                file.write(to_png(picture))
            yield target


def _open(
    source: Path | HubPath | None,
    volume_spec: VolumeSpec,
    first_z: int | None,
    label_source: str | None,
    spec: DatasetSpec,
    opened: ExitStack,
) -> tuple[VolumeView, Mapping[int, int]]:
    """The volume in a repository or in its files, and z -> index of each slice in it.

    `opened` closes the volume.
    """
    if source is None:
        own = find_files(spec, check_label_source(label_source or LABEL_SOURCES[0], spec), None)
        view = opened.enter_context(own.open(volume_spec))
        return view, {z: z for z in range(view.shape[0])}
    if files := data_files(source, SLICES.name, volume_spec.split):
        found = (read_record(files[0]) or {}).get("label_source", label_source)
        if label_source not in (None, found):
            raise ArgumentError(
                f"{source}: contains {quote(found)} labels, expected {label_source}: leave out "
                "--label-source, or name the archives"
            )
        stored = open_volume(source, volume_spec, partial=True, first_z=first_z)
        return stored, {z: i for i, z in enumerate(stored.zs or ())}
    if isinstance(source, HubPath) or has_data(source):
        raise MissingMemberError(
            f"{source}: expected a built repository with volume {volume_spec.name}, found none"
        )
    label_source = label_source or LABEL_SOURCES[0]
    archive = label_source if label_source in volume_spec.archives else volume_spec.archives[0]
    archives = find_source(source, archive, spec.with_optional())
    view = opened.enter_context(ArchiveVolume(archives, volume_spec, label_source, spec))
    return view, {z: z for z in range(view.shape[0])}
