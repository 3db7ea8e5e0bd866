"""The publisher's way to decode and encode labels, written from its description."""

from typing import Any

import numpy as np


def decode(labels: dict[str, Any]) -> np.ndarray:
    """For each id: parse, fill a full-volume mask by a loop over runs, assign by the mask."""
    shape = tuple(labels[".info"]["shape"])
    out = np.zeros(shape, np.int32)
    for key, text in labels.items():
        if key == ".info":
            continue
        numbers = [int(word) for word in text.split()]
        mask = np.zeros(out.size, np.uint8)
        for start, length in zip(numbers[0::2], numbers[1::2], strict=True):
            mask[start - 1 : start - 1 + length] = 1
        out[mask.reshape(shape).astype(bool)] = int(key)
    return out


def encode(array: np.ndarray) -> dict[str, Any]:
    """For each id: one comparison of the full volume, then a loop over its runs."""
    labels: dict[str, Any] = {".info": {"shape": list(array.shape), "dtype": "int64"}}
    for label in np.unique(array[array > 0]):
        mask = np.concatenate([[0], (array == label).ravel(), [0]]).astype(np.int8)
        edges = np.flatnonzero(np.diff(mask))
        words = []
        for start, stop in zip(edges[0::2], edges[1::2], strict=True):
            words += [str(start + 1), str(stop - start)]
        labels[str(label)] = " ".join(words)
    return labels
