"""Validation: how good a generator is on the images kept for that, and the one number that chooses the best epoch."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elmgan.counting import Predictor
from elmgan.data import Example
from elmgan.errors import ConfigError, TrainingError
from elmgan.models import Learned
from elmgan.scores import SCORES, count_scores, dice
from elmgan.training.config import BALANCE, LAST_EPOCH

SAMPLES = 6
"""Images that are drawn at most."""


@dataclass(frozen=True)
class Sample:
    """A validation image and what was predicted of it; see :func:`~elmgan.training.curves.draw_samples`."""

    example: Example
    probability: NDArray[np.float32]
    count_map: NDArray[np.float32]


class Validation:
    """Scores generators on images that train nothing.

    Args:
        examples: The images.
        learned: What training has examples of; nothing else is scored.
        choose_by: Score that chooses the best epoch.

    Raises:
        ConfigError: When the images do not have what ``choose_by`` needs.
    """

    def __init__(self, examples: list[Example], learned: Learned, choose_by: str) -> None:
        self.examples = examples
        self.learned = learned
        self.choose_by = choose_by
        needs, has = ("mask", self.masked) if choose_by == "dice" else ("count", self.counted)
        if choose_by not in (BALANCE, LAST_EPOCH) and not has:
            raise ConfigError(
                f"optimisation.choose_by is {choose_by}, but no {needs} is known both of images to train on and of "
                f"images to validate on; leave it at {BALANCE}"
            )

    @property
    def masked(self) -> list[Example]:
        """The images whose masks are compared."""
        return [example for example in self.examples if example.regions is not None and "mask" in self.learned]

    @property
    def counted(self) -> list[Example]:
        """The images whose counts are compared."""
        return [example for example in self.examples if example.total is not None and "count" in self.learned]

    def __call__(self, predict: Predictor) -> tuple[dict[str, float], list[Sample]]:
        """Predict all images, each whole.

        Returns:
            ``validation_...`` of the counts and masks, and ``score``, which is the higher the better; a few samples.

        Raises:
            TrainingError: When a predicted count is not finite.
        """
        chosen = set(np.linspace(0, len(self.examples) - 1, min(SAMPLES, len(self.examples))).astype(int).tolist())
        samples, counts, overlaps = [], {}, {}
        for k, example in enumerate(self.examples):
            probability, count_map = predict(example.image)
            counts[example.name] = float(count_map.sum())
            if example.mask is not None:
                overlaps[example.name] = dice(probability >= 0.5, example.mask)
            if k in chosen:
                samples.append(Sample(example, probability, count_map))
        if not all(math.isfinite(count) for count in counts.values()):
            raise TrainingError("the counts of validation images are not finite; lower optimisation.learning_rate")
        scores: dict[str, float] = {}
        if self.counted:
            totals = [float(example.total or 0) for example in self.counted]
            scores |= count_scores([counts[example.name] for example in self.counted], totals)
        if self.masked:
            scores["dice"] = float(np.mean([overlaps[example.name] for example in self.masked]))
        return {"score": self.score(scores)} | {f"validation_{name}": value for name, value in scores.items()}, samples

    def score(self, scores: dict[str, float]) -> float:
        """Give the number that chooses: one of the scores, the balance of mask and count, or 0 for the last epoch.

        The balance is Dice minus the count's mean absolute error as a share of the mean count: mask and count weigh
        alike when both are a few per cent off.
        """
        if self.choose_by == LAST_EPOCH:
            return 0.0
        if self.choose_by != BALANCE:
            return -SCORES[self.choose_by].cost(scores[self.choose_by])
        mean = float(np.mean([example.total for example in self.counted])) if self.counted else 0
        return scores.get("dice", 0.0) - scores.get("mae", 0.0) / max(1.0, mean)
