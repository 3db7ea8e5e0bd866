"""`platelet-em show`: draws slices with their labels as PNG files."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

from _platelet_em.arrays.volume_view import VolumeView
from _platelet_em.errors import MissingMemberError
from _platelet_em.facts import PUBLISHED, DatasetSpec
from _platelet_em.files import new_file, user_path
from _platelet_em.hub.layout import data_files
from _platelet_em.hub.read import open_volume
from _platelet_em.publisher.archive import find_source
from _platelet_em.publisher.volume import ArchiveVolume
from _platelet_em.rows.make import SLICES
from _platelet_em.rows.picture import draw_panels, read_slice, to_png

__all__ = ["show"]


def show(
    source: str | Path,
    folder: str | Path,
    *,
    volume: str,
    slices: Iterable[int],
    label_source: str = "json",
    spec: DatasetSpec = PUBLISHED,
) -> Iterator[Path]:
    """Draw slices with their labels, one PNG file each.

    Args:
        source: A built repository, a zip of the publisher, an extracted folder, or a folder with
            the zips.
        folder: Folder for the pictures; it is created if it does not exist.
        volume: Name of the volume.
        slices: z of each slice, from 0.
        label_source: "json" or "tif", for archives.
        spec: The dataset.

    Yields:
        The path of each picture, once it is written.

    Raises:
        MissingMemberError: for a slice, or files, that do not exist.
        SchemaVersionError: for a repository of a newer schema.
    """
    source, folder = user_path(source), user_path(folder)
    with ExitStack() as opened:
        view = _open(source, volume, label_source, spec, opened)
        for z in slices:
            if not 0 <= z < view.shape[0]:
                raise MissingMemberError(
                    f"{source}: volume {volume} has no slice z = {z}: expected 0 to "
                    f"{view.shape[0] - 1}"
                )
            title = f"{spec.name}, volume {volume}, z = {z}"
            picture = draw_panels(read_slice(view, z), spec, title=title)
            target = folder / f"{spec.name}-{volume}-z{z:03}.png"
            with new_file(target) as file:
                file.write(to_png(picture))
            yield target


def _open(
    source: Path, volume: str, label_source: str, spec: DatasetSpec, opened: ExitStack
) -> VolumeView:
    """The volume in a repository or in archives; `opened` closes it."""
    volume_spec = spec.volume(volume)
    if data_files(source, SLICES.name, volume_spec.split):
        return open_volume(source, volume_spec, spec)
    archives = find_source(source, label_source, spec)
    return opened.enter_context(ArchiveVolume(archives, volume_spec, label_source, spec))
