"""Calibrate a model on counted images: its network stays, its counts are corrected and get an interval."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from elmgan.counting import Failure, Model
from elmgan.data import Record, Tell, group_alike, read_data_set
from elmgan.engines import Engine
from elmgan.errors import DataError, UsageError
from elmgan.images import View
from elmgan.models import Bundle, shipped, write_bundle
from elmgan.scores import Score
from elmgan.trust import Calibration, ImagePlace, KnownImages, cross_validate
from elmgan.trust.calibration import Check, calibration_of, check
from elmgan.trust.contradictions import contradictions, correlation, slipped
from elmgan.work.pipeline import outcomes
from elmgan.work.score import count_and_score, flagged
from elmgan.work.selection import chosen
from elmgan.work.views import at_scales, scales_told

Watch = Callable[[int, Score | Failure], None]

CHECKED = {
    "mae": ("MAE", ".2f"),
    "bias": ("bias", "+.2f"),
    "coverage": ("coverage", ".3f"),
    "width": ("mean width", ".1f"),
}
"""What is checked -> its heading in tables, and its format."""

MOST_DOUBTED = 10
"""Images whose counts contradict the others that are named."""

LEAST_CORRELATION = 0.3
"""Rank correlation of counts and estimates below which the counts are doubted altogether."""


@dataclass(frozen=True)
class Calibrated:
    """A calibration, how good the counts are without and with it, and what there is to say of the images.

    Both checks are of the images that it was learned from; the one with it is cross-validated. What is without it has
    the model's earlier calibration, if it had one. Doubts are counts that contradict the others; ``flagged`` says how
    many images are, and by what. ``places`` are those of the images among what the model knows, ``scales`` suited them.
    """

    calibration: Calibration
    before: Check
    after: Check
    failures: list[Failure]
    places: list[ImagePlace]
    scales: tuple[float, ...]
    doubts: list[str]
    flagged: str

    def rows(self) -> list[tuple[str, ...]]:
        """Write the checks for people: heading, before, after; a dash where there are no intervals."""
        rows = []
        for name, (heading, form) in CHECKED.items():
            values = getattr(self.before, name), getattr(self.after, name)
            rows.append((heading, *("–" if value is None else f"{value:{form}}" for value in values)))
        return rows

    @property
    def text(self) -> str:
        """What a model card says, in Markdown."""
        learned = self.calibration
        table = "".join(f"| {' | '.join(row)} |\n" for row in self.rows())
        return f"""
Calibrated on {learned.images} images of {learned.data}: {learned.correction}.
{learned.promise[0].upper()}{learned.promise[1:]}.

| on these images, cross-validated | before | after |
|---|---|---|
{table}"""


def calibrate_model(
    bundle: Bundle,
    data: Path,
    out: Path,
    *,
    only: Path | None = None,
    view: View | None = None,
    axes: str | None = None,
    believe: bool = False,
    engine: Engine | str = "auto",
    watch: Watch = lambda total, outcome: None,
    tell: Tell = lambda line: None,
) -> Calibrated:
    """Calibrate a model on a data set, of which only the counts are taken, and write it as a new one.

    Images that show the same are found as for a split; together they weigh as much as one.

    Args:
        bundle: The model; an earlier calibration of it is replaced.
        data: Data set folder; images without a count are left out.
        out: Folder for the new model, or file that ends in .zip.
        only: What names the images to take; the others are left out. The split.csv of a training run stands for its
            calibration images or, where it has none, its test or its validation images, never for those that trained.
            Any other file has one image per line, as in counts.csv.
        view: How the images are shown; by default as the model's own view says. The new model keeps it.
        axes: What the axes of images mean that do not say so; see :func:`~elmgan.images.open_image`.
        believe: Calibrate even where some counts contradict the others.
        engine: What runs the network; see :class:`elmgan.Model`.
        watch: Called with the number of images and each image's outcome, in order.
        tell: Called with each note on the data set (see :func:`~elmgan.data.read_data_set`), with the number of flagged
            images where it is more than one in ten, and with counts that contradict the others but are believed.

    Raises:
        DataError: The data set has faults, or fewer than 10 images of different cells with a count, or, naming them,
            counts that contradict the others.
        ImageError: An image cannot be read to see whether it shows the same as others.
        OutputError: The new model cannot be written.
        UsageError: ``out`` is there already or has the name of a shipped model, the model cannot count, there is no
            such engine, or ``only`` cannot be read or names what is not there.
    """
    if out.name in shipped():
        raise UsageError(
            f"{out.name} is the name of a shipped model, and --model {out.name} would go on to mean that one: "
            "name another with -o"
        )
    if out.exists():
        raise UsageError(f"{out} is there already: name another with -o")
    if not bundle.card.counts:
        raise UsageError(f"{bundle.version} learned masks alone, and has no counts to calibrate: choose another model")
    view = view or bundle.card.view or View()
    records = read_data_set(data, view=view, axes=axes, tell=tell)
    if only is not None:
        records = chosen(records, only, sides=[("calibration",), ("test",), ("validation",)])
    done = calibrate(bundle, group_alike(records), source=data.resolve().name, engine=engine, watch=watch)
    if done.flagged:
        tell(f"{data}: {done.flagged}")
    for doubt in done.doubts:
        if not believe:
            raise DataError(f"{data}: {doubt}; correct counts.csv, or, if it is right, add --believe")
        tell(f"{data}: {doubt}; believed")
    if said := _told(bundle, done, view):
        tell(f"{data}: {said}")
    write_bundle(out, with_calibration(bundle, done, view))
    return done


def _told(bundle: Bundle, done: Calibrated, view: View) -> str:
    """Say at which scales images were counted, where these were found out."""
    return scales_told(done.scales, view, bundle.version, None if bundle.known is None else bundle.known.pixel_size)


def with_calibration(bundle: Bundle, done: Calibrated, view: View) -> Bundle:
    """Give a model with what was learned of images that were shown under a view, which it keeps."""
    scored = "\nThe scores above are from before this calibration.\n" if bundle.card.scores else ""
    said = _told(bundle, done, view)
    text = done.text + (f"\nImages were {said}.\n" if said else "")
    new = bundle.calibrated(done.calibration, text + scored, view)
    new = replace(new, card=new.card.model_copy(update={"scores": {}}))  # they were of the counts before
    return replace(new, known=known_with(bundle.known, done.places))


def calibrate(
    bundle: Bundle,
    records: Sequence[Record],
    *,
    source: str,
    engine: Engine | str = "auto",
    watch: Watch = lambda total, outcome: None,
) -> Calibrated:
    """Learn the calibration of a model from images with known counts, and check it.

    Args:
        bundle: The model; it must have learned counts.
        records: Images; those without a count are left out. Groups say which show the same cells.
        source: Where the images come from, for people.
        engine: What runs the network; see :class:`elmgan.Model`.
        watch: As of :func:`calibrate_model`.

    Raises:
        DataError: Fewer than 10 images of different cells have a count and could be read.
    """
    # Only the total is compared: masks and labels would cost time, and those of some images say nothing of the others.
    counted = [replace(record, mask=None, labels=None, dots=None) for record in records if record.count is not None]
    before = bundle.card.calibration
    network = Model(replace(bundle, card=bundle.card.model_copy(update={"calibration": None})), engine)
    if counted:
        first = counted[0]
        network = at_scales(network, [record.image for record in counted], first.view, axes=first.axes)
    scores: list[Score] = []
    places: list[ImagePlace] = []
    distances: list[float | None] = []
    failures: list[Failure] = []
    for _, outcome in outcomes(
        partial(count_and_score, network), counted, named=lambda record: (record.file_name, record.image)
    ):
        if isinstance(outcome, Failure):
            failures.append(outcome)
            watch(len(counted), outcome)
            continue
        result, score = outcome
        scores.append(score)
        places += [result.place] if result.place is not None else []
        distances.append(result.distance)
        watch(len(counted), score)
    estimates = [score.estimate or 0.0 for score in scores]
    totals = [score.truth or 0.0 for score in scores]
    groups = [score.group for score in scores]
    known = network.known
    # Once they have calibrated the model it knows them all: how far each is from the others is what tells.
    doubts = [known.doubt(distance) for distance in known.among(places)] if known and places else 0.0
    learned = calibration_of(estimates, totals, groups, data=source, doubts=doubts)
    corrected = [estimate * (before.gain if before else 1) for estimate in estimates]
    intervals = [
        before.interval(estimate, known.doubt(distance) if known else 0.0) if before else None
        for estimate, distance in zip(corrected, distances, strict=True)
    ]
    return Calibrated(
        calibration=learned,
        before=check(corrected, totals, intervals),
        after=cross_validate(estimates, totals, groups, interval=learned.quantile is not None, doubts=doubts),
        failures=failures,
        places=places,
        scales=network.usual,
        flagged=flagged(scores),
        doubts=contradicting([score.image for score in scores], estimates, totals),
    )


def known_with(known: KnownImages | None, places: Sequence[ImagePlace]) -> KnownImages | None:
    """Add the places of images to those that a model knows, so that it knows images of their kind."""
    if not places:
        return known
    return KnownImages.of(places) if known is None else known.with_calibrated(places)


def contradicting(images: Sequence[str], estimates: Sequence[float], totals: Sequence[float]) -> list[str]:
    """Say which counts contradict the others: a row of them beside the wrong images, or single ones.

    Args:
        images: Their names.
        estimates: Cells as the network counts them, one per image.
        totals: Cells annotated, one per image.
    """

    def facts(k: int) -> str:
        return f"{images[k]} (count {totals[k]:g}, model {estimates[k]:.1f})"

    for key in (_numbered, str):  # tables are sorted in one way or the other
        order = sorted(range(len(images)), key=lambda k: key(images[k]))
        found = slipped([estimates[k] for k in order], [totals[k] for k in order])
        if found is not None:
            start, rows = found
            which = "all images" if start == 0 else f"the images from {images[order[start]]} on"
            where = f"{abs(rows)} {'row' if abs(rows) == 1 else 'rows'} {'above' if rows < 0 else 'below'}"
            examples = ", ".join(facts(k) for k in order[start : start + 3])
            return [f"the counts of {which} fit the images {where} far better: {examples}"]
    odd = contradictions(estimates, totals)
    follows = correlation(estimates, totals)
    if not odd and follows is not None and follows < LEAST_CORRELATION:
        return [f"the counts do not follow what the model finds, with a rank correlation of {follows:.2f}"]
    more = f" and {len(odd) - MOST_DOUBTED} more" if len(odd) > MOST_DOUBTED else ""
    listed = ", ".join(facts(k) for k in odd[:MOST_DOUBTED]) + more
    return [f"the counts of {len(odd)} of {len(images)} images contradict the others: {listed}"] if odd else []


def _numbered(name: str) -> str:
    """Write a name so that its numbers sort as numbers."""
    return re.sub(r"\d+", lambda digits: digits[0].zfill(20), name.casefold())
