"""What this package does about memory beyond allocating arrays, each with its reason."""

import ctypes
import functools
import math
import mmap
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import numpy as np
import pyarrow as pa

from _platelet_em.errors import TooLargeError

__all__ = ["check_room", "has_room", "keep_freed_memory", "temporary_arrow_memory"]

_SMALL = 1 << 28
"""Bytes that are allocated without a check."""

_PRIVATE = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
"""What makes mapped memory this process's own, on systems that share it by default."""

_UNKNOWN = 1 << 46
"""More bytes than any machine has, for systems that do not say how many they have."""

_TWO_SAMPLES = 1 << 24
"""Bytes: glibc keeps twice as much, which is enough for two samples of the published size."""


def check_room(
    shape: Sequence[int], itemsize: int, named_shape: Sequence[int] | None = None
) -> None:
    """Refuse an array that this machine has no memory for, before any is allocated.

    Shapes come from files, and runs of any length take a few bytes there: a damaged or hostile
    file would otherwise end the process, or the machine.

    Args:
        shape: Its extent along each axis.
        itemsize: Bytes per element.
        named_shape: The shape to name in the message, if it is another one.

    Raises:
        TooLargeError: names the shape and the memory it would take.
    """
    size = math.prod(shape) * itemsize
    if size > _SMALL and not has_room(size):
        named = tuple(shape if named_shape is None else named_shape)
        raise TooLargeError(
            f"shape {named}: as an array it takes {size / 2**30:,.1f} GiB, "
            "and this machine does not have that much memory: read it window by window, x[...]"
        )


def has_room(size: int) -> bool:
    """Whether this process can have that many bytes more, at least 1."""
    if size > _physical_memory():
        return False
    try:
        # Memory that is not written to costs nothing, and shows whether it is available. It is
        # not asked for through malloc, which reserves an arena of 64 MB where it fails.
        mmap.mmap(-1, size, **_PRIVATE).close()
    except (OSError, MemoryError, OverflowError):
        return False
    return True


@functools.cache
def _physical_memory() -> int:
    """Bytes of memory of this machine."""
    if not hasattr(os, "sysconf"):
        return _UNKNOWN
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


@functools.cache
def keep_freed_memory() -> None:
    """Let glibc keep the memory of a freed sample for the next one, once per process.

    Two label maps of a slice that are freed together go back to the system, and the next sample
    pays 1,250 page faults, four times what it takes to decode. How much glibc keeps is twice the
    largest array that the process has freed so far (up to 32 MB per array, unless its environment
    variables say otherwise), so one is freed that was never written to. With other allocators
    this has no effect, and where this much cannot be had there is nothing to keep.
    """
    with suppress(MemoryError):
        np.empty(_TWO_SAMPLES, np.uint8)


@contextmanager
def temporary_arrow_memory() -> Iterator[None]:
    """Return to the system, at the end of the block, what Arrow allocated and freed within it.

    Reading a stream takes as much memory as the rows that are kept of it, in the same pages.
    Arrow's own allocators never give it back. The system's allocator, which serves Arrow within
    the block, does so when asked, which only glibc can be.
    """
    pool = pa.default_memory_pool()
    pa.set_memory_pool(pa.system_memory_pool())
    try:
        yield
    finally:
        pa.set_memory_pool(pool)
        if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
            libc.malloc_trim(0)
