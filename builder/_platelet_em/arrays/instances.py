"""`Instances`, the base of `LazyLabels`: ids and runs, and what they answer without voxels."""

import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from _platelet_em.arrays.kernels import Bytes, Int64s
from _platelet_em.arrays.label_columns import (
    BORDER,
    Properties,
    check_offsets,
    check_properties,
    parse_ids,
    touches_border,
)
from _platelet_em.arrays.lazy import LazyArray
from _platelet_em.arrays.memory import check_room
from _platelet_em.arrays.rle import format_runs, parse
from _platelet_em.arrays.runs import Runs, areas, boxes, check_runs, resolve, window
from _platelet_em.arrays.shape import parse_shape
from _platelet_em.errors import LabelFormatError, quote

__all__ = ["Instances"]

_T = TypeVar("_T", bound="Instances")

_SLICE_BYTES = 1 << 10
"""Memory of the labels of an empty slice, about."""


class Instances(LazyArray):
    """The instances of a label array: shape, ids and properties, and their strings or runs.

    The strings are parsed once, by the first question that needs the runs. No question decodes a
    voxel.
    """

    __slots__ = ("_buffer", "_ids", "_parsed", "_properties", "_shape", "class_names")

    def _set_fields(
        self, shape: Sequence[int], ids: ArrayLike, properties: Properties | None
    ) -> None:
        self._shape = parse_shape(shape, "labels: shape")
        self._ids = parse_ids(ids)
        self._ids.setflags(write=False)
        self.class_names: tuple[str, ...] = ()
        self._buffer: tuple[Bytes, Int64s] | None = None
        self._parsed: Runs | None = None
        self._properties: dict[str, NDArray[Any]] | Callable[[], Mapping[str, ArrayLike]] = (
            properties
            if callable(properties)
            else check_properties(properties or {}, len(self._ids))
        )

    # --- where labels come from, and where they go ---

    @classmethod
    def from_buffer(
        cls: type[_T],
        shape: Sequence[int],
        ids: ArrayLike,
        text: Bytes,
        offsets: Int64s,
        properties: Properties | None = None,
        class_names: Sequence[str] = (),
    ) -> _T:
        """From RLE strings in one buffer, as in an Arrow string array; nothing is copied.

        Args:
            shape: Extent along each axis.
            ids: Label of each instance.
            text: uint8, the strings one after the other.
            offsets: int64 (n + 1,), where each string begins and ends.
            properties: Instance properties, or a function that returns them, called when they
                are asked for.
            class_names: Names of the classes, see `LazyLabels`.

        Raises:
            LabelFormatError: for offsets that do not fit the text or the ids.

        >>> import numpy as np
        >>> from platelet_em import LazyLabels
        >>> text = np.frombuffer(b"1 25 2", np.uint8)
        >>> LazyLabels.from_buffer((2, 3), [7, 9], text, np.array([0, 3, 6]))[:].tolist()
        [[7, 7, 0], [0, 9, 9]]
        """
        new = cls.__new__(cls)
        new._set_fields(shape, ids, properties)
        check_offsets(text, offsets, len(new._ids))
        new._buffer = (text, offsets)
        new.class_names = tuple(class_names)
        return new

    @classmethod
    def from_runs(
        cls: type[_T],
        shape: Sequence[int],
        ids: ArrayLike,
        runs: Runs,
        properties: Properties | None = None,
    ) -> _T:
        """From canonical runs, whose owners are indices into `ids`.

        Args:
            shape: Extent along each axis.
            ids: Label of each instance.
            runs: Runs such as those of `LazyLabels.runs`.
            properties: Instance properties, or a function that returns them, called when they
                are asked for.

        Raises:
            LabelFormatError: for runs that are not in order, overlap, lie outside the array, or
                belong to no instance.

        >>> from platelet_em import LazyLabels
        >>> x = LazyLabels((2, 3), [7, 9], ["1 2", "5 2"])
        >>> LazyLabels.from_runs((3, 2), x.ids, x.runs)[:].tolist()
        [[7, 7], [0, 0], [9, 9]]
        """
        new = cls._of_runs(shape, ids, runs, properties)
        check_runs(runs, new.size, len(new._ids))
        return new

    @classmethod
    def _of_runs(
        cls: type[_T],
        shape: Sequence[int],
        ids: ArrayLike,
        runs: Runs,
        properties: Properties | None,
    ) -> _T:
        """As `from_runs`, of runs that were made here."""
        new = cls.__new__(cls)
        new._set_fields(shape, ids, properties)
        new._parsed = runs.read_only()
        return new

    # --- the instances ---

    @property
    def ids(self) -> NDArray[np.int32]:
        """The label of each instance, int32 (n,), in stored order; ascending in built files."""
        return self._ids

    @property
    def runs(self) -> Runs:
        """The canonical runs, sorted by start, disjoint and maximal.

        They have the arrays `starts` and `stops` (exclusive), int64, which count from 0 in the
        array flattened in C order, and `owners`, indices into `ids`. They are read-only.

        >>> from platelet_em import LazyLabels
        >>> runs = LazyLabels((2, 3), [7, 9], ["1 2", "5 2"]).runs
        >>> runs.starts.tolist(), runs.stops.tolist(), runs.owners.tolist()
        ([0, 4], [2, 6], [0, 1])
        """
        if self._parsed is None:
            # Labels are made from strings or from runs.
            assert self._buffer is not None  # noqa: S101
            raw = parse(*self._buffer, self.size, lambda i: f"labels: id {self._ids[i]}")
            self._parsed = resolve(raw).read_only()
        return self._parsed

    @property
    def areas(self) -> NDArray[np.int64]:
        """Pixels or voxels of each instance, int64 (n,).

        >>> from platelet_em import LazyLabels
        >>> LazyLabels((2, 3), [7, 9], ["1 2", "5 2"]).areas.tolist()
        [2, 2]
        """
        return areas(self.runs, len(self._ids))

    @property
    def bboxes(self) -> NDArray[np.int64]:
        """Half-open bounding box of each instance, int64 (n, 2 * ndim).

        A box is `y0, x0, y1, x1` or `z0, y0, x0, z1, y1, x1`; all zeros without a voxel.

        >>> from platelet_em import LazyLabels
        >>> LazyLabels((2, 3), [7, 9], ["1 2", "5 2"]).bboxes.tolist()
        [[0, 0, 1, 2], [1, 1, 2, 3]]
        """
        return boxes(self.runs, len(self._ids), self._shape)

    @property
    def rle(self) -> list[str]:
        """The canonical RLE string of each instance.

        `start length start length ...`, starts counted from 1 in the array flattened in C order,
        ascending, maximal runs.

        >>> from platelet_em import LazyLabels
        >>> LazyLabels((2, 3), [7], ["1 1 2 1 6 1"]).rle
        ['1 2 6 1']
        """
        return format_runs(self.runs, len(self._ids))

    @property
    def properties(self) -> dict[str, NDArray[Any]]:
        """The instance properties by name, each an array (n,) aligned with `ids`.

        Those of rows are `touches_border` (bool) and, of organelles, `class_id` (int64), `purity`
        (float32) and `cell` (int32).
        """
        return dict(self._property_arrays)

    @property
    def _property_arrays(self) -> dict[str, NDArray[Any]]:
        # Read once: another thread may replace the function by the arrays in between.
        properties = self._properties
        if callable(properties):
            self._properties = properties = check_properties(properties(), len(self._ids))
        return properties

    def select(self: _T, ids: ArrayLike) -> _T:
        """The labels of these instances only, still lazy, in stored order, with properties.

        Raises:
            KeyError: for an id that no instance has.
            LabelFormatError: for values that are not ids, such as a mask.

        >>> from platelet_em import LazyLabels
        >>> x = LazyLabels((2, 3), [7, 9], ["1 1", "5 2"])
        >>> x.select(x.ids[x.areas > 1])[:].tolist()
        [[0, 0, 0], [0, 9, 9]]
        """
        wanted = np.atleast_1d(np.asarray(ids))
        if wanted.size and wanted.dtype.kind not in "iu":
            raise LabelFormatError(
                f"select takes ids, which are integers, got {quote(ids)}; the ids that a mask "
                "picks are labels.ids[mask]"
            )
        if len(unknown := np.setdiff1d(wanted, self._ids)):
            raise self._unknown(unknown[0])
        is_chosen = np.isin(self._ids, wanted)
        position = np.cumsum(is_chosen) - 1  # of a chosen instance among the chosen ones
        runs = self.runs[is_chosen[self.runs.owners]]
        return self._with_instances(
            np.flatnonzero(is_chosen),
            self._shape,
            Runs(runs.starts, runs.stops, position[runs.owners]),
        )

    def _with_instances(
        self: _T, index: NDArray[np.integer], shape: tuple[int, ...], runs: Runs
    ) -> _T:
        """New labels of the instances at `index`, with their properties."""

        def properties() -> dict[str, NDArray[Any]]:
            chosen = {name: values[index] for name, values in self._property_arrays.items()}
            if BORDER in chosen and shape != self._shape:
                chosen[BORDER] = touches_border(new.bboxes, shape)
            return chosen

        new = type(self)._of_runs(shape, self._ids[index], runs, properties)
        new.class_names = self.class_names
        return new

    def _unknown(self, id: int) -> KeyError:  # noqa: A002  # as in mask
        return KeyError(f"no instance has the id {id}; there are {quote(self._ids.tolist())}")

    def slice(self: _T, z: int) -> _T:
        """Slice z of a volume: 2D labels of the instances it cuts, in stored order.

        Costs what the runs of this slice cost. Properties are kept, except that `touches_border`
        is about the slice.

        Args:
            z: Index from 0; negative ones count from the end.

        Raises:
            IndexError: for a slice that the volume does not have.
            ValueError: if the labels have no z axis.

        >>> from platelet_em import LazyLabels
        >>> x = LazyLabels((2, 1, 3), [7, 9], ["1 2", "3 3"])
        >>> x.slice(1).ids.tolist(), x.slice(1)[:].tolist()
        ([9], [[9, 9, 0]])
        """
        depth, *_ = self._volume_shape()
        if not -depth <= (index := operator.index(z)) < depth:
            raise IndexError(f"slice {z}: these labels have {depth} slices")
        return self.crop(index)

    def crop(self: _T, index: Any) -> _T:
        """The labels of `x[index]`, still as runs: no voxel is decoded.

        Of the instances, those that have a voxel in it, in stored order. Properties are kept,
        except that `touches_border` is about the part.

        Args:
            index: A basic index (integers, slices, `...`, `None`) that leaves an axis.

        Raises:
            IndexError: for another index, or one outside the labels.

        >>> from platelet_em import LazyLabels
        >>> x = LazyLabels((2, 3), [7, 9], ["1 2", "5 2"])
        >>> part = x.crop(np.s_[:, 2:])
        >>> part.ids.tolist(), part.rle, part[:].tolist()
        ([9], ['2 1'], [[0], [9]])
        """
        shape, picked = self._pick(index)
        if not shape or picked is None:
            raise IndexError(
                f"crop: expected integers, slices, ... or None that leave an axis, got "
                f"{quote(index)}: of another index, x[index] gives an array"
            )
        whole = self._shape
        if picked[-1].step != 1:
            # Each element is a row of its own.
            whole, picked = (*whole, 1), (*picked, range(1))
        runs = window(self.runs, whole, picked)
        count = len(self._ids)
        present = np.flatnonzero(np.bincount(runs.owners, minlength=count))
        position = np.zeros(count, np.int64)
        position[present] = np.arange(len(present))
        runs = Runs(runs.starts, runs.stops, position[runs.owners])
        return self._with_instances(present, shape, runs)

    def slices(self: _T) -> list[_T]:
        """All z slices of a volume, in order, each as `slice` gives it.

        Raises:
            ValueError: if the labels have no z axis.
        """
        depth, *_ = self._volume_shape()
        check_room((depth,), _SLICE_BYTES, self._shape)
        return [self.slice(z) for z in range(depth)]

    def _volume_shape(self) -> tuple[int, ...]:
        if self.ndim != 3:
            raise ValueError(
                f"labels of shape {self._shape} have no slices: expected the axes (z, y, x)"
            )
        return self._shape

    def equals(self, other: object) -> bool:
        """Whether the other labels have the same shape and the same voxels, from runs alone.

        >>> from platelet_em import LazyLabels
        >>> LazyLabels((3,), [7], ["1 2"]).equals(LazyLabels.from_array([7, 7, 0]))
        True
        """
        if not isinstance(other, Instances) or self._shape != other._shape:
            return False
        a, b = self.runs, other.runs
        return bool(
            np.array_equal(a.starts, b.starts)
            and np.array_equal(a.stops, b.stops)
            and np.array_equal(self._ids[a.owners], other._ids[b.owners])
        )
