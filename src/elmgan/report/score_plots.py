"""Counts of a model, and of the baseline, against the truth, drawn in three ways."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from elmgan.report.plot import Line, Points, scatter
from elmgan.scores import Score

BINS = 8
NORMAL = 1.96
"""Standard deviations that hold 95 % of a normal distribution to either side of its mean."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Counts:
    """Counts of the images that have a true one, each (image,); of none if the model learned no counts."""

    names: Sequence[str]
    truth: Floats
    model: Floats
    baseline: Floats

    @classmethod
    def of(cls, scores: Sequence[Score], baseline: Sequence[Score]) -> Self:
        """Take them from scores of the same images in the same order."""
        known = [
            (score.image, score.truth, score.estimate, other.estimate)
            for score, other in zip(scores, baseline, strict=True)
            if score.truth is not None and score.estimate is not None
        ]
        names, *counts = zip(*known, strict=True) if known else ((), (), (), ())
        return cls(names, *(np.array(values, np.float64) for values in counts))

    def points(self, style: str, estimates: Floats, x: Floats, y: Floats) -> Points:
        """Make the points of one series; each tells its image and both counts."""
        told = zip(self.names, self.truth, estimates, strict=True)
        return Points(style, x, y, [f"{name}: {true:g} true, {found:.1f} found" for name, true, found in told])


def predicted_against_true(counts: Counts) -> str:
    """Draw the estimates against the true counts; the range is that of the model."""
    most = 1.05 * max(counts.truth.max(), counts.model.max(), 1)
    return scatter(
        [
            counts.points("baseline", counts.baseline, counts.truth, counts.baseline),
            counts.points("model", counts.model, counts.truth, counts.model),
        ],
        [Line("reference", (0, most), (0, most))],
        title="Predicted against true counts",
        x_label="true count",
        y_label="predicted count",
        x_range=(0, most),
        y_range=(0, most),
    )


def agreement(counts: Counts) -> tuple[float, float]:
    """Give the bias of the model, and how far the limits of agreement are from it: 1.96 standard deviations.

    After Bland and Altman, Lancet 327 (1986) 307.
    """
    error = counts.model - counts.truth
    return float(error.mean()), NORMAL * float(error.std(ddof=1)) if len(error) > 1 else 0.0


def bland_altman(counts: Counts) -> str:
    """Draw the model's error against the mean of both counts, with the bias and the limits of agreement."""
    mean, error = (counts.truth + counts.model) / 2, counts.model - counts.truth
    bias, reach = agreement(counts)
    right = 1.05 * max(mean.max(), 1)
    top = 1.1 * max(np.abs(error).max(), abs(bias) + reach, 1)
    levels = [("reference", 0.0), ("model", bias), ("limit", bias - reach), ("limit", bias + reach)]
    return scatter(
        [counts.points("model", counts.model, mean, error)],
        [Line(style, (0, right), (level, level)) for style, level in levels],
        title="Error of the count against the mean of predicted and true count",
        x_label="mean of predicted and true count",
        y_label="predicted − true",
        x_range=(0, right),
        y_range=(-top, top),
    )


def error_by_count(counts: Counts) -> str:
    """Draw absolute errors against the true counts, with the means of images with like counts."""
    ours, theirs = np.abs(counts.model - counts.truth), np.abs(counts.baseline - counts.truth)
    return scatter(
        [
            counts.points("baseline", counts.baseline, counts.truth, theirs),
            counts.points("model", counts.model, counts.truth, ours),
        ],
        [_means("baseline", counts.truth, theirs), _means("model", counts.truth, ours)],
        title="Absolute error of the count against the true count",
        x_label="true count",
        y_label="absolute error, cells",
        x_range=(0, 1.05 * max(counts.truth.max(), 1)),
        y_range=(0, 1.05 * max(ours.max(), np.percentile(theirs, 90), 1)),  # wild errors of the baseline aside
    )


def _means(style: str, truth: Floats, error: Floats) -> Line:
    """Join the mean errors of up to BINS groups of at least five images, in the order of their counts."""
    order = np.argsort(truth, kind="stable")
    groups = np.array_split(order, min(BINS, max(1, len(order) // 5)))
    return Line(style, [truth[group].mean() for group in groups], [error[group].mean() for group in groups])
