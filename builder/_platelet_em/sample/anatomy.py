"""Anatomy: where the cells and organelles of a synthetic volume lie, and what shapes they have.

They are tapered, bent ellipsoids in 3D, so that a slice can be computed from the few of them that
it cuts. Shapes depend on IEEE sums, products, quotients and square roots only, and on raw bit
streams, so that they are the same on every platform.

The sizes and numbers below were measured on the published z=0 slice of volume 50.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, auto
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from _platelet_em.facts import CLASSES, FIRST_ORGANELLE_CLASS

__all__ = [
    "CELL_RADII",
    "MARGIN",
    "VESSEL",
    "Anatomy",
    "Cell",
    "Organelle",
    "Random",
    "Solid",
    "Stream",
    "place_anatomy",
]

_Floats = NDArray[np.float32]
_Points = NDArray[np.float64]  # (3, n): z, y and x of n points
_Shape = tuple[int, int, int]
_Window = tuple[slice, slice]

_MITO, _ALPHA, VESSEL, _BODY, _CORE = range(FIRST_ORGANELLE_CLASS, len(CLASSES))

CELL_RADII = (44.0, 245.0, 84.0)  # slices, px along, px across; smaller in a small scene
MARGIN = 0.93  # organelles stay below this value of their cell's field

_FULL_SIDE = 240.0  # px: a scene whose area is less than this squared gets smaller objects
_CELL_AXIS = (0.87, 0.49)  # (y, x): platelets settle side by side, so all lie about alike
_CELL_PITCH = (1.7, 1.98, 1.94)  # from cell to cell in these directions, in radii
_FRAGMENTS_PER_SLICE = 2.0
_FRAGMENT_LIFE = 14.0  # slices
_FULL_AREA = 640_000.0  # px, of the slice that numbers per slice refer to
_PX_PER_SLICE = 4.0  # 40 nm to 10 nm


class Stream(IntEnum):
    """The second word of a random stream's key, so that no two uses share one."""

    CELLS = 0
    FRAGMENTS = auto()
    ORGANELLES = auto()
    OUTLINE = auto()
    SERRATION = auto()
    GAP = auto()
    WALLS = auto()
    COARSE = auto()
    MEDIUM = auto()
    SMALL = auto()
    SPOTS = auto()
    NOISE = auto()


class Random:
    """Uniform numbers from raw bits, which no NumPy version changes."""

    def __init__(self, seed: int, *key: int) -> None:
        self._bits = np.random.PCG64(np.random.SeedSequence([seed, *key]))

    def words(self, count: int) -> NDArray[np.uint64]:
        """Uint64 (count,) of random bits."""
        return np.asarray(self._bits.random_raw(count), np.uint64)

    def many(self, count: int, low: float, high: float) -> NDArray[np.float64]:
        """Float64 (count,), each in [low, high)."""
        shares: NDArray[np.float64] = (self.words(count) >> np.uint64(11)) * 2.0**-53
        return shares * (high - low) + low

    def between(self, low: float, high: float) -> float:
        """One float in [low, high)."""
        return float(self.many(1, low, high)[0])

    def direction(self, y: float = 0.0, x: float = 0.0) -> tuple[float, float]:
        """A unit vector (y, x): around the given one, or anywhere if none is given."""
        dy, dx = y + self.between(-1, 1), x + self.between(-1, 1)
        length = math.sqrt(dy * dy + dx * dx) or 1.0
        return dy / length, dx / length


@dataclass(frozen=True, slots=True, kw_only=True)
class Solid:
    """A tapered, bent ellipsoid: the points where its field is below 1.

    Attributes:
        center: (z, y, x), in slices and px.
        axis: unit vector (y, x) of the long axis.
        radii: in slices, in px along the axis, in px across it.
        drift: (y, x), px by which the center moves from slice to slice.
        bend: sideways shift at the ends, in radii across.
        taper: how much narrower one end is than the other, as a share.
        square: 0 for an ellipse, up to 2 for a box with round corners.
        wave: weight of the outline noise, in radii.
    """

    center: tuple[float, float, float]
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
        return np.sqrt(flat + self._depth_part(dz)) + wave

    def cut(self, z: int, noise: _Floats, reach: float) -> tuple[_Window, _Floats] | None:
        """The window of slice z where the field may be below `reach`, and the field in it.

        The noise is that of the whole slice, (y, x). None if the window is empty.
        """
        window = self._window(z, noise.shape, reach)
        if window is None:
            return None
        y, x = (axis.astype(np.float32) for axis in np.ogrid[window])
        return window, self.field(z, y, x, noise[window])

    def _window(self, z: int, shape: tuple[int, ...], reach: float) -> _Window | None:
        dz = z - self.center[0]
        rest = reach * reach - self._depth_part(dz)
        if rest <= 0:
            return None
        r = math.sqrt(rest)
        along = self.radii[1] * r
        across = self.radii[2] * (r / (1 - abs(self.taper) * r) + abs(self.bend) * rest)
        window = []
        for i, size in enumerate(shape):
            middle = self.center[1 + i] + dz * self.drift[i]
            half = abs(self.axis[i]) * along + abs(self.axis[1 - i]) * across
            start = max(0, math.floor(middle - half))
            stop = min(size, math.ceil(middle + half) + 1)
            if start >= stop:
                return None
            window.append(slice(start, stop))
        return window[0], window[1]

    def _depth_part(self, dz: Any) -> Any:
        """What the distance in z adds to the squared field: flat with round rims."""
        ww = (dz / self.radii[0]) * (dz / self.radii[0])
        return ww * (ww * 0.6 + 0.4)


class Cell(NamedTuple):
    """A cell: its shape, and how much brighter than others it is."""

    solid: Solid
    shade: float


class Organelle(NamedTuple):
    """An organelle: the 1-based index of its cell, its (class, solid) parts, and its shade."""

    owner: int
    parts: tuple[tuple[int, Solid], ...]
    shade: float


class _Kind(NamedTuple):
    """A kind of organelle: its number per full slice, and what its parts look like.

    `parts` are (class, distance from the part before, size), both in radii; `radius` is the
    smallest and the largest in px; `depth` the half life in slices per px of radius.
    """

    per_slice: float
    parts: tuple[tuple[int, float, float], ...]
    radius: tuple[float, float]
    stretch: float
    depth: float
    wave: float


_CHAIN = ((VESSEL, 0, 1), (VESSEL, 1.2, 0.9), (VESSEL, 1.2, 0.7))
_KINDS = (
    _Kind(6.5, ((_MITO, 0, 1),), (14, 22), 1.35, 0.3, 0.05),
    _Kind(28, ((_ALPHA, 0, 1),), (12, 28), 1.2, 0.28, 0.03),
    _Kind(38, ((VESSEL, 0, 1),), (7, 16), 1.4, 0.6, 0.14),
    _Kind(1.3, ((_BODY, 0, 1), (_CORE, 0.2, 0.5)), (18, 23), 1.1, 0.28, 0.03),
    _Kind(1.0, ((_ALPHA, 0, 1), (VESSEL, 1.2, 0.8)), (13, 19), 1.2, 0.3, 0.08),
    _Kind(26, _CHAIN, (8, 14), 1.5, 0.7, 0.18),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Anatomy:
    """What is in a volume, some of it outside of the borders.

    Attributes:
        scale: how large things are in a slice, 1 unless the scene is small.
        cells: whole cells, then fragments.
        organelles: whose owners are whole cells.
    """

    scale: float
    cells: tuple[Cell, ...]
    organelles: tuple[Organelle, ...]


def place_anatomy(shape: tuple[int, int, int], seed: int) -> Anatomy:
    """The cells and organelles of the scene of that (z, y, x) shape and seed."""
    scale = min(1.0, math.sqrt(shape[1] * shape[2]) / _FULL_SIDE)
    cells = _place_cells(shape, seed, scale)
    fragments = _place_fragments(shape, seed, scale, cells)
    organelles = _place_organelles(shape, seed, scale, cells)
    return Anatomy(scale=scale, cells=(*cells, *fragments), organelles=tuple(organelles))


def _place_cells(shape: _Shape, seed: int, scale: float) -> list[Cell]:
    """Cells around and in the volume: columns of them side by side, shifted at random.

    One lies in the middle, so that the smallest scene has a cell.
    """
    rng = Random(seed, Stream.CELLS)
    radii = (CELL_RADII[0], CELL_RADII[1] * scale, CELL_RADII[2] * scale)
    pitch = [r * p for r, p in zip(radii, _CELL_PITCH, strict=True)]
    middle = [(size - 1) / 2 for size in shape]
    (dy, dx), diagonal = _CELL_AXIS, math.sqrt(middle[1] ** 2 + middle[2] ** 2)
    far_z, far_u, far_v = (
        math.ceil((m + r) / p) + 1
        for m, r, p in zip((middle[0], diagonal, diagonal), radii, pitch, strict=True)
    )
    margin = (radii[0], dy * radii[1] + dx * radii[2], dx * radii[1] + dy * radii[2])
    cells = []
    for column in range(-far_v, far_v + 1):
        slip = rng.between(-0.5, 0.5) if column else 0.0
        for row in range(-far_u, far_u + 1):
            phase = rng.between(-0.5, 0.5) if column or row else 0.0
            for layer in range(-far_z, far_z + 1):
                u = (row + slip + rng.between(-0.08, 0.08)) * pitch[1]
                v = (column + rng.between(-0.08, 0.08)) * pitch[2]
                place = ((layer + phase) * pitch[0], u * dy - v * dx, u * dx + v * dy)
                if all(abs(p) < m + e for p, m, e in zip(place, middle, margin, strict=True)):
                    z, y, x = (p + m for p, m in zip(place, middle, strict=True))
                    cells.append(_make_cell(rng, (z, y, x), radii))
    return cells


def _make_cell(
    rng: Random, center: tuple[float, float, float], radii: tuple[float, float, float]
) -> Cell:
    """A cell of about those radii at that place."""
    size = rng.between(0.82, 1.12)
    solid = Solid(
        center=center,
        axis=rng.direction(_CELL_AXIS[0] * 5, _CELL_AXIS[1] * 5),
        radii=(radii[0] * size, radii[1] * size, radii[2] * size * rng.between(0.85, 1.15)),
        drift=(rng.between(-0.01, 0.01) * radii[2], rng.between(-0.01, 0.01) * radii[2]),
        bend=rng.between(-0.15, 0.15),
        taper=rng.between(-0.25, 0.25),
        square=rng.between(0.6, 1.4),
        wave=rng.between(0.02, 0.055),
    )
    return Cell(solid, rng.between(-9_000, 6_000))


def _scatter(rng: Random, count: int, shape: _Shape, beyond: float) -> _Points:
    """Random points in the volume and up to so many slices before and after it."""
    z = rng.many(count, -beyond, shape[0] - 1 + beyond)
    return np.stack([z, rng.many(count, 0, shape[1]), rng.many(count, 0, shape[2])])


def _nearest(
    cells: Sequence[Cell], points: _Points
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """For each of n points: the 1-based index of the cell of the lowest field, and that field."""
    owner = np.zeros(points.shape[1], np.intp)
    lowest = np.full(points.shape[1], np.inf)
    for index, cell in enumerate(cells, 1):
        field = cell.solid.field(*points)
        owner[field < lowest] = index
        np.minimum(lowest, field, out=lowest)
    return owner, lowest


def _full_slices(shape: _Shape, scale: float) -> float:
    """How many objects a slice of that shape holds for each that a full slice holds."""
    return shape[1] * shape[2] / (_FULL_AREA * scale * scale)


def _place_fragments(shape: _Shape, seed: int, scale: float, cells: Sequence[Cell]) -> list[Cell]:
    """Small pieces of cells in the gaps, as every slice of the real volumes has some."""
    rng = Random(seed, Stream.FRAGMENTS)
    wanted = _FRAGMENTS_PER_SLICE * _full_slices(shape, scale)
    count = int(wanted * (shape[0] + _FRAGMENT_LIFE) / _FRAGMENT_LIFE)
    points = _scatter(rng, count * 40, shape, _FRAGMENT_LIFE / 2)
    _, field = _nearest(cells, points)
    fragments = []
    for z, y, x in points[:, field > 1.22].T[:count].tolist():
        radius = rng.between(9, 19) * scale
        solid = Solid(
            center=(z, y, x),
            axis=rng.direction(),
            radii=(rng.between(4, 10), radius * rng.between(1.0, 1.6), radius),
            drift=(rng.between(-1, 1) * scale, rng.between(-1, 1) * scale),
            wave=0.1,
        )
        fragments.append(Cell(solid, rng.between(-4_000, 9_000)))
    return fragments


def _make_organelle(
    kind: _Kind, rng: Random, owner: int, center: tuple[float, float, float], scale: float
) -> Organelle:
    """An organelle of a kind at that place in that cell."""
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
        solid = Solid(
            center=(z, y, x),
            axis=turn,
            radii=(
                max(1.0, radius * size * kind.depth),
                radius * size * longer * scale,
                radius * size / longer * scale,
            ),
            drift=drift,
            taper=rng.between(-0.2, 0.2),
            wave=kind.wave,
        )
        parts.append((label, solid))
    return Organelle(owner, tuple(parts), rng.between(-1, 1))


def _place_organelles(
    shape: _Shape, seed: int, scale: float, cells: Sequence[Cell]
) -> list[Organelle]:
    """Organelles inside the cells, apart from each other; the first of a kind in the middle."""
    rng = Random(seed, Stream.ORGANELLES)
    organelles: list[Organelle] = []
    taken = np.empty((0, 4))  # z, y, x and size of each
    for kind in _KINDS:
        half = sum(kind.radius) / 2 * kind.depth
        wanted = kind.per_slice * _full_slices(shape, scale)
        left = count = max(1, round(wanted * (shape[0] + 2 * half) / (2 * half)))
        middles = 64
        points = _scatter(rng, 40 * count + middles, shape, half)
        points[0, :middles] = (shape[0] - 1) / 2
        owners, field = _nearest(cells, points)
        for index in np.flatnonzero(field < 0.86).tolist():
            if not left:
                break
            if index < middles and left < count:
                continue
            z, y, x = points[:, index].tolist()
            made = _make_organelle(kind, rng, int(owners[index]), (z, y, x), scale)
            size = max(s.radii[1] for _, s in made.parts) * (0.8 + 0.2 * len(made.parts))
            dz, dy, dx = (taken[:, :3] - (z, y, x)).T
            near = (dz * (_PX_PER_SLICE * scale)) ** 2 + dy**2 + dx**2
            if (near < (taken[:, 3] + size) ** 2).any():
                continue
            taken = np.vstack([taken, [z, y, x, size]])
            organelles.append(made)
            left -= 1
    return organelles
