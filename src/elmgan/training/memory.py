"""How much memory there is, and how the C library hands it out while a network trains."""

import ctypes
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # numbers of mallopt's parameters, from glibc's malloc.h
USUAL = {TRIM_THRESHOLD: 128 * 1024, MMAP_MAX: 65536}
KEEPING = {TRIM_THRESHOLD: 2**31 - 1, MMAP_MAX: 0}


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let freed memory stay with the process for as long as the context lasts, to be handed out again.

    A step frees and asks again for the same gigabyte. glibc otherwise has the system bring every large array anew,
    page by page and filled with zeros, which takes a quarter of a step. Without glibc nothing is changed.
    """
    libc = ctypes.CDLL(None) if sys.platform.startswith("linux") else None
    if libc is None or not hasattr(libc, "mallopt") or not hasattr(libc, "malloc_trim"):
        yield
        return
    for parameter, value in KEEPING.items():
        libc.mallopt(parameter, value)
    try:
        yield
    finally:
        for parameter, value in USUAL.items():
            libc.mallopt(parameter, value)
        libc.malloc_trim(0)


MEMORY_INFO = Path("/proc/meminfo")
CONTAINER = Path("/sys/fs/cgroup")
"""What Linux says of the memory of the machine, and of that which a container or a queue's job is held to."""

UNKNOWN = 4 << 30
"""Bytes that are taken to be free where the system does not tell."""


def free_memory() -> int:
    """Give the bytes of memory that programs can still take."""
    with suppress(OSError):
        found = re.search(r"^MemAvailable:\s+(\d+) kB$", MEMORY_INFO.read_text(), re.MULTILINE)
        if found:
            return min(1024 * int(found[1]), _left_to_group())
    with suppress(AttributeError, OSError, ValueError):  # macOS tells what there is in all
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    return UNKNOWN


def _left_to_group() -> int:
    """Bytes that are left of what this process is held to; a lot where it is held to nothing."""
    with suppress(OSError, ValueError):  # there is no such file, or no such bound
        most, taken = (int((CONTAINER / name).read_text()) for name in ("memory.max", "memory.current"))
        return max(0, most - taken)
    return 1 << 62
