"""One volume as read from one archive or repository, as far as it can be read."""

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.runs import Runs
from _platelet_em.errors import PlateletEMError
from _platelet_em.progress import progress_bar
from _platelet_em.publisher.archive import Source, file_md5
from _platelet_em.publisher.color_map import LostIds
from _platelet_em.publisher.label_file import LabelFile
from _platelet_em.publisher.label_files import read_labels
from _platelet_em.publisher.label_remarks import lost_ids
from _platelet_em.publisher.volume import open_images, unsigned_pages
from _platelet_em.sources.opening import VolumeFiles
from _platelet_em.spec import SEMANTIC, DatasetSpec, VolumeSpec
from _platelet_em.verify.report import BYTES, LOST_IDS, PALETTE, Section

__all__ = [
    "MAX_CLASSES",
    "VerifiedVolume",
    "noun_of",
    "read_archive_volume",
    "read_own_volume",
    "slices_of",
]

MAX_CLASSES = 256
"""Class indices that a mask can hold, valid or not."""


@dataclass(slots=True)
class VerifiedVolume:
    """What could be read of a volume, to check it and to compare it.

    Attributes:
        name: What to call the source in messages.
        volume: Which volume.
        label_source: "json", whose ids are the true ones, "tif", or the name of another archive.
        shape: (z, y, x); None if nothing could be read that has one.
        image: Gives slice z, uint16 (y, x); None if there is no readable image.
        labels: Column -> labels of this shape, as far as they could be read.
        overlapping: Column -> runs as a file has them, where they overlap.
        lost_ids: Column -> ids that its file has lost by its own making.
        files: "images" or a column -> what to call its file in messages.
        is_built: Whether it is a repository's, whose ids are those of its archive.
    """

    name: str
    volume: VolumeSpec
    label_source: str
    shape: tuple[int, int, int] | None = None
    image: Callable[[int], NDArray[np.uint16]] | None = None
    labels: dict[str, LazyLabels] = field(default_factory=dict)
    overlapping: dict[str, Runs] = field(default_factory=dict)
    lost_ids: dict[str, LostIds] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    is_built: bool = False


def noun_of(column: str, spec: DatasetSpec) -> str:
    """What checks and figures call a column: "semantic", "cell", "organelle"."""
    return column if column == SEMANTIC else spec.instance(column).name


def slices_of(view: VerifiedVolume, subject: str) -> Iterable[int]:
    """Each z of a volume, with a progress bar that names the subject of the check."""
    depth = 0 if view.shape is None else view.shape[0]
    bar: Iterable[int] = progress_bar(
        range(depth),
        stage=f"Checking volume {view.volume.name}: {subject}",
        unit="slice",
        leave=False,
    )
    return bar


def read_archive_volume(
    section: Section,
    source: Source,
    volume: VolumeSpec,
    label_source: str,
    spec: DatasetSpec,
    opened: ExitStack,
) -> VerifiedVolume:
    """Read what an archive has of a volume; what cannot be read becomes an error.

    Args:
        section: Receives figures and findings.
        source: Archive or folder.
        volume: Which volume.
        label_source: "json", "tif", or the name of another archive.
        spec: The dataset.
        opened: Closes the files that this opens.
    """
    view = VerifiedVolume(str(source.path), volume, label_source)
    if volume.image_file:
        _read_images(section, view, source, spec, opened)
    files: dict[str, LabelFile] = {}
    for column in volume.columns:
        found = _read_labels(section, view, source, column, spec)
        if found is None:
            continue
        depth, height, width = found.labels.shape
        shape = (depth, height, width)
        view.shape = view.shape or shape
        if shape == view.shape:
            files[column] = found
            view.labels[column] = found.labels
            if found.overlapping is not None:
                view.overlapping[column] = found.overlapping
        else:
            section.error(
                "shape",
                view.files[column],
                expected=f"the shape of the volume, {view.shape}",
                found=str(shape),
                remedy="fetch the archive again; these labels are not checked any further",
            )
    view.lost_ids = lost_ids(files, spec)
    _answer_colors(section, view, files, spec)
    return view


def read_own_volume(
    section: Section,
    files: VolumeFiles,
    volume: VolumeSpec,
    spec: DatasetSpec,
    opened: ExitStack,
) -> VerifiedVolume:
    """Read what a user's own files have of a volume; a file that cannot be read is an error.

    Args:
        section: Receives figures and findings.
        files: The files.
        volume: Which volume.
        spec: The dataset.
        opened: Closes the files that this opens.
    """
    view = VerifiedVolume(spec.folder, volume, files.label_source)
    view.files = {"images": volume.image_file, **dict(volume.label_files)}
    try:
        files.shape(volume)  # must be the one that is stated
        found = opened.enter_context(files.open(volume))
        for z in range(found.shape[0]):
            found.image(z)
    except PlateletEMError as error:
        section.exception("files", spec.folder, error)
        return view
    view.shape, view.image = found.shape, found.image
    view.labels = {kind: found.labels(kind) for kind in found.kinds}
    if found.has_semantic:
        view.labels = {SEMANTIC: found.classes, **view.labels}
    depth, height, width = found.shape
    section.figure("images", f"{depth} x {height} x {width} (z, y, x)")
    return view


def _answer_colors(
    section: Section, view: VerifiedVolume, files: dict[str, LabelFile], spec: DatasetSpec
) -> None:
    """What files of colors answer: their palette, and how many ids they have lost."""
    for column, file in files.items():
        if file.colors is None:
            continue
        subject = f"volume {view.volume.name}, {noun_of(column, spec)}"
        if column == SEMANTIC:
            section.answer(PALETTE, f"{subject}: {file.form}")
        else:
            lost = view.lost_ids.get(column, f"none is seen, {len(file.colors)} colors")
            section.answer(LOST_IDS, f"{subject}: {lost}")


def _read_labels(
    section: Section, view: VerifiedVolume, source: Source, column: str, spec: DatasetSpec
) -> LabelFile | None:
    """The labels of a column; None, and an error, if they cannot be read."""
    noun, file = noun_of(column, spec), str(source.path)
    try:
        name = view.volume.labels(column, view.label_source)
        file = source.describe_member(name)
        with source.open(name) as content:
            md5 = _describe_md5(file_md5(content), spec)
            content.seek(0)
            found = read_labels(content, file, classes_of=spec if column == SEMANTIC else None)
    except PlateletEMError as error:
        section.exception(f"{noun} labels", file, error)
        return None
    section.figure(f"{noun} file", f"{found.form}, md5 {md5}")
    view.files[column] = file
    return found


def _read_images(
    section: Section,
    view: VerifiedVolume,
    source: Source,
    spec: DatasetSpec,
    opened: ExitStack,
) -> None:
    volume, file = view.volume, str(source.path)
    try:
        file = source.describe_member(volume.images)
        images = opened.enter_context(open_images(source, volume))
        with source.open(volume.images) as content:
            md5 = _describe_md5(file_md5(content), spec)
            content.seek(0)
            order = "big-endian" if content.read(2) == b"MM" else "little-endian"
    except PlateletEMError as error:
        section.exception("images", file, error)
        return
    sign = "signed: read as uint16, plus 32768" if images.dtype == np.int16 else "unsigned"
    section.answer(BYTES, f"volume {volume.name}: stored {order}, {sign}")
    view.files["images"] = file
    depth, height, width = images.shape
    view.shape = (depth, height, width)
    published = "" if view.shape == volume.shape else f", published {volume.shape}"
    section.figure(
        "images", f"{depth} x {height} x {width} (z, y, x) {images.dtype}{published}, md5 {md5}"
    )
    if published:
        section.remark("shape", file, f"shape {view.shape}{published}")
    try:
        for z in range(depth):
            images.page(z)
    except PlateletEMError as error:
        section.exception("images", file, error)
    else:
        view.image = unsigned_pages(images)


def _describe_md5(md5: str, spec: DatasetSpec) -> str:
    known = spec.describe_file(md5)
    return f"{md5} ({known})" if known else md5
