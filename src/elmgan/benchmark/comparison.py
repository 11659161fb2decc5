"""Runs of the accuracy benchmark put together: scores of arms, and what each differs from the whole method."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from elmgan.benchmark.accuracy import AccuracyMeasured, Setting
from elmgan.benchmark.arms import ARMS, OTSU, reference
from elmgan.benchmark.timing import Measured
from elmgan.scores import SCORES
from elmgan.scores.paired import Difference, differences
from elmgan.scores.summary import Tally, compute, defined, tally

ENOUGH_SEEDS = 3
"""With fewer, nothing is told: one lucky start would decide."""


@dataclass(frozen=True)
class Compared:
    """An arm beside the one that it is compared with, on the same images, with the same seeds.

    Attributes:
        arm: Its name.
        folds: That both have, with each of the seeds.
        seeds: That both have; those of the other alone where the arm draws nothing.
        found: Score -> the arm's less the other's.
    """

    arm: str
    folds: tuple[int, ...]
    seeds: tuple[int, ...]
    found: dict[str, Difference]

    @property
    def enough(self) -> bool:
        """Whether there are enough seeds to tell anything."""
        return len(self.seeds) >= ENOUGH_SEEDS

    def reading(self, score: str) -> str:
        """Say whether the arm is better or worse by a score, as far as that can be told; nothing without the score.

        It is if there are enough seeds, and the interval over images and every seed agree.
        """
        if score not in self.found:
            return ""
        if not self.enough:
            return f"{len(self.seeds)} of {ENOUGH_SEEDS} seeds"
        difference = self.found[score]
        if not difference.sure:
            return "cannot be told"
        return "better" if (difference.value < 0) == (SCORES[score].best == "lowest") else "worse"


def by_setting(results: Sequence[Measured]) -> list[tuple[Setting, list[AccuracyMeasured]]]:
    """Part the runs among results by their settings, in the order in which settings are first met."""
    found: list[tuple[Setting, list[AccuracyMeasured]]] = []
    for result in results:
        if isinstance(result, AccuracyMeasured):
            same = next((runs for setting, runs in found if setting == result.setting), None)
            if same is None:
                found.append((result.setting, same := []))
            same.append(result)
    return found


def arms_of(runs: Sequence[AccuracyMeasured]) -> list[str]:
    """Name the arms of some runs, in the order of ARMS."""
    there = {run.arm for run in runs}
    return [name for name in ARMS if name in there]


def units(run: AccuracyMeasured) -> Tally:
    """Sum up a run's scores within each group of images of the same cells, (group, sum)."""
    groups = sorted({row.group for row in run.rows})
    return np.stack([tally(row.score for row in run.rows if row.group == group) for group in groups])


def compare_arms(runs: Sequence[AccuracyMeasured], *, seed: int = 0) -> dict[str, Compared]:
    """Compare each arm with the whole method, as far as both have runs on the same folds with the same seeds.

    A fold counts where all of the seeds have it that both arms have in any fold.

    Args:
        runs: Of one setting.
        seed: Of the bootstrap.

    Returns:
        Arm -> comparison, without the arms that others are compared with.
    """
    found = {}
    for name in arms_of(runs):
        other = reference(ARMS[name]).name
        if name == other:
            continue
        theirs = {(run.fold, run.seed): run for run in runs if run.arm == other}
        own = {(run.fold, run.seed): run for run in runs if run.arm == name}
        if name == OTSU:
            own = {(fold, with_seed): own[fold, 0] for fold, with_seed in theirs if (fold, 0) in own}
        both = own.keys() & theirs.keys()
        seeds = tuple(sorted({with_seed for _, with_seed in both}))
        folds = tuple(sorted({fold for fold, _ in both if all((fold, one) in both for one in seeds)}))
        if not folds:
            continue
        ours, others = (
            np.stack([np.concatenate([units(of[fold, one]) for fold in folds]) for one in seeds])
            for of in (own, theirs)
        )
        found[name] = Compared(name, folds, seeds, differences(ours, others, rng=np.random.default_rng(seed)))
    return found


def scores_of(runs: Sequence[AccuracyMeasured], arm: str) -> dict[str, list[float]]:
    """Score an arm: score -> value of each seed, over all folds that the seed has."""
    values: dict[str, list[float]] = {}
    for seed in sorted({run.seed for run in runs if run.arm == arm}):
        rows = [row.score for run in runs if (run.arm, run.seed) == (arm, seed) for row in run.rows]
        for name, value in defined(compute(tally(rows))).items():
            values.setdefault(name, []).append(value)
    return values
