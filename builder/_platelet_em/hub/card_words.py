"""The card's sentences on a dataset: what its description says, and what it does not."""

import re
from collections.abc import Collection

from _platelet_em.hub.markdown import code_block, escape, link, paragraphs, wrap
from _platelet_em.spec import DatasetSpec

__all__ = [
    "describe_citation",
    "describe_dataset",
    "describe_ids",
    "describe_license",
    "describe_picture_colors",
    "list_notes",
]

_DOI = re.compile(r"10\.\d{4,9}/\S+")

_IDS = {
    "json": "Ids are those of the publisher's JSON labels. Ids made from the RGBA labels differ.",
    "tif": (
        "Ids are made here, and are not those of the JSON labels: the RGBA labels store colors, "
        "which are numbered in the order in which they first appear in (z, y, x). Where their "
        "writer gave two objects one color, they are one object here: the JSON labels are the "
        "truth."
    ),
}
"""Where the ids come from, by label source of archives."""


def describe_dataset(spec: DatasetSpec) -> str:
    """What the dataset is, with the size of its voxels."""
    about = spec.about.strip() or paragraphs(spec.description)
    size = "The size of a voxel is not stated."
    if spec.voxel_size_nm is not None:
        numbers = " x ".join(f"{size:.6g}" for size in spec.voxel_size_nm)
        size = f"A voxel is about {numbers} nm (z, y, x)."
    found = [about or "What the images show is not described.", size]
    if spec.homepage and not spec.about:
        found.append(f"See {link('its page', spec.homepage)}.")
    return "\n\n".join(found)


def describe_license(spec: DatasetSpec) -> str:
    """What is known of the license."""
    if spec.license_note:
        return spec.license_note.strip()
    if not spec.license:
        found = "No license is stated."
    else:
        name = escape(spec.license_name) if spec.license_name else f"`{spec.license}`"
        found = f"The license is {link(name, spec.page) if spec.page else name}."
    return " ".join(filter(None, [found, escape(spec.license_details)]))


def describe_citation(spec: DatasetSpec) -> str:
    """How to cite the dataset: BibTeX as code, a DOI as a link."""
    if not spec.citation.strip():
        return "No citation is stated."
    if doi := doi_of(spec.citation):
        return f"Please cite {link(f'doi:{escape(doi)}', f'https://doi.org/{doi}')}."
    return code_block("bibtex", spec.citation)


def doi_of(citation: str) -> str:
    """The DOI that a citation is; empty for BibTeX.

    >>> doi_of("https://doi.org/10.1234/ab.c"), doi_of("@misc{a}")
    ('10.1234/ab.c', '')
    """
    if citation.lstrip()[:1] == "@":
        return ""
    match = _DOI.search(citation)
    return match[0] if match else ""


def describe_picture_colors(spec: DatasetSpec) -> str:
    """What the colors of pictures mean."""
    found = []
    if spec.classes and all(c.accessible is not None for c in spec.classes):
        found.append(
            "Classes in these pictures, and in `preview`, have colors that color-blind readers "
            "can tell apart."
        )
    if spec.instances:
        found.append("An object has one of eight colors, its neighbors others.")
    return "\n".join(found)


def describe_ids(spec: DatasetSpec, label_source: str) -> str:
    """Where the ids of instances come from; empty for a dataset without them."""
    if label_source in _IDS:
        return _IDS[label_source]
    rules = {column: None for volume in spec.volumes for column, _ in volume.components}
    if not spec.instances:
        return ""
    made = [f"`{column}`" for column in rules]
    if not made:
        return "Ids are those of the label files."
    kept = "" if len(made) == len(spec.instances) else " Other ids are those of the label files."
    return (
        f"Ids of {', '.join(made)} are made here: label files with masks have none. Each "
        f"connected piece of a mask is one object, in the order of its first voxel in (z, y, "
        f"x).{kept}"
    )


def list_notes(spec: DatasetSpec, label_source: str, bits: Collection[int]) -> str:
    """What readers should know, as a list; the notes of the dataset itself come first.

    Args:
        spec: The dataset.
        label_source: Where its labels are from.
        bits: Bits of its images.
    """
    notes = [*spec.notes]
    if spec.instances:
        notes += [
            "Boxes are y first and half-open, as in scikit-image: not x, y, width, height (COCO).",
            "RLE starts count from 1, row by row (C order), not column by column as in COCO.",
        ]
    if spec.classes and any(i.has_class for i in spec.instances):
        notes.append(
            "An object's class is that of most of its voxels; `purity` tells how clear it was."
        )
    if (size := spec.voxel_size_nm) is not None and size[1] == size[2] != size[0]:
        notes.append(f"Voxels are {size[0] / size[1]:.3g} times as long in z as in y and x.")
    notes.append(describe_ids(spec, label_source))
    if spec.instances:
        notes.append(
            "A row may contain no object. `explode` in pandas and Polars then gives a row of "
            "nulls: drop it."
        )
    if 16 in bits:
        notes.append(
            "`datasets`' own torch format gives 16-bit images as `torch.uint16`, which most "
            "operations do not support; convert them with `.to(torch.int32)` or `.float()` first."
        )
    if 8 in bits:
        notes.append(
            "The viewer of the Hub shows 8-bit images as lossy JPEG; the data stay exact."
        )
    return "\n".join(wrap(f"- {note}", "  ") for note in filter(None, notes))
