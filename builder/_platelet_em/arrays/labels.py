"""`LazyLabels`: RLE strings that behave like an int32 label array and decode what is read."""

import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from _platelet_em.arrays import display
from _platelet_em.arrays.kernels import Bytes, Int64s
from _platelet_em.arrays.label_columns import (
    BORDER,
    INFO,
    Properties,
    check_fits,
    check_offsets,
    check_properties,
    instance_properties,
    join_strings,
    parse_dict,
    parse_ids,
    touches_border,
)
from _platelet_em.arrays.lazy import LazyArray
from _platelet_em.arrays.memory import check_room
from _platelet_em.arrays.rle import format_runs, parse, text_buffer
from _platelet_em.arrays.runs import Runs, areas, boxes, clip, encode, paint, resolve, window
from _platelet_em.arrays.shape import parse_shape
from _platelet_em.errors import LabelFormatError, quote

__all__ = ["LazyLabels"]

_DTYPE = np.dtype(np.int32)
_SLICE_BYTES = 1 << 10
"""Memory of the labels of an empty slice, about."""

_WIDE_STEP = 32
"""Steps along the last axis from which on elements are read one by one: a run takes about as much
memory as the elements that such a step leaves out."""


class LazyLabels(LazyArray):
    """Instances as RLE strings, used as an int32 array of shape (z, y, x) or (y, x).

    The strings are parsed once, by the first question that needs them; after that a window costs
    what its runs cost. `ids`, `areas`, `bboxes`, `rle`, `select`, `slice`, `slices`, `equals` and
    `in` never decode voxels. Where instances overlap, the later one wins.

    Args:
        shape: Extent along each axis, in voxels.
        ids: Label of each instance, all different, 1 to 2**31 - 1.
        rle: RLE string of each instance (`LazyLabels.rle` documents the format).
        properties: Instance properties by name, one value per instance.

    Attributes:
        class_names: Names of the classes that the property `class_id` counts, for display only;
            empty if they are not known.

    Raises:
        LabelFormatError: at once, for a shape, ids or properties that do not fit each other; for
            strings that are no RLE of this shape, when they are parsed.

    >>> x = LazyLabels((2, 3), [7, 9], ["1 2", "5 2"])
    >>> x[:, 1:].tolist()
    [[7, 0], [9, 9]]
    """

    __module__ = "platelet_em"  # what messages and pickles name
    __slots__ = ("_buffer", "_ids", "_parsed", "_properties", "_shape", "class_names")

    def __init__(
        self,
        shape: Sequence[int],
        ids: ArrayLike,
        rle: Sequence[str],
        properties: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        self._set_fields(shape, ids, properties)
        self._buffer: tuple[Bytes, Int64s] | None = join_strings(rle, self._ids)

    def _set_fields(
        self, shape: Sequence[int], ids: ArrayLike, properties: Properties | None
    ) -> None:
        self._shape = parse_shape(shape, "labels: shape")
        self._ids = parse_ids(ids)
        self._ids.setflags(write=False)
        self.class_names: tuple[str, ...] = ()
        self._buffer = None
        self._parsed: Runs | None = None
        self._properties: dict[str, NDArray[Any]] | Callable[[], Mapping[str, ArrayLike]] = (
            properties
            if callable(properties)
            else check_properties(properties or {}, len(self._ids))
        )

    # --- where labels come from, and where they go ---

    @classmethod
    def from_buffer(
        cls,
        shape: Sequence[int],
        ids: ArrayLike,
        text: Bytes,
        offsets: Int64s,
        properties: Properties | None = None,
        class_names: Sequence[str] = (),
    ) -> "LazyLabels":
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
        cls,
        shape: Sequence[int],
        ids: ArrayLike,
        runs: Runs,
        properties: Mapping[str, ArrayLike] | None = None,
    ) -> "LazyLabels":
        """From canonical runs, whose owners are indices into `ids`.

        Args:
            shape: Extent along each axis.
            ids: Label of each instance.
            runs: Runs such as those of `LazyLabels.runs`; they are not checked.
            properties: Instance properties by name, one value per instance.

        >>> x = LazyLabels((2, 3), [7, 9], ["1 2", "5 2"])
        >>> LazyLabels.from_runs((3, 2), x.ids, x.runs)[:].tolist()
        [[7, 7], [0, 0], [9, 9]]
        """
        new = cls.__new__(cls)
        new._set_fields(shape, ids, properties)
        new._parsed = runs
        return new

    @classmethod
    def from_array(cls, a: ArrayLike) -> "LazyLabels":
        """From a dense array of labels, 0 being background.

        Args:
            a: Integers, of any shape; usually (y, x) or (z, y, x).

        Raises:
            LabelFormatError: for labels that are not integers from 0 to 2**31 - 1.

        >>> LazyLabels.from_array([[0, 5], [5, 5]]).rle
        ['2 3']
        """
        labels = np.atleast_1d(np.asarray(a))
        return cls.from_runs(labels.shape, *encode(labels))

    @classmethod
    def from_dict(cls, d: Mapping[Any, Any]) -> "LazyLabels":
        """From the publisher's JSON form: `{".info": {"shape": ...}, "1": "7 2 ...", ...}`.

        Raises:
            LabelFormatError: for a missing `.info`, or a key that is not a label.

        >>> LazyLabels.from_dict({".info": {"shape": [2, 3]}, "7": "1 2"}).areas.tolist()
        [2]
        """
        return cls(*parse_dict(d))

    def to_dict(self) -> dict[str, Any]:
        """The publisher's JSON form, `.info` included; keys in the order of `ids`.

        >>> LazyLabels((2, 3), [7], ["1 2"]).to_dict()
        {'.info': {'shape': [2, 3], 'dtype': 'int64'}, '7': '1 2'}
        """
        info = {"shape": list(self._shape), "dtype": "int64"}
        return {INFO: info, **dict(zip(map(str, self._ids.tolist()), self.rle, strict=True))}

    @classmethod
    def from_struct(cls, struct: Mapping[str, Any]) -> "LazyLabels":
        """From a row's struct of Python values, as `datasets` gives it without our format.

        Its other fields become properties if they are lists, and are left out if not.

        Raises:
            LabelFormatError: for a struct without shape, id or rle, or with fields that do not
                fit each other.

        >>> struct = {"shape": [2, 3], "id": [7], "rle": ["1 2"], "cell": [4]}
        >>> x = LazyLabels.from_struct(struct)
        >>> x.properties["cell"].tolist()
        [4]
        """
        missing = [field for field in ("shape", "id", "rle") if struct.get(field) is None]
        if missing:
            raise LabelFormatError(
                f"labels: expected a struct with shape, id and rle; {missing} missing"
            )
        return cls(struct["shape"], struct["id"], struct["rle"], instance_properties(struct))

    def items(self) -> Iterable[tuple[str, Any]]:
        """The fields of the row's struct, in its order.

        `datasets` asks for them when a `map` returns the lazy value, and so stores the struct
        again instead of the voxels.

        >>> [name for name, _ in LazyLabels((2, 3), [7], ["1 2"]).items()]
        ['shape', 'id', 'rle', 'area', 'bbox', 'touches_border']
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
        return {**struct, **self._property_arrays}.items()

    def __reduce__(self) -> Any:
        text, offsets = self._buffer or text_buffer(self.rle)
        text = text[offsets[0] : offsets[-1]].copy()
        offsets = offsets - offsets[0]
        state = (self._shape, self._ids, text, offsets, self._property_arrays, self.class_names)
        return LazyLabels.from_buffer, state

    # --- the array ---

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent along each axis, (z, y, x) of a volume and (y, x) of a slice."""
        return self._shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """int32, always."""
        return _DTYPE

    @property
    def nbytes(self) -> int:
        """Bytes of the ids, and of the stored strings, or of the runs if there are no strings."""
        if self._buffer is None:
            runs = self.runs
            return self._ids.nbytes + runs.starts.nbytes + runs.stops.nbytes + runs.owners.nbytes
        _, offsets = self._buffer
        return self._ids.nbytes + int(offsets[-1] - offsets[0])

    def __repr__(self) -> str:
        return f"LazyLabels(shape={self._shape}, {display.describe_instances(self)})"

    def _repr_html_(self) -> str:
        facts = {"instances": display.describe_instances(self)}
        return display.to_html(self, facts, display.draw_ids)

    def __contains__(self, value: Any) -> bool:
        if not np.isscalar(value):
            return super().__contains__(value)
        if value == 0:
            return int(self.runs.lengths.sum()) < self.size
        return bool((self._ids[self.areas > 0] == value).any())

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        if dtype is not None:
            check_fits(self._ids[self.areas > 0], dtype)
        return super().__array__(dtype, copy)

    def _read(self, picked: tuple[range, ...]) -> NDArray[Any]:
        runs, shape, last = self.runs, self._shape, picked[-1]
        if abs(last.step) > _WIDE_STEP:
            # Each element is a window of its own.
            shape, picked = (*shape, 1), (*picked, range(1))
        elif last:
            # Runs go along the last axis: it is painted from end to end, then thinned out.
            ends = min(last[0], last[-1]), max(last[0], last[-1]) + 1
            picked = (*picked[:-1], range(*ends))
        extent = [len(indices) for indices in picked]
        check_room(extent, _DTYPE.itemsize)
        if picked != tuple(map(range, shape)):
            runs = window(runs, shape, picked)
        painted: NDArray[Any] = paint(runs, self._ids, math.prod(extent)).reshape(extent)
        if last and abs(last.step) <= _WIDE_STEP and last.step != 1:
            # A copy, since a view would keep everything that was painted.
            painted = painted[..., :: last.step].copy()
        return painted

    @staticmethod
    def stack(labels: Iterable["LazyLabels"]) -> NDArray[np.int32]:
        """Several labels of one shape as one dense array, as `np.stack` makes of them.

        Args:
            labels: n labels, at least one, such as a column of a batch of rows.

        Returns:
            int32 (n, y, x), or (n, z, y, x).

        Raises:
            LabelFormatError: for no labels, or labels of different shapes.

        >>> x, y = LazyLabels((3,), [4], ["1 2"]), LazyLabels((3,), [6], ["3 1"])
        >>> LazyLabels.stack([x, y])
        array([[4, 4, 0],
               [0, 0, 6]], dtype=int32)
        """
        labels = list(labels)
        if others := [each for each in labels if not isinstance(each, LazyLabels)]:
            raise LabelFormatError(f"labels: expected LazyLabels, got {quote(others[0])}")
        shapes = {each.shape for each in labels}
        if len(shapes) != 1:
            raise LabelFormatError(
                f"labels: expected at least one, all of one shape, got {quote(sorted(shapes))}"
            )
        parts, begin, first = [], 0, 0
        for each in labels:
            runs = each.runs
            parts.append(Runs(runs.starts + begin, runs.stops + begin, runs.owners + first))
            begin += each.size
            first += len(each.ids)
        ids = np.concatenate([each.ids for each in labels])
        stacked_shape = (len(labels), *labels[0].shape)
        check_room(stacked_shape, _DTYPE.itemsize)
        painted = paint(Runs.join(parts), ids, begin)
        return painted.reshape(stacked_shape).astype(_DTYPE, copy=False)

    # --- the instances ---

    @property
    def ids(self) -> NDArray[np.int32]:
        """The label of each instance, int32 (n,), in stored order; ascending in built files."""
        return self._ids

    @property
    def runs(self) -> Runs:
        """The canonical runs, sorted by start, disjoint and maximal.

        They have the arrays `starts` and `stops` (exclusive), int64, which count from 0 in the
        array flattened in C order, and `owners`, indices into `ids`.

        >>> runs = LazyLabels((2, 3), [7, 9], ["1 2", "5 2"]).runs
        >>> runs.starts.tolist(), runs.stops.tolist(), runs.owners.tolist()
        ([0, 4], [2, 6], [0, 1])
        """
        if self._parsed is None:
            # Labels are made from strings or from runs.
            assert self._buffer is not None  # noqa: S101
            raw = parse(*self._buffer, self.size, lambda i: f"labels: id {self._ids[i]}")
            self._parsed = resolve(raw)
        return self._parsed

    @property
    def areas(self) -> NDArray[np.int64]:
        """Pixels or voxels of each instance, int64 (n,).

        >>> LazyLabels((2, 3), [7, 9], ["1 2", "5 2"]).areas.tolist()
        [2, 2]
        """
        return areas(self.runs, len(self._ids))

    @property
    def bboxes(self) -> NDArray[np.int64]:
        """Half-open bounding box of each instance, int64 (n, 2 * ndim).

        A box is `y0, x0, y1, x1` or `z0, y0, x0, z1, y1, x1`; all zeros without a voxel.

        >>> LazyLabels((2, 3), [7, 9], ["1 2", "5 2"]).bboxes.tolist()
        [[0, 0, 1, 2], [1, 1, 2, 3]]
        """
        return boxes(self.runs, len(self._ids), self._shape)

    @property
    def rle(self) -> list[str]:
        """The canonical RLE string of each instance.

        `start length start length ...`, starts counted from 1 in the array flattened in C order,
        ascending, maximal runs.

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

    def select(self, ids: ArrayLike) -> "LazyLabels":
        """The labels of these instances only, still lazy, in stored order, with properties.

        Raises:
            KeyError: for an id that no instance has.
            LabelFormatError: for values that are not ids, such as a mask.

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
        self, index: NDArray[np.integer], shape: tuple[int, ...], runs: Runs
    ) -> "LazyLabels":
        """New labels of the instances at `index`, with their properties."""
        properties = {name: values[index] for name, values in self._property_arrays.items()}
        new = LazyLabels.from_runs(shape, self._ids[index], runs, properties)
        new.class_names = self.class_names
        return new

    def _unknown(self, id: int) -> KeyError:  # noqa: A002  # as in mask
        return KeyError(f"no instance has the id {id}; there are {quote(self._ids.tolist())}")

    def mask(self, id: int) -> NDArray[np.bool_]:  # noqa: A002  # the contract's name
        """The voxels of one instance, as a bool array of this shape.

        Raises:
            KeyError: for an id that no instance has.
            LabelFormatError: for anything but one id.

        >>> LazyLabels((2, 3), [7, 9], ["1 2", "5 2"]).mask(9).tolist()
        [[False, False, False], [False, True, True]]
        """
        if np.ndim(id) or isinstance(id, (bool, np.bool_)):
            raise LabelFormatError(f"mask takes one id, got {quote(id)}")
        index = np.flatnonzero(self._ids == id)
        if not len(index):
            raise self._unknown(id)
        runs = self.runs[self.runs.owners == index[0]]
        check_room(self._shape, 1)
        painted = paint(runs, np.ones_like(self._ids), self.size, np.bool_)
        return painted.reshape(self._shape).astype(np.bool_, copy=False)

    def slice(self, z: int) -> "LazyLabels":
        """Slice z of a volume: 2D labels of the instances it cuts, in stored order.

        Costs what the runs of this slice cost. Properties are kept, except that `touches_border`
        is about the slice.

        Args:
            z: Index from 0; negative ones count from the end.

        Raises:
            IndexError: for a slice that the volume does not have.
            ValueError: if the labels have no z axis.

        >>> x = LazyLabels((2, 1, 3), [7, 9], ["1 2", "3 3"])
        >>> x.slice(1).ids.tolist(), x.slice(1)[:].tolist()
        ([9], [[9, 9, 0]])
        """
        depth, *plane = self._volume_shape()
        if not -depth <= (index := operator.index(z)) < depth:
            raise IndexError(f"slice {z}: these labels have {depth} slices")
        size = math.prod(plane)
        begin = index % depth * size
        runs = clip(self.runs, begin, begin + size)
        present = np.unique(runs.owners)
        runs = Runs(runs.starts, runs.stops, np.searchsorted(present, runs.owners))
        labels = self._with_instances(present, tuple(plane), runs)
        if BORDER in labels._property_arrays:
            labels._property_arrays[BORDER] = touches_border(labels.bboxes, plane)
        return labels

    def slices(self) -> list["LazyLabels"]:
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

        >>> LazyLabels((3,), [7], ["1 2"]).equals(LazyLabels.from_array([7, 7, 0]))
        True
        """
        if not isinstance(other, LazyLabels) or self._shape != other._shape:
            return False
        a, b = self.runs, other.runs
        return bool(
            np.array_equal(a.starts, b.starts)
            and np.array_equal(a.stops, b.stops)
            and np.array_equal(self._ids[a.owners], other._ids[b.owners])
        )
