"""One image scored, by whatever counts it: through the very path that counts a user's images."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from elmgan.data import Record, read_truth
from elmgan.errors import ImageError
from elmgan.evaluation.scores import THRESHOLDS, dice, iou, match, psnr, ssim
from elmgan.imaging import read_image
from elmgan.inference import Result


class Counter(Protocol):
    """What counts the cells of an image: a model, or the baseline."""

    def count(self, image: NDArray) -> Result:
        """Count the cells of a (row, column) or (row, column, channel) image."""
        ...


@dataclass(frozen=True, kw_only=True)
class Score:
    """How one image was counted and segmented; ``None`` where what it takes is not known of the image or not learned.

    Attributes:
        record: The image and its annotation.
        truth: Cells annotated; without a count ``None``.
        estimate: Cells found; ``None`` if the model learned no counts.
        low: Lower end of the count's interval, if the model has one.
        high: Upper end.
        dice: Of the mask, 0..1; this and the next three need a mask or labels.
        iou: Of the mask, 0..1.
        psnr: Of the probability of cell against the true mask, in dB.
        ssim: Likewise, -1..1.
        ap50: Average precision of the separated cells at an IoU above 0.5; this and the next two need labels.
        ap50_95: Average precision, averaged over IoUs above 0.50, 0.55, ... 0.95.
        f1: Of the separated cells at an IoU above 0.5.
    """

    record: Record
    truth: float | None
    estimate: float | None
    low: float | None = None
    high: float | None = None
    dice: float | None = None
    iou: float | None = None
    psnr: float | None = None
    ssim: float | None = None
    ap50: float | None = None
    ap50_95: float | None = None
    f1: float | None = None


def score_image(model: Counter, record: Record) -> Score:
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
    regions, shares, total = read_truth(record, image.shape[:2])
    return compare(record, result, None if regions is None else regions > 0, None if shares is None else regions, total)


def compare(
    record: Record,
    result: Result,
    mask: NDArray[np.bool_] | None,
    labels: NDArray[np.integer] | None,
    truth: float | None,
) -> Score:
    """Score what was found in an image against what is known of it, each ``None`` where it is not.

    What the model did not learn has no score.

    Args:
        record: The image.
        result: What was found.
        mask: True mask, (row, column).
        labels: True label image, (row, column), 0 = background.
        truth: Cells annotated.
    """
    scores: dict[str, float] = {}
    if result.mask is not None and result.probability is not None and mask is not None:
        scores |= {
            "dice": dice(result.mask, mask),
            "iou": iou(result.mask, mask),
            "psnr": psnr(result.probability, mask),
            "ssim": ssim(result.probability, mask),
        }
    if result.mask is not None and labels is not None:
        matches = match(result.labels(), labels)
        scores |= {
            "ap50": matches.average_precision(),
            "ap50_95": float(np.mean([matches.average_precision(threshold) for threshold in THRESHOLDS])),
            "f1": matches.f1(),
        }
    low, high = result.interval or (None, None)
    return Score(record=record, truth=truth, estimate=result.estimate, low=low, high=high, **scores)
