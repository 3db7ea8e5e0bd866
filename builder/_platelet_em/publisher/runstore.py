"""The runs of a label volume, slice by slice, in a temporary file instead of in memory."""

import itertools
import tempfile
from collections import defaultdict
from types import TracebackType

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.runs import Runs, crossings, cut, resolve
from _platelet_em.files import TEMPORARY, needs_room
from _platelet_em.limits import MAX_PAGES

__all__ = ["RunStore"]

_FEW = 1 << 16
"""Runs of a slice that may wait, however small it is; then they are joined to what they mean."""


class RunStore:
    """Runs of a volume, put in any order, taken a slice at a time.

    A volume's labels come sorted by instance, and rows need them sorted by slice. The runs wait
    in a temporary file, so that memory goes with one slice, whatever the depth of the volume.

    Args:
        shape: (z, y, x).

    Attributes:
        ids: int32 (n,), what the owners of the runs stand for; set by whoever fills the store.
    """

    def __init__(self, shape: tuple[int, int, int]) -> None:
        self.shape = shape
        self.ids = np.empty(0, np.int32)
        self._plane = max(shape[1] * shape[2], 1)
        self._file = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the store
        self._pieces: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)

    def add(self, runs: Runs) -> None:
        """Put runs of the whole flattened volume."""
        if crossings(runs, self._plane) > MAX_PAGES:
            # Runs that overlap could be cut into more pieces than there is memory for.
            runs = resolve(runs)
        page, pieces = cut(runs, self._plane)
        order = np.argsort(page, kind="stable")
        page, pieces = page[order], pieces[order]
        touched, begins = np.unique(page, return_index=True)
        for z, piece in zip(touched.tolist(), _split(pieces, begins), strict=True):
            self.add_slice(z, piece)

    def add_slice(self, z: int, runs: Runs) -> None:
        """Put runs of slice z, counted from the begin of the slice."""
        if len(runs):
            with needs_room(TEMPORARY):
                place = self._file.seek(0, 2)
                self._file.write(np.stack([runs.starts, runs.stops, runs.owners]).tobytes())
                self._file.flush()
            self._pieces[z].append((place, len(runs)))
            if sum(count for _, count in self._pieces[z]) > 2 * self._plane + _FEW:
                whole = self.slice(z)
                self._pieces[z] = []
                self.add_slice(z, whole)

    def slice(self, z: int) -> Runs:
        """The canonical runs of slice z; where instances overlap, the higher owner wins."""
        return resolve(self.stored(z))

    def stored(self, z: int) -> Runs:
        """The runs of slice z as they were put, overlaps and all."""
        parts = []
        for place, count in self._pieces.get(z, []):
            self._file.seek(place)
            values = np.frombuffer(self._file.read(24 * count), np.int64).reshape(3, count)
            parts.append(Runs(*values))
        return Runs.join(parts)

    def volume(self) -> Runs:
        """The canonical runs of the whole flattened volume."""
        parts = []
        for z in sorted(self._pieces):
            runs, shift = self.slice(z), z * self._plane
            parts.append(Runs(runs.starts + shift, runs.stops + shift, runs.owners))
        return resolve(Runs.join(parts))

    def close(self) -> None:
        """Forget the runs."""
        # Where there was no room, closing tries to write once more.
        with needs_room(TEMPORARY):
            self._file.close()

    def __enter__(self) -> "RunStore":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _split(runs: Runs, begins: NDArray[np.integer]) -> list[Runs]:
    bounds = [*begins.tolist(), len(runs)]
    return [runs[slice(a, b)] for a, b in itertools.pairwise(bounds)]
