"""Two methods on the same images: how far their scores are apart, and how sure that is."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elmgan.scores.summary import CONFIDENCE, OF_THE_DATA, RESAMPLES, Tally, compute


@dataclass(frozen=True)
class Difference:
    """A score of one method less that of another.

    Attributes:
        value: Mean over the seeds.
        low: Lower end of its 95 % bootstrap interval over images.
        high: Upper end.
        by_seed: Of each seed.
    """

    value: float
    low: float
    high: float
    by_seed: tuple[float, ...]

    def times(self, factor: float) -> "Difference":
        """Give the difference in another unit, or with -1 the other way round."""
        low, high = sorted((factor * self.low, factor * self.high))
        return Difference(factor * self.value, low, high, tuple(factor * value for value in self.by_seed))

    @property
    def sure(self) -> bool:
        """Whether the interval and every seed lie on one side of 0."""
        ends = (self.low, self.high, *self.by_seed)
        return min(ends) > 0 or max(ends) < 0


def differences(
    these: Tally, those: Tally, *, rng: np.random.Generator, resamples: int = RESAMPLES
) -> dict[str, Difference]:
    """Compare two methods by every score that is defined for both.

    Each was trained with the same seeds. The bootstrap draws units with replacement, the same for both methods and all
    seeds; in each draw the scores of both are computed for each seed, subtracted, and averaged over the seeds. So the
    interval is that of other images, and ``by_seed`` tells what another seed changes.

    Args:
        these: Tallies of one method, (seed, unit, sum); a unit is what belongs together, such as two stains of a field.
        those: Of the other, of the same seeds and units.
        rng: Decides the draws.
        resamples: Number of draws.

    Returns:
        Score -> difference; a score that is undefined in more than 5 % of the draws is left out, as all are with fewer
        than two units.

    Raises:
        ValueError: The two differ in seeds or units.
    """
    if these.shape != those.shape:
        raise ValueError(f"seeds and units differ: {these.shape[:2]} and {those.shape[:2]}")
    number = these.shape[1]
    if number < 2:
        return {}
    whole = _subtracted(these.sum(axis=1), those.sum(axis=1))
    draws = [rng.integers(number, size=number) for _ in range(resamples)]
    these_drawn, those_drawn = (np.stack([units[:, drawn].sum(axis=1) for drawn in draws]) for units in (these, those))
    tail = 50 * (1 - CONFIDENCE)
    found = {}
    for name, values in _subtracted(these_drawn, those_drawn).items():
        means = values.mean(axis=1)
        known = means[np.isfinite(means)]
        if len(known) >= CONFIDENCE * resamples and np.isfinite(whole[name]).all() and name not in OF_THE_DATA:
            low, high = np.percentile(known, (tail, 100 - tail))
            by_seed = tuple(float(value) for value in whole[name])
            found[name] = Difference(float(np.mean(by_seed)), float(low), float(high), by_seed)
    return found


def _subtracted(these: Tally, those: Tally) -> dict[str, NDArray[np.float64]]:
    """Scores of one lot of tallies less those of another."""
    minus = compute(those)
    return {name: values - minus[name] for name, values in compute(these).items()}
