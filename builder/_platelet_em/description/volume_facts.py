"""What a description says of a volume besides its files: masks, shape, counts and notes."""

from collections.abc import Iterator
from typing import Any

from _platelet_em.description.table import Table, is_integer, is_text
from _platelet_em.limits import MAX_PAGE, MAX_PAGES, MAX_VOXELS
from _platelet_em.spec import Components

__all__ = ["parse_components", "parse_details"]

_MAX_THRESHOLD = 2**16 - 1


def parse_components(table: Table, *, may_be: bool) -> Components | None:
    """How instances are made from a mask; None for labels that are instances already."""
    is_mask = table.flag("components")
    rule = Components(
        threshold=table.integer("threshold", 0, 0, _MAX_THRESHOLD),
        connectivity=table.integer("connectivity", Components().connectivity, 1, 3),
    )
    table.refuse_others()
    if is_mask and not may_be:
        table.add("components", "no components of classes", "leave it out")
        return None
    for key in ("threshold", "connectivity"):
        if not is_mask and key in table:
            table.problems.add_sentence(
                table.at(key),
                "expected components = true with it, found none: add it, or leave this out",
            )
    return rule if is_mask else None


def parse_details(table: Table) -> dict[str, Any]:
    """What else may be known of a volume."""
    return {
        "shape": _parse_shape(table),
        "class_shares": table.numbers(
            "class_shares", None, "percent of the voxels of each class", allow_zero=True
        )
        or (),
        "label_versions": tuple(_parse_versions(table)),
        "label_suffix": table.matching(
            "label_suffix", "json|tif", '"json" or "tif"', "write one of them, or leave it out"
        )
        or None,
        "may_be_signed": table.flag("may_be_signed"),
        "is_partly_labeled": table.flag("is_partly_labeled"),
        "note": table.text("note", keep="\n\t"),
    }


def _parse_shape(table: Table) -> tuple[int, int, int] | None:
    found = table.integers("shape", 3, 1, "three positive integers, z, y, x")
    if found is None:
        return None
    depth, height, width = found
    plane = height * width
    if depth > MAX_PAGES or plane > MAX_PAGE or depth * plane > MAX_VOXELS:
        table.add(
            "shape",
            f"at most {MAX_PAGES} slices, {MAX_PAGE} pixels per slice and {MAX_VOXELS} voxels",
            "correct it, or describe parts of it as volumes of their own",
        )
    return depth, height, width


def _parse_versions(table: Table) -> Iterator[tuple[str, tuple[int, ...]]]:
    for name, counts in table.pairs("label_versions", "a table of names and numbers of voxels"):
        is_list = isinstance(counts, (list, tuple))
        if is_text(name) and is_list and counts and all(is_integer(c) for c in counts):
            yield name, tuple(counts)
            continue
        table.problems.add(
            table.at("label_versions", name), "voxels of each class", counts, "write integers"
        )
