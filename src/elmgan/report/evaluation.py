"""report.html of an evaluation: scores, plots and the worst images on one page that loads nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Self

from elmgan.counting import Model
from elmgan.data import Record, read_truth
from elmgan.light import plane_grey
from elmgan.report.page import facts_of, number_cards, page
from elmgan.report.plot import MOST_POINTS
from elmgan.report.score_plots import BINS, Counts, agreement, bland_altman, error_by_count, predicted_against_true
from elmgan.report.thumbnail import thumbnail
from elmgan.scores import BASELINE, SCORES, Metrics, Score, Summary, Value, interval_shown, shown

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
    version = metrics.run["model"]["version"]
    body = [_failed(metrics)]
    if metrics.kinds:
        body = [_cards(metrics.kinds["all"]), *body, _scores(metrics, version), _kinds(metrics)]
    body += [_plots(Counts.of(scores, baseline), version), _gallery(cases)]
    return page(f"Evaluation of {version}", facts_of(metrics.run), "\n".join(body))


def _cards(summary: Summary) -> str:
    numbers = {"images": f"{summary.images}"}
    if summary.mean_count is not None:
        numbers["cells per image"] = f"{summary.mean_count:.1f}"
    for name in ON_CARDS:
        if name in summary.model:
            other = shown(name, summary.baseline.get(name))
            numbers[f"{SCORES[name].heading} (Otsu {other})"] = shown(name, summary.model[name])
    return number_cards(numbers)


def _failed(metrics: Metrics) -> str:
    if not metrics.failed:
        return ""
    lines = "".join(
        f'<tr><td class="text wide">{escape(failure.image)}</td><td class="text wide">{escape(failure.error)}</td></tr>'
        for failure in metrics.failed[:MOST_FAILED]
    )
    more = len(metrics.failed) - MOST_FAILED
    told = f"These are in no score{f'; metrics.json has {more} more' if more > 0 else ''}."
    return f'<h2>Not scored</h2><p>{told}</p><div class="scroll"><table>{lines}</table></div>'


def _scores(metrics: Metrics, version: str) -> str:
    """Every score of all images, and what it says."""
    everything = metrics.kinds["all"]
    head = "".join(f"<th>{escape(name)}</th><th>95 % interval</th>" for name in (version, BASELINE))
    lines = [f'<tr><th class="text">score</th>{head}<th class="text">what it says</th></tr>']
    for name in everything.scored:
        meaning, pair = SCORES[name], (everything.model.get(name), everything.baseline.get(name))
        cells = "".join(
            f'<td class="{style}">{shown(name, value)}</td><td class="soft">{interval_shown(name, value)}</td>'
            for value, style in zip(pair, _styles(name, *pair), strict=True)
        )
        lines.append(
            f'<tr><th class="text">{meaning.heading}</th>{cells}<td class="text wide">{meaning.text}</td></tr>'
        )
    return f"""<h2>Scores</h2>
<p>Of {everything.images} images {everything.counted} have a count, {everything.masks} a mask and {everything.labelled}
instance labels; a score comes from those that have what it takes. {BASELINE} is what can be had on the same images with
nothing learned; the better of the two is bold. Intervals are 95 % bootstrap intervals over groups of images,
{metrics.resamples} draws with seed {metrics.seed}. images.csv has every image, metrics.json every score in full.</p>
<div class="scroll"><table>{"".join(lines)}</table></div>"""


def _kinds(metrics: Metrics) -> str:
    """The scores of each kind of images, if there is more than one."""
    if len(metrics.kinds) == 1:
        return ""
    names = [name for name in SCORES if any(name in summary.scored for summary in metrics.kinds.values())]
    head = "".join(f"<th>{SCORES[name].heading}</th>" for name in names)
    lines = [f'<tr><th class="text">kind</th><th>images</th><th>mean count</th>{head}</tr>']
    for kind, summary in metrics.kinds.items():
        mean = "" if summary.mean_count is None else f"{summary.mean_count:.1f}"
        cells = "".join(_stacked(name, summary.model.get(name), summary.baseline.get(name)) for name in names)
        lines.append(f'<tr><td class="text">{escape(kind)}</td><td>{summary.images}</td><td>{mean}</td>{cells}</tr>')
    return f"""<h2>Kinds of images</h2>
<p>In each field the score, its interval, and the score of {BASELINE}.</p>
<div class="scroll"><table class="stacked">{"".join(lines)}</table></div>"""


def _stacked(name: str, value: Value | None, other: Value | None) -> str:
    if value is None and other is None:
        return "<td></td>"
    ours, theirs = _styles(name, value, other)
    return (
        f'<td><span class="{ours}">{shown(name, value)}</span><small>{interval_shown(name, value)}</small>'
        f'<small class="{theirs}">{shown(name, other)}</small></td>'
    )


def _styles(name: str, ours: Value | None, theirs: Value | None) -> tuple[str, str]:
    """CSS classes of the two values of a score: the better one is ``best``."""
    if ours is None or theirs is None:
        return "", ""
    one, other = SCORES[name].cost(ours.value), SCORES[name].cost(theirs.value)
    return "best" if one < other else "", "best" if other < one else ""


def _plots(counts: Counts, version: str) -> str:
    if not len(counts.truth):
        return ""
    bias, reach = agreement(counts)
    limits = (
        f"The model's bias is {bias:+.1f}, the limits of agreement are {bias - reach:+.1f} and {bias + reach:+.1f}."
    )
    figures = [
        _figure(predicted_against_true(counts), "Predicted against true", "On the line the prediction is right."),
        _figure(bland_altman(counts), "Bland-Altman", limits),
        _figure(error_by_count(counts), "Error by count", f"Lines join the means of up to {BINS} groups of images."),
    ]
    fewer = f" About {MOST_POINTS} of {len(counts.truth)} images are drawn." if len(counts.truth) > MOST_POINTS else ""
    return f"""<h2>Counts</h2>
<p><i class="model"></i>{escape(version)}<i class="baseline"></i>{BASELINE}.{fewer}</p>
<section class="plots">{"".join(figures)}</section>"""


def _figure(drawing: str, heading: str, text: str) -> str:
    return f"<figure>{drawing}<figcaption><span><strong>{heading}.</strong> {text}</span></figcaption></figure>"


def _gallery(cases: Sequence[Case]) -> str:
    if not cases:
        return ""
    layout, what, found = "large", "Left", '; right <i class="found"></i>the cells found'
    if cases[0].found is None:
        layout, what, found = "", "Outlined", ""
    return f"""<h2>Worst images</h2>
<p>The {WORST} with the greatest error of the count, then of the others the {WORST} with the lowest Dice.
{what} <i class="truth"></i>what is true, as far as it is known{found}.</p>
<section class="gallery {layout}">{"".join(_case(case) for case in cases)}</section>"""


def _case(case: Case) -> str:
    score, name = case.score, escape(case.score.image)
    counted = score.truth is not None and score.estimate is not None
    numbers = [f"{score.truth:g} → {score.estimate:.1f}"] if counted else []
    numbers += [] if score.dice is None else [f"Dice {score.dice:.3f}"]
    found = "" if case.found is None else f'<img src="{case.found}" alt="{name}, what was found">'
    flags = " ".join(f'<span class="flag">{escape(flag)}</span>' for flag in score.flags)
    return (
        f'<figure><div><img src="{case.truth}" alt="{name}, what is true">{found}</div>'
        f'<figcaption class="lines"><b>{" · ".join(numbers)}</b><span>{name} {flags}</span></figcaption></figure>'
    )
