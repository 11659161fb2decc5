"""Scores of a model on the images of a data set, through the very path that counts a user's images."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from elmgan.data import Record, read_truth
from elmgan.errors import ImageError
from elmgan.evaluation.scores import average_precision, count_scores, dice
from elmgan.imaging import read_image
from elmgan.inference import Model


@dataclass(frozen=True)
class Score:
    """How one image was counted and segmented.

    Attributes:
        record: The image and its annotation.
        estimate: Cells found.
        truth: Cells annotated.
        dice: Of the mask, 0..1.
        ap50: Average precision of the separated cells at an IoU of 0.5; ``None`` without instance labels.
    """

    record: Record
    estimate: float
    truth: float
    dice: float
    ap50: float | None


def score_image(model: Model, record: Record) -> Score:
    """Count one image and compare.

    Raises:
        DataError: When the annotation does not fit the image.
        ImageError: When a file cannot be read, or the image is not what the model takes.
        ModelError: When the network fails on it.
    """
    image = read_image(record.image)
    try:
        result = model.count(image)
    except ImageError as error:
        raise ImageError(f"{record.image}: {error}") from None
    regions, shares, total = read_truth(record, result.mask.shape)
    ap50 = None if shares is None else average_precision(result.labels(), regions)
    return Score(record, result.estimate, total, dice(result.mask, regions > 0), ap50)


def summarise(scores: Sequence[Score]) -> dict[str, dict[str, float]]:
    """Average scores over all images and over each kind; a kind ``a/b`` counts for ``a`` too.

    Args:
        scores: Of any images, in any order.

    Returns:
        kind (``all`` for every image) -> images, mean_count, mae, rmse, bias, dice and, with instance labels, ap50.
    """
    kinds: dict[str, list[Score]] = defaultdict(list)
    for score in scores:
        parts = score.record.kind.split("/") if score.record.kind else []
        for name in ["all", *("/".join(parts[: k + 1]) for k in range(len(parts)))]:
            kinds[name].append(score)
    return {name: averages(members) for name, members in kinds.items()}


def averages(scores: Sequence[Score]) -> dict[str, float]:
    """Average the scores of some images."""
    truths = [score.truth for score in scores]
    row = {"images": float(len(scores)), "mean_count": float(np.mean(truths))}
    row |= count_scores([score.estimate for score in scores], truths)
    row["dice"] = float(np.mean([score.dice for score in scores]))
    separated = [score.ap50 for score in scores if score.ap50 is not None]
    if separated:
        row["ap50"] = float(np.mean(separated))
    return {name: round(value, 4) for name, value in row.items()}
