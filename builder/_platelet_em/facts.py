"""What is known about a dataset: `DatasetSpec`, and the published dataset as a value of it.

Sources of the published facts: the publisher's dataset page [page], the publisher's own tools
[code], measurements on the published z=0 pictures of volume 50 [png],
other public loaders [peer].
"""

from dataclasses import dataclass, replace
from pathlib import PurePosixPath

__all__ = [
    "COLOR_MAP_ENTRIES",
    "LABEL_FORMS",
    "LABEL_SOURCES",
    "MIRRORS",
    "PICTURE_PALETTES",
    "PUBLISHED",
    "SAMPLE_COMMENT",
    "SEMANTIC",
    "Archive",
    "Color",
    "DatasetSpec",
    "InstanceSpec",
    "SemanticClass",
    "VolumeSpec",
]

Color = tuple[int, int, int]
"""8-bit RGB."""

SEMANTIC = "semantic"
"""Column of the class indices; all other label columns hold instances."""

LABEL_SOURCES = ("json", "tif")
"""`json` holds the true ids; `tif` holds colors, whose ids follow their first appearance. Each is
also the suffix of its label files."""

LABEL_FORMS = ("json", "index", "rgba")
"""The forms of label files: JSON, a TIF of ids, and a TIF of colors."""

COLOR_MAP_ENTRIES = 256
"""Entries of the color map through which the publisher's writer makes TIFs of colors [code]."""

MIRRORS = "PLATELET_EM_MIRRORS"
"""Environment variable: URLs of folders with copies of the archives, separated by commas. They are
tried before the publisher's URL."""

PICTURE_PALETTES = ("accessible", "publisher")
"""Colors of the classes in pictures: those that color-blind readers can tell apart, or those of
the published pictures."""

SAMPLE_COMMENT = "platelet-em sample: a synthetic scene, not data"
"""Comment of the zips of the synthetic sample, and description of the pages of its images: by this
a repository that is made of them is recognized as synthetic."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SemanticClass:
    """A semantic class; its index is its position in `DatasetSpec.classes`.

    Attributes:
        name: Name of the class.
        colors: Its color in each palette of the dataset, in the order of `DatasetSpec.palettes`.
        accessible: Its color in pictures, which color-blind readers can tell from those of the
            other classes; None for that of the first palette.
    """

    name: str
    colors: tuple[Color, ...]
    accessible: Color | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSpec:
    """One kind of instances, such as the organelles.

    Attributes:
        column: Label column of a row, such as "organelles"; a column "n_organelles" counts it.
        name: What one of them is called, such as "organelle".
        first_class: Instances cover exactly the voxels of this semantic class and of those after
            it: `organelle > 0` where `semantic >= 2` [png].
        has_class: Whether each instance has a `class_id` and a `purity`: the class with most of
            its voxels among those from `first_class` on, and the share of its voxels in it.
        parent: `name` of the kind of instances that these are part of; each has a property of
            this name, with the id of the parent that holds most of its voxels. None for none.
    """

    column: str
    name: str
    first_class: int = 1
    has_class: bool = False
    parent: str | None = None

    @property
    def count_column(self) -> str:
        """Column with the number of instances of a row."""
        return f"n_{self.column}"

    @property
    def properties(self) -> tuple[str, ...]:
        """Names of the properties of an instance that belong to the whole 3D object."""
        classified = ("class_id", "purity") if self.has_class else ()
        return (*classified, *((self.parent,) if self.parent else ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSpec:
    """One 3D image of a dataset, and which labels it has.

    Attributes:
        name: Name of the volume.
        split: Split of the dataset that it forms.
        shape: (z, y, x), as published.
        class_shares: Percent of the voxels by class index, measured [paper].
        label_versions: Known versions of the semantic labels: what each is known as, and its
            voxels by class index. The last number is that of its class and of all after it.
        archives: Name of each archive that holds the volume.
        image_file: Path of the image file in the archives, a multipage uint16 TIF; empty where
            only the labels of an archive are used.
        label_files: Column and path in the archives of each label file, without the suffix, which
            is the label source; the semantic classes first. The volume has labels of these
            columns, and of no others.
        label_suffix: Suffix of its label files where it does not go with the label source: they
            are the same files for any label source.
        may_be_signed: Whether its images may be int16. They are read as uint16 then: 32768 is
            added to each value.
        is_partly_labeled: Whether class 0 also means "not labeled": only voxels of other classes
            can be scored.
    """

    name: str
    split: str
    shape: tuple[int, int, int]
    class_shares: tuple[float, ...]
    archives: tuple[str, ...]
    image_file: str
    label_files: tuple[tuple[str, str], ...]
    label_versions: tuple[tuple[str, tuple[int, ...]], ...] = ()
    label_suffix: str | None = None
    may_be_signed: bool = False
    is_partly_labeled: bool = False

    @property
    def images(self) -> str:
        """Base name of the image file."""
        return PurePosixPath(self.image_file).name

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that the volume has labels for, semantic classes included."""
        return tuple(column for column, _ in self.label_files)

    def labels(self, column: str, label_source: str) -> str:
        """Base name of a label file.

        Raises:
            KeyError: for a column that the volume has no labels for.
        """
        suffix = self.label_suffix or label_source
        return f"{PurePosixPath(dict(self.label_files)[column]).name}.{suffix}"

    def members(self, label_source: str) -> dict[str, str]:
        """The files of this volume in an archive: {base name: path in the archive}."""
        suffix = self.label_suffix or label_source
        labels = [f"{path}.{suffix}" for _, path in self.label_files]
        paths = [self.image_file, *labels] if self.image_file else labels
        return {PurePosixPath(path).name: path for path in paths}


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """An archive of the publisher.

    Attributes:
        name: Its name: the label source that it holds, or another word.
        file_name: Name of the zip.
        url: Address that it is downloaded from.
        size: Its size, as published.
        md5: Its MD5, or None if none is published.
    """

    name: str
    file_name: str
    url: str
    size: str
    md5: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec:
    """All facts about a dataset that the code needs; passed down, never read from a global.

    Attributes:
        name: Name of the dataset.
        description: One or two sentences.
        homepage: Address of the paper.
        citation: BibTeX.
        first_author: First author of the paper.
        published: Year of the paper.
        license: The Hub's identifier of the license.
        license_name: What the Hub calls the license, if `license` is "other".
        license_details: What the publisher says about the license.
        page: Address of the publisher's page of the dataset.
        voxel_size_nm: Approximate size of a voxel in nm, (z, y, x).
        classes: The semantic classes by index, background first.
        palettes: Names of the palettes in use for RGB label files; the first is that of the
            published pictures, and of the palette images in rows.
        instances: The kinds of instances, parents before their parts.
        volumes: The volumes, in the order of their splits.
        optional_volumes: Further volumes, which are there only if they are asked for.
        other_labels: Other labels of the volumes, by their names, which are compared with theirs.
        archives: The archives; the first is the default.
        known_files: MD5 of archives and of their members [code], and what each is known as.
        bright_background: Whether background is brighter than cells in the published pictures.
        whole_range: Whether the images of a volume use all 16-bit gray values.
        confusable_classes: Two classes that some public loaders swap, the more frequent first;
            None if there are none.
    """

    name: str
    description: str
    homepage: str
    citation: str
    first_author: str
    published: str
    license: str
    license_name: str
    license_details: str
    page: str
    voxel_size_nm: tuple[float, float, float]
    classes: tuple[SemanticClass, ...]
    palettes: tuple[str, ...]
    instances: tuple[InstanceSpec, ...]
    volumes: tuple[VolumeSpec, ...]
    archives: tuple[Archive, ...]
    known_files: tuple[tuple[str, str], ...] = ()
    optional_volumes: tuple[VolumeSpec, ...] = ()
    other_labels: tuple[VolumeSpec, ...] = ()
    bright_background: bool = False
    whole_range: bool = False
    confusable_classes: tuple[int, int] | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the semantic classes, by index."""
        return tuple(c.name for c in self.classes)

    def class_name(self, index: int) -> str:
        """The name of a class; damaged labels have indices without one, such as "class 200"."""
        return self.class_names[index] if index < len(self.classes) else f"class {index}"

    @property
    def columns(self) -> tuple[str, ...]:
        """All label columns: the semantic classes, then each kind of instances."""
        return (SEMANTIC, *(instance.column for instance in self.instances))

    def with_optional(self) -> "DatasetSpec":
        """The dataset with its optional volumes among the others; of that, it is the same."""
        return replace(self, volumes=(*self.without_optional().volumes, *self.optional_volumes))

    def without_optional(self) -> "DatasetSpec":
        """The dataset without its optional volumes."""
        volumes = tuple(v for v in self.volumes if v not in self.optional_volumes)
        return replace(self, volumes=volumes)

    @property
    def needed_archives(self) -> tuple[Archive, ...]:
        """The archives that hold one of the volumes."""
        names = {name for volume in self.volumes for name in volume.archives}
        return tuple(archive for archive in self.archives if archive.name in names)

    def volume(self, name: str) -> VolumeSpec:
        """The volume of that name; KeyError for any other."""
        return {v.name: v for v in self.volumes}[name]

    def archive(self, name: str) -> Archive:
        """The archive of that name, such as a label source; KeyError for any other."""
        return {a.name: a for a in self.archives}[name]

    def instance(self, column: str) -> InstanceSpec:
        """The kind of instances of that column; KeyError for any other."""
        return {i.column: i for i in self.instances}[column]

    def parent(self, instance: InstanceSpec) -> InstanceSpec | None:
        """The kind of instances that `instance` is part of; None if it is part of none."""
        return next((i for i in self.instances if i.name == instance.parent), None)

    def describe_file(self, md5: str) -> str | None:
        """What the file with that MD5 is known as; None if it is not known."""
        return dict(self.known_files).get(md5)


_PAPER = "that of the archive of the paper"
"""A version of the semantic labels, measured on its files [paper]."""


def _paper_labels(volume: VolumeSpec, name: str) -> VolumeSpec:
    """The paper's semantic labels of a volume [paper]; its images have another gray scale."""
    return replace(
        volume,
        archives=("paper",),
        image_file="",
        label_files=((SEMANTIC, f"platelet_data/{name}-labels"),),
        label_suffix="tif",
    )


def _published_volume(
    name: str,
    split: str,
    depth: int,
    class_shares: tuple[float, ...],
    label_versions: tuple[tuple[str, tuple[int, ...]], ...],
) -> VolumeSpec:
    """A volume of 800 x 800 pixels per slice, in the layout of the current archives [code]."""
    return VolumeSpec(
        name=name,
        split=split,
        shape=(depth, 800, 800),
        class_shares=class_shares,
        label_versions=label_versions,
        archives=LABEL_SOURCES,
        image_file=f"platelet-em/images/{name}-images.tif",
        label_files=(
            (SEMANTIC, f"platelet-em/labels-semantic/{name}-semantic"),
            ("cells", f"platelet-em/labels-instance/{name}-instance-cell"),
            ("organelles", f"platelet-em/labels-instance/{name}-instance-organelle"),
        ),
    )


# Volume 50 trains and volume 24 evaluates, as in the paper [page].
_VOLUMES = (
    _published_volume(
        "50",
        "train",
        50,
        (36.06, 55.26, 0.616, 4.645, 3.118, 0.238, 0.065),
        (
            (_PAPER, (11537680, 17684164, 196963, 1486355, 997860, 76132, 20846)),
            # Background, cell, and all organelles together [peer].
            ("that of a public script", (11541800, 17687776, 2770424)),
        ),
    ),
    _published_volume(
        "24",
        "validation",
        24,
        (45.22, 47.89, 1.384, 2.940, 2.411, 0.131, 0.031),
        ((_PAPER, (6945320, 7355219, 212560, 451600, 370292, 20184, 4825)),),
    ),
)

PUBLISHED = DatasetSpec(
    name="platelet-em",
    description=(
        "Two 3D serial block-face scanning electron microscopy (SBF-SEM) volumes of human "
        "platelets, with semantic masks of seven classes and with instance masks of cells and "
        "organelles."
    ),
    homepage="https://doi.org/10.1038/s41598-021-81590-0",
    citation="""\
@article{guay2021dense,
  title   = {Dense cellular segmentation for EM using 2D-3D neural network ensembles},
  author  = {Guay, Matthew D. and Emam, Zeyad A. S. and Anderson, Adam B. and
             Aronova, Maria A. and Pokrovskaya, Irina D. and Storrie, Brian and
             Leapman, Richard D.},
  journal = {Scientific Reports},
  volume  = {11},
  number  = {2561},
  year    = {2021},
  doi     = {10.1038/s41598-021-81590-0}
}
""",
    first_author="Matthew D. Guay",
    published="2021",
    license="other",
    # The publisher names no license; the page says this, and that NIBIB reviewed it [page].
    license_name="cleared-for-public-release",
    license_details="cleared for public release",
    # The page is the file platelet-description.md of this repository [page].
    page="https://github.com/bio3d-vision/bio3d-vision.github.io",
    voxel_size_nm=(40.0, 10.0, 10.0),
    # Palette A is that of older files and of the published pictures [code, png]; palette B is
    # matplotlib's jet(index / 6), which the publisher's JSON-to-RGBA writer produces [code]. In
    # both, alpha granules and canalicular vessels are one yellow to many color-blind readers: the
    # third is ours, for pictures. Any two of its colors differ by at least 25 (CIEDE2000), and all
    # but black from any gray by 15, also under protanopia, deuteranopia and tritanopia; found by a
    # random search.
    palettes=("A", "B"),
    classes=(
        SemanticClass(name="background", colors=((0, 0, 0), (0, 0, 0)), accessible=(0, 0, 0)),
        SemanticClass(name="cell", colors=((1, 1, 224), (0, 40, 255)), accessible=(24, 68, 111)),
        SemanticClass(
            name="mitochondrion", colors=((1, 171, 254), (0, 212, 255)), accessible=(166, 209, 255)
        ),
        SemanticClass(
            name="alpha granule", colors=((1, 254, 1), (124, 255, 121)), accessible=(167, 129, 9)
        ),
        SemanticClass(
            name="canalicular vessel",
            colors=((255, 224, 0), (255, 229, 0)),
            accessible=(255, 227, 45),
        ),
        SemanticClass(
            name="dense granule body",
            colors=((250, 94, 0), (255, 70, 0)),
            accessible=(88, 61, 0),
        ),
        SemanticClass(
            name="dense granule core",
            colors=((245, 0, 203), (127, 0, 0)),
            accessible=(129, 101, 253),
        ),
    ),
    instances=(
        InstanceSpec(column="cells", name="cell", first_class=1),
        InstanceSpec(
            column="organelles", name="organelle", first_class=2, has_class=True, parent="cell"
        ),
    ),
    volumes=_VOLUMES,
    other_labels=(_paper_labels(_VOLUMES[0], "train"), _paper_labels(_VOLUMES[1], "eval")),
    archives=(
        Archive(
            name="json",
            file_name="images_and_labels_json.zip",
            url="https://www.dropbox.com/s/tgmwv9kegijfrao/images_and_labels_json.zip?dl=1",
            size="98.2 MB",
            md5="23891d451dffb8709c4cf719c1a389d4",
        ),
        Archive(
            name="tif",
            file_name="images_and_labels_rgba.zip",
            url="https://www.dropbox.com/s/pvrfnurjq11k0l3/images_and_labels_rgba.zip?dl=1",
            size="95.3 MB",
            md5=None,
        ),
        Archive(
            name="paper",
            file_name="platelet_data_1219.zip",
            url="https://www.dropbox.com/s/68yclbraqq1diza/platelet_data_1219.zip?dl=1",
            size="188.7 MB",
            md5="253310093ee2c00304fbabdb0c7e3a4a",
        ),
    ),
    # The paper's third volume, of a second donor; one of its cells is labeled [paper].
    optional_volumes=(
        VolumeSpec(
            name="test",
            split="test",
            shape=(121, 609, 400),
            class_shares=(80.75, 16.06, 0.338, 2.249, 0.272, 0.280, 0.053),
            label_versions=((_PAPER, (23801454, 4733289, 99510, 663018, 80224, 82633, 15472)),),
            archives=("paper",),
            image_file="platelet_data/test-images.tif",
            label_files=((SEMANTIC, "platelet_data/test-labels"),),
            label_suffix="tif",
            may_be_signed=True,
            is_partly_labeled=True,
        ),
    ),
    # Measured on the published pictures of z = 0 [png].
    bright_background=True,
    whole_range=True,
    # Loaders that sort colors swap canalicular vessels and dense granule cores [peer].
    confusable_classes=(4, 6),
    known_files=(
        ("23891d451dffb8709c4cf719c1a389d4", "the published JSON archive"),
        ("f07632c95cacb3f50496f4b2b35624f3", "the first JSON issue"),
        ("253310093ee2c00304fbabdb0c7e3a4a", "the archive of the paper"),
        ("940ffa25038e9e9ca0ae86bc7e75553c", "train-images.tif of the paper"),
        ("dc72be0033f8ce409cac0202928873ba", "train-labels.tif of the paper"),
        ("dd30e90f77b2141dd01ab7b76e238163", "train-error-weights.tif of the paper"),
        ("0fd6642cd7cf0a1e758d7d48b3ac5b57", "eval-images.tif of the paper"),
        ("abec7b896c2b57ebfc6bccac77cdcd2f", "eval-labels.tif of the paper"),
        ("d3f296cbedb7c3240e6be0e9e7217f3a", "test-images.tif of the paper"),
        ("dd21ca5031d74b6f8be9f954e8fe7eac", "test-labels.tif of the paper"),
    ),
)
"""The published dataset. Only the face, the commands and defaults of arguments name it."""
