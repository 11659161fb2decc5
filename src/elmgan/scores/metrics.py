"""What metrics.json says: the scores of a model and of the baseline, and how they came about."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from pydantic import Field

from elmgan.counting import Failure
from elmgan.scores.score import Score
from elmgan.scores.summary import (
    CONFIDENCE,
    OF_THE_DATA,
    RESAMPLES,
    SCORES,
    SUMS,
    Tally,
    by_kind,
    compute,
    defined,
    intervals,
    tally,
)
from elmgan.strict import Strict

METRICS_FORMAT = 1
"""Version of metrics.json that this program writes."""


class Value(Strict):
    """A score with its bootstrap interval."""

    value: float = Field(description="the score of all images, not rounded")
    low: float | None = Field(description="lower end of its 95 % bootstrap interval; null if there is none")
    high: float | None = Field(description="upper end")


class Summary(Strict):
    """The scores of some images; one that is not defined on them, or that the model did not learn for, is left out."""

    images: int = Field(description="images scored")
    counted: int = Field(description="images with a count, from which the scores of counts come")
    masks: int = Field(description="images with a mask or labels, from which dice, iou, psnr and ssim come")
    labelled: int = Field(description="images with instance labels, from which ap50, ap50_95 and f1 come")
    mean_count: float | None = Field(description="annotated cells per image")
    model: dict[str, Value] = Field(description="score of the model -> value")
    baseline: dict[str, Value] = Field(description="score of Otsu + watershed on the same images -> value")

    @property
    def scored(self) -> list[str]:
        """Scores of the model, the baseline or both, in the order of tables."""
        return [name for name in SCORES if name in self.model or name in self.baseline]


class Metrics(Strict):
    """The content of metrics.json."""

    format: int = METRICS_FORMAT
    seed: int = Field(description="of the bootstrap; the same images and seed give the same intervals")
    resamples: int = RESAMPLES
    confidence: float = CONFIDENCE
    kinds: dict[str, Summary] = Field(description="kind, and all for every image -> its scores; a/b is part of a")
    failed: list[Failure] = Field(description="images that could not be scored; they are in no score")
    run: dict[str, Any] = Field(description="command, options, model with hashes, versions, machine, start and seconds")


def metrics_of(
    scores: Sequence[Score], baseline: Sequence[Score], failed: Sequence[Failure], *, seed: int, run: dict[str, Any]
) -> Metrics:
    """Put scores of single images together.

    Args:
        scores: Of the model.
        baseline: Of the same images in the same order.
        failed: The other images.
        seed: Decides the draws of the bootstrap, the same for the model and the baseline and for each kind anew.
        run: The record of the run.
    """
    kinds = {}
    for kind, members in by_kind(scores).items():
        groups: dict[str, list[int]] = {}
        for index in members:
            groups.setdefault(scores[index].group, []).append(index)
        ours, theirs = (
            np.stack([tally(some[index] for index in group) for group in groups.values()])
            for some in (scores, baseline)
        )
        total = dict(zip(SUMS, theirs.sum(axis=0), strict=True))  # the baseline gives all that the data can judge
        kinds[kind] = Summary(
            images=int(total["images"]),
            counted=int(total["counted"]),
            masks=int(total["with_mask"]),
            labelled=int(total["with_labels"]),
            mean_count=total["truth"] / total["counted"] if total["counted"] else None,
            model=_values(ours, seed),
            baseline=_values(theirs, seed),
        )
    return Metrics(seed=seed, kinds=kinds, failed=list(failed), run=run)


def shown(name: str, value: Value | None) -> str:
    """Write a score for people; a dash if there is none."""
    return "–" if value is None else f"{value.value:{SCORES[name].format}}"


def interval_shown(name: str, value: Value | None) -> str:
    """Write a score's interval for people; nothing if there is none."""
    if value is None or value.low is None or value.high is None:
        return ""
    return f"{value.low:{SCORES[name].format}} to {value.high:{SCORES[name].format}}"


def _values(groups: Tally, seed: int) -> dict[str, Value]:
    """Compute the scores of all groups together, with intervals that take a group as a whole."""
    ends = intervals(groups, rng=np.random.default_rng(seed))
    return {
        name: Value(value=value, **dict(zip(("low", "high"), ends.get(name, (None, None)), strict=True)))
        for name, value in defined(compute(groups.sum(axis=0))).items()
        if name not in OF_THE_DATA
    }
