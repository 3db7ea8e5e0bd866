"""The data files of a split: rows of all its volumes, written shard by shard into Parquet.

Each volume is opened once, whatever number of files its rows are in: there is one open file per
configuration.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from _platelet_em.arrays.volume_view import VolumeView
from _platelet_em.files import new_file
from _platelet_em.hub.layout import shard_name
from _platelet_em.hub.parquet import read_metadata
from _platelet_em.hub.record import parquet_metadata
from _platelet_em.progress import progress_bar
from _platelet_em.publisher.archive import file_md5
from _platelet_em.rows.config import Config, Row
from _platelet_em.rows.make import CONFIGS, make_rows, make_table
from _platelet_em.rows.schema import arrow_schema
from _platelet_em.rows.shards import GROUP_BYTES, Segment, plan_shards, row_size
from _platelet_em.sources.opening import VolumeFiles
from _platelet_em.spec import DatasetSpec, VolumeSpec

__all__ = ["measure_volumes", "write_split"]


def measure_volumes(files: VolumeFiles) -> DatasetSpec:
    """The dataset with the shapes of its own volumes, which their files tell."""
    spec = files.spec
    if spec.archives:
        return spec
    volumes = progress_bar(spec.volumes, stage="Looking at volumes", unit="volume", leave=False)
    return replace(spec, volumes=tuple(replace(v, shape=files.shape(v)) for v in volumes))


def write_split(
    staging: Path,
    files: VolumeFiles,
    volumes: Sequence[VolumeSpec],
    record: dict[str, str],
    spec: DatasetSpec,
) -> None:
    """Write the data files of a split that an interrupted build has not finished.

    Args:
        staging: The folder that the build writes into.
        files: Where the volumes are read from.
        volumes: All volumes of the split, in the order of their rows.
        record: The record of the build.
        spec: The dataset.
    """
    # Own volumes were measured; of published ones the files decide, such as those of a sample.
    shapes = {v.name: files.shape(v) if spec.archives else v.known_shape for v in volumes}
    outputs = [
        _ConfigOutput(
            staging,
            config,
            volumes[0].split,
            plan_shards(config, [(v.name, shapes[v.name]) for v in volumes if config.covers(v)]),
            record,
            spec,
        )
        for config in CONFIGS
    ]
    subject = f"volume {volumes[0].name}" if len(volumes) == 1 else f"split {volumes[0].split}"
    total = sum(output.parts for output in outputs)
    with ExitStack() as stack:
        for output in outputs:
            stack.callback(output.abandon)
        bar = stack.enter_context(
            progress_bar(stage=f"Writing {subject}", unit="part", total=total)
        )
        for volume in volumes:
            if not any(output.needs(volume.name) for output in outputs):
                bar.update(sum(output.count(volume.name) for output in outputs))
                continue
            with _open(files, volume, alone=len(volumes) == 1) as opened:
                for output in outputs:
                    for count in output.write(opened):
                        bar.update(count)
    for output in outputs:
        output.discard_empty()


def _open(files: VolumeFiles, volume: VolumeSpec, *, alone: bool) -> Any:
    """Open a volume; a split of one volume has a progress bar for that."""
    if not alone:
        return files.open(volume)
    with progress_bar(stage=f"Reading volume {volume.name}", unit="volume", total=1) as bar:
        opened = files.open(volume)
        bar.update()
    return opened


class _ConfigOutput:
    """The files of one configuration of a split, written volume by volume.

    Args:
        staging: The folder that the build writes into.
        config: The configuration.
        split: The split.
        shards: What is in each of the files.
        record: The record of the build.
        spec: The dataset.

    Attributes:
        parts: Parts of all volumes.
    """

    def __init__(
        self,
        staging: Path,
        config: Config,
        split: str,
        shards: Sequence[Sequence[Segment]],
        record: dict[str, str],
        spec: DatasetSpec,
    ) -> None:
        self._config, self._spec = config, spec
        columns = config.columns(spec)
        self._schema = arrow_schema(columns).with_metadata(parquet_metadata(columns, record))
        names = (shard_name(config.name, split, i, len(shards)) for i in range(len(shards)))
        self._paths = [staging / name for name in names]
        self._is_finished = [_is_finished(path) for path in self._paths]
        self._last = [shard[-1] for shard in shards]
        self._segments: dict[str, list[tuple[int, Segment]]] = {}
        for index, shard in enumerate(shards):
            for segment in shard:
                self._segments.setdefault(segment.volume, []).append((index, segment))
        self.parts = sum(map(self.count, self._segments))
        self._open: _ShardFile | None = None

    def count(self, volume: str) -> int:
        """Parts of a volume."""
        return sum(s.stop - s.start for _, s in self._segments.get(volume, ()))

    def needs(self, volume: str) -> bool:
        """Whether a file with rows of this volume is not finished."""
        return not all(self._is_finished[index] for index, _ in self._segments.get(volume, ()))

    def write(self, volume: VolumeView) -> Iterator[int]:
        """Write the rows of a volume; gives the numbers of parts as they are done."""
        size = row_size(self._config, volume.shape)
        for index, segment in self._segments.get(volume.name, ()):
            if self._is_finished[index]:
                yield segment.stop - segment.start
                continue
            if self._open is None:
                self._open = _ShardFile(self._paths[index], self._schema)
            for part in range(segment.start, segment.stop):
                for row in make_rows(self._config, volume, self._spec, part, part + 1):
                    group = self._open.add(row, size)
                    if group:
                        self._open.write(make_table(self._config, group, self._spec))
                yield 1
            if segment == self._last[index]:
                if group := self._open.rest():
                    self._open.write(make_table(self._config, group, self._spec))
                self._open.finish()
                self._open = None

    def discard_empty(self) -> None:
        """Delete the files of a split without rows: `datasets` can load no split then."""
        if not any(read_metadata(path).num_rows for path in self._paths):
            for path in self._paths:
                path.unlink()
                _md5_path(path).unlink()

    def abandon(self) -> None:
        """Discard a file that is not complete."""
        if self._open is not None:
            self._open.abandon()


class _Abandoned(BaseException):  # no error, and to be caught by nobody else
    """Ends the writing of a file that is not complete."""


class _ShardFile:
    """A Parquet file that is being written, row group by row group."""

    def __init__(self, path: Path, schema: pa.Schema) -> None:
        self._path, self._size = path, 0
        self._rows: list[Row] = []
        self._stack = ExitStack()
        raw = self._stack.enter_context(new_file(path))
        try:
            self._writer = self._stack.enter_context(
                pq.ParquetWriter(
                    raw,
                    schema,
                    compression="zstd",
                    use_dictionary=False,
                    write_page_index=True,
                    write_page_checksum=True,
                    # Pages end where the content says so: a row is then read alone, and a row
                    # that has not changed gives the same pages.
                    use_content_defined_chunking=True,
                )
            )
        except BaseException:
            self.abandon()
            raise

    def add(self, row: Row, size: int) -> list[Row]:
        """Add a row of so many bytes; gives the rows before it if they fill a row group."""
        full: list[Row] = []
        if self._rows and self._size + size > GROUP_BYTES:
            full, self._rows, self._size = self._rows, [], 0
        self._rows.append(row)
        self._size += size
        return full

    def rest(self) -> list[Row]:
        """The rows that are not in a row group yet."""
        return self._rows

    def write(self, group: pa.Table) -> None:
        """Write a row group."""
        try:
            self._writer.write_table(group)
        except BaseException:
            self._stack.__exit__(*sys.exc_info())  # deletes the file, and says why it was
            raise

    def finish(self) -> None:
        """Give the complete file its name, and note its checksum."""
        self._stack.close()
        with new_file(_md5_path(self._path)) as out, self._path.open("rb") as file:
            out.write(file_md5(file).encode())

    def abandon(self) -> None:
        """Delete the file."""
        with suppress(_Abandoned):
            self._stack.__exit__(_Abandoned, _Abandoned(), None)


def _is_finished(path: Path) -> bool:
    """Whether a file has the content that an interrupted build has written."""
    try:
        with path.open("rb") as file:
            return file_md5(file) == _md5_path(path).read_text(errors="replace")
    except OSError:
        return False


def _md5_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.md5")
