"""A result's separated cells: worked out once, whoever asks, and never one result after the other."""

import copy
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from elmgan.counting import Result, result

CELLS = np.zeros((8, 8), dtype=bool)
CELLS[1:3, 1:3] = CELLS[5:7, 5:7] = True
PATIENCE = 10
"""Seconds that a thread waits for the others before the test fails."""


def of_cells() -> Result:
    return Result(CELLS.shape, estimate=None, mask=CELLS, probability=None, count_map=None, flags=())


def test_different_results_are_separated_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    both_there = threading.Barrier(2)

    def separate(*_: Any) -> Any:
        both_there.wait(PATIENCE)
        return np.ones((8, 8), np.uint32)

    monkeypatch.setattr(result, "separate", separate)
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(Result.labels, [of_cells(), of_cells()]))
    assert [labels.max() for labels in found] == [1, 1]


def test_one_result_is_separated_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[Any] = []
    begun, asked = threading.Event(), threading.Event()

    def separate(*given: Any) -> Any:
        calls.append(given)
        begun.set()
        assert asked.wait(PATIENCE)
        return np.ones((8, 8), np.uint32)

    monkeypatch.setattr(result, "separate", separate)
    counted = of_cells()
    with ThreadPoolExecutor(2) as threads:
        first = threads.submit(counted.labels)
        assert begun.wait(PATIENCE)
        second = threads.submit(counted.labels)
        asked.set()
        assert first.result() is second.result() is counted.labels()
    assert len(calls) == 1


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda each: pickle.loads(pickle.dumps(each))])
def test_a_result_can_be_copied_and_sent_to_another_process(duplicate: Callable[[Result], Result]) -> None:
    counted = of_cells()
    labels = counted.labels()
    assert labels.max() == 2
    assert np.array_equal(duplicate(counted).labels(), labels)
