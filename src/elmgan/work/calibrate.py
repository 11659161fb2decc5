"""Calibrate a model on counted images: its network stays, its counts are corrected and get an interval."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from elmgan.counting import Failure, Model
from elmgan.data import Record, group_alike, read_data_set
from elmgan.engines import Engine
from elmgan.errors import UsageError
from elmgan.models import Bundle, shipped, write_bundle
from elmgan.scores import Score
from elmgan.trust import Calibration, cross_validate
from elmgan.trust.calibration import Check, calibration_of, check
from elmgan.work.score import score_image
from elmgan.work.selection import chosen

Watch = Callable[[int, Score | Failure], None]

CHECKED = {
    "mae": ("MAE", ".2f"),
    "bias": ("bias", "+.2f"),
    "coverage": ("coverage", ".3f"),
    "width": ("mean width", ".1f"),
}
"""What is checked -> its heading in tables, and its format."""


@dataclass(frozen=True)
class Calibrated:
    """A calibration, how good the counts are without and with it, and the images that could not be counted.

    Both checks are of the images that it was learned from; the one with it is cross-validated. What is without it has
    the model's earlier calibration, if it had one.
    """

    calibration: Calibration
    before: Check
    after: Check
    failures: list[Failure]

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
    engine: Engine | str = "auto",
    watch: Watch = lambda total, outcome: None,
) -> Calibrated:
    """Calibrate a model on a data set, of which only the counts are taken, and write it as a new one.

    Images that show the same are found as for a split; together they weigh as much as one.

    Args:
        bundle: The model; an earlier calibration of it is replaced.
        data: Data set folder; images without a count are left out.
        out: Folder for the new model, or file that ends in .zip.
        only: What names the images to take; the others are left out. The split.csv of a training run stands for its
            calibration images or, where it has none, its test or its validation images, never for those that trained.
            Any other file has one image per line, as in counts.csv or the stem alone.
        engine: What runs the network; see :class:`elmgan.Model`.
        watch: Called with the number of images and each image's outcome, in order; with a failure while its exception
            is handled.

    Raises:
        DataError: The data set has faults, or fewer than 10 images of different cells with a count.
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
    records = read_data_set(data)
    if only is not None:
        records = chosen(records, only, sides=[("calibration",), ("test",), ("validation",)])
    done = calibrate(bundle, group_alike(records), source=data.resolve().name, engine=engine, watch=watch)
    scored = "\nThe scores above are from before this calibration.\n" if bundle.card.scores else ""
    write_bundle(out, bundle.calibrated(done.calibration, done.text + scored))
    return done


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
    scores: list[Score] = []
    failures: list[Failure] = []
    for record in counted:
        try:
            scores.append(score_image(network, record))
        except Exception as error:  # whatever is wrong with one image, the others calibrate
            failures.append(Failure.of(record.file_name, error, record.image))
            watch(len(counted), failures[-1])
            continue
        watch(len(counted), scores[-1])
    estimates = [score.estimate or 0.0 for score in scores]
    totals = [score.truth or 0.0 for score in scores]
    groups = [score.group for score in scores]
    learned = calibration_of(estimates, totals, groups, data=source)
    corrected = [estimate * (before.gain if before else 1) for estimate in estimates]
    intervals = [before.interval(estimate) if before else None for estimate in corrected]
    return Calibrated(
        calibration=learned,
        before=check(corrected, totals, intervals),
        after=cross_validate(estimates, totals, groups, interval=learned.quantile is not None),
        failures=failures,
    )
