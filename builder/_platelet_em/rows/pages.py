"""Pages of a volume as the encoded images of rows, each with a file name."""

from collections.abc import Iterable

import numpy as np
import pyarrow as pa

from _platelet_em.arrays.page import encode_page
from _platelet_em.arrays.volume_view import VolumeView
from _platelet_em.publisher.palettes import class_palette
from _platelet_em.rows.config import Row
from _platelet_em.rows.picture import draw_preview, read_slice, to_png
from _platelet_em.spec import DatasetSpec

__all__ = ["image_page", "label_values", "preview_page", "semantic_page", "stack_pages"]


def image_page(volume: VolumeView, z: int) -> Row:
    """Slice z of the image as an uncompressed TIFF, in the bits of the image."""
    page = encode_page(volume.image(z))
    return {"bytes": page, "path": f"{volume.name}-image-{z:03}.tif"}


def semantic_page(volume: VolumeView, z: int, spec: DatasetSpec) -> Row | None:
    """Slice z of the class indices as an uncompressed 8-bit palette TIFF; None if it has none."""
    if not volume.has_semantic:
        return None
    page = encode_page(volume.semantic(z), class_palette(spec))
    return {"bytes": page, "path": f"{volume.name}-semantic-{z:03}.tif"}


def preview_page(volume: VolumeView, z: int, spec: DatasetSpec) -> Row:
    """A small RGB picture of slice z and its labels as PNG."""
    picture = draw_preview(read_slice(volume, z), spec)
    return {"bytes": to_png(picture), "path": f"{volume.name}-preview-{z:03}.png"}


def stack_pages(pages: Iterable[Row | None], count: int) -> pa.StructArray:
    """Encoded images as an Arrow array of structs, with one page in memory besides it.

    Args:
        pages: Encoded images of one size in bytes, as the functions above give them; none is None.
        count: Their number.
    """
    data, paths = np.empty(0, np.uint8), []
    for index, page in enumerate(pages):
        if page is None:
            raise TypeError("a slice without a page is no part of a stack")
        content = np.frombuffer(page["bytes"], np.uint8)
        if index == 0:
            data = np.empty((count, len(content)), np.uint8)
        data[index] = content
        paths.append(page["path"])
    offsets = np.arange(count + 1, dtype=np.int32) * data.shape[-1]
    contents = pa.Array.from_buffers(
        pa.binary(), count, [None, pa.py_buffer(offsets), pa.py_buffer(data)]
    )
    return pa.StructArray.from_arrays([contents, pa.array(paths, pa.string())], ["bytes", "path"])


def label_values(volume: VolumeView, spec: DatasetSpec, z: int | None = None) -> Row:
    """The label columns of slice z, or of the whole volume: numbers of instances, then structs.

    Both are null of instances that the volume has no labels for: none are known, not none there.
    """
    counts: Row = {}
    structs: Row = {}
    for instance in spec.instances:
        has_labels = instance.column in volume.kinds
        labels = volume.labels(instance.column, z) if has_labels else None
        counts[instance.count_column] = None if labels is None else len(labels.ids)
        structs[instance.column] = None if labels is None else dict(labels.items())
    return {**counts, **structs}
