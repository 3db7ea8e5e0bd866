"""Ids that a color map of 256 entries cannot tell apart, as in the publisher's RGBA files.

The publisher's writer gives id i of ids up to m the entry `floor(256 * i / m)` of the color map
`jet`, and writes the color of entry 0 as background. So ids share an entry if m is above 256, ids
below m / 256 become background, and neighboring entries of the same color are one color: 199 ids
have 197 colors, 476 ids have 252, and the first of the latter is background.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.pieces import count_pieces
from _platelet_em.arrays.runs import Runs, encode, intersect
from _platelet_em.facts import COLOR_MAP_ENTRIES

__all__ = ["LostIds", "color_map", "find_lost_ids", "is_mapped", "mapped_colors"]

_FULL = 200
"""Colors of a file with more ids than entries: almost all of the 252 that differ."""

_PIECES_PER_ID = 4
"""Pieces that one lost id may have; more are damage."""

# Position and value of the ends of the linear parts of each channel of `jet`.
_JET = (
    ((0, 0.35, 0.66, 0.89, 1), (0, 0, 1, 1, 0.5)),
    ((0, 0.125, 0.375, 0.64, 0.91, 1), (0, 0, 1, 1, 0, 0)),
    ((0, 0.11, 0.34, 0.65, 1), (0.5, 1, 1, 0, 0)),
)


def color_map() -> NDArray[np.uint8]:
    """The color map `jet`: uint8 (256, 3).

    >>> color_map()[[42, 85, 128, 170, 213, 255]].tolist()  # palette B of the classes
    [[0, 40, 255], [0, 212, 255], [124, 255, 121], [255, 229, 0], [255, 70, 0], [127, 0, 0]]
    """
    at = np.linspace(0, 1, COLOR_MAP_ENTRIES)
    channels = [np.interp(at, *channel) * 255 for channel in _JET]
    return np.stack(channels, axis=1).astype(np.uint8)


def mapped_colors(ids: NDArray[np.integer]) -> NDArray[np.uint8]:
    """The color of each id as the publisher's writer gives it; black for ids that it loses.

    Args:
        ids: (n,), all ids of a file, above 0.

    Returns:
        uint8 (n, 3).
    """
    last = int(ids.max(initial=1))
    entries = ids.astype(np.int64) * COLOR_MAP_ENTRIES // last
    entries = np.minimum(entries, COLOR_MAP_ENTRIES - 1)
    colors = color_map()[entries]
    colors[entries == 0] = 0
    return colors


def is_mapped(colors: NDArray[np.integer]) -> bool:
    """Whether all of the colors, (n, 3), are those of the map; False for none."""
    entries = {tuple(color) for color in color_map()[1:].tolist()}
    return len(colors) > 0 and {tuple(color) for color in colors.tolist()} <= entries


@dataclass(frozen=True, slots=True, kw_only=True)
class LostIds:
    """What a file of mapped colors cannot tell apart, as far as the file itself shows it.

    Attributes:
        colors: Number of colors.
        shared: Colors that several ids may have, and that are in several separate pieces.
        shared_pieces: Number of those pieces.
        background_pieces: Separate pieces that should belong to an object, but are background.
        background_voxels: Their voxels.
    """

    colors: int
    shared: int
    shared_pieces: int
    background_pieces: int
    background_voxels: int

    def __str__(self) -> str:
        found = []
        if self.shared:
            found.append(
                f"{self.shared} of its {self.colors} colors are in {self.shared_pieces} separate "
                "pieces, which may be as many objects with one id each color"
            )
        if self.background_pieces:
            found.append(
                f"{self.background_pieces} objects or parts of them ({self.background_voxels} "
                "voxels) are background"
            )
        return (
            f"ids were lost when the file was made, by a color map of {COLOR_MAP_ENTRIES} "
            "entries: "
            f"{', and '.join(found)}; the JSON labels have all ids"
        )


def find_lost_ids(
    labels: LazyLabels,
    colors: NDArray[np.integer] | None,
    semantic: LazyLabels | None,
    first_class: int,
) -> LostIds | None:
    """Which ids a file has lost by its own making.

    Args:
        labels: The instances, (z, y, x).
        colors: The color of each, (n, 3); None for a file without colors.
        semantic: The classes of the same volume, if they are known.
        first_class: Instances cover the voxels of this class and of those after it.

    Returns:
        The losses; None if there are none, or if the color map does not explain them.
    """
    if colors is None or not is_mapped(colors):
        return None
    depth, height, width = labels.shape
    shape = (depth, height, width)
    pieces = count_pieces(labels.runs, shape, len(labels.ids))
    is_full = len(colors) >= _FULL
    entries, counts = np.unique(color_map()[1:], axis=0, return_counts=True)
    doubled = {tuple(color) for color in entries[counts > 1].tolist()}
    ambiguous = np.array([is_full or tuple(color) in doubled for color in colors.tolist()])
    shared = ambiguous & (pieces > 1)
    missing = None
    if is_full and semantic is not None:
        missing = _find_missing(labels, semantic, first_class)
    lost = int(count_pieces(missing, shape, 1)[0]) if missing is not None else 0
    if lost > _PIECES_PER_ID * -(-int(pieces.sum()) // COLOR_MAP_ENTRIES):
        missing, lost = None, 0
    if not (shared.any() or lost):
        return None
    return LostIds(
        colors=len(colors),
        shared=int(shared.sum()),
        shared_pieces=int(pieces[shared].sum()),
        background_pieces=lost,
        background_voxels=int(missing.lengths.sum()) if missing is not None else 0,
    )


def _find_missing(labels: LazyLabels, semantic: LazyLabels, first_class: int) -> Runs | None:
    """Runs of the voxels of these classes that are in no instance; all have owner 0.

    None if instances cover voxels of other classes, too: then more is wrong than lost ids.
    """
    classes = semantic.select(semantic.ids[semantic.ids >= first_class])
    covered = int(intersect(labels.runs, classes.runs)[2].sum())
    if covered != int(labels.areas.sum()):
        return None
    parts = []
    plane = labels.shape[1] * labels.shape[2]
    for z in range(labels.shape[0]):
        # Slice by slice, so that no volume is decoded.
        _, runs = encode((classes[z] > 0) & (labels[z] == 0))
        parts.append(Runs(runs.starts + z * plane, runs.stops + z * plane, runs.owners))
    return Runs.join(parts)
