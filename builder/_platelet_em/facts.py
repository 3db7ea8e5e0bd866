"""The published dataset as a `DatasetSpec`, and what else is known of its files.

Sources of the published facts: the publisher's dataset page [page], the publisher's own tools
[code], measurements on the published z=0 pictures of volume 50 [png],
other public loaders [peer].
"""

from dataclasses import replace

from _platelet_em.spec import (
    SEMANTIC,
    Archive,
    DatasetSpec,
    InstanceSpec,
    SemanticClass,
    VolumeSpec,
)

__all__ = [
    "COLOR_MAP_ENTRIES",
    "LABEL_FORMS",
    "LABEL_SOURCES",
    "MIRRORS",
    "PICTURE_PALETTES",
    "PUBLISHED",
    "SAMPLE_COMMENT",
    "is_published",
]

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
    about="""\
Two 3D images of human platelets, acquired by serial block-face scanning electron microscopy
(SBF-SEM, Gatan 3View), with a semantic mask of seven classes and with instance masks of cells and
organelles for every voxel. The dataset was created by LCIMB (NIH/NIBIB) in collaboration with the
Storrie lab, and is described on [its page](https://github.com/bio3d-vision/bio3d-vision.github.io).
It is meant for training and comparing segmentation methods, and for measuring platelets and their
organelles in these volumes.
""",
    notes=(
        "The splits are those of the paper.",
        (
            "A dense granule is one organelle: its body (class 5) and its core (class 6) share an "
            "id."
        ),
        (
            "The volumes differ in brightness, and their gray scales are not comparable (see the "
            "table at the top): normalize each volume by itself."
        ),
        (
            "Two semantic palettes are in use for this dataset's RGB labels. Here a pixel is the "
            "class index, and the palette only gives the colors of the published pictures."
        ),
    ),
    tags=("biology", "medical", "electron-microscopy", "sbf-sem", "platelets"),
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
    license_note="""\
The publisher names no license. Its dataset page states that the data were reviewed by NIBIB,
contain no personal or health information, and are "cleared for public release". This card
therefore says `license: other`, links to that page, and adds nothing to it. Please cite
[the paper](https://doi.org/10.1038/s41598-021-81590-0), see below.
""",
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
        # Measured on the published pictures [png].
        InstanceSpec(column="cells", name="cell", first_class=1, fills_classes=True),
        InstanceSpec(
            column="organelles",
            name="organelle",
            first_class=2,
            fills_classes=True,
            has_class=True,
            part_of="cells",
            parent="cell",
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
            note="""\
It is the paper's third one, and only one of its cells is labeled; the authors score labeled voxels
only, too. Of the published results on it, one is known here: a mean IoU of 0.446 for the paper's
ensemble.
""",
        ),
    ),
    # Measured on the published pictures of z = 0 [png].
    is_dense=True,
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


def is_published(spec: DatasetSpec) -> bool:
    """Whether a dataset is the published one, with or without its optional volumes."""
    return spec.without_optional() == PUBLISHED
