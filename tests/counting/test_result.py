"""A result's separated cells: worked out once, whoever asks, and never one after the other; its look in notebooks."""

import base64
import copy
import pickle
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import cv2
import numpy as np
import pytest

from bundles import squares, tiny_bundle
from elmgan.counting import Model, Result, result
from elmgan.counting.picture import OUTLINE, PREVIEW_SIDE
from elmgan.trust import ADVICE
from pages import Links

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


def picture_in(page: Links) -> Any:
    """The one picture of a page, which is in the page itself; (row, column, RGB)."""
    (source,) = page.loaded
    head, _, content = source.partition(",")
    assert head == "data:image/png;base64"
    decoded: Any = cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR)
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def test_a_notebook_shows_the_picture_and_the_count() -> None:
    counted = Model(tiny_bundle(), engine="onnxruntime", precision="fp32").count(squares(5))
    page = Links(counted._repr_html_())
    assert page.text == "5 cells"
    shown = picture_in(page)
    assert shown.shape == (96, 120, 3)
    assert np.array_equal((shown == OUTLINE).all(axis=2) | (counted.labels() > 0), counted.labels() > 0)
    assert (shown == OUTLINE).all(axis=2).sum() > 5 * 20


def test_a_notebook_shows_large_images_small() -> None:
    counted = Model(tiny_bundle(), engine="onnxruntime", precision="fp32").count(squares(5, (96, 1200)))
    assert picture_in(Links(counted._repr_html_())).shape == (29, PREVIEW_SIDE, 3)


def test_a_notebook_is_told_what_not_to_trust() -> None:
    told = Result(
        CELLS.shape, 1.4, None, None, None, ("blurred", "<new>"), interval=(0.2, 3.1), unlike="larger & <b>darker</b>"
    )._repr_html_()
    page = Links(told)
    assert "img" not in page.tags
    assert page.text == (
        f"1 cell90 % interval: 0 to 4blurred: {ADVICE['blurred']}<new>: unlike: larger & <b>darker</b>"
    )
    assert Links(of_cells()._repr_html_()).text == "2 objects"
