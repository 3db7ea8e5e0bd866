"""`OwnVolume`: a volume of a user's own files, which a description names."""

import weakref
from contextlib import ExitStack
from pathlib import Path

from _platelet_em.errors import ImageFormatError, printable
from _platelet_em.publisher.volume import LabeledVolume
from _platelet_em.sources.file_stack import FileStack
from _platelet_em.sources.numbering import check_numbering
from _platelet_em.sources.own_images import OwnImages
from _platelet_em.sources.own_labels import read_own_labels
from _platelet_em.sources.paths import find_files
from _platelet_em.spec import DatasetSpec, VolumeSpec

__all__ = ["OwnVolume", "own_files", "own_shape"]

_IMAGE = "image"


class OwnVolume(LabeledVolume):
    """A volume of a user's own files, opened for reading.

    Its images are uint8 or uint16, as in the files; its labels are read at once.

    Args:
        volume: Which volume; it is in no archive.
        spec: The dataset.

    Raises:
        PlateletEMError: for files that are missing, damaged, or do not match each other.
    """

    def __init__(self, volume: VolumeSpec, spec: DatasetSpec) -> None:
        rules = dict(volume.components)
        with ExitStack() as opened:
            files, image = _find(volume, spec), _describe(spec, volume.image_file)
            images = OwnImages(files[_IMAGE], image)
            opened.callback(images.close)
            labels = {
                column: read_own_labels(
                    files[column],
                    _describe(spec, path),
                    column,
                    spec,
                    image=(image, images.shape),
                    components=rules.get(column),
                )
                for column, path in volume.label_files
            }
            super().__init__(volume.name, images.shape, images.page, labels, spec)
            # Closed at the latest when the volume is garbage-collected.
            self._close = weakref.finalize(self, opened.pop_all().close)

    def close(self) -> None:
        """Close its files; images cannot be read any more."""
        self._close()


def own_files(volume: VolumeSpec, spec: DatasetSpec) -> list[Path]:
    """All files that a volume is made from: those of the image, then those of each label column.

    Raises:
        MissingMemberError: for a path or pattern without files.
        ArchiveError: for labels whose files are those of other slices than those of the image.
    """
    return [file for files in _find(volume, spec).values() for file in files]


def _find(volume: VolumeSpec, spec: DatasetSpec) -> dict[str, list[Path]]:
    """The files of the image and of each label column."""
    paths = {_IMAGE: volume.image_file, **dict(volume.label_files)}
    found = {column: find_files(spec.folder, path) for column, path in paths.items()}
    for files in found.values():
        check_numbering(found[_IMAGE], files)
    return found


def own_shape(volume: VolumeSpec, spec: DatasetSpec) -> tuple[int, int, int]:
    """(z, y, x) of a volume, from the header of its first image file and the number of files.

    Raises:
        PlateletEMError: for files that are missing, whose header is damaged, or that have another
            shape than the description states.
    """
    paths, name = find_files(spec.folder, volume.image_file), _describe(spec, volume.image_file)
    with FileStack(paths, name) as stack:
        found = stack.volume_shape
    if volume.shape not in (None, found):
        raise ImageFormatError(
            f"{name}: expected the shape {volume.shape} (z, y, x) that is stated of volume "
            f"{printable(volume.name)}, got {found}: correct the shape, or leave it out"
        )
    return found


def _describe(spec: DatasetSpec, path: str) -> str:
    """What to call the files of a path or pattern in a message."""
    return printable(str(Path(spec.folder, path)))
