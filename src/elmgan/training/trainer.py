"""A training run: set up, fit, validate, keep the best, and end in a bundle that counts."""

import csv
import io
import math
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from functools import partial
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from pydantic import ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from elmgan.counting import Predictor
from elmgan.data import SIDES, Sides, divide, group_alike, read_data_set, read_sources
from elmgan.errors import ConfigError, TrainingError, UsageError
from elmgan.files import whole_file, write_text
from elmgan.holding import held
from elmgan.launch import launch
from elmgan.models import Architecture, Bundle, ModelCard, TrainingData, shortcoming
from elmgan.nn.engine import TorchEngine
from elmgan.nn.generator import Generator
from elmgan.training.bundling import Origin, bundle_run, with_progress
from elmgan.training.config import LAST_EPOCH, TrainingConfig, describe_fault, dump_config, read_config
from elmgan.training.curves import Curves, draw_samples
from elmgan.training.feed import Feed, Render
from elmgan.training.mapped import ImageShelf
from elmgan.training.material import Material, at_usual_scale, fitted_to, gather
from elmgan.training.memory import free_memory, freed_memory_kept
from elmgan.training.processes import joined, share, summed, told
from elmgan.training.renderers import Renderers, workers_for
from elmgan.training.step import GENERATOR_TERMS, GanStep, collate
from elmgan.training.validation import Validation
from elmgan.trust import FEWEST

ENOUGH = 3
"""Times the images that an interval takes: of so many some can be spared from training."""

CONFIG, SPLIT, STARTED_FROM, BEST, LAST = "config.yaml", "split.csv", "start.json", "best.pt", "last.pt"


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

    ``run`` gets config.yaml, split.csv (which image trained, validated, calibrated), curves.csv and tensorboard/,
    samples/, last.pt and best.pt (states after the last and the best epoch) and model/, the bundle of the best epoch.
    Ctrl-C ends training early, with the bundle of the best epoch so far.

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
    with ExitStack() as stack:
        stack.enter_context(freed_memory_kept())
        stack.enter_context(joined(processor := choose_device(device)))
        taken_over = stack.enter_context(held(run)) if launch().first else ""
        console = console if console and launch().first else Console(quiet=True)
        if launch().first:
            check_folder(run, config, resume=resume)
        if taken_over:
            console.print(taken_over)
        watch = partial(with_progress, what="comparing images", console=console)
        records = group_alike(read_data_set(data, view=config.view, axes=config.axes, tell=console.out), watch=watch)
        if start is not None:
            config = at_usual_scale(config, start, records, console)
            records = [replace(record, view=config.view) for record in records]
        rng = np.random.default_rng(config.seed)
        sides = divide(records, config.data.validation, calibration=config.data.calibration, rng=rng)
        if launch().first and resume:
            check_split(run / SPLIT, sides)
        before = start_of(run, config) if resume else None if start is None else start.card
        workers = workers_for(config, processor)
        shelf = stack.enter_context(closing(ImageShelf(0 if workers else room_for(config))))
        material = gather(sides, config, before.learned if before else (), shelf, rng=rng, console=console)
        lacking = shortage(sides, config.data.calibration) if "count" in material.learned else ""
        sized = material.of_another_size(before, config.view) if before else ""
        for said in (shortcoming(material.learned), material.unvalidated(), lacking, sized):
            if said:
                console.print(said)
        fitted = fitted_to(config, material)
        if (steady := fitted.optimisation.fix_norm) > config.optimisation.fix_norm:
            console.print(f"counts alone: batch norms are fixed after {steady:.0%} of the steps, not before")
        torch.manual_seed(config.seed)
        renderers = stack.enter_context(Renderers(workers, fitted, shelf)) if workers else None
        shelf.close()  # whoever needs the file has it mapped
        trainer = Trainer(run, fitted, material, processor, console, on_epoch, render=renderers)
        if launch().first:
            write_text(run / CONFIG, dump_config(config))
            write_text(run / SPLIT, split_table(sides))
            if before is not None:
                write_text(run / STARTED_FROM, before.model_dump_json(indent=2))
        parts = ((sides.train, "train"), (sides.validation, "validate"), (sides.calibration, "calibrate"))
        numbers = ", ".join(f"{len(side)} {what}" for side, what in parts if side)
        console.print(f"of the images {numbers}; an epoch has {trainer.feed.steps} steps, and a line when it is done")
        if resume and (run / LAST).exists():
            trainer.restore(torch.load(run / LAST, map_location=processor, weights_only=True))
        elif start is not None:
            trainer.step.start_from(start.onnx)
        trainer.fit()
        if renderers:
            renderers.close()
        if launch().first:
            used = len(sides.train) + len(sides.validation) + len(sides.calibration)
            sources = read_sources(data, used)
            named = " and ".join(source.name for source in sources)
            if config.data.synthetic:
                drawn = config.data.synthetic
                sources.append(TrainingData(name="synthetic cells", licence="made here", images=drawn))
            sources += [source for source in (before.data if before else []) if source not in sources]
            origin = Origin(named, sources, sides, material.learned, trainer.epoch, trainer.best_epoch)
            bundle_run(run / "model", fitted, trainer.best(), origin, console)
        return told(run / "model")


def starting_from(start: Bundle, config: TrainingConfig) -> TrainingConfig:
    """Give a configuration the architecture, the normalisation and the view of the model that training starts from."""
    card = start.card
    kept = {"architecture": card.architecture, "normalisation": card.normalisation, "start": start.version}
    kept |= {} if card.view is None else {"view": card.view}
    try:
        return TrainingConfig.model_validate(config.model_dump() | kept)
    except ValidationError as error:
        faults = "; ".join(describe_fault(fault) for fault in error.errors())
        raise ConfigError(f"the configuration does not fit {start.version}: {faults}") from None


def room_for(config: TrainingConfig) -> int:
    """Bytes of decoded images that stay in memory."""
    return config.machine.memory * 10**6 if config.machine.memory else free_memory() // 2


def start_of(run: Path, config: TrainingConfig) -> ModelCard | None:
    """Read the card of the model that a run started from, if it did."""
    return ModelCard.model_validate_json((run / STARTED_FROM).read_bytes()) if config.start else None


def check_folder(run: Path, config: TrainingConfig, *, resume: bool) -> None:
    """Check that a folder can take a new run, or with ``resume`` that it holds this one."""
    path = run / CONFIG
    if not resume and path.exists():
        raise UsageError(f"{run} holds a run already; give another folder, or --resume to go on with it")
    if resume and not path.exists():
        raise UsageError(f"{run} holds no run to resume; leave --resume out to begin one")
    if resume and config.start and not (run / LAST).exists():
        raise UsageError(f"{run} has no finished epoch to go on from: begin again with --from in another folder")
    if resume and read_config(path).model_copy(update={"machine": config.machine}) != config:
        raise UsageError(f"{run} was begun with another configuration: take the one in {path}")


def shortage(sides: Sides, fraction: float) -> str:
    """Say why counts will have no interval, and what to do; nothing if they will have one."""
    kept = len({record.group for record in sides.calibration if record.count is not None})
    if kept >= FEWEST:
        return ""
    others = len({record.group for record in (*sides.train, *sides.calibration) if record.count is not None})
    raised = f"raise data.calibration ({fraction:g}), or " if others >= ENOUGH * FEWEST else ""
    return (
        f"no interval: it takes {FEWEST} images of different cells with a count that do not train, there are {kept}; "
        f"{raised}give elmgan calibrate other images"
    )


def split_table(sides: Sides) -> str:
    """Write which image is on which side, as CSV."""
    lines = io.StringIO()
    table = csv.writer(lines, lineterminator="\n")
    table.writerow(["image", "group", "kind", "side"])
    for side in SIDES:
        table.writerows([record.name, record.group, record.kind, side] for record in getattr(sides, side))
    return lines.getvalue()


def check_split(path: Path, sides: Sides) -> None:
    """Check that the images are parted as they were when the run began."""
    lines = [text.splitlines() for text in (path.read_text(encoding="utf-8"), split_table(sides))]
    for before, now in zip_longest(*lines, fillvalue="none"):
        if before != now:
            raise UsageError(
                f"the data set is not the one that the run began with: {path} has {before}, now there is {now}; "
                "put the images back as they were, or begin another run"
            )


def choose_device(device: str) -> torch.device:
    """Give the processor: for ``auto`` a GPU where there is one, of several that of this process.

    Raises:
        UsageError: When there is no such GPU.
    """
    if device == "cpu" or (device == "auto" and not torch.cuda.is_available()):
        return torch.device("cpu")
    number, there = launch().local_rank, torch.cuda.device_count()
    if number >= there:
        raise UsageError(
            f"GPU {number + 1} is asked for, and PyTorch finds {there}: take --device cpu, fewer processes, "
            "or install PyTorch for your GPU"
        )
    return torch.device("cuda", number)


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
        build: Callable[[Architecture], Generator] = Generator,
        render: Render | None = None,
    ) -> None:
        self.run = run
        self.config = config
        self.material = material
        self.device = device
        self.console = console
        self.on_epoch = on_epoch
        self.feed = Feed(config, material.train, material.synthetic, share=share(), render=render)
        steps = self.feed.steps * config.optimisation.epochs
        self.step = GanStep(config, steps, device, build, tell=console.print)
        self.epoch = 0
        self.best_epoch = 0
        self.best_score = -math.inf
        self.validation = Validation(material.validation, material.learned, config.optimisation.choose_by)

    def fit(self) -> None:
        """Train the epochs that are left; stop early on Ctrl-C."""
        curves = Curves(self.run, self.epoch) if launch().first else None
        columns = (
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=20),
            TimeRemainingColumn(),
            TextColumn("{task.fields[terms]}"),
        )
        last, patience = self.config.optimisation.epochs, self.config.optimisation.patience
        try:
            with Progress(*columns, console=self.console, disable=not self.console.is_terminal) as progress:
                task = progress.add_task(
                    "",
                    total=last * self.feed.steps,
                    completed=self.epoch * self.feed.steps,
                    epoch=f"{self.epoch}/{last}",
                    terms="",
                )

                def show(terms: dict[str, float]) -> None:
                    text = "  ".join(f"{name.replace('_', ' ')} {value:.2f}" for name, value in terms.items())
                    progress.update(task, advance=1, epoch=f"{self.epoch + 1}/{last}", terms=text)

                while self.epoch < last:
                    if patience is not None and self.epoch - self.best_epoch >= patience:
                        score = self.config.optimisation.choose_by
                        self.console.print(f"stopped: {score} has not improved since epoch {self.best_epoch}")
                        break
                    row = self.one_epoch(show)
                    # The row first: one that is not followed by its checkpoint is dropped when the run is resumed.
                    if curves:
                        curves.add(row)
                    self.keep(row["score"])
                    self.console.print(describe(row, last), soft_wrap=True)
                    if curves:
                        self.on_epoch(row)
        except KeyboardInterrupt:
            again = "begin again in another folder" if self.config.start and not self.epoch else "--resume goes on"
            self.console.print(f"stopped in epoch {self.epoch + 1}; after epoch {self.epoch} {again}")
            if not (self.run / BEST).exists():
                self.step.fetch(now=True)  # which checks that there is something to save
                self.save(BEST)
        except TrainingError as error:
            kept = f"epoch {self.epoch} is kept in {self.run}" if self.epoch else "no epoch was finished"
            raise TrainingError(f"epoch {self.epoch + 1}: {error}; {kept}") from error
        finally:
            if curves:
                curves.close()

    def one_epoch(self, show: Callable[[dict[str, float]], None]) -> dict[str, float]:
        """Train one epoch and validate; give its row of the curves."""
        started = time.perf_counter()
        # Seeded by the epoch, so that a resumed run draws what the uninterrupted one would have drawn.
        rng = np.random.default_rng([self.config.seed, self.epoch])
        torch.manual_seed(self.config.seed + self.epoch)
        d = self.config.discriminator
        adversarial = d is not None and self.epoch >= d.start * self.config.optimisation.epochs
        means: dict[str, list[float]] = defaultdict(list)
        learning_rate = self.step.generator_optimiser.param_groups[0]["lr"]
        images = 0

        def take_down(fetched: list[dict[str, float]]) -> None:
            for terms in fetched:
                for name, value in terms.items():
                    means[name].append(value)
                show(terms)

        for groups in self.feed.epoch(rng):
            self.step.move([collate(windows, self.device) for windows in groups], adversarial=adversarial)
            images += sum(len(windows) for windows in groups)
            take_down(self.step.fetch())
        take_down(self.step.fetch(now=True))
        speed = summed([images / (time.perf_counter() - started)], self.device)[0]
        scores = told(self.validate() if launch().first else None)
        terms = {name: math.fsum(values) / len(values) for name, values in means.items()}
        return {"epoch": self.epoch + 1, "images_per_second": speed, "learning_rate": learning_rate, **terms, **scores}

    def keep(self, score: float) -> None:
        """Save the state after an epoch, twice when it is the best so far."""
        self.epoch += 1
        if score > self.best_score or self.config.optimisation.choose_by == LAST_EPOCH:
            self.best_score, self.best_epoch = score, self.epoch
            self.save(BEST)
        self.save(LAST)

    def validate(self) -> dict[str, float]:
        """Score the generator on the validation images; draw samples when it is their turn."""
        predict = Predictor(self.config.architecture, TorchEngine(self.step.best_generator))
        scores, samples = self.validation(predict)
        if self.epoch % self.config.samples_every == 0 or self.epoch + 1 == self.config.optimisation.epochs:
            draw_samples(self.run / "samples" / f"epoch_{self.epoch + 1:04d}.png", samples, self.material.learned)
        return scores

    def save(self, name: str) -> None:
        """Write the whole state to a checkpoint; of several processes the first one does."""
        if not launch().first:
            return
        best = {"best_score": self.best_score, "best_epoch": self.best_epoch}
        state = {"epoch": self.epoch, "step": self.step.state()} | best
        written = io.BytesIO()  # PyTorch's own writing tells a full disk by an error of another kind
        torch.save(state, written)
        with whole_file(self.run / name, lasting=True) as path:
            path.write_bytes(written.getbuffer())

    def restore(self, state: dict[str, object]) -> None:
        """Go on from a checkpoint."""
        self.epoch = int(state["epoch"])  # type: ignore[call-overload]
        self.best_epoch = int(state["best_epoch"])  # type: ignore[call-overload]
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
    terms = "  ".join(f"{name} {row[name]:.3f}" for name in GENERATOR_TERMS if row[name])  # 0 is of what is not learned
    return f"epoch {row['epoch']:.0f}/{last}  {terms}  validation: {scores}  {row['images_per_second']:.1f} images/s"
