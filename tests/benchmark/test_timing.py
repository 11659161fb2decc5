"""Candidates take turns, and what came out is kept whole."""

import time
from pathlib import Path
from typing import Literal
from unittest.mock import Mock

import pytest

from elmgan.benchmark import timing
from elmgan.benchmark.timing import Conditions, Measured, Times, take_turns
from elmgan.strict import Strict


def conditions(rounds: int = 2, block: float = 0.0) -> Conditions:
    return Conditions.now(threads=1, rounds=rounds, block=block)


def test_candidates_are_warmed_up_and_change_their_order_every_round() -> None:
    order: list[str] = []
    rounds = []
    times = take_turns(
        {"a": lambda: order.append("a"), "b": lambda: order.append("b")},
        conditions(block=1e-9),
        watch=lambda: rounds.append(len(order)),
    )
    warm_up, first, second = "aabb", "aabb", "bbaa"  # the first call of a block is not timed
    assert "".join(order) == warm_up + first + second
    assert rounds == [8, 12]
    assert [(taken.calls, len(taken.seconds)) for taken in times.values()] == [(1, 2), (1, 2)]


def test_a_block_of_no_length_is_a_single_call() -> None:
    order: list[str] = []
    take_turns({"a": lambda: order.append("a"), "b": lambda: order.append("b")}, conditions())
    assert "".join(order) == "ab" + "ab" + "ba"


def test_a_block_has_as_many_calls_as_fill_it(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0

    def work(seconds: float) -> None:
        nonlocal now
        now += seconds

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    times = take_turns({"quick": lambda: work(0.01), "slow": lambda: work(3.0)}, conditions(rounds=3, block=0.045))
    assert times["quick"].calls == 5
    assert times["slow"].calls == 1
    assert times["quick"].seconds == (0.01, 0.01, 0.01)
    assert times["slow"].over(times["quick"]).median == pytest.approx(300)


@pytest.mark.parametrize(("load", "warned"), [(0.0, False), (0.1, False), (0.11, True), (1.0, True)])
def test_a_busy_machine_is_said_so(load: float, warned: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = iter(
        ["cpu 100 0 50 800 50 0 0 0 0 0", f"cpu {100 + 200 * load:.0f} 0 50 {1000 - 200 * load:.0f} 50 0 0 0 0 0"]
    )
    monkeypatch.setattr(timing, "TIMES", Mock(read_text=lambda: f"{next(ticks)}\ncpu0 1 2 3 4\n"))
    described = conditions()
    assert described.load == load
    assert ("busy" in described.warning) == warned


class Row(Strict):
    name: str
    times: Times


class Some(Measured):
    benchmark: Literal["some"] = "some"
    rows: tuple[Row, ...]


def test_a_result_is_kept_whole_with_a_line_for_each_row(tmp_path: Path) -> None:
    rows = tuple(Row(name=name, times=Times(calls=3, seconds=(0.5, 0.25))) for name in ("a", "b"))
    some = Some(conditions=conditions(), rows=rows)
    some.write(tmp_path / "new" / "some.json")
    text = (tmp_path / "new" / "some.json").read_text(encoding="utf-8")
    assert Some.model_validate_json(text) == some
    assert sum("seconds" in line for line in text.splitlines()) == 2
    assert {"elmgan", "python", "torch"} <= set(some.conditions.versions)
