"""Freed memory is handed out again while a network trains, and given back to the system afterwards."""

import resource
import sys

import numpy as np
import pytest

from elmgan.training.memory import freed_memory_kept

SIZE, TIMES = 64 * 2**20, 10


def pages_brought() -> int:
    """Fill and free a large array a few times, and count the pages that the system had to bring."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(TIMES):
        np.full(SIZE, 1, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only glibc is told")
def test_a_large_array_is_brought_once_and_not_each_time() -> None:
    with freed_memory_kept():
        pages_brought()
        kept = pages_brought()
    assert 10 * kept < pages_brought()
