"""Label files from one form into the other, voxel for voxel: JSON, indexed TIF, RGBA TIF.

The forms are those that the publisher's tools read. TIFs are worked on slice by slice, and what
would lose ids is refused.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from datasets.utils import tqdm
from numpy.typing import NDArray

from _platelet_em.arrays.rle import format_runs
from _platelet_em.arrays.runs import Runs, areas, paint
from _platelet_em.errors import ConversionError, MissingMemberError
from _platelet_em.files import new_file, user_path
from _platelet_em.publisher import label_json
from _platelet_em.publisher.label_files import read_labels
from _platelet_em.publisher.palettes import PALETTES, distinct_colors
from _platelet_em.publisher.runstore import RunStore
from _platelet_em.publisher.tiff import write_pages

__all__ = ["FORMS", "convert", "write_json", "write_tif"]

FORMS = ("json", "index", "rgba")
"""JSON labels, a uint16 TIF of ids, an RGBA TIF of colours."""

_MAX_INDEX = 2**16 - 1


def convert(
    source: str | Path,
    target: str | Path,
    *,
    form: str | None = None,
    semantic: bool | None = None,
    palette: str = "B",
) -> None:
    """Convert a label file; the result takes its name only when it is whole.

    Args:
        source: A `.json` or `.tif` label file.
        target: What to write.
        form: "json", "index" or "rgba"; None goes by the ending of `target`, a TIF being RGBA.
        semantic: Whether labels are classes (colours are a palette's) or instances (colours
            stand for ids); None goes by the name of `source`.
        palette: "A" or "B", the colours of classes in an RGBA TIF.

    Raises:
        ConversionError: for a conversion that would lose ids, or an unknown form.
        LabelFormatError: for a damaged label file.
    """
    source, target = user_path(source), user_path(target)
    ending = target.suffix.lower()
    if form is None:
        form = "json" if ending == ".json" else "rgba"
    if semantic is None:
        semantic = _is_semantic(source.name)
    if (
        form not in FORMS
        or palette not in PALETTES
        or os.path.realpath(source) == os.path.realpath(target)
    ):
        raise ConversionError(
            f"{source} to {target}: expected another file, a form of {', '.join(FORMS)}, and "
            f"palette A or B; got form {form!r}, palette {palette!r}"
        )
    if ending not in ((".json",) if form == "json" else (".tif", ".tiff")):
        raise ConversionError(
            f"{target}: expected the ending .json, or .tif, as the form {form!r} asks for"
        )
    if source.is_fifo():
        raise MissingMemberError(
            f"{source}: expected a label file, found a pipe: write what it gives into a file"
        )
    try:
        file = source.open("rb")
    except OSError as error:
        raise MissingMemberError(
            f"{source}: expected a label file that can be read: {error.strerror}"
        ) from error
    with read_labels(file, str(source), semantic=semantic) as store, new_file(target) as out:
        if form == "json":
            write_json(out, store)
        else:
            colors = PALETTES[palette] if semantic else None
            write_tif(out, store, form=form, palette=colors, name=str(source))


def _is_semantic(name: str) -> bool:
    if ("semantic" in name) == ("instance" in name):
        raise ConversionError(
            f"{name}: its name does not say whether it holds classes or instances: say so with "
            "semantic=True or False (on the command line: --kind semantic or --kind instance)"
        )
    return "semantic" in name


def write_json(out: IO[bytes], store: RunStore) -> None:
    """Write labels as the publisher's JSON, ascending ids."""
    runs, count = store.volume(), len(store.ids)
    order = np.argsort(store.ids, kind="stable")
    texts = format_runs(runs, count)
    label_json.write(out, store.shape, store.ids[order].tolist(), [texts[i] for i in order])


def write_tif(
    out: IO[bytes], store: RunStore, *, form: str, palette: NDArray[np.uint8] | None, name: str
) -> None:
    """Write labels as a TIF of ids, or of colours.

    Args:
        out: Open for writing and reading, empty.
        store: The labels.
        form: "index", uint16 ids, or "rgba", uint8 colours; background is 0, and transparent.
        palette: uint8 (n, 3), colours by label; None gives each id a colour of its own.
        name: What to call the labels in a message.

    Raises:
        ConversionError: for ids that the form cannot tell apart, or that have no voxels.
    """
    if palette is None:
        _refuse_lost(store, form, name)
    if form == "index":
        write_pages(out, _pages(store, store.ids.astype(np.uint16)))
        return
    rgb = distinct_colors(store.ids) if palette is None else palette[store.ids]
    rgba = np.concatenate([rgb, np.full((len(rgb), 1), 255, np.uint8)], axis=1)
    # Four samples are one 32-bit number, so that colours are painted like ids.
    codes = np.ascontiguousarray(rgba).view(np.uint32).reshape(-1)
    pages = (page.view(np.uint8).reshape(*page.shape, 4) for page in _pages(store, codes))
    write_pages(out, pages)


def _pages(store: RunStore, values: NDArray[Any]) -> Iterator[NDArray[Any]]:
    depth, height, width = store.shape
    for z in tqdm(range(depth), desc="Writing pages", unit="page"):
        flat = paint(store.slice(z), values, height * width, values.dtype)
        yield flat.reshape(height, width)


def _refuse_lost(store: RunStore, form: str, name: str) -> None:
    voxels = np.zeros(len(store.ids), np.int64)
    for z in range(store.shape[0]):
        runs: Runs = store.slice(z)
        voxels += areas(runs, len(store.ids))
    if (lost := store.ids[voxels == 0]).size:
        raise ConversionError(
            f"{name}: id {lost[0]} has no voxels of its own, its text being empty or covered by "
            "later ones, and a TIF cannot hold it: refused, keep the JSON"
        )
    if form == "index" and (large := store.ids[store.ids > _MAX_INDEX]).size:
        raise ConversionError(
            f"{name}: id {large[0]} does not fit a uint16 TIF (at most {_MAX_INDEX}): refused, "
            "keep the JSON, or write an RGBA TIF"
        )
