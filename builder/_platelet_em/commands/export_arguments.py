"""The arguments of `platelet-em export`."""

import argparse
from pathlib import Path
from typing import Any

from _platelet_em.commands.options import ANYWHERE, add_label_source
from _platelet_em.export.registry import FORMATS, LOSSY

__all__ = ["add_export_arguments"]


def add_export_arguments(command: argparse.ArgumentParser) -> None:
    """Add source, target and options, and to the description the formats."""
    formats = "\n".join(f"  {each.name:9} {each.purpose}" for each in FORMATS)
    command.description = (
        f"{command.description}\n\nformats:\n{formats}\n\nNot offered, since they would lose "
        f"voxels or ids: {', '.join(LOSSY)}."
    )
    command.add_argument("source", metavar="SOURCE", help=ANYWHERE)
    command.add_argument(
        "out",
        metavar="OUT",
        type=Path,
        help="folder to write; there must be nothing in it. It gets its name when it is complete",
    )
    # Without `choices`: a format that is not offered gets its reason.
    to: Any = command.add_argument(
        "--to", metavar="FORMAT", required=True, help="the format, see above"
    )
    to.completer = lambda **_: [each.name for each in FORMATS]
    command.add_argument(
        "--split",
        nargs="+",
        action="extend",
        metavar="SPLIT",
        help="splits to write (default: all, of archives train and validation)",
    )
    command.add_argument(
        "--volume",
        nargs="+",
        action="extend",
        metavar="NAME",
        help="names of volumes to write (default: all)",
    )
    command.add_argument(
        "--kinds",
        nargs="+",
        action="extend",
        metavar="COLUMN",
        help="label columns to write, such as semantic cells organelles (default: all)",
    )
    command.add_argument(
        "--no-imagej",
        dest="imagej",
        action="store_const",
        const=False,
        help="tiff: BigTIFFs with ids of 32 bits, instead of files for ImageJ, which reads ids up "
        "to 65535",
    )
    command.add_argument(
        "--counts",
        choices=("compressed", "uncompressed"),
        help="coco: run lengths of masks as strings, as pycocotools writes them, or as lists of "
        "integers (default: compressed)",
    )
    command.add_argument(
        "--ome",
        choices=("0.5", "0.4"),
        help="ome-zarr: version, 0.5 (Zarr v3, few files) or 0.4 (Zarr v2, a file per chunk) "
        "(default: 0.5)",
    )
    add_label_source(command, default=None, described="that of a repository, otherwise json")
