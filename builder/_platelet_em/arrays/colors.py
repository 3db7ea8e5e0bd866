"""Colors of instances in pictures: neighbors differ clearly, to color-blind readers too.

There are only eight colors, since more cannot be told apart. An id has a color of its own choice,
`id % 8`, in all pictures; where an instance of that color is near, it gets another one.
"""

import numpy as np
from numpy.typing import NDArray

__all__ = ["ID_COLORS", "color_ids"]

ID_COLORS: NDArray[np.uint8] = np.array(
    [
        (194, 72, 12),
        (223, 255, 215),
        (192, 178, 52),
        (147, 159, 146),
        (22, 255, 255),
        (78, 124, 132),
        (158, 10, 212),
        (223, 109, 244),
    ],
    np.uint8,
)
"""RGB. Any two of them, or one of them and black or dark gray, differ by at least 17 (CIEDE2000),
also under protanopia, deuteranopia and tritanopia; found by a random search."""

_NEAR = 24
"""Instances are neighbors if at most 1/24 of the picture's longer side is between them."""

_MAX_COMPARED = 10_000
"""Instances of a picture whose neighbors are searched: that takes half a second for so many, and
minutes for noise."""


def color_ids(labels: NDArray[np.integer]) -> NDArray[np.uint8]:
    """A picture of labels, in which neighbors have different colors.

    Args:
        labels: Integers (y, x), 0 is background.

    Returns:
        RGB uint8 (y, x, 3); background is black. A lower id has the first choice. An instance
        whose neighbors have all eight colors gets the one that fewest of them have. In pictures
        of more than 10,000 instances, each has the color of its own choice.

    >>> color_ids(np.array([[0, 1, 1, 9]])).tolist()
    [[[0, 0, 0], [223, 255, 215], [223, 255, 215], [192, 178, 52]]]
    """
    ids, inverse = np.unique(labels, return_inverse=True)
    index = inverse.reshape(labels.shape)
    if len(ids) > _MAX_COMPARED:
        own = ID_COLORS[(ids % len(ID_COLORS)).astype(np.intp)]
        own[ids == 0] = 0
        return np.asarray(own[index])
    chosen = np.zeros((len(ids), 3), np.uint8)
    used = {
        int(i): np.zeros(len(ID_COLORS), np.int64) for i in np.flatnonzero(ids)
    }  # how many neighbors of an instance have each color
    neighbors = _find_neighbors(index, background=0 if ids.size and ids[0] == 0 else -1)
    for i, taken in used.items():
        order = (int(ids[i]) + np.arange(len(ID_COLORS))) % len(ID_COLORS)
        color = int(order[taken[order].argmin()])
        chosen[i] = ID_COLORS[color]
        for other in neighbors.get(i, ()):
            used[other][color] += 1
    picture: NDArray[np.uint8] = chosen[index]
    return picture


def _find_neighbors(index: NDArray[np.intp], background: int) -> dict[int, list[int]]:
    """Place of an id -> those of the ids near to it, in a row or a column of the picture."""
    count = int(index.max(initial=0)) + 1
    found: list[NDArray[np.intp]] = []
    reach = max(1, max(index.shape) // _NEAR)
    steps = [1 << n for n in range(reach.bit_length() + 1)]  # a step finds all smaller gaps
    for view in (index, index.T):
        for step in steps:
            first, second = view[:-step], view[step:]
            differs = first != second
            pairs = np.unique(first[differs] * count + second[differs])
            found += [pairs, pairs % count * count + pairs // count]
    neighbors: dict[int, list[int]] = {}
    for pair in np.unique(np.concatenate(found)).tolist():
        one, other = divmod(pair, count)
        if background not in (one, other):
            neighbors.setdefault(one, []).append(other)
    return neighbors
