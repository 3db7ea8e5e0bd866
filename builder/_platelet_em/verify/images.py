"""Whether the images of a volume are intact, from the images alone."""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.rows.intensity import GrayHistogram
from _platelet_em.verify.report import Section

__all__ = ["ImageCheck"]

_SMALLEST_SIDE = 16
"""Pixels along y and x: smaller slices may be constant, or equal, by chance."""

_CONSTANT_PART = 8
"""A slice of which more than one in so many rows, or columns, has one value only is damaged."""

_SMOOTHER = 0.5
"""Neighboring pixels of swapped bytes differ ten times as much on average as those of an image:
where swapping halves the differences, the bytes are swapped."""

_NARROW = 2**15
"""The published images use all gray values; those that use less than half are worth a remark."""

_REMEDY = "the images are damaged: fetch the archive again"


class ImageCheck:
    """Reads the slices of a volume one by one, and reports what no intact image has.

    Args:
        section: Receives figures and findings.
        name: Name of the volume.
        file: What to call the image file.
        whole_range: Whether intact images use all 16-bit gray values.
    """

    def __init__(self, section: Section, name: str, file: str, *, whole_range: bool) -> None:
        self._section, self._file, self._whole_range = section, file, whole_range
        self._histogram = GrayHistogram(name)
        self._known: dict[bytes, int] = {}
        self._swapped: list[int] = []
        self._slices = 0

    def add(self, z: int, page: NDArray[np.uint16]) -> None:
        """Check slice z, uint16 (y, x)."""
        self._histogram.add(page)
        if min(page.shape) < _SMALLEST_SIDE:
            return
        self._slices += 1
        if (value := page[0, 0]) == page.max() == page.min():
            self._error("constant", "an image", f"gray value {value} everywhere", z=z)
            return
        self._find_constant_part(z, page)
        digest = hashlib.sha256(page.tobytes()).digest()
        first = self._known.setdefault(digest, z)
        if first != z:
            self._error("duplicate", "a slice of its own", f"the pixels of slice {first}", z=z)
        swapped = page.byteswap()
        if _roughness(swapped) < _SMOOTHER * _roughness(page):
            self._swapped.append(z)

    def finish(self) -> None:
        """Report what concerns the volume as a whole."""
        self._report_range()
        if not self._slices:
            return
        levels = np.flatnonzero(self._histogram.counts)
        if len(levels) > 1 and (scale := _scale_of_bytes(levels)):
            if self._whole_range:
                self._error("depth", "images of 16 bits", f"8 bits per pixel: {scale}")
        elif self._swapped:
            self._error(
                "byte order",
                "neighboring pixels with similar gray values",
                f"images that are at least {1 / _SMOOTHER:g} times smoother with the two bytes of "
                f"each pixel exchanged, in {len(self._swapped)} of {self._slices} slices, "
                f"first z {self._swapped[0]}",
            )

    def _find_constant_part(self, z: int, page: NDArray[np.uint16]) -> None:
        for axis, name in enumerate(("rows", "columns")):
            constant = np.flatnonzero(page.max(axis=1 - axis) == page.min(axis=1 - axis))
            if len(constant) * _CONSTANT_PART > page.shape[axis]:
                found = (
                    f"{len(constant)} of {page.shape[axis]} {name} of one gray value each, from "
                    f"{constant[0]} to {constant[-1]}"
                )
                self._error("constant", "an image", found, z=z)

    def _error(self, check: str, expected: str, found: str, **place: Any) -> None:
        self._section.error(
            check, self._file, expected=expected, found=found, remedy=_REMEDY, **place
        )

    def _report_range(self) -> None:
        gray = self._histogram.measure()
        black, white = (int(self._histogram.counts[level]) for level in (0, -1))
        self._section.figure(
            "intensity",
            f"{gray.minimum} to {gray.maximum}, mean {gray.mean:.0f}, {black} voxels at 0, "
            f"{white} at 65535",
            {
                "min": gray.minimum,
                "max": gray.maximum,
                "mean": gray.mean,
                "at_0": black,
                "at_65535": white,
            },
        )
        if self._whole_range and self._slices and gray.maximum - gray.minimum < _NARROW:
            self._section.remark(
                "range",
                self._file,
                f"gray values from {gray.minimum} to {gray.maximum}: the published images use all "
                "from 0 to 65535",
            )


def _roughness(page: NDArray[np.uint16]) -> float:
    """The mean absolute difference of neighbors along x."""
    return float(np.abs(np.diff(page.astype(np.int32), axis=1)).mean())


def _scale_of_bytes(levels: NDArray[np.integer]) -> str:
    """How 8-bit gray values were stored in 16 bits; empty for true 16-bit values."""
    if levels[-1] < 2**8:
        return "no gray value is above 255"
    if (levels % 257 == 0).all():
        return "all gray values are multiples of 257"
    if (levels % 256 == levels[0] % 256).all():
        return f"the low byte of all pixels is {levels[0] % 256}"
    return ""
