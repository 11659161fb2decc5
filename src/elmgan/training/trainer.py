"""A training run: set up, fit, validate, keep the best, and end in a bundle that counts."""

import csv
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from elmgan.data import (
    Example,
    Record,
    Sides,
    divide,
    group_alike,
    load_example,
    read_data_set,
    read_sources,
    reduce_labels,
)
from elmgan.data.synthetic import draw, random_scene
from elmgan.errors import DataError, TrainingError, UsageError
from elmgan.evaluation import count_scores, dice
from elmgan.imaging import Normalisation, to_grey, whole_file
from elmgan.inference import Predictor
from elmgan.models import Bundle, TrainingData
from elmgan.nn import Generator, TorchEngine
from elmgan.training.bundling import Origin, bundle_run, shown
from elmgan.training.config import TrainingConfig, dump_config
from elmgan.training.curves import Curves, draw_samples
from elmgan.training.export import load_weights
from elmgan.training.step import GanStep, collate
from elmgan.training.windows import Window, draw_window

CONFIG, BEST, LAST = "config.yaml", "best.pt", "last.pt"


@dataclass(frozen=True)
class Material:
    """What a run learns from and is judged by, in memory."""

    train: list[Example]
    synthetic: list[Example]
    validation: list[Example]


def train(
    data: Path,
    run: Path,
    config: TrainingConfig,
    *,
    start: Bundle | None = None,
    resume: bool = False,
    device: str = "auto",
    console: Console | None = None,
    on_epoch: Callable[[dict[str, float]], None] = lambda row: None,
) -> Path:
    """Train a generator on a data set folder and leave everything about it in a run's folder.

    ``run`` gets config.yaml, split.csv (which image trained, which validated), curves.csv and tensorboard/, samples/,
    last.pt and best.pt (states after the last and the best epoch) and model/, the bundle of the best epoch. Ctrl-C ends
    training early, with the bundle of the best epoch so far.

    Args:
        data: The data set folder.
        run: A folder that does not hold a run yet, or with ``resume`` the one to go on with.
        config: What to train and how; with ``resume`` it must be the run's.
        start: A model to start from, of the configuration's architecture and normalisation; see :func:`starting_from`.
        resume: Continue after the last whole epoch, as if training had never stopped.
        device: ``auto``, ``cpu`` or ``cuda``.
        console: Where progress is shown; nowhere by default.
        on_epoch: Called with each epoch's row of the curves.

    Returns:
        The bundle's folder.

    Raises:
        DataError: When the data set has faults or cannot be split.
        ImageError: When an image cannot be read.
        OutputError: When ``run`` cannot be written.
        TrainingError: When a loss is not finite; the last good epoch is kept.
        UsageError: When ``run`` holds a run already, or with ``resume`` another one or none.
    """
    console = console or Console(quiet=True)
    check_folder(run, config, resume=resume)
    watch = partial(shown, what="comparing images", console=console)
    records = group_alike(read_data_set(data), watch=watch)
    rng = np.random.default_rng(config.seed)
    sides = divide(records, config.data.validation, rng=rng)
    sources = read_sources(data, len(sides.train) + len(sides.validation))
    if config.data.synthetic:
        sources.append(TrainingData(name="synthetic cells", licence="made here", images=config.data.synthetic))
    sources += [] if start is None else start.card.data
    check_known(sides.train)
    material = Material(
        train=load(sides.train, config.normalisation, "training images", console),
        synthetic=draw_synthetic(config, rng, console),
        validation=load(sides.validation, config.normalisation, "validation images", console),
    )
    fitted = fit_size(config, material)
    write_text(run / CONFIG, dump_config(config))
    write_split(run / "split.csv", sides)
    torch.manual_seed(config.seed)
    trainer = Trainer(run, fitted, material, torch.device(choose_device(device)), console, on_epoch)
    if resume and (run / LAST).exists():
        trainer.restore(torch.load(run / LAST, map_location=trainer.device, weights_only=True))
    elif start is not None:
        load_weights(trainer.step.generator, start.onnx)
    trainer.fit()
    bundle_run(run / "model", fitted, trainer.best(), Origin(sources, len(sides.train), sides.validation), console)
    return run / "model"


def starting_from(start: Bundle, config: TrainingConfig) -> TrainingConfig:
    """Give a configuration the architecture and the normalisation of the model that training starts from."""
    card = start.card
    kept = {"architecture": card.architecture, "normalisation": card.normalisation, "start": start.version}
    return TrainingConfig.model_validate(config.model_dump() | kept)


def check_folder(run: Path, config: TrainingConfig, *, resume: bool) -> None:
    """Check that a folder can take a new run, or with ``resume`` that it holds this one."""
    path = run / CONFIG
    if not resume and path.exists():
        raise UsageError(f"{run} holds a run already; give another folder, or --resume to go on with it")
    if resume and not path.exists():
        raise UsageError(f"{run} holds no run to resume; leave --resume out to begin one")
    if resume and config.start and not (run / LAST).exists():
        raise UsageError(f"{run} has no finished epoch to go on from: begin again with --from in another folder")
    if resume and path.read_text(encoding="utf-8") != dump_config(config):
        raise UsageError(f"{run} was begun with another configuration: take the one in {path}")


def write_text(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def check_known(records: list[Record]) -> None:
    """Refuse what this trainer cannot learn from yet: masks alone, or counts alone."""
    masked = [record for record in records if record.mask or record.labels]
    counted = [record for record in records if record.count is not None]
    if not masked or not counted:
        raise DataError(
            f"of {len(records)} images to train on {len(masked)} have a mask and {len(counted)} a count: "
            "training needs some of both so far, on the same images or on different ones"
        )


def write_split(path: Path, sides: Sides) -> None:
    """Write which image is on which side."""
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["image", "group", "kind", "side"])
        for side, records in (("train", sides.train), ("validation", sides.validation), ("test", sides.test)):
            table.writerows([record.name, record.group, record.kind, side] for record in records)


def load(records: list[Record], normalisation: Normalisation, what: str, console: Console) -> list[Example]:
    """Read examples into memory."""
    return [load_example(record, normalisation) for record in shown(records, f"reading {what}", console)]


def draw_synthetic(config: TrainingConfig, rng: np.random.Generator, console: Console) -> list[Example]:
    """Draw the synthetic images that the configuration asks for."""
    examples = []
    side = config.data.tile or 512
    for k in shown(range(config.data.synthetic), "drawing synthetic images", console):
        drawn = draw(random_scene((side, side), rng=rng), rng=rng)
        labels = drawn.labels.astype(np.uint16)
        image = config.normalisation(to_grey(drawn.image))
        examples.append(Example(f"synthetic_{k}", "synthetic", image, labels, reduce_labels(labels), drawn.count))
    return examples


def fit_size(config: TrainingConfig, material: Material) -> TrainingConfig:
    """Give the pooled count head the one image size that it is made for: that of the data."""
    architecture = config.architecture
    if architecture.count_head == "map":
        return config
    everything = material.train + material.validation + material.synthetic
    sizes = {padded_size(example.image.shape, architecture.multiple) for example in everything}
    if len(sizes) > 1:
        raise DataError(
            f"images of {len(sizes)} sizes, and the pooled count head takes one only: "
            "give images of one size, or set architecture.count_head=map"
        )
    return config.model_copy(update={"architecture": architecture.model_copy(update={"size": sizes.pop()})})


def padded_size(shape: tuple[int, ...], multiple: int) -> tuple[int, int]:
    """Round both sides up to a multiple."""
    return -(-shape[0] // multiple) * multiple, -(-shape[1] // multiple) * multiple


def choose_device(device: str) -> str:
    """Give ``cuda`` or ``cpu`` for ``auto``."""
    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


class Trainer:
    """The loop over epochs, its checkpoints and its curves."""

    def __init__(
        self,
        run: Path,
        config: TrainingConfig,
        material: Material,
        device: torch.device,
        console: Console,
        on_epoch: Callable[[dict[str, float]], None],
    ) -> None:
        self.run = run
        self.config = config
        self.material = material
        self.device = device
        self.console = console
        self.on_epoch = on_epoch
        o = config.optimisation
        self.steps = o.steps or -(-len(material.train) // o.batch)
        self.step = GanStep(config, self.steps * o.epochs, device)
        self.epoch = 0
        self.best_score = -np.inf

    def fit(self) -> None:
        """Train the epochs that are left; stop early on Ctrl-C."""
        curves = Curves(self.run, self.epoch)
        columns = (
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=20),
            TimeRemainingColumn(),
            TextColumn("{task.fields[terms]}"),
        )
        last = self.config.optimisation.epochs
        try:
            with Progress(*columns, console=self.console, disable=not self.console.is_terminal) as progress:
                task = progress.add_task(
                    "",
                    total=last * self.steps,
                    completed=self.epoch * self.steps,
                    epoch=f"{self.epoch}/{last}",
                    terms="",
                )

                def show(terms: dict[str, float]) -> None:
                    text = "  ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in terms.items())
                    progress.update(task, advance=1, epoch=f"{self.epoch + 1}/{last}", terms=text)

                while self.epoch < last:
                    row = self.one_epoch(show)
                    curves.add(row)
                    self.on_epoch(row)
                    self.console.print(describe(row, last), soft_wrap=True)
        except KeyboardInterrupt:
            self.console.print(f"stopped in epoch {self.epoch + 1}; --resume continues after epoch {self.epoch}")
            if self.epoch == 0:
                self.save(BEST)
        except TrainingError as error:
            kept = f"epoch {self.epoch} is kept in {self.run}" if self.epoch else "no epoch was finished"
            raise TrainingError(f"epoch {self.epoch + 1}: {error}; {kept}") from error
        finally:
            curves.close()

    def one_epoch(self, show: Callable[[dict[str, float]], None]) -> dict[str, float]:
        """Train one epoch, validate, save; give its row of the curves."""
        started = time.perf_counter()
        # Seeded by the epoch, so that a resumed run draws what the uninterrupted one would have drawn.
        rng = np.random.default_rng([self.config.seed, self.epoch])
        torch.manual_seed(self.config.seed + self.epoch)
        d = self.config.discriminator
        adversarial = d is not None and self.epoch >= d.start * self.config.optimisation.epochs
        sums: dict[str, float] = defaultdict(float)
        learning_rate = self.step.generator_optimiser.param_groups[0]["lr"]
        for windows in self.batches(rng):
            terms = self.step(collate(windows, self.device), adversarial=adversarial)
            for name, value in terms.items():
                sums[name] += value / self.steps
            show(terms)
        trained = time.perf_counter() - started
        scores = self.validate()
        self.epoch += 1
        if not scores["score"] <= self.best_score:  # so that the first epoch is kept even if its score is NaN
            self.best_score = scores["score"]
            self.save(BEST)
        self.save(LAST)
        images = self.steps * self.config.optimisation.batch / trained
        return {"epoch": self.epoch, "images_per_second": images, "learning_rate": learning_rate, **sums, **scores}

    def batches(self, rng: np.random.Generator) -> Iterator[list[Window]]:
        """Draw an epoch's batches: each example once, or with ``steps`` given larger images more often."""
        o, data = self.config.optimisation, self.config.data
        examples = self.material.train
        if o.steps is None:
            order = rng.permutation(len(examples))
        else:
            tiles = np.array([example.image.size / data.tile**2 if data.tile else 1.0 for example in examples])
            chance = np.sqrt(np.maximum(1, tiles))
            order = rng.choice(len(examples), o.steps * o.batch, p=chance / chance.sum())
        for first in range(0, len(order), o.batch):
            windows = []
            for k in order[first : first + o.batch]:
                example = examples[k]
                if self.material.synthetic and rng.random() < data.synthetic_share:
                    example = self.material.synthetic[rng.integers(len(self.material.synthetic))]
                multiple = max(self.config.architecture.multiple, 16)
                windows.append(draw_window(example, data, self.config.augmentation, multiple=multiple, rng=rng))
            yield windows

    def validate(self) -> dict[str, float]:
        """Score the generator on the validation images, seen whole; draw samples when it is their turn."""
        predict = Predictor(self.config.architecture, TorchEngine(self.step.best_generator))
        examples = self.material.validation
        sampled = [examples[k] for k in np.linspace(0, len(examples) - 1, min(6, len(examples))).astype(int)]
        pictures: dict[str, tuple[NDArray[np.float32], NDArray[np.float32]]] = {}
        counts, totals, overlaps = [], [], []
        for example in examples:
            with self.step.autocast():
                probability, count_map = predict(example.image)
            if example.total is not None:
                counts.append(float(count_map.sum()))
                totals.append(example.total)
            if example.mask is not None:
                overlaps.append(dice(probability >= 0.5, example.mask))
            if any(example is chosen for chosen in sampled):
                pictures[example.name] = probability, count_map
        if self.epoch % self.config.samples_every == 0 or self.epoch + 1 == self.config.optimisation.epochs:
            probabilities, count_maps = zip(*(pictures[example.name] for example in sampled), strict=True)
            path = self.run / "samples" / f"epoch_{self.epoch + 1:04d}.png"
            draw_samples(path, sampled, list(probabilities), list(count_maps))
        # One number to choose the best epoch by: mask and count weigh alike when both are a few per cent off.
        scores = {"score": 0.0}
        if totals:
            scores |= {f"validation_{name}": value for name, value in count_scores(counts, totals).items()}
            scores["score"] -= scores["validation_mae"] / max(1.0, float(np.mean(totals)))
        if overlaps:
            scores["validation_dice"] = float(np.mean(overlaps))
            scores["score"] += scores["validation_dice"]
        return scores

    def save(self, name: str) -> None:
        """Write the whole state to a checkpoint."""
        state = {"epoch": self.epoch, "best_score": float(self.best_score), "step": self.step.state()}
        with whole_file(self.run / name) as path:
            torch.save(state, path)

    def restore(self, state: dict[str, object]) -> None:
        """Go on from a checkpoint."""
        self.epoch = int(state["epoch"])  # type: ignore[call-overload]
        self.best_score = float(state["best_score"])  # type: ignore[arg-type]
        self.step.restore(state["step"])  # type: ignore[arg-type]

    def best(self) -> Generator:
        """Give the generator of the best epoch."""
        self.restore(torch.load(self.run / BEST, map_location=self.device, weights_only=True))
        return self.step.best_generator


def describe(row: dict[str, float], last: int) -> str:
    """Say an epoch in one line."""
    formats = {"validation_mae": "MAE {:.2f}", "validation_bias": "bias {:+.2f}", "validation_dice": "Dice {:.4f}"}
    scores = ", ".join(text.format(row[name]) for name, text in formats.items() if name in row)
    return (
        f"epoch {row['epoch']:.0f}/{last}  mask {row['mask']:.3f}  count {row['count']:.3f}  "
        f"validation: {scores}  {row['images_per_second']:.1f} images/s"
    )
