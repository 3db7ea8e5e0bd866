"""The format `coco`: an annotation with an exact mask per instance and slice.

A split has one file `annotations/instances_<split>.json`, and a slice one gray PNG in `images`. Of
the format, object detection is used, with masks as run lengths: `info`, `licenses`, `images`,
`annotations`, `categories` (https://cocodataset.org/#format-data). Ids count from 1, since
pycocotools' COCOeval takes 0 for "no match". Files are ASCII, since pycocotools reads them in the
encoding of the machine. Keys of ours, which readers skip: `volume`, `z` and `labeled_kinds` of an
image; `kind`, `instance_id`, `purity` and the parent of an annotation.
"""

import contextlib
import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.errors import ArgumentError, ConversionError, quote
from _platelet_em.export.coco_categories import Categories
from _platelet_em.export.coco_masks import encode_masks
from _platelet_em.export.file_names import safe_names
from _platelet_em.export.job import IMAGE, ExportJob, ExportVolume
from _platelet_em.export.numbers import as_numbers
from _platelet_em.spec import SEMANTIC, DatasetSpec

__all__ = ["write"]

_KEYS = (
    *("id", "image_id", "category_id", "segmentation", "bbox", "area", "iscrowd", "score"),
    *("kind", "instance_id"),
)
"""Keys of an annotation, which properties cannot have."""

_SIXTEEN_BITS = (
    'images have 16 bits: readers that convert them with Pillow\'s convert("RGB"), as torchvision '
    "does, get 255 for every value above it: read them with numpy.asarray(PIL.Image.open(path))"
)


def write(job: ExportJob, folder: Path, *, counts: str) -> None:
    """Write `annotations/instances_<split>.json` and `images/<volume>-<z>.png`.

    Args:
        job: What is exported.
        folder: An empty folder.
        counts: "compressed", run lengths as strings, or "uncompressed", as lists of integers.

    Raises:
        ArgumentError: if there are no instances to write.
        ConversionError: for a property that has the name of a key of COCO.
    """
    if not any(column != SEMANTIC for column in job.columns):
        raise ArgumentError(
            "kinds: expected some with instances, as coco holds nothing else, got "
            f"{', '.join(job.columns) or 'none'}: choose others, or another format"
        )
    _check_properties(job)
    if SEMANTIC in job.columns:
        job.remarks.append("coco holds instances: the class of each pixel is not in it")
    names = safe_names(volume.name for volume in job.volumes)
    annotator = _Annotator(job.spec, Categories(job), counts)
    for name in ("annotations", "images"):
        (folder / name).mkdir()
    files: dict[str, _SplitFile] = {}
    for volume in job.volumes:
        with job.open(volume) as opened:
            if not _is_labeled(job, opened):
                continue
            if volume.split not in files:
                path = folder / "annotations" / f"instances_{volume.split}.json"
                files[volume.split] = _SplitFile(path, job.spec)
            if opened.image_dtype == np.uint16 and _SIXTEEN_BITS not in job.remarks:
                job.remarks.append(_SIXTEEN_BITS)
            with files[volume.split].open() as split:
                _write_volume(opened, split, folder / "images", names[volume.name], annotator)
    if not files:
        raise ArgumentError(
            "volume, split: expected a volume with labels of instances, as coco holds nothing "
            f"else, got {quote([volume.name for volume in job.volumes])} without: name others"
        )
    listed = annotator.categories.list()
    for each in files.values():
        each.finish(listed)


def _check_properties(job: ExportJob) -> None:
    for instance in job.spec.instances:
        for name in instance.properties:
            if name in _KEYS and instance.column in job.columns:
                raise ConversionError(
                    f"{instance.column}: expected a parent of another name than the keys of COCO, "
                    f"got {quote(name)}: rename it in the description"
                )


def _is_labeled(job: ExportJob, volume: ExportVolume) -> bool:
    """Whether a volume has instances; what COCO cannot say of it is remarked."""
    kinds = [column for column in job.columns if column != SEMANTIC]
    if not volume.kinds and kinds:
        job.remarks.append(
            f"volume {volume.name}: its images are left out: in COCO, an image without "
            "annotations is one without objects"
        )
    elif len(volume.kinds) < len(kinds):
        job.remarks.append(
            f"volume {volume.name}: in COCO its images look as if they had none of the missing "
            "objects: see `labeled_kinds` of an image"
        )
    return bool(volume.kinds)


class _SplitFile:
    """The file of a split, written annotation by annotation; of images, lines are kept.

    It is open while a volume is written: there may be more splits than files that a process may
    have open.

    Args:
        path: The file, which does not exist.
        spec: The dataset.
    """

    def __init__(self, path: Path, spec: DatasetSpec) -> None:
        self._path = path
        self._file: IO[str] = io.StringIO()
        self._license = {"license": 1} if spec.license else {}
        self._images: list[str] = []
        self._count = 0
        licenses = [{"id": 1, **_describe_license(spec)}] if spec.license else []
        info = json.dumps(_describe_dataset(spec))
        with self.open():
            self._file.write(
                f'{{"info": {info},\n"licenses": {json.dumps(licenses)},\n"annotations": ['
            )

    @contextlib.contextmanager
    def open(self) -> "Iterator[_SplitFile]":
        """Open it for `add`."""
        with self._path.open("a", encoding="ascii") as self._file:
            yield self

    def add_image(self, image: dict[str, Any]) -> int:
        """Add an image; returns its id."""
        number = len(self._images) + 1
        self._images.append(json.dumps({"id": number, **image, **self._license}))
        return number

    def add(self, annotation: dict[str, Any]) -> None:
        """Write an annotation; it gets its id here."""
        self._file.write(",\n" if self._count else "\n")
        self._count += 1
        self._file.write(json.dumps({"id": self._count, **annotation}, allow_nan=False))

    def finish(self, categories: list[dict[str, Any]]) -> None:
        """Write images and categories."""
        images = ",\n".join(self._images)
        listed = ",\n".join(map(json.dumps, categories))
        with self.open():
            self._file.write(f'\n],\n"images": [\n{images}\n],\n"categories": [\n{listed}\n]}}\n')


def _describe_dataset(spec: DatasetSpec) -> dict[str, Any]:
    """COCO's `info`, as far as it is known."""
    found = {
        "description": spec.title or spec.name,
        "url": spec.homepage or spec.page,
        "year": int(spec.published) if spec.published.isdecimal() else None,
        "citation": spec.citation.strip(),
    }
    return {key: value for key, value in found.items() if value}


def _describe_license(spec: DatasetSpec) -> dict[str, str]:
    found = {
        "name": spec.license_name or spec.license,
        "url": spec.page,
        "details": spec.license_details,
    }
    return {key: text for key, text in found.items() if text}


@dataclass(frozen=True, slots=True)
class _Annotator:
    """Makes annotations of labels.

    Attributes:
        spec: The dataset.
        categories: The categories of instances.
        counts: See `write`.
    """

    spec: DatasetSpec
    categories: Categories
    counts: str

    def annotate(self, labels: LazyLabels, column: str) -> Iterator[dict[str, Any]]:
        """The annotations of a kind in a slice, by ascending id of the objects."""
        masks = encode_masks(np.asarray(labels))
        categories = self.categories.find(column, labels)
        position = {id_: i for i, id_ in enumerate(labels.ids.tolist())}
        areas, boxes = labels.areas.tolist(), labels.bboxes.tolist()
        properties = {
            name: as_numbers(labels.properties[name])
            for name in self.spec.instance(column).properties
            if name != "class_id" and name in labels.properties
        }
        codes: list[Any] = masks.strings() if self.counts == "compressed" else masks.lists()
        for id_, code in zip(masks.ids.tolist(), codes, strict=True):
            i = position[id_]
            y0, x0, y1, x1 = boxes[i]
            yield {
                "category_id": categories[i],
                "segmentation": {"size": [*labels.shape], "counts": code},
                "bbox": [x0, y0, x1 - x0, y1 - y0],
                "area": areas[i],
                "iscrowd": 0,
                "kind": column,
                "instance_id": id_,
                **{name: values[i] for name, values in properties.items()},
            }


def _write_volume(
    volume: ExportVolume, file: _SplitFile, folder: Path, name: str, annotator: _Annotator
) -> None:
    """Write the slices of a volume.

    Args:
        volume: Which.
        file: The file of its split.
        folder: Folder of the images.
        name: How their names begin.
        annotator: Makes its annotations.
    """
    _, height, width = volume.shape
    for z, slab in volume.slabs(IMAGE, 1):
        file_name = f"{name}-{z:04d}.png"
        Image.fromarray(slab[0]).save(folder / file_name)
        image_id = file.add_image(
            {
                "file_name": file_name,
                "width": width,
                "height": height,
                "volume": volume.name,
                "z": z,
                "labeled_kinds": [*volume.kinds],
            }
        )
        for column in volume.kinds:
            for annotation in annotator.annotate(volume.labels(column, z), column):
                file.add({"image_id": image_id, **annotation})
