"""`windows` and `Windows`: windows of volumes as a sequence, each read when it is needed."""

import hashlib
import json
import math
import operator
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import datasets
import numpy as np
from numpy.typing import NDArray

from _platelet_em.arrays import display
from _platelet_em.arrays.kernels import load_compiled
from _platelet_em.errors import ArgumentError
from _platelet_em.hf.volume import RowVolume
from _platelet_em.training.defaults import choose_columns, leave_out_null_classes
from _platelet_em.training.geometry import IMAGE, MARGIN, VolumeExtent
from _platelet_em.training.grids import GridWindows, StratifiedWindows
from _platelet_em.training.prepare import (
    NEED,
    measure_volumes,
    open_source,
    parse_sampler,
    suit_sampler,
)
from _platelet_em.training.random_windows import RandomWindows
from _platelet_em.training.reading import crop_column, read_column
from _platelet_em.training.samplers import WindowSampler
from _platelet_em.training.sources import group_rows, parse_columns, read_rows
from _platelet_em.training.stream import stream_shards
from _platelet_em.training.volume_name import VolumeName
from _platelet_em.training.window_index import WindowIndex

if TYPE_CHECKING:
    from _platelet_em.training.epochs import EpochSampler

__all__ = ["Windows", "windows"]

Window = dict[str, Any]
"""Column -> array, and `volume` and `corner`."""

_MAX_SHOWN = 10
"""Volumes that are shown by name."""

_MAX_LISTED = 100
"""Volumes that a state lists; of more it has a digest."""


def windows(
    source: Any,
    sampler: RandomWindows
    | GridWindows
    | StratifiedWindows
    | Sequence[Any]
    | Mapping[str, Any]
    | NDArray[np.integer],
    *,
    columns: Sequence[str] | None = None,
    shape: Sequence[int] | None = None,
    label_shape: Sequence[int] | None = None,
    pad: str | None = MARGIN,
    packed: bool = False,
) -> "Windows":
    """Windows of volumes, for training or prediction, as a sequence.

    Only the pages and runs that a window touches are read, when it is read. To read several
    sources, concatenate them, not their windows.

    Args:
        source: One split of `volumes`, or of `slices` for windows of slices: a `Dataset` or an
            `IterableDataset`, in any format. Rows of a `Dataset` are read when a window needs
            them. A stream is read to its end at once and kept encoded; a stream of slices with
            compressed images is kept decoded.
        sampler: `RandomWindows`, `GridWindows`, `StratifiedWindows`, or the corners of label
            windows as `corner` of a window has them: a list or an integer array (n, 3) for the
            only volume, else pairs (name of the volume, corner), or a dictionary {name: corners}.
            Corners take 32 bytes each, of slices 56.
        columns: Columns of images or labels. "image" has the sampler's `shape`, all others have
            its `label_shape`. None: "image", "semantic" unless it is null in all rows, and all
            instances that the source has columns of.
        shape: For a list of corners only, as of `RandomWindows`, and so `label_shape` and `pad`.
        label_shape: See `shape`.
        pad: See `shape`.
        packed: Whether columns of instance labels are `LazyLabels` of the window instead of
            arrays. `collate` packs them, so that workers send runs and not voxels, and
            `PackedLabels.to(device)` paints them.

    Raises:
        ArgumentError: for a source that is not one split, or lacks these columns; for windows
            that do not fit the volumes; for corners without `shape`, or a `shape` without corners.

    >>> import datasets, numpy as np
    >>> from platelet_em import GridWindows, LazyLabels
    >>> labels = np.arange(36, dtype=np.int32).reshape(1, 6, 6)
    >>> row = {"volume": "50", "cells": LazyLabels.from_array(labels)}
    >>> source = datasets.IterableDataset.from_generator(lambda: iter([row]))
    >>> w = windows(source, GridWindows((2, 2)), columns=["cells"])
    >>> window = w[-1]
    >>> window["cells"].tolist(), window["volume"], window["corner"]
    ([[28, 29], [34, 35]], '50', [0, 4, 4])
    >>> corners = [[0, 4, 4], [0, 1, 0]]
    >>> [w["cells"].tolist() for w in windows(source, corners, columns=["cells"], shape=(1, 2))]
    [[[28, 29]], [[6, 7]]]
    """
    chosen = parse_sampler(sampler, shape, label_shape, pad)
    names = None if columns is None else parse_columns(columns)
    opened, found, labels = open_source(source)
    asked = names or choose_columns(found, labels)
    chosen, foreground = suit_sampler(chosen, labels, found)
    needed_for = {foreground: NEED} if foreground and foreground not in asked else {}
    rows = read_rows(opened, [*asked, *needed_for])
    if names is None:
        names = leave_out_null_classes(rows, asked)
    volumes = group_rows(rows, [*names, *needed_for], needed_for=needed_for)
    is_plane = len(chosen.shape) == 2
    if not is_plane and any(volume.zs is not None for volume in volumes):
        raise ArgumentError(
            f"source: windows of shape {chosen.shape} need rows of volumes, these are rows of "
            "slices: load 'volumes', or use a shape (y, x)"
        )
    extents = measure_volumes(rows, volumes, chosen, foreground, is_plane=is_plane)
    return Windows(volumes, chosen, extents, names, getattr(source, "split", None), packed=packed)


class Windows:
    """Windows of volumes, a sequence: `len(w)`, `w[i]`, `w[2:5]`, and iteration.

    `platelet_em.windows` makes it. A window is read when it is asked for, and depends on the
    sampler's seed, the epoch and the index only, not on the process that reads it. It is a
    dictionary: for each column a NumPy array of its own, (z, y, x), or (y, x) if the sampler's
    `shape` has two axes (images uint8 or uint16, semantic uint8, labels int32), or with
    `packed=True`, of instance labels, `LazyLabels` without the properties of mirrored parts;
    `volume`, a str; and `corner`, [z, y, x], the first voxel of the label window in the volume,
    negative where the window begins before the volume. Of slices, z is that of the row.

    A `DataLoader` of PyTorch takes it, with any sampler. `DataLoader(w, sampler=w.sampler())` has
    new random windows in each epoch. Everything else reads epoch 0: `w[i]`, iteration, and
    `DataLoader(w, shuffle=True)`, which gives the same windows in each epoch, in another order.

    It is pickled in a few kilobytes if the source is a `Dataset` on disk, whatever the number of
    windows, plus about 200 bytes for each further volume, 64 for each instance (in each slice, if
    windows are of slices) with `min_foreground` or `class_weights`, and 32 (of slices 56) for each
    corner of a list. Of a volume, rows that were read are kept, 1,000 at most. Rows that
    were read are not pickled, but a stream was read to its end, and is pickled with all its rows,
    encoded.

    Attributes:
        volumes: Names of the volumes, in the order of the source.
        columns: Columns of the windows.
        shape: Shape of the image window, that of the sampler.
        packed: Whether instance labels of windows are lazy.

    Raises:
        IndexError: for an index out of range.
        ArgumentError: when a window is read, if no random one has `min_foreground`, or slices of
            a volume differ in shape.

    >>> import datasets, numpy as np
    >>> from platelet_em import LazyLabels, RandomWindows, windows
    >>> row = {"volume": "50", "cells": LazyLabels.from_array(np.zeros((4, 32, 32), np.int32))}
    >>> source = datasets.IterableDataset.from_generator(lambda: iter([row]))
    >>> w = windows(source, RandomWindows((2, 8, 8), count=20), columns=["cells"])
    >>> w
    Windows(20 windows (2, 8, 8) of volume 50: cells; the source is in memory)
    >>> [window["corner"] for window in w[2:4]]
    [[1, 10, 17], [2, 11, 10]]
    """

    __module__ = "platelet_em"

    def __init__(
        self,
        volumes: Sequence[RowVolume],
        sampler: WindowSampler,
        extents: Sequence[VolumeExtent],
        columns: Sequence[str],
        split: Any = None,
        *,
        packed: bool = False,
    ) -> None:
        self._volumes, self._sampler, self._split = list(volumes), sampler, split
        if any(volume.kinds for volume in volumes):
            # Workers that are forked inherit the loops, instead of loading them in each epoch.
            load_compiled()
        self._plan = sampler.plan(extents)
        self.volumes = tuple(VolumeName(volume.name, k) for k, volume in enumerate(volumes))
        self.columns = tuple(columns)
        self.shape = tuple(sampler.shape)
        self.packed = packed

    # --- the sequence ---

    def __len__(self) -> int:
        return self._plan.count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(len(self))[index]]
        epoch, position = self._parse_index(index)
        number, corner = self._plan.locate(position, epoch)
        volume, geometry = self._volumes[number], self._plan.geometry
        is_plane = len(self.shape) == 2
        window: Window = {}
        for column in self.columns:
            read = crop_column if self.packed and column in volume.kinds else read_column
            window[column] = read(volume, column, corner, geometry, is_plane=is_plane)
        z = corner[0] if volume.zs is None else volume.zs[corner[0]]
        return {**window, "volume": self.volumes[number], "corner": [z, *corner[1:]]}

    def __getitems__(self, indices: Iterable[Any]) -> list[Window]:
        """The windows of a batch, as a `DataLoader` asks for them."""
        return [self[index] for index in indices]

    def __iter__(self) -> Iterator[Window]:
        return (self[index] for index in range(len(self)))

    def _parse_index(self, index: Any) -> tuple[int, int]:
        """Epoch, and position in it, of an index."""
        count = len(self)
        if isinstance(index, WindowIndex):
            if index.count != count or not 0 <= index.position < count:
                raise IndexError(
                    f"index {index!r} of a sampler of {index.count} windows: these are {count}; "
                    "use a sampler of these windows"
                )
            return index.epoch, index.position
        position = operator.index(index)
        if not -count <= position < count:
            raise IndexError(
                f"index {position}: expected {-count} to {count - 1}, or an index from sampler(), "
                "whose epoch is lost where it becomes a plain integer"
            )
        return 0, position % count

    def __getattr__(self, name: str) -> Any:
        # Only for names that are not found otherwise.
        if name.startswith("_") or not hasattr(datasets.IterableDataset, name):
            raise AttributeError(f"'Windows' object has no attribute {name!r}")
        raise AttributeError(
            f"'Windows' object has no attribute {name!r}: it is a sequence and no stream of "
            "datasets. w[:n] are its first n windows, w.sampler() has its epochs, their order "
            "and their state, and w.to_iterable_dataset() is a stream with all methods"
        )

    # --- epochs ---

    def sampler(
        self,
        *,
        shuffle: bool = False,
        seed: int = 0,
        rank: int | None = None,
        world_size: int | None = None,
        uneven: str = "share",
    ) -> "EpochSampler":
        """A sampler for `DataLoader(w, sampler=w.sampler())`: each pass is a new epoch.

        The first pass is epoch 0. Random windows are new ones in each epoch, in any number of
        workers, persistent or not, since the indices carry the epoch. No window is read twice.
        Memory is that of a few indices, or with `shuffle` 16 bytes for each window.

        The sampler has `epoch`, that of the pass; `set_epoch(epoch)`, which sets that of the next
        pass, and is called by Lightning and accelerate; `state_dict()`, which can be written as
        JSON; and `load_state_dict(state)`: the next pass gives exactly the rest of the epoch that
        the state was taken in. `StatefulDataLoader` of torchdata calls both. Without it, workers
        are sent indices before the loop asks for them: take the state at the end of an epoch.
        Each rank has a state of its own.

        Args:
            shuffle: Whether to mix the windows, in another order in each epoch, the same on all
                ranks. Random windows are in random order anyway; others need it for training.
            seed: Of that order, at least 0.
            rank: This process, 0 to `world_size - 1`; the ranks share out each epoch. None: what
                `torch.distributed` says at each pass, 0 if it is not initialized. Under
                accelerate, which shares out the batches of a prepared loader by itself, it is
                always 0 of 1: give rank and world size for a loader that is not prepared.
            world_size: Number of processes, given with `rank`.
            uneven: For numbers that the ranks do not divide. "share": every window is read, and
                some ranks read one more than others. "drop": all ranks read the same number, as
                DistributedDataParallel needs it, and the last windows of the epoch are left out;
                with `shuffle`, others in each epoch.

        Raises:
            ArgumentError: for an argument outside these values; from `load_state_dict`, for the
                state of other settings.
            TooLargeError: when a pass begins, if there is no memory for the order.

        >>> import datasets, numpy as np
        >>> from platelet_em import LazyLabels, RandomWindows, windows
        >>> labels = LazyLabels.from_array(np.zeros((4, 32, 32), np.int32))
        >>> rows = [{"volume": "50", "cells": labels}]
        >>> source = datasets.IterableDataset.from_generator(lambda: iter(rows))
        >>> w = windows(source, RandomWindows((2, 8, 8), count=3), columns=["cells"])
        >>> sampler = w.sampler()
        >>> [[w[index]["corner"] for index in sampler] for epoch in range(2)]
        [[[1, 6, 1], [1, 9, 14], [1, 10, 17]], [[2, 13, 20], [2, 6, 5], [2, 7, 21]]]
        """
        # It is a class of PyTorch where that is installed, which is slow to import.
        from _platelet_em.training.epochs import EpochSampler  # noqa: PLC0415

        volumes: Any = [[v.name, list(v.shape), str(v.zs)] for v in self._volumes]
        if len(volumes) > _MAX_LISTED:
            digest = hashlib.sha256(json.dumps(volumes).encode()).hexdigest()
            volumes = f"{len(volumes)} volumes, digest {digest}"
        described = {"windows": repr(self._sampler), "volumes": volumes}
        return EpochSampler(len(self), described, shuffle, seed, rank, world_size, uneven)

    def to_iterable_dataset(
        self, *, num_shards: int | None = None, epoch: int = 0
    ) -> datasets.IterableDataset:
        """The windows of one epoch as a stream of `datasets`, for its `map` or `shuffle`.

        Windows pass unchanged, without features. Its formats "numpy" and "torch" convert all
        integers to int64; without them dtypes stay. Workers and nodes share out the shards; if
        the number of nodes does not divide theirs, each node reads all windows and drops those of
        the others. It is weaker than `sampler` in two ways: it has the windows of one
        epoch, also after `set_epoch`; and a resumed stream reads the windows of the shard that
        was begun once more, and drops them.

        Args:
            num_shards: Parts that workers and nodes share out, 1 to the number of windows; None:
                64, or the number of windows if that is smaller.
            epoch: From 0.

        Raises:
            ArgumentError: for an argument outside these values.

        >>> import datasets, numpy as np
        >>> from platelet_em import GridWindows, LazyLabels, windows
        >>> labels = LazyLabels.from_array(np.eye(4, dtype=np.int32)[None])
        >>> rows = [{"volume": "50", "cells": labels}]
        >>> source = datasets.IterableDataset.from_generator(lambda: iter(rows))
        >>> w = windows(source, GridWindows((2, 2)), columns=["cells"])
        >>> stream = w.to_iterable_dataset().filter(lambda window: window["cells"].any())
        >>> [window["corner"] for window in stream]
        [[0, 0, 0], [0, 2, 2]]
        """
        return stream_shards(self, num_shards, epoch, self._split)

    # --- how it shows itself ---

    def __repr__(self) -> str:
        held = "; labels stay runs" if self.packed else ""
        held += "; the source is in memory" if self._is_held() else ""
        noun = "volume" if len(self.volumes) == 1 else "volumes"
        return (
            f"Windows({len(self)} windows {self.shape} of {noun} {_list_some(self.volumes)}: "
            f"{', '.join(self.columns)}{held})"
        )

    def _repr_html_(self) -> str:
        geometry, dtypes = self._plan.geometry, self._volumes[0].dtypes
        sizes = {
            name: math.prod(geometry.image_shape if name == IMAGE else geometry.label_shape)
            for name in self.columns
        }
        runs = set(self._volumes[0].kinds if self.packed else ())
        dense = sum(sizes[name] * dtypes[name].itemsize for name in sizes.keys() - runs)
        rows = {
            "volumes": _list_some([f"{v.name} {v.shape}" for v in self._volumes]),
            "windows": str(len(self)),
            "image": str(self.shape),
            "labels": str(tuple(self._sampler.label_shape or self.shape)),
            "columns": ", ".join(self.columns),
            "bytes": f"{display.format_bytes(dense)} per window{', and runs' if runs else ''}",
            "source": "a stream, in memory" if self._is_held() else "rows are read when needed",
        }
        return display.to_table("Windows", rows)

    def _is_held(self) -> bool:
        return self._volumes[0].is_in_memory


def _list_some(texts: Sequence[str]) -> str:
    """Texts, of many the first ones, and how many others there are."""
    others = [f"and {len(texts) - _MAX_SHOWN} others"] if len(texts) > _MAX_SHOWN else []
    return ", ".join([*texts[:_MAX_SHOWN], *others])
