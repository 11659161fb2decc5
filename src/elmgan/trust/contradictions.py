"""Counts that contradict the others of a data set: typing errors, and rows that have slipped against their images.

Pure functions of the estimates of images and of their counts. A model that counts too few or too many cells does so
everywhere by much the same factor; a count that is off by quite another one is more likely wrong than the model.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEAST_FACTOR = 2.0
"""Times too many or too few cells from which a count is doubted; models are off by less on most images they know."""

MOST_DEVIATIONS = 5.0
"""Standard deviations, as the median of the others gives them, from which a count is doubted."""

MOST_BY_CHANCE = 3.0
"""Likewise of a Poisson distribution."""

SLIPS = (-3, -2, -1, 1, 2, 3)
"""Rows by which counts may have slipped."""

FEWEST_SLIPPED = 6
"""Images in a row that have to fit better elsewhere before they are taken to have slipped."""

FAR_BETTER = 0.4
"""Share of its discrepancy that such a row keeps at most."""

LEAST_SPREAD = 0.4
"""Standard deviation of the logarithms of counts from which they have to follow the estimates."""

Values = NDArray[np.float64]


def discrepancies(estimates: ArrayLike, counts: ArrayLike) -> Values:
    """Say by what factor each count is off, as logarithms around the median: 0 where it agrees with most others.

    One cell is added to both, so that images without cells do not stand out for a cell more or less.

    >>> discrepancies([9, 19, 39], [19, 39, 19]).round(2)
    array([ 0.  ,  0.  , -1.39])
    """
    ratios = np.log1p(np.asarray(counts, np.float64)) - np.log1p(np.maximum(estimates, 0.0))
    centred: Values = ratios - np.median(ratios)
    return centred


def contradictions(estimates: ArrayLike, counts: ArrayLike) -> list[int]:
    """Find counts that are off by quite another factor than the others.

    A count is doubted when it is off by more than each of these: a factor of 2; 5 standard deviations of the others,
    which are 1.4826 times the median of the absolute deviations (Rousseeuw and Croux, Alternatives to the median
    absolute deviation, J. Am. Stat. Assoc. 88 (1993) 1273); and 3 standard deviations of a Poisson distribution, since
    small counts are off by large factors by chance.

    Args:
        estimates: Cells as the network counts them, one per image.
        counts: Cells counted by hand, one per image.

    Returns:
        Indices of the images in doubt, the worst first.

    >>> contradictions([20, 30, 25, 41, 33], [21, 29, 250, 40, 35])
    [2]
    """
    counts = np.asarray(counts, np.float64)
    off = np.abs(discrepancies(estimates, counts))
    usual = 1.4826 * float(np.median(off))
    least = np.maximum(math.log(LEAST_FACTOR), MOST_DEVIATIONS * usual)
    expected = (np.maximum(estimates, 0.0) + 1) * _gain(estimates, counts)
    by_chance = MOST_BY_CHANCE * np.sqrt(np.maximum(expected, counts + 1))
    doubted = (off > least) & (np.abs(counts + 1 - expected) > by_chance)
    return [int(k) for k in np.argsort(-off) if doubted[k]]


def slipped(estimates: Sequence[float], counts: Sequence[float]) -> tuple[int, int] | None:
    """Find out whether counts stand beside the wrong images from some row on, all by the same number of rows.

    Args:
        estimates: Cells as the network counts them, one per image, in the order in which the counts were written.
        counts: Cells counted by hand, one per image.

    Returns:
        The first image whose count is another's, and how many rows further the image lies that the count fits;
        ``None`` where the counts fit as they stand.

    >>> cells = [12, 90, 31, 55, 8, 77, 24, 60, 41, 18]
    >>> slipped(cells, [cells[-1], *cells[:-1]])
    (0, -1)
    """
    ratios = np.log1p(np.maximum(np.asarray(counts, np.float64), 0))
    found = np.log1p(np.maximum(np.asarray(estimates, np.float64), 0))
    middle = float(np.median(ratios - found))
    here = np.abs(ratios - found - middle)
    best: tuple[float, int, int] | None = None
    for rows in SLIPS:
        if len(found) < FEWEST_SLIPPED + abs(rows):
            continue
        both = slice(
            max(0, -rows), len(found) - max(0, rows)
        )  # the others would be compared with images beyond the ends
        moved = np.abs(ratios[both] - found[both.start + rows : both.stop + rows] - middle)
        before, after = (np.cumsum(off[::-1])[::-1] for off in (here[both], moved))  # from each image to the last
        saved = np.where(after <= FAR_BETTER * before, before - after, 0)[: len(moved) - FEWEST_SLIPPED + 1]
        start = int(np.argmax(saved))
        if saved[start] > (0 if best is None else best[0]):
            # An image without another to compare with has slipped, too, if all that have one have.
            best = float(saved[start]), start + both.start if start else 0, rows
    return None if best is None else best[1:]


def correlation(estimates: ArrayLike, counts: ArrayLike) -> float | None:
    """Say how well counts follow the estimates: Spearman's rank correlation, -1..1.

    ``None`` where the counts are too much alike to tell: where the standard deviation of their logarithms is below 0.4.

    >>> correlation([20, 30, 25, 80], [3, 2, 9, 1]), correlation([20, 21], [20, 21])
    (-0.8, None)
    """
    counts = np.asarray(counts, np.float64)
    if np.std(np.log1p(counts)) < LEAST_SPREAD:
        return None
    ranks = [np.unique(values, return_inverse=True)[1] for values in (np.asarray(estimates, np.float64), counts)]
    places = [np.array([np.mean(np.flatnonzero(np.sort(rank) == one)) for one in rank]) for rank in ranks]
    one, other = (place - place.mean() for place in places)
    length = float(np.linalg.norm(one) * np.linalg.norm(other))
    return round(float(one @ other) / length, 6) if length else 0.0


def _gain(estimates: ArrayLike, counts: ArrayLike) -> float:
    """The usual factor between counts and estimates."""
    return float(np.exp(np.median(np.log1p(np.asarray(counts, np.float64)) - np.log1p(np.maximum(estimates, 0.0)))))
