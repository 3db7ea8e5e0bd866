"""`export`: a dataset, or some of its volumes, in the format of another tool."""

import json
import logging
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from _platelet_em import __version__
from _platelet_em.errors import ArchiveError, ArgumentError, MissingMemberError, printable, quote
from _platelet_em.export.job import ExportJob
from _platelet_em.export.registry import FORMATS, ExportFormat, find_format
from _platelet_em.files import new_folder, user_path
from _platelet_em.hub.layout import data_files
from _platelet_em.hub.remote import HubPath, download_repository
from _platelet_em.hub.source import DatasetSource, find_dataset, list_names
from _platelet_em.rows.make import SLICES
from _platelet_em.spec import SEMANTIC, DatasetSpec, VolumeSpec

__all__ = ["RECORD", "export"]

RECORD = "export.json"
"""File of an export that says what is in it, and under which license."""

_LOGGED = 20
"""Remarks that are logged; all are in the record."""

_log = logging.getLogger(__name__)


def export(
    source: str | Path,
    out: str | Path,
    *,
    to: str,
    split: str | Iterable[str] | None = None,
    volume: str | Iterable[str] | None = None,
    kinds: str | Iterable[str] | None = None,
    label_source: str | None = None,
    imagej: bool | None = None,
    counts: str | None = None,
    ome: str | None = None,
) -> Path:
    """Write volumes in a format that other tools read, voxel for voxel.

    Whatever a volume has no labels for is left out, which is logged, and noted in the file
    `export.json` of the export. Memory goes with a few slices (of "ome-zarr", with up to 64
    million voxels) and with the runs of one volume.

    Args:
        source: A built repository, a zip of the publisher, its extracted folder, a folder with the
            zips, a description of own volumes (.toml), or a dataset on the Hub (`USER/NAME` or
            `hf://datasets/USER/NAME[@REVISION]`), of which the needed files are downloaded.
        out: Folder to write, in which there must be nothing yet. It gets its name when all of it
            is complete.
        to: The format: "tiff", "coco", "nnunet", "ome-zarr" or "hdf5".
        split: Splits to write; None is all, of archives those of the two published volumes.
        volume: Names of volumes to write; None is all.
        kinds: Label columns to write, such as ["semantic", "cells"]; None is all.
        label_source: "json" or "tif"; None is that of a repository, and "json" of archives.
        imagej: Of "tiff": whether to write ImageJ's TIFs, whose ids are at most 65535 (default),
            or BigTIFFs with ids of 32 bits.
        counts: Of "coco": run lengths of masks as strings, "compressed" (default), which
            pycocotools reads, or as lists, "uncompressed", which are easier for other readers.
        ome: Of "ome-zarr": version of the specification, "0.5" (default; Zarr v3, few files) or
            "0.4" (Zarr v2, a file per chunk).

    Returns:
        The folder.

    Raises:
        ArgumentError: for an unknown format, split, volume or kind, an option of another format,
            and a format that would lose voxels.
        MissingExtraError: if the format needs a package that is not installed.
        OutputError: if `out` exists already, or cannot be written.
        PlateletEMError: for a source that is missing or damaged, or that the format cannot hold.

    >>> import platelet_em, pathlib, tempfile, tifffile
    >>> folder = tempfile.TemporaryDirectory()
    >>> archives = pathlib.Path(folder.name, "archives")
    >>> _ = platelet_em.write_sample(archives, depth=2, size=64)
    >>> out = platelet_em.export(archives, archives.parent / "tif", to="tiff", volume="50")
    >>> sorted(path.name for path in out.iterdir())  # doctest: +NORMALIZE_WHITESPACE
    ['50-cells.tif', '50-image.tif', '50-organelles.tif', '50-semantic.tif', 'export.json',
     'objects.csv']
    >>> tifffile.imread(out / "50-cells.tif").shape
    (2, 64, 64)
    >>> folder.cleanup()
    """
    format_ = find_format(to)
    options = _choose_options(format_, {"imagej": imagej, "counts": counts, "ome": ome})
    target = user_path(out)
    dataset = find_dataset(source, label_source)
    job = _plan(dataset, _names("split", split), _names("volume", volume), _names("kinds", kinds))
    job = replace(job, out_name=target.absolute().name)
    with new_folder(target) as folder:
        job = _fetch(job)
        if job.source.is_sample(job.volumes[0]):
            job.remarks.append("this is the synthetic sample, not the publisher's data")
        before = job.source.stamps(job.volumes)
        format_.write(job, folder, options)
        if job.source.stamps(job.volumes) != before:
            raise ArchiveError(
                f"{job.source}: was built again, or changed, while it was exported: run the same "
                "command again"
            )
        record = _describe(job, format_, options)
        text = json.dumps(record, indent=1, ensure_ascii=False)
        (folder / RECORD).write_text(text + "\n", encoding="utf-8")
    _log_remarks(job.remarks)
    return target


def _log_remarks(remarks: list[str]) -> None:
    """Log the first remarks: a dataset of pictures may have one for each of them."""
    for remark in remarks[:_LOGGED]:
        _log.warning("%s", printable(remark))
    if len(remarks) > _LOGGED:
        _log.warning("%d more remarks are in %s", len(remarks) - _LOGGED, RECORD)


def _choose_options(format_: ExportFormat, given: dict[str, Any]) -> dict[str, Any]:
    """The options of a format: those that were given, or its defaults.

    Raises:
        ArgumentError: for one of another format, or a value that it may not have.
    """
    own = {option.name: option for option in format_.options}
    for name, value in given.items():
        if value is None:
            continue
        if name not in own:
            having = [f.name for f in FORMATS if any(o.name == name for o in f.options)]
            raise ArgumentError(
                f"{name}: is an option of {', '.join(having)}, got the format {format_.name}: "
                "leave it out"
            )
        option = own[name]
        if not isinstance(value, type(option.default)) or value not in option.values:
            values = ", ".join(map(quote, option.values))
            raise ArgumentError(f"{name}: expected one of {values}, got {quote(value)}")
    return {
        name: option.default if given.get(name) is None else given[name]
        for name, option in own.items()
    }


def _names(argument: str, value: str | Iterable[str] | None) -> list[str] | None:
    """Names that were given alone or in a list, each once.

    Raises:
        ArgumentError: for anything else.
    """
    if value is None:
        return None
    names = [value]
    if not isinstance(value, (str, bytes)) and isinstance(value, Iterable):
        names = list(value)
    for name in names:
        if not isinstance(name, str):
            raise ArgumentError(f"{argument}: expected a name, or a list, got {quote(name)}")
    return [*dict.fromkeys(map(str, names))]


def _plan(
    dataset: DatasetSource,
    splits: list[str] | None,
    names: list[str] | None,
    kinds: list[str] | None,
) -> ExportJob:
    """What is exported.

    Raises:
        ArgumentError: for names that the dataset does not have, or that leave nothing.
    """
    spec = dataset.spec
    everything = spec.with_optional()
    columns = _label_columns(everything)
    volume_names = [volume.name for volume in everything.volumes]
    _check_names("split", splits, everything.splits)
    _check_names("volume", names, volume_names)
    _check_names("kinds", kinds, columns)
    among = everything if splits or names else spec
    volumes = tuple(
        volume
        for volume in among.volumes
        if (splits is None or volume.split in splits) and (names is None or volume.name in names)
    )
    if not volumes:
        raise ArgumentError(
            f"volume, split: no volume of {quote(names)} is in the split {quote(splits)}"
        )
    return ExportJob(dataset, volumes, tuple(c for c in columns if kinds is None or c in kinds))


def _check_names(argument: str, found: list[str] | None, known: Iterable[str]) -> None:
    """Refuse names that the dataset does not have, and a list without any."""
    if found is None:
        return
    listed = list_names(known)
    if not found:
        raise ArgumentError(f"{argument}: expected some of {listed}, got none")
    if unknown := [name for name in found if name not in known]:
        raise ArgumentError(f"{argument}: expected some of {listed}, got {quote(unknown[0])}")


def _label_columns(spec: DatasetSpec) -> tuple[str, ...]:
    """The label columns that the dataset has, "semantic" first where it has classes."""
    return tuple(column for column in spec.columns if column != SEMANTIC or spec.classes)


def _fetch(job: ExportJob) -> ExportJob:
    """The same job on this machine: of a dataset on the Hub, the files of its splits are fetched.

    Raises:
        HubError: if the Hub does not answer.
        MissingMemberError: if it has no files of one of these splits.
    """
    location = job.source.location
    if not isinstance(location, HubPath):
        return job
    patterns = []
    for split in dict.fromkeys(volume.split for volume in job.volumes):
        if not data_files(location, SLICES.name, split):
            raise MissingMemberError(
                f"{location}: expected a built repository with the split {split!r} in "
                f"{SLICES.name}, found none"
            )
        patterns.append(f"{SLICES.name}/{split}-*.parquet")
    folder = download_repository(location, patterns)
    return replace(job, source=DatasetSource(folder, job.spec, job.source.label_source))


def _describe(job: ExportJob, format_: ExportFormat, options: dict[str, Any]) -> dict[str, Any]:
    """The record of an export."""
    spec = job.spec
    return {
        "format": format_.name,
        "options": options,
        "written_by": f"platelet-em {__version__}",
        "dataset": spec.name,
        "title": spec.title,
        "license": spec.license,
        "license_details": spec.license_details,
        "citation": spec.citation,
        "voxel_size_nm": spec.voxel_size_nm and list(spec.voxel_size_nm),
        "axes": ["z", "y", "x"],
        "classes": list(spec.class_names),
        "volumes": [_describe_volume(volume) for volume in job.volumes],
        "labels": list(job.columns),
        "remarks": job.remarks,
        **({"renamed": job.renamed} if job.renamed else {}),
    }


def _describe_volume(volume: VolumeSpec) -> dict[str, Any]:
    return {"name": volume.name, "split": volume.split, "note": volume.note.strip()}
