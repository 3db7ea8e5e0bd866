"""`PackedLabels`: the labels of a batch as runs, painted where they are needed."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.labels import LazyLabels, check_alike
from _platelet_em.arrays.memory import check_room
from _platelet_em.arrays.runs import Runs, check_runs, paint
from _platelet_em.training.torch_import import import_torch

__all__ = ["PackedLabels"]

_INT32_SIZE = 2**31 - 1
_ITEM = 4
"""Bytes of a voxel of the painted array, int32."""


class PackedLabels:
    """Labels of n windows or slices of one shape, as runs, for the way from a worker to the GPU.

    What `collate` makes of lazy labels. A batch of runs takes a few percent of the bytes of
    its voxels, so it costs next to nothing to send it to another process or device, where `to`
    paints it. Moving a batch is enough: Lightning and accelerate call `to` of what they find in
    it, and a `DataLoader` calls `pin_memory`.

    Attributes:
        shape: (n, z, y, x), or (n, y, x).
        starts: Tensor (k,), int32, or int64 if a window has 2**31 voxels or more: first voxel of
            each run in its own window, flattened in C order. Runs are in the order of windows and
            starts, and no two overlap.
        lengths: Tensor (k,), of the same dtype: voxels of each run.
        ids: Tensor (k,), of the same dtype: label of each run, 1 to 2**31 - 1.
        windows: Tensor (k,), int64: index of the window of each run, 0 to n - 1.

    >>> cells = [LazyLabels((2, 3), [7], ["2 3"]), LazyLabels((2, 3), [9], ["6 1"])]
    >>> packed = PackedLabels.pack(cells)
    >>> packed
    PackedLabels(shape=(2, 2, 3), 2 runs)
    >>> packed.to("cpu").tolist()
    [[[0, 7, 7], [7, 0, 0]], [[0, 0, 0], [0, 0, 9]]]
    """

    __module__ = "platelet_em"  # what messages and pickles name
    __slots__ = ("_bounds", "_runs", "shape")

    def __init__(self, shape: Sequence[int], bounds: Sequence[int], runs: Any) -> None:
        self.shape = tuple(shape)
        self._bounds = tuple(bounds)
        # One tensor, as each costs a shared file where it is sent to another process.
        self._runs = runs

    @classmethod
    def pack(cls, labels: Sequence[LazyLabels]) -> "PackedLabels":
        """Pack labels of one shape; no voxel is decoded.

        Args:
            labels: n labels, at least one: windows such as `LazyLabels.crop` gives, or rows.

        Raises:
            LabelFormatError: for no labels, labels of different shapes, or something else.
            MissingExtraError: if PyTorch is not installed.

        >>> PackedLabels.pack([LazyLabels((2, 3), [7], ["2 3"])]).ids.tolist()
        [7]
        """
        torch = import_torch("packed labels")
        labels = check_alike(labels, "packed labels")
        bounds = np.cumsum([0, *(len(each.runs) for each in labels)])
        dtype = np.int32 if labels[0].size <= _INT32_SIZE else np.int64
        packed = np.empty((3, bounds[-1]), dtype)
        for each, begin, end in zip(labels, bounds[:-1], bounds[1:], strict=True):
            runs = each.runs
            packed[0, begin:end] = runs.starts
            packed[1, begin:end] = runs.lengths
            packed[2, begin:end] = each.ids[runs.owners]
        return cls((len(labels), *labels[0].shape), bounds.tolist(), torch.from_numpy(packed))

    @property
    def starts(self) -> Any:
        """First voxel of each run in its own window."""
        return self._runs[0]

    @property
    def lengths(self) -> Any:
        """Voxels of each run."""
        return self._runs[1]

    @property
    def ids(self) -> Any:
        """Label of each run."""
        return self._runs[2]

    @property
    def windows(self) -> Any:
        """Index of the window of each run, int64 (k,)."""
        torch = import_torch("packed labels")
        counts = torch.tensor(self._bounds, device=self._runs.device).diff()
        return torch.arange(len(counts), device=self._runs.device).repeat_interleave(
            counts, output_size=self._bounds[-1]
        )

    @property
    def dtype(self) -> Any:
        """`torch.int32`, the dtype of the painted tensor."""
        return import_torch("packed labels").int32

    @property
    def nbytes(self) -> int:
        """Bytes of the runs."""
        size: int = self._runs.nbytes
        return size

    def __len__(self) -> int:
        return self.shape[0]

    def __repr__(self) -> str:
        return f"PackedLabels(shape={self.shape}, {self._bounds[-1]} runs)"

    def __reduce__(self) -> Any:
        return PackedLabels, (self.shape, self._bounds, self._runs)

    def pin_memory(self) -> "PackedLabels":
        """The same in pinned memory, from which a GPU copies without waiting."""
        return PackedLabels(self.shape, self._bounds, self._runs.pin_memory())

    def to(self, device: Any, *, non_blocking: bool = False) -> Any:
        """The labels as a dense tensor on a device.

        Runs are moved there and painted there: by NumPy (or compiled loops) on the CPU, by
        operations of PyTorch on any other device.

        Args:
            device: A `torch.device`, or its name.
            non_blocking: As of `torch.Tensor.to`.

        Returns:
            Tensor int32, (n, z, y, x) or (n, y, x), 0 being background.
        """
        torch = import_torch("packed labels")
        device = torch.device(device)
        if device.type == "cpu":
            return torch.from_numpy(self.dense())
        return self._paint_on(device, non_blocking=non_blocking)

    def dense(self) -> NDArray[np.int32]:
        """The labels as a NumPy array, int32 (n, z, y, x) or (n, y, x).

        Raises:
            TooLargeError: if this machine does not have that much memory.
            LabelFormatError: for runs that were changed, and do not fit the shape any more.
        """
        check_room(self.shape, _ITEM)
        starts, lengths, ids = self._runs.cpu().numpy()
        size = math.prod(self.shape[1:])
        first = np.repeat(np.arange(len(self)) * size, np.diff(self._bounds))
        starts = starts + first
        runs = Runs(starts, starts + lengths, np.arange(len(starts)))
        check_runs(runs, len(self) * size, len(runs))
        painted = paint(runs, ids.astype(np.int32, copy=False), len(self) * size)
        return painted.reshape(self.shape).astype(np.int32, copy=False)

    def _paint_on(self, device: Any, *, non_blocking: bool = False) -> Any:
        """As `to`, by operations of PyTorch."""
        torch = import_torch("packed labels")
        total, count = math.prod(self.shape), self._bounds[-1]
        windows = self.windows.to(device, non_blocking=non_blocking)
        runs = self._runs.to(device, non_blocking=non_blocking)
        starts = runs[0] + windows * (total // len(self))
        stops = starts + runs[1]
        # Gap, run, gap, run, ..., gap: each is as long as the next one begins later.
        edges = torch.zeros(2 * count + 2, dtype=torch.int64, device=device)
        edges[1:-1:2] = starts
        edges[2:-1:2] = stops
        edges[-1] = total
        values = torch.zeros(2 * count + 1, dtype=torch.int32, device=device)
        values[1::2] = runs[2]
        painted = torch.repeat_interleave(values, edges.diff(), output_size=total)
        return painted.reshape(self.shape)
