"""`platelet-em show`: draws slices with their labels as PNG files."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from _platelet_em.errors import MissingMemberError
from _platelet_em.facts import PICTURE_PALETTES, PUBLISHED
from _platelet_em.files import new_file, user_path
from _platelet_em.hf.volume import RowVolume
from _platelet_em.hub.remote import HubPath
from _platelet_em.hub.source import DatasetSource
from _platelet_em.rows.figure import draw_panels
from _platelet_em.rows.picture import read_slice, to_png
from _platelet_em.spec import DatasetSpec

__all__ = ["show"]


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
    dataset = DatasetSource.at(source, spec, label_source)
    spec = dataset.spec
    chosen = spec.volumes[0] if volume is None else dataset.volume(volume, "--volume")
    slices = None if slices is None else list(slices)
    with ExitStack() as opened:
        first_z = slices[0] if slices else None
        view = opened.enter_context(dataset.open(chosen, partial=True, first_z=first_z))
        zs: Sequence[int] = range(view.shape[0])
        if isinstance(view, RowVolume) and view.zs is not None:
            zs = view.zs
        for z in zs if slices is None else slices:
            if z not in zs:
                raise MissingMemberError(
                    f"{dataset}: volume {chosen.name} has no slice z = {z}: expected {min(zs)} to "
                    f"{max(zs)}, of which {len(zs)} are present"
                )
            title = f"{spec.title or spec.name}, volume {chosen.name}, z = {z}"
            page = read_slice(view, zs.index(z))
            picture = draw_panels(page, spec, title=title, palette=palette)
            target = folder / f"{spec.name}-{chosen.name}-z{z:03}.png"
            with new_file(target) as file:
                file.write(to_png(picture))
            yield target
