"""The card's section on rows: splits, columns of each configuration, classes."""

from collections.abc import Sequence

from _platelet_em.hub.card_code import join_bits
from _platelet_em.hub.figures import LISTED, Figures
from _platelet_em.hub.markdown import code_span, escape, join_words, table, wrap
from _platelet_em.spec import DatasetSpec

__all__ = ["row_values"]


def row_values(spec: DatasetSpec, figures: Sequence[Figures]) -> dict[str, str]:
    """The fields of the template's section on rows."""
    return {
        "splits": _describe_splits(spec),
        "slices_table": _slices_table(spec, join_bits(figures)),
        "fields": _describe_fields(spec),
        "volumes_columns": _describe_volumes(spec),
        "instances_columns": _describe_instances(spec),
    }


def _describe_splits(spec: DatasetSpec) -> str:
    found = []
    for split, volumes in spec.splits.items():
        if len(volumes) == 1:
            found.append(f"`{split}` is volume {escape(volumes[0].name)}")
        elif len(volumes) <= LISTED:
            names = [escape(volume.name) for volume in volumes]
            found.append(f"`{split}` has the volumes {join_words(names)}")
        else:
            found.append(f"`{split}` has {len(volumes)} volumes")
    return f"Splits: {', '.join(found)}."


def _columns(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _slices_table(spec: DatasetSpec, bits: str) -> str:
    source = "the archive" if spec.archives else "the files"
    rows = [
        [
            "`image`",
            f"{bits.replace(' or ', '- or ')}-bit grayscale, the values of {source} bit for bit",
        ],
        [
            "`semantic`",
            "8-bit palette image: a pixel is the class index, "
            + (f"0 to {len(spec.classes) - 1}" if len(spec.classes) > 1 else "0")
            if spec.classes
            else "null: there are no classes",
        ],
        ["`volume`, `z`", "name of the volume, slice counted from 0"],
    ]
    if spec.instances:
        counts = _columns([i.count_column for i in spec.instances])
        structs = _columns([i.column for i in spec.instances])
        rows += [
            [counts, "number of instances in this slice"],
            [structs, "the instances, as parallel lists, one entry per instance, ascending `id`"],
        ]
    return table(["column", "description"], rows)


def _describe_fields(spec: DatasetSpec) -> str:
    """The table of the fields of instances; empty for a dataset without them."""
    if not spec.instances:
        return ""
    rows = [
        ["`shape`", "shape of this row's mask: (y, x) in `slices`, (z, y, x) in `volumes`"],
        ["`id`", "the same in every slice that cuts the object, and in the volume"],
        [
            "`rle`",
            "the mask: `start length start length ...`, starts from 1 in the mask in C order",
        ],
        [
            "`area`, `bbox`, `touches_border`",
            "pixels (voxels); half-open box `y0, x0, y1, x1`, in 3D with z; reaches the border",
        ],
    ]
    if classified := [i.column for i in spec.instances if i.has_class]:
        meaning = "the class with most voxels of the 3D object, and their share"
        what = meaning if spec.classes else "null: there are no classes"
        rows.append(["`class_id`, `purity`", f"{_of(classified, spec)}{what}"])
    for instance in spec.instances:
        parent = spec.parent(instance)
        if instance.parent and parent:
            owner, holder = _of([instance.column], spec), escape(parent.name)
            rows.append(
                [
                    f"`{instance.parent}`",
                    f"{owner}id of the {holder} with most of the 3D object, 0 for none",
                ]
            )
    columns = join_words([f"`{i.column}`" for i in spec.instances])
    return f"The lists of {columns}:\n\n{table(['field', 'description'], rows)}"


def _of(columns: Sequence[str], spec: DatasetSpec) -> str:
    """Which instances have a field, unless there is only one kind."""
    return "" if len(spec.instances) == 1 else f"{escape(', '.join(columns))}: "


def _describe_volumes(spec: DatasetSpec) -> str:
    masks = (
        "`image` and `semantic` as lists of images"
        if spec.classes
        else "`image` as a list of images"
    )
    size = "`voxel_size_nm` (z, y, x)" if spec.voxel_size_nm else "`voxel_size_nm` (null)"
    instances = join_words([f"`{i.column}`" for i in spec.instances])
    shape = f"`shape` and {size}" if spec.voxel_size_nm else f"`shape` (z, y, x) and {size}"
    text = f"`volumes`: one row per volume, with {masks}, one per slice, {shape}"
    return wrap(f"{text}, and {instances} in 3D." if instances else f"{text}.")


def _describe_instances(spec: DatasetSpec) -> str:
    """The configuration `instances`; empty for a dataset without them."""
    if not spec.instances:
        return ""
    kinds = join_words([code_span(i.name) for i in spec.instances], "or")
    classes = "" if spec.classes else " (null)"
    parents = sorted({i.parent for i in spec.instances if i.parent})
    owners = {p: [f"`{i.column}`" for i in spec.instances if i.parent == p] for p in parents}
    ids = "".join(f", `{p}` (of {join_words(owners[p])}, else null)" for p in parents)
    return wrap(
        f"`instances`: one row per object, without its mask: `volume`, `kind` ({kinds}), `id`, "
        f"`class_id` and `class_name`{classes}, `voxels`, `purity`{classes}{ids}, `z_min` to "
        "`x_max` (the last index included), and `touches_border`."
    )
