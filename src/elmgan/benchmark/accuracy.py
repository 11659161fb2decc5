"""How well the method counts and segments, and each arm of it: `elmgan benchmark accuracy`.

A run is an arm on a fold with a seed. Each ends in a JSON file of its own, from which all else is computed.
"""

import base64
import csv
import hashlib
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, ValidationError
from rich.console import Console

from elmgan.benchmark.arms import ARMS, FULL, Arm
from elmgan.benchmark.folds import sides_of
from elmgan.benchmark.sizes import size_of
from elmgan.benchmark.timing import Conditions, Measured
from elmgan.counting import Predictor, Result
from elmgan.counting.scaling import resize, scaled_shape
from elmgan.data import Example, Record, Sides, group_alike, load_example, read_data_set, read_grey
from elmgan.data.synthetic import SyntheticImage, SyntheticScene, draw
from elmgan.errors import DataError, TrainingError, UsageError, one_line
from elmgan.files import write_text
from elmgan.holding import held
from elmgan.images import View
from elmgan.light import diameter_of, to_grey
from elmgan.models import Architecture
from elmgan.nn.discriminator import Discriminator
from elmgan.nn.engine import TorchEngine
from elmgan.nn.generator import Generator
from elmgan.scores import Baseline, Score, compare
from elmgan.strict import Strict
from elmgan.training.config import DiscriminatorOptions, TrainingConfig, dump_config, read_config
from elmgan.training.material import Material, fitted_to
from elmgan.training.memory import freed_memory_kept
from elmgan.training.step import GanStep, collate
from elmgan.training.trainer import (
    BEST,
    CONFIG,
    LAST,
    SPLIT,
    Trainer,
    check_folder,
    check_split,
    choose_device,
    split_table,
)
from elmgan.training.windows import Window, padded_size

RUNS = "runs"
"""Folder of the runs that are not finished, and of the curves of those that are."""

LOOKED_AT = 2
"""Training images whose predictions a run draws, to look at."""

PASSES = 3
"""A network's forward and backward pass take as many times the multiply-adds of its forward pass."""

JUDGED = 2 + 2 * PASSES
"""And the discriminator's in a step: forward and back to the mask for the generator, then two pairs of its own."""

OF_CMTD = {"adversarial", "coordination"}
"""Terms of the loss that there are with a discriminator alone."""

TIMED = 3
"""Steps that are timed to tell the cost."""

MOST_DRAWN = 40
"""Cells of the drawn image at most."""


class Setting(Strict):
    """How much is trained, and on what."""

    name: Literal["reduced", "full"]
    scale: float = Field(description="factor at which images are seen")
    width: int = Field(ge=1, description="of the generator, of the discriminator and of the networks beside them")
    epochs: int = Field(ge=1)
    steps: int = Field(ge=1, description="of an epoch, after each of which a run can be interrupted")
    folds: int = Field(5, ge=2, description="that the data set is dealt to")

    @property
    def unusual(self) -> list[str]:
        """What differs from the setting of this name as it is without options, in words."""
        usual = SETTINGS[self.name]
        told = {
            f"{self.epochs * self.steps} steps": (self.epochs, self.steps) != (usual.epochs, usual.steps),
            f"width {self.width}": self.width != usual.width,
            f"scale {self.scale:g}": self.scale != usual.scale,
            f"{self.folds} folds": self.folds != usual.folds,
        }
        return [words for words, differs in told.items() if differs]

    @property
    def key(self) -> str:
        """Name for files.

        >>> SETTINGS["reduced"].key, setting_of(False, steps=250, width=8).key
        ('reduced', 'reduced-252-steps-width-8')
        """
        return "-".join([self.name, *self.unusual]).replace(" ", "-")

    @property
    def told(self) -> str:
        """Name for people."""
        return f"{self.name} setting" + (f" ({', '.join(self.unusual)})" if self.unusual else "")


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting(name="reduced", scale=0.46, width=32, epochs=15, steps=100),
        Setting(name="full", scale=1, width=64, epochs=100, steps=230),
    )
}
"""0.46 is nearly half the size, and makes 239 x 320 of BBBC005's 520 x 696, which hardly need padding."""


def setting_of(full: bool, *, steps: int | None = None, width: int | None = None) -> Setting:
    """Give the full or the reduced setting, with other steps of a run or another width if wanted.

    >>> setting_of(False, steps=250).epochs, setting_of(False, steps=250).steps
    (3, 84)
    """
    setting = SETTINGS["full" if full else "reduced"]
    changes: dict[str, int] = {} if width is None else {"width": width}
    if steps is not None:
        epochs = -(-steps // setting.steps)
        changes |= {"epochs": epochs, "steps": -(-steps // epochs)}
    return setting.model_copy(update=changes)


class Run(NamedTuple):
    """An arm on a fold with a seed; the baseline draws nothing, and has the seed 0."""

    arm: str
    fold: int
    seed: int

    @property
    def name(self) -> str:
        """Of its file, without the extension."""
        return f"{self.arm}-{self.fold}-{self.seed}"


class ImageScored(Strict):
    """How a run did on an image that it was not trained on."""

    image: str
    kind: str
    group: str
    truth: float
    estimate: float | None = Field(description="null where counts were not learned")
    dice: float
    iou: float
    psnr: float
    ssim: float

    @property
    def score(self) -> Score:
        """The same, to be summed up."""
        return Score(**self.model_dump())


class OnDrawn(Strict):
    """What a run makes of a drawn image, the same for all runs on the same data."""

    truth: int
    estimate: float | None
    mask: str = Field(description="found, as PNG in base64")
    image: str = Field("", description="the image itself, and in true_mask its mask, with the baseline alone")
    true_mask: str = ""


class AccuracyMeasured(Measured):
    """The result of a run."""

    benchmark: Literal["accuracy"] = "accuracy"
    arm: str
    fold: int
    seed: int
    setting: Setting
    data: str = Field(description="SHA-256 of which image trained and which was scored")
    config: dict[str, Any] = Field(description="of the training, completely; empty where nothing is trained")
    parameters: int
    trained: int = Field(description="images to train on")
    seconds: float = Field(description="that training took")
    drawn: OnDrawn
    rows: tuple[ImageScored, ...] = Field(min_length=1)

    @property
    def run(self) -> Run:
        """Which run it is of."""
        return Run(self.arm, self.fold, self.seed)


class Work(NamedTuple):
    """What a run takes."""

    parameters: int
    multiply_adds: int
    """Of a step."""


def config_of(arm: Arm, setting: Setting, seed: int) -> TrainingConfig:
    """Give the preset ``paper`` in a setting, with what an arm changes of it."""
    settings = {
        "name": arm.name,
        "seed": seed,
        "view.scale": setting.scale,
        "architecture.width": setting.width,
        "discriminator.width": setting.width,
        "optimisation.epochs": setting.epochs,
        "optimisation.steps": setting.steps,
        "optimisation.choose_by": "last",
        "samples_every": setting.epochs,
    }
    return read_config("paper", [*(f"{key}={value}" for key, value in settings.items()), *arm.settings])


def used_of(record: dict[str, Any]) -> dict[str, Any]:
    """Give what a run uses of its configuration: without a discriminator, none of the weights of its terms.

    >>> used_of({"discriminator": None, "loss": {"mask": 10, "coordination": 0.01}})
    {'discriminator': None, 'loss': {'mask': 10}}
    """
    if not record or record["discriminator"] is not None:
        return record
    return record | {"loss": {name: weight for name, weight in record["loss"].items() if name not in OF_CMTD}}


def runs_of(arms: Sequence[Arm], folds: Sequence[int], seeds: Sequence[int]) -> list[Run]:
    """List runs in the order in which they are made: all seeds of an arm, before the next arm."""
    return [Run(arm.name, fold, seed) for arm in arms for fold in folds for seed in (seeds if arm.learns else [0])]


def read_accuracy(path: Path) -> AccuracyMeasured:
    """Read a run's file.

    Raises:
        DataError: It cannot be read, or is something else.
    """
    try:
        return AccuracyMeasured.model_validate_json(path.read_bytes())
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror or error}); remove it, to measure again") from error
    except ValidationError as error:
        fault = one_line(error.errors()[0]["msg"])
        raise DataError(f"{path} is no run of elmgan benchmark accuracy ({fault}); remove it") from error


class Accuracy:
    """The benchmark: what there is of it in a folder, and what is missing.

    Args:
        data: The data set folder, with images of one size; those with both a mask and a count are taken.
        out: Folder of the runs' files.
        setting: How much is trained.
        runs: That are wanted.
        device: ``auto``, ``cpu`` or ``cuda``.
        command: This command line, for the record.
        tell: Called with each line for people.

    Raises:
        DataError: The data set has faults, or lacks what is needed.
        UsageError: A run is there with other settings, or there is no such fold.
    """

    def __init__(
        self,
        data: Path,
        out: Path,
        setting: Setting,
        runs: Sequence[Run],
        *,
        device: str = "auto",
        command: str = "",
        tell: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.out, self.setting, self.runs, self.command, self.tell = out, setting, list(runs), command, tell
        if beyond := [run.fold for run in runs if not 1 <= run.fold <= setting.folds]:
            raise UsageError(f"--folds has {beyond[0]}; the data set is dealt to folds 1 to {setting.folds}")
        self.device = choose_device(device)
        found = read_data_set(data, view=View(scale=setting.scale), tell=tell)
        known = [record for record in found if record.count is not None and (record.mask or record.labels)]
        if not known:
            raise DataError(f"{data}: no image has both a mask and a count, which the benchmark takes")
        if len(known) < len(found):
            tell(f"{len(found) - len(known)} of {len(found)} images have no mask or no count, and are left out")
        self.records = group_alike(known)
        self.there = {run: measured for run in runs if (measured := self.find(run))}

    def find(self, run: Run) -> AccuracyMeasured | None:
        """Read a run's result; None where there is none yet.

        Raises:
            DataError: Its file is something else.
            UsageError: It was made with other settings or other data.
        """
        path = self.path(run)
        if not path.exists():
            return None
        found = read_accuracy(path)
        wanted = {"setting": self.setting, "config": used_of(self.config_record(run)), "data": self.data_of(run)}
        there = {"setting": found.setting, "config": used_of(found.config), "data": found.data}
        if differing := [name for name, value in wanted.items() if there[name] != value]:
            raise UsageError(
                f"{path} was measured with another {differing[0]}: name another folder with -o, or remove the file"
            )
        return found

    def path(self, run: Run) -> Path:
        """Give a run's file."""
        return self.out / f"{run.name}.json"

    def config(self, run: Run) -> TrainingConfig:
        """Give a run's configuration."""
        return config_of(ARMS[run.arm], self.setting, run.seed)

    def config_record(self, run: Run) -> dict[str, Any]:
        """Give a run's configuration as its file has it."""
        return self.config(run).model_dump(mode="json") if ARMS[run.arm].learns else {}

    def sides(self, run: Run) -> Sides:
        """Give what a run trains on, and is scored on."""
        return sides_of(self.records, run.fold, self.setting.folds, inner=ARMS[run.arm].grid)

    def data_of(self, run: Run) -> str:
        """Give the fingerprint of what a run trains on and is scored on."""
        return hashlib.sha256(split_table(self.sides(run)).encode()).hexdigest()

    @property
    def missing(self) -> list[Run]:
        """Runs that are wanted and not there."""
        return [run for run in self.runs if run not in self.there]

    @cached_property
    def examples(self) -> dict[str, Example]:
        """The images with what is known of them, as all runs see them, by name."""
        normalisation = config_of(ARMS[FULL], self.setting, 0).normalisation
        return {record.name: load_example(record, normalisation) for record in self.records}

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of an image."""
        rows, columns = next(iter(self.examples.values())).image.shape
        return rows, columns

    @cached_property
    def drawn(self) -> SyntheticImage:
        """Draw an image whose cells are as large as the data set's, of the size at which its images are seen."""
        masks = [mask for example in self.examples.values() if (mask := example.mask) is not None and mask.any()]
        radius = float(np.clip(np.median([diameter_of(mask) for mask in masks]) / 2, 3, 100)) if masks else 8.0
        rows, columns = self.shape
        cells = int(min(MOST_DRAWN, rows * columns / (12 * radius**2)))
        scene = SyntheticScene(rows=rows, columns=columns, cells=cells, radius=radius, background=0.15)
        return draw(scene, rng=np.random.default_rng(0))

    def work(self, arm: Arm, setting: Setting) -> Work:
        """Tell what an arm's network has, and what a step of it computes; nothing of what is not trained."""
        if not arm.learns:
            return Work(0, 0)
        config = config_of(arm, setting, 0)
        whole = scaled_shape(self.shape, setting.scale / self.setting.scale)
        size = padded_size(whole, config.architecture.multiple)
        fitted = config.architecture.model_copy(update={"size": None if config.architecture.maps else size})
        return work_of(arm.build, fitted, config.discriminator, size)

    def rate(self) -> float:
        """Measure how many multiply-adds of training this machine does in a second, by a few steps of the method."""
        config = config_of(ARMS[FULL], self.setting, 0)
        rows, columns = padded_size(self.shape, config.architecture.multiple)
        architecture = config.architecture.model_copy(update={"size": (rows, columns)})
        step = GanStep(config.model_copy(update={"architecture": architecture}), 2, self.device)
        image, ones = np.zeros((rows, columns), np.float32), np.ones((rows, columns), np.float32)
        image[::8] = 1
        batch = collate([Window(image, image, ones, ones, 1.0, np.full((1, 1), np.nan, np.float32))], self.device)
        seconds = []
        for _ in range(1 + TIMED):
            started = time.perf_counter()
            step([batch], adversarial=True)
            seconds.append(time.perf_counter() - started)
        return self.work(ARMS[FULL], self.setting).multiply_adds / min(seconds)

    def measure(self, run: Run, *, until: float = float("inf")) -> AccuracyMeasured | None:
        """Make a run, or go on with it, and write its file.

        Args:
            run: Which one.
            until: When to stop after the epoch that is being trained, by :func:`time.monotonic`.

        Returns:
            The result; None if time was over before the last epoch, after which the next call goes on.

        Raises:
            KeyboardInterrupt: Training was interrupted; the next call goes on after the last whole epoch.
            TrainingError: A loss is not finite.
            UsageError: Another process makes this run.
        """
        arm, sides = ARMS[run.arm], self.sides(run)
        scored = [self.examples[record.name] for record in sides.test]
        conditions = Conditions.now(threads=torch.get_num_threads(), rounds=1, block=0, command=self.command)
        drawn = self.drawn
        if not arm.learns:
            results = [Baseline().count(self.grey(record)) for record in sides.test]
            on_drawn, parameters, seconds = Baseline().count(drawn.image), 0, 0.0
            pictures = {"image": as_text(drawn.image), "true_mask": as_text(drawn.mask)}
        else:
            config = self.config(run)
            trained = self.train(run, config, sides, until)
            if trained is None:
                return None
            predict, parameters, seconds = trained
            counts = bool(config.loss.count)
            results = [result_of(predict, example.image, counts) for example in scored]
            on_drawn, pictures = result_of(predict, config.normalisation(to_grey(drawn.image)), counts), {}
        measured = AccuracyMeasured(
            conditions=conditions,
            arm=run.arm,
            fold=run.fold,
            seed=run.seed,
            setting=self.setting,
            data=self.data_of(run),
            config=self.config_record(run),
            parameters=parameters,
            trained=len(sides.train) if arm.learns else 0,
            seconds=round(seconds, 1),
            drawn=OnDrawn(
                truth=drawn.count,
                estimate=on_drawn.estimate,
                mask=as_text(np.asarray(on_drawn.mask)),
                **pictures,
            ),
            rows=tuple(
                row_of(result, example, record)
                for result, example, record in zip(results, scored, sides.test, strict=True)
            ),
        )
        measured.write(self.path(run))
        for name in (LAST, BEST):  # the largest files of a run, and of no more use
            (self.folder(run) / name).unlink(missing_ok=True)
        self.there[run] = measured
        return measured

    def folder(self, run: Run) -> Path:
        """Give the folder of a run's checkpoints and curves."""
        return self.out / RUNS / run.name

    def grey(self, record: Record) -> NDArray[np.float32]:
        """Read an image in grey, at the size at which the networks see it."""
        grey = read_grey(record)
        return resize(grey, scaled_shape(grey.shape, self.setting.scale))

    def train(
        self, run: Run, config: TrainingConfig, sides: Sides, until: float
    ) -> tuple[Predictor, int, float] | None:
        """Train a run to its last epoch; give what predicts, its parameters, and the seconds that it took.

        None if time was over before.
        """
        folder = self.folder(run)
        with ExitStack() as stack:
            stack.enter_context(freed_memory_kept())
            stack.enter_context(held(folder))
            train = [self.examples[record.name] for record in sides.train]
            # Nothing is chosen by what is validated: these are only looked at.
            material = Material(train, [], train[:LOOKED_AT], ("mask", "count"), ("mask", "count"))
            fitted = fitted_to(config, material)
            if (folder / CONFIG).exists():
                check_folder(folder, config, resume=True)
                check_split(folder / SPLIT, sides)
            write_text(folder / SPLIT, split_table(sides))
            write_text(folder / CONFIG, dump_config(config))
            over = False

            def look_at_the_clock(row: dict[str, float]) -> None:
                nonlocal over
                if time.monotonic() >= until and row["epoch"] < config.optimisation.epochs:
                    over = True
                    raise KeyboardInterrupt  # which ends training with its last epoch kept

            torch.manual_seed(config.seed)
            quiet = Console(quiet=True)
            trainer = Trainer(folder, fitted, material, self.device, quiet, look_at_the_clock, ARMS[run.arm].build)
            if (folder / LAST).exists():
                trainer.restore(torch.load(folder / LAST, map_location=self.device, weights_only=True))
            trainer.fit()
            if trainer.epoch < config.optimisation.epochs:
                if over:
                    return None
                raise KeyboardInterrupt
            generator = trainer.step.best_generator
            with (folder / "curves.csv").open(newline="", encoding="utf-8") as file:
                speeds = [float(row["images_per_second"]) for row in csv.DictReader(file)]
            seconds = sum(self.setting.steps * config.optimisation.batch / speed for speed in speeds)
            parameters = sum(parameter.numel() for parameter in generator.parameters())
            return Predictor(fitted.architecture, TorchEngine(generator)), parameters, seconds


@cache
def work_of(
    build: Callable[[Architecture], Generator],
    architecture: Architecture,
    judge: DiscriminatorOptions | None,
    size: tuple[int, int],
) -> Work:
    """Count what a network has, and what a step with it computes, without making it."""
    shape = (1, 1, *size)
    parameters, adds = size_of(lambda: build(architecture), shape)
    judged = 0 if judge is None else size_of(lambda: JudgeOfPairs(judge.width, judge.norm), shape)[1]
    return Work(parameters, PASSES * adds + JUDGED * judged)


class JudgeOfPairs(Discriminator):
    """The discriminator with one input, so that what it computes can be counted."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        """Judge an image that is its own mask."""
        return super().forward(image, image).matrix


def result_of(predict: Predictor, image: NDArray[np.float32], counts: bool) -> Result:
    """Give what a network finds in a normalised image; no count where that was not learned."""
    probability, count_map = predict(image)
    return Result(
        shape=probability.shape,
        estimate=float(count_map.sum()) if counts else None,
        mask=probability >= 0.5,
        probability=probability,
        count_map=count_map if counts else None,
        flags=(),
    )


def row_of(result: Result, example: Example, record: Record) -> ImageScored:
    """Score what was found in an image."""
    known = {"image": example.name, "kind": example.kind, "group": record.group}
    score = compare(result, example.mask, None, example.total, **known)
    values = {name: getattr(score, name) for name in ImageScored.model_fields}
    rounded = {name: float(f"{value:.6g}") for name, value in values.items() if isinstance(value, float)}
    return ImageScored(**values | rounded)


def as_text(picture: NDArray) -> str:
    """Write a mask or a grey picture as PNG in base64."""
    grey = picture.astype(np.uint8) * 255 if picture.dtype == bool else picture
    return base64.b64encode(cv2.imencode(".png", grey, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1].tobytes()).decode()


def as_picture(text: str) -> NDArray[np.uint8]:
    """Undo :func:`as_text`, (row, column).

    Raises:
        DataError: It is no picture.
    """
    content = np.frombuffer(base64.b64decode(text), np.uint8)
    picture = cv2.imdecode(content, cv2.IMREAD_GRAYSCALE) if content.size else None
    if picture is None:
        raise DataError("a run's picture of the drawn image is damaged; remove its file, to measure again")
    return np.asarray(picture, np.uint8)


def measure_missing(
    benchmark: Accuracy, *, budget: float | None = None, watch: Callable[[Run], None] = lambda run: None
) -> list[str]:
    """Make the runs that are missing, until time is over.

    Args:
        benchmark: Knows what is missing.
        budget: Minutes, after which the epoch that is being trained is the last one.
        watch: Called with each run when it is begun.

    Returns:
        What failed, a line each.
    """
    until = float("inf") if budget is None else time.monotonic() + 60 * budget
    failed = []
    for run in benchmark.missing:
        if time.monotonic() >= until:
            break
        if found := benchmark.find(run):  # another process has made it meanwhile
            benchmark.there[run] = found
            continue
        watch(run)
        try:
            if benchmark.measure(run, until=until) is None:
                break
        except TrainingError as error:
            failed.append(f"{run.name}: {error}")
        except UsageError as error:  # another process makes this run
            benchmark.tell(f"{run.name} is left out: {error}")
    return failed
