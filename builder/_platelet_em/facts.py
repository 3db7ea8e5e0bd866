"""The facts about the dataset, as data: volumes, classes, colours, archives, citation.

Sources: the publisher's dataset page [page], the publisher's own tools [code], measurements on
the published z=0 pictures of volume 50 [png].
"""

from dataclasses import dataclass

__all__ = [
    "ARCHIVES",
    "CITATION",
    "CLASSES",
    "CLASS_NAMES",
    "CONFIGS",
    "CONFIG_NAMES",
    "DESCRIPTION",
    "DOI",
    "FIRST_AUTHOR",
    "FIRST_ORGANELLE_CLASS",
    "HOMEPAGE_PAPER",
    "KNOWN_FILES",
    "LABEL_SOURCES",
    "LICENSE",
    "LICENSE_WORDS",
    "PUBLISHED",
    "SAMPLE_COMMENT",
    "SCHEMA_VERSION",
    "TOP_FOLDER",
    "VOLUMES",
    "VOXEL_SIZE_NM",
    "Archive",
    "Config",
    "SemanticClass",
    "VolumeSpec",
    "archive_for",
    "config_named",
    "volume_named",
]

SCHEMA_VERSION = 1
"""Version of the columns and of the files that `build` writes."""

VOXEL_SIZE_NM = (40.0, 10.0, 10.0)
"""Size of a voxel in nm, (z, y, x), approximate [page]."""

TOP_FOLDER = "platelet-em"
"""Top folder of the current archives [code]; older ones had none, so members go by base name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSpec:
    """One 3D image of the dataset: name, split, shape [page], share of each class [png].

    Attributes:
        shape: (z, y, x), as published.
        class_shares: Percent of the voxels of z=0, by class index, as published.
    """

    name: str
    split: str
    shape: tuple[int, int, int]
    class_shares: tuple[float, ...]

    @property
    def images(self) -> str:
        """Base name of the image file, a multipage uint16 TIF."""
        return f"{self.name}-images.tif"

    def labels(self, kind: str, label_source: str) -> str:
        """Base name of a label file; `kind` is "semantic", "cell" or "organelle"."""
        stem = "semantic" if kind == "semantic" else f"instance-{kind}"
        return f"{self.name}-{stem}.{label_source}"

    def members(self, label_source: str) -> dict[str, str]:
        """Where the publisher puts each file of this volume: {base name: path in the archive}."""
        folders = {self.images: "images", self.labels("semantic", label_source): "labels-semantic"}
        for kind in ("cell", "organelle"):
            folders[self.labels(kind, label_source)] = "labels-instance"
        return {name: f"{TOP_FOLDER}/{folder}/{name}" for name, folder in folders.items()}


VOLUMES = (
    VolumeSpec(
        name="50",
        split="train",
        shape=(50, 800, 800),
        class_shares=(29.56, 61.79, 0.69, 4.03, 3.76, 0.14, 0.017),
    ),
    VolumeSpec(
        name="24",
        split="validation",
        shape=(24, 800, 800),
        class_shares=(48.09, 44.95, 0.59, 4.23, 2.04, 0.08, 0.014),
    ),
)
"""The two volumes; volume 50 trains and volume 24 evaluates, as in the paper [page]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SemanticClass:
    """A semantic class: index, name [page], and its colour in the two palettes in use.

    Palette A is that of older files and of the published pictures [code, png]; palette B is
    matplotlib's `jet(index / 6)`, which the publisher's JSON-to-RGBA writer produces [code].
    """

    index: int
    name: str
    color_a: tuple[int, int, int]
    color_b: tuple[int, int, int]


CLASSES = (
    SemanticClass(index=0, name="background", color_a=(0, 0, 0), color_b=(0, 0, 0)),
    SemanticClass(index=1, name="cell", color_a=(1, 1, 224), color_b=(0, 40, 255)),
    SemanticClass(index=2, name="mitochondrion", color_a=(1, 171, 254), color_b=(0, 212, 255)),
    SemanticClass(index=3, name="alpha granule", color_a=(1, 254, 1), color_b=(124, 255, 121)),
    SemanticClass(
        index=4, name="canalicular vessel", color_a=(255, 224, 0), color_b=(255, 229, 0)
    ),
    SemanticClass(index=5, name="dense granule body", color_a=(250, 94, 0), color_b=(255, 70, 0)),
    SemanticClass(index=6, name="dense granule core", color_a=(245, 0, 203), color_b=(127, 0, 0)),
)
CLASS_NAMES = tuple(c.name for c in CLASSES)
FIRST_ORGANELLE_CLASS = 2
"""Classes from here on are organelles: (organelle > 0) == (semantic >= 2) [png]."""

SAMPLE_COMMENT = "platelet-em sample: a synthetic scene, not data"
"""Comment of the zips of the embedded sample, and description of the pages of its images: by that
what is made of them is known."""

LABEL_SOURCES = ("json", "tif")
"""`json` holds the true ids; `tif` holds colours, whose ids follow their first appearance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """An archive of the publisher: which labels it holds, where it lies, how it is checked."""

    label_source: str
    file_name: str
    url: str
    size: str
    md5: str | None


ARCHIVES = (
    Archive(
        label_source="json",
        file_name="images_and_labels_json.zip",
        url="https://www.dropbox.com/s/tgmwv9kegijfrao/images_and_labels_json.zip?dl=1",
        size="98.2 MB",
        md5="23891d451dffb8709c4cf719c1a389d4",
    ),
    Archive(
        label_source="tif",
        file_name="images_and_labels_rgba.zip",
        url="https://www.dropbox.com/s/pvrfnurjq11k0l3/images_and_labels_rgba.zip?dl=1",
        size="95.3 MB",
        md5=None,
    ),
)

KNOWN_FILES = {
    "23891d451dffb8709c4cf719c1a389d4": "the published JSON archive",
    "f07632c95cacb3f50496f4b2b35624f3": "the first JSON issue",
    "253310093ee2c00304fbabdb0c7e3a4a": "the archive of the paper",
    "940ffa25038e9e9ca0ae86bc7e75553c": "train-images.tif of the paper",
    "dc72be0033f8ce409cac0202928873ba": "train-labels.tif of the paper",
    "dd30e90f77b2141dd01ab7b76e238163": "train-error-weights.tif of the paper",
    "0fd6642cd7cf0a1e758d7d48b3ac5b57": "eval-images.tif of the paper",
    "abec7b896c2b57ebfc6bccac77cdcd2f": "eval-labels.tif of the paper",
    "d3f296cbedb7c3240e6be0e9e7217f3a": "test-images.tif of the paper",
    "dd21ca5031d74b6f8be9f954e8fe7eac": "test-labels.tif of the paper",
}
"""MD5 of archives and of their members, and what they are [code]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """A configuration of the dataset: its rows, and the most shards that a split of it has."""

    name: str
    description: str
    max_shards: int


CONFIGS = (
    Config(
        name="slices",
        description="one row a slice: image, semantic index mask, cell and organelle instances",
        max_shards=8,
    ),
    Config(
        name="volumes",
        description="one row a volume: the image and mask stacks, and the 3D instances",
        max_shards=1,
    ),
    Config(
        name="preview",
        description="one row a slice, for looking only: a small picture of image and labels",
        max_shards=1,
    ),
)
CONFIG_NAMES = tuple(c.name for c in CONFIGS)

DESCRIPTION = (
    "Two 3D serial block-face scanning electron microscopy (SBF-SEM) volumes of human platelets, "
    "with semantic masks of seven classes and with instance masks of cells and organelles."
)
DOI = "10.1038/s41598-021-81590-0"
HOMEPAGE_PAPER = f"https://doi.org/{DOI}"
FIRST_AUTHOR = "Matthew D. Guay"
PUBLISHED = "2021"
"""Year of the paper; the dataset page gives no date."""
CITATION = """\
@article{guay2021dense,
  title   = {Dense cellular segmentation for EM using 2D-3D neural network ensembles},
  author  = {Guay, Matthew D. and others},
  journal = {Scientific Reports},
  volume  = {11},
  number  = {2561},
  year    = {2021},
  doi     = {10.1038/s41598-021-81590-0}
}
"""
LICENSE = "other"
LICENSE_WORDS = "cleared for public release"
"""The publisher names no licence; the page says this, and that NIBIB reviewed it [page]."""


def volume_named(name: str) -> VolumeSpec:
    """The volume of that name; KeyError for any other."""
    return {v.name: v for v in VOLUMES}[name]


def config_named(name: str) -> Config:
    """The configuration of that name; KeyError for any other."""
    return {c.name: c for c in CONFIGS}[name]


def archive_for(label_source: str) -> Archive:
    """The archive that holds the labels of that source; KeyError for any other."""
    return {a.label_source: a for a in ARCHIVES}[label_source]
