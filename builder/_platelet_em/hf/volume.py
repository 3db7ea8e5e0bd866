"""`RowVolume`: one volume as a `VolumeView` of rows of `slices` or of `volumes`."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays.join import join_slices
from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.volume_view import Box
from _platelet_em.errors import ArgumentError, quote
from _platelet_em.spec import SEMANTIC

__all__ = ["KeptRows", "Row", "RowVolume"]

Row = Mapping[str, Any]

_MAX_KEPT = 1000
"""Rows that are kept, so that their labels are parsed once; a dataset may have more slices."""


class KeptRows:
    """Rows that were read, by position; all are dropped when there are more than `limit`.

    It is pickled without rows: a Dataset is pickled as the names of its files, but rows that were
    read as their data.
    """

    def __init__(self, limit: int = _MAX_KEPT) -> None:
        self._limit = limit
        self._rows: dict[int, Row] = {}

    def get(self, position: int) -> Row | None:
        """The row at a position, if it is kept."""
        return self._rows.get(position)

    def add(self, position: int, row: Row) -> None:
        """Keep a row."""
        if len(self._rows) >= self._limit:
            self._rows.clear()
        self._rows[position] = row

    def __len__(self) -> int:
        return len(self._rows)

    def __reduce__(self) -> Any:
        return KeptRows, (self._limit,)


class RowVolume:
    """A `VolumeView` of one row of `volumes`, or of the rows of all slices of a volume.

    Rows are read when they are needed. `kinds` are the columns with instances,
    `dtypes` those of all columns, and `has_semantic` says whether "semantic" is one of them.

    Args:
        name: Name of the volume.
        rows: Rows in the format by position: a `Dataset`, a list, or any other sequence.
        columns: Columns of images or labels that are read, at least one; the first gives the
            shape. All must have the shape of the volume.
        positions: Position of the row of `volumes`, or of each slice, in z order.
        zs: z of each slice; None for a row of `volumes`.
        first: Index in `positions` of the row that is read now, for shape and kinds.
        keep_rows: Whether to keep rows that were read, so that their labels are parsed once,
            instead of the last one only.
        kept: Where rows are kept instead, shared by volumes of the same rows.
        needed_for: Column -> the option that needs it, for columns that are not read otherwise.

    Raises:
        ArgumentError: for columns that are neither images nor labels of these axes.
    """

    def __init__(
        self,
        name: str,
        rows: Any,
        columns: Sequence[str],
        positions: Sequence[int],
        zs: Sequence[int] | None = None,
        *,
        first: int = 0,
        keep_rows: bool = True,
        kept: KeptRows | None = None,
        needed_for: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.zs = None if zs is None else _shorten(zs)
        self._kept = KeptRows(_MAX_KEPT if keep_rows else 1) if kept is None else kept
        self._needed_for = needed_for or {}
        self._rows, self._columns, self._positions = rows, columns, _shorten(positions)
        row: Row = self._rows[self._positions[first]]
        self.shape = self._find_shape(row[columns[0]])
        self._keep(first, row)
        self.kinds = tuple(name for name in columns if isinstance(row[name], LazyLabels))
        self.has_semantic = SEMANTIC in columns
        self.dtypes = {name: np.dtype(row[name].dtype) for name in columns}

    @property
    def is_in_memory(self) -> bool:
        """Whether the rows are a list, which is pickled with it, and not read when needed."""
        return isinstance(self._rows, list)

    def _find_shape(self, value: Any) -> tuple[int, int, int]:
        """The shape of the first column in a row, and the number of slices."""
        if value is None:
            raise self._null_error(self._columns[0])
        shape = tuple(getattr(value, "shape", ()))
        if self.zs is not None:
            shape = (len(self.zs), *shape)
        if len(shape) != 3 or not all(shape):
            axes = "(z, y, x)" if self.zs is None else "(y, x)"
            raise ArgumentError(
                f"volume {self.name}, column {self._columns[0]!r}: expected images or labels of "
                f"the axes {axes}, got {quote(value)}"
            )
        depth, height, width = shape
        return depth, height, width

    def _row(self, k: int) -> Row:
        """The row of the volume, or of its kth slice."""
        row = self._kept.get(self._positions[k])
        if row is None:
            row = self._rows[self._positions[k]]
            self._keep(k, row)
        return row

    def _keep(self, k: int, row: Row) -> None:
        """Check the shapes of a row, and keep it."""
        expected = self.shape if self.zs is None else self.shape[1:]
        for column in self._columns:
            found = getattr(row[column], "shape", None)
            if row[column] is None:
                raise self._null_error(column)
            if found != expected:
                slice_ = "" if self.zs is None else f", slice {self.zs[k]}"
                raise ArgumentError(
                    f"volume {self.name}{slice_}, column {column!r}: expected images or "
                    f"labels of the volume's shape {expected}, got "
                    f"{found or quote(row[column])}"
                )
        self._kept.add(self._positions[k], row)

    def _null_error(self, column: str) -> ArgumentError:
        need = self._needed_for.get(column)
        if need is None:
            remedy = "name the columns to read without them (columns=)"
        else:
            remedy = f"{need} needs them: leave it out, or take volumes that have them"
        return ArgumentError(
            f"volume {self.name}: has no {column}: they are null in its rows; {remedy}"
        )

    def image(self, z: int) -> NDArray[Any]:
        """Slice z of the image, uint8 or uint16 (y, x)."""
        return self._page("image", z)

    def semantic(self, z: int) -> NDArray[np.uint8]:
        """Slice z of the class indices, uint8 (y, x)."""
        return self._page("semantic", z)

    def _page(self, column: str, z: int) -> NDArray[Any]:
        page: NDArray[Any] = self._row(0)[column][z] if self.zs is None else self._row(z)[column]
        return page

    def labels(self, kind: str, z: int | None = None) -> LazyLabels:
        """Instances of slice z, or of the volume."""
        if self.zs is None:
            labels: LazyLabels = self._row(0)[kind]
            return labels if z is None else labels.slice(z)
        if z is None:
            return join_slices([self._row(k)[kind] for k in range(self.shape[0])])
        return self._row(z)[kind]  # type: ignore[no-any-return]  # rows are untyped

    def crop(self, column: str, box: Box) -> LazyLabels:
        """A window of a column of labels, (z, y, x), still as runs.

        Of slices, one of depth 1.
        """
        if self.zs is None:
            return self._row(0)[column].crop(box)  # type: ignore[no-any-return]  # rows are untyped
        return self._row(box[0].start)[column].crop((None, *box[1:]))  # type: ignore[no-any-return]

    def window(self, column: str, box: Box) -> NDArray[Any]:
        """A window of a column of images or labels, (z, y, x)."""
        if self.zs is None:
            window: NDArray[Any] = self._row(0)[column][box]
            return window
        return np.stack([self._row(k)[column][box[1:]] for k in range(box[0].start, box[0].stop)])


def _shorten(values: Sequence[int]) -> Sequence[int]:
    """The same integers, as a range if they follow each other: it is pickled in a few bytes."""
    whole = range(values[0], values[-1] + 1)
    return whole if len(whole) == len(values) and list(values) == list(whole) else values
