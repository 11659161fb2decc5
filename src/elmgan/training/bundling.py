"""The end of a run: the best generator becomes a bundle, scored through the path that counts a user's images."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import numpy as np
from rich.console import Console
from rich.progress import track

from elmgan import __version__
from elmgan.counting import Model
from elmgan.counting.clumps import clumped_share
from elmgan.data import Record, Sides, read_seen, read_truth
from elmgan.engines.libraries import has_int8
from elmgan.errors import DataError, ImageError
from elmgan.light import Appearance, Normalisation, Ranges, appearance_of, ranges_of
from elmgan.models import FORMAT, Bundle, Learned, ModelCard, TrainingData, shortcoming, write_bundle
from elmgan.nn.generator import Generator
from elmgan.scores import SCORES, Score, summarise
from elmgan.training.config import LAST_EPOCH, Optimisation, TrainingConfig
from elmgan.training.export import rounded, to_onnx
from elmgan.training.quantisation import in_half, quantisable, quantised, tiles_to_see
from elmgan.trust import KnownImages
from elmgan.work import Calibrated, calibrate, score_image
from elmgan.work.calibrate import known_with

MEANINGS = {
    "mae": "MAE, RMSE and bias are in cells.",
    "dice": "Dice compares the masks.",
    "coverage": "Coverage is the share of counts inside their 90 % interval.",
    "ap50": "AP50 compares the separated cells at an IoU above 0.5.",
}
"""A score of the table -> what the model card says of it and its like."""

SIZES_ALIKE = 1.5
"""Factor by which the pixel sizes of images may differ that are called those of one model."""

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Origin:
    """Where a run's weights come from.

    Attributes:
        data: Name of the data set, for people.
        sources: What model.json says of the data.
        sides: The data set as it was parted.
        learned: Which of masks and counts the data taught.
        epochs: Epochs that were trained.
        best: The one whose weights they are; 0 when not even the first was finished.
    """

    data: str
    sources: list[TrainingData]
    sides: Sides
    learned: Learned
    epochs: int
    best: int

    def epoch(self, options: Optimisation) -> str:
        """Say which epoch the weights are of, and why."""
        if not self.best:
            return "Training was stopped in its first epoch: the weights have hardly learned anything."
        stopped = f", {options.epochs} were planned" if self.epochs < options.epochs else ""
        why = "it is the last" if options.choose_by == LAST_EPOCH else "the validation images chose it"
        return f"The weights are those of epoch {self.best} of {self.epochs}{stopped}; {why}."


def ranges_in(records: Iterable[Record], normalisation: Normalisation) -> Ranges:
    """Measure images that trained, with their true masks and totals, for the flags of what is counted later."""

    def measure(record: Record) -> Appearance:
        seen = read_seen(record, normalisation)
        regions, _, total = read_truth(record, seen.grey.shape)
        mask = None if regions is None else regions > 0
        if mask is not None and seen.data is not None:
            mask &= seen.data
        return appearance_of(seen.grey, seen.stretch, mask, total, scale=record.view.factor, data=seen.data)

    return ranges_of(measure(record) for record in records)


def known_of(model: Model, records: Iterable[Record]) -> KnownImages | None:
    """Measure images for their places as a model sees them; None for one that does not give both mask and counts."""
    if not (model.card.segments and model.card.counts and model.card.architecture.maps):
        return None
    places, sizes = [], []
    for record in records:
        with record.opened() as plane:
            places.append(model.place(plane))
            sizes.append(None if plane.pixel_side is None else plane.pixel_side / record.view.factor)
    return KnownImages.of(places, pixel_size=common_size(sizes))


def clumps_in(model: Model, records: Iterable[Record]) -> Ranges:
    """Measure how cells clump in images whose count is known, by a model's own masks and count maps."""
    card, found = model.card, list[Appearance]()
    if not (card.segments and card.counts and card.architecture.maps):
        return {}
    for record in records:
        if record.count is None:
            continue
        with record.opened() as plane, suppress(ImageError):  # of a merge of stains, which is not counted either
            result = model.count(plane, scale=record.view.factor, quick=True)
            if result.mask is not None and result.count_map is not None:
                found.append({"clumped": clumped_share(result.mask, result.count_map)})
    return ranges_of(found)


def common_size(sizes: Sequence[float | None]) -> float | None:
    """Give the median of pixel sizes, where most images tell theirs and these hardly differ; None elsewhere.

    >>> common_size([0.65, None, 0.65, 0.6]), common_size([0.65, 0.2]), common_size([0.65, None, None])
    (0.65, None, None)
    """
    known = sorted(size for size in sizes if size is not None)
    if 2 * len(known) <= len(sizes) or known[-1] > SIZES_ALIKE * known[0]:
        return None
    return float(f"{np.median(known):.4g}")


def bundle_run(path: Path, config: TrainingConfig, generator: Generator, origin: Origin, console: Console) -> None:
    """Export a generator, calibrate it, score it on the images that did not train and write the bundle to ``path``."""
    card = ModelCard(
        format=FORMAT,
        name=config.name,
        description=config.description,
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        elmgan=__version__,
        architecture=config.architecture,
        learned=origin.learned,
        normalisation=config.normalisation,
        data=origin.sources,
        training=ranges_in(
            with_progress(origin.sides.train, "measuring the training images", console), config.normalisation
        ),
        view=config.view,
        seed=config.seed,
        scores={},
        hashes={},
    )
    bundle = Bundle(card, to_onnx(rounded(generator)), "")
    if not has_int8():
        console.print("no network in eight bits: this processor adds them up with overflow, and could not check it")
    elif quantisable(config.architecture):
        rng = np.random.default_rng(config.seed)
        tiles = tiles_to_see(origin.sides.train, config.normalisation, rng=rng)
        bundle = replace(bundle, int8=quantised(bundle.onnx, tiles))
    bundle = replace(bundle, onnx=in_half(bundle.onnx))
    seen = with_progress(origin.sides.train, "measuring what it knows", console)
    bundle = replace(bundle, known=known_of(Model(bundle), seen))
    seen = with_progress(origin.sides.train, "measuring how cells clump", console)
    card = card.model_copy(update={"training": card.training | clumps_in(Model(bundle), seen)})
    bundle = replace(bundle, card=card)
    done = calibrate_run(bundle, origin, console)
    if done:
        card = card.model_copy(update={"calibration": done.calibration})
    model = Model(replace(bundle, card=card, known=known_with(bundle.known, done.places if done else [])))
    held_out = [*origin.sides.validation, *origin.sides.calibration]
    scores: list[Score] = []
    for record in with_progress(held_out, "scoring the bundle", console):
        try:
            scores.append(score_image(model, record))
        except ImageError as error:  # such as of a merge of stains; the model is not lost for it
            console.print(f"{error}; it is not scored")
    card = card.model_copy(update={"scores": summarise(scores)})
    bundle = replace(bundle, card=card, readme=readme(card, config, origin))
    if done:
        bundle = replace(bundle.calibrated(done.calibration, done.text), known=known_with(bundle.known, done.places))
    write_bundle(path, bundle)


def calibrate_run(bundle: Bundle, origin: Origin, console: Console) -> Calibrated | None:
    """Calibrate a run's model on the images kept for that; None where there are none, or too few, which is told."""
    if not bundle.card.counts or not origin.sides.calibration:
        return None
    try:
        done = calibrate(bundle, origin.sides.calibration, source=origin.data)
    except DataError as error:
        console.print(f"no interval: {error}")
        return None
    for failure in done.failures:
        console.print(f"{failure.image}: {failure.error}; it did not calibrate")
    return done


def with_progress(things: Sequence[Thing], what: str, console: Console) -> Iterable[Thing]:
    """Go through things with a progress bar where the console is a terminal."""
    return track(things, what, console=console, transient=True, disable=not console.is_terminal)


def readme(card: ModelCard, config: TrainingConfig, origin: Origin) -> str:
    """Write the model card for people, in Markdown."""
    a, o, sides = card.architecture, config.optimisation, origin.sides
    steps = "Each image once an epoch" if o.steps is None else f"{o.steps} steps an epoch"
    judge = config.discriminator if card.segments else None
    adversarial = (
        "no adversarial part" if judge is None else f"adversarial part from {judge.start:.0%} of {o.epochs} epochs on"
    )
    sources = "".join(f"| {source.name} | {source.images} | {source.licence} |\n" for source in card.data)
    about = card.description or f"A model of cells, trained on {' and '.join(f'{what}s' for what in card.learned)}."
    if lacks := shortcoming(card.learned):
        about += f"\n\n{lacks.capitalize()}."
    start = f"\nTraining started from `{config.start}`." if config.start else ""
    calibrating = f" and {len(sides.calibration)} calibration" if sides.calibration else ""
    squares = f" and of squares of {config.data.squares} pixels within them" if config.data.squares else ""
    meanings = [text for name, text in MEANINGS.items() if any(name in row for row in card.scores.values())]
    return f"""# {card.name}

{about}

{score_table(card.scores)}
Scores are of {len(sides.validation)} validation{calibrating} images, which trained nothing. {origin.epoch(o)}
{" ".join(meanings)}

## Training

| data | images | licence |
|---|---|---|
{sources}
{len(sides.train)} images of these sets trained, {len(sides.validation)} validated, {len(sides.calibration)} \
calibrated. {steps}, {o.batch} windows a step,
{adversarial}; seed {card.seed}.{start}
Instance labels, where the data had them, were reduced to masks and to totals of windows{squares}.

## Network

Generator LFMMG, width {a.width}, depth {a.depth}, {a.norm} norm, {a.upsampling} upsampling, {a.count_head} count head.
Input: one channel, normalised by the whole image: {card.normalisation}.

Made on {card.created[:10]} with elmgan {card.elmgan}.
"""


def score_table(scores: dict[str, dict[str, float]]) -> str:
    """Write scores as a Markdown table, a row per set of images."""
    columns = [name for name in SCORES if any(name in row for row in scores.values())]
    lines = [
        "| images of | " + " | ".join(SCORES[name].heading for name in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for kind, row in scores.items():
        cells = [f"{row[name]:{SCORES[name].format}}" if name in row else "" for name in columns]
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"
