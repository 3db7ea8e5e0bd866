"""`LazyLabels`: RLE strings that behave like an int32 label array and decode what is read."""

from collections.abc import Iterable, Mapping, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from _platelet_em.arrays import display
from _platelet_em.arrays.instances import Instances
from _platelet_em.arrays.kernels import load_compiled
from _platelet_em.arrays.label_columns import (
    BORDER,
    INFO,
    check_fits,
    instance_properties,
    join_strings,
    parse_dict,
    touches_border,
)
from _platelet_em.arrays.memory import check_room
from _platelet_em.arrays.rle import text_buffer
from _platelet_em.arrays.runs import (
    Runs,
    encode,
    paint,
    paint_window,
)
from _platelet_em.errors import LabelFormatError, quote

__all__ = ["LazyLabels", "check_alike"]

_DTYPE = np.dtype(np.int32)
_CACHED_SIZE = 1 << 22
"""Elements of an array that the processor's cache holds, about."""

_WIDE_STEP = 32
"""Steps along the last axis from which on elements are read one by one: a run takes about as much
memory as the elements that such a step leaves out."""


class LazyLabels(Instances):
    """Instances as RLE strings, used as an int32 array of shape (z, y, x) or (y, x).

    The strings are parsed once, by the first question that needs them; after that a window costs
    what its runs cost. `ids`, `areas`, `bboxes`, `rle`, `select`, `slice`, `slices`, `crop`,
    `equals` and `in` never decode voxels. Where instances overlap, the later one wins.

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
    __slots__ = ()

    def __init__(
        self,
        shape: Sequence[int],
        ids: ArrayLike,
        rle: Sequence[str],
        properties: Mapping[str, ArrayLike] | None = None,
    ) -> None:
        self._set_fields(shape, ids, properties)
        self._buffer = join_strings(rle, self._ids)

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
        return cls._of_runs(labels.shape, *encode(labels), None)

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
        if dtype is not None and not np.can_cast(_DTYPE, dtype):
            check_fits(self._ids[self.areas > 0], dtype)
        return super().__array__(dtype, copy)

    def _read(self, picked: tuple[range, ...]) -> NDArray[Any]:
        shape, last = self._shape, picked[-1]
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
            painted: NDArray[Any] = paint_window(self.runs, self._ids, shape, picked)
        elif compiled := load_compiled():
            painted = np.zeros(self.size, _DTYPE)
            self._paint_into(painted, compiled)
        else:
            painted = paint(self.runs, self._ids, self.size)
        painted = painted.reshape(extent)
        if last and abs(last.step) <= _WIDE_STEP and last.step != 1:
            # A copy, since a view would keep everything that was painted.
            painted = painted[..., :: last.step].copy()
        return painted

    def _paint_into(self, out: NDArray[np.int32], compiled: ModuleType) -> None:
        """Paint all instances into a flat array of zeros, with the compiled loops."""
        # While nothing has asked for the runs, the strings are painted as they are read: one
        # instance after the other, which is slow where the array is larger than the processor's
        # cache. What that has painted before it fails is painted again.
        if (
            self._parsed is None
            and self._buffer is not None
            and self.size <= _CACHED_SIZE
            and compiled.paint_text(*self._buffer, self._ids, out)
        ):
            return
        runs = self.runs
        compiled.paint_runs(runs.starts, runs.stops, runs.owners, self._ids, out)

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
        labels = check_alike(labels, "labels")
        stacked_shape = (len(labels), *labels[0].shape)
        check_room(stacked_shape, _DTYPE.itemsize)
        if compiled := load_compiled():
            stacked: NDArray[np.int32] = np.empty(stacked_shape, _DTYPE)
            for each, out in zip(labels, stacked, strict=True):
                out[...] = 0  # just before it is painted, while the cache still has it
                each._paint_into(out.reshape(-1), compiled)
            return stacked
        # NumPy is faster with many runs at a time.
        parts, begin, first = [], 0, 0
        for each in labels:
            runs = each.runs
            parts.append(Runs(runs.starts + begin, runs.stops + begin, runs.owners + first))
            begin += each.size
            first += len(each.ids)
        ids = np.concatenate([each.ids for each in labels])
        painted = paint(Runs.join(parts), ids, begin)
        return painted.reshape(stacked_shape).astype(_DTYPE, copy=False)


def check_alike(labels: Iterable[Any], name: str) -> list[LazyLabels]:
    """Labels of one shape, at least one, as a list.

    Args:
        labels: What has to be such labels.
        name: What to call them in a message.

    Raises:
        LabelFormatError: for anything else.

    >>> len(check_alike([LazyLabels((3,), [4], ["1 2"])], "labels"))
    1
    """
    labels = list(labels)
    if others := [each for each in labels if not isinstance(each, LazyLabels)]:
        raise LabelFormatError(f"{name}: expected LazyLabels, got {quote(others[0])}")
    shapes = {each.shape for each in labels}
    if len(shapes) != 1:
        raise LabelFormatError(
            f"{name}: expected at least one, all of one shape, got {quote(sorted(shapes))}"
        )
    return labels
