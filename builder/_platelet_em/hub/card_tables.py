"""The parts of the card that state figures: tables, pictures, and what is missing in rows."""

from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

from _platelet_em.hub.figures import LISTED, Figures
from _platelet_em.hub.layout import data_files, picture_name
from _platelet_em.hub.markdown import escape, join_words, table, wrap
from _platelet_em.hub.parquet import count_files
from _platelet_em.hub.record import stored_configs
from _platelet_em.rows.class_balance import weigh_classes
from _platelet_em.rows.config import Shape
from _platelet_em.rows.make import SLICES
from _platelet_em.spec import SEMANTIC, DatasetSpec, VolumeSpec

__all__ = [
    "classes_table",
    "describe_left_out",
    "describe_unlabeled",
    "files_table",
    "picture_links",
    "volumes_table",
]


def volumes_table(figures: Sequence[Figures], spec: DatasetSpec) -> str:
    """Shapes, numbers of instances and gray values: a row per volume, or per split."""
    kinds = [instance.column for instance in spec.instances]
    counted = [*map(escape, kinds), "gray values"]
    if all(f.name for f in figures):
        header = ["volume", "split", "shape (z, y, x)", "voxels", *counted]
    else:
        header = [
            "split",
            "volumes",
            "slices",
            "smallest (z, y, x)",
            "largest",
            "voxels",
            *counted,
        ]
    rows = []
    for f in figures:
        gray = f.histogram.measure()
        values = f"{gray.minimum} to {gray.maximum}, mean {gray.mean:.0f}, std {gray.std:.0f}"
        counts = [_count_instances(f, kind) for kind in kinds]
        named = [escape(f.name), f"`{f.split}`", _describe_shape(f.largest)]
        if not f.name:
            shapes = _describe_shape(f.smallest), _describe_shape(f.largest)
            named = [f"`{f.split}`", str(f.volumes), str(f.slices), *shapes]
        rows.append([*named, str(f.voxels), *counts, values])
    return table(header, rows)


def _describe_shape(shape: Shape) -> str:
    return " x ".join(map(str, shape))


def _count_instances(figures: Figures, kind: str) -> str:
    labeled = figures.labeled.get(kind, 0)
    if not labeled:
        return "not labeled"
    where = "" if labeled == figures.volumes else f" in {labeled} volumes"
    return f"{figures.instances[kind]}{where}"


def classes_table(figures: Sequence[Figures], spec: DatasetSpec) -> str:
    """Shares and weights of classes, and instances by class; empty without classes."""
    if not spec.classes:
        return ""
    classified = [i.column for i in spec.instances if i.has_class]
    header = ["index", "class"]
    for f in figures:
        name = escape(f.name) if f.name else f"`{f.split}`"
        header += [f"% of {name}", f"weight in {name}"] if f.classed else []
        header += [f"{escape(c)} in {name}" for c in classified if c in f.labeled]
    rows = []
    for index, name in enumerate(spec.class_names):
        row = [str(index), escape(name)]
        for f in figures:
            row += _weigh_class(f, index) if f.classed else []
            row += [str(f.by_class[c][index]) for c in classified if c in f.labeled]
        rows.append(row)
    return table(header, rows)


def _weigh_class(figures: Figures, index: int) -> list[str]:
    """Percent and weight of a class; of labeled voxels only, where class 0 may mean unlabeled."""
    if index == 0 and figures.is_partly_labeled:
        return ["not labeled", "0"]
    voxels, total = int(figures.class_voxels[index]), int(figures.class_voxels.sum())
    weights = weigh_classes(figures.class_voxels, is_partly_labeled=figures.is_partly_labeled)
    share = f"{100 * voxels / total:.3f}" if total else "0"
    return [share, f"{weights[index]:.3g}" if voxels else "none there"]


def files_table(folder: Path, spec: DatasetSpec) -> str:
    """Rows and sizes of the data files of each configuration and split."""
    rows = []
    for config in stored_configs(folder):
        for split in spec.splits:
            if not (files := data_files(folder, config.name, split)):
                continue
            count, stored = count_files(files)
            cells = [f"`{config.name}`", f"`{split}`", str(count), str(len(files))]
            rows.append([*cells, f"{stored / 1e6:.1f} MB"])
    return table(["config", "split", "rows", "files", "size"], rows)


def describe_left_out(folder: Path, figures: Sequence[Figures], spec: DatasetSpec) -> str:
    """The volumes that are too large for a row of a configuration; empty if there are none."""
    lines = []
    for config in stored_configs(folder):
        for split, volumes in spec.splits.items():
            inside = [f for f in figures if f.split == split]
            named = [name for f in inside for name in f.too_large.get(config.name, ())]
            covered = sum(map(config.covers, volumes))
            files = data_files(folder, config.name, split)
            # Earlier versions had rows of larger volumes.
            if not named or (files and count_files(files)[0] == covered):
                continue
            rest = f"of `{config.name}`: its slices are in `{SLICES.name}`."
            if len(named) <= LISTED:
                lines += [f"Volume {escape(n)} is too large for a row {rest}" for n in named]
            else:
                lines.append(
                    f"{len(named)} volumes of `{split}` are too large for rows of "
                    f"`{config.name}`: their slices are in `{SLICES.name}`."
                )
    return "\n\n".join(lines)


def describe_unlabeled(spec: DatasetSpec) -> str:
    """What to know about volumes that are not labeled, or in part; empty if all are complete."""
    known = [*([SEMANTIC] if spec.classes else []), *(i.column for i in spec.instances)]
    groups: dict[tuple[bool, tuple[str, ...], str], list[VolumeSpec]] = {}
    for volume in spec.volumes:
        missing = tuple(column for column in known if column not in volume.columns)
        key = volume.is_partly_labeled, missing, volume.note.strip()
        if any(key):
            groups.setdefault(key, []).append(volume)
    found = []
    for (is_partly_labeled, missing, note), volumes in groups.items():
        names = [escape(volume.name) for volume in volumes]
        subject = f"Volume{'s' * (len(names) > 1)} {join_words(names)}"
        if len(names) > LISTED:
            subject = f"{len(names)} volumes"
        sentences = []
        if is_partly_labeled:
            sentences.append(
                'labeled in part. Class 0 means "background or not labeled" there'
                f"{_describe_scored(spec)}."
            )
        if missing:
            columns = join_words([f"`{column}`" for column in missing])
            numbers = "" if missing == (SEMANTIC,) else ", and so are numbers of these instances"
            sentences.append(
                f"{'N' if sentences else 'n'}o labels of {columns}: null in all rows{numbers}."
            )
        head = wrap(": ".join(filter(None, [f"**{subject}**", " ".join(sentences)])))
        found.append("\n".join(filter(None, [head, note])))
    return "\n\n".join(found)


def _describe_scored(spec: DatasetSpec) -> str:
    last = len(spec.classes) - 1
    if last < 1:
        return ""
    scored = "class 1" if last == 1 else f"the classes 1 to {last}"
    return f", so score voxels of {scored} only"


def picture_links(figures: Sequence[Figures], spec: DatasetSpec) -> str:
    """The pictures of the volumes that stand for their splits."""
    lines = []
    for volume in spec.pictured_volumes:
        f = next(f for f in figures if f.name in ("", volume.name) and f.split == volume.split)
        has_classes = SEMANTIC in volume.columns
        kinds = [i.column for i in spec.instances if i.column in volume.columns]
        panels = [
            "image",
            *(["contours"] if has_classes or kinds else []),
            *(["semantic classes"] if has_classes else []),
            *map(escape, kinds),
            *(["shares of classes"] if has_classes else []),
        ]
        about = f"Volume {escape(volume.name)}, slice {f.first_shape[0] // 2}"
        address = quote(picture_name(volume), safe="/")
        lines.append(f"![{about}: {', '.join(panels)}]({address})")
    return "\n\n".join(lines)
