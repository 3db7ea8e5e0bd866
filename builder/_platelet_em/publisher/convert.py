"""Label files converted to another form, voxel for voxel: JSON, indexed TIF, RGBA TIF.

The forms are those that the publisher's tools read. Conversions that would lose ids are refused.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.runs import clip, paint
from _platelet_em.errors import ConversionError, MissingMemberError
from _platelet_em.facts import LABEL_FORMS, PUBLISHED
from _platelet_em.files import new_file, refuse_existing, user_path
from _platelet_em.progress import progress_bar
from _platelet_em.publisher import label_json
from _platelet_em.publisher.label_files import read_labels
from _platelet_em.publisher.palettes import class_palettes, distinct_colors
from _platelet_em.publisher.tiff import write_pages
from _platelet_em.spec import DatasetSpec

__all__ = ["convert", "write_json", "write_tif"]

_MAX_INDEX = 2**16 - 1


def convert(
    source: str | Path,
    target: str | Path,
    *,
    form: str | None = None,
    semantic: bool | None = None,
    palette: str = "B",
    force: bool = False,
    spec: DatasetSpec = PUBLISHED,
) -> None:
    """Convert a label file; the result gets its name only when it is complete.

    Args:
        source: A `.json` or `.tif` label file, (z, y, x).
        target: File to write.
        form: "json", "index" or "rgba"; None goes by the suffix of `target`, a TIF being RGBA.
        semantic: Whether labels are classes (colors are those of a palette) or instances (colors
            stand for ids); None goes by the name of `source`.
        palette: Palette of the classes in an RGBA TIF, such as "A" or "B".
        force: Whether to replace a file at `target`.
        spec: The dataset, whose classes and palettes are used.

    Raises:
        ConversionError: for a conversion that would lose ids, or an unknown form.
        LabelFormatError: for a damaged label file.
        MissingMemberError: for a source that cannot be read.
        OutputError: for a target that cannot be written, or, without `force`, exists.

    >>> import json, tempfile, tifffile
    >>> from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     source, target = Path(folder, "cells.json"), Path(folder, "cells.tif")
    ...     labels = LazyLabels((1, 2, 3), [7], ["2 3"])
    ...     _ = source.write_text(json.dumps(labels.to_dict()))
    ...     convert(source, target, form="index", semantic=False)
    ...     tifffile.imread(target).tolist()
    [[0, 7, 7], [7, 0, 0]]
    """
    source, target = user_path(source), user_path(target)
    suffix = target.suffix.lower()
    if form is None:
        form = "json" if suffix == ".json" else "rgba"
    if semantic is None:
        semantic = _is_semantic(source.name)
    palettes = class_palettes(spec)
    if form not in LABEL_FORMS or palette not in palettes:
        raise ConversionError(
            f"{source} to {target}: expected a form of {', '.join(LABEL_FORMS)}, and a palette of "
            f"{', '.join(palettes)}; got form {form!r}, palette {palette!r}"
        )
    if os.path.realpath(source) == os.path.realpath(target):
        raise ConversionError(f"{source} to {target}: expected another file as target")
    if suffix not in ((".json",) if form == "json" else (".tif", ".tiff")):
        raise ConversionError(
            f"{target}: expected the suffix {'.json' if form == 'json' else '.tif'}, as the form "
            f"{form!r} requires"
        )
    if not force:
        refuse_existing(target)
    file = _open_label_file(source)
    labels = read_labels(file, str(source), classes_of=spec if semantic else None).labels
    with new_file(target, overwrite=force) as out:
        if form == "json":
            write_json(out, labels)
        else:
            colors = palettes[palette] if semantic else None
            write_tif(out, labels, form=form, palette=colors, name=str(source))


def _is_semantic(name: str) -> bool:
    if ("semantic" in name) == ("instance" in name):
        raise ConversionError(
            f"{name}: its name does not say whether it holds classes or instances: pass "
            "semantic=True or False (on the command line: --kind semantic or --kind instance)"
        )
    return "semantic" in name


def _open_label_file(path: Path) -> IO[bytes]:
    # A pipe cannot seek, and opening one may wait forever.
    if path.is_fifo():
        raise MissingMemberError(
            f"{path}: expected a label file, found a pipe: write its output to a file first"
        )
    try:
        return path.open("rb")
    except OSError as error:
        raise MissingMemberError(
            f"{path}: expected a label file that can be read: {error.strerror}: check its path"
        ) from error


def write_json(out: IO[bytes], labels: LazyLabels) -> None:
    """Write labels as the publisher's JSON, ids ascending."""
    order = np.argsort(labels.ids, kind="stable")
    strings = labels.rle
    label_json.write(out, labels.shape, labels.ids[order].tolist(), [strings[i] for i in order])


def write_tif(
    out: IO[bytes],
    labels: LazyLabels,
    *,
    form: str,
    palette: NDArray[np.uint8] | None,
    name: str,
) -> None:
    """Write labels as a TIF of ids, or of colors.

    Args:
        out: Open for writing and reading, empty.
        labels: The labels, (z, y, x).
        form: "index", uint16 ids, or "rgba", uint8 colors; background is 0, and transparent.
        palette: uint8 (n, 3), colors by label; None gives each id a color of its own.
        name: What to call the labels in a message.

    Raises:
        ConversionError: for ids that the form cannot tell apart, or that have no voxels.
    """
    if palette is None:
        _refuse_lost_ids(labels, form, name)
    if form == "index":
        write_pages(out, _draw_pages(labels, labels.ids.astype(np.uint16), name))
        return
    rgb = distinct_colors(labels.ids) if palette is None else palette[labels.ids]
    rgba = np.concatenate([rgb, np.full((len(rgb), 1), 255, np.uint8)], axis=1)
    # Four samples are one 32-bit number, so that colors are painted like ids.
    codes = np.ascontiguousarray(rgba).view(np.uint32).reshape(-1)
    pages = _draw_pages(labels, codes, name)
    write_pages(out, (page.view(np.uint8).reshape(*page.shape, 4) for page in pages))


def _draw_pages(labels: LazyLabels, values: NDArray[Any], name: str) -> Iterator[NDArray[Any]]:
    """Each slice as an array (y, x) with `values[i]` where instance i is."""
    depth, height, width = labels.shape
    size = height * width
    for z in progress_bar(range(depth), stage=f"Painting {Path(name).name}", unit="page"):
        runs = clip(labels.runs, z * size, (z + 1) * size)
        yield paint(runs, values, size, values.dtype).reshape(height, width)


def _refuse_lost_ids(labels: LazyLabels, form: str, name: str) -> None:
    if (lost := labels.ids[labels.areas == 0]).size:
        raise ConversionError(
            f"{name}: id {lost[0]} has no voxels of its own, since its RLE is empty or covered "
            "by later ones, and a TIF cannot hold it: refused, keep the JSON"
        )
    if form == "index" and (large := labels.ids[labels.ids > _MAX_INDEX]).size:
        raise ConversionError(
            f"{name}: id {large[0]} does not fit a uint16 TIF (at most {_MAX_INDEX}): refused, "
            "keep the JSON, or write an RGBA TIF"
        )
