"""`ColumnReference`: the name of an image or of labels in a repository, used as an array."""

import operator
import re
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from _platelet_em.arrays.labels import LazyLabels
from _platelet_em.arrays.stack import LazyStack
from _platelet_em.errors import ArgumentError, MissingMemberError, quote
from _platelet_em.files import user_path
from _platelet_em.hub.location import HubName, find_location
from _platelet_em.hub.row_columns import find_rows, read_value

__all__ = ["ColumnReference"]

_CONFIGS = ("slices", "volumes")
_SPLIT = re.compile(r"\w{1,50}", re.ASCII)


@dataclass(frozen=True, slots=True)
class ColumnReference:
    """An image or labels in one row of a built repository, by name: small, and sent anywhere.

    What a task of a cluster is given is pickled, and labels or a stack of images are pickled with
    their data. A reference is pickled in a few hundred bytes; the task opens it where it runs,
    and reads only the column of the row group that the row is in. Each process keeps what it has
    opened last, for all its threads, so that labels are parsed once.

    Making one checks its arguments and reads nothing. Everything else opens it: `open()`, and its
    use as an array of NumPy or dask (`shape`, `dtype`, `len(x)`, `x[index]`, `np.asarray(x)`).
    `dask.array.from_array(x)` asks for shape and dtype, and so reads the column where it is
    called; what it puts into the graph is the reference. Two references are equal if their names
    are.

    A repository may be built again after references to it were made. References from `of` have
    the digest of the file, so its replacement is an error, and never another dataset's voxels:
    make them again. Those made by hand read what is there; with `volume`, a row of another volume
    is an error. On the Hub, `hf://datasets/USER/NAME@COMMIT` does not change, and `of` names the
    commit; of a branch, each process reads the commit that it finds first.

    Args:
        path: A built repository: a folder, `USER/NAME` or `hf://datasets/USER/NAME[@REVISION]`. A
            folder is made absolute, and need not exist here: all that open it must see it there.
        config: The configuration, "slices" or "volumes".
        split: The split.
        row: Position of the row in the split, from 0.
        column: A column of images or labels, such as "image", "semantic" or "cells".
        volume: Name of the volume that the row must belong to; None is any.
        file_digest: Digest that the row's Parquet file must have, as `of` reads it; None is any.
            It follows from the sources and from the version of the code that has built the file,
            or of other files, from the sizes of what is in them.

    Raises:
        ArgumentError: for an argument outside these values; when it is opened, for a row or column
            that does not exist, a value that is null, and columns of other values.
        ArchiveError: when it is opened, for a file that is missing, damaged or replaced, or a row
            of another volume.
        HubError: when it is opened, if the Hub does not answer.

    >>> import pickle
    >>> name = "hf://datasets/user/platelet-em"
    >>> cells = ColumnReference(name, "volumes", "train", row=0, column="cells", volume="50")
    >>> len(pickle.dumps(cells)) < 300
    True
    >>> from dataclasses import replace
    >>> replace(cells, column="image").column
    'image'
    """

    __module__ = "platelet_em"  # what messages and pickles name

    path: str
    config: str
    split: str
    row: int
    column: str
    volume: str | None = None
    file_digest: str | None = None

    def __post_init__(self) -> None:
        _check_names(self)
        object.__setattr__(self, "path", _resolve(self.path))
        object.__setattr__(self, "row", _parse_row(self.row))

    def __reduce__(self) -> tuple[Any, ...]:
        # By the arguments: a pickle of another version gets defaults, or an error here, where the
        # state of a dataclass would leave attributes out.
        return ColumnReference, astuple(self)

    @classmethod
    def of(
        cls, path: str | Path, config: str, split: str, column: str
    ) -> "tuple[ColumnReference, ...]":
        """References to a column in the rows of a split, with volumes, digests and commit.

        It reads the ends of the files and the names of the volumes, no image and no labels. Rows
        in which the column is null are left out. For another column of the same row, use
        `dataclasses.replace(reference, column="image")`.

        Args:
            path: As of `ColumnReference`.
            config: The configuration, "slices" or "volumes".
            split: The split.
            column: A column of images or labels.

        Raises:
            ArgumentError: for an argument outside these values, or a column that does not exist.
            ArchiveError: for a missing or damaged file.
            HubError: if the Hub does not answer.
            SchemaVersionError: for a repository of a newer schema.
        """
        checked = cls(_resolve(path), config, split, 0, column)
        pinned, rows = find_rows(checked.path, config, split, column)
        return tuple(
            cls(pinned, config, split, found.row, column, found.volume, found.file_digest)
            for found in rows
        )

    def open(self) -> LazyLabels | LazyStack | NDArray[Any]:
        """What the format "platelet_em" gives for this row and column.

        Returns:
            `LazyLabels` (z, y, x) or (y, x); `LazyStack` (z, y, x) for images of `volumes`; a
            read-only array (y, x) for an image of `slices`. All openers in this process may share
            it.

        Raises:
            ArgumentError: for a row or column that does not exist, a value that is null, and
                columns of other values.
            ArchiveError: for a file that is missing, damaged or replaced, or a row of another
                volume.
            HubError: if the Hub does not answer.
            SchemaVersionError: for a repository of a newer schema.
        """
        value: LazyLabels | LazyStack | NDArray[Any] = read_value(
            self.path,
            self.config,
            self.split,
            self.row,
            self.column,
            volume=self.volume,
            file_digest=self.file_digest,
        )
        return value

    # --- as an array; without `copy`, which dask would call ---

    @property
    def shape(self) -> tuple[int, ...]:
        """Extent along each axis."""
        return self.open().shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of an element, int32 of labels, uint8 or uint16 of images."""
        return self.open().dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self.open().ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.open().size

    def __bool__(self) -> bool:
        return True  # it names something: the truth of an array would have to be read

    def __len__(self) -> int:
        return len(self.open())

    def __getitem__(self, index: Any) -> Any:
        return self.open()[index]

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        value = self.open()
        if not isinstance(value, np.ndarray):
            return value.__array__(dtype, copy)
        array: NDArray[Any] = np.asarray(value, dtype=dtype)
        if array is value:
            return array.copy() if copy else array
        if copy is False:
            raise ValueError(f"expected an array that is not copied, got the dtype {dtype}")
        return array

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return type(self).__name__, *astuple(self)


def _check_names(reference: ColumnReference) -> None:
    """Refuse names that are not of their types or outside the accepted values."""
    if not isinstance(reference.config, str) or reference.config not in _CONFIGS:
        raise ArgumentError(
            f"config: expected one of {', '.join(_CONFIGS)}, got {quote(reference.config)}"
        )
    if not isinstance(reference.split, str) or not _SPLIT.fullmatch(reference.split):
        raise ArgumentError(f"split: expected a name such as train, got {quote(reference.split)}")
    for name in ("column", "volume", "file_digest"):
        value = getattr(reference, name)
        if not (isinstance(value, str) and value) and (value is not None or name == "column"):
            raise ArgumentError(f"{name}: expected a name, got {quote(value)}")


def _resolve(path: Any) -> str:
    """The address of a dataset on the Hub, or a path that is absolute, existing or not."""
    if not isinstance(path, (str, Path)):
        raise ArgumentError(f"path: expected a folder, or a dataset on the Hub, got {quote(path)}")
    try:
        found = find_location(path)
    except MissingMemberError:
        found = user_path(path)
    return str(found if isinstance(found, HubName) else found.absolute())


def _parse_row(row: Any) -> int:
    try:
        position = -1 if isinstance(row, bool) else operator.index(row)
    except TypeError:
        position = -1
    if position < 0:
        raise ArgumentError(f"row: expected a position in the split, from 0, got {quote(row)}")
    return position
