"""`DataWriter`: writes the rows of volumes, file by file, into Parquet.

A volume is opened once for a job, whatever number of its files have rows of it: there is one open
file per configuration.
"""

import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType

import pyarrow as pa
import pyarrow.parquet as pq

from _platelet_em.arrays.volume_view import VolumeView
from _platelet_em.files import new_file
from _platelet_em.hub.jobs import Job, SplitPlan
from _platelet_em.hub.layout import shard_name
from _platelet_em.hub.parquet import read_metadata
from _platelet_em.hub.record import parquet_metadata
from _platelet_em.progress import progress_bar
from _platelet_em.publisher.archive import file_md5
from _platelet_em.publisher.volume import LabeledVolume
from _platelet_em.rows.config import Config, Row
from _platelet_em.rows.make import config_named, make_rows, make_table
from _platelet_em.rows.schema import arrow_schema
from _platelet_em.rows.shards import GROUP_BYTES, Segment, row_size
from _platelet_em.sources.opening import VolumeFiles
from _platelet_em.spec import DatasetSpec, VolumeSpec

__all__ = ["DataWriter", "discard_empty"]

Update = Callable[[int], object]
"""Takes the number of parts that were written since it was called last."""


class DataWriter:
    """Writes data files that an interrupted build has not finished.

    It has one volume open at a time, which stays open for the next job.

    Args:
        staging: The folder that the build writes into.
        files: Where the volumes are read from.
        record: The record of the build.
        spec: The dataset.
    """

    def __init__(
        self, staging: Path, files: VolumeFiles, record: dict[str, str], spec: DatasetSpec
    ) -> None:
        self._staging, self._files, self._record, self._spec = staging, files, record, spec
        self._opened: tuple[str, LabeledVolume] | None = None

    def write(self, plan: SplitPlan, job: Job, update: Update) -> None:
        """Write the files of a job; those that are not complete are deleted after an error.

        Args:
            plan: The files of the split of the job.
            job: Which of them to write.
            update: Called as parts are done.
        """
        outputs = [
            _ConfigOutput(self._staging, config_named(name), plan, job, self._record, self._spec)
            for name in job.files
        ]
        with ExitStack() as stack:
            for output in outputs:
                stack.callback(output.abandon)
            for volume in plan.volumes:
                if not any(output.needs(volume.name) for output in outputs):
                    update(sum(output.count(volume.name) for output in outputs))
                    continue
                opened = self._open(volume, alone=len(plan.volumes) == 1)
                for output in outputs:
                    output.write(opened, update)

    def _open(self, volume: VolumeSpec, *, alone: bool) -> LabeledVolume:
        """Open a volume, if it is not; a split of one volume has a progress bar for that."""
        if self._opened is None or self._opened[0] != volume.name:
            self.close()
            if alone:
                stage = f"Reading volume {volume.name}"
                with progress_bar(stage=stage, unit="volume", total=1) as bar:
                    self._opened = volume.name, self._files.open(volume)
                    bar.update()
            else:
                self._opened = volume.name, self._files.open(volume)
        return self._opened[1]

    def close(self) -> None:
        """Close the open volume."""
        if self._opened is not None:
            self._opened[1].close()
            self._opened = None

    def __enter__(self) -> "DataWriter":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def discard_empty(staging: Path, plan: SplitPlan) -> None:
    """Delete the files of configurations without rows: `datasets` can load no split then."""
    for name, shards in plan.shards.items():
        paths = _paths(staging, name, plan)
        if shards and not any(read_metadata(path).num_rows for path in paths):
            for path in paths:
                path.unlink()
                _md5_path(path).unlink()


def _paths(staging: Path, config: str, plan: SplitPlan) -> list[Path]:
    count = len(plan.shards[config])
    return [staging / shard_name(config, plan.name, index, count) for index in range(count)]


class _ConfigOutput:
    """The files of one configuration that a job writes, volume by volume.

    Args:
        staging: The folder that the build writes into.
        config: The configuration.
        plan: The files of the split.
        job: Which of them to write.
        record: The record of the build.
        spec: The dataset.
    """

    def __init__(
        self,
        staging: Path,
        config: Config,
        plan: SplitPlan,
        job: Job,
        record: dict[str, str],
        spec: DatasetSpec,
    ) -> None:
        self._config, self._spec = config, spec
        columns = config.columns(spec)
        self._schema = arrow_schema(columns).with_metadata(parquet_metadata(columns, record))
        self._paths = _paths(staging, config.name, plan)
        shards: dict[int, Sequence[Segment]]
        shards = {index: plan.shards[config.name][index] for index in job.files[config.name]}
        self._is_finished = {index: _is_finished(self._paths[index]) for index in shards}
        self._last = {index: shard[-1] for index, shard in shards.items()}
        self._segments: dict[str, list[tuple[int, Segment]]] = {}
        for index, shard in shards.items():
            for segment in shard:
                self._segments.setdefault(segment.volume, []).append((index, segment))
        self._open: _ShardFile | None = None

    def count(self, volume: str) -> int:
        """Parts of a volume."""
        return sum(s.stop - s.start for _, s in self._segments.get(volume, ()))

    def needs(self, volume: str) -> bool:
        """Whether a file with rows of this volume is not finished."""
        return not all(self._is_finished[index] for index, _ in self._segments.get(volume, ()))

    def write(self, volume: VolumeView, update: Update) -> None:
        """Write the rows of a volume."""
        size = row_size(self._config, volume.shape)
        for index, segment in self._segments.get(volume.name, ()):
            if self._is_finished[index]:
                update(segment.stop - segment.start)
                continue
            if self._open is None:
                self._open = _ShardFile(self._paths[index], self._schema)
            for part in range(segment.start, segment.stop):
                for row in make_rows(self._config, volume, self._spec, part, part + 1):
                    group = self._open.add(row, size)
                    if group:
                        self._open.write(make_table(self._config, group, self._spec))
                update(1)
            if segment == self._last[index]:
                if group := self._open.rest():
                    self._open.write(make_table(self._config, group, self._spec))
                self._open.finish()
                self._open = None

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
