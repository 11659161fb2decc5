"""The end of a run: the best generator becomes a bundle, scored through the path that counts a user's images."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from rich.console import Console
from rich.progress import track

from elmgan import __version__
from elmgan.data import Record
from elmgan.evaluation import SCORES, Score, score_image, summarise
from elmgan.inference import Model
from elmgan.models import FORMAT, Bundle, Learned, ModelCard, TrainingData, shortcoming, write_bundle
from elmgan.nn import Generator
from elmgan.training.config import TrainingConfig
from elmgan.training.export import to_onnx

MEANINGS = {
    "mae": "MAE, RMSE and bias are in cells.",
    "dice": "Dice compares the masks.",
    "ap50": "AP50 compares the separated cells at an IoU above 0.5.",
}
"""A score of the table -> what the model card says of it and its like."""

Thing = TypeVar("Thing")


@dataclass(frozen=True)
class Origin:
    """Where a run's weights come from.

    Attributes:
        sources: What model.json says of the data.
        trained: Number of images that trained.
        validation: The images that chose the best epoch.
        learned: Which of masks and counts the data taught.
        epochs: Epochs that were trained.
        best: The one whose weights they are; 0 when not even the first was finished.
    """

    sources: list[TrainingData]
    trained: int
    validation: list[Record]
    learned: Learned
    epochs: int
    best: int

    def epoch(self, planned: int) -> str:
        """Say which epoch the weights are of."""
        if not self.best:
            return "Training was stopped in its first epoch: the weights have hardly learned anything."
        stopped = f", {planned} were planned" if self.epochs < planned else ""
        return f"The weights are those of epoch {self.best} of {self.epochs}{stopped}; the validation images chose it."


def bundle_run(path: Path, config: TrainingConfig, generator: Generator, origin: Origin, console: Console) -> None:
    """Export a generator, score it on the validation images and write the bundle to ``path``."""
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
        seed=config.seed,
        scores={},
        hashes={},
    )
    onnx = to_onnx(generator)
    model = Model(Bundle(card, onnx, ""))
    scores: list[Score] = [
        score_image(model, record) for record in shown(origin.validation, "scoring the bundle", console)
    ]
    card = card.model_copy(update={"scores": summarise(scores)})
    write_bundle(path, Bundle(card, onnx, readme(card, config, origin)))


def shown(things: Sequence[Thing], what: str, console: Console) -> Iterable[Thing]:
    """Go through things with a progress bar where the console is a terminal."""
    return track(things, what, console=console, transient=True, disable=not console.is_terminal)


def readme(card: ModelCard, config: TrainingConfig, origin: Origin) -> str:
    """Write the model card for people, in Markdown."""
    a, o = card.architecture, config.optimisation
    steps = "Each image once an epoch" if o.steps is None else f"{o.steps} steps an epoch"
    judge = config.discriminator if card.segments else None
    adversarial = (
        "no adversarial part" if judge is None else f"adversarial part from {judge.start:.0%} of {o.epochs} epochs on"
    )
    sources = "".join(f"| {source.name} | {source.images} | {source.licence} |\n" for source in card.data)
    about = card.description or f"A model of cells, trained on {' and '.join(f'{what}s' for what in card.learned)}."
    if lacks := shortcoming(card.learned):
        about += f"\n\n{lacks.capitalize()}."
    meanings = [text for name, text in MEANINGS.items() if any(name in row for row in card.scores.values())]
    return f"""# {card.name}

{about}

{score_table(card.scores)}
Scores are of the {len(origin.validation)} validation images, which trained nothing. {origin.epoch(o.epochs)}
{" ".join(meanings)}

## Training

| data | images | licence |
|---|---|---|
{sources}
{origin.trained} images of these sets trained, {len(origin.validation)} validated. {steps}, {o.batch} windows a step,
{adversarial}; seed {card.seed}.
Instance labels, where the data had them, were reduced to masks and totals of windows.

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
