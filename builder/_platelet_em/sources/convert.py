"""Label files converted to another form, voxel for voxel: JSON, indexed TIF, RGBA TIF.

The forms are those that the publisher's tools read. Conversions that would lose ids are refused.
"""

import os
from pathlib import Path
from typing import IO

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.errors import ConversionError, MissingMemberError
from _platelet_em.facts import LABEL_FORMS, PUBLISHED
from _platelet_em.files import new_file, refuse_existing, user_path
from _platelet_em.publisher.label_files import read_labels
from _platelet_em.publisher.label_write import write_json, write_tif
from _platelet_em.publisher.palettes import class_palettes
from _platelet_em.sources.own_labels import read_own_labels
from _platelet_em.sources.paths import find_files
from _platelet_em.spec import SEMANTIC, DatasetSpec

__all__ = ["convert"]


def convert(
    source: str | Path,
    target: str | Path,
    *,
    form: str | None = None,
    semantic: bool | None = None,
    palette: str | None = None,
    force: bool = False,
    spec: DatasetSpec = PUBLISHED,
) -> None:
    """Convert a label file; the result gets its name only when it is complete.

    Args:
        source: A `.json` or `.tif` label file, (z, y, x); of own volumes also a `.png`, or a
            pattern of slices.
        target: File to write.
        form: "json", "index" or "rgba"; None goes by the suffix of `target`: a TIF is RGBA, but of
            indices for classes without colors.
        semantic: Whether labels are classes (colors are those of a palette) or instances (colors
            stand for ids); None goes by the name of `source`.
        palette: Palette of the classes in an RGBA TIF, such as "A" or "B"; None is the last one
            of the dataset, which the current archives use.
        force: Whether to replace a file at `target`.
        spec: The dataset, whose classes, codes and palettes are used.

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
    if semantic is None:
        semantic = _is_semantic(source.name)
    palettes = class_palettes(spec)
    if form is None:
        has_colors = bool(palettes) or not semantic
        form = "json" if suffix == ".json" else "rgba" if has_colors else "index"
    if palette is None:
        palette = spec.palettes[-1] if spec.palettes else None
    is_unknown = palette not in palettes and (palette is not None or (semantic and form == "rgba"))
    if form not in LABEL_FORMS or is_unknown:
        raise ConversionError(
            f"{source} to {target}: expected a form of {', '.join(LABEL_FORMS)}, and a palette of "
            f"{', '.join(palettes) or 'the dataset, which has none'}; got form {form!r}, palette "
            f"{palette!r}"
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
    labels = _read(source, spec, semantic=semantic)
    with new_file(target, overwrite=force) as out:
        if form == "json":
            write_json(out, labels)
        else:
            colors = palettes[palette] if semantic and palette is not None else None
            write_tif(out, labels, form=form, palette=colors, name=str(source))


def _read(source: Path, spec: DatasetSpec, *, semantic: bool) -> LazyLabels:
    """The labels of a file, by the rules of the archives, or by those of own volumes."""
    if spec.archives:
        file = _open_label_file(source)
        return read_labels(file, str(source), classes_of=spec if semantic else None).labels
    column = SEMANTIC if semantic else ""
    paths = find_files(Path(), str(source))
    return read_own_labels(paths, str(source), column, spec, image=None)


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
