"""What users of labels should know: labels that are missing, ids that are lost.

These are no errors of a file: it can be read, and may have been made that way.
"""

from collections.abc import Iterator, Mapping

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.publisher.color_map import LostIds, find_lost_ids
from _platelet_em.publisher.label_file import LabelFile
from _platelet_em.spec import SEMANTIC, DatasetSpec

__all__ = ["describe_labels", "lost_ids", "missing_labels"]


def describe_labels(
    files: Mapping[str, LabelFile], spec: DatasetSpec
) -> Iterator[tuple[str, str]]:
    """Column and sentence of everything worth knowing about the labels of a volume.

    Args:
        files: Column -> what its file holds; all of one shape.
        spec: The dataset.
    """
    labels = {column: file.labels for column, file in files.items()}
    yield from missing_labels(labels, spec).items()
    for column, losses in lost_ids(files, spec).items():
        yield column, str(losses)


def missing_labels(labels: Mapping[str, LazyLabels], spec: DatasetSpec) -> dict[str, str]:
    """Columns in which a volume has no label, or only one class, and what to say of each.

    Args:
        labels: Column -> labels (z, y, x).
        spec: The dataset.
    """
    found = {}
    for column, column_labels in labels.items():
        present = column_labels.ids[column_labels.areas > 0].tolist()
        if not present:
            found[column] = "no voxel has a label: all of the volume is background"
        elif column == SEMANTIC and len(present) == 1 and len(spec.classes) > 2:
            name = spec.class_names[present[0]] if present[0] < len(spec.classes) else "unknown"
            found[column] = f"all labeled voxels are of one class, {present[0]} ({name})"
    return found


def lost_ids(files: Mapping[str, LabelFile], spec: DatasetSpec) -> dict[str, LostIds]:
    """Columns of instances whose files have lost ids by their own making, and which.

    Args:
        files: Column -> what its file holds; all of one shape.
        spec: The dataset.
    """
    semantic = files[SEMANTIC].labels if SEMANTIC in files else None
    found = {}
    for instance in spec.instances:
        if (file := files.get(instance.column)) is None:
            continue
        losses = find_lost_ids(file.labels, file.colors, semantic, instance.first_class)
        if losses is not None:
            found[instance.column] = losses
    return found
