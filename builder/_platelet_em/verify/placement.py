"""Whether the classes lie where the image shows them, or elsewhere: mirrored, shifted, turned.

The measure is the share of the variance of the gray values that the means of the classes explain:
for labels in the right place it is higher than for the same labels in any other.
"""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.verify.report import BYTES, Section
from _platelet_em.verify.view import MAX_CLASSES

__all__ = ["PLANE_SYMMETRIES", "PlacementCheck", "plane_symmetries"]

_Floats = NDArray[np.float64]
_Plane = Callable[[NDArray[np.integer]], NDArray[np.integer]]

PLANE_SYMMETRIES: dict[str, _Plane] = {
    "mirrored in y": lambda page: page[::-1],
    "mirrored in x": lambda page: page[:, ::-1],
    "turned by 180 degrees": lambda page: page[::-1, ::-1],
    "transposed": lambda page: page.T,
    "turned by 90 degrees": lambda page: page.T[::-1],
    "turned by 270 degrees": lambda page: page.T[:, ::-1],
    "transposed and turned by 180 degrees": lambda page: page.T[::-1, ::-1],
}
"""The other ways to place a slice (y, x); the last four fit square slices only."""

_REVERSED, _BEFORE, _AFTER = "flipped in z", "shifted by -1 in z", "shifted by 1 in z"

_STEP, _SAMPLES = 4, 4096
"""Largest step, in pixels along y and x, from one sample of the image to the next, and the samples
that a slice has at least, if it has as many pixels."""

_FEWEST_PIXELS = 512
"""Pixels of a slice below which classes explain something by chance."""

_SMALLEST_SIDE = 48
"""Pixels along y and x that a slice needs, for a shift to be measured."""

_WINDOW = 512
"""Pixels along y and x of the middle of a slice in which shifts are measured."""

_CLEARLY = 1.5
"""Labels that explain so many times as much elsewhere are in the wrong place."""

_LEAST = 0.1
"""Share of the variance below which nothing is concluded."""

_MOST_SLICES = 0.8
"""Share of the slices that must agree, for a shift of the volume."""

_FEWEST_SLICES = 3

_SHIFT, _SHIFT_GAIN = 2, 1.01
"""Pixels, and how many times as much labels explain there: least shift of a volume that is an
error. On the published picture, the best place is one pixel off and explains 1.0002 times as much;
labels shifted by 3 pixels explain 1.028 times as much in their place, or more."""

_SLICE_SHIFT, _SLICE_SHIFT_GAIN = 4, 1.05
"""The same for a single slice."""

_Z_GAIN = 0.02
"""Least share of the unexplained variance that other slices must explain: labels a slice off
explain 0.05 to 0.08 of the sample's in their place, and right ones lose as much."""

_WEAK_SLICE = 0.5
"""A slice that explains less than this part of the median is worth a remark."""


def plane_symmetries(shape: tuple[int, ...]) -> dict[str, _Plane]:
    """The symmetries that keep the shape (y, x) of a slice."""
    return {
        name: change
        for name, change in PLANE_SYMMETRIES.items()
        if change(np.empty(shape, np.int8)).shape == shape
    }


class PlacementCheck:
    """Compares the classes with the image, slice by slice, in their place and in others.

    Args:
        section: Receives figures and findings.
        classes: The class indices, (z, y, x).
        name: Name of the volume.
        file: What to call their file.
        bright_background: Whether background is brighter than cells, as far as is known.
    """

    def __init__(
        self,
        section: Section,
        classes: LazyLabels,
        name: str,
        file: str,
        *,
        bright_background: bool,
    ) -> None:
        self._section, self._classes, self._name, self._file = section, classes, name, file
        self._bright_background = bright_background
        _, height, width = classes.shape
        self._is_decidable = height * width >= _FEWEST_PIXELS
        self._step = max(1, min(_STEP, math.isqrt(height * width // _SAMPLES)))
        self._depth = classes.shape[0]
        self._symmetries = plane_symmetries(classes.shape[1:])
        names = ["straight", *self._symmetries, _REVERSED, _BEFORE, _AFTER]
        self._explained = {name: np.full(self._depth, np.nan) for name in names}
        self._total = np.zeros(self._depth)
        self._shifts = np.zeros((self._depth, 2), np.int64)
        self._shift_gain = np.ones(self._depth)
        self._sums = np.zeros((2, 2))  # background, labeled: pixels, sum of gray values

    def add(self, z: int, page: NDArray[np.uint16]) -> None:
        """Compare slice z, uint16 (y, x)."""
        classes = self._classes[z]
        step = self._step
        values = page[::step, ::step].astype(np.float64)
        values -= (mean := values.mean())
        self._total[z] = float((values**2).sum())
        thin = classes[::step, ::step]
        for i, where in enumerate((thin == 0, thin > 0)):
            self._sums[i] += where.sum(), (values[where] + mean).sum()
        if not self._total[z]:
            return
        self._explained["straight"][z] = _explain(values, thin)
        for name, change in self._symmetries.items():
            self._explained[name][z] = _explain(values, change(classes)[::step, ::step])
        for name, other in (
            (_REVERSED, self._depth - 1 - z),
            (_BEFORE, z + 1),
            (_AFTER, z - 1),
        ):
            if 0 <= other < self._depth:
                found = self._classes[other, ::step, ::step]
                self._explained[name][z] = _explain(values, found)
        if min(page.shape) >= _SMALLEST_SIDE:
            self._shifts[z], self._shift_gain[z] = _find_shift(page, classes)

    def finish(self) -> None:
        """Report how well the classes fit the image, and where they fit better."""
        straight = np.nan_to_num(self._explained["straight"])
        share = float(straight.sum() / max(self._total.sum(), 1.0))
        figures = {"straight": share}
        text = f"{share:.1%} of the variance is explained by the classes"
        if self._depth > 1:
            flipped = np.nan_to_num(self._explained[_REVERSED]).sum()
            figures["flipped"] = float(flipped / max(self._total.sum(), 1.0))
            text += f", {figures['flipped']:.1%} if flipped in z"
        self._section.figure("image and classes", text, figures)
        if not self._is_decidable:
            return
        if not (self._report_elsewhere(share) or self._report_shift()):
            if figures.get("flipped", 0.0) > max(share, _LEAST):
                found = f"the classes fit the image better if flipped in z: {text}"
                self._section.remark("flip", self._file, found)
            self._report_slices(straight)
        if share < _LEAST:
            self._section.remark(
                "weak agreement", self._file, f"the classes hardly fit the image: {text}"
            )
        self._report_contrast()

    def _report_elsewhere(self, share: float) -> bool:
        """An error if the labels of the volume clearly fit better in another place."""
        total = max(self._total.sum(), 1.0)
        for name in self._symmetries:
            other = float(np.nansum(self._explained[name]) / total)
            if other >= max(_LEAST, _CLEARLY * share):
                self._error("placement", name, f"{share:.1%} of the variance, and {other:.1%}")
                return True
        for name in (_REVERSED, _BEFORE, _AFTER):
            known = np.isfinite(self._explained["straight"]) & np.isfinite(self._explained[name])
            if known.sum() < _FEWEST_SLICES:
                continue
            straight, other = (self._explained[key][known] for key in ("straight", name))
            of = float(self._total[known].sum())
            gain = (other.sum() - straight.sum()) / max(of - straight.sum(), 1.0)
            if gain >= _Z_GAIN and (other >= straight).mean() >= _MOST_SLICES:
                text = f"{straight.sum() / of:.1%} of the variance, and {other.sum() / of:.1%}"
                self._error("flip" if name == _REVERSED else "placement", name, text)
                return True
        return False

    def _report_shift(self) -> bool:
        """An error if the labels of most slices fit better if they are shifted by as much."""
        shift = np.median(self._shifts, axis=0).round().astype(np.int64)
        alike = (np.abs(self._shifts - shift).max(axis=1) <= 1).mean()
        gain = float(np.median(self._shift_gain))
        if np.abs(shift).max() < _SHIFT or gain < _SHIFT_GAIN or alike < _MOST_SLICES:
            return False
        dy, dx = shift.tolist()
        text = (
            f"1 / {gain:.2f} of what they explain there, and {alike:.0%} of the slices agree on it"
        )
        self._error("placement", f"shifted by {dy} in y and {dx} in x", text)
        return True

    def _report_slices(self, straight: _Floats) -> None:
        """Errors for single slices that fit clearly better elsewhere, remarks for weak ones."""
        shares = straight / np.maximum(self._total, 1.0)
        typical = float(np.median(shares))
        for z in np.flatnonzero(self._total).tolist():
            elsewhere, best = max((self._explained[name][z], name) for name in self._symmetries)
            found = f"{shares[z]:.1%} of the variance, and"
            dy, dx = self._shifts[z].tolist()
            if elsewhere >= max(_CLEARLY * straight[z], _LEAST * self._total[z]) > 0:
                text = f"{found} {elsewhere / self._total[z]:.1%}"
                self._error("placement", best, text, z=z)
            elif (
                max(abs(dy), abs(dx)) >= _SLICE_SHIFT and self._shift_gain[z] >= _SLICE_SHIFT_GAIN
            ):
                text = f"{found} {self._shift_gain[z]:.2f} times as much"
                self._error("placement", f"shifted by {dy} in y and {dx} in x", text, z=z)
            elif shares[z] < _WEAK_SLICE * typical and typical >= 2 * _LEAST:
                self._section.remark(
                    "weak agreement",
                    self._file,
                    f"the classes explain {shares[z]:.1%} of the variance of this slice, those of "
                    f"most slices {typical:.1%}",
                    z=z,
                )

    def _report_contrast(self) -> None:
        (none, dark), (some, bright) = self._sums
        if not (none and some):
            return
        background, labeled = dark / none, bright / some
        self._section.figure(
            "mean gray values",
            f"{background:.0f} of background, {labeled:.0f} of labeled voxels",
            {"background": background, "labeled": labeled},
        )
        is_darker = background < labeled
        self._section.answer(
            BYTES,
            f"volume {self._name}: background {'darker' if is_darker else 'brighter'} than "
            f"labeled voxels ({background:.0f}, {labeled:.0f})",
        )
        if is_darker and self._bright_background:
            self._section.remark(
                "contrast",
                self._file,
                f"background is darker than cells ({background:.0f}, and {labeled:.0f}): in the "
                "published picture of volume 50, z = 0, it is brighter: are the images inverted?",
            )

    def _error(self, check: str, change: str, figures: str, **place: int) -> None:
        self._section.error(
            check,
            self._file,
            expected="labels that fit the image best where they are",
            found=f"labels that fit clearly better if {change}: as they are they explain "
            f"{figures}",
            remedy="image and labels do not belong together in this orientation: fetch the "
            "archive again, or report it to the publisher",
            **place,
        )


def _explain(values: _Floats, classes: NDArray[np.integer]) -> float:
    """The sum of squares of centered gray values that the means of the classes explain."""
    flat = classes.reshape(-1)
    count = np.bincount(flat, minlength=MAX_CLASSES)
    total = np.bincount(flat, values.reshape(-1), minlength=MAX_CLASSES)
    return float((total**2 / np.maximum(count, 1)).sum())


def _find_shift(
    page: NDArray[np.uint16], classes: NDArray[np.integer]
) -> tuple[tuple[int, int], float]:
    """The shift (dy, dx) of the labels that explains most, and its ratio to no shift.

    The explained variance of all shifts follows from one correlation per class, by FFT.
    """
    height, width = (min(side, _WINDOW) for side in page.shape)
    top, left = (page.shape[0] - height) // 2, (page.shape[1] - width) // 2
    window = slice(top, top + height), slice(left, left + width)
    values = page[window].astype(np.float32)
    values -= values.mean()
    image = np.fft.rfft2(values)
    explained = np.zeros((height, width))
    inside = classes[window]
    for index in np.unique(inside):
        mask = (inside == index).astype(np.float32)
        sums = np.fft.irfft2(image * np.conj(np.fft.rfft2(mask)), (height, width))
        explained += sums**2 / mask.sum()
    dy, dx = (int(i) for i in np.unravel_index(np.argmax(explained), explained.shape))
    gain = float(explained[dy, dx] / max(explained[0, 0], 1.0))
    return (_signed(dy, height), _signed(dx, width)), gain


def _signed(shift: int, size: int) -> int:
    """A shift that wraps around, as the shorter way."""
    return shift - size if shift > size // 2 else shift
