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
        truth: Cells annotated; ``None`` without a count.
        dice: Of the mask, 0..1; ``None`` without a mask.
        ap50: Average precision of the separated cells at an IoU of 0.5; ``None`` without instance labels.
    """

    record: Record
    estimate: float
    truth: float | None
    dice: float | None
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
    overlap = None if regions is None else dice(result.mask, regions > 0)
    ap50 = None if regions is None or shares is None else average_precision(result.labels(), regions)
    return Score(record, result.estimate, total, overlap, ap50)


def summarise(scores: Sequence[Score]) -> dict[str, dict[str, float]]:
    """Average scores over all images and over each kind; a kind ``a/b`` counts for ``a`` too.

    Args:
        scores: Of any images, in any order.

    Returns:
        kind (``all`` for every image) -> images; with counts mean_count, mae, rmse, bias; with masks dice; with
        instance labels ap50.
    """
    kinds: dict[str, list[Score]] = defaultdict(list)
    for score in scores:
        parts = score.record.kind.split("/") if score.record.kind else []
        for name in ["all", *("/".join(parts[: k + 1]) for k in range(len(parts)))]:
            kinds[name].append(score)
    return {name: averages(members) for name, members in kinds.items()}


def averages(scores: Sequence[Score]) -> dict[str, float]:
    """Average the scores of some images."""
    row = {"images": float(len(scores))}
    counted = [(score.estimate, score.truth) for score in scores if score.truth is not None]
    if counted:
        estimates, truths = zip(*counted, strict=True)
        row |= {"mean_count": float(np.mean(truths))} | count_scores(estimates, truths)
    for name, values in (("dice", [score.dice for score in scores]), ("ap50", [score.ap50 for score in scores])):
        known = [value for value in values if value is not None]
        if known:
            row[name] = float(np.mean(known))
    return {name: round(value, 4) for name, value in row.items()}
