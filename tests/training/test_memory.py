"""Freed memory is handed out again while a network trains, and given back afterwards; how much there is."""

import resource
import sys
from pathlib import Path

import numpy as np
import pytest

from elmgan.training import memory
from elmgan.training.memory import free_memory, freed_memory_kept

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


def test_free_memory_is_what_the_machine_and_its_container_have_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9000 kB\nMemFree: 7 kB\nMemAvailable:    5000 kB\n")
    monkeypatch.setattr(memory, "MEMORY_INFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "CONTAINER", tmp_path)
    assert free_memory() == 5000 * 1024
    (tmp_path / "memory.current").write_text("1000\n")
    for most, expected in (("max\n", 5000 * 1024), ("3000\n", 2000), ("500\n", 0)):
        (tmp_path / "memory.max").write_text(most)
        assert free_memory() == expected
    monkeypatch.setattr(memory, "MEMORY_INFO", tmp_path / "absent")
    assert free_memory() > 1 << 20
    monkeypatch.delattr("os.sysconf", raising=False)
    assert free_memory() == memory.UNKNOWN
