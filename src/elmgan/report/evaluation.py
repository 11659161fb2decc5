"""report.html of an evaluation: scores, plots and the worst images on one page that loads nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from elmgan.counting import Model
from elmgan.data import Record, read_truth
from elmgan.light import plane_grey
from elmgan.report.page import facts_of, flags_found, page, parameters_of
from elmgan.report.plot import MOST_POINTS
from elmgan.report.score_plots import BINS, Counts, agreement, bland_altman, error_by_count, predicted_against_true
from elmgan.report.thumbnail import thumbnail
from elmgan.scores import BASELINE, SCORES, Metrics, Score, Summary, Value, interval_shown, shown
from elmgan.trust import REMEDY

ON_CARDS = ("mae", "bias", "r2", "dice", "ap50")
WORST = 6
"""Images shown of the worst counted, and of the worst segmented."""

MOST_FAILED = 200
CASE_SIDE = 420
TRUTH = (0, 190, 255)  # sky blue: no kind of colour vision takes it for the orange of what was found


@dataclass(frozen=True)
class Case:
    """One image to look at: what is true of it and what was found, outlined in two pictures (data URIs).

    Nothing was found, ``None``, by a model that learned no masks.
    """

    score: Score
    truth: str
    found: str | None

    @classmethod
    def of(cls, model: Model, record: Record, score: Score) -> Self:
        """Draw an image that was scored before; it is counted again.

        Raises:
            ImageError: A file of it can no longer be read.
        """
        with record.opened() as plane:
            pixels = plane.read()
            grey, result = plane_grey(plane, pixels), model.count(plane, pixels=pixels)
        true = read_truth(record, grey.shape)[0]
        found = None if result.mask is None else thumbnail(grey, result.labels(), side=CASE_SIDE)
        return cls(score, thumbnail(grey, true, colour=TRUTH, side=CASE_SIDE), found)


def worst(scores: Sequence[Score]) -> list[Score]:
    """Choose the images to look at: the worst counted, then of the others the worst segmented, the worst first."""
    by_count = [
        (-abs(score.estimate - score.truth), k)
        for k, score in enumerate(scores)
        if score.truth is not None and score.estimate is not None
    ]
    chosen = [k for _, k in sorted(by_count)[:WORST]]
    by_mask = [(score.dice, k) for k, score in enumerate(scores) if score.dice is not None and k not in chosen]
    return [scores[k] for k in chosen + [k for _, k in sorted(by_mask)[:WORST]]]


def evaluation_report(
    metrics: Metrics, scores: Sequence[Score], baseline: Sequence[Score], cases: Sequence[Case]
) -> str:
    """Write the page.

    Args:
        metrics: The content of metrics.json.
        scores: Of the model, image by image.
        baseline: Of the same images in the same order.
        cases: The images to look at.
    """
    version, everything = metrics.run["model"]["version"], metrics.kinds.get("all")
    names = [name for name in SCORES if any(name in summary.scored for summary in metrics.kinds.values())]
    return page(
        "evaluation.html",
        title=f"Evaluation of {version}",
        facts=facts_of(metrics.run),
        words=_words(everything, scores, len(metrics.failed)),
        version=version,
        baseline=BASELINE,
        metrics=metrics,
        everything=everything,
        numbers=_numbers(everything) if everything else {},
        flagged=sum(bool(score.flags) for score in scores),
        flags=flags_found(score.flags for score in scores),
        failures=metrics.failed[:MOST_FAILED],
        failed_left=max(0, len(metrics.failed) - MOST_FAILED),
        scores=[_row(everything, name) for name in everything.scored] if everything else [],
        headings=[SCORES[name].heading for name in names],
        kinds={kind: [_row(of, name) for name in names] for kind, of in metrics.kinds.items()},
        plots=_plots(Counts.of(scores, baseline)),
        thinned=len(scores) > MOST_POINTS,
        most_points=MOST_POINTS,
        cases=cases,
        all_shown=len(cases) == len(scores),
        worst=WORST,
        parameters=parameters_of(metrics.run),
    )


@dataclass(frozen=True)
class _Pair:
    """A score of the model and of the baseline, as shown: value, interval, CSS class."""

    heading: str
    text: str
    ours: tuple[str, str, str]
    theirs: tuple[str, str, str]
    known: bool


def _row(summary: Summary, name: str) -> _Pair:
    """Write a score of some images; the better of the two values is of class ``best``."""
    ours, theirs = summary.model.get(name), summary.baseline.get(name)
    styles = _styles(name, ours, theirs)
    one, other = (
        (shown(name, value), interval_shown(name, value), style)
        for value, style in zip((ours, theirs), styles, strict=True)
    )
    return _Pair(SCORES[name].heading, SCORES[name].text, one, other, ours is not None or theirs is not None)


def _styles(name: str, ours: Value | None, theirs: Value | None) -> tuple[str, str]:
    """CSS classes of the two values of a score."""
    if ours is None or theirs is None:
        return "", ""
    one, other = SCORES[name].cost(ours.value), SCORES[name].cost(theirs.value)
    return "best" if one < other else "", "best" if other < one else ""


def _numbers(summary: Summary) -> dict[str, str]:
    """The numbers to see first: name -> number."""
    numbers = {"images": f"{summary.images}"}
    if summary.mean_count is not None:
        numbers["cells per image"] = f"{summary.mean_count:.1f}"
    for name in ON_CARDS:
        if name in summary.model:
            other = shown(name, summary.baseline.get(name))
            numbers[f"{SCORES[name].heading} (Otsu {other})"] = shown(name, summary.model[name])
    return numbers


def _words(summary: Summary | None, scores: Sequence[Score], failed: int) -> list[str]:
    """Say in sentences how good the model is on these images."""
    told = []
    if summary is not None and "mae" in summary.model and summary.mean_count is not None:
        error, bias = summary.model["mae"].value, summary.model["bias"].value
        told.append(f"A count is {error:.1f} cells off on average, where an image has {summary.mean_count:.1f} cells.")
        if round(abs(bias), 1) > 0:
            told.append(f"On average {abs(bias):.1f} cells too {'many' if bias > 0 else 'few'} are counted.")
        if "coverage" in summary.model:
            share = 100 * summary.model["coverage"].value
            told.append(f"{share:.0f} % of the true counts lie in their interval; 90 % should.")
    flagged = sum(bool(score.flags) for score in scores)
    if flagged:
        flag, number, _ = flags_found(score.flags for score in scores)[0]
        advice = REMEDY.get(flag, "")
        told.append(f"{flagged} of {len(scores)} images are flagged, most often {flag} ({number}): {advice}.")
    if failed:
        told.append(f"{failed} images could not be scored; the reasons stand below.")
    return told


def _plots(counts: Counts) -> list[tuple[str, str, str]]:
    """Draw the counts in three ways, where there are any: SVG, heading and what it says."""
    if not len(counts.truth):
        return []
    bias, reach = agreement(counts)
    limits = (
        f"The model's bias is {bias:+.1f}, the limits of agreement are {bias - reach:+.1f} and {bias + reach:+.1f}."
    )
    return [
        (predicted_against_true(counts), "Predicted against true", "On the line the prediction is right."),
        (bland_altman(counts), "Bland-Altman", limits),
        (error_by_count(counts), "Error by count", f"Lines join the means of up to {BINS} groups of images."),
    ]
