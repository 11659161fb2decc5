"""Evaluate a model on a data set: metrics.json, a table of images and a report in one folder."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

from elmgan.counting import Failure, Model
from elmgan.data import Record, Tell, read_data_set
from elmgan.errors import DataError, ElmganError, UsageError
from elmgan.files import write_table, write_text
from elmgan.holding import held
from elmgan.images import View
from elmgan.report import run_record
from elmgan.report.evaluation import Case, evaluation_report, worst
from elmgan.scores import Baseline, Metrics, Score
from elmgan.scores.metrics import metrics_of
from elmgan.scores.summary import MASK_SCORES, OBJECT_SCORES
from elmgan.work.pipeline import outcomes
from elmgan.work.score import flagged, of_another_size, score_image
from elmgan.work.selection import chosen
from elmgan.work.views import at_scales, scales_told, uncalibrated

METRICS, SCORE_TABLE, SCORE_REPORT = "metrics.json", "images.csv", "report.html"
FOUND = ("estimate", *MASK_SCORES, *OBJECT_SCORES)
SCORE_COLUMNS = (
    *("image", "kind", "group", "flags", "unlike", "scale", "diameter", "true", "low", "high"),
    *FOUND,
    *(f"baseline_{name}" for name in FOUND),
)


@dataclass(frozen=True)
class Evaluated:
    """What an evaluation gave, and the files it wrote."""

    metrics: Metrics
    written: list[Path]


def evaluate_model(
    data: Path,
    out: Path,
    model: Model,
    *,
    seed: int,
    only: Path | None = None,
    view: View | None = None,
    axes: str | None = None,
    command: str | None = None,
    watch: Callable[[int, Score | Failure], None] = lambda total, outcome: None,
    tell: Tell = lambda line: None,
) -> Evaluated:
    """Score a model, and the baseline beside it, on a data set; write metrics.json, images.csv and report.html.

    A model that learned masks or counts alone is scored for those; the baseline for all that the data know. An image
    that cannot be scored does not keep the others from it; it is named in metrics.json. The files of an earlier
    evaluation in ``out`` are replaced.

    Args:
        data: Data set folder.
        out: Folder to write to; made if it is missing.
        model: What is evaluated.
        seed: Of the bootstrap intervals.
        only: What names the images to score; the others are left out. The split.csv of a training run stands for its
            test images or, where it has none, its validation and calibration images. Any other file has one image per
            line, as in counts.csv.
        view: How the images are shown; by default as the model's own view says.
        axes: What the axes of images mean that do not say so; see :func:`~elmgan.images.open_image`.
        command: The command line, if there is one, for the metrics and the report.
        watch: Called with the number of images and each image's outcome, in order.
        tell: Called with each note on the data set (see :func:`~elmgan.data.read_data_set`), and with the number of
            flagged images where it is more than one in ten.

    Raises:
        DataError: The data set has faults, or nothing of what the model learned.
        UsageError: ``only`` cannot be read or names what is not there, or ``out`` cannot be written to.
        OutputError: A file cannot be written.
    """
    begun = time.monotonic()
    with held(out) as taken_over:
        if taken_over:
            tell(taken_over)
        view = view or model.view
        records = read_data_set(data, view=view, axes=axes, tell=tell)
        if only is not None:
            records = chosen(records, only, sides=[("test",), ("validation", "calibration")])
        _check_overlap(data, records, model)
        model = at_scales(model, [record.image for record in records], view, axes=axes)
        notes = [scales_told(model.usual, view, model.version, model.pixel_size), uncalibrated(model, view)]
        _begin(out)
        options = {"data": str(data), "only": None if only is None else str(only), "axes": axes, "seed": seed}
        run = run_record(model, options, command)
        run |= {"view": view.model_dump(mode="json"), "scales": list(model.usual)}
        baseline = Baseline()
        scores: list[Score] = []
        others: list[Score] = []
        failures: list[Failure] = []

        def both(record: Record) -> tuple[Score, Score]:
            return score_image(model, record), score_image(baseline, record)

        for _, outcome in outcomes(both, records, named=lambda record: (record.file_name, record.image)):
            if isinstance(outcome, Failure):
                failures.append(outcome)
            else:
                scores.append(outcome[0])
                others.append(outcome[1])
            watch(len(records), outcome if isinstance(outcome, Failure) else outcome[0])
        run["seconds"] = round(time.monotonic() - begun, 3)
        notes += [flagged(scores), of_another_size(scores, model)]
        run["notes"] = [note for note in notes if note]
        for note in run["notes"]:
            tell(f"{data}: {note}")
        metrics = metrics_of(scores, others, failures, seed=seed, run=run)
        write_text(out / METRICS, metrics.model_dump_json(indent=2) + "\n")
        write_table(out / SCORE_TABLE, SCORE_COLUMNS, [_row(*pair) for pair in zip(scores, others, strict=True)])
        write_text(out / SCORE_REPORT, evaluation_report(metrics, scores, others, _cases(model, records, scores)))
        return Evaluated(metrics, [out / name for name in (METRICS, SCORE_TABLE, SCORE_REPORT)])


def _check_overlap(data: Path, records: Sequence[Record], model: Model) -> None:
    """Refuse images that say nothing of what the model learned."""
    known = {
        "mask": any(record.mask or record.labels for record in records),
        "count": any(record.count is not None for record in records),
    }
    if not any(known[what] for what in model.card.learned):
        what = f"{model.card.learned[0]}s"
        raise DataError(
            f"{data} has no {what}, and {model.version} learned {what} alone: add {what}, or evaluate another model"
        )


def _begin(out: Path) -> None:
    """Make the folder, prove that it can be written to, and clear what would be wrong if this were interrupted."""
    present = [name for name in (METRICS, SCORE_TABLE, SCORE_REPORT) if (out / name).exists()]
    try:
        if present:
            Metrics.model_validate_json((out / METRICS).read_bytes())
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{out} holds {present[0]} of something else than an evaluation; choose another folder with -o"
        ) from error
    try:
        out.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=out):
            pass
        for name in reversed(present):  # metrics.json last: it tells that the others are of an evaluation
            (out / name).unlink()
    except OSError as error:
        raise UsageError(f"nothing can be written to {out}: {error.strerror}; choose another folder with -o") from error


def _row(score: Score, other: Score) -> Mapping[str, str]:
    """An image's row of images.csv; numbers have 6 significant digits, what is not known is empty."""
    values = {"scale": score.scale, "diameter": score.diameter}
    values |= {"true": score.truth, "low": score.low, "high": score.high}
    values |= {name: getattr(score, name) for name in FOUND}
    values |= {f"baseline_{name}": getattr(other, name) for name in FOUND}
    texts = {name: "" if value is None else f"{value:.6g}" for name, value in values.items()}
    named = {"image": score.image, "kind": score.kind, "group": score.group, "flags": ";".join(score.flags)}
    named["unlike"] = score.unlike
    return named | texts


def _cases(model: Model, records: Sequence[Record], scores: Sequence[Score]) -> list[Case]:
    """Draw the worst images; they are counted again, since the masks of all would not fit into memory."""
    named = {record.file_name: record for record in records}
    cases = []
    for score in worst(scores):
        with suppress(ElmganError):  # the image is no longer there: the report goes without it
            cases.append(Case.of(model, named[score.image], score))
    return cases
