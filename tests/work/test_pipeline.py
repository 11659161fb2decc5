"""Work goes on in threads, in order, within bounds, and stops when nobody waits for it."""

import threading
import time
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elmgan.counting import Failure
from elmgan.work.pipeline import in_order, outcomes


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(0, 9), max_size=20), workers=st.integers(1, 4), most=st.integers(1, 12))
def test_items_in_memory_stay_below_the_bound_or_alone(sizes: list[int], workers: int, most: int) -> None:
    held: list[int] = []
    too_much: list[list[int]] = []
    lock = threading.Lock()

    def work(item: tuple[int, int]) -> int:
        with lock:
            held.append(item[1])
            if len(held) > 1 and sum(held) > most:
                too_much.append(list(held))
        time.sleep(0.001 * (item[0] % 3))
        return item[0]

    numbers = []
    for _, future in in_order(work, enumerate(sizes), workers=workers, size=lambda item: item[1], most=most):
        numbers.append(future.result())
        with lock:
            held.remove(sizes[numbers[-1]])
    assert numbers == list(range(len(sizes)))
    assert not too_much


def test_an_exception_is_that_of_its_item() -> None:
    futures = [future for _, future in in_order(lambda x: 6 // x, [3, 0, 2], workers=2, size=lambda _: 1, most=9)]
    assert (futures[0].result(), futures[2].result()) == (2, 3)
    with pytest.raises(ZeroDivisionError):
        futures[1].result()


def test_two_items_are_worked_on_at_once() -> None:
    both = threading.Barrier(2, timeout=5)
    futures = in_order(lambda _: both.wait(), range(2), workers=2, size=lambda _: 1, most=2)
    assert sorted(future.result() for _, future in futures) == [0, 1]


def test_closing_gives_up_what_has_not_begun() -> None:
    begun = []

    def work(item: int) -> None:
        begun.append(item)
        time.sleep(0.01)

    with closing(in_order(work, range(100), workers=2, size=lambda _: 1, most=100)) as futures:
        next(futures)
    number = len(begun)
    time.sleep(0.05)
    assert len(begun) == number < 10


def test_one_that_fails_stops_no_other() -> None:
    done = list(outcomes(lambda x: 6 // x, [3, 0, 2], named=lambda x: (f"{x}.tif", Path(f"/{x}.tif")), workers=2))
    assert [(item, outcome) for item, outcome in done if item] == [(3, 2), (2, 3)]
    failed = done[1][1]
    assert isinstance(failed, Failure)
    assert failed.image == "0.tif"
    assert failed.error.startswith("unexpected ZeroDivisionError")
    assert "6 // x" in failed.trace
    assert set(failed.model_dump()) == {"image", "error"}


def test_being_stopped_is_no_failure_of_an_item() -> None:
    def stop(item: int) -> int:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(outcomes(stop, [1], named=lambda x: ("", Path())))
