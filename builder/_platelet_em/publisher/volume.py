"""A volume of the publisher: its images read page by page, its labels as runs in memory."""

import functools
import logging
import weakref
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.runs import Runs
from _platelet_em.arrays.volume_view import Box
from _platelet_em.errors import ImageFormatError, printable
from _platelet_em.publisher.archive import Source
from _platelet_em.publisher.label_files import read_labels
from _platelet_em.publisher.label_remarks import describe_labels
from _platelet_em.publisher.organelles import measure_instances
from _platelet_em.publisher.tiff import TiffStack
from _platelet_em.spec import SEMANTIC, DatasetSpec, VolumeSpec

__all__ = ["ArchiveVolume", "LabeledVolume", "describe_images", "open_images", "unsigned_pages"]

Shape = tuple[int, int, int]

_log = logging.getLogger(__name__)


def open_images(source: Source, volume: VolumeSpec) -> TiffStack:
    """The image stack of a volume, (z, y, x): uint16, or int16 where the volume may have it.

    Raises:
        ImageFormatError: for another dtype or number of axes.
    """
    name = source.describe_member(volume.images)
    stack = TiffStack(source.open(volume.images), name)
    allowed = (np.uint16, np.int16) if volume.may_be_signed else (np.uint16,)
    if len(stack.shape) != 3 or stack.dtype not in allowed:
        stack.close()
        raise ImageFormatError(
            f"{name}: expected uint16 pages of the axes (y, x), got {stack.dtype} pages of shape "
            f"{stack.shape[1:]}: convert the images"
        )
    if stack.has_colors:
        stack.close()
        raise ImageFormatError(
            f"{name}: expected gray values, but its tag PhotometricInterpretation says palette, "
            "and its ColorMap has colors: write the images as grayscale"
        )
    return stack


def describe_images(source: Source, volume: VolumeSpec) -> str:
    """How the values of the images of a volume are read."""
    with open_images(source, volume) as images:
        return "int16, plus 32768" if images.dtype == np.int16 else "uint16"


def unsigned_pages(images: TiffStack) -> Callable[[int], NDArray[np.uint16]]:
    """What gives page z as uint16: signed values get 32768 added, so that their order stays.

    >>> (np.array([-32768, 0, 32767], np.int16).view(np.uint16) ^ 0x8000).tolist()
    [0, 32768, 65535]
    """
    if images.dtype != np.int16:
        return images.page
    return lambda z: images.page(z).view(np.uint16) ^ np.uint16(0x8000)


class LabeledVolume:
    """A volume whose labels are runs in memory: a `VolumeView` of what was read from files.

    Memory goes with the number of runs, 24 bytes each. What belongs to whole instances is worked
    out from all of them, so that it is the same in every row.

    Args:
        name: Name of the volume.
        shape: (z, y, x).
        image: Gives slice z of the image, uint8 or uint16 (y, x).
        labels: Column -> labels (z, y, x): "semantic", whose ids are class indices, and kinds of
            instances, which may have ids without voxels, in any order. Any may be missing;
            instances then lack the properties that are measured by them.
        spec: The dataset.
    """

    def __init__(
        self,
        name: str,
        shape: Shape,
        image: Callable[[int], NDArray[Any]],
        labels: Mapping[str, LazyLabels],
        spec: DatasetSpec,
    ) -> None:
        self.name = name
        self.shape = shape
        self.image = image
        self._labels = {column: _sort_by_id(found) for column, found in labels.items()}
        for instance in spec.instances:
            if instance.column in labels:
                parent = spec.parent(instance)
                found = self._labels[instance.column]
                properties = measure_instances(
                    found,
                    instance,
                    self._labels.get(SEMANTIC),
                    self._labels.get(parent.column) if parent else None,
                )
                merged = LazyLabels.from_runs(shape, found.ids, found.runs, properties)
                merged.class_names = spec.class_names
                self._labels[instance.column] = merged

    def close(self) -> None:
        """Close its files, if it has any open."""

    def __enter__(self) -> "LabeledVolume":
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    @property
    def kinds(self) -> tuple[str, ...]:
        """Columns of the instances that the volume has labels for."""
        return tuple(column for column in self._labels if column != SEMANTIC)

    @property
    def has_semantic(self) -> bool:
        """Whether it has semantic classes."""
        return SEMANTIC in self._labels

    @property
    def classes(self) -> LazyLabels:
        """The semantic classes as labels (z, y, x), whose ids are class indices.

        Raises:
            KeyError: if it has none.
        """
        return self._labels[SEMANTIC]

    def semantic(self, z: int) -> NDArray[np.uint8]:
        """Slice z of the class indices, uint8 (y, x)."""
        page: NDArray[np.uint8] = self.classes[z].astype(np.uint8)
        return page

    def labels(self, kind: str, z: int | None = None) -> LazyLabels:
        """Instances of slice z, or of the volume; ids ascend, each has voxels."""
        return self._labels[kind] if z is None else self._labels[kind].slice(z)

    def window(self, column: str, box: Box) -> NDArray[Any]:
        """A window of the image, the class indices or a kind of instances, (z, y, x)."""
        if column in self.kinds:
            window: NDArray[Any] = self._labels[column][box]
            return window
        pages: dict[str, Callable[[int], NDArray[Any]]]
        pages = {"image": self.image, SEMANTIC: self.semantic}
        return np.stack([pages[column](z)[box[1:]] for z in range(box[0].start, box[0].stop)])


class ArchiveVolume(LabeledVolume):
    """A volume in an archive or folder of the publisher, opened for reading.

    Args:
        source: Archive or folder.
        volume: Which volume.
        label_source: "json" or "tif".
        spec: The dataset.

    Raises:
        PlateletEMError: for files that are missing, damaged, or do not match each other.
    """

    def __init__(
        self, source: Source, volume: VolumeSpec, label_source: str, spec: DatasetSpec
    ) -> None:
        with ExitStack() as opened:
            images = opened.enter_context(open_images(source, volume))
            depth, height, width = images.shape
            shape = (depth, height, width)
            files, names = {}, {}
            for column in volume.columns:
                name = volume.labels(column, label_source)
                names[column] = source.describe_member(name)
                files[column] = read_labels(
                    source.open(name),
                    names[column],
                    classes_of=spec if column == SEMANTIC else None,
                    shape=shape,
                )
            for column, text in describe_labels(files, spec):
                _warn_once(f"{names[column]}: {text}")
            labels = {column: file.labels for column, file in files.items()}
            super().__init__(volume.name, shape, unsigned_pages(images), labels, spec)
            # Closed at the latest when the volume is garbage-collected.
            self._close = weakref.finalize(self, opened.pop_all().close)

    def close(self) -> None:
        """Close the image file."""
        self._close()


@functools.lru_cache(maxsize=256)
def _warn_once(text: str) -> None:
    """Log a warning, but not again whenever the volume is opened again."""
    _log.warning(printable(text))


def _sort_by_id(labels: LazyLabels) -> LazyLabels:
    """The labels that have voxels, in the order of their ids."""
    present = np.flatnonzero(labels.areas > 0)
    present = present[np.argsort(labels.ids[present], kind="stable")]
    position = np.zeros(len(labels.ids), np.int64)
    position[present] = np.arange(len(present))
    runs = labels.runs
    return LazyLabels.from_runs(
        labels.shape, labels.ids[present], Runs(runs.starts, runs.stops, position[runs.owners])
    )
