"""The format `nnunet`: a raw dataset of nnU-Net v2, with 3D TIFs.

Sources, in nnunetv2 2.8.1: `imageio/tif_reader_writer.py` (Tiff3DIO: axes are (z, y, x); the
spacing of `<case>_0000.tif` is in `<case>.json`, in the order of the axes and in any unit),
`dataset_conversion/generate_dataset_json.py` (the keys of `dataset.json`),
`utilities/label_handling/label_handling.py` (label 0 must be called "background", and "ignore" is
the last one), `training/dataloading/nnunet_dataset.py` (no case may end in "_seg"),
`training/nnUNetTrainer/nnUNetTrainer.py` (five folds).
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em import __version__
from _platelet_em.errors import ArgumentError, ConversionError, LabelRangeError, printable, quote
from _platelet_em.export.file_names import safe_names
from _platelet_em.export.job import IMAGE, ExportJob, ExportVolume
from _platelet_em.export.objects_table import objects_table
from _platelet_em.export.tiff_file import MAX_CLASSIC_BYTES, size_in_bytes, write_tif
from _platelet_em.spec import SEMANTIC, DatasetSpec, VolumeSpec

__all__ = ["write"]

_TRAIN = "train"
"""The split that nnU-Net trains and validates with."""

_BACKGROUND, _IGNORE = "background", "ignore"
"""Labels that mean something to nnU-Net."""

_FOLDS = 5


def write(job: ExportJob, folder: Path) -> None:
    """Write `dataset.json`, and images, classes and instances of each volume as 3D TIFs.

    `<part>Tr` has the volumes of the split `train` that have classes, and `<part>Ts` all volumes
    of the other splits, with `<part>` being `images`, `labels` (classes) and `instances`.

    Args:
        job: What is exported.
        folder: An empty folder.

    Raises:
        ArgumentError: if no volume to train with is exported.
        ConversionError: for classes with names that mean something else to nnU-Net.
        LabelRangeError: for pixels of a class that the dataset does not have.
    """
    labels = _name_labels(job)
    if not any(volume.split == _TRAIN for volume in job.volumes):
        raise _no_training(job)
    own_names = (volume.name for volume in job.volumes)
    names = job.rename(safe_names(own_names, refused_ending="_seg"))
    training = 0
    with objects_table(job, folder) as table:
        for volume in job.volumes:
            with job.open(volume) as opened:
                if volume.split == _TRAIN and SEMANTIC not in opened.columns:
                    job.remarks.append(
                        f"volume {volume.name}: is left out: nnU-Net trains with classes only"
                    )
                    continue
                _write_case(job.spec, opened, folder, names[volume.name])
                table.add(opened)
                training += volume.split == _TRAIN
                _remark_partly_labeled(job, volume)
    if not training:
        raise _no_training(job)
    described = _describe_dataset(job.spec, labels, training)
    text = json.dumps(described, indent=1, ensure_ascii=False)
    (folder / "dataset.json").write_text(text + "\n", encoding="utf-8")
    _remark(job, training)


# --- what nnU-Net takes -----------------------------------------------------------------------


def _name_labels(job: ExportJob) -> dict[str, int]:
    """The labels of `dataset.json`: name -> index; what is called otherwise there is remarked.

    Raises:
        ArgumentError: if classes are not exported.
        ConversionError: for names that mean something else to nnU-Net.
    """
    names = [*job.spec.class_names]
    if SEMANTIC not in job.columns:
        raise ArgumentError(
            "kinds: expected semantic among them, as nnU-Net trains with classes, got "
            f"{', '.join(job.columns)}: "
            + ("add it" if names else "the dataset has no classes: export to another format")
        )
    if len(names) < 2:
        raise ConversionError(
            f"classes: expected at least 2, as nnU-Net takes the first for background, got {names}"
        )
    last = len(names) - 1
    for name, allowed in ((_BACKGROUND, 0), (_IGNORE, last)):
        if name in names[1:] and names.index(name) != allowed:
            raise ConversionError(
                f"classes: expected {quote(name)} at index {allowed} if at all, as nnU-Net has a "
                f"meaning of its own for this name, got it at {names.index(name)}: rename the "
                "class in the description"
            )
    if names[0] != _BACKGROUND:
        job.remarks.append(
            f"class 0, {quote(names[0])}, is called {quote(_BACKGROUND)} in dataset.json, as "
            "nnU-Net demands of index 0: it has no score there; voxels are as they were"
        )
    if names[last] == _IGNORE:
        job.remarks.append(
            f"class {last}, {quote(_IGNORE)}: nnU-Net leaves its voxels out of training and scores"
        )
    return {name: index for index, name in enumerate([_BACKGROUND, *names[1:]])}


def _no_training(job: ExportJob) -> ArgumentError:
    found = ", ".join(f"{quote(v.name)} of {v.split}" for v in job.volumes[:3])
    return ArgumentError(
        f"split, volume: expected a volume with classes of the split {_TRAIN}, as nnU-Net trains "
        f"with nothing else, got {found}{', ...' if len(job.volumes) > 3 else ''}: export more "
        f"volumes, or call their split {_TRAIN} in the description"
    )


def _remark_partly_labeled(job: ExportJob, volume: VolumeSpec) -> None:
    if volume.is_partly_labeled and SEMANTIC in volume.columns:
        job.remarks.append(
            f'volume {volume.name}: label 0 also means "not labeled": score only voxels whose '
            "label is not 0. nnU-Net would take them for background: its label `ignore` has a "
            "value of its own, and voxels are exported as they are"
        )


def _remark(job: ExportJob, training: int) -> None:
    """Say what the user has to know before nnU-Net finds the dataset and trains."""
    if not re.fullmatch(r"Dataset\d{3}_.+", job.out_name):
        job.remarks.append(
            f"nnU-Net finds a dataset by the name of its folder, DatasetNNN_Name in nnUNet_raw: "
            f"rename {printable(job.out_name)}, such as to Dataset050_{job.spec.name}"
        )
    if training < _FOLDS:
        job.remarks.append(
            f"nnU-Net divides training volumes into {_FOLDS} folds, and this export has "
            f"{training}: train with the fold `all`, or with a splits_final.json of your own"
        )
    if job.spec.voxel_size_nm is None:
        job.remarks.append("the voxel size is not known: nnU-Net assumes cubes")


# --- files ------------------------------------------------------------------------------------


def _describe_dataset(spec: DatasetSpec, labels: dict[str, int], training: int) -> dict[str, Any]:
    """`dataset.json`; what is not known of the dataset is left out."""
    known = {
        "name": spec.title or spec.name,
        "description": spec.description,
        "reference": spec.homepage or spec.citation.strip(),
        "licence": spec.license_details or spec.license_name or spec.license,
        "converted_by": f"platelet-em {__version__}",
    }
    return {
        # A name that nnU-Net does not know stands for z-scores, see
        # preprocessing/normalization/map_channel_name_to_normalization.py.
        "channel_names": {"0": "image"},
        "labels": labels,
        "numTraining": training,
        "file_ending": ".tif",
        "overwrite_image_reader_writer": "Tiff3DIO",
        **{key: text for key, text in known.items() if text},
    }


def _write_case(spec: DatasetSpec, volume: ExportVolume, folder: Path, case: str) -> None:
    ending = "Tr" if volume.split == _TRAIN else "Ts"
    images, labels = folder / f"images{ending}", folder / f"labels{ending}"
    _write_tif(images / f"{case}_0000.tif", volume, IMAGE, spec)
    _write_spacing(images / f"{case}.json", spec)
    if SEMANTIC in volume.columns:
        _write_tif(labels / f"{case}.tif", volume, SEMANTIC, spec)
        _write_spacing(labels / f"{case}.json", spec)
    for column in volume.kinds:
        _write_tif(folder / f"instances{ending}" / column / f"{case}.tif", volume, column, spec)


def _write_spacing(path: Path, spec: DatasetSpec) -> None:
    """The size of a voxel, (z, y, x), in nm; nothing if it is not known."""
    if spec.voxel_size_nm is not None:
        path.write_text(json.dumps({"spacing": [*spec.voxel_size_nm]}) + "\n", encoding="ascii")


def _write_tif(path: Path, volume: ExportVolume, column: str, spec: DatasetSpec) -> None:
    """Write a volume as a TIF (z, y, x): the image in its dtype, uint8 classes, uint32 ids."""
    dtype = volume.dtype_of(column)
    write_tif(
        path,
        _pages(volume, column, len(spec.classes)),
        volume.shape,
        dtype,
        deflate=column != IMAGE,
        bigtiff=size_in_bytes(volume.shape, dtype) > MAX_CLASSIC_BYTES,
    )


def _pages(
    volume: ExportVolume, column: str, class_count: int
) -> Iterator[NDArray[np.unsignedinteger]]:
    """The slices; one with a class that there is not is an error."""
    for z, slab in volume.slabs(column, 1):
        if column == SEMANTIC and (highest := int(slab.max(initial=0))) >= class_count:
            raise LabelRangeError(
                f"volume {printable(volume.name)}, {column}, slice {z}: expected classes 0 to "
                f"{class_count - 1}, got {highest}: the labels are damaged, see platelet-em verify"
            )
        yield from slab
