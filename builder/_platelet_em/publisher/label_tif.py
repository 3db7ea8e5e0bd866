"""Label volumes as TIFs: class indices or ids as integers, or colors that stand for them."""

from typing import IO, Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.kernels import value_runs
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.errors import LabelFormatError
from _platelet_em.limits import MAX_ID, MAX_LABELS, TIF_BYTES_PER_LABEL
from _platelet_em.publisher.label_file import REMEDY, LabelFile, describe_voxels
from _platelet_em.publisher.page_values import PageValues, collect_values
from _platelet_em.publisher.palettes import class_palettes, pack_colors, unpack_colors
from _platelet_em.publisher.tiff import TiffStack
from _platelet_em.spec import DatasetSpec

__all__ = ["read"]


def read(file: IO[bytes], name: str, classes_of: DatasetSpec | None) -> LabelFile:
    """Read a TIF of labels; arguments and errors as in `label_files.read_labels`."""
    size = file.seek(0, 2)
    most = MAX_LABELS + size // TIF_BYTES_PER_LABEL
    with TiffStack(file, name) as stack:
        channels = stack.shape[3:]
        if channels not in ((), (3,), (4,)) or stack.dtype.kind not in "bui":
            _fail(
                name,
                "integer indices (z, y, x), or RGB or RGBA colors (z, y, x, channels)",
                f"shape {stack.shape}, dtype {stack.dtype}",
            )
        if channels and stack.dtype not in (np.uint8, np.uint16):
            _fail(name, "color samples of dtype uint8 or uint16", f"dtype {stack.dtype}")
        if stack.has_colors and classes_of is None:
            raise LabelFormatError(
                f"{name}: its tag PhotometricInterpretation says palette: either the indices are "
                "ids, or the colors of its ColorMap stand for them: write ids as grayscale, or "
                "colors as RGB"
            )
        has_colors = stack.has_colors or bool(channels)
        read_page = _read_color_page if has_colors else _read_index_page
        values = collect_values(
            stack.shape[:3],
            name,
            lambda z: value_runs(read_page(stack, name, z).ravel()),
            most,
            size,
        )
        samples = {(): "indices", (3,): "RGB", (4,): "RGBA"}[channels]
        form = f"TIF, {'color ' * stack.has_colors}{samples} {stack.dtype}"
    colors = _to_eight_bits(values, name) if has_colors else None
    if colors is None:
        ids = values.codes.astype(np.int32)
    elif classes_of is None:
        ids = np.arange(1, len(colors) + 1, dtype=np.int32)
    else:
        ids, palette = _match_classes(values, name, classes_of)
        form += f", palette {palette}"
    labels = LazyLabels.from_runs(values.shape, ids, values.runs)
    return LabelFile(labels=labels, overlapping=None, form=form, colors=colors)


def _fail(name: str, expected: str, found: str, remedy: str = REMEDY) -> NoReturn:
    raise LabelFormatError(f"{name}: expected {expected}, got {found}: {remedy}")


def _read_index_page(stack: TiffStack, name: str, z: int) -> NDArray[Any]:
    page = stack.page(z)
    if (bad := (page < 0) | (page > MAX_ID)).any():
        y, x = (int(c) for c in np.argwhere(bad)[0])
        _fail(f"{name}: z={z}, y={y}, x={x}", f"0 to {MAX_ID}", f"label {page[y, x]}")
    return page


def _read_color_page(stack: TiffStack, name: str, z: int) -> NDArray[np.uint64]:
    page = stack.page(z)
    if stack.has_colors:
        page = stack.color_map(z)[page]
    elif page.shape[-1] == 4:
        alpha = page[..., 3]
        opaque = np.iinfo(page.dtype).max
        if (bad := (alpha != 0) & (alpha != 255) & (alpha != opaque)).any():
            y, x = (int(c) for c in np.argwhere(bad)[0])
            full = " or ".join(map(str, sorted({255, int(opaque)})))
            _fail(
                f"{name}: z={z}, y={y}, x={x}",
                f"0 (transparent) or {full} (opaque)",
                f"alpha {alpha[y, x]}",
            )
    return pack_colors(page)


def _to_eight_bits(values: PageValues, name: str) -> NDArray[np.int64]:
    """Colors in 8 bits per sample, int64 (n, 3).

    Samples of 16 bits hold the 8-bit values, or 257 times them.
    """
    colors = unpack_colors(values.codes)
    if (colors <= 255).all():
        return colors
    if (colors % 257 == 0).all():
        return colors // 257
    # Larger samples exist, so the scale is 257: the first color off that scale is reported.
    wrong = int(np.argmax((colors % 257 != 0).any(axis=1)))
    _fail(
        name,
        "samples that are all below 256, or all multiples of 257",
        f"color {tuple(colors[wrong].tolist())} "
        f"{describe_voxels(values.runs, wrong, values.shape)}",
    )


def _match_classes(
    values: PageValues, name: str, classes_of: DatasetSpec
) -> tuple[NDArray[np.int32], str]:
    """Class index of each color by the palette that holds all of them, and its name."""
    lookup = {
        key: {tuple(color): index for index, color in enumerate(palette.tolist())}
        for key, palette in class_palettes(classes_of).items()
    }
    present = [tuple(color) for color in _to_eight_bits(values, name).tolist()]
    fitting = [key for key, palette in lookup.items() if palette.keys() >= set(present)]
    if fitting:
        palette = lookup[fitting[0]]
        return np.array([palette[color] for color in present], np.int32), " or ".join(fitting)
    known = {color for palette in lookup.values() for color in palette}
    unknown = [i for i, color in enumerate(present) if color not in known]
    expected = "colors of one palette"
    if unknown:
        voxels = describe_voxels(values.runs, unknown[0], values.shape)
        found = f"color {present[unknown[0]]} {voxels}"
        expected += ": " + "; ".join(
            f"{key}: {', '.join(map(str, palette))}" for key, palette in lookup.items()
        )
    else:
        found = f"colors of several palettes together: {present}"
    _fail(name, expected, found, "what the color stands for is not known")
