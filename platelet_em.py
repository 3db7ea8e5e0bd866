"""platelet-em for Hugging Face `datasets`: two SBF-SEM volumes of human platelets, with labels.

>>> import platelet_em
>>> platelet_em.FORMAT
'platelet_em'
>>> platelet_em.CLASS_NAMES[3]
'alpha granule'
>>> isinstance(platelet_em.__version__, str)
True
>>> {volume.name: (volume.split, volume.shape) for volume in platelet_em.VOLUMES}
{'50': ('train', (50, 800, 800)), '24': ('validation', (24, 800, 800))}

Importing this registers the format `"platelet_em"`, so that `ds.with_format("platelet_em")` works
on whatever `datasets.load_dataset` gave, and does nothing else.
"""

# datasets 3 runs this file as a script of another name, and looks for the builder in this module.
import platelet_em  # noqa: F401
from _platelet_em import __version__
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.stack import LazyStack
from _platelet_em.errors import (
    ArchiveError,
    ArgumentError,
    ChecksumError,
    ConversionError,
    CoverageError,
    DescriptionError,
    DownloadError,
    HubError,
    ImageFormatError,
    LabelFormatError,
    LabelRangeError,
    MissingExtraError,
    MissingMemberError,
    OutputError,
    PlateletEMError,
    SchemaVersionError,
    TooLargeError,
)
from _platelet_em.export.run import export
from _platelet_em.facts import PUBLISHED
from _platelet_em.hf.builder import PlateletEM, PlateletEMConfig
from _platelet_em.hf.formatter import FORMAT, register_format
from _platelet_em.hf.load import load_dataset
from _platelet_em.hf.private import register
from _platelet_em.hub.reference import ColumnReference
from _platelet_em.rows.intensity import IntensityStatistics
from _platelet_em.sample.write import write_sample
from _platelet_em.sources.convert import convert
from _platelet_em.training import targets
from _platelet_em.training.collate import collate
from _platelet_em.training.grids import GridWindows, StratifiedWindows
from _platelet_em.training.packed import PackedLabels
from _platelet_em.training.random_windows import RandomWindows
from _platelet_em.training.statistics import intensity_statistics
from _platelet_em.training.stitch import stitch
from _platelet_em.training.tensors import ToTensors
from _platelet_em.training.windows import Windows, windows

__all__ = [
    "CLASS_NAMES",
    "FORMAT",
    "VOLUMES",
    "ArchiveError",
    "ArgumentError",
    "ChecksumError",
    "ColumnReference",
    "ConversionError",
    "CoverageError",
    "DescriptionError",
    "DownloadError",
    "GridWindows",
    "HubError",
    "ImageFormatError",
    "IntensityStatistics",
    "LabelFormatError",
    "LabelRangeError",
    "LazyLabels",
    "LazyStack",
    "MissingExtraError",
    "MissingMemberError",
    "OutputError",
    "PackedLabels",
    "PlateletEM",
    "PlateletEMConfig",
    "PlateletEMError",
    "RandomWindows",
    "SchemaVersionError",
    "StratifiedWindows",
    "ToTensors",
    "TooLargeError",
    "Windows",
    "__version__",
    "collate",
    "convert",
    "export",
    "intensity_statistics",
    "load_dataset",
    "register",
    "stitch",
    "targets",
    "windows",
    "write_sample",
]

CLASS_NAMES = PUBLISHED.class_names
"""Names of the seven semantic classes by index, a tuple of str."""

VOLUMES = PUBLISHED.volumes
"""The published volumes, a tuple. Each has a `name` (`"50"`), a `split` (`"train"`), a `shape`
(z, y, x) in voxels, and `class_shares`, the percentage of each class in its slice z = 0."""

register_format()
