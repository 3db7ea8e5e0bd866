"""`DatasetSpec`: what the code needs to know of a dataset, passed down from where it is named."""

from dataclasses import dataclass, replace
from pathlib import PurePosixPath

__all__ = [
    "SEMANTIC",
    "Archive",
    "Color",
    "Components",
    "DatasetSpec",
    "InstanceSpec",
    "SemanticClass",
    "VolumeSpec",
]

Color = tuple[int, int, int]
"""8-bit RGB."""

SEMANTIC = "semantic"
"""Column of the class indices; all other label columns hold instances."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SemanticClass:
    """A semantic class; its index is its position in `DatasetSpec.classes`.

    Attributes:
        name: Name of the class.
        colors: Its color in each palette of the dataset, in the order of `DatasetSpec.palettes`;
            empty for a dataset without palettes.
        accessible: Its color in pictures, which color-blind readers can tell from those of the
            other classes; None for that of the first palette.
    """

    name: str
    colors: tuple[Color, ...] = ()
    accessible: Color | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstanceSpec:
    """One kind of instances, such as the organelles.

    Attributes:
        column: Label column of a row, such as "organelles"; a column "n_organelles" counts it.
        name: What one of them is called, such as "organelle".
        first_class: The lowest semantic class that an instance may have.
        fills_classes: Whether instances cover exactly the voxels of the classes from `first_class`
            on: `organelle > 0` where `semantic >= 2`.
        has_class: Whether each instance has a `class_id` and a `purity`: the class with most of
            its voxels among those from `first_class` on, and the share of its voxels in it.
        part_of: Label column of the instances that these are part of; None for none.
        parent: Each instance has a property of this name, with the id of the instance of
            `part_of` that holds most of its voxels. None for none.
    """

    column: str
    name: str
    first_class: int = 1
    fills_classes: bool = False
    has_class: bool = False
    part_of: str | None = None
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
class Components:
    """How instances are made from a mask: each connected piece of it is one.

    Ids count from 1, in the order of the first voxel of each piece in (z, y, x).

    Attributes:
        threshold: Voxels above this value belong to the mask.
        connectivity: 1 for voxels that share a face, 2 also an edge, 3 also a corner, as in
            scikit-image; in a volume of one slice, 2 and 3 are the same.
    """

    threshold: int = 0
    connectivity: int = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeSpec:
    """One 3D image of a dataset, and which labels it has.

    Attributes:
        name: Name of the volume.
        split: Split of the dataset that it forms.
        shape: (z, y, x), as published; None if it is only known from the files.
        class_shares: Percent of the voxels by class index, measured [paper].
        label_versions: Known versions of the semantic labels: what each is known as, and its
            voxels by class index. The last number is that of its class and of all after it.
        archives: Name of each archive that holds the volume; empty for one whose files are in
            `DatasetSpec.folder`.
        image_file: Path of the image file in the archives, a multipage uint16 TIF; empty where
            only the labels of an archive are used. Of a volume without archives, a path or a
            pattern of slices, relative to `DatasetSpec.folder`.
        label_files: Column and path in the archives of each label file, without the suffix, which
            is the label source; the semantic classes first. The volume has labels of these
            columns, and of no others. Of a volume without archives, a path or a pattern.
        components: Column and rule of the label files that are masks, whose pieces are instances.
        label_suffix: Suffix of its label files where it does not go with the label source: they
            are the same files for any label source.
        may_be_signed: Whether its images may be int16. They are read as uint16 then: 32768 is
            added to each value.
        is_partly_labeled: Whether class 0 also means "not labeled": only voxels of other classes
            can be scored.
        note: What readers of the card should know of it, Markdown; empty for nothing.
    """

    name: str
    split: str
    shape: tuple[int, int, int] | None = None
    class_shares: tuple[float, ...] = ()
    archives: tuple[str, ...] = ()
    image_file: str
    label_files: tuple[tuple[str, str], ...] = ()
    components: tuple[tuple[str, Components], ...] = ()
    label_versions: tuple[tuple[str, tuple[int, ...]], ...] = ()
    label_suffix: str | None = None
    may_be_signed: bool = False
    is_partly_labeled: bool = False
    note: str = ""

    @property
    def known_shape(self) -> tuple[int, int, int]:
        """The published shape; ValueError where there is none."""
        if self.shape is None:
            raise ValueError(f"volume {self.name}: no shape is known without its files")
        return self.shape

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
        title: What people call it; empty where that is the name.
        description: One or two sentences; empty if not known, as all texts below.
        about: What the card says first, Markdown, instead of the description.
        notes: What readers of the card should know, Markdown, each for itself.
        tags: Words that people find it by on the Hub.
        homepage: Address of the paper.
        citation: BibTeX, or a DOI.
        first_author: First author of the paper.
        published: Year of the paper.
        license: The Hub's identifier of the license.
        license_name: What the Hub calls the license, if `license` is "other".
        license_details: What the publisher says about the license.
        license_note: What the card says about the license, Markdown, instead of its own sentence.
        page: Address of the publisher's page of the dataset.
        voxel_size_nm: Approximate size of a voxel in nm, (z, y, x); None if not known.
        classes: The semantic classes by index; empty if it has none.
        semantic_codes: Value in the label files and index of its class, where files do not store
            indices; empty where they do.
        palettes: Names of the palettes in use for RGB label files; the first is that of the
            published pictures, and of the palette images in rows.
        instances: The kinds of instances, parents before their parts.
        volumes: The volumes, in the order of the rows of each split.
        folder: Folder of the files of volumes that are in no archive; empty if there are none.
        optional_volumes: Further volumes, which are there only if they are asked for.
        other_labels: Other labels of the volumes, by their names, which are compared with theirs.
        archives: The archives; the first is the default.
        known_files: MD5 of archives and of their members [code], and what each is known as.
        is_dense: Whether images fill their slices and labels go on from slice to slice, as in the
            published volumes: what no such volume has is damage then, such as a constant slice, a
            label without voxels, or classes in another place than the image shows them.
        bright_background: Whether background is brighter than cells in the published pictures.
        whole_range: Whether the images of a volume use all 16-bit gray values.
        confusable_classes: Two classes that some public loaders swap, the more frequent first;
            None if there are none.
    """

    name: str
    title: str = ""
    description: str = ""
    about: str = ""
    notes: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    homepage: str = ""
    citation: str = ""
    first_author: str = ""
    published: str = ""
    license: str = ""
    license_name: str = ""
    license_details: str = ""
    license_note: str = ""
    page: str = ""
    voxel_size_nm: tuple[float, float, float] | None = None
    classes: tuple[SemanticClass, ...] = ()
    semantic_codes: tuple[tuple[int, int], ...] = ()
    palettes: tuple[str, ...] = ()
    instances: tuple[InstanceSpec, ...] = ()
    volumes: tuple[VolumeSpec, ...] = ()
    folder: str = ""
    archives: tuple[Archive, ...] = ()
    known_files: tuple[tuple[str, str], ...] = ()
    optional_volumes: tuple[VolumeSpec, ...] = ()
    other_labels: tuple[VolumeSpec, ...] = ()
    is_dense: bool = False
    bright_background: bool = False
    whole_range: bool = False
    confusable_classes: tuple[int, int] | None = None

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the semantic classes, by index."""
        return tuple(c.name for c in self.classes)

    def class_name(self, index: int) -> str:
        """The name of a class; damaged labels have indices without one, such as "class 200"."""
        is_known = 0 <= index < len(self.classes)
        return self.class_names[index] if is_known else f"class {index}"

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

    @property
    def splits(self) -> dict[str, tuple[VolumeSpec, ...]]:
        """Split -> its volumes, both in the order of `volumes`."""
        found: dict[str, list[VolumeSpec]] = {}
        for volume in self.volumes:
            found.setdefault(volume.split, []).append(volume)
        return {split: tuple(volumes) for split, volumes in found.items()}

    @property
    def pictured_volumes(self) -> tuple[VolumeSpec, ...]:
        """The volumes that stand for their splits in pictures: the first of each."""
        return tuple(volumes[0] for volumes in self.splits.values())

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
        return next((i for i in self.instances if i.column == instance.part_of), None)

    def describe_file(self, md5: str) -> str | None:
        """What the file with that MD5 is known as; None if it is not known."""
        return dict(self.known_files).get(md5)
