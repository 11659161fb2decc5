"""The accuracy benchmark as tables: what is there and what the rest costs, scores, differences."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from elmgan.benchmark.accuracy import SETTINGS, Accuracy, AccuracyMeasured, Run, runs_of
from elmgan.benchmark.arms import ARMS, GRID_FULL, OTSU, chosen_arms
from elmgan.benchmark.comparison import Compared, arms_of, by_setting, compare_arms, scores_of
from elmgan.benchmark.texts import Sheet, three_digits
from elmgan.scores import SCORES
from elmgan.scores.paired import Difference

IN_TABLE = ("mae", "rmse", "relative_error", "r2", "bias", "dice", "iou", "psnr", "ssim")
"""Scores in the table of scores."""

COMPARED = ("mae", "relative_error", "dice", "ssim")
"""Scores in the table of differences."""

READ = ("mae", "dice")
"""Scores by which an arm is called better or worse: one of the count, one of the mask."""


def plan(benchmark: Accuracy, rate: float) -> Sheet:
    """Show which of the wanted runs are there, and what those that are missing cost.

    Args:
        benchmark: Knows the runs.
        rate: Multiply-adds of training in a second.
    """
    rows = []
    for name in dict.fromkeys(run.arm for run in benchmark.runs):
        work = benchmark.work(ARMS[name], benchmark.setting)
        there = [run for run in benchmark.there if run.arm == name]
        missing = [run for run in benchmark.missing if run.arm == name]
        rows.append(
            [
                name,
                three_digits(work.parameters / 1e6) if work.parameters else "",
                three_digits(work.multiply_adds / 1e9) if work.multiply_adds else "",
                f"{minutes(benchmark, Run(name, 1, 1), rate):.0f}",
                str(len(there)),
                _named(missing),
            ]
        )
    columns = ["arm", "M parameters", "G multiply-adds a step", "about min a run", "there", "missing"]
    return Sheet(f"Accuracy, {benchmark.setting.told}", columns, rows)


def minutes(benchmark: Accuracy, run: Run, rate: float) -> float:
    """Give about how long a run takes: as such a run took before, or else by what its steps compute."""
    setting = benchmark.setting
    if took := [found.seconds for found in benchmark.there.values() if found.arm == run.arm]:
        return sum(took) / len(took) / 60
    return setting.epochs * setting.steps * benchmark.work(ARMS[run.arm], setting).multiply_adds / rate / 60


def costs(benchmark: Accuracy, rate: float) -> list[str]:
    """Say what the missing runs cost, and what either setting costs as a whole, on this machine."""
    ahead = sum(minutes(benchmark, run, rate) for run in benchmark.missing)
    lines = [f"{len(benchmark.missing)} runs are missing: about {_hours(ahead)} on this machine ({benchmark.device})"]
    for setting in SETTINGS.values():
        folds = [1] if setting.name == "reduced" else range(1, setting.folds + 1)
        runs = runs_of(chosen_arms(None), list(folds), [1, 2, 3])
        steps = setting.epochs * setting.steps
        whole = sum(steps * benchmark.work(ARMS[run.arm], setting).multiply_adds / rate / 60 for run in runs)
        lines.append(f"the {setting.name} setting as a whole: {len(runs)} runs of {steps} steps, about {_hours(whole)}")
    return lines


def run_told(benchmark: Accuracy, run: Run) -> dict[str, Any]:
    """Give a run for a program: its scores if it is there."""
    found = benchmark.there.get(run)
    scores = {} if found is None else {name: values[0] for name, values in scores_of([found], run.arm).items()}
    return {**run._asdict(), "there": found is not None, "scores": scores}


def sheets_of(results: Sequence[AccuracyMeasured]) -> list[Sheet]:
    """Make the tables of scores and of differences, for each setting."""
    made = []
    for setting, runs in by_setting(results):
        compared = compare_arms(runs)
        for grid in (False, True):
            names = [name for name in arms_of(runs) if ARMS[name].grid == grid]
            told = f"{setting.told}{', the grid on training images alone' if grid else ''}"
            if names:
                columns = ["arm", "runs", *(SCORES[name].heading for name in IN_TABLE)]
                title = f"Scores, {told}: mean over seeds ± their standard deviation"
                made.append(Sheet(title, columns, [_scored(runs, name) for name in names]))
            if rows := [_compared(compared[name]) for name in names if name in compared]:
                headings = ["arm", "what it is", "seeds", *(SCORES[name].heading for name in COMPARED)]
                headings += [f"by {SCORES[name].heading}" for name in READ]
                whole = GRID_FULL if grid else "the whole method"
                title = f"Less {whole}, {told}: difference with its 95 % interval over images"
                made.append(Sheet(title, headings, rows))
    return made


def signed(name: str, difference: Difference) -> str:
    """Write a difference of a score, with its interval.

    >>> signed("dice", Difference(-0.0123, -0.02, 0.001, (-0.0123,)))
    '-0.0123 (-0.0200 to +0.0010)'
    """
    digits = SCORES[name].format.lstrip("+")
    value, low, high = (f"{number:+{digits}}" for number in (difference.value, difference.low, difference.high))
    return f"{value} ({low} to {high})"


def _scored(runs: Sequence[AccuracyMeasured], name: str) -> list[str]:
    values = scores_of(runs, name)
    number = sum(run.arm == name for run in runs)
    cells = []
    for score in IN_TABLE:
        of_seeds = values.get(score, [])
        text = f"{np.mean(of_seeds):{SCORES[score].format}}" if of_seeds else "–"
        digits = SCORES[score].format.lstrip("+")
        cells.append(f"{text} ± {np.std(of_seeds, ddof=1):{digits}}" if len(of_seeds) > 1 else text)
    return [name, str(number), *cells]


def _compared(each: Compared) -> list[str]:
    seeds = "" if each.arm == OTSU else str(len(each.seeds))
    cells = [signed(name, each.found[name]) if name in each.found else "–" for name in COMPARED]
    return [each.arm, ARMS[each.arm].told, seeds, *cells, *(each.reading(name) or "–" for name in READ)]


def _named(runs: Sequence[Run]) -> str:
    """Name runs of an arm by fold and seeds.

    >>> _named([Run("full", 1, 2), Run("full", 1, 3), Run("full", 2, 1)])
    'fold 1: seeds 2, 3; fold 2: seed 1'
    """
    parts = []
    for fold in dict.fromkeys(run.fold for run in runs):
        seeds = [str(run.seed) for run in runs if run.fold == fold]
        parts.append(f"fold {fold}: seed{'s' if len(seeds) > 1 else ''} {', '.join(seeds)}")
    return "; ".join(parts)


def _hours(minutes: float) -> str:
    """Write minutes, or hours where there are many.

    >>> _hours(12.3), _hours(150)
    ('12 min', '2.5 h')
    """
    return f"{minutes:.0f} min" if minutes < 90 else f"{minutes / 60:.1f} h"
