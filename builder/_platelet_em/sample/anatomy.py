"""Anatomy: where the cells and organelles of a synthetic volume are, and which shapes they have.

They are tapered, bent ellipsoids in 3D, so a slice can be computed from the few that it cuts.
Shapes depend on raw random bits and on IEEE sums, products, quotients and square roots only, so
they are the same on every platform.

Sizes of cells were measured on the published z=0 slice of volume 50 [png]; numbers and sizes of
organelles follow the real label volumes [paper].
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CELL",
    "FIRST",
    "MARGIN",
    "SECOND",
    "VESSEL",
    "Random",
    "Solid",
    "Stream",
    "Style",
    "find_scale",
    "place_parts",
]

_Floats = NDArray[np.float32]
_Shape = tuple[int, int, int]
_Point = tuple[float, float, float]
_Window = tuple[slice, slice]

# The class indices of the published dataset; 0 is background.
CELL, _MITO, _ALPHA, VESSEL, _BODY, _CORE = range(1, 7)

MARGIN = 0.93  # organelles stay below this value of their cell's field

_CELL_RADII = (44.0, 245.0, 84.0)  # slices, px along, px across; smaller in a small scene
_CELL_AXIS = (0.87, 0.49)  # (y, x): platelets settle side by side, almost parallel
_CELL_PITCH = (1.7, 1.98, 1.94)  # from cell to cell, in radii
_FULL_SIDE = 240.0  # px: in slices of a smaller area than this squared, objects are smaller
_FULL_AREA = 640_000.0  # px: the area of the slices that the numbers per slice refer to
_PX_PER_SLICE = 4.0  # 40 nm to 10 nm
_MIDDLE_TRIES = 64  # random points in the middle slice, for the first object of each kind


class Stream(IntEnum):
    """The second word of a random stream's key, so that no two uses share a stream."""

    CELLS, FRAGMENTS, ORGANELLES = range(3)
    OUTLINE, SERRATION, GAP, WALLS = range(3, 7)  # of the labels
    COARSE, MEDIUM, SMALL, PIXELS = range(7, 11)  # of the image


class Random:
    """Random numbers from raw bits, which no NumPy version changes."""

    def __init__(self, seed: int, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence([seed, *key]))

    def uniform(self, count: int, low: float, high: float) -> NDArray[np.float64]:
        """Float64 (count,), uniform in [low, high)."""
        words = np.asarray(self._bits.random_raw(count), np.uint64)
        shares: NDArray[np.float64] = (words >> np.uint64(11)) * 2.0**-53
        return shares * (high - low) + low

    def between(self, low: float, high: float) -> float:
        """One float, uniform in [low, high)."""
        return float(self.uniform(1, low, high)[0])

    def direction(self, y: float = 0.0, x: float = 0.0) -> tuple[float, float]:
        """A unit vector (y, x): near the given direction, or any if none is given."""
        dy, dx = y + self.between(-1, 1), x + self.between(-1, 1)
        length = math.sqrt(dy * dy + dx * dx) or 1.0
        return dy / length, dx / length

    def triangular(self, count: int) -> _Floats:
        """Float32 (count,) of mean 0 and deviation 1: sums of two uniform 16-bit numbers."""
        words = np.asarray(self._bits.random_raw(count // 2 + 1), "<u8").view("<u4")[:count]
        total = ((words & 0xFFFF) + (words >> 16)).astype(np.float32)
        total -= 2.0**16 - 1
        total *= math.sqrt(6.0) * 2.0**-16
        return total


@dataclass(frozen=True, slots=True, kw_only=True)
class Solid:
    """A tapered, bent ellipsoid: the points where its field is below 1.

    Attributes:
        center: (z, y, x), in slices and px.
        axis: Unit vector (y, x) of the long axis.
        radii: In slices, in px along the axis, in px across it.
        drift: (y, x), px by which the center moves from slice to slice.
        bend: Sideways shift of the ends, in radii across.
        taper: How much narrower one end is than the other, as a fraction.
        square: 0 for an ellipse, up to 2 for a box with round corners.
        wave: Weight of the outline noise, in radii.
    """

    center: _Point
    axis: tuple[float, float]
    radii: tuple[float, float, float]
    drift: tuple[float, float] = (0.0, 0.0)
    bend: float = 0.0
    taper: float = 0.0
    square: float = 0.0
    wave: float = 0.0

    def field(self, z: Any, y: Any, x: Any, noise: Any = 0.0) -> Any:
        """The distance from the center, in radii, of broadcast coordinates.

        The noise moves the outline by as many px at the ends as at the sides.
        """
        dz = z - self.center[0]
        dy = y - (dz * self.drift[0] + self.center[1])
        dx = x - (dz * self.drift[1] + self.center[2])
        along, across = self.radii[1:]
        u = dy * (self.axis[0] / along) + dx * (self.axis[1] / along)
        v = dx * (self.axis[0] / across) - dy * (self.axis[1] / across)
        uu = u * u
        v = (v - uu * self.bend) * (u * self.taper + 1.0)
        vv = v * v
        flat = np.sqrt(vv * vv + (vv * (2.0 - self.square) + uu) * uu)
        wave = noise * self.wave / (uu * (along / across - 1.0) + 1.0)
        return np.sqrt(flat + self._depth_term(dz)) + wave

    def cut(
        self, z: int, rows: range, noise: _Floats, reach: float
    ) -> tuple[_Window, _Floats] | None:
        """The field in slice z, in a window around the pixels where it may be below `reach`.

        Args:
            z: The slice.
            rows: Those of interest.
            noise: The outline noise of the whole slice, (y, x).
            reach: Outside of the window, the field without noise is at least this high.

        Returns:
            The window and the field in it, (y, x); None if the window is empty.
        """
        dz = z - self.center[0]
        rest = reach * reach - self._depth_term(dz)
        if rest <= 0:
            return None
        # A slanted rectangle around the solid: its half sides, its center, its long axis.
        r = math.sqrt(rest)
        along = self.radii[1] * r
        across = self.radii[2] * (r / (1 - abs(self.taper) * r) + abs(self.bend) * rest)
        y, x = (self.center[1 + i] + dz * self.drift[i] for i in (0, 1))
        ay, ax = self.axis
        half = abs(ay) * along + abs(ax) * across
        top, last = max(rows.start, math.floor(y - half)), min(rows.stop - 1, math.ceil(y + half))
        left, right = 0.0, noise.shape[1] - 1.0
        for a, b, side in ((ax, ay, along), (ay, -ax, across)):
            if a:
                # Where |a dx + b dy| <= side in the first or the last row, thus also in between.
                ends = [(s - b * (row - y)) / a for s in (-side, side) for row in (top, last)]
                left, right = max(left, x + min(ends)), min(right, x + max(ends))
        if top > last or left > right:
            return None
        window = (slice(top, last + 1), slice(math.floor(left), math.ceil(right) + 1))
        at_y, at_x = (np.arange(s.start, s.stop, dtype=np.float32) for s in window)
        return window, self.field(z, at_y[:, None], at_x, noise[window])

    def _depth_term(self, dz: Any) -> Any:
        """What the distance in z adds to the squared field: flat with round rims."""
        ww = (dz / self.radii[0]) * (dz / self.radii[0])
        return ww * (ww * 0.6 + 0.4)


class Part(NamedTuple):
    """A cell, or the part of an organelle that has one class."""

    solid: Solid
    label: int  # its class
    cell: int  # the number of its cell, from 1
    organelle: int  # the number of its organelle, from 1; 0 for a cell
    shade: float  # brightness within its class, -1 to 1


class _Kind(NamedTuple):
    """A kind of small objects."""

    per_slice: float  # their number in a slice of the full area
    parts: tuple[tuple[int, float, float], ...]  # class, distance from the last, size; in radii
    radius: tuple[float, float]  # the smallest and the largest, in px
    stretch: float  # largest ratio of the radius along the axis to the radius
    depth: float  # half of its slices, per px of radius
    wave: float  # weight of the outline noise


class Style(NamedTuple):
    """What the cells and organelles of a volume are like.

    Attributes:
        fill: Size of the cells in a slice, 1 for gaps as narrow as in the first published slice.
        organelles: Kinds of organelles, with their numbers.
        fragments: Kinds of small pieces of cells in the gaps between cells.
    """

    fill: float
    organelles: tuple[_Kind, ...]
    fragments: tuple[_Kind, ...]


_CHAIN = ((VESSEL, 0, 1), (VESSEL, 1.2, 0.9), (VESSEL, 1.2, 0.7))
_GRANULE = ((_BODY, 0, 1), (_CORE, 0.2, 0.6))
_FRAGMENT = _Kind(2.2, ((CELL, 0, 1),), (10, 22), 1.25, 0.45, 0.1)
"""Every published slice has some."""


def _specks(per_slice: float, label: int) -> _Kind:
    """Labels of a few voxels, as volume 24 has them."""
    return _Kind(per_slice, ((label, 0, 1),), (0.8, 1.3), 1.0, 0.5, 0.0)


FIRST = Style(
    fill=0.95,
    organelles=(
        _Kind(5.0, ((_MITO, 0, 1),), (15, 23), 1.35, 0.3, 0.05),
        _Kind(24, ((_ALPHA, 0, 1),), (13, 31), 1.2, 0.28, 0.03),
        _Kind(60, ((VESSEL, 0, 1),), (5.5, 13), 1.4, 0.6, 0.14),
        _Kind(3.6, _GRANULE, (14.5, 18.5), 1.1, 0.28, 0.03),
        _Kind(1.0, ((_ALPHA, 0, 1), (VESSEL, 1.2, 0.8)), (13, 19), 1.2, 0.3, 0.08),
        _Kind(33, _CHAIN, (6.5, 11.5), 1.5, 0.7, 0.18),
    ),
    # Shallow ones: numbers of cells vary more, and the viewer has statistics of them.
    fragments=(_FRAGMENT._replace(depth=0.2),),
)
"""As volume 50: its shares of classes, and its numbers of organelles, over all slices [paper]."""

SECOND = Style(
    fill=0.875,
    organelles=(
        _Kind(6.6, ((_MITO, 0, 1),), (17, 27), 1.35, 0.3, 0.05),
        _Kind(16, ((_ALPHA, 0, 1),), (13, 30), 1.2, 0.28, 0.03),
        _Kind(29, ((VESSEL, 0, 1),), (6.5, 15), 1.4, 0.6, 0.14),
        _Kind(1.25, _GRANULE, (15, 18), 1.1, 0.28, 0.03),
        _Kind(1.0, ((_ALPHA, 0, 1), (VESSEL, 1.2, 0.8)), (13, 19), 1.2, 0.3, 0.08),
        _Kind(17, _CHAIN, (7.5, 13), 1.5, 0.7, 0.18),
        _specks(0.7, _MITO),
        _specks(0.8, _ALPHA),
        _specks(0.8, VESSEL),
        _specks(0.25, _BODY),
    ),
    fragments=(_FRAGMENT, _specks(1.1, CELL)),
)
"""As volume 24 [paper]: more background, and specks of a few voxels."""


def find_scale(shape: _Shape) -> float:
    """The size of objects in a volume of that (z, y, x) shape: 1 unless its slices are small."""
    return min(1.0, math.sqrt(shape[1] * shape[2]) / _FULL_SIDE)


def place_parts(shape: _Shape, seed: int, style: Style = FIRST) -> list[Part]:
    """All parts of the volume of that (z, y, x) shape, seed and style, some of them outside of it.

    Cells come first, in the order of their numbers, fragments of cells last among them.
    """
    cells = _place_cells(shape, seed, style)
    parts = list(cells)
    rng = Random(seed, Stream.FRAGMENTS)
    for _, shade, ((label, solid),) in _scatter(style.fragments, rng, shape, cells):
        parts.append(Part(solid, label, len(parts) + 1, 0, shade))
    rng = Random(seed, Stream.ORGANELLES)
    organelles = _scatter(style.organelles, rng, shape, cells)
    for number, (cell, shade, solids) in enumerate(organelles, 1):
        parts += [Part(solid, label, cell, number, shade) for label, solid in solids]
    return parts


def _place_cells(shape: _Shape, seed: int, style: Style) -> list[Part]:
    """Cells in and around the volume: columns of them side by side, shifted at random.

    One is in the middle, so that the smallest volume has a cell.
    """
    rng = Random(seed, Stream.CELLS)
    scale = find_scale(shape)
    radii = (_CELL_RADII[0], _CELL_RADII[1] * scale, _CELL_RADII[2] * scale)
    pitch = [r * p for r, p in zip(radii, _CELL_PITCH, strict=True)]
    middle = [(size - 1) / 2 for size in shape]
    (dy, dx), diagonal = _CELL_AXIS, math.sqrt(middle[1] ** 2 + middle[2] ** 2)
    far_z, far_u, far_v = (
        math.ceil((m + r) / p) + 1
        for m, r, p in zip((middle[0], diagonal, diagonal), radii, pitch, strict=True)
    )
    margin = (radii[0], dy * radii[1] + dx * radii[2], dx * radii[1] + dy * radii[2])
    cells: list[Part] = []
    for column in range(-far_v, far_v + 1):
        slip = rng.between(-0.5, 0.5) if column else 0.0
        for row in range(-far_u, far_u + 1):
            phase = rng.between(-0.5, 0.5) if column or row else 0.0
            for layer in range(-far_z, far_z + 1):
                u = (row + slip + rng.between(-0.08, 0.08)) * pitch[1]
                v = (column + rng.between(-0.08, 0.08)) * pitch[2]
                offset = ((layer + phase) * pitch[0], u * dy - v * dx, u * dx + v * dy)
                if all(abs(o) < m + e for o, m, e in zip(offset, middle, margin, strict=True)):
                    z, y, x = (o + m for o, m in zip(offset, middle, strict=True))
                    solid = _make_cell(rng, (z, y, x), radii, style.fill)
                    cells.append(Part(solid, CELL, len(cells) + 1, 0, rng.between(-1, 1)))
    return cells


def _make_cell(
    rng: Random, center: _Point, radii: tuple[float, float, float], fill: float
) -> Solid:
    """A cell of about those radii; in a slice, of that part of them."""
    size = rng.between(0.82, 1.12)
    return Solid(
        center=center,
        axis=rng.direction(_CELL_AXIS[0] * 5, _CELL_AXIS[1] * 5),
        radii=(
            radii[0] * size,
            radii[1] * size * fill,
            radii[2] * size * fill * rng.between(0.85, 1.15),
        ),
        drift=(rng.between(-0.01, 0.01) * radii[2], rng.between(-0.01, 0.01) * radii[2]),
        bend=rng.between(-0.15, 0.15),
        taper=rng.between(-0.25, 0.25),
        square=rng.between(0.6, 1.4),
        wave=rng.between(0.02, 0.055),
    )


def _scatter(
    kinds: Sequence[_Kind], rng: Random, shape: _Shape, cells: Sequence[Part]
) -> Iterator[tuple[int, float, list[tuple[int, Solid]]]]:
    """Place objects apart from each other: organelles inside the cells, fragments outside.

    The first of each kind is in the middle slice if possible: small volumes have all kinds, too.

    Yields:
        The number of the nearest cell, the shade, and the class and solid of each part.
    """
    scale = find_scale(shape)
    taken = np.empty((0, 4))  # z, y, x and size of each object
    for kind in kinds:
        life = sum(kind.radius) * kind.depth
        wanted = kind.per_slice * shape[1] * shape[2] / (_FULL_AREA * scale * scale)
        left = count = max(1, round(wanted * (shape[0] + life) / life))
        tries = _MIDDLE_TRIES + 40 * count
        ranges = ((-life / 2, shape[0] - 1 + life / 2), (0, shape[1]), (0, shape[2]))
        points = np.stack([rng.uniform(tries, low, high) for low, high in ranges])
        points[0, :_MIDDLE_TRIES] = (shape[0] - 1) / 2
        owners, field = _find_nearest(cells, points)
        is_fragment = all(label == CELL for label, _, _ in kind.parts)
        fits = field > 1.22 if is_fragment else field < 0.86
        for index in np.flatnonzero(fits).tolist():
            if not left:
                break
            if index < _MIDDLE_TRIES and left < count:
                continue
            z, y, x = points[:, index].tolist()
            solids = _make_object(kind, rng, (z, y, x), scale)
            shade = rng.between(-1, 1)
            size = max(s.radii[1] for _, s in solids) * (0.8 + 0.2 * len(solids))
            dz, dy, dx = (taken[:, :3] - (z, y, x)).T
            near = (dz * (_PX_PER_SLICE * scale)) ** 2 + dy**2 + dx**2
            if (near < (taken[:, 3] + size) ** 2).any():
                continue
            taken = np.vstack([taken, [z, y, x, size]])
            yield int(owners[index]), shade, solids
            left -= 1


def _find_nearest(
    cells: Sequence[Part], points: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """For each of the points (3, n): the cell whose field is the lowest, and that field."""
    number = np.zeros(points.shape[1], np.intp)
    lowest = np.full(points.shape[1], np.inf)
    for cell in cells:
        field = cell.solid.field(*points)
        number[field < lowest] = cell.cell
        np.minimum(lowest, field, out=lowest)
    return number, lowest


def _make_object(
    kind: _Kind, rng: Random, center: _Point, scale: float
) -> list[tuple[int, Solid]]:
    """The class and the solid of each part of an object."""
    radius = rng.between(*kind.radius)
    drift = (rng.between(-0.9, 0.9) * scale, rng.between(-0.9, 0.9) * scale)
    turn = rng.direction()
    z, y, x = center
    parts = []
    for label, distance, size in kind.parts:
        turn = rng.direction(turn[0] * 1.5, turn[1] * 1.5)
        y += turn[0] * distance * radius * scale
        x += turn[1] * distance * radius * scale
        longer = rng.between(1.0, kind.stretch)
        along, across = radius * size * longer * scale, radius * size / longer * scale
        solid = Solid(
            center=(z, y, x),
            axis=turn,
            radii=(max(1.0, radius * size * kind.depth), along, across),
            drift=drift,
            taper=rng.between(-0.2, 0.2),
            wave=kind.wave,
        )
        parts.append((label, solid))
    return parts
