"""Scores of many images: sums that add up over images, the scores computed from them, and how sure those are."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from elmgan.scores.score import Score

MASK_SCORES = ("dice", "iou", "psnr", "ssim")
OBJECT_SCORES = ("ap50", "ap50_95", "f1")
SUMS = (
    *("images", "counted", "truth", "truth_squared", "estimate", "estimate_squared", "product"),
    *("error", "error_squared", "error_absolute", "error_relative", "with_interval", "in_interval"),
    *("with_mask", *MASK_SCORES, "with_labels", *OBJECT_SCORES),
)
"""What is summed over images: how many there are of each sort, and what their scores are computed from."""

Tally = NDArray[np.float64]
"""Sums over images, in the order of SUMS along the last axis; an axis before it is of several tallies."""

RESAMPLES = 2000
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Meaning:
    """What a score says: its heading in tables, its format, its best value, and a sentence."""

    heading: str
    format: str
    best: Literal["lowest", "highest", "nearest 0"] | None
    text: str

    def cost(self, value: float) -> float:
        """Give a number that is the less the better the value is; NaN where none is better."""
        return {"lowest": value, "highest": -value, "nearest 0": abs(value)}.get(str(self.best), math.nan)


SCORES = {
    "images": Meaning("images", ".0f", None, "images scored"),
    "mean_count": Meaning("mean count", ".1f", None, "annotated cells per image"),
    "mae": Meaning("MAE", ".2f", "lowest", "mean absolute error of the count, in cells"),
    "rmse": Meaning("RMSE", ".2f", "lowest", "root mean square error of the count, in cells"),
    "relative_error": Meaning(
        "relative error", ".3f", "lowest", "mean of the absolute error by the annotated count, or by 1 if that is less"
    ),
    "bias": Meaning("bias", "+.2f", "nearest 0", "mean error of the count, in cells; above 0 too many were found"),
    "r2": Meaning("R²", ".3f", "highest", "coefficient of determination: 1 - squared error / variance of the counts"),
    "pearson": Meaning("Pearson r", ".3f", "highest", "correlation of the estimated with the annotated counts"),
    "coverage": Meaning("coverage", ".3f", None, "share of the counts that lie in the model's own 90 % interval"),
    "dice": Meaning("Dice", ".4f", "highest", "Dice coefficient of the mask, averaged over images"),
    "iou": Meaning("IoU", ".4f", "highest", "intersection over union of the mask, averaged over images"),
    "psnr": Meaning("PSNR", ".2f", "highest", "peak signal-to-noise ratio of the probability of cell, in dB"),
    "ssim": Meaning("SSIM", ".4f", "highest", "structural similarity of the probability of cell to the mask"),
    "ap50": Meaning("AP50", ".3f", "highest", "TP / (TP + FP + FN) of the separated cells at an IoU above 0.5"),
    "ap50_95": Meaning("AP50:95", ".3f", "highest", "the same, averaged over IoUs above 0.50, 0.55, ... 0.95"),
    "f1": Meaning("F1", ".3f", "highest", "2 TP / (2 TP + FP + FN) of the separated cells at an IoU above 0.5"),
}
"""Every score, in the order of tables."""

OF_THE_DATA = ("images", "mean_count")
"""Those that say something of the images, and nothing of the model."""

ON_CARD = ("images", "mean_count", "mae", "rmse", "bias", "coverage", "dice", "ap50")
"""Scores that a model card shows."""


def tally(scores: Iterable[Score]) -> Tally:
    """Sum over images; what is not known of one adds nothing.

    Sums of parts add up, but for rounding: ``tally(a) + tally(b)`` is ``tally(a + b)``.
    """
    return sum((_sums(score) for score in scores), start=np.zeros(len(SUMS)))


def compute(tallies: Tally) -> dict[str, NDArray[np.float64]]:
    """Compute scores from sums over images.

    Args:
        tallies: Of any sets of images, (..., sum).

    Returns:
        Score, in the order of SCORES -> values, (...), NaN where it is not defined: for want of images that it could be
        computed from, for R² where all counts are the same, for Pearson's r also where all estimates are.
    """
    total = dict(zip(SUMS, np.moveaxis(tallies, -1, 0), strict=True))
    counted = total["counted"]
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0 says that a score is not defined
        truth_spread = _spread(total["truth_squared"], total["truth"], counted)
        estimate_spread = _spread(total["estimate_squared"], total["estimate"], counted)
        together = total["product"] - total["truth"] * total["estimate"] / counted
        return {
            "images": total["images"],
            "mean_count": total["truth"] / counted,
            "mae": total["error_absolute"] / counted,
            "rmse": np.sqrt(total["error_squared"] / counted),
            "relative_error": total["error_relative"] / counted,
            "bias": total["error"] / counted,
            "r2": 1 - total["error_squared"] / truth_spread,
            "pearson": np.clip(together / np.sqrt(truth_spread * estimate_spread), -1, 1),
            "coverage": total["in_interval"] / total["with_interval"],
            **{name: total[name] / total["with_mask"] for name in MASK_SCORES},
            **{name: total[name] / total["with_labels"] for name in OBJECT_SCORES},
        }


def defined(scores: Mapping[str, NDArray[np.float64]]) -> dict[str, float]:
    """Keep the scores of one tally that are defined."""
    return {name: float(value) for name, value in scores.items() if np.isfinite(value)}


def count_scores(estimates: ArrayLike, truths: ArrayLike) -> dict[str, float]:
    """Score counts of images: the scores of SCORES that counts alone give and that are defined.

    >>> {name: round(value, 3) for name, value in count_scores([9.0, 12.0], [10, 10]).items()}
    {'mae': 1.5, 'rmse': 1.581, 'relative_error': 0.15, 'bias': 0.5}
    """
    pairs = zip(np.ravel(estimates), np.ravel(truths), strict=True)
    total = sum((_ordered(_count_sums(*pair)) for pair in pairs), start=np.zeros(len(SUMS)))
    return {name: value for name, value in defined(compute(total)).items() if name not in OF_THE_DATA}


def intervals(units: Tally, *, rng: np.random.Generator, resamples: int = RESAMPLES) -> dict[str, tuple[float, float]]:
    """Tell how far each score may be from that of other images of the same sort: 95 % bootstrap intervals.

    Percentile intervals after Efron and Tibshirani, An Introduction to the Bootstrap (1993), chapter 13: as many units
    as there are are drawn with replacement, ``resamples`` times. A score that is not defined in more than 5 % of the
    draws, as of few images, has no interval; other such draws are left out.

    Args:
        units: Tallies of what is drawn as a whole, (unit, sum): of single images, or of groups that belong together.
        rng: Decides the draws; the same state gives the same draws for as many units, so that two models are compared
            on the same images.
        resamples: Number of draws.

    Returns:
        Score -> (low, high), for those that have one; none where there is but one unit.
    """
    number = len(units)
    if number < 2:
        return {}
    drawn = np.stack([units[rng.integers(number, size=number)].sum(axis=0) for _ in range(resamples)])
    tail = 50 * (1 - CONFIDENCE)
    ends = {}
    for name, values in compute(drawn).items():
        known = values[np.isfinite(values)]
        if len(known) >= CONFIDENCE * resamples and name not in OF_THE_DATA:
            low, high = np.percentile(known, (tail, 100 - tail))
            ends[name] = float(low), float(high)
    return ends


def by_kind(scores: Sequence[Score]) -> dict[str, list[int]]:
    """Say which scores are of which kind; a kind ``a/b`` counts for ``a`` too.

    Returns:
        kind, ``all`` for every image and first -> indices into ``scores``; nothing if there are none.
    """
    kinds: dict[str, list[int]] = defaultdict(list)
    for index, score in enumerate(scores):
        parts = score.kind.split("/") if score.kind else []
        for name in dict.fromkeys(["all", *("/".join(parts[: k + 1]) for k in range(len(parts)))]):
            kinds[name].append(index)
    return dict(kinds)


def summarise(scores: Sequence[Score]) -> dict[str, dict[str, float]]:
    """Give what a model card says: kind -> score -> value, of the scores ON_CARD that are defined, to 4 decimals."""
    card = {}
    for kind, members in by_kind(scores).items():
        values = defined(compute(tally(scores[index] for index in members)))
        card[kind] = {name: round(values[name], 4) for name in ON_CARD if name in values}
    return card


def _spread(
    squared: NDArray[np.float64], plain: NDArray[np.float64], number: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Sum of squared distances from the mean, from sums; NaN where it is 0 but for rounding."""
    spread = squared - plain**2 / number
    return np.where(spread > 1e-12 * squared, spread, np.nan)


def _count_sums(estimate: float, truth: float) -> dict[str, float]:
    """What one counted image adds."""
    error = estimate - truth
    return {
        "counted": 1,
        "truth": truth,
        "truth_squared": truth**2,
        "estimate": estimate,
        "estimate_squared": estimate**2,
        "product": estimate * truth,
        "error": error,
        "error_squared": error**2,
        "error_absolute": abs(error),
        "error_relative": abs(error) / max(truth, 1),
    }


def _sums(score: Score) -> Tally:
    """What one image adds."""
    sums: dict[str, float] = {"images": 1}
    if score.truth is not None and score.estimate is not None:
        sums |= _count_sums(score.estimate, score.truth)
        if score.low is not None and score.high is not None:
            sums |= {"with_interval": 1, "in_interval": score.low <= score.truth <= score.high}
    for present, names in (("with_mask", MASK_SCORES), ("with_labels", OBJECT_SCORES)):
        known = {name: getattr(score, name) for name in names}
        if None not in known.values():
            sums |= {present: 1} | known
    return _ordered(sums)


def _ordered(sums: Mapping[str, float]) -> Tally:
    return np.array([sums.get(name, 0.0) for name in SUMS])
