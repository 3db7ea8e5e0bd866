"""`LazyLabels`: RLE texts that behave like an int32 label array and decode where one looks."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from _platelet_em.arrays.label_columns import (
    BORDER,
    Properties,
    check_columns,
    check_fits,
    check_offsets,
    further_columns,
    join_texts,
    parse_dict,
    parse_ids,
    touches_border,
)
from _platelet_em.arrays.lazy import LazyArray, check_room
from _platelet_em.arrays.rle import format_runs, parse, text_buffer
from _platelet_em.arrays.runs import Runs, areas, boxes, cut, encode, paint, resolve, window
from _platelet_em.errors import LabelFormatError, quote
from _platelet_em.publisher.label_json import INFO, parse_shape

__all__ = ["LazyLabels"]

_DTYPE = np.dtype(np.int32)
_WIDE_STEP = 32
"""Steps along the last axis beyond which elements are read one by one: about as much memory as
what lies between them takes."""


class LazyLabels(LazyArray):
    """Instances as RLE texts, with the face of an int32 array of shape (z, y, x) or (y, x).

    The texts are parsed once, when something is asked that needs them; after that a window costs
    what the runs in it cost. `ids`, `areas`, `bboxes`, `rle`, `select`, `slices`, `equals` and
    `in` never make voxels. Where instances overlap, the later one wins.

    Args:
        shape: Extent along each axis, in voxels.
        ids: Label of each instance, all different, 1 to 2**31 - 1.
        rle: RLE text of each instance (`platelet_em` documents the format on `LazyLabels.rle`).
        properties: Further columns, name -> one value an instance.

    Raises:
        LabelFormatError: for a shape, ids or columns that do not fit each other, at once; for
            texts that are no RLE of this shape, when they are parsed.

    >>> x = LazyLabels((2, 3), [7, 9], ["1 2", "5 2"])
    >>> x[:, 1:].tolist()
    [[7, 0], [9, 9]]
    """

    __slots__ = ("_buffer", "_ids", "_parsed", "_properties", "_shape")

    def __init__(
        self,
        shape: Sequence[int],
        ids: ArrayLike,
        rle: Sequence[str],
        properties: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        self._start(shape, ids, properties)
        self._set_buffer(*join_texts(rle, self._ids))

    def _start(self, shape: Sequence[int], ids: ArrayLike, properties: Properties | None) -> None:
        self._shape = parse_shape(shape, "labels")
        self._ids = parse_ids(ids)
        self._ids.setflags(write=False)
        self._buffer: tuple[NDArray[np.uint8], NDArray[np.int64]] | None = None
        self._parsed: Runs | None = None
        self._properties: dict[str, NDArray[Any]] | Callable[[], Mapping[str, ArrayLike]] = (
            properties if callable(properties) else check_columns(properties or {}, len(self._ids))
        )

    @property
    def _columns(self) -> dict[str, NDArray[Any]]:
        # Read once: another thread may put the columns there in between.
        columns = self._properties
        if callable(columns):
            self._properties = columns = check_columns(columns(), len(self._ids))
        return columns

    def _set_buffer(self, text: NDArray[np.uint8], offsets: NDArray[np.int64]) -> None:
        check_offsets(text, offsets, len(self._ids))
        self._buffer = (text, offsets)

    @classmethod
    def from_buffer(
        cls,
        shape: Sequence[int],
        ids: ArrayLike,
        text: NDArray[np.uint8],
        offsets: NDArray[np.int64],
        properties: Properties | None = None,
    ) -> "LazyLabels":
        """From texts that lie in one buffer, as in an Arrow string array; nothing is copied.

        Args:
            shape: Extent along each axis.
            ids: Label of each instance.
            text: uint8, the texts one after the other.
            offsets: int64 (n + 1,), where each text begins and ends.
            properties: Further columns, or what gives them when they are asked for.
        """
        new = cls.__new__(cls)
        new._start(shape, ids, properties)
        new._set_buffer(text, offsets)
        return new

    @classmethod
    def from_runs(
        cls,
        shape: Sequence[int],
        ids: ArrayLike,
        runs: Runs,
        properties: Mapping[str, ArrayLike] | None = None,
    ) -> "LazyLabels":
        """From canonical runs, whose owners are indices into `ids`."""
        new = cls.__new__(cls)
        new._start(shape, ids, properties)
        new._parsed = runs
        return new

    @classmethod
    def from_array(cls, a: ArrayLike) -> "LazyLabels":
        """From a dense array of labels, 0 being background.

        Raises:
            LabelFormatError: for labels that are no integers from 0 to 2**31 - 1.

        >>> LazyLabels.from_array([[0, 5], [5, 5]]).rle
        ['2 3']
        """
        labels = np.atleast_1d(np.asarray(a))
        return cls.from_runs(labels.shape, *encode(labels))

    @classmethod
    def from_dict(cls, d: Mapping[Any, Any]) -> "LazyLabels":
        """From the publisher's JSON form: `{".info": {"shape": ...}, "1": "7 2 ...", ...}`.

        Raises:
            LabelFormatError: for a missing `.info`, or a key that is no label.
        """
        return cls(*parse_dict(d))

    @classmethod
    def from_struct(cls, struct: Mapping[str, Any]) -> "LazyLabels":
        """From a row's struct as plain Python values: what `datasets` gives without our format.

        Further fields become properties if they are lists; others are left out.
        """
        missing = [field for field in ("shape", "id", "rle") if struct.get(field) is None]
        if missing:
            raise LabelFormatError(
                f"labels: expected a struct with shape, id and rle; {missing} missing"
            )
        return cls(struct["shape"], struct["id"], struct["rle"], further_columns(struct))

    @staticmethod
    def stack(labels: Iterable["LazyLabels"]) -> NDArray[np.int32]:
        """Several labels of one shape as one dense array, as `np.stack` makes of them.

        Args:
            labels: At least one, such as a column of a batch of rows; n of them.

        Returns:
            int32 (n, y, x), or (n, z, y, x).

        Raises:
            LabelFormatError: for no labels, or labels of different shapes.

        >>> LazyLabels.stack([LazyLabels((3,), [4], ["1 2"]), LazyLabels((3,), [6], ["3 1"])])
        array([[4, 4, 0],
               [0, 0, 6]], dtype=int32)
        """
        labels = list(labels)
        if odd := [each for each in labels if not isinstance(each, LazyLabels)]:
            raise LabelFormatError(f"labels: expected LazyLabels, got {quote(odd[0])}")
        shapes = {each.shape for each in labels}
        if len(shapes) != 1:
            raise LabelFormatError(
                f"labels: expected at least one, all of one shape, got {quote(sorted(shapes))}"
            )
        parts, begin, first = [], 0, 0
        for each in labels:
            runs = each._runs
            parts.append(Runs(runs.starts + begin, runs.stops + begin, runs.owners + first))
            begin += each.size
            first += len(each.ids)
        ids = np.concatenate([each.ids for each in labels])
        check_room((begin,), _DTYPE.itemsize, (len(labels), *labels[0].shape))
        painted = paint(Runs.join(parts), ids, begin)
        return painted.reshape(len(labels), *labels[0].shape).astype(_DTYPE, copy=False)

    def to_dict(self) -> dict[str, Any]:
        """The publisher's JSON form, `.info` included; keys in the order of `ids`."""
        info = {"shape": list(self._shape), "dtype": "int64"}
        return {INFO: info, **dict(zip(map(str, self._ids.tolist()), self.rle, strict=True))}

    def items(self) -> Iterable[tuple[str, Any]]:
        """The fields of the row's struct, in its order.

        `datasets` asks for them when a `map` gives the lazy value back, and so writes the struct
        again instead of the voxels.
        """
        bboxes = self.bboxes
        struct = {
            "shape": list(self._shape),
            "id": self._ids,
            "rle": self.rle,
            "area": self.areas,
            "bbox": bboxes.tolist(),
            BORDER: touches_border(bboxes, self._shape),
        }
        return {**struct, **self._columns}.items()

    @property
    def shape(self) -> tuple[int, ...]:
        """(z, y, x) of a volume, (y, x) of a slice."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """int32, always."""
        return _DTYPE

    @property
    def nbytes(self) -> int:
        """Bytes of the stored texts, or runs where they came without texts, and ids."""
        if self._buffer is None:
            runs = self._runs
            return self._ids.nbytes + runs.starts.nbytes + runs.stops.nbytes + runs.owners.nbytes
        _, offsets = self._buffer
        return self._ids.nbytes + int(offsets[-1] - offsets[0])

    @property
    def ids(self) -> NDArray[np.int32]:
        """int32 (n,): the label of each instance, in stored order; ascending in our files."""
        return self._ids

    @property
    def areas(self) -> NDArray[np.int64]:
        """int64 (n,): pixels or voxels of each instance."""
        return areas(self._runs, len(self._ids))

    @property
    def bboxes(self) -> NDArray[np.int64]:
        """int64 (n, 2 * ndim): half-open boxes, `y0, x0, y1, x1` or `z0, y0, x0, z1, y1, x1`."""
        return boxes(self._runs, len(self._ids), self._shape)

    @property
    def rle(self) -> list[str]:
        """The canonical RLE text of each instance.

        `start length start length ...`, starts counted from 1 in the array flattened in C order,
        ascending, maximal runs.
        """
        return format_runs(self._runs, len(self._ids))

    @property
    def properties(self) -> dict[str, NDArray[Any]]:
        """The further columns, each an array aligned with `ids`."""
        return dict(self._columns)

    @property
    def _runs(self) -> Runs:
        if self._parsed is None:
            # Labels are made with texts or with runs.
            assert self._buffer is not None  # noqa: S101
            parsed = parse(*self._buffer, self.size, lambda i: f"labels: id {self._ids[i]}")
            self._parsed = resolve(parsed)
        return self._parsed

    def select(self, ids: ArrayLike) -> "LazyLabels":
        """The labels without all instances but these, still lazy, with their properties.

        Raises:
            KeyError: for an id that is not there.
            LabelFormatError: for what are no ids, such as a mask.
        """
        wanted = np.atleast_1d(np.asarray(ids))
        if wanted.size and wanted.dtype.kind not in "iu":
            raise LabelFormatError(
                f"select takes ids, which are integers, got {quote(ids)}; the ids that a mask "
                "picks are labels.ids[mask]"
            )
        if len(unknown := np.setdiff1d(wanted, self._ids)):
            raise self._unknown(unknown[0])
        return self._pick(np.flatnonzero(np.isin(self._ids, wanted)), self._shape, self._runs)

    def _unknown(self, id: int) -> KeyError:  # noqa: A002  # as in mask
        return KeyError(f"no instance has the id {id}; there are {quote(self._ids.tolist())}")

    def _pick(
        self, chosen: NDArray[np.integer], shape: tuple[int, ...], runs: Runs
    ) -> "LazyLabels":
        """Labels of the instances at the positions `chosen`, from runs that hold others too."""
        place = np.full(len(self._ids), -1, np.int64)
        place[chosen] = np.arange(len(chosen))
        owners = place[runs.owners]
        held = owners >= 0
        further = {name: column[chosen] for name, column in self._columns.items()}
        kept = Runs(runs.starts[held], runs.stops[held], owners[held])
        return LazyLabels.from_runs(shape, self._ids[chosen], kept, further)

    def mask(self, id: int) -> NDArray[np.bool_]:  # noqa: A002  # the contract's name
        """Where, as a bool array of this shape, the instance is.

        Raises:
            KeyError: for an id that is not there.
        """
        if np.ndim(id) or isinstance(id, (bool, np.bool_)):
            raise LabelFormatError(f"mask takes one id, got {quote(id)}")
        place = np.flatnonzero(self._ids == id)
        if not len(place):
            raise self._unknown(id)
        runs = self._runs[self._runs.owners == place[0]]
        check_room(self._shape, 1)
        painted = paint(runs, np.ones_like(self._ids), self.size, np.bool_)
        return painted.reshape(self._shape).astype(np.bool_, copy=False)

    def slices(self) -> list["LazyLabels"]:
        """The z slices of a volume, each with the ids that it cuts, without making voxels.

        Raises:
            ValueError: if the labels have no z axis.
        """
        if self.ndim != 3:
            raise ValueError(
                f"slices() takes labels of the axes (z, y, x), these have shape {self._shape}"
            )
        depth, *plane = self._shape
        check_room((depth,), 1 << 10, self._shape)  # bytes of an empty slice's labels, about
        page, pieces = cut(self._runs, max(plane[0] * plane[1], 1))
        bounds = np.searchsorted(page, np.arange(depth + 1))
        result = []
        for z in range(depth):
            runs = pieces[slice(bounds[z], bounds[z + 1])]
            labels = self._pick(np.unique(runs.owners), tuple(plane), runs)
            if BORDER in labels._columns:
                labels._columns[BORDER] = touches_border(labels.bboxes, plane)
            result.append(labels)
        return result

    def equals(self, other: object) -> bool:
        """Whether the other labels have the same shape and the same voxels, from runs alone."""
        if not isinstance(other, LazyLabels) or self._shape != other._shape:
            return False
        a, b = self._runs, other._runs
        return bool(
            np.array_equal(a.starts, b.starts)
            and np.array_equal(a.stops, b.stops)
            and np.array_equal(self._ids[a.owners], other._ids[b.owners])
        )

    def __contains__(self, value: Any) -> bool:
        if not np.isscalar(value):
            return super().__contains__(value)
        if value == 0:
            return int(self._runs.lengths.sum()) < self.size
        return bool((self._ids[self.areas > 0] == value).any())

    def __repr__(self) -> str:
        return f"LazyLabels(shape={self._shape}, {len(self._ids)} instances)"

    def __reduce__(self) -> Any:
        text, offsets = self._buffer or text_buffer(self.rle)
        text = text[offsets[0] : offsets[-1]].copy()
        state = (self._shape, self._ids, text, offsets - offsets[0], self._columns)
        return LazyLabels.from_buffer, state

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if dtype is not None:
            check_fits(self._ids[self.areas > 0], dtype)
        return super().__array__(dtype, copy)

    def _read(self, picked: tuple[range, ...]) -> NDArray[Any]:
        runs, shape, last = self._runs, self._shape, picked[-1]
        if abs(last.step) > _WIDE_STEP:
            # Each element is a window of its own.
            shape, picked = (*shape, 1), (*picked, range(1))
        elif last:
            # Along the last axis runs go on: it is painted from end to end, then thinned out.
            ends = min(last[0], last[-1]), max(last[0], last[-1]) + 1
            picked = (*picked[:-1], range(*ends))
        extent = [len(indices) for indices in picked]
        check_room(extent, _DTYPE.itemsize)
        if picked != tuple(map(range, shape)):
            runs = window(runs, shape, picked)
        painted: NDArray[Any] = paint(runs, self._ids, math.prod(extent)).reshape(extent)
        if last and abs(last.step) <= _WIDE_STEP and last.step != 1:
            # A copy, for a view would hold all that was painted.
            painted = painted[..., :: last.step].copy()
        return painted
