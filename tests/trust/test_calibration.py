"""Calibration: what its intervals promise, on images drawn many times over."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.random import Generator, default_rng
from numpy.typing import NDArray

from elmgan.errors import DataError
from elmgan.trust import Calibration, cross_validate, resplits, spread
from elmgan.trust.calibration import calibration_of, check

Values = NDArray[np.float64]


def drawn(number: int, rng: Generator, *, skewed: bool = False) -> tuple[Values, Values, list[str]]:
    """Images of a model that counts 12 % too few; its errors have long tails if ``skewed``."""
    totals = rng.integers(0, 200, number).astype(float)
    noise = rng.lognormal(0, 1, number) - 1.6 if skewed else rng.normal(0, 1, number)
    return np.maximum(0.88 * totals + noise * np.sqrt(totals + 1), 0), totals, [str(k) for k in range(number)]


def covered(learned: Calibration, estimates: Values, totals: Values) -> float:
    corrected = learned.gain * estimates
    return check(corrected, totals, [learned.interval(value) for value in corrected]).coverage or 0.0


@pytest.mark.parametrize("skewed", [False, True])
@pytest.mark.parametrize("number", [20, 40])
def test_nine_of_ten_counts_are_inside_on_average(number: int, skewed: bool) -> None:
    rng = default_rng(0)
    shares = []
    for _ in range(300):
        learned = calibration_of(*drawn(number, rng, skewed=skewed), data="drawn")
        shares.append(covered(learned, *drawn(100, rng, skewed=skewed)[:2]))
    assert 0.88 < np.mean(shares) < 0.92


@pytest.mark.parametrize("number", [40, 57, 110])
def test_over_resplits_of_the_same_images_too(number: int) -> None:
    inside = resplits(*drawn(number, default_rng(1), skewed=True), rng=default_rng(2))
    assert inside.shape == (200, number)
    tested = np.isfinite(inside).sum(axis=1)
    assert len(set(tested)) == 1
    assert (number - tested[0] + 1) % 10 == 0
    assert 0.88 < np.nanmean(inside) < 0.92


def test_a_resplit_parts_no_group_and_takes_forty() -> None:
    estimates, totals, groups = grouped(40, default_rng(0))
    tested = np.isfinite(resplits(estimates, totals, groups, rng=default_rng(1), draws=5))
    for name in set(groups):
        of_group = tested[:, np.array(groups) == name]
        assert (of_group == of_group[:, :1]).all()
    with pytest.raises(DataError, match="39 groups cannot calibrate and be tested in turn: it takes 40"):
        resplits(*drawn(39, default_rng(0)), rng=default_rng(1))


def grouped(number: int, rng: Generator) -> tuple[Values, Values, list[str]]:
    """Groups of 1 or 8 images that are off by the same; the large ones by little."""
    sizes = np.where(np.arange(number) < number // 2, 1, 8)
    off = np.where(sizes == 1, 4.0, 1.0) * rng.normal(size=number)
    totals = np.repeat(rng.integers(20, 100, number).astype(float), sizes)
    estimates: Values = totals + np.repeat(off, sizes) * np.sqrt(totals)
    return estimates, totals, np.repeat(np.arange(number), sizes).astype(str).tolist()


def test_a_group_weighs_as_one_image() -> None:
    """Weighed by images, the many of the large groups would make the interval too narrow for the small ones."""
    rng = default_rng(2)
    by_group: list[float] = []
    by_image: list[float] = []
    for _ in range(300):
        estimates, totals, groups = grouped(30, rng)
        new, true, names = grouped(30, rng)
        weights = 1 / np.unique(names, return_counts=True)[1][np.unique(names, return_inverse=True)[1]]
        for given_groups, shares in ((groups, by_group), ([str(k) for k in range(len(groups))], by_image)):
            learned = calibration_of(estimates, totals, list(given_groups), data="drawn")
            ends = [learned.interval(value) for value in learned.gain * new]
            inside = [low <= value <= high for (low, high), value in zip(filter(None, ends), true, strict=True)]
            shares.append(float(np.average(inside, weights=weights)))
    assert 0.88 < np.mean(by_group) < 0.93
    assert np.mean(by_image) < 0.85


def test_the_quantile_is_the_one_of_finite_samples() -> None:
    """Of 20 errors the ceil(21 * 0.9) = 19th, by hand: errors of 1 to 20 units, signs so that the sum is right."""
    totals = np.full(20, 10_000.0)
    errors = np.arange(1, 21) * spread(totals) * np.where(np.arange(20) % 4 % 3 == 0, 1, -1)
    learned = calibration_of(totals, totals + errors, [str(k) for k in range(20)], data="drawn")
    assert learned.gain == 1
    assert learned.quantile == pytest.approx(19)


@given(st.floats(0, 1e5), st.floats(0, 1e5), st.floats(0, 50), st.floats(0.1, 10))
def test_an_interval_holds_its_estimate_and_grows_with_it(
    one: float, other: float, quantile: float, gain: float
) -> None:
    learned = Calibration(data="drawn", images=20, groups=20, gain=gain, quantile=quantile)
    less, more = sorted((round(one, 2), round(other, 2)))
    widths = []
    for estimate in (less, more):
        low, high = learned.interval(estimate) or (math.nan, math.nan)
        assert 0 <= low <= estimate <= high
        assert (low, high) == (round(low, 2), round(high, 2))
        widths.append(high - estimate)
    assert widths[0] <= widths[1] + 0.02  # of rounding


def test_a_bias_is_corrected_and_a_few_odd_images_are_not_taken_for_one() -> None:
    rng = default_rng(3)
    estimates, totals, groups = drawn(20, rng)
    learned = calibration_of(estimates, totals, groups, data="drawn")
    assert learned.gain == pytest.approx(totals.sum() / estimates.sum())
    odd = totals + rng.normal(size=20)
    odd[3] = 0  # 1 of 20 images is missed altogether
    assert calibration_of(odd, totals, groups, data="drawn").gain == 1
    after = cross_validate(estimates, totals, groups, interval=True)
    before = check(estimates, totals, [None] * 20)
    assert after.mae < before.mae
    assert abs(after.bias) < abs(before.bias)


def test_chance_is_seldom_taken_for_a_bias() -> None:
    rng = default_rng(6)
    corrected = 0
    for _ in range(100):
        estimates, totals, groups = drawn(20, rng)
        corrected += calibration_of(estimates / 0.88, totals, groups, data="drawn").gain != 1
    assert corrected < 15


def test_cross_validation_is_of_images_that_taught_nothing() -> None:
    """The one image that is off is outside the interval that the 19 exact ones give."""
    totals = np.arange(20.0, 40.0)
    estimates = totals + np.where(np.arange(20) == 7, 30, 0)
    checked = cross_validate(estimates, totals, [str(k) for k in range(20)], interval=True)
    assert checked.coverage == 0.95
    assert checked.mae == pytest.approx(1.5)
    together = cross_validate(estimates, totals, [str(max(k, 1)) for k in range(20)], interval=False)
    assert (together.coverage, together.width) == (None, None)


@pytest.mark.parametrize(("images", "groups"), [(19, 19), (40, 19), (10, 10)])
def test_fewer_than_twenty_give_no_interval(images: int, groups: int) -> None:
    estimates, totals, _ = drawn(images, default_rng(4))
    learned = calibration_of(estimates, totals, [str(k % groups) for k in range(images)], data="drawn")
    assert learned.quantile is None
    assert learned.interval(12.0) is None
    assert learned.promise == f"no interval: {groups} images of different cells are too few, it takes 20"


def test_fewer_than_ten_give_nothing() -> None:
    with pytest.raises(DataError, match="mine has 9 images of different cells with a count: calibration takes 10"):
        calibration_of(*drawn(9, default_rng(5)), data="mine")


@pytest.mark.parametrize(("estimates", "totals"), [(np.zeros(20), np.arange(20.0)), (np.arange(20.0), np.zeros(20))])
def test_images_without_cells_correct_nothing(estimates: Values, totals: Values) -> None:
    learned = calibration_of(estimates, totals, [str(k) for k in range(20)], data="drawn")
    assert learned.gain == 1
    assert np.isfinite(learned.quantile or math.nan)
