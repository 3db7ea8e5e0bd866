"""Scene: seeded synthetic platelets, one z slice at a time, that look like the real volumes.

A slice is drawn from the few cells and organelles that it cuts, so that no dense volume is ever
held. A pixel belongs to the cell whose field is lowest there, which makes the labels a partition.
Labels depend on IEEE sums, products, quotients and square roots only, and on raw bit streams, so
that they are the same on every platform.

The grey values below were measured on the published z=0 slice of volume 50.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.errors import ImageFormatError
from _platelet_em.sample.anatomy import CELL_RADII, MARGIN, VESSEL, Random, Stream, place_anatomy

__all__ = ["Scene", "SceneSlice"]

_Floats = NDArray[np.float32]

_FIELD_REACH = 1.3  # fields are followed this far, to know how near the second cell is

# Grey values on the scale of uint16, most of them added to the grey of the cell around.
_BACKGROUND = 54_900.0
_CELL_GREY = 34_800.0
_CLASS_GREY = (0.0, 0.0, -23_500.0, -10_500.0, 17_500.0, -6_000.0, -24_000.0)
_CLASS_SPREAD = (0.0, 0.0, 2_500.0, 2_500.0, 6_000.0, 2_500.0, 2_500.0)  # among organelles
_MEMBRANE_GREY = -14_000.0  # of the line along a cell's outline
_FRINGE_GREY = 16_000.0  # outside of that line, since outlines are drawn generously
_RIM_GREY = -14_000.0  # around a vessel
_CLUMP_GREY = 25_000.0  # dark grains in the cytoplasm, which no label marks
_LINE_GREY = 6_000.0  # thin membranes in the cytoplasm, which no label marks
_NOISE_GAIN = 8_900.0
_LEVELS = 14_645  # distinct values of the real image, stretched to the whole uint16 range


@dataclass(frozen=True, slots=True)
class SceneSlice:
    """One z slice of a scene: the image and its three label arrays, each (y, x)."""

    image: NDArray[np.uint16]
    semantic: NDArray[np.uint8]
    cells: NDArray[np.int32]
    organelles: NDArray[np.int32]


class Scene:
    """A synthetic volume of platelets, of which any slice can be computed at any time.

    Ids are 1..n over the volume, each of them present in a contiguous range of slices. They do
    not follow the order of appearance: in the real JSON labels they need not either.

    Args:
        shape: (z, y, x) of the volume, each at least 1.
        seed: which scene; not negative.

    Raises:
        ImageFormatError: for a shape that is not three positive sizes.
    """

    def __init__(self, shape: tuple[int, int, int], seed: int) -> None:
        if len(shape) != 3 or min(shape) < 1:
            raise ImageFormatError(f"a scene needs three positive sizes (z, y, x), got {shape}")
        self.shape = shape
        self._seed = seed
        anatomy = place_anatomy(shape, seed)
        self._scale = anatomy.scale
        self._cells, self._organelles = anatomy.cells, anatomy.organelles
        self._cell_lives, self._organelle_lives = self._find_lives()

    def slice(self, z: int) -> SceneSlice:
        """Slice z: image and labels, the same whichever slices were asked for before.

        Raises:
            IndexError: for a z outside the volume.
        """
        if not 0 <= z < self.shape[0]:
            raise IndexError(f"slice {z} of a scene of {self.shape[0]} slices")
        owner, depth = self._draw_cells(z)
        organelle, kind = self._draw_organelles(z, owner, depth)
        cells = _ids_at(z, self._cell_lives)[owner]
        organelles = _ids_at(z, self._organelle_lives)[organelle]
        semantic = np.where(organelles > 0, kind, cells > 0).astype(np.uint8)
        shades = np.array([0.0, *(c.shade for c in self._cells)], np.float32)[owner]
        tones = np.array([0.0, *(o.shade for o in self._organelles)], np.float32)[organelle]
        image = self._paint(
            z, semantic=semantic, cells=cells, depth=depth, shades=shades, tones=tones
        )
        return SceneSlice(image, semantic, cells, organelles)

    def _noise(self, tag: int, z: int, spacing: tuple[float, float]) -> _Floats:
        """Smooth noise of a use, `tag`, over slice z; `spacing` in (slices, px)."""
        return _smooth_noise(self._seed, tag, z, self.shape[1:], spacing)

    def _draw_cells(self, z: int) -> tuple[NDArray[np.int32], _Floats]:
        """Per pixel of slice z: the 1-based index of its cell or 0, and that cell's field."""
        flat = self.shape[1:]
        wave = self._noise(Stream.OUTLINE, z, (7.0, max(2.0, 22 * self._scale)))
        wave += self._noise(Stream.SERRATION, z, (2.0, max(2.0, 5 * self._scale))) * 0.22
        gap = self._noise(Stream.GAP, z, (9.0, max(2.0, 40 * self._scale))) * 5 + 3.5
        owner = np.zeros(flat, np.int32)
        best = np.full(flat, 2, np.float32)
        second = np.full(flat, 2, np.float32)
        for index, cell in enumerate(self._cells, 1):
            cut = cell.solid.cut(z, wave, _FIELD_REACH)
            if cut is None:
                continue
            window, field = cut
            lowest, next_lowest = best[window], second[window]
            np.minimum(next_lowest, np.maximum(lowest, field), out=next_lowest)
            owner[window][field < lowest] = index
            np.minimum(lowest, field, out=lowest)
        second -= best
        steepest = 2.5 / (CELL_RADII[2] * self._scale)
        # Fields of cells one above the other hardly differ: without a least slope, noise alone
        # would choose between them, pixel by pixel.
        slope = np.maximum(_slope(second, steepest), steepest / 4)
        owner[(best >= 1) | (second <= gap * self._scale * slope)] = 0
        return owner, best

    def _draw_organelles(
        self, z: int, owner: NDArray[np.int32], depth: _Floats
    ) -> tuple[NDArray[np.int32], NDArray[np.uint8]]:
        """Per pixel of slice z: the 1-based index of its organelle or 0, and its class or 0."""
        flat = self.shape[1:]
        wave = self._noise(Stream.WALLS, z, (3.0, max(2.0, 8 * self._scale)))
        organelles = np.zeros(flat, np.int32)
        kinds = np.zeros(flat, np.uint8)
        for index, organelle in enumerate(self._organelles, 1):
            for kind, solid in organelle.parts:
                cut = solid.cut(z, wave, 1.0 + 3 * solid.wave)
                if cut is None:
                    continue
                window, field = cut
                inside = (field < 1) & (depth[window] < MARGIN)
                inside &= owner[window] == organelle.owner
                inside &= (organelles[window] == 0) | (organelles[window] == index)
                organelles[window][inside] = index
                kinds[window][inside] = kind
        return organelles, kinds

    def _find_lives(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The first slice, the slice after the last, and the id of each cell and organelle.

        Each is int64 (3, 1 + objects), with index 0 for no object. An object that is cut into
        several ranges of slices keeps its longest; one that never appears gets id 0.
        """
        counts = (len(self._cells) + 1, len(self._organelles) + 1)
        runs, longest, stops = (tuple(np.zeros(n, np.int64) for n in counts) for _ in range(3))
        for z in range(self.shape[0]):
            owner, depth = self._draw_cells(z)
            organelle, _ = self._draw_organelles(z, owner, depth)
            for i, labels in enumerate((owner, organelle)):
                present = np.bincount(labels.ravel(), minlength=counts[i]) > 0
                runs[i][:] = np.where(present, runs[i] + 1, 0)
                better = runs[i] > longest[i]
                longest[i][better] = runs[i][better]
                stops[i][better] = z + 1
        starts = [stop - length for stop, length in zip(stops, longest, strict=True)]
        owners = [0, *(o.owner for o in self._organelles)]
        np.maximum(starts[1], starts[0][owners], out=starts[1])
        np.minimum(stops[1], stops[0][owners], out=stops[1])
        lives = []
        for start, stop in zip(starts, stops, strict=True):
            seen = start < stop
            seen[0] = False
            lives.append(np.stack([start, stop, np.where(seen, np.cumsum(seen), 0)]))
        return lives[0], lives[1]

    def _paint(
        self,
        z: int,
        *,
        semantic: NDArray[np.uint8],
        cells: NDArray[np.int32],
        depth: _Floats,
        shades: _Floats,
        tones: _Floats,
    ) -> NDArray[np.uint16]:
        """The image of slice z from its labels and from the shade of each cell and organelle."""
        coarse = self._noise(Stream.COARSE, z, (5.0, 34.0))
        medium = self._noise(Stream.MEDIUM, z, (3.0, 9.0))
        small = self._noise(Stream.SMALL, z, (2.0, 4.5))
        spots = self._noise(Stream.SPOTS, z, (2.0, 5.5))
        grey = np.array(_CLASS_GREY, np.float32)[semantic] + shades + _CELL_GREY
        grey += coarse * 2_600 + medium * 2_600 + small * 2_000
        grey += tones * np.array(_CLASS_SPREAD, np.float32)[semantic]
        patches = np.clip(coarse * 1.5 + 0.9, 0.1, 1) * np.clip((MARGIN - depth) * 4, 0, 1)
        patches *= semantic == 1
        grey -= np.clip((spots + medium * 0.5 - 0.6) * 2.5, 0, 1) * patches * _CLUMP_GREY
        grey -= np.clip(1.4 - np.abs(medium) * 7, 0, 1) * patches * _LINE_GREY
        vessel = semantic == VESSEL
        grey[(semantic > 0) & ~vessel & _near_other(vessel, 3)] += _RIM_GREY
        grey[vessel & _near_other(vessel, 2)] += _RIM_GREY * 0.6
        reach = max(2, round(6 * self._scale))
        line = (cells > 0) & _near_other(cells, reach)
        grey[line] += _MEMBRANE_GREY * (1 + 0.3 * small[line])
        grey[(cells > 0) & _near_other(cells > 0, reach // 2)] += _FRINGE_GREY
        outside = np.minimum(coarse + medium, 0.3) * 1_900 + small * 900 + _BACKGROUND
        grey = np.where(cells > 0, grey, outside)
        for _ in range(3):
            grey = _blur(grey, (0.25, 0.25))
        noise = _bells(Random(self._seed, Stream.NOISE, z), self.shape[1:])
        grey += _blur(noise, (0.14, 0.25)) * np.where(cells > 0, _NOISE_GAIN, _NOISE_GAIN * 0.82)
        levels = np.rint(np.clip(grey * (_LEVELS / 65_535.0), 0, _LEVELS))
        image: NDArray[np.uint16] = np.rint(levels * (65_535.0 / _LEVELS)).astype(np.uint16)
        return image


def _ids_at(z: int, lives: NDArray[np.int64]) -> NDArray[np.int32]:
    """The id of each drawn index in slice z: int32 (1 + objects,), 0 where it does not live."""
    start, stop, ids = lives
    return np.where((start <= z) & (z < stop), ids, 0).astype(np.int32)


def _slope(field: _Floats, steepest: float) -> _Floats:
    """How much a field changes from a pixel to the next, (y, x); steps are cut at `steepest`."""
    squares = np.zeros_like(field)
    down, across = (np.minimum(np.abs(np.diff(field, axis=i)), steepest) for i in (0, 1))
    squares[:-1] += down * down
    squares[:, :-1] += across * across
    return np.sqrt(squares)


def _near_other(labels: NDArray[Any], reach: int) -> NDArray[np.bool_]:
    """Bool (y, x): whether a pixel `reach` away along either axis has another label."""
    differ = np.zeros(labels.shape, np.bool_)
    for along, out in ((labels, differ), (labels.T, differ.T)):
        other = along[reach:] != along[:-reach]
        out[reach:] |= other
        out[:-reach] |= other
    return differ


def _blur(image: _Floats, weights: tuple[float, float]) -> _Floats:
    """The image after the kernels (w, 1 - 2 w, w) along y and x, w being the two weights."""
    for axis, weight in enumerate(weights):
        places = np.arange(image.shape[axis])
        before, after = (image.take(places + step, axis, mode="clip") for step in (-1, 1))
        image = image * (1 - 2 * weight) + (before + after) * weight
    return image


def _weights(t: Any) -> list[Any]:
    """What the three nodes of a quadratic B-spline weigh at t in [0, 1) from the first knot."""
    return [(1 - t) * (1 - t) / 2, t * (1 - t) + 0.5, t * t / 2]


def _smooth_noise(
    seed: int, tag: int, z: int, shape: tuple[int, int], spacing: tuple[float, float]
) -> _Floats:
    """Float32 (y, x) of mean 0 and deviation about 1, smooth over y, x and z.

    `spacing` is that of the random nodes, (slices, px).
    """
    places = [np.arange(size) / spacing[1] for size in shape]
    rows, columns = (place.astype(np.intp) for place in places)
    below, right = (_weights((p % 1).astype(np.float32)) for p in places)
    nodes = (int(rows[-1]) + 3, int(columns[-1]) + 3)
    plane = int(z // spacing[0])
    grid = np.zeros(nodes, np.float32)
    for i, weight in enumerate(_weights(z / spacing[0] - plane)):
        values = Random(seed, tag, plane + i).many(nodes[0] * nodes[1], -4.25, 4.25)
        grid += (values * weight).astype(np.float32).reshape(nodes)
    wide = np.zeros((nodes[0], shape[1]), np.float32)
    noise = np.zeros(shape, np.float32)
    for i in range(3):
        wide += grid[:, columns + i] * right[i]
    for i in range(3):
        noise += wide[rows + i] * below[i][:, None]
    return noise


def _bells(rng: Random, shape: tuple[int, int]) -> _Floats:
    """Float32 (y, x), almost normal, of mean 0 and deviation 1: sums of four uniforms."""
    words = rng.words(shape[0] * shape[1]).astype("<u8").view("<u2")
    parts = words.reshape(*shape, 4).astype(np.float32)
    total: _Floats = parts[..., 0] + parts[..., 1] + parts[..., 2] + parts[..., 3]
    return (total - 131_070.0) * (math.sqrt(3.0) / 65_536.0)
