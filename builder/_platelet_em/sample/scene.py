"""Scene: a seeded synthetic volume of platelets that looks like the published ones.

Labels are drawn when the scene is made, and kept as runs; the image of a slice is painted when the
slice is asked for. A pixel belongs to the cell whose field is lowest there, so the labels are a
partition. All values depend on raw random bits and on IEEE sums, products, quotients and square
roots only, so they are the same on every platform.

The gray values below were measured on the published z=0 slice of volume 50.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.kernels import value_runs
from _platelet_em.errors import ImageFormatError
from _platelet_em.sample.anatomy import (
    CELL,
    FIRST,
    MARGIN,
    VESSEL,
    Random,
    Stream,
    Style,
    find_scale,
    place_parts,
)

__all__ = ["Scene", "SceneSlice"]

_Floats = NDArray[np.float32]

_BAND = 100  # rows drawn at a time: windows in a band are close around the slanted cells
_REACH = 1.3  # fields of cells are computed up to this, to know how near the second cell is
_LEAST_SLOPE = 0.0074  # per px, a quarter of what the fields of two cells differ by at long sides

# Gray values on the scale of uint16; by class, with the background first: the mean, and how much
# a shade of 1 adds.
_CLASS_GRAY = np.array([54_900, 33_300, 9_800, 22_800, 50_800, 27_300, 9_300], np.float32)
_SHADE_GRAY = np.array([0, 7_500, 2_500, 2_500, 6_000, 2_500, 2_500], np.float32)
_MEMBRANE_GRAY = -14_000.0  # of the line along a cell's outline
_FRINGE_GRAY = 16_000.0  # outside of that line, since outlines are drawn generously
_RIM_GRAY = -14_000.0  # around a vessel
_GRAIN_GRAY = 23_000.0  # of dark grains in the cytoplasm, darker by this much
_LINE_GRAY = 6_000.0  # of thin membranes in the cytoplasm, darker by this much
_NOISE_GRAY = 4_070.0  # deviation of the pixel noise
_LEVELS = 14_645  # distinct values of the published image, which fill the range of uint16


@dataclass(frozen=True, slots=True)
class SceneSlice:
    """One z slice of a scene: the image and its three label arrays, each (y, x)."""

    image: NDArray[np.uint16]
    semantic: NDArray[np.uint8]
    cells: NDArray[np.int32]
    organelles: NDArray[np.int32]


class Scene:
    """A synthetic volume of platelets, of which any slice can be computed at any time.

    Ids are 1..n over the volume, each present in a contiguous range of slices. They do not follow
    the order of appearance: in the published JSON labels they need not either.

    Args:
        shape: (z, y, x) of the volume, each at least 1.
        seed: Which scene; not negative.
        style: What its cells and organelles are like.

    Raises:
        ImageFormatError: For a shape that is not three positive sizes.
    """

    def __init__(self, shape: tuple[int, int, int], seed: int, style: Style = FIRST) -> None:
        if len(shape) != 3 or min(shape) < 1:
            raise ImageFormatError(f"a scene needs three positive sizes (z, y, x), got {shape}")
        self.shape = shape
        self._seed = seed
        self._scale = find_scale(shape)
        parts = place_parts(shape, seed, style)
        self._cells = [part for part in parts if not part.organelle]
        self._organelle_parts = [(i, part) for i, part in enumerate(parts, 1) if part.organelle]
        # Tables by part number: 0 is the background, then come the cells, so the number of a cell
        # is also that of its part.
        _, labels, cells, organelles, shades = zip(*parts, strict=True)
        self._class = np.array((0, *labels), np.uint8)
        self._cell = np.array((0, *cells), np.int32)
        self._organelle = np.array((0, *organelles), np.int32)
        shade = np.array((0, *shades), np.float32)
        self._gray = _CLASS_GRAY[self._class] + _SHADE_GRAY[self._class] * shade
        self._gray += np.where(self._organelle > 0, _SHADE_GRAY[CELL] * shade[self._cell], 0)
        self._runs = [value_runs(self._draw_parts(z).ravel()) for z in range(shape[0])]
        slices = [numbers for _, _, numbers in self._runs]
        self._cell_id = _keep_longest_lives(slices, self._cell, np.zeros_like(self._cell))
        self._organelle_id = _keep_longest_lives(slices, self._organelle, self._cell)

    def slice(self, z: int) -> SceneSlice:
        """Slice z: image and labels, the same whichever slices were asked for before.

        Raises:
            IndexError: For a z outside the volume.
        """
        if not 0 <= z < self.shape[0]:
            raise IndexError(f"expected a slice from 0 to {self.shape[0] - 1}, got {z}")
        starts, stops, numbers = self._runs[z]
        semantic, cells, organelles, gray = (
            np.repeat(table[numbers], stops - starts).reshape(self.shape[1:])
            for table in (self._class, self._cell_id, self._organelle_id, self._gray)
        )
        return SceneSlice(self._paint(z, semantic, cells, gray), semantic, cells, organelles)

    def _draw_parts(self, z: int) -> NDArray[np.int32]:
        """The number of each pixel's part in slice z: int32 (y, x)."""
        drawn, depth = self._draw_cells(z)
        walls = self._draw_noise(Stream.WALLS, z, 3, 8 * self._scale)
        for number, part in self._organelle_parts:
            cut = part.solid.cut(z, range(self.shape[1]), walls, 1 + 3 * part.solid.wave)
            if cut is None:
                continue
            window, field = cut
            below = drawn[window]
            free = (below == part.cell) | (self._organelle[below] == part.organelle)
            below[free & (field < 1) & (depth[window] < MARGIN)] = number
        return drawn

    def _draw_cells(self, z: int) -> tuple[NDArray[np.int32], _Floats]:
        """The number of each pixel's cell in slice z, 0 where none is, and that cell's field."""
        wave = self._draw_noise(Stream.OUTLINE, z, 7, 22 * self._scale)
        wave += self._draw_noise(Stream.SERRATION, z, 2, 5 * self._scale, 0.22)
        height, width = wave.shape
        drawn = np.zeros((height, width), np.int32)
        best, second = np.full((2, height, width), _REACH, np.float32)
        for top in range(0, height, _BAND):
            rows = range(top, min(top + _BAND, height))
            for cell in self._cells:
                cut = cell.solid.cut(z, rows, wave, _REACH)
                if cut is None:
                    continue
                window, field = cut
                lowest, next_lowest = best[window], second[window]
                np.minimum(next_lowest, np.maximum(lowest, field), out=next_lowest)
                drawn[window][field < lowest] = cell.cell
                np.minimum(lowest, field, out=lowest)
        # Fields of cells one above the other hardly differ: without a least slope, noise alone
        # would choose between them, pixel by pixel.
        second -= best
        slope = np.maximum(_measure_slope(second), _LEAST_SLOPE / self._scale)
        gap = self._draw_noise(Stream.GAP, z, 9, 40 * self._scale, 5 * self._scale)
        gap += 3.5 * self._scale
        drawn[(best >= 1) | (second <= gap * slope)] = 0
        return drawn, best

    def _draw_noise(
        self, stream: Stream, z: int, depth: int, px: float, weight: float = 1.0
    ) -> _Floats:
        """Smooth noise over slice z: float32 (y, x) of mean 0 and deviation about `weight`.

        It is a quadratic B-spline of random nodes that are `depth` slices and about `px` apart.
        """
        step = max(2, round(px))
        nodes = [-(-size // step) + 2 for size in self.shape[1:]]
        plane, rest = divmod(z, depth)
        grid = np.zeros(nodes, np.float32)
        for i, share in enumerate(_weigh_nodes(rest / depth)):
            rng = Random(self._seed, stream, plane + i)
            values = rng.uniform(nodes[0] * nodes[1], -4.25, 4.25) * (share * weight)
            grid += values.astype(np.float32).reshape(nodes)
        wide = np.ascontiguousarray(_magnify(grid.T, step)[: self.shape[2]].T)
        return _magnify(wide, step)[: self.shape[1]]

    def _paint(
        self, z: int, semantic: NDArray[np.uint8], cells: NDArray[np.int32], gray: _Floats
    ) -> NDArray[np.uint16]:
        """The image of slice z from its labels and the gray value of each pixel's part."""
        coarse = self._draw_noise(Stream.COARSE, z, 5, 34)
        medium = self._draw_noise(Stream.MEDIUM, z, 3, 9)
        small = self._draw_noise(Stream.SMALL, z, 2, 5)
        is_cell, is_vessel = cells > 0, semantic == VESSEL
        reach = max(2, round(6 * self._scale))
        # What no label marks in the cytoplasm: dark grains and thin membranes, few near outlines.
        marks = np.clip(medium * 1.25 - small * 2.5 - 1.6, 0, 1) * _GRAIN_GRAY
        marks += np.clip(1.4 - np.abs(medium) * 7, 0, 1) * _LINE_GRAY
        marks *= np.clip(coarse * 1.5 + 0.9, 0.1, 1)
        marks *= semantic == CELL
        for distance in (3 * reach, 5 * reach):
            marks[_differs_near(cells, distance)] *= 0.5
        gray -= marks
        gray[is_cell & ~is_vessel & _differs_near(is_vessel, 3)] += _RIM_GRAY
        gray[is_vessel & _differs_near(is_vessel, 2)] += _RIM_GRAY * 0.6
        gray[is_cell & _differs_near(cells, reach)] += _MEMBRANE_GRAY
        gray[is_cell & _differs_near(is_cell, reach // 2)] += _FRINGE_GRAY
        texture = (coarse + medium) * 2_600
        np.clip(texture, -3_100, 800, out=texture, where=~is_cell)
        texture += small * 2_000
        contrast = np.where(is_cell, np.float32(1), np.float32(0.82))
        gray = _blur(gray + texture * contrast)
        noise = _draw_pixel_noise(Random(self._seed, Stream.PIXELS, z), self.shape[1:])
        gray += noise * (contrast * _NOISE_GRAY)
        levels = np.rint(np.clip(gray * (_LEVELS / 65_535), 0, _LEVELS))
        image: NDArray[np.uint16] = np.rint(levels * (65_535 / _LEVELS)).astype(np.uint16)
        return image


def _keep_longest_lives(
    slices: list[NDArray[np.int32]], owners: NDArray[np.int32], substitutes: NDArray[np.int32]
) -> NDArray[np.int32]:
    """Reduce each object to its longest range of slices, so that no object has gaps.

    Args:
        slices: The numbers of the parts in each slice, to be changed in place.
        owners: By part number, the object that it belongs to, or 0.
        substitutes: By part number, what replaces it where its object is taken away.

    Returns:
        By part number, the id of its object: int32, 1..n for objects that are in any slice.
    """
    life, longest, stop = np.zeros((3, owners.max() + 1), np.int64)
    for z, numbers in enumerate(slices):
        present = np.zeros(len(life), np.bool_)
        present[owners[numbers]] = True
        life = np.where(present, life + 1, 0)
        longer = life > longest
        longest[longer], stop[longer] = life[longer], z + 1
    for z, numbers in enumerate(slices):
        owner = owners[numbers]
        outside = (z < stop[owner] - longest[owner]) | (z >= stop[owner])
        numbers[outside] = substitutes[numbers[outside]]
    longest[0] = 0
    return np.where(longest > 0, np.cumsum(longest > 0), 0).astype(np.int32)[owners]


def _measure_slope(field: _Floats) -> _Floats:
    """By how much a field (y, x) changes from a pixel to the next."""
    squares = np.zeros_like(field)
    squares[:-1] = np.diff(field, axis=0) ** 2
    squares[:, :-1] += np.diff(field, axis=1) ** 2
    return np.sqrt(squares)


def _differs_near(labels: NDArray[Any], reach: int) -> NDArray[np.bool_]:
    """Bool (y, x): whether a pixel `reach` away along either axis has another label."""
    differ = np.zeros(labels.shape, np.bool_)
    for along, out in ((labels, differ), (labels.T, differ.T)):
        other = along[reach:] != along[:-reach]
        out[reach:] |= other
        out[:-reach] |= other
    return differ


def _weigh_nodes(t: float) -> tuple[float, float, float]:
    """The weights of three nodes in a quadratic B-spline, at t in [0, 1) from its first knot."""
    return (1 - t) * (1 - t) / 2, t * (1 - t) + 0.5, t * t / 2


def _magnify(grid: _Floats, factor: int) -> _Floats:
    """The quadratic B-spline of nodes (n + 2, m) along the first axis: (n * factor, m)."""
    fine = np.empty((len(grid) - 2, factor, grid.shape[1]), np.float32)
    for i in range(factor):
        a, b, c = _weigh_nodes(i / factor)
        fine[:, i] = grid[:-2] * a + grid[1:-1] * b + grid[2:] * c
    return fine.reshape(-1, grid.shape[1])


def _blur(image: _Floats) -> _Floats:
    """The image after the binomial kernel of 7 x 7 pixels."""
    image = np.pad(image, 3, "edge")
    for _ in range(6):
        image = image[1:] + image[:-1]
        image = image[:, 1:] + image[:, :-1]
    image /= 2**12
    return image


def _draw_pixel_noise(rng: Random, shape: tuple[int, int]) -> _Floats:
    """Float32 (y, x), almost normal, of deviation 1, correlated over a pixel, mostly along x."""
    height, width = shape[0] + 1, shape[1] + 2
    noise = rng.triangular(height * width).reshape(height, width)
    noise = noise[1:] * 0.7 + noise[:-1] * 0.3
    noise = noise[:, 1:] + noise[:, :-1]
    noise = noise[:, 1:] + noise[:, :-1]
    noise *= 0.536
    return noise
