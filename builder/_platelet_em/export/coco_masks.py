"""The run-length code of COCO: masks of the instances of a slice as counts and as strings.

Source: `common/maskApi.c` and `maskApi.h` of pycocotools 2.0.11 (rleEncode, rleToString).

A mask of shape (h, w) is flattened column by column, and the counts are the lengths of its runs:
background first, which may be 0, then in turn. The string has the counts as they are up to the
third, and then each minus the one two before it, which is of the same color. Each number is
written in groups of 5 bits, the lowest first, until the rest is only its sign; a group is the
character `chr(48 + bits)`, plus 32 if another one follows.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.kernels import Bytes, Int64s
from _platelet_em.arrays.runs import encode

__all__ = ["Masks", "encode_masks", "format_counts"]

_BITS = 5
_MORE = 1 << _BITS
_BASE = 48
_MAX_CHARACTERS = 7
"""Counts, and so their differences, have less than 34 bits."""


@dataclass(frozen=True, slots=True)
class Masks:
    """The masks of instances.

    Attributes:
        ids: int32 (n,), ascending.
        counts: int64, the counts of all masks, one mask after the other.
        bounds: int64 (n + 1,), where each mask begins and ends among the counts.
    """

    ids: NDArray[np.int32]
    counts: Int64s
    bounds: Int64s

    def lists(self) -> list[list[int]]:
        """The counts of each mask: COCO's uncompressed form."""
        numbers = self.counts.tolist()
        return [numbers[begin:end] for begin, end in pairwise(self.bounds.tolist())]

    def strings(self) -> list[str]:
        """The counts of each mask as a string: COCO's compressed form."""
        return format_counts(self.counts, self.bounds)


def encode_masks(labels: NDArray[np.integer]) -> Masks:
    """The mask of each instance of a slice, in one pass over its transpose.

    Args:
        labels: Ids (y, x), 0 being background.

    >>> masks = encode_masks(np.array([[7, 7], [0, 7]]))
    >>> masks.ids.tolist(), masks.lists(), masks.strings()
    ([7], [[0, 1, 1, 2]], ['0111'])
    """
    ids, runs = encode(labels.T)
    order = np.argsort(runs.owners, kind="stable")
    starts, stops, owners = runs.starts[order], runs.stops[order], runs.owners[order]
    is_first = np.diff(owners, prepend=-1) > 0
    is_last = np.diff(owners, append=len(ids)) > 0
    has_rest = stops[is_last] < labels.size
    bounds = np.zeros(len(ids) + 1, np.int64)
    np.cumsum(2 * np.bincount(owners, minlength=len(ids)) + has_rest, out=bounds[1:])
    counts = np.empty(bounds[-1], np.int64)
    # Each mask before a run that does not reach the end has one count more than two per run.
    rests = np.concatenate([[0], np.cumsum(has_rest)])
    position = 2 * np.arange(len(owners)) + rests[owners]
    counts[position] = starts - np.where(is_first, 0, np.concatenate([[0], stops[:-1]]))
    counts[position + 1] = stops - starts
    counts[bounds[1:][has_rest] - 1] = labels.size - stops[is_last][has_rest]
    return Masks(ids, counts, bounds)


def format_counts(counts: Int64s, bounds: Int64s) -> list[str]:
    """The counts of each mask as a string.

    Args:
        counts: int64, below 2**32, the counts of all masks, one mask after the other.
        bounds: int64 (n + 1,), where each mask begins and ends among the counts.

    >>> format_counts(np.array([6, 1, 40, 4, 5, 1, 3]), np.array([0, 7]))
    ['61X13mNMN']
    """
    index = np.arange(len(counts)) - np.repeat(bounds[:-1], np.diff(bounds))
    differences = counts.copy()
    later = np.flatnonzero(index > 2)
    differences[later] -= counts[later - 2]
    # A group holds 5 bits; k groups hold -2**(5 k - 1) to 2**(5 k - 1) - 1.
    limits = 1 << (_BITS * np.arange(1, _MAX_CHARACTERS) - 1)
    magnitude = np.where(differences < 0, ~differences, differences)
    widths = 1 + np.searchsorted(limits, magnitude, side="right")
    ends = np.concatenate([[0], np.cumsum(widths)])
    text: Bytes = np.empty(ends[-1], np.uint8)
    for k in range(int(widths.max(initial=0))):
        present = np.flatnonzero(widths > k)
        group = (differences[present] >> (_BITS * k)) & (_MORE - 1)
        group += np.where(widths[present] > k + 1, _MORE, 0) + _BASE
        text[ends[present] + k] = group
    joined = text.tobytes().decode("ascii")
    return [joined[begin:end] for begin, end in pairwise(ends[bounds].tolist())]
