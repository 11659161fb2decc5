"""One image scored: what was found in it against what is known of it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from elmgan.counting import Result
from elmgan.light import diameter_of
from elmgan.scores.similarity import THRESHOLDS, dice, iou, match, psnr, ssim


@dataclass(frozen=True, kw_only=True)
class Score:
    """How one image was counted and segmented; ``None`` where what it takes is not known of the image or not learned.

    Attributes:
        image: Name of the image.
        truth: Cells annotated; without a count ``None``.
        estimate: Cells found; ``None`` if the model learned no counts.
        kind: Of images that look alike; empty if the data set names none.
        group: Images of one group show the same cells.
        low: Lower end of the count's interval, if the model has one.
        high: Upper end.
        dice: Of the mask, 0..1; this and the next three need a mask or labels.
        iou: Of the mask, 0..1.
        psnr: Of the probability of cell against the true mask, in dB.
        ssim: Likewise, -1..1.
        ap50: Average precision of the separated cells at an IoU above 0.5; this and the next two need labels.
        ap50_95: Average precision, averaged over IoUs above 0.50, 0.55, ... 0.95.
        f1: Of the separated cells at an IoU above 0.5.
        flags: Why not to trust the count.
        unlike: What sets the image apart from those that the model knows, in words.
        scale: Factor by which the network saw the image resized.
        diameter: Of a typical cell by its mask or labels, in pixels of the image.
    """

    image: str
    truth: float | None
    estimate: float | None
    kind: str = ""
    group: str = ""
    low: float | None = None
    high: float | None = None
    dice: float | None = None
    iou: float | None = None
    psnr: float | None = None
    ssim: float | None = None
    ap50: float | None = None
    ap50_95: float | None = None
    f1: float | None = None
    flags: tuple[str, ...] = ()
    unlike: str = ""
    scale: float = 1.0
    diameter: float | None = None


def compare(
    result: Result,
    mask: NDArray[np.bool_] | None,
    labels: NDArray[np.integer] | None,
    truth: float | None,
    *,
    image: str,
    kind: str = "",
    group: str = "",
) -> Score:
    """Score what was found in an image against what is known of it, each ``None`` where it is not.

    What the model did not learn has no score.

    Args:
        result: What was found.
        mask: True mask, (row, column).
        labels: True label image, (row, column), 0 = background.
        truth: Cells annotated.
        image: Name of the image.
        kind: Its kind, if it has one.
        group: Its group; the image's name by default.
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
    return Score(
        image=image,
        kind=kind,
        group=group or image,
        truth=truth,
        estimate=result.estimate,
        low=low,
        high=high,
        flags=result.flags,
        unlike=result.unlike,
        scale=result.scale,
        diameter=diameter_of(mask if labels is None else labels) if mask is not None and mask.any() else None,
        **scores,
    )
