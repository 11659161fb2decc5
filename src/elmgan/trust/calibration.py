"""Calibration: correct counts and say how far off they may be, learned from images whose count is known.

Pure functions of the estimates of images, their true totals and their groups. Images of one group show the same cells
and are off by much the same, so that it is groups that are drawn from a population, not images: a group weighs as much
as any other, whatever the number of its images, and is never parted.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elmgan.errors import DataError
from elmgan.trust.interval import FEWEST, LEVEL, Calibration, spread

FEWEST_TO_CORRECT = 10
"""Images of different cells that a correction takes."""

PARTS = 20
"""Parts of the images that a cross-validation leaves out in turn; with 20 groups each of them."""

Values = NDArray[np.float64]


def calibration_of(
    estimates: ArrayLike, totals: ArrayLike, groups: Sequence[str], *, data: str, doubts: ArrayLike = 0.0
) -> Calibration:
    """Learn the correction and the interval from images with known counts.

    The gain gives the means of the groups the sum that is true. It is kept only if it pays: each group is corrected by
    what the others gave, and what that takes from its absolute error must be above 0 on average by more than a standard
    error. A few odd images of a model that is right on the others can make the sum wrong, and chance does so often.

    The interval is split-conformal (Lei et al., Distribution-free predictive inference for regression, J. Am. Stat.
    Assoc. 113 (2018) 1094), with errors in units of :func:`~elmgan.trust.spread`; it takes the ceil((n + 1) * 0.9)-th
    smallest of the errors of n images. With groups, an image weighs 1 / (n + 1) / (images of its group), n being the
    number of groups (Lee, Barber and Willett, Distribution-free inference with hierarchical data, 2023). Errors are of
    counts corrected by what the other groups gave, so that the few images can be used for both.

    Args:
        estimates: Cells as the network counts them, one per image.
        totals: Cells annotated, one per image.
        groups: Names of the images' groups; a name of its own for an image that shows cells of its own.
        data: Where the images come from, for people.
        doubts: How far each is from what the model knows; see :func:`~elmgan.trust.spread`.

    Raises:
        DataError: When there are fewer than 10 groups. Below 20 there is a correction, but no interval.

    >>> estimates = np.arange(20, 120, 5)
    >>> round(calibration_of(estimates, 1.1 * estimates, [str(k) for k in range(20)], data="mine").gain, 3)
    1.1
    """
    estimates, totals = (np.asarray(values, dtype=np.float64) for values in (estimates, totals))
    number = len(set(groups))
    if number < FEWEST_TO_CORRECT:
        raise DataError(
            f"{data} has {number} images of different cells with a count: calibration takes {FEWEST_TO_CORRECT}, "
            f"and {FEWEST} for an interval; count more by hand"
        )
    gain, quantile = _fitted(estimates, totals, groups, np.broadcast_to(doubts, estimates.shape))
    return Calibration(
        data=data,
        images=len(estimates),
        groups=number,
        gain=gain,
        quantile=quantile if number >= FEWEST else None,
    )


@dataclass(frozen=True)
class Check:
    """How good counts are, and their intervals.

    Attributes:
        mae: Mean absolute error, in cells.
        bias: Mean error, estimate - count, in cells.
        coverage: Share of the counts inside their interval, 0..1; None without intervals.
        width: Mean width of the intervals, in cells; None without intervals.
    """

    mae: float
    bias: float
    coverage: float | None
    width: float | None


def check(estimates: ArrayLike, totals: ArrayLike, intervals: Sequence[tuple[float, float] | None]) -> Check:
    """Compare counts and their intervals with what is true.

    >>> check([9.0, 12.0], [10, 10], [(8, 11), (11, 14)])
    Check(mae=1.5, bias=0.5, coverage=0.5, width=3.0)
    """
    errors = np.subtract(estimates, totals, dtype=np.float64)
    known = [(*ends, total) for ends, total in zip(intervals, np.ravel(totals), strict=True) if ends is not None]
    coverage = float(np.mean([low <= total <= high for low, high, total in known])) if known else None
    width = float(np.mean([high - low for low, high, _ in known])) if known else None
    return Check(float(np.abs(errors).mean()), float(errors.mean()), coverage, width)


def cross_validate(
    estimates: ArrayLike, totals: ArrayLike, groups: Sequence[str], *, interval: bool, doubts: ArrayLike = 0.0
) -> Check:
    """Check calibrated counts of images, each calibrated by images of other groups.

    Args:
        estimates: Cells as the network counts them, one per image.
        totals: Cells annotated, one per image.
        groups: Names of the images' groups.
        interval: Whether intervals are checked too.
        doubts: As of :func:`calibration_of`.
    """
    estimates, totals = (np.asarray(values, dtype=np.float64) for values in (estimates, totals))
    doubts = np.broadcast_to(np.asarray(doubts, dtype=np.float64), estimates.shape)
    corrected = np.empty_like(estimates)
    intervals: list[tuple[float, float] | None] = [None] * len(estimates)
    for inside, outside in _folds(groups):
        names = [groups[k] for k in outside]
        gain, quantile = _fitted(estimates[outside], totals[outside], names, doubts[outside])
        corrected[inside] = gain * estimates[inside]
        if interval:
            learned = Calibration(data="", images=len(outside), groups=len(set(names)), gain=gain, quantile=quantile)
            for k in inside:
                intervals[k] = learned.interval(corrected[k], float(doubts[k]))
    return check(corrected, totals, intervals)


def resplits(
    estimates: ArrayLike,
    totals: ArrayLike,
    groups: Sequence[str],
    *,
    rng: np.random.Generator,
    draws: int = 200,
    doubts: ArrayLike = 0.0,
) -> Values:
    """Say which counts lie in their interval when some of the groups calibrate and the others are tested.

    About half of the groups are drawn to calibrate: the next larger of 29, 39, 49 ... groups, of which (n + 1) * 0.9 is
    a whole number. With others the rank is rounded up, and up to 93 % of the counts lie inside.

    Args:
        estimates: Cells as a model counts them that learned nothing from these images, one per image.
        totals: Cells annotated, one per image.
        groups: Names of the images' groups.
        rng: Draws the groups.
        draws: How often.
        doubts: As of :func:`calibration_of`.

    Returns:
        An array (draw, image): 1 inside, 0 outside, NaN where the image calibrated. The mean of all but NaN is the
        coverage; that of some columns is the coverage of those images when all are calibrated together.

    Raises:
        DataError: When there are fewer than 40 groups.
    """
    estimates, totals = (np.asarray(values, dtype=np.float64) for values in (estimates, totals))
    doubts = np.broadcast_to(np.asarray(doubts, dtype=np.float64), estimates.shape)
    names, group = np.unique(groups, return_inverse=True)
    if len(names) < 2 * FEWEST:
        raise DataError(f"{len(names)} groups cannot calibrate and be tested in turn: it takes {2 * FEWEST}")
    number = math.ceil((len(names) / 2 + 1) / 10) * 10 - 1
    inside = np.full((draws, len(group)), np.nan)
    for row in inside:
        calibrating = rng.permutation(len(names))[group] < number
        one, other = np.flatnonzero(calibrating), np.flatnonzero(~calibrating)
        named = [groups[k] for k in one.tolist()]
        learned = calibration_of(estimates[one], totals[one], named, data="these", doubts=doubts[one])
        for k in other:
            low, high = learned.interval(learned.gain * estimates[k], float(doubts[k])) or (math.nan, math.nan)
            row[k] = low <= totals[k] <= high
    return inside


def _fitted(estimates: Values, totals: Values, groups: Sequence[str], doubts: Values) -> tuple[float, float]:
    """Give the gain, and the quantile of the errors that remain."""
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weights = 1 / sizes[group]  # of an image in its group
    means = [np.bincount(group, weights * values) for values in (estimates, totals)]
    gain, gains = _gain(*(of.sum() for of in means)), _gain(*(of.sum() - of for of in means))[group]
    saved = np.bincount(group, weights * (np.abs(estimates - totals) - np.abs(gains * estimates - totals)))
    if saved.mean() <= saved.std(ddof=1) / math.sqrt(len(saved)):
        gain, gains = np.ones(()), np.ones_like(estimates)
    corrected = gains * estimates
    return float(gain), _quantile(np.abs(totals - corrected) / spread(corrected, doubts), weights / (len(sizes) + 1))


def _gain(estimate: ArrayLike, total: ArrayLike) -> Values:
    """What makes sums of estimates those of totals; 1 where either has no cells, since nothing can be learned there."""
    estimate, total = np.asarray(estimate, dtype=np.float64), np.asarray(total, dtype=np.float64)
    gain = np.ones_like(estimate)
    np.divide(total, estimate, out=gain, where=(estimate > 0) & (total > 0))
    return gain


def _quantile(errors: Values, weights: Values) -> float:
    """Give the smallest error that with all smaller ones has a weight of LEVEL; the largest if none has."""
    order = np.argsort(errors)
    reached = np.cumsum(weights[order]) >= LEVEL - 1e-9  # a sum of 18 times 1 / 20 is less than 0.9
    return float(errors[order][int(np.argmax(reached)) if reached.any() else -1])


def _folds(groups: Sequence[str]) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Deal groups into PARTS parts in the order of their names; give the images of each part, and the others."""
    fold = np.unique(groups, return_inverse=True)[1] % PARTS
    for part in np.unique(fold):
        yield np.flatnonzero(fold == part), np.flatnonzero(fold != part)
