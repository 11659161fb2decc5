"""Counts that contradict the others, on counts as they are and on the mistakes that people make."""

import csv
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from elmgan.trust.contradictions import FEWEST_SLIPPED, contradictions, correlation, discrepancies, slipped


def images(seed: int, number: int = 20, gain: float = 1.0, noise: float = 0.1) -> tuple[np.ndarray, np.ndarray]:
    """Estimates and counts of images with 3 to 200 cells; the model's errors are those of a fair one."""
    rng = np.random.default_rng(seed)
    counts = np.round(np.exp(rng.uniform(np.log(3), np.log(200), number)))
    return gain * np.maximum(
        0, counts * np.exp(noise * rng.standard_normal(number)) + rng.normal(0, 0.5, number)
    ), counts


@pytest.mark.parametrize("number", [10, 20, 100])
@pytest.mark.parametrize("noise", [0.02, 0.2, 0.5])
def test_fair_counts_are_hardly_ever_doubted(number: int, noise: float) -> None:
    doubted = slips = 0
    for seed in range(50):
        estimates, counts = images(seed, number, gain=2.6, noise=noise)
        doubted += bool(contradictions(estimates, counts))
        slips += slipped(list(estimates), list(counts)) is not None
    assert doubted <= 3
    assert slips <= (3 if noise == 0.5 else 0)


@pytest.mark.parametrize("gain", [0.38, 1, 2.6])
@pytest.mark.parametrize("factor", [10, 0.1])
def test_a_digit_too_many_or_too_few_is_found(gain: float, factor: float) -> None:
    for seed in range(20):
        estimates, counts = images(seed, gain=gain)
        wrong = int(np.argmax(counts >= 30))
        counts[wrong] = np.floor(factor * counts[wrong])
        assert contradictions(estimates, counts) == [wrong]


def test_two_swapped_rows_are_found() -> None:
    for seed in range(20):
        estimates, counts = images(seed)
        few, many = int(np.argmin(counts)), int(np.argmax(counts))
        counts[[few, many]] = counts[[many, few]]
        assert sorted(contradictions(estimates, counts)) == sorted([few, many])


def test_an_empty_cell_written_as_0_is_found() -> None:
    estimates, counts = images(3)
    wrong = int(np.argmax(counts > 40))
    counts[wrong] = 0
    assert contradictions(estimates, counts) == [wrong]


def test_a_few_cells_more_or_less_are_chance() -> None:
    assert contradictions([0.1, 1.2, 0, 3, 2, 0.5, 1, 4, 0, 2], [1, 1, 2, 3, 5, 0, 0, 3, 0, 4]) == []


@given(st.lists(st.tuples(st.floats(-1, 1e5), st.integers(0, 10**5)), min_size=1, max_size=40))
def test_anything_is_taken(pairs: list[tuple[float, int]]) -> None:
    estimates, counts = ([pair[k] for pair in pairs] for k in (0, 1))
    off = np.abs(discrepancies(estimates, counts))
    found = contradictions(estimates, counts)
    assert np.isfinite(off).all()
    assert all(off[one] >= off[other] for one, other in pairwise(found))
    if (slip := slipped(estimates, counts)) is not None:
        assert 0 <= slip[0] <= len(pairs) - FEWEST_SLIPPED


@pytest.mark.parametrize("rows", [-2, -1, 1, 3])
@pytest.mark.parametrize("start", [0, 7])
def test_counts_that_slipped_are_found(rows: int, start: int) -> None:
    found = []
    for seed in range(20):
        estimates, counts = images(seed)
        counts = np.concatenate([counts[:start], np.roll(counts[start:], -rows)])
        found.append(slipped(list(estimates), list(counts)))
    right = [slip for slip in found if slip is not None and slip[1] == rows]
    assert len(right) >= 18
    assert np.median([abs(slip[0] - start) for slip in right]) <= 1


def test_counts_that_are_all_the_same_have_not_slipped() -> None:
    assert slipped([10.0] * 20, [10.0] * 20) is None
    assert slipped([10.0] * 3, [90.0] * 3) is None


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 300)), min_size=5, max_size=30))
def test_the_correlation_is_spearmans(pairs: list[tuple[int, int]]) -> None:
    estimates, counts = ([pair[k] for pair in pairs] for k in (0, 1))
    found = correlation(estimates, counts)
    if np.std(np.log1p(counts)) < 0.4:
        assert found is None
    elif len(set(estimates)) == 1:
        assert found == 0
    else:
        assert found == pytest.approx(spearmanr(estimates, counts).statistic, abs=1e-6)


def held_out(name: str, kind: str) -> np.ndarray:
    """Estimates and counts of real images that the model has not learned from, a row per image."""
    with (Path(__file__).parents[2] / f"experiments/intervals/{name}.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"].startswith(kind)]
    return np.array([[float(row["estimate"]), float(row["true"])] for row in rows])


@pytest.mark.parametrize(
    ("name", "kind"), [("nuclei", "bbbc039"), ("nuclei", "dsb2018"), ("bbbc005", "w1"), ("bbbc005", "w2")]
)
def test_real_counts_are_believed_and_mistakes_in_them_found(name: str, kind: str) -> None:
    rows, rng = held_out(name, kind), np.random.default_rng(0)
    alarms, tenfolds, swaps, slips = [], [], [], []
    for _ in range(50):
        estimates, counts = rows[rng.permutation(len(rows))[:20]].T
        related = correlation(estimates, counts)
        slip = slipped(list(estimates), list(counts))
        alarms.append(bool(contradictions(estimates, counts)) or slip is not None or (related or 1) < 0.3)
        wrong = counts.copy()
        wrong[place := int(np.argmax(counts > 5))] *= 10
        tenfolds.append(contradictions(estimates, wrong) == [place])
        wrong = counts.copy()
        ends = [int(np.argmin(counts)), int(np.argmax(counts))]
        wrong[ends] = wrong[ends[::-1]]
        swaps.append(set(ends) <= set(contradictions(estimates, wrong)))
        slips.append(slipped(list(estimates), list(np.roll(counts, 1))) is not None)
    assert not any(alarms)
    assert all(tenfolds)
    assert np.mean(swaps) >= 0.9
    assert np.mean(slips) >= 0.9
