"""One volume as one source tells it: what is verified in itself, and against other sources."""

import math
import re
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np
from datasets.utils import tqdm
from numpy.typing import NDArray

from _platelet_em.arrays.runs import paint
from _platelet_em.errors import PlateletEMError
from _platelet_em.facts import KNOWN_FILES, VolumeSpec
from _platelet_em.publisher.archive import Source, file_md5
from _platelet_em.publisher.label_files import read_labels
from _platelet_em.publisher.palettes import PALETTES
from _platelet_em.publisher.runstore import RunStore
from _platelet_em.publisher.tiff import TiffStack, pack_colors, unpack_colors
from _platelet_em.publisher.volume import open_images
from _platelet_em.verify.report import Section

__all__ = ["INSTANCES", "KINDS", "Part", "read_archive_part", "slices_of"]

Shape = tuple[int, int, int]

INSTANCES = ("cell", "organelle")
KINDS = ("semantic", *INSTANCES)

_INFO_BYTES = 1 << 16
_MAX_DEPTH = 1 << 16
"""Slices of labels without an image that are compared with each other, at most."""


@dataclass(slots=True)
class Part:
    """One volume as an archive, or the rows of a repository, have it.

    Attributes:
        name: What to call it in messages.
        spec: The volume.
        label_source: "json" or "tif": whether ids are the true ones.
        shape: (z, y, x); None if nothing could be read that has one.
        image: Gives slice z, uint16 (y, x); None if there is no readable image.
        labels: Kind -> runs, for the label files that could be read and have this shape.
        files: Kind, or "images" -> what to call its file in messages.
        is_built: Whether it is a repository's, whose ids are those of the archive it is made of.
    """

    name: str
    spec: VolumeSpec
    label_source: str
    shape: Shape | None = None
    image: Callable[[int], NDArray[np.uint16]] | None = None
    labels: dict[str, RunStore] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    is_built: bool = False

    def dense(self, kind: str, z: int) -> NDArray[np.int32]:
        """Classes or ids of slice z, int32 (y, x)."""
        store = self.labels[kind]
        plane = store.shape[1:]
        runs = store.slice(z)
        painted: NDArray[np.int32] = paint(runs, store.ids, plane[0] * plane[1]).reshape(plane)
        return painted


def slices_of(part: Part, what: str) -> Iterable[int]:
    """The z of a part, with a progress bar that says what is looked at."""
    depth = 0 if part.shape is None else part.shape[0]
    bar: Iterable[int] = tqdm(
        range(depth), desc=f"Volume {part.spec.name}: {what}", unit="slice", leave=False
    )
    return bar


def read_archive_part(
    section: Section, source: Source, spec: VolumeSpec, label_source: str, opened: ExitStack
) -> Part:
    """Open what an archive has of a volume; what cannot be read becomes an error.

    Args:
        section: Takes figures and findings.
        source: Archive or folder.
        spec: Which volume.
        label_source: "json" or "tif".
        opened: Closes what this opens.
    """
    part = Part(str(source.path), spec, label_source)
    _read_images(section, part, source, opened)
    for kind in KINDS:
        name = spec.labels(kind, label_source)
        place = str(source.path)
        try:
            place = source.place(name)
            store = opened.enter_context(_read_kind(section, kind, source.open(name), place))
        except PlateletEMError as error:
            section.trouble(f"{kind} labels", place, error)
            continue
        part.files[kind] = place
        if part.shape is None and store.shape[0] <= _MAX_DEPTH:
            part.shape = store.shape
        if store.shape == part.shape:
            part.labels[kind] = store
        else:
            known = f"the shape of the volume, {part.shape}"
            section.error(
                "shape",
                place,
                expected=known if part.shape else f"at most {_MAX_DEPTH} slices",
                found=str(store.shape),
                remedy="fetch the archive again; these labels are not checked further",
            )
    return part


def _read_images(section: Section, part: Part, source: Source, opened: ExitStack) -> None:
    place = str(source.path)
    try:
        place = source.place(part.spec.images)
        images = opened.enter_context(open_images(source, part.spec))
        with source.open(part.spec.images) as file:
            md5 = _describe_md5(file)
    except PlateletEMError as error:
        section.trouble("images", place, error)
        return
    part.files["images"] = place
    depth, height, width = images.shape
    part.shape = (depth, height, width)
    published = "" if part.shape == part.spec.shape else f", published {part.spec.shape}"
    section.figure(
        "images", f"{depth} x {height} x {width} (z, y, x) uint16{published}, md5 {md5}"
    )
    if published:
        section.remark("shape", place, f"shape {part.shape}{published}")
    try:
        for z in range(depth):
            images.page(z)
    except PlateletEMError as error:
        section.trouble("images", place, error)
    else:
        part.image = images.page


def _read_kind(section: Section, kind: str, file: IO[bytes], place: str) -> RunStore:
    """The runs of a label file, and figures about how it is written."""
    with file:
        md5 = _describe_md5(file)
        file.seek(0)
        if place.endswith(".json"):
            written = f"JSON, dtype {_written_dtype(file)}"
        else:
            written = _tif_form(file, place, semantic=kind == "semantic")
        section.figure(f"{kind} file", f"{written}, md5 {md5}")
        file.seek(0)
        return read_labels(file, place, semantic=kind == "semantic")


def _describe_md5(file: IO[bytes]) -> str:
    md5 = file_md5(file)
    return f"{md5} ({KNOWN_FILES[md5]})" if md5 in KNOWN_FILES else md5


def _written_dtype(file: IO[bytes]) -> str:
    """How `.info` spells the dtype: it is nowhere needed, and never evaluated."""
    begin = file.read(_INFO_BYTES)
    size = file.seek(0, 2)
    file.seek(max(size - _INFO_BYTES, 0))
    for text in (begin, file.read()):
        if found := re.search(rb'"dtype"\s*:\s*"([^"]{0,80})"', text):
            return repr(found[1].decode("utf-8", "replace"))
    return "not said"


def _tif_form(file: IO[bytes], place: str, *, semantic: bool) -> str:
    # The stack closes its file, and this one is read again.
    with TiffStack(_Kept(file), place) as stack:  # type: ignore[arg-type]  # it is one to read
        channels = {3: "RGB", 4: "RGBA"}.get(math.prod(stack.shape[3:]), "indices")
        form = f"TIF, {channels} {stack.dtype}"
        if semantic and channels != "indices":
            form += f", palette {' or '.join(_palettes(stack)) or 'unknown'}"
    return form


class _Kept:
    """A file that whoever reads it cannot close."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def close(self) -> None:
        """Leave it open."""


def _palettes(stack: TiffStack) -> Iterable[str]:
    """The palettes that hold all colours of the first pages, as many as tell them apart."""
    fitting = {name: set(map(tuple, palette.tolist())) for name, palette in PALETTES.items()}
    for z in range(stack.shape[0]):
        colors = unpack_colors(np.unique(pack_colors(stack.page(z))))
        if (colors > 255).any():
            colors = colors // 257
        present = set(map(tuple, colors.tolist()))
        fitting = {name: palette for name, palette in fitting.items() if present <= palette}
        if len(fitting) < 2:
            break
    return fitting
