"""Worker processes of a build: jobs are done by several, and all end with the first error."""

import functools
import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import RawArray
from pathlib import Path
from typing import Any

import datasets

from _platelet_em.errors import ArgumentError, OutputError, quote
from _platelet_em.files import PARTIAL_SUFFIX
from _platelet_em.hub.jobs import Job, SplitPlan
from _platelet_em.hub.write import DataWriter, Update
from _platelet_em.sources.opening import VolumeFiles, reopen_files
from _platelet_em.spec import DatasetSpec

__all__ = ["check_num_proc", "write_in_processes"]

_MOST = 61
"""Processes that Windows can wait for."""

_SECONDS = 0.2
"""Time after which the progress bar is drawn again."""


def check_num_proc(num_proc: Any) -> None:
    """Refuse a number of processes that there cannot be.

    Raises:
        ArgumentError: for anything but a whole number of at least 1.
    """
    if not isinstance(num_proc, int) or isinstance(num_proc, bool) or num_proc < 1:
        raise ArgumentError(
            f"num_proc: expected a whole number of processes, at least 1, got {quote(num_proc)}"
        )


def write_in_processes(
    staging: Path,
    files: VolumeFiles,
    plans: Sequence[SplitPlan],
    jobs: Sequence[Job],
    record: dict[str, str],
    spec: DatasetSpec,
    *,
    num_proc: int,
    update: Update,
) -> None:
    """Do jobs in processes of their own, which are ended at the first error or interruption.

    Processes are spawned, since those that are forked hang where a thread of this one had a lock.

    Args:
        staging: The folder that the build writes into; files that are not complete are deleted.
        files: Where the volumes are read from.
        plans: The files of each split.
        jobs: What to do, the longest first.
        record: The record of the build.
        spec: The dataset.
        num_proc: Number of processes.
        update: Called as parts are done.

    Raises:
        OutputError: if a process was killed, or cannot be started.
        Exception: that of a job.
    """
    context = multiprocessing.get_context("spawn")
    progress = RawArray("q", len(jobs) + 1)
    is_alive, end = context.Pipe(duplex=False)
    work = _Work(
        staging, files.paths, files.label_source, {p.name: p for p in plans}, record, spec
    )
    pool = ProcessPoolExecutor(
        min(num_proc, len(jobs), _MOST),
        mp_context=context,
        initializer=_start,
        initargs=(work, progress, is_alive, logging.root.manager.disable),
    )
    try:
        with _without_interrupts():
            futures = [pool.submit(_work, number, job) for number, job in enumerate(jobs)]
        _wait(futures, progress, update)
    except BrokenProcessPool as error:
        end.close()
        raise OutputError(_describe_end(staging.parent.parent, bool(progress[-1]))) from error
    except BaseException:
        end.close()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        end.close()
        is_alive.close()
        for path in staging.glob(f"*/.*{PARTIAL_SUFFIX}"):
            path.unlink(missing_ok=True)


def _wait(futures: Sequence[Any], progress: Any, update: Update) -> None:
    """Wait for jobs; raises the error of the first that has one."""
    done, pending, warned = 0, {*futures}, set()
    while pending:
        ended, pending = wait(pending, timeout=_SECONDS, return_when=FIRST_EXCEPTION)
        for future in sorted(ended, key=futures.index):
            for record in future.result():
                if record.msg not in warned:  # each process opens the volumes that it needs
                    warned.add(record.msg)
                    logging.getLogger(record.name).handle(record)
        before, done = done, sum(progress[:-1])
        update(done - before)


def _describe_end(out: Path, has_started: bool) -> str:
    if has_started:
        return (
            f"{out}: a process that wrote it was killed, perhaps because memory ran out: build "
            "again with fewer processes (--num-proc, in Python num_proc): finished files are "
            "reused"
        )
    return (
        f"{out}: the processes that write it cannot be started: in a program, build below `if "
        '__name__ == "__main__":`, or with num_proc=1'
    )


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach: this one ends them."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@dataclass(frozen=True, slots=True)
class _Work:
    """What all jobs have in common, as a worker gets it."""

    staging: Path
    paths: tuple[str, ...]
    label_source: str
    plans: dict[str, SplitPlan]
    record: dict[str, str]
    spec: DatasetSpec


class _Warnings(logging.Handler):
    """Keeps what is logged, for the process that shows it."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        record.msg, record.args, record.exc_info = record.getMessage(), None, None
        self.records.append(record)

    def take(self) -> list[logging.LogRecord]:
        """What was logged since this was called last."""
        taken, self.records = self.records, []
        return taken


_warnings = _Warnings()
_common: tuple[_Work, Any] | None = None


def _start(work: _Work, progress: Any, is_alive: Connection, disabled: int) -> None:
    """Prepare a worker process.

    Args:
        work: What all jobs have in common.
        progress: Parts that each job has done, then whether a process has started.
        is_alive: Ends when the build ends, or its process.
        disabled: Level of logging that is switched off.
    """
    global _common  # jobs get nothing else from here
    _common, progress[-1] = (work, progress), 1
    threading.Thread(target=_end_with, args=(is_alive,), daemon=True).start()
    datasets.disable_progress_bars()
    logging.disable(disabled)
    logging.getLogger().addHandler(_warnings)


def _end_with(is_alive: Connection) -> None:
    """End this process, whatever it does, when the one that builds has ended or given up."""
    try:
        is_alive.recv()
    except (EOFError, OSError):
        os._exit(1)


@functools.cache
def _open_writer() -> DataWriter:
    """The one of this process, which keeps a volume open between jobs."""
    work, _ = _prepared()
    files = reopen_files(work.paths, work.label_source, work.spec)
    return DataWriter(work.staging, files, work.record, work.spec)


def _prepared() -> tuple[_Work, Any]:
    if _common is None:
        raise RuntimeError("this process was not prepared by _start")
    return _common


def _work(number: int, job: Job) -> list[logging.LogRecord]:
    """Do a job in a worker process; returns the warnings."""
    work, progress = _prepared()

    def update(parts: int) -> None:
        progress[number] += parts

    _open_writer().write(work.plans[job.split], job, update)
    return _warnings.take()
